"""Calibration: whether of the rows that were given a probability that share is of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import ShapeError
from fallline.plot._shared import ACCENT, INK
from fallline.plot.display import Display, labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_BINS = 10
_NORMAL = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


@dataclass(eq=False)
class CalibrationDisplay(Display):
    """Observed shares (vertical) against predicted probabilities (horizontal), a point for each tenth that holds any.

    ``predicted`` (b,): the mean of the probabilities in each; ``observed`` (b,): the share of them whose class was that of the
    row; ``counts`` (b,): how many there are. ``low`` and ``high`` (b,): the 95 % interval of each share. Of two classes the
    probabilities are those of the second, of more those of every class. On the diagonal what is predicted is what happens.
    After ``plot``: ``ax_``, ``figure_``, ``points_`` and ``diagonal_`` (Line2D) and ``bars_`` (LineCollection).
    Source of the intervals: Wilson (1927), Journal of the American Statistical Association 22:209.
    """

    predicted: np.ndarray
    observed: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, number: np.ndarray, probabilities: np.ndarray) -> Self:
        """The Display of probabilities (n, k), from the number of each row's class (n,)."""
        hit = number[:, None] == np.arange(probabilities.shape[1])
        which = slice(1, None) if probabilities.shape[1] == 2 else slice(None)
        p, hit = probabilities[:, which].ravel(), hit[:, which].ravel()
        tenth = np.minimum((p * _BINS).astype(int), _BINS - 1)
        counts = np.bincount(tenth, minlength=_BINS)
        there = counts > 0
        said, seen = (np.bincount(tenth, values, _BINS)[there] / counts[there] for values in (p, hit))
        return cls(said, seen, counts[there])

    @classmethod
    def from_predictions(
        cls, y_true: ArrayLike, y_proba: ArrayLike, *, classes: ArrayLike | None = None, ax: Any = None, **plot_kw: Any
    ) -> Self:
        """Draw labels (n,) and probabilities (n, k), a column for each of the ``classes`` (k,): by default the labels in order.

        Raises ShapeError where they are not as many.
        """
        labels_, probabilities = np.asarray(y_true), np.asarray(y_proba, np.float64)
        known = np.unique(labels_ if classes is None else np.asarray(classes))
        if probabilities.shape != (len(labels_), len(known)):
            raise ShapeError(
                f"y_proba has shape {probabilities.shape} for {len(labels_)} rows and {len(known)} classes; expected a column "
                "for each class, as predict_proba gives them. Name the classes where y_true lacks some: classes=[…]."
            )
        return cls.of(np.searchsorted(known, labels_), probabilities).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kw: Any) -> Self:
        """Predict the probabilities of X with a fitted classifier and draw; ``kw`` as in ``from_predictions``."""
        return cls.from_predictions(y, estimator.predict_proba(X), classes=estimator.classes_, **kw)

    @property
    def low(self) -> np.ndarray:
        """(b,), the lower ends of the intervals."""
        return self._ends(-1.0)

    @property
    def high(self) -> np.ndarray:
        """(b,), the upper ends of the intervals."""
        return self._ends(1.0)

    def _ends(self, sign: float) -> np.ndarray:
        n, share, z = self.counts, self.observed, _NORMAL
        half = z * np.sqrt(share * (1 - share) * n + z**2 / 4)
        return np.clip((share * n + z**2 / 2 + sign * half) / (n + z**2), 0.0, 1.0)

    @property
    def error(self) -> float:
        """How far observed shares are from the predicted, in the mean over the probabilities."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.counts))

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``."""
        ax = self._into(ax)
        (self.diagonal_,) = ax.plot([0, 1], [0, 1], color=accent, linewidth=1.5, zorder=1)
        self.bars_ = ax.vlines(self.predicted, self.low, self.high, colors=[color], linewidth=1.1, alpha=0.5, zorder=2)
        (self.points_,) = ax.plot(
            self.predicted, self.observed, "o", color=color, markersize=5, clip_on=False, zorder=3
        )
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.set_aspect("equal", adjustable="box")
        labels(ax, "predicted probability", "observed share")
        return self
