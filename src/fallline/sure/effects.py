"""What predictions do as one column changes: in the mean over rows, and how much that differs from row to row.

Whatever predicts can be looked at; nothing is fitted, and how it is drawn is ``plot/effect.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fallline.exceptions import SettingsError

SHARE = 0.8  # of the rows: the curves of a few may go anywhere


@dataclass(frozen=True, eq=False)
class Effect:
    """The prediction of k targets where one column takes the same value in all rows, for m values of it.

    ``at`` (m,): the values, numbers or dates in ascending order, or the names of categories. ``mean`` (m, k): over the rows.
    ``low`` and ``high`` (m, k): between them lie the curves of the middle ``share`` of the rows, all shifted to one level. They
    are as one where the column does the same in every row; the band is wide where what it does depends on other columns.
    """

    column: str
    at: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: float = SHARE


def partial_dependence(
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    inputs: Sequence[int],
    values: np.ndarray,
    *,
    share: float = SHARE,
    column: str = "x",
    at: np.ndarray | None = None,
) -> Effect:
    """The mean prediction over rows x (n, inputs) where these ``inputs`` of all take each of the ``values`` (m, len(inputs)).

    predict: (n, inputs) → (n, outputs). The curve of each row is shifted such that its mean over the values is that of all rows.
    ``at`` (m,): what the values are called, the first input's where it is None. Raises SettingsError for a share outside
    (0, 1), and without rows or values.
    Source: Friedman (2001), Annals of Statistics 29:1189, sec. 8.2; Goldstein, Kapelner, Bleich & Pitkin (2015), Journal of
    Computational and Graphical Statistics 24:44 (the curves of single rows, and centred ones).
    """
    if not 0 < share < 1:
        raise SettingsError(f"share={share!r} is not possible: give a share of the rows between 0 and 1, such as 0.8.")
    x, values, inputs = np.asarray(x, np.float64), np.asarray(values, np.float64), list(inputs)
    if not (len(x) and len(values)):
        raise SettingsError(f"{len(x)} rows and {len(values)} values show no effect: give at least one of each.")
    rows = np.tile(x, (len(values), 1))
    rows[:, inputs] = np.repeat(values, len(x), axis=0)
    curves = np.asarray(predict(rows)).reshape(len(values), len(x), -1)
    mean = curves.mean(axis=1)
    level = curves.mean(axis=0)  # of each row, (n, k)
    low, high = np.quantile(curves - level + level.mean(axis=0), [0.5 - share / 2, 0.5 + share / 2], axis=1)
    return Effect(column, values[:, 0] if at is None else np.asarray(at), mean, low, high, share)
