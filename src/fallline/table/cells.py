"""From text to values: in which form each column is read, judged over all of its cells and beside the other columns.

Cells are the columns c0, c1, … of a table ``cells`` in DuckDB, where they are read; the forms stand in ``forms.py`` and
``dates.py``. A column is read in a form if all its cells fit, or all but a few, which are missing then, counted and quoted.
One decimal mark is found for the whole table (``decimals.py``).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fallline.table import dates
from fallline.table.database import asked, plain, quoted
from fallline.table.date_order import date_orders
from fallline.table.decimals import Marks, decimal_marks
from fallline.table.dialect import BLANKS, Dialect
from fallline.table.forms import BOOLEAN, MISSING, PLAIN, TEXT, Form, clothes, number, said_of
from fallline.table.sentinels import sentinels
from fallline.table.table import SPACES, Block, Notes
from fallline.words import counted, listed, shortened

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Database

LEADING_ZERO = r"[+-]?0\d+"
_SAMPLE = 1000  # cells that say which forms are worth a question to all
_AT_ONCE = 50  # columns in one question: the time that DuckDB takes to plan it grows with the square of their number
_CODES = 12  # so many different whole numbers beside a few letters may all be codes
FEW, ONE_MARK = 0.05, 0.3  # the share of cells that may be odd: different ones; one and the same, which is a mark


@dataclass(frozen=True)
class Hints:
    """What is known before the cells are looked at.

    ``separator`` of the fields: semicolons stand where the comma is taken by the decimals. ``points``: numbers were written by
    a program, with decimal points. ``like``: {column: how it was read in the fit}. ``firm``: these are further rows of a file
    whose first ones were read like that, so that cells which do not fit are odd, however many they are.
    """

    dialect: Dialect = field(default_factory=Dialect)
    separator: str = ""
    points: bool = False
    like: Mapping[str, Any] = field(default_factory=dict)
    firm: bool = False

    def then(self, name: str) -> Mapping[str, Any]:
        """How the column was read before; nothing where that is not known."""
        known = self.like.get(name)
        return known if isinstance(known, dict) else {}


class Typed(NamedTuple):
    """Columns as values, how some had to be read, how each is spelled (for a model file), and what stays doubtful.

    ``odd``: of some columns the cells that could not be read, and how often each occurs.
    """

    columns: Block
    notes: Notes
    spelled: dict[str, dict[str, Any]]
    doubts: tuple[str, ...] = ()
    odd: Mapping[str, Sequence[tuple[str, int]]] = {}


def unmarked(cell: str, na: Sequence[str] = ()) -> str:
    """The SQL of a cell without blanks around it, null where it says that nothing was recorded."""
    marks = (*MISSING, *na)
    markers = quoted("|".join(re.escape(mark) for mark in marks))
    trimmed = f"trim({cell}, {quoted(SPACES)})"
    # Not "in" or list_contains: DuckDB makes a join of a long one, and a join mixes the rows.
    marked = f"length({trimmed}) <= {max(map(len, marks))} and regexp_full_match({trimmed}, {markers})"
    return f"case when not ({marked}) then {trimmed} end"


@dataclass
class _Column:
    """A column while its form is being found."""

    at: int
    name: str
    table: str = ""  # where its cells are: "cells" if all are plain numbers as they stand, else see ``_bared``
    form: Form = PLAIN
    forms: tuple[tuple[Form, int], ...] = ()  # those worth a thought, and how many cells fit
    worn: tuple[str, str] | None = None  # what stands around the numbers, where most cells are numbers
    present: int = 0
    codes: bool = False  # some cell begins with a zero that a number would lose
    marks: Marks | None = None
    known: bool = False  # read as in the fit
    firm: bool = False  # whatever does not fit
    note: str = ""

    @property
    def cell(self) -> str:
        return f"c{self.at}"


def typed(database: "Database", names: Sequence[str], hints: Hints | None = None) -> Typed:
    """The columns as values, by these names, and how some had to be read."""
    hints = hints or Hints()
    columns, digits = _plain_or_not(database, names, hints)
    others = [column for column in columns if column.table != "cells"]
    for start in range(0, len(others), _AT_ONCE):
        _bared(
            database,
            others[start : start + _AT_ONCE],
            f"others{start}",
            hints.dialect.na,
            copied=len(others) > _AT_ONCE,
        )
    for column in others:
        _look(database, column, hints)
    settled = {column.name for column in columns if hints.firm and {"decimal", "form"} & hints.then(column.name).keys()}
    mark, doubts = decimal_marks(database, [column for column in columns if column.name not in settled], hints)
    doubts += date_orders(database, others)
    odd = {column.name: _settle(database, column, doubts) for column in others if not column.known}
    odd |= {column.name: _odd_cells(database, column) for column in others if column.known}
    fetched: dict[str, Any] = {}
    for table in dict.fromkeys(column.table for column in columns):
        values = ", ".join(f"{_value(column, odd)} as {column.cell}" for column in columns if column.table == table)
        place = "rowid" if table == "cells" else "place"
        found = database.execute(f"select {place} as place, {values} from {table}").fetchnumpy()
        place = found.pop("place")
        if np.any(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
            found = {cell: cells[order] for cell, cells in found.items()}
        fetched |= found
    values_of, notes = {}, {}
    for column in columns:
        read = values_of[column.name] = plain(fetched[column.cell], column.form.kind)
        if column.form.kind == "DOUBLE":
            _leave_out(read, hints.dialect.na)
            doubts += sentinels(column.name, read)
        note = column.note or _note(database, column)
        said = [note, _quoted_odd(odd.get(column.name))]
        if _as_they_stand(column) and (digits[column.at] or 0) > 15 and _beyond_whole(read):
            said.append("whole numbers above 2^53, kept to 16 digits")
        if any(said):
            notes[column.name] = "; ".join(filter(None, said))
    remembered = {"decimal": mark} if mark else {}
    spelled = {
        column.name: dict(column.form.spelled) | (remembered if _as_they_stand(column) else {}) for column in columns
    }
    return Typed(values_of, notes, spelled, tuple(doubts), {name: cells for name, cells in odd.items() if cells})


def _value(column: "_Column", odd: Mapping[str, Sequence[Any]]) -> str:
    """The SQL of a column's values, null for odd cells."""
    value = column.form.value(column.cell)
    return f"case when {column.form.fits(column.cell)} then {value} end" if odd.get(column.name) else value


def _as_they_stand(column: "_Column") -> bool:
    """Whether DuckDB's own cast reads the column."""
    return column.form.value is PLAIN.value


def _plain_or_not(database: "Database", names: Sequence[str], hints: Hints) -> tuple[list[_Column], list[int | None]]:
    """The columns, and the longest whole number of each. DuckDB's own cast tells those of plain numbers apart the fastest."""
    questions = [
        f"bool_and(c{i} is null or (try_cast(c{i} as double) is not null and not contains(c{i}, '_') "
        f"and not ({_begins_with_a_zero(f'c{i}')}))), bool_or(contains(c{i}, '.')), "
        f"max(case when contains(c{i}, '.') then 0 else length(c{i}) end)"
        for i in range(len(names))
    ]
    answers: list[Any] = []
    for start in range(0, len(questions), _AT_ONCE):
        answers += asked(database, f"select {', '.join(questions[start : start + _AT_ONCE])} from cells")[0]
    columns = [_Column(i, name) for i, name in enumerate(names)]
    for column, numbers, points, length in zip(columns, answers[::3], answers[1::3], answers[2::3], strict=True):
        then = hints.then(column.name)
        commas = "," in (hints.dialect.decimal, then.get("decimal"))
        if not numbers or then.get("as", "number") != "number" or (commas and points):
            continue
        counting = hints.firm and bool(then)
        if (
            length in (8, 12, 14)
            and not points
            and not counting
            and _all_fit(database, column.cell, dates.EIGHT_DIGITS)
        ):
            continue  # dates without anything between year, month and day
        column.table = "cells"
        column.marks = Marks(points=bool(points))
    return columns, list(answers[2::3])


def _begins_with_a_zero(cell: str) -> str:
    """The SQL of whether a digit follows a zero at the beginning, perhaps behind a sign; far sooner done than by a pattern."""
    return " or ".join(f"({cell} >= '{sign}00' and {cell} < '{sign}0:')" for sign in ("", "-", "+"))


def _bared(database: "Database", columns: Sequence[_Column], table: str, na: Sequence[str], *, copied: bool) -> None:
    """Make a table of the cells of these columns without blanks around, which few texts have, and with their places.

    copied: as all of ``cells`` is gone through for each question to a view, which of many columns takes too long.
    """
    cells = [column.cell for column in columns]
    ends = {
        cell: " or ".join(f"{end}({cell}, {quoted(space)})" for space in SPACES for end in ("prefix", "suffix"))
        for cell in cells
    }
    blank = asked(
        database, f"select {', '.join(f'coalesce(bool_or({ends[cell]}), false)' for cell in cells)} from cells"
    )[0]
    texts = [
        f"case when {ends[cell]} then {unmarked(cell, na)} else {cell} end as {cell}" if there else cell
        for cell, there in zip(cells, blank, strict=True)
    ]
    kind = "table" if any(blank) or copied else "view"
    database.execute(f"create temp {kind} {table} as select rowid as place, {', '.join(texts)} from cells")
    for column in columns:
        column.table = table


def _all_fit(database: "Database", cell: str, form: Form) -> bool:
    fits = f"count({cell}) > 1 and bool_and({cell} is null or {form.fits(cell)})"
    few = f"(select {cell} from cells where {cell} is not null limit 100)"
    return all(database.execute(f"select {fits} from {rows}").fetchall()[0][0] for rows in (few, "cells"))


def _look(database: "Database", column: _Column, hints: Hints) -> None:
    """Find the forms that may be those of a column, and how many cells fit each."""
    cell = column.cell
    sample = [
        text
        for (text,) in asked(database, f"select {cell} from {column.table} where {cell} is not null limit {_SAMPLE}")
    ]
    if not sample and not (hints.firm and hints.then(column.name)):
        column.form, column.known = PLAIN, True
        return
    if known := _as_in_the_fit(database, column, hints):
        column.form, column.known, column.firm = known, True, hints.firm
        return
    worn = Counter(filter(None, map(clothes, sample)))
    dialect = hints.dialect
    candidates = [BOOLEAN, dates.EIGHT_DIGITS] + ([] if dialect.decimal == "," else [PLAIN])
    if worn:
        (before, after), _ = worn.most_common(1)[0]
        if not after:  # a currency may be left out
            before = next((pair[0] for pair, _ in worn.most_common() if pair[0] and not pair[1]), "")
        column.worn = (before, after)
        numbers = [
            number(decimal, before, after, dialect) for decimal in ((dialect.decimal,) if dialect.decimal else ".,")
        ]
    else:
        numbers = []
    candidates += [dates.as_asked(dialect.date_format)] if dialect.date_format else []
    # Dates first: of "22. August 2002", the month is no unit.
    candidates += [*dates.DATES, *numbers]
    enough = 0.5 * len(sample)
    likely = [form for form in candidates if sum(_matches(form, text) for text in sample) >= enough]
    code = f"bool_or(regexp_full_match({cell}, '{LEADING_ZERO}'))"
    column.present, column.codes = asked(database, f"select count({cell}), {code} from {column.table}")[0]
    if likely and likely[0].spelled.get("form") == "iso" and _fitting(database, column, likely[:1]) == [column.present]:
        column.forms = ((likely[0], column.present),)  # nothing else could be meant
        return
    column.forms = tuple(zip(likely, _fitting(database, column, likely), strict=True))


def _fitting(database: "Database", column: _Column, forms: Sequence[Form]) -> list[int]:
    """How many cells fit each form."""
    questions = ", ".join(f"count_if({form.fits(column.cell)})" for form in forms)
    return list(asked(database, f"select {questions} from {column.table}")[0]) if forms else []


def _matches(form: Form, text: str) -> bool:
    return re.fullmatch(form.pattern, text) is not None


def _as_in_the_fit(database: "Database", column: _Column, hints: Hints) -> Form | None:
    """The form in which the fit read the column of this name, if most of its cells can be read so, or that is firm."""
    then = hints.then(column.name)
    if then.get("as") == "text":
        return TEXT
    forms = list(dates.same(then))
    if hints.firm and then.get("as") in ("boolean", "number"):
        forms = [BOOLEAN if then["as"] == "boolean" else PLAIN]
    if then.get("as") == "number" and then.get("decimal") in (".", ","):
        worn = [then.get(place, "") for place in ("before", "after")]
        if all(isinstance(text, str) and len(text) < 40 for text in worn):
            forms = [number(then["decimal"], *worn)]
    best, most = (forms[0] if hints.firm and forms else None), 0
    for form in forms:
        question = f"select count({column.cell}), count_if({form.fits(column.cell)}) from {column.table}"
        present, fits = asked(database, question)[0]
        if (hints.firm or 2 * fits >= present) and fits > most:
            best, most = form, fits
    return best


def _settle(database: "Database", column: _Column, doubts: list[str]) -> list[tuple[str, int]]:
    """Take the form that most cells fit, or text; the odd cells, and how often each occurs."""
    fitting = [(form, count) for form, count in column.forms if form.spelled.get("form") != "mixed"]
    whole = [form for form, count in (*fitting, *column.forms) if count == column.present]
    if column.codes and not any(form is dates.EIGHT_DIGITS or form.kind == "TIMESTAMP" for form in whole):
        column.form = TEXT  # 00123 is a code: as a number it would lose its zeros
        return []
    if whole:
        column.form = whole[0]
        return []
    column.form = TEXT
    if not column.forms:
        return []
    form, count = max(column.forms, key=lambda pair: pair[1])
    column.form = form
    odd = _odd_cells(database, column)
    if _are_missing(database, column, count, odd):
        return odd
    column.form = TEXT
    what = "dates" if form.kind == "TIMESTAMP" else "numbers" if form.kind == "DOUBLE" else ""
    if what and count >= 0.5 * column.present:
        left = column.present - count
        shown = listed((f"'{shortened(text)}'" for text, _ in odd), 3)
        doubts.append(
            f"{counted(count, 'cell')} of `{column.name}` are {what} and {left:,} are not ({shown}), so it was read as text: if "
            f"these mean that nothing was recorded, --na '{shortened(odd[0][0])}'."
        )
    return []


def _odd_cells(database: "Database", column: _Column) -> list[tuple[str, int]]:
    """The cells that do not fit the form, the most frequent first, at most 50 different ones."""
    if column.form is TEXT or column.table == "cells":
        return []
    cell, fits = column.cell, column.form.fits(column.cell)
    if column.firm and column.form.kind == "DOUBLE":  # a code, which a number would take the zeros off
        fits = f"({fits} and not regexp_full_match({cell}, '{LEADING_ZERO}'))"
    return [
        (text, count)
        for text, count in asked(
            database,
            f"select {cell}, count(*) from {column.table} where {cell} is not null and not {fits} "
            f"group by {cell} order by count(*) desc, min(place) limit 50",
        )
    ]


def _are_missing(database: "Database", column: _Column, fitting: int, odd: Sequence[tuple[str, int]]) -> bool:
    """Whether cells that do not fit are few enough, and alike enough, to be slips or marks of missing values."""
    many = sum(count for _, count in odd)
    if len(odd) == 50 or fitting < 5:
        return False
    signs = all(not any(letter.isalnum() for letter in text) for text, _ in odd)
    if signs and len(odd) <= 2:
        return many <= fitting
    if fitting < 9 or many > max(1, (ONE_MARK if len(odd) == 1 else FEW) * (many + fitting)):
        return False
    if column.form.kind != "DOUBLE":
        return True
    value, fits = column.form.value(column.cell), column.form.fits(column.cell)
    different, whole = asked(
        database,
        f"select count(distinct v), bool_and(v = floor(v)) from (select {value} as v from {column.table} where {fits})",
    )[0]
    return not whole or different > _CODES


def _quoted_odd(odd: Sequence[tuple[str, int]] | None) -> str:
    """How many cells were taken for missing, and which."""
    if not odd:
        return ""
    shown = listed((f"'{shortened(text)}'" for text, _ in odd), 3)
    return f"{counted(sum(count for _, count in odd), 'cell')} that could not be read so taken as missing: {shown}"


def _note(database: "Database", column: _Column) -> str:
    """How the column is written, where that is not plain."""
    form, cell = column.form, column.cell
    if form.spelled.get("as") != "number" or _as_they_stand(column):
        return form.note
    marks = [("," if form.spelled["decimal"] == "." else "."), *BLANKS, "'", "’"]
    questions = ", ".join(f"bool_or(regexp_matches({cell}, {quoted(f'[0-9][{mark}][0-9]{{2,3}}')}))" for mark in marks)
    used = [
        mark
        for mark, there in zip(marks, asked(database, f"select {questions} from {column.table}")[0], strict=True)
        if there
    ]
    commas = (
        form.spelled["decimal"] == ","
        and asked(database, f"select bool_or(contains({cell}, ',')) from {column.table}")[0][0]
    )
    return said_of(form, used[0] if used else "", commas)


def _leave_out(values: np.ndarray, marks: Sequence[str]) -> None:
    """Numbers that were said to mean that nothing was recorded, however they are written."""
    for mark in marks:
        try:
            values[values == float(mark)] = np.nan
        except ValueError:
            continue


def _beyond_whole(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.all(np.floor(finite) == finite) and np.abs(finite).max() > 2.0**53)
