"""What the report of a classifier says in the place of residuals: figures, which class is taken for which, calibration."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.plot.calibration import CalibrationDisplay
from fallline.words import counted, percent, written

if TYPE_CHECKING:
    from fallline.report import ClassRows, FitReport

_MOST_IN_A_TABLE = 12  # classes: a wider table of them is hard to read
SMALL_PRINT = (
    "Accuracy is the share of rows whose most probable class is their own. The Brier score is the mean squared distance of the "
    "probabilities from 0 and 1, summed over the classes and halved where there are two; it is what the network is fitted by. "
    "The log loss is the mean of −log p of a row's own class, where a probability of 0 counts as 2⁻⁵². Lower is better of both."
)


def summary(said: dict[str, Any], rows: ClassRows) -> str:
    """How good the probabilities are, beside logistic regression, and which of the two is better."""
    of, count = said["rowsets"][-1]["figures"][0], counted(rows.rows, f"{rows.name} row")
    network, logistic = of["network"], of["logistic"]
    right = f"it tells {percent(network['accuracy'], 3)} of the rows right"
    sentence = f"On {count} the Brier score of the network is {written(network['brier'])}"
    if logistic is None:
        return f"{sentence}; {right}."
    beside = f"that of logistic regression {written(logistic['brier'])}"
    against = f"{right}, logistic regression {percent(logistic['accuracy'], 3)}."
    return f"{sentence}, {beside}; {against} {compared(rows)}".strip()


def compared(rows: ClassRows) -> str:
    """What to do where logistic regression has the lower Brier score on these rows; "" where it has not, or was not fitted."""
    if rows.logistic is None:
        return ""
    classes = rows.probabilities.shape[1]
    own, half = np.eye(classes)[rows.actual], 2.0 if classes == 2 else 1.0
    ours, theirs = (((p - own) ** 2).sum(axis=1) / half for p in (rows.probabilities, rows.logistic))
    apart = ours - theirs
    above, error = float(apart.mean()), float(apart.std() / math.sqrt(max(len(apart) - 1, 1)))
    if not above > 0:
        return ""
    by = f"by {written(above, 2)} ± {written(error, 2)}"
    if above > 2 * error:
        return f"Logistic regression is better here, {by}, more than chance: use it, or fit on more rows."
    return f"Logistic regression is ahead {by}, which is within chance: judge by more held-out rows, or another seed."


def confusion(rows: ClassRows, names: tuple[str, ...]) -> list[tuple[str, list[int]]]:
    """For each class its name and how many of its rows were predicted to be of each class; none of very many classes."""
    count = len(names)
    if count > _MOST_IN_A_TABLE:
        return []
    pairs = rows.actual * count + rows.probabilities.argmax(axis=1)
    found = np.bincount(pairs, minlength=count * count).reshape(count, count)
    return list(zip(names, found.tolist(), strict=True))


def panel(report: FitReport, rows: ClassRows) -> dict[str, Any]:
    """The pictures of the probabilities: for each its title, the sentence that says what is seen, and the SVG."""
    from fallline.report import pictures

    which = f"{report.targets[0]}={report.classes[1]}" if len(report.classes) == 2 else "each class"
    said = (
        f"A point for each tenth of the scale: the mean probability of {which} there, and the share of the "
        f"{counted(rows.rows, f'{rows.name} row')} that were of it. Bars are 95 % intervals of the shares."
    )
    made: list[dict[str, str]] = []
    for title, p, about in (("the network", rows.probabilities, said), ("logistic regression", rows.logistic, "")):
        if p is None:
            continue
        display, name = CalibrationDisplay.of(rows.actual, p), f"picture-1-{len(made) + 1}"
        draw = functools.partial(display.plot, color=pictures.INK, accent=pictures.ACCENT)
        apart = f"On the line the two are equal; they are {written(display.error, 2)} apart in the mean."
        svg = pictures.picture(draw, name, 360, 300, {})
        made.append({"name": name, "title": f"Calibration of {title}", "seen": f"{about} {apart}".strip(), "svg": svg})
    return {"target": report.targets[0], "pictures": made}
