"""Descents on a linear network, any number of steps at once.

Its error is a bowl, F(w) = F_min + ½ n Σ_i λ_i z_i² with z the distances from the minimum along
the eigenvectors of the curvature per row. A descent by the gradient at a fixed rate moves
along each of them by itself, and where it stands after k steps is a formula in λ and k:
plain descent, the heavy ball and Nesterov's method are one recurrence with other numbers,

    z_{t+1} = T z_t − P z_{t−1}        z_1 = q z_0

Along a direction that the rows leave undetermined, λ = 0, a descent stays where it started.
What is said here holds for nothing but networks linear in their weights.

Sources: Goh (2017), Distill, "Why momentum really works"; Lessard, Recht & Packard (2016),
SIAM J. Optim. 26:57, prop. 1 (the best rates and momenta).
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from fallline.descent import Descent
from fallline.descent.gradient import GradientDescent
from fallline.descent.rate import stability_limit
from fallline.model.network import Model
from fallline.rows.moments import Factor, Moments, has_biases

# Moments cost rows · inputs², a step on the rows rows · inputs: wider tables than this descend on their rows.
_MOST_INPUTS = 1000
_INPUTS_PER_STEP = 4
# Below the rounding of the start nothing is left of a distance.
_ARRIVED = np.finfo(np.float64).eps
_MOST_STEPS = 2**62
_SHARE_OF_LIMIT_PLAIN = 0.95


class Bowl(NamedTuple):
    """The penalised error of a linear network, d + 1 weights (d without biases) to each of k outputs.

    curvature (r,): the eigenvalues λ of the curvature per row that are not 0, largest first; directions (d + 1, r)
    their eigenvectors, undetermined (d + 1, d − r + 1) the others, orthonormal. minimum (d + 1, k): one of them.
    """

    curvature: np.ndarray
    directions: np.ndarray
    undetermined: np.ndarray
    minimum: np.ndarray


def walks_on_moments(model: Model, descent: Descent, max_iter: float) -> bool:
    """Whether that descent needs no more of the rows than their moments, and they cost less than its steps."""
    return (
        getattr(model, "linear", False)
        and isinstance(descent, GradientDescent)
        and getattr(descent, "batch_size", None) is None
        and model.inputs <= min(_MOST_INPUTS, 64 + _INPUTS_PER_STEP * max_iter)
    )


def bowl_of(model: Model, moments: Moments, strength: np.ndarray) -> Bowl:
    """The bowl that a descent with that penalty, (n_weights,), goes down.

    The eigenvectors are the right singular vectors of R with RᵀR = n · curvature: their λ keep twice the digits
    that those of RᵀR would.
    """
    d, bias = model.inputs, has_biases(model)
    pull = np.asarray(strength).reshape(-1, model.outputs)[:d, :1]
    factor, top = Factor.of(moments.square + np.diag(pull[:, 0])), moments.best
    if pull.any():
        top = top - factor.solve(pull * moments.best)  # (C + α) W = C W*
    root, minimum = factor.root, top
    if bias:
        root = np.vstack([np.pad(root, ((0, 0), (0, 1))), math.sqrt(moments.rows) * np.append(moments.x_mean, 1.0)])
        minimum = np.vstack([top, moments.y_mean - moments.x_mean @ top])
    _, lengths, vectors = np.linalg.svd(root, full_matrices=True)
    r = len(root)
    return Bowl(lengths**2 / moments.rows, vectors[:r].T, vectors[r:].T, minimum)


def limit_from(bowl: Bowl, start: np.ndarray) -> np.ndarray:
    """Where every stable descent from ``start`` (d + 1, k) ends: the minimum in all that the rows determine."""
    across = bowl.undetermined
    return np.asarray(bowl.minimum + across @ (across.T @ (start - bowl.minimum)))


def best_plain_rate(steepest: float, shallowest: float) -> float:
    """2/(λ_1 + λ_r), where the steepest and the shallowest direction shrink alike, by (κ − 1)/(κ + 1) a step."""
    return 2.0 / (steepest + shallowest)


def best_heavy_ball(steepest: float, shallowest: float) -> tuple[float, float]:
    """Rate and momentum for which the heavy ball arrives soonest: distances shrink by (√κ − 1)/(√κ + 1) a step."""
    high, low = math.sqrt(steepest), math.sqrt(shallowest)
    return (2.0 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2


def best_nesterov(steepest: float, shallowest: float) -> tuple[float, float]:
    """Rate and momentum for which Nesterov's method arrives soonest: by 1 − 2/√(3κ + 1) a step."""
    root = math.sqrt(3.0 * steepest / shallowest + 1.0)
    return 4.0 / (3.0 * steepest + shallowest), (root - 2.0) / (root + 2.0)


def settled(descent: GradientDescent, bowl: Bowl) -> GradientDescent:
    """The descent with every ``"auto"`` replaced by its number: the best for this bowl, which is known exactly."""
    rate, momentum, nesterov = descent.learning_rate, descent.momentum, descent.nesterov
    curvature = bowl.curvature[bowl.curvature > 0]
    if not len(curvature):  # nothing pulls anywhere: any number does
        found = (1.0, 0.0)
    elif isinstance(momentum, str):
        pair = best_nesterov if nesterov else best_heavy_ball
        found = pair(float(curvature[0]), float(curvature[-1]))
    elif momentum > 0:
        # Half the limit: the limit itself is hardly damped.
        found = (0.5 * stability_limit(float(curvature[0]), momentum, nesterov), momentum)
    else:
        # On ill-conditioned rows that is the limit itself, where the steepest direction hardly shrinks at all.
        least = _SHARE_OF_LIMIT_PLAIN * float(stability_limit(float(curvature[0])))
        found = (min(best_plain_rate(float(curvature[0]), float(curvature[-1])), least), 0.0)
    return dataclasses.replace(
        descent,
        learning_rate=found[0] if isinstance(rate, str) else rate,
        momentum=found[1] if isinstance(momentum, str) else momentum,
    )


def largest_stable_rate(descent: GradientDescent, bowl: Bowl) -> float:
    """Below this rate the descent comes to rest on the bowl."""
    steepest = float(bowl.curvature[0]) if len(bowl.curvature) else 0.0
    if not steepest > 0:
        return math.inf
    return float(stability_limit(steepest, float(descent.momentum), descent.nesterov))


def is_stable(descent: GradientDescent, bowl: Bowl) -> bool:
    """Whether a descent with numbers for its settings comes to rest on the bowl."""
    return float(descent.learning_rate) < largest_stable_rate(descent, bowl)


def remaining(descent: GradientDescent, curvature: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """z_k/z_0, the part of the distance that is left after ``steps`` (m,) along each λ (r,): (m, r).

    Exact to a few roundings in λ for any number of steps, real, double and complex roots alike: nothing is
    computed as a difference of near numbers.
    """
    a = float(descent.learning_rate) * np.asarray(curvature, np.float64)
    k = np.asarray(steps, np.float64)[:, None]
    beta = float(descent.momentum)
    if beta == 0.0:
        return _power(a, k)
    lean = 0.5 * ((1.0 - beta) - (1.0 + beta if descent.nesterov else 1.0) * a)  # q − T/2
    size, even, wave = _modes(a, beta, descent.nesterov, k)
    with np.errstate(all="ignore"):
        return np.where(k == 0, 1.0, size * (even + wave * lean))


def carried_on(
    descent: GradientDescent, curvature: np.ndarray, steps: np.ndarray, now: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """z_k after ``steps`` (m,) from z_0 = ``now`` (r,), of a descent that came there from z_{−1} = ``before`` (r,): (m, r)."""
    a = float(descent.learning_rate) * np.asarray(curvature, np.float64)
    k = np.asarray(steps, np.float64)[:, None]
    beta = float(descent.momentum)
    if beta == 0.0:
        return _power(a, k) * now
    half = 0.5 * (1.0 + beta - (1.0 + beta if descent.nesterov else 1.0) * a)  # T/2
    product = beta * (1.0 - a) if descent.nesterov else beta
    size, even, wave = _modes(a, beta, descent.nesterov, k)
    with np.errstate(all="ignore"):
        return np.where(k == 0, now, size * (even * now + wave * (half * now - product * before)))


def _modes(a: np.ndarray, beta: float, nesterov: bool, k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two ways in which a distance shrinks, (m, r) each, divided by their size: size, even, wave.

    size · even = ½(σ_1^k + σ_2^k) and size · wave = (σ_1^k − σ_2^k)/(σ_1 − σ_2), so that
    z_k = size (even z_0 + wave (z_1 − ½ T z_0)).
    """
    wide = 1.0 + beta if nesterov else 1.0
    # σ² − T σ + P = 0 in terms of 1 − σ, small for a small rate: (1 − σ)² − p (1 − σ) + a = 0.
    p = (1.0 - beta) + wide * a
    product = beta * (1.0 - a) if nesterov else np.full_like(a, beta)
    discriminant = p * p - 4.0 * a
    root = 0.5 * np.sqrt(np.abs(discriminant))
    with np.errstate(all="ignore"):  # each of the two is computed for all λ and taken for its own
        waves = _complex(0.5 * p, root, product, k)
        slides = _real(a, p, root, k)
    size, even, wave = (np.where(discriminant < 0, *both) for both in zip(waves, slides, strict=True))
    return size, even, wave


def _power(short: np.ndarray, k: np.ndarray) -> np.ndarray:
    """(1 − short)^k for whole k."""
    base = 1.0 - short
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(np.abs(short) < 0.5, np.log1p(-short), np.log(np.abs(base)))
        grown = np.exp(np.where(k == 0, 0.0, k * size))
    return np.where((base < 0) & (k % 2 == 1), -grown, grown)


def _complex(
    half: np.ndarray, root: np.ndarray, product: np.ndarray, k: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """σ = (1 − half) ± i root, |σ|² = product: |σ|^k, cos kθ and sin kθ/root."""
    angle = np.arctan2(root, 1.0 - half)
    return np.exp(0.5 * k * np.log(product)), np.cos(k * angle), np.sin(k * angle) / root


def _real(a: np.ndarray, p: np.ndarray, root: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """σ = 1 − p/2 ± root: σ_1^(k−1), ½σ_1(1 + ratio^k), and Σ_{i<k} ratio^i, so that nothing is a difference of powers."""
    low = 0.5 * p + root  # 1 − σ_2; the product of both is a
    high = np.where(low > 0, a / low, 0.0)
    # σ_1, nearer to 1, is the larger in size unless both lie beyond 0: there the other one leads.
    swap = np.abs(1.0 - low) > np.abs(1.0 - high)
    sign = np.where(swap, -1.0, 1.0)
    short = np.where(swap, low, high)  # 1 − σ of the one that leads
    lead = 1.0 - short
    apart = np.where(lead == 0, 0.0, sign * 2.0 * root / lead)  # 1 − ratio
    ratio = _power(apart, k)
    # (1 − ratio^k)/(1 − ratio), and its limit k.
    near = -np.expm1(k * np.log1p(-np.minimum(apart, 0.5)))
    fan = np.where(apart == 0, k, np.where(apart < 0.5, near, 1.0 - ratio) / apart)
    return _power(short, k - 1), 0.5 * lead * (1.0 + ratio), fan


def steps_to_the_limit(descent: GradientDescent, bowl: Bowl) -> int:
    """About how many steps it takes until nothing but rounding is left of any distance; at most 2⁶²."""
    if not len(bowl.curvature):
        return 0
    steps = 1
    while steps < _MOST_STEPS and np.abs(remaining(descent, bowl.curvature, np.array([steps]))).max() > _ARRIVED:
        steps *= 2
    return steps


class Walked(NamedTuple):
    """weights and gradient of F (m, d + 1, k), and how far F is above its minimum (m,)."""

    weights: np.ndarray
    gradient: np.ndarray
    above: np.ndarray


def walk(descent: GradientDescent, bowl: Bowl, n: float, start: np.ndarray, steps: np.ndarray) -> Walked:
    """Where a stable descent on n rows from ``start`` (d + 1, k) is after ``steps`` (m,)."""
    end = limit_from(bowl, start)
    first = bowl.directions.T @ (start - end)
    left = remaining(descent, bowl.curvature, steps)[:, :, None] * first
    weights = end + bowl.directions @ left
    weights[steps == 0] = start
    pull = n * bowl.curvature[:, None] * left
    return Walked(weights, bowl.directions @ pull, 0.5 * np.sum(pull * left, axis=(1, 2)))


# A walk of very many steps is shown at every one of the first of them, and then ever more sparsely.
_SHOWN_EACH = 1000
_SHOWN_LATER = 2000


def steps_shown(last: int, most: int) -> np.ndarray:
    """The steps of a long walk that are kept, ascending, 0 and ``last`` among them: about ``most`` at most."""
    each = min(last, _SHOWN_EACH, most // 3)
    later = np.geomspace(max(each, 1), max(last, 1), max(min(2 * most // 3, _SHOWN_LATER), 2))
    # Above 2⁵³ not every whole number is a float: the last one is put in as it is.
    whole = later[later < last].astype(np.int64)
    return np.unique(np.concatenate([np.arange(each + 1), whole, [last]]))
