"""How often each size of residual occurs: centred on zero where the network is right on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, axes_or_new, named, one_target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_FEWEST, _MOST = 5, 100


@dataclass(eq=False)
class ResidualHistogramDisplay:
    """Counts of residuals, actual − predicted, of one target: (bins,) counts between (bins + 1,) edges.

    All rows are counted, however many there are. After `plot`: ``ax_``, ``figure_``, ``bars_`` (StepPatch)
    and ``zero_`` (Line2D).
    """

    counts: np.ndarray
    edges: np.ndarray
    target: str | None = None

    @classmethod
    def of(cls, actual: np.ndarray, predicted: np.ndarray, target: str | None = None) -> Self:
        """Count the finite residuals of (n,) values and predictions; Freedman–Diaconis chooses 5 to 100
        bins."""
        residual = actual - predicted
        residual = residual[np.isfinite(residual)]
        bins = _FEWEST
        if residual.size and (high := float(residual.max())) > (low := float(residual.min())):
            first, third = np.quantile(residual, [0.25, 0.75])
            width = 2 * (third - first) / residual.size ** (1 / 3)
            # Compared before dividing: a far outlier makes the ratio too large for an integer.
            bins = _MOST if high - low >= _MOST * width else max(_FEWEST, int(np.ceil((high - low) / width)))
        counts, edges = np.histogram(residual, bins)
        return cls(counts, edges, target)

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
        """Count and draw; ``output`` chooses the target where there are several."""
        actual, predicted = one_target(y_true, y_pred, output)
        return cls.of(actual, predicted, target).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kw: Any) -> Self:
        """Predict X with a fitted estimator, count and draw; ``kw`` as in `from_predictions`."""
        return cls.from_predictions(y, estimator.predict(X), **kw)

    def plot(
        self,
        ax: Any = None,
        *,
        color: Any = INK,
        accent: Any = ACCENT,
        bars_kw: Mapping[str, Any] | None = None,
        zero_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw into ``ax``."""
        ax = axes_or_new(ax)
        style = {"color": color, "alpha": 0.4, "fill": True, "linewidth": 0}
        self.bars_ = ax.stairs(self.counts, self.edges, **{**style, **(bars_kw or {})})
        style = {"color": accent, "linewidth": 1.5, "zorder": 3}
        self.zero_ = ax.axvline(0.0, **{**style, **(zero_kw or {})})
        ax.set_ylim(bottom=0)
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(named("actual − predicted", self.target), parse_math=False)
        ax.set_ylabel("rows")
        self.ax_, self.figure_ = ax, ax.figure
        return self
