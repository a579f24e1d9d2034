"""Residuals against predictions: what the network leaves, and whether it leaves more of it somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, axes_or_new, named, one_target, sample_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(eq=False)
class ResidualsDisplay:
    """Residuals, actual − predicted, against predictions of one target: (n,) each, in its units.

    Above zero the network predicts too little. After `plot`: ``ax_``, ``figure_``, ``points_`` and ``zero_``
    (Line2D), ``shown_`` (indices of the rows that are drawn; rows that are not finite cannot be).
    """

    actual: np.ndarray
    predicted: np.ndarray
    target: str | None = None

    @property
    def residual(self) -> np.ndarray:
        """(n,) actual − predicted."""
        return self.actual - self.predicted

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
        zero_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw into ``ax``; ``at_most`` thins the points to a fixed sample that keeps the extremes."""
        ax = axes_or_new(ax)
        self.shown_ = sample_of(self.actual, self.predicted, at_most)
        style = {
            "color": color,
            "marker": "o",
            "markersize": 4,
            "alpha": 0.5,
            "markeredgewidth": 0,
            "linestyle": "",
        }
        (self.points_,) = ax.plot(
            self.predicted[self.shown_], self.residual[self.shown_], **{**style, **(points_kw or {})}
        )
        style = {"color": accent, "linewidth": 1.5, "zorder": 3}
        self.zero_ = ax.axhline(0.0, **{**style, **(zero_kw or {})})
        ax.set_xlabel(named("predicted", self.target), parse_math=False)
        ax.set_ylabel("actual − predicted")
        self.ax_, self.figure_ = ax, ax.figure
        return self
