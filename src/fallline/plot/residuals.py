"""Residuals against predictions: what the network leaves, and whether it leaves more of it somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, sample_of
from fallline.plot.display import DOTS, PredictionsDisplay, labels, named


@dataclass(eq=False)
class ResidualsDisplay(PredictionsDisplay):
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

    def plot(self, ax: Any = None, *, at_most: int | None = None, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``; ``at_most`` thins the points to a fixed sample that keeps the extremes."""
        ax = self._into(ax)
        self.shown_ = sample_of(self.actual, self.predicted, at_most)
        (self.points_,) = ax.plot(self.predicted[self.shown_], self.residual[self.shown_], color=color, **DOTS)
        self.zero_ = ax.axhline(0.0, color=accent, linewidth=1.5, zorder=3)
        labels(ax, named("predicted", self.target), "actual − predicted")
        return self
