"""Rows in memory.

Blocks are slices of the caller's arrays, small enough to stay in the cache; they are added in the order of the
rows, in float64, so that a result depends neither on timing nor on the number of threads. Nothing here knows how the
weights move.
"""

import contextlib
import ctypes
import functools
import math
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from fallline.arrays import namespace, on_device, put, taken, to_numpy, widened
from fallline.error import pairs
from fallline.error.sums import Block, Request, Sums, finished, merged, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.model.network import Model, Network
from fallline.native import kernels as native
from fallline.rows.rows import LARGEST_BLOCK, Rows, content_keys
from fallline.threads import is_side_by_side, one_blas_thread, processors, side_by_side

_T = TypeVar("_T")

_BLOCK_BYTES = 1 << 19  # of what one block's sweep holds of its widest layer: it stays in the second-level cache
_PAIR_BYTES = 1 << 21  # of the pairs that JᵀJ is made of
_EACH_BYTES = 8 << 20  # of what ``each`` makes of a block
_SMALLEST = 64  # rows of a block
_TINY_STEP = 1e6  # rows · weights: a step of fewer is over sooner than threads have begun
_GROUPS = 64  # runs of blocks that threads take in turn: few enough for their sums to fit in memory
_LARGEST_KEPT = (32 << 20) - (1 << 13)  # bytes: the most that it keeps, with what it adds to a block
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # what mallopt calls them
_KEPT_BYTES = 64 << 20  # of what is kept of all rows for the next pass
_WORTH_THREADS = 2e7  # multiplications: a pass of fewer is over before threads have begun
# What one native call does of a pass: at least so many multiplications and, where JᵀJ has to be put together, rows.
_PART, _SQUARE_ROWS = 5e6, 512
_WINDOW_BYTES = 1 << 19  # of batches laid out together
_SAMPLE = 1024  # rows that numbers near the means are found by


def block_rows(model: Model, request: Request, rows: int, itemsize: int = 8) -> int:
    """Rows to a block of a pass: so many that what is made of them stays in the cache, and blocks are nearly equal."""
    sizes, room = getattr(model, "sizes", (model.inputs, model.outputs)), _BLOCK_BYTES
    wide, directions = max(sizes[1:]), request.direction
    bent = request.kind == "hessian"
    if isinstance(model, Network) and (
        (bent and directions is None) or (request.kind == "gauss_newton" and pairs.by_pairs(model))
    ):
        wide, room = pairs.widest(model), _PAIR_BYTES
    elif request.kind in ("gauss_newton", "triangle") or not isinstance(model, Network):
        wide = model.n_weights * model.outputs
    elif bent:
        wide *= len(directions)
    fitting = min(max(room // (itemsize * wide), _SMALLEST), LARGEST_BLOCK)  # np.clip takes longer than small sums
    return -(-rows // -(-rows // fitting))


def _first_bad_row(array: Any, together: int) -> int | None:
    """The first row that holds NaN or infinity, found without a copy of the array; None if there is none.

    ``together``: numbers looked at at once.
    """
    xp, (n, width) = namespace(array), array.shape
    step = max(together // max(width, 1), 1)
    for at in range(0, n, step):
        block = array[at : min(at + step, n), :]
        with np.errstate(all="ignore"):  # NaN and infinity stay in a sum; large numbers may overflow in it
            finite = bool(xp.isfinite(xp.sum(block)))
        if not finite and not bool(xp.all(rows := xp.all(xp.isfinite(block), axis=1))):
            return at + int(xp.argmin(xp.astype(rows, xp.int8)))
    return None


@dataclass(frozen=True, eq=False)
class InMemory(Rows):
    """Rows held in memory.

    x (n, inputs) and y (n, outputs), finite numbers; ``sample_weight`` (n,), how often each row
    counts, 1 by default. Kept in ``dtype``: without one, float32 where x and y are float32, else float64.
    An array of that type is not copied, so leave it as it is until the descent is over. Arrays of CuPy or PyTorch on a GPU
    stay there and are summed there. Raises ShapeError where the lengths differ or an array has the wrong rank, TableError
    for NaN, infinities, negative row weights, or no row at all.
    """

    x: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    dtype: Any = None
    _cut: dict[int, list[Block]] = field(default_factory=dict, init=False, repr=False)
    _CHECKED: ClassVar[int] = 1 << 18  # numbers looked at together
    in_any_order: ClassVar[bool] = True

    def __new__(cls, x: Any, y: Any, sample_weight: Any = None, dtype: Any = None) -> Self:
        """``OnDevice`` where NumPy cannot read one of the arrays where it lies."""
        if not any(map(on_device, (x, y, sample_weight))):
            return object.__new__(cls)
        from fallline.rows.device import OnDevice

        return object.__new__(OnDevice)  # type: ignore[return-value]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what is pickled, is made anew, without the blocks that are at hand here."""
        return InMemory, (self.x, self.y, self.sample_weight, self.dtype)

    def _arrays(self) -> tuple[Any, Any, Any, np.dtype[Any]]:
        """x, y and the row weights as they are kept, and their type."""
        x, y, s = np.asarray(self.x), np.asarray(self.y), self.sample_weight
        single = x.dtype == np.float32 and y.dtype == np.float32
        dtype = np.dtype((np.float32 if single else np.float64) if self.dtype is None else self.dtype)
        dtype = dtype if dtype.isnative else dtype.newbyteorder("=")
        return np.asarray(x, dtype), np.asarray(y, dtype), None if s is None else np.asarray(s, dtype), dtype

    def __post_init__(self) -> None:
        x, y, s, dtype = self._arrays()
        if x.ndim != 2 or y.ndim != 2:
            raise ShapeError(
                f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}: expected (rows, inputs) and (rows, outputs). "
                "For a single column, pass x[:, None] or y[:, None]."
            )
        n = x.shape[0]
        if y.shape[0] != n:
            raise ShapeError(f"x has {n} rows and y has {y.shape[0]}: give one target row for each input row.")
        if n == 0:
            raise TableError("there are no rows: a descent needs at least one row to sum over.")
        for name, array in (("x", x), ("y", y)):
            row = _first_bad_row(array, self._CHECKED)
            if row is not None:
                raise TableError(
                    f"{name} contains NaN or infinity, first in row {row} (counted from 0): fill or leave out such rows first."
                )
        if s is not None:
            if tuple(s.shape) != (n,):
                raise ShapeError(
                    f"sample_weight has shape {tuple(s.shape)}: expected one number for each of the {n} rows."
                )
            xp = namespace(s)
            if not xp.all(xp.isfinite(s)) or xp.any(s < 0):
                raise TableError("sample_weight must be finite and not negative: it says how often each row counts.")
            if not xp.any(s > 0):
                raise TableError("sample_weight is 0 for every row: at least one row must count.")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "sample_weight", s)
        object.__setattr__(self, "dtype", dtype)

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.x.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.y.shape[1])

    @property
    def count(self) -> float:
        """The number of rows, Σ s."""
        return float(len(self.x) if self.sample_weight is None else self.sample_weight.sum(dtype=np.float64))

    def total(self, request: Request, model: Model) -> Sums:
        keep_freed_memory()
        n, p = len(self.x), model.n_weights
        directions = 1 if request.direction is None else np.atleast_2d(request.direction).shape[0]
        square = request.kind in ("gauss_newton", "triangle", "hessian")
        work = n * p * (p if square and request.direction is None else directions)
        in_c = native.sums(model, request, self.x, self.y) if self._is_for_c(model) else None
        if in_c is not None:
            most = n // _SQUARE_ROWS if square else _GROUPS
            parts = max(min(int(work / _PART), most, _GROUPS), 1)
            return self._fold(lambda block: Sums(block.count, *in_c(block)), merged, size=-(-n // parts), work=work)
        size = block_rows(model, request, n, self.x.itemsize)
        return finished(
            model, self._fold(functools.partial(sums_of_block, model, request), merged, size=size, work=work)
        )

    def totals(self, asked: Sequence[tuple[Model, Request]]) -> list[Sums]:
        return side_by_side([functools.partial(self.total, request, model) for model, request in asked])

    def steps(self, model: Model, *given: Any) -> "native.Steps | None":
        block = self._for_c(model, tiny=True)
        return None if block is None else native.steps(model, block, *given)

    def ends(self, model: Model, *given: Any) -> bool:
        block = self._for_c(model, tiny=True)
        return block is not None and native.ends(model, block, *given)

    def epoch(self, model: Model, *given: Any) -> int | None:
        block = self._for_c(model, tiny=False)
        return None if block is None else native.epoch(model, block, *given)

    def each(self, of_block: Callable[[Block], Any], width: int = 64) -> Any:
        size = min(max(_EACH_BYTES // (8 * width), 16), LARGEST_BLOCK)
        with one_blas_thread(), np.errstate(all="ignore"):
            parts = [of_block(block) for block in self._blocks(size)]
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(each) for each in zip(*parts, strict=True))
        return np.concatenate(parts)

    def batches(self, order: np.ndarray, size: int) -> Iterator[Block]:
        row_bytes = self.x.itemsize * (self.x.shape[1] + self.y.shape[1] + 1)
        window = max(_WINDOW_BYTES // (row_bytes * size), 1) * size
        for start in range(0, len(order), window):
            taken = order[start : start + window]
            x, y = np.take(self.x, taken, axis=0), np.take(self.y, taken, axis=0)
            s = None if self.sample_weight is None else self.sample_weight[taken]
            for at in range(0, len(taken), size):
                part = slice(at, at + size)
                yield Block(x[part], y[part], None if s is None else s[part])

    def weighted(self, factor: np.ndarray) -> Self:
        return replace(self, sample_weight=self.counts * put(factor, self.counts))

    def taking(self, which: np.ndarray) -> Self:
        s = None if self.sample_weight is None else taken(self.sample_weight, which)
        return replace(self, x=taken(self.x, which), y=taken(self.y, which), sample_weight=s)

    def wide(self) -> Self:
        return self if self.dtype == np.float64 else replace(self, dtype=np.float64)

    def _middle(self) -> tuple[np.ndarray, np.ndarray]:
        xp, step = namespace(self.x), max(len(self) // _SAMPLE, 1)
        some = slice(None, min(step * _SAMPLE, len(self)), step)
        part = widened(xp.concat([self.x[some, :], self.y[some, :]], axis=1))
        mean = xp.mean(part, axis=0)
        return to_numpy(mean), to_numpy(xp.sqrt(xp.mean((part - mean) ** 2, axis=0)))

    def content_keys(self, seed: int | np.random.Generator | None) -> np.ndarray:
        return content_keys(self.x, self.y, seed)

    def differ(self, count: int) -> bool:
        for some in (slice(min(1000, len(self))), slice(len(self))):
            x, y = to_numpy(self.x[some, :]), to_numpy(self.y[some, :])
            if len(np.unique(content_keys(x, y, 0)[to_numpy(self.counts)[some] > 0])) >= count:
                return True
        return False

    def _for_c(self, model: Model, *, tiny: bool) -> Block | None:
        """All rows as one block for C; None where it cannot read them, or a step over them has to be tiny and is not."""
        if not self._is_for_c(model) or (tiny and len(self) * model.n_weights > _TINY_STEP):
            return None
        keep_freed_memory()
        return self._blocks(len(self))[0]

    def _is_for_c(self, model: Model) -> bool:
        """Whether C can read the rows, and knows such a model."""
        return isinstance(model, Network) and isinstance(self.x, np.ndarray)

    def _blocks(self, size: int) -> list[Block]:
        found = self._cut.get(size)
        if found is None:
            keeps = 4 * self.x.shape[1] * self.x.nbytes <= _KEPT_BYTES
            s, parts = self.sample_weight, [slice(at, at + size) for at in range(0, len(self.x), size)]
            found = self._cut[size] = [
                Block(self.x[part], self.y[part], None if s is None else s[part], keeps) for part in parts
            ]
        return found

    def _fold(
        self, of_block: Callable[[Block], _T], merge: Callable[[_T, _T], _T] = operator.add, *,
        size: int = LARGEST_BLOCK, work: float = math.inf,
    ) -> _T:  # fmt: skip
        """Merged in runs of blocks, and these one after the other."""
        blocks = self._blocks(size)
        with one_blas_thread():
            if len(blocks) == 1:
                return of_block(blocks[0])
            length = -(-len(blocks) // _GROUPS)
            runs = [blocks[at : at + length] for at in range(0, len(blocks), length)]

            def of_run(run: Sequence[Block]) -> _T:
                return functools.reduce(merge, map(of_block, run))

            threads = min(processors(), len(runs))
            if threads == 1 or work < _WORTH_THREADS or is_side_by_side():
                return functools.reduce(merge, map(of_run, runs))
            with ThreadPoolExecutor(threads, "rows") as pool:
                return functools.reduce(merge, pool.map(of_run, runs))


class InNumPy(InMemory):
    """The same rows, of which nothing is left to C: what C says is judged beside them."""

    def _is_for_c(self, model: Model) -> bool:
        return False


@functools.cache
def keep_freed_memory() -> None:
    """Make and free one large array, once in a process.

    The C library of Linux gives freed memory back to the system, page by page to be asked for again at every pass, unless a
    larger block has been freed before: then it keeps what is smaller. JᵀJ of 400 weights took a third longer without. Where
    the environment sets a threshold, as Dask does for its workers, it learns nothing by itself, and is told the same.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # the C library is another
            tell = ctypes.CDLL(None).mallopt
            tell(_MMAP_THRESHOLD, 32 << 20)
            tell(_TRIM_THRESHOLD, 64 << 20)
    np.empty(_LARGEST_KEPT, np.uint8)


GivenRows = Rows | tuple[Any, ...]  # as the functions for users take them: rows, or (x, y) or (x, y, sample_weight)


def rows_of(given: GivenRows) -> Rows:
    """The rows, or arrays as rows wherever they lie: ``InMemory``, or ``Clustered`` where x is a Dask array."""
    if isinstance(given, Rows):
        return given
    if type(given[0]).__module__.startswith("dask."):  # not imported to see that
        from fallline.rows.cluster import Clustered, Partitions

        return Clustered(Partitions.of_arrays(*given))
    return InMemory(*given)


def check_fit(model: Model, rows: GivenRows) -> Rows:
    """The rows, or (x, y) as ``InMemory``. ShapeError if they have other columns than the model takes and predicts."""
    rows = rows_of(rows)
    if rows.inputs != model.inputs or rows.outputs != model.outputs:
        raise ShapeError(
            f"the rows have {rows.inputs} inputs and {rows.outputs} targets, but the model takes {model.inputs} "
            f"and predicts {model.outputs}: build the model for these columns."
        )
    return rows
