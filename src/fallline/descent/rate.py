"""Learning rates read off the curvature.

On a quadratic bowl of curvature H/n, plain descent converges for rates below 2/λ_max,
Polyak's heavy ball below 2(1 + momentum)/λ_max. λ_max of the Gauss–Newton part G/n
comes from a few products G v, each one pass over the rows.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

# Fraction of the stability limit. Plain descent at 1.9/λ_max went lowest on real tables; 1.99 is no longer safe
# as λ_max moves. With momentum the limit itself is lightly damped, so stay at half of it.
SHARE_OF_LIMIT_PLAIN = 0.95
SHARE_OF_LIMIT_MOMENTUM = 0.5

FIRST_READS = 12  # power iterations before the first step, from a random direction
READS = 2  # later ones start from the direction found before
STEPS_BETWEEN_READS = 10


def stability_limit(curvature: Any, momentum: Any) -> Any:
    """The largest stable rate on a bowl whose steepest curvature per row is ``curvature``: 2(1 + momentum)/λ_max.

    Source: Polyak (1964), USSR Comp. Math. 4:1; Goh (2017), Distill, "Why momentum really works".
    """
    return 2.0 * (1.0 + momentum) / curvature


def rate_for(curvature: Any, momentum: Any) -> Any:
    """The rate that ``learning_rate='auto'`` takes for that curvature."""
    share = jnp.where(momentum > 0, SHARE_OF_LIMIT_MOMENTUM, SHARE_OF_LIMIT_PLAIN)
    return share * stability_limit(curvature, momentum)


def first_direction(n_weights: int) -> np.ndarray:
    """A fixed random unit vector to start the power iteration from: (n_weights,)."""
    vector = np.random.default_rng(0).standard_normal(n_weights)
    return np.asarray(vector / np.linalg.norm(vector))


def power_step(product: Any) -> tuple[Any, Any]:
    """One power iteration: from G v with ‖v‖ = 1, the estimate ‖G v‖ of λ_max and the next direction."""
    length = jnp.linalg.norm(product)
    safe = jnp.where(length > 0, length, 1.0)
    return length, product / safe
