"""Rows on a Dask cluster: partitions that stay in the memory of its workers, and sums that come back.

A pass asks each worker for the partitions that lie with it, in a few tasks. What is said of the partitions is merged along one
fixed tree, by their numbers alone: first within a task, as far as it has neighbours, then here. So the bits of a sum depend on
how the rows are cut into partitions, and neither on the number of workers, nor on where the partitions lie, nor on who answers
first. What is lost with a worker, its partitions included, is computed again by those that are left.
"""

import asyncio
import contextlib
import functools
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fallline import __version__
from fallline.error.sums import Block, Request, Sums, merged, sums_of_block
from fallline.exceptions import ClusterError, FalllineError, ShapeError
from fallline.model.network import Model, Network
from fallline.native import kernels as native
from fallline.native.library import status
from fallline.rows.memory import block_rows, keep_freed_memory
from fallline.rows.stream import Streamed, _Chunk, _Gate, _Read, _Task, in_cuts
from fallline.table.scaling import Scaling
from fallline.threads import one_blas_thread, stopping
from fallline.words import listed, shortened

_T = TypeVar("_T")
_Nodes = dict[tuple[int, int], Any]  # what is said of partitions i · 2^level up to (i + 1) · 2^level, by (level, i)

_TASKS = 2, 64  # of a worker in a pass, one a thread: each costs some 2 ms, and fewer would leave threads idle
_LOOK_SECONDS = 0.1  # between two looks whether to stop
_SECONDS_TO_ANSWER = 10
_PATIENCE = 60.0  # seconds that a cluster may be without a worker


@dataclass(frozen=True)
class Partitions:
    """Where rows on a cluster come from: ``parts`` are Dask's ``Delayed``, of x (b, inputs), y (b, outputs), s (b,) or None."""

    parts: Sequence[Any]
    inputs: int
    outputs: int

    @classmethod
    def of_arrays(cls, x: Any, y: Any, sample_weight: Any = None) -> "Partitions":
        """Of Dask arrays x (n, inputs), y (n,) or (n, outputs) and sample_weight (n,), cut into rows alike.

        Raises ShapeError where they are not.
        """
        import dask

        given = [x, y] if sample_weight is None else [x, y, sample_weight]
        if x.ndim != 2 or y.ndim not in (1, 2) or any(each.ndim != 1 for each in given[2:]):
            shapes = ", ".join(f"({', '.join('n' if n != n else str(n) for n in each.shape)})" for each in given)
            raise ShapeError(
                f"x, y and sample_weight have shapes {shapes}: expected (n, inputs), (n, outputs) and (n,)."
            )
        given = [each.rechunk({1: -1}) if each.ndim == 2 else each for each in given]
        rows = [tuple(-1 if n != n else n for n in each.chunks[0]) for each in given]  # NaN is not NaN
        if len({len(cuts) for cuts in rows}) > 1 or len({cuts for cuts in rows if -1 not in cuts}) > 1:
            raise ShapeError(
                f"x, y and sample_weight are cut into rows in different ways, {rows}: rechunk one as the other, "
                "y.rechunk((x.chunks[0], …))."
            )
        blocks = zip(*(each.to_delayed().ravel() for each in given), strict=True)
        together = dask.delayed(_arrays, pure=True)
        return cls([together(*block) for block in blocks], x.shape[1], 1 if y.ndim == 1 else y.shape[1])


class Clustered(Streamed):
    """Rows on a Dask cluster, as many as the memory of its workers holds, made where a ``distributed.Client`` is at hand.

    The partitions are computed once, and stay with the workers as long as these rows are in use; each is scaled anew at every
    pass. Everything else is as of ``Streamed``. Raises ClusterError where there is no cluster or it is gone, its workers have no
    fallline or another one, or compute with different native code, which would round differently.
    """

    _gate: "_ClusterGate"

    def __init__(self, source: Partitions, scaling: Scaling | None = None, dtype: Any = None) -> None:
        super().__init__(source, scaling, dtype)  # type: ignore[arg-type]  # whose blocks come to the workers alone

    @staticmethod
    def _gate_to(source: Any) -> "_ClusterGate":
        return _ClusterGate(source)

    def _summing(self, model: Model, request: Request) -> _Task:
        return _Task(self, _Summing(model, request), merged)


class _Summing(NamedTuple):
    """The sums asked for, of a chunk: in C where it serves in the process that is asked."""

    model: Model
    request: Request

    def __call__(self, block: Block) -> Sums:
        model, request = self
        in_c = native.sums(model, request, block.x, block.y) if isinstance(model, Network) else None
        if in_c is not None:
            return Sums(block.count, *in_c(block))
        size = block_rows(model, request, len(block.x), block.x.itemsize)
        return in_cuts(functools.partial(sums_of_block, model, request), merged, block, size)


class _Answer(NamedTuple):
    worker: str
    kind: tuple[str, str | None]  # see ``_kind``
    said: Any


class _ClusterGate(_Gate):
    """Passes over partitions: as those of any gate, but made where the rows are."""

    def __init__(self, source: Partitions) -> None:
        super().__init__(source)  # type: ignore[arg-type]  # it gives no blocks here
        self._partitions = source
        self._client = client_at_hand()
        _must_be_alike(self._client)
        with in_sentences(self._client):
            self._groups = self._grouped()
        lengths: dict[int, int] = {}
        for each in self._ask(_lengths):
            lengths.update(each)
        self._first = np.cumsum([0, *(lengths[number] for number in sorted(lengths))]).tolist()

    def __reduce__(self) -> Any:
        return type(None), ()  # with the rows of a task that is sent: a worker needs none

    def _grouped(self) -> list[tuple[list[int], Any]]:
        """The partitions brought together, neighbours on one worker, where their sums can be merged: their numbers, and a future.

        What asks for a group is sent by Dask to the worker that holds it; where that is lost, another makes it again.
        """
        threads = self._client.nthreads()
        parts = self._client.compute(list(self._partitions.parts))
        most = -(-len(parts) // len(threads))
        tasks = [worker for worker, count in threads.items() for _ in range(min(int(np.clip(count, *_TASKS)), most))]
        groups = [
            (
                numbers.tolist(),
                self._client.submit(
                    list, [parts[i] for i in numbers], workers=[worker], allow_other_workers=True, pure=False
                ),
            )
            for worker, numbers in zip(tasks, np.array_split(np.arange(len(parts)), len(tasks)), strict=True)
            if len(numbers)
        ]
        futures = [future for _, future in groups]
        self._wait(futures)
        # From here on any worker may make a group again: else Dask, once all were lost, would wait for this one for ever.
        self._client.sync(
            self._client.scheduler.set_restrictions, worker=dict.fromkeys(future.key for future in futures)
        )
        return groups

    def _pass(self, of_chunk: Callable[[_Chunk], _T], merge: Callable[[_T, _T], _T]) -> _T | None:
        self.passes += 1
        import cloudpickle

        # By value: a worker may not have what the caller wrote, and Dask would send what has a name by its name.
        given = cloudpickle.dumps((of_chunk, merge, self.rows, self._first))
        nodes: _Nodes = {}
        for each in self._ask(_said_of, given):
            nodes.update(each)
        (total,) = _merged(nodes, len(self._first) - 1, merge).values()
        return total

    def _ask(self, call: Callable[..., Any], *given: Any) -> list[Any]:
        """What ``call(*given, parts)`` says on the workers, of each group of partitions by their numbers.

        Raises what was raised there, ClusterError where the cluster is gone, KeyboardInterrupt where this thread is to stop.
        """
        asked: list[Any] = []
        with in_sentences(self._client):
            try:
                asked += [self._client.submit(_answer, call, given, *group, pure=False) for group in self._groups]
                self._wait(asked)
                answers: list[_Answer] = self._client.gather(asked)
            except BaseException:
                if self._client.status == "running":
                    self._client.cancel([future for future in asked if not future.done()])
                raise
        _must_round_alike({answer.worker: answer.kind for answer in answers})
        return [answer.said for answer in answers]

    def _wait(self, futures: list[Any]) -> None:
        import distributed

        alone = 0.0
        while True:
            try:
                with self._client.as_current():  # threads that walk side by side know of none
                    distributed.wait(futures, timeout=_LOOK_SECONDS)
                return
            except TimeoutError:
                if stopping():
                    raise KeyboardInterrupt from None
                alone = 0.0 if self._client.scheduler_info()["workers"] else alone + _LOOK_SECONDS
                if alone > _PATIENCE:
                    raise ClusterError(_NO_WORKERS) from None


def client_at_hand() -> Any:
    """The client of this process. Raises ClusterError where there is none."""
    distributed = _distributed()
    try:
        return distributed.get_client()
    except ValueError as problem:
        raise ClusterError(
            "rows that Dask holds are summed on a cluster, and this process has no client of one: make one first, "
            'distributed.Client("tcp://…") or distributed.Client() for this machine alone.'
        ) from problem


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """A block in which the client of the cluster at this address is at hand. Raises ClusterError where none answers."""
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as problem:
        raise ClusterError(
            f"no cluster answers at {address} ({problem}): give the address that its scheduler prints, such as "
            "tcp://10.0.0.1:8786."
        ) from problem
    with client, client.as_current():
        yield client


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as problem:
        raise ClusterError(
            f"rows on a cluster need Dask's `distributed`, which cannot be imported ({problem}): pip install 'fallline[cluster]'."
        ) from problem
    return distributed


def _must_be_alike(client: Any) -> None:
    """Raise ClusterError where a worker has no fallline, another version, or other native code than the others."""

    def look() -> Any:  # inside a function, so that it is sent by value: there may be no fallline to have it from
        try:
            from fallline.rows.cluster import kind

            return kind()
        except ImportError as problem:
            return str(problem)

    with in_sentences(client):
        kinds = client.run(look, on_error="ignore")  # one may just have died
        kinds["the scheduler"] = client.run_on_scheduler(look)
    if len(kinds) == 1:
        raise ClusterError(_NO_WORKERS)
    for where, found in kinds.items():
        if isinstance(found, str):
            raise ClusterError(
                f"{where} cannot import fallline ({found}): install fallline {__version__} in the environment of the "
                "scheduler and the workers."
            )
        if found[0] != __version__:
            raise ClusterError(
                f"{where} has fallline {found[0]}, and here is {__version__}: sums of two versions are not added up. "
                "Install the same version everywhere."
            )
    del kinds["the scheduler"]  # it sums nothing
    _must_round_alike(kinds)


def _must_round_alike(kinds: Mapping[str, tuple[str, str | None]]) -> None:
    if len(set(kinds.values())) == 1:
        return
    levels = {level: worker for worker, (_, level) in kinds.items()}
    said = (f"{worker} {f'at level {level}' if level else 'without native code'}" for level, worker in levels.items())
    raise ClusterError(
        f"the workers compute in different ways, {listed(said, 4)}, which round differently, so that a result would depend on "
        "who answers: start all workers with FALLLINE_NATIVE set to the lowest level of them, or to 0 for none."
    )


def kind() -> tuple[str, str | None]:
    """What this process computes with: the version, and the level of the native library, None without."""
    return __version__, status().level


@contextlib.contextmanager
def in_sentences(client: Any) -> Iterator[None]:
    """A block in which ClusterError is raised for what Dask raises where a cluster is gone, or a worker dies of a task."""
    import concurrent.futures

    import distributed

    try:
        yield
    except (FalllineError, KeyboardInterrupt):
        raise
    except distributed.KilledWorker as problem:
        raise ClusterError(
            "several workers died one after the other over the same partitions, for lack of memory as a rule: give them more, or "
            "cut the table into smaller partitions, …repartition(partition_size='100MB')."
        ) from problem
    except (ImportError, AttributeError) as problem:
        raise ClusterError(
            f"a worker lacks what is needed there ({problem}): install it in its environment."
        ) from problem
    except BaseException as problem:
        gone = isinstance(
            problem, (asyncio.CancelledError, concurrent.futures.CancelledError, ConnectionError, TimeoutError)
        )
        gone |= isinstance(problem, OSError) and problem.errno is None  # of a connection; those of files have a number
        if not gone and client.status == "running":
            raise
        said = shortened(" ".join(f"{type(problem).__name__}: {problem}".split()), 120)
        raise ClusterError(
            f"the cluster is gone, or has forgotten the rows ({said}): start it, make a client, and call again."
        ) from problem


_NO_WORKERS = "the cluster has no workers: start some, and call again."


# What runs on the workers.


def _arrays(x: Any, y: Any, s: Any = None) -> _Read:
    y = np.asarray(y)
    return np.asarray(x), y[:, None] if y.ndim == 1 else y, None if s is None else np.asarray(s)


def _answer(call: Callable[..., Any], given: tuple[Any, ...], numbers: list[int], parts: list[_Read]) -> _Answer:
    import distributed

    keep_freed_memory()
    with one_blas_thread():
        return _Answer(distributed.get_worker().address, kind(), call(*given, dict(zip(numbers, parts, strict=True))))


def _lengths(parts: Mapping[int, _Read]) -> dict[int, int]:
    return {number: len(x) for number, (x, _, _) in parts.items()}


def _said_of(given: bytes, parts: Mapping[int, _Read]) -> _Nodes:
    """What is said of some partitions, merged as far as they are neighbours."""
    of_chunk, merge, rows, first = pickle.loads(given)
    nodes: _Nodes = {}
    for number, part in parts.items():
        said = (of_chunk(chunk) for chunk in _chunks(part, rows, first[number]))
        nodes[0, number] = functools.reduce(merge, said) if len(part[0]) else None
    return _merged(nodes, len(first) - 1, merge)


def _chunks(part: _Read, rows: int, first: int) -> Iterator[_Chunk]:
    x, y, s = part
    for at in range(0, len(x), rows):
        cut = slice(at, at + rows)
        yield _Chunk(first + at, [(x[cut], y[cut], None if s is None else s[cut])])


def _merged(nodes: _Nodes, count: int, merge: Callable[[Any, Any], Any]) -> _Nodes:
    """Nodes merged as far as both halves of one are there, in a tree of ``count`` leaves."""
    for level in range((count - 1).bit_length()):
        last = (count - 1) >> level  # the number of the last node of this level
        for here, i in sorted(nodes):
            other = i ^ 1
            if here != level or (level, i) not in nodes or not (other > last or (level, other) in nodes):
                continue
            one, two = (nodes.pop((level, k), None) for k in sorted((i, other)))
            nodes[level + 1, i >> 1] = two if one is None else one if two is None else merge(one, two)
    return nodes
