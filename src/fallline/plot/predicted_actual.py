"""Predicted against actual: a point per row, and the diagonal on which a perfect prediction lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, one_target, sample_of
from fallline.plot.display import DOTS, PredictionsDisplay, labels, named, one_for_each

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_BARS = 60  # more of them are a blot


@dataclass(eq=False)
class PredictedActualDisplay(PredictionsDisplay):
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
        one_for_each("actual values", self.actual, low=self.low, high=self.high)

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
        ends = np.empty((0, 0)) if interval is None else np.asarray(interval, np.float64)
        ends = ends[:, output or 0] if ends.ndim == 3 else ends
        return cls(*one_target(y_true, y_pred, output), target, *ends.T).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, *, coverage: float | None = None, **kw: Any) -> Self:
        """Predict X with a fitted estimator and draw; ``kw`` as in `from_predictions`.

        coverage: with intervals of a ``NetworkRegressor`` of that coverage, such as 0.95.
        """
        if coverage is None:
            return super().from_estimator(estimator, X, y, **kw)
        predicted, interval = estimator.predict(X, return_interval=coverage)
        return cls.from_predictions(y, predicted, interval=interval, **kw)

    def plot(self, ax: Any = None, *, at_most: int | None = None, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``; ``at_most`` thins the points to a fixed sample that keeps the extremes."""
        ax = self._into(ax)
        self.shown_ = sample_of(self.actual, self.predicted, at_most)
        actual, predicted = self.actual[self.shown_], self.predicted[self.shown_]
        (self.points_,) = ax.plot(actual, predicted, color=color, **DOTS)
        self._plot_bars(ax, color)
        ends = [0.0, 1.0]
        if actual.size:
            low, high = float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))
            margin = 0.04 * (high - low) or 0.04 * abs(low) or 1.0
            ends = [low - margin, high + margin]
            ax.set(xlim=ends, ylim=ends)
        (self.diagonal_,) = ax.plot(ends, ends, color=accent, linewidth=1.5, zorder=3)
        ax.set_aspect("equal", adjustable="box")
        labels(ax, named("actual", self.target), named("predicted", self.target))
        return self

    def _plot_bars(self, ax: Any, color: Any) -> None:
        """The intervals as bars behind the points, evenly from the smallest actual value to the largest."""
        self.bars_, self.barred_ = None, np.arange(0)
        if self.low is None or self.high is None:
            return
        rows = self.shown_[np.isfinite(self.low[self.shown_]) & np.isfinite(self.high[self.shown_])]
        rows = rows[np.argsort(self.actual[rows], kind="stable")]
        if len(rows) > _BARS:
            rows = rows[np.linspace(0, len(rows) - 1, _BARS).round().astype(int)]
        self.barred_ = np.sort(rows)
        at, low, high = (values[self.barred_] for values in (self.actual, self.low, self.high))
        self.bars_ = ax.vlines(at, low, high, colors=[color], linewidth=0.9, alpha=0.4, zorder=1)
