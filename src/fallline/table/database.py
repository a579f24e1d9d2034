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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.table.content import Source
from fallline.table.table import Block, unique_names, unreadable_column

if TYPE_CHECKING:
    import duckdb

_SECONDS_BETWEEN_WORDS = 0.2


@contextlib.contextmanager
def database(readable: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A private database that may touch the one file ``readable``."""
    import duckdb  # here: --help must not wait for it

    with contextlib.closing(duckdb.connect(":memory:")) as connection:
        connection.execute("set autoinstall_known_extensions=false; set autoload_known_extensions=false")
        connection.execute("set temp_directory=''; set enable_progress_bar=false; set TimeZone='UTC'")
        connection.execute(f"set allowed_paths=[{quoted(str(readable))}]")
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
        # Under a name such as a[1].csv, DuckDB could take the file for a pattern.
        if source.content is not None or any(letter in str(path) for letter in "*?[]{}"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fallline-"))
            path = Path(folder).resolve() / "table"
            if source.content is None:
                shutil.copyfile(source.path, path)
            else:
                path.write_bytes(source.content)
        yield stack.enter_context(database(path)), quoted(str(path))


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
    values, kinds = [], []
    for i, (column, given) in enumerate(zip(relation.columns, relation.types, strict=True)):
        for pattern, sql, kind in _TYPES:
            if re.fullmatch(pattern, str(given).upper(), re.DOTALL):
                values.append(f"{sql.format(identifier(column))} as c{i}")
                kinds.append(kind)
                break
        else:
            raise unreadable_column(name, column, str(given))
    fetched = relation.project(", ".join(values)).fetchnumpy()
    names, _ = unique_names(relation.columns)
    return {name: plain(fetched[f"c{i}"], kinds[i]) for i, name in enumerate(names)}
