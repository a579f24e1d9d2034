"""How steeply predictions change with one column: ∂ŷ/∂x over its values, a point for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.plot._shared import ACCENT, INK
from fallline.plot._slice import seen
from fallline.plot.display import DOTS, Display, labels
from fallline.sure.sensitivities import SHARE, Sensitivity, sensitivities
from fallline.words import listed, shortened

_PARTS, _FEWEST = 12, 10  # of the rows, by value, that the curve and its band are of, and rows to one of them
_LETTERS = 24


@dataclass(eq=False)
class SensitivityDisplay(Display):
    """∂ŷ/∂x of one target with respect to one column, in the units of the table: points are rows, over the column's values.

    The curve is the mean, and the band holds the middle share, of the rows of nearly equal value: it is wide where the slope
    depends on other columns. After `plot`: ``ax_``, ``figure_``, ``points_`` and ``curve_`` (Line2D), ``band_`` (PolyCollection).
    """

    sensitivity: Sensitivity
    column: int = 0
    output: int = 0
    target: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        column: int | str = 0,
        output: int | None = None,
        share: float = SHARE,
        names: Sequence[str] | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the slopes with respect to a ``column`` of numbers, by number or name, in rows X.

        estimator: a ``NetworkRegressor``, ``NetworkClassifier`` (the slope of an output), ``FittedNetwork`` or ``SavedModel``.
        ``sensitivity`` has all columns of numbers. Raises SettingsError for another model, for an unknown column and for one of
        categories or dates, which have no slope.
        """
        model = seen(estimator, X, names)
        if model.fitted is None:
            raise SettingsError(
                f"{type(estimator).__name__} is no network of fallline, and its slopes are not known: see EffectDisplay."
            )
        places, kinds = model.places(), {}
        if model.columns is not None:
            kinds = {entry["name"]: entry["kind"] for entry in model.columns.plan}
        name = column if isinstance(column, str) or not 0 <= column < len(places) else list(places)[column]
        numbers = {each: inputs for each, inputs in places.items() if kinds.get(each, "number") == "number"}
        if name not in numbers:
            what = (
                f"column {column!r} is a {kinds[name]}, which has no slope (see EffectDisplay)" if name in kinds else ""
            )
            raise SettingsError(
                f"{what or f'there is no column {column!r}'}: the columns of numbers are {listed(numbers, 12) or 'none'}; give a "
                "name, or a number counted from 0."
            )
        j = model.output(output)
        found = sensitivities(model.fitted, model.x, numbers, share=share)
        shown = model.target_name(j, None) if target is None else target
        return cls(found, list(numbers).index(str(name)), j, shown).plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, at_most: int | None = None, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: rows as dots in ``color``, evenly thinned to ``at_most``; mean and band in ``accent``."""
        ax = self._into(ax)
        at, slopes = self.sensitivity.at[:, self.column], self.sensitivity.slopes[:, self.column, self.output]
        order = np.argsort(at, kind="stable")
        order = order[np.isfinite(slopes[order])]
        at, slopes = at[order], slopes[order]
        few = np.arange(len(at))
        if at_most is not None and len(at) > at_most:
            few = np.linspace(0, len(at) - 1, at_most).astype(int)
        (self.points_,) = ax.plot(at[few], slopes[few], color=color, **(DOTS | {"markersize": 3, "alpha": 0.25}))
        middle, mean, low, high = self._by_value(at, slopes)
        style = {"linewidth": 1.8} if len(middle) > 1 else {"linestyle": "", "marker": "o"}
        (self.curve_,) = ax.plot(middle, mean, color=accent, zorder=3, **style)
        self.band_ = ax.fill_between(middle, low, high, facecolor=accent, alpha=0.17, linewidth=0, zorder=1)
        ax.axhline(0.0, color=color, linewidth=0.8)
        name = self.sensitivity.names[self.column]
        labels(ax, name, f"∂ {shortened(self.target or 'prediction', _LETTERS)} / ∂ {shortened(name, _LETTERS)}")
        return self

    def _by_value(self, at: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where rows of nearly equal value stand, and the mean and the band of their slopes; equal values stay together."""
        parts = int(np.clip(len(at) // _FEWEST, 1, _PARTS))
        edges = np.unique(at[np.linspace(0, len(at) - 1, parts + 1).astype(int)[1:-1]]) if len(at) else at
        cuts = np.unique(np.searchsorted(at, edges))
        runs = [run for run in np.split(np.arange(len(at)), cuts) if len(run)]
        share = self.sensitivity.share
        ends = [np.quantile(slopes[run], [0.5 - share / 2, 0.5 + share / 2]) for run in runs]
        low, high = np.array(ends).reshape(-1, 2).T
        return np.array([at[run].mean() for run in runs]), np.array([slopes[run].mean() for run in runs]), low, high
