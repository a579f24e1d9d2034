"""The error per row, E/n, over the steps of a descent, for the training rows and those that were watched."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.plot._shared import ACCENT, INK, axes_or_new, envelope, labelled, logarithmic


@dataclass(eq=False)
class ErrorCurveDisplay:
    """Error curves on a logarithmic axis: (m,) steps and, by name, (m,) errors per row, E/n.

    ``lowest_of`` names the curve whose lowest point is marked, None marks none. Curves of rows of different
    number compare because each is divided by its own; errors are those descended, in scaled units for the
    estimators. After `plot`: ``ax_``, ``figure_``, ``lines_`` (name → Line2D), ``lowest_`` (Line2D or None).
    """

    steps: np.ndarray
    error_per_row: Mapping[str, np.ndarray]
    lowest_of: str | None = None

    def __post_init__(self) -> None:
        for name, error in self.error_per_row.items():
            if np.shape(error) != np.shape(self.steps):
                raise ShapeError(
                    f"the error curve {name!r} has shape {np.shape(error)} for steps of shape "
                    f"{np.shape(self.steps)}; expected one error per step."
                )
        if self.lowest_of is not None and self.lowest_of not in self.error_per_row:
            raise SettingsError(
                f"there is no curve {self.lowest_of!r} to mark the lowest error of; "
                f"the curves are {', '.join(map(repr, self.error_per_row))}."
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
    def from_estimator(
        cls, estimator: Any, X: Any = None, y: Any = None, *, ax: Any = None, **plot_kw: Any
    ) -> Self:
        """Draw ``estimator.path_`` as it was recorded; X and y are accepted for the convention and not used.

        The lowest error of the first watched rows is marked, those that stopping looked at.
        """
        path = estimator.path_
        curves = {"training": np.asarray(path.error) / path.n_rows}
        curves |= {name: np.asarray(error) / path.watched_rows[name] for name, error in path.watched.items()}
        display = cls(np.asarray(path.steps), curves, lowest_of=next(iter(path.watched), None))
        return display.plot(ax, **plot_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        color: Any = INK,
        accent: Any = ACCENT,
        line_kw: Mapping[str, Any] | None = None,
        lowest_kw: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw into ``ax``: in ``accent`` the curve whose lowest point is marked, the others in ``color``."""
        ax = axes_or_new(ax)
        dashes = itertools.cycle([(0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))])
        self.lines_ = {}
        for name, error in self.error_per_row.items():
            style: dict[str, Any] = {"linewidth": 1.5, "label": labelled(name), "color": color}
            style |= {"color": accent} if name == self.lowest_of else {"linestyle": next(dashes)}
            at = envelope(np.asarray(error))
            (self.lines_[name],) = ax.plot(
                np.asarray(self.steps)[at], np.asarray(error)[at], **{**style, **(line_kw or {})}
            )
        self.lowest_ = None
        if self.lowest is not None and self.lowest_of is not None:
            style = {"color": self.lines_[self.lowest_of].get_color(), "marker": "o", "markersize": 7}
            style |= {"linestyle": "", "zorder": 4, "label": f"lowest {self.lowest_of}"}
            (self.lowest_,) = ax.plot(*([value] for value in self.lowest), **{**style, **(lowest_kw or {})})
        logarithmic(ax, np.concatenate([np.zeros(0), *map(np.ravel, self.error_per_row.values())]))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("step")
        ax.set_ylabel("error per row, E/n")
        if len(self.error_per_row) > 1:
            for text in ax.legend(frameon=False, loc="upper right").get_texts():
                text.set_parse_math(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
