"""A target of classes: which classes there are, how they are spelled, and which one each row is of.

A class is a text, true or false, or a number, as the column holds it; its number is its place among all of them in their
order. Nothing here knows how a network is told of it.
"""

from collections.abc import Sequence

import numpy as np

from fallline.exceptions import TableError
from fallline.table.encoding import Values, cut, places_of
from fallline.words import counted, listed

Class = str | bool | float

_FEWEST_ROWS = 10  # with fewer, two different numbers say nothing of what a column holds
_IDENTIFIER = 0.5  # different texts for each row, from which on they are no classes


def classes_of(name: str, values: np.ndarray, asked_for: bool = False) -> tuple[Class, ...] | None:
    """The classes of the target ``name`` in their order, or None where its values (rows,) are to be predicted as numbers.

    Classes are texts, true and false, two different numbers in 10 rows or more, and any numbers where ``asked_for``. Raises
    TableError, a sentence, for a single class, a class of one row, and texts that are no classes.
    """
    given = Values.of(values)
    rows = np.flatnonzero(~given.missing)
    cells = given.data[rows]
    if given.kind in ("empty", "date") or (given.kind == "number" and not np.isfinite(cells).all()):
        return None
    labels, first, counts = np.unique(cells, return_index=True, return_counts=True)
    two = len(labels) == 2 and len(rows) >= _FEWEST_ROWS
    if given.kind == "number" and not (two or (asked_for and len(labels) > 1)):
        return None
    spelled = [cut(label) for label in class_names(labels.tolist())]
    if len(labels) == 1:
        raise TableError(
            f"The target `{name}` is '{spelled[0]}' in all {len(rows)} rows, so there is nothing to tell apart: choose a column "
            "with two classes or more."
        )
    alone = np.flatnonzero(counts == 1)
    if len(labels) > 2 and (len(labels) > _IDENTIFIER * len(rows) or 2 * len(alone) > len(labels)):
        raise TableError(f"The target `{name}` {_no_classes(given, rows, len(labels))}")
    if len(alone):
        which = listed((f"'{spelled[i]}' (row {rows[first[i]] + 1})" for i in alone), 3)
        one = "class has" if len(alone) == 1 else "classes have"
        raise TableError(
            f"Of the target `{name}`, the {one} a single row: {which}. A class needs two rows or more, one to learn from and "
            "one to judge by: add rows, or leave these out."
        )
    return tuple(bool(label) for label in labels) if given.kind == "boolean" else tuple(labels.tolist())


def _no_classes(given: Values, rows: np.ndarray, different: int) -> str:
    """Why these values are no classes and what to do: numbers with a cell that is none, or an identifier."""
    texts = [str(cell) for cell in given.data[rows].tolist()]
    odd = [at for at, text in enumerate(texts) if not _is_number(text)]
    if given.kind == "text" and 0 < 2 * len(odd) < len(texts):
        return (
            f"is a number in most of its {len(rows):,} rows, but '{cut(texts[odd[0]])}' in row {rows[odd[0]] + 1}: correct or "
            f"empty {counted(len(odd), 'cell')} that cannot be read as a number."
        )
    return (
        f"holds {different:,} different values in {counted(len(rows), 'row')}: an identifier or free text, not classes, of which "
        "each has several rows. Choose another column."
    )


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def class_names(classes: Sequence[Class]) -> tuple[str, ...]:
    """The classes as a person writes them: text as it is, true and false, 1 rather than 1.0."""
    spelled = Values.of(np.array(classes, dtype=object)).keys()
    return tuple(map(str, spelled))


def class_numbers(values: np.ndarray, classes: Sequence[Class]) -> np.ndarray:
    """The number of each row's class, float64 (rows,): NaN where the cell is empty, −1 of a value that is none of the classes.

    A class that is spelled otherwise is known as a category is (``places_of``).
    """
    given = Values.of(values)
    if given.kind == "date":
        return np.where(given.missing, np.nan, -1.0)
    if given.kind != "text" and not isinstance(classes[0], str):  # 1 and true are one class
        places = {float(label): place for place, label in enumerate(classes)}
        found = [places.get(cell, -1) for cell in given.data.tolist()]
    else:
        keys = given.keys()
        named = places_of(keys, given.kind, class_names(classes))
        found = [named.get(key, -1) for key in keys]
    return np.where(given.missing, np.nan, np.array(found, np.float64))
