"""Files in: a table as people really have it, read into NumPy columns.

Separator, encoding, header and the spelling of numbers and dates are found from the whole file; every reading that
is not plain (decimal commas, thousands marks, day/month/year) leaves a note. The file is only read, by a private
DuckDB in memory that may touch nothing else. What a column is *for* is not this module's business: ``columns.py``.
"""

import contextlib
import re
from pathlib import Path

from fallline.exceptions import TableError
from fallline.table.cells import typed, unmarked
from fallline.table.content import Source, source_of
from fallline.table.database import first_line, from_relation, identifier, opened
from fallline.table.separated import read_text
from fallline.table.table import Block, Notes, Table, unique_names, unreadable_column
from fallline.words import nearest


def read_table(path: Path | str) -> Table:
    """Read a CSV, TSV or other separated text, Parquet, JSON-lines or JSON file, gzipped or not.

    Readings that are not plain are in ``Table.notes``.
    Raises TableError, one sentence that says what was wrong and what to do.
    """
    path = Path(path)
    _must_be_a_file(path)
    notes: Notes = {}
    try:
        source = source_of(path)
        if source.kind == "parquet":
            columns = _read_parquet(source)
        else:
            columns, notes = _read_json(source) if source.kind == "json" else read_text(source)
    except OSError as problem:
        raise TableError(
            f"{path} cannot be read: {problem.strerror or problem}. Check the file and its permissions."
        ) from problem
    table = Table(path.name, columns, notes)
    if table.rows == 0:
        raise TableError(f"{path.name} has a header and no rows: at least two rows of values are needed.")
    return table


def _must_be_a_file(path: Path) -> None:
    """Raise TableError for a folder, and for a file that is not there, with the nearest name beside it."""
    with contextlib.suppress(OSError):  # a name longer than the file system can hold
        if path.is_dir():
            raise TableError(f"{path} is a folder, but one table is expected: name a file in it.")
        if path.exists():
            return
    if not path.parent.is_dir():
        raise TableError(f"There is no file {path}: the folder {path.parent} does not exist.")
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
        if near := nearest(path.name, names):
            raise TableError(f"There is no file {path}. Did you mean {path.parent / near}?")
    raise TableError(f"There is no file {path}. Check the name and the folder.")


def _read_parquet(source: Source) -> Block:
    """The columns of a Parquet file. Raises TableError, saying whether it is damaged or none."""
    import duckdb

    with opened(source) as (database, path):
        try:
            relation = database.sql(f"select * from read_parquet({path}, hive_partitioning=false)")
            return from_relation(relation, source.path.name)
        except duckdb.Error as problem:
            what = "has a Parquet name but is not a Parquet file"
            if source.sample.startswith(b"PAR1"):
                what = "is a damaged or cut-off Parquet file"
            raise TableError(f"{source.path.name} {what}. Write, copy or download it again.") from problem


def _read_json(source: Source) -> tuple[Block, Notes]:
    """The columns, and how some had to be read. Raises TableError, naming the line, for damaged JSON."""
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
        texts = ", ".join(unmarked(f"j{i} ->> '$'") + f" as c{i}" for i in range(len(given)))
        database.execute(f"create temp table cells as select {texts} from raw")
        names, notes = unique_names(given)
        columns, more = typed(database, names)
        return columns, notes | more
