"""Which rows of a table train, which are held out, and how the rows of a saved model are found again.

Tables in, arrays out. How a file is read is ``table/``'s business, how weights move is nobody's here.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError, TableError
from fallline.fit.division import in_proportion
from fallline.fit.figures import figures_of
from fallline.fit.simplex import one_hot
from fallline.model_file import SavedModel
from fallline.table.classes import Class, class_names, class_numbers, classes_of
from fallline.table.columns import Columns
from fallline.table.encoded import EncodedRows, Which, columns_of
from fallline.table.encoding import Values, cut
from fallline.table.sample import drawn
from fallline.table.stores import address_of
from fallline.table.stream import StreamedTable
from fallline.table.sums import check_there
from fallline.table.table import Table
from fallline.words import counted, listed, percent, written

BY_NUMBER = "by row number"  # how a streamed table was divided
_FEW_ROWS = 100_000  # that stand for a table which does not fit in memory


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table made ready: which rows train, which are held out, and what became of each column.

    x (n, inputs) and y (n, outputs) of the training rows; held_x, held_y of the held-out rows, if any. Of a target that is
    told by classes, y are columns of 0 and 1.
    ``numbers`` (n,) and ``held_numbers`` say which rows of their tables these are, counted from 1.
    ``left_out`` rows had no target. ``source`` says in words where the held-out rows come from, ``holdout`` how to
    divide the rows of this table again: a share, "last", or 0 where the held-out rows are a table of their own. ``said`` are
    sentences on how the file was read, ``reading`` is that for a program.
    """

    name: str
    columns: Columns
    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    left_out: int
    source: str
    notes: dict[str, str]
    holdout: float | str = 0.0
    said: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    numbers: np.ndarray = field(default_factory=lambda: np.arange(0))
    held_numbers: np.ndarray = field(default_factory=lambda: np.arange(0))

    @property
    def rows(self) -> int:
        """How many rows train."""
        return len(self.x)

    @property
    def held_rows(self) -> int:
        """How many rows are held out."""
        return len(self.held_x)


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedPrepared(Prepared):
    """A table made ready that need not fit in memory: ``train`` and ``held`` give its rows at every pass.

    The arrays hold some of the rows, drawn at random; ``counts`` says how many train and how many are held out.
    """

    train: EncodedRows
    held: EncodedRows | None
    counts: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        return self.counts[0]

    @property
    def held_rows(self) -> int:
        return self.counts[1]


def prepare(
    table: Table, targets: Sequence[str], *, holdout: float | str | Table = 0.2, seed: int = 0, **asked: Sequence[str]
) -> Prepared:
    """Divide the rows and turn the columns into numbers.

    holdout: the share of rows held out at random, ``"last"`` for the last fifth in file order, or a table of its
    own. Columns are judged, encoded and filled by the training rows alone; ``asked`` of them is what ``Columns.fit`` takes:
    ``drop``, ``keep``, ``categories``. A single target of texts, of true and false, or of two numbers is told by classes, which
    a random part holds in proportion; so are the numbers of a target among the ``categories``. Raises TableError or
    SettingsError.
    """
    complete = _rows_to_fit(table, targets)
    classes, asked = _classes(table, targets, asked)
    if isinstance(holdout, Table):
        held = _rows_with(holdout, targets, "held-out rows are judged by it", "hold out other rows")
        train, other, source = complete, holdout, f"all of {holdout.name}"
    else:
        number = _class_of_each(table, complete, targets, classes)
        order, n_held, source = _division(len(complete), holdout, seed, number)
        train, other, held = complete[np.sort(order[n_held:])], table, complete[np.sort(order[:n_held])]
        if number is not None:
            classes = tuple(classes[at] for at in np.unique(number[order[n_held:]]))
    if len(classes) == 1:
        raise TableError(
            f"All training rows have the class '{class_names(classes)[0]}' of `{targets[0]}`, so there is nothing to tell apart: "
            "hold out rows at random."
        )
    divided = 0.0 if isinstance(holdout, Table) else holdout
    return _made_ready(table, targets, train, other, held, source, {**asked, "classes": classes}, divided)


def prepare_folds(
    table: Table, targets: Sequence[str], folds: int, *, seed: int = 0, **asked: Sequence[str]
) -> tuple[Prepared, tuple[Callable[[], Prepared], ...]]:
    """All rows, and what makes each of so many ``folds`` ready: its rows are held out, the others train, drawn at random.

    Columns are judged anew by the rows that train in each fold. ``asked`` is as for ``prepare``. Raises TableError where there
    are too few rows for so many folds, SettingsError for fewer than two and for a target that is told by classes.
    """
    complete = _rows_to_fit(table, targets)
    if _classes(table, targets, asked)[0]:
        raise SettingsError(
            f"`{targets[0]}` is told by classes, and folds judge predictions of numbers only: hold out rows instead, as "
            "--holdout 0.2 does."
        )
    n = len(complete)
    if folds < 2:
        raise SettingsError(f"{folds} folds are not possible: at least 2 are needed, such as 5 or 10.")
    if folds > n or n - -(-n // folds) < 2:
        many = "more rows" if n < 3 else f"{n} folds" if folds < n else f"at most {n} folds"
        raise TableError(
            f"{table.name} has {counted(n, 'row')} with a target, too few for {folds} folds, each of which holds out one row or "
            f"more and leaves two or more to fit: give {many}."
        )
    parts = [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(n), folds)]
    source = f"{folds} folds at random, seed {seed}"

    def fold(part: np.ndarray) -> Prepared:
        return _made_ready(table, targets, np.delete(complete, part), table, complete[part], source, asked)

    nothing = np.arange(0)
    whole = _made_ready(table, targets, complete, table, nothing, source, asked)
    return whole, tuple(functools.partial(fold, part) for part in parts)


def prepare_streamed(
    table: StreamedTable,
    targets: Sequence[str],
    *,
    holdout: float | str | StreamedTable = 0.2,
    seed: int = 0,
    **asked: Sequence[str],
) -> StreamedPrepared:
    """As ``prepare``, in one pass over a table that need not fit in memory; its arrays are empty.

    A share is held out at random by the number of each row: about so many. Raises SettingsError for a target of classes.
    """
    train, held, source = _parts_of_stream(table, targets, holdout, seed)
    _must_be_numbers(table, targets, asked.get("categories", ()))
    columns = columns_of(table, targets, train, **asked)
    kept = None
    if isinstance(holdout, StreamedTable):
        columns.check(holdout.columns)
        kept = EncodedRows(holdout, columns)
    elif held is not None:
        kept = EncodedRows(table, columns, held)
    x, y = np.empty((0, len(columns.encoded_names))), np.empty((0, columns.outputs))
    divided = 0.0 if isinstance(holdout, StreamedTable) else holdout
    return StreamedPrepared(
        table.name, columns, x, y, x, y, 0, source, table.notes, divided, (*table.remarks, *table.doubts), table.reading,
        train=EncodedRows(table, columns, train), held=kept,
    )  # fmt: skip


def _parts_of_stream(
    table: StreamedTable, targets: Sequence[str], holdout: float | str | StreamedTable, seed: int
) -> tuple[Which | None, Which | None, str]:
    """Which rows train and which are held out, None for all, or for none of them; and where the latter are from, in words."""
    check_there(targets, table.columns, "target")
    if isinstance(holdout, StreamedTable):
        return None, None, f"all of {holdout.name}"
    if holdout == "last":
        rows, said = table.count(), "the last fifth of the table"
    else:
        share = _share(holdout)
        if share == 0:
            return None, None, ""
        rows, said = 0, f"a random {percent(share)} of the table by the numbers of its rows, seed {seed}"
    held = _held_by_number(holdout, seed, rows)
    return (lambda numbers: ~held(numbers)), held, said


def _held_by_number(holdout: Any, seed: int, rows: int) -> Which:
    """Which rows of a table of so many are held out, by their numbers alone, as each passes by."""
    if holdout == "last":
        first = rows - max(round(0.2 * rows), 1)
        return lambda numbers: numbers >= first
    return lambda numbers: drawn(numbers, float(holdout), seed)


def _must_be_numbers(table: StreamedTable, targets: Sequence[str], categories: Sequence[str]) -> None:
    """Raise SettingsError where a single target would be told by classes, had the table been read into memory."""
    if len(targets) != 1:
        return
    different: set[Any] = set()
    for block in table.blocks(only=targets):
        values = Values.of(block[targets[0]])
        if values.kind in ("text", "boolean") or targets[0] in categories:
            break
        different.update(np.unique(values.data[~values.missing])[:3].tolist() if values.kind == "number" else ())
        if len(different) > 2 or values.kind == "date":
            return
    if len(different) == 1:
        return  # for ``Columns.fit`` to name
    raise SettingsError(
        f"`{targets[0]}` is told by classes, which needs a table in memory, and {table.name} does not fit there: give fewer "
        "rows, or a target of numbers."
    )


def _rows_to_fit(table: Table, targets: Sequence[str]) -> np.ndarray:
    """The numbers of the rows that have every target, counted from 0. Raises TableError for fewer than two."""
    check_there(targets, tuple(table.columns), "target")
    whole = _complete(table, targets)
    # A target without any value is for ``Columns.fit`` to name.
    complete = np.flatnonzero(whole if whole.any() else ~whole)  # row numbers in the file, counted from 0
    if len(complete) < 2:
        raise TableError(
            f"{table.name} has {counted(len(complete), 'row')} with a target: at least two rows are needed to fit anything."
        )
    return complete


def _made_ready(
    table: Table, targets: Sequence[str], train: np.ndarray, other: Table, held: np.ndarray, source: str,
    asked: Mapping[str, Any], holdout: float | str = 0.0,
) -> Prepared:  # fmt: skip
    """Columns judged by the rows ``train`` of a table, and both these and the rows ``held`` of the ``other`` encoded."""
    columns = Columns.fit(table.take(train).blocks(), targets, row_numbers=train + 1, **asked)
    if len(held):
        columns.check(list(other.columns))
    left_out = int(np.sum(~_complete(table, targets)))
    return Prepared(
        table.name, columns, *_numbers(columns, table, train), *_numbers(columns, other, held), left_out, source,
        table.notes, holdout, (*table.remarks, *table.doubts), table.reading, train + 1, held + 1,
    )  # fmt: skip


def _complete(table: Table, targets: Sequence[str]) -> np.ndarray:
    """Which rows have every target, (rows,)."""
    return ~np.any([Values.of(table.columns[name]).missing for name in targets], axis=0)


def _classes(
    table: Table, targets: Sequence[str], asked: Mapping[str, Sequence[str]]
) -> tuple[tuple[Class, ...], dict[str, Sequence[str]]]:
    """The classes of a single target, none where targets are numbers; and what is asked of the columns besides that."""
    categories = asked.get("categories", ())
    if len(targets) != 1:
        return (), dict(asked)
    found = classes_of(targets[0], table.columns[targets[0]], targets[0] in categories)
    if found is None:
        return (), dict(asked)
    return found, {**asked, "categories": [name for name in categories if name != targets[0]]}


def _class_of_each(
    table: Table, rows: np.ndarray, targets: Sequence[str], classes: Sequence[Class]
) -> np.ndarray | None:
    """The numbers of the classes of these rows, None where targets are numbers. Raises TableError for other classes."""
    if not classes:
        return None
    values = table.columns[targets[0]][rows]
    number = class_numbers(values, classes).astype(int)
    if len(strange := np.flatnonzero(number < 0)):
        name = class_names([values[strange[0]]])[0]
        raise TableError(
            f"The class '{cut(name)}' of `{targets[0]}` in row {rows[strange[0]] + 1} of {table.name} is none of those trained "
            f"on ({listed(class_names(classes), 6)}): leave out {counted(len(strange), 'such row')}, or train on rows of it too."
        )
    return number


def _rows_with(table: Table, targets: Sequence[str], why: str, otherwise: str) -> np.ndarray:
    """The numbers of the rows that have every target. Raises TableError where there is no such column, or no such row."""
    if missing := [name for name in targets if name not in table.columns]:
        raise TableError(f"{table.name} has no column `{missing[0]}`, and {why}: add it, or {otherwise}.")
    rows = np.flatnonzero(_complete(table, targets))
    if not len(rows):
        named = listed(f"`{name}`" for name in targets)
        raise TableError(
            f"{table.name} has no row with a value of {named}, and {why}: fill the column, or {otherwise}."
        )
    return rows


def _division(
    n: int, holdout: float | str, seed: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, int, str]:
    """An order of the rows whose first part is held out, how long that part is, and where it is from.

    ``classes`` (n,), whole numbers from 0, are held out in proportion where rows are drawn at random.
    """
    if holdout == "last":
        held = max(round(0.2 * n), 1)
        return np.roll(np.arange(n), held), held, "the last fifth of the table"
    share = _share(holdout)
    held = max(round(share * n), 1) if share > 0 else 0
    if n - held < 2:
        raise TableError(f"{n} rows are too few to hold {share:g} of them out: give more rows, or hold out 0.")
    random = np.random.default_rng(seed)
    order, said = random.permutation(n), f"a random {percent(share)} of the table, seed {seed}"
    if classes is None:
        return order, held, said
    # From its end: the first row of each class trains.
    return in_proportion(order, classes, random)[::-1], held, f"a random {percent(share)} of each class, seed {seed}"


def _share(holdout: float | str) -> float:
    """A share of rows to hold out. Raises SettingsError for what is none."""
    if isinstance(holdout, str) or not 0 <= holdout < 1:
        raise SettingsError(f"holdout={holdout!r} is not possible: give a share from 0 to below 1, 'last', or a table.")
    return float(holdout)


def _numbers(columns: Columns, table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d) and targets (n, k) of these rows of a table; of classes columns of 0 and 1."""
    x, y = np.empty((len(rows), len(columns.encoded_names))), np.empty((len(rows), len(columns.targets)))
    start = 0
    for block in table.take(rows).blocks():
        here = slice(start, start + len(next(iter(block.values()))))
        x[here], y[here] = columns.encode(block, row_numbers=rows[here] + 1), columns.target_values(block)
        start = here.stop
    columns.must_be_finite(y, rows + 1, table.name)
    number = _class_of_each(table, rows, columns.targets, columns.classes)
    return x, y if number is None else one_hot(number, len(columns.classes))


@dataclass(frozen=True, eq=False)
class FoundRows:
    """The rows of a saved model, found again in a table: x (n, inputs) and y (n, outputs) that it was fitted on.

    held_x, held_y are the rows of the same table that were held out, none where it is another table. ``name`` names
    the rows in words; ``otherwise`` is a sentence where they are not those of the fit, "" where they are.
    """

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    name: str
    otherwise: str = ""


def model_and_rows(model: Path, table: Path | None) -> tuple[SavedModel, FoundRows, tuple[str, ...]]:
    """A model file and the rows it was fitted on, in ``table`` or where the fit found them; what is not as it was in the fit."""
    from fallline.cli.reading import why_streamed
    from fallline.model_file import load_model
    from fallline.table.read import read_table
    from fallline.table.stream import is_several, open_table

    saved = load_model(model)
    reading = saved.about.get("reading")
    place = table_of(saved, model) if table is None else table
    source: Any
    if is_several(place) or why_streamed(place):
        source = open_table(place, like=reading)
        rows = few_rows(saved, source)
    else:
        source = read_table(place, like=reading)
        rows = find_rows(saved, source)
    notes = (*source.doubts, *read_otherwise(saved.columns, reading, source))
    return saved, rows, (*notes, *([rows.otherwise] if rows.otherwise else []))


def table_of(saved: SavedModel, model: Path) -> Path:
    """Where the table of a model file is: as it was given to the fit, or where it lies seen from the model file.

    Raises TableError where it is at neither place.
    """
    source = _source(saved)
    places = [Path(str(source["table"]))] if "table" in source else []
    places += [model.parent / str(source["from_model"])] if "from_model" in source else []
    for place in places:
        if address_of(place).file.is_file():
            return place
    missing = f"{places[0]} is not there" if places else "this model file does not say where it is"
    raise TableError(
        f"the rows that {model.name} was fitted on are needed, and a model file does not hold them; {missing}: "
        f"give the table after the model file, as in `{model.name} TABLE`."
    )


def find_rows(saved: SavedModel, table: Table) -> FoundRows:
    """Find the training rows of a saved model in a table: divided as for the fit, encoded by the model's own columns.

    Of a table with another number of complete rows, all are taken. Whether they are the rows of the fit is seen from E at the
    model's weights. Raises TableError for a table without the model's columns or targets.
    """
    columns, source = saved.columns, _source(saved)
    columns.check(list(table.columns))
    complete = _rows_with(table, columns.targets, "the error is of it", "give another table")
    divided = len(complete) == source.get("rows")
    order, n_held = np.arange(len(complete)), 0
    if divided and source.get("divided") == BY_NUMBER:
        held_ones = _held_by_number(source.get("holdout", 0.0), int(saved.about.get("seed", 0)), table.rows)(complete)
        order, n_held = np.argsort(~held_ones, kind="stable"), int(held_ones.sum())
    elif divided:
        seed = int(saved.about.get("seed", 0))
        number = _class_of_each(table, complete, columns.targets, columns.classes)
        order, n_held, _ = _division(len(complete), source.get("holdout", 0.0), seed, number)
    x, y = _numbers(columns, table, complete[np.sort(order[n_held:])])
    held = _numbers(columns, table, complete[np.sort(order[:n_held])])
    name = f"the {len(x):,} {'training ' if n_held else ''}rows of {table.name}"
    return FoundRows(x, y, *held, name, _otherwise(saved, table, x, y, divided))


def few_rows(saved: SavedModel, table: StreamedTable) -> FoundRows:
    """As ``find_rows``, some of the training rows of a table that need not fit in memory, drawn at random."""
    columns, source = saved.columns, _source(saved)
    columns.check(table.columns)
    which: Which | None = None
    if source.get("divided") == BY_NUMBER:
        seed = int(saved.about.get("seed", 0))
        which, _, _ = _parts_of_stream(table, columns.targets, source.get("holdout", 0.0), seed)
    x, y, n = EncodedRows(table, columns, which).sample(_FEW_ROWS)
    if not len(x):
        raise TableError(
            f"{table.name} has no row with a value of every target, and the error is of it: give another table."
        )
    name = f"{len(x):,} of the {n:,} {'training ' if which else ''}rows of {table.name}"
    said = f"{table.name} is read from disk: what follows is of {name}, drawn at random." if len(x) < n else ""
    return FoundRows(x, y, x[:0], y[:0], name, said)


def _source(saved: SavedModel) -> Mapping[str, Any]:
    source = saved.about.get("source")
    return source if isinstance(source, Mapping) else {}


def _otherwise(saved: SavedModel, table: Table, x: np.ndarray, y: np.ndarray, divided: bool) -> str:
    """A sentence where E at the model's weights is not the one that was recorded there, "" where it is."""
    fitted, shown, path = saved.fitted, saved.fitted.alone(), saved.path
    if path is not None:
        actual, predicted = fitted.scaling.y(y), fitted.scaling.y(shown.predict(x))
        now = sum(figures_of(a, b).error or 0.0 for a, b in zip(actual.T, predicted.T, strict=True))
        then = path.at_best(path.error)
        # Descents in single precision leave weights that are; their E has as many digits.
        single = np.array_equal(shown.weights, shown.weights.astype(np.float32))
        if abs(now - then) <= (1e-5 if single else 1e-9) * then + 1e-12 * actual.size:
            return ""
        if divided:
            return (
                f"The rows of {table.name} have changed since the fit: the error E at the model's weights is {written(now)} on "
                f"them, and was {written(then)}. What follows is of the rows as they are now."
            )
    if divided:
        return ""
    rows = _source(saved).get("rows")
    of = f"a table with {counted(rows, 'such row')}" if isinstance(rows, int) else "other rows"
    return (
        f"{table.name} has {counted(len(x), 'row')} with a target, and the model was fitted on {of}: what follows is of the rows "
        f"of {table.name}, not of those of the fit."
    )


def column_lines(columns: Columns, notes: Mapping[str, str] | None) -> tuple[tuple[str, str, str], ...]:
    """One line for each column: its name, what it is used as, what it holds or why it was dropped, and how it was read."""
    read = {name: f" (read with {note})" for name, note in (notes or {}).items()}
    return tuple(
        (use.name, use.role, use.says.removeprefix("dropped: ") + read.get(use.name, "")) for use in columns.uses
    )


def read_otherwise(columns: Columns, fitted: Any, given: Table) -> tuple[str, ...]:
    """One sentence for each column of a table that was read in another way than for the fit.

    ``fitted``: the ``reading`` of the table that was fitted. In a short table nothing may show that 03/04/2026 is in April.
    """
    parts = [read.get("columns", {}) if isinstance(read, Mapping) else {} for read in (fitted, given.reading)]
    names = (*columns.targets, *columns.input_names)

    def ways(name: str) -> list[str]:
        return [_way(part.get(name)) for part in parts]

    return tuple(
        f"In {given.name} `{name}` was read with {now}, but with {then} for the fit: check which is right, and write that column "
        "in one way."
        for name, (then, now) in ((name, ways(name)) for name in names)
        if then and now and then != now
    )


def _way(spelled: Any) -> str:
    """How a column is spelled, as far as the same cells could be read otherwise; "" where they could not."""
    if not isinstance(spelled, Mapping):
        return ""
    if order := {"day first": "day/month/year dates", "month first": "month/day/year dates"}.get(
        str(spelled.get("order"))
    ):
        return order
    if spelled.get("as") != "number" or "decimal" not in spelled:
        return ""
    marks = {".": "decimal points", ",": "decimal commas"}.get(str(spelled["decimal"]), "")
    worn = " and ".join(f"`{cut(spelled[place])}`" for place in ("before", "after") if spelled.get(place))
    return f"{marks} and {worn}" if worn else marks
