"""The ways to write a number, a date or a truth value: a pattern that a cell must match, and the SQL of its value.

A column is read in a form only if every cell fits. Which form is chosen where several fit is for ``cells.py`` to say.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fallline.table.database import quoted

MISSING = (
    ("", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null")
    + ("None", "NaT", "-", "--", "?", ".", "missing", "Missing", "#DIV/0!", "#VALUE!", "#REF!")
)  # fmt: skip
"""Cells that say no value was recorded. ``none`` in small letters is left out: it is often a category."""


class Form(NamedTuple):
    """A way to write a value."""

    kind: str  # "DOUBLE" | "TIMESTAMP" | "BOOLEAN" | "VARCHAR"
    pattern: str  # a full match; in the common part of Python's and RE2's languages
    value: Callable[[str], str]  # the SQL of the value, from the SQL of the cell
    note: str = ""
    family: str = ""  # which readings contradict each other
    mixed: bool = False  # two ways at once: a reading only where neither alone is one


def _number(mark: str, decimal: str, note: str, family: str) -> Form:
    """Numbers with this mark between thousands, if any, and this one before the decimals."""
    grouped = rf"\d{{1,3}}({mark}\d{{3}})+|" if mark else ""
    pattern = rf"[+\-−]?(({grouped}\d+)({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?"

    def value(cell: str) -> str:
        digits = f"replace({cell}, '−', '-')"
        if mark:
            digits = f"regexp_replace({digits}, {quoted(mark)}, '', 'g')"
        if decimal == ",":
            digits = f"replace({digits}, ',', '.')"
        return f"try_cast({digits} as double)"

    return Form("DOUBLE", pattern, value, note, family)


_BLANK, _APOSTROPHE = "[ \u00a0\u2007\u202f]", "['’]"
PLAIN = Form(
    "DOUBLE",
    r"(?i:[+-]?(\d+([.]\d*)?|[.]\d+)(e[+-]?\d+)?|[+-]?inf(inity)?)",
    lambda cell: f"try_cast({cell} as double)",
)
DOT_MARKS = _number("[.]", ",", "thousands marks and decimal commas (1.234,5)", "comma decimal")
_NUMBERS = (
    PLAIN,
    _number("", ",", "decimal commas", "comma decimal"),
    _number(",", "[.]", "thousands marks (1,234.5)", "comma marks"),
    DOT_MARKS,
    _number(_BLANK, "[.]", "thousands marks (1 234.5)", "space"),
    _number(_BLANK, ",", "thousands marks and decimal commas (1 234,5)", "comma decimal"),
    _number(_APOSTROPHE, "[.]", "thousands marks (1'234.5)", "apostrophe"),
    _number(_APOSTROPHE, ",", "thousands marks and decimal commas (1'234,5)", "comma decimal"),
    Form(
        "DOUBLE",
        r"[+-]?(\d+([.,]\d*)?|[.,]\d+) ?%",
        lambda cell: f"try_cast(replace(trim({cell}, ' %'), ',', '.') as double)",
        "percent signs left out",
    ),
)

_CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?"
_HALF_DAY_CLOCK = rf"([ T]+{_CLOCK}( ?[AaPp][Mm])?)?"
_ISO = rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}([ T]{_CLOCK}( ?(Z|UTC|[+-]\d{{2}}(:?\d{{2}})?))?)?"
# Years of two and of four digits are forms apart: %Y would read 31/01/20 as in the year 20.
_LONG_YEAR = rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{4}}{_HALF_DAY_CLOCK}"
_SHORT_YEAR = rf"\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2}}{_HALF_DAY_CLOCK}"
_HALF_DAYS = (" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p")
_WHOLE_DAYS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")


def _strptime(cell: str, dates: Sequence[str], clocks: Sequence[str]) -> str:
    formats = ", ".join(quoted(date + clock) for date in dates for clock in clocks)
    return f"try_strptime({cell}, [{formats}])::timestamp"


def _iso(cell: str) -> str:
    dashes = rf"regexp_replace({cell}, '^(\d{{4}})[/.](\d{{1,2}})[/.]', '\1-\2-')"
    return f"try_cast({dashes} as timestamptz)::timestamp"


def _in_order(order: str, words: str, iso: str, short: str) -> tuple[Form, ...]:
    """Dates such as 31/01/2020 and 31.1.20, and such dates among others like 2020-01-31.

    ``iso`` puts the first three groups of digits in the order of ISO, ``short`` is the date to strptime.
    """

    def long_year(cell: str) -> str:
        # By way of ISO: a cast takes a tenth of the time that strptime takes to try several formats.
        turned = rf"trim(regexp_replace({cell}, '^(\d{{1,2}})[-./](\d{{1,2}})[-./](\d{{4}})[ T]*', '{iso}'))"
        half_days = _strptime(turned, ["%Y-%m-%d"], _HALF_DAYS)
        return f"case when {cell} ilike '%m' then {half_days} else try_cast({turned} as timestamp) end"

    def short_year(cell: str) -> str:
        turned = rf"regexp_replace({cell}, '^(\d{{1,2}})[/.](\d{{1,2}})[/.](\d{{2}})[ T]*', '\1/\2/\3 ')"
        return _strptime(f"trim({turned})", [short], _WHOLE_DAYS + _HALF_DAYS)

    def either(cell: str) -> str:
        return f"coalesce({_iso(cell)}, {long_year(cell)})"

    both = f"dates in two forms, year-month-day and {words}"
    return (
        Form("TIMESTAMP", _LONG_YEAR, long_year, f"{words} dates", order),
        Form("TIMESTAMP", _SHORT_YEAR, short_year, f"{words} dates", order),
        Form("TIMESTAMP", f"{_ISO}|{_LONG_YEAR}", either, both, order, mixed=True),
    )


def _month_name(pattern: str, *dates: str) -> Form:
    """Dates with the name of a month, with blanks, hyphens or a comma between."""

    def value(cell: str) -> str:
        return _strptime(f"translate({cell}, '-,', ' ')", dates, _WHOLE_DAYS)

    return Form("TIMESTAMP", rf"{pattern}([ ]+{_CLOCK})?", value, "dates with month names")


_DATES = (
    Form("TIMESTAMP", _ISO, _iso),
    Form("TIMESTAMP", r"\d{4}-\d{2}", lambda cell: _iso(f"({cell} || '-01')"), "year-month dates"),
    *_in_order("day first", "day/month/year", r"\3-\2-\1 ", "%d/%m/%y"),
    *_in_order("month first", "month/day/year", r"\3-\1-\2 ", "%m/%d/%y"),
    _month_name(r"\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{4}", "%d %b %Y", "%d %B %Y"),
    _month_name(r"\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2}", "%d %b %y", "%d %B %y"),
    _month_name(r"[A-Za-z]{3,9} \d{1,2},? \d{4}", "%b %d %Y", "%B %d %Y"),
    Form("TIMESTAMP", _CLOCK, lambda cell: f"(date '1970-01-01' + try_cast({cell} as time))", "times of day"),
)

TEXT = Form("VARCHAR", "", lambda cell: cell)
FORMS = (  # by falling preference
    Form("BOOLEAN", r"(?i:true|false)", lambda cell: f"(lower({cell}) = 'true')"),
    *_NUMBERS,
    *_DATES,
)
