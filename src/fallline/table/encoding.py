"""The cells of a column as numbers: of which kind they are, which are missing, and how an input is encoded.

An entry of the plan says how, as plain JSON data: its kind, name, and what that kind needs: the mean that stands for a
missing value, the categories, the cycles of a date. ``roles.py`` makes it from the training rows.
"""

import hashlib
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import TableError

Entry = Mapping[str, Any]

DAY = 86_400_000_000  # microseconds
LARGEST = 1e120  # squares of larger numbers overflow
_LONGEST = 120  # letters of a text remembered; a longer one is told apart by a digest
YEAR = 365.2425  # days
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)(e[+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+]?(-?)0*([0-9]+)([.]0*)?")
_HELD = {  # by kind: what the column held in training, and the kinds of values that can be encoded so
    "number": ("numbers", ("number", "boolean", "empty")),
    "boolean": ("true or false", ("number", "boolean", "empty")),
    "category": ("categories", ("text", "number", "boolean", "empty")),
    "date": ("dates", ("date", "empty")),
}


@dataclass(frozen=True)
class Values:
    """A column of a block in one of five kinds, with what is missing; both arrays have the shape (rows,)."""

    kind: str  # "number" | "boolean" | "text" | "date" | "empty"
    data: np.ndarray  # float64 (numbers, booleans as 0 and 1, both with NaN), object, or datetime64[us]
    missing: np.ndarray  # bool

    @classmethod
    def of(cls, values: np.ndarray) -> "Values":
        """The values of an array of any of the types that a block may have."""
        values = np.asarray(values)
        if values.dtype.kind == "b":
            kind, data, missing = "boolean", values.astype(np.float64), np.zeros(len(values), bool)
        elif values.dtype.kind in "fiu":
            kind, data = "number", values.astype(np.float64)
            missing = np.isnan(data)
        elif values.dtype.kind == "M":
            kind, data = "date", values.astype("datetime64[us]")
            missing = np.isnat(data)
        else:
            kind, data, missing = _of_objects(values.astype(object))
        if missing.all():
            kind, data = "empty", np.full(len(values), np.nan)
        return cls(kind, data, missing)

    @property
    def too_large(self) -> np.ndarray:
        """Which numbers are infinite, or too large to be squared: bool, (rows,)."""
        return ~self.missing & ~(np.abs(self.data) <= LARGEST)

    def keys(self) -> list[str | None]:
        """The cells as names of categories, None where missing."""
        spelled = _key if self.kind == "text" else spelled_boolean if self.kind == "boolean" else _spelled
        return [
            None if gone else spelled(cell)
            for cell, gone in zip(self.data.tolist(), self.missing.tolist(), strict=True)
        ]


def _of_objects(values: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    cells = values.tolist()
    # None, and NaN among texts.
    missing = np.array([cell is None or cell != cell for cell in cells], bool)
    kinds = set(map(type, itertools.compress(cells, ~missing)))
    if all(issubclass(kind, (bool, np.bool_, int, float, np.number)) for kind in kinds):
        kind = "boolean" if all(issubclass(kind, (bool, np.bool_)) for kind in kinds) else "number"
        return kind, np.where(missing, np.nan, values).astype(np.float64), missing
    texts = [None if gone else str(cell) for cell, gone in zip(cells, missing, strict=True)]
    return "text", np.array(texts, dtype=object), missing


def targets_of(block: Mapping[str, np.ndarray], targets: Sequence[str]) -> np.ndarray:
    """The targets of a block as float64 (n, k), NaN where missing. Raises TableError for text and dates."""
    columns = [Values.of(block[name]) for name in targets]
    for name, values in zip(targets, columns, strict=True):
        if values.kind == "text":
            first = values.data[~values.missing][0]
            raise TableError(
                f"The target `{name}` is text (such as '{cut(first)}'), but numbers are expected: choose a "
                "column of numbers, or write its values as numbers. Classes are told of one target alone, without others."
            )
        if values.kind == "date":
            raise TableError(f"The target `{name}` is a date, but numbers are expected: choose a column of numbers.")
    return np.stack([values.data for values in columns], axis=1)


def _key(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:80]}… {hashlib.blake2b(text.encode(errors='replace'), digest_size=8).hexdigest()}"


def spelled_boolean(value: float) -> str:
    """A 1 or 0 as a person writes it."""
    return "true" if value else "false"


def _spelled(value: float) -> str:
    """A number as a person writes it: 3 rather than 3.0, enough digits to read back the same number."""
    return str(int(value)) if value == math.floor(value) and abs(value) < 2.0**53 else repr(value)


def short(value: float) -> str:
    """A number for a sentence: whole numbers in full, others to six digits."""
    if value == math.floor(value) and abs(value) < 1e15:
        return _spelled(value)
    return f"{value:.0f}" if 1e5 < abs(value) < 1e15 else f"{value:.6g}"


def cut(text: str, letters: int = 40) -> str:
    """The text, shortened for a sentence."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def encoded(entry: Entry) -> list[tuple[str, bool]]:
    """The names of the encoded columns of one input, and which of them are 0 or 1."""
    name, kind = entry["name"], entry["kind"]
    if kind == "category":
        if "share" in entry:
            return [(f"{name}={entry['categories'][1]}", True)]
        categories = entry["categories"] + ["other"] * entry["other"] + ["missing"] * entry["missing"]
        return [(f"{name}={category}", True) for category in categories]
    gap = [(f"{name} missing", True)] * entry["missing"]
    if kind != "date":
        return [(name, kind == "boolean"), *gap]
    columns = [("days", False)]
    columns += [("year sin", False), ("year cos", False)] * entry["year"]
    columns += [(_WEEKDAYS[day], True) for day in entry["weekdays"]]
    columns += [("time sin", False), ("time cos", False)] * entry["clock"]
    return [(f"{name} {part}", mark) for part, mark in columns] + gap


def encode(entry: Entry, values: Values, out: np.ndarray, row_numbers: np.ndarray) -> None:
    """Write the values to ``out`` (rows, columns), which holds zeros.

    Raises TableError, naming the row, for values of another kind than in training and for infinite ones.
    """
    kind, there = entry["kind"], ~values.missing
    expected, kinds = _HELD[kind]
    if values.kind not in kinds or (kind == "boolean" and not np.isin(values.data[there], (0, 1)).all()):
        row = int(np.flatnonzero(there)[0])
        found = values.data.tolist()[row]
        shown = f"'{cut(found)}'" if isinstance(found, str) else found
        raise TableError(
            f"Column `{entry['name']}` held {expected} in training, but row {row_numbers[row]} holds {shown}: "
            f"give {expected}, or leave the cell empty."
        )
    if kind == "category":
        _encode_category(entry, values, out)
    elif kind == "date":
        _encode_date(entry, values, out)
    else:
        for row in np.flatnonzero(values.too_large).tolist():
            found = values.data[row]
            what = "infinite" if np.isinf(found) else f"{found:g}, too large,"
            raise TableError(
                f"Column `{entry['name']}` is {what} in row {row_numbers[row]}, but finite numbers are expected: "
                "correct or empty that cell."
            )
        out[:, 0] = np.where(there, values.data, entry["mean"])
    if entry["missing"]:
        out[:, -1] = values.missing


def _encode_category(entry: Entry, values: Values, out: np.ndarray) -> None:
    keys = values.keys()
    places = places_of(keys, values.kind, entry["categories"], entry.get("exact", ()))
    if "share" in entry:
        out[:, 0] = [places.get(key, entry["share"]) for key in keys]
        return
    nowhere = out.shape[1]
    unseen = len(entry["categories"]) if entry["other"] else nowhere
    at = np.array([nowhere if key is None else places.get(key, unseen) for key in keys], np.intp)
    seen = np.flatnonzero(at < nowhere)
    out[seen, at[seen]] = 1.0


def places_of(
    keys: Iterable[str | None], kind: str, categories: Sequence[str], exact: Iterable[str] = ()
) -> dict[str | None, int]:
    """Which category each name of cells is, by its place; a name that is none of them is left out. ``kind`` is of ``Values``.

    A name spelled otherwise is taken for a category where it can be no other (``_loosely``). Those that must be spelled ``exact``
    are like a rare category of the training rows.
    """
    places: dict[str | None, int] = {category: place for place, category in enumerate(categories)}
    others = set(keys) - places.keys() - {None}
    if others:
        loose = [_loosely(category, kind == "number") for category in categories]
        counts, shy = Counter(loose), set(exact)
        certain = {
            name: place for place, name in enumerate(loose) if counts[name] == 1 and categories[place] not in shy
        }
        found = {name: certain.get(_loosely(str(name), kind == "number")) for name in others}
        places |= {name: place for name, place in found.items() if place is not None}
    return places


def alike(categories: Sequence[str], texts: Iterable[str]) -> list[str]:
    """Those of the categories that other ``texts``, which are none of them, could be taken for."""
    others = set(texts) - set(categories)
    loose = {_loosely(text, as_number) for text in others for as_number in (False, True)}
    return [category for category in categories if not loose.isdisjoint({_loosely(category), _loosely(category, True)})]


def _loosely(name: str, as_number: bool = False) -> str:
    """The name of a category without what spellings differ in: composed letters, capitals, blanks, zeros of whole numbers.

    ``as_number``: where cells were read as numbers, the value counts, whatever its zeros: 2.5 is 2.50. Of texts 1.10 and 1.1 may
    be two versions. Letters are compared as Unicode's canonical caseless matching does (chapter 3.13, D145).
    """
    text = " ".join(unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold()).split())
    if as_number and _NUMBER.fullmatch(text):
        return repr(float(text))
    whole = _WHOLE.fullmatch(text)
    return "".join(whole.group(1, 2)) if whole else text


def _encode_date(entry: Entry, values: Values, out: np.ndarray) -> None:
    there = ~values.missing
    ticks = values.data[there].astype("datetime64[us]").astype(np.int64)
    days = ticks / DAY
    columns = [days - entry["origin"]]
    if entry["year"]:
        angle = 2 * np.pi * days / YEAR
        columns += [np.sin(angle), np.cos(angle)]
    columns += [(ticks // DAY + 3) % 7 == day for day in entry["weekdays"]]
    if entry["clock"]:
        angle = 2 * np.pi * (days - np.floor(days))
        columns += [np.sin(angle), np.cos(angle)]
    out[there, : len(columns)] = np.stack(columns, axis=1)
    # A missing date stands in the middle of every cycle: 0 in sine, cosine and weekdays.
    out[~there, 0] = entry["mean"] - entry["origin"]
