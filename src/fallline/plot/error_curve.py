"""The error per row, E/n, over the steps of a descent, for the training rows and those that were watched."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.plot._shared import ACCENT, INK, axes_or_new

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# Beyond so many decades, a label at these multiples of each power of ten; none: at round numbers.
_SUBDIVISIONS: list[tuple[float, list[float]]] = [
    (3.0, [1]),
    (1.7, [1, 3]),
    (0.8, [1, 2, 5]),
    (0.35, [1, 1.5, 2, 3, 4, 6, 8]),
    (-1.0, []),
]


@dataclass(eq=False)
class ErrorCurveDisplay:
    """Error curves on a logarithmic axis: (m,) steps and, by name, (m,) errors per row, E/n.

    ``lowest_of`` names the curve whose lowest point is marked, None marks none. Curves of rows of different
    number compare because each is divided by its own; errors are those descended, in scaled units for the
    estimators. After `plot`: ``ax_``, ``figure_``, ``lines_`` (name → Line2D), ``lowest_`` (Line2D or None).
    """

    steps: np.ndarray
    error_per_row: Mapping[str, np.ndarray]
    lowest_of: str | None = None

    def __post_init__(self) -> None:
        for name, error in self.error_per_row.items():
            if np.shape(error) != np.shape(self.steps):
                raise ShapeError(
                    f"the error curve {name!r} has shape {np.shape(error)} for steps of shape "
                    f"{np.shape(self.steps)}; expected one error per step."
                )
        if self.lowest_of is not None and self.lowest_of not in self.error_per_row:
            raise SettingsError(
                f"there is no curve {self.lowest_of!r} to mark the lowest error of; "
                f"the curves are {', '.join(map(repr, self.error_per_row))}."
            )

    @property
    def lowest(self) -> tuple[float, float] | None:
        """(step, E/n) at the lowest finite error of ``lowest_of``, the first of equals; None without any."""
        if self.lowest_of is None:
            return None
        error = np.asarray(self.error_per_row[self.lowest_of], np.float64)
        if not np.isfinite(error).any():
            return None
        at = int(np.argmin(np.where(np.isfinite(error), error, np.inf)))
        return float(self.steps[at]), float(error[at])

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, y: Any = None, *, ax: Any = None, **plot_kw: Any
    ) -> Self:
        """Draw ``estimator.path_`` as it was recorded; X and y are accepted for the convention and not used.

        The lowest error of the first watched rows is marked, those that stopping looked at.
        """
        path = estimator.path_
        curves = {"training": np.asarray(path.error) / path.n_rows}
        curves |= {name: np.asarray(error) / path.watched_rows[name] for name, error in path.watched.items()}
        display = cls(np.asarray(path.steps), curves, lowest_of=next(iter(path.watched), None))
        return display.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        color: Any = INK,
        accent: Any = ACCENT,
        line_kw: Mapping[str, Any] | None = None,
        lowest_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw into ``ax``: in ``accent`` the curve whose lowest point is marked, the others in ``color``."""
        ax = axes_or_new(ax)
        dashes = itertools.cycle([(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))])
        self.lines_ = {}
        for name, error in self.error_per_row.items():
            label = (
                name if not name.startswith("_") else f" {name}"
            )  # matplotlib hides labels with "_" in front
            style: dict[str, Any] = {"linewidth": 1.5, "label": label, "color": color}
            style |= {"color": accent} if name == self.lowest_of else {"linestyle": next(dashes)}
            (self.lines_[name],) = ax.plot(self.steps, error, **{**style, **(line_kw or {})})
        self.lowest_ = None
        if self.lowest is not None and self.lowest_of is not None:
            style = {"color": self.lines_[self.lowest_of].get_color(), "marker": "o", "markersize": 7}
            style |= {"linestyle": "", "zorder": 4, "label": f"lowest {self.lowest_of}"}
            (self.lowest_,) = ax.plot(*([value] for value in self.lowest), **{**style, **(lowest_kw or {})})
        _logarithmic(ax, np.concatenate([np.zeros(0), *map(np.ravel, self.error_per_row.values())]))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("step")
        ax.set_ylabel("error per row, E/n")
        if len(self.error_per_row) > 1:
            for text in ax.legend(frameon=False, loc="upper right").get_texts():
                text.set_parse_math(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _logarithmic(ax: Any, errors: np.ndarray) -> None:
    """A logarithmic axis with labels that can be read whether E spans ten decades or a tenth of one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    positive = errors[np.isfinite(errors) & (errors > 0)]
    if not positive.size:
        return  # nothing a logarithm could show
    # What was drawn into the same Axes before, by another Display, counts too.
    low, high = min(positive.min(), ax.dataLim.minposy), max(positive.max(), ax.dataLim.y1)
    decades = float(np.log10(high) - np.log10(low))
    if decades > 100:  # a descent that went up until floats end: matplotlib's margin would pass them
        ax.set_ylim(low, high)
    ax.set_yscale("log", nonpositive="mask")
    if decades < 0.02:  # a flat curve: give it room, or its rounding becomes a mountain
        ax.set_ylim(low / 1.5, high * 1.5, auto=True)
        decades = 0.36
    subs = next(subs for least, subs in _SUBDIVISIONS if decades > least)
    ax.yaxis.set_major_locator(
        LogLocator(subs=subs, numticks=9) if subs else MaxNLocator(5, steps=[1, 2, 5, 10])
    )
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _decade_label(value)))


def _decade_label(value: float) -> str:
    """0.02, 300 near one; 2·10⁻⁷ far from it."""
    if value <= 0:
        return ""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    if -4 < exponent < 4:
        return f"{value:.6g}"
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    mantissa = f"{value / 10.0**exponent:.3g}"
    return power if mantissa == "1" else f"{mantissa}·{power}"
