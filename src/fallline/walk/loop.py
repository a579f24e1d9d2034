"""The loop: walks down the error of a model over its rows, and keeps the path.

There is one loop. What walks is one of three: full passes (here), mini-batches (``epochs.py``), or the closed form of a linear
network (``leap.py``). Each says ``go()`` and gives the point that it came to; what is recorded, when the walk ends and how that
is said is the same for all.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop, Walk
from fallline.descent.batches import BatchState
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import Bowl, bowl_of, is_stable, settled, walks_on_moments
from fallline.descent.penalty import Penalty, penalty_for, weight_decay
from fallline.descent.transformation import wrapped
from fallline.error.sums import Request
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.network import Model
from fallline.rows.memory import check_fit
from fallline.rows.moments import moments_of
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread, stopping
from fallline.walk.checkpoint import CUT_SHORT, Checkpoint, KeptWalk, opened
from fallline.walk.divergence import why_diverged
from fallline.walk.ending import START_NOT_FINITE, leap_sentence, stop_sentence
from fallline.walk.epochs import Epochs, Standing, seed_of
from fallline.walk.leap import STEPS_ONE_BY_ONE, Leap, refuse_limit, undetermined_said
from fallline.walk.path import DescentPath, Progress, path_of
from fallline.walk.recorder import Point, Recorder, Stretch
from fallline.walk.stopping import Stopping, check_patience, end_of
from fallline.walk.walker import Walker

_SECONDS_BETWEEN_WORDS = 0.1
# Steps that are made at once: at first, in seconds, and in numbers kept of them.
_FIRST_STRIDE, _SECONDS_OF_STRIDE, _STRIDE_NUMBERS = 64, 0.05, 1 << 15


def descend(
    model: Model,
    rows: Rows | tuple[Any, Any],
    descent: Any = "auto",
    *,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
    max_iter: float = 1000,
    tol: float = 0.0,
    n_iter_no_change: int = 10,
    max_seconds: float | None = None,
    alpha: Any = 0.0,
    watched: Mapping[str, Rows] | None = None,
    judge: str | None = None,
    progress: Callable[[Progress], Any] | None = None,
    every_step: bool = False,
    input_names: Sequence[str] | None = None,
    until: float = math.inf,
    checkpoint: Any = None,
) -> DescentPath:
    """Go down the error of ``model`` over ``rows``, and return the way.

    Nothing is scaled here: E is exactly ½ Σ Σ (y − ŷ)² over the rows given.

    rows: ``InMemory`` or other rows, or (x, y) of shapes (n, inputs) and (n, outputs). descent: settings such as
    ``GradientDescent(learning_rate=0.1)``, ``"auto"``, or an Optax transformation such as ``optax.adam(1e-3)``.
    weights (n_weights,): where to start; without them, ``model.initial(seed)``. max_iter: steps, or epochs where the
    descent has a ``batch_size``; ``seed`` then orders the rows, too. The walk ends before that when the error falls
    by less than ``tol`` (relative) over ``n_iter_no_change`` of them; with tol = 0 it takes every step it was asked for,
    unless there is nothing left to gain. Where a rate decays towards zero ``tol`` says nothing.
    max_seconds: when this time is over the walk ends, too, after the pass or batch it is at, and at least a first pass.
    ``until``, for walks that share their time: when it is over, as ``time.perf_counter()`` reads then.
    alpha ≥ 0: weight decay, F = E + ½ · alpha · Σ coef² is descended; ``"evidence"``: Bayesian
    regularisation by Levenberg–Marquardt, F = E + ½ Σ strength_i w_i² with the strengths found on the way.

    A ``GradientDescent`` on a linear network (no hidden layer, identity) reads the rows once and walks on their
    moments: the same way, at a cost per step that does not grow with the rows. More than 20 000 steps are taken at
    once (without tol, judge or every_step), and ``max_iter=math.inf`` goes to where they lead, the exact minimum.

    watched: rows whose E is followed and not descended. judge: the name of one of them; its lowest error chooses
    ``best_weights``, and the walk ends when it has not fallen for ``n_iter_no_change`` steps. progress is called
    with a ``Progress`` about ten times a second, or after every step if ``every_step``; it ends the walk by returning True.
    Ctrl-C ends the walk and keeps it. input_names: what messages and the path call the inputs, x1, x2, … by default.

    checkpoint: a folder in which the walk is kept every 15 seconds or so, at Ctrl-C and at SIGTERM. The same call goes on from
    there and ends at the same bits, wherever it was stopped (a limit of time apart); a walk that ended by itself leaves nothing
    in the folder. Raises CheckpointError, in a sentence, for a folder of another walk, process or program.

    Raises ShapeError, TableError or SettingsError, in a sentence, for rows, weights or settings that do not fit.
    """
    asked = dict(locals())
    rows = check_fit(model, rows)
    watched = {name: check_fit(model, each) for name, each in (watched or {}).items()}
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        return _in_folder(asked | {"rows": rows, "watched": watched})
    if judge is not None and judge not in watched:
        raise SettingsError(
            f"judge={judge!r} is not one of the watched sets of rows ({', '.join(watched) or 'there are none'})."
        )
    until = min(until, end_of(max_seconds))
    endless = max_iter == math.inf
    if isinstance(max_iter, bool) or not max_iter >= 0 or not (endless or int(max_iter) == max_iter):
        raise SettingsError(f"max_iter={max_iter!r} is not possible: expected a whole number of steps from 0 up.")
    check_patience(tol, n_iter_no_change)
    start = model.initial(seed) if weights is None else np.array(weights, np.float64)
    if start.shape != (model.n_weights,):
        raise ShapeError(
            f"weights have shape {start.shape}, but the model has {model.n_weights}: pass shape ({model.n_weights},)."
        )
    if not np.isfinite(start).all():
        raise TableError("the weights to start from contain NaN or infinity: start from finite weights.")
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows), all_rows=not rows.in_any_order)
    descent = wrapped(descent)
    descent.check()
    whole = tol == 0 and judge is None and not every_step  # nobody asks for each step
    if endless and not (walks_on_moments(model, descent, max_iter) and whole):
        raise SettingsError(
            "max_iter=inf goes to the limit of a descent, which is known only for GradientDescent on a linear network (no "
            "hidden layer, identity), without tol, judge or every_step: give a number of steps."
        )
    penalty = penalty_for(model, alpha, rows.count)
    if penalty.adapts and not descent.finds_penalty:
        raise SettingsError(
            f"alpha='evidence' needs JᵀJ, which {type(descent).__name__} does not ask for: use LevenbergMarquardt, or a number."
        )

    trip = _Trip(
        model, rows, descent, watched, judge, float(max_iter), tol, n_iter_no_change, alpha, progress, every_step,
        None if input_names is None else tuple(map(str, input_names)), until,
    )  # fmt: skip

    by_batches = getattr(descent, "batch_size", None) is not None
    order = seed_of(seed) if by_batches else 0
    if checkpoint is not None:
        trip.kept = checkpoint.walk(
            model, rows.content, descent, start, penalty, max_iter, tol, n_iter_no_change, order, judge,
            {name: each.content for name, each in watched.items()}, every_step, trip.input_names, descent=descent,
        )  # fmt: skip
        if (known := trip.known_path()) is not None:
            return known
    with rows.walking(), one_blas_thread(), np.errstate(all="ignore"):
        path: DescentPath | None = None
        if by_batches:
            every_point = bool(watched) or every_step
            given: dict[str, Any] = {"seed": order, "max_iter": int(max_iter), "every_point": every_point}
            path = trip.by(Epochs(model, rows, descent, start, penalty, **given))
        elif isinstance(descent, GradientDescent) and walks_on_moments(model, descent, max_iter):
            path = _on_moments(trip, descent, start, penalty, whole)
        path = path or trip.by(FullPasses(model, rows, descent, start, penalty, max_iter))
    if trip.kept is not None and path.stop not in CUT_SHORT:
        trip.kept.end(path.kept())
    return path


def _in_folder(asked: dict[str, Any]) -> DescentPath:
    """``descend`` as it was asked for, with a folder as its checkpoint."""
    apart = ("rows", "watched", "progress", "checkpoint", "max_seconds", "until")

    def about() -> dict[str, Any]:
        said = {name: value for name, value in asked.items() if name not in apart}
        contents = {name: each.content for name, each in asked["watched"].items()}
        return said | {"rows": f"{len(asked['rows'])}, content {asked['rows'].content[:8]}", "watched": contents}

    drawn = int(np.random.default_rng().integers(1 << 62)) if asked["seed"] is None else None
    with opened(asked["checkpoint"], about, drawn=drawn) as checkpoint:
        assert checkpoint is not None
        seed = checkpoint.drawn if drawn is not None else asked["seed"]
        path = descend(**asked | {"checkpoint": checkpoint, "seed": seed})
        checkpoint.ended(path.stop)
    return path


def one_epoch(
    model: Model,
    rows: Rows,
    descent: Any,
    start: np.ndarray,
    *,
    seed: int,
    alpha: float = 0.0,
    before: Standing | None = None,
    input_names: Sequence[str] | None = None,
) -> tuple[DescentPath, Standing]:
    """One epoch over the rows, going on from ``before`` with its memory, or from ``start``.

    A decay towards zero is left out: nobody knows when the last of these epochs comes.
    """
    check_fit(model, rows)
    if getattr(descent, "decay", "none") not in ("none", "inverse"):
        descent = dataclasses.replace(descent, decay="none")
    descent.check()
    names = None if input_names is None else tuple(map(str, input_names))
    trip = _Trip(model, rows, descent, {}, None, 1.0, 0.0, 10, alpha, None, False, names)
    with one_blas_thread(), np.errstate(all="ignore"):
        before = None if before is None else dataclasses.replace(before)
        walker = Epochs(model, rows, descent, start, weight_decay(model, alpha), seed=seed, max_iter=1, before=before)
        return trip.by(walker), walker.standing


class FullPasses(Walker):
    """Walks by full passes: the descent asks for sums over all rows, and is told them. A turn is a step."""

    def __init__(
        self, model: Model, rows: Any, descent: Descent, start: np.ndarray, penalty: Penalty, max_iter: float
    ) -> None:
        self._model, self._rows, self._descent = model, rows, descent
        self._state, self.penalty = descent.start(start, penalty), penalty
        self.end, self.end_stop, self.shows = max_iter, Stop.MAX_ITER, descent.shows(penalty)
        self._stride = min(_FIRST_STRIDE, _STRIDE_NUMBERS // model.n_weights)

    @property
    def walk(self) -> Walk:
        """Where the descent stands."""
        found: Walk = self._state.walk
        return found

    @property
    def stood(self) -> Any:
        return self._state

    def kept(self) -> Any:
        state = self._state
        if isinstance(state, BatchState):
            state = state._replace(memory=self._descent.kept(state.memory))
        return (state, self._stride)

    def go_on(self, kept: Any) -> None:
        state, self._stride = kept
        if isinstance(state, BatchState):
            state = state._replace(memory=self._descent.again(state.memory, state.trial))
        self._state, self.penalty, self.passes = state, state.penalty, state.walk.passes

    def go(self) -> Point | Stretch | None:
        """One pass further: the point it came to, or None where it was a trial or a look at the curvature; or many, where
        ``strides`` says so and steps are tiny."""
        walk: Walk = self._state.walk
        if self.strides and self._stride > 1 and 0 <= walk.steps < self.end:
            most, clock = int(min(self._stride, self.end - walk.steps)), time.perf_counter()
            done = self._descent.many(self._state, self._rows, self._model, most)
            if done is not None:
                self._state, steps = done
                seconds = (time.perf_counter() - clock) / len(steps.error)
                # Not below 2: how fast a machine is must not decide who makes a step, C or Python.
                self._stride = min(max(int(_SECONDS_OF_STRIDE / seconds), 2), _STRIDE_NUMBERS // len(walk.weights))
                shown = np.reshape(steps.shown, (-1, 1))
                return Stretch(
                    walk.steps + 1, walk.passes + 1, steps.weights, steps.error, steps.penalised, steps.gradient, shown
                )
        sums = self._rows.total(self._descent.ask(self._state), self._model)
        self._state = self._descent.tell(self._state, sums)
        walk, self.penalty = self._state.walk, self._state.penalty
        self.stop, self.passes = Stop(walk.stop), walk.passes
        if not walk.moved:
            return None
        newest = walk.lowest_step == walk.steps
        return Point(
            walk.steps, walk.steps, walk.passes, walk.weights, walk.error, walk.penalised, walk.gradient, walk.shown,
            newest=newest,
        )  # fmt: skip


@dataclasses.dataclass
class _Trip:
    """What a call of ``descend`` asks for, whoever walks."""

    model: Model
    rows: Rows
    descent: Descent
    watched: Mapping[str, Rows]
    judge: str | None
    max_iter: float
    tol: float
    patience: int
    alpha: Any
    progress: Callable[[Progress], Any] | None
    every_step: bool
    input_names: tuple[str, ...] | None
    until: float = math.inf
    kept: KeptWalk | None = None

    def known_path(self) -> DescentPath | None:
        """The path, where it was walked to its end before."""
        if self.kept is None or self.kept.path is None:
            return None
        found = path_of(self.kept.path, self.model, self.descent, self.alpha, self.input_names)
        if found is None:
            self.kept.damaged()
        return found

    def by(self, walker: Walker, held: Any = None, watched: Sequence[Any] | None = None) -> DescentPath:
        """The path that the walker takes. ``held`` and ``watched`` stand for the rows in sums: their moments, or themselves."""
        began = time.perf_counter()
        sets = list(self.watched.values()) if watched is None else watched
        judged = None if self.judge is None else list(self.watched).index(self.judge)
        recorder = Recorder(self.model.n_weights, walker.end, len(walker.shows), len(sets), every=walker.keeps_all)
        walker.between, walker.until = recorder.between, self.until
        walker.strides = not sets and not self.every_step
        rule = Stopping(
            self.tol if walker.heeds_tol else 0.0, self.patience, walker.end, walker.end_stop,
            adapts=walker.penalty.adapts, judges=judged is not None,
        )  # fmt: skip
        stop, spoken, seen = Stop.GOING_ON, began, [math.inf] * len(sets)
        noted: Stretch | None = None  # and not judged yet

        def state() -> dict[str, Any]:
            return {
                "walker": walker.kept(), "recorder": recorder.kept(), "rule": rule.kept(), "seen": seen,
                "seconds": time.perf_counter() - began,
            }  # fmt: skip

        def keep(now: bool = False) -> None:
            if self.kept is not None:
                self.kept.keep(state, now)

        walker.pause = keep
        before = None if self.kept is None else self.kept.state_like(state())
        if before is not None:
            walker.go_on(before["walker"])
            recorder.go_on(before["recorder"])
            rule.go_on(before["rule"])
            seen, began = before["seen"], began - before["seconds"]
        heard, stood = False, None
        try:  # around the loop: Python may hear of Ctrl-C in its very head
            while stop == Stop.GOING_ON:
                heard, stood = stopping(), walker.stood
                keep(heard)
                if heard:
                    raise KeyboardInterrupt
                point = walker.go()
                stop = walker.stop
                if isinstance(point, Stretch):
                    noted = point
                    further = _judged(noted, walker, recorder, rule)
                    noted = None
                    stop = stop or further
                elif point is not None:
                    seen = [each.total(Request("error", point.weights), self.model).error for each in sets]
                    recorder.note(point, seen)
                    further = rule.tell(point, math.inf if judged is None else seen[judged])
                    stop = stop or further
                clock = time.perf_counter()
                if clock >= self.until and recorder.points:
                    stop = stop or Stop.TIME
                if self.progress is not None and recorder.points and (
                    stop or clock - spoken > _SECONDS_BETWEEN_WORDS or (self.every_step and point is not None)
                ):  # fmt: skip
                    spoken = clock
                    try:
                        said = self._said(walker, recorder, rule, seen, stop, clock - began)
                        asked = self.progress(said)
                    except Exception:
                        if not (stop or walker.left):
                            keep(now=True)
                        raise
                    if asked and not stop:
                        stop = Stop.ASKED
            if stop in (Stop.ASKED, Stop.TIME) and not (walker.stop or walker.left):
                keep(now=True)
        except KeyboardInterrupt:
            if stood is not None and walker.stood is stood and not (stop or heard):
                keep(now=True)  # in the middle of a pass over rows that stream by
            if not recorder.points:
                raise  # before the error at the start was known: there is nothing to keep
            if noted is not None:
                _judged(noted, walker, recorder, rule)
            stop = Stop.INTERRUPTED
        if stop == Stop.NOT_FINITE:
            raise FalllineError(START_NOT_FINITE)
        return self._path(walker, recorder, rule, stop, held or self.rows, time.perf_counter() - began)

    def _path(
        self, walker: Walker, recorder: Recorder, rule: Stopping, stop: Stop, held: Any, seconds: float
    ) -> DescentPath:
        """What the walk left behind, and in words why it ended."""
        arrays, best, limit, column = recorder.arrays(), rule.best, None, ""
        steps, epochs = arrays["steps"], arrays.pop("epochs")
        shown, errors = arrays.pop("shown"), arrays.pop("watched")
        last = int(steps[-1])
        if stop == Stop.DIVERGED:
            limit, column = why_diverged(
                self.model, self.descent, self.rows, held, best.weights, walker.penalty, self.input_names
            )
            last = last if walker.lost_at is None else walker.lost_at
        return DescentPath(
            model=self.model,
            descent=self.descent,
            shown={name: shown[:, i] for i, name in enumerate(walker.shows)},
            watched={name: errors[:, i] for i, name in enumerate(self.watched)},
            watched_rows={name: each.count for name, each in self.watched.items()},
            n_rows=self.rows.count,
            best_weights=best.weights,
            best_step=best.step,
            stop=stop,
            stop_message=stop_sentence(
                stop, self.descent, last, best.step, rule.best_error, self.tol, self.patience, self.judge, limit, column,
                epochs=int(epochs[-1] - epochs[0]) if walker.by_epochs else None,
            ),
            n_passes=walker.passes,
            seconds=seconds,
            alpha=self.alpha,
            strength=walker.penalty.strength,
            epochs=epochs if walker.by_epochs else None,
            input_names=self.input_names,
            **arrays,
        )  # fmt: skip

    def _said(
        self, walker: Walker, recorder: Recorder, rule: Stopping, seen: list[float], stop: Stop, seconds: float
    ) -> Progress:
        last = recorder.last
        assert last is not None
        return Progress(
            steps=last.step,
            max_iter=int(walker.end),
            passes=walker.passes,
            error=last.error,
            n_rows=self.rows.count,
            watched=dict(zip(self.watched, seen, strict=True)),
            watched_rows={name: each.count for name, each in self.watched.items()},
            weights=rule.best.weights,
            stop=stop,
            epochs=last.epoch,
            seconds=seconds,
        )


def _judged(stretch: Stretch, walker: Walker, recorder: Recorder, rule: Stopping) -> Stop:
    """Record the points of a stretch, and say why the walk ends within it, if it does. After Ctrl-C it can be done again."""
    recorder.note_all(stretch)
    stop, count = rule.tell_all(stretch)
    recorder.end_within(stretch, count)
    walker.passes = stretch.passes + count - 1
    return stop


def _on_moments(
    trip: _Trip, descent: GradientDescent, start: np.ndarray, penalty: Penalty, whole: bool
) -> DescentPath | None:
    """The path of a descent on a linear network, which needs no more of the rows than their moments.

    None where numbers are so large that their products overflow: then it walks on the rows.
    """
    model, endless = trip.model, trip.max_iter == math.inf
    sets = [trip.rows, *trip.watched.values()]
    found = [moments_of(model, each, refined=endless and each is trip.rows) for each in sets]
    bowl: Bowl | None = None
    if all(each is not None for each in found):
        moments: Any = found[0]
        bowl = bowl_of(model, moments, penalty.strength)
        exact = settled(descent, bowl)
        said = undetermined_said(model, moments, bowl, trip.input_names)
        if whole and trip.max_iter > STEPS_ONE_BY_ONE and is_stable(exact, bowl):
            leap = Leap(model, moments, bowl, exact, start, penalty, trip.max_iter)
            path = dataclasses.replace(trip, until=math.inf).by(
                leap, moments, found[1:]
            )  # all its steps are known by now
            above = leap.above
            message = leap_sentence(path.stop, leap.last, above, float(path.penalised_error[-1] - above))
            return dataclasses.replace(
                path, shown=_settled_numbers(exact, descent, penalty, path), stop_message=message + said
            )
    if endless:
        refuse_limit(descent if bowl is None else exact, bowl)
    if bowl is None:
        return None
    path = dataclasses.replace(trip, descent=exact).by(
        FullPasses(model, moments, exact, start, penalty, trip.max_iter), moments, found[1:]
    )
    return dataclasses.replace(
        path,
        descent=descent,
        shown=_settled_numbers(exact, descent, penalty, path),
        passes=np.full_like(path.passes, moments.passes),
        n_passes=int(moments.passes),
        stop_message=path.stop_message + said,
    )


def _settled_numbers(
    exact: GradientDescent, given: GradientDescent, penalty: Penalty, path: DescentPath
) -> dict[str, np.ndarray]:
    """What a path shows of a descent whose numbers were settled before its first step: 0 at the start, as elsewhere."""
    return {name: np.where(path.steps > 0, float(getattr(exact, name)), 0.0) for name in given.shows(penalty)}
