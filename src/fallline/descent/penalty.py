"""What is added to E before a descent goes down it: F = E + ½ Σ_i strength_i w_i².

Sums over rows are of E alone; every descent adds the penalty here, in its ``tell``. The
strength is fixed (weight decay), or found on the way as the ratio of two precisions
(Bayesian regularisation): that of the weights and that of the noise.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fallline.error.sums import Sums
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.network import Model
from fallline.native.lapack import diagonals

_LEAST, _MOST = 1e-10, 1e8
_TINY = float(np.finfo(np.float64).tiny)
_LARGEST_CHANGE = 10.0  # in one re-estimate: far from a minimum the local quadratic is not to be trusted further


@dataclass(frozen=True)
class Evidence:
    """Bayesian regularisation that begins at a strength of ``first`` for every row, before anything is known of the noise.

    The evidence has several maxima. From a light first penalty a walk may end where the network passes through the noise,
    from a strong one where the curve has gone with the noise: a parabola looks like nothing to a network of small weights.
    """

    first: float = 0.1


class Penalty(NamedTuple):
    """strength (p,): each weight's own weight decay, 0 where it is free.

    held (p,): the weights whose common strength is found on the way; None where it is fixed. outputs: values to a row.
    effective_weights γ and noise_precision are what the last re-estimate found, and log_evidence is how probable the targets
    were under the strength before it: ln p(y), weights integrated out.
    """

    strength: np.ndarray
    held: np.ndarray | None
    outputs: int
    effective_weights: float = 0.0
    noise_precision: float = 0.0
    log_evidence: float = 0.0

    @property
    def adapts(self) -> bool:
        """Whether the strength is found on the way."""
        return self.held is not None

    def on(self, error: float, weights: np.ndarray) -> float:
        """F = E + ½ Σ strength w²."""
        return error + 0.5 * float(self.strength * weights @ weights)


class Penalised(NamedTuple):
    """F, its gradient (p,) and its Gauss–Newton curvature (p, p), None where JᵀJ was not asked for."""

    error: float
    gradient: np.ndarray
    gauss_newton: Any


def penalty_for(model: Model, alpha: Any, rows: float) -> Penalty:
    """The penalty that ``alpha`` asks for: a weight decay, or "evidence", found on the way. Raises SettingsError."""
    if isinstance(alpha, str) and alpha == "evidence":
        alpha = Evidence()
    return bayesian(model, rows, alpha.first) if isinstance(alpha, Evidence) else weight_decay(model, alpha)


def weight_decay(model: Model, alpha: Any) -> Penalty:
    """½ · alpha · Σ coef², biases free: scikit-learn's ``alpha``, whose objective divides both terms by n.

    An array (n_weights,) is a strength for each weight, as Bayesian regularisation left them: ``path.strength``.
    Raises SettingsError if alpha is negative or not a number, ShapeError for an array of another shape.
    """
    number = not isinstance(alpha, (bool, str)) and np.asarray(alpha).dtype.kind in "fiu"
    if not number or not np.isfinite(alpha).all() or np.any(np.less(alpha, 0)):
        raise SettingsError(
            f"alpha={alpha!r} is not possible: weight decay is a number from 0 up, such as 0.1, or 'evidence'."
        )
    if np.ndim(alpha) and np.shape(alpha) != (model.n_weights,):
        raise ShapeError(
            f"alpha has shape {np.shape(alpha)}: give one number, or a strength for each of the {model.n_weights} weights."
        )
    strength = np.asarray(alpha, np.float64) if np.ndim(alpha) else np.where(model.penalised(), float(alpha), 0.0)
    return Penalty(strength, None, model.outputs)


def bayesian(model: Model, rows: float, first: float = Evidence.first) -> Penalty:
    """One strength for all weights that are held, to be found on the way by ``reestimated`` from so many rows."""
    held = model.regularised()
    return Penalty(
        np.where(held, first * rows, 0.0),
        held if held.any() else None,
        model.outputs,
        effective_weights=float(model.n_weights),
        log_evidence=-math.inf,
    )


def penalise(penalty: Penalty, weights: np.ndarray, sums: Sums) -> Penalised:
    """F, its gradient and, where it was asked for, its Gauss–Newton curvature at ``weights``."""
    square = None
    if sums.gauss_newton is not None:
        square = sums.gauss_newton.copy()
        square.reshape(-1)[:: len(square) + 1] += penalty.strength
    return Penalised(penalty.on(sums.error, weights), sums.gradient + penalty.strength * weights, square)


def reestimated(penalty: Penalty, weights: np.ndarray, sums: Sums) -> Penalty:
    """The penalty whose evidence is highest on the local quadratic at ``weights``.

    With A = JᵀJ + diag(strength): γ = Σ_i (1 − strength_i (A⁻¹)_ii) over the weights held, those that the rows determine;
    weight precision γ/Σ w_i²; noise precision (N − γ − free)/2E over N = rows · outputs values; strength is the ratio of the
    two. One step of a fixed point, bounded; where A is not positive definite in numbers, the penalty as it was.
    Around the weights the log evidence is −βF + ½ Σ ln strength − ½ ln det A + ½ (N − free) ln(β/2π), β the noise precision.
    Source: MacKay (1992), Neural Computation 4:415, eq. 4.8-4.10 and 4.5; Foresee & Hagan (1997), ICNN 3:1930.
    """
    strength, held = penalty.strength, penalty.held
    assert held is not None
    diagonal = np.diagonal(sums.gauss_newton) + strength
    scale = 1.0 / np.sqrt(np.maximum(diagonal, _TINY))
    found = diagonals(sums.gauss_newton, scale, strength * scale**2 + 1e-12)
    if found is None:
        return penalty
    diagonal, variance = found[0], found[1] * scale**2  # of A⁻¹
    determined = float(np.sum(np.clip(1.0 - strength * variance, 0.0, 1.0)[held]))
    free = len(weights) - int(held.sum())
    gamma, values = determined + free, sums.rows * penalty.outputs
    # A network that can pass through every row leaves no freedom to see the noise by: never less than a hundredth.
    freedom = max(values - gamma, 0.01 * values)
    noise = max(freedom / max(2.0 * sums.error, _TINY), _TINY)
    size = float(weights[held] @ weights[held])
    now = float(strength[held].mean())
    new = (determined + _TINY) / max(noise * size, _TINY)
    new = min(max(new, now / _LARGEST_CHANGE, _LEAST), now * _LARGEST_CHANGE, _MOST)
    volume = float(np.sum(np.log(diagonal) - np.log(scale)))  # ½ ln det A
    evidence = (
        -noise * penalty.on(sums.error, weights)
        + 0.5 * float(np.sum(np.log(strength[held])))
        - volume
        + 0.5 * (values - free) * math.log(noise / (2.0 * math.pi))
    )
    if not (np.isfinite(variance).all() and math.isfinite(new)):
        return penalty
    return penalty._replace(
        strength=np.where(held, new, 0.0), effective_weights=gamma, noise_precision=noise, log_evidence=evidence
    )
