"""What is kept of a fit: the model file and the report."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fallline
from fallline.cli import sentences
from fallline.cli.class_fit import told_by_classes
from fallline.cli.outputs import written_out
from fallline.cli.rows import BY_NUMBER, StreamedPrepared, column_lines
from fallline.cli.table_fit import TableFit
from fallline.descent import words_of
from fallline.files import holds
from fallline.model_file import SavedModel, fingerprint
from fallline.report import FitReport, RowSet, figures, is_report
from fallline.table.classes import class_names
from fallline.words import listed, written


def saved_of(
    fit: TableFit, command: str, seed: int, table: Path | None = None, model: Path | None = None
) -> SavedModel:
    """The model file of a fit; the paths of the table and of the file itself say where to find the rows again."""
    curve = {"step": fit.path.steps, "training": fit.path.error, **fit.path.watched}
    told = about(fit, command, seed, table, model)
    return SavedModel(fit.fitted, fit.prepared.columns, curve, told, fit.path, fit.intervals)


def about(
    fit: TableFit, command: str, seed: int, table: Path | None = None, model: Path | None = None
) -> dict[str, Any]:
    """What a model file says of its making, as JSON allows: the same fit gives the same words."""
    path, prepared = fit.path, fit.prepared
    source: dict[str, Any] = {"holdout": prepared.holdout, "rows": prepared.rows}
    if prepared.holdout != 0:
        source["rows"] += prepared.held_rows
    if isinstance(prepared, StreamedPrepared):
        source["divided"] = BY_NUMBER
    places = {"table": str(table)} if table is not None else {}
    if table is not None and model is not None:
        # Relative: an absolute path is nobody's business, and projects move.
        places["from_model"] = Path(os.path.relpath(table.resolve(), model.parent.resolve())).as_posix()
    source |= {
        name: place for name, place in places.items() if written_out(place) == place
    }  # what is not UTF-8 is lost
    told = {"starts": sentences.starts(fit), "verdict": sentences.verdict(fit), "matters": sentences.matters(fit)}
    told["alone"] = _alone(fit)
    told["comparison"] = " ".join(filter(None, sentences.comparisons(fit)))
    return {
        "command": command,
        "table": prepared.name,
        "source": source,
        "rows": sentences.fitted_on(fit),
        "read": prepared.notes,
        "reading": prepared.reading,
        "figures": {rowset.name: figures(rowset) for rowset in fit.rowsets},
        "descent": words_of(path.descent),
        "alpha": path.alpha,
        "decay": sentences.decay(fit),
        "steps": path.n_steps,
        "passes": path.n_passes,
        "stop": sentences.stop(fit),
        "seed": seed,
        "versions": versions(),
        **{name: words for name, words in told.items() if words},
    }


def _alone(fit: TableFit) -> str:
    """How far off the one network of a combination is that `fallline export --single` writes; "" where there is only one."""
    held, fitted = fit.rowsets[-1], fit.fitted
    if (
        not fitted.parts
        or fitted.alone().network == fitted.network
        or not isinstance(held, RowSet)
        or held.name != "held-out"
    ):
        return ""
    off = [
        np.sqrt(np.mean((held.actual - found) ** 2, axis=0))
        for found in (fitted.alone().predict(fit.prepared.held_x), held.predicted)
    ]
    pairs = zip(fit.prepared.columns.targets, *off, strict=True)
    errors = listed(f"{target} {written(one)} (all combined: {written(all_)})" for target, one, all_ in pairs)
    return f"By itself it has an RMSE of {errors} on the {held.held}."


def report_of(fit: TableFit, command: str, facts: Sequence[tuple[str, str]] = ()) -> FitReport:
    """All that the report says of a fit; ``facts`` are added to its own."""
    path, columns = fit.path, fit.prepared.columns
    way = {
        "Classes": told_by_classes(fit.prepared),
        "Verdict": sentences.verdict(fit),
        "Starts": sentences.starts(fit),
        "Weight decay": re.sub("^chosen", "Chosen", sentences.decay(fit)),
        "Effort": sentences.effort(fit),
    }
    without = [f"Interrupted after the descent: without {listed(fit.left_out)}."] if fit.left_out else []
    names = fit.fitted.alone().network.weight_names(fit.path.input_names)
    made = "" if fit.intervals is None else fit.intervals.says(names)
    # What a fit held out inside is no set of rows of the report.
    watched = {rows.name: path.watched[rows.name] for rows in fit.rowsets if rows.name in path.watched}
    return FitReport(
        title=f"{', '.join(columns.targets)} from {fit.prepared.name}",
        command=command,
        targets=columns.targets,
        rowsets=fit.rowsets,
        columns=column_lines(columns, fit.prepared.notes),
        network=sentences.network(fit),
        descent=sentences.descent(fit),
        steps=path.steps,
        training_error=path.error,
        watched_error=watched,
        stop=sentences.stop(fit),
        fitted_on=sentences.fitted_on(fit),
        way=tuple((what, words) for what, words in way.items() if words),
        intervals=f"{sentences.intervals(fit)} {made}".strip(),
        facts=(*facts, *versions().items()),
        notes=(*fit.prepared.said, *columns.doubts, *((sentences.stop(fit),) if fit.ended_badly else ()), *without),
        comparisons=sentences.comparisons(fit),
        curves=fit.curves,
        importance=None if fit.influence is None else fit.influence.importance,
        importance_of="" if fit.influence is None else fit.influence.of,
        effects=() if fit.influence is None else fit.influence.effects,
        sensitivity=None if fit.influence is None else fit.influence.sensitivity,
        steep=() if fit.influence is None else fit.influence.steep,
        surface=fit.surface(),
        classes=class_names(columns.classes) if columns.classes else (),
    )


def other_report(model: Path) -> tuple[str, ...]:
    """A sentence where the report beside a model file is of another fit: one of them was made when the other could not be."""
    report = model.with_suffix(".html")
    if not is_report(report) or holds(report, fingerprint(model).encode()):
        return ()
    return (f"The report {report.name} beside {model.name} is of another fit: fit again, or take it away.",)


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    return {"fallline": fallline.__version__, "numpy": np.__version__, "python": platform.python_version()}
