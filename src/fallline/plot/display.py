"""What every Display is: numbers first, a picture second.

A Display is a dataclass of what is shown; its ``plot`` draws it into the Axes it is given and returns the Display. What
is common to all of them stands here, and what several have in common with ``from_predictions`` or a path; colours, legends and
scales are in ``_shared.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fallline.exceptions import FalllineError, ShapeError
from fallline.plot._shared import one_target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

DOTS: dict[str, Any] = {"marker": "o", "markersize": 4, "alpha": 0.5, "markeredgewidth": 0, "linestyle": ""}


class Display:
    """A picture of numbers. After ``plot``: ``ax_``, the Axes drawn into or whose room was divided, and ``figure_``."""

    ax_: Any
    figure_: Any
    plot: Any  # each draws by settings of its own

    def _into(self, ax: Any, **figure_kw: Any) -> Any:
        """The Axes to draw into: those given, or those of a new pyplot figure, in which labels of several lines have room."""
        if ax is None:
            import matplotlib.pyplot as plt  # only here: pyplot chooses a backend for the whole process

            ax = plt.subplots(**figure_kw, layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        return ax


class PredictionsDisplay(Display):
    """A picture of values and predictions of one target."""

    @classmethod
    def of(cls, actual: np.ndarray, predicted: np.ndarray, target: str | None = None) -> Self:
        """The Display of (n,) values and predictions of a ``target`` of that name."""
        return cls(actual, predicted, target)  # type: ignore[call-arg]

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        output: int | None = None,
        target: str | None = None,
        ax: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw predictions that exist already; ``output`` chooses the target where there are several."""
        return cls.of(*one_target(y_true, y_pred, output), target).plot(ax, **plot_kw)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, **kw: Any) -> Self:
        """Predict X with a fitted estimator and draw; ``kw`` as in `from_predictions`."""
        return cls.from_predictions(y, estimator.predict(X), **kw)


def labels(ax: Any, x: str | None = None, y: str | None = None) -> None:
    """Names of the axes, as they are: a column may be called $x$."""
    if x is not None:
        ax.set_xlabel(x, parse_math=False)
    if y is not None:
        ax.set_ylabel(y, parse_math=False)


def named(what: str, target: str | None) -> str:
    """An axis label: "predicted strength", or "predicted" where the target has no name."""
    return what if target is None else f"{what} {target}"


def one_for_each(of: str, like: Any, **given: Any) -> None:
    """Raise ShapeError where an array that is given has not the shape of ``like``, which holds one number for each ``of``."""
    for name, values in given.items():
        if values is not None and np.shape(values) != np.shape(like):
            raise ShapeError(
                f"{name} has shape {np.shape(values)} for {of} of shape {np.shape(like)}; expected one number for each."
            )


def is_saved(model: Any) -> bool:
    """Whether it is a model file, read: its columns are known, and rows may come as a table."""
    return hasattr(model, "fitted") and hasattr(model, "columns")


def path_of(estimator: Any) -> Any:
    """The way that a fitted estimator, or a saved model, went down. Raises FalllineError where there is none."""
    for name in ("path_", "path"):
        if (path := getattr(estimator, name, None)) is not None:
            return path
    raise FalllineError(
        f"this {type(estimator).__name__} has no path to draw: fit it first, or give the path itself to from_path."
    )


def errors_per_row(path: Any) -> dict[str, np.ndarray]:
    """E/n over a path, (m,) of the training rows and of each set of rows that was watched."""
    errors = {"training": np.asarray(path.error) / path.n_rows}
    return errors | {name: np.asarray(each) / path.watched_rows[name] for name, each in path.watched.items()}
