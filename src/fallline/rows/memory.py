"""Rows in memory, summed block by block inside one compiled program.

Rows are padded to a capacity, so that 900 and 1 000 rows share their programs; the
number of blocks that hold real rows is a run-time value, so that padding costs no
time. Padding repeats a real row with weight 0: zeros could meet an infinity, and
0 · ∞ is NaN. Nothing here knows how the weights move.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.error import Block, Request, Sums, nothing, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.network import Model


class Capacity(NamedTuple):
    """Rows as a compiled program takes them: arrays padded to a capacity, and how many rows are real.

    x (inputs, capacity), column by column, so that a loop over rows reads and multiplies many at once; y (capacity,
    outputs), s (capacity,), n the number of real rows.
    """

    x: Any
    y: Any
    s: Any
    n: Any


def capacity(rows: int) -> int:
    """Room for that many rows: a power of two up to 2¹⁶, above it the next sixteenth of one.

    Few programs serve all tables; a large table is padded by at most an eighth.
    """
    power = 1 << max(rows - 1, 7).bit_length()
    if power <= 1 << 16:
        return power
    step = power >> 4
    return -(-rows // step) * step


# A block's Jacobian is meant to stay in the cache while JᵀJ is formed from it.
_BLOCK_BYTES = 1 << 18
_LARGEST_BLOCK = 8192


def block_rows(model: Model, kinds: tuple[str, ...], held: int, itemsize: int = 8) -> int:
    """Rows per block: a power of two that divides the capacity and keeps a block's work in the cache."""
    wide = model.n_weights if "gauss_newton" in kinds else max(getattr(model, "sizes", (1,)))
    fitting = max(_BLOCK_BYTES // (itemsize * model.outputs * wide), 64)
    block = min(1 << (fitting.bit_length() - 1), _LARGEST_BLOCK, held)
    while held % block:
        block >>= 1
    return block


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows held in memory.

    x (n, inputs) and y (n, outputs), finite numbers; ``sample_weight`` (n,), how often each row
    counts, 1 by default. Kept in ``dtype`` (float64 unless asked). Raises ShapeError where the
    lengths differ or an array has the wrong rank, TableError for NaN, infinities, negative row
    weights, or no row at all.
    """

    x: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    dtype: Any = np.float64

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, self.dtype), np.asarray(self.y, self.dtype)
        if x.ndim != 2 or y.ndim != 2:
            raise ShapeError(
                f"x has shape {x.shape} and y {y.shape}: expected (rows, inputs) and (rows, outputs). "
                "For a single column, pass x[:, None] or y[:, None]."
            )
        if len(x) != len(y):
            raise ShapeError(
                f"x has {len(x)} rows and y has {len(y)}: give one target row for each input row."
            )
        if len(x) == 0:
            raise TableError("there are no rows: a descent needs at least one row to sum over.")
        for name, array in (("x", x), ("y", y)):
            if not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise TableError(
                    f"{name} contains NaN or infinity, first in row {row} (counted from 0): fill or leave out such rows first."
                )
        s = self.sample_weight
        if s is not None:
            s = np.asarray(s, self.dtype)
            if s.shape != (len(x),):
                raise ShapeError(
                    f"sample_weight has shape {s.shape}: expected one number for each of the {len(x)} rows."
                )
            if not np.isfinite(s).all() or (s < 0).any():
                raise TableError(
                    "sample_weight must be finite and not negative: it says how often each row counts."
                )
            if not (s > 0).any():
                raise TableError("sample_weight is 0 for every row: at least one row must count.")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "sample_weight", s)

    @property
    def count(self) -> float:
        """The number of rows, Σ s."""
        return float(len(self.x) if self.sample_weight is None else self.sample_weight.sum(dtype=np.float64))

    def padded(self) -> Capacity:
        """The rows as a compiled program takes them, on the device. Call it where 64-bit JAX is in force."""
        n = len(self.x)
        extra = capacity(n) - n
        s = np.ones(n, self.dtype) if self.sample_weight is None else self.sample_weight
        x = np.concatenate([self.x, np.broadcast_to(self.x[:1], (extra, self.x.shape[1]))])
        y = np.concatenate([self.y, np.broadcast_to(self.y[:1], (extra, self.y.shape[1]))])
        s = np.concatenate([s, np.zeros(extra, self.dtype)])
        return jax.device_put(Capacity(np.ascontiguousarray(x.T), y, s, np.int64(n)))


def check_fit(model: Model, rows: InMemory) -> None:
    """ShapeError if the rows have other columns than the model takes and predicts."""
    if rows.x.shape[1] != model.inputs or rows.y.shape[1] != model.outputs:
        raise ShapeError(
            f"the rows have {rows.x.shape[1]} inputs and {rows.y.shape[1]} targets, but the model takes {model.inputs} "
            f"and predicts {model.outputs}: build the model for these columns."
        )


def sum_over_rows(model: Model, kinds: tuple[str, ...], request: Request, rows: Capacity, block: int) -> Sums:
    """The sums asked for, over all rows, in blocks of ``block`` rows taken in order. To be traced.

    ``request.kind`` is a run-time index into ``kinds``; only the branch asked for is run.
    """

    def of_kind(kind: str) -> Any:
        def add(at: Any, sums: Sums) -> Sums:
            start = at * block
            part = Block(
                jax.lax.dynamic_slice_in_dim(rows.x, start, block, 1).T,
                jax.lax.dynamic_slice_in_dim(rows.y, start, block),
                jax.lax.dynamic_slice_in_dim(rows.s, start, block),
            )
            return jax.tree.map(jnp.add, sums, sums_of_block(model, kinds, kind, request, part))

        def total(_: None) -> Sums:
            zero = nothing(kinds, model.n_weights)
            if rows.y.shape[0] == block:
                return add(0, zero)
            return jax.lax.fori_loop(0, (rows.n + block - 1) // block, add, zero)

        return total

    branches = [of_kind(kind) for kind in kinds]
    return branches[0](None) if len(branches) == 1 else jax.lax.switch(request.kind, branches, None)
