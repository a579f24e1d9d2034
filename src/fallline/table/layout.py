"""How a text file is laid out: what separates its fields, where its header is, and what is no row of the table.

Judged by the first records alone. What the evidence leaves open is an error or a doubt, which name the option that decides it.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fallline.exceptions import TableError
from fallline.table.content import Source
from fallline.table.dialect import Dialect
from fallline.table.forms import MISSING, clothes
from fallline.table.table import Notes
from fallline.words import counted, shortened

_WORD = re.compile(r'"(?:[^"]|"")*"|[^ \t\n"][^ \t\n]*')
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_UNIT = re.compile(r"[\[(].*[\])]|[%‰°ºµμΩ€$£¥#-]|([%°µμΩ]|[^\W\d_]){1,4}([/·*^ ²³⁻¹]|[^\W\d_]|-?\d){0,10}|")
_LOOKED_AT = 500  # records
_COMMENT = ("#", "%", "//")


@dataclass
class Layout:
    """Where the table lies in a text.

    ``separator`` of its fields (of words between blanks, " "); ``names`` of its columns as the header gives them, None where
    it has none; ``start``: the line, from 0, on which the first row begins, and ``header`` that of the header; ``loose``:
    blanks may stand before a quotation mark; ``beside``: the names are not the one line above the rows; ``comments``: what
    begins a line that is no row. ``remarks`` say what was found, ``doubts`` what may be otherwise, ``notes`` something of
    single columns.
    """

    separator: str
    width: int
    names: list[str] | None
    start: int
    header: int
    loose: bool = False
    beside: bool = False
    comments: str = ""
    notes: Notes = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Records:
    """The first records of a text under one separator, and the lines on which they begin and end."""

    separator: str
    cells: list[list[str]]
    starts: list[int]
    ends: list[int]
    loose: bool = False

    @property
    def widths(self) -> list[int]:
        return [_filled(record) for record in self.cells]


def _filled(record: Sequence[str]) -> int:
    """The fields of a record, without an empty one behind a last separator."""
    return len(record) - (len(record) > 1 and not record[-1].strip())


def is_blank(record: Sequence[str]) -> bool:
    """Whether a record is that of a blank line."""
    return len(record) < 2 and not any(cell.strip() for cell in record)


def is_plain(cell: str) -> bool:
    """Whether a cell is a number, or says that there is none."""
    return bool(_NUMBER.fullmatch(cell)) or cell in MISSING


def records(text: str, separator: str, loose: bool = False) -> Iterator[tuple[list[str], int, int]]:
    """The records that are no blank lines, with the lines, from 0, on which each begins and after which it ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=loose)
    end = 0
    for record in reader:
        start, end = end, reader.line_num
        if not is_blank(record):
            yield record, start, end


def layout_of(source: Source, dialect: Dialect) -> Layout:
    """Find the layout. Raises TableError where the header and the rows do not go together."""
    text = source.beginning()
    name, skipped, remarks = source.path.name, dialect.skip or 0, []
    given = dialect.delimiter
    if dialect.skip is None and (said := re.match(r'"?sep=(.)"?[;,\t]*\n', text)):
        skipped, given = 1, given or said[1]
    text = _after(text, skipped)
    comments = next((sign for sign in _COMMENT if text.lstrip("\n").startswith(sign)), "")
    found = _separated(source, text, given, comments)
    if comments and not found.cells:
        raise TableError(f"{name} holds comments alone: a header line and rows of values were expected.")
    comment, lines = _comment_header(text, comments, found)
    if lines:
        remarks.append(
            f"{counted(lines, 'line')} of {name} that {'begins' if lines == 1 else 'begin'} with {comments} left out."
        )
    layout = _header(name, found, dialect, comment, lambda: _read(source, text, found.separator, comments, loose=True))
    layout.start, layout.header, layout.comments = (
        layout.start + skipped,
        layout.header + skipped,
        comments if lines else "",
    )
    layout.remarks[:0] = remarks
    return layout


def _after(text: str, lines: int) -> str:
    return text.split("\n", lines)[-1] if text.count("\n") >= lines else ""


def _separated(source: Source, text: str, given: str | None, comments: str) -> _Records:
    """The first records, under the separator asked for or under that which makes the most even and plainest fields."""
    best, best_score = _read(source, text, given or ",", comments), (0.0, 0, 0.0)
    if given:
        return best
    for separator in (",", ";", "\t", "|", " "):
        try:
            found = _read(source, text, separator, comments)
        except csv.Error:
            continue
        if not found.cells or max(found.widths) < 2:
            continue
        width = _width(found)
        rest = found.widths[1:] or found.widths
        # A separator may end the lines and not the header.
        share = sum(own == width for own in rest) / len(rest)
        if width < 2 or (separator == " " and share < 0.9):
            continue  # words of a sentence
        fits = 2 if found.widths[0] == width else int(found.widths[0] == width - 1)
        even = [record for record, own in zip(found.cells[1:], found.widths[1:], strict=True) if own == width]
        cells = [cell.strip() for record in even for cell in record[:width]]
        plain = sum(map(_has_value, cells)) / max(1, len(cells))
        score = (round(share, 1), fits, plain)
        if score > best_score:
            best, best_score = found, score
    return best


def _has_value(cell: str) -> bool:
    return is_plain(cell) or clothes(cell) is not None


def _width(found: _Records) -> int:
    """How many fields the rows have: as many as most of them."""
    counts = Counter(found.widths[1:] or found.widths)
    head = found.widths[0]
    return max(counts, key=lambda width: (counts[width] + 0.5 * (width == head), width))


def _read(source: Source, text: str, separator: str, comments: str, loose: bool = False) -> _Records:
    cut = not source.in_sample
    if separator == " ":
        lines = [(words_of(line), i, i + 1) for i, line in enumerate(text.split("\n"))]
        read: Iterator[tuple[list[str], int, int]] = (line for line in lines if line[0])
    else:
        read = records(text, separator, loose)
    taken = []
    for found in read:
        if not (comments and found[0][0].startswith(comments)):
            taken.append(found)
        if len(taken) == _LOOKED_AT:
            break
    else:
        taken = taken[: -1 if cut and len(taken) > 1 else None]  # the sample may end inside a record
    cells, starts, ends = (list(part) for part in zip(*taken, strict=True)) if taken else ([], [], [])
    return _Records(separator, cells, starts, ends, loose)


def words_of(line: str) -> list[str]:
    """The words of a line with blanks between; those in quotation marks may hold blanks."""
    return list(map(_unquoted, _WORD.findall(line)))


def _unquoted(word: str) -> str:
    return word[1:-1].replace('""', '"') if len(word) > 1 and word[0] == word[-1] == '"' else word


def _comment_header(text: str, comments: str, found: _Records) -> tuple[list[str] | None, int]:
    """The names in the last comment before the rows, where they have no other header; and how many lines are comments."""
    if not comments or not found.cells:
        return None, 0
    lines = [line for line in text.split("\n")[: found.starts[0]] if line.startswith(comments)]
    more = sum(line.startswith(comments) for line in text.split("\n")[found.starts[0] :])
    if not lines or not all(map(is_plain, map(str.strip, found.cells[0]))):
        return None, len(lines) + more
    last = lines[-1].removeprefix(comments).strip()
    words = words_of(last)
    names = words if found.separator == " " else next(csv.reader([last], delimiter=found.separator), [])
    if len(names) != found.widths[0] and len(words) == found.widths[0]:
        names = words
    fits = len(names) == found.widths[0] and not any(is_plain(name.strip()) for name in names)
    return (names, len(lines) - 1 + more) if fits else (None, len(lines) + more)


def _header(
    name: str, found: _Records, dialect: Dialect, comment: list[str] | None, loosely: Callable[[], _Records]
) -> Layout:
    """Where the header stands and how many lines it has. ``loosely``: the records with blanks before quotation marks left out."""
    if not found.cells:
        return Layout(found.separator, 1, [], 0, 0)
    width = _width(found)
    if comment is not None and dialect.header is None:
        return Layout(found.separator, width, comment, found.starts[0], max(0, found.starts[0] - 1), beside=True)
    widths = found.widths
    remarks: list[str] = []
    at = 0
    if dialect.skip is None and dialect.header != 0:
        at = _first_of_table(found, width)
    if at:
        lines = found.starts[at]
        first = _shown(" ".join(found.cells[0]))
        before = f"{counted(lines, 'line')} before the header of {name}"
        remarks.append(f"The {before}, the first of them '{first}', {'was' if lines == 1 else 'were'} left out.")
    if widths[at] != width:
        # A quotation mark after a blank is text to a strict reader: `a, "b, c"` are three fields.
        loose = loosely()
        if len(loose.cells) > at and loose.widths[at] == _width(loose):
            found, width = loose, _width(loose)
    most = max(map(len, found.cells[at + 1 :]), default=found.widths[at])
    if found.widths[at] > most and dialect.header != 0:
        raise TableError(
            f"The header of {name} has {found.widths[at]} fields ({_shown(', '.join(found.cells[at]))}), but no row has more "
            f"than {most}: "
            + _said_otherwise("give each column one name, put names that hold the separator in quotation marks")
        )
    head = found.cells[at]
    layout = Layout(found.separator, max(width, len(head)), None, found.starts[at], found.starts[at], found.loose,
                    remarks=remarks)  # fmt: skip
    rows = found.cells[at + 1 :]
    headless = dialect.header == 0 or (dialect.header is None and _is_row(head))
    if headless:
        layout.width = width
        return layout
    layout.start = found.ends[at]
    if (
        rows
        and len(head) == width - 1
        and all(len(record) == width for record in rows)
        and not _only_blank_beyond(rows, len(head))
    ):
        _row_names(name, layout, head, rows)
        return layout
    if rows and len(head) < width and not _only_blank_beyond(rows, len(head)):
        raise TableError(
            f"The header of {name} has {counted(len(head), 'field')} ({_shown(', '.join(head))}) and its rows have {width}: "
            + _said_otherwise("name every column")
        )
    layout.width = max(len(head), 1)
    layout.names = list(head)
    _second_line(name, layout, found, at, dialect)
    if layout.start == found.ends[at]:
        _perhaps_a_row(name, layout, head, rows, dialect)
    return layout


def _is_row(record: Sequence[str]) -> bool:
    cells = [cell.strip() for cell in record]
    return any(cells) and all(cell and is_plain(cell) for cell in cells)


def _first_of_table(found: _Records, width: int) -> int:
    """The number of the first record of the table: those before it are narrower, or hold a single text."""
    if width < 2:
        return 0

    def before(i: int) -> bool:
        record = [cell for cell in found.cells[i] if cell.strip()]
        return found.widths[i] < width - 1 or (len(record) == 1 and width > 2) or (width == 2 and found.widths[i] < 2)

    at = 0
    while at < len(found.cells) - 1 and before(at):
        at += 1
    if at and not (sum(not before(i) for i in range(at, len(found.cells))) > 0.8 * (len(found.cells) - at)):
        return 0
    # A header that lacks names is one, and the lines before it are none, where numbers follow at once.
    if at and _is_row(found.cells[at]) and sum(bool(cell.strip()) for cell in found.cells[at - 1]) > 1:
        return at - 1
    # Words and numbers side by side, above a line that names the columns of numbers below it.
    while at < len(found.cells) - 2 and _names_follow(found, at, width):
        at += 1
    return at


def _names_follow(found: _Records, at: int, width: int) -> bool:
    """Whether this line has a number where the next has a word and all others have numbers: then the next is the header."""
    of = _numeric(found.cells[at + 2 :], width)
    this, after = found.cells[at], found.cells[at + 1]
    return bool(of) and any(_valued(this, i) for i in of) and all(_worded(after, i) for i in of) and len(after) == width


def _numeric(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that hold numbers, and nothing else, in these rows."""
    columns = []
    for i in range(width):
        cells = [cell for row in rows if i < len(row) and (cell := row[i].strip()) and cell not in MISSING]
        good = sum(_has_value(cell) for cell in cells)
        if cells and good >= 0.9 * len(cells):
            columns.append(i)
    return columns


def _valued(row: Sequence[str], i: int) -> bool:
    return i < len(row) and row[i].strip() not in MISSING and _has_value(row[i].strip())


def _worded(row: Sequence[str], i: int) -> bool:
    return i < len(row) and row[i].strip() not in MISSING and not _has_value(row[i].strip())


def _row_names(name: str, layout: Layout, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A header one name short, as R writes it beside the names of its rows. Raises TableError where these are none."""
    first = [row[0].strip() for row in rows]
    counting = first == [str(i) for i in range(1, len(first) + 1)]
    if len(set(first)) < len(first) or not (counting or not any(map(is_plain, first))):
        raise TableError(
            f"The header of {name} has {counted(len(head), 'field')} ({_shown(', '.join(head))}) and its rows have "
            f"{len(head) + 1}, the first of which does not name or number the rows: "
            + _said_otherwise("name every column")
        )
    layout.width, layout.beside = len(head) + 1, True
    layout.names = ["rownames", *head]
    layout.remarks.append(
        f"The header of {name} is one name short, so the first column was taken for names of rows, `rownames`."
    )


def _only_blank_beyond(rows: Sequence[Sequence[str]], width: int) -> bool:
    return not any(cell.strip() for row in rows for cell in row[width:])


def _second_line(name: str, layout: Layout, found: _Records, at: int, dialect: Dialect) -> None:
    """A row of units under the header, or a header of two lines."""
    rows = found.cells[at + 1 :]
    assert layout.names is not None
    if dialect.header == 1 or len(rows) < (2 if dialect.header == 2 else 3) or len(layout.names) < 2:
        return
    second, width = rows[0], layout.width
    numeric = _numeric(rows[1:], width)
    worded = [i for i in numeric if _worded(second, i)]
    units = all(_UNIT.fullmatch(cell.strip()) for cell in second)
    plainly = dialect.header == 2 or (
        bool(worded)
        and not any(_valued(second, i) for i in numeric)
        and (
            len(worded) > 1
            or (
                units
                and all(
                    not second[i].strip() or i in worded or _UNIT.fullmatch(second[i].strip())
                    for i in range(len(second))
                )
            )
        )
        and (2 * len(worded) > len(numeric))
    )
    if not plainly:
        return
    layout.start, layout.beside = found.ends[at + 1], True
    said = [" ".join(cell.split()) for cell in second] + [""] * width
    full = all(cell.strip() for cell in layout.names) and len({cell.strip() for cell in layout.names}) == len(
        layout.names
    )
    shown = _shown(", ".join(filter(None, said)))
    if full and (units or dialect.header is None):
        for given, unit in zip(layout.names, said, strict=False):
            if unit:
                layout.notes[given.strip()] = (
                    f"in {unit.strip('[]()')}" if units else f"second line of the header: {unit}"
                )
        sentence = f"The line under the header of {name} ({shown}) was taken for units"
        if units:
            layout.remarks.append(f"{sentence}.")
        else:
            layout.doubts.append(
                f"{sentence} or remarks, not for a row: --header 1 makes it a row, --skip N begins the table further down."
            )
        return
    above = ""
    joined = []
    for given, more in zip(layout.names, said, strict=False):
        above = given.strip() or above
        joined.append(" ".join(dict.fromkeys(filter(None, (above, more)))))
    layout.names = joined
    layout.remarks.append(f"The header of {name} has two lines, which were joined: {_shown(', '.join(joined))}.")


def _perhaps_a_row(
    name: str, layout: Layout, head: Sequence[str], rows: Sequence[Sequence[str]], dialect: Dialect
) -> None:
    """Say so where the first line holds numbers in all the columns of numbers: it may be a row, and no header."""
    if dialect.header is not None or len(rows) < 2:
        return
    numeric = _numeric(rows, layout.width)
    given = [head[i].strip() for i in numeric if i < len(head)]
    years = all(re.fullmatch(r"(1[5-9]|20|21)\d\d", cell) for cell in given)
    if numeric and len(given) == len(numeric) and not years and all(map(_has_value, given)):
        layout.doubts.append(
            f"The first line of {name} ({_shown(', '.join(head))}) was taken for the header, and may be a row: --header 0 "
            "makes it one."
        )


def _shown(text: str) -> str:
    return shortened(" ".join(text.split()), 48)


def _said_otherwise(what: str) -> str:
    return f"{what}, or say how the file is written with --skip N, --delimiter or --header."
