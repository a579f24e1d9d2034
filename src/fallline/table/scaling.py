"""Encoded numbers standardised, and the standardisation folded into the first and last layer of a network."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.arrays import on_device, put, widened
from fallline.exceptions import ShapeError, TableError
from fallline.table.sums import Moments

Layers = Sequence[tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Scaling:
    """x' = (x − x_mean) / x_scale and y' = (y − y_mean) / y_scale, and the way back.

    Shapes (d,), (d,), (k,), (k,), float64, in the units of the encoded inputs and of the targets. ``fold``
    gives the network in the users' units that predicts the same as the scaled one on scaled inputs. With ``scores`` (d, q)
    the network takes q scores in their place, x' = (x − x_mean) / x_scale · scores.
    """

    x_mean: np.ndarray
    x_scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray
    scores: np.ndarray | None = None

    @classmethod
    def fit(cls, blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]], **settings: Any) -> "Scaling":
        """Standardise by weighted sums over blocks (x (n, d), y (n, k), sample_weight (n,) or None): see ``of_moments``."""
        inputs = targets = Moments()
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is said below
            for x, y, weights in blocks:
                s = None if weights is None else widened(weights)
                inputs += Moments.of(widened(x), s)
                targets += Moments.of(widened(y), s)
        return cls.of_moments(inputs, targets, **settings)

    @classmethod
    def of_moments(
        cls,
        inputs: Moments,
        targets: Moments,
        *,
        indicators: np.ndarray | None = None,
        centre: bool = True,
        scale_targets: bool = True,
        one_target_scale: bool = False,
    ) -> "Scaling":
        """Standardise columns of which these are the moments, (d,) and (k,).

        Weights are repetitions: the standard deviation is the population's, of rows repeated so often.
        Columns that are constant, up to rounding, are only centred. ``indicators`` (d,) marks columns of 0
        and 1: their scale is ½, the most their standard deviation can be, so that a rare category is not
        blown up. ``centre=False``, for networks without biases, keeps zero where it is and divides by the
        root mean square (indicators stay as they are).
        ``scale_targets=False``, where the output activation is not the identity, leaves y as it is.
        ``one_target_scale`` divides all targets by one number, the root mean square of their scales: E stays what it is
        in the users' units, times a number, and no target of small spread counts for more.
        Raises TableError if no row has a positive weight, or numbers are too large to be squared.
        """
        if not inputs.weight > 0:
            raise TableError("No row has a positive weight, so there is nothing to fit: give some rows weight.")
        with np.errstate(over="ignore"):
            x_mean, x_scale = _mean_and_scale(inputs, centre)
            y_mean, y_scale = _mean_and_scale(targets, centre)
        for what, found in (("inputs", (x_mean, x_scale)), ("targets", (y_mean, y_scale))):
            if not np.isfinite(found).all():
                raise TableError(
                    f"The {what} hold numbers so large that their squares cannot be summed: 1e308 is the most that a computer "
                    "holds. Divide them by a power of ten, such as 1e100."
                )
        if indicators is not None:
            x_scale = np.where(np.asarray(indicators, bool), 0.5 if centre else 1.0, x_scale)
        if one_target_scale:
            spread = targets.m2 / targets.weight + (0.0 if centre else np.square(targets.mean))
            y_scale = np.full_like(y_scale, np.sqrt(spread.mean()) or 1.0)
        if not scale_targets:
            y_mean, y_scale = np.zeros_like(y_mean), np.ones_like(y_scale)
        return cls(x_mean, x_scale, y_mean, y_scale)

    @classmethod
    def identity(cls, d: int, k: int) -> "Scaling":
        """The scaling of d inputs and k targets that changes nothing."""
        return cls(np.zeros(d), np.ones(d), np.zeros(k), np.ones(k))

    def x(self, x: Any) -> Any:
        """Inputs (n, d) in the units of the scaled network."""
        scaled = _where_it_lies(lambda x, mean, scale: (x - mean) / scale, x, self.x_mean, self.x_scale)
        return scaled if self.scores is None else scaled @ self.scores

    def y(self, y: Any) -> Any:
        """Targets (n, k) in the units of the scaled network."""
        return _where_it_lies(lambda y, mean, scale: (y - mean) / scale, y, self.y_mean, self.y_scale)

    def unscale_y(self, y: Any) -> Any:
        """Scaled targets or predictions (n, k) in the users' units."""
        return _where_it_lies(lambda y, mean, scale: y * scale + mean, y, self.y_mean, self.y_scale)

    def fold(self, layers: Layers) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """The layers (coef (in, out), intercept (out,) or None) of a scaled network, in the users' units.

        The output activation must be the identity, unless the targets are not scaled. Raises ShapeError where
        a layer without intercept would need one: fit such a network with ``centre=False``.
        """
        folded = [(np.array(coef, np.float64), intercept) for coef, intercept in layers]
        coef, intercept = folded[0]
        coef = (coef if self.scores is None else self.scores @ coef) / self.x_scale[:, None]
        folded[0] = (coef, _moved(intercept, -(self.x_mean @ coef), "inputs"))
        coef, intercept = folded[-1]
        scaled = None if intercept is None else intercept * self.y_scale
        folded[-1] = (coef * self.y_scale, _moved(scaled, self.y_mean, "targets"))
        return folded

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, for a model file."""
        arrays = {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Scaling":
        """The scaling that ``to_arrays`` gave. Raises ValueError if a part is missing or no finite row."""
        parts = {}
        scores = arrays.get("scores")
        for part in dataclasses.fields(cls)[:-1]:
            if part.name not in arrays:
                raise ValueError(f"The scaling is damaged: `{part.name}` is missing.")
            values = np.asarray(arrays[part.name])
            if values.dtype.kind != "f" or values.ndim != 1 or not np.isfinite(values).all():
                raise ValueError(f"The scaling is damaged: `{part.name}` must be a row of finite numbers.")
            parts[part.name] = values.astype(np.float64)
        if scores is not None and (
            scores.ndim != 2 or len(scores) != len(parts["x_mean"]) or not np.isfinite(scores).all()
        ):
            raise ValueError("The scaling is damaged: `scores` must be finite numbers, a row for each input.")
        scaling = cls(**parts, scores=scores)
        if scaling.x_mean.shape != scaling.x_scale.shape or scaling.y_mean.shape != scaling.y_scale.shape:
            raise ValueError("The scaling is damaged: means and scales differ in length.")
        if not ((scaling.x_scale > 0).all() and (scaling.y_scale > 0).all()):
            raise ValueError("The scaling is damaged: a scale is not positive.")
        return scaling


def _mean_and_scale(moments: Moments, centre: bool) -> tuple[np.ndarray, np.ndarray]:
    """What is taken off each column, (d,), and what it is divided by; ``centre=False`` takes nothing off."""
    variance = moments.m2 / moments.weight
    if not centre:
        scale = np.sqrt(variance + np.square(moments.mean))
        return np.zeros_like(scale), np.where(scale > 0, scale, 1.0)
    scale = np.sqrt(variance)
    # Some hundred roundings of the largest value: such a spread is the computer's, not the table's.
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    constant = (moments.low == moments.high) | (scale <= 1e-13 * largest)
    return moments.mean, np.where(constant, 1.0, scale)


def _where_it_lies(of: Callable[[Any, Any, Any], Any], values: Any, mean: Any, scale: Any) -> Any:
    """of(values, mean, scale); on a device computed in float64 there, and given back in the type of the values."""
    if not on_device(values):
        return of(values, mean, scale)
    wide = widened(values)
    return put(of(wide, put(mean, wide), put(scale, wide)), values)


def _moved(intercept: np.ndarray | None, by: np.ndarray, what: str) -> np.ndarray | None:
    if intercept is not None:
        return intercept + by
    if np.any(by != 0):
        raise ShapeError(
            f"The {what} were centred, but the layer has no intercept to hold their mean: fit the "
            "scaling with centre=False."
        )
    return None
