"""Many starts, one program: the same descent from each of them, side by side.

The functions of a descent are pure, so that many starts are the same ``tell ∘ sum ∘ ask`` under ``vmap``.
They run in chunks; starts that have arrived are left out of the next one. No path is kept, only the ends.
"""

import functools
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.chunk import is_small
from fallline.descent import Descent, Stop
from fallline.descent.choose import choose
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.kernel import Compiled
from fallline.network import Model
from fallline.rows.memory import Capacity, InMemory, block_rows, check_fit, sum_over_rows
from fallline.threads import one_blas_thread

_CHUNK_SECONDS = 0.2  # between two looks at Ctrl-C and at who has arrived
_AT_ONCE = 1 << 27  # bytes of states and of a block's predictions that run side by side


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
        at_once = max(_AT_ONCE // (8 * (wide + 4 * block)), 1)
        parts = [
            _walk_all(model, held, descent, starts[at : at + at_once], penalty, max_iter, block)
            for at in range(0, len(starts), at_once)
        ]
    weights, error, penalised, steps, passes, stop = (
        np.concatenate(each) for each in zip(*parts, strict=True)
    )
    return Ends(starts, weights, error, penalised, steps, passes, stop, time.perf_counter() - began)


def _walk_all(
    model: Model,
    held: Capacity,
    descent: Descent,
    starts: np.ndarray,
    penalty: Penalty,
    max_iter: int,
    block: int,
) -> tuple[np.ndarray, ...]:
    """The ends of as many starts as run side by side."""
    room = _room(len(starts))
    first = np.concatenate([starts, np.repeat(starts[:1], room - len(starts), axis=0)])
    states = _begin(descent, first, penalty, model=model)
    who = np.arange(len(starts))  # which start each of the first states belongs to
    ends: list[np.ndarray] = [np.zeros(starts.shape), *(np.zeros(len(starts)) for _ in range(2))]
    ends += [np.zeros(len(starts), np.int64) for _ in range(3)]
    budget, small = 8, is_small(model, descent, (held,))
    while len(who):
        clock = time.perf_counter()
        states = _some_passes(descent, states, held, budget, max_iter, small=small, model=model, block=block)
        walk = states.walk
        stop, steps = np.asarray(walk.stop)[: len(who)], np.asarray(walk.steps)[: len(who)]
        done = (stop != 0) | (steps >= max_iter)
        if done.any():
            found = (
                walk.lowest_weights, walk.lowest_error, walk.lowest_penalised, walk.steps, walk.passes,
                np.where(np.asarray(walk.stop) == 0, int(Stop.MAX_ITER), np.asarray(walk.stop)),
            )  # fmt: skip
            for end, value in zip(ends, found, strict=True):
                end[who[done]] = np.asarray(value)[: len(who)][done]
            left = np.flatnonzero(~done)
            who = who[left]
            if len(who):
                states = _taken(states, left, np.flatnonzero(done)[0])
        grow = _CHUNK_SECONDS / max(time.perf_counter() - clock, 1e-4)
        budget = int(np.clip(budget * np.clip(grow, 0.25, 4.0), 1, max_iter + 1))
    return tuple(ends)


def _taken(states: Any, left: np.ndarray, spare: int) -> Any:
    """The states still under way, with one that has stopped repeated up to a power of two."""
    index = np.concatenate([left, np.repeat(spare, _room(len(left)) - len(left))])
    return jax.tree.map(lambda leaf: leaf[index], states)


def _room(count: int) -> int:
    """Few programs serve all numbers of starts: the next power of two."""
    return 1 << max(count - 1, 0).bit_length()
