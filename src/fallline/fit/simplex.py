"""Classes as targets of 0 and 1, and outputs as probabilities: the point of the simplex nearest to them.

Least squares on targets of 0 and 1 finds the probability of each class where the network can follow it: the conditional
mean minimises squared error. What it finds elsewhere need be neither positive nor add up to 1, and the nearest point that is
both comes closer to every possible target. Source: Brier (1950), Monthly Weather Review 78:1.
"""

import numpy as np


def one_hot(number: np.ndarray, classes: int) -> np.ndarray:
    """The numbers of classes (n,) as targets (n, k) of 0 and 1; of two classes (n, 1), 1 where it is the second."""
    columns = (number[:, None] == np.arange(classes)).astype(np.float64)
    return columns[:, 1:] if classes == 2 else columns


def class_numbers_of(columns: np.ndarray) -> np.ndarray:
    """Back from ``one_hot``: the number of each row's class, (n,)."""
    return np.asarray(columns[:, 0].astype(int) if columns.shape[1] == 1 else columns.argmax(axis=1))


def on_simplex(outputs: np.ndarray) -> np.ndarray:
    """The nearest points of the simplex {p ≥ 0, Σ_j p_j = 1} to the rows of outputs (n, k): (n, k), their order kept.

    p_j = max(ŷ_j − θ, 0) with the one θ for which they add up to 1.
    Source: Held, Wolfe & Crowder (1974), Mathematical Programming 6:62, as sorted by Duchi et al. (2008), ICML, Fig. 1.
    """
    y = outputs - outputs.max(axis=1, keepdims=True)  # moves θ alone, and keeps the digits of large outputs
    falling = -np.sort(-y, axis=1)
    count = np.arange(1, y.shape[1] + 1)
    over = (np.cumsum(falling, axis=1) - 1) / count  # θ, were the first j positive and no others
    positive = (falling > over).sum(axis=1, keepdims=True)
    return np.maximum(y - np.take_along_axis(over, positive - 1, axis=1), 0.0)


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Outputs (n, k) as probabilities of k classes, (n, k); outputs (n, 1) are those of the second of two classes, (n, 2)."""
    if outputs.shape[1] == 1:
        second = np.clip(outputs, 0.0, 1.0)  # what the simplex makes of (1 − ŷ, ŷ)
        return np.hstack([1.0 - second, second])
    return on_simplex(outputs)
