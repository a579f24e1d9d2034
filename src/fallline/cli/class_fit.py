"""What is different of a fit where the target is told by classes: its settings, what it is judged by, what is said of it."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.cli.rows import Prepared
from fallline.fit.class_figures import class_figures_of
from fallline.fit.fitted import FittedNetwork
from fallline.fit.simplex import class_numbers_of, probabilities
from fallline.report import ClassRows
from fallline.table.classes import class_names, class_numbers
from fallline.table.columns import Columns
from fallline.words import counted, listed, written, written_share

if TYPE_CHECKING:
    from rich.table import Table

_STEPS = 1000  # of logistic regression


def class_rows(
    prepared: Prepared, fitted: FittedNetwork, sets: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[ClassRows, ...]:
    """Each of these sets of rows (x, y) with the probabilities of the network, and of logistic regression beside it."""
    logistic = _logistic(fitted.scaling.x(prepared.x), class_numbers_of(prepared.y))
    return tuple(
        ClassRows(
            name, len(x), class_numbers_of(y), probabilities(fitted.predict(x)),
            None if logistic is None else logistic.predict_proba(fitted.scaling.x(x)),
        )
        for name, (x, y) in sets.items()
    )  # fmt: skip


def _logistic(x: np.ndarray, number: np.ndarray) -> Any:
    """scikit-learn's logistic regression on standardised x (n, d), as it is by default but for its steps; None after Ctrl-C."""
    from sklearn.linear_model import LogisticRegression  # here: it takes a second to load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not arrive: it is judged as it is
            return LogisticRegression(max_iter=_STEPS).fit(x, number)
    except KeyboardInterrupt:
        return None


def told_by_classes(prepared: Prepared) -> str:
    """That the target holds classes, and how many training rows there are of each; "" where it holds numbers."""
    columns = prepared.columns
    if not columns.classes:
        return ""
    counts = np.bincount(class_numbers_of(prepared.y), minlength=len(columns.classes))
    each = (f"{name} ({count:,})" for name, count in zip(class_names(columns.classes), counts, strict=True))
    return (
        f"Classification: {columns.targets[0]} holds {len(columns.classes)} classes, with so many training rows: "
        f"{listed(each, 8)}. The network predicts the probability of each, fitted by least squares on columns of 0 and 1."
    )


def class_figures_table(sets: Mapping[str, Any], target: str) -> "Table":
    """Accuracy, Brier score and log loss of network and logistic regression on each set of rows; training rows first."""
    from fallline.cli import printing

    numbers = ("accuracy", "Brier score", "log loss")
    table = printing.empty_table("Target", "Rows", "Fit", *numbers, right=numbers, whole=("Rows", "Fit", *numbers))
    for name, said in sorted(sets.items(), key=lambda each: each[0] != "training"):
        for fit, spelled in (("network", "network"), ("logistic", "logistic regression")):
            if of := said[0].get(fit):
                shown = (written_share(of["accuracy"]), written(of["brier"]), written(of["log_loss"]))
                table.add_row(printing.text(target), f"{name} ({said[0]['rows']:,})", spelled, *shown)
    return table


def columns_of_classes(columns: Columns, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """What is written beside rows of these outputs (n, k): the most probable class, and the probability of each."""
    p, target = probabilities(outputs), columns.targets[0]
    kind = object if isinstance(columns.classes[0], str) else None
    said = {f"predicted {target}": np.array(columns.classes, kind)[p.argmax(axis=1)]}
    return said | {f"probability {target}={name}": p[:, j] for j, name in enumerate(class_names(columns.classes))}


class ClassesJudged:
    """Accuracy, Brier score and log loss on the rows that are of a known class, added up over parts of a table."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._known, self._strange = columns, 0, 0
        self._sums = np.zeros(3)

    def add(self, actual: np.ndarray | None, outputs: np.ndarray) -> None:
        """Take in rows: their cells (n,), None without the column, and outputs (n, k)."""
        if actual is None:
            return
        number = class_numbers(actual, self._columns.classes)
        known = number >= 0
        self._strange += int((number < 0).sum())
        if known.any():
            said = class_figures_of(number[known].astype(int), probabilities(outputs[known]))
            self._known += int(known.sum())
            self._sums += int(known.sum()) * np.array([np.nan if each is None else each for each in said])

    def sentence(self) -> str:
        """The figures in words; "" without a row that is known."""
        if not self._known:
            return ""
        accuracy, brier, loss = (float(each) if np.isfinite(each) else None for each in self._sums / self._known)
        others = (
            f"; {counted(self._strange, 'row')} of classes that the model does not know left out"
            if self._strange
            else ""
        )
        return (
            f"{self._columns.targets[0]}: accuracy {written_share(accuracy)}, Brier score {written(brier)}, log loss "
            f"{written(loss)} on {counted(self._known, 'row')}{others}"
        )
