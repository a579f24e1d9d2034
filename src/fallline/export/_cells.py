"""From the cells of one row to inputs, and from outputs to probabilities, in plain Python: copied into exported modules.

A test holds it against ``table/encoding.py`` and ``fit/simplex.py``, which do the same for whole columns.
"""

import datetime
import hashlib
import math
import re
import unicodedata
from typing import Any


def encoded(column: dict[str, Any], cell: Any) -> list[float]:
    """The inputs that a column becomes, for the value of one row."""
    missing = cell is None or cell == "" or cell != cell
    kind = column["kind"]
    if kind == "category":
        return _category(column, None if missing else _key(cell))
    if kind == "date":
        found = _date(column, None if missing else cell)
    else:
        found = [column["mean"] if missing else _number(column["name"], cell)]
    return found + [float(missing)] * column["missing"]


def _number(name: str, cell: Any) -> float:
    if isinstance(cell, str) and cell.lower() in ("true", "false"):
        return float(cell.lower() == "true")
    value = float(cell)
    if not abs(value) <= 1e120:
        raise ValueError(f"{name} is {cell!r}, but a finite number is expected")
    return value


def _key(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, (int, float)):
        value = float(cell)
        return str(int(value)) if value == math.floor(value) and abs(value) < 2.0**53 else repr(value)
    if len(cell) > 120:
        return f"{cell[:80]}… {hashlib.blake2b(cell.encode(errors='replace'), digest_size=8).hexdigest()}"
    return cell


def _category(column: dict[str, Any], key: Any) -> list[float]:
    """1 for the category of the cell, 0 for all others; a spelling that can only be one category is that one."""
    categories = column["categories"]
    if key is not None and key not in categories:
        loose = [_loosely(category) for category in categories]
        sought = _loosely(key)
        alike = [i for i, name in enumerate(loose) if name == sought]
        certain = len(alike) == 1 and categories[alike[0]] not in column.get("exact", ())
        key = categories[alike[0]] if certain else False
    if "share" in column:
        return [float(key == categories[1]) if key else column["share"]]
    found = [float(key == category) for category in categories]
    found += [float(key is False)] * column["other"]
    return found + [float(key is None)] * column["missing"]


def _loosely(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold()).split())
    whole = re.fullmatch(r"[+]?(-?)0*([0-9]+)([.]0*)?", text)
    return "".join(whole.group(1, 2)) if whole else text


def _date(column: dict[str, Any], cell: Any) -> list[float]:
    """Days since the first date, and the time of the year, the day of the week and the time of day where they are inputs."""
    cycles = 2 * column["year"], len(column["weekdays"]), 2 * column["clock"]
    if cell is None:
        return [column["mean"] - column["origin"]] + [0.0] * sum(cycles)
    if isinstance(cell, str):
        cell = datetime.datetime.fromisoformat(cell)
    if not isinstance(cell, datetime.datetime):
        cell = datetime.datetime(cell.year, cell.month, cell.day)
    since = cell.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)
    days = since.days + (since.seconds + since.microseconds / 1e6) / 86400
    found = [days - column["origin"]]
    if column["year"]:
        angle = 2 * math.pi * days / 365.2425
        found += [math.sin(angle), math.cos(angle)]
    found += [float((since.days + 3) % 7 == day) for day in column["weekdays"]]
    if column["clock"]:
        angle = 2 * math.pi * (days - math.floor(days))
        found += [math.sin(angle), math.cos(angle)]
    return found


def probabilities(outputs: list[float]) -> list[float]:
    """The point of the simplex nearest to the outputs: nothing below 0, and 1 in all."""
    if len(outputs) == 1:
        second = min(max(outputs[0], 0.0), 1.0)
        return [1.0 - second, second]
    top = max(outputs)
    moved = [value - top for value in outputs]
    total, over = 0.0, 0.0
    for count, value in enumerate(sorted(moved, reverse=True), 1):
        total += value
        if value > (total - 1) / count:
            over = (total - 1) / count
    return [max(value - over, 0.0) for value in moved]
