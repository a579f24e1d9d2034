"""A chunk: many steps of a descent in one compiled program, and what it recorded.

``tell ∘ sum ∘ ask`` is the body of one loop, with no Python between steps. Where rows are so large that they
are summed in parts, Python runs between passes instead: a pass takes so long that it costs nothing.
What decides about stopping beside the descent itself is followed here, too.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Descent, Walk
from fallline.descent.penalty import Penalty
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError
from fallline.kernel import Compiled
from fallline.model.network import Model, Network
from fallline.rows.memory import Capacity, Parts, sum_over_parts, sum_over_rows
from fallline.rows.moments import Moments, sums_of_moments

_SMALL_PASS = 1 << 14  # rows times weights


class Tracker(NamedTuple):
    """What decides about stopping beside the descent itself."""

    reference: Any  # the penalised error that still counts as news
    since: Any  # steps since then
    best: Any  # lowest validation error
    best_weights: Any
    best_step: Any
    rising: Any  # steps since the lowest validation error
    watched: Any  # E on each of the watched sets at the point last arrived at


class Record(NamedTuple):
    """The points of one chunk. Weights and gradient have one slot more, scratch for points that are thinned out."""

    points: Any
    kept: Any
    steps: Any
    passes: Any
    error: Any
    penalised: Any
    gradient_norm: Any
    shown: Any
    watched: Any
    kept_steps: Any
    weights: Any
    gradient: Any


class Limits(NamedTuple):
    """Run-time bounds of a chunk: another number compiles nothing."""

    passes: Any  # as many in this chunk at most
    step: Any  # the chunk ends at this step
    stride: Any
    tol: Any
    patience: Any


def _empty_record(length: int, slots: int, n_weights: int, n_shown: int, n_watched: int) -> Record:
    none = jnp.zeros((), jnp.int64)
    return Record(
        points=none,
        kept=none,
        steps=jnp.zeros(length, jnp.int64),
        passes=jnp.zeros(length, jnp.int64),
        error=jnp.zeros(length),
        penalised=jnp.zeros(length),
        gradient_norm=jnp.zeros(length),
        shown=jnp.zeros((length, n_shown)),
        watched=jnp.zeros((length, n_watched)),
        kept_steps=jnp.zeros(slots + 1, jnp.int64),
        weights=jnp.zeros((slots + 1, n_weights)),
        gradient=jnp.zeros((slots + 1, n_weights)),
    )


def _note(record: Record, walk: Walk, watched: Any, stride: Any) -> Record:
    """The record with the point of the walk in it, if the last pass arrived at one."""

    def put(array: Any, value: Any, index: Any) -> Any:
        # Not .at[index].set: that is a scatter, which costs ten times more inside a loop of small steps.
        return jax.lax.dynamic_update_index_in_dim(array, value.astype(array.dtype), index, 0)

    keep = walk.steps % stride == 0
    at, slot = record.points, jnp.where(keep, record.kept, record.weights.shape[0] - 1)
    return Record(
        points=jnp.where(walk.moved, at + 1, at),
        kept=jnp.where(walk.moved & keep, record.kept + 1, record.kept),
        steps=put(record.steps, walk.steps, at),
        passes=put(record.passes, walk.passes, at),
        error=put(record.error, walk.error, at),
        penalised=put(record.penalised, walk.penalised, at),
        gradient_norm=put(record.gradient_norm, jnp.sqrt(walk.gradient @ walk.gradient), at),
        shown=put(record.shown, walk.shown, at),
        watched=put(record.watched, watched, at),
        kept_steps=put(record.kept_steps, walk.steps, slot),
        weights=put(record.weights, walk.weights, slot),
        gradient=put(record.gradient, walk.gradient, slot),
    )


def last_news(reference: Any, since: Any, walk: Walk, tol: Any, adapts: bool = False) -> tuple[Any, Any]:
    """The penalised error that still counts as news, and the steps since: a fall by more than ``tol``, relatively, is news.

    Under a penalty that is still being found the penalised error may rise: that is news too.
    """
    fall = reference - walk.penalised
    news = walk.moved & ((jnp.abs(fall) if adapts else fall) > tol * jnp.minimum(reference, walk.penalised))
    steps = jnp.where(walk.moved, since + 1, since)
    return jnp.where(news, walk.penalised, reference), jnp.where(news, 0, steps)


def check_patience(tol: float, n_iter_no_change: int) -> None:
    """SettingsError where a walk could not end by them."""
    if not tol >= 0 or not n_iter_no_change >= 1:
        raise SettingsError(
            f"tol={tol!r} must be at least 0 and n_iter_no_change={n_iter_no_change!r} at least 1."
        )


def _track(
    tracker: Tracker, walk: Walk, watched: Any, judge: int | None, limits: Limits, adapts: bool
) -> Tracker:
    moved = walk.moved
    reference, since = last_news(tracker.reference, tracker.since, walk, limits.tol, adapts)
    tracker = tracker._replace(
        reference=reference,
        since=since,
        watched=watched,
    )
    if judge is None:
        return tracker
    better = moved & (watched[judge] < tracker.best)
    return tracker._replace(
        best=jnp.where(better, watched[judge], tracker.best),
        best_weights=jnp.where(better, walk.weights, tracker.best_weights),
        best_step=jnp.where(better, walk.steps, tracker.best_step),
        rising=jnp.where(better, 0, jnp.where(moved, tracker.rising + 1, tracker.rising)),
    )


def sums_of(
    model: Model, kinds: tuple[str, ...], request: Request, rows: Capacity | Moments, block: int
) -> Sums:
    """The sums over rows, or what their moments say these are."""
    if isinstance(rows, Moments):
        return sums_of_moments(model, kinds, request, rows)
    return sum_over_rows(model, kinds, request, rows, block)


def _goes_on(
    walk: Walk,
    tracker: Tracker,
    record: Record,
    limits: Limits,
    judge: int | None,
    length: int,
    slots: int,
) -> Any:
    """Whether a chunk takes another pass, its budget of passes apart."""
    go = (walk.stop == 0) & (walk.steps < limits.step) & (record.points < length) & (record.kept < slots)
    go &= (limits.tol <= 0) | (tracker.since < limits.patience)
    return go if judge is None else go & (tracker.rising < limits.patience)


def _steps(
    descent: Descent,
    state: Any,
    tracker: Tracker,
    rows: tuple[Capacity | Moments, ...],
    limits: Limits,
    *,
    model: Model,
    blocks: tuple[int, ...],
    judge: int | None,
    length: int,
    slots: int,
) -> tuple[Any, Tracker, Record]:
    """Many steps of a descent, compiled: the first of ``rows`` is descended on, the others are watched."""
    nothing_asked = jnp.zeros(0)

    def watch(weights: Any) -> Any:
        request = Request(jnp.zeros((), jnp.int32), weights, nothing_asked)
        errors = [
            sums_of(model, ("error",), request, r, b).error for r, b in zip(rows[1:], blocks[1:], strict=True)
        ]
        return jnp.stack(errors) if errors else jnp.zeros(0)

    def going(carry: tuple[Any, Tracker, Record, Any]) -> Any:
        state, tracker, record, passes = carry
        return (passes < limits.passes) & _goes_on(state.walk, tracker, record, limits, judge, length, slots)

    def one_pass(carry: tuple[Any, Tracker, Record, Any]) -> tuple[Any, Tracker, Record, Any]:
        state, tracker, record, passes = carry
        sums = sums_of(model, descent.kinds, descent.ask(state), rows[0], blocks[0])
        state = descent.tell(state, sums)
        walk = state.walk
        watched = tracker.watched
        if len(rows) > 1:
            watched = jax.lax.cond(walk.moved, lambda: watch(walk.weights), lambda: tracker.watched)
        tracker = _track(tracker, walk, watched, judge, limits, state.penalty.adapts)
        return state, tracker, _note(record, walk, watched, limits.stride), passes + 1

    record = _empty_record(length, slots, model.n_weights, state.walk.shown.shape[0], len(rows) - 1)
    state, tracker, record, _ = jax.lax.while_loop(
        going, one_pass, (state, tracker, record, jnp.zeros((), jnp.int64))
    )
    return state, tracker, record


# (descent, state, tracker, rows, limits, *, model, blocks, judge, length, slots) -> (state, tracker, record)
chunk = Compiled(_steps, static=("model", "blocks", "judge", "length", "slots"))


def is_small(model: Model, descent: Descent, rows: tuple[Capacity | Moments, ...]) -> bool:
    """Whether a pass is so short that handing out its operations costs more than doing them, and one kernel may do it."""
    lengths = (model.inputs if isinstance(each, Moments) else each.y.shape[0] for each in rows)
    return (
        descent.in_one_kernel and isinstance(model, Network) and model.n_weights * sum(lengths) <= _SMALL_PASS
    )


_ask = jax.jit(lambda descent, state: descent.ask(state))
_tell = jax.jit(lambda descent, state, sums: descent.tell(state, sums))
_empty = jax.jit(_empty_record, static_argnums=(0, 1, 2, 3, 4))


@functools.partial(
    jax.jit, static_argnames=("judge", "adapts", "length", "slots"), donate_argnames=("record",)
)
def _arrive(
    walk: Walk,
    tracker: Tracker,
    record: Record,
    watched: Any,
    limits: Limits,
    *,
    judge: int | None,
    adapts: bool,
    length: int,
    slots: int,
) -> tuple[Tracker, Record, Any]:
    tracker = _track(tracker, walk, watched, judge, limits, adapts)
    record = _note(record, walk, watched, limits.stride)
    return tracker, record, _goes_on(walk, tracker, record, limits, judge, length, slots)


def _sum_held(
    model: Model, kinds: tuple[str, ...], request: Request, held: Capacity | Parts, block: int
) -> Any:
    if isinstance(held, Parts):
        return sum_over_parts(model, kinds, request, held, block)
    return _sum_of_few(request, held, model=model, kinds=kinds, block=block)


@functools.partial(jax.jit, static_argnames=("model", "kinds", "block"))
def _sum_of_few(request: Request, rows: Capacity, *, model: Model, kinds: tuple[str, ...], block: int) -> Any:
    return sum_over_rows(model, kinds, request, rows, block)


def chunk_over_parts(
    descent: Descent,
    state: Any,
    tracker: Tracker,
    rows: tuple[Capacity | Parts, ...],
    limits: Limits,
    *,
    model: Model,
    blocks: tuple[int, ...],
    judge: int | None,
    length: int,
    slots: int,
) -> tuple[Any, Tracker, Record]:
    """The same chunk where rows are large: a pass takes so long that Python between passes costs nothing."""
    record = _empty(length, slots, model.n_weights, state.walk.shown.shape[0], len(rows) - 1)
    for _ in range(limits.passes):
        request = _ask(descent, state)
        state = _tell(descent, state, _sum_held(model, descent.kinds, request, rows[0], blocks[0]))
        watched = tracker.watched
        if len(rows) > 1 and bool(state.walk.moved):
            at = Request(np.int32(0), state.walk.weights, np.zeros(0))
            pairs = zip(rows[1:], blocks[1:], strict=True)
            watched = np.array([_sum_held(model, ("error",), at, r, b).error for r, b in pairs])
        tracker, record, goes_on = _arrive(
            state.walk, tracker, record, watched, limits,
            judge=judge, adapts=state.penalty.adapts, length=length, slots=slots,
        )  # fmt: skip
        if not bool(goes_on):
            break
    return state, tracker, record


@functools.partial(jax.jit, static_argnames=("model",))
def begin(descent: Descent, weights: Any, penalty: Penalty, *, model: Model) -> tuple[Any, Tracker]:
    """The state of a descent and the tracker before the first pass."""
    infinite, none = jnp.full((), jnp.inf, jnp.float64), jnp.zeros((), jnp.int64)
    tracker = Tracker(infinite, none, infinite, weights, none, none, jnp.zeros(0))
    return descent.start(weights, penalty), tracker


def on_host(record: Record) -> Record:
    """The used part of a record as NumPy arrays; a record that is nearly empty is not kept for it."""
    points, kept = int(record.points), int(record.kept)

    def used(array: Any, length: int) -> np.ndarray:
        part = np.asarray(array)[:length]
        return part if 2 * length > array.shape[0] else part.copy()

    return Record(points, kept, *(used(a, points) for a in record[2:9]), *(used(a, kept) for a in record[9:]))
