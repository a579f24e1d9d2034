"""Work side by side in threads, one BLAS thread each, and how many processors there are.

The factorisations of a descent are small: a second BLAS thread gains nothing, and where other work shares the processor
BLAS threads wait for each other in busy loops, five times slower than one thread alone.
"""

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

_LOOK_SECONDS = 0.1  # between two looks of the calling thread at what the others say

_holders, _lock, _limit = 0, threading.Lock(), contextlib.ExitStack()
_thread = threading.local()  # ``work``: the ``Workers`` that a thread belongs to


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which BLAS uses one thread.

    The setting is the process's: who comes in first makes it, and the last of all threads to leave puts it back.
    """
    global _holders
    with _lock:
        if not _holders:
            _limit.enter_context(_libraries().limit(limits=1, user_api="blas"))
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _limit.close()


@functools.cache
def _libraries() -> Any:
    """The BLAS libraries of the process. To look for them takes as long as some passes over a thousand rows."""
    import scipy.linalg  # noqa: F401  it brings a BLAS of its own, and only a library that is loaded can be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


if hasattr(os, "register_at_fork"):  # a fork copies the count of threads that it does not copy

    def _alone() -> None:
        global _holders, _lock
        _lock = threading.Lock()
        if _holders:
            _holders = 0
            _limit.close()

    os.register_at_fork(after_in_child=_alone)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(n_jobs: int | None) -> int:
    """How many threads ``n_jobs`` asks for: −1 or None one a processor, −2 one less, as in scikit-learn."""
    if n_jobs is None:
        return processors()
    return max(processors() + 1 + n_jobs, 1) if n_jobs < 0 else max(n_jobs, 1)


def is_side_by_side() -> bool:
    """Whether this thread is one of several that work side by side: then it does not call for more of them."""
    return getattr(_thread, "work", None) is not None


def stopping() -> bool:
    """Whether the work that this thread belongs to is to end: after Ctrl-C, or because its result is not wanted any more."""
    work = getattr(_thread, "work", None)
    return work is not None and work.stopped


class Workers:
    """Threads that take tasks in the order in which they were given; with one thread a task runs when its result is asked for.

    What a task returns must not depend on the others, so that the number of threads and their timing change nothing.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        self.stopped = self.interrupted = False
        self._count = 1 if is_side_by_side() else workers_for(n_jobs)
        self._pool: ThreadPoolExecutor | None = None
        self._said: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stopped = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def give(self, task: Callable[[], _T]) -> "Task[_T]":
        """Have the task done by the next thread that is free."""
        if self._count == 1:
            return Task(self, task, None)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, "fallline")
        return Task(self, task, self._pool.submit(self._run, task))

    def _run(self, task: Callable[[], _T]) -> _T | None:
        if self.stopped:
            return None
        _thread.work = self
        try:
            return task()
        finally:
            _thread.work = None

    def say(self, call: Callable[[], Any]) -> None:
        """From a thread: have this called by the thread that waits for results, at its next look."""
        if is_side_by_side():
            self._said.put(call)
        else:
            call()

    def hear(self) -> None:
        """Call what the threads have said."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._said.get_nowait()()


class Task(Generic[_T]):
    """A task that was given to workers."""

    def __init__(self, workers: Workers, task: Callable[[], _T], future: Future[Any] | None) -> None:
        self._workers, self._task, self._future = workers, task, future

    def result(self) -> Any:
        """What the task returned, or None where it was not begun before all were to stop.

        Ctrl-C, which comes to the main thread alone, stops all tasks and waits for the ends they come to.
        """
        workers = self._workers
        if self._future is None:
            if workers.stopped:
                return None
            return self._task()
        while True:
            try:
                with contextlib.suppress(TimeoutError):
                    found = self._future.result(_LOOK_SECONDS)
                    workers.hear()
                    return found
                workers.hear()
            except KeyboardInterrupt:
                workers.stopped = workers.interrupted = True


def side_by_side(tasks: Sequence[Callable[[], _T]], n_jobs: int | None = None) -> list[_T]:
    """What each of the tasks returns, in their order. Ctrl-C ends all of them and is raised when they have ended."""
    with Workers(n_jobs) as workers:
        given = [workers.give(task) for task in tasks]
        found = [task.result() for task in given]
    if workers.interrupted:
        raise KeyboardInterrupt
    return found
