"""Many starts, one program: the same descent from each of them, side by side.

The functions of a descent are pure, so that many starts are the same ``tell ∘ sum ∘ ask`` under ``vmap``.
They walk in groups, in chunks of steps; the next start takes the place of one that has arrived. No path is kept, only the ends.
"""

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.choose import choose
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.kernel import Compiled
from fallline.model.network import Model
from fallline.rows.memory import Capacity, Rows, block_rows, check_fit, sum_over_rows
from fallline.threads import one_blas_thread, processors
from fallline.walk.chunk import check_patience, is_small, last_news

_CHUNK_SECONDS = 0.2  # between two looks at Ctrl-C and at who has arrived
# Bytes of states and of a block's predictions that walk side by side: what a kernel walks through stays in the cache, any
# other program gains more by many at once.
_IN_CACHE, _AT_ONCE, _FEWEST = 1 << 21, 1 << 24, 4


@dataclass(frozen=True, eq=False)
class Ends:
    """Where m starts ended: the lowest point of each walk.

    ``weights`` (m, p); ``error`` (m,) E and ``penalised_error`` (m,) what was descended, both there; ``steps`` (m,) and
    ``passes`` (m,) taken in all; ``stop`` (m,) why each ended, a ``Stop``. ``starts`` (m, p) is where they began.
    """

    starts: np.ndarray
    weights: np.ndarray
    error: np.ndarray
    penalised_error: np.ndarray
    steps: np.ndarray
    passes: np.ndarray
    stop: np.ndarray
    seconds: float


class _Walking(NamedTuple):
    """A start under way: the state of its descent, and how long its error has not fallen by more than tol."""

    state: Any
    reference: Any  # the penalised error that still counts as news
    since: Any  # steps since then


@functools.partial(jax.jit, static_argnames=("model",))
def _begin(descent: Descent, weights: Any, penalty: Penalty, *, model: Model) -> _Walking:
    def one(start: Any) -> _Walking:
        return _Walking(
            descent.start(start, penalty), jnp.full((), jnp.inf, jnp.float64), jnp.zeros((), jnp.int64)
        )

    return jax.vmap(one)(weights)


class _Until(NamedTuple):
    """Where a start ends that does not arrive before that."""

    steps: Any
    tol: Any
    patience: Any


def _passes(
    descent: Descent,
    walking: _Walking,
    rows: Capacity,
    passes: Any,
    until: _Until,
    *,
    model: Model,
    block: int,
) -> _Walking:
    """Every start so many passes further; one that has stopped stays where it is."""

    def one_pass(now: _Walking) -> _Walking:
        sums = sum_over_rows(model, descent.kinds, descent.ask(now.state), rows, block)
        state = descent.tell(now.state, sums)
        told = _Walking(state, *last_news(now.reference, now.since, state.walk, until.tol))
        done = _done(now, until)
        return jax.tree.map(lambda new, old: jnp.where(done, old, new), told, now)

    return jax.lax.fori_loop(0, passes, lambda _, all_: jax.vmap(one_pass)(all_), walking)


def _done(now: _Walking, until: _Until) -> Any:
    walk = now.state.walk
    return (walk.stop != 0) | (walk.steps >= until.steps) | ((until.tol > 0) & (now.since >= until.patience))


_some_passes = Compiled(_passes, static=("model", "block"))


def descend_from(
    model: Model,
    rows: Rows,
    descent: Any = "auto",
    *,
    starts: Any,
    max_iter: int = 1000,
    tol: float = 0.0,
    n_iter_no_change: int = 10,
    alpha: Any = 0.0,
) -> Ends:
    """Go down the error of ``model`` over ``rows`` from each of ``starts`` (m, n_weights), and say where they end.

    Nothing is scaled: E is exactly ½ Σ Σ (y − ŷ)². The arguments are those of ``descend``, and alpha may be
    (n_weights,), a strength for each; each start takes ``max_iter`` steps unless it arrives or diverges before that, or its
    error falls too little. Every step is by all rows: ``"auto"`` means no mini-batches here, and a descent with a
    ``batch_size`` is refused. Raises ShapeError, TableError or SettingsError, in a sentence.
    """
    rows = check_fit(model, rows)
    starts = np.asarray(starts, np.float64)
    if starts.ndim != 2 or starts.shape[1] != model.n_weights or not len(starts):
        raise ShapeError(
            f"starts have shape {starts.shape}: give one row of {model.n_weights} weights for each start, "
            f"(starts, {model.n_weights})."
        )
    if not np.isfinite(starts).all():
        raise TableError("the starts contain NaN or infinity: start from finite weights.")
    if isinstance(max_iter, bool) or max_iter < 0 or int(max_iter) != max_iter:
        raise SettingsError(
            f"max_iter={max_iter!r} is not possible: expected a whole number of steps from 0 up."
        )
    check_patience(tol, n_iter_no_change)
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows.x), all_rows=True)
    descent = wrapped(descent)
    descent.check()
    descent = descent.suited(model)
    if getattr(descent, "batch_size", None) is not None:
        raise SettingsError(
            f"descend_from takes all rows at every step, but {type(descent).__name__} has batch_size={descent.batch_size}: "
            "set batch_size=None and decay='none', choose another descent such as LBFGS(), or call descend from each start."
        )
    penalty = penalty_for(model, alpha, rows.count)
    if penalty.adapts:
        raise SettingsError("alpha='evidence' is for one start at a time: give a number, or use descend.")

    began = time.perf_counter()
    with jax.enable_x64(True), one_blas_thread():
        held = rows.padded()
        block = block_rows(model, descent.kinds, held)
        wide = model.n_weights * (model.n_weights if "gauss_newton" in descent.kinds else 16)
        small = is_small(model, descent, (held,))
        # A kernel runs in one thread. Any other program shares its steps among the processors itself, and two of them at
        # once that factorise matrices were seen to wait for each other for ever.
        side_by_side = min(processors(), len(starts)) if small else 1
        fitting = max((_IN_CACHE if small else _AT_ONCE) // (8 * (wide + 4 * block)), _FEWEST)
        size = min(1 << (fitting.bit_length() - 1), _room(-(-len(starts) // side_by_side)))
        until = _Until(max_iter, float(tol), n_iter_no_change)
        group = _Group(model, held, descent, penalty, until, block, small)
        ends = _Places(starts)

        def walk() -> None:
            with jax.enable_x64(True):  # a setting of the thread
                group.walk_all(ends, size)

        with ThreadPoolExecutor(side_by_side, "starts") as threads:
            try:
                for walked in [threads.submit(walk) for _ in range(side_by_side)]:
                    walked.result()
            except BaseException:  # Ctrl-C comes to this thread alone
                ends.stopped = True
                raise
    weights, error, penalised, steps, passes, stop = ends.found
    return Ends(starts, weights, error, penalised, steps, passes, stop, time.perf_counter() - began)


class _Places:
    """The starts that wait for their turn, and a place for the end of each."""

    def __init__(self, starts: np.ndarray) -> None:
        self.starts = starts
        self.found: list[np.ndarray] = [np.zeros(starts.shape), *(np.zeros(len(starts)) for _ in range(2))]
        self.found += [np.zeros(len(starts), np.int64) for _ in range(3)]
        self._next, self._lock = 0, threading.Lock()
        self.stopped = False

    def take(self, count: int) -> np.ndarray:
        """Numbers of at most so many starts whose turn it is; none when all have had theirs."""
        with self._lock:
            taken = np.arange(self._next, min(self._next + count, len(self.starts)))
            self._next += len(taken)
        return taken

    def put(self, who: np.ndarray, walking: _Walking, until: _Until, at: np.ndarray) -> None:
        """The ends of starts ``who``, which stand ``at`` these places of a group."""
        walk = walking.state.walk
        limit = np.where(walk.steps >= until.steps, int(Stop.MAX_ITER), int(Stop.NO_CHANGE))
        stop = np.where(walk.stop == 0, limit, walk.stop)
        values = walk.lowest_weights, walk.lowest_error, walk.lowest_penalised, walk.steps, walk.passes, stop
        for place, value in zip(self.found, values, strict=True):
            place[who] = value[at]


@dataclass(frozen=True)
class _Group:
    """Starts that walk side by side in one program; where one has arrived, the next that waits takes its place.

    A group never changes its size, so that an end does not depend on when the others arrived.
    """

    model: Model
    held: Capacity
    descent: Descent
    penalty: Penalty
    until: _Until
    block: int
    small: bool

    def walk_all(self, places: _Places, size: int) -> None:
        who = places.take(size)  # which start stands at each place; −1 where none does
        if not len(who):
            return
        who = np.concatenate([who, np.full(size - len(who), -1)])
        walking = self._begin(places.starts[who])
        budget = 8
        while (who >= 0).any() and not places.stopped:
            clock = time.perf_counter()
            walking = _some_passes(
                self.descent, walking, self.held, budget, self.until,
                small=self.small, quick=self.descent.sums_squares, model=self.model, block=self.block,
            )  # fmt: skip
            walking = jax.tree.map(np.asarray, walking)
            grow = _CHUNK_SECONDS / max(time.perf_counter() - clock, 1e-4)
            budget = int(np.clip(budget * np.clip(grow, 0.25, 4.0), 1, self.until.steps + 1))
            at = np.flatnonzero((who >= 0) & _done(walking, self.until))
            if not len(at):
                continue
            places.put(who[at], walking, self.until, at)
            new = places.take(len(at))
            who[at] = np.concatenate([new, np.full(len(at) - len(new), -1)])
            if len(new):
                put = np.isin(np.arange(size), at[: len(new)])
                walking = jax.tree.map(
                    functools.partial(_where, put), self._begin(places.starts[who]), walking
                )

    def _begin(self, starts: np.ndarray) -> _Walking:
        return _begin(self.descent, starts, self.penalty, model=self.model)


def _where(put: np.ndarray, new: Any, old: Any) -> Any:
    return np.where(put.reshape(-1, *(1,) * (np.ndim(new) - 1)), np.asarray(new), old)


def _room(count: int) -> int:
    """Few programs serve all numbers of starts: the next power of two."""
    return 1 << max(count - 1, 0).bit_length()
