"""Rows that do not fit in memory: they stream by, pass after pass.

A source gives the rows in blocks, the same each time it is asked. What is read is cut anew into chunks, by the numbers of the
rows alone, and what is said of the chunks is merged in their order: sums depend neither on timing, nor on the blocks of the
source, nor on what else was asked. The next chunk is read in a thread of its own while those before are summed.

A pass costs the reading. So one pass serves all that is asked at the same time: walks side by side wait for each other, and
their sums come from one pass (``_Gate``).
"""

import contextlib
import copy
import functools
import itertools
import math
import operator
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from fallline.error.sums import Block, Request, Sums, finished, merged, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.identity import digest
from fallline.model.network import Model, Network
from fallline.native import kernels as native
from fallline.rows.memory import InMemory, block_rows, keep_freed_memory
from fallline.rows.rows import (
    LARGEST_BLOCK,
    Rows,
    content_of,
    counts_of,
    salt_of,
    salted_keys,
    spread_and_products,
    spread_of,
)
from fallline.table.scaling import Scaling
from fallline.table.sums import Moments as Spread
from fallline.threads import one_blas_thread, processors, stopping

_T = TypeVar("_T")
_Read = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x (b, inputs), y (b, outputs), s (b,) of some rows

_CHUNK_BYTES, _FEWEST_ROWS = 3 << 20, 1 << 10  # of a chunk, in float64
_FEW_COLUMNS = 64  # up to which the survey finds all products of columns, too: a linear fit needs no other pass
_AHEAD = 2  # chunks that are read and not begun
_PATIENCE = 0.25  # seconds that a walk waits for others to ask, too
_LOOK_SECONDS = 0.1  # between two looks whether to stop


class Source(Protocol):
    """Where rows stream from."""

    @property
    def inputs(self) -> int:
        """Numbers of x in a row."""

    @property
    def outputs(self) -> int:
        """Numbers of y in a row."""

    def blocks(self) -> Iterator[_Read]:
        """The rows: x (b, inputs), y (b, outputs), and how often each counts, (b,), or None where each counts once.

        Arrays of float32 or float64, which nobody writes to any more; the same rows in the same order each time.
        """


class Streamed(Rows):
    """Rows of a ``Source``, read anew at every pass: any number of them, in memory that does not grow with it.

    scaling: applied to each block. dtype: of the sums' arithmetic; without one float32 where all of the source is and there is
    no scaling, else float64. Reads the source once, to count its rows and to check them: raises ShapeError for blocks of other
    shapes than the source says, TableError for NaN, infinities, negative row weights, or no row at all. Mini-batches, which take
    rows in random order, are refused.
    """

    def __init__(self, source: Source, scaling: Scaling | None = None, dtype: Any = None) -> None:
        self._gate = self._gate_to(source)
        self._known = self._gate.survey()
        single = self._known.single and scaling is None
        self.dtype = np.dtype((np.float32 if single else np.float64) if dtype is None else dtype)
        self._scaling = scaling
        self._ranges: tuple[tuple[np.uint64, float, float], ...] = ()  # of content keys: whose rows these are
        self._mask: np.ndarray | None = None  # (rows of the source,) bool: which these are
        self._factor: np.ndarray | None = None  # (rows of the source,): how much more often each counts
        self._size: tuple[int, float] | None = (self._known.rows, self._known.count)

    @staticmethod
    def _gate_to(source: Any) -> "_Gate":
        return _Gate(source)

    def _view(self, **changed: Any) -> Self:
        """The same rows but for what is changed."""
        view = copy.copy(self)
        view.__dict__.pop("_spread", None)
        view.__dict__.update(changed)
        return view

    @property
    def inputs(self) -> int:
        scores = None if self._scaling is None else self._scaling.scores
        return self._gate.source.inputs if scores is None else int(scores.shape[1])

    @property
    def outputs(self) -> int:
        return self._gate.source.outputs

    def __len__(self) -> int:
        return self._sizes()[0]

    @property
    def count(self) -> float:
        return self._sizes()[1]

    def _sizes(self) -> tuple[int, float]:
        if self._size is None:
            self._size = self._fold(_size_of, _both)
        return self._size

    @property
    def _is_whole(self) -> bool:
        """Whether these are all rows of the source, in its columns: then the survey knows them."""
        scores = None if self._scaling is None else self._scaling.scores
        return not self._ranges and self._mask is None and self._factor is None and scores is None

    @property
    def content(self) -> str:
        """A digest of the source, found once by a pass over it, and of what these rows are of it."""
        gate = self._gate
        if gate.content is None:
            whole = self._view(_scaling=None, _ranges=(), _mask=None, _factor=None, dtype=np.dtype(np.float64))
            gate.content = digest(whole._fold(content_of))
        return digest(gate.content, str(self.dtype), self._scaling, self._ranges, self._mask, self._factor)

    def _products(self) -> np.ndarray | None:
        square, scaling = self._known.square, self._scaling
        if square is None or not self._is_whole:
            return None
        scale = np.ones(len(square)) if scaling is None else np.append(scaling.x_scale, scaling.y_scale)
        return np.asarray(square / np.outer(scale, scale))

    @functools.cached_property
    def _spread(self) -> Spread:
        scaling, known = self._scaling, self._known.spread
        if not self._is_whole:
            return self._fold(spread_of)
        if scaling is None:
            return known
        mean, scale = np.append(scaling.x_mean, scaling.y_mean), np.append(scaling.x_scale, scaling.y_scale)
        ends = ((end - mean) / scale for end in (known.low, known.high))
        return Spread(known.weight, (known.mean - mean) / scale, known.m2 / scale**2, *ends)

    def scaling_for(self, **settings: Any) -> Scaling:
        """The ``Scaling`` of these rows, all of one source as it gives them: by what is known of them without a pass."""
        d, known = self._gate.source.inputs, self._known.spread
        halves = (
            Spread(known.weight, *(part[at] for part in (known.mean, known.m2, known.low, known.high)))
            for at in (slice(d), slice(d, None))
        )
        return Scaling.of_moments(*halves, **settings)

    def scaled(self, scaling: Scaling | None, dtype: Any = np.float64) -> Self:
        """The rows of the source under this scaling, however they were scaled before; passes are shared."""
        return self._view(_scaling=scaling, dtype=np.dtype(dtype))

    def wide(self) -> Self:
        return self if self.dtype == np.float64 else self._view(dtype=np.dtype(np.float64))

    def weighted(self, factor: np.ndarray) -> Self:
        whole = np.ones(self._known.rows) if self._factor is None else self._factor.copy()
        whole[self._numbers()] *= np.asarray(factor, np.float64)
        return self._view(_factor=whole, _size=None)

    def taking(self, which: np.ndarray) -> Any:
        """The rows where ``which`` (n,) is True, as they stream by; those of these numbers, in memory, ``InMemory``."""
        which, numbers = np.asarray(which), self._numbers()
        mask = np.zeros(self._known.rows, bool)
        mask[numbers[which]] = True
        view = self._view(_mask=mask, _size=None)
        if which.dtype == bool:
            return view
        order = np.searchsorted(np.unique(which), which)
        return view.in_memory().taking(order)

    def divided(self, seed: int, ranges: Sequence[tuple[float, float]]) -> list[Self]:
        """By the rows as the source gives them, in one pass."""
        salt = salt_of(seed)
        views = [self._view(_ranges=(*self._ranges, (salt, low, high)), _size=None) for low, high in ranges]
        for view, size in zip(views, self._gate.ask([_Task(view, _size_of, _both) for view in views]), strict=True):
            view._size = size or (0, 0.0)
        return views

    def in_memory(self) -> InMemory:
        """These rows, all of them, in memory."""
        x, y = self.each(lambda block: (block.x, block.y))
        plain = not self._known.counted and self._factor is None
        return InMemory(x, y, None if plain else self.counts, self.dtype)

    def distinct(self) -> InMemory:
        """The rows that differ, in memory, each counting as often as it comes."""
        salt = salt_of(0)

        def once(x: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            _, first, place = np.unique(salted_keys(x, y, salt), return_index=True, return_inverse=True)
            return x[first], y[first], np.bincount(place, s)

        found = self._fold(
            lambda block: once(block.x, block.y, counts_of(block)),
            lambda one, other: once(*(np.concatenate(both) for both in zip(one, other, strict=True))),
        )
        return InMemory(*found, self.dtype)

    def total(self, request: Request, model: Model) -> Sums:
        return self.totals([(model, request)])[0]

    def totals(self, asked: Sequence[tuple[Model, Request]]) -> list[Sums]:
        found = self._said([self._summing(model, request) for model, request in asked])
        return [finished(model, sums) for (model, _), sums in zip(asked, found, strict=True)]

    def _summing(self, model: Model, request: Request) -> "_Task":
        keep_freed_memory()
        like = (np.empty((1, width), self.dtype) for width in (self.inputs, self.outputs))
        in_c = native.sums(model, request, *like) if isinstance(model, Network) else None
        if in_c is not None:
            return _Task(self, lambda block: Sums(block.count, *in_c(block)), merged)
        size = block_rows(model, request, max(min(self._gate.rows, len(self)), 1), self.dtype.itemsize)
        return _Task(self, functools.partial(sums_of_block, model, request), merged, size)

    def each(self, of_block: Callable[[Block], Any], width: int = 64) -> Any:
        size = max(_CHUNK_BYTES // (8 * width), 16)
        parts = self._fold(lambda block: [of_block(block)], size=size)
        if isinstance(parts[0], tuple):
            return tuple(np.concatenate(each) for each in zip(*parts, strict=True))
        return np.concatenate(parts)

    def walking(self) -> contextlib.AbstractContextManager[None]:
        return self._gate.walking()

    def _fold(
        self, of_block: Callable[[Block], _T], merge: Callable[[_T, _T], _T] = operator.add, *,
        size: int = LARGEST_BLOCK, work: float = math.inf,
    ) -> _T:  # fmt: skip
        (found,) = self._said([_Task(self, of_block, merge, size)])
        return found

    def _said(self, tasks: list["_Task"]) -> list[Any]:
        found = self._gate.ask(tasks)
        if any(each is None for each in found):
            raise TableError("there are no rows in this part of the table: a sum needs at least one.")
        return found

    def _numbers(self) -> np.ndarray:
        """Which rows of the source these are: their numbers, ascending."""
        if not self._ranges:
            return np.arange(self._known.rows) if self._mask is None else np.flatnonzero(self._mask)
        (found,) = self._gate.ask([_Numbers(self, None, operator.add)])
        return np.concatenate(found or [np.zeros(0, np.int64)])

    def _kept(self, chunk: "_Chunk") -> np.ndarray | None:
        """Which rows of a chunk are among these, (b,) bool; None: all."""
        keep = None if self._mask is None else self._mask[chunk.place]
        for salt, low, high in self._ranges:
            keys = chunk.keys(salt)
            inside = (low <= keys) & (keys < high)
            keep = inside if keep is None else keep & inside
        return keep

    def _of(self, chunk: "_Chunk") -> Block | None:
        """The rows of a chunk that are among these, as they are summed; None where there are none."""
        x, y, s = chunk.scaled(self._scaling, self.dtype)
        if self._factor is not None:
            factor = self._factor[chunk.place]
            s = factor if s is None else s * factor
        keep = self._kept(chunk)
        if keep is not None:
            if not keep.any():
                return None
            x, y, s = x[keep], y[keep], None if s is None else s[keep]
        return Block(x, y, None if s is None else s.astype(self.dtype, copy=False))


@dataclass(frozen=True)
class _Task:
    """What is asked of a pass: what ``of_block`` says of blocks of up to ``size`` rows, merged."""

    rows: Streamed
    of_block: Any
    merge: Callable[[Any, Any], Any]
    size: int = 1 << 62

    def of(self, chunk: "_Chunk") -> Any:
        """What is said of a chunk; None where it has none of the rows, a ``_Failed`` where it could not be said."""
        try:
            block = self.rows._of(chunk)
            return None if block is None else in_cuts(self.of_block, self.merge, block, self.size)
        except Exception as failure:
            return _Failed(failure)

    def plus(self, total: Any, more: Any) -> Any:
        """Both merged."""
        if total is None or isinstance(more, _Failed):
            return more
        return total if more is None or isinstance(total, _Failed) else self.merge(total, more)


def in_cuts(of_block: Callable[[Block], _T], merge: Callable[[_T, _T], _T], block: Block, size: int) -> _T:
    """What ``of_block`` says of a block, cut into blocks of up to ``size`` rows, merged."""
    if len(block.x) <= size:
        return of_block(block)
    cuts = (slice(at, at + size) for at in range(0, len(block.x), size))
    parts = (Block(block.x[at], block.y[at], None if block.s is None else block.s[at]) for at in cuts)
    return functools.reduce(merge, map(of_block, parts))


class _Numbers(_Task):
    """The numbers of the rows themselves."""

    def of(self, chunk: "_Chunk") -> list[np.ndarray]:
        kept = self.rows._kept(chunk)
        return [chunk.place.start + np.flatnonzero(np.ones(len(chunk), bool) if kept is None else kept)]


class _Failed(NamedTuple):
    why: BaseException


class _Chunk:
    """Rows from number ``first`` on, as they were read: in one or several pieces."""

    def __init__(self, first: int, pieces: list[_Read]) -> None:
        self._pieces = pieces
        self.place = slice(first, first + sum(len(x) for x, _, _ in pieces))
        self._made: dict[Any, Any] = {}  # what several tasks need

    def __len__(self) -> int:
        return self.place.stop - self.place.start

    def raw(self) -> _Read:
        """x, y and row weights as they were read, joined."""
        if len(self._pieces) > 1:
            x, y, s = zip(*self._pieces, strict=True)
            if counted := any(each is not None for each in s):
                s = tuple(np.ones(len(b)) if a is None else a for a, b in zip(s, x, strict=True))
            self._pieces = [(np.concatenate(x), np.concatenate(y), np.concatenate(s) if counted else None)]
        return self._pieces[0]

    def scaled(self, scaling: Scaling | None, dtype: np.dtype[Any]) -> _Read:
        """The same as they are summed."""
        key = id(scaling), dtype
        if key not in self._made:
            x, y, s = self.raw()
            if scaling is not None:
                with np.errstate(all="ignore"):
                    x, y = scaling.x(x), scaling.y(y)
            self._made[key] = np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype), s
        found: _Read = self._made[key]
        return found

    def keys(self, salt: np.uint64) -> np.ndarray:
        """Content keys of the rows as they were read."""
        if int(salt) not in self._made:
            self._made[int(salt)] = salted_keys(*self.raw()[:2], salt)
        found: np.ndarray = self._made[int(salt)]
        return found


@dataclass(eq=False)
class _Asked:
    """Tasks that a thread waits for, and what came of them."""

    tasks: list[_Task]
    thread: int
    found: list[Any] | None = None
    left: bool = False  # nobody waits any more


class _Gate:
    """One pass at a time over a source, for all that is asked by then.

    Threads that walk wait for each other: a pass begins when all of them ask, or after ``_PATIENCE``.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        fitting = max(_CHUNK_BYTES // (8 * (source.inputs + source.outputs)), _FEWEST_ROWS)
        self.rows = 1 << fitting.bit_length() - 1  # of a chunk
        self._turn = threading.Condition()
        self._waiting: list[_Asked] = []
        self._walking: dict[int, int] = {}
        self._busy = False
        self._short = False  # one chunk is all there is
        self.passes = 0
        self.content: str | None = None  # of the whole source, once somebody has asked

    @contextlib.contextmanager
    def walking(self) -> Iterator[None]:
        """A block in which this thread asks again and again: other threads wait for it."""
        me = threading.get_ident()
        with self._turn:
            self._walking[me] = self._walking.get(me, 0) + 1
        try:
            yield
        finally:
            with self._turn:
                self._walking[me] -= 1
                if not self._walking[me]:
                    del self._walking[me]
                self._turn.notify_all()

    def survey(self) -> "_Survey":
        """What there is to know of the rows: one pass. Raises as ``Streamed`` says."""
        of = functools.partial(_Survey.of, self.source.inputs, self.source.outputs)
        found = self._pass(of, _Survey.plus)
        if found is None:
            raise TableError("there are no rows: a descent needs at least one row to sum over.")
        if not found.count > 0:
            raise TableError("sample_weight is 0 for every row: at least one row must count.")
        self._short = found.rows <= self.rows
        return found

    def ask(self, tasks: list[_Task]) -> list[Any]:
        """What is said to each of the tasks by one pass, which may be another's. Raises KeyboardInterrupt where it is to stop."""
        asked, since = _Asked(tasks, threading.get_ident()), time.perf_counter()
        with self._turn:
            self._waiting.append(asked)
            self._turn.notify_all()
            try:
                while asked.found is None and not self._may_begin(since):
                    self._turn.wait(_LOOK_SECONDS)
                    if stopping():
                        raise KeyboardInterrupt
            except BaseException:
                asked.left = True
                raise
            leads = asked.found is None
            if leads:
                self._waiting, together, self._busy = [], [each for each in self._waiting if not each.left], True
        if leads:
            self._lead(together, asked)
        for each in asked.found or []:
            if isinstance(each, _Failed):
                raise each.why
        return asked.found or []

    def _may_begin(self, since: float) -> bool:
        late = time.perf_counter() - since > _PATIENCE
        return not self._busy and (late or self._walking.keys() <= {each.thread for each in self._waiting})

    def _lead(self, together: list[_Asked], own: _Asked) -> None:
        """Make the pass that all of these wait for. Who breaks it off leaves the others to make it themselves."""
        tasks = [task for each in together for task in each.tasks]
        done: list[Any] | None = None

        def merge(total: list[Any], more: list[Any]) -> list[Any]:
            return [task.plus(*both) for task, *both in zip(tasks, total, more, strict=True)]

        try:
            done = self._pass(lambda chunk: [task.of(chunk) for task in tasks], merge)
        except Exception as failure:  # of the source: nobody gets further
            done = [_Failed(failure)] * len(tasks)
        finally:
            with self._turn:
                self._busy = False
                if done is None:
                    self._waiting[:0] = [each for each in together if each is not own]
                else:
                    parts = iter(done)
                    for each in together:
                        each.found = list(itertools.islice(parts, len(each.tasks)))
                self._turn.notify_all()

    def _pass(self, of_chunk: Callable[[_Chunk], _T], merge: Callable[[_T, _T], _T]) -> _T | None:
        """What is said of the chunks, merged in their order; None without any."""
        self.passes += 1
        total: _T | None = None
        said = (of_chunk(chunk) for chunk in self._chunks()) if self._short else _ahead(self._chunks(), of_chunk)
        with one_blas_thread(), contextlib.closing(said):
            for each in said:
                total = each if total is None else merge(total, each)
        return total

    def _chunks(self) -> Iterator[_Chunk]:
        """The rows as they are read, cut and joined to chunks of equal length; the last may be shorter."""
        pieces: list[_Read] = []
        first = rows = 0
        for x, y, s in self.source.blocks():
            at, n = 0, len(x)
            while at < n:
                part = slice(at, min(at + self.rows - rows, n))
                pieces.append((x[part], y[part], None if s is None else s[part]))
                rows, at = rows + part.stop - at, part.stop
                if rows == self.rows:
                    yield _Chunk(first, pieces)
                    first, rows, pieces = first + rows, 0, []
        if pieces:
            yield _Chunk(first, pieces)


def _ahead(chunks: Iterator[_Chunk], call: Callable[[_Chunk], _T]) -> Generator[_T, None, None]:
    """What the call says of each chunk, in order: read in one thread, called in as many as there are processors.

    Raises KeyboardInterrupt between two chunks where this thread is to stop.
    """
    read: queue.Queue[Any] = queue.Queue(_AHEAD)
    over = threading.Event()

    def put(what: Any) -> None:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                read.put(what, timeout=_LOOK_SECONDS)
                break

    def reading() -> None:
        last: Any = None
        try:
            for chunk in chunks:
                put(chunk)
                if over.is_set():
                    break
        except BaseException as failure:
            last = _Failed(failure)
        finally:
            chunks.close()  # type: ignore[attr-defined]
            put(last)

    reader, waiting = threading.Thread(target=reading, name="rows", daemon=True), deque[Future[_T]]()
    workers = processors()
    try:
        with ThreadPoolExecutor(workers, "rows") as pool:
            reader.start()
            while (chunk := read.get()) is not None:
                if stopping():
                    raise KeyboardInterrupt
                if isinstance(chunk, _Failed):
                    raise chunk.why
                waiting.append(pool.submit(call, chunk))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        over.set()
        reader.join()


def _size_of(block: Block) -> tuple[int, float]:
    return len(block.x), block.count


def _both(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    return one[0] + other[0], one[1] + other[1]


@dataclass(frozen=True)
class _Survey:
    """What is known of the rows of a source: how many, Σ s, whether row weights are given and all numbers are float32, and
    what mean and spread the columns have; ``square``: their products about the means, where columns are few.
    """

    rows: int
    count: float
    counted: bool
    single: bool
    spread: Spread
    square: np.ndarray | None

    @classmethod
    def of(cls, inputs: int, outputs: int, chunk: _Chunk) -> "_Survey":
        """Of a chunk. Raises as ``Streamed`` says."""
        x, y, s = chunk.raw()
        n = len(chunk)
        if x.shape != (n, inputs) or y.shape != (n, outputs) or (s is not None and s.shape != (n,)):
            shapes = x.shape, y.shape, *(() if s is None else (s.shape,))
            raise ShapeError(
                f"the source has {inputs} inputs and {outputs} targets and gave blocks of shapes "
                f"{', '.join(map(str, shapes))}: expected ({n}, {inputs}), ({n}, {outputs}) and ({n},) of one block."
            )
        block = Block(x, y, s)
        spread, square = spread_and_products(block, products=inputs + outputs <= _FEW_COLUMNS)
        ends = spread.low, spread.high
        if not np.isfinite(ends).all() or s is not None:  # rows that count for nothing have to be finite, too
            for name, array in (("x", x), ("y", y)):
                finite = np.isfinite(array).all(axis=1)
                if not finite.all():
                    raise TableError(
                        f"{name} contains NaN or infinity, first in row {chunk.place.start + int(finite.argmin())} (counted "
                        "from 0): fill or leave out such rows first."
                    )
        if s is not None and not (np.isfinite(s).all() and (s >= 0).all()):
            raise TableError("sample_weight must be finite and not negative: it says how often each row counts.")
        return cls(n, block.count, s is not None, x.dtype == y.dtype == np.float32, spread, square)

    def plus(self, other: "_Survey") -> "_Survey":
        """Of both."""
        one, two, square = self.spread, other.spread, None
        if self.square is not None and other.square is not None:
            apart, weight = two.mean - one.mean, one.weight * two.weight / ((one.weight + two.weight) or 1.0)
            square = self.square + other.square + weight * np.outer(apart, apart)
        return _Survey(
            self.rows + other.rows, self.count + other.count, self.counted or other.counted,
            self.single and other.single, one + two, square,
        )  # fmt: skip
