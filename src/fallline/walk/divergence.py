"""Why a descent diverged: the largest stable rate where it was lowest, and the column that keeps it small."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fallline.descent import Descent
from fallline.descent.gradient import GradientDescent
from fallline.descent.penalty import Penalty
from fallline.descent.rate import first_direction, power_step, stability_limit, steep_input
from fallline.error.sums import Request
from fallline.model.network import Model
from fallline.rows.rows import Rows

_LARGE_COLUMN = 3.0  # times the size of the others: then its scale is what makes the curvature large
_READS, _READS_OF_MANY, _MANY = 100, 20, 1e7  # power iterations; of many rows · weights, fewer


def why_diverged(
    model: Model,
    descent: Descent,
    rows: Rows,
    held: Any,
    weights: np.ndarray,
    penalty: Penalty,
    input_names: Sequence[str] | None,
) -> tuple[float | None, str]:
    """The largest stable rate of a gradient descent at these weights, and a sentence on the column that keeps it small,
    where one does.

    ``held``: the rows, or what stands for them in sums.
    """
    curvature, direction = 0.0, first_direction(model.n_weights)
    for _ in range(_READS if len(rows) * model.n_weights <= _MANY else _READS_OF_MANY):
        sums = held.total(Request("curvature", weights, direction), model)
        curvature, direction = power_step((sums.product + penalty.strength * direction) / sums.rows)
    if not curvature > 0:
        return None, ""
    limit = None
    if isinstance(descent, GradientDescent):
        momentum = 0.0 if isinstance(descent.momentum, str) else descent.momentum
        limit = float(stability_limit(curvature, momentum, descent.nesterov))
    steep = steep_input(model, direction)
    if steep is None:
        return limit, ""
    at, share = steep
    sizes = rows.input_sizes
    others = float(np.median(np.delete(sizes, at)))
    if sizes[at] < _LARGE_COLUMN * others:
        return limit, ""  # the column is like the others: not its scale is to blame
    name = input_names[at] if input_names is not None else f"x{at + 1}"
    return limit, (
        f"The input {name} makes the curvature so large ({share:.0%} of its steepest direction): its values are of size "
        f"{sizes[at]:.3g}, those of the others {others:.3g}. Standardise it. "
    )
