"""Slopes of a function of which only values are known, f(w) (n,) of weights w (p,): by the complex step, by differences.

f(w + ih)/h has the slope as its imaginary part, exact to rounding, where f is analytic and takes complex numbers: not where it
asks abs, compares, or calls what knows real numbers only. Nothing here knows what f is.
Source: Squire & Trapp (1998), SIAM Review 40:110.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Central differences lose least where the step is the cube root of the rounding, the fourth root where they are taken of
# differences: Press et al. (2007), *Numerical Recipes*, sec. 5.7. An imaginary step loses nothing, however short.
_EPSILON = float(np.finfo(np.float64).eps)
_SHARE, _IMAGINARY = _EPSILON ** (1 / 3), 1e-30
_AGREE = 1e-5  # share of a column's largest slope by which the two may differ: no descent minds


def by_complex_step(f: Callable[[Any], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """∂f/∂w (n, p) from f(w + ih)/h, of which no digit is lost to a difference."""
    parts = []
    for i, step in enumerate(_IMAGINARY * sizes(weights)):
        at: list[Any] = list(weights)
        at[i] = complex(weights[i], step)
        found = f(at)
        parts.append(np.where(np.isnan(found), np.nan, found.imag / step))
    return as_columns(parts, len(parts[0]))


def by_differences(f: Callable[[Any], np.ndarray], weights: np.ndarray, share: float = _SHARE) -> np.ndarray:
    """∂f/∂w (n, p) by central differences, to either side as far as this share of each weight."""
    parts = []
    for i, reach in enumerate(share * sizes(weights)):
        above, below = weights.copy(), weights.copy()
        above[i], below[i] = weights[i] + reach, weights[i] - reach
        parts.append((f(above) - f(below)) / (above[i] - below[i]))
    return as_columns(parts, len(parts[0]))


def along(
    slopes: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, direction: np.ndarray, *, exact: bool
) -> np.ndarray:
    """d/dt of slopes(weights + t · direction) at t = 0, by a central difference; ``exact``: they are none themselves."""
    longest = np.max(np.abs(direction) / sizes(weights)) or 1.0
    reach = _EPSILON ** (1 / 3 if exact else 1 / 4) / longest
    return (slopes(weights + reach * direction) - slopes(weights - reach * direction)) / (2.0 * reach)


def complex_step_holds(f: Callable[[Any], np.ndarray], weights: np.ndarray) -> bool | None:
    """Whether it agrees with central differences as far as these are sure; None where they are no numbers."""
    with np.errstate(all="ignore"):
        slopes, finer = by_differences(f, weights), by_differences(f, weights, _SHARE / 4)
        known = np.isfinite(slopes) & np.isfinite(finer)
        if not known.any():
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                found = by_complex_step(f, weights)
        except Exception:  # whatever a function that was not written for complex numbers may raise
            return False
        value = f(weights)
        rounding = _EPSILON * np.max(np.abs(value), initial=0.0, where=np.isfinite(value)) / sizes(weights)
        unsure = 4 * np.abs(slopes - finer) + 64 * rounding / _SHARE
        largest = np.max(np.abs(slopes), axis=0, initial=0.0, where=known)
        return bool(np.all(np.abs(found - slopes) <= _AGREE * largest + unsure, where=known))


def sizes(weights: np.ndarray) -> np.ndarray:
    """|w|, and 1 where that is 0."""
    return np.where(weights == 0, 1.0, np.abs(weights))


def as_columns(parts: Sequence[Any], n: int) -> np.ndarray:
    """Arrays (n,), or numbers, side by side: (n, parts)."""
    found = np.empty((n, len(parts)))
    for i, part in enumerate(parts):
        found[:, i] = part
    return found
