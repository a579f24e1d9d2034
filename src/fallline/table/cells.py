"""From text to values: in which form each column is read, judged over all of its cells and beside the other columns.

Cells are the columns c0, c1, … of a table ``cells`` in DuckDB, where they are read; the forms stand in ``forms.py``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fallline.table.database import plain, quoted
from fallline.table.forms import DOT_MARKS, FORMS, MISSING, PLAIN, TEXT, Form
from fallline.table.table import SPACES, Block, Notes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Database

_LEADING_ZERO = r"[+-]?0\d+"


def unmarked(cell: str) -> str:
    """The SQL of a cell without blanks around it, null where it says that nothing was recorded."""
    markers = quoted("|".join(re.escape(marker) for marker in MISSING))
    trimmed = f"trim({cell}, {quoted(SPACES)})"
    # Not "in" or list_contains: DuckDB makes a join of a long one, and a join mixes the rows.
    longest = max(map(len, MISSING))
    marked = f"length({trimmed}) <= {longest} and regexp_full_match({trimmed}, {markers})"
    return f"case when not ({marked}) then {trimmed} end"


def typed(database: "Database", names: Sequence[str], decimal_comma: bool = False) -> tuple[Block, Notes]:
    """The columns as values, by these names, and how some had to be read.

    ``decimal_comma``: semicolons separate the fields, as they do where the comma is taken by the decimals.
    """
    # Most columns are plain numbers, and DuckDB's own cast finds that out fastest.
    questions = ", ".join(
        f"bool_and(c{i} is null or (try_cast(c{i} as double) is not null and not contains(c{i}, '_') "
        f"and not regexp_full_match(c{i}, '{_LEADING_ZERO}'))), bool_or(contains(c{i}, '.')), "
        f"max(case when contains(c{i}, '.') then 0 else length(c{i}) end)"
        for i in range(len(names))
    )
    answers = database.execute(f"select {questions} from cells").fetchone()
    plain_numbers, points, digits = answers[::3], answers[1::3], answers[2::3]
    numbers = [i for i, yes in enumerate(plain_numbers) if yes]
    others = [i for i, yes in enumerate(plain_numbers) if not yes]
    forms = {i: [PLAIN] for i in numbers}
    if others:
        texts = ", ".join(unmarked(f"c{i}") + f" as c{i}" for i in others)
        database.execute(f"create temp table others as select rowid as place, {texts} from cells")
        forms |= {i: _forms_of(database, f"c{i}") for i in others}
    chosen, doubts = _settled(database, forms, [i for i in numbers if points[i]], decimal_comma)
    fetched: dict[str, Any] = {}
    for table, place, members in (("cells", "rowid", numbers), ("others", "place", others)):
        if members:
            values = ", ".join(f"{chosen[i].value(f'c{i}')} as c{i}" for i in members)
            found = database.execute(f"select {place} as place, {values} from {table}").fetchnumpy()
            order = np.argsort(found.pop("place"), kind="stable")
            fetched |= {cell: column[order] for cell, column in found.items()}
    columns, notes = {}, {}
    for i, name in enumerate(names):
        columns[name] = plain(fetched[f"c{i}"], chosen[i].kind)
        said = [doubts.get(i, chosen[i].note)]
        if chosen[i].kind == "DOUBLE" and (digits[i] or 0) > 15 and _beyond_whole(columns[name]):
            said.append("whole numbers above 2^53, kept to 16 digits")
        if any(said):
            notes[name] = "; ".join(filter(None, said))
    return columns, notes


def _forms_of(database: "Database", cell: str) -> list[Form]:
    """The forms in which every cell of the column can be read, by falling preference."""
    some = f"(select {cell} from others where {cell} is not null limit 500)"
    sample = database.execute(f"from {some}").fetchall()
    if not sample:
        return [PLAIN]
    likely = [form for form in FORMS if all(re.fullmatch(form.pattern, text) for (text,) in sample)]
    # First the sample, then every row: a form that fails is slow to try.
    for rows in (some, "others"):
        if not likely:
            return [TEXT]
        fit = "".join(
            f", count(case when regexp_full_match({cell}, {quoted(form.pattern)}) then {form.value(cell)} end)"
            for form in likely
        )
        codes = f"bool_or(regexp_full_match({cell}, '{_LEADING_ZERO}'))"
        question = f"select count({cell}), {codes}{fit} from {rows}"
        [(present, zeros, *fits)] = database.execute(question).fetchall()
        if zeros:  # 00123 is a code: as a number it would lose its zeros
            return [TEXT]
        likely = [form for form, count in zip(likely, fits, strict=True) if count == present]
    return [form for form in likely if not form.mixed] or likely or [TEXT]


def _settled(
    database: "Database", readable: Mapping[int, Sequence[Form]], dotted: Sequence[int], decimal_comma: bool
) -> tuple[dict[int, Form], dict[int, str]]:
    """The form of each column, and notes. Of several, that which the other columns leave no doubt about.

    ``dotted`` are the columns of plain numbers in which some have a decimal point.
    """
    chosen = {i: forms[0] for i, forms in readable.items()}
    notes: dict[int, str] = {}
    families = {
        i: {form.family: form for form in reversed(forms) if form.family}
        for i, forms in readable.items()
        if forms[0] is not PLAIN
    }
    sure = {family for ways in families.values() if len(ways) == 1 for family in ways}
    for i, ways in families.items():
        if {"comma decimal", "comma marks"} <= ways.keys():
            # 1,234 in every cell. With decimal points elsewhere, or no hint at all, it marks thousands.
            # 0,123: not thousands.
            small = rf"select bool_or(regexp_full_match(c{i}, '[+-]?0,\d+')) from others"
            hint = "comma marks" not in sure and not dotted
            comma = "comma decimal" in sure or (hint and (decimal_comma or _answer(database, small)))
            chosen[i] = ways["comma decimal" if comma else "comma marks"]
        elif {"day first", "month first"} <= ways.keys():
            order = next((order for order in ("day first", "month first") if order in sure), "")
            if not order:
                order = _date_order(database, f"c{i}", ways)
                notes[i] = f"{ways[order].note} (no date shows which of the two comes first)"
            chosen[i] = ways[order]
    if "comma decimal" in sure and dotted:
        # A table with decimal commas has no decimal points: 1.234 is one thousand and so on.
        marked = r"[+-]?\d{1,3}([.]\d{3})*"
        grouped = " and ".join(f"bool_and(regexp_full_match(c{i}, '{marked}'))" for i in dotted)
        if _answer(database, f"select {grouped} from cells"):
            chosen |= dict.fromkeys(dotted, DOT_MARKS)
            notes |= dict.fromkeys(dotted, "thousands marks (1.234)")
    return chosen, notes


def _answer(database: "Database", question: str) -> Any:
    return database.execute(question).fetchone()[0]


def _date_order(database: "Database", cell: str, ways: Mapping[str, Form]) -> str:
    """Under which reading the rows go forward in time more often; day first if both do."""
    if _answer(database, f"select bool_or({cell} ilike '%m') from others"):
        return "month first"  # AM and PM go with month/day/year

    def backward(order: str) -> Any:
        moments = f"select {ways[order].value(cell)} as t, lag(t) over (order by place) as before from others"
        return _answer(database, f"select count(*) from ({moments}) where t < before")

    return min("day first", "month first", key=backward)


def _beyond_whole(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.all(np.floor(finite) == finite) and np.abs(finite).max() > 2.0**53)
