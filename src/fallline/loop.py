"""The loop: runs a descent over rows, and keeps the path.

``tell ∘ sum ∘ ask`` is compiled once and run in chunks of many steps, with no Python
between steps. A chunk ends often enough for a progress bar and Ctrl-C. What the chunk
recorded comes back as arrays and becomes a ``DescentPath``.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Descent, Stop, Walk
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import (
    Bowl,
    bowl_of,
    is_stable,
    largest_stable_rate,
    limit_from,
    settled,
    steps_shown,
    steps_to_the_limit,
    walk,
    walks_on_moments,
)
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.rate import first_direction, power_step, stability_limit
from fallline.error import Request, Sums
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.network import Model
from fallline.path import DescentPath, leap_sentence, stop_sentence
from fallline.rows.memory import Capacity, InMemory, block_rows, check_fit, sum_over_rows
from fallline.rows.moments import Moments, error_at, moments_of, relations, sums_of_moments
from fallline.threads import one_blas_thread

# Up to this many weights every step is kept; above it the path is thinned to this many bytes.
EVERY_STEP_UP_TO = 1000
_THINNED_BYTES = 64 << 20
_CHUNK_BYTES = 4 << 20
_CHUNK_SECONDS = 0.1  # between two looks at the clock, Ctrl-C and the progress bar
# Above so many steps a descent on a linear network takes them all at once: below, every step is worth keeping.
_STEPS_ONE_BY_ONE = 20_000
_MOST_RELATIONS = 5
_NOT_FINITE = (
    "the error at the weights to start from is not a finite number: start from smaller weights, "
    "or bring inputs and targets to a scale near 1."
)


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
    keep = walk.steps % stride == 0
    at, slot = record.points, jnp.where(keep, record.kept, record.weights.shape[0] - 1)
    return _Record(
        points=jnp.where(walk.moved, at + 1, at),
        kept=jnp.where(walk.moved & keep, record.kept + 1, record.kept),
        steps=record.steps.at[at].set(walk.steps),
        passes=record.passes.at[at].set(walk.passes),
        error=record.error.at[at].set(walk.error),
        penalised=record.penalised.at[at].set(walk.penalised),
        gradient_norm=record.gradient_norm.at[at].set(jnp.sqrt(walk.gradient @ walk.gradient)),
        shown=record.shown.at[at].set(walk.shown),
        watched=record.watched.at[at].set(watched),
        kept_steps=record.kept_steps.at[slot].set(walk.steps),
        weights=record.weights.at[slot].set(walk.weights),
        gradient=record.gradient.at[slot].set(walk.gradient),
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


def _sums(
    model: Model, kinds: tuple[str, ...], request: Request, rows: Capacity | Moments, block: int
) -> Sums:
    """The sums over rows, or what their moments say these are."""
    if isinstance(rows, Moments):
        return sums_of_moments(model, kinds, request, rows)
    return sum_over_rows(model, kinds, request, rows, block)


@functools.partial(jax.jit, static_argnames=("model", "blocks", "judge", "length", "slots"))
def _chunk(
    descent: Descent,
    state: Any,
    tracker: _Tracker,
    rows: tuple[Capacity | Moments, ...],
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
            _sums(model, ("error",), request, r, b).error for r, b in zip(rows[1:], blocks[1:], strict=True)
        ]
        return jnp.stack(errors) if errors else jnp.zeros(0)

    def going(carry: tuple[Any, _Tracker, _Record, Any]) -> Any:
        state, tracker, record, passes = carry
        go = (state.walk.stop == 0) & (state.walk.steps < limits.step) & (passes < limits.passes)
        go &= (record.points < length) & (record.kept < slots)
        go &= (limits.tol <= 0) | (tracker.since < limits.patience)
        return go if judge is None else go & (tracker.rising < limits.patience)

    def one_pass(carry: tuple[Any, _Tracker, _Record, Any]) -> tuple[Any, _Tracker, _Record, Any]:
        state, tracker, record, passes = carry
        sums = _sums(model, descent.kinds, descent.ask(state), rows[0], blocks[0])
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


@functools.partial(jax.jit, static_argnames=("model", "block"))
def _steepest_curvature(
    weights: Any, strength: Any, rows: Capacity | Moments, *, model: Model, block: int
) -> Any:
    """λ_max of (G + penalty)/n at the weights, by 100 power iterations."""

    def read(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        _, direction = carry
        sums = _sums(
            model, ("curvature",), Request(jnp.zeros((), jnp.int32), weights, direction), rows, block
        )
        return power_step((sums.curvature + strength * direction) / sums.rows)

    first = jnp.asarray(first_direction(model.n_weights))
    return jax.lax.fori_loop(0, 100, read, (jnp.zeros(()), first))[0]


def descend(
    model: Model,
    rows: InMemory | tuple[Any, Any],
    descent: Descent | str = "auto",
    *,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
    max_iter: float = 1000,
    tol: float = 0.0,
    n_iter_no_change: int = 10,
    alpha: float | str = 0.0,
    watched: Mapping[str, InMemory] | None = None,
    judge: str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    every_step: bool = False,
) -> DescentPath:
    """Go down the error of ``model`` over ``rows``, and return the way.

    Nothing is scaled here: E is exactly ½ Σ Σ (y − ŷ)² over the rows given.

    rows: ``InMemory``, or (x, y) of shapes (n, inputs) and (n, outputs). descent: settings such as
    ``GradientDescent(learning_rate=0.1)``, or ``"auto"``. weights (n_weights,): where to start; without them,
    ``model.initial(seed)``. max_iter: steps. The walk ends before that when the error falls by less than ``tol``
    (relative) over ``n_iter_no_change`` steps; with tol = 0 it takes every step it was asked for, unless there is
    nothing left to gain. alpha ≥ 0: weight decay, F = E + ½ · alpha · Σ coef² is descended; ``"evidence"``: Bayesian
    regularisation by Levenberg–Marquardt, F = E + ½ Σ strength_i w_i² with the strengths found on the way.

    A ``GradientDescent`` on a linear network (no hidden layer, identity) reads the rows once and walks on their
    moments: the same way, at a cost per step that does not grow with the rows. More than 20 000 steps are taken at
    once (without tol, judge or every_step), and ``max_iter=math.inf`` goes to where they lead, the exact minimum.

    watched: rows whose E is followed and not descended. judge: the name of one of them; its lowest error chooses
    ``best_weights``, and the walk ends when it has not fallen for ``n_iter_no_change`` steps. progress is called
    with a ``Progress`` after every chunk, or after every step if ``every_step``; it ends the walk by returning True.
    Ctrl-C ends the walk and keeps it.

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
    endless = max_iter == math.inf
    if isinstance(max_iter, bool) or not max_iter >= 0 or not (endless or int(max_iter) == max_iter):
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
    if endless and not (
        walks_on_moments(model, descent, max_iter) and tol == 0 and judge is None and not every_step
    ):
        raise SettingsError(
            "max_iter=inf goes to the limit of a descent, which is known only for GradientDescent on a linear network (no "
            "hidden layer, identity), without tol, judge or every_step: give a number of steps."
        )
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
        )


def _run(
    model: Model,
    rows: InMemory,
    descent: Descent,
    start: np.ndarray,
    penalty: Penalty,
    max_iter: float,
    tol: float,
    patience: int,
    watched: dict[str, InMemory],
    judge: str | None,
    progress: Callable[[Progress], Any] | None,
    every_step: bool,
    alpha: float | str,
) -> DescentPath:
    began = time.perf_counter()
    p, names = model.n_weights, list(watched)
    given, moments, undetermined = descent, None, ""
    if isinstance(descent, GradientDescent) and walks_on_moments(model, descent, max_iter):
        moments = _moments(model, rows, watched, refined=max_iter == math.inf)
        if moments is not None:
            bowl = bowl_of(model, moments[0], penalty.strength)
            exact = settled(descent, bowl)
            descent, undetermined = exact, _undetermined(model, moments[0], bowl)
            at_once = max_iter > _STEPS_ONE_BY_ONE and tol == 0 and judge is None and not every_step
            if at_once and is_stable(exact, bowl):
                return _leap(
                    model, rows, moments, bowl, given, exact, start, penalty, max_iter,
                    watched, progress, alpha, undetermined, began,
                )  # fmt: skip
        if max_iter == math.inf:
            _refuse_limit(descent, bowl if moments else None)
    max_iter = int(max_iter)
    held: tuple[Capacity | Moments, ...] = (
        jax.device_put(moments) if moments else tuple(each.padded() for each in (rows, *watched.values()))
    )
    kinds = (descent.kinds, *(("error",) for _ in names))
    blocks = tuple(
        0 if isinstance(h, Moments) else block_rows(model, kind, h.x.shape[0])
        for kind, h in zip(kinds, held, strict=True)
    )
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
            result = _chunk(
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
        raise FalllineError(_NOT_FINITE)
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
    limit = None
    if stop == Stop.DIVERGED:
        first = held[0]
        block = 0 if isinstance(first, Moments) else block_rows(model, ("curvature",), first.x.shape[0])
        curvature = float(
            _steepest_curvature(
                walk.lowest_weights, state.penalty.strength, held[0], model=model, block=block
            )
        )
        limit = (
            float(stability_limit(curvature, getattr(descent, "momentum", 0.0))) if curvature > 0 else None
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
    if moments is not None:
        record = record._replace(passes=np.full_like(record.passes, moments[0].passes))
    return DescentPath(
        model=model,
        descent=given,
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
            stop, descent, int(record.steps[-1]), best_step, best_error, tol, patience, judge, limit
        )
        + undetermined,
        n_passes=int(walk.passes if moments is None else moments[0].passes),
        seconds=time.perf_counter() - began,
        alpha=alpha,
        strength=np.asarray(state.penalty.strength),
    )


def _moments(
    model: Model, rows: InMemory, watched: dict[str, InMemory], *, refined: bool
) -> tuple[Moments, ...] | None:
    """The moments of the rows and of each watched set; None where numbers so large that their products overflow."""
    found = [
        moments_of(model, rows, refined=refined),
        *(moments_of(model, each) for each in watched.values()),
    ]
    kept = tuple(each for each in found if each is not None)
    return kept if len(kept) == len(found) else None


def _undetermined(model: Model, moments: Moments, bowl: Bowl) -> str:
    """What the rows cannot tell, as a sentence to add."""
    if not bowl.undetermined.shape[1]:
        return ""
    said = relations(model, moments)
    more = f"; and {len(said) - _MOST_RELATIONS} more" if len(said) > _MOST_RELATIONS else ""
    return (
        f" The rows do not tell apart what moves along {len(said)} direction{'s' if len(said) > 1 else ''} of the weights, "
        f"which stay there as they started: {'; '.join(said[:_MOST_RELATIONS])}{more}."
    )


def _refuse_limit(descent: GradientDescent, bowl: Bowl | None) -> None:
    """SettingsError: max_iter=inf where there is no limit, or none that can be computed."""
    if bowl is None:
        raise SettingsError(
            "max_iter=inf is not possible: the rows are so large that their products overflow. Scale them."
        )
    limit = largest_stable_rate(descent, bowl)
    raise SettingsError(
        f"max_iter=inf is not possible with learning rate {descent.learning_rate:g}: the descent has no limit, "
        f"the largest stable rate here is {limit:.3g}. Take a rate below {0.95 * limit:.2g}, or learning_rate='auto'."
    )


def _leap(
    model: Model,
    rows: InMemory,
    moments: tuple[Moments, ...],
    bowl: Bowl,
    given: Descent,
    descent: GradientDescent,
    start: np.ndarray,
    penalty: Penalty,
    max_iter: float,
    watched: dict[str, InMemory],
    progress: Callable[[Progress], Any] | None,
    alpha: float | str,
    undetermined: str,
    began: float,
) -> DescentPath:
    """All steps of a stable descent on a linear network at once."""
    first, stop = start.reshape(-1, model.outputs), Stop.MAX_ITER
    with np.errstate(over="ignore"):
        if not np.isfinite(error_at(moments[0], first)):
            raise FalllineError(_NOT_FINITE)
    last = int(max_iter) if max_iter < math.inf else steps_to_the_limit(descent, bowl)
    steps = steps_shown(last, _THINNED_BYTES // (16 * model.n_weights))
    weights, gradient, above = walk(descent, bowl, moments[0].rows, first, steps)
    if max_iter == math.inf:
        stop = Stop.FLAT
        weights[-1], gradient[-1], above[-1] = limit_from(bowl, first), 0.0, 0.0
    errors = [error_at(each, weights) for each in moments]
    vectors, slopes = (each.reshape(len(steps), -1) for each in (weights, gradient))
    penalised = errors[0] + 0.5 * vectors**2 @ penalty.strength
    best = len(steps) - 1 if stop == Stop.FLAT else int(np.argmin(penalised))
    path = DescentPath(
        model=model,
        descent=given,
        steps=steps,
        error=errors[0],
        penalised_error=penalised,
        gradient_norm=np.sqrt(np.sum(slopes**2, axis=1)),
        passes=np.full(len(steps), int(moments[0].passes)),
        shown={name: np.full(len(steps), float(descent.learning_rate)) for name in descent.shows(penalty)},
        watched=dict(zip(watched, errors[1:], strict=True)),
        watched_rows={name: each.count for name, each in watched.items()},
        n_rows=rows.count,
        weight_steps=steps,
        weights=vectors,
        gradient=slopes,
        best_weights=vectors[best],
        best_step=int(steps[best]),
        stop=stop,
        stop_message=leap_sentence(stop, last, float(above[-1]), float(penalised[-1] - above[-1]))
        + undetermined,
        n_passes=int(moments[0].passes),
        seconds=time.perf_counter() - began,
        alpha=alpha,
        strength=np.asarray(penalty.strength),
    )
    if progress is not None:
        progress(
            Progress(
                last, last, path.n_passes, float(path.error[-1]), rows.count,
                {name: float(each[-1]) for name, each in path.watched.items()}, path.watched_rows,
                path.best_weights, stop,
            )
        )  # fmt: skip
    return path


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
