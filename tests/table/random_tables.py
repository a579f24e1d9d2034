"""Random tables in random dialects, and the verdict on how ``read_table`` read one.

A table is made of values first; how people write such values, and what stands around the rows, is drawn after that. So its right
reading is known without reading it. ``benchmarks/dialects.py`` runs many, ``test_dialects.py`` some.
"""

import csv
import datetime
import io
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fallline.exceptions import TableError
from fallline.table.read import read_table

NBSP, THIN = "\u00a0", "\u202f"
NAMES = (
    "temp", "Flow rate", "power_kW", "Menge", "x1", "x2", "y", "Größe", "prix", "Umsatz", "id", "day", "Druck (bar)", "site",
    "Temp [°C]", "n", "target", "kind", "Δp", "année", "measured at", "A", "B", "C", "price", "weight", "Betrag", "kWh",
)  # fmt: skip
WORDS = (
    "ash", "oak", "red", "blue", "Zürich", "Malmö", "north", "south", "left", "right", "type A", "type B", "São Paulo", "high",
    "low", "beech", "Smith & Sons", "O'Neill", "pump 3", "sensor-7", "Ja", "Nein", "a/b", "première", "none",
)  # fmt: skip
AWKWARD = ("Smith, John", 'the "old" one', "a; b", "one | two", "two\nlines", "x\ty")
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "en short": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
}
DATES = (  # the date, its sign between the parts, and whether --date-format can say it
    "{Y}-{m}-{d}", "{Y}/{m}/{d}", "{Y}{m}{d}", "{d}.{m}.{Y}", "{d}/{m}/{Y}", "{m}/{d}/{Y}", "{d}-{m}-{Y}", "{d}.{m}.{y}",
    "{m}/{d}/{y}", "{d}/{m}/{y}", "{j}.{n}.{Y}", "{n}/{j}/{Y}", "{d} {B} {Y}", "{d}-{b}-{Y}", "{B} {j}, {Y}", "{j}. {D} {Y}",
    "{j} {F} {Y}", "{j} de {S} de {Y}", "{d} {I} {Y}", "{d}-{b}-{y}",
)  # fmt: skip
FORMAT = {"Y": "%Y", "y": "%y", "m": "%m", "d": "%d", "j": "%d", "n": "%m", "B": "%B", "b": "%b"}
CLOCKS = ("", "", "", " %H:%M", " %H:%M:%S", " %I:%M %p")
MISSING = ("", "", "", "NA", "n/a", "NaN", "null", "-", "?", "#N/A", "NULL", ".")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be")
NOTES_BEFORE = ("Report of station 12", "logger 4", "exported by the lab", "Messung vom Labor", "2nd series", "Q3")
SOURCES = ("Source: meter 4", "* provisional", "Quelle: Labor", "Note: corrected in May")


@dataclass
class Made:
    """A table as it is written, what it means, and all that a person could say of it."""

    content: bytes
    columns: dict[str, list]
    options: dict[str, object]
    kinds: list[str] = field(default_factory=list)


def _number(value: int, decimals: int, how: dict) -> str:
    """value / 10^decimals in letters."""
    digits = str(abs(value)).zfill(decimals + 1)
    whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    if how["thousands"] == "indian" and len(whole) > 3:
        head, tail = whole[:-3], whole[-3:]
        whole = ",".join([*re.findall(r"\d{1,2}(?=(?:\d\d)*$)", head), tail])
    elif how["thousands"] and how["thousands"] != "indian":
        whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", how["thousands"], whole)
    return whole + (how["decimal"] + part if decimals else "")


def _signed(text: str, negative: bool, style: str, before: str = "", after: str = "") -> str:
    if not negative:
        return f"{before}{text}{after}"
    return {
        "-": f"-{before}{text}{after}",
        "−": f"−{before}{text}{after}",
        "trailing": f"{before}{text}{after}-",
        "parentheses": f"({before}{text}{after})",
    }[style]


def _numbers(rng: random.Random, rows: int, how: dict) -> tuple[list, list[str], str]:
    kind = rng.choice(("whole", "whole", "large", "decimals", "decimals", "three", "percent", "money", "unit", "years"))
    decimals = {"decimals": rng.choice((1, 2, 4, 5)), "three": 3, "percent": rng.choice((0, 1)), "money": rng.choice((0, 2, 2)),
                "unit": rng.choice((0, 1, 2))}.get(kind, 0)  # fmt: skip
    most = {"whole": 999, "large": 9_999_999, "percent": 1500 * 10**decimals, "years": 2024}.get(
        kind, rng.choice((99, 9_999, 999_999)) * 10**decimals
    )
    least = 1990 if kind == "years" else 0
    values = [rng.randint(least, most) for _ in range(rows)]
    if kind != "years" and rng.random() < 0.4:
        values = [value if rng.random() < 0.7 else -value for value in values]
    before = rng.choice(("$", "€", "£", "CHF ", "USD ", "")) if kind == "money" else ""
    after = "" if before else {"percent": rng.choice(("%", " %")), "money": rng.choice((" €", " EUR", "€")),
                               "unit": rng.choice((" kg", "°", " °C", "kWh", " m/s"))}.get(kind, "")  # fmt: skip
    style = how["negative"]
    own = {**how, "thousands": ""} if kind == "years" else how
    texts = [_signed(_number(value, decimals, own), value < 0, style, before, after) for value in values]
    return [float(f"{value}e-{decimals}") for value in values], texts, f"{kind} {decimals}"


def _dates(rng: random.Random, rows: int, how: dict) -> tuple[list, list[str], str]:
    form, clock, zone = how["date"], how["clock"], how["zone"]
    start = datetime.datetime(rng.randint(1995, 2025), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), 0)
    step = rng.choice(("days", "weeks", "months", "drawn", "drawn"))
    moments = []
    for i in range(rows):
        if step == "months":
            month = start.month - 1 + i
            moments.append(start.replace(year=start.year + month // 12, month=month % 12 + 1, day=min(start.day, 28)))
        else:
            far = {"days": i, "weeks": 7 * i}.get(step, rng.randint(0, 1500))
            moments.append(start + datetime.timedelta(days=far, minutes=rng.randint(0, 59) if clock else 0))
    if step != "drawn" and rng.random() < 0.3:
        moments.reverse()
    elif step == "drawn" and rng.random() < 0.5:
        moments.sort()

    def text(moment: datetime.datetime) -> str:
        parts = {"Y": f"{moment:%Y}", "y": f"{moment:%y}", "m": f"{moment:%m}", "d": f"{moment:%d}", "j": str(moment.day),
                 "n": str(moment.month)}  # fmt: skip
        for letter, language in zip("BbDFSI", MONTHS, strict=True):
            parts[letter] = MONTHS[language].split()[moment.month - 1]
        return form.format(**parts) + moment.strftime(clock) + zone

    if "{y}" in form:
        moments = [moment.replace(year=min(moment.year, 2025), day=min(moment.day, 28)) for moment in moments]
    texts = [text(moment) for moment in moments]
    if not clock:
        moments = [moment.replace(hour=0, minute=0) for moment in moments]
    return moments, texts, f"date {form}{clock}{zone}"


def _column(rng: random.Random, rows: int, how: dict, kind: str) -> tuple[list, list[str], str]:
    if kind == "number":
        return _numbers(rng, rows, how)
    if kind == "date":
        return _dates(rng, rows, how)
    if kind == "text":
        few = rng.sample(WORDS, rng.randint(2, 6)) + how["awkward"]
        texts = [rng.choice(few) for _ in range(rows)]
        return list(texts), texts, "text"
    if kind == "code":
        texts = [f"{rng.randint(0, 9999):05}" for _ in range(rows)]
        return list(texts), texts, "code"
    if kind == "boolean":
        flags = [rng.random() < 0.5 for _ in range(rows)]
        return flags, [rng.choice(how["booleans"])[not flag] for flag in flags], "boolean"
    if kind == "clock":
        minutes = [rng.randrange(24 * 60) for _ in range(rows)]
        moments = [datetime.datetime(1970, 1, 1) + datetime.timedelta(minutes=m) for m in minutes]
        return moments, [f"{m:%H:%M}" for m in moments], "clock"
    seconds = [rng.randrange(400_000) for _ in range(rows)]
    seconds[rng.randrange(rows)] = 90_000 + rng.randrange(300_000)
    return [float(s) for s in seconds], [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in seconds], "duration"


def random_table(seed: int) -> Made:
    """The table of this seed."""
    rng = random.Random(seed)
    rows = rng.choice((3, 4, 6, 9, 12, 16, 24, 30, 60))
    separator = rng.choices((",", ";", "\t", "|", " "), (5, 4, 3, 1, 1))[0]
    decimal = rng.choices((".", ","), (5, 4 if separator != "," else 1))[0]
    thousands = rng.choice(
        ("", "", "", ",", "indian", "'", " ", NBSP) if decimal == "." else ("", "", "", ".", "'", NBSP, THIN)
    )
    how = {
        "decimal": decimal, "thousands": thousands, "negative": rng.choice(("-", "-", "-", "−", "trailing", "parentheses")),
        "date": rng.choice(DATES), "clock": rng.choice(CLOCKS), "zone": "",
        "awkward": rng.sample(AWKWARD[: -2 if separator == " " else None], 2) * (rng.random() < 0.25),
        "booleans": [rng.choice((("true", "false"), ("TRUE", "FALSE"), ("True", "False")))],
    }  # fmt: skip
    if how["date"] == "{Y}-{m}-{d}" and how["clock"].startswith(" %H") and rng.random() < 0.5:
        how["zone"] = rng.choice(("Z", "+02:00", "-05:00", "+05:30"))
        how["clock"] = "T%H:%M:%S"
    if how["date"] == "{Y}{m}{d}":
        how["clock"] = ""
    wanted = ["number", *rng.choices(("number", "date", "text", "code", "boolean", "clock", "duration"), (8, 4, 3, 1, 1, 1, 1),
                                     k=rng.randint(1, 5))]  # fmt: skip
    rng.shuffle(wanted)
    names = rng.sample(NAMES, len(wanted))
    columns, cells, kinds = {}, [], []
    mark = rng.choice(MISSING)
    for name, kind in zip(names, wanted, strict=True):
        values, texts, what = _column(rng, rows, how, kind)
        gaps = rng.choice((0.0, 0.0, 0.1, 0.25))
        for i in range(rows):
            if rng.random() < gaps and sum(value is not None for value in values) > max(2, rows // 2):
                values[i], texts[i] = None, mark
        columns[name] = values
        cells.append(texts)
        kinds.append(what)
    return _written(rng, how, separator, columns, cells, kinds)


def _written(rng: random.Random, how: dict, separator: str, columns: dict, cells: list, kinds: list) -> Made:
    """The text of the table, with what stands around its rows, in some encoding."""
    names = list(columns)
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    lines = io.StringIO()
    writer = csv.writer(lines, delimiter=separator, lineterminator="\n", quoting=quoting)
    options: dict[str, object] = {"delimiter": separator, "decimal": how["decimal"], "skip": 0, "header": 1}
    options["thousands"] = "," if how["thousands"] == "indian" else how["thousands"]
    if not re.search("{[DFSI]}", how["date"]):
        date = re.sub(r"{(\w)}", lambda found: FORMAT[found[1]], how["date"]) + how["clock"]
        options["date_format"] = date if not how["zone"] else None
    structure = rng.choices(
        (
            "plain",
            "no header",
            "preamble",
            "comment",
            "sep",
            "units",
            "two lines",
            "total",
            "footnote",
            "trailing",
            "row names",
        ),
        (12, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1),
    )[0]
    rows = [list(row) for row in zip(*cells, strict=True)]
    if structure == "no header" and all(values[0] is None for values in columns.values()):
        structure = "plain"  # above all rows, one without any value is an empty line
    head: list[list[str]] = [names]
    if separator == " " and structure in ("trailing", "footnote", "two lines", "units"):
        structure = "plain"  # not told from words between blanks
    if structure == "no header":
        head, options["header"] = [], 0
        columns = {f"column_{i + 1}": values for i, values in enumerate(columns.values())}
    elif structure == "preamble":
        before = rng.sample(NOTES_BEFORE, rng.randint(1, 3)) + [""] * (rng.random() < 0.5)
        lines.write("".join(f"{line}\n" for line in before))
        options["skip"] = len(before)
    elif structure == "comment":
        lines.write("".join(f"# {line}\n" for line in rng.sample(NOTES_BEFORE, 2)))
        options["skip"] = 2
    elif structure == "sep":
        lines.write(f"sep={separator}\n")
        options["skip"] = 1
    elif structure == "units":
        units = [rng.choice(("kg", "m", "kWh", "°C", "mm", "m/s")) if what[:4] in ("whol", "larg", "deci", "thre") else ""
                 for what in kinds]  # fmt: skip
        if sum(map(bool, units)) >= 1:
            head, options["header"] = [names, units], 2
    elif structure == "two lines":
        groups = [rng.choice(("inlet", "outlet")) if i else "" for i in range(len(names))]
        if len(names) > 2:
            head, options["header"] = [groups, names], 2
            columns = {" ".join(filter(None, dict.fromkeys((_carried(groups, i), name)))): values
                       for i, (name, values) in enumerate(columns.items())}  # fmt: skip
    elif structure == "total":
        label = next((i for i, what in enumerate(kinds[:1]) if what == "text"), None)
        if label is not None:
            rows.append(_total(rng, how, columns, kinds))
    elif structure == "trailing":
        rows = [[*row, ""] for row in rows]
        if rng.random() < 0.5 and head:
            head = [[*names, ""]]
            columns = {**columns, f"column_{len(names) + 1}": [None] * len(cells[0])}
    elif structure == "row names":
        rows = [[str(i + 1), *row] for i, row in enumerate(rows)]
        columns = {"rownames": [float(i + 1) for i in range(len(rows))], **columns}
    if separator == " ":
        rows = [[cell or "NA" for cell in row] for row in rows]  # nothing shows a gap between blanks
        head = [[cell or "-" for cell in line] for line in head]
    writer.writerows(head)
    writer.writerows(rows)
    if structure == "footnote" and len(names) > 2:
        lines.write(rng.choice(SOURCES) + "\n")
    text = lines.getvalue()
    ends = rng.choice(("\n", "\n", "\r\n", "\r"))
    if rng.random() < 0.1:
        text = text.rstrip("\n")
    encoding = rng.choice(ENCODINGS)
    try:
        content = text.replace("\n", ends).encode(encoding)
    except UnicodeEncodeError:
        encoding = "utf-8"
        content = text.replace("\n", ends).encode(encoding)
    return Made(content, columns, options, [structure, encoding, repr(ends), *kinds])


def _carried(groups: list[str], i: int) -> str:
    return next((group for group in reversed(groups[: i + 1]) if group), "")


def _total(rng: random.Random, how: dict, columns: dict, kinds: list[str]) -> list[str]:
    cells = []
    for i, (values, what) in enumerate(zip(columns.values(), kinds, strict=True)):
        word, _, decimals = what.partition(" ")
        if i == 0:
            cells.append(rng.choice(("Total", "Summe", "Sum")))
        elif word in ("whole", "large", "decimals", "three", "years"):
            places = int(decimals)
            total = sum(round(value * 10**places) for value in values if value is not None)
            cells.append(_signed(_number(total, places, how), total < 0, how["negative"]))
        else:
            cells.append("")
    return cells


def agrees(found: np.ndarray, right: list) -> bool:
    """Whether a column as it was read has these values, None where nothing was recorded."""
    if len(found) != len(right):
        return False
    for a, b in zip(found.tolist(), right, strict=True):
        missing = a is None or a != a
        if b is None or missing:
            if not (b is None and missing):
                return False
        elif type(a) is not type(b):
            return False
        elif isinstance(b, float):
            if abs(a - b) > 1e-12 * abs(b):
                return False
        elif a != b:
            return False
    return True


def wrong_columns(table, columns: dict[str, list]) -> list[str]:
    """The columns that were not read as they are meant, by name; "" where names are not those of the table."""
    if list(table.columns) != list(columns):
        return [""]
    return [name for name, right in columns.items() if not agrees(table.columns[name], right)]


def verdict(made: Made, path: Path) -> tuple[str, str]:
    """ "right", "doubt said", "refused" or "wrong in silence", and why."""
    path.write_bytes(made.content)
    given: dict[str, object] = {}
    said: list[str] = []
    for _ in range(8):
        try:
            table = read_table(path, **given)
        except TableError as problem:
            sentence, table, wrong = str(problem), None, [""]
        else:
            wrong = wrong_columns(table, made.columns)
            sentence = " ".join(
                doubt for doubt in (*table.doubts, *table.remarks)
                if wrong == [""] or any(f"`{name}`" in doubt for name in wrong) or "`" not in doubt
            )  # fmt: skip
        if not wrong:
            return ("refused" if "!" in said else "doubt said" if said else "right"), ""
        more = [name.replace("-", "_") for name in re.findall(r"--([a-z]+(?:-[a-z]+)?)", sentence)]
        known = {name: made.options[name] for name in more if made.options.get(name) is not None and name not in given}
        if not known:
            if "take it out" in sentence:
                return "doubt said", ""
            broken = (
                sentence
                if table is None
                else f"{wrong}: {[(n, table.columns[n].tolist()[:6], made.columns[n][:6]) for n in wrong if n]}"
            )
            return (
                "wrong in silence" if table is not None or given else "refused",
                f"given {given}: {broken} {sentence}"[:900],
            )
        given |= known
        said.append("!" if table is None else "?")
    return "wrong in silence", f"given {given}"
