"""What is doubtful about a fitted curve: a poor minimum, a pattern in its residuals, an alias. One sentence each."""

from typing import NamedTuple

import numpy as np

from fallline.model.curve import Curve
from fallline.sure.curve_start import highest_frequency, periodogram, spacing, speeds
from fallline.words import percent, written, written_share

_FEWEST = 8  # rows: fewer say nothing of a pattern
_ROUNDING = 1e-9  # residuals that are this share of the spread of y are no noise
_ALIKE, _CHANCE = 0.2, 3.0  # correlation of neighbouring residuals, and how many standard errors of it
_WORSE = 0.1  # of R² that a smooth line would reach more: a poor fit
_TURNING, _FALSE_ALARM = 0.3, 1e-4  # share of the residuals that a sine takes away, and how likely it is of noise


class Doubts(NamedTuple):
    """Sentences. severe: the curve found is likely not the one meant. mild: it may be, but its standard errors are too small."""

    severe: tuple[str, ...] = ()
    mild: tuple[str, ...] = ()


def doubts_of(model: Curve, weights: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> Doubts:
    """The doubts about a curve at ``weights``, for its rows x (n, inputs), y (n,) and their noise σ (n,); of each group its own.

    Neighbours are those in x, or in ŷ where there are several columns. That their residuals are alike is read from
    their correlation, what a smooth line would leave from second differences of three neighbours.
    Source: von Neumann (1941), Ann. Math. Statist. 12:367; Gasser, Sroka & Jennen-Steinmetz (1986), Biometrika 73:625.
    """
    found = Doubts()
    for group, curve, own, rows in model.parts(weights, x):
        mine = x[rows, : curve.inputs]
        left = (y[rows] - curve.predict(own, mine)[:, 0]) / sigma[rows]
        mean = np.average(y[rows], weights=sigma[rows] ** -2.0)
        severe, mild = _doubts(curve, own, mine, left, float(np.sum(((y[rows] - mean) / sigma[rows]) ** 2)))
        where = f"{model.columns[-1]} {group}: " if group else ""
        found = Doubts(
            *(had + tuple(where + new for new in more) for had, more in zip(found, (severe, mild), strict=True))
        )
    return found


def _doubts(
    model: Curve, weights: np.ndarray, x: np.ndarray, residuals: np.ndarray, spread: float
) -> tuple[list[str], list[str]]:
    """The severe and the mild doubts about one curve, by what it leaves (n,) and Σ ((y − ȳ)/σ)²."""
    severe, mild = _aliases(model, weights, x), []
    total, n = float(np.sum(residuals**2)), len(residuals)
    if n - len(weights) < _FEWEST or not total > _ROUNDING**2 * spread:
        return severe, []
    one = len(model.columns) == 1
    along = x[:, 0] if one else model.predict(weights, x)[:, 0]
    r = residuals[np.argsort(along, kind="stable")]
    alike = float(np.sum(r[1:] * r[:-1]) / total)
    between = r[1:-1] - 0.5 * (r[:-2] + r[2:])
    smooth = min(float(np.mean(between**2)) / 1.5 * n / total, 1.0)
    share = 1.0 - total / spread if spread > 0 else 1.0
    reached = 1.0 - smooth * (1.0 - share)
    if alike > max(_ALIKE, _CHANCE / np.sqrt(n)):
        if one and reached - share > _WORSE and not _is_linear(model, weights, x):
            severe.append(
                f"A poor fit: R² is {written_share(share)}, where a smooth line through neighbouring rows would reach "
                f"{written_share(reached)}. The descent ended elsewhere than is meant, or the formula does not suit: give "
                "start values or bounds, or another formula."
            )
        else:
            mild.append(
                f"The residuals have a pattern: those of neighbouring rows are alike (correlation {alike:.2f}). The formula "
                "misses something in these rows, so that standard errors are too small: look at the residuals, or add a term."
            )
    elif one and (turning := _still_turning(model, weights, x, residuals)):
        severe.append(turning)
    return severe, mild


def _is_linear(model: Curve, weights: np.ndarray, x: np.ndarray) -> bool:
    """Whether the slopes are the same at other weights: then there is one minimum, and it has been found."""
    return np.allclose(model.jacobian(weights, x), model.jacobian(1.1 * weights + 0.1, x), rtol=1e-6, atol=0.0)


def _turns(model: Curve, weights: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """The angle for each unit of each column that sines are taken of; none where no formula can be read."""
    formula = model.formula(weights, x)
    return {} if formula is None else speeds(formula, model.named(weights, x), model.columns)


def _aliases(model: Curve, weights: np.ndarray, x: np.ndarray) -> list[str]:
    said = []
    for name, speed in _turns(model, weights, x).items():
        step = spacing(x[:, model.columns.index(name)])
        turns = speed * (step or 0.0) / (2 * np.pi)
        if step and turns > 0.5 + 1e-6:
            slower = abs(turns - round(turns)) / step
            said.append(
                f"{name} is evenly spaced, {written(step)} apart, and the curve turns {written(turns)} times a step: these rows "
                f"cannot tell its frequency {written(turns / step)} from {written(slower)}. Start from the one that is meant, "
                "or bound it."
            )
    return said


def _still_turning(model: Curve, weights: np.ndarray, x: np.ndarray, residuals: np.ndarray) -> str:
    """The sentence on a frequency that a curve with sines has missed; "" where there is none."""
    if model.columns[0] not in _turns(model, weights, x) or len(np.unique(x[:, 0])) < _FEWEST:
        return ""
    frequencies, share = periodogram(x[:, 0], residuals, highest_frequency(x[:, 0]))
    most = float(share.max(initial=0.0))
    if most < _TURNING or len(share) * (1.0 - most) ** (0.5 * len(x) - 1.5) > _FALSE_ALARM:
        return ""
    return (
        f"The residuals still turn: a sine of frequency {written(float(frequencies[np.argmax(share)]))} would take away "
        f"{percent(most)} of their variance. Start a frequency there, or add a term."
    )
