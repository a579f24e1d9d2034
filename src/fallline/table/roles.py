"""From the sums to the role of every column: what it is used as, and why not where it is left out."""

import datetime
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.table.codes import LEAST, odd_as_quantity
from fallline.table.encoding import YEAR, Entry, alike, cut, encoded, short, spelled_boolean
from fallline.table.follows import Follows, follows
from fallline.table.sums import FEW, ColumnSums, TableSums
from fallline.words import counted, free_name, minus, written

MOST_CATEGORIES = 50
_ROW_NUMBER = re.compile(
    r"(unnamed( \d+)?|column 1"
    r"|(row |sample |record |serial |case |line |obs )?(id|ids|idx|index|nr|no|num|number)"
    r"|instant|row|rows|rownames|obs|observation|case|record)?"
)


@dataclass(frozen=True)
class ColumnUse:
    """What became of one column: its role, that in words, and the encoded columns it turned into."""

    name: str
    role: str  # "target" | "number" | "boolean" | "category" | "date" | "dropped"
    says: str
    encoded: tuple[str, ...] = ()


@dataclass
class _Input:
    """The role of one input while it is being decided."""

    role: str
    says: str
    entry: Entry | None = None  # what encoding needs; also of a dropped column, if it could be encoded

    @property
    def used(self) -> bool:
        return self.role != "dropped"

    def drop(self, why: str) -> None:
        self.role, self.says = "dropped", f"dropped: {why}"


def roles_of(
    sums: TableSums, row_numbers: np.ndarray | None, by_size: bool = True
) -> tuple[tuple[ColumnUse, ...], tuple[Entry, ...], tuple[str, ...]]:
    """The use of every column, the plan for encoding the inputs among them, and sentences on what only a person can decide.

    Messages number the rows from 1, or by ``row_numbers``. ``by_size``: a target's numbers are more or less of something, as
    those of three classes are not. Raises TableError where there is nothing to learn from.
    """
    _judge_targets(sums, row_numbers)
    inputs = {name: _judged(name, sums) for name in sums.inputs}
    _drop_row_numbers(inputs, sums)
    doubts = (*_drop_leaks(inputs, sums), *_unlike_quantities(inputs, sums, by_size))
    _name_copies(inputs, sums)
    if not inputs:
        raise TableError("The table has no column besides its targets: at least one input is needed.")
    if not any(given.used for given in inputs.values()):
        why = "; ".join(f"`{name}` {given.says}" for name, given in list(inputs.items())[:6])
        more = f"; and {len(inputs) - 6} more" if len(inputs) > 6 else ""
        raise TableError(f"No input is left to learn from: {why}{more}. Keep one of them, or add a column.")
    uses: list[ColumnUse] = []
    plan: list[Entry] = []
    taken: set[str] = set()
    for name, column in sums.columns.items():
        if name in sums.targets:
            says = "true or false" if column.kind == "boolean" else f"a number, {_range(column)}"
            says += f"; {counted(column.missing, 'row')} without it left out" * bool(column.missing)
            uses.append(ColumnUse(name, "target", says))
            continue
        given, names = inputs[name], []
        if given.used and given.entry is not None:
            if column.too_large is not None:
                raise TableError(
                    f"Column `{name}` {_too_large(column.too_large, row_numbers)}, but finite numbers are expected: "
                    "correct or empty that cell, or drop the column."
                )
            plan.append(given.entry)
            for wanted, _ in encoded(given.entry):
                names.append(free_name(wanted, taken))
                taken.add(names[-1])
        uses.append(ColumnUse(name, given.role, given.says, tuple(names)))
    return tuple(uses), tuple(plan), doubts


def _too_large(found: tuple[int, float], row_numbers: np.ndarray | None) -> str:
    row, value = found
    what = "infinite" if math.isinf(value) else f"{value:g}, too large to be squared"
    return f"is {what} in row {row if row_numbers is None else row_numbers[row - 1]}"


def _judge_targets(sums: TableSums, row_numbers: np.ndarray | None) -> None:
    """Raise TableError for a target that cannot be learned."""
    for name in sums.targets:
        column = sums.columns[name]
        if column.present == 0:
            raise TableError(f"The target `{name}` has no value in any row: choose another column.")
        if column.too_large is not None:
            raise TableError(
                f"The target `{name}` {_too_large(column.too_large, row_numbers)}, but finite numbers are expected: "
                "correct that cell, or leave the row out."
            )
    if sums.complete < 2:
        named = ", ".join(f"`{name}`" for name in sums.targets)
        raise TableError(
            f"The table has {counted(sums.complete, 'row')} with a value of {named}, but at least two are needed: add rows."
        )
    for name, values in zip(sums.targets, sums.target_values, strict=True):
        if len(values) == 1:
            raise TableError(
                f"The target `{name}` is {short(values[0])} in all {sums.complete} rows, so there is nothing to "
                "learn: choose a column whose values differ."
            )


def _range(column: ColumnSums) -> str:
    return f"{short(float(column.moments.low))} to {short(float(column.moments.high))}"


def _judged(name: str, sums: TableSums) -> _Input:
    column = sums.columns[name]
    kept, as_category = name in sums.keep, name in sums.categories
    if name in sums.drop:
        return _Input("dropped", "dropped: as asked")
    if column.present == 0:
        return _Input("dropped", "dropped: no value in any row")
    if column.kind == "date" and as_category:
        raise TableError(f"`{name}` holds dates, so it cannot be read as categories: take it out of categories.")
    if column.kind == "text" or (as_category and column.kind == "number"):
        return _judged_texts(name, column, kept or as_category)
    entry: dict[str, Any] = {"kind": column.kind, "name": name, "mean": float(column.moments.mean)}
    entry["missing"] = column.missing > 0
    if column.too_large is not None:  # refused later, if the column is used
        return _Input("number", "a number", entry)
    low, high = float(column.moments.low), float(column.moments.high)
    if column.kind == "date":
        entry |= _cycles(column, low, high)
        says, shown = f"a date, {_iso(low)} to {_iso(high)}", _iso(low)
    elif column.kind == "boolean":
        says, shown = "true or false", spelled_boolean(low)
    else:
        says, shown = f"a number, {_range(column)}", short(low)
    gaps = f"; {column.missing:,} missing" if column.missing else ""
    found = _Input(column.kind, says + gaps, entry)
    if low == high and kept:
        found.says = f"all values are {shown}{gaps}; kept as asked"
    elif low == high:
        found.drop(f"all values are {shown}{_where_there_is_one(column)}")
    return found


def _where_there_is_one(column: ColumnSums) -> str:
    return f" where there is one ({counted(column.missing, 'row')} without)" if column.missing else ""


def _iso(days: float) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=days)
    return moment.date().isoformat() if days == math.floor(days) else moment.isoformat(" ", "seconds")


def _cycles(column: ColumnSums, low: float, high: float) -> Entry:
    """Which cycles of a date can be learned: those that the rows have gone around most of."""
    weekdays = np.flatnonzero(column.weekdays).tolist()
    return {
        "origin": float(math.floor(low)),
        "year": high - low > 0.75 * YEAR,
        "weekdays": weekdays if high - low >= 14 and len(weekdays) > 1 else [],
        "clock": bool(column.clock.low < column.clock.high),
    }


def _judged_texts(name: str, column: ColumnSums, asked_for: bool) -> _Input:
    found = _Input("category", "")
    texts, present = column.texts, column.present
    many = "more than " if column.more_texts else ""
    ranked = sorted(texts, key=lambda text: (-texts[text], text))
    # A category of one row tells that row only; below 1 % of the rows ten of them are wanted.
    enough = min(10.0, max(2.0, 0.01 * column.rows))
    # One text and enough empty cells are a mark such as "x": two categories.
    if len(texts) == 1 and not asked_for and min(present, column.missing) < enough:
        found.drop(f"all values are '{cut(ranked[0])}'{_where_there_is_one(column)}")
        return found
    pair = len(texts) == 2 and not column.more_texts
    frequent = [text for text in ranked if texts[text] >= enough or pair][:MOST_CATEGORIES]
    if not asked_for:
        told = sum(texts[text] for text in frequent)
        if told < 0.05 * present or (len(texts) > 2 and len(texts) > 0.5 * present):
            different = counted(len(texts), "different text")
            found.drop(f"identifier or free text: {many}{different} in {counted(present, 'row')}")
            return found
        if present < 0.5 * column.rows and _sentences(texts):
            found.drop(f"remarks in {counted(present, 'row')} of {column.rows:,}")
            return found
    categories = sorted(frequent or ranked[:MOST_CATEGORIES], key=_in_order)
    rare, missing = len(texts) - len(categories), column.missing > 0
    entry: dict[str, Any] = {"kind": "category", "name": name, "categories": categories}
    entry |= {"other": bool(rare or column.more_texts), "missing": missing}
    if exact := alike(categories, texts):
        entry["exact"] = exact
    if pair and not missing:
        entry["share"] = texts[categories[1]] / present
    found.entry = entry
    found.says = counted(len(categories), "category", "categories")
    if len(categories) <= 4:
        found.says += ": " + ", ".join(cut(text, 40 if "share" in entry else 24) for text in categories)
    if entry["other"]:
        found.says += f"; {many}{counted(rare, 'rare one')} together as other"
    if missing:
        found.says += f"; {column.missing:,} missing, a category of its own"
    return found


def _sentences(texts: Mapping[str, int]) -> bool:
    """Whether the texts are remarks: on average over the rows, four words and twenty letters."""
    rows = sum(texts.values())
    words = sum((text.count(" ") + 1) * count for text, count in texts.items())
    return words >= 4 * rows and sum(len(text) * count for text, count in texts.items()) >= 20 * rows


def _in_order(text: str) -> tuple[int, float, str]:
    """Numbers by size, then texts by letter."""
    try:
        return (0, float(text), text) if math.isfinite(float(text)) else (1, 0.0, text)
    except ValueError:
        return (1, 0.0, text)


def _drop_row_numbers(inputs: Mapping[str, _Input], sums: TableSums) -> None:
    numbers = []
    for name, given in inputs.items():
        column = sums.columns[name]
        words = " ".join(re.split(r"[\W_]+", name.strip().lower())).strip()
        free = given.role == "number" and name not in sums.keep
        if free and column.like_row_numbers and _ROW_NUMBER.fullmatch(words):
            numbers.append(name)
    if any(given.used and name not in numbers for name, given in inputs.items()):
        for name in numbers:
            inputs[name].drop(f"row number, {_range(sums.columns[name])}")


def _drop_leaks(inputs: Mapping[str, _Input], sums: TableSums) -> tuple[str, ...]:
    """Drop inputs that are parts of a target; give sentences on those that the target follows from otherwise."""
    names = list(inputs)
    told: dict[str, str] = {}
    known: list[tuple[int, frozenset[int]]] = []
    for (target, terms), rows in sorted(sums.leaks.found().items(), key=lambda item: len(item[0][1])):
        members = frozenset(i for i, _ in terms)
        named = [(names[i], sign) for i, sign in terms]
        # A handful of rows, or of values, can add up by chance.
        by_chance = rows < 10 or (len(terms) > 1 and len(sums.target_values[target]) < FEW)
        if by_chance or any(inputs[name].role not in ("number", "boolean") for name, _ in named):
            continue
        if any(goal == target and part < members for goal, part in known):
            continue
        known.append((target, members))
        for name, _ in named:
            told.setdefault(name, _relation(named, sums.targets[target]))
    left = [i for i, name in enumerate(names) if inputs[name].role in ("number", "boolean") and name not in told]
    found = follows(sums.sample.rows[:, : len(names)], sums.sample.rows[:, len(names) :], left)
    for each in found:
        parts = [(names[i], times) for i, times in each.terms]
        for name, _ in parts if each.certain else ():
            told.setdefault(name, _relation(parts, sums.targets[each.target]))
    others = any(given.used and (name not in told or name in sums.keep) for name, given in inputs.items())
    for name, relation in told.items():
        if name in sums.keep:
            inputs[name].says += f"; kept as asked, although {relation}"
        elif others:
            inputs[name].drop(f"leaks the target, {relation}")
        else:
            inputs[name].says += f"; {relation}, kept because no other input is left"
    used = {name for name, given in inputs.items() if given.used}
    doubts = {each: [names[i] for i, _ in each.terms] for each in found if not each.certain}
    return tuple(
        _doubt(each, members, sums)
        for each, members in doubts.items()
        # What all inputs together say of the target is what there is to learn.
        if used - set(members) and sums.keep.isdisjoint(members)
    )


def _doubt(relation: Follows, members: Sequence[str], sums: TableSums) -> str:
    """That a target follows from inputs, and how to leave these out."""
    target = f"`{sums.targets[relation.target]}`"
    rows = counted(relation.rows, "row") + " drawn at random" * (relation.rows < sums.complete)
    if relation.kind == "ranks":
        same = "as" if relation.constant > 0 else "backwards, as"
        correlation = minus(f"{relation.constant:.5f}")
        says = f"`{members[0]}` sorts the rows {same} {target} does (rank correlation {correlation} in {rows})"
    else:
        says = f"{target} is {_formula(relation, members)} in {rows}, within rounding"
    known, them = ("it is", "it") if len(members) == 1 else ("these are", "them")
    options = " ".join(f"--drop {shlex.quote(name)}" for name in members)
    return f"{says}. Where {known} known only when {target} is, leave {them} out: {options}."


def _formula(relation: Follows, members: Sequence[str]) -> str:
    """The right-hand side of a product or a sum: "100 · `a` / `b`", "2 `a` − 0.5 `b` + 3"."""
    constant = relation.constant
    terms = [(f"`{name}`", times) for name, (_, times) in zip(members, relation.terms, strict=True)]
    if relation.kind == "product":
        above = [short(constant)] * (abs(constant - 1) > 1e-3) + [name for name, power in terms if power > 0]
        return " · ".join(above) + "".join(f" / {name}" for name, power in terms if power < 0)
    if constant:
        terms.append(("", constant))
    shown = [(short(abs(times)), name, "−" if times < 0 else "+") for name, times in terms]
    parts = [f"{sign} {name if times == '1' and name else f'{times} {name}'.strip()}" for times, name, sign in shown]
    return " ".join(parts).removeprefix("+ ")


def _unlike_quantities(inputs: Mapping[str, _Input], sums: TableSums, by_size: bool) -> Iterator[str]:
    """A sentence on each column of whole numbers that numbers the rows, or whose numbers are codes, as it seems."""
    free = [name for name, given in inputs.items() if given.role == "number" and name not in sums.keep]
    for name in free:
        column, option, x = sums.columns[name], shlex.quote(name), sums.sample.rows[:, sums.inputs[name]]
        if column.in_order and len(free) > 1 and len(np.unique(x)) >= 0.95 * len(x):
            way = "rises" if column.rises > column.falls else "falls"
            yield (
                f"`{name}` {way} from row to row, {_range(column)}, and has hardly a number twice. Where it only says which row "
                f"it is, leave it out: --drop {option}."
            )
        elif column.whole and by_size:
            y = sums.sample.rows[:, len(inputs) :]
            p, j = min((odd_as_quantity(x, values), j) for j, values in enumerate(y.T))
            if p <= LEAST:
                yield (
                    f"The mean of `{sums.targets[j]}` goes up and down with `{name}` as with no quantity (p = {written(p, 2)}). "
                    f"Where its numbers are codes, read them as categories: --category {option}."
                )


def _relation(terms: Sequence[tuple[str, float]], target: str) -> str:
    if len(terms) == 1:
        [(name, sign)] = terms
        return f"`{name}` {'equals' if sign > 0 else 'is minus'} `{target}`"
    ordered = sorted(terms, key=lambda term: -term[1])
    text = " ".join(f"{'+' if sign > 0 else '−'} `{name}`" for name, sign in ordered).removeprefix("+ ")
    return f"{text} {'add up to' if all(sign > 0 for _, sign in terms) else 'is'} `{target}`"


def _name_copies(inputs: Mapping[str, _Input], sums: TableSums) -> None:
    seen: dict[int, str] = {}
    for name, given in inputs.items():
        if given.role in ("number", "boolean"):
            first = seen.setdefault(sums.columns[name].fingerprint, name)
            if first != name:
                given.says += f"; a copy of `{first}`"
