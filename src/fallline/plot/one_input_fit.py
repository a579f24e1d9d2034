"""The fit as a curve over one input: rows, prediction, and the band in which a new row is to be expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.plot._shared import ACCENT, INK, legend_above, sample_of
from fallline.plot._slice import band_beside, seen, target_of, under
from fallline.plot.display import DOTS, Display, labels, one_for_each


@dataclass(eq=False)
class OneInputFitDisplay(Display):
    """A prediction over one input, (m,) ``prediction`` over (m,) ``grid``, beside the rows ``x`` and ``y`` (n,), in user's units.

    ``low`` and ``high`` (m,): the ends of the prediction band, which holds a new row with probability ``coverage``; None
    without a band. ``held``: in words, where the other inputs are held; "" where there are none.
    After `plot`: ``ax_``, ``figure_``, ``points_`` and ``curve_`` (Line2D), ``band_`` (PolyCollection or None), ``shown_``
    (indices of the rows drawn).
    """

    grid: np.ndarray
    prediction: np.ndarray
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    coverage: float = 0.95
    feature: str = "x"
    target: str | None = None
    held: str = ""

    def __post_init__(self) -> None:
        one_for_each("a grid", self.grid, prediction=self.prediction, low=self.low, high=self.high)
        one_for_each("y", self.y, x=self.x)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        feature: int | str = 0,
        output: int | None = None,
        sample_weight: Any = None,
        coverage: float = 0.95,
        band: bool = True,
        points: int = 301,
        names: Sequence[str] | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw a fitted ``NetworkRegressor``, ``FittedNetwork`` or ``SavedModel`` over the input ``feature``, by number or name.

        X and y: the rows it was fitted to, (n, inputs) and (n,) or (n, outputs), with their ``sample_weight``; for a
        ``SavedModel`` a table with its columns, y included. Other inputs are held at their medians. The band is that of
        the fit's own intervals, or of the starts that a ``FittedNetwork`` averages. There is none where the rows leave nothing
        to see the noise by, after ``partial_fit``, for estimators of other libraries, or with ``band=False``. Raises
        SettingsError for an unknown feature or output.
        """
        model = seen(estimator, X, names)
        values = target_of(estimator, X, y, model)
        i, j = model.feature(feature), model.output(output)
        first, last = float(model.x[:, i].min()), float(model.x[:, i].max())
        apart = 0.0 if first < last else 1.0
        grid = np.linspace(first - apart, last + apart, points)
        rows = model.along([i], grid[:, None])
        ends = band_beside(estimator, model, rows, values, sample_weight, coverage) if band else None
        low, high = (None, None) if ends is None else ends[:, j].T
        target = model.target_name(j, y) if target is None else target
        display = cls(
            grid, model.predict(rows)[:, j], model.x[:, i], values[:, j], low, high, coverage, model.names[i], target,
            model.held_words([i]),
        )  # fmt: skip
        return display.plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, at_most: int | None = None, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: rows in ``color``, the curve and its band in ``accent``; ``at_most`` thins the rows drawn."""
        ax = self._into(ax)
        self.shown_ = sample_of(self.x, self.y, at_most)
        # Rows of other values of the inputs held do not belong to this curve: they are there for orientation.
        name, alpha = ("rows, whatever their other inputs", 0.2) if self.held else ("rows", 0.6)
        style = DOTS | {"color": color, "alpha": alpha, "zorder": 2, "label": name}
        (self.points_,) = ax.plot(self.x[self.shown_], self.y[self.shown_], **style)
        self.band_ = None
        if self.low is not None and self.high is not None:
            name = f"{100 * self.coverage:g} % prediction band: a new row{' at these inputs' if self.held else ''}"
            style = {"facecolor": accent, "alpha": 0.17, "linewidth": 0, "zorder": 1, "label": name}
            finite = np.isfinite(self.low) & np.isfinite(self.high)
            self.band_ = ax.fill_between(self.grid, self.low, self.high, where=finite, **style)
        (self.curve_,) = ax.plot(self.grid, self.prediction, color=accent, linewidth=1.8, zorder=3, label="prediction")
        labels(ax, under(self.feature, self.held), self.target or "y")
        legend_above(ax)
        return self
