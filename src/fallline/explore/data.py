"""Small sets of rows to play with, two inputs and a target each; and the targets as an activation can reach them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROWS = 200

# What an activation can give is where its targets are brought: from the lowest to the highest.
_RANGES = {
    "logistic": (0.1, 0.9),
    "gaussian": (0.1, 0.9),
    "tanh": (-0.8, 0.8),
    "relu": (0.0, 2.0),
    "softplus": (0.1, 2.0),
}


class Pairs(NamedTuple):
    """Rows of two inputs, x (n, 2), and a target t (n,) in units of its own; what the inputs and the target are called."""

    x: np.ndarray
    t: np.ndarray
    inputs: tuple[str, str] = ("x₁", "x₂")
    target: str = "y"


def _valley() -> Pairs:
    random = np.random.default_rng(3)
    first, noise = random.normal(size=(2, ROWS))
    x = np.stack([first, 0.93 * first + 0.37 * noise], axis=1)
    return Pairs(x, x @ [1.6, -0.7] + 0.25 * random.normal(size=ROWS))


def _clouds() -> Pairs:
    random = np.random.default_rng(5)
    side = np.repeat([-1.0, 1.0], ROWS // 2)
    return Pairs(side[:, None] * [0.9, 0.5] + random.normal(size=(ROWS, 2)), side)


def _saddle() -> Pairs:
    random = np.random.default_rng(7)
    x = random.normal(size=(ROWS, 2)) * [1.7, 0.6]
    return Pairs(x, np.sin(1.3 * x[:, 0]) - x[:, 1] + 0.1 * random.normal(size=ROWS))


SETS: dict[str, Callable[[], Pairs]] = {"valley": _valley, "clouds": _clouds, "wave": _saddle}


def within_reach(t: np.ndarray, activation: str) -> np.ndarray:
    """Targets (n,) as (n, 1) that outputs of an activation can come near: standardised, or spread over most of its range."""
    if activation not in _RANGES:
        return ((t - t.mean()) / (t.std() or 1.0))[:, None]
    low, high = _RANGES[activation]
    return (low + (high - low) * (t - t.min()) / (np.ptp(t) or 1.0))[:, None]


def pairs_of(columns: dict[str, np.ndarray], inputs: tuple[str, str], target: str) -> Pairs:
    """Rows of two columns of numbers and a target, at most 200 of those that have all three; inputs are standardised."""
    x, t = np.stack([columns[name] for name in inputs], axis=1), columns[target]
    whole = np.flatnonzero(np.isfinite(x).all(axis=1) & np.isfinite(t))
    few = np.sort(np.random.default_rng(0).permutation(whole)[:ROWS])
    x, t = x[few], t[few]
    spread = x.std(axis=0)
    return Pairs((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0), t, inputs, target)
