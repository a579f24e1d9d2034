"""The same as a sweep through a network, for any model that gives its own Jacobian: a curve of few parameters."""

import functools
from typing import Any

import numpy as np


class Direct:
    """One model at one vector of weights (p,), over rows x (n, inputs); ``predicted`` (outputs, n) as ``Dense`` has it."""

    def __init__(self, model: Any, weights: Any, x: Any) -> None:
        self.model, self.weights, self.x = model, weights, x
        self.predicted = np.asarray(model.predict(weights, x)).T

    @functools.cached_property
    def _jacobian(self) -> np.ndarray:
        return np.asarray(self.model.jacobian(self.weights, self.x))

    def jacobian(self) -> np.ndarray:
        """J = ∂ŷ/∂w, (n, outputs, p)."""
        return self._jacobian

    def back(self, u: np.ndarray) -> np.ndarray:
        """Jᵀ u for u (outputs, n): (p,)."""
        return np.tensordot(u.T, self._jacobian, axes=2)

    def along(self, direction: np.ndarray) -> np.ndarray:
        """J v for a direction v (p,): (outputs, n)."""
        return (self._jacobian @ direction).T

    def turned_back(self, u: np.ndarray, du: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """How Jᵀu changes along each of c directions (c, p), where u changes by du (c, outputs, n): (c, p)."""
        turns = [self.model.jacobian_along(self.weights, self.x, each) for each in directions]
        return np.stack([np.tensordot(u.T, turn, axes=2) for turn in turns]) + np.tensordot(
            np.swapaxes(du, 1, 2), self._jacobian, axes=2
        )
