"""Linear networks: all steps of a descent at once, and what their rows leave undetermined.

The formulas are those of ``descent/linear.py``; here they become a ``DescentPath``.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import (
    Bowl,
    largest_stable_rate,
    limit_from,
    steps_shown,
    steps_to_the_limit,
    walk,
)
from fallline.descent.penalty import Penalty
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Model
from fallline.rows.memory import InMemory
from fallline.rows.moments import Moments, error_at, moments_of, relations
from fallline.walk.path import START_NOT_FINITE, THINNED_BYTES, DescentPath, Progress, leap_sentence

# Above so many steps a descent on a linear network takes them all at once: below, every step is worth keeping.
STEPS_ONE_BY_ONE = 20_000


_MOST_RELATIONS = 5


def moments_of_all(
    model: Model, rows: InMemory, watched: dict[str, InMemory], *, refined: bool
) -> tuple[Moments, ...] | None:
    """The moments of the rows and of each watched set; None where numbers so large that their products overflow."""
    found = [
        moments_of(model, rows, refined=refined),
        *(moments_of(model, each) for each in watched.values()),
    ]
    kept = tuple(each for each in found if each is not None)
    return kept if len(kept) == len(found) else None


def undetermined_said(model: Model, moments: Moments, bowl: Bowl) -> str:
    """What the rows cannot tell, as a sentence to add."""
    if not bowl.undetermined.shape[1]:
        return ""
    said = relations(model, moments)
    more = f"; and {len(said) - _MOST_RELATIONS} more" if len(said) > _MOST_RELATIONS else ""
    return (
        f" The rows do not tell apart what moves along {len(said)} direction{'s' if len(said) > 1 else ''} of the weights, "
        f"which stay there as they started: {'; '.join(said[:_MOST_RELATIONS])}{more}."
    )


def refuse_limit(descent: GradientDescent, bowl: Bowl | None) -> None:
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


def numbers_shown(
    settled: GradientDescent, names: tuple[str, ...], steps: np.ndarray
) -> dict[str, np.ndarray]:
    """What a path shows of a descent whose numbers were settled before its first step: 0 at the start, as elsewhere."""
    return {name: np.where(steps > 0, float(getattr(settled, name)), 0.0) for name in names}


def leap(
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
            raise FalllineError(START_NOT_FINITE)
    last = int(max_iter) if max_iter < math.inf else steps_to_the_limit(descent, bowl)
    steps = steps_shown(last, THINNED_BYTES // (16 * model.n_weights))
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
        shown=numbers_shown(descent, given.shows(penalty), steps),
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
