"""Predicted against actual: a point per row, and the diagonal on which a perfect prediction lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, axes_or_new, named, one_target, sample_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(eq=False)
class PredictedActualDisplay:
    """Predictions (vertical) against measured values (horizontal) of one target, both (n,), in its units.

    After `plot`: ``ax_``, ``figure_``, ``points_`` and ``diagonal_`` (Line2D), ``shown_`` (indices of the
    rows that are drawn; rows that are not finite cannot be).
    """

    actual: np.ndarray
    predicted: np.ndarray
    target: str | None = None

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        output: int | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw predictions that exist already; ``output`` chooses the target where there are several."""
        actual, predicted = one_target(y_true, y_pred, output)
        return cls(actual, predicted, target).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kw: Any) -> Self:
        """Predict X with a fitted estimator and draw; ``kw`` as in `from_predictions`."""
        return cls.from_predictions(y, estimator.predict(X), **kw)

    def plot(
        self,
        ax: Any = None,
        *,
        at_most: int | None = None,
        color: Any = INK,
        accent: Any = ACCENT,
        points_kw: Mapping[str, Any] | None = None,
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
