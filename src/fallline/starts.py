"""Many starts, one program: the same descent from each of them, side by side.

The functions of a descent are pure, so that many starts are the same ``tell ∘ sum ∘ ask`` under ``vmap``.
They run in chunks; starts that have arrived are left out of the next one. No path is kept, only the ends.
"""

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.chunk import is_small
from fallline.descent import Descent, Stop, Walk
from fallline.descent.choose import choose
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.kernel import Compiled
from fallline.network import Model
from fallline.rows.memory import Capacity, InMemory, block_rows, check_fit, sum_over_rows
from fallline.threads import one_blas_thread, processors

_CHUNK_SECONDS = 0.2  # between two looks at Ctrl-C and at who has arrived
# Bytes of states and of a block's predictions that run side by side: what a kernel walks through stays in the cache.
_AT_ONCE, _IN_CACHE = 1 << 27, 1 << 20


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


@functools.partial(jax.jit, static_argnames=("model",))
def _begin(descent: Descent, weights: Any, penalty: Penalty, *, model: Model) -> Any:
    return jax.vmap(lambda start: descent.start(start, penalty))(weights)


def _passes(
    descent: Descent, states: Any, rows: Capacity, passes: Any, max_iter: Any, *, model: Model, block: int
) -> Any:
    """Every state so many passes further; one that has stopped stays where it is."""

    def one_pass(state: Any) -> Any:
        sums = sum_over_rows(model, descent.kinds, descent.ask(state), rows, block)
        told = descent.tell(state, sums)
        done = (state.walk.stop != 0) | (state.walk.steps >= max_iter)
        return jax.tree.map(lambda new, old: jnp.where(done, old, new), told, state)

    return jax.lax.fori_loop(0, passes, lambda _, states: jax.vmap(one_pass)(states), states)


_some_passes = Compiled(_passes, static=("model", "block"))


def descend_from(
    model: Model,
    rows: InMemory | tuple[Any, Any],
    descent: Any = "auto",
    *,
    starts: Any,
    max_iter: int = 1000,
    alpha: float = 0.0,
) -> Ends:
    """Go down the error of ``model`` over ``rows`` from each of ``starts`` (m, n_weights), and say where they end.

    Nothing is scaled: E is exactly ½ Σ Σ (y − ŷ)². The arguments are those of ``descend``; each start takes ``max_iter``
    steps unless it arrives or diverges before that. Every step is by all rows: ``"auto"`` means no mini-batches here, and
    a descent with a ``batch_size`` is refused. Raises ShapeError, TableError or SettingsError, in a sentence.
    """
    rows = rows if isinstance(rows, InMemory) else InMemory(*rows)
    check_fit(model, rows)
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
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows.x), all_rows=True)
    descent = wrapped(descent)
    descent.check()
    if getattr(descent, "batch_size", None) is not None:
        raise SettingsError(
            f"descend_from takes all rows at every step, but {type(descent).__name__} has batch_size={descent.batch_size}: "
            "set batch_size=None and decay='none', choose another descent such as LBFGS(), or call descend from each start."
        )
    penalty = penalty_for(model, alpha)
    if penalty.adapts:
        raise SettingsError("alpha='evidence' is for one start at a time: give a number, or use descend.")

    began = time.perf_counter()
    with jax.enable_x64(True), one_blas_thread():
        held = rows.padded()
        block = block_rows(model, descent.kinds, held)
        wide = model.n_weights * (model.n_weights if "gauss_newton" in descent.kinds else 16)
        small = is_small(model, descent, (held,))
        bytes_ = _IN_CACHE if small else _AT_ONCE
        at_once = 1 << max(bytes_ // (8 * (wide + 4 * block)), 1).bit_length() - 1
        group = _Group(model, held, descent, penalty, max_iter, block, small)
        ends = _Places(starts)

        def walk() -> None:
            with jax.enable_x64(True):  # a setting of the thread
                group.walk_all(ends, min(at_once, _room(len(starts))))

        # A kernel runs in one thread; any other program shares its steps among the processors itself.
        side_by_side = min(processors(), -(-len(starts) // at_once)) if small else 1
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

    def put(self, who: np.ndarray, walk: Walk, at: np.ndarray) -> None:
        """The ends of starts ``who``, which stand ``at`` these places of a group."""
        stop = np.where(np.asarray(walk.stop) == 0, int(Stop.MAX_ITER), np.asarray(walk.stop))
        values = walk.lowest_weights, walk.lowest_error, walk.lowest_penalised, walk.steps, walk.passes, stop
        for place, value in zip(self.found, values, strict=True):
            place[who] = np.asarray(value)[at]


@dataclass(frozen=True)
class _Group:
    """Starts that walk side by side in one program; where one has arrived, the next that waits takes its place."""

    model: Model
    held: Capacity
    descent: Descent
    penalty: Penalty
    max_iter: int
    block: int
    small: bool

    def walk_all(self, places: _Places, size: int) -> None:
        who = places.take(size)  # which start stands at each place; −1 where none does
        if not len(who):
            return
        who = np.concatenate([who, np.full(size - len(who), -1)])
        states = self._begin(places.starts[who])
        budget = 8
        while (who >= 0).any() and not places.stopped:
            clock = time.perf_counter()
            states = _some_passes(
                self.descent, states, self.held, budget, self.max_iter,
                small=self.small, model=self.model, block=self.block,
            )  # fmt: skip
            walk = jax.tree.map(np.asarray, states.walk)
            seconds = time.perf_counter() - clock
            grow = _CHUNK_SECONDS / max(seconds, 1e-4)
            budget = int(np.clip(budget * np.clip(grow, 0.25, 4.0), 1, self.max_iter + 1))
            done = (who >= 0) & ((walk.stop != 0) | (walk.steps >= self.max_iter))
            if done.any():
                at = np.flatnonzero(done)
                places.put(who[at], walk, at)
                who[at] = -1
                new = places.take(len(at))
                who[at[: len(new)]] = new
                if len(new):
                    fresh = self._begin(places.starts[who])
                    put = np.isin(np.arange(len(who)), at[: len(new)])
                    states = jax.tree.map(lambda a, b, put=put: _where(put, a, b), fresh, states)
                elif seconds > _CHUNK_SECONDS / 2:  # else all that is left takes less time than another program
                    who, states = _closed_up(who, states)

    def _begin(self, starts: np.ndarray) -> Any:
        return _begin(self.descent, starts, self.penalty, model=self.model)


def _where(put: np.ndarray, new: Any, old: Any) -> Any:
    return np.where(put.reshape(-1, *(1,) * (np.ndim(new) - 1)), np.asarray(new), np.asarray(old))


def _closed_up(who: np.ndarray, states: Any) -> tuple[np.ndarray, Any]:
    """The starts still under way, in a group of a quarter of the places if they fit: each size is a program more."""
    left = np.flatnonzero(who >= 0)
    room = len(who)
    while len(left) <= room // 4:
        room //= 4
        if not room:
            return who[:0], states
    if room == len(who):
        return who, states
    index = np.concatenate([left, np.repeat(left[:1], room - len(left))])
    kept = np.where(np.arange(room) < len(left), who[index], -1)
    return kept, jax.tree.map(lambda leaf: leaf[index], states)


def _room(count: int) -> int:
    """Few programs serve all numbers of starts: the next power of two."""
    return 1 << max(count - 1, 0).bit_length()
