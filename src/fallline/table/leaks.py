"""Inputs that are the target, or add up to it: which one, two or three do so, with signs ±1, in every row."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

Terms = tuple[tuple[int, int], ...]
"""(input, +1 or −1), …"""

_PROPOSING = 256  # rows that propose relations
_MOST_RELATIONS = 200
_FOR_PAIRS, _FOR_TRIPLES = 400, 60  # inputs up to which pairs and triples are tried


class Leaks:
    """The relations that held in every row so far.

    The first rows propose, all later rows refute: a relation that holds everywhere is found wherever the
    blocks are cut. Rows with a missing value in it say nothing about a relation.
    """

    def __init__(self, inputs: int, targets: int) -> None:
        self._x, self._y = np.zeros((0, inputs)), np.zeros((0, targets))  # the first rows
        self._relations: dict[tuple[int, Terms], int] | None = None

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take in further rows, x (n, inputs) and y (n, targets)."""
        if self._relations is None:
            x, y = np.concatenate([self._x, x]), np.concatenate([self._y, y])
            self._x, self._y = x[:_PROPOSING], y[:_PROPOSING]
            if len(x) < _PROPOSING:
                return
            self._relations = _propose(self._x, self._y)
            x, y = x[_PROPOSING:], y[_PROPOSING:]
        left = {}
        for (target, terms), rows in self._relations.items():
            inputs, signs = zip(*terms, strict=True)
            wrong, told = _wrong(x, inputs, signs, y[:, target])
            if not wrong.any():
                left[target, terms] = rows + int(told.sum())
        self._relations = left

    def found(self) -> Mapping[tuple[int, Terms], int]:
        """(target, terms) → the number of rows in which that is known to hold."""
        return _propose(self._x, self._y) if self._relations is None else self._relations


def _wrong(
    x: np.ndarray, inputs: np.ndarray | Sequence[int], signs: Sequence[int], target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where these inputs with these signs do not add up to the target; and where all of them are known.

    ``inputs`` (size,) of x (n, inputs), or (m, size) of one row x (inputs,).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        parts = x[..., inputs] * np.array(signs)
        off = np.abs(parts.sum(axis=-1) - target)
        size = np.maximum(np.abs(parts).max(axis=-1), np.abs(target))
        known = np.isfinite(off)
        return known & (off > 1e-9 * size), known


def _propose(x: np.ndarray, y: np.ndarray) -> dict[tuple[int, Terms], int]:
    found: dict[tuple[int, Terms], int] = {}
    rows = np.unique(np.column_stack([x, y]), axis=0)  # equal rows refute the same
    usable = np.flatnonzero(np.isfinite(x).any(axis=0))
    sizes = 1 + (len(usable) <= _FOR_PAIRS) + (len(usable) <= _FOR_TRIPLES)
    for size in range(1, sizes + 1):
        chosen = np.array(list(itertools.combinations(usable, size)), dtype=np.intp).reshape(-1, size)
        for signs in itertools.product((1, -1), repeat=size):
            for target in range(y.shape[1]):
                left = chosen
                for row in rows:  # most relations fall at the first rows
                    wrong, _ = _wrong(row, left, signs, row[x.shape[1] + target])
                    left = left[~wrong]
                    if not len(left):
                        break
                for inputs in left[: _MOST_RELATIONS - len(found)].tolist():
                    _, told = _wrong(x, inputs, signs, y[:, target])
                    found[target, tuple(zip(inputs, signs, strict=True))] = int(told.sum())
    return found
