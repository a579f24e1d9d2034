"""The report of a fitted curve: its parameters, the curve with its band, what it leaves, and how to do it again.

It looks as the report of a fit does (``report.css``) and is one file as that is. Nothing here fits.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.files import atomic_write
from fallline.plot import OneInputFitDisplay, PredictedActualDisplay, ResidualHistogramDisplay
from fallline.plot.display import DOTS, labels
from fallline.report import page, pictures
from fallline.words import counted

if TYPE_CHECKING:
    from fallline.sure.curve_fit import CurveFit

_LINES = ("-", "--", ":", "-.")
_COLOURS = (pictures.ACCENT, pictures.WAY, pictures.INK)
MOST_GROUPS = len(_LINES) * len(_COLOURS)  # curves in one picture, told apart by colour and kind of line
_GRID = 1001  # points of a curve: enough for a hundred turns


@dataclass(frozen=True, eq=False)
class CurveReport:
    """What the report of a curve says; all texts are plain and are escaped when written.

    rows: the inputs by name, (n,) each, without the groups; y (n,); groups (n,) or None; sigma (n,) or None. ends (p, 2): where
    each parameter is to be found with a probability of 95 %, ``ends_by`` what they are made of.
    """

    title: str
    command: str
    target: str
    fit: CurveFit
    rows: Mapping[str, np.ndarray]
    y: np.ndarray
    ends: np.ndarray
    ends_by: str
    groups: Sequence[str] | None = None
    sigma: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def write_curve_report(report: CurveReport, path: str | Path) -> Path:
    """Write the report to ``path``, whole or not at all, and return the path."""
    path = Path(path)
    atomic_write(path, render_curve_report(report).encode())
    return path


def render_curve_report(report: CurveReport) -> str:
    """The report as one HTML document; the same report gives the same text, byte for byte."""
    fit, script = report.fit, page._shipped("report.js")
    x = np.column_stack(list(report.rows.values()))
    with np.errstate(all="ignore"):
        predicted = fit.predict(x, report.groups)
        made = [_curve(report)] if len(report.rows) == 1 else []
    said = {
        "title": report.title,
        "target": report.target,
        "formula": str(fit.curve.function),
        "parameters": dict(zip(fit.curve.names, map(_number, fit.values), strict=True)),
        "standard_errors": dict(zip(fit.curve.names, map(_number, fit.standard_errors), strict=True)),
        "covariance": [[_number(each) for each in row] for row in fit.covariance],
        "rows": len(report.y),
        "degrees_of_freedom": fit.freedom,
        **{name: _number(getattr(fit, name)) for name in ("noise", "r2", "aic", "bic")},
        "error": _number(fit.path.error[-1]),
        "command": report.command,
        "notes": list(report.notes),
    }
    return page._template("curve.html.jinja").render(
        report=report,
        said=said,
        lines=_lines(report),
        summary=fit.figures_said,
        curves=made,
        pictures=_residuals(report, x, predicted),
        machine=page._json(said),
        style=page._shipped("report.css"),
        script=script,
        script_hash=page._hash(script),
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _lines(report: CurveReport) -> list[tuple[str, ...]]:
    fit = report.fit
    return [
        (name, f"{value:.10g}", *([f"{each:.6g}" for each in (error, low, high)] if free else ["fixed", "", ""]))
        for name, value, error, (low, high), free in zip(
            fit.curve.names, fit.values, fit.standard_errors, report.ends, fit.free, strict=True
        )
    ]


def _curve(report: CurveReport) -> dict[str, str]:
    """The curve over its only input, of each group one, with the band where a new row or, with a σ, the curve is to be found."""
    ((feature, x),), fit = report.rows.items(), report.fit
    groups = None if report.groups is None else np.array(report.groups)
    names = [None] if groups is None else list(fit.curve.groups)  # type: ignore[attr-defined]
    words = page._Words()
    shown_feature, shown_target = words.standing_for(feature), words.standing_for(report.target)
    made = []
    for name in names[:MOST_GROUPS]:
        own = np.ones(len(x), bool) if groups is None else groups == name
        grid = np.linspace(x[own].min(), x[own].max(), _GRID)
        of = None if groups is None else [name] * _GRID
        middle = fit.predict(grid[:, None], of)
        reach = fit.quantile(0.95) * fit.spread(grid[:, None], 1.0 if report.sigma is None else None, of)
        low, high = (middle - reach, middle + reach) if np.isfinite(reach).any() else (None, None)
        display = OneInputFitDisplay(
            grid, middle, x[own], report.y[own], low, high, feature=shown_feature, target=shown_target
        )
        made.append((display, words.standing_for(name, 16) if name is not None else ""))

    def draw(ax: Any) -> None:
        for i, (display, name) in enumerate(made):
            colour = _COLOURS[i % len(_COLOURS)]
            display.plot(
                ax, at_most=page.POINTS // len(made), color=pictures.INK if groups is None else colour, accent=colour
            )
            display.curve_.set_linestyle(_LINES[i // len(_COLOURS)])
            ax.get_legend().remove()
            display.curve_.set_label(name)
        if groups is not None:
            _name_at_their_ends(ax, [(each, name) for each, name in made])

    rows = counted(len(x), "row")
    seen = f"Points are the {rows} of the fit, the line is the curve."
    if groups is not None:
        seen = f"Points are the {rows} of the fit, each line is the curve of a group, named at its right end."
        if len(names) > MOST_GROUPS:
            seen += f" Drawn are the first {MOST_GROUPS} of {len(names)} groups."
    if made[0][0].low is not None:
        what = "A new row" if report.sigma is None else "The curve itself"
        seen += f" {what} lies within the band with a probability of 95 %."
    svg = pictures.picture(draw, "picture-fit", 760, 380, words.shown)
    return {"name": "picture-fit", "title": f"{report.target} over {feature}", "seen": seen, "svg": svg}


def _name_at_their_ends(ax: Any, curves: list[tuple[OneInputFitDisplay, str]]) -> None:
    """The names of the groups at the right of the Axes, each as near to the end of its curve as the others leave room for."""
    left, right = ax.get_xlim()
    ax.set_xlim(left, right + 0.2 * (right - left))
    low, high = ax.get_ylim()
    line, last = 0.055 * (high - low), -np.inf
    ends = [np.nan_to_num(float(display.prediction[-1]), posinf=high, neginf=low) for display, _ in curves]
    for i in np.argsort(ends, kind="stable"):
        display, name = curves[i]
        last = max(min(max(ends[i], low), high), last + line)
        colour, at = display.curve_.get_color(), display.grid[-1]
        ax.annotate(
            name, (at, ends[i]), (right, last), color=colour, va="center", parse_math=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5},
        )  # fmt: skip


def _residuals(report: CurveReport, x: np.ndarray, predicted: np.ndarray) -> list[dict[str, str]]:
    """What the curve leaves: over its input, or over the prediction where it has several, and counted."""
    target, placeholder = report.target, "fallline-target-name"
    left = report.y - predicted
    over, along = ("the prediction", predicted) if x.shape[1] > 1 else (next(iter(report.rows)), x[:, 0])
    words = page._Words()
    across = words.standing_for(over)

    def draw(ax: Any) -> None:
        drawn = np.flatnonzero(np.isfinite(left))[:: max(len(left) // page.POINTS, 1)]
        ax.plot(along[drawn], left[drawn], color=pictures.INK, **DOTS)
        ax.axhline(0.0, color=pictures.ACCENT, linewidth=1.5, zorder=3)
        labels(ax, across, "actual − predicted")

    seen = page._seen(left[np.isfinite(left)], counted(len(left), "row"))
    of_target = {placeholder: page.shortened(target)}
    histogram = ResidualHistogramDisplay.of(report.y, predicted, placeholder)
    points = PredictedActualDisplay(report.y, predicted, placeholder)
    kinds: list[tuple[str, Any, dict[str, str], str]] = [
        ("Residuals", draw, words.shown, f"What is left, actual − predicted, over {over}. A curve that suits leaves no pattern."),
        ("Residuals, counted", functools.partial(histogram.plot, **page._INKS), of_target, seen[2]),
        ("Predicted against actual", functools.partial(points.plot, at_most=page.POINTS, **page._INKS), of_target, seen[0]),
    ]  # fmt: skip
    return [
        {
            "name": f"picture-{i}",
            "title": title,
            "seen": said,
            "svg": pictures.picture(made, f"picture-{i}", 360, 300, shown),
        }
        for i, (title, made, shown, said) in enumerate(kinds)
    ]
