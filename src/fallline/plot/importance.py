"""Which columns predictions rest on: a bar for each, as long as the error rises where its values are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK
from fallline.plot._slice import seen, target_of
from fallline.plot.display import Display, labels, named
from fallline.sure.importance import REPEATS, Importance, permutation_importance
from fallline.words import shortened

_MOST, _LETTERS = 12, 24  # bars that a picture has room for, and letters of a column's name beside them


@dataclass(eq=False)
class ImportanceDisplay(Display):
    """The rise of the RMSE of one target where a column is shuffled: the mean over the shuffles, and their standard deviation.

    After `plot`: ``ax_``, ``figure_``, ``bars_`` (BarContainer), ``spread_`` (LineCollection) and ``shown_``, the numbers of the
    columns drawn, the one that matters most, on top, first.
    """

    importance: Importance
    output: int = 0
    target: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        output: int | None = None,
        repeats: int = REPEATS,
        seed: int = 0,
        names: Sequence[str] | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Shuffle the columns of rows X and y, best rows that the fit has not seen, and draw by how much predictions get worse.

        estimator: a ``NetworkRegressor``, ``FittedNetwork``, ``SavedModel`` (y may then be a column of the table X), or an
        estimator of another library; a column that is encoded in several inputs is shuffled as a whole.
        """
        model = seen(estimator, X, names)
        values = target_of(estimator, X, y, model)
        j = model.output(output)
        found = permutation_importance(model.predict, model.x, values, model.places(), repeats=repeats, seed=seed)
        return cls(found, j, model.target_name(j, y) if target is None else target).plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, at_most: int = _MOST, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: bars of at most so many columns in ``accent``, their spread over the shuffles in ``color``."""
        ax = self._into(ax)
        self.shown_ = self.importance.order(self.output)[:at_most]
        mean, std = (each[self.shown_, self.output] for each in (self.importance.mean, self.importance.std))
        places = np.arange(len(mean))
        self.bars_ = ax.barh(places, mean, height=0.62, color=accent, alpha=0.75)
        self.spread_ = ax.hlines(places, mean - std, mean + std, colors=[color], linewidth=1.4, zorder=3)
        names = [self.importance.names[i] for i in self.shown_]
        ax.set_yticks(places, [shortened(name, _LETTERS) for name in names], parse_math=False)
        ax.invert_yaxis()
        ax.grid(False, axis="y")
        ax.axvline(0.0, color=color, linewidth=0.8)
        labels(ax, named("rise of the RMSE of", self.target) if self.target else "rise of the RMSE")
        return self
