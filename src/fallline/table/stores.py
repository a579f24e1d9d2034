"""Tables inside other files: a sheet of a spreadsheet, a table of an SQLite or DuckDB database.

A sheet and a table of SQLite, whose cells have any type, become text with commas and decimal points, and are read as such.
"""

import contextlib
import csv
import datetime
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fallline.exceptions import TableError
from fallline.table.content import Source
from fallline.table.database import first_line, identifier
from fallline.words import listed, nearest

SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_ADDRESS = re.compile(r"(?s)(?:(?P<kind>sqlite|duckdb):)?(?P<file>.+?)(?:\?(?P<what>table|sheet)=(?P<part>.+))?")


class Address(NamedTuple):
    """Where a table is: in a file, and in which of its parts, "" for the only or the first one."""

    file: Path
    kind: str = ""  # "sqlite" | "duckdb" | "" where the file is to tell
    part: str = ""


def address_of(path: Path | str) -> Address:
    """What `table.csv`, `book.xlsx?sheet=Data` and `sqlite:file.db?table=runs` mean; a file of just that name comes first."""
    try:
        if Path(path).exists():
            return Address(Path(path))
    except (OSError, ValueError):
        return Address(Path(path))
    found = _ADDRESS.fullmatch(str(path))
    if found is None or not (found["kind"] or found["what"]):
        return Address(Path(path))
    return Address(Path(found["file"]), found["kind"] or "", found["part"] or "")


def kind_of(head: bytes, path: Path) -> str:
    """ "sheet", "sqlite" or "duckdb" by the first bytes of a file and its name, "" for any other file."""
    if head.startswith(b"SQLite format 3"):
        return "sqlite"
    if head[8:12] == b"DUCK":
        return "duckdb"
    return "sheet" if path.suffix.lower() in SHEETS and head[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0") else ""


def sheet(path: Path, wanted: str) -> Source:
    """A sheet of a spreadsheet as text: the one by that name, or the first. Raises TableError, one sentence."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as problem:
        raise TableError(
            f"{path.name} is a spreadsheet, which is read by an extra: pip install 'fallline[excel]', or save the sheet as CSV."
        ) from problem
    try:
        book = CalamineWorkbook.from_path(str(path))
        name = _chosen(wanted, book.sheet_names, path.name, "sheet", first=True)
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
    except (CalamineError, ValueError, OSError) as problem:
        raise TableError(
            f"{path.name} is a damaged spreadsheet ({problem}): save it anew, or save the sheet as CSV."
        ) from problem
    while rows and not any(_cell(cell).strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise TableError(f"The sheet '{name}' of {path.name} is empty: a header line and rows of values were expected.")
    return _as_text(path, rows)


def sqlite_table(path: Path, wanted: str) -> Source:
    """A table or view of an SQLite database as text. Raises TableError, one sentence."""
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            found = base.execute(
                "select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite_%' order by name"
            )
            name = _chosen(wanted, [row[0] for row in found], path.name, "table")
            cursor = base.execute(f"select * from {identifier(name)}")
            rows: Iterable[Sequence[Any]] = [[column[0] for column in cursor.description], *cursor]
    except sqlite3.Error as problem:
        raise TableError(f"{path.name} cannot be read as an SQLite database ({problem}): check the file.") from problem
    return _as_text(path, rows)


@contextlib.contextmanager
def duckdb_table(path: Path, wanted: str) -> Iterator[Any]:
    """A relation of a DuckDB database file. Raises TableError, one sentence."""
    import duckdb

    try:
        base = duckdb.connect(str(path), read_only=True, config={"autoload_known_extensions": "false"})
    except duckdb.Error as problem:
        raise TableError(
            f"{path.name} cannot be read as a DuckDB database ({first_line(problem)}): check the file."
        ) from problem
    with contextlib.closing(base):
        base.execute("set autoinstall_known_extensions=false; set enable_external_access=false; set TimeZone='UTC'")
        names = [
            row[0] for row in base.execute("select table_name from information_schema.tables order by 1").fetchall()
        ]
        yield base.sql(f"select * from {identifier(_chosen(wanted, names, path.name, 'table'))}")


def _chosen(wanted: str, names: Sequence[str], file: str, what: str, first: bool = False) -> str:
    """The part asked for, or the only one, or the ``first``. Raises TableError, naming the parts there are."""
    shown = listed((f"'{name}'" for name in names), 12)
    if wanted:
        if wanted in names:
            return wanted
        near = nearest(wanted, names)
        hint = f"Did you mean '{near}'?" if near else f"It has {shown}." if names else "It has none."
        raise TableError(f"{file} has no {what} '{wanted}'. {hint}")
    if not names:
        raise TableError(f"{file} has no {what}: one with a header and rows of values was expected.")
    if len(names) > 1 and not first:
        raise TableError(
            f"{file} has {len(names)} {what}s, {shown}: name one of them, as in `{file}?{what}={names[0]}`."
        )
    return names[0]


def _as_text(path: Path, rows: Iterable[Sequence[Any]]) -> Source:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        if any(isinstance(cell, bytes) for cell in row):
            raise TableError(
                f"{path.name} holds a column of bytes: numbers, text and dates can be read; choose a table without it."
            )
        writer.writerow([_cell(cell) for cell in row])
    content = out.getvalue().encode()
    return Source(path, "text", b"", None).holding(content)


def _cell(cell: Any) -> str:
    """A cell as it would stand in a text file."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2.0**53 else repr(cell)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    if isinstance(cell, datetime.timedelta):
        seconds = cell / datetime.timedelta(seconds=1)
        minutes, left = divmod(abs(seconds), 60)
        sign = "-" * (seconds < 0)
        return f"{sign}{int(minutes // 60)}:{int(minutes % 60):02}:{int(left):02}" + (
            f"{left % 1:.6f}"[1:].rstrip("0") if left % 1 else ""
        )
    return str(cell).replace("\r\n", "\n").replace("\r", "\n")
