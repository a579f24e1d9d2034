"""Some rows of a table to look at more closely than sums can, however long the table is."""

import numpy as np

_ROWS = 2048  # at most
_CELLS = 1 << 22  # at most


class Sample:
    """At ``most`` so many rows drawn at random, the same wherever blocks are cut: those whose numbers have the lowest hashes."""

    def __init__(self, width: int, most: int = _ROWS) -> None:
        self.rows = np.zeros((0, width))  # in the order of the table
        self.given = 0
        self._most = min(most, max(_CELLS // max(width, 1), 1))
        self._draws = np.zeros(0, np.uint64)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take in further rows, x (n, inputs) and y (n, targets), to stand side by side."""
        draws = mixed(numbered(np.arange(self.given, self.given + len(x))))
        self.given += len(x)
        at = np.arange(len(x))
        if len(self._draws) == self._most:
            at = np.flatnonzero(draws < self._draws.max())
        draws = np.concatenate([self._draws, draws[at]])
        kept = np.sort(np.argsort(draws, kind="stable")[: self._most])
        before, new = kept[kept < len(self._draws)], at[kept[kept >= len(self._draws)] - len(self._draws)]
        self.rows = np.concatenate([self.rows[before], np.column_stack([x[new], y[new]])])
        self._draws = draws[kept]


def drawn(rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which of the rows of these numbers (n,) are among a random ``share`` of all: (n,) bool, by number and seed alone."""
    salt = np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64)
    return mixed(numbered(rows) ^ salt) < np.uint64(min(share * 2.0**64, 2.0**64 - 2048))


def numbered(rows: np.ndarray) -> np.ndarray:
    """A number far from its neighbours' for each row number: uint64 (rows,)."""
    with np.errstate(over="ignore"):
        return (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def mixed(bits: np.ndarray) -> np.ndarray:
    """A hash of each of these uint64 (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        found = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(found ^ (found >> np.uint64(31)))
