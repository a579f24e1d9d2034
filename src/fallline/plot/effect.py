"""The effect of one column: the mean prediction over rows as its value changes, and how much that differs between rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.plot._shared import ACCENT, INK
from fallline.plot._slice import seen
from fallline.plot.display import Display, labels, named
from fallline.sure.effects import SHARE, Effect, partial_dependence
from fallline.table.values import values_taken
from fallline.words import listed, shortened

_ROWS, _LETTERS = 500, 24  # rows that the curve is a mean over, and letters of a category's name beside it


@dataclass(eq=False)
class EffectDisplay(Display):
    """Partial dependence of one target on one column: a curve over a number, a point for each category.

    The band holds the curves of most rows, shifted to one level: it shows where the effect depends on other columns, not how
    sure it is. After `plot`: ``ax_``, ``figure_``, ``curve_`` (Line2D), ``band_`` (PolyCollection over a number,
    LineCollection of bars for categories).
    """

    effect: Effect
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
        """Draw the effect of a ``column``, by number or name, on the predictions of a model, over rows X (at most 500 of them).

        estimator: as for ``ImportanceDisplay``. ``share`` of the rows have their curves within the band. Raises SettingsError
        for an unknown column or output.
        """
        model = seen(estimator, X, names)
        places = model.places()
        name = column if isinstance(column, str) or not 0 <= column < len(places) else list(places)[column]
        if name not in places:
            raise SettingsError(
                f"there is no column {column!r}: the model has {len(places)}, {listed(places, 12)}; give a name, or a number "
                "counted from 0."
            )
        name, j = str(name), model.output(output)
        entry = {"kind": "number", "missing": False}
        if model.columns is not None:
            entry = next(entry for entry in model.columns.plan if entry["name"] == name)
        at, values = values_taken(entry, model.x[:, places[name]])
        rows = model.x[np.linspace(0, len(model.x) - 1, min(len(model.x), _ROWS)).astype(int)]
        effect = partial_dependence(model.predict, rows, places[name], values, share=share, column=name, at=at)
        return cls(effect, j, model.target_name(j, None) if target is None else target).plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: the mean prediction in ``accent``, its band lighter; bars in ``color`` for categories."""
        ax = self._into(ax)
        effect, j = self.effect, self.output
        mean, low, high = (each[:, j] for each in (effect.mean, effect.low, effect.high))
        predicted = named("mean prediction of", self.target) if self.target else "mean prediction"
        if effect.at.dtype.kind in "fM":
            if effect.at.dtype.kind == "M":
                from matplotlib.dates import AutoDateFormatter, AutoDateLocator

                locator = AutoDateLocator(minticks=2, maxticks=4)  # more would touch in a small picture
                ax.xaxis.set_major_locator(locator)
                ax.xaxis.set_major_formatter(AutoDateFormatter(locator))
            style = {"linewidth": 1.8} if len(mean) > 1 else {"linestyle": "", "marker": "o"}
            (self.curve_,) = ax.plot(effect.at, mean, color=accent, zorder=3, **style)
            self.band_ = ax.fill_between(effect.at, low, high, facecolor=accent, alpha=0.17, linewidth=0, zorder=1)
            labels(ax, effect.column, predicted)
            return self
        places = np.arange(len(mean))  # from top to bottom, where names have room
        (self.curve_,) = ax.plot(mean, places, color=accent, zorder=3, linestyle="", marker="o")
        self.band_ = ax.hlines(places, low, high, colors=[color], linewidth=1.2, zorder=2)
        ax.set_yticks(places, [shortened(str(name), _LETTERS) for name in effect.at], parse_math=False)
        ax.invert_yaxis()
        ax.margins(y=0.1)
        labels(ax, predicted, effect.column)
        return self
