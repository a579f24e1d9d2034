"""What maps over a plane of weights have in common: the ground, ways and dots on it, the scale beside it, words under it.

The ground is light in the valley and dark on the heights, and the same in greys. Ways differ in colour, in marker and in
dashes; a white halo keeps them in sight on any ground.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fallline.plot._shared import no_wider_than
from fallline.words import label

# From the floor of a valley to the heights; each darker than the one before.
GROUND = ("#fdfdf9", "#e6ebee", "#c3ced7", "#94a6b5", "#62788b", "#384c60", "#17222f")
NO_GROUND = "#0b1016"  # where the error is not a finite number

# After Okabe and Ito, so that they stay apart for the colour-blind, and dark after light, for a printer without colours.
WAYS: tuple[tuple[str, str, Any], ...] = (
    ("#d55e00", "o", "-"),
    ("#0a4a8f", "s", (0, (5, 1.5))),
    ("#1aa37a", "^", (0, (1.5, 1))),
    ("#8e2f7a", "D", (0, (6, 1.5, 1.5, 1.5))),
    ("#262626", "v", (0, (9, 2))),
)

_LARGEST_ASPECT = 3.0  # of a map that is drawn to scale: a longer one would be a strip
_BESIDE = 0.03  # of its width, between a map and its scale
_APART, _WIDE = 0.12, 0.15  # inches: the same, and how wide the scale is
_NARROW = 3.0  # inches
_LETTER = 0.5  # of a letter's height: its width, on average
_HALF_A_TICK = 0.35
_NOTHING = 1e-24  # of the largest error: a sum of squares that is rounding only


def ground(bands: int) -> Any:
    """One colour for each band, the lowest the lightest."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ground", GROUND, N=max(bands, 2))


def halo(ax: Any, points: np.ndarray, width: float, zorder: float) -> Any:
    """A white line under one of this width: marks have none, or many small steps would become a white stripe."""
    return ax.plot(
        *points.T, color="white", linewidth=width + 2.0, zorder=zorder, label="_halo", solid_joinstyle="round"
    )


def black_dot(ax: Any, points: Any, *, hollow: bool = False, **style: Any) -> Any:
    """Dots at (k, 2) points, black for the minimum, hollow for minima that are not the lowest; a Line2D."""
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    look: dict[str, Any] = {
        "linestyle": "", "marker": "o", "markersize": 8, "zorder": 6, "color": "black",
        "markerfacecolor": "white" if hollow else "black", "markeredgecolor": "black" if hollow else "white",
        "markeredgewidth": 1.6 if hollow else 0.8,
    }  # fmt: skip
    (line,) = ax.plot(x, y, **{**look, **style})
    return line


def framed(ax: Any, first: np.ndarray, second: np.ndarray, aspect: float | None) -> None:
    """The limits of the map; to scale where the directions are at right angles and it would not become a strip."""
    ax.set_xlim(first[0], first[-1])
    ax.set_ylim(second[0], second[-1])
    narrow = ax.get_position().width * ax.figure.get_figwidth() < _NARROW
    ax.locator_params(axis="x", nbins=4 if narrow else 6, steps=[1, 2, 4, 5, 10])
    ax.locator_params(axis="y", nbins=6, steps=[1, 2, 4, 5, 10])
    if aspect is None:
        return
    shape = (second[-1] - second[0]) * aspect / (first[-1] - first[0])
    if 1 / _LARGEST_ASPECT <= shape <= _LARGEST_ASPECT:
        ax.set_aspect(aspect, adjustable="box")


def hatched(ax: Any, first: np.ndarray, second: np.ndarray, **look: Any) -> Any:
    """The whole map hatched, under everything else."""
    from matplotlib.patches import Rectangle

    corner, size = (first[0], second[0]), (np.ptp(first), np.ptp(second))
    return ax.add_patch(Rectangle(corner, *size, hatch="////", linewidth=0.0, zorder=0, **look))


def round_ticks(levels: np.ndarray, count: int = 6) -> np.ndarray:
    """Round numbers between levels (m,), about evenly spread over the bands, however unevenly these are spaced.

    Near the floor of a valley levels may differ in the fifth digit; there, a number has as many as it takes.
    """
    levels = np.where(np.abs(levels) <= _NOTHING * abs(levels[-1]), 0.0, levels)
    places = np.linspace(0, len(levels) - 1, max(min(count, len(levels)), 2))
    reach = _HALF_A_TICK * float(places[1])
    bands = np.arange(len(levels))
    ends = [np.interp([at - reach, at + reach], bands, levels) for at in places]
    return np.unique([_roundest(float(low), float(high)) for low, high in ends])


def _roundest(low: float, high: float) -> float:
    """The roundest number in [low, high], 0 ≤ low: a power of ten, 5, 2 or 3 times one, or as few digits as it takes."""
    if low <= 0:
        return 0.0
    for first in (1.0, 5.0, 2.0, 3.0):
        value = float(f"{first}e{math.floor(math.log10(high / first))}")
        if value >= low:
            return value
    power = math.floor(math.log10(high))
    for step in (first * 10.0 ** (power - digit) for digit in range(16) for first in (1.0, 0.5, 0.2)):
        value = math.floor(high / step) * step
        if step > 0 and value >= low:
            return float(f"{value:.15g}")
    return (low + high) / 2


def scale_beside(ax: Any, contours: Any, levels: np.ndarray, name: str) -> Any:
    """The colour bar of a map, as high as the map, at round numbers."""
    ticks = round_ticks(levels)
    bar = ax.figure.colorbar(contours, ax=ax, fraction=0.06, pad=_BESIDE, spacing="uniform", aspect=25)
    bar.set_ticks(ticks, labels=[label(tick, 15) for tick in ticks])
    bar.ax.minorticks_off()
    bar.set_label(name)
    bar.outline.set_linewidth(0.6)
    ax.set_anchor("C")
    bar.ax.set_axes_locator(_AsHighAs(ax, bar.ax.get_axes_locator()))
    return bar


class _AsHighAs:
    """Where a colour bar stands: matplotlib gives it the room of its map, and a map to scale does not fill that."""

    def __init__(self, of: Any, locator: Any) -> None:
        self._of, self._locator = of, locator

    def __call__(self, ax: Any, renderer: Any) -> Any:
        from matplotlib.transforms import Bbox

        room = self._locator(ax, renderer)
        ax.set_box_aspect(None)  # a layout sets it anew each time
        self._of.apply_aspect()
        map_, inch = self._of.get_position(), 1 / self._of.figure.get_figwidth()
        left = min(room.x0, map_.x1 + _APART * inch)
        return Bbox.from_bounds(left, map_.y0, _WIDE * inch, map_.height)

    def get_subplotspec(self) -> Any:
        return self._locator.get_subplotspec()


def lines_of(text: str, ax: Any, size: float) -> str:
    """A text in lines as long as the Axes are wide, for letters of ``size`` points."""
    width = 72 * ax.get_position().width * ax.figure.get_figwidth()
    return textwrap.fill(text, max(int(width / (_LETTER * size)), 24))


def said_under(ax: Any, text: str, **style: Any) -> Any:
    """A few lines of small text under the name of the horizontal axis."""
    look: dict[str, Any] = {"fontsize": 8, "color": "#555555", "ha": "center", "va": "top", **style}
    said = ax.annotate(
        lines_of(text, ax, look["fontsize"]), (0.5, 0.0), xycoords=ax.xaxis.label, xytext=(0, -4),
        textcoords="offset points", annotation_clip=False, parse_math=False, **look,
    )  # fmt: skip
    no_wider_than(ax, said)
    return said


def errors_in_words(errors: Iterable[float], largest: float) -> str:
    """ "0.5", "0.5 and 0.8", "0.5 to 0.9"; 0 for what is rounding beside the largest error."""
    told: Sequence[str] = list(
        dict.fromkeys(label(0.0 if error <= _NOTHING * largest else error) for error in sorted(errors))
    )
    return " and ".join(told) if len(told) < 3 else f"{told[0]} to {told[-1]}"


def on_map(at: np.ndarray, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a point (2,) lies on the map."""
    return bool(first[0] <= at[0] <= first[-1] and second[0] <= at[1] <= second[-1])
