"""Descent by the gradient: plain, with momentum, and in Nesterov's form.

Here the learning rate and the momentum are numbers; where they are to be read off the curvature, ``automatic.py`` does it.
Nothing here knows where rows live or how a path is drawn: the sums come from ``rows/``, the loop is ``walk/loop.py``.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop, Walk, arrive, automatic, check_number, first_walk, stay, through
from fallline.descent.batches import check_batches
from fallline.descent.penalty import Penalty, penalise
from fallline.descent.rate import ROUNDING, RUNAWAY, has_lost
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError


class GradientState(NamedTuple):
    """Where a gradient descent stands: ``trial`` (p,), the weights that the next gradient is asked for, and the velocity (p,)."""

    walk: Walk
    trial: np.ndarray
    velocity: np.ndarray
    first: float  # F at the start
    penalty: Penalty


@dataclass(repr=True, eq=True)
class GradientDescent(Descent):
    """Gradient descent, w ← w + Δw with Δw(t) = −(ε/n) ∂F/∂w + β Δw(t−1): plain, heavy ball, or Nesterov's form.

    learning_rate ε multiplies the gradient per row, F/n: a rate that suits 100 rows suits a million.
    ``"auto"`` reads it off the largest eigenvalue of the curvature, again every few steps. momentum β in
    [0, 1), or ``"auto"``: read off λ_max and the curvature along the gradient, the softest that still matters.
    nesterov: w ← w + β Δw(t) − (ε/n) ∂F/∂w, the gradient one step ahead in PyTorch's form of it; stable below
    (2 + 2β)/(1 + 2β)/λ_max, where the heavy ball is stable below 2(1 + β)/λ_max. Raises SettingsError, when the
    descent begins, for a rate that is not positive, a momentum out of range, or Nesterov's form without momentum.

    batch_size: rows to a step, all of them where it is None. The gradient per row is then that of the batch, and
    ``max_iter`` counts epochs. decay, by mini-batches: ``"none"``; ``"inverse"``, ε/(1 + epochs); ``"cosine"``, a cosine
    down to zero over ``max_iter`` epochs; or a number: a cosine over so many epochs, where the walk ends.

    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533, eq. 8 and 9; Polyak (1964), USSR Comp. Math. 4:1;
    Nesterov (1983), Soviet Math. Dokl. 27:372, in the form of Sutskever et al. (2013), ICML, eq. 3 and 4.
    """

    learning_rate: float | str = "auto"
    momentum: float | str = 0.0
    nesterov: bool = False
    batch_size: int | None = None
    decay: float | str = "none"

    adaptive: ClassVar[bool] = False  # whether it goes by Adam's rule

    @property
    def reads_curvature(self) -> bool:
        """Whether rate or momentum are read off the curvature."""
        return isinstance(self.learning_rate, str) or isinstance(self.momentum, str)

    def check(self) -> None:
        check_number(self, "learning_rate", 0.0, float("inf"), open_low=True, words=("auto",))
        check_number(self, "momentum", 0.0, 0.999999, words=("auto",))
        if not isinstance(self.nesterov, bool):
            raise SettingsError(f"nesterov={self.nesterov!r} is not possible: expected True or False.")
        if self.nesterov and self.momentum == 0:
            raise SettingsError(
                "nesterov=True needs momentum: give momentum=0.9 or momentum='auto', or leave nesterov out."
            )
        check_batches(self)

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        return ("learning_rate", "momentum") if isinstance(self.momentum, str) else ("learning_rate",)

    def start(self, weights: np.ndarray, penalty: Penalty) -> Any:
        if self.reads_curvature:
            return automatic.start(self, weights, penalty)
        return GradientState(first_walk(weights, 1), weights, np.zeros_like(weights), math.inf, penalty)

    def ask(self, state: Any) -> Request:
        if self.reads_curvature:
            return automatic.ask(self, state)
        return Request("gradient", state.trial)

    def tell(self, state: Any, sums: Sums) -> Any:
        """v ← μ v − ε ∂F/∂w, w ← w + v with ε = learning_rate/n; by Nesterov's form w ← w + μ v − ε ∂F/∂w."""
        if self.reads_curvature:
            return automatic.tell(self, state, sums)
        rate, momentum = float(self.learning_rate), float(self.momentum)
        here = penalise(state.penalty, state.trial, sums)
        start, walk = state.walk.steps < 0, state.walk
        first = here.error if start else state.first
        if has_lost(here, walk, first, start, (1.0 - momentum) ** 2):
            return state._replace(walk=stay(walk, Stop.NOT_FINITE if start else Stop.DIVERGED))
        flat = not here.gradient.any() and not state.velocity.any()
        slope = -(rate / sums.rows) * here.gradient
        velocity = momentum * state.velocity + slope
        move = momentum * velocity + slope if self.nesterov else velocity
        shown, stop = (0.0 if start else rate,), Stop.FLAT if flat else Stop.GOING_ON
        walk = arrive(walk, state.trial, sums.error, here.error, here.gradient, shown, stop)
        return GradientState(walk, state.trial + move, velocity, first, state.penalty)

    def many(self, state: Any, rows: Any, model: Any, most: int) -> tuple[Any, Any] | None:
        if self.reads_curvature:
            return None
        held, walk, momentum = np.stack([state.trial, state.velocity]), state.walk, float(self.momentum)
        rule = (
            float(self.learning_rate) / rows.count,
            momentum,
            self.nesterov,
            (1.0 - momentum) ** 2,
            RUNAWAY,
            ROUNDING,
        )
        numbers = state.first, walk.lowest_penalised, walk.penalised
        steps = rows.steps(model, state.penalty.strength, "gradient", rule, held, numbers, most)
        if steps is None:
            return None
        steps.shown[:] = float(self.learning_rate)
        return state._replace(walk=through(walk, steps), trial=held[0], velocity=held[1]), steps

    def remember(self, weights: np.ndarray) -> np.ndarray:
        """By mini-batches: the velocity, before the first step."""
        return np.zeros_like(weights)

    def packed(self, velocity: np.ndarray) -> tuple[tuple[float, ...], np.ndarray, int]:
        """For mini-batches in C: momentum, Nesterov's form and what Adam needs; the memory (2, p), and the steps it has seen."""
        return (float(self.momentum), self.nesterov, 0.0, 0.0, 0.0), np.stack([velocity, velocity]), 0

    def unpacked(self, memory: np.ndarray, steps: int) -> np.ndarray:
        """The memory after steps in C."""
        return memory[0]

    def move(
        self, velocity: np.ndarray, weights: np.ndarray, gradient: np.ndarray, rate: float, error: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """By mini-batches: the next velocity and weights, from the gradient per row of a batch."""
        momentum = weights.dtype.type(self.momentum)
        slope = weights.dtype.type(-rate) * gradient
        velocity = momentum * velocity + slope
        return velocity, weights + (momentum * velocity + slope if self.nesterov else velocity)
