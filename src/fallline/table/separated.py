"""Separated text: which separator, which header, and lines that keep to neither.

DuckDB splits the lines strictly. Where it cannot, the records are written anew by Python's reader, which is more
patient and knows the line to complain of. What a cell means is decided in ``cells.py``.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence

from fallline.exceptions import TableError
from fallline.table.cells import typed
from fallline.table.content import Source
from fallline.table.database import first_line, opened, quoted
from fallline.table.forms import MISSING
from fallline.table.table import Block, Notes, unique_names
from fallline.words import counted

_WORD = re.compile(r'"(?:[^"]|"")*"|[^ \t\n"][^ \t\n]*')
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def read_text(source: Source) -> tuple[Block, Notes]:
    """The columns, and how some had to be read. Raises TableError, naming the line that is wrong."""
    import duckdb

    separator = _separator(source)
    semicolons = separator == ";"
    if separator == " ":
        words = map(_WORD.findall, source.whole().decode().split("\n"))
        source = source.holding("\n".join(map("\t".join, words)).encode())
        separator = "\t"
    first = next(_records(source.beginning(), separator))
    if len(first) == 1:
        # A blank line is no row: with one column, DuckDB would take it for a missing value.
        source = source.holding(re.sub(rb"\n[ \t]*(?=\n|\Z)", b"", source.whole()).lstrip(b"\n"))
    try:
        return _columns(source, separator, first, semicolons)
    except duckdb.Error:
        source = source.holding(_mended(source, separator, len(first)))
    try:
        return _columns(source, separator, first, semicolons)
    except duckdb.Error as problem:
        raise TableError(
            f"{source.path.name} cannot be read as a table: {first_line(problem)}. Check that line, or save "
            "the table anew as CSV."
        ) from problem


def _columns(source: Source, separator: str, first: Sequence[str], decimal_comma: bool) -> tuple[Block, Notes]:
    """The columns under the header ``first``. Raises duckdb.Error where a line is not strictly as it should be."""
    shape = "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(first))) + "}"
    markers = ", ".join(quoted(marker) for marker in MISSING)
    with opened(source) as (database, path):
        database.execute(
            f"create temp table cells as select * from read_csv({path}, "
            f"""delim={quoted(separator)}, quote='"', escape='"', new_line='\\n', header=false, """
            f"columns={shape}, nullstr=[{markers}], auto_detect=false, strict_mode=true, null_padding=false, "
            "ignore_errors=false, compression='none')"
        )
        cells = [cell.strip() for cell in first]
        headless = any(cells) and all(cell and _is_plain(cell) for cell in cells)
        names, notes = unique_names([""] * len(first) if headless else first)
        if headless:
            notes = dict.fromkeys(names, "no header line, so named by its place")
        else:
            database.execute("delete from cells where rowid = 0")
        columns, more = typed(database, names, decimal_comma)
    for column, note in more.items():
        notes[column] = f"{notes[column]}; {note}" if column in notes else note
    return columns, notes


def _is_plain(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell)) or cell in MISSING


def _is_blank(record: Sequence[str]) -> bool:
    return len(record) < 2 and not any(cell.strip() for cell in record)


def _records(text: str, separator: str) -> Iterator[list[str]]:
    """The records of the text that are not blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return (record for record in reader if not _is_blank(record))


def _separator(source: Source) -> str:
    """The separator under which lines have as many fields as the first, and most fields are plain values."""
    sample = source.beginning()
    words = filter(None, map(_WORD.findall, sample.split("\n")))
    best, best_score = ",", (0.0, 0.0)
    for separator in (",", ";", "\t", "|", " "):
        try:
            records = list(itertools.islice(words if separator == " " else _records(sample, separator), 200))
        except csv.Error:
            continue
        if not source.in_sample and len(records) < 200:
            records = records[:-1] or records  # the sample may end inside a record
        if not records or len(records[0]) < 2:
            continue
        width = len(records[0])
        # A separator may end the lines and not the header.
        even = [record for record in records[1:] if len(record) >= width and not any(record[width:])]
        share = len(even) / (len(records) - 1) if len(records) > 1 else 1.0
        if separator == " " and share < 0.9:
            continue  # words of a sentence
        cells = [cell.strip() for record in even for cell in record[:width]]
        score = (round(share, 1), sum(map(_is_plain, cells)) / max(1, len(cells)))
        if score > best_score:
            best, best_score = separator, score
    return best


def _mended(source: Source, separator: str, width: int) -> bytes:
    """The same records written strictly. Raises TableError where a line has too many or too few fields.

    A line may leave out its last fields if no line has a value there: some programs write tables so.
    """
    name, text = source.path.name, source.whole().decode()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    lines = text.rstrip("\n").count("\n") + 1
    start, filled, shortest = 1, 0, (width, 0)  # shortest: how many fields, and the number of the line
    try:
        for record in reader:
            line, start = start, reader.line_num + 1
            if reader.line_num >= lines and _never_closed(text, line, separator):
                raise TableError(
                    f"A quotation mark opened in line {line} of {name} is never closed: close or remove it."
                )
            if width > 1 and _is_blank(record):
                continue
            last = max((i for i, cell in enumerate(record, 1) if cell.strip()), default=0)
            if last > width:
                raise _ragged(name, line, len(record), width)
            if out.tell():  # below the header
                filled = max(filled, last)
            shortest = min(shortest, (len(record), line))
            writer.writerow(record[:width] + [""] * (width - len(record)))
    except csv.Error as problem:
        raise TableError(
            f"Line {start} of {name} cannot be split into fields ({problem}). Correct that line, "
            "or save the table anew as CSV."
        ) from problem
    if shortest[0] < filled:
        raise _ragged(name, shortest[1], shortest[0], width)
    return out.getvalue().encode()


def _never_closed(text: str, line: int, separator: str) -> bool:
    """Whether the last record of the text, which begins in that line, ends inside quotation marks."""
    rest = io.StringIO("\n".join(text.split("\n")[line - 1 :]), newline="")
    try:
        list(csv.reader(rest, delimiter=separator, strict=True))
    except csv.Error as problem:
        return "unexpected end" in str(problem)
    return False


def _ragged(name: str, line: int, fields: int, width: int) -> TableError:
    return TableError(
        f"Line {line} of {name} has {counted(fields, 'field')}, but {width} are expected, as in its first line. "
        "Correct the line, or put text that holds the separator in quotation marks."
    )
