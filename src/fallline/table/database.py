"""DuckDB on a short leash: in memory, allowed to read the one file it is given and nothing else.

What it hands over becomes plain NumPy here. What a text in it means is decided in ``cells.py``.
"""

import contextlib
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.table.content import Source
from fallline.table.table import Block, unique_names, unreadable_column

if TYPE_CHECKING:
    import duckdb

_SECONDS_BETWEEN_WORDS = 0.2


@contextlib.contextmanager
def database(*readable: Path, at: Path | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A private database that may touch the one file, or those, that are ``readable``; in memory, or ``at`` a place on disk."""
    import duckdb  # here: --help must not wait for it

    with contextlib.closing(duckdb.connect(":memory:" if at is None else str(at))) as connection:
        connection.execute("set autoinstall_known_extensions=false; set autoload_known_extensions=false")
        connection.execute("set temp_directory=''; set enable_progress_bar=false; set TimeZone='UTC'")
        connection.execute(f"set allowed_paths=[{', '.join(quoted(str(path)) for path in readable)}]")
        connection.execute("set enable_external_access=false")
        try:
            with _heard(connection):
                yield connection
        except RuntimeError as problem:  # its word for Ctrl-C
            if "interrupted" in str(problem):
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _heard(connection: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """A block in which Ctrl-C ends what the database does: told once, its threads now and then go on to the end."""
    before, over = signal.getsignal(signal.SIGINT), threading.Event()
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def insist() -> None:
        while not over.wait(_SECONDS_BETWEEN_WORDS):
            with contextlib.suppress(Exception):  # it was closed
                connection.interrupt()

    def heard(*of: Any) -> Any:
        threading.Thread(target=insist, daemon=True).start()
        return before(*of)

    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple["duckdb.DuckDBPyConnection", str]]:
    """A private database and the SQL of the path it may read: the file itself, or a copy of the cleaned content."""
    with contextlib.ExitStack() as stack:
        path = source.path.resolve()
        if source.content is not None or seems_pattern(path):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fallline-"))
            path = Path(folder).resolve() / "table"
            if source.content is None:
                shutil.copyfile(source.path, path)
            else:
                path.write_bytes(source.content)
        yield stack.enter_context(database(path)), quoted(str(path))


def seems_pattern(path: Path) -> bool:
    """Whether DuckDB could take the name of a file for a pattern, such as a[1].csv."""
    return any(letter in str(path) for letter in "*?[]{}")


def quoted(text: str) -> str:
    """The text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a column as SQL."""
    return '"' + name.replace('"', '""') + '"'


def asked(database: "duckdb.DuckDBPyConnection", question: str) -> list[Any]:
    """The rows of an answer."""
    return database.execute(question).fetchall()


def first_line(problem: Exception) -> str:
    """What DuckDB complains of, in one line."""
    return str(problem).split("\n", maxsplit=1)[0].strip().rstrip(".")


_CELLS = {"DOUBLE": (np.float64, np.nan), "TIMESTAMP": ("datetime64[us]", np.datetime64("NaT"))}


def plain(values: Any, kind: str) -> np.ndarray:
    """What DuckDB hands over, (rows,), without masks: NaN, NaT or None where nothing was recorded."""
    missing = np.ma.getmaskarray(values)
    dtype: Any
    dtype, nothing = _CELLS.get(kind, (object, None))
    if kind == "BOOLEAN" and not missing.any():
        dtype = bool
    data: np.ndarray = np.ma.getdata(values).astype(dtype)
    data[missing] = nothing
    return data


_TYPES = (  # the type a column has, the SQL of its values, what they are
    (r'U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL(\(.*\))?|"?NULL"?', "{}::double", "DOUBLE"),
    (r"INTERVAL", "epoch({})", "DOUBLE"),
    (r"BOOLEAN", "{}", "BOOLEAN"),
    (r"VARCHAR|UUID|JSON|ENUM\(.*\)", "{}::varchar", "VARCHAR"),
    (r"TIMESTAMP WITH TIME ZONE|TIMESTAMPTZ(_NS)?", "timezone('UTC', {}::timestamptz)", "TIMESTAMP"),
    (r"DATE|TIMESTAMP(_S|_MS|_NS)?", "{}::timestamp", "TIMESTAMP"),
    (r"TIME(_NS)?", "(date '1970-01-01' + {}::time)", "TIMESTAMP"),
)


def from_relation(relation: "duckdb.DuckDBPyRelation", name: str) -> Block:
    """The columns of a relation. Raises TableError for a column whose cells are not one value each."""
    values, kinds = zip(*_values_of(relation, name), strict=True)
    fetched = relation.project(", ".join(f"{sql} as c{i}" for i, sql in enumerate(values))).fetchnumpy()
    names, _ = unique_names(relation.columns)
    return {name: plain(fetched[f"c{i}"], kinds[i]) for i, name in enumerate(names)}


def _values_of(relation: "duckdb.DuckDBPyRelation", name: str) -> Iterator[tuple[str, str]]:
    """The SQL of the values of each column, and what they are."""
    for column, given in zip(relation.columns, relation.types, strict=True):
        for pattern, sql, kind in _TYPES:
            if re.fullmatch(pattern, str(given).upper(), re.DOTALL):
                yield sql.format(identifier(column)), kind
                break
        else:
            raise unreadable_column(name, column, str(given))


def kinds_of(relation: "duckdb.DuckDBPyRelation", name: str) -> dict[str, str]:
    """What each column of a relation holds: "DOUBLE", "BOOLEAN", "VARCHAR" or "TIMESTAMP"."""
    names, _ = unique_names(relation.columns)
    return dict(zip(names, (kind for _, kind in _values_of(relation, name)), strict=True))


# The SQL of a value in Arrow, where nothing needs a mask, and what stands for a missing one there.
_IN_ARROW = {
    "DOUBLE": "coalesce({}, 'nan'::double)",
    "BOOLEAN": "coalesce(({})::tinyint, -1::tinyint)",
    "TIMESTAMP": f"coalesce(epoch_us({{}}), {np.iinfo(np.int64).min + 1} - 1)",
    "VARCHAR": "{}",
}


def batches(relation: "duckdb.DuckDBPyRelation", name: str, texts: bool = False) -> Iterator[tuple[Block, list[Any]]]:
    """The columns of a relation as ``from_relation`` gives them, some 100,000 rows at a time, in order.

    With each the cells of every column as text, if these ``texts`` are asked for: numbers as DuckDB writes them.
    """
    import nanoarrow

    names, _ = unique_names(relation.columns)
    values, kinds = zip(*_values_of(relation, name), strict=True)
    asked_for = [
        f"{_IN_ARROW[kind].format(sql)} as c{i}" for i, (sql, kind) in enumerate(zip(values, kinds, strict=True))
    ]
    if texts:
        asked_for += [f"{identifier(column)}::varchar as t{i}" for i, column in enumerate(relation.columns)]
    for batch in nanoarrow.ArrayStream(relation.project(", ".join(asked_for))):
        children = list(batch.iter_children())
        parts = children[: len(names)], children[len(names) :]
        columns = {n: _of_arrow(child, kind) for n, child, kind in zip(names, parts[0], kinds, strict=True)}
        yield columns, [_texts_of(child) for child in parts[1]]


_NUMBERS = {"DOUBLE": np.float64, "BOOLEAN": np.int8, "TIMESTAMP": np.int64}


def _of_arrow(array: Any, kind: str) -> np.ndarray:
    """A column of a batch, (rows,)."""
    if kind == "VARCHAR":
        cells = np.empty(len(array), object)
        cells[:] = _texts_of(array)
        return cells
    values = np.frombuffer(array.buffers[1], _NUMBERS[kind])[array.offset : array.offset + len(array)]
    if kind == "TIMESTAMP":
        return values.view("datetime64[us]")
    if kind == "BOOLEAN":
        if (values >= 0).all():
            return values.astype(bool)
        return np.array([None, False, True], object)[values + 1]
    return values


def _texts_of(array: Any) -> list[str | None]:
    """The cells of a batch's column of text, None where nothing was recorded; ten times faster than one by one."""
    there, ends, letters = array.buffers
    begin, n = array.offset, len(array)
    places = np.frombuffer(ends, np.int32)[begin : begin + n + 1].tolist()
    text = bytes(letters)
    if text.isascii():
        whole = text.decode()
        cells: list[str | None] = [whole[at:to] for at, to in pairwise(places)]
    else:
        cells = [text[at:to].decode() for at, to in pairwise(places)]
    if len(there):
        known = np.unpackbits(np.frombuffer(there, np.uint8), bitorder="little")[begin : begin + n]
        for gone in np.flatnonzero(known == 0).tolist():
            cells[gone] = None
    return cells
