"""What a formula says of its parameters: in which units each is, what shifts the curve along its inputs, what turns it.

Read off the tree alone: no rows, no values. A start is looked for with it (``sure/curve_start.py``).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallline.model.formula import Formula

_TURNING = ("sin", "cos", "tan")
# A function of these is of the same unit as what it is taken of; of all others both have none.
_KEEPING = {"abs": 1.0, "sqrt": 0.5}


class Shift(NamedTuple):
    """A sum of a parameter and what depends on inputs: it is 0 at rows where the parameter is ``sign`` times the ``other``."""

    name: str
    sign: float
    other: Formula


def units(formula: Formula, columns: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The unit of each parameter (p, k + 1): powers of those of the k columns, and of the target last.

    Terms of a sum have one unit, what a sine is taken of has none, a number has none: linear equations, solved by least
    squares, because a formula with its own numbers, as cos(2*pi*x/12) has, need not keep to them.
    """
    p, bases = len(names), len(columns) + 1
    equations: list[np.ndarray] = []

    def unit(tree: tuple[Any, ...]) -> np.ndarray:
        """(p + k + 1,): the parameters' share of a unit, and that of columns and target."""
        operation, *parts = tree
        found = np.zeros(p + bases)
        if operation == "number":
            return found
        if operation == "name":
            found[names.index(parts[0]) if parts[0] in names else p + columns.index(parts[0])] = 1.0
            return found
        if operation == "call":
            of = unit(parts[1])
            if parts[0] in _KEEPING:
                return _KEEPING[parts[0]] * of
            equations.append(of)
            return found
        first, second = unit(parts[0]), unit(parts[1]) if len(parts) > 1 else found
        match operation:
            case "negative":
                return first
            case "*":
                return first + second
            case "/":
                return first - second
            case "^" if parts[1][0] == "number":
                return float(parts[1][1]) * first
            case "^" if parts[1][0] == "negative" and parts[1][1][0] == "number":
                return -float(parts[1][1][1]) * first
            case "^":
                equations.extend((first, second))
                return found
        equations.append(first - second)
        if "number" in (parts[0][0], parts[1][0]):
            return first if parts[1][0] == "number" else second
        # That of the term with fewer parameters is the surer one.
        return first if np.count_nonzero(first[:p]) <= np.count_nonzero(second[:p]) else second

    target = np.zeros(p + bases)
    target[-1] = 1.0
    equations.append(unit(formula.tree) - target)
    rows = np.array(equations)
    return np.asarray(-np.linalg.lstsq(rows[:, :p], rows[:, p:], rcond=None)[0])


def shifts(formula: Formula, columns: Sequence[str], names: Sequence[str]) -> list[Shift]:
    """Where a parameter stands in a sum with what depends on columns: x − m, or p − k x."""
    found = []
    for operation, *parts in _nodes(formula.tree):
        if operation not in ("+", "-"):
            continue
        for one, other in (parts, parts[::-1]):
            within = Formula(other)
            if one[0] == "name" and one[1] in names and one[1] not in within.names and set(within.names) & set(columns):
                found.append(Shift(one[1], 1.0 if operation == "-" else -1.0, within))
    return found


def angles(formula: Formula, columns: Sequence[str]) -> list[Formula]:
    """What sines, cosines and tangents are taken of, each once, where it depends on columns."""
    found = [parts[1] for operation, *parts in _nodes(formula.tree) if operation == "call" and parts[0] in _TURNING]
    made = [Formula(tree) for tree in dict.fromkeys(found)]
    return [angle for angle in made if set(angle.names) & set(columns)]


def _nodes(tree: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield tree
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from _nodes(part)
