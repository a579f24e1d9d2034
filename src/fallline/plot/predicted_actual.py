"""Predicted against actual: a point per row, and the diagonal on which a perfect prediction lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import ShapeError
from fallline.plot._shared import ACCENT, INK, axes_or_new, named, one_target, sample_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_BARS = 60  # more of them are a blot


@dataclass(eq=False)
class PredictedActualDisplay:
    """Predictions (vertical) against measured values (horizontal) of one target, both (n,), in its units.

    ``low`` and ``high`` (n,): the ends of each row's interval, drawn as bars; None without intervals. A bar that does not
    reach the diagonal belongs to a row outside its interval.
    After `plot`: ``ax_``, ``figure_``, ``points_`` and ``diagonal_`` (Line2D), ``shown_`` (indices of the
    rows that are drawn; rows that are not finite cannot be), ``bars_`` (LineCollection or None) and ``barred_`` (the rows
    that have a bar: at most 60, by their place among the actual values).
    """

    actual: np.ndarray
    predicted: np.ndarray
    target: str | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            ends = getattr(self, name)
            if ends is not None and np.shape(ends) != np.shape(self.actual):
                raise ShapeError(
                    f"{name} has shape {np.shape(ends)} for {np.shape(self.actual)} actual values; expected one for each, (n,)."
                )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        output: int | None = None,
        interval: ArrayLike | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw predictions that exist already; ``output`` chooses the target where there are several.

        interval: (n, 2) or (n, outputs, 2), as ``NetworkRegressor.predict`` returns it.
        """
        actual, predicted = one_target(y_true, y_pred, output)
        ends: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        if interval is not None:
            both = np.asarray(interval, np.float64)
            both = both[:, output or 0] if both.ndim == 3 else both
            ends = (both[:, 0], both[:, 1])
        return cls(actual, predicted, target, *ends).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, coverage: float | None = None, **kw: Any
    ) -> Self:
        """Predict X with a fitted estimator and draw; ``kw`` as in `from_predictions`.

        coverage: with intervals of a ``NetworkRegressor`` of that coverage, such as 0.95.
        """
        if coverage is None:
            return cls.from_predictions(y, estimator.predict(X), **kw)
        predicted, interval = estimator.predict(X, return_interval=coverage)
        return cls.from_predictions(y, predicted, interval=interval, **kw)

    def plot(
        self,
        ax: Any = None,
        *,
        at_most: int | None = None,
        color: Any = INK,
        accent: Any = ACCENT,
        points_kw: Mapping[str, Any] | None = None,
        bars_kw: Mapping[str, Any] | None = None,
        diagonal_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw into ``ax``; ``at_most`` thins the points to a fixed sample that keeps the extremes."""
        ax = axes_or_new(ax)
        self.shown_ = sample_of(self.actual, self.predicted, at_most)
        actual, predicted = self.actual[self.shown_], self.predicted[self.shown_]
        style = {
            "color": color,
            "marker": "o",
            "markersize": 4,
            "alpha": 0.5,
            "markeredgewidth": 0,
            "linestyle": "",
        }
        (self.points_,) = ax.plot(actual, predicted, **{**style, **(points_kw or {})})
        self._draw_bars(ax, color, bars_kw)
        if actual.size:
            both = np.concatenate([actual, predicted])
            low, high = float(both.min()), float(both.max())
            margin = 0.04 * (high - low) or 0.04 * abs(low) or 1.0
            ends = [low - margin, high + margin]
            ax.set(xlim=ends, ylim=ends)
        else:
            ends = [0.0, 1.0]
        style = {"color": accent, "linewidth": 1.5, "zorder": 3}
        (self.diagonal_,) = ax.plot(ends, ends, **{**style, **(diagonal_kw or {})})
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel(named("actual", self.target), parse_math=False)
        ax.set_ylabel(named("predicted", self.target), parse_math=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_bars(self, ax: Any, color: Any, bars_kw: Mapping[str, Any] | None) -> None:
        """The intervals as bars behind the points, evenly from the smallest actual value to the largest."""
        self.bars_, self.barred_ = None, np.arange(0)
        if self.low is None or self.high is None:
            return
        rows = self.shown_[np.isfinite(self.low[self.shown_]) & np.isfinite(self.high[self.shown_])]
        rows = rows[np.argsort(self.actual[rows], kind="stable")]
        if len(rows) > _BARS:
            rows = rows[np.linspace(0, len(rows) - 1, _BARS).round().astype(int)]
        self.barred_ = np.sort(rows)
        given = (self.actual[self.barred_], self.low[self.barred_], self.high[self.barred_])
        style = {"colors": [color], "linewidth": 0.9, "alpha": 0.4, "zorder": 1}
        self.bars_ = ax.vlines(*given, **{**style, **(bars_kw or {})})
