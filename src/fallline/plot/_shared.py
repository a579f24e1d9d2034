"""What the Displays have in common: the Axes, the two colours, one target out of several, a sample of points.

Ink for what is measured, one accent for what it is compared with. The accent differs from ink in lightness
too, so that the pair survives colour blindness and a black-and-white printer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.exceptions import SettingsError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

INK = "#262626"
ACCENT = "#0b62b0"

_EXTREMES = 10


def axes_or_new(ax: Any) -> Any:
    """The Axes given, or those of a new pyplot figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only here: pyplot chooses a backend for the whole process

    return plt.subplots()[1]


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


def named(what: str, target: str | None) -> str:
    """An axis label: "predicted strength", or "predicted" where the target has no name."""
    return what if target is None else f"{what} {target}"
