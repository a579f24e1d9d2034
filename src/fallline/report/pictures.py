"""The pictures of a report: Displays drawn by matplotlib, as SVG that takes its colours and letters from the page.

A picture is drawn in placeholder colours that become CSS variables, so one picture suits light, dark and
paper; text stays text, in the reader's own font. The same numbers give the same SVG, byte for byte.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, ScalarFormatter
from matplotlib.transforms import blended_transform_factory

from fallline.plot._map import NO_GROUND
from fallline.words import minus, power_of_ten

# Colours no picture would choose, each for a role; the page says what colour the role has.
INK, MUTED, ACCENT, RULE, PAPER = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
WAY, CONTOUR = "#101112", "#131415"
# The heights of a map, the lowest first.
SHADES = tuple(f"#{160 + i:02x}0000" for i in range(12))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    WAY: "var(--way)",
    CONTOUR: "var(--contour)",
    # What a map draws in its own colours: halos, dots, and where the error is not a finite number.
    "#ffffff": "var(--halo)",
    "#000000": "var(--dot)",
    "#8a8a8a": "var(--muted)",
    NO_GROUND: "var(--beyond)",
    **{shade: f"var(--height-{i})" for i, shade in enumerate(SHADES)},
}
_LONG = re.compile(r"-?\d+\.\d{3,}")
_PIXEL = 1 / 72  # an SVG of matplotlib has 72 units to the inch
_SIZE = 11.0

_THEME: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fallline",
    "font.family": "DejaVu Sans",  # comes with matplotlib; it only measures here, the page's font is shown
    "font.size": _SIZE,
    "axes.labelsize": _SIZE,
    "xtick.labelsize": _SIZE,
    "ytick.labelsize": _SIZE,
    "legend.fontsize": _SIZE,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.handlelength": 2.2,
}


class _Ticks(Formatter):
    """Labels that stand alone, "5,000" or "−2·10⁶": an exponent at the end of an axis is overlooked."""

    def __call__(self, value: float, position: int | None = None) -> str:
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        largest = max((abs(float(value)) for value in values), default=0.0)
        power = math.floor(math.log10(largest)) if largest > 0 else 0
        if -3 <= power < 5:
            power = 0
        scaled = [float(value) / 10.0**power for value in values]
        decimals = next(d for d in range(9) if d == 8 or all(_fits(value, d) for value in scaled))
        ending = f"·{power_of_ten(power)}" if power else ""
        return ["0" if value == 0 and power else minus(f"{value:,.{decimals}f}") + ending for value in scaled]


def _fits(value: float, decimals: int) -> bool:
    return abs(round(value, decimals) - value) <= 1e-9 * max(1.0, abs(value))


def picture(
    draw: Callable[[Any], Any], name: str, width: float, height: float, words: Mapping[str, str], decimals: int = 2
) -> str:
    """What ``draw`` draws into the Axes it is given, as an inline ``<svg>`` of ``width`` × ``height`` units.

    ``name`` starts every id, so that several pictures live in one page; the elements NAME-title and NAME-seen say what is
    seen. ``words`` maps a placeholder that was drawn to the text that is shown for it, whatever letters or signs it has.
    Coordinates are rounded to so many ``decimals`` of a unit.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the user's own settings: a report looks the same everywhere
        matplotlib.rcParams.update(_THEME)
        figure = Figure(figsize=(width * _PIXEL, height * _PIXEL))
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        ax.locator_params(nbins=5)
        draw(ax)
        _arrange(ax, width, height)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    body = _for_the_page(out.getvalue(), name, words, decimals)
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-seen" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">\n{body}\n</svg>'
    )


def _arrange(ax: Any, width: float, height: float) -> None:
    """Tick labels that stand alone, axis names at the edges, and for the Axes all the room that is left."""
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "linear" and isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.set_major_formatter(_Ticks())  # categories and dates have names of their own
    numbers = isinstance(ax.xaxis.get_major_formatter(), _Ticks)
    if numbers and sum(map(len, _labels(ax.xaxis))) > width / 12:  # long ones would touch
        ax.locator_params(axis="x", nbins=3)
    widest = max(map(len, _labels(ax.yaxis)), default=0)
    left, right, bottom, top = max(46.0, 27 + 0.58 * _SIZE * widest), 12.0, 42.0, 10.0
    ax.set_position((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    ax.set_anchor("W")
    # Placed, not measured: measuring would lay out every tick a second time.
    page, axes = ax.figure.transFigure, ax.transAxes
    ax.xaxis.set_label_coords(0.5, 12 / height, blended_transform_factory(axes, page))
    ax.yaxis.set_label_coords(10 / width, 0.5, blended_transform_factory(page, axes))
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_verticalalignment("center")


def _labels(axis: Any) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    return axis.get_major_formatter().format_ticks([v for v in axis.get_majorticklocs() if low <= v <= high])


def _for_the_page(svg: str, name: str, words: Mapping[str, str], decimals: int) -> str:
    """What stands inside the ``<svg>`` of matplotlib, with ids, colours, words and coordinates as the page wants them."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<title>.*?</title>", "", body, flags=re.DOTALL)
    # matplotlib's style sheet would reach the whole page; report.css has the same, for pictures.
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r"(<g[^>]*)>\s*((?:<use [^>]*/>\s*)+)</g>", _points, body)
    body = re.sub(r"<[^>]*>", lambda tag: _LONG.sub(lambda long: _rounded(long, decimals), tag[0]), body)
    body = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    if words:
        body = re.sub("|".join(map(re.escape, words)), lambda found: html.escape(words[found[0]]), body)
    return re.sub(r"\s*\n\s*", "\n", body).strip()


def _points(group: re.Match[str]) -> str:
    """Points that share one style: said once, by their group; a tenth of a unit is place enough."""
    uses = [dict(re.findall(r'([\w:-]+)="([^"]*)"', use)) for use in re.findall(r"<use [^>]*/>", group[2])]
    places = "".join(
        f'<use href="{use["xlink:href"]}" x="{float(use["x"]):.1f}" y="{float(use["y"]):.1f}"/>' for use in uses
    )
    return f'{group[1]} style="{uses[0]["style"]}">{places}</g>'


def _rounded(number: re.Match[str], decimals: int) -> str:
    return f"{float(number[0]):.{decimals}f}".rstrip("0").rstrip(".")
