"""E at many points of a plane, at a few points anywhere, and which weights predict the same.

All of it is asked of the rows; which plane, and what its errors mean, is said elsewhere.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.error.sums import Request
from fallline.exceptions import SettingsError
from fallline.landscape.planes import Plane
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread, processors
from fallline.walk.path import DescentPath

Errors = Callable[[np.ndarray], np.ndarray]  # the errors of several points

_FEWEST_POINTS, _MOST_POINTS = 16, 256  # points that one thread takes at a time

_SAME_PREDICTIONS = 1e-3  # relative to what the rows vary
_LEAST_ERROR = 1e-3  # of the error of the mean: the least to which a change is compared
_SAME_ROWS = 1e-3  # of E: more than float32 rows lose, less than other rows differ by


def errors_on(
    model: Model, rows: GivenRows, plane: Plane, coordinates: Any, strength: np.ndarray | None = None
) -> np.ndarray:
    """E at the points (…, 2) of a plane, with ``strength`` (n_weights,) the penalised error: (…,) float64.

    Infinity where it is not a finite number.
    """
    rows, coordinates = check_fit(model, rows), np.asarray(coordinates, np.float64)
    points, corners = coordinates.reshape(-1, 2), np.stack([plane.origin, plane.first, plane.second])
    size = int(np.clip(-(-len(points) // processors()), _FEWEST_POINTS, _MOST_POINTS))
    requests = [Request("plane", corners, points[at : at + size]) for at in range(0, len(points), size)]
    found = rows.totals([(model, request) for request in requests])
    total = np.concatenate([np.zeros(0), *(sums.error for sums in found)])
    if strength is not None and np.any(strength):
        on_plane = np.column_stack([np.ones(len(points)), points])
        with np.errstate(all="ignore"):
            total += 0.5 * np.sum((on_plane @ (corners * strength @ corners.T)) * on_plane, axis=1)
    return np.where(np.isfinite(total), total, np.inf).reshape(coordinates.shape[:-1])


def errors_at(model: Model, rows: GivenRows, weights: Any, strength: np.ndarray | None = None) -> np.ndarray:
    """The same at weights (m, n_weights) that lie in no plane: (m,)."""
    rows, weights = check_fit(model, rows), np.atleast_2d(np.asarray(weights, np.float64))
    with one_blas_thread(), np.errstate(all="ignore"):
        found = rows.totals([(model, Request("error", each)) for each in weights])
        total = np.array([sums.error for sums in found])
        if strength is not None:
            total += 0.5 * weights**2 @ strength
    return np.where(np.isfinite(total), total, np.inf)


def check_rows_of(path: DescentPath, rows: Rows) -> None:
    """SettingsError unless E at the best weights of a path is over these rows what the path says it was."""
    error = rows.total(Request("error", path.best_weights), path.model).error
    recorded = path.at_best(path.error)
    if not abs(error - recorded) <= _SAME_ROWS * (recorded + _SAME_ROWS * path.error[0]):
        raise SettingsError(
            f"E at the best weights is {recorded:.6g} on the path and {error:.6g} over these rows: pass the rows that it "
            "descended on, scaled as they were."
        )


def predict_alike(model: Model, rows: Rows, one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of ``others`` (m, p) predict what ``one`` (p,) does: the root of the squared difference, in that of the rows."""
    apart = rows.apart(model, np.vstack([one, others]))[0, 1:]
    return np.asarray(0.5 * apart <= _SAME_PREDICTIONS**2 * rows.error_of_mean)


def changes_without(
    model: Model, rows: Rows, weights: np.ndarray, unfelt: np.ndarray, strength: np.ndarray
) -> np.ndarray:
    """By how much the error changes, as a share of it, without each weight that it feels nothing of, ``unfelt`` (p,) bool: (k,).

    There is nothing to feel of a weight, or it is so large that its unit is saturated: then this tells that there is another
    error elsewhere, which neither gradient nor Hessian does.
    """
    which = np.flatnonzero(unfelt)
    if not len(which):
        return np.zeros(0)
    points = np.repeat(weights[None, :], len(which) + 1, axis=0)
    points[np.arange(len(which)) + 1, which] = 0.0
    here, *without = errors_at(model, rows, points, strength)
    return np.asarray((np.array(without) - here) / max(here, _LEAST_ERROR * rows.error_of_mean))
