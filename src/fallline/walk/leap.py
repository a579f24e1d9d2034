"""Linear networks: all steps of a descent at once, and what their rows leave undetermined.

The formulas are those of ``descent/linear.py``; here they become a walk, whose points are computed and not walked.
"""

import math
from collections.abc import Sequence

import numpy as np

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import Bowl, largest_stable_rate, limit_from, steps_shown, steps_to_the_limit, walk
from fallline.descent.penalty import Penalty
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Model
from fallline.rows.moments import Moments, error_at, relations
from fallline.walk.ending import START_NOT_FINITE
from fallline.walk.path import THINNED_BYTES
from fallline.walk.recorder import Point
from fallline.walk.walker import Walker

# Above so many steps a descent on a linear network takes them all at once: below, every step is worth keeping.
STEPS_ONE_BY_ONE = 20_000

_MOST_RELATIONS = 5


def undetermined_said(model: Model, moments: Moments, bowl: Bowl, names: Sequence[str] | None) -> str:
    """What the rows cannot tell, as a sentence to add."""
    if not bowl.undetermined.shape[1]:
        return ""
    said = relations(model, moments, names)
    more = f"; and {len(said) - _MOST_RELATIONS} more" if len(said) > _MOST_RELATIONS else ""
    keep = "it keeps its initial value" if len(said) == 1 else "they keep their initial values"
    return (
        f" The data leave {len(said)} combination{'s' if len(said) > 1 else ''} of weights undetermined; {keep}: "
        f"{'; '.join(said[:_MOST_RELATIONS])}{more}."
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


class Leap(Walker):
    """Walks to all the steps that are shown of a stable descent on a linear network: as few as there is room for."""

    heeds_tol, keeps_all = False, True

    def __init__(
        self,
        model: Model,
        moments: Moments,
        bowl: Bowl,
        descent: GradientDescent,
        start: np.ndarray,
        penalty: Penalty,
        max_iter: float,
    ) -> None:
        first = start.reshape(-1, model.outputs)
        if not np.isfinite(error_at(moments, first)):
            raise FalllineError(START_NOT_FINITE)
        endless = max_iter == math.inf
        self.last = steps_to_the_limit(descent, bowl) if endless else int(max_iter)
        self.steps = steps_shown(self.last, THINNED_BYTES // (16 * model.n_weights))
        weights, gradient, self._above = walk(descent, bowl, moments.rows, first, self.steps)
        if endless:
            weights[-1], gradient[-1], self._above[-1] = limit_from(bowl, first), 0.0, 0.0
        self._error = error_at(moments, weights)
        self._weights, self._gradient = (each.reshape(len(self.steps), -1) for each in (weights, gradient))
        self._penalised = self._error + 0.5 * self._weights**2 @ penalty.strength
        self._at, self.passes, self.penalty = 0, int(moments.passes), penalty
        self.end, self.end_stop = self.last, Stop.FLAT if endless else Stop.MAX_ITER

    def go(self) -> Point:
        """The next point."""
        at, self._at = self._at, self._at + 1
        step = int(self.steps[at])
        return Point(
            step, step, self.passes, self._weights[at], float(self._error[at]), float(self._penalised[at]),
            self._gradient[at], (), newest=self.end_stop == Stop.FLAT and step == self.last,
        )  # fmt: skip

    @property
    def above(self) -> float:
        """How far F is above its minimum at the end."""
        return float(self._above[-1])
