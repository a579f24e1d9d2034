"""Work side by side in threads, one BLAS thread each, and how many processors there are.

The factorisations of a descent are small: a second BLAS thread gains nothing, and where other work shares the processor
BLAS threads wait for each other in busy loops, five times slower than one thread alone.
"""

import collections
import contextlib
import functools
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from fallline.exceptions import SettingsError

_T = TypeVar("_T")

_LOOK_SECONDS = 0.1  # between two looks of the calling thread at what the others say

_holders, _lock = 0, threading.Lock()
_before: list[int] = []  # how many threads each library had
_thread = threading.local()  # ``task``: what a thread of ``Workers`` is at


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which BLAS uses one thread.

    The setting is the process's: who comes in first makes it, and the last of all threads to leave puts it back.
    """
    global _holders
    with _lock:
        if not _holders:
            _before[:] = [_set(library, 1) for library in _libraries()]
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders = max(_holders - 1, 0)  # 0 already in the child of a fork
            if not _holders:
                _put_back()


@functools.cache
def _libraries() -> Any:
    """The BLAS libraries of the process. To look for them takes as long as some passes over a thousand rows."""
    import scipy.linalg  # noqa: F401  it brings a BLAS of its own, and only a library that is loaded can be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set(library: Any, threads: int) -> int:
    """Have a library use so many threads. Returns how many it used."""
    # Of OpenBLAS one thread alone may set them, the first that ever did; others are ignored in silence.
    release = getattr(library, "clear_controlling_thread", lambda force: None)
    release(force=True)
    before = library.get_num_threads()
    library.set_num_threads(threads)
    release(force=True)
    return int(before)


def _put_back() -> None:
    for library, threads in zip(_libraries(), _before, strict=False):  # none, where nobody had come in
        _set(library, threads)
    _before.clear()


if hasattr(os, "register_at_fork"):  # a fork copies the count of threads that it does not copy

    def _alone() -> None:
        global _holders, _lock
        _lock = threading.Lock()
        _holders = 0
        _put_back()

    os.register_at_fork(after_in_child=_alone)


class Interrupts:
    """Ctrl-C during a fit, and while what was found is looked at and saved: it loses nothing of that.

    Within the block, in the main thread, it raises KeyboardInterrupt at first. After ``ask`` who walks hears of it at the next
    step (``stopping``), so that it never comes between two walks; the second one that nobody has heard raises all the same. After
    ``keep`` it ends what is ``optional``, and nothing else. ``left_out`` names what it ended, and what was not begun after that.
    After ``hear_term`` SIGTERM is heard like Ctrl-C, and ``terminated`` says so.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self.terminated = False
        self._mode: str = "raise"  # or "ask", "keep"
        self._late = False  # it came where nothing may be left out: the next thing that may is not begun
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        self._hear(signal.SIGINT)
        return self

    def __exit__(self, *_: Any) -> None:
        _asked_to_stop()
        for number, before in self._before.items():
            signal.signal(number, before)

    def hear_term(self) -> None:
        """From here on SIGTERM is heard, too."""
        self._hear(signal.SIGTERM)

    def _hear(self, number: int) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before[number] = signal.signal(number, self._heard)

    def _heard(self, number: int, _: Any = None) -> None:
        global _asked
        self.terminated |= number == signal.SIGTERM
        if self._mode == "raise" or (self._mode == "ask" and _asked):
            raise KeyboardInterrupt
        if self._mode == "ask":
            _asked = True
        else:
            self._late = True

    def ask(self) -> None:
        """From here on walks hear of it."""
        self._mode = "ask"

    def keep(self) -> None:
        """From here on there is something to be kept."""
        self._mode = "keep"
        self._late = _asked_to_stop()

    def optional(self, name: str, call: Callable[[], _T], *, always: bool = False) -> _T | None:
        """What the call returns, None where Ctrl-C ends it, or ended something before it and it need not ``always`` be tried."""
        late, self._late = self._late, False
        if late or (self.left_out and not always):
            self.left_out.append(name)
            return None
        mode = self._mode
        try:
            self._mode = "raise"
            try:
                return call()
            finally:
                self._mode = mode
        except KeyboardInterrupt:
            self._mode = mode
            self.left_out.append(name)
            return None

    @staticmethod
    def unheard(name: str, call: Callable[[], _T]) -> _T | None:
        """The call itself, for whom Ctrl-C ends all."""
        return call()


_asked = False  # a Ctrl-C that nobody has heard yet


def _asked_to_stop() -> bool:
    """Whether there was a Ctrl-C that nobody has heard yet: the main thread, where it came, hears it once."""
    global _asked
    if not (_asked and threading.current_thread() is threading.main_thread()):
        return False
    _asked = False
    return True


def processors() -> int:
    """How many processors this process may use: those it may run on, and no more than the quota of its container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(min(found, quota()))


@functools.cache
def quota(root: Path = Path("/sys/fs/cgroup")) -> int | float:
    """How many processors' worth of time a container may take, rounded up; infinity where nothing limits it.

    Threads beyond it would be halted together, while they wait for each other. Read as version 2 of Linux's control groups
    has it, or version 1.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # other systems; "max", where there is no limit
            time, period = map(int, " ".join((root / name).read_text() for name in names).split())
            if time > 0:
                return -(-time // period)
    return math.inf


def workers_for(n_jobs: int | None) -> int:
    """How many threads ``n_jobs`` asks for: −1 or None one a processor, −2 one less, as in scikit-learn. Raises SettingsError."""
    if n_jobs is None:
        return processors()
    if isinstance(n_jobs, (bool, str)) or int(n_jobs) != n_jobs or n_jobs == 0:
        raise SettingsError(
            f"n_jobs={n_jobs!r} is not possible: give a number of threads from 1 up, or None or -1 for one a processor."
        )
    return max(processors() + 1 + int(n_jobs), 1) if n_jobs < 0 else int(n_jobs)


def is_side_by_side() -> bool:
    """Whether this thread is one of several that work side by side: then it does not call for more of them."""
    return getattr(_thread, "task", None) is not None


def stopping() -> bool:
    """Whether what this thread is at is to end: after Ctrl-C, or because nobody waits for it any more."""
    task = getattr(_thread, "task", None)
    return (task is not None and task.over) or _asked_to_stop()


class Workers:
    """Threads that take tasks in the order in which they were given, while the one that gave them waits for results.

    A task that is given to run ``here``, or to one worker alone, runs in the thread that waits when its result is asked for.
    What a task returns must not depend on the others, so that the number of threads and their timing change nothing.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        self.stopped = self.interrupted = False
        self._count = 1 if is_side_by_side() else workers_for(n_jobs)
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stopped = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def give(self, call: Callable[[], _T], *, here: bool = False) -> "Task[_T]":
        """Have this called by the next thread that is free.

        here: by the thread that waits. Steps of microseconds are slower side by side, as they wait for Python's lock.
        """
        task = Task(self, call)
        if self._count > 1 and not here:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._count, "fallline")
            task.future = self._pool.submit(task.run)
        return task

    def say(self, call: Callable[[], Any]) -> None:
        """From a thread: have this called by the thread that waits for its result, unless it says something newer before.

        A task that is not waited for yet is heard when its turn comes.
        """
        task = getattr(_thread, "task", None)
        if task is None or task.waited_for:
            call()
        else:
            task.said.append(call)


class Task(Generic[_T]):
    """A call that was given to workers."""

    def __init__(self, workers: Workers, call: Callable[[], _T]) -> None:
        self.workers, self._call, self._dropped = workers, call, False
        self.future: Future[_T | None] | None = None
        self.said: collections.deque[Callable[[], Any]] = collections.deque(maxlen=1)
        self.waited_for = False  # by the very thread that runs it

    @property
    def over(self) -> bool:
        """Whether it is to end."""
        return self._dropped or self.workers.stopped

    def drop(self) -> None:
        """Nobody waits for the result any more."""
        self._dropped = True

    def run(self) -> _T | None:
        """Make the call, in a thread of the workers."""
        if self.over:
            return None
        _thread.task = self
        try:
            return self._call()
        except KeyboardInterrupt:  # it was to end before it had come to anything
            return None
        finally:
            _thread.task = None

    def result(self) -> _T | None:
        """What the call returned, or None where it did not begin, or came to nothing, before all were to stop.

        Ctrl-C, which comes to the main thread alone, stops all tasks, and the ends they come to are waited for.
        """
        workers = self.workers
        if self.future is None:
            return self._run_here()
        while True:
            try:
                done = False
                while not done:  # within the block: Python may hear of Ctrl-C in the head of the loop
                    done = bool(wait([self.future], _LOOK_SECONDS).done)
                    if _asked_to_stop():
                        raise KeyboardInterrupt
                    if self.said:
                        self.said.popleft()()
                return self.future.result()
            except KeyboardInterrupt:
                workers.stopped = workers.interrupted = True

    def _run_here(self) -> _T | None:
        """Make the call, in the thread that waits for it."""
        self.waited_for = True
        try:
            if not self.over and _asked_to_stop():
                raise KeyboardInterrupt
            return None if self.over else self._call()
        except KeyboardInterrupt:
            self.workers.stopped = self.workers.interrupted = True
            return None


def side_by_side(tasks: Sequence[Callable[[], _T]], n_jobs: int | None = None) -> list[_T]:
    """What each of the tasks returns, in their order. Ctrl-C ends all of them and is raised when they have ended."""
    with Workers(n_jobs if len(tasks) > 1 else 1) as workers:
        given = [workers.give(task) for task in tasks]
        found = [task.result() for task in given]
    if workers.interrupted:
        raise KeyboardInterrupt
    return found  # type: ignore[return-value]  # None only where they were interrupted
