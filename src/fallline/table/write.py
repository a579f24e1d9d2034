"""Files out: columns to CSV or Parquet, so that reading gives them back to the last digit."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fallline.exceptions import OutputError, TableError
from fallline.files import replacing
from fallline.table.database import database, first_line, quoted

_AT_ONCE = 65536  # rows


def write_table(path: Path | str, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns, all of one length, to a .csv or .parquet file, whole or not at all.

    CSV is UTF-8 with commas; numbers are written so that reading gives back the same float64, dates in
    ISO form, missing values as empty cells (Parquet: null). Raises TableError for another suffix,
    OutputError if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise TableError(f"{path.name} ends in {suffix or 'no suffix'}, but tables are written as .csv or .parquet.")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise TableError(f"Columns of one length are expected, not of {sorted(lengths)} rows.")
    with replacing(path) as temporary:
        if suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                write_csv(file, columns)
        else:
            _write_parquet(temporary, columns, path)


def write_csv(file: TextIO, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns, all of one length, as CSV to an open text file, as ``write_table`` does."""
    values = [np.asarray(column) for column in columns.values()]
    whole = [column.dtype.kind == "f" and _all_whole(column) for column in values]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for start in range(0, len(values[0]), _AT_ONCE):
        parts = [column[start : start + _AT_ONCE] for column in values]
        writer.writerows(zip(*map(_csv_cells, parts, whole), strict=True))


def _all_whole(values: np.ndarray) -> bool:
    """Whether numbers are written without ".0": in all of a column, or nowhere in it."""
    values = values[~np.isnan(values)]
    return bool(np.all((np.floor(values) == values) & (np.abs(values) < 2.0**53)))


def _csv_cells(values: np.ndarray, whole: bool) -> list[Any]:
    if values.dtype.kind == "f":
        number = int if whole else float  # csv writes a float by repr: the shortest that reads back as it
        return ["" if value != value else number(value) for value in values.tolist()]
    if values.dtype.kind == "M":
        moments, days = values.astype("datetime64[us]"), values.astype("datetime64[D]")
        clock = np.any((moments != days) & ~np.isnat(moments))
        texts = np.datetime_as_string(moments if clock else days).tolist()
        return ["" if text == "NaT" else text.removesuffix(".000000") for text in texts]
    return [
        str(value).lower() if isinstance(value, (bool, np.bool_)) else "" if value is None else value
        for value in values.tolist()
    ]


def _write_parquet(path: Path, columns: Mapping[str, np.ndarray], target: Path) -> None:
    import duckdb
    import nanoarrow

    schema, arrays = {}, []
    for name, column in columns.items():
        # Typed here: DuckDB would guess types from a sample.
        cells, schema[name] = _arrow_cells(np.asarray(column))
        arrays.append(nanoarrow.c_array(cells, schema[name]))
    rows = nanoarrow.c_array_from_buffers(
        nanoarrow.struct(schema), len(next(iter(columns.values()))), [None], children=arrays
    )
    with database(path.resolve()) as connection:
        try:
            connection.register("outgoing", nanoarrow.ArrayStream(rows))
            place = quoted(str(path.resolve()))
            how = "format parquet, use_tmp_file false"
            connection.execute(f"copy (select * from outgoing) to {place} ({how})")
        except duckdb.Error as problem:
            why = first_line(problem)
            raise OutputError(f"{target} cannot be written: {why}. Choose another place.") from problem


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
