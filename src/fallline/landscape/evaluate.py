"""E at many points of a plane: one compiled program over points × rows, in blocks that stay in the cache.

And at a few points anywhere, by NumPy; and which weights predict the same.
"""

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.exceptions import SettingsError
from fallline.landscape.planes import Plane
from fallline.model.network import Model, Network
from fallline.rows.memory import Capacity, InMemory, Part, Parts, Rows, block_at, check_fit
from fallline.threads import one_blas_thread, processors
from fallline.walk.path import DescentPath

_POINTS, _FEW = 256, 4  # of one call
# What enters the widest layer from one block of rows stays in the first-level cache, and so much of a few points in the
# second: the activations are then all that takes time.
_BLOCK_BYTES = 1 << 15
_TOGETHER = 4

_SAME_PREDICTIONS = 1e-3  # relative to what the rows vary
_FELT = 1e-3  # of the error of the mean: the least to which a change is compared
_SAME_ROWS = 1e-3  # of E: more than float32 rows lose, less than other rows differ by


class HeldError:
    """E of a model over rows that are held once for many calls; with ``strength`` (n_weights,) the penalised error.

    What enters the first units of a network is linear in the weights, so that along a plane it is a sum of three numbers
    for each row and unit, formed once.
    """

    def __init__(self, model: Model, rows: Rows, strength: np.ndarray | None = None) -> None:
        self.model, self.rows, self.strength = model, check_fit(model, rows), strength
        with jax.enable_x64(True):
            self._held = self.rows.held()

    def __call__(self, plane: Plane, coordinates: Any) -> np.ndarray:
        """At the points (…, 2) of a plane: (…,) float64, infinity where it is not a finite number."""
        coordinates = np.asarray(coordinates, np.float64)
        points = coordinates.reshape(-1, 2)
        corners = np.stack([plane.origin, plane.first, plane.second])
        block = _block(self.model, self._held)
        pieces = self._held.parts if isinstance(self._held, Parts) else (self._held,)

        def errors(at: int) -> np.ndarray:
            with jax.enable_x64(True):  # a setting of the thread
                these = points[at : at + _POINTS]
                room = _FEW if len(these) <= _FEW else _POINTS
                padded = np.concatenate([these, np.repeat(these[:1], room - len(these), axis=0)])
                total = np.zeros(room)
                for piece in pieces:
                    total = total + np.asarray(_errors(corners, padded, piece, model=self.model, block=block))
                return total[: len(these)]

        calls = range(0, len(points), _POINTS)
        with one_blas_thread():
            found = [errors(0)] if len(points) else []  # alone: what is to be compiled is compiled once
            with ThreadPoolExecutor(processors(), "surface") as threads:
                found += threads.map(errors, calls[1:])
        total = np.concatenate([np.zeros(0), *found])
        if self.strength is not None and np.any(self.strength):
            total += np.concatenate([0.5 * (w**2 @ self.strength) for w in _weights_of(plane, points)])
        return np.where(np.isfinite(total), total, np.inf).reshape(coordinates.shape[:-1])


def errors_on(
    model: Model, rows: Rows, plane: Plane, coordinates: Any, strength: np.ndarray | None = None
) -> np.ndarray:
    """``HeldError`` for one call: E, or the penalised error, at the points (…, 2) of a plane, (…,)."""
    return HeldError(model, rows, strength)(plane, coordinates)


def errors_at(model: Model, rows: Rows, weights: Any, strength: np.ndarray | None = None) -> np.ndarray:
    """The same at weights (m, n_weights) that lie in no plane, by NumPy: (m,); nothing is compiled."""
    rows = check_fit(model, rows)
    weights = np.atleast_2d(np.asarray(weights, np.float64))
    x, y, s = _wide(rows)
    total = np.empty(len(weights))
    with np.errstate(all="ignore"):
        for at, each in enumerate(weights):
            total[at] = 0.5 * float(s @ np.sum((model.predict(each, x) - y) ** 2, axis=1))
        if strength is not None:
            total += 0.5 * weights**2 @ strength
    return np.where(np.isfinite(total), total, np.inf)


def check_rows_of(path: DescentPath, rows: InMemory) -> None:
    """SettingsError unless E at the best weights of a path is over these rows what the path says it was."""
    r = path.model.predict(path.best_weights, rows.x) - rows.y
    s = np.ones(len(r)) if rows.sample_weight is None else rows.sample_weight
    error = 0.5 * float(np.sum(s[:, None] * r**2, dtype=np.float64))
    recorded = path.error[path.steps == path.best_step]
    scale = path.error[0]
    if len(recorded) and not abs(error - recorded[0]) <= _SAME_ROWS * (recorded[0] + _SAME_ROWS * scale):
        raise SettingsError(
            f"E at the best weights is {recorded[0]:.6g} on the path and {error:.6g} over these rows: pass the rows that it "
            "descended on, scaled as they were."
        )


def error_of_mean(rows: InMemory) -> float:
    """E of predicting each target's mean: what the rows vary; never 0, so that it may divide."""
    _, y, s = _wide(rows)
    whole = 0.5 * float(s @ np.sum((y - np.average(y, axis=0, weights=s)) ** 2, axis=1))
    return whole or 0.5 * float(s @ np.sum(y**2, axis=1)) or 1.0


def predict_alike(model: Model, rows: InMemory, one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of ``others`` (m, p) predict what ``one`` (p,) does: the root of the squared difference, in that of the rows."""
    x, _, s = _wide(rows)
    predicted, whole = model.predict(one, x), error_of_mean(rows)
    same = np.zeros(len(others), bool)
    for at, weights in enumerate(others):
        difference = model.predict(weights, x) - predicted
        same[at] = 0.5 * float(s @ np.sum(difference**2, axis=1)) <= _SAME_PREDICTIONS**2 * whole
    return same


def changes_without(
    model: Model, rows: InMemory, weights: np.ndarray, unfelt: np.ndarray, strength: np.ndarray
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
    return np.asarray((np.array(without) - here) / max(here, _FELT * error_of_mean(rows)))


def _wide(rows: InMemory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and the row weights s in float64."""
    s = np.ones(len(rows.y)) if rows.sample_weight is None else np.asarray(rows.sample_weight, np.float64)
    return np.asarray(rows.x, np.float64), np.asarray(rows.y, np.float64), s


def _weights_of(plane: Plane, points: np.ndarray) -> Iterator[np.ndarray]:
    """The weights of the points, some at a time: of all they could be larger than the memory."""
    some = max((1 << 22) // plane.n_weights, 1)
    return (plane.at(points[at : at + some]) for at in range(0, len(points), some))


def _block(model: Model, held: Capacity | Parts) -> int:
    """Rows of a block: a power of two that divides the rows of a program."""
    rows = (held.parts[0] if isinstance(held, Parts) else held).y.shape[0]
    widest = max(getattr(model, "sizes", (1, model.outputs))[1:])
    block = 1 << max(_BLOCK_BYTES // (8 * widest), 64).bit_length() - 1
    while rows % block:
        block >>= 1
    return min(block, rows)


# One thread a call: the calls run side by side.
@functools.partial(
    jax.jit,
    static_argnames=("model", "block"),
    compiler_options={"xla_cpu_multi_thread_eigen": False},
)
def _errors(corners: Any, points: Any, rows: Capacity | Part, *, model: Model, block: int) -> Any:
    """E of some rows at points (m, 2) of the plane (origin, first, second) (3, n_weights): (m,) float64."""
    dtype = rows.x.dtype
    corners, points = corners.astype(dtype), points.astype(dtype)

    def add(at: Any, total: Any) -> Any:
        rows_here = block_at(rows, at, block)
        y, s = rows_here.y.T, rows_here.s
        predicted = _predictions(model, corners, rows_here.x.T)

        def error(point: Any) -> Any:
            r = predicted(point) - y
            # Many side by side: XLA adds along the last axis one by one.
            terms = (r * (r * s[None, :])).reshape(math.gcd(r.size, 16), -1)
            return 0.5 * jnp.sum(jnp.sum(terms, axis=0), dtype=jnp.float64)

        return total + jax.lax.map(error, points, batch_size=_TOGETHER)

    zero = jnp.zeros(len(points))
    return jax.lax.fori_loop(0, (rows.n + block - 1) // block, add, zero)


def _predictions(model: Model, corners: Any, x: Any) -> Callable[[Any], Any]:
    """ŷ (outputs, n) as a function of a point (a, b), for rows lying across, x (inputs, n)."""

    def weights(point: Any) -> Any:
        return corners[0] + point[0] * corners[1] + point[1] * corners[2]

    if not isinstance(model, Network):
        return lambda point: model.predict(weights(point), x.T, jnp).T
    z = [model.entering(model.layers(corner), x) for corner in corners]
    return lambda point: model.onward(
        model.layers(weights(point)), z[0] + point[0] * z[1] + point[1] * z[2], jnp
    )
