"""E at many points of a plane: one compiled program over points × rows, in blocks that stay in the cache."""

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.landscape.planes import Plane
from fallline.network import Model, Network
from fallline.rows.memory import Capacity, Part, Parts, Rows, block_at, check_fit
from fallline.threads import one_blas_thread, processors

_POINTS, _FEW = 256, 4  # of one call
# What enters the widest layer from one block of rows stays in the first-level cache, and so much of a few points in the
# second: the activations are then all that takes time.
_BLOCK_BYTES = 1 << 15
_TOGETHER = 4


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
