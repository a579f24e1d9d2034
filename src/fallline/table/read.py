"""Files in: a table as people really have it, read into NumPy columns.

Separator, encoding, header and the spelling of numbers and dates are found from the whole file; every reading that
is not plain (decimal commas, thousands marks, day/month/year) leaves a note. The file is only read, by a private
DuckDB in memory that may touch nothing else. What a column is *for* is not this module's business: ``columns.py``.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fallline.exceptions import SettingsError, TableError
from fallline.table.cells import Hints, Typed, typed, unmarked
from fallline.table.content import Source, source_of
from fallline.table.database import first_line, from_relation, identifier, opened
from fallline.table.dialect import Dialect
from fallline.table.separated import Text, as_text, read_text
from fallline.table.stores import Address, address_of, duckdb_table, kind_of, sheet, sqlite_table
from fallline.table.table import Block, Table, unique_names, unreadable_column
from fallline.words import nearest


def read_table(
    path: Path | str,
    *,
    skip: int | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    na: Sequence[str] = (),
    date_format: str | None = None,
    header: int | None = None,
    like: Mapping[str, Any] | None = None,
    unpacked_bytes: int | None = None,
) -> Table:
    """Read a CSV, TSV or other separated text, Parquet, JSON-lines or JSON file, gzipped or not; a sheet; a table of a database.

    How a text is written is found in the whole of it, and may be said instead: ``skip`` lines stand before the header;
    ``delimiter`` separates the fields; ``decimal`` is "." or ","; ``thousands`` the mark between thousands, "" for none; ``na``
    are cells that mean that nothing was recorded, besides the usual ones; dates are written as ``date_format`` says, such as
    "%d.%m.%Y"; the ``header`` has 0, 1 or 2 lines. ``like``: the ``reading`` of another table, whose numbers, dates and texts
    are written alike. ``unpacked_bytes``: what a gzipped file may unpack to at most, by default 30 times its size and 256 MiB
    at least.

    A sheet is named as in ``book.xlsx?sheet=Data`` (the first one otherwise; with the extra ``excel``), a table of a database as
    in ``sqlite:file.db?table=runs`` or ``duckdb:file.duckdb?table=runs``.

    Readings that are not plain are in ``Table.notes``, what was found around the rows in ``Table.remarks``, and what stays
    doubtful in ``Table.doubts``. Raises TableError, one sentence that says what was wrong and what to do, and SettingsError for
    an argument that cannot be.

    >>> table = read_table("examples/concrete.csv")
    >>> table.rows
    1030
    """
    asked = Dialect(skip, delimiter, decimal, thousands, (na,) if isinstance(na, str) else na, date_format, header)
    address = address_of(path)
    file = address.file
    must_be_a_file(file)
    alike, columns_then = as_read(like)
    try:
        tries = [
            (dialect, functools.partial(_table, address, dialect, columns_then, unpacked_bytes))
            for dialect in dialects_of(asked, alike)
        ]
        dialect, table = with_most(columns_then, tries)
    except OSError as problem:
        raise TableError(
            f"{file} cannot be read: {problem.strerror or problem}. Check the file and its permissions."
        ) from problem
    if table.rows == 0:
        raise TableError(f"{file.name} has a header and no rows: at least two rows of values are needed.")
    said = {name: value for name, value in asdict(dialect).items() if value not in (None, ())}
    return replace(table, reading={"columns": dict(table.reading), "dialect": said})


def as_read(like: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The dialect and the columns of a reading, nothing where it is none."""
    whole = like if isinstance(like, Mapping) else {}
    parts = [part if isinstance(part := whole.get(name), Mapping) else {} for name in ("dialect", "columns")]
    return parts[0], parts[1]


def dialects_of(asked: Dialect, alike: Mapping[str, Any]) -> list[Dialect]:
    """What was asked for, and where it was not, what was asked for another file that is written alike.

    That file may have had lines above its header, or another separator, which this one has not: it is also tried without them.
    """
    given = {name: value for name, value in asdict(asked).items() if value not in (None, ())}
    known = {name: value for name, value in alike.items() if name in asdict(asked)}
    if "thousands" in given and "decimal" not in given:
        known.pop("decimal", None)
    without = {name: value for name, value in known.items() if name not in ("skip", "delimiter", "header")}
    found: list[Dialect] = []
    for also in (known, without):
        with contextlib.suppress(SettingsError, TypeError):  # a model file may say anything
            found.append(Dialect(**{**also, **given}))
    return list(dict.fromkeys(found)) or [asked]


def with_most(names: Collection[str], readings: Sequence[tuple[Dialect, Callable[[], Table]]]) -> tuple[Dialect, Table]:
    """The first reading whose table has most of these columns; where none is possible, the last one says why."""
    found = []
    for dialect, read in readings[:-1]:
        with contextlib.suppress(TableError):
            found.append((dialect, read()))
    dialect, read = readings[-1]
    with contextlib.suppress(*([TableError] if found else [])):
        found.append((dialect, read()))
    return max(found, key=lambda pair: len(pair[1].columns.keys() & set(names)))


def _table(address: Address, dialect: Dialect, like: Mapping[str, Any], most: int | None) -> Table:
    """The table at an address; ``reading`` is that of its columns."""
    file = address.file
    with file.open("rb") as opened_:
        head = opened_.read(16)
    kind = address.kind or kind_of(head, file)
    if address.part and not kind:
        raise TableError(
            f"{file.name} is neither a spreadsheet nor a database, so it has no part '{address.part}': give the file alone."
        )
    if kind == "duckdb":
        with duckdb_table(file, address.part) as relation:
            return Table(
                file.name, from_relation(relation, file.name), text=as_lines(relation.columns, lambda: _again(address))
            )
    source = (
        sheet(file, address.part)
        if kind == "sheet"
        else sqlite_table(file, address.part)
        if kind
        else source_of(file, most)
    )
    if source.kind == "parquet":
        columns, text = _read_parquet(source)
        return Table(file.name, columns, text=text)
    if source.kind == "json":
        found, text = _read_json(source, Hints(dialect, points=True, like=like))
        remarks: list[str] = []
    else:
        found, text, remarks = read_text(source, dialect, like, points=bool(kind))
    return Table(file.name, found.columns, found.notes, tuple(remarks), found.doubts, found.spelled, text)


def must_be_a_file(path: Path) -> None:
    """Raise TableError for a folder, and for a file that is not there, with the nearest name beside it."""
    with contextlib.suppress(OSError):  # a name longer than the file system can hold
        if path.is_dir():
            raise TableError(f"{path} is a folder, but one table is expected: name a file in it.")
        if path.is_file():
            return
        if path.exists():
            raise TableError(
                f"{path} is a pipe or a device, and a table is read more than once: save it as a file first."
            )
    if not path.parent.is_dir():
        raise TableError(f"There is no file {path}: the folder {path.parent} does not exist.")
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
        if near := nearest(path.name, names):
            raise TableError(f"There is no file {path}. Did you mean {path.parent / near}?")
    raise TableError(f"There is no file {path}. Check the name and the folder.")


def _read_parquet(source: Source) -> tuple[Block, Text]:
    """The columns of a Parquet file, and what gives their text. Raises TableError, saying whether it is damaged or none."""
    import duckdb

    with _parquet(source) as relation:
        try:
            columns = from_relation(relation, source.path.name)
        except duckdb.Error as problem:
            raise not_parquet(source) from problem
        names = list(relation.columns)

    def again() -> list[tuple[Any, ...]]:
        with _parquet(source) as relation:
            return _as_varchar(relation)

    return columns, as_lines(names, again)


@contextlib.contextmanager
def _parquet(source: Source) -> Iterator[Any]:
    import duckdb

    with opened(source) as (database, path):
        try:
            relation = database.sql(f"select * from read_parquet({path}, hive_partitioning=false)")
        except duckdb.Error as problem:
            raise not_parquet(source) from problem
        yield relation


def not_parquet(source: Source) -> TableError:
    """What to say of a file that cannot be read as Parquet."""
    what = "has a Parquet name but is not a Parquet file"
    if source.sample.startswith(b"PAR1"):
        what = "is a damaged or cut-off Parquet file"
    return TableError(f"{source.path.name} {what}. Write, copy or download it again.")


def _again(address: Address) -> list[tuple[Any, ...]]:
    with duckdb_table(address.file, address.part) as relation:
        return _as_varchar(relation)


def _as_varchar(relation: Any) -> list[tuple[Any, ...]]:
    return relation.project(", ".join(f"{identifier(name)}::varchar" for name in relation.columns)).fetchall()


def as_lines(names: Sequence[str], rows: Callable[[], list[tuple[Any, ...]]]) -> Text:
    """The text of rows that come from elsewhere than a text file."""

    def content() -> bytes:
        return "\n".join(as_text(["" if cell is None else cell for cell in row], ",") for row in rows()).encode()

    return Text(",", as_text(names, ","), content, len(names))


def _read_json(source: Source, hints: Hints) -> tuple[Typed, Text]:
    """The columns, and what gives their text. Raises TableError, naming the line, for damaged JSON."""
    with _json(source) as (database, given):
        texts = ", ".join(unmarked(f"j{i} ->> '$'", hints.dialect.na) + f" as c{i}" for i in range(len(given)))
        database.execute(f"create temp table cells as select {texts} from raw")
        names, notes = unique_names(given)
        found = typed(database, names, hints)

    def again() -> list[tuple[Any, ...]]:
        with _json(source) as (database, given):
            cells = ", ".join(f"j{i} ->> '$'" for i in range(len(given)))
            return database.execute(f"select {cells} from raw order by rowid").fetchall()

    return found._replace(notes=notes | found.notes), as_lines(given, again)


@contextlib.contextmanager
def _json(source: Source) -> Iterator[tuple[Any, list[str]]]:
    """A database with a table ``raw`` of the cells j0, j1, … as JSON, and the names of the columns. Raises TableError."""
    import duckdb

    name = source.path.name
    expected = 'an array of rows [{"a": 1}, …] or one row {"a": 1} on each line was expected'
    first = source.sample.lstrip()[:1]
    if first not in (b"[", b"{"):
        raise TableError(f"{name} is not a JSON table: {expected}.")
    if re.fullmatch(rb"\[\s*\]\s*", source.sample):
        raise TableError(f"{name} has no rows: {expected}.")
    with opened(source) as (database, path):
        try:
            relation = database.sql(
                f"select * from read_json({path}, format='{'array' if first == b'[' else 'auto'}', "
                "sample_size=-1, maximum_depth=1, records=true, hive_partitioning=false, compression='none', "
                "maximum_object_size=1000000000)"
            )
            given = relation.columns
            cells = ", ".join(f"{identifier(column)}::json as j{i}" for i, column in enumerate(given))
            relation.project(cells).create("raw")
        except duckdb.Error as problem:
            place = re.search(r"in (?:line|record/value) (\d+)", str(problem))
            where = f"near line {place[1]}" if place else f"({first_line(problem)})"
            raise TableError(f"{name} is damaged JSON {where}: {expected}. Correct it there.") from problem
        kinds = ", ".join(
            f"max(case when json_type(j{i}) in ('OBJECT', 'ARRAY') then json_type(j{i}) end)" for i in range(len(given))
        )
        nested = database.execute(f"select {kinds} from raw").fetchone() or ()
        for column, kind in zip(given, nested, strict=True):
            if kind is not None:
                raise unreadable_column(name, column, kind.lower())
        yield database, given
