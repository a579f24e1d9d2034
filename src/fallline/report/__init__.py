"""The report of a fit: one HTML file that opens offline, on a phone, in the dark and on paper.

This file is what a report holds and the two verbs, `render_report` and `write_report`. What the page says is
put together in ``page.py``, its pictures are drawn in ``pictures.py`` with the Displays of ``plot/``, its
figures come from ``fit/figures.py``. Nothing here fits, predicts or decides which rows are held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.exceptions import ShapeError
from fallline.files import atomic_write, holds
from fallline.fit.class_figures import class_figures_of
from fallline.fit.figures import figures_of
from fallline.words import counted

if TYPE_CHECKING:
    from fallline.landscape.surface import Surface
    from fallline.plot import OneInputFitDisplay
    from fallline.sure.effects import Effect
    from fallline.sure.importance import Importance
    from fallline.sure.sensitivities import Sensitivity

__all__ = [
    "NAMES",
    "ClassRows",
    "FitReport",
    "RowSet",
    "best_of",
    "figures",
    "is_report",
    "render_report",
    "write_report",
]

NAMES = {"network": "the network", "ridge": "ridge regression", "boosting": "gradient boosting"}
"""What each fit is called in a sentence."""


@dataclass(frozen=True, eq=False)
class RowSet:
    """What was measured and what was predicted on one set of rows, in the target's units.

    ``name`` is what a person calls these rows: "training", "validation", "held-out". ``rows`` is their
    number, n, unless rows carry weights; ``actual``, ``predicted`` and ``ridge`` are (n, k) for k targets.
    ``ridge`` is what ridge regression predicts from the same columns, or None where it was not fitted.
    ``low`` and ``high`` (n, k) are the ends of the 95 % interval of each row, None where there are no intervals.
    ``boosting`` is what gradient boosting predicts, as ``ridge`` does; ``numbers`` (n,) the rows of the table they are, from 1.
    ``exact``: of more rows than can be held, the ``figures`` of all ``rows``; the arrays are then of some drawn at random.
    """

    name: str
    rows: int
    actual: np.ndarray
    predicted: np.ndarray
    ridge: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    boosting: np.ndarray | None = None
    numbers: np.ndarray | None = None
    exact: Sequence[dict[str, Any]] | None = None

    @property
    def held(self) -> str:
        """The rows that the arrays hold, in words."""
        drawn = "" if self.exact is None else " drawn at random"
        return f"{counted(len(self.actual), f'{self.name} row')}{drawn}"

    @property
    def unseen(self) -> bool:
        """Whether no fit has seen the rows that it predicts here."""
        return self.name != "training"

    @property
    def fits(self) -> dict[str, np.ndarray]:
        """The predictions (n, k) of each fit that there is, the network's first."""
        named = {"network": self.predicted, "ridge": self.ridge, "boosting": self.boosting}
        return {name: predicted for name, predicted in named.items() if predicted is not None}


@dataclass(frozen=True, eq=False)
class ClassRows:
    """Which classes one set of rows has, and which probabilities it was given.

    ``name`` and ``rows`` as of ``RowSet``; ``actual`` (n,) is the number of each row's class, ``probabilities`` (n, k) are those
    of the network, ``logistic`` (n, k) those of logistic regression on the same columns, or None where it was not fitted.
    """

    name: str
    rows: int
    actual: np.ndarray
    probabilities: np.ndarray
    logistic: np.ndarray | None = None

    @property
    def unseen(self) -> bool:
        """Whether no fit has seen the rows that it predicts here."""
        return self.name != "training"


@dataclass(frozen=True, eq=False)
class FitReport:
    """Everything the report of one fit says; sentences are plain text and are escaped when written.

    Errors at the m recorded ``steps`` are sums E = ½ Σ(y − ŷ)² in scaled units, not per row: the report
    divides by the ``rows`` of the row set of the same name to compare them. ``watched_error`` maps such a
    name to (m,) errors; ``training_error`` belongs to the row set named "training", or the first one.
    """

    title: str
    """What was fitted from what: "strength from concrete.csv"."""
    command: str
    """The command that reproduces the fit."""
    targets: tuple[str, ...]
    """k names, in the order of the columns of every row set."""
    rowsets: tuple[RowSet | ClassRows, ...]
    """Training rows first; the last one is the one the figures are judged by. All of one kind."""
    columns: tuple[tuple[str, str, str], ...]
    """(name, role, what became of it); role is target, number, boolean, category, date or dropped."""
    network: str
    """"8 inputs, 20 tanh units, 1 output: 201 weights"."""
    descent: str
    """The descent and its settings in words."""
    steps: np.ndarray
    """(m,) step numbers, ascending."""
    training_error: np.ndarray
    """(m,) error E on the training rows, scaled units."""
    watched_error: Mapping[str, np.ndarray]
    """Name of a row set → (m,) its error E, scaled units."""
    stop: str
    """One sentence: why the descent stopped."""
    fitted_on: str
    """One sentence: which rows the figures come from, which rows the saved model was fitted on."""
    way: tuple[tuple[str, str], ...] = ()
    """(what, sentences) on the way down: the verdict on where it stopped, the starts, the weight decay, the effort."""
    intervals: str = ""
    """In a sentence or two: how many rows their intervals hold, and what these are made of."""
    facts: tuple[tuple[str, str], ...] = ()
    """(what, value) for whoever does it again: seed, versions, the model file."""
    notes: tuple[str, ...] = ()
    """Warnings shown on top: interrupted, learning rate too large."""
    comparisons: tuple[str, ...] = ()
    """A sentence for each target on a fit that predicts it better than the network, and what to do; "" where there is none."""
    curves: tuple[OneInputFitDisplay, ...] = ()
    """Of a table with one input, the fitted curve of each target with its band."""
    importance: Importance | None = None
    """Which columns matter to the predictions, None where that is not known."""
    importance_of: str = ""
    """Of which rows the importance is: "the 206 held-out rows"."""
    effects: tuple[tuple[Effect, ...], ...] = ()
    """For each target the effects of the columns that matter most to it."""
    sensitivity: Sensitivity | None = None
    """The slopes of the columns of numbers in some training rows, None where that is not known."""
    steep: tuple[tuple[int, ...], ...] = ()
    """For each target the places of the columns in ``sensitivity`` whose slopes are drawn."""
    surface: Surface | None = None
    """The error over a plane of the weights, in scaled units, with the way down; None where there is none to show."""
    classes: tuple[str, ...] = ()
    """The names of the k classes of the one target; none where targets are numbers."""


def figures(rowset: RowSet | ClassRows) -> list[dict[str, Any]]:
    """The figures of one set of rows, one dict per target, for the report and the command line alike.

    Keys: ``rows`` (n), ``network``, ``ridge`` (None without ridge predictions) and, where it was fitted, ``boosting``, each a
    dict of ``error``, ``rmse``, ``mae``, ``r2`` in the target's units; a figure that is not defined or not finite is None.
    Of classes ``logistic`` stands in the place of ``ridge``, and each is a dict of ``accuracy``, ``brier`` and ``log_loss``.
    Raises ShapeError unless all arrays are (n, k).
    """
    if isinstance(rowset, ClassRows):
        given = {"network": rowset.probabilities, "logistic": rowset.logistic}
        of = {name: None if p is None else class_figures_of(rowset.actual, p)._asdict() for name, p in given.items()}
        return [{"rows": rowset.rows, **of}]
    if rowset.exact is not None:
        return list(rowset.exact)
    arrays = {"actual": rowset.actual, "predicted": rowset.predicted, **rowset.fits}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape != rowset.actual.shape:
            raise ShapeError(
                f"{name} of the {rowset.name} rows has shape {array.shape}, actual {rowset.actual.shape}; "
                "expected (rows, targets) for both. For a single target, pass values[:, None]."
            )
    return [
        {"rows": rowset.rows, "ridge": None}
        | {name: figures_of(actual, predicted[:, j])._asdict() for name, predicted in rowset.fits.items()}
        for j, actual in enumerate(rowset.actual.T)
    ]


def best_of(of: Mapping[str, Any]) -> str | None:
    """Which fit has the lowest RMSE in one dict of ``figures``: "network", "ridge" or "boosting"; None of a single one."""
    errors = {name: of[name]["rmse"] for name in NAMES if of.get(name) and of[name].get("rmse") is not None}
    return min(errors, key=errors.__getitem__) if len(errors) > 1 else None


def render_report(report: FitReport) -> str:
    """The report as one HTML document; the same report gives the same text, byte for byte."""
    from fallline.report.page import render

    return render(report)


def write_report(report: FitReport, path: str | Path) -> Path:
    """Write the report to ``path``, whole or not at all, and return the path."""
    path = Path(path)
    atomic_write(path, render_report(report).encode())
    return path


def is_report(path: Path) -> bool:
    """Whether the file at ``path`` is a report that fallline wrote: the next fit may replace it."""
    return holds(path, b"<!DOCTYPE html>", 15) and holds(
        path, b'<script type="application/json" id="fallline-report">{'
    )
