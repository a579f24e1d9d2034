"""Descents whose step is made from one gradient, and which can therefore go by mini-batches.

``move`` makes the step from a gradient per row, be it of all rows or of a batch. By batches
``epochs.py`` calls it; without, the loop walks as for any descent, one step a pass. The words
for how a learning rate decays stand here too.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import RUNAWAY, Descent, Stop, Walk, arrive, check_number, first_walk, stay
from fallline.descent.penalty import Penalty, penalise
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError

DECAYS = ("none", "inverse", "cosine")

_BATCH = 200


def check_batches(settings: Any) -> None:
    """SettingsError where batch_size or decay is out of range, or a decay has no mini-batches to count epochs by."""
    size, decay = settings.batch_size, getattr(settings, "decay", "none")
    if size is not None and (isinstance(size, (bool, str)) or not size >= 1 or int(size) != size):
        raise SettingsError(
            f"batch_size={size!r} is not possible for {type(settings).__name__}: expected None, for all rows at once, "
            "or a whole number of rows from 1 up, such as 256."
        )
    if size is not None and isinstance(getattr(settings, "momentum", 0.0), str):
        raise SettingsError(
            f"momentum={settings.momentum!r} is read off the curvature over all rows: give mini-batches a number, such as 0.9."
        )
    if hasattr(settings, "decay"):
        check_number(settings, "decay", 0.0, float("inf"), open_low=True, words=DECAYS)
    if size is None and decay != "none":
        raise SettingsError(
            f"decay={decay!r} counts epochs of mini-batches: set batch_size, such as 256, or decay='none'."
        )


def decay_factor(decay: float | str, epochs: float, horizon: float) -> float:
    """What the learning rate is multiplied by after so many epochs, fractions included.

    ``"inverse"``: 1/(1 + epochs), whose sum diverges and whose squares do not; ``"cosine"``, or a number of epochs:
    ½(1 + cos(π · epochs/horizon)), zero at the horizon.
    Source: Robbins & Monro (1951), Ann. Math. Stat. 22:400; Loshchilov & Hutter (2017), arXiv 1608.03983, eq. 5.
    """
    if isinstance(decay, str) and decay == "none":
        return 1.0
    if isinstance(decay, str) and decay == "inverse":
        return 1.0 / (1.0 + epochs)
    return 0.5 * (1.0 + math.cos(math.pi * min(epochs / horizon, 1.0)))


def by_batches(descent: Any, rows: int) -> Any:
    """The descent with a batch size: its own, or min(200, rows), as scikit-learn has it.

    Raises SettingsError for a descent that needs all rows at every step.
    """
    if not hasattr(descent, "move"):
        raise SettingsError(
            f"{type(descent).__name__} needs all rows at every step and cannot go on with some of them: call fit, or choose "
            "a descent by the gradient, such as descent='mini-batch', GradientDescent(0.01, momentum=0.9) or an Optax "
            "transformation."
        )
    return descent if descent.batch_size is not None else dataclasses.replace(descent, batch_size=min(_BATCH, rows))


class BatchState(NamedTuple):
    """Where such a descent stands when it goes by all rows at once."""

    walk: Walk
    trial: np.ndarray  # the weights the next sums are asked for
    memory: Any
    penalty: Penalty


class ByBatches(Descent):
    """A descent that needs of the rows only the gradient per row, of all of them or of a batch."""

    def check(self) -> None:
        check_batches(self)

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        return ("learning_rate",)

    def remember(self, weights: np.ndarray) -> Any:
        """The memory before the first step from weights (p,)."""
        raise NotImplementedError

    def move(
        self, memory: Any, weights: np.ndarray, gradient: np.ndarray, rate: float, error: float
    ) -> tuple[Any, np.ndarray]:
        """The next memory and weights, from the gradient of F/n at ``weights`` and F/n itself."""
        raise NotImplementedError

    def packed(self, memory: Any) -> Any:
        """For mini-batches in C: settings, memory (2, p) and the steps it has seen; None where C does not know the rule."""
        return None

    def start(self, weights: np.ndarray, penalty: Penalty) -> BatchState:
        walk = first_walk(weights, len(self.shows(penalty)))
        return BatchState(walk, weights, self.remember(weights), penalty)

    def ask(self, state: BatchState) -> Request:
        return Request("gradient", state.trial)

    def tell(self, state: BatchState, sums: Sums) -> BatchState:
        walk, start = state.walk, state.walk.steps < 0
        here = penalise(state.penalty, state.trial, sums)
        finite = math.isfinite(here.error) and bool(np.isfinite(here.gradient).all())
        far = here.error > RUNAWAY * (walk.lowest_penalised + np.finfo(np.float64).tiny)
        if not finite or (far and not start):
            return state._replace(walk=stay(walk, Stop.NOT_FINITE if start else Stop.DIVERGED))
        rate = float(getattr(self, "learning_rate", 0.0))
        memory, trial = self.move(state.memory, state.trial, here.gradient / sums.rows, rate, here.error / sums.rows)
        shown = (rate,) if self.shows(state.penalty) else ()
        walk = arrive(walk, state.trial, sums.error, here.error, here.gradient, shown)
        return state._replace(walk=walk, trial=trial, memory=memory)
