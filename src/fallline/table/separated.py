"""Separated text: rows under a layout, and lines that do not keep to it.

DuckDB splits the lines strictly. Where it cannot, the records are written anew by Python's reader, which is more
patient and knows the line to complain of. What a cell means is decided in ``cells.py``.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.table.cells import Hints, Typed, typed
from fallline.table.content import Source
from fallline.table.database import first_line, opened, quoted
from fallline.table.dialect import Dialect
from fallline.table.forms import MISSING, clothes
from fallline.table.layout import Layout, is_blank, is_comment, is_plain, layout_of, words_of
from fallline.table.table import unique_names
from fallline.words import counted, shortened

_TOTAL = re.compile(
    r"(?i)((grand |sub-?)?totals?|sums?|summe|gesamt(summe)?|somme|suma|totale|totaal|razem|average|avg|mean|mittelwert|moyenne|"
    r"media|promedio|gemiddelde)( .{0,20})?:?"
)
_FEWEST = 3  # rows of a table: what stands below fewer is a row, too
_FOOTNOTE = re.compile(r"(?i)([*†‡(\[]|sources?\b|quelle|notes?\b|anmerkung|fuente|fonte|bron\b|remark|legend).*")


@dataclass(frozen=True)
class Text:
    """The rows of a file as they are written: the text of the header, "" where it has none, and what gives that of the rows."""

    separator: str
    header: str
    content: Callable[[], bytes]
    width: int
    loose: bool = False

    def lines(self) -> Iterator[str]:
        """The text of each row, in order, with all its fields and without its line end."""
        taken: list[str] = []

        def feed() -> Iterator[str]:
            for line in self.content().decode().split("\n"):
                taken.append(line)
                yield line + "\n"

        for record in _split(csv.reader(feed(), delimiter=self.separator, skipinitialspace=self.loose)):
            raw = "\n".join(taken)
            taken.clear()
            if is_blank(record) and (self.width > 1 or not raw.strip()):
                continue
            # A separator that ends the line goes, those that are left out come.
            beyond = len(record) - self.width
            if beyond < 2 and (beyond < 1 or raw.endswith(self.separator)):
                yield raw + self.separator * -beyond if beyond < 1 else raw[:-1]
            else:
                yield as_text(record[: self.width], self.separator)


def _split(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The records of a reader. Raises TableError for one that it cannot split, such as a field of more than 131,072 letters."""
    try:
        yield from reader
    except csv.Error as problem:
        raise _not_split("The table", problem) from problem


def _not_split(name: str, problem: csv.Error) -> TableError:
    return TableError(
        f"{name} cannot be split into fields ({problem}): a quotation mark may lack its end. Correct that line, or save it "
        "anew as CSV."
    )


def as_text(record: Sequence[str], separator: str) -> str:
    """A record as one line of text."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="").writerow(record)
    return out.getvalue()


def read_text(
    source: Source, dialect: Dialect, like: Mapping[str, Any], points: bool = False
) -> tuple[Typed, Text, list[str]]:
    """The columns, their text, and what was found around them. Raises TableError, naming the line that is wrong.

    ``points``: the text was written by a program, with decimal points.
    """
    layout = laid_out(source, dialect)
    return read_rows(source, layout, Hints(dialect, layout.separator, points, like))


def laid_out(source: Source, dialect: Dialect) -> Layout:
    """As ``layout_of``, with a sentence for what cannot be split into fields."""
    try:
        return layout_of(source, dialect)
    except csv.Error as problem:
        raise _not_split(source.path.name, problem) from problem


def read_rows(source: Source, layout: Layout, hints: Hints, last: bool = True) -> tuple[Typed, Text, list[str]]:
    """As ``read_text``, of a text that is laid out so. One that is not the ``last`` of its file may not end in remarks."""
    import duckdb

    rows, whole = source, _in_place(layout)
    if not whole:
        rows = source.holding(_rows(source, layout))
    try:
        found, said = _columns(rows, layout, hints, whole, last)
    except duckdb.Error:
        mended, left = _mended(source.path.name, _rows(source, layout).decode(), layout, last)
        try:
            found, said = _columns(source.holding(mended), layout, hints, whole=False, last=last)
        except duckdb.Error as problem:
            raise TableError(
                f"{source.path.name} cannot be read as a table: {first_line(problem)}. Check that line, or save "
                "the table anew as CSV."
            ) from problem
        said = [*left, *said]
    separator = "\t" if layout.separator == " " else layout.separator
    header = "" if layout.names is None else as_text(layout.names, separator)
    if layout.names is not None and not layout.beside:
        header = "\n".join(source.beginning().split("\n", layout.start)[layout.header : layout.start])
    text = Text(separator, header, lambda: _rows(source, layout), layout.width, layout.loose)
    return found, text, [*layout.remarks, *said]


def _in_place(layout: Layout) -> bool:
    """Whether DuckDB can read the text as it lies: header and rows alike, and nothing else."""
    begins = layout.header == 0 if layout.names else layout.start == 0
    even = layout.names is None or (len(layout.names) == layout.width and layout.names[:1] != ["rownames"])
    plain = layout.separator != " " and not layout.comments and not layout.loose and layout.width > 1
    return begins and even and plain and not layout.beside


def _rows(source: Source, layout: Layout) -> bytes:
    """The text of the rows alone, with tabs where blanks stood between words."""
    lines = source.whole().split(b"\n", layout.start)
    content = lines[-1] if len(lines) > layout.start else b""
    if layout.comments:
        kept = (line for line in content.decode().split("\n") if not is_comment(line, layout.comments))
        content = "\n".join(kept).encode()
    if layout.separator == " ":
        content = "\n".join(as_text(words_of(line), "\t") for line in content.decode().split("\n")).encode()
    if layout.width == 1:
        # A blank line is no row: with one column, DuckDB would take it for a missing value.
        content = re.sub(rb"\n[ \t]*(?=\n|\Z)", b"", b"\n" + content).lstrip(b"\n")
    return content


def _columns(source: Source, layout: Layout, hints: Hints, whole: bool, last: bool) -> tuple[Typed, list[str]]:
    """The columns of the text of rows, or of the ``whole`` file. Raises duckdb.Error where a line is not as it should be."""
    found, said = _read(source, layout, hints, whole, with_total=not last)
    if found is None:  # what looked like totals are none
        found, _ = _read(source, layout, hints, whole, with_total=True)
    assert found is not None
    return found, said


def _read(
    source: Source, layout: Layout, hints: Hints, whole: bool, with_total: bool
) -> tuple[Typed | None, list[str]]:
    """As ``_columns``; without a last row of totals, if there is one, and None where its numbers are no totals after all."""
    shape = "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(layout.width)) + "}"
    markers = ", ".join(quoted(marker) for marker in (*MISSING, *hints.dialect.na))
    separator = "\t" if layout.separator == " " else layout.separator
    with opened(source) as (database, path):
        database.execute(
            f"create temp table cells as select * from read_csv({path}, "
            f"""delim={quoted(separator)}, quote='"', escape='"', new_line='\\n', header=false, """
            f"columns={shape}, nullstr=[{markers}], auto_detect=false, strict_mode=true, null_padding=false, "
            "ignore_errors=false, compression='none')"
        )
        if whole and layout.names is not None:
            database.execute("delete from cells where rowid = 0")
        names, notes = unique_names(layout.names if layout.names is not None else [""] * layout.width)
        if layout.names is None:
            notes = dict.fromkeys(names, "no header line, so named by its place")
        said: list[str] = []
        total = None
        if not with_total:
            said, total = _without_end(database, source.path.name, 0 if layout.above else _FEWEST)
        found = typed(database, names, hints)
    if total is not None:
        sentence = _judged_total(source.path.name, total, list(found.columns.values()), layout.above > 0)
        if sentence.startswith("?"):
            return None, [sentence[1:]] if sentence[1:] else []
        said.append(sentence)
    for column, note in [*layout.notes.items(), *found.notes.items()]:
        notes[column] = f"{notes[column]}; {note}" if column in notes else note
    return found._replace(notes=notes, doubts=(*layout.doubts, *found.doubts)), said


def _without_end(database: Any, name: str, fewest: int) -> tuple[list[str], list[str] | None]:
    """Take footnotes and a row of totals off the end of the cells: sentences on the former, the cells of the latter.

    The first ``fewest`` rows stay.
    """
    said: list[str] = []
    total = None
    while True:
        last = database.execute("select rowid, * from cells order by rowid desc limit 1").fetchone()
        if last is None or last[0] < fewest or len(last) < 3:
            return said, total
        cells = [(cell or "").strip() for cell in last[1:]]
        filled = [cell for cell in cells if cell]
        remark = len(filled) == 1 and (
            _TOTAL.fullmatch(filled[0]) or (len(cells) > 2 and _FOOTNOTE.fullmatch(filled[0]))
        )
        if total is None and remark:
            said.insert(
                0, f"The last line of {name}, '{shortened(filled[0], 40)}', was left out: it is a remark, not a row."
            )
        elif total is None and len(filled) > 1 and any(_TOTAL.fullmatch(cell) for cell in cells[:2]):
            total = cells
        else:
            return said, total
        database.execute(f"delete from cells where rowid = {last[0]}")
        if total is not None:
            return said, total


def _judged_total(name: str, total: Sequence[str], columns: Sequence[np.ndarray], partly: bool) -> str:
    """A sentence on a last row that calls itself a total, "?" and perhaps a doubt where it is to be read as a row.

    ``partly``: these are not all rows, so that sums do not tell.
    """
    label = next(i for i, cell in enumerate(total) if _TOTAL.fullmatch(cell))
    right = wrong = 0
    for i, (cell, values) in enumerate(zip(total, columns, strict=True)):
        if i == label or not cell or values.dtype.kind != "f":
            continue
        there = values[np.isfinite(values)]
        sums = [there.sum(), there.mean() if len(there) else 0.0]
        agrees = any(
            abs(one - number) <= max(half, 1e-9 * abs(one)) for number, half in _readings(cell) for one in sums
        )
        right, wrong = right + agrees, wrong + (not agrees)
    shown = shortened(", ".join(filter(None, total)), 40)
    if right and not wrong:
        return f"The last row of {name} ({shown}) holds the totals of the columns, and was left out."
    if columns[label].dtype.kind != "O":
        return f"The last row of {name} ({shown}) calls itself a total, and was left out; not all its numbers are."
    return (
        f"?The last row of {name} ({shown}) may be a total, and was read as a row: take it out of the file if it is none."
        if right or partly
        else "?"
    )


def _readings(cell: str) -> Iterator[tuple[float, float]]:
    """The numbers that a cell may mean, with a decimal point or comma, and half a unit of the last digit of each."""
    for decimal, mark in ((".", ","), (",", ".")):
        bare = re.sub(r"[^\d.\-]", "", cell.replace(mark, "").replace(decimal, ".").replace("−", "-"))
        try:
            yield float(bare), 0.5000001 * 10.0 ** -len(bare.partition(".")[2])
        except ValueError:
            continue


def _mended(name: str, text: str, layout: Layout, last: bool) -> tuple[bytes, list[str]]:
    """The same rows written strictly, and what was left out. Raises TableError where a line has too many or too few fields.

    A line may leave out its last fields if no line has a value there: some programs write tables so. Lines of one field at the
    end of the ``last`` text of a file, below all rows, are remarks.
    """
    separator, width = "\t" if layout.separator == " " else layout.separator, layout.width
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=layout.loose)
    found: list[tuple[list[str], int]] = []
    lines = text.rstrip("\n").count("\n") + 1
    above = layout.above + layout.start
    start = 1 + above
    try:
        for record in reader:
            line, start = start, reader.line_num + 1 + above
            if reader.line_num >= lines and _never_closed(text, line - above, separator):
                raise TableError(
                    f"A quotation mark opened in line {line} of {name} is never closed: close or remove it."
                )
            if not (width > 1 and is_blank(record)):
                found.append((record, line))
    except csv.Error as problem:
        raise TableError(
            f"Line {start} of {name} cannot be split into fields ({problem}). Correct that line, "
            "or save the table anew as CSV."
        ) from problem
    said, full = [], len(found)
    while last and full > 1 and width > 1 and _is_remark(found[full - 1][0]):
        full -= 1
    if full < len(found):
        many = len(found) - full
        lines_ = "last line" if many == 1 else f"last {many} lines"
        said = [
            f"The {lines_} of {name}, '{shortened(found[full][0][0].strip(), 40)}', "
            f"{'was' if many == 1 else 'were'} left out: no row has a single field."
        ]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    filled, shortest = 0, (width, 0)  # shortest: how many fields, and the number of the line
    for record, line in found[:full]:
        used = max((i for i, cell in enumerate(record, 1) if cell.strip()), default=0)
        if used > width:
            raise _ragged(name, line, len(record), width)
        filled = max(filled, used)
        shortest = min(shortest, (len(record), line))
        writer.writerow(record[:width] + [""] * (width - len(record)))
    if shortest[0] < filled:
        raise _ragged(name, shortest[1], shortest[0], width)
    return out.getvalue().encode(), said


def _is_remark(record: Sequence[str]) -> bool:
    """Whether a record is a text of one field, such as the source of the data."""
    first = record[0].strip()
    return (
        not any(cell.strip() for cell in record[1:])
        and len(first) > 3
        and not is_plain(first)
        and clothes(first) is None
    )


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
        "Correct the line, put text that holds the separator in quotation marks, or say with --skip N where the table begins and "
        "with --delimiter what separates its fields."
    )
