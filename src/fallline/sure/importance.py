"""Which columns predictions rest on: how much worse they get where one column's values are shuffled among the rows.

Whatever predicts can be looked at; nothing is fitted, and how it is drawn is ``plot/importance.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError, ShapeError

REPEATS = 5  # fewer say little of the spread


@dataclass(frozen=True, eq=False)
class Importance:
    """By how much the RMSE of k targets rises, in their units, where one of c columns is shuffled.

    ``names`` (c,) of the columns; ``rises`` (repeats, c, k), one for each shuffle; ``rmse`` (k,) of the ``rows`` rows as they
    are. Columns that say the same stand in for each other: each of them alone may matter little.
    """

    names: tuple[str, ...]
    rises: np.ndarray
    rmse: np.ndarray
    rows: int

    @property
    def mean(self) -> np.ndarray:
        """The mean rise over the shuffles, (c, k)."""
        return np.asarray(self.rises.mean(axis=0))

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of the rise between shuffles, (c, k)."""
        return np.asarray(self.rises.std(axis=0, ddof=1))

    def above_chance(self, output: int = 0) -> np.ndarray:
        """The numbers of the columns whose rise is more than twice its standard deviation, as in ``order``."""
        order = self.order(output)
        return order[(self.mean > 2 * self.std)[order, output] & (self.mean[order, output] > 0)]

    def order(self, output: int = 0) -> np.ndarray:
        """The numbers of the columns, (c,), the one that matters most to this target first."""
        return np.argsort(-self.mean[:, output], kind="stable")


def permutation_importance(
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    columns: Mapping[str, Sequence[int]],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Importance:
    """By how much the RMSE of predictions rises where a column is shuffled among these rows: best rows that no fit has seen.

    predict: (n, inputs) → (n, outputs). x (n, inputs), y (n, outputs). ``columns``: the inputs of each column by its name; those
    of one column, such as the 0 and 1 of a category, are shuffled together.
    Raises SettingsError for fewer than two rows or repeats, ShapeError where predictions and y differ in shape.
    Source: Breiman (2001), Machine Learning 45:5, sec. 10; Fisher, Rudin & Dominici (2019), JMLR 20:177.
    """

    def shuffled(name: str, order: np.ndarray) -> np.ndarray:
        inputs, other = list(columns[name]), np.array(x, np.float64)
        other[:, inputs] = other[order][:, inputs]
        return predict(other)

    return importance_of(shuffled, np.asarray(predict(x)), y, tuple(columns), repeats=repeats, seed=seed)


def importance_of(
    shuffled: Callable[[str, np.ndarray], Any],
    predicted: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Importance:
    """The importance of columns by predictions (n, outputs): ``predicted`` as the rows are, ``shuffled`` with the values of
    the column of that name taken from the rows in that order. Several fits may have predicted them, each its own rows.
    """
    if len(y) < 2 or repeats < 2:
        raise SettingsError(
            f"{len(y)} rows shuffled {repeats} times show no importance: give at least two rows and two repeats."
        )
    if np.shape(predicted) != np.shape(y):
        raise ShapeError(
            f"the predictions have shape {np.shape(predicted)}, y {np.shape(y)}; expected (rows, outputs)."
        )

    def rmse(prediction: Any) -> np.ndarray:
        return np.asarray(np.sqrt(np.mean((np.asarray(prediction) - y) ** 2, axis=0)))

    random, before = np.random.default_rng(seed), rmse(predicted)
    # The same shuffles for every column: what they have of chance does not set one column above another.
    orders = [random.permutation(len(y)) for _ in range(repeats)]
    rises = [[rmse(shuffled(name, order)) - before for name in names] for order in orders]
    return Importance(tuple(names), np.array(rises).reshape(repeats, len(names), -1), before, len(y))
