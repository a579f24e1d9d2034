"""Why a descent diverged: the largest stable rate where it was lowest, and the column that keeps it small."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.descent import Descent
from fallline.descent.penalty import Penalty
from fallline.descent.rate import first_direction, power_step, stability_limit, steep_input
from fallline.error.sums import Request
from fallline.model.network import Model
from fallline.rows.memory import Capacity, InMemory, Parts, block_rows, sum_over_parts
from fallline.rows.moments import Moments
from fallline.walk.chunk import sums_of

_LARGE_COLUMN = 3.0  # times the size of the others: then its scale is what makes the curvature large


def _steepest_curvature(
    weights: Any, strength: Any, rows: Capacity | Moments | Parts, *, model: Model, block: int
) -> tuple[Any, Any]:
    """λ_max of (G + penalty)/n at the weights and its direction, by 100 power iterations, or 20 where rows are large."""
    if not isinstance(rows, Parts):
        return _steepest_of_few(weights, strength, rows, model=model, block=block)
    curvature, direction = 0.0, first_direction(model.n_weights)
    for _ in range(20):
        request = Request(np.int32(0), np.asarray(weights), np.asarray(direction))
        sums = sum_over_parts(model, ("curvature",), request, rows, block)
        curvature, direction = power_step((sums.curvature + np.asarray(strength) * direction) / sums.rows)
    return curvature, direction


@functools.partial(jax.jit, static_argnames=("model", "block"))
def _steepest_of_few(
    weights: Any, strength: Any, rows: Capacity | Moments, *, model: Model, block: int
) -> Any:
    def read(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        _, direction = carry
        sums = sums_of(
            model, ("curvature",), Request(jnp.zeros((), jnp.int32), weights, direction), rows, block
        )
        return power_step((sums.curvature + strength * direction) / sums.rows)

    first = jnp.asarray(first_direction(model.n_weights))
    return jax.lax.fori_loop(0, 100, read, (jnp.zeros(()), first))


def why_diverged(
    model: Model,
    descent: Descent,
    rows: InMemory,
    held: Capacity | Moments | Parts,
    weights: Any,
    penalty: Penalty,
    input_names: Sequence[str] | None,
) -> tuple[float | None, str]:
    """The largest stable rate at these weights, and a sentence on the column that keeps it small, where one does."""
    block = 0 if isinstance(held, Moments) else block_rows(model, ("curvature",), held)
    curvature, direction = _steepest_curvature(weights, penalty.strength, held, model=model, block=block)
    if not float(curvature) > 0:
        return None, ""
    momentum = getattr(descent, "momentum", 0.0)
    limit = stability_limit(
        float(curvature),
        0.0 if isinstance(momentum, str) else momentum,
        getattr(descent, "nesterov", False),
    )
    steep = steep_input(model, np.asarray(direction))
    if steep is None:
        return limit, ""
    at, share = steep
    sizes = np.sqrt((rows.x**2).mean(axis=0))
    others = float(np.median(np.delete(sizes, at)))
    if sizes[at] < _LARGE_COLUMN * others:
        return limit, ""  # the column is like the others: not its scale is to blame
    name = input_names[at] if input_names is not None else f"x{at + 1}"
    return limit, (
        f"The input {name} makes the curvature so large ({share:.0%} of its steepest direction): its values are of size "
        f"{sizes[at]:.3g}, those of the others {others:.3g}. Standardise it. "
    )
