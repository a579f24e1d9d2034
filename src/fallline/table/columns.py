"""A table's columns to numbers: how each is used, found in the training rows, and then applied to any rows.

Both by blocks of rows, so that a table in memory and one on disk are encoded alike. What is missing becomes the
training mean and a mark; text becomes categories, dates cycles. Nothing here knows how a file is read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.table.classes import Class, class_names, class_numbers
from fallline.table.encoding import LARGEST, Entry, Values, cut, encode, encoded, places_of, targets_of
from fallline.table.roles import ColumnUse, roles_of
from fallline.table.sums import TableSums, check_there
from fallline.words import counted, listed, nearest, percent

Block = Mapping[str, np.ndarray]

_MOST_SPELLINGS = 50_000  # different ones of a column that are counted


@dataclass(frozen=True)
class Columns:
    """How the columns of a table become numbers, as found in the training rows.

    ``uses`` has one entry for every column of the table, in its order; ``plan`` holds, as plain JSON data,
    what encoding needs, one entry for every column that is an input. ``classes`` are those of the one target
    where it is to be told by classes, in the order of their numbers; none where targets are numbers. ``doubts`` are sentences
    on what only a person can decide, with the option of ``fallline fit`` that does.
    """

    targets: tuple[str, ...]
    uses: tuple[ColumnUse, ...]
    plan: tuple[Entry, ...]
    classes: tuple[Class, ...] = ()
    doubts: tuple[str, ...] = ()

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
        classes: Sequence[Class] = (),
    ) -> "Columns":
        """Find the role of every column in one pass over the blocks.

        Rows without all ``targets`` do not count. ``drop`` leaves columns out, ``keep`` takes back what
        would be left out by itself, ``categories`` reads whole numbers or text as categories. Messages number
        the rows as given, from 1, or by ``row_numbers``, one for each row, where rows of a file were set
        aside. ``classes`` are those of a single target that is told by classes (``classes_of``). The result does
        not depend on where the rows were cut into blocks, beyond rounding.
        Raises TableError where there is nothing to learn from: see the messages.
        """
        sums = TableSums(targets, drop, keep, categories)
        for block in blocks:
            sums.add({**block, targets[0]: class_numbers(block[targets[0]], classes)} if classes else block)
        if not sums.columns:
            raise TableError("The table has no rows: at least two rows with a target value are needed.")
        uses, plan, doubts = roles_of(sums, row_numbers, len(classes) < 3)
        if classes:
            says = f"{len(classes)} classes: {listed((cut(name, 24) for name in class_names(classes)), 6)}"
            says += (
                f"; {counted(missing, 'row')} without it left out"
                if (missing := sums.columns[targets[0]].missing)
                else ""
            )
            uses = tuple(replace(use, says=says) if use.name == targets[0] else use for use in uses)
        return cls(sums.targets, uses, plan, tuple(classes), doubts)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of the d encoded columns."""
        return tuple(name for use in self.uses for name in use.encoded)

    @property
    def outputs(self) -> int:
        """How many outputs a network has for these targets: one for each, of k > 2 classes k, of two classes one."""
        return len(self.targets) if not self.classes else 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def places(self) -> dict[str, list[int]]:
        """The numbers of the encoded columns of each input, by the input's name."""
        ends = np.cumsum([0, *(len(encoded(entry)) for entry in self.plan)]).tolist()
        return {entry["name"]: list(range(*part)) for entry, part in zip(self.plan, pairwise(ends), strict=True)}

    @property
    def indicators(self) -> np.ndarray:
        """Which encoded columns are 0 or 1 by construction: bool, shape (d,)."""
        return np.array([mark for entry in self.plan for _, mark in encoded(entry)], dtype=bool)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The columns of the table that are encoded."""
        return tuple(str(entry["name"]) for entry in self.plan)

    def check(self, names: Iterable[str]) -> None:
        """Raise TableError, naming them, if a table with these columns lacks inputs this encoding needs."""
        given = set(names)
        lacking = [name for name in self.input_names if name not in given]
        if not lacking:
            return
        spare = list(given - set(self.input_names) - set(self.targets))
        near = {name: nearest(name, spare) for name in lacking[:8]}
        hints = [f"`{name}` (is it `{meant}`?)" if meant else f"`{name}`" for name, meant in near.items()]
        more = f" and {len(lacking) - 8} more" if len(lacking) > 8 else ""
        column, it = ("column", "it") if len(lacking) == 1 else ("columns", "them")
        raise TableError(
            f"The table lacks {', '.join(hints)}{more}, which the model was fitted on: add the {column}, or "
            f"rename what stands for {it}."
        )

    def encode(self, block: Block, start: int = 0, row_numbers: np.ndarray | None = None) -> np.ndarray:
        """The inputs of a block as float64 (n, d).

        A missing number or date becomes the training mean, with 1 in its ``missing`` column if it has one; an
        unseen category goes to ``other``, or to 0 in every column if there was nothing rare in training, and between the two
        of a column with two. A category spelled otherwise is the one it can only be (``places_of``).
        Raises TableError for a missing column, another type than in training, and infinite values; messages
        number the rows from ``start`` + 1, or by ``row_numbers`` (n,).
        """
        self.check(block)
        rows = len(next(iter(block.values()))) if block else 0
        numbers = np.arange(start + 1, start + 1 + rows) if row_numbers is None else row_numbers
        out = np.zeros((rows, len(self.encoded_names)))
        at = 0
        for entry in self.plan:
            width = len(encoded(entry))
            encode(entry, Values.of(block[entry["name"]]), out[:, at : at + width], numbers)
            at += width
        return out

    def spelled_otherwise(self, blocks: Iterable[Block], table: str) -> tuple[str, ...]:
        """A sentence for each input with categories that the fit spelled otherwise, and for each with other ones, all quoted.

        ``table`` is the name of what the blocks are of.
        """
        spellings = Spellings(self)
        for block in blocks if spellings.entries else ():
            spellings.add(block)
        return spellings.sentences(table)

    def target_values(self, block: Block) -> np.ndarray:
        """The targets of a block as float64 (n, k), NaN where missing; of classes their numbers, (n, 1), −1 of others.

        Raises TableError for text that is no class.
        """
        check_there(self.targets, tuple(block), "target")
        if self.classes:
            return class_numbers(block[self.targets[0]], self.classes)[:, None]
        return targets_of(block, self.targets)

    def must_be_finite(self, y: np.ndarray, row_numbers: np.ndarray, table: str) -> None:
        """Raise TableError, naming target and row, for an infinite target among y (n, k) of these rows (n,) of a table."""
        if wrong := np.argwhere(~np.isfinite(y)).tolist():
            row, target = wrong[0]
            raise TableError(
                f"The target `{self.targets[target]}` is infinite in row {row_numbers[row]} of {table}, but finite numbers "
                "are expected: correct that cell, or leave the row out."
            )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data for JSON; ``from_dict`` makes the same ``Columns`` of it."""
        uses = [asdict(use) | {"encoded": list(use.encoded)} for use in self.uses]
        said = {"targets": list(self.targets), "uses": uses, "plan": [dict(entry) for entry in self.plan]}
        more = {"classes": list(self.classes), "doubts": list(self.doubts)}
        return said | {name: held for name, held in more.items() if held}

    @classmethod
    def from_dict(cls, data: Any) -> "Columns":
        """The ``Columns`` that ``to_dict`` wrote. Raises ValueError, one sentence, for anything else."""
        return _read_back(data)


class Spellings:
    """How the categories of a table are spelled, and how often, added up over its blocks."""

    def __init__(self, columns: Columns) -> None:
        self.entries = [entry for entry in columns.plan if entry["kind"] == "category"]
        self._counts: list[Counter[str | None]] = [Counter() for _ in self.entries]
        self._certain: list[dict[str | None, int]] = [{} for _ in self.entries]

    def add(self, block: Block) -> None:
        """Take in further rows."""
        for entry, counts, certain in zip(self.entries, self._counts, self._certain, strict=True):
            values = Values.of(block[entry["name"]])
            here = Counter(values.keys())
            certain |= places_of(here, values.kind, entry["categories"], entry.get("exact", ()))
            for key, rows in here.items():
                if key in counts or len(counts) < _MOST_SPELLINGS:
                    counts[key] += rows

    def sentences(self, table: str) -> tuple[str, ...]:
        """What is spelled otherwise than in the fit, and what was not there; ``table`` is the name of what the blocks are of."""
        each = zip(self.entries, self._counts, self._certain, strict=True)
        return tuple(sentence for known in each for sentence in _spellings(*known, table))


def _spellings(
    entry: Entry, counts: Mapping[str | None, int], places: Mapping[str | None, int], table: str
) -> Iterator[str]:
    """What to say of the categories of one column: ``counts`` of the cells by name, ``places`` of the names that are known."""
    name, categories = entry["name"], entry["categories"]
    respelled = {key: categories[places[key]] for key in counts if key in places and categories[places[key]] != key}
    if respelled:
        pairs = listed((f"'{cut(str(key), 24)}' for '{cut(own, 24)}'" for key, own in respelled.items()), 3)
        rows = counted(sum(counts[key] for key in respelled), "row")
        yield f"In {table} `{name}` is spelled otherwise than in the fit in {rows}, and taken for the same: {pairs}."
    strange = sorted((-rows, key) for key, rows in counts.items() if key is not None and key not in places)
    if strange:
        quoted = listed((f"'{cut(key, 24)}' ({-rows:,})" for rows, key in strange), 5)
        rows = counted(-sum(rows for rows, _ in strange), "row")
        if entry["other"]:
            what = "not in the fit, or rarely: used as other"
        elif "share" in entry:
            what = f"not in the fit: used as {percent(entry['share'])} '{cut(categories[1], 24)}', its share there"
        else:
            what = "not in the fit: used as none of its categories, 0 in all their columns"
        yield f"In {table} `{name}` holds categories in {rows} that were {what}. These are {quoted}."


# Reading back what ``to_dict`` wrote: nothing in it is believed. A tuple stands for a list of names.
_DAMAGED = "The columns are damaged:"
_COLUMNS = {"targets": tuple, "uses": list, "plan": list}
_USE = {"name": str, "role": str, "says": str, "encoded": tuple}
_NUMBER = {"kind": str, "name": str, "mean": float, "missing": bool}
_DATE = {"origin": float, "year": bool, "weekdays": list, "clock": bool}
_ENTRIES: dict[str, dict[str, type]] = {
    "number": _NUMBER,
    "boolean": _NUMBER,
    "date": _NUMBER | _DATE,
    "category": {"kind": str, "name": str, "categories": tuple, "other": bool, "missing": bool},
}


def _read_back(data: Any) -> Columns:
    given = _object(data, _COLUMNS)
    uses = tuple(ColumnUse(**_object(item, _USE)) for item in given["uses"])
    doubts = _object({"doubts": data.get("doubts", [])}, {"doubts": tuple})["doubts"]
    plan = tuple(map(_entry, given["plan"]))
    columns = Columns(given["targets"], uses, plan, _classes(data.get("classes", [])), doubts)
    _must(_different(columns.targets), "The columns' targets must be one name or more, each once.")
    _must(not columns.classes or len(columns.targets) == 1, f"{_DAMAGED} `classes` belong to one target.")
    for use in uses:
        known = use.role in ("target", "dropped", *_ENTRIES)
        _must(known, f"The column `{cut(use.name)}` has the unknown role '{cut(use.role)}'.")
    _must(_different([use.name for use in uses]), "A column is listed twice.")
    _must(
        set(columns.targets) == {use.name for use in uses if use.role == "target"},
        "The targets and the columns with the role of a target are not the same.",
    )
    inputs = [use for use in uses if use.encoded]
    _must(
        bool(inputs) and [use.name for use in inputs] == [entry["name"] for entry in columns.plan],
        "The columns in use and the plan for encoding them do not name the same columns.",
    )
    for use, entry in zip(inputs, columns.plan, strict=True):
        agree = use.role == entry["kind"] and len(use.encoded) == len(encoded(entry))
        _must(agree, f"The column `{cut(use.name)}` and the plan for encoding it do not agree.")
    _must(_different(columns.encoded_names), "Two encoded columns have the same name.")
    return columns


def _classes(given: Any) -> tuple[Class, ...]:
    kinds = {type(label) for label in given} if isinstance(given, list) else {type(None)}
    _must(len(kinds) <= 1 and kinds <= {str, bool, float}, f"{_DAMAGED} `classes` must be all text, or all numbers.")
    _must(len(given) == 0 or 1 < len(given) == len(set(given)), f"{_DAMAGED} `classes` must be two or more, each once.")
    finite = kinds != {float} or all(abs(label) <= LARGEST for label in given)
    _must(finite, f"{_DAMAGED} `classes` must be finite numbers.")
    return tuple(given)


def _entry(item: Any) -> Entry:
    kind = _object(item, {"kind": str})["kind"]
    _must(kind in _ENTRIES, f"{_DAMAGED} a column cannot be encoded as '{cut(kind)}'.")
    entry = _object(item, _ENTRIES[kind])
    if kind == "date":
        days = [day for day in entry["weekdays"] if type(day) is int and 0 <= day <= 6]
        one_each = len(set(days)) == len(entry["weekdays"])
        _must(one_each, f"{_DAMAGED} `weekdays` must be different numbers from 0 to 6.")
    if kind == "category":
        entry["categories"] = list(entry["categories"])
        _must(_different(entry["categories"]), f"{_DAMAGED} `categories` must be different names, 1 or more.")
        if "exact" in item:
            entry |= {"exact": list(_object(item, {"exact": tuple})["exact"])}
        if "share" in item:
            entry |= _object(item, {"share": float})
            alone = len(entry["categories"]) == 2 and not entry["other"] and not entry["missing"]
            _must(alone, f"{_DAMAGED} a `share` goes with two categories and nothing else.")
    return entry


def _object(data: Any, needs: Mapping[str, type]) -> dict[str, Any]:
    """The values of these names and types, of an object that must have them all."""
    found = {}
    for key, kind in needs.items():
        _must(isinstance(data, dict) and key in data, f"{_DAMAGED} an object with `{key}` was expected.")
        value = data[key]
        if kind is float and type(value) is int and abs(value) <= LARGEST:
            value = float(value)
        wanted = list if kind is tuple else kind
        _must(type(value) is wanted, f"{_DAMAGED} `{key}` is not of type {wanted.__name__}.")
        _must(kind is not float or abs(value) <= LARGEST, f"{_DAMAGED} `{key}` is not a finite number.")
        if kind is tuple:
            _must(all(isinstance(name, str) for name in value), f"{_DAMAGED} `{key}` must hold names only.")
        found[key] = kind(value)
    return found


def _different(names: Sequence[str]) -> bool:
    return 0 < len(names) == len(set(names))


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
