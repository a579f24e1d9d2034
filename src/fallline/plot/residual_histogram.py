"""How often each size of residual occurs: centred on zero where the network is right on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK
from fallline.plot.display import PredictionsDisplay, labels, named

_FEWEST, _MOST = 5, 100


@dataclass(eq=False)
class ResidualHistogramDisplay(PredictionsDisplay):
    """Counts of residuals, actual − predicted, of one target: (bins,) counts between (bins + 1,) edges.

    All rows are counted, however many there are. After `plot`: ``ax_``, ``figure_``, ``bars_`` (StepPatch)
    and ``zero_`` (Line2D).
    """

    counts: np.ndarray
    edges: np.ndarray
    target: str | None = None

    @classmethod
    def of(cls, actual: np.ndarray, predicted: np.ndarray, target: str | None = None) -> Self:
        """Count the finite residuals of (n,) values and predictions; Freedman–Diaconis chooses 5 to 100 bins."""
        residual = actual - predicted
        residual = residual[np.isfinite(residual)]
        bins = _FEWEST
        if residual.size and (high := float(residual.max())) > (low := float(residual.min())):
            first, third = np.quantile(residual, [0.25, 0.75])
            width = 2 * (third - first) / residual.size ** (1 / 3)
            # Compared before dividing: a far outlier makes the ratio too large for an integer.
            bins = _MOST if high - low >= _MOST * width else max(_FEWEST, int(np.ceil((high - low) / width)))
        return cls(*np.histogram(residual, bins), target)

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``."""
        ax = self._into(ax)
        self.bars_ = ax.stairs(self.counts, self.edges, color=color, alpha=0.4, fill=True, linewidth=0)
        self.zero_ = ax.axvline(0.0, color=accent, linewidth=1.5, zorder=3)
        ax.set_ylim(bottom=0)
        ax.yaxis.get_major_locator().set_params(integer=True)
        labels(ax, named("actual − predicted", self.target), "rows")
        return self
