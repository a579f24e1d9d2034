"""What is added to E before a descent goes down it: F = E + ½ Σ_i strength_i w_i².

Sums over rows are of E alone; every descent adds the penalty here, in its ``tell``. The
strength is fixed (weight decay), or found on the way as the ratio of two precisions
(Bayesian regularisation): that of the weights, one for each group of them, and that of
the noise.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np

from fallline.error.sums import Sums
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.network import Model

_LEAST, _MOST = 1e-10, 1e8
_LARGEST_CHANGE = (
    10.0  # in one re-estimate: far from a minimum the local quadratic is not to be trusted further
)


@dataclass(frozen=True)
class Evidence:
    """Bayesian regularisation that begins at a strength of ``first`` for every row, before anything is known of the noise.

    The evidence has several maxima. From a light first penalty a walk may end where the network passes through the noise,
    from a strong one where the curve has gone with the noise: a parabola looks like nothing to a network of small weights.
    """

    first: float = 0.1


class Penalty(NamedTuple):
    """strength (n_weights,): each weight's own weight decay, 0 where it is free.

    members (groups, n_weights): 1 where a weight belongs to a group whose strength is re-estimated; no groups
    where it is fixed. outputs: values to a row. effective_weights γ and noise_precision are what the last re-estimate found, and
    log_evidence is how probable the targets were under the strength before it: ln p(y), weights integrated out.
    """

    strength: Any
    members: Any
    outputs: Any
    effective_weights: Any
    noise_precision: Any
    log_evidence: Any

    @property
    def adapts(self) -> bool:
        """Whether the strength is found on the way."""
        return bool(self.members.shape[0])


class Penalised(NamedTuple):
    """F, its gradient and its Gauss–Newton curvature, from the sums of E."""

    error: Any
    gradient: Any
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
    if isinstance(alpha, (bool, str)) or not np.isfinite(alpha).all() or np.any(np.less(alpha, 0)):
        raise SettingsError(
            f"alpha={alpha!r} is not possible: weight decay is a number from 0 up, such as 0.1, or 'evidence'."
        )
    if np.ndim(alpha) and np.shape(alpha) != (model.n_weights,):
        raise ShapeError(
            f"alpha has shape {np.shape(alpha)}: give one number, or a strength for each of the {model.n_weights} weights."
        )
    strength = (
        np.asarray(alpha, np.float64) if np.ndim(alpha) else np.where(model.penalised(), float(alpha), 0.0)
    )
    none = np.float64(0.0)
    return Penalty(strength, np.zeros((0, model.n_weights)), np.float64(model.outputs), none, none, none)


def bayesian(model: Model, rows: float, first: float = Evidence.first) -> Penalty:
    """A strength for each group of weights, to be found on the way by ``reestimated`` from so many rows."""
    group = model.groups()
    members = (group[None, :] == np.unique(group[group >= 0])[:, None]).astype(np.float64)
    strength = first * rows * members.sum(axis=0)
    return Penalty(
        strength,
        members,
        np.float64(model.outputs),
        effective_weights=np.float64(model.n_weights),
        noise_precision=np.float64(0.0),
        log_evidence=np.float64(-np.inf),
    )


def penalise(penalty: Penalty, weights: Any, sums: Sums) -> Penalised:
    """E, g and JᵀJ at ``weights`` with the penalty added (JᵀJ only where it was asked for)."""
    pull = penalty.strength * weights
    square = sums.gauss_newton
    if square.shape[0]:
        square = square + jnp.diag(penalty.strength)
    return Penalised(sums.error + 0.5 * pull @ weights, sums.gradient + pull, square)


# A triangle of so many rows and more is inverted in halves, twice at most: each halving is more to compile.
_HALVED = 150


def inverse_of_triangle(lower: Any, halvings: int = 2) -> Any:
    """The inverse of a lower triangle: two smaller ones and the product between them, which is far quicker than a solution.

    Source: Higham (2002), *Accuracy and Stability of Numerical Algorithms*, sec. 14.2.2 (block methods).
    """
    n = lower.shape[0]
    if n < _HALVED or not halvings:
        return jax.scipy.linalg.solve_triangular(
            lower, jnp.eye(n, dtype=lower.dtype), lower=True, check_finite=False
        )
    half = n // 2
    first = inverse_of_triangle(lower[:half, :half], halvings - 1)
    last = inverse_of_triangle(lower[half:, half:], halvings - 1)
    between = -last @ (lower[half:, :half] @ first)
    return jnp.block([[first, jnp.zeros((half, n - half), lower.dtype)], [between, last]])


def reestimated(penalty: Penalty, weights: Any, sums: Sums) -> Penalty:
    """The penalty whose evidence is highest on the local quadratic at ``weights``.

    With A = JᵀJ + diag(strength), group by group: γ_g = Σ_i (1 − strength_i (A⁻¹)_ii), the number of its weights
    that the rows determine; weight precision γ_g/Σ w_i²; noise precision (N − γ − free)/2E over N = rows · outputs
    values; strength is the ratio of the two. One step of a fixed point, bounded.
    Around the weights the log evidence is −βF + ½ Σ ln strength − ½ ln det A + ½ (N − free) ln(β/2π), β the noise precision.
    Source: MacKay (1992), Neural Computation 4:415, eq. 4.8-4.10 and 4.5; Foresee & Hagan (1997), ICNN 3:1930.
    """
    square = sums.gauss_newton + jnp.diag(penalty.strength)
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(square), jnp.finfo(square.dtype).tiny))
    scaled = square / scale[:, None] / scale[None, :] + 1e-12 * jnp.eye(len(scale), dtype=square.dtype)
    factor = jax.scipy.linalg.cholesky(scaled, lower=True, check_finite=False)
    root = inverse_of_triangle(factor)
    variance = jnp.sum(root * root, axis=0) / scale**2  # the diagonal of A⁻¹
    determined = penalty.members @ jnp.clip(1.0 - penalty.strength * variance, 0.0, 1.0)
    free = weights.shape[0] - jnp.sum(penalty.members)
    gamma = jnp.sum(determined) + free
    values = sums.rows * penalty.outputs
    # A network that can pass through every row leaves no freedom to see the noise by: never less than a hundredth.
    freedom = jnp.maximum(values - gamma, 0.01 * values)
    tiny = jnp.finfo(weights.dtype).tiny
    noise = freedom / jnp.maximum(2.0 * sums.error, tiny)
    size = penalty.members @ (weights * weights)
    now = penalty.members @ penalty.strength / jnp.sum(penalty.members, axis=1)
    new = (determined + tiny) / jnp.maximum(noise * size, tiny)
    new = jnp.clip(jnp.clip(new, now / _LARGEST_CHANGE, now * _LARGEST_CHANGE), _LEAST, _MOST)
    sound = jnp.all(jnp.isfinite(variance)) & jnp.all(jnp.isfinite(new))
    penalised = jnp.sum(penalty.members, axis=0) > 0
    volume = jnp.sum(jnp.log(jnp.diagonal(factor)) + jnp.log(scale))  # ½ ln det A
    evidence = (
        -noise * (sums.error + 0.5 * jnp.sum(penalty.strength * weights**2))
        + 0.5 * jnp.sum(jnp.where(penalised, jnp.log(jnp.where(penalised, penalty.strength, 1.0)), 0.0))
        - volume
        + 0.5 * (values - free) * jnp.log(noise / (2.0 * jnp.pi))
    )
    return Penalty(
        jnp.where(sound, new @ penalty.members, penalty.strength),
        penalty.members,
        penalty.outputs,
        jnp.where(sound, gamma, penalty.effective_weights),
        jnp.where(sound, noise, penalty.noise_precision),
        jnp.where(sound, evidence, penalty.log_evidence),
    )
