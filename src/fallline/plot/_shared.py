"""What pictures are made of: two colours, room, legends, samples of rows, logarithmic axes.

Ink for what is measured, one accent for what it is compared with. The accent differs from ink in lightness
too, so that the pair survives colour blindness and a black-and-white printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.words import label

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

INK = "#262626"
ACCENT = "#0b62b0"
MUTED = "#7a7a7a"

_EXTREMES = 10
LEGEND = 9  # points
_COLUMNS = 2000  # no picture is so many pixels wide

# Beyond so many decades, a label at these multiples of each power of ten; none: at round numbers.
_SUBDIVISIONS: list[tuple[float, list[float]]] = [
    (3.0, [1]),
    (1.7, [1, 3]),
    (0.8, [1, 2, 5]),
    (0.35, [1, 1.5, 2, 3, 4, 6, 8]),
    (-1.0, []),
]


def room_of(ax: Any, **shape: Any) -> Any:
    """The room of one Axes as a grid of that ``shape`` for others; the Axes itself is no longer seen."""
    from matplotlib.gridspec import GridSpec

    ax.set_axis_off()
    place = ax.get_subplotspec()
    if place is not None:
        return place.subgridspec(**shape)
    box = ax.get_position()
    return GridSpec(**shape, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1, figure=ax.figure)


def legend_above(ax: Any, *handles: Any) -> Any:
    """The names in rows above the Axes, where they cover nothing, as many in a row as there is room for; or None."""
    if handles:
        names = [handle.get_label() for handle in handles]
    else:
        handles, names = ax.get_legend_handles_labels()
    if not names:
        return None
    columns = columns_for(ax, names, 1.15)  # a scale beside a map adds to the room
    legend = ax.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize=LEGEND,
        frameon=False, borderaxespad=0.2, handlelength=2.0, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    no_wider_than(ax, legend)
    return legend


def no_wider_than(ax: Any, artist: Any) -> None:
    """Let a layout give room above the Axes, but not make them narrow for what reaches further to the right than they do."""
    from matplotlib.transforms import Bbox

    whole = artist.get_tightbbox

    def tight(renderer: Any = None) -> Any:
        box, own = whole(renderer), ax.bbox
        return Bbox.from_extents(max(box.x0, own.x0), box.y0, max(min(box.x1, own.x1), own.x0), box.y1)

    artist.get_tightbbox = tight


def columns_for(ax: Any, names: Sequence[str], more: float = 1.0) -> int:
    """In how many columns the names of a legend fit into the width of the Axes, or ``more`` times it."""
    # Letters are about half as wide as high; a piece of line takes eight.
    room = more * 72 * ax.get_position().width * ax.figure.get_figwidth() / (0.5 * LEGEND)
    for columns in range(len(names), 1, -1):
        parts = np.array_split(np.array([len(name) + 8 for name in names]), columns)
        if sum(int(part.max()) for part in parts) <= room:
            return columns
    return 1


def one_target(y_true: ArrayLike, y_pred: ArrayLike, output: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) values and predictions of one target; ``output`` chooses it where there are several, (n, k)."""
    y, prediction = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if prediction.ndim == 2 and prediction.shape[1] == 1:
        prediction = prediction[:, 0]
    if y.shape != prediction.shape or y.ndim not in (1, 2):
        raise ShapeError(
            f"y_true has shape {y.shape} and y_pred {prediction.shape}; expected the same shape, "
            "(n,) or (rows, targets)."
        )
    if y.ndim == 1:
        return y, prediction
    if output is None or not 0 <= output < y.shape[1]:
        raise SettingsError(
            f"output={output} chooses none of the {y.shape[1]} targets; a Display shows one: "
            f"pass output=0 to output={y.shape[1] - 1}."
        )
    return y[:, output], prediction[:, output]


def sample_of(actual: np.ndarray, predicted: np.ndarray, at_most: int | None) -> np.ndarray:
    """Indices, ascending, of the points to draw: all finite ones, or a fixed sample of ``at_most`` of them.

    The sample always holds the ten smallest and ten largest actual values, predictions and residuals: an
    outlier must not vanish by chance.
    """
    residual = actual - predicted
    finite = np.flatnonzero(np.isfinite(residual))
    if at_most is None or finite.size <= at_most:
        return finite
    keep = [
        finite[np.argsort(values[finite], kind="stable")[part]]
        for values in (actual, predicted, residual)
        for part in (slice(None, _EXTREMES), slice(-_EXTREMES, None))
    ]
    extremes = np.unique(np.concatenate(keep))
    others = np.setdiff1d(finite, extremes, assume_unique=True)
    drawn = np.random.default_rng(0).choice(others, max(at_most - extremes.size, 0), replace=False)
    return np.sort(np.concatenate([extremes, drawn]))


def envelope(values: np.ndarray, columns: int = _COLUMNS) -> np.ndarray:
    """Indices, ascending, of the points to draw of a curve (m,): all, or of each column of pixels what shows there.

    That is the first and the last value, the lowest and the highest, and a gap where values are not finite: the
    picture is the same, and no spike is lost.
    """
    n = len(values)
    if n <= 4 * columns:
        return np.arange(n)
    column = np.arange(n) * columns // n
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], n) - 1
    finite = np.where(np.isfinite(values), values, np.nan)  # NaN is sorted to the end, below
    rising, falling = np.lexsort((finite, column)), np.lexsort((-finite, column))
    return np.unique(np.concatenate([first, last, rising[first], falling[first], rising[last]]))


def logarithmic(ax: Any, *curves: ArrayLike, ticks: int = 9) -> None:
    """A logarithmic axis for these values, with at most so many labels; it can be read over ten decades and a tenth of one."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = np.concatenate([np.zeros(0), *(np.ravel(np.asarray(curve, np.float64)) for curve in curves)])
    positive = values[np.isfinite(values) & (values > 0)]
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
    locator: Any = LogLocator(subs=subs, numticks=ticks) if subs else MaxNLocator(5, steps=[1, 2, 5, 10])
    if decades > 100:  # matplotlib's looks for labels beyond the ends of the axis, where floats end
        powers = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
        locator = FixedLocator((10.0 ** powers[:: -(-len(powers) // ticks)]).tolist())
    ax.yaxis.set_major_locator(locator)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: decade_label(value)))


def decade_label(value: float) -> str:
    """0.02, 300 near one; 2·10⁻⁷ far from it."""
    return label(value, 6 if 1e-3 <= value * (1 + 1e-9) < 1e4 else 3) if value > 0 else ""


def labelled(name: str) -> str:
    """A name as a label that is seen: matplotlib hides those with "_" in front."""
    return f" {name}" if name.startswith("_") else name
