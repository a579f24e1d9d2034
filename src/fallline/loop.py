"""The loop: runs a descent over rows, and keeps the path.

``tell ∘ sum ∘ ask`` is compiled once and run in chunks of many steps, with no Python
between steps. A chunk ends often enough for a progress bar and Ctrl-C. What the chunk
recorded comes back as arrays and becomes a ``DescentPath``.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Descent, Stop, Walk
from fallline.descent.choose import choose
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.rate import first_direction, power_step, stability_limit, steep_input
from fallline.error import Request
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.kernel import Compiled
from fallline.network import Model
from fallline.path import DescentPath, stop_sentence
from fallline.rows.memory import (
    Capacity,
    InMemory,
    Parts,
    block_rows,
    check_fit,
    sum_over_parts,
    sum_over_rows,
)
from fallline.threads import one_blas_thread

# Up to this many weights every step is kept; above it the path is thinned to this many bytes.
EVERY_STEP_UP_TO = 1000
_THINNED_BYTES = 64 << 20
_CHUNK_BYTES = 4 << 20
_SMALL_PASS = 1 << 14  # rows times weights
_LARGE_COLUMN = 3.0  # times the size of the others: then its scale is what makes the curvature large
_CHUNK_SECONDS = 0.1  # between two looks at the clock, Ctrl-C and the progress bar


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told after every chunk."""

    steps: int
    max_iter: int
    passes: int
    error: float
    n_rows: float
    watched: dict[str, float]
    watched_rows: dict[str, float]
    weights: np.ndarray  # the lowest so far
    stop: Stop


class _Tracker(NamedTuple):
    """What decides about stopping beside the descent itself."""

    reference: Any  # the penalised error that still counts as news
    since: Any  # steps since then
    best: Any  # lowest validation error
    best_weights: Any
    best_step: Any
    rising: Any  # steps since the lowest validation error
    watched: Any  # E on each of the watched sets at the point last arrived at


class _Record(NamedTuple):
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


class _Limits(NamedTuple):
    """Run-time bounds of a chunk: another number compiles nothing."""

    passes: Any  # as many in this chunk at most
    step: Any  # the chunk ends at this step
    stride: Any
    tol: Any
    patience: Any


def _empty_record(length: int, slots: int, n_weights: int, n_shown: int, n_watched: int) -> _Record:
    none = jnp.zeros((), jnp.int64)
    return _Record(
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


def _note(record: _Record, walk: Walk, watched: Any, stride: Any) -> _Record:
    """The record with the point of the walk in it, if the last pass arrived at one."""

    def put(array: Any, value: Any, index: Any) -> Any:
        # Not .at[index].set: that is a scatter, which costs ten times more inside a loop of small steps.
        return jax.lax.dynamic_update_index_in_dim(array, value.astype(array.dtype), index, 0)

    keep = walk.steps % stride == 0
    at, slot = record.points, jnp.where(keep, record.kept, record.weights.shape[0] - 1)
    return _Record(
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


def _track(
    tracker: _Tracker, walk: Walk, watched: Any, judge: int | None, limits: _Limits, adapts: bool
) -> _Tracker:
    moved = walk.moved
    fall = tracker.reference - walk.penalised
    # Under a penalty that is still being found the penalised error may rise: that is news too.
    news = moved & (
        (jnp.abs(fall) if adapts else fall) > limits.tol * jnp.minimum(tracker.reference, walk.penalised)
    )
    tracker = tracker._replace(
        reference=jnp.where(news, walk.penalised, tracker.reference),
        since=jnp.where(news, 0, jnp.where(moved, tracker.since + 1, tracker.since)),
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


def _goes_on(
    walk: Walk,
    tracker: _Tracker,
    record: _Record,
    limits: _Limits,
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
    tracker: _Tracker,
    rows: tuple[Capacity, ...],
    limits: _Limits,
    *,
    model: Model,
    blocks: tuple[int, ...],
    judge: int | None,
    length: int,
    slots: int,
) -> tuple[Any, _Tracker, _Record]:
    """Many steps of a descent, compiled: the first of ``rows`` is descended on, the others are watched."""
    nothing_asked = jnp.zeros(0)

    def watch(weights: Any) -> Any:
        request = Request(jnp.zeros((), jnp.int32), weights, nothing_asked)
        errors = [
            sum_over_rows(model, ("error",), request, r, b).error
            for r, b in zip(rows[1:], blocks[1:], strict=True)
        ]
        return jnp.stack(errors) if errors else jnp.zeros(0)

    def going(carry: tuple[Any, _Tracker, _Record, Any]) -> Any:
        state, tracker, record, passes = carry
        return (passes < limits.passes) & _goes_on(state.walk, tracker, record, limits, judge, length, slots)

    def one_pass(carry: tuple[Any, _Tracker, _Record, Any]) -> tuple[Any, _Tracker, _Record, Any]:
        state, tracker, record, passes = carry
        sums = sum_over_rows(model, descent.kinds, descent.ask(state), rows[0], blocks[0])
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


_chunk = Compiled(_steps, static=("model", "blocks", "judge", "length", "slots"))


def _small(model: Model, kinds: tuple[str, ...], rows: tuple[Capacity, ...]) -> bool:
    """Whether a pass is so short that handing out its operations costs more than doing them."""
    work = model.n_weights * sum(each.y.shape[0] for each in rows)
    return work <= _SMALL_PASS and "gauss_newton" not in kinds  # whose solver is a library's


_ask = jax.jit(lambda descent, state: descent.ask(state))
_tell = jax.jit(lambda descent, state, sums: descent.tell(state, sums))
_empty = jax.jit(_empty_record, static_argnums=(0, 1, 2, 3, 4))


@functools.partial(
    jax.jit, static_argnames=("judge", "adapts", "length", "slots"), donate_argnames=("record",)
)
def _arrive(
    walk: Walk,
    tracker: _Tracker,
    record: _Record,
    watched: Any,
    limits: _Limits,
    *,
    judge: int | None,
    adapts: bool,
    length: int,
    slots: int,
) -> tuple[_Tracker, _Record, Any]:
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


def _chunk_over_parts(
    descent: Descent,
    state: Any,
    tracker: _Tracker,
    rows: tuple[Capacity | Parts, ...],
    limits: _Limits,
    *,
    model: Model,
    blocks: tuple[int, ...],
    judge: int | None,
    length: int,
    slots: int,
) -> tuple[Any, _Tracker, _Record]:
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


def _progress(
    walk: Walk,
    tracker: _Tracker,
    max_iter: int,
    rows: InMemory,
    sets: dict[str, InMemory],
    judge: str | None,
    stop: Stop,
) -> Progress:
    weights = tracker.best_weights if judge and np.isfinite(float(tracker.best)) else walk.lowest_weights
    return Progress(
        steps=int(walk.steps),
        max_iter=max_iter,
        passes=int(walk.passes),
        error=float(walk.error),
        n_rows=rows.count,
        watched=dict(zip(sets, np.asarray(tracker.watched).tolist(), strict=True)),
        watched_rows={name: each.count for name, each in sets.items()},
        weights=np.asarray(weights),
        stop=stop,
    )


@functools.partial(jax.jit, static_argnames=("model",))
def _begin(descent: Descent, weights: Any, penalty: Penalty, *, model: Model) -> tuple[Any, _Tracker]:
    infinite, none = jnp.full((), jnp.inf, jnp.float64), jnp.zeros((), jnp.int64)
    tracker = _Tracker(infinite, none, infinite, weights, none, none, jnp.zeros(0))
    return descent.start(weights, penalty), tracker


def _steepest_curvature(
    weights: Any, strength: Any, rows: Capacity | Parts, *, model: Model, block: int
) -> tuple[Any, Any]:
    """λ_max of (G + penalty)/n at the weights and its direction, by 100 power iterations, or 20 where rows are large."""
    if isinstance(rows, Capacity):
        return _steepest_of_few(weights, strength, rows, model=model, block=block)
    curvature, direction = 0.0, first_direction(model.n_weights)
    for _ in range(20):
        request = Request(np.int32(0), np.asarray(weights), np.asarray(direction))
        sums = sum_over_parts(model, ("curvature",), request, rows, block)
        curvature, direction = power_step((sums.curvature + np.asarray(strength) * direction) / sums.rows)
    return curvature, direction


@functools.partial(jax.jit, static_argnames=("model", "block"))
def _steepest_of_few(weights: Any, strength: Any, rows: Capacity, *, model: Model, block: int) -> Any:
    def read(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        _, direction = carry
        sums = sum_over_rows(
            model, ("curvature",), Request(jnp.zeros((), jnp.int32), weights, direction), rows, block
        )
        return power_step((sums.curvature + strength * direction) / sums.rows)

    first = jnp.asarray(first_direction(model.n_weights))
    return jax.lax.fori_loop(0, 100, read, (jnp.zeros(()), first))


def _why_diverged(
    model: Model,
    descent: Descent,
    rows: InMemory,
    held: Capacity | Parts,
    weights: Any,
    penalty: Penalty,
    input_names: Sequence[str] | None,
) -> tuple[float | None, str]:
    """The largest stable rate at these weights, and a sentence on the column that keeps it small, where one does."""
    block = block_rows(model, ("curvature",), held)
    curvature, direction = _steepest_curvature(weights, penalty.strength, held, model=model, block=block)
    if not float(curvature) > 0:
        return None, ""
    momentum = getattr(descent, "momentum", 0.0)
    limit = stability_limit(
        float(curvature),
        0.0 if isinstance(momentum, str) else momentum,
        getattr(descent, "nesterov", False),
    )
    steep = steep_input(model, np.asarray(direction))
    if steep is None:
        return limit, ""
    at, share = steep
    sizes = np.sqrt((rows.x**2).mean(axis=0))
    others = float(np.median(np.delete(sizes, at)))
    if sizes[at] < _LARGE_COLUMN * others:
        return limit, ""  # the column is like the others: not its scale is to blame
    name = input_names[at] if input_names is not None else f"x{at + 1}"
    return limit, (
        f"The input {name} makes the curvature so large ({share:.0%} of its steepest direction): its values are of size "
        f"{sizes[at]:.3g}, those of the others {others:.3g}. Standardise it. "
    )


def descend(
    model: Model,
    rows: InMemory | tuple[Any, Any],
    descent: Descent | str = "auto",
    *,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
    max_iter: int = 1000,
    tol: float = 0.0,
    n_iter_no_change: int = 10,
    alpha: float | str = 0.0,
    watched: Mapping[str, InMemory] | None = None,
    judge: str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    every_step: bool = False,
    input_names: Sequence[str] | None = None,
) -> DescentPath:
    """Go down the error of ``model`` over ``rows``, and return the way.

    Nothing is scaled here: E is exactly ½ Σ Σ (y − ŷ)² over the rows given.

    rows: ``InMemory``, or (x, y) of shapes (n, inputs) and (n, outputs). descent: settings such as
    ``GradientDescent(learning_rate=0.1)``, or ``"auto"``. weights (n_weights,): where to start; without them,
    ``model.initial(seed)``. max_iter: steps. The walk ends before that when the error falls by less than ``tol``
    (relative) over ``n_iter_no_change`` steps; with tol = 0 it takes every step it was asked for, unless there is
    nothing left to gain. alpha ≥ 0: weight decay, F = E + ½ · alpha · Σ coef² is descended; ``"evidence"``: Bayesian
    regularisation by Levenberg–Marquardt, F = E + ½ Σ strength_i w_i² with the strengths found on the way.

    watched: rows whose E is followed and not descended. judge: the name of one of them; its lowest error chooses
    ``best_weights``, and the walk ends when it has not fallen for ``n_iter_no_change`` steps. progress is called
    with a ``Progress`` after every chunk, or after every step if ``every_step``; it ends the walk by returning True.
    Ctrl-C ends the walk and keeps it. input_names: what messages and the path call the inputs, x1, x2, … by default.

    Raises ShapeError, TableError or SettingsError, in a sentence, for rows, weights or settings that do not fit.
    """
    rows = rows if isinstance(rows, InMemory) else InMemory(*rows)
    watched = dict(watched or {})
    for each in (rows, *watched.values()):
        check_fit(model, each)
    if judge is not None and judge not in watched:
        raise SettingsError(
            f"judge={judge!r} is not one of the watched sets of rows ({', '.join(watched) or 'there are none'})."
        )
    if isinstance(max_iter, bool) or max_iter < 0 or int(max_iter) != max_iter:
        raise SettingsError(
            f"max_iter={max_iter!r} is not possible: expected a whole number of steps from 0 up."
        )
    if not tol >= 0 or not n_iter_no_change >= 1:
        raise SettingsError(
            f"tol={tol!r} must be at least 0 and n_iter_no_change={n_iter_no_change!r} at least 1."
        )
    start = model.initial(seed) if weights is None else np.asarray(weights, np.float64)
    if start.shape != (model.n_weights,):
        raise ShapeError(
            f"weights have shape {start.shape}, but the model has {model.n_weights}: pass shape ({model.n_weights},)."
        )
    if not np.isfinite(start).all():
        raise TableError("the weights to start from contain NaN or infinity: start from finite weights.")
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows.x))
    descent.check()
    penalty = penalty_for(model, alpha)
    if penalty.adapts and not descent.finds_penalty:
        raise SettingsError(
            f"alpha='evidence' needs JᵀJ, which {type(descent).__name__} does not ask for: use LevenbergMarquardt, or a number."
        )

    with jax.enable_x64(True), one_blas_thread():
        return _run(
            model,
            rows,
            descent,
            start,
            penalty,
            max_iter,
            tol,
            n_iter_no_change,
            watched,
            judge,
            progress,
            every_step,
            alpha,
            input_names,
        )


def _run(
    model: Model,
    rows: InMemory,
    descent: Descent,
    start: np.ndarray,
    penalty: Penalty,
    max_iter: int,
    tol: float,
    patience: int,
    watched: dict[str, InMemory],
    judge: str | None,
    progress: Callable[[Progress], Any] | None,
    every_step: bool,
    alpha: float | str,
    input_names: Sequence[str] | None,
) -> DescentPath:
    began = time.perf_counter()
    p, names = model.n_weights, list(watched)
    held = tuple(each.held() for each in (rows, *watched.values()))
    few = tuple(each for each in held if isinstance(each, Capacity))
    chunk: Callable[..., tuple[Any, _Tracker, _Record]] = (
        functools.partial(_chunk, small=_small(model, descent.kinds, few))
        if len(few) == len(held)
        else _chunk_over_parts
    )
    kinds = (descent.kinds, *(("error",) for _ in names))
    blocks = tuple(block_rows(model, kind, h) for kind, h in zip(kinds, held, strict=True))
    point_bytes = 16 * p
    length = min(max(1 << max(_CHUNK_BYTES // (point_bytes + 64), 1).bit_length() - 1, 16), 1 << 14)
    slots, stride = length, 1
    if p > EVERY_STEP_UP_TO:
        length, slots = 256, min(max(_CHUNK_BYTES // point_bytes, 1), 256)
        stride = max(1, math.ceil((max_iter + 1) * point_bytes / _THINNED_BYTES))

    state, tracker = _begin(descent, start, penalty, model=model)
    tracker = tracker._replace(watched=np.full(len(names), np.inf))
    judged = names.index(judge) if judge else None
    points: list[_Record] = []
    budget, stop = 4, Stop.GOING_ON
    while stop == Stop.GOING_ON:
        bound = min(int(state.walk.steps) + 1, max_iter) if every_step else max_iter
        limits = _Limits(budget, bound, stride, float(tol), patience)
        clock = time.perf_counter()
        try:
            result = chunk(
                descent, state, tracker, held, limits,
                model=model, blocks=blocks, judge=judged, length=length, slots=slots,
            )  # fmt: skip
            record = _host(result[2])
            state, tracker = result[:2]
            points.append(record)
            stop = _why(state.walk, tracker, max_iter, tol, patience, judge)
            if progress is not None and progress(
                _progress(state.walk, tracker, max_iter, rows, watched, judge, stop)
            ):
                stop = Stop.ASKED if stop == Stop.GOING_ON else stop
        except KeyboardInterrupt:
            stop = Stop.INTERRUPTED  # the state of the last whole chunk stands
        grow = _CHUNK_SECONDS / max(time.perf_counter() - clock, 1e-4)
        budget = int(min(max(budget * min(max(grow, 0.25), 4.0), 1), 1 << 30))

    walk = state.walk
    if stop == Stop.NOT_FINITE:
        raise FalllineError(
            "the error at the weights to start from is not a finite number: start from smaller weights, "
            "or bring inputs and targets to a scale near 1."
        )
    if not points:
        raise KeyboardInterrupt  # before the error at the start was known: there is nothing to keep
    best_weights, best_step, best_error = (
        np.asarray(walk.lowest_weights),
        int(walk.lowest_step),
        float(walk.lowest_error),
    )
    if judge and np.isfinite(float(tracker.best)):
        best_weights, best_step, best_error = (
            np.asarray(tracker.best_weights),
            int(tracker.best_step),
            float(tracker.best),
        )
    limit, column = None, ""
    if stop == Stop.DIVERGED:
        limit, column = _why_diverged(
            model, descent, rows, held[0], walk.lowest_weights, state.penalty, input_names
        )

    record = _Record(
        None, None, *(np.concatenate(parts) for parts in zip(*(point[2:] for point in points), strict=True))
    )
    if record.kept_steps[-1] != record.steps[-1]:  # thinned: the last point is always kept
        record = record._replace(
            kept_steps=np.append(record.kept_steps, record.steps[-1]),
            weights=np.concatenate([record.weights, np.asarray(walk.weights)[None]]),
            gradient=np.concatenate([record.gradient, np.asarray(walk.gradient)[None]]),
        )
    return DescentPath(
        model=model,
        descent=descent,
        steps=record.steps,
        error=record.error,
        penalised_error=record.penalised,
        gradient_norm=record.gradient_norm,
        passes=record.passes,
        shown={name: record.shown[:, i] for i, name in enumerate(descent.shows(penalty))},
        watched={name: record.watched[:, i] for i, name in enumerate(names)},
        watched_rows={name: each.count for name, each in watched.items()},
        n_rows=rows.count,
        weight_steps=record.kept_steps,
        weights=record.weights,
        gradient=record.gradient,
        best_weights=best_weights,
        best_step=best_step,
        stop=stop,
        stop_message=stop_sentence(
            stop, descent, int(record.steps[-1]), best_step, best_error, tol, patience, judge, limit, column
        ),
        n_passes=int(walk.passes),
        seconds=time.perf_counter() - began,
        alpha=alpha,
        strength=np.asarray(state.penalty.strength),
        input_names=None if input_names is None else tuple(map(str, input_names)),
    )


def _host(record: _Record) -> _Record:
    """The used part of a record as NumPy arrays."""
    points, kept = int(record.points), int(record.kept)
    arrays = [np.asarray(a) for a in record[2:]]
    return _Record(
        points, kept, *(a[:points].copy() for a in arrays[:7]), *(a[:kept].copy() for a in arrays[7:])
    )


def _why(walk: Walk, tracker: _Tracker, max_iter: int, tol: float, patience: int, judge: str | None) -> Stop:
    """The reason to stop after a chunk, if there is one; the descent's own comes first."""
    if int(walk.stop):
        return Stop(int(walk.stop))
    if judge and int(tracker.rising) >= patience:
        return Stop.VALIDATION
    if tol > 0 and int(tracker.since) >= patience:
        return Stop.NO_CHANGE
    return Stop.MAX_ITER if int(walk.steps) >= max_iter else Stop.GOING_ON
