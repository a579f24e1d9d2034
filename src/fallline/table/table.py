"""A table in memory: columns by name, and what columns may be.

A block is a dictionary of column name to array, all of one length. Numbers are float64 with NaN
where a value is missing; text is an object array of str and None; dates are datetime64[us] with NaT
(times of day stand on 1970-01-01); booleans are bool, or an object array of True, False and None.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.words import free_name

Block = dict[str, np.ndarray]
Notes = dict[str, str]

SPACES = " \t\n\r\f\v\u00a0\u2007\u202f\ufeff"


@dataclass(frozen=True)
class Table:
    """A table in memory: its name, its columns in file order, and how some had to be read.

    ``columns`` maps each name to an array of shape (rows,) as the module describes; ``notes`` maps a
    column name to a few words such as "decimal commas" or "day/month/year dates". ``remarks`` are sentences on the file, such
    as on lines above its header that were left out; ``doubts`` are sentences on what may have been meant otherwise, each with
    the option that decides it. ``reading`` is how the file was read, for ``read_table(…, like=…)`` to read another alike, and
    ``text`` its rows as they are written, None where there is no file.
    """

    name: str
    columns: Block
    notes: Notes = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    text: Any = field(default=None, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """The number of rows, the header not counted."""
        return next((len(values) for values in self.columns.values()), 0)

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> "Table":
        """The table of these rows: 0-based indices in any order, a mask of shape (rows,), or a slice."""
        if not isinstance(indices, slice):
            indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        columns = {name: values[indices] for name, values in self.columns.items()}
        return Table(self.name, columns, dict(self.notes))

    def to_numpy(self) -> np.ndarray:
        """The columns side by side, (rows, columns) float64, where all of them are numbers or booleans.

        Raises TableError, naming the first that is not.
        """
        for name, values in self.columns.items():
            if values.dtype.kind not in "fb":
                raise TableError(
                    f"{name!r} is not a column of numbers: leave it out, or fit a data frame, which is encoded."
                )
        return np.column_stack([values.astype(np.float64) for values in self.columns.values()])

    def blocks(self, size: int = 65536) -> Iterator[Block]:
        """The rows in order, ``size`` at a time, as views: nothing is copied."""
        for start in range(0, self.rows, size):
            yield {name: values[start : start + size] for name, values in self.columns.items()}


def unique_names(given: Iterable[str]) -> tuple[list[str], Notes]:
    """Names as a file gives them, without blanks around, filled where empty, numbered where double; and which were."""
    wanted = [" ".join(name.strip(SPACES).split("\n")) or f"column_{i + 1}" for i, name in enumerate(given)]
    names: dict[str, None] = {}
    notes = {}
    for name in wanted:
        unique = name
        if name in names:
            unique = free_name(name, [*names, *wanted])
            which = "a second" if unique == f"{name}_2" else "one more"
            notes[unique] = f"{which} column named `{name}`"
        names[unique] = None
    return list(names), notes


def unreadable_column(table: str, column: str, kind: str) -> TableError:
    """What to say of a column whose cells are lists, structures or of several types."""
    return TableError(
        f"Column `{column}` of {table} is of type {kind}, but each cell must be one number, text, date or "
        "boolean. Leave the column out, or give each of its parts a column of its own."
    )
