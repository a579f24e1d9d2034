"""The figures people judge probabilities of classes by: accuracy, Brier score, logarithmic score.

Plain NumPy on probabilities that exist already; nothing here predicts. How a number is written is ``words.py``.
"""

from typing import NamedTuple

import numpy as np

from fallline.exceptions import ShapeError

_LEAST = float(np.finfo(np.float64).eps)  # a probability of 0 counts as this: its logarithm is infinite


class ClassFigures(NamedTuple):
    """The figures of the probabilities of k classes on n rows; None where there is no row."""

    accuracy: float | None
    """The share of the rows whose most probable class is their own."""
    brier: float | None
    """The mean over rows of Σ_j (p_j − y_j)², halved for two classes. Source: Brier (1950), Monthly Weather Review 78:1."""
    log_loss: float | None
    """The mean over rows of −log p of their own class, of which 0 counts as 2⁻⁵²."""


def class_figures_of(actual: np.ndarray, probabilities: np.ndarray) -> ClassFigures:
    """The figures of probabilities (n, k), from the number of each row's class, actual (n,).

    Raises ShapeError unless there is a class for each row of probabilities.
    """
    if probabilities.ndim != 2 or actual.shape != probabilities.shape[:1]:
        raise ShapeError(
            f"actual has shape {actual.shape} and probabilities {probabilities.shape}; expected (n,) and (n, classes)."
        )
    if not len(actual):
        return ClassFigures(None, None, None)
    of_own = probabilities[np.arange(len(actual)), actual]
    # Σ_j (p_j − y_j)² = Σ_j p_j² − 2p + 1, p that of the row's own class.
    squares = float(np.mean((probabilities**2).sum(axis=1) - 2 * of_own + 1))
    return ClassFigures(
        float(np.mean(probabilities.argmax(axis=1) == actual)),
        max(squares, 0.0) / (2 if probabilities.shape[1] == 2 else 1),
        float(-np.log(np.maximum(of_own, _LEAST)).mean()),
    )
