"""A curve, its slope at a point, and a descent along it: what a gradient is, in one dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.plot._map import black_dot
from fallline.plot._shared import ACCENT, INK, MUTED
from fallline.plot.display import Display, labels, one_for_each
from fallline.words import minus

if TYPE_CHECKING:
    from fallline.landscape.slope import CurveDescent, Differentiable, Point

_TANGENT = 0.22  # of the width of the picture, to either side
_LOWER = 1e-6  # of the height of the picture: so much lower than a minimum is lower
_FAR = 8.0  # first steps: of a descent that diverges, as far as the picture goes


@dataclass(eq=False)
class SlopeDisplay(Display):
    """A curve f(x), (m,) ``value`` over (m,) ``x``; its tangent at ``at`` (x, f(x), f'(x)); steps of a ``descent``.

    ``exact``: whether slopes are correct to rounding; otherwise they are extrapolated from differences, and the picture
    says so. After `plot`: ``ax_``, ``figure_``, ``curve_``, ``tangent_``, ``point_``, ``steps_``, ``minimum_`` (Line2D, or
    None where there is nothing to draw).
    """

    x: np.ndarray
    value: np.ndarray
    at: Point | None = None
    descent: CurveDescent | None = None
    exact: bool = True
    name: str = "f(x)"

    def __post_init__(self) -> None:
        one_for_each("x", self.x, value=self.value)

    @classmethod
    def from_function(
        cls,
        f: Callable[[Any], Any] | str,
        *,
        at: float | None = None,
        start: float | None = None,
        learning_rate: float = 0.1,
        n_steps: int = 20,
        momentum: float = 0.0,
        extent: tuple[float, float] | None = None,
        points: int = 401,
        name: str = "f(x)",
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw f with its tangent at ``at``, and ``n_steps`` steps of gradient descent from ``start``.

        f takes one number and gives one; written with operators and NumPy's functions, in JAX, or as a text in x, its slopes
        are exact. ``extent``: the x to draw, chosen by what is to be seen where it is not given. Raises SettingsError where
        there is neither of the three, and what `descend_curve` of ``fallline.landscape.slope`` raises.
        """
        from fallline.landscape.slope import Differentiable, descend_curve

        if at is None and start is None and extent is None:
            raise SettingsError(
                "there is nothing to choose x by: give at= for a tangent, start= for a descent, or extent=(from, to)."
            )
        curve = Differentiable(f)
        point = None if at is None else curve.at(at)
        descent = None if start is None else descend_curve(curve, start, learning_rate, n_steps, momentum)
        low, high = _extent(curve, point, descent) if extent is None else map(float, extent)
        if not (np.isfinite([low, high]).all() and low < high):
            raise SettingsError(f"extent=({low:g}, {high:g}) is not possible: give a smaller number and a larger one.")
        x = np.linspace(low, high, points)
        return cls(x, curve.values(x), point, descent, curve.exact, name).plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: the curve in ``color``, tangent and steps in ``accent``, a dot at a minimum arrived at.

        The dot is black, or hollow where what is drawn of the curve goes lower.
        """
        ax = self._into(ax)
        self.tangent_ = self.point_ = self.steps_ = self.minimum_ = None
        finite = np.isfinite(self.value)
        shown = np.where(finite, self.value, np.nan)
        (self.curve_,) = ax.plot(self.x, shown, color=color, linewidth=1.6)
        if finite.any():
            # A pole would leave nothing else in sight, and a tangent must not stretch the picture.
            low, high = self.value[finite].min(), self.value[finite].max()
            margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
            ax.set_ylim(low - margin, high + margin)
        if len(self.x):
            ax.set_xlim(self.x[0], self.x[-1])
        ax.axhline(0.0, color=MUTED, linewidth=0.6, zorder=0)
        if self.descent is not None:
            self._plot_descent(ax, self.descent, accent)
        if self.at is not None:
            self._plot_tangent(ax, self.at, accent)
        labels(ax, "x", self.name)
        if self.at is not None or self.descent is not None:
            ax.legend(
                loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2 if self.exact else 1, frameon=False,
                borderaxespad=0.2, handlelength=2.2, columnspacing=1.4,
            )  # fmt: skip
        return self

    @property
    def _by(self) -> str:
        return "" if self.exact else ", from differences"

    def _plot_tangent(self, ax: Any, at: Point, accent: Any) -> None:
        reach = _TANGENT * float(self.x[-1] - self.x[0]) if len(self.x) else 1.0
        ends = np.array([at.x - reach, at.x + reach])
        label = minus(f"slope {at.slope:.6g} at x = {at.x:g}") + self._by
        (self.tangent_,) = ax.plot(
            ends, at.value + at.slope * (ends - at.x), color=accent, linewidth=1.8, linestyle=(0, (4, 1)), zorder=3,
            label=label,
        )  # fmt: skip
        (self.point_,) = ax.plot(at.x, at.value, color=accent, marker="o", markersize=7, linestyle="", zorder=4)

    def _plot_descent(self, ax: Any, descent: CurveDescent, accent: Any) -> None:
        (self.steps_,) = ax.plot(
            descent.x, descent.value, color=accent, linewidth=0.9, marker="o", markersize=5, zorder=3,
            markerfacecolor=ax.get_facecolor(),
            label=f"{len(descent.x) - 1} steps of descent" + ("" if self.at else self._by),
        )  # fmt: skip
        if descent.minimum is not None:
            seen = self.value[np.isfinite(self.value)]
            lower = bool(seen.size and seen.min() < descent.minimum[1] - _LOWER * np.ptp(seen))
            self.minimum_ = black_dot(
                ax, descent.minimum, hollow=lower, zorder=4, label="local minimum" if lower else "minimum"
            )
        if descent.diverged:
            said = descent.says.partition(";" if ";" in descent.says else ":")[0]
            # Above the legend, which has a line for two names, or for each where these are long.
            rows = 1 if self.exact else 1 + (self.at is not None)
            ax.set_title(said, fontsize="small", pad=8 + 16 * rows)


def _extent(curve: Differentiable, at: Point | None, descent: CurveDescent | None) -> tuple[float, float]:
    """The x to draw: all that is to be seen, with room on both sides, and of a valley both sides equally high."""
    seen = []
    if at is not None:
        size = max(abs(at.x), 0.8)
        seen = [(at.x - 1.25 * size, at.value), (at.x + 0.75 * size, at.value)]
    if descent is not None:
        way = np.column_stack([descent.x, descent.value])
        if descent.diverged and len(way) > 1:
            way = way[np.abs(way[:, 0] - way[0, 0]) <= _FAR * abs(way[1, 0] - way[0, 0])]
        seen += [tuple(each) for each in way]
    low, high = min(x for x, _ in seen), max(x for x, _ in seen)
    margin = 0.08 * (high - low) or max(abs(low), 1.0)
    ends = [low - margin, high + margin]
    if descent is None or descent.minimum is None:
        return ends[0], ends[1]
    centre, bottom = descent.minimum
    reach = max(ends[1] - centre, centre - ends[0])
    top = max(value for _, value in seen)
    other = np.linspace(0.0, reach, 64)
    for end, sign in enumerate((-1.0, 1.0)):
        value = curve.values(centre + sign * other)
        low_enough = np.logical_and.accumulate(value <= top + 0.1 * (top - bottom))
        furthest = centre + sign * float(other[low_enough][-1]) if low_enough.any() else centre
        ends[end] = min(ends[end], furthest) if sign < 0 else max(ends[end], furthest)
    return ends[0], ends[1]
