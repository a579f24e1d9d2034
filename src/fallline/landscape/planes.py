"""Planes in the space of the weights: an origin and two directions.

An error over many weights can be looked at over a plane of them only. Which plane decides what is seen, so each one
says what it is, and how much of a path it misses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.landscape.hessian import extreme_eigenvectors
from fallline.model.network import Model
from fallline.rows.memory import GivenRows
from fallline.threads import one_blas_thread
from fallline.words import percent

Kind = Literal["weights", "random", "path", "curvature", "minima", "given"]

_PARALLEL = 1e-8  # the sine of the least angle between two directions that make a plane


@dataclass(frozen=True, eq=False)
class Plane:
    """The weights origin + a · first + b · second, for all numbers a and b.

    origin, first, second (n_weights,), the directions neither parallel nor zero; they need not be at right angles nor of
    length 1. ``labels`` name the two axes. ``kind`` says where the plane comes from. Raises ShapeError for vectors of
    different length, SettingsError for directions that make no plane.
    """

    origin: np.ndarray
    first: np.ndarray
    second: np.ndarray
    labels: tuple[str, str] = ("first direction", "second direction")
    kind: Kind = "given"

    def __post_init__(self) -> None:
        for name in ("origin", "first", "second"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        shapes = {self.origin.shape, self.first.shape, self.second.shape}
        if len(shapes) > 1 or self.origin.ndim != 1:
            raise ShapeError(
                f"origin, first and second have shapes {self.origin.shape}, {self.first.shape} and {self.second.shape}: "
                "give three vectors of the same length, one number for each weight."
            )
        lengths = np.linalg.norm(self.first), np.linalg.norm(self.second)
        if not (np.isfinite([*lengths, np.linalg.norm(self.origin)]).all() and min(lengths) > 0):
            raise SettingsError("a plane needs a finite origin and two finite directions that are not zero.")
        first, second = self.first / lengths[0], self.second / lengths[1]
        if np.linalg.norm(second - (first @ second) * first) < _PARALLEL:
            raise SettingsError("the two directions are parallel and make a line, not a plane: choose another one.")

    @classmethod
    def of_weights(
        cls, model: Model, which: Sequence[int | str], at: Any = None, names: Sequence[str] | None = None
    ) -> "Plane":
        """The plane of two named weights, the others as they are ``at`` (n_weights,); its coordinates are the two weights.

        which: two of ``names`` (by default the model's ``weight_names``, such as ``x1->h1``) or of their numbers from 0.
        Raises SettingsError for a weight that the model does not have, or twice the same.
        """
        known = tuple(names) if names is not None else names_of(model)
        if len(which) != 2:
            raise SettingsError(f"a plane needs two weights, and {len(which)} were named.")
        numbers = [_number_of(name, known) for name in which]
        if numbers[0] == numbers[1]:
            raise SettingsError(f"weight {known[numbers[0]]!r} was named twice: a plane needs two weights.")
        origin = np.zeros(model.n_weights) if at is None else np.array(at, np.float64)
        if origin.shape != (model.n_weights,):
            raise ShapeError(f"the weights to draw around have shape {origin.shape}; expected ({model.n_weights},).")
        origin[numbers] = 0.0
        first, second = (np.zeros(model.n_weights) for _ in range(2))
        first[numbers[0]] = second[numbers[1]] = 1.0
        one, two = (f"weight {known[number]}" for number in numbers)
        return cls(origin, first, second, (one, two), "weights")

    @classmethod
    def at_random(cls, model: Model, at: Any, seed: int = 0) -> "Plane":
        """Two random directions through ``at`` (n_weights,), each scaled neuron by neuron to the length of its weights.

        A neuron is one unit with all weights that lead into it, its bias among them: with biases left out, as in the
        original, a path would leave the plane. A neuron whose weights are all 0 stays as it is. One unit of a direction is as
        long as the weights themselves. Source: Li, Xu, Taylor, Studer & Goldstein (2018), arXiv 1712.09913, sec. 4.
        """
        at = np.asarray(at, np.float64)
        random = np.random.default_rng(seed)
        units = model.units() if hasattr(model, "units") else np.arange(model.n_weights)
        count = int(units.max()) + 1
        lengths = np.sqrt(np.bincount(units, at**2, count))
        directions = random.standard_normal((2, model.n_weights))
        for direction in directions:
            own = np.sqrt(np.bincount(units, direction**2, count))
            direction *= (lengths / np.where(own > 0, own, 1.0))[units]
        if not lengths.any():
            raise SettingsError(
                "random directions are scaled to the length of the weights, and these weights are all 0: start elsewhere."
            )
        return cls(at, directions[0], directions[1], ("random direction 1", "random direction 2"), "random")

    @classmethod
    def of_path(cls, weights: Any) -> "Plane":
        """The plane through the last of (k, n_weights) points that holds most of the way to it.

        Its directions, of length 1, are the first two principal components of the differences from the last point.
        Where all points lie on one line, the second is the direction nearest to the axis of a weight that the first leaves
        out most. Raises SettingsError where they are all the same. Source: Li et al. (2018), sec. 7.
        """
        weights = np.asarray(weights, np.float64)
        away = weights - weights[-1]
        whole = float(np.sum(away**2))
        if whole == 0.0:
            raise SettingsError(
                "the path has one point only, and a plane of principal components needs a way: take a step or choose "
                "another plane, such as plane='random'."
            )
        # Of the smaller of the two products; squaring costs digits of the small components only, and two are wanted.
        with one_blas_thread():  # small matrices: several threads wait for each other longer than they work
            if len(away) <= away.shape[1]:
                values, vectors = np.linalg.eigh(away @ away.T)
                vectors = away.T @ vectors
            else:
                values, vectors = np.linalg.eigh(away.T @ away)
        shares = (np.maximum(values[::-1][:2], 0.0) / whole).tolist()
        first = _unit(vectors[:, -1])
        if len(values) < 2 or shares[1] < 1e-14:
            second = np.zeros_like(first)
            second[int(np.argmin(np.abs(first)))] = 1.0
            second = _unit(second - (first @ second) * first)
            labels = f"direction of the path ({percent(shares[0], 3)})", "direction across the path"
        else:
            second = _unit(vectors[:, -2] - (first @ vectors[:, -2]) * first)
            one, two = (percent(share, 3) for share in shares)
            labels = f"first principal direction ({one})", f"second principal direction ({two})"
        # The path comes from the left and from below: the sign of a component means nothing.
        first, second = (-d if away[0] @ d > 0 else d for d in (first, second))
        return cls(weights[-1], first, second, labels, "path")

    @classmethod
    def of_curvature(
        cls, model: Model, rows: GivenRows, at: Any, strength: np.ndarray | None = None, seed: int = 0
    ) -> "Plane":
        """The plane through ``at`` of the stiffest and the softest direction: where the error bends most and least.

        Eigenvectors of the Hessian of E, or of the penalised error with ``strength`` (n_weights,), for its largest and its
        smallest eigenvalue, of length 1.
        """
        at = np.asarray(at, np.float64)
        values, (stiff, soft) = extreme_eigenvectors(model, rows, at, strength, seed=seed)
        labels = f"stiffest direction (λ = {values[0]:.3g})", f"softest direction (λ = {values[1]:.3g})"
        return cls(at, stiff, soft, labels, "curvature")

    @classmethod
    def through(cls, points: Any, names: Sequence[str] = ("A", "B", "C")) -> "Plane":
        """The plane through three points (3, n_weights), such as minima: (0, 0) is the first, (1, 0) the second.

        The second direction stands at right angles to the first and is as long. Raises SettingsError where the three lie on
        one line.
        """
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or len(points) != 3:
            raise ShapeError(f"a plane goes through three points, and the shape given is {points.shape}.")
        first, second = points[1] - points[0], points[2] - points[0]
        length = float(np.linalg.norm(first))
        across = second - (first @ second) / (length**2 or 1.0) * first
        height = float(np.linalg.norm(across))
        if height < _PARALLEL * float(np.linalg.norm(second)) or height == 0.0 or length == 0.0:
            raise SettingsError("the three points lie on one line, and many planes hold it: choose another.")
        labels = f"from {names[0]} to {names[1]}", f"across, towards {names[2]}"
        return cls(points[0], first, across * (length / height), labels, "minima")

    @property
    def n_weights(self) -> int:
        return len(self.origin)

    @property
    def aspect(self) -> float | None:
        """How long a unit of the second coordinate is beside one of the first; None where they are not at right angles.

        On a map drawn so, distances are those of the weights, and the gradient crosses contour lines at right angles.
        """
        lengths = np.linalg.norm(self.first), np.linalg.norm(self.second)
        if abs((self.first / lengths[0]) @ (self.second / lengths[1])) > 1e-6:
            return None
        return float(lengths[1] / lengths[0])

    def at(self, coordinates: Any) -> np.ndarray:
        """The weights at (…, 2) coordinates (a, b): (…, n_weights)."""
        c = np.asarray(coordinates, np.float64)
        return self.origin + c[..., :1] * self.first + c[..., 1:] * self.second

    def coordinates(self, weights: Any) -> np.ndarray:
        """The coordinates (…, 2) of the points of the plane nearest to weights (…, n_weights)."""
        weights = np.asarray(weights, np.float64)
        if weights.shape[-1:] != (self.n_weights,):
            raise ShapeError(
                f"weights of shape {weights.shape} were given for a plane in the space of {self.n_weights} weights."
            )
        away = weights - self.origin
        # Divided by their lengths first: a direction may be a million times longer than the other.
        lengths = np.array([np.linalg.norm(self.first), np.linalg.norm(self.second)])
        units = np.stack([self.first, self.second]) / lengths[:, None]
        return np.linalg.solve(units @ units.T, (away @ units.T)[..., None])[..., 0] / lengths

    def distance(self, weights: Any) -> np.ndarray:
        """How far weights (…, n_weights) are from the plane: (…,), in units of the weights."""
        return np.linalg.norm(np.asarray(weights, np.float64) - self.at(self.coordinates(weights)), axis=-1)

    def share(self, weights: Any) -> float:
        """The share of the way of (k, n_weights) points that lies in the plane, between 0 and 1.

        Of the squares of their distances from the last point, summed, what the plane holds. 1 for a plane that
        contains them all, and for points that are all the same.
        """
        weights = np.asarray(weights, np.float64)
        whole = float(np.sum((weights - weights[-1]) ** 2))
        return max(1.0 - float(np.sum(self.distance(weights) ** 2)) / whole, 0.0) if whole else 1.0


def alike(model: Any) -> bool:
    """Whether the weights of a model share a unit, as those of a network do; each parameter of a curve has one of its own."""
    return hasattr(model, "units")


def names_of(model: Any, inputs: Sequence[str] | None = None) -> tuple[str, ...]:
    """A name for each weight: the model's own, or w1, w2, …"""
    if hasattr(model, "weight_names"):
        return tuple(model.weight_names(inputs))
    return tuple(f"w{i + 1}" for i in range(model.n_weights))


def _number_of(name: int | str, names: tuple[str, ...]) -> int:
    if isinstance(name, str):
        if name in names:
            return names.index(name)
    elif not isinstance(name, bool) and 0 <= int(name) < len(names):
        return int(name)
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise SettingsError(
        f"there is no weight {name!r}: the model has {len(names)}, by name {shown} or by number 0 to {len(names) - 1}."
    )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
