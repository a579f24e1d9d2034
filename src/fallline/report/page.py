"""What the page of a report says: the numbers, once, and the sentences and pictures made of them.

`numbers` is what the page holds for machines, as JSON; everything visible is written from that same dict or
drawn from the same arrays. How it looks is ``report.css``, where it stands is ``report.html.jinja``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from fallline.plot import (
    EffectDisplay,
    ErrorCurveDisplay,
    ErrorSurfaceDisplay,
    ImportanceDisplay,
    OneInputFitDisplay,
    PredictedActualDisplay,
    ResidualHistogramDisplay,
    ResidualsDisplay,
    SensitivityDisplay,
)
from fallline.plot._map import round_ticks
from fallline.report import NAMES, ClassRows, FitReport, RowSet, best_of, classes, figures, pictures
from fallline.words import UNDEFINED, counted, label, listed, percent, shortened, written, written_share

if TYPE_CHECKING:
    from fallline.landscape.surface import Surface
    from fallline.sure.effects import Effect
    from fallline.sure.importance import Importance
    from fallline.sure.sensitivities import Sensitivity

POINTS = 1500
"""Points drawn in one picture, at most: more would be a larger file and a blacker blot."""
_FEW_POINTS = 300  # in a picture of slopes, of which there are several
STEPS = 1000
"""Steps of the error curve kept in the page, at most."""
FARTHEST = 8
"""Rows with the largest residuals that are named, at most."""
_WIDE = 440.0  # a picture beside text
_INKS = {"color": pictures.INK, "accent": pictures.ACCENT}


def render(report: FitReport) -> str:
    """The report as one HTML document."""
    said = numbers(report)
    judged = report.rowsets[-1]
    if isinstance(judged, ClassRows):
        of_classes, panels = _class_figures(report, judged, said), [classes.panel(report, judged)]
    else:
        of_classes, panels = None, [_panel(report, judged, j) for j in range(len(report.targets))]
    style, script = _shipped("report.css"), _shipped("report.js")
    return _template().render(
        report=report,
        said=said,
        judged=said["rowsets"][-1],
        held=judged.held if isinstance(judged, RowSet) else counted(judged.rows, f"{judged.name} row"),
        summaries=[] if of_classes else [summary(said, j) for j in range(len(report.targets))],
        of_classes=of_classes,
        class_small_print=classes.SMALL_PRINT,
        curve=_curve_picture(said),
        mountain=None if report.surface is None else _mountain(report.surface),
        panels=panels,
        curves=[_fitted_curve(display, j) for j, display in enumerate(report.curves)],
        influences=[_influence(report, j) for j in range(len(report.targets))] if report.importance else [],
        slopes=[_slopes(report, said, j) for j in range(len(report.targets))] if report.sensitivity else [],
        names=NAMES,
        machine=_json(said),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def numbers(report: FitReport) -> dict[str, Any]:
    """The numbers of the report, ready for JSON: figures of every row set and target, and the error curve.

    Errors of the curve are per row, E/n, in scaled units; beyond `STEPS` steps every so-manyeth is kept, with
    the first, the last and the lowest of each curve. What is not finite is None.
    """
    counts = {rowset.name: rowset.rows for rowset in report.rowsets}
    training = "training" if "training" in counts else report.rowsets[0].name
    errors = {training: report.training_error, **report.watched_error}
    per_row = {name: np.asarray(error, np.float64) / max(counts[name], 1) for name, error in errors.items()}
    watched = [name for name in report.watched_error if np.isfinite(per_row[name]).any()]
    last = report.rowsets[-1]
    judged = last.name
    lowest_of = judged if judged in watched else watched[0] if watched else None
    kept = _kept(list(per_row.values()), len(report.steps))
    steps = np.asarray(report.steps)
    display = ErrorCurveDisplay(steps, per_row, lowest_of)
    return {
        "title": report.title,
        "targets": list(report.targets),
        "rowsets": [
            {"name": rowset.name, "rows": rowset.rows, "figures": figures(rowset)} for rowset in report.rowsets
        ],
        "best": [None if last.name == "training" else best_of(of) for of in figures(last)],
        "farthest": [farthest(last, j) for j in range(len(report.targets))],
        "importance": None if report.importance is None else _importance_numbers(report.importance),
        "sensitivity": None if report.sensitivity is None else _sensitivity_numbers(report.sensitivity),
        "curve": {
            "all_steps": int(steps.size),
            "steps": [int(step) for step in steps[kept]],
            "error_per_row": {
                name: [float(e) if np.isfinite(e) else None for e in error[kept]] for name, error in per_row.items()
            },
            "lowest": None
            if display.lowest is None
            else {"of": lowest_of, "step": int(display.lowest[0]), "error_per_row": display.lowest[1]},
        },
        "columns": [list(column) for column in report.columns],
        "network": report.network,
        "descent": report.descent,
        "stop": report.stop,
        "command": report.command,
        "notes": list(report.notes),
    }


def _class_figures(report: FitReport, judged: ClassRows, said: dict[str, Any]) -> str:
    """The figures of a classifier, as HTML."""
    return _template("classes.html.jinja").render(
        target=report.targets[0],
        classes=report.classes,
        rowsets=said["rowsets"],
        summary=classes.summary(said, judged),
        confusion=classes.confusion(judged, report.classes),
        judged=counted(judged.rows, f"{judged.name} row"),
    )


def farthest(rowset: RowSet | ClassRows, target: int) -> dict[str, Any]:
    """The rows that lie furthest from their prediction, the furthest first, and the size of a typical residual: their median.

    ``rows``: dicts of ``row`` (its number in the table, from 1), ``actual``, ``predicted``, ``residual`` and ``times``, how
    many typical residuals that is. None of them of classes, or where the rows have no numbers; ``times`` is None where most
    fit exactly.
    """
    if isinstance(rowset, ClassRows) or rowset.numbers is None:
        return {"typical": None, "rows": []}
    actual, predicted = (np.asarray(each[:, target], np.float64) for each in (rowset.actual, rowset.predicted))
    residual = actual - predicted
    finite = np.flatnonzero(np.isfinite(residual))
    if not finite.size:
        return {"typical": None, "rows": []}
    typical = float(np.median(np.abs(residual[finite])))
    order = finite[np.argsort(-np.abs(residual[finite]), kind="stable")[:FARTHEST]]
    named = ("row", "actual", "predicted", "residual", "times")
    return {
        "typical": typical,
        "rows": [
            dict(
                zip(
                    named,
                    (
                        int(rowset.numbers[i]), float(actual[i]), float(predicted[i]), float(residual[i]),
                        abs(float(residual[i])) / typical if typical > 0 else None,
                    ),
                    strict=True,
                )
            )
            for i in order
        ],
    }  # fmt: skip


def _importance_numbers(importance: Importance) -> dict[str, Any]:
    mean, std = importance.mean, importance.std
    return {
        "rows": importance.rows,
        "repeats": len(importance.rises),
        "columns": {
            name: {"rise_of_rmse": mean[i].tolist(), "std": std[i].tolist()} for i, name in enumerate(importance.names)
        },
    }


def _sensitivity_numbers(sensitivity: Sensitivity) -> dict[str, Any]:
    """Slopes by column, a number for each target; None where a column is missing in every row."""
    parts = {name: getattr(sensitivity, name) for name in ("mean", "low", "high", "rising")}
    return {
        "rows": len(sensitivity.at),
        "share": sensitivity.share,
        "columns": {
            column: {name: [_finite(value) for value in part[i].tolist()] for name, part in parts.items()}
            for i, column in enumerate(sensitivity.names)
        },
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def summary(said: dict[str, Any], target: int) -> str:
    """One sentence on how good the fit of one target is, beside ridge regression where there is one."""
    judged = said["rowsets"][-1]
    of = judged["figures"][target]
    network = of["network"]
    if network["rmse"] is None:
        return f"The network's error on the {judged['name']} rows is not defined."
    rows = counted(judged["rows"], f"{judged['name']} row")
    sentence = f"On {rows} the root mean square error of the network is {written(network['rmse'])}"
    others = {NAMES[name]: of[name] for name in ("ridge", "boosting") if of.get(name) and of[name]["rmse"] is not None}
    if not others:
        return f"{sentence}, R²\u00a0{written_share(network['r2'])}."
    beside = listed(f"that of {name} {written(each['rmse'])}" for name, each in others.items())
    shares = listed(written_share(each["r2"]) for each in others.values())
    return f"{sentence}, {beside}; R²\u00a0{written_share(network['r2'])} against {shares}."


def _panel(report: FitReport, rowset: RowSet, j: int) -> dict[str, Any]:
    """The pictures of one target: for each its title, the sentence that says what is seen, and the SVG."""
    actual, predicted = (np.asarray(each[:, j], np.float64) for each in (rowset.actual, rowset.predicted))
    ends = (None if end is None else np.asarray(end[:, j], np.float64) for end in (rowset.low, rowset.high))
    placeholder = f"fallline-target-{j}-name"
    points = PredictedActualDisplay(actual, predicted, placeholder, *ends)
    residuals = ResidualsDisplay(actual, predicted, placeholder)
    histogram = ResidualHistogramDisplay.of(actual, predicted, placeholder)
    residual = residuals.residual[np.isfinite(residuals.residual)]
    seen = _seen(residual, rowset.held)
    if points.low is not None and points.high is not None and residual.size:
        inside = np.mean((points.low <= actual) & (actual <= points.high))
        bars = f"Bars are 95 % intervals; those that meet the line hold the row, {100 * inside:.1f} % of all."
        seen = (f"{seen[0]} {bars}", *seen[1:])
    thinned, sample = {"at_most": POINTS}, ""
    if residual.size > POINTS:
        sample = f" Drawn: a fixed sample of {POINTS:,} of {residual.size:,} rows, with all extremes."
    kinds: list[tuple[str, Any, dict[str, Any], str]] = [
        ("Predicted against actual", points, thinned, sample),
        ("Residuals", residuals, thinned, sample),
        ("Residuals, counted", histogram, {}, ""),
    ]
    made = []
    for i, (title, display, style, drawn) in enumerate(kinds):
        name, words = f"picture-{j + 1}-{i + 1}", {placeholder: shortened(report.targets[j])}
        svg = pictures.picture(functools.partial(display.plot, **_INKS, **style), name, 360, 300, words)
        made.append({"name": name, "title": title, "seen": seen[i] + drawn, "svg": svg})
    return {"target": report.targets[j], "pictures": made}


def _fitted_curve(display: OneInputFitDisplay, j: int) -> dict[str, str]:
    """The curve of one target over the only input, with the band of its intervals."""
    words = _Words()
    shown = replace(
        display, feature=words.standing_for(display.feature), target=words.standing_for(display.target or "")
    )

    def draw(ax: Any) -> None:
        shown.plot(ax, at_most=POINTS, **_INKS)
        ax.get_legend().remove()  # it stands above the Axes, and the sentence says the same

    seen = f"Points are the {counted(len(display.x), 'row')} of the fit, the line is the prediction."
    if display.low is not None:
        seen += f" A new row lies within the band with a probability of {100 * display.coverage:g} %."
    name = f"picture-fit-{j + 1}"
    return {"name": name, "seen": seen, "svg": pictures.picture(draw, name, 760, 380, words.shown)}


def _influence(report: FitReport, j: int) -> dict[str, Any]:
    """Which columns matter to one target, and the effects of those that matter most."""
    importance, target = report.importance, report.targets[j]
    assert importance is not None
    words = _Words()
    shown = replace(importance, names=tuple(words.standing_for(name, 24) for name in importance.names))
    display = ImportanceDisplay(shown, j, words.standing_for(target))
    name = f"picture-matters-{j + 1}"
    svg = pictures.picture(
        lambda ax: display.plot(ax, color=pictures.INK, accent=pictures.ACCENT), name, 360, 300, words.shown
    )
    left = len(importance.names) - len(display.shown_)
    seen = (
        f"By how much the RMSE of {report.importance_of} rises where the values of one column are shuffled among them: the mean "
        f"of {len(importance.rises)} shuffles; the line is their standard deviation to either side. Columns that say the same "
        "stand in for each other, so that each alone may matter little."
    )
    seen += f" Not shown: {counted(left, 'column')} that {'matters' if left == 1 else 'matter'} less." if left else ""
    made = [{"name": name, "title": "Each column shuffled", "seen": seen, "svg": svg}]
    made += [_effect(effect, target, j, i) for i, effect in enumerate(report.effects[j])]
    return {"target": target, "pictures": made}


def _effect(effect: Effect, target: str, j: int, i: int) -> dict[str, str]:
    """The effect of one column on one target."""
    words, name = _Words(), f"picture-effect-{j + 1}-{i + 1}"
    at = effect.at
    if at.dtype.kind == "O":
        at = np.array([words.standing_for(name, 24) for name in at], object)
    shown = replace(effect, column=words.standing_for(effect.column), at=at)
    display = EffectDisplay(shown, j, words.standing_for(target, 20))
    svg = pictures.picture(functools.partial(display.plot, **_INKS), name, 360, 300, words.shown)
    seen = "The mean prediction where this column alone changes in every row."
    if i == 0:
        seen += (
            f" The band holds the curves of the middle {percent(effect.share)} of the rows, shifted to one level: where it is "
            "wide, the effect depends on other columns."
        )
    return {"name": name, "title": f"The effect of {effect.column}", "seen": seen, "svg": svg}


def _slopes(report: FitReport, said: dict[str, Any], j: int) -> dict[str, Any]:
    """How steeply the predictions of one target change with each column of numbers."""
    sensitivity, target, found = report.sensitivity, report.targets[j], said["sensitivity"]
    assert sensitivity is not None
    order = report.importance.order(j) if report.importance else np.arange(0)
    ranks = {report.importance.names[i]: rank for rank, i in enumerate(order)} if report.importance else {}
    shown = sorted(found["columns"].items(), key=lambda each: ranks.get(each[0], len(ranks)))
    rows = [{"column": column, **{name: part[j] for name, part in parts.items()}} for column, parts in shown]
    made = []
    for i, c in enumerate(report.steep[j] if report.steep else ()):
        words, name = _Words(), f"picture-slope-{j + 1}-{i + 1}"
        names = tuple(words.standing_for(column, 20) for column in sensitivity.names)
        display = SensitivityDisplay(replace(sensitivity, names=names), c, j, words.standing_for(target, 20))
        svg = pictures.picture(
            functools.partial(display.plot, at_most=_FEW_POINTS, **_INKS), name, 360, 300, words.shown
        )
        seen = "A point per row: the slope there, in units of the target for one unit of the column."
        if i == 0:
            seen += (
                f" The line is the mean of rows of nearly equal value, the band their middle {percent(sensitivity.share)}: "
                "where it is wide, the slope depends on other columns."
            )
        made.append({"name": name, "title": f"The slope along {sensitivity.names[c]}", "seen": seen, "svg": svg})
    return {"target": target, "rows": rows, "pictures": made, "count": found["rows"], "share": percent(found["share"])}


class _Words:
    """Names as placeholders of the same length: a picture is laid out with these, and the page shows the names for them."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}

    def standing_for(self, name: str, letters: int = 28) -> str:
        """The placeholder of a name, which is cut to so many letters."""
        name = shortened(name, letters)
        placeholder = f"§{len(self.shown):03d}".ljust(len(name), "§")
        self.shown[placeholder] = name
        return placeholder


def _seen(residual: np.ndarray, rows: str) -> tuple[str, str, str]:
    """What the three pictures of one target show, a sentence or two each."""
    if not residual.size:
        return ("No row has a prediction that could be drawn.",) * 3
    worst = written(float(residual[np.argmax(np.abs(residual))]), 3)
    mean = written(float(residual.mean()), 3)
    agreement, spread = "", ""
    if residual.size >= 10:
        half = written(float(np.median(np.abs(residual))), 3)
        low, high = (written(float(bound), 3) for bound in np.quantile(residual, [0.05, 0.95]))
        agreement = f" Half of the {rows} lie within {half} of it."
        spread = f" Nine in ten lie between {low} and {high}."
    return (
        f"A point per row; on the line the prediction is exact.{agreement}",
        f"What is left, actual − predicted, over the prediction: above the line the network predicts too little. The largest is "
        f"{worst}.",
        f"How often each size of residual occurs: {rows}, mean {mean}.{spread}",
    )


def _curve_picture(said: dict[str, Any]) -> dict[str, Any] | None:
    curve = said["curve"]
    if not curve["steps"]:
        return None
    placeholders = {name: f"fallline-rows-{i}-name" for i, name in enumerate(curve["error_per_row"])}
    lowest = curve["lowest"]
    display = ErrorCurveDisplay(
        np.array(curve["steps"], np.float64),
        {placeholders[name]: np.array(error, np.float64) for name, error in curve["error_per_row"].items()},
        lowest_of=placeholders[lowest["of"]] if lowest else None,
    )
    words = {placeholder: name for name, placeholder in placeholders.items()}
    svg = pictures.picture(functools.partial(display.plot, **_INKS), "picture-curve", _WIDE, 290, words)
    ends = [f"{name}: from {written(e[0])} to {written(e[-1])}" for name, e in curve["error_per_row"].items()]
    seen = f"The error per row, E/n, on a logarithmic axis, in standardised units; {'; '.join(ends)}."
    if lowest:
        least = written(lowest["error_per_row"])
        seen += f" The lowest {lowest['of']} error, {least}, is at step {lowest['step']:,}."
    if curve["all_steps"] > len(curve["steps"]):
        seen += f" Shown: {len(curve['steps']):,} of {curve['all_steps']:,} steps."
    return {"seen": seen, "svg": svg}


def _mountain(surface: Surface) -> dict[str, Any]:
    """The map of the error, what is seen on it, and the scale beside it: a shade for each band, numbers between them."""
    levels = surface.levels(len(pictures.SHADES)) / surface.n_rows
    bands = len(levels) - 1
    shades = np.linspace(0, len(pictures.SHADES) - 1, bands).round().astype(int)
    axes = "fallline-first-axis", "fallline-second-axis"
    display = ErrorSurfaceDisplay(replace(surface, plane=replace(surface.plane, labels=axes)))
    draw = functools.partial(_draw_mountain, display, [pictures.SHADES[i] for i in shades])
    words = dict(zip(axes, (shortened(each, 44) for each in surface.plane.labels), strict=True))
    svg = pictures.picture(draw, "picture-mountain", _WIDE, _height(surface), words, decimals=1)
    place = display.ax_.get_position()
    ticks = round_ticks(levels, 5)
    places = 100 * np.interp(ticks, levels, np.arange(bands + 1)) / bands
    return {
        "title": f"The {'penalised ' if surface.penalised else ''}error around the way down",
        "seen": _seen_on(surface),
        "svg": svg,
        "left": f"{100 * place.x0:.1f}",
        "width": f"{100 * place.width:.1f}",
        "shades": shades.tolist(),
        "ticks": [(label(tick, 15), f"{at:.1f}") for tick, at in zip(ticks, places, strict=True)],
        "minimum": _lowest_said(surface),
        "fidelity": surface.fidelity,
    }


def _draw_mountain(display: ErrorSurfaceDisplay, shades: list[str], ax: Any) -> None:
    from matplotlib.colors import ListedColormap

    ax.grid(False)
    ax.spines[:].set_visible(True)
    display.plot(
        ax, levels=len(pictures.SHADES), per_row=True, cmap=ListedColormap(shades), colors=[pictures.WAY],
        colorbar=False, legend=False, say_fidelity=False,
    )  # fmt: skip
    if display.lines_of_contours_ is not None:
        display.lines_of_contours_.set(color=pictures.CONTOUR, alpha=1.0)


def _height(surface: Surface) -> float:
    """Units of the picture's height for a map to scale, or for one that is not."""
    aspect = surface.plane.aspect
    shape = 0.0 if aspect is None else np.ptp(surface.second) * aspect / np.ptp(surface.first)
    return float(60 + (_WIDE - 60) * (min(max(shape, 0.5), 1.0) if 1 / 3 <= shape <= 3 else 0.75))


def _seen_on(surface: Surface) -> str:
    """What is seen on the map, and where the way begins and ends."""
    error = "penalised error" if surface.penalised else "error"
    seen = f"The {error} per row over a plane of the weights, in standardised units: darker where it is larger."
    if surface.tracks:
        steps = counted(int(surface.tracks[0].steps[-1]), "step")
        seen += f" The way down, {steps}, begins at the open circle."
    if surface.minimum is not None:
        seen += " The black dot is the lowest point of this plane."
    if not np.isfinite(surface.error).all():
        seen += " Hatched: the error is not a finite number."
    if surface.local_minima:
        one = len(surface.local_minima) == 1
        seen += f" The open black {'dot is a local minimum' if one else 'dots are local minima'} of it."
    return seen


def _lowest_said(surface: Surface) -> str:
    if surface.minimum is None:
        return "None on this map: the error goes on falling towards its edge."
    error = "Penalised error" if surface.penalised else "Error"
    others = len(surface.local_minima)
    more = counted(others, "other local minimum", "other local minima") if others else "no other minimum"
    return f"{error} per row {written(surface.minimum.error / surface.n_rows)}; {more} on this map."


def _kept(curves: list[np.ndarray], steps: int) -> np.ndarray:
    if steps <= STEPS:
        return np.arange(steps)
    every = np.linspace(0, steps - 1, STEPS - len(curves)).astype(int)
    lowest = [int(np.argmin(np.where(np.isfinite(curve), curve, np.inf))) for curve in curves]
    return np.unique(np.concatenate([every, np.array(lowest, int)]))


def _json(said: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in, whatever a column is called; NaN is refused."""
    text = json.dumps(said, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _shipped(name: str) -> str:
    return files("fallline.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _template(name: str = "report.html.jinja") -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"written": written, "share": written_share, "counted": counted}
    environment.globals["undefined_figure"] = UNDEFINED
    return environment.from_string(_shipped(name))
