"""Many inputs as a few scores: the directions of the inputs that go with the targets (partial least squares)."""

import numpy as np

MOST_SCORES = 16
_NOTHING = 1e-12  # of the covariance at first: below it nothing is left to find


def scores_of(x: np.ndarray, y: np.ndarray, s: np.ndarray, most: int = MOST_SCORES) -> np.ndarray:
    """Directions (inputs, q) of x (n, inputs) whose scores x · direction have unit spread and no correlation, q ≤ ``most``.

    Each has the largest covariance with y (n, k) that its scores, uncorrelated with those before, can have. s (n,): how often
    each row counts; x and y are centred here. Source: de Jong (1993), Chemometrics 18:251, SIMPLS.
    """
    n = float(s.sum())
    x, y = x - s @ x / n, y - s @ y / n
    weighted = s[:, None] * x
    covariance = weighted.T @ y
    first, directions, basis = float(np.linalg.norm(covariance)), [], np.empty((x.shape[1], 0))
    for _ in range(min(most, x.shape[1], len(x) - 1)):
        if not np.linalg.norm(covariance) > _NOTHING * first:
            break
        direction = covariance @ np.linalg.eigh(covariance.T @ covariance)[1][:, -1]
        score = x @ direction
        spread = np.sqrt(s @ score**2 / n)
        if not spread > 0:
            break
        direction, score = direction / spread, score / spread
        loading = weighted.T @ score
        loading = loading - basis @ (basis.T @ loading)
        loading = loading - basis @ (basis.T @ loading)  # once more: the first leaves rounding
        length = np.linalg.norm(loading)
        if not length > 0:
            break
        directions.append(direction)
        basis = np.column_stack([basis, loading / length])
        covariance = covariance - basis @ (basis.T @ covariance)
    return np.column_stack(directions or [np.zeros(x.shape[1])])


def score_names(count: int) -> list[str]:
    """What so many scores are called, where inputs have names."""
    return [f"score {k + 1}" for k in range(count)]
