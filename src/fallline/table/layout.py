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

_WORD = re.compile(r'"(?:[^"]|"")*"(?=[ \t]|$)|[^ \t\n]+')
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_PART = (
    r"(?:[%°µμΩ]?[^\W\d_]{0,4}|degrees?|percent|celsius|kelvin|met(?:er|re)s?|seconds?|minutes?|hours?|months?|years?|volts?|watts?"
    r"|pascals?)"
)
_UNIT = re.compile(rf"[\[(].*[\])]|[%‰°ºµμΩ€$£¥#-]|{_PART}(?:[/·*^ ²³⁻¹.-]+{_PART}|-?\d)*", re.IGNORECASE)
_YEAR = re.compile(r"(1[5-9]|20|21)\d\d")
_DATE = re.compile(
    r"(\d{1,4}[-/.] ?\d{1,2}[-/.] ?\d{1,4}|\d{1,2}[.]?(?: de)?[- /][^\W\d_]+[.]?(?: de)?[- /]\d{2,4}"
    r"|[^\W\d_]+[.]?(?: de)?[- /](\d{1,2},? )?\d{4})([ T,]+[\d:.,]+.{0,10})?|\d{1,4}(:\d{2})+([.,]\d+)?( ?[ap][.]?m[.]?)?",
    re.IGNORECASE,
)
_TWO_NUMBERS = re.compile(r"\d \d{1,2}(?!\d)|\d \d{4}|\d{4} \d")  # no marks between thousands
_LOOKED_AT = 500  # records
_COMMENT = ("#", "%", "//")
_ERRORS = tuple(mark for mark in MISSING if mark.startswith("#"))


@dataclass
class Layout:
    """Where the table lies in a text.

    ``separator`` of its fields (of words between blanks, " "); ``names`` of its columns as the header gives them, None where
    it has none; ``start``: the line, from 0, on which the first row begins, and ``header`` that of the header; ``loose``:
    blanks may stand before a quotation mark; ``beside``: the names are not the one line above the rows; ``comments``: what
    begins a line that is no row; ``above``: lines of the file above this text. ``remarks`` say what was found, ``doubts`` what
    may be otherwise, ``notes`` something of single columns.
    """

    separator: str
    width: int
    names: list[str] | None
    start: int
    header: int
    loose: bool = False
    beside: bool = False
    comments: str = ""
    above: int = 0
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
    comments = next((sign for sign in _COMMENT if is_comment(text.lstrip("\n"), sign)), "")
    found, other = _separated(source, text, given, comments)
    if comments and not found.cells:
        raise TableError(f"{name} holds comments alone: a header line and rows of values were expected.")
    comment, lines = _comment_header(text, comments, found)
    if lines:
        remarks.append(
            f"{counted(lines, 'line')} of {name} that {'begins' if lines == 1 else 'begin'} with {comments} "
            f"{'was' if lines == 1 else 'were'} left out."
        )
    layout = _header(name, found, dialect, comment, lambda: _read(source, text, found.separator, comments, loose=True))
    layout.start, layout.header, layout.comments = (
        layout.start + skipped,
        layout.header + skipped,
        comments if lines else "",
    )
    layout.remarks[:0] = remarks
    if other:
        layout.doubts.append(
            f"The fields of {name} were parted at {_sign(found.separator)}; {_sign(other)} would part them as well: "
            f"--delimiter {_sign(other)}."
        )
    if layout.width == 1 and given is None and (line := _with_signs(found)):
        layout.doubts.append(
            f"{name} was read as one column, with cells such as '{line}': if a sign parts its fields, --delimiter SIGN; "
            "--skip N leaves out lines above the header."
        )
    return layout


def _sign(separator: str) -> str:
    return {" ": "space", "\t": "tab"}.get(separator, separator)


def is_comment(line: str, sign: str) -> bool:
    """Whether a line begins with this sign of comments, "" for none, and not with a mark such as #N/A."""
    return bool(sign) and line.startswith(sign) and not line.startswith(_ERRORS)


def _with_signs(found: _Records) -> str:
    """A line of those that hold signs which separate fields elsewhere, "" where most do not."""
    lines = [found.separator.join(record).strip() for record in found.cells]
    having = [line for line in lines if re.search(r"\S[,;|\t ]", line)]
    return _shown(having[-1]) if 2 * len(having) > len(lines) else ""


def _after(text: str, lines: int) -> str:
    return text.split("\n", lines)[-1] if text.count("\n") >= lines else ""


def _separated(source: Source, text: str, given: str | None, comments: str) -> tuple[_Records, str]:
    """The first records, under the separator asked for or under that which makes the most even and plainest fields.

    And another separator under which all fields are plain as well, "" where there is none.
    """
    if given:
        return _read(source, text, given, comments), ""
    tried = []
    for separator in (",", ";", "\t", "|", " "):
        try:
            found = _read(source, text, separator, comments)
        except csv.Error:
            continue
        if found.cells and max(found.widths) > 1 and (score := _score(found))[0]:
            tried.append((score, found))
    if not tried:
        return _read(source, text, ",", comments), ""
    (score, best), *others = sorted(tried, key=lambda pair: pair[0], reverse=True)
    as_good = [
        found.separator for (*fits, _, plain), found in others if all(fits) and plain >= min(0.99, score[-1] + 0.01)
    ]
    return best, as_good[0] if as_good else ""


def _score(found: _Records) -> tuple[bool, bool, bool, float, float]:
    """How well a separator parts the records, if at all: evenly from the first to the last even one, with a header, into plain
    cells; and which share of the cells is plain.
    """
    width = _width(found)
    at = [i for i, record in enumerate(found.cells) if _is_even(record, width)]
    rows = [found.cells[i] for i in at[1:]] or [found.cells[at[0]]]
    share = len(at) / (1 + at[-1] - at[0])
    if width < 2 or (found.separator == " " and share < 0.9):
        return False, False, False, 0.0, 0.0  # words of a sentence
    cells = [record[i].strip() in MISSING or bool(_kind(record, i)) for record in rows for i in range(width)]
    plain = sum(cells) / len(cells)
    # Lines above the header are no rows. A separator may end the lines and not the header, and row names may have no name.
    headed = at[0] == 0 or not _may_be_a_row(found.cells[at[0]], rows, width)
    short = (
        at[0] > 0 and found.widths[at[0] - 1] == width - 1 and (width > 2 or _count_rows([found.cells[at[0]], *rows]))
    )
    fits = 1.0 if headed else 0.5 * short
    # Blanks part words of a cell, too; tabs hardly ever stand in one.
    prior = {" ": -0.2, "\t": 0.2}.get(found.separator, 0.0) + 0.02 * min(width, 10)
    return True, share > 0.85, fits > 0, plain + 0.4 * fits + 0.5 * len(at) / len(found.cells) + prior, plain


def _has_value(cell: str) -> bool:
    return is_plain(cell) or (clothes(cell) is not None and not _TWO_NUMBERS.search(cell))


def _width(found: _Records) -> int:
    """How many fields the rows have: as many as most of them, without a last one that is empty in all."""
    rows, head = found.cells[1:] or found.cells, len(found.cells[0])
    counts = Counter(map(len, rows))
    width = max(counts, key=lambda width: (counts[width] + 0.5 * (width == head), width))
    return width - (width > 1 and not any(row[-1].strip() for row in rows if len(row) == width))


def _is_even(record: Sequence[str], width: int) -> bool:
    return _filled(record) <= width <= len(record)


def _read(source: Source, text: str, separator: str, comments: str, loose: bool = False) -> _Records:
    cut = not source.in_sample
    if separator == " ":
        lines = [(words_of(line), i, i + 1) for i, line in enumerate(text.split("\n"))]
        read: Iterator[tuple[list[str], int, int]] = (line for line in lines if line[0])
    else:
        read = records(text, separator, loose)
    taken = []
    for found in read:
        if not is_comment(found[0][0], comments) and any(map(str.strip, found[0])):
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
    lines = [line for line in text.split("\n")[: found.starts[0]] if is_comment(line, comments)]
    more = sum(is_comment(line, comments) for line in text.split("\n")[found.starts[0] :])
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
    at = _first_of_table(found, width) if dialect.skip is None and dialect.header != 0 else 0
    if not _is_even(found.cells[at], width):
        # A quotation mark after a blank is text to a strict reader: `a, "b, c"` are three fields.
        loose = loosely()
        if len(loose.cells) > at and _is_even(loose.cells[at], _width(loose)):
            found, width = loose, _width(loose)
    head, rows = found.cells[at], found.cells[at + 1 :]
    layout = Layout(found.separator, width, None, found.starts[at], found.starts[at], found.loose)
    if at:
        first, lines = _shown(" ".join(found.cells[0])), counted(found.starts[at], "line")
        were = "was" if found.starts[at] == 1 else "were"
        layout.remarks.append(f"The {lines} before the header of {name}, the first of them '{first}', {were} left out.")
    if dialect.header == 0 or (dialect.header is None and _is_row(head, rows, width)):
        return layout
    layout.start = found.ends[at]
    if rows and len(head) < width and not _only_blank_beyond(rows, len(head)):
        _short_header(name, layout, head, rows)
        return layout
    _must_not_be_wider(name, head, rows)
    layout.width, layout.names = max(len(head), 1), list(head)
    last = at + {None: 2, 2: 1}.get(dialect.header, 0)
    while at < last and _further_line(
        name, layout, found.cells[at + 1 :], found.ends[min(at + 1, len(found.ends) - 1)], dialect
    ):
        at += 1
    if dialect.header is None and not layout.beside and _may_be_a_row(head, rows, layout.width):
        layout.doubts.append(
            f"The first line of {name} ({_shown(', '.join(head))}) was taken for the header, and may be a row: --header 0 "
            "makes it one."
        )
    return layout


def _must_not_be_wider(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise TableError where the header has more fields than any row."""
    most = max(map(len, rows), default=len(head))
    if _filled(head) > most:
        raise TableError(
            f"The header of {name} has {_filled(head)} fields ({_shown(', '.join(head))}), but no row has more than {most}: "
            + _said_otherwise("give each column one name, put names that hold the separator in quotation marks")
        )


def _first_of_table(found: _Records, width: int) -> int:
    """The number of the first record of the table: those before it are narrower, or hold a single text."""
    if width < 2:
        return 0

    def before(i: int) -> bool:
        record = found.cells[i]
        words = [cell for cell in record if cell.strip()]
        single = width > 2 and len(words) == 1 and not _has_value(words[0].strip())
        return len(record) < max(2, width - 1) or single

    at, last = 0, len(found.cells) - 1
    while at < last and before(at):
        at += 1
    if at and sum(map(before, range(at, last + 1))) >= 0.2 * (last + 1 - at):
        return 0
    # A header that lacks names is one, and the lines before it are none, where numbers follow at once.
    if at and _is_row(found.cells[at], found.cells[at + 1 :], width) and _words_in(found.cells[at - 1]) > 1:
        return at - 1
    # Words and numbers side by side, above a line that names the columns of numbers below it.
    while at < last - 1 and _names_follow(found, at, width):
        at += 1
    return at


def _words_in(record: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in record)


def _names_follow(found: _Records, at: int, width: int) -> bool:
    """Whether the next line names the columns of values below it, and this one is narrower or has a value where those have."""
    kinds = _kinds(_lower_half(found.cells[at + 2 :]), width)
    this, after = found.cells[at], found.cells[at + 1]
    other = len(this) < width or _words_in(this) < 2 or any(_kind(this, i) for i in kinds)
    return other and bool(kinds) and len(after) == width and all(_is_word(after, i) for i in kinds)


def _kind(row: Sequence[str], i: int) -> str:
    """ "number", "date", "boolean" or "" for any other cell, for none, and for one that says that nothing was recorded."""
    cell = row[i].strip() if i < len(row) else ""
    if cell in MISSING:
        return ""
    if _DATE.fullmatch(cell):
        return "date"
    if cell.lower() in ("true", "false"):
        return "boolean"
    return "number" if _has_value(cell) or re.fullmatch("[+-]?inf(inity)?", cell, re.IGNORECASE) else ""


def _is_word(row: Sequence[str], i: int) -> bool:
    return i < len(row) and row[i].strip() not in MISSING and not _kind(row, i)


def _lower_half(rows: Sequence[list[str]]) -> Sequence[list[str]]:
    """The rows among which there is hardly a line that belongs to the header."""
    return rows[len(rows) // 2 :]


def _kinds(rows: Sequence[Sequence[str]], width: int) -> dict[int, str]:
    """The columns that hold numbers, or dates, and hardly anything else, in these rows."""
    kinds = {}
    for i in range(width):
        counts = Counter(_kind(row, i) for row in rows if i < len(row) and row[i].strip() not in MISSING)
        if counts and (most := counts.most_common(1)[0])[0] and most[1] >= 0.9 * counts.total():
            kinds[i] = most[0]
    return kinds


def _is_row(record: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a first record is a row: all its cells are values as those below, or words that stand below, too."""
    cells = [cell.strip() for cell in record]
    if all(cell and is_plain(cell) for cell in cells):
        return True
    below = [{row[i].strip() for row in rows if i < len(row)} for i in range(width)]
    words = (cell in below[i] for i, cell in enumerate(cells[:width]) if _is_word(record, i))
    return _may_be_a_row(record, rows, width) and all(words)


def _may_be_a_row(record: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a first record has values where the columns have; years, and numbers that count, may name columns."""
    kinds = _kinds(rows, width)
    words = sum(_is_word(record, i) for i in kinds)
    marks = sum(record[i].strip() in MISSING for i in kinds if i < len(record))
    given = [i for i in kinds if _kind(record, i) == kinds[i]]
    cells = [record[i].strip() for i in given]
    names = [str(i) for i in range(1, len(cells) + 1)]
    years = all(map(_YEAR.fullmatch, cells)) and not all(
        _YEAR.fullmatch(cell) for row in rows for i in given if i < len(row) and (cell := row[i].strip()) not in MISSING
    )
    return len(rows) > 1 and len(given) + marks > 2 * words and not (given and (years or cells == names))


def _short_header(name: str, layout: Layout, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A header one name short, as R writes it beside the names of its rows. Raises TableError where these are none."""
    width = layout.width
    first = [row[0].strip() for row in rows]
    distinct = len(set(first)) == len(first) and all(len(row) == width for row in rows)
    if len(head) < width - 1 or not distinct or not (_count_rows(rows) or not any(map(is_plain, first))):
        raise TableError(
            f"The header of {name} has {counted(len(head), 'field')} ({_shown(', '.join(head))}) and its rows have {width}, "
            "the first of which does not name or number the rows: " + _said_otherwise("name every column")
        )
    layout.beside, layout.names = True, ["rownames", *head]
    layout.remarks.append(
        f"The header of {name} is one name short, so the first column was taken for names of rows, `rownames`."
    )


def _count_rows(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first fields number the rows."""
    return all(row[0].strip() == str(i) for i, row in enumerate(rows, 1))


def _only_blank_beyond(rows: Sequence[Sequence[str]], width: int) -> bool:
    return not any(cell.strip() for row in rows for cell in row[width:])


def _further_line(name: str, layout: Layout, rows: Sequence[list[str]], end: int, dialect: Dialect) -> bool:
    """Whether the first of the records below the header is one of units, or goes on with the header; ``end``: where it ends."""
    assert layout.names is not None
    if len(rows) < (2 if dialect.header == 2 else 3) or not 1 < layout.width == len(rows[0]):
        return False
    line = ["" if cell.strip() in MISSING else " ".join(cell.split()) for cell in rows[0]]
    units = all(map(_UNIT.fullmatch, line))
    names = [given.strip() for given in layout.names]
    gaps = not all(names) or len(set(names)) < len(names)
    if dialect.header != 2 and not _is_no_row(line, rows[1:], layout.width, units, gaps):
        return False
    layout.start, layout.beside = end, True
    line += [""] * layout.width
    if gaps or (dialect.header == 2 and not units):
        layout.names = _joined(names, line)
        shown = _shown(", ".join(layout.names))
        layout.remarks.append(f"The header of {name} has two lines, which were joined: {shown}.")
        return True
    for given, cell in zip(names, line, strict=False):
        if cell:
            said = f"in {cell.strip('[]()')}" if units else f"under its name: {cell}"
            layout.notes[given] = f"{layout.notes[given]}; {said}" if given in layout.notes else said
    sentence = f"The line under the header of {name} ({_shown(', '.join(filter(None, line)))}) was taken for units"
    if units:
        layout.remarks.append(f"{sentence}.")
    else:
        layout.doubts.append(
            f"{sentence} or remarks, not for a row: --header 1 makes it a row, --skip N begins the table further down."
        )
    return True


def _is_no_row(line: Sequence[str], rows: Sequence[list[str]], width: int, units: bool, gaps: bool) -> bool:
    """Whether the line under the header, which may have ``gaps``, has words where the lines further below have values."""
    kinds = _kinds(rows, width) | _kinds(_lower_half(rows), width)
    worded = [i for i in kinds if _is_word(line, i)]
    alone = units and all(i in worded for i, cell in enumerate(line) if cell)
    most = (len(worded) > 1 or units) and 2 * len(worded) > len(kinds)
    filled = gaps and len(worded) == len(kinds)
    return bool(worded) and not any(_kind(line, i) for i in kinds) and (alone or most or filled)


def _joined(names: Sequence[str], second: Sequence[str]) -> list[str]:
    """Names of two lines; one that is left empty above goes on from its left."""
    above, joined = "", []
    for given, more in zip(names, second, strict=False):
        above = given or above
        joined.append(" ".join(dict.fromkeys(filter(None, (above, more)))))
    return joined


def _shown(text: str) -> str:
    return shortened(" ".join(text.split()), 48)


def _said_otherwise(what: str) -> str:
    return f"{what}, or say how the file is written with --skip N, --delimiter or --header."
