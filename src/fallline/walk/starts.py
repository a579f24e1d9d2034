"""Many starts: the same descent from each of them, side by side. No path is kept, only the ends."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.penalty import Penalty, penalty_for
from fallline.descent.rate import ROUNDING, RUNAWAY
from fallline.descent.transformation import wrapped
from fallline.error.sums import Request
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.network import Model, Network
from fallline.native.kernels import Ends as Standing
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread, side_by_side, stopping
from fallline.walk.loop import FullPasses
from fallline.walk.recorder import Point
from fallline.walk.stopping import Stopping, check_patience

# Of the activations of networks that walk as one stack: larger arrays go back to the system after every step, and page faults
# take twice as long as the sums.
_TOGETHER_BYTES = 120_000
_TASKS = 16  # to which starts that walk one by one are dealt out


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


def descend_from(
    model: Model,
    rows: GivenRows,
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
        raise SettingsError(f"max_iter={max_iter!r} is not possible: expected a whole number of steps from 0 up.")
    check_patience(tol, n_iter_no_change)
    if isinstance(descent, str):
        descent, _ = choose(descent, model, len(rows), all_rows=True)
    descent = wrapped(descent)
    descent.check()
    if getattr(descent, "batch_size", None) is not None:
        raise SettingsError(
            f"descend_from takes all rows at every step, but {type(descent).__name__} has batch_size={descent.batch_size}: "
            "set batch_size=None and decay='none', choose another descent such as LBFGS(), or call descend from each start."
        )
    penalty = penalty_for(model, alpha, rows.count)
    if penalty.adapts:
        raise SettingsError("alpha='evidence' is for one start at a time: give a number, or use descend.")

    began, max_iter = time.perf_counter(), int(max_iter)
    together = isinstance(model, Network) and isinstance(descent, GradientDescent) and not descent.reads_curvature
    if together:
        size = int(np.clip(_TOGETHER_BYTES // (8 * len(rows) * max(model.sizes[1:])), 1, 1024))  # type: ignore[attr-defined]
    else:
        size = -(-len(starts) // _TASKS)
    walk: Callable[..., tuple[np.ndarray, ...]] = _as_one_stack if together else _one_by_one
    given = (model, rows, descent, penalty, max_iter, float(tol), n_iter_no_change)
    tasks = [functools.partial(walk, starts[at : at + size], *given) for at in range(0, len(starts), size)]
    found = [np.concatenate(each) for each in zip(*side_by_side(tasks), strict=True)]
    return Ends(starts, *found, time.perf_counter() - began)  # type: ignore[arg-type,call-arg]


def _one_by_one(
    starts: np.ndarray,
    model: Model,
    rows: Rows,
    descent: Descent,
    penalty: Penalty,
    max_iter: int,
    tol: float,
    patience: int,
) -> tuple[np.ndarray, ...]:
    """Weights, E, F, steps, passes and why each start ended."""
    found = []
    with rows.walking(), one_blas_thread(), np.errstate(all="ignore"):
        for start in starts:
            walker = FullPasses(model, rows, descent, start, penalty, max_iter)
            rule = Stopping(tol, patience, max_iter, Stop.MAX_ITER, adapts=False, judges=False)
            stop = Stop.GOING_ON
            while not stop:
                if stopping():
                    raise KeyboardInterrupt
                point = walker.go()
                stop = walker.stop
                if isinstance(point, Point):  # not many at once: the walk does not stride
                    stop = stop or rule.tell(point)
            walk = walker.walk
            found.append(
                (walk.lowest_weights, walk.lowest_error, walk.lowest_penalised, walk.steps, walk.passes, int(stop))
            )
    return tuple(np.array(each) for each in zip(*found, strict=True))


def _as_one_stack(
    starts: np.ndarray,
    model: Model,
    rows: Rows,
    descent: GradientDescent,
    penalty: Penalty,
    max_iter: int,
    tol: float,
    patience: int,
) -> tuple[np.ndarray, ...]:
    """The same for a descent at a fixed rate: what ``GradientDescent.tell`` does, for a stack of weights (m, p) at once."""
    m, strength, momentum = len(starts), penalty.strength, float(descent.momentum)
    rate = float(descent.learning_rate) / rows.count
    found = _in_c(starts, model, rows, descent, strength, rate, max_iter, tol, patience)
    if found is not None:
        return found
    lowest, error, least = starts.copy(), np.full(m, np.inf), np.full(m, np.inf)
    first, reference, news = np.full(m, np.inf), np.full(m, np.inf), np.zeros(m, int)
    steps, passes, stop = np.full(m, -1), np.zeros(m, int), np.zeros(m, int)
    who, weights, velocity = np.arange(m), starts.copy(), np.zeros_like(starts)  # those under way
    with one_blas_thread(), np.errstate(all="ignore"):
        for step in range(max_iter + 1):
            if stopping():
                raise KeyboardInterrupt
            sums = rows.total(Request("gradient", weights), model)
            passes[who] = step + 1
            gradient = sums.gradient + strength * weights
            here = sums.error + 0.5 * np.sum(strength * weights * weights, axis=1)
            lost = ~(np.isfinite(here) & np.isfinite(gradient).all(axis=1))
            if step == 0:
                first[who] = here
            else:
                lost |= here * (1.0 - momentum) ** 2 > RUNAWAY * (least[who] + ROUNDING * first[who])
            steps[who[~lost]] = step
            taken = (here < least[who]) & ~lost
            lower = who[taken]
            lowest[lower], error[lower], least[lower] = weights[taken], sums.error[taken], here[taken]
            new = (reference[who] - here > tol * np.minimum(reference[who], here)) & ~lost
            reference[who[new]], news[who[new]] = here[new], step

            at_rest = ~gradient.any(axis=1) & ~velocity.any(axis=1)
            why = np.where(tol > 0, np.where(step - news[who] >= patience, Stop.NO_CHANGE, 0), 0)
            why = np.where((why == 0) & (step == max_iter), Stop.MAX_ITER, why)
            why = np.where(at_rest, Stop.FLAT, why)
            why = np.where(lost, Stop.DIVERGED if step else Stop.NOT_FINITE, why)
            stop[who] = why
            goes_on = why == 0
            if not goes_on.any():
                break
            slope = -rate * gradient
            velocity = momentum * velocity + slope
            weights = weights + (momentum * velocity + slope if descent.nesterov else velocity)
            if not goes_on.all():
                who, weights, velocity = who[goes_on], weights[goes_on], velocity[goes_on]
    return lowest, error, least, steps, passes, stop


_CODES = (Stop.NO_CHANGE, Stop.MAX_ITER, Stop.FLAT, Stop.DIVERGED, Stop.NOT_FINITE)
_WORK_OF_CALL = 2e7  # rows · weights · steps · starts: some hundredths of a second


def _in_c(
    starts: np.ndarray,
    model: Model,
    rows: Rows,
    descent: GradientDescent,
    strength: np.ndarray,
    rate: float,
    max_iter: int,
    tol: float,
    patience: int,
) -> tuple[np.ndarray, ...] | None:
    """The same by ``rows.ends``, or None where the rows cannot."""
    m, momentum = len(starts), float(descent.momentum)
    rule = (rate, momentum, descent.nesterov, (1.0 - momentum) ** 2, RUNAWAY, ROUNDING)
    found = Standing(
        starts.copy(), np.zeros_like(starts), starts.copy(), np.full((m, 4), np.inf), np.zeros((m, 4), np.int64)
    )
    found.counts[:, 0] = -1
    stride = max(int(_WORK_OF_CALL / (len(rows) * starts.size)), 1)
    for step in range(0, max_iter + 1, stride):
        if stopping():
            raise KeyboardInterrupt
        part = (step, min(step + stride, max_iter + 1))
        if not rows.ends(model, strength, rule, _CODES, tol, int(min(patience, 1 << 62)), max_iter, part, found):
            return None
        if found.counts[:, 3].all():
            break
    steps, passes, _, stop = found.counts.T
    return found.lowest, found.numbers[:, 0], found.numbers[:, 1], steps, passes, stop
