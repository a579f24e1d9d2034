"""Data frames of any library to columns, by way of narwhals. Types are taken as they are: text is not read as numbers."""

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.table.database import from_relation
from fallline.table.table import Block, Table, unreadable_column

_EPOCH = datetime.date(1970, 1, 1)


def table_from_frame(frame: Any, name: str = "data frame") -> Table:
    """The columns of a pandas, Polars (also lazy), PyArrow or DuckDB table, or another narwhals knows; a ``Table`` as it is.

    Types are taken as they are: text stays text even where it spells numbers. Decimals and nullable
    numbers become float64, categories and enums text, times with a zone UTC, durations seconds.
    Raises TableError, naming column and type, for cells that hold more than one value, and for an object
    that is no table.
    """
    if isinstance(frame, Table):
        return frame
    if type(frame).__name__ == "DuckDBPyRelation":  # narwhals would need pyarrow for it
        table = Table(name, from_relation(frame, f"the {name}"))
    else:
        table = Table(name, _columns_of(frame, name))
    if not table.columns:
        raise TableError(f"The {name} has no columns: at least a target and one input are needed.")
    if table.rows == 0:
        raise TableError(f"The {name} has columns and no rows: at least two rows of values are needed.")
    return table


def table_if_frame(X: Any) -> Table | None:
    """The columns of a data frame, or None if X is something else, such as an array."""
    if isinstance(X, (np.ndarray, list, tuple)):
        return None
    import narwhals as nw

    try:
        frame = nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError:  # a data frame, of which more is said there
        return table_from_frame(X)
    return table_from_frame(X) if isinstance(frame, (nw.DataFrame, nw.LazyFrame)) else None


def _columns_of(frame: Any, name: str) -> Block:
    import narwhals as nw

    try:
        eager = nw.from_native(frame)
        if isinstance(eager, nw.LazyFrame):
            eager = eager.collect()
        names = list(eager.columns)
    except TypeError as problem:
        raise TableError(
            f"An object of type {type(frame).__name__} is not a table: a pandas, Polars or DuckDB frame or "
            "a PyArrow table was expected."
        ) from problem
    except nw.exceptions.DuplicateError as problem:
        said = " ".join(str(problem).split())
        raise TableError(f"Two columns of the {name} have the same name ({said}). Rename one.") from problem
    columns = {str(column): _values_of(eager.get_column(column), str(column), name) for column in names}
    if len(columns) < len(names):
        raise TableError(f"Two columns of the {name} have the same name once written as text. Rename one.")
    return columns


def _values_of(series: Any, column: str, table: str) -> np.ndarray:
    import narwhals as nw

    kind = series.dtype
    if kind.is_numeric() or kind == nw.Boolean:
        values = series.to_numpy()
        if values.dtype.kind in "fiub":  # NaN already stands where a value is missing
            return values.astype(bool if values.dtype.kind == "b" else np.float64)
    missing = series.is_null().to_numpy().astype(bool)
    if missing.all():  # as in a file: a column without values is of no type, and stands as numbers
        return np.full(len(missing), np.nan)
    if kind in (nw.Categorical, nw.Enum):
        series = series.cast(nw.String)
    if kind == nw.Datetime or kind == nw.Date:
        if kind == nw.Datetime and kind.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.cast(nw.Datetime("us")).to_numpy().astype("datetime64[us]")
    if kind == nw.Duration:
        spans = series.to_numpy().astype("timedelta64[us]")
        return np.where(missing, np.nan, spans.astype(np.int64) / 1e6)
    plain = (nw.String, nw.Categorical, nw.Enum, nw.Boolean, nw.Object, nw.Time, nw.Unknown)
    if kind.is_numeric() or kind in plain:
        cells = [None if gone else cell for cell, gone in zip(series.to_list(), missing, strict=True)]
        return _from_objects(cells, column, table, str(kind))
    raise unreadable_column(f"the {table}", column, str(kind))


def _from_objects(cells: Sequence[Any], column: str, table: str, kind: str) -> np.ndarray:
    """A column of Python objects: all numbers, all text, all booleans or all dates, None where missing."""
    present = [cell for cell in cells if cell is not None]

    def all_are(*kinds: type) -> bool:
        return all(isinstance(cell, kinds) for cell in present)

    if all_are(bool, np.bool_):
        whole = len(present) == len(cells)
        return np.array([None if cell is None else bool(cell) for cell in cells], bool if whole else object)
    if all_are(str):
        return np.array(cells, dtype=object)
    if all_are(int, float, decimal.Decimal, np.number):
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    if all_are(datetime.date) or all_are(datetime.time):
        return np.array([None if cell is None else _moment(cell) for cell in cells], dtype="datetime64[us]")
    kinds = ", ".join(sorted({type(cell).__name__ for cell in present}))
    raise unreadable_column(f"the {table}", column, f"{kind} ({kinds})")


def _moment(cell: Any) -> datetime.date:
    """A date; a moment in UTC; a time of day on 1970-01-01."""
    if isinstance(cell, datetime.time):
        return datetime.datetime.combine(_EPOCH, cell, None)
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        return cell.astimezone(datetime.UTC).replace(tzinfo=None)
    return cell
