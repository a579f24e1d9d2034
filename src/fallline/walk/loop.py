"""The loop: runs a descent over rows, and keeps the path.

Chunks of many steps run compiled (``chunk.py``); a chunk ends often enough for a progress bar and Ctrl-C. What
the chunks recorded comes back as arrays and becomes a ``DescentPath``. Mini-batches walk in ``epochs.py``, and many
steps of a linear network are taken at once in ``leap.py``.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from fallline.descent import Descent, Stop, Walk
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import bowl_of, is_stable, settled, walks_on_moments
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.transformation import wrapped
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.network import Model
from fallline.rows.memory import Capacity, InMemory, Parts, block_rows, check_fit
from fallline.rows.moments import Moments
from fallline.threads import one_blas_thread
from fallline.walk.chunk import (
    Limits,
    Record,
    Tracker,
    begin,
    check_patience,
    chunk,
    chunk_over_parts,
    is_small,
    on_host,
)
from fallline.walk.divergence import why_diverged
from fallline.walk.epochs import run_epochs, seed_of
from fallline.walk.leap import (
    STEPS_ONE_BY_ONE,
    leap,
    moments_of_all,
    numbers_shown,
    refuse_limit,
    undetermined_said,
)
from fallline.walk.path import (
    EVERY_STEP_UP_TO,
    START_NOT_FINITE,
    THINNED_BYTES,
    DescentPath,
    Progress,
    stop_sentence,
)

_CHUNK_BYTES = 4 << 20
_CHUNK_SECONDS = 0.1  # between two looks at the clock, Ctrl-C and the progress bar
# Passes in the first chunk: as many as make so many products, within these bounds, which take a small part of that time; so
# many small ones take hardly longer than what a chunk costs by itself.
_FIRST_PRODUCTS, _FIRST, _FIRST_SMALL = 1e8, (4, 64), 1024


def _progress(
    walk: Walk,
    tracker: Tracker,
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


def descend(
    model: Model,
    rows: InMemory | tuple[Any, Any],
    descent: Any = "auto",
    *,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
    max_iter: float = 1000,
    tol: float = 0.0,
    n_iter_no_change: int = 10,
    alpha: Any = 0.0,
    watched: Mapping[str, InMemory] | None = None,
    judge: str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    every_step: bool = False,
    input_names: Sequence[str] | None = None,
) -> DescentPath:
    """Go down the error of ``model`` over ``rows``, and return the way.

    Nothing is scaled here: E is exactly ½ Σ Σ (y − ŷ)² over the rows given.

    rows: ``InMemory``, or (x, y) of shapes (n, inputs) and (n, outputs). descent: settings such as
    ``GradientDescent(learning_rate=0.1)``, ``"auto"``, or an Optax transformation such as ``optax.adam(1e-3)``.
    weights (n_weights,): where to start; without them, ``model.initial(seed)``. max_iter: steps, or epochs where the
    descent has a ``batch_size``; ``seed`` then orders the rows, too. The walk ends before that when the error falls
    by less than ``tol`` (relative) over ``n_iter_no_change`` of them; with tol = 0 it takes every step it was asked for,
    unless there is nothing left to gain. Where a rate decays towards zero ``tol`` says nothing.
    alpha ≥ 0: weight decay, F = E + ½ · alpha · Σ coef² is descended; ``"evidence"``: Bayesian
    regularisation by Levenberg–Marquardt, F = E + ½ Σ strength_i w_i² with the strengths found on the way.

    A ``GradientDescent`` on a linear network (no hidden layer, identity) reads the rows once and walks on their
    moments: the same way, at a cost per step that does not grow with the rows. More than 20 000 steps are taken at
    once (without tol, judge or every_step), and ``max_iter=math.inf`` goes to where they lead, the exact minimum.

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
    endless = max_iter == math.inf
    if isinstance(max_iter, bool) or not max_iter >= 0 or not (endless or int(max_iter) == max_iter):
        raise SettingsError(
            f"max_iter={max_iter!r} is not possible: expected a whole number of steps from 0 up."
        )
    check_patience(tol, n_iter_no_change)
    start = model.initial(seed) if weights is None else np.asarray(weights, np.float64)
    if start.shape != (model.n_weights,):
        raise ShapeError(
            f"weights have shape {start.shape}, but the model has {model.n_weights}: pass shape ({model.n_weights},)."
        )
    if not np.isfinite(start).all():
        raise TableError("the weights to start from contain NaN or infinity: start from finite weights.")
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows.x))
    descent = wrapped(descent)
    descent.check()
    if endless and not (
        walks_on_moments(model, descent, max_iter) and tol == 0 and judge is None and not every_step
    ):
        raise SettingsError(
            "max_iter=inf goes to the limit of a descent, which is known only for GradientDescent on a linear network (no "
            "hidden layer, identity), without tol, judge or every_step: give a number of steps."
        )
    penalty = penalty_for(model, alpha, rows.count)
    if penalty.adapts and not descent.finds_penalty:
        raise SettingsError(
            f"alpha='evidence' needs JᵀJ, which {type(descent).__name__} does not ask for: use LevenbergMarquardt, or a number."
        )

    with jax.enable_x64(True), one_blas_thread():
        if getattr(descent, "batch_size", None) is not None:
            return run_epochs(
                model, rows, descent, start, penalty, seed=seed_of(seed), max_iter=int(max_iter), tol=tol,
                patience=n_iter_no_change, watched=watched, judge=judge, progress=progress, every_step=every_step,
                alpha=alpha,
            )[0]  # fmt: skip
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
    max_iter: float,
    tol: float,
    patience: int,
    watched: dict[str, InMemory],
    judge: str | None,
    progress: Callable[[Progress], Any] | None,
    every_step: bool,
    alpha: Any,
    input_names: Sequence[str] | None,
) -> DescentPath:
    began = time.perf_counter()
    p, names = model.n_weights, list(watched)
    given, exact, moments, undetermined = descent, None, None, ""
    descent = descent.suited(model)
    if isinstance(descent, GradientDescent) and walks_on_moments(model, descent, max_iter):
        moments = moments_of_all(model, rows, watched, refined=max_iter == math.inf)
        if moments is not None:
            bowl = bowl_of(model, moments[0], penalty.strength)
            exact = settled(descent, bowl)
            descent, undetermined = exact, undetermined_said(model, moments[0], bowl)
            at_once = max_iter > STEPS_ONE_BY_ONE and tol == 0 and judge is None and not every_step
            if at_once and is_stable(exact, bowl):
                return leap(
                    model, rows, moments, bowl, given, exact, start, penalty, max_iter,
                    watched, progress, alpha, undetermined, began,
                )  # fmt: skip
        if max_iter == math.inf:
            refuse_limit(descent, bowl if moments else None)
    max_iter = int(max_iter)
    held: tuple[Capacity | Moments | Parts, ...] = (
        jax.device_put(moments) if moments else tuple(each.held() for each in (rows, *watched.values()))
    )
    inside = tuple(each for each in held if not isinstance(each, Parts))
    small = len(inside) == len(held) and is_small(model, descent, inside)
    some_steps: Callable[..., tuple[Any, Tracker, Record]] = (
        functools.partial(chunk, small=small, quick=descent.sums_squares)
        if len(inside) == len(held)
        else chunk_over_parts
    )
    kinds = (descent.kinds, *(("error",) for _ in names))
    blocks = tuple(
        0 if isinstance(h, Moments) else block_rows(model, kind, h)
        for kind, h in zip(kinds, held, strict=True)
    )
    point_bytes = 16 * p
    length = min(max(1 << max(_CHUNK_BYTES // (point_bytes + 64), 1).bit_length() - 1, 16), 1 << 14)
    slots, stride = length, 1
    if p > EVERY_STEP_UP_TO:
        length, slots = 256, min(max(_CHUNK_BYTES // point_bytes, 1), 256)
        stride = max(1, math.ceil((max_iter + 1) * point_bytes / THINNED_BYTES))

    state, tracker = begin(descent, start, penalty, model=model)
    tracker = tracker._replace(watched=np.full(len(names), np.inf))
    judged = names.index(judge) if judge else None
    points: list[Record] = []
    budget, stop = _FIRST_SMALL if small else _passes_at_first(model, descent, rows), Stop.GOING_ON
    while stop == Stop.GOING_ON:
        bound = min(int(state.walk.steps) + 1, max_iter) if every_step else max_iter
        limits = Limits(budget, bound, stride, float(tol), patience)
        clock = time.perf_counter()
        try:
            result = some_steps(
                descent, state, tracker, held, limits,
                model=model, blocks=blocks, judge=judged, length=length, slots=slots,
            )  # fmt: skip
            record = on_host(result[2])
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
        raise FalllineError(START_NOT_FINITE)
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
        limit, column = why_diverged(
            model, descent, rows, held[0], walk.lowest_weights, state.penalty, input_names
        )

    record = Record(
        None, None, *(np.concatenate(parts) for parts in zip(*(point[2:] for point in points), strict=True))
    )
    if record.kept_steps[-1] != record.steps[-1]:  # thinned: the last point is always kept
        record = record._replace(
            kept_steps=np.append(record.kept_steps, record.steps[-1]),
            weights=np.concatenate([record.weights, np.asarray(walk.weights)[None]]),
            gradient=np.concatenate([record.gradient, np.asarray(walk.gradient)[None]]),
        )
    shown = {name: record.shown[:, i] for i, name in enumerate(descent.shows(penalty))}
    if moments is not None and exact is not None:
        shown = numbers_shown(exact, given.shows(penalty), record.steps)
        record = record._replace(passes=np.full_like(record.passes, moments[0].passes))
    return DescentPath(
        model=model,
        descent=given,
        steps=record.steps,
        error=record.error,
        penalised_error=record.penalised,
        gradient_norm=record.gradient_norm,
        passes=record.passes,
        shown=shown,
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
        )
        + undetermined,
        n_passes=int(walk.passes if moments is None else moments[0].passes),
        seconds=time.perf_counter() - began,
        alpha=alpha,
        strength=np.asarray(state.penalty.strength),
        input_names=None if input_names is None else tuple(map(str, input_names)),
    )


def _passes_at_first(model: Model, descent: Descent, rows: InMemory) -> int:
    """Passes in the first chunk, before anything is known of how long one takes."""
    products = len(rows.x) * model.n_weights * (model.n_weights if descent.sums_squares else 1)
    return int(np.clip(_FIRST_PRODUCTS / products, *_FIRST))


def _why(walk: Walk, tracker: Tracker, max_iter: int, tol: float, patience: int, judge: str | None) -> Stop:
    """The reason to stop after a chunk, if there is one; the descent's own comes first."""
    if int(walk.stop):
        return Stop(int(walk.stop))
    if judge and int(tracker.rising) >= patience:
        return Stop.VALIDATION
    if tol > 0 and int(tracker.since) >= patience:
        return Stop.NO_CHANGE
    return Stop.MAX_ITER if int(walk.steps) >= max_iter else Stop.GOING_ON
