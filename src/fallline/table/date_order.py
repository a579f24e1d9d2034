"""Whether the day or the month comes first in a column of dates, and in which zone its moments are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fallline.table import dates
from fallline.table.database import asked
from fallline.words import shortened

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Database

    from fallline.table.cells import _Column


_ENOUGH = 8  # steps from row to row that leave no doubt


def date_orders(database: "Database", columns: "Sequence[_Column]") -> list[str]:
    """Settle whether the day or the month comes first where both could be, by the other columns and by the order of the rows.

    Forms that lose are taken out. The sentences say what stays doubtful. Moments with a zone are told apart here, too.
    """
    doubts: list[str] = []
    unsettled: list[_Column] = []
    sure: set[str] = set()
    for column in columns:
        if column.known or not column.forms:
            continue
        best = max(count for _, count in column.forms)
        fitting = [form for form, count in column.forms if count == best]
        orders = {form.order for form in fitting}
        if orders == {"day first", "month first"}:
            unsettled.append(column)
        elif "" not in orders:
            sure |= orders
        if best == column.present and any(form.spelled.get("form") == "iso" for form in fitting):
            _keep_zone(database, column)
    for column in unsettled:
        order, certain = (next(iter(sure)), True) if len(sure) == 1 else _order_of_rows(database, column)
        other = "month first" if order == "day first" else "day first"
        column.forms = tuple((form, count) for form, count in column.forms if form.order != other)
        form = next(form for form, _ in column.forms if form.order == order)
        why = "" if len(sure) == 1 else " (no date shows which of the two comes first; the order of the rows does)"
        column.note = form.note + (why if certain else " (no date shows which of the two comes first)")
        if not certain:
            text = asked(database, f"select {column.cell} from {column.table} where {column.cell} is not null limit 1")[
                0
            ][0]
            sign = next((letter for letter in text if letter in "/.-"), "/")
            year = "%Y" if form.spelled.get("form") == "long" else "%y"
            otherwise = sign.join(("%m", "%d", year) if order == "day first" else ("%d", "%m", year))
            first = "the day" if order == "day first" else "the month"
            doubts.append(
                f"Nothing shows whether the day or the month comes first in `{column.name}` ('{shortened(text)}'): it was "
                f"read with {first} first; --date-format {otherwise} reads it the other way."
            )
    return doubts


def _order_of_rows(database: "Database", column: "_Column") -> tuple[str, bool]:
    """Under which reading the rows go forward or backward in time, or in even steps; and whether that leaves no doubt.

    Rows in no order go forward by chance: one way of reading n of them does with a probability of 2 / n!.
    """
    cell = column.cell
    if asked(database, f"select bool_and(regexp_matches({cell}, '^[0-9]+[.]')) from {column.table}")[0][0]:
        return "day first", True  # points go with day.month.year
    found = {}
    for order in ("day first", "month first"):
        form = next(form for form, _ in column.forms if form.order == order)
        rows = f"from {column.table} where {cell} is not null order by place limit 100000"
        days = f"select epoch({form.value(cell)}) / 86400 as t {rows}"
        moments = np.array([day for (day,) in asked(database, days)], float)
        steps = np.diff(moments[np.isfinite(moments)])
        steps = steps[steps != 0]
        along = max(np.mean(steps > 0), np.mean(steps < 0)) if len(steps) else 0.0
        uneven = float(np.std(steps) / abs(np.mean(steps))) if along == 1.0 else np.inf
        found[order] = along, uneven, len(steps)
    (day, day_uneven, many), (month, month_uneven, _) = found["day first"], found["month first"]
    if day != month:
        return "day first" if day > month else "month first", max(day, month) > 0.99 > min(
            day, month
        ) + 0.04 and many >= _ENOUGH
    if day == 1.0 and day_uneven != month_uneven:
        even, other = sorted((day_uneven, month_uneven))
        return "day first" if day_uneven == even else "month first", many >= _ENOUGH and even < 0.1 and other > 1.0
    half_days = asked(database, f"select bool_or({cell} ilike '%m' or {cell} ilike '%m.') from {column.table}")[0][0]
    return "month first" if half_days else "day first", False  # AM and PM go with month/day/year as a rule


def _keep_zone(database: "Database", column: "_Column") -> None:
    """Keep the clock of the place where all moments name their zone and it is one, in summer and winter perhaps two."""
    cell = column.cell
    zone = f"regexp_extract({cell}, ':[0-9]{{2}}([.,][0-9]+)?{dates.ZONE}$', 0)"
    zones = f"select distinct {zone} from {column.table} where {cell} is not null limit 20"
    offsets = {dates.offset_of(f"00{zone}" if zone else "") for (zone,) in asked(database, zones)}
    if None in offsets or offsets == {0}:
        return
    ends = sorted(offset for offset in offsets if offset is not None)
    if ends[-1] - ends[0] > 60:
        column.note = "moments of several zones, in UTC"
        return
    form = dates.in_zone(ends[0] if len(ends) == 1 else None)
    column.forms = ((form, column.present),)
