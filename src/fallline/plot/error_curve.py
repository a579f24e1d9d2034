"""The error per row, E/n, over the steps of a descent, for the training rows and those that were watched."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError
from fallline.plot._shared import ACCENT, INK, envelope, labelled, logarithmic
from fallline.plot.display import Display, errors_per_row, labels, one_for_each, path_of
from fallline.words import listed


@dataclass(eq=False)
class ErrorCurveDisplay(Display):
    """Error curves on a logarithmic axis: (m,) steps and, by name, (m,) errors per row, E/n.

    ``lowest_of`` names the curve whose lowest point is marked, None marks none. Curves of rows of different
    number compare because each is divided by its own; errors are those descended, in scaled units for the
    estimators. After `plot`: ``ax_``, ``figure_``, ``lines_`` (name → Line2D), ``lowest_`` (Line2D or None).
    """

    steps: np.ndarray
    error_per_row: Mapping[str, np.ndarray]
    lowest_of: str | None = None

    def __post_init__(self) -> None:
        one_for_each("steps", self.steps, **{f"the error curve {k!r}": v for k, v in self.error_per_row.items()})
        if self.lowest_of is not None and self.lowest_of not in self.error_per_row:
            raise SettingsError(
                f"there is no curve {self.lowest_of!r} to mark the lowest error of; "
                f"the curves are {listed(map(repr, self.error_per_row))}."
            )

    @property
    def lowest(self) -> tuple[float, float] | None:
        """(step, E/n) at the lowest finite error of ``lowest_of``, the first of equals; None without any."""
        if self.lowest_of is None:
            return None
        error = np.asarray(self.error_per_row[self.lowest_of], np.float64)
        if not np.isfinite(error).any():
            return None
        at = int(np.argmin(np.where(np.isfinite(error), error, np.inf)))
        return float(self.steps[at]), float(error[at])

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, y: Any = None, *, ax: Any = None, **plot_kw: Any) -> Self:
        """Draw ``estimator.path_`` as it was recorded; X and y are accepted for the convention and not used.

        The lowest error of the first watched rows is marked, those that stopping looked at.
        """
        path = path_of(estimator)
        display = cls(np.asarray(path.steps), errors_per_row(path), next(iter(path.watched), None))
        return display.plot(ax, **plot_kw)

    def plot(self, ax: Any = None, *, color: Any = INK, accent: Any = ACCENT) -> Self:
        """Draw into ``ax``: in ``accent`` the curve whose lowest point is marked, the others in ``color``."""
        ax = self._into(ax)
        dashes = itertools.cycle([(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))])
        self.lines_ = {}
        for name, error in self.error_per_row.items():
            ink = {"color": accent} if name == self.lowest_of else {"color": color, "linestyle": next(dashes)}
            at = envelope(np.asarray(error))
            (self.lines_[name],) = ax.plot(
                np.asarray(self.steps)[at], np.asarray(error)[at], linewidth=1.5, label=labelled(name), **ink
            )
        self.lowest_ = None
        if self.lowest is not None and self.lowest_of is not None:
            (self.lowest_,) = ax.plot(
                *self.lowest, color=self.lines_[self.lowest_of].get_color(), marker="o", markersize=7, linestyle="", zorder=4,
                label=f"lowest {self.lowest_of}",
            )  # fmt: skip
        logarithmic(ax, *self.error_per_row.values())
        ax.xaxis.get_major_locator().set_params(integer=True)
        labels(ax, "step", "error per row, E/n")
        if len(self.error_per_row) > 1:
            for text in ax.legend(frameon=False, loc="upper right").get_texts():
                text.set_parse_math(False)
        return self
