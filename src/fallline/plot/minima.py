"""The minima that many starts end in, as a stair: each step as high as its error, as wide as the starts that end there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import FalllineError, SettingsError
from fallline.plot._shared import ACCENT, INK, MUTED, legend_above, logarithmic
from fallline.plot.display import Display, labels

if TYPE_CHECKING:
    from fallline.landscape.minima import Minima

_WIDE = 0.04  # of all starts: a step for a number; on narrower ones they would touch
_OVER: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points"}
_LOGARITHMIC_FROM = 10.0  # highest to lowest


@dataclass(eq=False)
class MinimaDisplay(Display):
    """A ``Minima``, the lowest first: how high each lies, and how many of the starts end there.

    ``own``: the index of a minimum to mark, such as that of a model, drawn in the accent and labelled ``name``. What is
    shown is what was descended, E or the penalised error. Room on the right is for the starts that ended in no minimum.

    After `plot`: ``ax_``, ``figure_``, ``line_`` (the stair, a Line2D), ``own_`` (Line2D, None without one), ``numbers_`` (the
    texts over the steps that are wide enough).
    """

    minima: Minima
    own: int | None = None
    name: str = "the model"

    def __post_init__(self) -> None:
        count = len(self.minima.minima)
        if not count:
            raise FalllineError("no start ended in a minimum, and there is nothing to draw: take more steps.")
        if self.own is not None and not 0 <= self.own < count:
            raise SettingsError(f"own={self.own!r} is none of the {count} minima: give an index from 0.")

    @property
    def error(self) -> np.ndarray:
        """(k,) what was descended, at each minimum."""
        return np.array([each.penalised_error for each in self.minima.minima])

    @property
    def edges(self) -> np.ndarray:
        """(k + 1,) where the steps begin and end: how many starts lie to the left."""
        return np.cumsum([0, *(each.count for each in self.minima.minima)])

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: the stair in ``color``, the marked minimum in ``accent``."""
        ax = self._into(ax)
        error, edges, starts = self.error, self.edges, len(self.minima.index)
        x, y = np.repeat(edges, 2)[1:-1], np.repeat(error, 2)
        (self.line_,) = ax.plot(x, y, color=color, linewidth=2.0, solid_joinstyle="miter")
        self.own_ = None
        if self.own is not None:
            at, level = edges[self.own : self.own + 2], error[[self.own, self.own]]
            number = f"minimum {self.own + 1}, {self.minima.minima[self.own].count:,} of {starts:,} starts"
            (self.own_,) = ax.plot(
                at, level, color=accent, linewidth=4.0, marker="" if at[1] > at[0] else "o", solid_capstyle="butt",
                label=f"{self.name}: {number}",
            )  # fmt: skip
            legend_above(ax, self.own_)
        penalised = any(each.penalised_error != each.error for each in self.minima.minima)
        ax.set_xlim(0, starts)
        labels(ax, "starts, those of the lowest minimum first", "penalised error" if penalised else "error E")
        if error[0] > 0 and error[-1] > _LOGARITHMIC_FROM * error[0]:
            logarithmic(ax, error)
        ax.margins(y=0.12)
        wide = np.flatnonzero(np.diff(edges) >= _WIDE * starts)
        places = [(edges[at : at + 2].mean(), error[at]) for at in wide]
        self.numbers_ = [
            ax.annotate(str(at + 1), place, ha="center", color=MUTED, **_OVER)
            for at, place in zip(wide, places, strict=True)
        ]
        if edges[-1] < starts:
            lost = starts - int(edges[-1])
            ax.axvspan(edges[-1], starts, facecolor=MUTED, alpha=0.15, linewidth=0)
            ax.annotate(
                f"{lost:,} in none", ((edges[-1] + starts) / 2, 0.5), xycoords=("data", "axes fraction"), ha="center",
                va="center", rotation=90, color=MUTED,
            )  # fmt: skip
        ax.xaxis.get_major_locator().set_params(integer=True)
        return self
