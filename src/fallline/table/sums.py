"""What is added up over the rows of a table to judge its columns: one pass, a block at a time, in the order of the rows.

Where the rows are cut into blocks changes nothing, beyond rounding. What follows from the sums is for ``roles.py``.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.arrays import namespace, to_numpy
from fallline.exceptions import TableError
from fallline.table.encoding import DAY, Values, targets_of
from fallline.table.leaks import Leaks
from fallline.table.sample import Sample, mixed, numbered
from fallline.words import nearest

FEW = 5
_ROWS_IN_ORDER = 20  # fewer are in order by chance, or on purpose
_MOST_TEXTS = 50_000  # different texts remembered in one column; those that come later count as "more"


class TableSums:
    """What is asked of the columns of a table, and the sums of all of them."""

    def __init__(
        self, targets: Sequence[str], drop: Iterable[str], keep: Iterable[str], categories: Iterable[str]
    ) -> None:
        self.targets = tuple(targets)
        self.drop, self.keep, self.categories = frozenset(drop), frozenset(keep), frozenset(categories)
        self.rows = 0
        self.complete = 0  # rows with a value of every target
        self.columns: dict[str, ColumnSums] = {}
        self.target_values: list[list[float]] = [[] for _ in self.targets]  # up to FEW different ones of each

    def add(self, block: Mapping[str, np.ndarray]) -> None:
        """Take in a block. Raises TableError where it lacks what was asked for or does not go with the blocks before."""
        if not self.columns:
            self._check(tuple(block))
            self.columns = {name: ColumnSums() for name in block}
            inputs = [name for name in block if name not in self.targets]
            self.inputs = {name: place for place, name in enumerate(inputs)}
            self.leaks = Leaks(len(self.inputs), len(self.targets))
            self.sample = Sample(len(self.inputs) + len(self.targets))
        if odd := sorted(self.columns.keys() ^ block.keys()):
            raise TableError(f"Column `{odd[0]}` is in some blocks of rows and not in others.")
        y = targets_of(block, self.targets)
        complete = ~np.isnan(y).any(axis=1)
        x = np.full((int(complete.sum()), len(self.inputs)), np.nan)
        for name, given in block.items():
            values = Values.of(given)
            counts = np.ones(len(y), bool) if name in self.targets else complete
            self.columns[name].add(name, values, counts, self.rows, name in self.categories)
            if name in self.inputs and name not in self.drop and values.kind in ("number", "boolean"):
                x[:, self.inputs[name]] = values.data[complete]
        self.leaks.add(x, y[complete])
        self.sample.add(x, y[complete])
        self.target_values = [
            sorted({*known, *np.unique(column)[:FEW].tolist()})[:FEW]
            for known, column in zip(self.target_values, y[complete].T, strict=True)
        ]
        self.rows += len(y)
        self.complete += len(x)

    def _check(self, names: Sequence[str]) -> None:
        """Raise TableError for a name that is not there, given twice, or asked for two things at once."""
        if not self.targets:
            raise TableError("No target was given: name the column to predict.")
        for name, count in Counter(self.targets).items():
            if count > 1:
                raise TableError(f"`{name}` is given as a target twice: name each target once.")
        check_there(self.targets, names, "target")
        asked = {"drop": self.drop, "keep": self.keep, "categories": self.categories}
        for what, wanted in asked.items():
            check_there(sorted(wanted), names, what)
            if both := sorted(wanted.intersection(self.targets)):
                raise TableError(f"`{both[0]}` is a target, so it cannot be in {what} as well: take it out of one.")
            if what != "drop" and (both := sorted(wanted & self.drop)):
                raise TableError(f"`{both[0]}` is both in drop and in {what}: take it out of one.")


def check_there(wanted: Iterable[str], names: Sequence[str], what: str) -> None:
    """Raise TableError for the first name wanted that is not among the names, with the nearest of them."""
    for name in wanted:
        if name not in names:
            shown = ", ".join(f"`{known}`" for known in names[:20]) + (", …" if len(names) > 20 else "")
            near = nearest(name, names)
            hint = f"Did you mean `{near}`?" if near else f"The columns are {shown}."
            raise TableError(f"There is no column `{name}` to be a {what}. {hint}")


@dataclass(frozen=True)
class Moments:
    """Weight, mean, squared deviations, smallest and largest; numbers or arrays, one per column.

    Added as Chan, Golub & LeVeque (1979) do: sums of squares would lose a column such as 1e9 ± 1.
    """

    weight: float = 0.0
    mean: Any = 0.0
    m2: Any = 0.0
    low: Any = np.inf
    high: Any = -np.inf

    @classmethod
    def of(cls, values: Any, weights: Any = None) -> "Moments":
        """Of the rows of ``values``, (n,) or (n, d), with n weights, in NumPy wherever the rows lie."""
        if weights is not None:
            values, weights = values[weights > 0], weights[weights > 0]
        if values.shape[0] == 0:
            return cls()
        xp = namespace(values)

        def total(terms: Any) -> Any:
            return xp.sum(terms, axis=0) if weights is None else xp.tensordot(weights, terms, axes=((0,), (0,)))

        weight = float(values.shape[0] if weights is None else xp.sum(weights))
        # Deviations from a row of the block itself are small where the values agree in their leading digits.
        first = values[0, ...]
        shifted = values - first
        mean = total(shifted) / weight
        found = first + mean, total((shifted - mean) ** 2), xp.min(values, axis=0), xp.max(values, axis=0)
        return cls(weight, *map(to_numpy, found))

    def __add__(self, other: "Moments") -> "Moments":
        """Of the rows of both."""
        if not self.weight or not other.weight:
            return self if self.weight else other
        weight, apart = self.weight + other.weight, other.mean - self.mean
        return Moments(
            weight,
            self.mean + apart * (other.weight / weight),
            self.m2 + other.m2 + np.square(apart) * (self.weight * other.weight / weight),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )


class ColumnSums:
    """The sums of one column over the rows that count: those whose targets are complete, or all, of a target."""

    def __init__(self) -> None:
        self.kind = "empty"  # as of ``Values``
        self.rows = 0
        self.missing = 0
        self.moments = Moments()  # of numbers, booleans, and dates in days since 1970
        self.clock = Moments()  # microseconds since midnight
        self.weekdays = np.zeros(7, np.int64)  # rows on each day of the week
        self.whole = True
        self.given, self.rises, self.falls, self.rise, self.last = 0, 0, 0, 0.0, math.nan  # from row to row, all rows
        self.too_large: tuple[int, float] | None = None  # the first row, from 1, with such a number
        self.texts: dict[str, int] = {}  # the first _MOST_TEXTS texts, and how often they occur
        self.more_texts = 0  # rows with other texts
        self.fingerprint = 0  # equal for columns with equal values in equal rows

    @property
    def present(self) -> int:
        """Rows that count and have a value."""
        return self.rows - self.missing

    @property
    def like_row_numbers(self) -> bool:
        """Whether it counts the rows, though some may be left out, and it may start again now and then."""
        falls = self.given - 1 - self.rises
        return self.whole and self.given > 2 and falls <= 0.05 * self.given and self.rise <= 2.5 * self.given

    @property
    def in_order(self) -> bool:
        """Whether it is whole numbers that rise, or fall, from row to row nearly everywhere, so that nearly all are different."""
        return self.whole and self.given >= _ROWS_IN_ORDER and max(self.rises, self.falls) >= 0.95 * (self.given - 1)

    def add(self, name: str, values: Values, counts: np.ndarray, start: int, as_category: bool) -> None:
        """Take in the rows of a block that count, (n,) bool, the first of which is row ``start``."""
        present = counts & ~values.missing
        kind = values.kind if present.any() or values.kind == "text" else "empty"
        kinds = {self.kind, kind} - {"empty"}
        if len(kinds) > 1 and kinds != {"number", "boolean"}:
            first, second = sorted(kinds)
            raise TableError(f"Column `{name}` holds {first} values in some rows and {second} values in others.")
        self.kind = "number" if len(kinds) > 1 else next(iter(kinds), "empty")
        self.rows += int(counts.sum())
        self.missing += int((counts & values.missing).sum())
        self._count_rises(values)
        numeric, cells = kind in ("number", "boolean"), values.data[present]
        if numeric and (large := np.flatnonzero(counts & values.too_large)).size:
            self.too_large = self.too_large or (start + int(large[0]) + 1, float(values.data[large[0]]))
        elif numeric:
            self.moments += Moments.of(cells)
            self.whole &= bool(np.all(np.floor(cells) == cells))
        elif kind == "date":
            ticks = cells.astype(np.int64)
            days = ticks // DAY
            self.moments += Moments.of(ticks / DAY)
            self.clock += Moments.of((ticks - days * DAY).astype(np.float64))
            self.weekdays += np.bincount((days + 3) % 7, minlength=7)  # 1970-01-01 was a Thursday
        if numeric or kind == "empty":
            numbers = values.data if numeric else np.full(len(counts), np.nan)
            self.fingerprint += _fingerprint(numbers[counts], start + np.flatnonzero(counts))
            self.fingerprint %= 2**64
        if kind == "text" or (as_category and numeric):
            self._count_texts(Counter(itertools.compress(values.keys(), present)))

    def _count_rises(self, values: Values) -> None:
        self.given += len(values.data)
        if values.kind != "number" or values.missing.any() or values.too_large.any():
            self.last = math.nan
            return
        steps = np.diff(values.data, prepend=self.last)
        self.rises += int(np.sum(steps > 0))
        self.falls += int(np.sum(steps < 0))
        self.rise += float(steps[steps > 0].sum())
        self.last = float(values.data[-1])

    def _count_texts(self, texts: Mapping[Any, int]) -> None:
        """Remember the texts in the order they are met, so that it does not matter where the blocks are cut."""
        for text, count in texts.items():
            if text in self.texts or len(self.texts) < _MOST_TEXTS:
                self.texts[text] = self.texts.get(text, 0) + count
            else:
                self.more_texts += count


def _fingerprint(values: np.ndarray, rows: np.ndarray) -> int:
    """A sum over rows of a hash of row number and value, modulo 2^64."""
    bits = np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
    return int(mixed(bits ^ numbered(rows)).sum(dtype=np.uint64))
