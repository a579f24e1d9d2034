"""The first place: a curve, its slope at a point, and a descent along it."""

import functools
import math
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError
from fallline.explore.messages import Given, frame
from fallline.landscape.slope import Differentiable, descend_curve

_POINTS, _STEPS, _FARTHEST = 321, 40, 1e6
_LONGEST = 120  # letters of a formula


@functools.lru_cache(maxsize=64)
def _curve(formula: str) -> Differentiable:
    return Differentiable(formula)


@functools.lru_cache(maxsize=64)
def _drawn(formula: str, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(low, high, _POINTS)
    return x, _curve(formula).values(x)


def look(given: Given, _: Any) -> bytes:
    """The curve over a window, its slope at a point, the next step, and some steps of a descent from there."""
    formula = given.text("formula", _LONGEST)
    low, high = given.pair("window", _FARTHEST)
    if not low < high:
        raise SettingsError(f"window=({low:g}, {high:g}) is not possible: give a smaller number and a larger one.")
    rate, momentum = given.number("rate", 1e-6, 1e6), given.number("momentum", 0.0, 0.99)
    curve = _curve(formula)
    at = curve.at(given.number("x", -_FARTHEST, _FARTHEST))
    x, value = _drawn(formula, float(low), float(high))
    descent = descend_curve(curve, at.x, rate, given.whole("steps", 1, _STEPS), momentum)
    step = at.x - rate * at.slope
    said = {
        "x": at.x,
        "value": at.value,
        "slope": at.slope,
        "next": [step, curve.value(step)] if math.isfinite(step) else None,
        "bottom": curve.curvature(descent.minimum[0]) if descent.minimum else None,
        "says": descent.says,
        "diverged": descent.diverged,
        "minimum": descent.minimum,
    }
    return frame(said, x_values=x, curve=value, way_x=descent.x, way_value=descent.value)
