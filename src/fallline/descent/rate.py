"""Learning rates and momentum read off the curvature.

On a quadratic bowl of curvature H/n a descent converges for rates below a limit that depends on its method
and its momentum. λ_max of the Gauss–Newton part G/n comes from products G v, each one pass over the rows.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Walk

# Plain descent takes silver steps, each in units of 1/λ_max; a share of them, because λ_max moves between two reads.
# 0.85 to 0.9 went lowest on real tables (benchmarks/rates.py).
SHARE_OF_SILVER = 0.88
SHORTEST_CYCLE, LONGEST_CYCLE = 2, 9  # in powers of two
# Fraction of the stability limit with momentum: there the limit itself is lightly damped.
SHARE_OF_LIMIT_MOMENTUM = 0.5
SHARE_OF_LIMIT_NESTEROV = 0.7

MOST_MOMENTUM = 0.99  # of the momentum that is read off: beyond it a descent remembers too long for a bending valley

FIRST_READS = 8  # power iterations before the first step, from the gradient there
STEPS_BETWEEN_READS = 20

# A fixed rate has failed when the error is this many times the lowest seen. Momentum may overshoot by 1/(1 − β) in the
# weights before it settles, so that the bound grows with the square of that.
RUNAWAY = 1e4
# … beside this share of the error at the start: at the bottom of a perfect fit rounding alone multiplies E.
ROUNDING = 1e-12


def has_lost(here: Any, walk: Walk, first: float, start: bool, overshoot: float, most: float = RUNAWAY) -> bool:
    """Whether the error is no number, or so far above the lowest that a descent at a fixed rate will not come back."""
    if not (math.isfinite(here.error) and np.isfinite(here.gradient).all()):
        return True
    return not start and here.error * overshoot > most * (walk.lowest_penalised + ROUNDING * first)


def stability_limit(curvature: Any, momentum: Any = 0.0, nesterov: bool = False) -> Any:
    """The largest stable rate on a bowl whose steepest curvature per row is ``curvature``.

    2/λ_max for plain descent, 2(1 + β)/λ_max for Polyak's heavy ball, (2 + 2β)/(1 + 2β)/λ_max for Nesterov's form.
    Source: Polyak (1964), USSR Comp. Math. 4:1; Goh (2017), Distill, "Why momentum really works"; for Nesterov's form, both
    roots of σ² − (1 + β)(1 − αλ)σ + β(1 − αλ) inside the unit circle.
    """
    limit = 2.0 * (1.0 + momentum) / curvature
    return limit / (1.0 + 2.0 * momentum) if nesterov else limit


def rate_for(curvature: float, momentum: float, nesterov: bool = False) -> float:
    """The rate that ``learning_rate='auto'`` takes for that curvature; without momentum, the unit of its silver steps."""
    share = SHARE_OF_LIMIT_NESTEROV if nesterov else SHARE_OF_LIMIT_MOMENTUM
    with_momentum = share * stability_limit(curvature, momentum, nesterov)
    return with_momentum if momentum > 0 else SHARE_OF_SILVER / curvature


class Cycle(NamedTuple):
    """Where plain descent stands in its cycle of 2^order − 1 silver steps: the next one's number, and F when it began."""

    order: int
    at: int
    before: float


def silver(at: int) -> float:
    """The length of the silver step with that number, 1, 2, …, in units of 1/λ_max: √2, 2, √2, 2 + √2, √2, …

    A few steps beyond the limit 2/λ_max among many below it: what a long step blows up the short ones around it have
    damped or will damp, and in k steps the flat directions come k^1.27 as far as short steps alone would bring them.
    Source: Altschuler & Parrilo (2025), J. ACM 72:12, "Acceleration by stepsize hedging I", sec. 1.
    """
    twos = sum(at % (1 << k) == 0 for k in range(1, LONGEST_CYCLE + 1))
    return 1.0 + (1.0 + math.sqrt(2.0)) ** (twos - 1.0)


def first_cycle() -> Cycle:
    """The shortest cycle, entered at its middle step: a short one would waste the steep slope at the start."""
    return Cycle(SHORTEST_CYCLE, 2, 0.0)


def next_in_cycle(cycle: Cycle, error: float, start: bool) -> Cycle:
    """The cycle after a step that led to ``error``: a finished one is doubled if F fell over it, else halved.

    The longer the cycle, the longer its longest step, and the longer must the surface stay what it was.
    """
    if start:
        return cycle._replace(before=error)
    if cycle.at + 1 < 1 << cycle.order:
        return cycle._replace(at=cycle.at + 1)
    longer = cycle.order + (1 if error < cycle.before else -1)
    return Cycle(min(max(longer, SHORTEST_CYCLE), LONGEST_CYCLE), 1, error)


def shorter(cycle: Cycle, error: float) -> Cycle:
    """The cycle to begin with after one that led too far: half as long, from the lowest point."""
    return Cycle(max(cycle.order - 1, SHORTEST_CYCLE), 1, error)


def momentum_for(steepest: float, softest: float) -> float:
    """The momentum under which a bowl with these curvatures is left behind fastest, ((√λ₁ − √λₙ)/(√λ₁ + √λₙ))².

    Source: Polyak (1964); Goh (2017).
    """
    a, b = math.sqrt(steepest), math.sqrt(min(max(softest, 0.0), steepest))
    return ((a - b) / max(a + b, np.finfo(np.float64).tiny)) ** 2


def first_direction(n_weights: int) -> np.ndarray:
    """A fixed random unit vector to start the power iteration from: (n_weights,)."""
    vector = np.random.default_rng(0).standard_normal(n_weights)
    return np.asarray(vector / np.linalg.norm(vector))


def power_step(product: np.ndarray) -> tuple[float, np.ndarray]:
    """One power iteration: from G v with ‖v‖ = 1, the estimate ‖G v‖ of λ_max and the next direction."""
    length = float(np.linalg.norm(product))
    return length, product / length if length > 0 else product


def steep_input(model: Any, direction: np.ndarray) -> tuple[int, float] | None:
    """The input whose weights make most of the steepest direction of curvature (n_weights,), and their share of it.

    None where no single input makes more than half, or the model has no layers.
    """
    if not hasattr(model, "layers"):
        return None
    share = (np.asarray(model.layers(direction)[0].coef) ** 2).sum(axis=1)
    at = int(np.argmax(share))
    return (at, float(share[at])) if model.inputs > 1 and share[at] > 0.5 else None
