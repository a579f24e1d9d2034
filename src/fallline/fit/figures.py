"""The figures people judge a fit by, derived from the one error: E, RMSE, MAE, R².

One source for the report, the command line and whoever else shows such a number. Plain NumPy on predictions
that exist already; nothing here predicts, nothing is descended, and how a number is written is ``words.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fallline.exceptions import ShapeError
from fallline.table.sums import Moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Figures(NamedTuple):
    """The figures of one target on one set of n rows. Where one is not defined or not finite it is None."""

    error: float | None
    """E = ½ Σ (y − ŷ)², in squared units of the target; it grows with n."""
    rmse: float | None
    """√(Σ (y − ŷ)² / n), in units of the target."""
    mae: float | None
    """Σ |y − ŷ| / n, in units of the target."""
    r2: float | None
    """1 − Σ (y − ŷ)² / Σ (y − ȳ)²; None where all y are equal or there are fewer than two rows."""


def figures_of(actual: ArrayLike, predicted: ArrayLike) -> Figures:
    """The figures of one target, from its n values and their n predictions, in the target's units.

    Raises ShapeError unless both are one-dimensional and equally long: (n,) against (n, 1) would broadcast to
    (n, n) in silence.
    """
    y, prediction = np.asarray(actual, np.float64), np.asarray(predicted, np.float64)
    if y.ndim != 1 or y.shape != prediction.shape:
        raise ShapeError(
            f"actual has shape {y.shape} and predicted {prediction.shape}; expected two of shape (n,). "
            "For several targets, ask for the figures of one column at a time."
        )
    sums = FigureSums()
    sums.add(y, prediction)
    return sums.figures


class FigureSums:
    """What the figures of one target are made of, added up over blocks of rows."""

    def __init__(self) -> None:
        self._count, self._squares, self._sizes = 0, 0.0, 0.0
        self._spread = Moments()

    def add(self, actual: np.ndarray, predicted: np.ndarray) -> None:
        """Take in further rows: what was measured (b,) and what was predicted."""
        with np.errstate(over="ignore", invalid="ignore"):  # not finite is an answer here: None
            residual = actual - predicted
            self._count += len(residual)
            self._squares += float(residual @ residual)
            self._sizes += float(np.sum(np.abs(residual)))
            self._spread += Moments.of(actual)

    @property
    def figures(self) -> Figures:
        """Of all rows so far."""
        n, squares, spread = self._count, self._squares, self._spread
        if n == 0:
            return Figures(0.0, None, None, None)
        r2 = None
        if spread.low < spread.high and spread.m2 > 0:  # not m2 alone: of equal values it can round to more than 0
            r2 = _finite(1 - squares / float(spread.m2))
        return Figures(_finite(squares / 2), _finite(math.sqrt(squares / n)), _finite(self._sizes / n), r2)


def rmse_difference(actual: np.ndarray, predicted: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """RMSE of one prediction less that of another on the same n rows, all (n,), and the standard error of this difference.

    The rows are paired: what makes a row hard to predict makes it so for both. By the delta method the difference moves as
    the mean of r²/(2 RMSE) − r'²/(2 RMSE'); rows are taken as independent.
    """
    squares = [(np.asarray(actual, np.float64) - each) ** 2 for each in (predicted, other)]
    first, second = (math.sqrt(float(each.mean())) for each in squares)
    parts = squares[0] / (2 * first or 1.0) - squares[1] / (2 * second or 1.0)
    return first - second, float(parts.std(ddof=1)) / math.sqrt(len(parts)) if len(parts) > 1 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
