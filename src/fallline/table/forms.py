"""The ways to write a value: a pattern that a cell must match, and the SQL of its value.

Which form is chosen for a column is for ``cells.py`` to say. Numbers stand here, dates in ``dates.py``. Patterns keep to what
Python's and RE2's languages have in common.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fallline.table.database import quoted
from fallline.table.dialect import Dialect

MISSING = (
    ("", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null")
    + ("None", "NaT", "-", "--", "?", ".", "missing", "Missing", "#DIV/0!", "#VALUE!", "#REF!")
    + ("#NUM!", "#NAME?", "#NULL!", "(null)", "\\N")
)  # fmt: skip
"""Cells that say no value was recorded. ``none`` in small letters is left out: it is often a category."""


class Form(NamedTuple):
    """A way to write a value. ``spelled`` is what a model file keeps of it: predictions read a column as the fit did."""

    kind: str  # "DOUBLE" | "TIMESTAMP" | "BOOLEAN" | "VARCHAR"
    pattern: str  # a full match
    value: Callable[[str], str]  # the SQL of the value, from the SQL of the cell
    note: str = ""
    spelled: Mapping[str, Any] = {}

    def fits(self, cell: str) -> str:
        """The SQL of whether a cell is a value of this form."""
        return f"(regexp_full_match({cell}, {quoted(self.pattern)}) and ({self.value(cell)}) is not null)"

    @property
    def order(self) -> str:
        """Of a date that may be either, which comes first, the day or the month."""
        return str(self.spelled.get("order", ""))


PLAIN = Form(
    "DOUBLE",
    r"(?i:[+-]?(\d+([.]\d*)?|[.]\d+)(e[+-]?\d+)?|[+-]?inf(inity)?)",
    lambda cell: f"try_cast({cell} as double)",
    spelled={"as": "number"},
)
TEXT = Form("VARCHAR", "(?s:.*)", lambda cell: cell, spelled={"as": "text"})
BOOLEAN = Form("BOOLEAN", r"(?i:true|false)", lambda cell: f"(lower({cell}) = 'true')", spelled={"as": "boolean"})

_SIGN = "[+\\-−–]?"
_ISO_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|ZAR|MXN|KRW|SGD|HKD"
CURRENCY = rf"(?:(?:US|CA|A|C|R|NZ|HK|S)?\$|[€£¥₹₽₩₺₪฿₫₴]|{_ISO_CODES}|Rs[.]?|kr[.]?|Fr[.]?|zł|Kč|Ft)"
_UNIT = r"(?:[%‰°ºµμΩ$€£¥₹](?!\d)[\w/²³°^·%]{0,9}|[^\W\d_][\w/²³°^·%. \-]{0,14}[\w²³°%.]|[^\W\d_])"
_DIGITS = "\\d(?:[\\d.,'’ \u00a0\u2007\u202f]*\\d)?[.,]?|[.,]\\d+"
_DRESSED = re.compile(
    rf"\(?{_SIGN} ?(?P<before>{CURRENCY})?\s*{_SIGN}(?:{_DIGITS})(?:[eE][+-]?\d+)?\s*(?P<after>{_UNIT})?-?\)?"
)
_NO_UNIT = re.compile(r"(?i:e|x|[ap][.]?m[.]?|st|nd|rd|th|bis|to|und|and|[a-z]\d+|q[1-4]|(kw|w)\d+)")


def clothes(cell: str) -> tuple[str, str] | None:
    """What stands before and after the number in a cell, such as ("$", "") or ("", "kg"); None where it is no number."""
    found = _DRESSED.fullmatch(cell)
    if found is None or _NO_UNIT.fullmatch(found["after"] or ""):
        return None
    return found["before"] or "", found["after"] or ""


def number(decimal: str, before: str = "", after: str = "", dialect: Dialect | None = None) -> Form:
    """Numbers with this decimal mark, marks between thousands, a currency or a unit, and signs of any kind.

    A negative number may stand in parentheses or end with its sign. A currency may be left out, a unit may not.
    """
    marks = (dialect or Dialect()).marks(decimal)
    body = rf"(?:{'|'.join([*map(_grouped, marks), '[0-9]+'])})(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+"
    first = rf"(?:{re.escape(before)})?" if before else ""
    money = re.fullmatch(CURRENCY, after) is not None
    last = rf"(?: ?{_literal(after)}){'?' if money else ''}" if after else ""
    core = rf"{_SIGN} ?{first} ?{_SIGN}(?:{body})(?:[eE][+-]?[0-9]+)?{last}"
    pattern = rf"{core}|{first} ?(?:{body}){last}[−-]|{first} ?\({first} ?(?:{body})(?:{last}\)|\){last})"

    def value(cell: str) -> str:
        bare = cell
        for worn in filter(None, (before, after)):
            bare = f"replace({bare}, {quoted(worn)}, '')"
        off = re.escape("".join(marks)) + "() \u00a0\u2007\u202f"
        bare = f"translate(regexp_replace({bare}, {quoted(f'[{off}]')}, '', 'g'), '−–{decimal}', '--.')"
        below = f"({cell} like '%(%' or regexp_matches({cell}, '[0-9.,)][−-]$') or {bare} like '%-')"
        return f"try_cast((case when {below} then '-' || trim({bare}, '-') else {bare} end) as double)"

    spelled = {"as": "number", "decimal": decimal} | ({"before": before} if before else {})
    return Form("DOUBLE", pattern, value, spelled=spelled | ({"after": after} if after else {}))


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\ ", " ")


def _grouped(mark: str) -> str:
    """Digits with this mark between thousands; of commas also as in India, 12,34,567."""
    either = f"[{mark}]"
    between = rf"(?:{either}[0-9]{{2}})*{either}[0-9]{{3}}" if mark == "," else rf"(?:{either}[0-9]{{3}})+"
    return rf"[1-9][0-9]{{0,2}}{between}(?:{either}[0-9]{{3}})*" if mark == "," else rf"[1-9][0-9]{{0,2}}{between}"


def said_of(form: Form, mark: str, commas: bool) -> str:
    """How numbers of this form are written: with which mark between thousands, if any, and whether decimals follow commas."""
    shown = "'" if mark == "’" else " " if mark.isspace() else mark
    words = []
    if mark:
        both = "thousands marks and decimal commas" if commas else "thousands marks"
        words = [f"{both} (1{shown}234{',5' if commas else '' if shown == '.' else '.5'})"]
    elif commas:
        words = ["decimal commas"]
    worn = [form.spelled[place] for place in ("before", "after") if form.spelled.get(place)]
    words += ["percent signs left out" if text == "%" else f"`{text}` left out" for text in worn]
    return ", ".join(words)
