"""A walk by full passes: a descent asks for sums over all rows, and is told them.

sums = rows.total(descent.ask(state), model)
state = descent.tell(state, sums)
"""

from typing import Any

import numpy as np

from fallline.descent import Descent, Stop, Walk
from fallline.descent.penalty import Penalty
from fallline.model.network import Model
from fallline.walk.recorder import Point


class FullPasses:
    """Walks as any descent does; a turn is a step."""

    def __init__(
        self, model: Model, rows: Any, descent: Descent, start: np.ndarray, penalty: Penalty, max_iter: float
    ) -> None:
        self._model, self._rows, self._descent = model, rows, descent
        self._state = descent.start(start, penalty)
        self.end, self.end_stop, self.heeds_tol = max_iter, Stop.MAX_ITER, True

    @property
    def walk(self) -> Walk:
        """Where the descent stands."""
        found: Walk = self._state.walk
        return found

    @property
    def stop(self) -> Stop:
        """Why the descent itself ended, if it did."""
        return Stop(self._state.walk.stop)

    @property
    def passes(self) -> int:
        """Sums over the rows so far."""
        return int(self._state.walk.passes)

    @property
    def penalty(self) -> Penalty:
        """The penalty as it is now."""
        found: Penalty = self._state.penalty
        return found

    def go(self) -> Point | None:
        """One pass further; the point it came to, or None where it was a trial or a look at the curvature."""
        sums = self._rows.total(self._descent.ask(self._state), self._model)
        self._state = self._descent.tell(self._state, sums)
        walk = self._state.walk
        if not walk.moved:
            return None
        newest = walk.lowest_step == walk.steps
        return Point(
            walk.steps, walk.steps, walk.passes, walk.weights, walk.error, walk.penalised, walk.gradient, walk.shown,
            newest=newest,
        )  # fmt: skip
