"""Whole numbers that are codes: the mean of the target goes up and down with them as no quantity makes it."""

import numpy as np

LEAST = 1e-7  # p from which on a number explains what its size does not
_FEWEST, _MOST = 3, 50  # values of a code
_ROWS = 5  # of each value that is looked at
_SHARE = 0.8  # of the rows, that such values must have


def odd_as_quantity(x: np.ndarray, y: np.ndarray) -> float:
    """How likely the means of y are to vary so over the values of x, both (n,), if x were a quantity: p of an F test.

    x holds whole numbers, NaN where missing. Where they are counted on from 0 or 1, as codes mostly are, a quantity has means
    that only rise or only fall; else they may turn once. 1 where there are too many values, or too few rows of them. The means
    of a quantity come from isotonic regression; what is left has a degree of freedom for each mean that was put together with
    another: Barlow, Bartholomew, Bremner & Brunk (1972), Statistical Inference under Order Restrictions.
    """
    from scipy.special import fdtrc

    known = np.isfinite(x)
    values, counts = np.unique(x[known], return_counts=True)
    known &= np.isin(x, values[counts >= _ROWS])
    values, place, counts = np.unique(x[known], return_inverse=True, return_counts=True)
    y, k = y[known], len(values)
    if not _FEWEST <= k <= _MOST or len(y) < max(_SHARE * np.isfinite(x).sum(), 2 * k):
        return 1.0
    means = np.bincount(place, y) / counts
    within = float(np.sum((y - means[place]) ** 2))
    counted_on = values[0] in (0, 1) and values[-1] - values[0] == k - 1

    def p(fit: np.ndarray, parameters: int) -> float:
        left, freedom, more = float(counts @ (means - fit) ** 2), k - parameters, len(y) - k
        return float(fdtrc(freedom, more, left / freedom / max(within / more, 1e-300))) if freedom and left else 1.0

    from_middle = values - values.mean()
    line = np.polyval(np.polyfit(from_middle, means, 1, w=np.sqrt(counts)), from_middle)
    if p(line, 2) > LEAST:  # then no less straight shape is refuted either
        return 1.0
    nearest = min(_shapes(means, counts, turns=not counted_on), key=lambda fit: float(counts @ (means - fit) ** 2))
    return p(nearest, len(np.unique(nearest)))


def _shapes(means: np.ndarray, counts: np.ndarray, turns: bool) -> list[np.ndarray]:
    """The nearest sequences that only rise or only fall; where one turn is allowed, those of both parts at every place of it."""
    from scipy.optimize import isotonic_regression

    def nearest(part: slice, rising: bool) -> np.ndarray:
        return np.asarray(isotonic_regression(means[part], weights=counts[part], increasing=rising).x)

    whole = slice(None)
    found = [nearest(whole, True), nearest(whole, False)]
    for at in range(1, len(means)) if turns else ():
        found += [np.r_[nearest(slice(at), up), nearest(slice(at, None), not up)] for up in (True, False)]
    return found
