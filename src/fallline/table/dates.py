"""The ways to write dates, times of day and durations."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from fallline.exceptions import SettingsError
from fallline.table.database import quoted
from fallline.table.dialect import Dialect
from fallline.table.forms import Form

_CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?"
_HALF_DAY = r"( ?[AaPp][.]?[Mm][.]?)"
_HALF_DAY_CLOCK = rf"(,?[ T]+{_CLOCK}{_HALF_DAY}?)?"
ZONE = r" ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)"
_ISO_DAY = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
_ISO = rf"{_ISO_DAY}([ T]{_CLOCK}({ZONE})?)?"
# Years of two and of four digits are forms apart: %Y would read 31/01/20 as in the year 20.
_LONG_YEAR = rf"\d{{1,2}}[-/.] ?\d{{1,2}}[-/.] ?\d{{4}}{_HALF_DAY_CLOCK}"
_SHORT_YEAR = rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2}}{_HALF_DAY_CLOCK}"
_HALF_DAYS = (" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p")
_WHOLE_DAYS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")
DIGITS = r"(1[6-9]|20|21)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d([0-5]\d)?)?"
"""Eight digits that are a year, a month and a day, perhaps with hours, minutes and seconds."""


def _strptime(cell: str, dates: Sequence[str], clocks: Sequence[str]) -> str:
    formats = ", ".join(quoted(date + clock) for date in dates for clock in clocks)
    return f"try_strptime({cell}, [{formats}])::timestamp"


def _iso(cell: str) -> str:
    dashes = rf"regexp_replace({cell}, '^(\d{{4}})[/.](\d{{1,2}})[/.]', '\1-\2-')"
    other = f"try_cast(replace(replace({dashes}, ',', '.'), 'GMT', 'UTC') as timestamptz)::timestamp"
    # Without a zone no more is needed than a cast, which is fast.
    plain = f"length({cell}) <= 10 or (length({cell}) = 19 and substr({cell}, 17, 1) = ':')"
    return f"coalesce(case when {plain} then try_cast({cell} as timestamp) end, {other})"


def _iso_half_day(cell: str) -> str:
    dashes = rf"regexp_replace({cell}, '^(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}),? ', '\1-\2-\3 ')"
    return _strptime(f"replace({dashes}, '.', '')", ["%Y-%m-%d"], _HALF_DAYS)


def _written(cell: str) -> str:
    """The moment without its zone: what the clock on the wall showed."""
    return _iso(f"regexp_replace({cell}, {quoted(ZONE + '$')}, '')")


def _in_order(order: str, words: str, iso: str, short: str) -> tuple[Form, ...]:
    """Dates such as 31/01/2020 and 31.1.20, and such dates among others like 2020-01-31.

    ``iso`` puts the first three groups of digits in the order of ISO, ``short`` is the date to strptime.
    """

    def long_year(cell: str) -> str:
        # By way of ISO: a cast takes a tenth of the time that strptime takes to try several formats.
        turned = rf"trim(regexp_replace({cell}, '^(\d{{1,2}})[-./] ?(\d{{1,2}})[-./] ?(\d{{4}})[, T]*', '{iso}'))"
        half_days = _strptime(rf"replace({turned}, '.', '')", ["%Y-%m-%d"], _HALF_DAYS)
        return f"case when {cell} ilike '%m' or {cell} ilike '%m.' then {half_days} else try_cast({turned} as timestamp) end"

    def short_year(cell: str) -> str:
        turned = rf"regexp_replace({cell}, '^(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{2}})[, T]*', '\1/\2/\3 ')"
        return _strptime(f"trim({turned})", [short], _WHOLE_DAYS + _HALF_DAYS)

    def either(cell: str) -> str:
        return f"coalesce({_iso(cell)}, {long_year(cell)})"

    spelled = {"as": "date", "order": order}
    both = f"dates in two forms, year-month-day and {words}"
    return (
        Form("TIMESTAMP", _LONG_YEAR, long_year, f"{words} dates", spelled | {"form": "long"}),
        Form("TIMESTAMP", _SHORT_YEAR, short_year, f"{words} dates", spelled | {"form": "short"}),
        Form("TIMESTAMP", f"{_ISO}|{_LONG_YEAR}", either, both, spelled | {"form": "mixed"}),
    )


# The beginnings that tell the months apart, in English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Swedish,
# Danish, Norwegian and Finnish; those that are alike stand once.
_MONTHS = (
    "jan janv januar gen ene sty tammi",
    "feb fév fev févr luty lut helmi",
    "mar mär mrz mars maart mrt marz maaliskuu maalis",
    "apr avr abr kwi kwie huhti",
    "may mai maj mei mag maio mayo touko",
    "jun juin giu cze kesä",
    "jul juil lug lip heinä",
    "aug aoû aou ago sie elo",
    "sep set wrz syys",
    "oct okt ott out paź paz loka",
    "nov lis marras",
    "dec dez déc dic des gru joulu",
)
_NAME = r"[A-Za-zÀ-ÿŚśŹźŻżĄąĘęŃńŁł]{3,12}[.]?"


def _month_number(name: str) -> str:
    """The SQL of the number of a month from its name, null of another word: the longest beginning that is known decides."""
    known = sorted(
        ((start, month) for month, starts in enumerate(_MONTHS, 1) for start in starts.split()),
        key=lambda pair: -len(pair[0]),
    )
    whens = " ".join(f"when starts_with({name}, {quoted(start)}) then {month}" for start, month in known)
    return f"(case {whens} end)"


def _month_name(pattern: str, day: int, month: int, year: int, form: str) -> Form:
    """Dates with the name of a month; which of the groups of ``pattern`` are the day (0 for none), the month and the year."""
    whole = rf"(?:{_NAME[:-4]}[.]?,? )?{pattern}(?:,?[ T]+({_CLOCK}{_HALF_DAY}?)(?:{ZONE})?)?"
    clock = 4 if day else 3

    def value(cell: str) -> str:
        def group(which: int) -> str:
            return f"regexp_extract({cell}, {quoted('^' + whole + '$')}, {which})"

        name = f"lower({group(month)})"
        number = f"try_cast({group(year)} as int)"
        full = f"{number} + case when length({group(year)}) > 2 then 0 when {number} < 69 then 2000 else 1900 end"
        date = f"{full} || '-' || {_month_number(name)} || '-' || {group(day) if day else quoted('1')}"
        time = f"replace({group(clock)}, ',', '.')"
        half, whole_day = f"{_half_day(time)}::time", f"try_cast({time} as time)"
        moment = f"case when {time} = '' then time '00:00' when {time} ilike '%m%' then {half} else {whole_day} end"
        return f"case when regexp_matches({cell}, {quoted('^' + whole + '$')}) then try_cast({date} as date) + ({moment}) end"

    return Form("TIMESTAMP", whole, value, "dates with month names", {"as": "date", "form": form})


def _half_day(clock: str) -> str:
    return _strptime(f"('2000-01-01 ' || replace({clock}, '.', ''))", ["%Y-%m-%d"], _HALF_DAYS)


def _duration(cell: str) -> str:
    parts = f"string_split(replace(regexp_replace({cell}, '^[+-]', ''), ',', '.'), ':')"
    hours, minutes, seconds = (f"try_cast({parts}[{i}] as double)" for i in (1, 2, 3))
    total = f"{hours} * 3600 + {minutes} * 60 + coalesce({seconds}, 0)"
    return f"(case when {cell} like '-%' then -1 else 1 end) * ({total})"


def _days(cell: str) -> str:
    clock = rf"nullif(regexp_extract({cell}, '(\d+:\d+:\d+([.,]\d+)?)$', 1), '')"
    return rf"try_cast(regexp_extract({cell}, '^(-?\d+)', 1) as double) * 86400 + coalesce({_duration(clock)}, 0)"


def _iso_duration(cell: str) -> str:
    def of(letter: str, seconds: int) -> str:
        found = rf"nullif(regexp_extract({cell}, '(\d+(?:[.,]\d+)?){letter}', 1), '')"
        return f"coalesce(try_cast(replace({found}, ',', '.') as double), 0) * {seconds}"

    return " + ".join([of("D", 86400), of("H", 3600), of("M", 60), of("S", 1)])


def _minutes(cell: str) -> str:
    return _duration(f"('0:' || {cell})")


_PART = r"\d+(?:[.,]\d+)?"
_DURATION = {"as": "duration"}
_SECONDS = "durations, as seconds"
DATES = (  # by falling preference
    Form("TIMESTAMP", _ISO, _iso, spelled={"as": "date", "form": "iso"}),
    Form("TIMESTAMP", rf"{_ISO_DAY},? {_CLOCK}{_HALF_DAY}", _iso_half_day, spelled={"as": "date", "form": "iso half day"}),
    Form("TIMESTAMP", r"\d{4}[-/]\d{2}", lambda cell: _iso(f"(replace({cell}, '/', '-') || '-01')"), "year-month dates",
         {"as": "date", "form": "month"}),
    *_in_order("day first", "day/month/year", r"\3-\2-\1 ", "%d/%m/%y"),
    *_in_order("month first", "month/day/year", r"\3-\1-\2 ", "%m/%d/%y"),
    _month_name(rf"(\d{{1,2}})[.]?(?: de)?[- /]({_NAME})(?: de)?[- /](\d{{4}}|\d{{2}})", 1, 2, 3, "day of month"),
    _month_name(rf"({_NAME})[- ](\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})", 2, 1, 3, "month day"),
    _month_name(rf"({_NAME})(?: de)?[- /](\d{{4}})", 0, 1, 2, "month of year"),
    Form("TIMESTAMP", _CLOCK, lambda cell: f"(date '1970-01-01' + try_cast(replace({cell}, ',', '.') as time))", "times of day",
         {"as": "date", "form": "clock"}),
    Form("TIMESTAMP", rf"{_CLOCK}{_HALF_DAY}",
         lambda cell: f"(date '1970-01-01' + {_half_day(cell)}::time)",
         "times of day", {"as": "date", "form": "half-day clock"}),
    Form("DOUBLE", r"[+-]?\d{1,4}:[0-5]\d:[0-5]\d([.,]\d+)?", _duration, _SECONDS, _DURATION | {"form": "clock"}),
    Form("DOUBLE", r"\d{1,4}:[0-5]\d([.,]\d+)?", _minutes, "minutes:seconds, as seconds", _DURATION | {"form": "minutes"}),
    Form("DOUBLE", r"-?\d+ ?(?:days?|d|Tage?)(?:,? [+]?\d{1,2}:\d{2}:\d{2}([.,]\d+)?)?", _days, _SECONDS,
         _DURATION | {"form": "days"}),
    Form("DOUBLE", rf"P(?:{_PART}D)?(?:T(?:{_PART}H)?(?:{_PART}M)?(?:{_PART}S)?)?", _iso_duration, _SECONDS,
         _DURATION | {"form": "iso"}),
)  # fmt: skip


def _digits(cell: str) -> str:
    day = rf"regexp_replace(substr({cell}, 1, 8), '^(....)(..)(..)$', '\1-\2-\3')"
    clock = rf"regexp_replace(rpad(substr({cell}, 9), 6, '0'), '^(..)(..)(..)$', '\1:\2:\3')"
    return f"try_cast({day} as date) + coalesce(try_cast({clock} as time), time '00:00')"


EIGHT_DIGITS = Form(
    "TIMESTAMP", DIGITS, _digits, "dates of eight digits (year, month, day)", {"as": "date", "form": "digits"}
)


def as_asked(date_format: str) -> Form:
    """Dates that are written in a format of strptime, as a person asked for."""
    return Form(
        "TIMESTAMP", "(?s:.+)", lambda cell: f"try_strptime({cell}, {quoted(date_format)})::timestamp",
        f"dates as {date_format}", {"as": "date", "format": date_format},
    )  # fmt: skip


def in_zone(offset: int | None) -> Form:
    """Moments with a zone, kept as the clock showed them there: ``offset`` minutes east of UTC, or as each is written."""

    def value(cell: str) -> str:
        if offset is None:
            return _written(cell)
        moved = f"{_iso(cell)} + interval '{offset} minutes'"
        return f"case when regexp_matches({cell}, {quoted('T?[0-9]:[0-9].*' + ZONE + '$')}) then {moved} else {_iso(cell)} end"

    where = (
        "of the place"
        if offset is None
        else f"of UTC{'+' if offset >= 0 else '−'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    )
    return Form("TIMESTAMP", _ISO, value, f"times {where}", {"as": "date", "form": "zone", "zone": offset})


def offset_of(cell: str) -> int | None:
    """How many minutes the zone of a moment is east of UTC, None where it is not said."""
    found = re.search(rf":\d{{2}}(?:[.,]\d+)?{ZONE}$", cell)
    if found is None:
        return None
    if found[1][0] not in "+-":
        return 0
    hours, minutes = int(found[1][1:3]), int(found[1].replace(":", "")[3:] or 0)
    return (-1 if found[1][0] == "-" else 1) * (60 * hours + minutes)


def same(spelled: object) -> Iterator[Form]:
    """The forms that a model file means by this, if any: nothing in it is believed."""
    if not isinstance(spelled, dict):
        return
    if isinstance(asked := spelled.get("format"), str) and len(asked) < 40:
        with contextlib.suppress(SettingsError):
            Dialect(date_format=asked)
            yield as_asked(asked)
    if spelled.get("form") == "zone" and (spelled.get("zone") is None or type(spelled["zone"]) is int):
        yield in_zone(spelled["zone"])
    if spelled.get("form") == "digits":
        yield EIGHT_DIGITS
    for form in DATES:
        one = {name: form.spelled.get(name) for name in ("as", "order", "form")}
        if spelled.get("as") == one["as"] and (
            spelled["order"] == one["order"] if spelled.get("order") else spelled.get("form") == one["form"]
        ):
            yield form
