"""One decimal mark for a table: 1.234 and 1,234 are read as the rest of the table shows that marks are meant.

A cell such as 12,5 or 0.125 can be read in one way only, and so can 1,234,567 (three digits after each mark, no zero before).
A cell such as 1,234 can be either. All columns of a table are written by one hand: what one column shows is true of the others.
Where no cell shows it, a column that has 917 beside 2.387 and 12.045 does: decimals would have been written alike, 917.000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fallline.table.database import quoted
from fallline.table.forms import PLAIN, number

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Database

    from fallline.table.cells import Hints, _Column

_EITHER = {mark: rf"^[^0-9.,]*[1-9][0-9]{{0,2}}[{mark}][0-9]{{3}}([^0-9].*)?$" for mark in ".,"}


@dataclass
class Marks:
    """What the cells of one column show: how many have a decimal point (or comma) for certain, and how many may be either.

    ``points``: whether any cell has a point, known before it is counted.
    """

    points: bool = False
    point: int = 0
    comma: int = 0
    either_point: int = 0
    either_comma: int = 0
    small: int = 0  # whole numbers of up to three digits
    large: int = 0  # and of more, without a mark

    @property
    def own(self) -> str:
        """The decimal mark that the cells show, "" if none does, "both" if they contradict each other."""
        return {(True, False): ".", (False, True): ",", (True, True): "both"}.get((self.point > 0, self.comma > 0), "")

    @property
    def by_lengths(self) -> str:
        """The decimal mark where the cells with and without a mark, side by side, show that it parts thousands."""
        if self.own or not self.small or self.large or bool(self.either_point) == bool(self.either_comma):
            return ""
        return "," if self.either_point else "."


def decimal_marks(database: "Database", columns: "Sequence[_Column]", hints: "Hints") -> tuple[str, list[str]]:
    """Settle the decimal mark of all columns of numbers; forms that lose are taken out.

    Returns the mark of the table, "" where it shows none, and sentences on what stays doubtful.
    """
    plainly = not any(column.worn for column in columns)  # then no comma can be decimal
    numbers: list[_Column] = []
    for column in columns:
        enough = plainly and any(other.marks and other.marks.point for other in numbers)
        if _count(database, column, hints, enough):
            numbers.append(column)
    asked = hints.dialect.decimal
    shown = {column.marks.own for column in numbers if column.marks} | ({"."} if hints.points else set())
    certain = asked or _only(shown & {".", ","})
    by_lengths = (
        "" if shown & {".", ","} else _only({column.marks.by_lengths for column in numbers if column.marks} - {""})
    )
    if hints.separator == "," and by_lengths == ",":
        by_lengths = (
            ""  # where commas separate the fields, a point is decimal as a rule: 2.387 beside 917 stays doubtful
        )
    doubts: dict[tuple[str, str], list[str]] = {}
    for column in numbers:
        marks = column.marks
        assert marks is not None
        own = marks.own if marks.own != "both" else "." if marks.point >= marks.comma else ","
        decimal = asked or own or certain or by_lengths
        if not decimal and (marks.either_point or marks.either_comma):
            point = marks.either_point > 0
            decimal = "." if point or hints.separator != ";" else ","
            doubts.setdefault((decimal, _example(database, column, "." if point else ",")), []).append(column.name)
        _take(column, decimal or ".", hints)
    return certain or by_lengths, [_doubt(names, cell, decimal) for (decimal, cell), names in doubts.items()]


def _only(marks: set[str]) -> str:
    return next(iter(marks)) if len(marks) == 1 else ""


def _count(database: "Database", column: "_Column", hints: "Hints", sample: bool) -> bool:
    """Count what the cells of a column show, or a ``sample`` of its plain numbers; whether it is one of numbers."""
    cell = column.cell
    if column.table == "cells":
        assert column.marks is not None
        if column.marks.points:
            few = _counts(database, f"(select {cell} from cells where contains({cell}, '.') limit 1000)", cell, hints)
            # One point that can only be decimal is enough, and most columns have one among the first.
            column.marks = few if few.point or sample else _counts(database, "cells", cell, hints)
        return True
    if column.known or column.worn is None:
        return False
    column.marks = _counts(database, column.table, cell, hints, *column.worn)
    best = max((count for _, count in column.forms), default=0)
    return (
        any(count == best and form.spelled.get("as") == "number" for form, count in column.forms)
        or column.marks.own == "both"
    )


def _counts(database: "Database", rows: str, cell: str, hints: "Hints", before: str = "", after: str = "") -> Marks:
    point, comma = (
        f"regexp_full_match({cell}, {quoted(number(mark, before, after, hints.dialect).pattern)})" for mark in ".,"
    )
    # What DuckDB casts, such as inf and 1e5, has its point as a point.
    point = f"({point} or regexp_full_match({cell}, {quoted(PLAIN.pattern)}))"
    both = f"{point} and {comma}"
    asked = (
        f"{point} and not {comma}", f"{comma} and not {point}",
        *(f"{both} and regexp_matches({cell}, {quoted(_EITHER[mark])})" for mark in ".,"),
        f"{both} and regexp_full_match({cell}, '[^0-9.,]*[0-9]{{1,3}}([^0-9.,].*)?')",
        f"{both} and regexp_full_match({cell}, '[^0-9.,]*[0-9]{{4,}}([^0-9.,].*)?')",
    )  # fmt: skip
    counts: Any = database.execute(f"select {', '.join(f'count_if({what})' for what in asked)} from {rows}").fetchone()
    return Marks(True, *counts)


def _take(column: "_Column", decimal: str, hints: "Hints") -> None:
    """Leave the column the forms with this decimal mark."""
    marks = column.marks
    assert marks is not None
    if column.table != "cells":
        other = {".": ",", ",": "."}[decimal]
        column.forms = tuple(
            (form, count) for form, count in column.forms
            if form.spelled.get("decimal") != other and (form is not PLAIN or decimal == ".")
        )  # fmt: skip
    elif decimal == "," and marks.either_point:
        column.form = number(",", dialect=hints.dialect)


def _example(database: "Database", column: "_Column", mark: str) -> str:
    rows = f"from {column.table} where regexp_matches({column.cell}, {quoted(_EITHER[mark])}) limit 1"
    return str(database.execute(f"select {column.cell} {rows}").fetchall()[0][0])


def _doubt(names: "Sequence[str]", cell: str, decimal: str) -> str:
    mark = "." if "." in cell else ","
    whole, parts = cell.replace(mark, ""), cell.replace(mark, ".").rstrip("0").rstrip(".")
    read, other = (parts, whole) if decimal == mark else (whole, parts)
    where = (
        " and ".join([", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"])
        if len(names) > 1
        else f"`{names[0]}`"
    )
    return (
        f"Nothing in the table shows whether '{cell}' in {where} is {read} or {other}: it was read as {read}; "
        f"--decimal {'.' if decimal == ',' else ','} reads it as {other}."
    )
