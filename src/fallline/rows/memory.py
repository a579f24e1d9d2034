"""Rows in memory, summed block by block.

A small table is padded to a capacity, so that 900 and 1 000 rows share their programs,
and is summed inside the compiled descent; the number of blocks that hold real rows is a
run-time value, so that padding costs no time. A large table is cut in parts of one size
that lie where the caller's array lies; a compiled program sums a part, and threads take
parts in turn. Padding repeats a real row with weight 0: zeros could meet an infinity, and
0 · ∞ is NaN. Nothing here knows how the weights move.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fallline.error.pairs import widest
from fallline.error.sums import Block, Request, Sums, joined, merged, nothing_apart, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.model.network import Model, Network
from fallline.threads import processors

_T = TypeVar("_T")


class Capacity(NamedTuple):
    """Rows as a compiled program takes them: arrays padded to a capacity, and how many rows are real.

    x (inputs, capacity), column by column, so that a loop over rows reads and multiplies many at once; y (capacity,
    outputs), s (capacity,), n the number of real rows.
    """

    x: Any
    y: Any
    s: Any
    n: Any


class Part(NamedTuple):
    """Some rows of a large table as a compiled program takes them: as ``Capacity``, but x (rows, inputs).

    So the part can lie where the caller's array lies.
    """

    x: Any
    y: Any
    s: Any
    n: Any


# Above this many bytes a table is summed in parts. A part is about so large that the backward sweep finds in the
# second-level cache what the forward sweep has read, and not so small that calling its program takes the time.
_LARGE_BYTES = 64 << 20
_PART_BYTES = 3 << 19
_SMALLEST_PART, _LARGEST_PART = 1 << 10, 1 << 16
_TOGETHER = 8  # parts that one call of a program sums
_CALLS = 2  # calls that a thread makes in its turn: fixed, so that the order of the additions is


@dataclass(frozen=True, eq=False)
class Parts:
    """A large table: parts of equally many rows, each held as a compiled program takes it."""

    parts: tuple[Part, ...]
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(processors(), "rows"))


def capacity(rows: int) -> int:
    """Room for that many rows: a power of two up to 2¹⁶, above it the next sixteenth of one.

    Few programs serve all tables; a table is padded by at most an eighth above that.
    """
    power = 1 << max(rows - 1, 7).bit_length()
    if power <= 1 << 16:
        return power
    step = power >> 4
    return -(-rows // step) * step


def part_rows(row_bytes: int) -> int:
    """Rows of one part: a power of two, so that every part of an aligned array is aligned."""
    fitting = 1 << max(_PART_BYTES // row_bytes, 1).bit_length() - 1
    return min(max(fitting, _SMALLEST_PART), _LARGEST_PART)


# A block's Jacobian, or the pairs that stand for it in a network, is meant to stay in the cache while JᵀJ is formed from it.
_BLOCK_BYTES, _PAIRS_BYTES = 1 << 18, 1 << 20
_LARGEST_BLOCK, _LARGEST_OF_PAIRS = 8192, 128


def block_rows(model: Model, kinds: tuple[str, ...], held: Capacity | Part | Parts) -> int:
    """Rows per block: a power of two that divides the rows of a program and keeps a block's work in the cache."""
    sizes = getattr(model, "sizes", (1, 1))
    if isinstance(held, Parts):
        rows, itemsize = held.parts[0].y.shape[0], held.parts[0].y.dtype.itemsize
        # A slice is a copy: without hidden layers a part is one block, read where it lies.
        largest, wide = rows, max(sizes[1:])
    else:
        rows, itemsize, largest, wide = held.y.shape[0], 8, _LARGEST_BLOCK, max(sizes)
    room, wide = _BLOCK_BYTES, model.outputs * wide
    if "gauss_newton" in kinds and isinstance(model, Network):
        room, wide, largest = _PAIRS_BYTES, widest(model), _LARGEST_OF_PAIRS
    elif {"gauss_newton", "triangle"} & set(kinds):
        wide = model.outputs * model.n_weights
    fitting = max(room // (itemsize * wide), 64)
    block = min(1 << (fitting.bit_length() - 1), largest, rows)
    while rows % block:
        block >>= 1
    return block


_CHECKED = 1 << 18  # numbers looked at together


def _first_bad_row(array: np.ndarray) -> int | None:
    """The first row that holds NaN or infinity, found without a copy of the array; None if there is none."""
    step = max(_CHECKED // max(array.shape[1], 1), 1)
    for at in range(0, len(array), step):
        block = array[at : at + step]
        with np.errstate(all="ignore"):
            finite = np.isfinite(
                block.sum()
            )  # NaN and infinity stay in a sum; large numbers may overflow in it
        if not finite and not (rows := np.isfinite(block).all(axis=1)).all():
            return at + int(np.argmin(rows))
    return None


@dataclass(frozen=True, eq=False)
class InMemory:
    """Rows held in memory.

    x (n, inputs) and y (n, outputs), finite numbers; ``sample_weight`` (n,), how often each row
    counts, 1 by default. Kept in ``dtype``: without one, float32 where x and y are float32, else float64.
    An array of that type is not copied here, nor for the descent if it is large (64 MB with its
    targets), row by row in memory and aligned to 64 bytes; so leave it as it is until the descent
    is over. Raises ShapeError where the lengths differ or an array has the wrong rank, TableError
    for NaN, infinities, negative row weights, or no row at all.
    """

    x: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x), np.asarray(self.y)
        single = x.dtype == np.float32 and y.dtype == np.float32
        dtype = np.dtype((np.float32 if single else np.float64) if self.dtype is None else self.dtype)
        x, y = np.asarray(x, dtype), np.asarray(y, dtype)
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
            row = _first_bad_row(array)
            if row is not None:
                raise TableError(
                    f"{name} contains NaN or infinity, first in row {row} (counted from 0): fill or leave out such rows first."
                )
        s = self.sample_weight
        if s is not None:
            s = np.asarray(s, dtype)
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
        object.__setattr__(self, "dtype", dtype)

    @property
    def count(self) -> float:
        """The number of rows, Σ s."""
        return float(len(self.x) if self.sample_weight is None else self.sample_weight.sum(dtype=np.float64))

    def padded(self) -> Capacity:
        """The rows as one compiled program takes them, on the device. Call it where 64-bit JAX is in force."""
        n = len(self.x)
        x, y, s = _padded(self.x, self.y, self._weights(0, n), capacity(n))
        return jax.device_put(Capacity(np.ascontiguousarray(x.T), y, s, np.int64(n)))

    def padded_row_by_row(self) -> Part:
        """The same, but x (capacity, inputs): for programs that pick rows out."""
        n = len(self.x)
        return jax.device_put(Part(*_padded(self.x, self.y, self._weights(0, n), capacity(n)), np.int64(n)))

    def held(self) -> Capacity | Parts:
        """The rows as a descent sums them: padded, or in parts if they are large. Under 64-bit JAX, too."""
        n, row_bytes = len(self.x), self.x.itemsize * (self.x.shape[1] + self.y.shape[1])
        size = part_rows(row_bytes)
        if n * row_bytes <= _LARGE_BYTES or n <= size:
            return self.padded()
        ones, count = jax.device_put(
            (np.ones(size, self.dtype), np.int64(size))
        )  # the same for every whole part
        parts = []
        for at in range(0, n, size):
            x, y = self.x[at : at + size], self.y[at : at + size]
            if len(x) < size:
                padded = _padded(x, y, self._weights(at, n), size)
                parts.append(jax.device_put(Part(*padded, np.int64(n - at))))
                continue
            s = ones if self.sample_weight is None else self._weights(at, at + size)
            x, y, s = jax.device_put((x, y, s), may_alias=True)
            parts.append(Part(x, y, s, count))
        return Parts(tuple(parts))

    def _weights(self, start: int, end: int) -> np.ndarray:
        return (
            np.ones(end - start, self.dtype) if self.sample_weight is None else self.sample_weight[start:end]
        )


def _padded(
    x: np.ndarray, y: np.ndarray, s: np.ndarray, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some rows, padded by repeating the first one with weight 0."""
    extra = rows - len(x)
    x = np.concatenate([x, np.broadcast_to(x[:1], (extra, x.shape[1]))])
    y = np.concatenate([y, np.broadcast_to(y[:1], (extra, y.shape[1]))])
    return x, y, np.concatenate([s, np.zeros(extra, s.dtype)])


Rows = (
    InMemory | tuple[Any, ...]
)  # as the functions for users take them: InMemory, or (x, y) or (x, y, sample_weight)


def check_fit(model: Model, rows: Rows) -> InMemory:
    """The rows, ``InMemory`` or (x, y). ShapeError if they have other columns than the model takes and predicts."""
    rows = rows if isinstance(rows, InMemory) else InMemory(*rows)
    if rows.x.shape[1] != model.inputs or rows.y.shape[1] != model.outputs:
        raise ShapeError(
            f"the rows have {rows.x.shape[1]} inputs and {rows.y.shape[1]} targets, but the model takes {model.inputs} "
            f"and predicts {model.outputs}: build the model for these columns."
        )
    return rows


def block_at(rows: Capacity | Part, at: Any, block: int) -> Block:
    """The rows of block number ``at``, counted from 0, of ``block`` rows each. To be traced."""
    start = at * block
    if isinstance(rows, Part):
        x = jax.lax.dynamic_slice_in_dim(rows.x, start, block)
    else:
        x = jax.lax.dynamic_slice_in_dim(rows.x, start, block, 1).T
    return Block(
        x,
        jax.lax.dynamic_slice_in_dim(rows.y, start, block),
        jax.lax.dynamic_slice_in_dim(rows.s, start, block),
    )


def sum_over_rows(
    model: Model, kinds: tuple[str, ...], request: Request, rows: Capacity | Part, block: int
) -> Sums:
    """The sums asked for, over all rows, in blocks of ``block`` rows taken in order. To be traced.

    ``request.kind`` is a run-time index into ``kinds``; only the branch asked for is run.
    """
    return joined(model, _apart(model, kinds, request, rows, block))


def _apart(model: Model, kinds: tuple[str, ...], request: Request, rows: Capacity | Part, block: int) -> Sums:
    """The same with JᵀJ ``apart``, to be ``joined`` when all rows have been summed."""

    def of_kind(kind: str) -> Any:
        def add(at: Any, sums: Sums) -> Sums:
            part = block_at(rows, at, block)
            return merged(sums, sums_of_block(model, kinds, kind, request, part, apart=True))

        def total(_: None) -> Sums:
            if rows.y.shape[0] == block:
                return sums_of_block(model, kinds, kind, request, block_at(rows, 0, block), apart=True)
            return jax.lax.fori_loop(0, (rows.n + block - 1) // block, add, nothing_apart(model, kinds))

        return total

    branches = [of_kind(kind) for kind in kinds]
    return branches[0](None) if len(branches) == 1 else jax.lax.switch(request.kind, branches, None)


# One thread for each call: the calls themselves run side by side.
@functools.partial(
    jax.jit,
    static_argnames=("model", "kinds", "block"),
    compiler_options={"xla_cpu_multi_thread_eigen": False},
)
def _add_parts(
    sums: Sums, request: Request, parts: tuple[Part, ...], *, model: Model, kinds: tuple[str, ...], block: int
) -> Sums:
    """The sums so far and those of some parts; a part of no rows is passed over.

    Each part waits for the sums before it. Left free, XLA would sweep forwards over all of them before it sweeps
    backwards over the first, which is out of the cache by then.
    """

    def add(sums: Sums, part: Part) -> Sums:
        return merged(sums, _apart(model, kinds, request, part, block))

    for part in parts:
        sums = jax.lax.cond(part.n > 0, add, lambda sums, _: sums, sums, part)
    return sums


_join = jax.jit(joined, static_argnames=("model",))


def sum_over_parts(model: Model, kinds: tuple[str, ...], request: Request, held: Parts, block: int) -> Sums:
    """The sums of ``sum_over_rows``, over a large table; not to be traced."""
    # Made once and not in every turn, where it would cost as much as thousands of rows.
    zero, request = jax.device_put((nothing_apart(model, kinds), request))
    none = held.parts[0]._replace(n=jnp.zeros((), jnp.int64))

    def add(sums: Sums, parts: tuple[Part, ...]) -> Sums:
        parts += (none,) * (_TOGETHER - len(parts))
        return _add_parts(sums, request, parts, model=model, kinds=kinds, block=block)

    return _join(model, add_over_parts(held, zero, add, functools.partial(merged, xp=np)))


def _plus(first: Any, second: Any) -> Any:
    return jax.tree.map(np.add, first, second)


def add_over_parts(
    held: Parts, zero: _T, add: Callable[[_T, tuple[Part, ...]], _T], merge: Callable[[_T, _T], _T] = _plus
) -> _T:
    """``add`` for all parts of a large table, at most eight at a time, from ``zero`` on; not to be traced.

    Threads take turns of a few calls; inside a turn and over the turns sums are added in the order of the rows, so
    that the result depends neither on who finished first nor on the number of threads.
    """

    def take(turn: tuple[Part, ...]) -> _T:
        with jax.enable_x64(True):  # a setting of the thread
            sums = zero
            for at in range(0, len(turn), _TOGETHER):
                sums = add(sums, turn[at : at + _TOGETHER])
            return jax.tree.map(np.asarray, sums)

    first, rest = held.parts[:_TOGETHER], held.parts[_TOGETHER:]
    total = take(first)  # alone: what is to be compiled is compiled once
    turn = _TOGETHER * _CALLS
    for sums in held.threads.map(take, (rest[at : at + turn] for at in range(0, len(rest), turn))):
        total = merge(total, sums)
    return total
