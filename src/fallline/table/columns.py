"""A table's columns to numbers and back: encoding, scaling, missing cells.

Both are fitted by sums over blocks of rows, in one pass, and then applied block by block, so that a
table in memory, on disk or on a cluster is encoded alike. ``Columns`` says what each column is used
as, and why not where it is not; ``Scaling`` standardises the encoded numbers and folds itself into
the first and last layer of a network. Nothing here knows how a file is read or how weights move.

A block is a dictionary of column name to array, all of one length: float64 with NaN (numbers), object
arrays of str and None (text) or True, False and None (booleans, or dtype bool), datetime64 (dates).
"""

import dataclasses
import datetime
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fallline.exceptions import ShapeError, TableError
from fallline.words import counted, nearest

Block = Mapping[str, np.ndarray]
Layers = Sequence[tuple[np.ndarray, np.ndarray | None]]

MOST_CATEGORIES = 50
_MOST_TEXTS = 50_000  # different texts remembered in one column; those that come later count as "more"
_LONGEST = 120  # letters of a text remembered; a longer one is told apart by a digest
_LARGEST = 1e120  # squares of larger numbers overflow
_DAY = 86_400_000_000  # microseconds
_YEAR = 365.2425  # days
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ROW_NUMBER = re.compile(
    r"(unnamed( \d+)?|column 1"
    r"|(row |sample |record |serial |case |line |obs )?(id|ids|idx|index|nr|no|num|number)"
    r"|instant|row|rows|rownames|obs|observation|case|record)?"
)


@dataclass(frozen=True)
class ColumnUse:
    """What became of one column: its role, that in words, and the encoded columns it turned into."""

    name: str
    role: str  # "target" | "number" | "boolean" | "category" | "date" | "dropped"
    says: str
    encoded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """How the columns of a table become numbers, as found in the training rows.

    ``uses`` has one entry for every column of the table, in its order; ``plan`` holds, as plain JSON data,
    what encoding needs, one entry for every column that is an input.
    """

    targets: tuple[str, ...]
    uses: tuple[ColumnUse, ...]
    plan: tuple[Mapping[str, Any], ...]

    @classmethod
    def fit(
        cls,
        blocks: Iterable[Block],
        targets: Sequence[str],
        *,
        drop: Sequence[str] = (),
        keep: Sequence[str] = (),
        categories: Sequence[str] = (),
        row_numbers: np.ndarray | None = None,
    ) -> "Columns":
        """Find the role of every column in one pass over the blocks.

        Rows without all ``targets`` do not count. ``drop`` leaves columns out, ``keep`` takes back what
        would be left out by itself, ``categories`` reads whole numbers or text as categories. Messages number
        the rows as given, from 1, or by ``row_numbers``, one for each row, where rows of a file were set
        aside. The result does not depend on where the rows were cut into blocks, beyond rounding.
        Raises TableError where there is nothing to learn from: see the messages.
        """
        asked = _Asked(tuple(targets), frozenset(drop), frozenset(keep), frozenset(categories))
        sums: _TableSums | None = None
        for block in blocks:
            if sums is None:
                asked.check(tuple(block))
            part = _TableSums.of(block, asked, 0 if sums is None else sums.rows)
            sums = part if sums is None else sums.merge(part)
        if sums is None:
            raise TableError("The table has no rows: at least two rows with a target value are needed.")
        return _decide(sums, asked, row_numbers)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of the d encoded columns."""
        return tuple(name for use in self.uses for name in use.encoded)

    @property
    def indicators(self) -> np.ndarray:
        """Which encoded columns are 0 or 1 by construction: bool, shape (d,)."""
        return np.array([mark for entry in self.plan for _, mark in _encoded(entry)], dtype=bool)

    def check(self, names: Iterable[str]) -> None:
        """Raise TableError, naming them, if a table with these columns lacks inputs this encoding needs."""
        given = dict.fromkeys(names)
        lacking = [str(entry["name"]) for entry in self.plan if entry["name"] not in given]
        if not lacking:
            return
        spare = list(given.keys() - {entry["name"] for entry in self.plan} - set(self.targets))
        near = {name: nearest(name, spare) for name in lacking[:8]}
        hints = [f"`{name}` (is it `{meant}`?)" if meant else f"`{name}`" for name, meant in near.items()]
        more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
        raise TableError(
            f"The table lacks {', '.join(hints)}{more}, which the model was fitted on: "
            f"{'add the column' if len(lacking) == 1 else 'add the columns'}, or rename what stands for "
            f"{'it' if len(lacking) == 1 else 'them'}."
        )

    def encode(self, block: Block, start: int = 0, row_numbers: np.ndarray | None = None) -> np.ndarray:
        """The inputs of a block as float64 (n, d).

        A missing number or date becomes the training mean, with 1 in its ``missing`` column if it has one; an
        unseen category goes to ``other``, or to 0 in every column if there was nothing rare in training.
        Raises TableError for a missing column, another type than in training, and infinite values; messages
        number the rows from ``start`` + 1, or by ``row_numbers`` (n,).
        """
        self.check(block)
        rows = len(next(iter(block.values()))) if block else 0
        numbers = np.arange(start + 1, start + 1 + rows) if row_numbers is None else row_numbers
        out = np.zeros((rows, len(self.encoded_names)))
        at = 0
        for entry in self.plan:
            width = len(_encoded(entry))
            _ENCODERS[entry["kind"]](
                entry, _Values.of(block[entry["name"]]), out[:, at : at + width], numbers
            )
            at += width
        return out

    def target_values(self, block: Block) -> np.ndarray:
        """The targets of a block as float64 (n, k), NaN where missing. Raises TableError for text."""
        _all_there(self.targets, tuple(block), "target")
        return _targets_of(block, self.targets)

    def complete(self, block: Block) -> np.ndarray:
        """Which rows of a block have a value of every target: bool, shape (n,)."""
        return ~np.isnan(self.target_values(block)).any(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data for JSON; ``from_dict`` makes the same ``Columns`` of it."""
        return {
            "targets": list(self.targets),
            "uses": [
                {"name": use.name, "role": use.role, "says": use.says, "encoded": list(use.encoded)}
                for use in self.uses
            ],
            "plan": [dict(entry) for entry in self.plan],
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Columns":
        """The ``Columns`` that ``to_dict`` wrote. Raises ValueError, one sentence, for anything else."""
        return _read_columns(data)


# ----------------------------------------------------------------------------------------------------
# What was asked for


@dataclass(frozen=True)
class _Asked:
    targets: tuple[str, ...]
    drop: frozenset[str]
    keep: frozenset[str]
    categories: frozenset[str]

    def check(self, names: Sequence[str]) -> None:
        if not self.targets:
            raise TableError("No target was given: name the column to predict.")
        twice = [name for name, count in Counter(self.targets).items() if count > 1]
        if twice:
            raise TableError(f"`{twice[0]}` is given as a target twice: name each target once.")
        _all_there(self.targets, names, "target")
        for what, wanted in (("drop", self.drop), ("keep", self.keep), ("categories", self.categories)):
            _all_there(sorted(wanted), names, what)
            both = sorted(wanted & set(self.targets))
            if both:
                raise TableError(
                    f"`{both[0]}` is a target, so it cannot be in {what} as well: take it out of one."
                )
        for what, wanted in (("keep", self.keep), ("categories", self.categories)):
            both = sorted(wanted & self.drop)
            if both:
                raise TableError(f"`{both[0]}` is both in drop and in {what}: take it out of one.")


def _all_there(wanted: Iterable[str], names: Sequence[str], what: str) -> None:
    for name in wanted:
        if name not in names:
            shown = ", ".join(f"`{known}`" for known in names[:20]) + (", …" if len(names) > 20 else "")
            near = nearest(name, names)
            hint = f"Did you mean `{near}`?" if near else f"The columns are {shown}."
            raise TableError(f"There is no column `{name}` to be a {what}. {hint}")


# ----------------------------------------------------------------------------------------------------
# Cells of one column in one block


@dataclass(frozen=True)
class _Values:
    """A column of a block in one of four kinds, with what is missing."""

    kind: str  # "number" | "boolean" | "text" | "date" | "empty"
    data: np.ndarray  # float64 (numbers, booleans as 0 and 1, both with NaN), object, or datetime64[us]
    missing: np.ndarray  # bool

    @classmethod
    def of(cls, values: np.ndarray) -> "_Values":
        values = np.asarray(values)
        if values.dtype.kind == "b":
            return cls("boolean", values.astype(np.float64), np.zeros(len(values), bool))
        if values.dtype.kind in "fiu":
            numbers = values.astype(np.float64)
            missing = np.isnan(numbers)
            return cls("empty" if missing.all() else "number", numbers, missing)
        if values.dtype.kind == "M":
            dates = values.astype("datetime64[us]")
            missing = np.isnat(dates)
            return cls("empty" if missing.all() else "date", dates, missing)
        return cls._of_objects(values.astype(object))

    @classmethod
    def _of_objects(cls, values: np.ndarray) -> "_Values":
        listed = values.tolist()
        nothing = np.array([None], dtype=object)
        missing = np.asarray(
            (values == nothing) | (values != values), dtype=bool
        )  # None, and NaN among texts
        types = set(map(type, itertools.compress(listed, ~missing)))
        if not types:
            return cls("empty", np.full(len(listed), np.nan), missing)
        if all(issubclass(kind, str) for kind in types):
            if missing.any():
                values = np.where(missing, nothing, values)
            return cls("text", values, missing)
        if all(issubclass(kind, (bool, np.bool_, int, float, np.number)) for kind in types):
            kind = "boolean" if all(issubclass(kind, (bool, np.bool_)) for kind in types) else "number"
            floats = (math.nan if gone else float(value) for value, gone in zip(listed, missing, strict=True))
            return cls(kind, np.fromiter(floats, np.float64, len(listed)), missing)
        return cls(
            "text",
            np.array([None if gone else str(v) for v, gone in zip(listed, missing, strict=True)]),
            missing,
        )

    def keys(self) -> list[str | None]:
        """The cells as names of categories, None where missing."""
        if self.kind == "text":
            cells = self.data.tolist()
            if max(map(len, itertools.compress(cells, ~self.missing)), default=0) > _LONGEST:
                cells = [None if gone else _key(cell) for cell, gone in zip(cells, self.missing, strict=True)]
            return cells
        if self.kind == "empty":
            return [None] * len(self.missing)
        spelled = _spelled_boolean if self.kind == "boolean" else _spelled
        return [
            None if gone else spelled(value)
            for value, gone in zip(self.data.tolist(), self.missing, strict=True)
        ]


def _key(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:80]}… {hashlib.blake2b(text.encode(errors='replace'), digest_size=8).hexdigest()}"


def _spelled_boolean(value: float) -> str:
    return "true" if value else "false"


def _spelled(value: float) -> str:
    """A number as a person writes it: 3 rather than 3.0, enough digits to read back the same number."""
    return str(int(value)) if value == math.floor(value) and abs(value) < 2.0**53 else repr(value)


def _short(value: float) -> str:
    """A number for a sentence: whole numbers in full, others to six digits."""
    if value == math.floor(value) and abs(value) < 1e15:
        return _spelled(value)
    return f"{value:.0f}" if 1e5 < abs(value) < 1e15 else f"{value:.6g}"


def _targets_of(block: Block, targets: Sequence[str]) -> np.ndarray:
    columns = []
    for name in targets:
        values = _Values.of(block[name])
        if values.kind == "text":
            first = str(values.data[~values.missing][0])
            raise TableError(
                f"The target `{name}` is text (such as '{_cut(first)}'), but numbers are expected: choose a "
                "column of numbers, or write its values as numbers. To tell classes apart, use NetworkClassifier in Python."
            )
        if values.kind == "date":
            raise TableError(
                f"The target `{name}` is a date, but numbers are expected: choose a column of numbers."
            )
        columns.append(np.full(len(values.data), np.nan) if values.kind == "empty" else values.data)
    return np.stack(columns, axis=1)


def _cut(text: str, letters: int = 40) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


# ----------------------------------------------------------------------------------------------------
# Sums over one column. Every one of them merges exactly, in row order.


@dataclass(frozen=True)
class _Moments:
    """Weight, mean, squared deviations, smallest and largest; numbers or arrays, one per column.

    Merged as Chan, Golub & LeVeque (1979) do: sums of squares would lose a column such as 1e9 ± 1.
    """

    weight: Any
    mean: Any
    m2: Any
    low: Any
    high: Any

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None = None) -> "_Moments":
        """Of the rows of ``values``, (n,) or (n, d), with n weights."""
        if weights is not None:
            values, weights = values[weights > 0], weights[weights > 0]
        if len(values) == 0:
            nothing = np.zeros(values.shape[1:])
            return cls(0.0, nothing, nothing, nothing + np.inf, nothing - np.inf)
        low, high = values.min(axis=0), values.max(axis=0)
        # Deviations from a row of the block itself are small where the values agree in their leading digits.
        shifted = values - values[0]
        if weights is None:
            weight, mean = float(len(values)), shifted.mean(axis=0)
            m2 = np.square(shifted - mean).sum(axis=0)
        else:
            weight = float(weights.sum())
            mean = np.tensordot(weights, shifted, axes=(0, 0)) / weight
            m2 = np.tensordot(weights, np.square(shifted - mean), axes=(0, 0))
        return cls(weight, values[0] + mean, m2, low, high)

    def merge(self, other: "_Moments") -> "_Moments":
        if other.weight == 0:
            return self
        if self.weight == 0:
            return other
        weight = self.weight + other.weight
        apart = other.mean - self.mean
        return _Moments(
            weight,
            self.mean + apart * (other.weight / weight),
            self.m2 + other.m2 + np.square(apart) * (self.weight * other.weight / weight),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )


@dataclass(frozen=True)
class _ColumnSums:
    kind: str
    rows: int  # rows that count: their targets are complete
    missing: int
    moments: _Moments  # of numbers, booleans, and dates in days since 1970
    whole: bool
    too_large: tuple[int, float] | None  # the first row, from 1, with an infinite or too large number
    counting: "_Counting"
    texts: Mapping[str, int]  # the first _MOST_TEXTS different texts and how often they occur
    more_texts: int  # rows with other texts
    weekdays: np.ndarray  # rows on each day of the week
    clock: _Moments  # microseconds since midnight
    fingerprint: int  # equal for columns with equal values in equal rows

    @classmethod
    def of(cls, values: _Values, counts: np.ndarray, start: int, as_category: bool) -> "_ColumnSums":
        present = counts & ~values.missing
        kind = values.kind if present.any() or values.kind == "text" else "empty"
        nothing = _Moments.of(np.zeros(0))
        moments = clock = nothing
        whole, too_large, fingerprint = True, None, 0
        texts: Mapping[str, int] = {}
        weekdays = np.zeros(7, dtype=np.int64)
        if kind in ("number", "boolean"):
            numbers = values.data[present]
            large = np.flatnonzero(present & ~(np.abs(values.data) <= _LARGEST))
            if large.size:
                too_large = (start + int(large[0]) + 1, float(values.data[large[0]]))
            else:
                moments = _Moments.of(numbers)
                whole = bool(np.all(np.floor(numbers) == numbers))
        if kind in ("number", "boolean", "empty"):
            numbers = values.data if values.data.dtype.kind == "f" else np.full(len(counts), np.nan)
            fingerprint = _fingerprint(numbers[counts], start + np.flatnonzero(counts))
        elif kind == "date":
            micros = values.data[present].astype(np.int64)
            days = micros // _DAY
            moments = _Moments.of(micros / _DAY)
            weekdays = np.bincount((days + 3) % 7, minlength=7)  # 1970-01-01 was a Thursday
            clock = _Moments.of((micros - days * _DAY).astype(np.float64))
        if kind == "text" or (as_category and kind in ("number", "boolean")):
            texts = Counter(key for key in itertools.compress(values.keys(), present) if key is not None)
        kept, more = _first_texts({}, texts)
        return cls(
            kind, int(counts.sum()), int((counts & values.missing).sum()), moments, whole, too_large,
            _Counting.of(values), kept, more, weekdays, clock, fingerprint,
        )  # fmt: skip

    def merge(self, other: "_ColumnSums", name: str) -> "_ColumnSums":
        kinds = {self.kind, other.kind} - {"empty"}
        if len(kinds) > 1:
            if kinds != {"number", "boolean"}:
                first, second = sorted(kinds)
                raise TableError(
                    f"Column `{name}` holds {first} values in some rows and {second} values in others."
                )
            kinds = {"number"}
        kept, more = _first_texts(self.texts, other.texts)
        return _ColumnSums(
            next(iter(kinds), "empty"),
            self.rows + other.rows,
            self.missing + other.missing,
            self.moments.merge(other.moments),
            self.whole and other.whole,
            self.too_large or other.too_large,
            self.counting.merge(other.counting),
            kept,
            self.more_texts + other.more_texts + more,
            self.weekdays + other.weekdays,
            self.clock.merge(other.clock),
            (self.fingerprint + other.fingerprint) & _MASK,
        )

    @property
    def present(self) -> int:
        return self.rows - self.missing


def _first_texts(known: Mapping[str, int], new: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """The counts of both, of at most _MOST_TEXTS texts in the order they were met, and the rows left over.

    In that order, which texts are remembered does not depend on where the blocks were cut.
    """
    merged, more = dict(known), 0
    free = _MOST_TEXTS - len(merged)
    for text, count in new.items():
        if text in merged:
            merged[text] += count
        elif free > 0:
            merged[text] = count
            free -= 1
        else:
            more += count
    return merged, more


@dataclass(frozen=True)
class _Counting:
    """How a column goes up from row to row: how often it does not, and by how much it does in all."""

    rows: int
    first: float
    last: float
    falls: int
    rise: float

    @classmethod
    def of(cls, values: _Values) -> "_Counting":
        rows = len(values.missing)
        if values.kind != "number" or values.missing.any() or not (np.abs(values.data) <= _LARGEST).all():
            return cls(rows, 0.0, 0.0, rows, 0.0)
        steps = np.diff(values.data)
        up = steps > 0
        return cls(
            rows,
            float(values.data[0]),
            float(values.data[-1]),
            int(np.sum(~up)),
            float(steps[up].sum()),
        )

    def merge(self, other: "_Counting") -> "_Counting":
        step = other.first - self.last
        return _Counting(
            self.rows + other.rows,
            self.first,
            other.last,
            self.falls + other.falls + (step <= 0),
            self.rise + other.rise + max(step, 0.0),
        )

    @property
    def like_rows(self) -> bool:
        """Whether it counts the rows, though some may be left out, and it may start again now and then."""
        return self.rows > 2 and self.falls <= 0.05 * self.rows and self.rise <= 2.5 * self.rows


_MASK = 2**64 - 1


def _fingerprint(values: np.ndarray, rows: np.ndarray) -> int:
    """A sum over rows of a hash of row number and value (the finaliser of SplitMix64), modulo 2^64."""
    bits = np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
    with np.errstate(over="ignore"):
        mixed = bits ^ ((rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return int(mixed.sum(dtype=np.uint64)) & _MASK


# ----------------------------------------------------------------------------------------------------
# Leakage: inputs that are the target, or add up to it

_Terms = tuple[tuple[int, int], ...]  # (input, +1 or -1), …


@dataclass(frozen=True)
class _Leaks:
    """Which one, two or three inputs add up to a target, coefficients ±1, in every row so far.

    The first rows propose, all later rows refute: a relation that holds everywhere is found wherever the
    blocks are cut. Rows with a missing value in it say nothing about a relation.
    """

    held: tuple[np.ndarray, np.ndarray] | None  # x, y of the first rows, until there are _PROPOSING
    relations: Mapping[tuple[int, _Terms], int] = field(
        default_factory=dict
    )  # (target, terms) -> rows it held in

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "_Leaks":
        if len(x) < _PROPOSING:
            return cls((x, y))
        return cls(None, _propose(x[:_PROPOSING], y[:_PROPOSING]))._refuted_by(x[_PROPOSING:], y[_PROPOSING:])

    def merge(self, other: "_Leaks") -> "_Leaks":
        if self.held is not None and other.held is not None:
            return _Leaks.of(
                np.concatenate([self.held[0], other.held[0]]), np.concatenate([self.held[1], other.held[1]])
            )
        if other.held is not None:
            return self._refuted_by(*other.held)
        if self.held is not None:
            return other._refuted_by(*self.held)
        both = self.relations.keys() & other.relations.keys()
        return _Leaks(
            None, {key: self.relations[key] + other.relations[key] for key in self.relations if key in both}
        )

    def found(self) -> Mapping[tuple[int, _Terms], int]:
        return self.relations if self.held is None else _propose(*self.held)

    def _refuted_by(self, x: np.ndarray, y: np.ndarray) -> "_Leaks":
        left = {}
        for (target, terms), rows in self.relations.items():
            inputs = [i for i, _ in terms]
            parts = x[:, inputs] * np.array([sign for _, sign in terms])
            wrong, told = _wrong(parts, y[:, target])
            if not wrong.any():
                left[target, terms] = rows + int(told.sum())
        return _Leaks(None, left)


_PROPOSING = 256  # rows that propose relations
_MOST_RELATIONS = 200
_FOR_PAIRS, _FOR_TRIPLES = 400, 60  # inputs up to which pairs and triples are tried


def _wrong(parts: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the last axis of ``parts`` does not add up to the target; and where all of it is known."""
    off = np.abs(parts.sum(axis=-1) - target)
    size = np.maximum(np.abs(parts).max(axis=-1), np.abs(target))
    known = np.isfinite(off)
    return known & (off > 1e-9 * size), known


def _propose(x: np.ndarray, y: np.ndarray) -> dict[tuple[int, _Terms], int]:
    found: dict[tuple[int, _Terms], int] = {}
    rows = np.unique(np.column_stack([x, y]), axis=0)  # equal rows refute the same
    usable = [i for i in range(x.shape[1]) if np.isfinite(x[:, i]).any()]
    sizes = 1 + (len(usable) <= _FOR_PAIRS) + (len(usable) <= _FOR_TRIPLES)
    for size in range(1, sizes + 1):
        chosen = np.array(list(itertools.combinations(usable, size)), dtype=np.intp).reshape(-1, size)
        for signs in itertools.product((1, -1), repeat=size):
            for target in range(y.shape[1]):
                left = chosen
                for row in rows:  # most relations fall at the first rows
                    wrong, _ = _wrong(row[left] * np.array(signs), row[x.shape[1] + target])
                    left = left[~wrong]
                    if not len(left):
                        break
                for inputs in left[: _MOST_RELATIONS - len(found)]:
                    terms = tuple((int(i), sign) for i, sign in zip(inputs, signs, strict=True))
                    _, told = _wrong(x[:, inputs] * np.array(signs), y[:, target])
                    found[target, terms] = int(told.sum())
    return found


# ----------------------------------------------------------------------------------------------------
# Sums over a table


@dataclass(frozen=True)
class _TableSums:
    rows: int
    columns: Mapping[str, _ColumnSums]
    leaks: _Leaks
    target_values: tuple[frozenset[float], ...]  # up to _FEW different values of each target

    @classmethod
    def of(cls, block: Block, asked: _Asked, start: int) -> "_TableSums":
        y = _targets_of(block, asked.targets)
        counts = ~np.isnan(y).any(axis=1)
        columns, x = {}, []
        everywhere = np.ones(len(y), bool)
        for name, given in block.items():
            values = _Values.of(given)
            mine = everywhere if name in asked.targets else counts
            columns[name] = _ColumnSums.of(values, mine, start, name in asked.categories)
            if name not in asked.targets:
                numeric = values.kind in ("number", "boolean") and name not in asked.drop
                x.append(values.data[counts] if numeric else np.full(int(counts.sum()), np.nan))
        inputs = np.stack(x, axis=1) if x else np.zeros((int(counts.sum()), 0))
        with np.errstate(invalid="ignore", over="ignore"):
            leaks = _Leaks.of(inputs, y[counts])
        return cls(len(y), columns, leaks, tuple(_few(column) for column in y[counts].T))

    def merge(self, other: "_TableSums") -> "_TableSums":
        if self.columns.keys() != other.columns.keys():
            odd = sorted(self.columns.keys() ^ other.columns.keys())
            raise TableError(f"Column `{odd[0]}` is in some blocks of rows and not in others.")
        with np.errstate(invalid="ignore", over="ignore"):
            leaks = self.leaks.merge(other.leaks)
        return _TableSums(
            self.rows + other.rows,
            {name: sums.merge(other.columns[name], name) for name, sums in self.columns.items()},
            leaks,
            tuple(
                frozenset(sorted(mine | theirs)[:_FEW])
                for mine, theirs in zip(self.target_values, other.target_values, strict=True)
            ),
        )


_FEW = 5


def _few(values: np.ndarray) -> frozenset[float]:
    return frozenset(np.unique(values)[:_FEW].tolist())


# ----------------------------------------------------------------------------------------------------
# From the sums to roles


@dataclass
class _Verdict:
    """The role of one input while it is being decided."""

    name: str
    role: str
    says: str
    entry: dict[str, Any] | None  # what encoding needs; also of a dropped column, if it could be encoded


def _decide(sums: _TableSums, asked: _Asked, row_numbers: np.ndarray | None) -> Columns:
    _judge_targets(sums, asked, row_numbers)
    inputs = [name for name in sums.columns if name not in asked.targets]
    verdicts = {name: _judge(name, sums.columns[name], asked) for name in inputs}
    _drop_row_numbers(verdicts, sums, asked)
    _drop_leaks(verdicts, inputs, sums, asked)
    _name_copies(verdicts, sums)
    if not any(verdict.role != "dropped" for verdict in verdicts.values()):
        if not verdicts:
            raise TableError("The table has no column besides its targets: at least one input is needed.")
        why = "; ".join(f"`{verdict.name}` {verdict.says}" for verdict in list(verdicts.values())[:6])
        more = f"; and {len(verdicts) - 6} more" if len(verdicts) > 6 else ""
        raise TableError(f"No input is left to learn from: {why}{more}. Keep one of them, or add a column.")
    for name, verdict in verdicts.items():
        column = sums.columns[name]
        if verdict.role != "dropped" and column.too_large is not None:
            row, value = _numbered(column.too_large, row_numbers)
            what = "is infinite" if math.isinf(value) else f"is {value:g}, too large to be squared"
            raise TableError(
                f"Column `{name}` {what} in row {row}, but finite numbers are expected: correct or empty "
                "that cell, or drop the column."
            )
    uses, plan = [], []
    taken: set[str] = set()
    for name in sums.columns:
        if name in asked.targets:
            uses.append(ColumnUse(name, "target", _target_says(sums.columns[name])))
            continue
        verdict = verdicts[name]
        encoded: tuple[str, ...] = ()
        if verdict.role != "dropped" and verdict.entry is not None:
            encoded = _unique([encoded_name for encoded_name, _ in _encoded(verdict.entry)], taken)
            plan.append(verdict.entry)
        uses.append(ColumnUse(name, verdict.role, verdict.says, encoded))
    return Columns(asked.targets, tuple(uses), tuple(plan))


def _unique(names: Iterable[str], taken: set[str]) -> tuple[str, ...]:
    unique = []
    for name in names:
        free = next(
            candidate
            for candidate in itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
            if candidate not in taken
        )
        taken.add(free)
        unique.append(free)
    return tuple(unique)


def _numbered(found: tuple[int, float], row_numbers: np.ndarray | None) -> tuple[int, float]:
    row, value = found
    return (row, value) if row_numbers is None else (int(row_numbers[row - 1]), value)


def _judge_targets(sums: _TableSums, asked: _Asked, row_numbers: np.ndarray | None) -> None:
    for name in asked.targets:
        column = sums.columns[name]
        if column.present == 0:
            raise TableError(f"The target `{name}` has no value in any row: choose another column.")
        if column.too_large is not None:
            row, value = _numbered(column.too_large, row_numbers)
            what = "infinite" if math.isinf(value) else f"{value:g}, too large to be squared"
            raise TableError(
                f"The target `{name}` is {what} in row {row}, but finite numbers are expected: correct that "
                "cell, or leave the row out."
            )
    rows = next(
        (column.rows for name, column in sums.columns.items() if name not in asked.targets), sums.rows
    )
    if rows < 2:
        named = ", ".join(f"`{name}`" for name in asked.targets)
        raise TableError(
            f"The table has {counted(rows, 'row')} with a value of {named}, but at least two are needed: add rows."
        )
    for name, values in zip(asked.targets, sums.target_values, strict=True):
        if len(values) == 1:
            raise TableError(
                f"The target `{name}` is {_short(next(iter(values)))} in all {rows} rows, so there is "
                "nothing to learn: choose a column whose values differ."
            )


def _target_says(column: _ColumnSums) -> str:
    low, high = float(column.moments.low), float(column.moments.high)
    says = "true or false" if column.kind == "boolean" else f"a number, {_short(low)} to {_short(high)}"
    if column.missing:
        says += f"; {counted(column.missing, 'row')} without it left out"
    return says


def _judge(name: str, column: _ColumnSums, asked: _Asked) -> _Verdict:
    kept = name in asked.keep
    if name in asked.drop:
        return _Verdict(name, "dropped", "dropped: as asked", None)
    if column.present == 0:
        return _Verdict(name, "dropped", "dropped: no value in any row", None)
    if column.kind == "date" and name in asked.categories:
        raise TableError(
            f"`{name}` holds dates, so it cannot be read as categories: take it out of categories."
        )
    if column.kind == "text" or (name in asked.categories and column.kind == "number"):
        return _judge_texts(name, column, kept, name in asked.categories)
    gaps = f"; {column.missing:,} missing" if column.missing else ""
    if column.too_large is not None:  # refused later, if the column is used
        return _Verdict(
            name, "number", "a number", {"kind": "number", "name": name, "mean": 0.0, "missing": False}
        )
    low, high = float(column.moments.low), float(column.moments.high)
    constant = low == high
    entry: dict[str, Any] = {"kind": column.kind, "name": name, "mean": float(column.moments.mean)}
    entry["missing"] = column.missing > 0
    if column.kind == "date":
        entry |= _date_entry(column)
        says, shown = f"a date, {_iso(low)} to {_iso(high)}{gaps}", _iso(low)
    elif column.kind == "boolean":
        says, shown = f"true or false{gaps}", _spelled_boolean(low)
    else:
        says, shown = f"a number, {_short(low)} to {_short(high)}{gaps}", _short(low)
    if constant and not kept:
        where = f" where there is one ({counted(column.missing, 'row')} without)" if column.missing else ""
        return _Verdict(name, "dropped", f"dropped: all values are {shown}{where}", entry)
    if constant:
        says = f"all values are {shown}{gaps}; kept as asked"
    return _Verdict(name, column.kind, says, entry)


def _iso(days: float) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=days)
    return moment.date().isoformat() if days == math.floor(days) else moment.isoformat(" ", "seconds")


def _date_entry(column: _ColumnSums) -> dict[str, Any]:
    low, high = float(column.moments.low), float(column.moments.high)
    weekdays = [day for day in range(7) if column.weekdays[day]]
    return {
        # A cycle can be learned once the rows have gone around most of it.
        "origin": float(math.floor(low)),
        "year": high - low > 0.75 * _YEAR,
        "weekdays": weekdays if high - low >= 14 and len(weekdays) > 1 else [],
        "clock": bool(column.clock.low < column.clock.high),
    }


def _judge_texts(name: str, column: _ColumnSums, kept: bool, forced: bool) -> _Verdict:
    different, present = len(column.texts), column.present
    many = "more than " if column.more_texts else ""
    says = f"{many}{counted(different, 'different text')} in {counted(present, 'row')}"
    ranked = sorted(column.texts.items(), key=lambda item: (-item[1], item[0]))
    # A category of one row tells that row only; below 1 % of the rows ten of them are wanted.
    enough = min(10.0, max(2.0, 0.01 * column.rows))
    # One text and enough empty cells are a mark such as "x": two categories.
    if different == 1 and not (kept or forced or min(present, column.missing) >= enough):
        where = f" where there is one ({counted(column.missing, 'row')} without)" if column.missing else ""
        return _Verdict(name, "dropped", f"dropped: all values are '{_cut(ranked[0][0])}'{where}", None)
    pair = different == 2 and not column.more_texts
    frequent = [text for text, count in ranked if count >= enough or pair][:MOST_CATEGORIES]
    if not (kept or forced):
        told = sum(column.texts[text] for text in frequent)
        if told < 0.05 * present or (different > 2 and different > 0.5 * present):
            return _Verdict(name, "dropped", f"dropped: identifier or free text: {says}", None)
        # Remarks: sentences, in a minority of the rows.
        if present < 0.5 * column.rows and _sentences(column.texts):
            return _Verdict(
                name, "dropped", f"dropped: remarks in {counted(present, 'row')} of {column.rows:,}", None
            )
    if not frequent:
        frequent = [text for text, _ in ranked[:MOST_CATEGORIES]]
    rest = different - len(frequent)
    entry: dict[str, Any] = {"kind": "category", "name": name, "categories": sorted(frequent, key=_in_order)}
    if pair and not column.missing:
        entry["categories"] = sorted(column.texts, key=_in_order)
        second = entry["categories"][1]
        entry |= {"other": False, "missing": False, "share": column.texts[second] / present}
        first, second = (_cut(text) for text in entry["categories"])
        return _Verdict(name, "category", f"2 categories: {first}, {second}", entry)
    entry |= {"other": bool(rest or column.more_texts), "missing": column.missing > 0}
    words = f"{len(frequent)} categor{'ies' if len(frequent) != 1 else 'y'}"
    if len(frequent) <= 4:
        words += ": " + ", ".join(_cut(text, 24) for text in entry["categories"])
    if entry["other"]:
        words += f"; {many}{rest} rare one{'s' if rest != 1 else ''} together as other"
    if entry["missing"]:
        words += f"; {column.missing:,} missing, a category of its own"
    return _Verdict(name, "category", words, entry)


def _sentences(texts: Mapping[str, int]) -> bool:
    """Whether the texts have, on average over the rows, four words and twenty letters."""
    rows = sum(texts.values())
    words = sum((text.count(" ") + 1) * count for text, count in texts.items())
    return words >= 4 * rows and sum(len(text) * count for text, count in texts.items()) >= 20 * rows


def _in_order(text: str) -> tuple[int, float, str]:
    """Numbers by size, then texts by letter."""
    try:
        return (0, float(text), text) if math.isfinite(float(text)) else (1, 0.0, text)
    except ValueError:
        return (1, 0.0, text)


def _looks_like_row_number(name: str) -> bool:
    return _ROW_NUMBER.fullmatch(" ".join(re.split(r"[\W_]+", name.strip().lower())).strip()) is not None


def _drop_row_numbers(verdicts: Mapping[str, _Verdict], sums: _TableSums, asked: _Asked) -> None:
    numbers = []
    for name, verdict in verdicts.items():
        column = sums.columns[name]
        free = verdict.role == "number" and name not in asked.keep
        if free and column.whole and column.counting.like_rows and _looks_like_row_number(name):
            numbers.append(verdict)
    others = [v for v in verdicts.values() if v.role != "dropped" and v not in numbers]
    if others:
        for verdict in numbers:
            column = sums.columns[verdict.name]
            verdict.role = "dropped"
            low, high = _short(float(column.moments.low)), _short(float(column.moments.high))
            verdict.says = f"dropped: row number, {low} to {high}"


def _drop_leaks(
    verdicts: Mapping[str, _Verdict], inputs: Sequence[str], sums: _TableSums, asked: _Asked
) -> None:
    told: dict[str, str] = {}
    known: list[tuple[int, frozenset[int]]] = []
    for (target, terms), rows in sorted(sums.leaks.found().items(), key=lambda item: len(item[0][1])):
        members = frozenset(i for i, _ in terms)
        names = [inputs[i] for i, _ in terms]
        # A handful of rows, or of values, can add up by chance.
        if rows < 10 or (len(terms) > 1 and len(sums.target_values[target]) < _FEW):
            continue
        if any(verdicts[name].role not in ("number", "boolean") for name in names):
            continue
        if any(goal == target and part < members for goal, part in known):
            continue
        known.append((target, members))
        for name in names:
            told.setdefault(
                name, _relation(name, [(inputs[i], sign) for i, sign in terms], asked.targets[target])
            )
    others = [
        v for v in verdicts.values() if v.role != "dropped" and (v.name not in told or v.name in asked.keep)
    ]
    for name, relation in told.items():
        if name in asked.keep:
            verdicts[name].says += f"; kept as asked, although {relation}"
        elif others:
            verdicts[name].role = "dropped"
            verdicts[name].says = f"dropped: leaks the target, {relation}"
        else:
            verdicts[name].says += f"; {relation}, kept because no other input is left"


def _relation(name: str, terms: Sequence[tuple[str, int]], target: str) -> str:
    if len(terms) == 1:
        return f"`{name}` {'equals' if terms[0][1] > 0 else 'is minus'} `{target}`"
    ordered = sorted(terms, key=lambda term: -term[1])
    if all(sign > 0 for _, sign in ordered):
        return f"{' + '.join(f'`{part}`' for part, _ in ordered)} add up to `{target}`"
    sign_of = {1: "+", -1: "−"}
    text = " ".join(f"{sign_of[sign]} `{part}`" for part, sign in ordered)
    return f"{text.removeprefix('+ ')} is `{target}`"


def _name_copies(verdicts: Mapping[str, _Verdict], sums: _TableSums) -> None:
    seen: dict[int, str] = {}
    for name, verdict in verdicts.items():
        column = sums.columns[name]
        if verdict.role in ("number", "boolean"):
            first = seen.setdefault(column.fingerprint, name)
            if first != name:
                verdict.says += f"; a copy of `{first}`"


# ----------------------------------------------------------------------------------------------------
# Encoding


def _encoded(entry: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The names of the encoded columns of one input, and which of them are 0 or 1."""
    name = entry["name"]
    gap = [(f"{name} missing", True)] if entry["missing"] else []
    if entry["kind"] == "number":
        return [(name, False)] + gap
    if entry["kind"] == "boolean":
        return [(name, True)] + gap
    if entry["kind"] == "category":
        if "share" in entry:
            return [(f"{name}={entry['categories'][1]}", True)]
        other = [(f"{name}=other", True)] if entry["other"] else []
        gap = [(f"{name}=missing", True)] if entry["missing"] else []
        return [(f"{name}={category}", True) for category in entry["categories"]] + other + gap
    columns = [(f"{name} days", False)]
    if entry["year"]:
        columns += [(f"{name} year sin", False), (f"{name} year cos", False)]
    columns += [(f"{name} {_WEEKDAYS[day]}", True) for day in entry["weekdays"]]
    if entry["clock"]:
        columns += [(f"{name} time sin", False), (f"{name} time cos", False)]
    return columns + gap


def _wrong_kind(entry: Mapping[str, Any], values: _Values, expected: str, numbers: np.ndarray) -> TableError:
    row = int(np.flatnonzero(~values.missing)[0])
    found = values.data.tolist()[row]
    shown = f"'{_cut(found)}'" if isinstance(found, str) else found
    return TableError(
        f"Column `{entry['name']}` held {expected} in training, but row {numbers[row]} holds {shown}: "
        f"give {expected}, or leave the cell empty."
    )


def _encode_number(entry: Mapping[str, Any], values: _Values, out: np.ndarray, numbers: np.ndarray) -> None:
    if values.kind in ("text", "date"):
        raise _wrong_kind(entry, values, "numbers", numbers)
    if values.kind == "empty":
        out[:, 0] = entry["mean"]
    else:
        large = np.flatnonzero(~values.missing & ~(np.abs(values.data) <= _LARGEST))
        if large.size:
            found = values.data[large[0]]
            what = "infinite" if np.isinf(found) else f"{found:g}, too large,"
            raise TableError(
                f"Column `{entry['name']}` is {what} in row {numbers[large[0]]}, but finite "
                "numbers are expected: correct or empty that cell."
            )
        out[:, 0] = np.where(values.missing, entry["mean"], values.data)
    if entry["missing"]:
        out[:, 1] = values.missing


def _encode_boolean(entry: Mapping[str, Any], values: _Values, out: np.ndarray, numbers: np.ndarray) -> None:
    if values.kind in ("text", "date") or not np.isin(values.data[~values.missing], (0.0, 1.0)).all():
        raise _wrong_kind(entry, values, "true or false", numbers)
    _encode_number(entry, values, out, numbers)


def _encode_category(entry: Mapping[str, Any], values: _Values, out: np.ndarray, numbers: np.ndarray) -> None:
    if values.kind == "date":
        raise _wrong_kind(entry, values, "categories", numbers)
    keys = values.keys()
    places = {category: i for i, category in enumerate(entry["categories"])}
    if "share" in entry:
        worth = {entry["categories"][0]: 0.0, entry["categories"][1]: 1.0}
        out[:, 0] = [worth.get(key, entry["share"]) if key is not None else entry["share"] for key in keys]
        return
    nowhere = out.shape[1]  # a column too many, which is cut off: unseen or missing, and no column for it
    unseen = len(places) if entry["other"] else nowhere
    gap = out.shape[1] - 1 if entry["missing"] else nowhere
    at = np.fromiter((gap if key is None else places.get(key, unseen) for key in keys), np.intp, len(keys))
    seen = np.flatnonzero(at < nowhere)
    out[seen, at[seen]] = 1.0


def _encode_date(entry: Mapping[str, Any], values: _Values, out: np.ndarray, numbers: np.ndarray) -> None:
    if values.kind not in ("date", "empty"):
        raise _wrong_kind(entry, values, "dates", numbers)
    there = ~values.missing
    micros = (
        np.asarray(values.data[there]).astype("datetime64[us]").astype(np.int64)
        if there.any()
        else np.zeros(0)
    )
    days = micros / _DAY
    at = 1
    out[:, 0] = entry["mean"] - entry["origin"]
    out[there, 0] = days - entry["origin"]
    # A missing date stands in the middle of every cycle: 0 in sine, cosine and weekdays.
    if entry["year"]:
        angle = 2 * np.pi * days / _YEAR
        out[there, at], out[there, at + 1] = np.sin(angle), np.cos(angle)
        at += 2
    weekday = (micros // _DAY + 3) % 7
    for day in entry["weekdays"]:
        out[there, at] = weekday == day
        at += 1
    if entry["clock"]:
        angle = 2 * np.pi * (days - np.floor(days))
        out[there, at], out[there, at + 1] = np.sin(angle), np.cos(angle)
        at += 2
    if entry["missing"]:
        out[:, at] = values.missing


_ENCODERS = {
    "number": _encode_number,
    "boolean": _encode_boolean,
    "category": _encode_category,
    "date": _encode_date,
}


# ----------------------------------------------------------------------------------------------------
# Reading back what to_dict wrote: nothing in it is believed


def _read_columns(data: Any) -> Columns:
    targets = _strings(_get(data, "targets", list), "targets")
    if not targets or len(set(targets)) != len(targets):
        raise ValueError("The columns' targets must be one name or more, each once.")
    uses = []
    for item in _get(data, "uses", list):
        use = ColumnUse(
            _get(item, "name", str),
            _get(item, "role", str),
            _get(item, "says", str),
            tuple(_strings(_get(item, "encoded", list), "encoded")),
        )
        if use.role not in ("target", "number", "boolean", "category", "date", "dropped"):
            raise ValueError(f"The column `{_cut(use.name)}` has the unknown role '{_cut(use.role)}'.")
        uses.append(use)
    plan = tuple(_read_entry(item) for item in _get(data, "plan", list))
    if len({use.name for use in uses}) != len(uses):
        raise ValueError("A column is listed twice.")
    if set(targets) != {use.name for use in uses if use.role == "target"}:
        raise ValueError("The targets and the columns with the role of a target are not the same.")
    inputs = [use for use in uses if use.encoded]
    if [use.name for use in inputs] != [entry["name"] for entry in plan] or not plan:
        raise ValueError("The columns in use and the plan for encoding them do not name the same columns.")
    for use, entry in zip(inputs, plan, strict=True):
        if use.role != entry["kind"] or len(use.encoded) != len(_encoded(entry)):
            raise ValueError(f"The column `{_cut(use.name)}` and the plan for encoding it do not agree.")
    encoded = [name for use in inputs for name in use.encoded]
    if len(set(encoded)) != len(encoded):
        raise ValueError("Two encoded columns have the same name.")
    return Columns(tuple(targets), tuple(uses), plan)


def _get(data: Any, key: str, kind: type) -> Any:
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"The columns are damaged: an object with `{key}` was expected.")
    value = data[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"The columns are damaged: `{key}` is not of type {kind.__name__}.")
    if isinstance(value, float) and not abs(value) <= _LARGEST:
        raise ValueError(f"The columns are damaged: `{key}` is not a finite number.")
    return value


def _strings(values: Sequence[Any], key: str) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"The columns are damaged: `{key}` must hold names only.")
    return list(values)


def _read_entry(item: Any) -> dict[str, Any]:
    kind = _get(item, "kind", str)
    entry: dict[str, Any] = {"kind": kind, "name": _get(item, "name", str)}
    if kind in ("number", "boolean", "date"):
        entry |= {"mean": _get(item, "mean", float), "missing": _get(item, "missing", bool)}
    if kind == "date":
        weekdays = _get(item, "weekdays", list)
        if any(type(day) is not int or not 0 <= day <= 6 for day in weekdays) or len(set(weekdays)) < len(
            weekdays
        ):
            raise ValueError("The columns are damaged: `weekdays` must be different numbers from 0 to 6.")
        entry |= {"origin": _get(item, "origin", float), "year": _get(item, "year", bool)}
        entry |= {"weekdays": list(weekdays), "clock": _get(item, "clock", bool)}
    elif kind == "category":
        categories = _strings(_get(item, "categories", list), "categories")
        if not categories or len(set(categories)) != len(categories):
            raise ValueError("The columns are damaged: `categories` must be different names, one or more.")
        entry |= {"categories": categories, "other": _get(item, "other", bool)}
        entry["missing"] = _get(item, "missing", bool)
        if "share" in item:
            entry["share"] = _get(item, "share", float)
            if len(categories) != 2 or entry["other"] or entry["missing"]:
                raise ValueError(
                    "The columns are damaged: a `share` goes with two categories and nothing else."
                )
    elif kind not in ("number", "boolean"):
        raise ValueError(f"The columns are damaged: a column cannot be encoded as '{_cut(kind)}'.")
    return entry


# ----------------------------------------------------------------------------------------------------
# Scaling


@dataclass(frozen=True)
class Scaling:
    """x' = (x − x_mean) / x_scale and y' = (y − y_mean) / y_scale, and the way back.

    Shapes (d,), (d,), (k,), (k,), float64, in the units of the encoded inputs and of the targets. ``fold``
    gives the network in the users' units that predicts the same as the scaled one on scaled inputs.
    """

    x_mean: np.ndarray
    x_scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray

    @classmethod
    def fit(
        cls,
        blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]],
        *,
        indicators: np.ndarray | None = None,
        centre: bool = True,
        scale_targets: bool = True,
        one_target_scale: bool = False,
    ) -> "Scaling":
        """Standardise by weighted sums over blocks (x (n, d), y (n, k), sample_weight (n,) or None).

        Weights are repetitions: the standard deviation is the population's, of rows repeated so often.
        Columns that are constant, up to rounding, are only centred. ``indicators`` (d,) marks columns of 0
        and 1: their scale is ½, the most their standard deviation can be, so that a rare category is not
        blown up. ``centre=False``, for networks without biases, keeps zero where it is and divides by the
        root mean square (indicators stay as they are).
        ``scale_targets=False``, where the output activation is not the identity, leaves y as it is.
        ``one_target_scale`` divides all targets by one number, the root mean square of their scales: E stays what it is
        in the users' units, times a number, and no target of small spread counts for more.
        Raises TableError if no row has a positive weight.
        """
        inputs: _Moments | None = None
        targets: _Moments | None = None
        for x, y, weights in blocks:
            s = None if weights is None else np.asarray(weights, np.float64)
            new_inputs = _Moments.of(np.asarray(x, np.float64), s)
            new_targets = _Moments.of(np.asarray(y, np.float64), s)
            inputs = new_inputs if inputs is None else inputs.merge(new_inputs)
            targets = new_targets if targets is None else targets.merge(new_targets)
        if inputs is None or targets is None or not inputs.weight > 0:
            raise TableError(
                "No row has a positive weight, so there is nothing to fit: give some rows weight."
            )
        x_mean, x_scale = _mean_and_scale(inputs, centre)
        if indicators is not None:
            x_scale = np.where(np.asarray(indicators, bool), 0.5 if centre else 1.0, x_scale)
        y_mean, y_scale = _mean_and_scale(targets, centre)
        if one_target_scale:
            spread = np.asarray(targets.m2) / targets.weight + (0.0 if centre else np.square(targets.mean))
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
        return (x - self.x_mean) / self.x_scale

    def y(self, y: Any) -> Any:
        """Targets (n, k) in the units of the scaled network."""
        return (y - self.y_mean) / self.y_scale

    def unscale_y(self, y: Any) -> Any:
        """Scaled targets or predictions (n, k) in the users' units."""
        return y * self.y_scale + self.y_mean

    def fold(self, layers: Layers) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """The layers (coef (in, out), intercept (out,) or None) of a scaled network, in the users' units.

        The output activation must be the identity, unless the targets are not scaled. Raises ShapeError where
        a layer without intercept would need one: fit such a network with ``centre=False``.
        """
        folded = [(np.array(coef, np.float64), _copied(intercept)) for coef, intercept in layers]
        coef, intercept = folded[0]
        coef = coef / self.x_scale[:, None]
        folded[0] = (coef, _moved(intercept, -(self.x_mean @ coef), "inputs"))
        coef, intercept = folded[-1]
        scaled = None if intercept is None else intercept * self.y_scale
        folded[-1] = (coef * self.y_scale, _moved(scaled, self.y_mean, "targets"))
        return folded

    def unfold(self, layers: Layers) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """The inverse of ``fold``: layers in the users' units → those of the scaled network."""
        scaled = [(np.array(coef, np.float64), _copied(intercept)) for coef, intercept in layers]
        coef, intercept = scaled[-1]
        moved = _moved(intercept, -self.y_mean, "targets")
        scaled[-1] = (coef / self.y_scale, None if moved is None else moved / self.y_scale)
        coef, intercept = scaled[0]
        scaled[0] = (coef * self.x_scale[:, None], _moved(intercept, self.x_mean @ coef, "inputs"))
        return scaled

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name, for a model file."""
        return {part.name: getattr(self, part.name) for part in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Scaling":
        """The scaling that ``to_arrays`` gave. Raises ValueError if a part is missing or no finite row."""
        parts = {}
        for part in dataclasses.fields(cls):
            if part.name not in arrays:
                raise ValueError(f"The scaling is damaged: `{part.name}` is missing.")
            values = np.asarray(arrays[part.name])
            if values.dtype.kind != "f" or values.ndim != 1 or not np.isfinite(values).all():
                raise ValueError(f"The scaling is damaged: `{part.name}` must be a row of finite numbers.")
            parts[part.name] = values.astype(np.float64)
        scaling = cls(**parts)
        if scaling.x_mean.shape != scaling.x_scale.shape or scaling.y_mean.shape != scaling.y_scale.shape:
            raise ValueError("The scaling is damaged: means and scales differ in length.")
        if not ((scaling.x_scale > 0).all() and (scaling.y_scale > 0).all()):
            raise ValueError("The scaling is damaged: a scale is not positive.")
        return scaling


def _mean_and_scale(moments: _Moments, centre: bool) -> tuple[np.ndarray, np.ndarray]:
    mean = np.asarray(moments.mean, np.float64)
    variance = np.asarray(moments.m2) / moments.weight
    if not centre:
        scale = np.sqrt(variance + np.square(mean))
        return np.zeros_like(mean), np.where(scale > 0, scale, 1.0)
    scale = np.sqrt(variance)
    # Some hundred roundings of the largest value: such a spread is the computer's, not the table's.
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    constant = (moments.low == moments.high) | (scale <= 1e-13 * largest)
    return mean, np.where(constant, 1.0, scale)


def _copied(intercept: np.ndarray | None) -> np.ndarray | None:
    return None if intercept is None else np.array(intercept, np.float64)


def _moved(
    intercept: np.ndarray | None, by: np.ndarray, what: Literal["inputs", "targets"]
) -> np.ndarray | None:
    if intercept is not None:
        return intercept + by
    if np.any(by != 0):
        raise ShapeError(
            f"The {what} were centred, but the layer has no intercept to hold their mean: fit the "
            "scaling with centre=False."
        )
    return None
