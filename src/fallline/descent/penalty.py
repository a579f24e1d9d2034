"""What is added to E before a descent goes down it: F = E + ½ Σ_i strength_i w_i².

Sums over rows are of E alone; every descent adds the penalty here, in its ``tell``.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fallline.error import Sums
from fallline.exceptions import SettingsError
from fallline.network import Model


class Penalty(NamedTuple):
    """strength (n_weights,): each weight's own weight decay, 0 where it is free."""

    strength: Any


class Penalised(NamedTuple):
    """F, its gradient and its Gauss–Newton curvature, from the sums of E."""

    error: Any
    gradient: Any
    gauss_newton: Any


def weight_decay(model: Model, alpha: float) -> Penalty:
    """½ · alpha · Σ coef², biases free: scikit-learn's ``alpha``, whose objective divides both terms by n.

    Raises SettingsError if alpha is negative or not a number.
    """
    if isinstance(alpha, (bool, str)) or not np.isfinite(alpha) or alpha < 0:
        raise SettingsError(f"alpha={alpha!r} is not possible: weight decay is a number from 0 up, such as 0.1.")
    return Penalty(np.where(model.penalised(), float(alpha), 0.0))


def penalise(penalty: Penalty, weights: Any, sums: Sums) -> Penalised:
    """E, g and JᵀJ at ``weights`` with the penalty added (JᵀJ only where it was asked for)."""
    pull = penalty.strength * weights
    square = sums.gauss_newton
    if square.shape[0]:
        square = square + jnp.diag(penalty.strength)
    return Penalised(sums.error + 0.5 * pull @ weights, sums.gradient + pull, square)
