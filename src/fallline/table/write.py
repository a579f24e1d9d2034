"""Files out: columns to CSV or Parquet, so that reading gives them back to the last digit."""

import contextlib
import csv
import itertools
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fallline.exceptions import OutputError, TableError
from fallline.files import holds, replacing
from fallline.table.database import database, first_line, quoted
from fallline.table.separated import as_text
from fallline.table.table import Table

_AT_ONCE = 65536  # rows
_STORE = "250MB"  # what a database on disk may hold in memory
_LONGEST_HEADER = 1 << 22  # letters
_PREDICTED = re.compile("(predicted|probability|std|lower|upper) ")
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,]*$).")


def write_table(path: Path | str, columns: Mapping[str, np.ndarray], beside: Table | None = None) -> None:
    """Write columns, all of one length, to a .csv or .parquet file, whole or not at all; ``beside`` the rows of a file.

    CSV is UTF-8 with commas; numbers are written so that reading gives back the same float64, dates in
    ISO form, missing values as empty cells (Parquet: null), and text that a spreadsheet would take for a formula behind an
    apostrophe. A table read from a file keeps its rows letter by letter, its separator and its decimal mark; in
    Parquet, where cells have types, as they were read, and as text where a number would lose digits.
    Raises TableError for another suffix, OutputError if the file cannot be written.
    """
    path = Path(path)
    _must_be_csv_or_parquet(path)
    lengths = {len(values) for values in columns.values()} | ({beside.rows} if beside else set())
    if len(lengths) != 1:
        raise TableError(f"Columns of one length are expected, not of {sorted(lengths)} rows.")
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                write_csv(file, columns, beside)
        else:
            _write_parquet(temporary, iter([{**(_exact(beside) if beside else {}), **columns}]), path)


def _must_be_csv_or_parquet(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise TableError(f"{path.name} ends in {suffix or 'no suffix'}, but tables are written as .csv or .parquet.")


def is_written(path: Path, new: Sequence[str]) -> bool:
    """Whether ``fallline predict`` wrote the file, with these ``new`` columns beside others: the next may replace it.

    A CSV says so by its header alone, which ends in columns of predictions and nothing else.
    """
    if path.suffix.lower() == ".parquet":
        return holds(path, b"PAR1", 4) and holds(path, b"made_by\x18\x08fallline")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head = [file.readline(_LONGEST_HEADER) for _ in range(3)]
    except (OSError, UnicodeDecodeError):
        return False
    for line, separator in itertools.product(head, ",;\t|"):
        with contextlib.suppress(csv.Error):  # a field too long for a name
            fields = next(csv.reader([line], delimiter=separator), [])
            last = fields[fields.index(new[0]) :] if new[0] in fields else []
            if set(new) <= set(last) and all(map(_PREDICTED.match, last)):
                return True
    return False


def write_parts(out: Path | str | TextIO, parts: Iterable[tuple[Table, Mapping[str, np.ndarray]]]) -> None:
    """As ``write_table``, and to an open text file as ``write_csv``, columns beside tables that are parts of one, as they come.

    Whether numbers are written without points is decided by the first part. Raises TableError for Parquet where a later part
    would need another type for a column.
    """
    if not isinstance(out, (str, Path)):
        whole = None
        for part, columns in parts:
            whole = write_csv(out, columns, part, whole)
        return
    path = Path(out)
    _must_be_csv_or_parquet(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                write_parts(file, parts)
        else:
            _write_parquet(temporary, ({**_exact(part), **columns} for part, columns in parts), path)


def write_csv(
    file: TextIO, columns: Mapping[str, np.ndarray], beside: Table | None = None, whole: Sequence[bool] | None = None
) -> list[bool]:
    """Write columns, all of one length, as CSV to an open text file, as ``write_table`` does.

    Returns which columns hold whole numbers alone; given again with further rows, the header is not written a second time.
    """
    values = [np.asarray(column) for column in columns.values()]
    below = whole is not None
    whole = [
        column.dtype.kind == "f" and _all_whole(column) and (not below or before)
        for column, before in zip(values, whole or [True] * len(values), strict=True)
    ]
    separator, comma, rows = ",", False, None
    if beside is not None:
        text = beside.text
        separator, rows = text.separator, text.lines()
        comma = separator != "," and any(way.get("decimal") == "," for way in beside.reading["columns"].values())
        if not below:
            file.write((text.header or as_text(list(beside.columns), separator)) + separator)
    writer = csv.writer(file, lineterminator="\n", delimiter=separator)
    if not below:
        writer.writerow(columns)
    for start in range(0, len(values[0]), _AT_ONCE):
        parts = [
            _csv_cells(column[start : start + _AT_ONCE], no_points, comma)
            for column, no_points in zip(values, whole, strict=True)
        ]
        for cells in zip(*parts, strict=True):
            if rows is not None and beside is not None:
                file.write(_next(rows, beside) + separator)
            writer.writerow(cells)
    return whole


def _next(rows: Iterator[str], table: Table) -> str:
    """The text of the next row. Raises TableError where the file has fewer rows than were read of it."""
    for row in rows:
        return row
    raise TableError(f"{table.name} changed while it was read: run the command again.")


def _exact(table: Table) -> dict[str, np.ndarray]:
    """The columns as they were read, those of numbers as text where digits would be lost."""
    lossy = {
        i
        for i, values in enumerate(table.columns.values())
        if values.dtype.kind == "f" and np.abs(values).max(initial=0) > 2.0**53
    }
    columns = dict(table.columns)
    if lossy:
        rows = csv.reader(table.text.lines(), delimiter=table.text.separator)
        cells = [row for row, _ in zip(rows, range(table.rows), strict=False)]
        for i, name in enumerate(table.columns):
            if i in lossy and any("." not in row[i] and "e" not in row[i].lower() for row in cells):
                columns[name] = np.array([row[i] or None for row in cells], object)
    return columns


def _all_whole(values: np.ndarray) -> bool:
    """Whether numbers are written without ".0": in all of a column, or nowhere in it."""
    values = values[~np.isnan(values)]
    return bool(np.all((np.floor(values) == values) & (np.abs(values) < 2.0**53)))


def _csv_cells(values: np.ndarray, whole: bool, comma: bool = False) -> list[Any]:
    if values.dtype.kind == "f":
        number = int if whole else float  # csv writes a float by repr: the shortest that reads back as it
        cells = ["" if value != value else number(value) for value in values.tolist()]
        return [str(cell).replace(".", ",") for cell in cells] if comma else cells
    if values.dtype.kind == "M":
        moments, days = values.astype("datetime64[us]"), values.astype("datetime64[D]")
        clock = np.any((moments != days) & ~np.isnat(moments))
        texts = np.datetime_as_string(moments if clock else days).tolist()
        return ["" if text == "NaT" else text.removesuffix(".000000") for text in texts]
    return [
        str(value).lower() if isinstance(value, (bool, np.bool_)) else "" if value is None else _no_formula(value)
        for value in values.tolist()
    ]


def _no_formula(cell: Any) -> Any:
    """Text behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _write_parquet(path: Path, parts: Iterator[Mapping[str, np.ndarray]], target: Path) -> None:
    """Write parts of columns one below the other. A single part goes straight to the file, others by a database on disk."""
    import duckdb

    first, second = next(parts, {}), next(parts, None)
    with contextlib.ExitStack() as stack:
        store = None
        if second is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".fallline-", dir=path.parent))
            store = Path(folder) / "rows"
        connection = stack.enter_context(database(path.resolve(), at=store))
        if store is not None:
            connection.execute(f"set memory_limit='{_STORE}'")
        try:
            kinds = None
            given = "outgoing"
            for part in (each for each in itertools.chain([first, second], parts) if each is not None):
                kinds = _register(connection, part, kinds)
                if store is not None:
                    how = "insert into stored" if given == "stored" else "create table stored as"
                    connection.execute(f"{how} select * from outgoing")
                    given = "stored"
            place = quoted(str(path.resolve()))
            how = "format parquet, use_tmp_file false, kv_metadata {made_by: 'fallline'}"
            connection.execute(f"copy (select * from {given}) to {place} ({how})")
        except duckdb.Error as problem:
            why = first_line(problem)
            raise OutputError(f"{target} cannot be written: {why}. Choose another place.") from problem


def _register(connection: Any, columns: Mapping[str, np.ndarray], kinds: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Make columns the table ``outgoing``, of these Arrow types or else of those that they have, which are returned."""
    import nanoarrow

    schema, arrays = {}, []
    for name, column in columns.items():
        # Typed here: DuckDB would guess types from a sample.
        cells, schema[name] = _arrow_cells(np.asarray(column))
        if kinds is not None and schema[name].type != kinds[name].type:
            if any(cell is not None for cell in cells):
                raise TableError(
                    f"Column `{name}` would need another type further down, which Parquet does not have: give a .csv file to "
                    "--output."
                )
            schema[name] = kinds[name]
        arrays.append(nanoarrow.c_array(cells, schema[name]))
    rows = nanoarrow.c_array_from_buffers(
        nanoarrow.struct(schema), len(next(iter(columns.values()))), [None], children=arrays
    )
    connection.register("outgoing", nanoarrow.ArrayStream(rows))
    return schema


def _arrow_cells(values: np.ndarray) -> tuple[list[Any], Any]:
    """The cells as plain Python, None where missing, and their Arrow type."""
    import nanoarrow

    if values.dtype.kind in "fiuM":
        date = values.dtype.kind == "M"
        numbers: Any = values.astype("datetime64[us]" if date else np.float64)
        cells = (numbers.astype(np.int64) if date else numbers).astype(object)
        cells[numbers != numbers] = None
        return cells.tolist(), nanoarrow.timestamp("us") if date else nanoarrow.float64()
    cells = values.tolist()
    if all(isinstance(cell, (bool, np.bool_)) for cell in cells if cell is not None):
        return [None if cell is None else bool(cell) for cell in cells], nanoarrow.bool_()
    return [None if cell is None else str(cell) for cell in cells], nanoarrow.string()
