"""A mountain of one dimension: any f(x), its slope at a point, and a descent along the curve.

Derivatives are exact where f is a formula, or is written with operators and NumPy's functions, so that it makes one, or in
JAX; elsewhere they come from differences of its values. Nothing here needs rows or a network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fallline.exceptions import SettingsError
from fallline.model.curve import Curve
from fallline.model.formula import read_formula

_RATIO, _HALVINGS = 2.0, 12  # of the differences: from a tenth of the scale of x down to its 40 000th part
_NEAR = 0.02  # of the way gone: so near the minimum a descent has arrived
_POLISH = 200
_ROW = np.zeros((1, 1))  # f as a curve, x its parameter: there is nothing to know of a row


class Point(NamedTuple):
    """A point of a curve: x, f(x) and f'(x)."""

    x: float
    value: float
    slope: float


class Differentiable:
    """f of one number, a function or a text such as ``"x^4 - 3*x^2"``, with its derivatives in float64.

    ``exact``: whether they are those of a formula or of JAX, correct to rounding. Otherwise they are central differences
    extrapolated to step 0 (Ridders 1982, Adv. Eng. Software 4:75), good to about ten digits of a smooth f. Raises
    SettingsError for a text that is no formula in x, or where f does not give one real number.
    """

    def __init__(self, f: Callable[[Any], Any] | str) -> None:
        if isinstance(f, str):
            formula = read_formula(f)
            if formula.names != ("x",):
                raise SettingsError(
                    f"the formula {formula} is in {', '.join(formula.names) or 'no name'}: write it in x alone."
                )
            self._curve = Curve(formula, columns=("row",))
        else:
            self._curve = Curve(lambda _, x: f(x), columns=("row",))
        self._f: Any = f
        try:
            self.exact = self._curve.derivatives == "exact"
        except Exception:  # whatever f may have against being tried
            self.exact = False

    def values(self, x: np.ndarray) -> np.ndarray:
        """f at each of x (m,): (m,) float64, NaN where f is not defined."""
        return np.array([self.value(each) for each in np.asarray(x, np.float64)])

    def value(self, x: float) -> float:
        """f(x), NaN where f is not defined."""
        return float(self._curve.predict(np.array([x]), _ROW)[0, 0]) if self.exact else self._number(float(x))

    def slope(self, x: float) -> float:
        """f'(x), not finite where there is none."""
        if self.exact:
            return float(self._curve.jacobian(np.array([x]), _ROW)[0, 0, 0])
        return self._extrapolated(x, lambda f, h: (f(x + h) - f(x - h)) / (2 * h))

    def curvature(self, x: float) -> float:
        """f''(x), not finite where there is none."""
        if self.exact:
            return float(self._curve.jacobian_along(np.array([x]), _ROW, np.ones(1))[0, 0, 0])
        middle = self._number(x)
        return self._extrapolated(x, lambda f, h: (f(x + h) - 2 * middle + f(x - h)) / h**2)

    def at(self, x: float) -> Point:
        """The point of the curve at x. Raises SettingsError where f has no finite value or slope there."""
        point = Point(float(x), self.value(x), self.slope(x))
        if not (math.isfinite(point.value) and math.isfinite(point.slope)):
            raise SettingsError(
                f"f has the value {point.value:.4g} and the slope {point.slope:.4g} at x = {x:.6g}: "
                "choose a point where both are finite."
            )
        return point

    def _number(self, x: float) -> float:
        try:
            with np.errstate(all="ignore"):
                value = self._f(x)
        except (ArithmeticError, ValueError):  # math.log(−1), 1/0, math.exp(1000): there is no value here
            return math.nan
        except Exception as problem:
            raise self._no_number(x, f"{type(problem).__name__}: {problem}") from problem
        if isinstance(value, complex):  # (−1)**0.5
            return math.nan
        try:
            return float(np.asarray(value).item())
        except (TypeError, ValueError) as problem:
            raise self._no_number(x, repr(value)) from problem

    def _no_number(self, x: float, what: str) -> SettingsError:
        return SettingsError(
            f"f({x:.6g}) gave no number ({what}): give a function of one number that returns one, such as lambda x: x**2."
        )

    def _extrapolated(self, x: float, difference: Callable[[Callable[[float], float], float], Any]) -> float:
        """The limit of a difference for h → 0, whose error is a series in h²: of a tableau the entry that moves least.

        Columns take off h², h⁴, …; rows make h smaller until rounding outweighs what is gained.
        """
        first = 0.1 * max(abs(x), 1.0)
        best, least = math.nan, math.inf
        above: list[float] = []
        for row in range(_HALVINGS + 1):
            entries = [difference(self._number, first / _RATIO**row)]
            for column, before in enumerate(above, start=1):
                factor = _RATIO ** (2 * column)
                entries.append((factor * entries[-1] - before) / (factor - 1))
                moved = max(abs(entries[-1] - entries[-2]), abs(entries[-1] - before))
                if moved < least:
                    best, least = entries[-1], moved
            above = entries
        return best


@dataclass(frozen=True, eq=False)
class CurveDescent:
    """Steps of a descent along a curve: (k + 1,) ``x``, ``value`` and ``slope``, the start first.

    ``minimum``: (x, f(x)) of the minimum it arrived at, None where it did not. ``diverged``: whether it went up or
    left all bounds; what is kept ends with the last finite point. ``says``: in one sentence, where it ended and why.
    """

    x: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    minimum: tuple[float, float] | None
    diverged: bool
    says: str


def descend_curve(
    f: Differentiable, start: float, learning_rate: float = 0.1, n_steps: int = 20, momentum: float = 0.0
) -> CurveDescent:
    """Gradient descent on f: Δx(t) = −ε f'(x) + β Δx(t−1), ε = learning_rate, β = momentum.

    It has arrived where the last point is as near a minimum as a fiftieth of the way it covered; the minimum is then
    found to rounding. Raises SettingsError for a rate that is not positive, a momentum outside [0, 1), fewer
    than one step, or a start where f has no slope.
    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533, eq. 8 and 9.
    """
    if not (0 < learning_rate < math.inf and 0 <= momentum < 1):
        raise SettingsError(
            f"learning_rate={learning_rate!r} and momentum={momentum!r} are not possible: give a positive rate and a "
            "momentum from 0 to below 1."
        )
    if n_steps < 1:
        raise SettingsError(f"n_steps={n_steps!r} is not possible: give a whole number from 1 up.")
    points, step = [f.at(start)], 0.0
    while len(points) <= n_steps:
        step = momentum * step - learning_rate * points[-1].slope
        x = points[-1].x + step
        point = Point(x, f.value(x), f.slope(x)) if math.isfinite(x) else Point(x, math.nan, math.nan)
        if not all(map(math.isfinite, point)):
            break
        points.append(point)
    x, value, slope = np.array(points).T
    if len(points) <= n_steps:
        return CurveDescent(x, value, slope, None, True, _lost(f, points, learning_rate, momentum))
    if value[-1] > value[0] and np.abs(slope[-1]) > np.abs(slope[0]):
        says = (
            f"The steps go up: f rose from {value[0]:.4g} to {value[-1]:.4g} in {n_steps} steps; "
            f"{_too_large(f, points, learning_rate, momentum)}"
        )
        return CurveDescent(x, value, slope, None, True, says)
    minimum = _minimum(f, x)
    stands = f"x = {x[-1]:.4g}, slope {slope[-1]:.3g}"
    if minimum is not None:
        says = f"After {n_steps} steps at {stands}; the minimum there is {minimum[1]:.4g} at x = {minimum[0]:.4g}."
    elif slope[-1] == 0:
        says = (
            f"The descent stands still at x = {x[-1]:.4g}: the slope is 0 there, but it is no minimum. Start elsewhere."
        )
    elif np.abs(slope[-1]) == np.abs(slope).max() > np.abs(slope[0]) and value[-1] == value.min():
        says = f"After {n_steps} steps at {stands}, and ever steeper: no minimum is in sight yet."
    else:
        says = f"After {n_steps} steps still on the way, at {stands}: take more, or another learning rate."
    return CurveDescent(x, value, slope, minimum, False, says)


def _lost(f: Differentiable, points: list[Point], learning_rate: float, momentum: float) -> str:
    """The sentence for a descent whose next point is no finite one."""
    last, taken = points[-1], len(points) - 1
    if taken and last.value < min(each.value for each in points[:-1]):
        return (
            f"After {taken} steps f = {last.value:.4g} at x = {last.x:.4g}, and the next step leaves where f is finite: "
            "it falls without end in this direction, or is not defined there. Start elsewhere, or take fewer steps."
        )
    return (
        f"Step {taken + 1} leads where f is not finite (before it f = {last.value:.4g} at x = {last.x:.4g}): "
        f"{_too_large(f, points, learning_rate, momentum)}"
    )


def _too_large(f: Differentiable, points: list[Point], learning_rate: float, momentum: float) -> str:
    """What to do about a rate: below 2(1 + β)/f'' a descent comes nearer on a parabola of that curvature."""
    lowest = min(points, key=lambda each: each.value)
    curvature = f.curvature(lowest.x)
    limit = 2 * (1 + momentum) / curvature if curvature > 0 else math.inf
    too_large = f"learning rate {learning_rate:g} is too large for this curve"
    if limit < learning_rate:
        # Half the limit reaches the bottom of a parabola in one step without momentum.
        return f"{too_large}, steps stay stable below {limit:.3g} at its lowest point. Try {limit / 2:.3g}."
    return f"{too_large}. Try {learning_rate / 10:.3g}."


def _minimum(f: Differentiable, way: np.ndarray) -> tuple[float, float] | None:
    """The minimum next to the last point of the way, by Newton's method on the slope; None where it is not near."""
    x, span = float(way[-1]), float(np.ptp(way))
    near = _NEAR * span + 1e-12 * max(abs(x), 1.0)
    best, slope = x, f.slope(x)
    for _ in range(_POLISH):
        curvature = f.curvature(x)
        if not curvature > 0:
            break
        x -= slope / curvature
        if not abs(x - way[-1]) <= near:
            return None
        slope = f.slope(x)
        if x == best:
            break
        best = x
    aside = max(near, 1e-6 * max(abs(best), 1.0))
    left, bottom, right = f.values(np.array([best - aside, best, best + aside]))
    return (best, float(bottom)) if min(left, right) > bottom else None
