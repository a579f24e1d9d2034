"""A table in, the network and its figures out: the main job, without a word on the screen.

The command line calls this and prints; the report and the model file are made from
what comes back. No mathematics is done here, only the order of things.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fallline
from fallline.descent import Descent, Stop
from fallline.exceptions import FalllineError, SettingsError, TableError
from fallline.fit.figures import figures_of, written
from fallline.fit.ridge import fit_ridge
from fallline.model_file import SavedModel
from fallline.report import FitReport, RowSet, figures
from fallline.table.columns import Columns
from fallline.table.read import Table
from fallline.walk.path import EVERY_STEP_UP_TO

if TYPE_CHECKING:
    from fallline.fit.network_fit import FittedNetwork
    from fallline.landscape.minima import Minima
    from fallline.landscape.surface import Surface
    from fallline.landscape.verdict import Verdict
    from fallline.sure.fitted_intervals import FittedIntervals
    from fallline.walk.path import DescentPath

# The map in a report: points along each direction, and the products for each of them that take half a second in all.
_GRID, _MOST_WORK, _ACTIVATION = 61, 4e5, 10
# How likely a new row is to lie within the intervals of a report.
COVERAGE = 0.95
# Values · weights² whose Hessian takes a second or two.
_MOST_CURVATURE = 2e9
# Shares of the weights that the rows determine, above and below which a network is too small or needlessly large.
_TOO_SMALL, _TOO_LARGE = 0.9, 1 / 3
_ENDED_BADLY = (Stop.DIVERGED, Stop.INTERRUPTED)
# Notes of a table that cannot both be right of one column.
_OPPOSED = (("day/month/year", "month/day/year"), ("decimal commas", "(1,234.5)"))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table made ready: which rows train, which are held out, and what became of each column.

    x (n, inputs) and y (n, outputs) of the training rows; held_x, held_y of the held-out rows, if any.
    ``left_out`` rows had no target. ``source`` says in words where the held-out rows come from, ``holdout`` how to
    divide the rows of this table again: a share, "last", or 0 where the held-out rows are a table of their own.
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

    @property
    def rows_said(self) -> str:
        """Which rows the figures come from and which the saved model was fitted on, in words."""
        n, held = len(self.x), len(self.held_x)
        lost = f" {_count(self.left_out, 'row')} without a target took no part." if self.left_out else ""
        if not held:
            return (
                f"Fitted on all {n:,} rows of {self.name}; no rows were held out, so every figure is of rows the model "
                f"has seen.{lost}"
            )
        return (
            f"The saved model was fitted on {n:,} rows of {self.name}. The held-out figures come from {_count(held, 'row')} "
            f"({self.source}) that played no part in the fit.{lost}"
        )


@dataclass(frozen=True, eq=False)
class TableFit:
    """A network fitted to a table, with all that a report or a model file says of it."""

    prepared: Prepared
    fitted: Any  # FittedNetwork
    path: Any  # DescentPath
    rowsets: tuple[RowSet, ...]
    why_this_descent: str  # empty where it was asked for
    seconds: float
    intervals: Any = (
        None  # FittedIntervals; None where nobody asked, or the rows leave nothing to see the noise by
    )
    verdict: Any = None  # Verdict; None where finding it would hold the fit up
    grown: bool = False  # whether the evidence chose how wide the network is

    @property
    def ended_badly(self) -> bool:
        """Whether the descent diverged or was interrupted: what is kept is the lowest it saw."""
        return self.path.stop in _ENDED_BADLY

    @property
    def stop_message(self) -> str:
        """Why the descent ended and what to do, with settings spelled as on the command line."""
        return self.path.stop_message.replace("learning_rate='auto'", "--learning-rate auto")

    @property
    def verdict_said(self) -> str:
        """What kind of point the descent stopped at and what to do, with settings spelled as on the command line."""
        said = "" if self.verdict is None else str(self.verdict)
        return said.replace("alpha = 0.01", "--alpha 0.01").replace("larger alpha", "larger --alpha")

    @property
    def descent(self) -> str:
        """The descent and its settings, and why this one."""
        from fallline.descent import words_of

        words = words_of(self.path.descent)
        return f"{words}. {self.why_this_descent}" if self.why_this_descent else f"{words}, as asked."

    @property
    def effort(self) -> str:
        """How far the descent went, how long that took and how long all of it, in words."""
        path, starts = self.path, self.fitted.starts
        epochs = "" if path.n_epochs is None else f"{_count(path.n_epochs, 'epoch')}, "
        steps = f"{epochs}{_count(path.n_steps, 'step')}, {_count(path.n_passes, 'pass', 'passes')}"
        one = f"{steps} over the rows in {path.seconds:.2f} s"
        several = ""
        if len(starts) > 1:
            passes = _count(sum(start.passes for start in starts), "pass", "passes")
            several = f"; {len(starts)} starts, {passes}"
        return f"{one}{several}; {self.seconds:.2f} s in all."

    @property
    def network_said(self) -> str:
        """The network of each start, in words."""
        return f"{self.fitted.alone().network}{', as wide as the evidence asks for' if self.grown else ''}"

    @property
    def starts_said(self) -> str:
        """How many starts the network is the mean of, and in how many minima they ended, in words; "" of a single one."""
        starts = self.fitted.starts
        if len(starts) == 1:
            return ""
        minima, units = starts.minima, sum(self.fitted.network.hidden)
        most = max(count for count, _ in minima)
        ended = f"in {_count(len(minima), 'minimum', 'minima')}, {most} in one of them"
        if len(minima) == 1:
            ended = "all in one minimum"
        elif most == 1:
            ended = "each in a minimum of its own"
        spread = [start.error / self.path.n_rows for start in starts]
        return (
            f"The mean of {len(starts)} starts, {units} units side by side; they ended {ended}, E per row from "
            f"{written(min(spread))} to {written(max(spread))} in scaled units. Path, surface and verdict are those of start "
            f"{starts.shown + 1} ({written(spread[starts.shown])})."
        )

    @property
    def intervals_said(self) -> str:
        """How wide the intervals are and how many of the rows they are judged by they hold, in words; "" without intervals."""
        said = [inside_in_words(each) for each in self.rowsets[-1:] if each.low is not None]
        return said[0] if said else ""

    @property
    def decay(self) -> str:
        """The weight decay, and where it is from, in words."""
        path = self.path
        if "effective_weights" not in path.shown:
            return f"alpha = {path.alpha:g}, in standardised units"
        gamma, noise = path.shown["effective_weights"][-1], path.shown["noise_precision"][-1]
        return (
            f"found by Bayesian regularisation: the rows determine {gamma:.0f} of {len(path.strength)} weights; "
            f"noise of {noise**-0.5:.2g} target standard deviations{self._size_said(gamma / len(path.strength))}"
        )

    def _size_said(self, share: float) -> str:
        """Whether the network is too small or needlessly large, by the share of its weights that the rows determine."""
        hidden = self.fitted.alone().network.hidden
        if self.grown:
            return ""
        if share > _TOO_SMALL and hidden:
            more = ",".join(str(2 * size) for size in hidden)
            return f". That is nearly all: a larger network may fit better (--hidden {more} or auto)"
        if share < _TOO_LARGE and sum(hidden) > 2:
            fewer = ",".join(str(max(1, math.ceil(2 * share * size))) for size in hidden)
            return f". That is few: a smaller network would do (--hidden {fewer} or auto)"
        return ""


def prepare(
    table: Table,
    targets: Sequence[str],
    *,
    holdout: float | str | Table = 0.2,
    seed: int = 0,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categories: Sequence[str] = (),
) -> Prepared:
    """Divide the rows and turn the columns into numbers.

    holdout: the share of rows held out at random, ``"last"`` for the last fifth in file order, or a table of its
    own. Columns are judged, encoded and filled by the training rows alone. Raises TableError or SettingsError.
    """
    whole = _complete(table, targets)
    # A target without any value is for ``Columns.fit`` to name.
    complete = np.flatnonzero(whole if whole.any() else ~whole)  # row numbers in the file, counted from 0
    if len(complete) < 2:
        raise TableError(
            f"{table.name} has {_count(len(complete), 'row')} with a target: at least two rows are needed to fit anything."
        )
    if isinstance(holdout, Table):
        if missing := [name for name in targets if name not in holdout.columns]:
            raise TableError(
                f"{holdout.name} has no column {_listed(missing[:1])}, and held-out rows are judged by it: add the "
                "column, or hold out other rows."
            )
        train, other, held = complete, holdout, np.flatnonzero(_complete(holdout, targets))
        if not len(held):
            raise TableError(
                f"{holdout.name} has no row with a value of {_listed(targets)}, and held-out rows are judged by it: "
                "fill the column, or hold out other rows."
            )
        source = f"all of {holdout.name}"
    else:
        order, n_held, source = _division(len(complete), holdout, seed)
        train, other, held = complete[np.sort(order[n_held:])], table, complete[np.sort(order[:n_held])]
    columns = Columns.fit(
        table.take(train).blocks(),
        targets,
        drop=drop,
        keep=keep,
        categories=categories,
        row_numbers=train + 1,
    )
    if len(held):
        columns.check(list(other.columns))
    return Prepared(
        table.name,
        columns,
        *_numbers(columns, table, train),
        *_numbers(columns, other, held),
        table.rows - len(complete),
        source,
        table.notes,
        0.0 if isinstance(holdout, Table) else holdout,
    )


def _complete(table: Table, targets: Sequence[str]) -> np.ndarray:
    """Which rows have every target, (rows,). A target that the table lacks is for ``Columns.fit`` to name."""
    keep = np.ones(table.rows, bool)
    for name in targets:
        values = table.columns.get(name)
        if values is not None and values.dtype.kind == "f":
            keep &= ~np.isnan(values)
        elif values is not None and values.dtype.kind == "O":
            keep &= np.array([value is not None for value in values], bool)
    return keep


def _division(n: int, holdout: float | str, seed: int) -> tuple[np.ndarray, int, str]:
    """An order of the rows whose first part is held out, how long that part is, and where it is from."""
    if holdout == "last":
        held = max(round(0.2 * n), 1)
        return np.roll(np.arange(n), held), held, "the last fifth of the table"
    if isinstance(holdout, str) or not 0 <= holdout < 1:
        raise SettingsError(
            f"holdout={holdout!r} is not possible: give a share from 0 to below 1, 'last', or a table."
        )
    held = max(round(holdout * n), 1) if holdout > 0 else 0
    if n - held < 2:
        raise TableError(
            f"{n} rows are too few to hold {holdout:g} of them out: give more rows, or hold out 0."
        )
    return (
        np.random.default_rng(seed).permutation(n),
        held,
        f"a random {holdout:.0%} of the table, seed {seed}",
    )


def _numbers(columns: Columns, table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d) and targets (n, k) of these rows of a table."""
    x, y = np.empty((len(rows), len(columns.encoded_names))), np.empty((len(rows), len(columns.targets)))
    start = 0
    for block in table.take(rows).blocks():
        stop = start + len(next(iter(block.values())))
        x[start:stop] = columns.encode(block, start, row_numbers=rows[start:stop] + 1)
        y[start:stop] = columns.target_values(block)
        if wrong := np.argwhere(~np.isfinite(y[start:stop])).tolist():
            row, target = wrong[0]
            raise TableError(
                f"The target {_listed([columns.targets[target]])} is infinite in row {rows[start + row] + 1} of "
                f"{table.name}, but finite numbers are expected: correct that cell, or leave the row out."
            )
        start = stop
    return x, y


@dataclass(frozen=True, eq=False)
class FoundRows:
    """The rows of a saved model, found again in a table: x (n, inputs) and y (n, outputs) that it was fitted on.

    held_x, held_y are the rows of the same table that were held out, none where it is another table. ``said`` names
    the rows in words; ``otherwise`` is a sentence where they are not those of the fit, "" where they are.
    """

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    said: str
    otherwise: str = ""


def table_of(saved: SavedModel, model: Path) -> Path:
    """Where the table of a model file is: as it was given to the fit, or where it lies seen from the model file.

    Raises TableError where it is at neither place.
    """
    source = _source(saved)
    places = [Path(str(source["table"]))] if "table" in source else []
    places += [model.parent / str(source["from_model"])] if "from_model" in source else []
    for place in places:
        if place.is_file():
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
    if missing := [name for name in columns.targets if name not in table.columns]:
        raise TableError(
            f"{table.name} has no column {_listed(missing[:1])}, and the error is of it: give a table with the target."
        )
    complete = np.flatnonzero(_complete(table, columns.targets))
    if not len(complete):
        raise TableError(
            f"{table.name} has no row with a value of {_listed(columns.targets)}, and the error is of it: fill the column."
        )
    divided = len(complete) == source.get("rows")
    order, n_held = np.arange(len(complete)), 0
    if divided:
        order, n_held, _ = _division(
            len(complete), source.get("holdout", 0.0), int(saved.about.get("seed", 0))
        )
    x, y = _numbers(columns, table, complete[np.sort(order[n_held:])])
    held = _numbers(columns, table, complete[np.sort(order[:n_held])])
    which = "training rows" if n_held else "rows"
    return FoundRows(
        x, y, *held, f"the {len(x):,} {which} of {table.name}", _otherwise(saved, table, x, y, divided)
    )


def surface_of(saved: SavedModel, found: FoundRows, plane: Any = "auto", **settings: Any) -> "Surface":
    """The error surface of a saved model over these rows, with its path where weights were kept along it.

    ``plane`` and the settings are those of ``error_surface``.
    """
    from fallline.landscape.surface import error_surface

    rows = saved.fitted.rows(found.x, found.y)
    if saved.path is not None and len(saved.path.weights):
        return error_surface(saved.path, rows, plane, **settings)
    shown = saved.fitted.alone()
    return error_surface(shown.network, rows, plane, at=shown.weights, alpha=_decay_of(saved), **settings)


@dataclass(frozen=True, eq=False)
class PlacedMinima:
    """The minima that many starts of a saved model's network end in, and where the model stands among them.

    ``found``: the ``Minima``; ``own``: the index of the one that the model's weights belong to, −1 for none.
    Where the model is the mean of several starts, its weights are those of the start shown. ``model_error`` is what was descended
    there; ``own_decay``: whether ``alpha`` is the model's own, which is None where Bayesian regularisation found it.
    ``rmse`` (minima + 1, k) on the training rows, in the units of the k targets, the last row that of the model;
    ``held_rmse`` the same on held-out rows, None without any.
    """

    found: "Minima"
    own: int
    model_error: float
    alpha: float | None
    own_decay: bool
    rmse: np.ndarray
    held_rmse: np.ndarray | None


def minima_of(
    saved: SavedModel, rows: FoundRows, *, alpha: float | None = None, **settings: Any
) -> PlacedMinima:
    """Go down from many starts on a saved model's network, rows and weight decay; the settings are those of ``find_minima``."""
    from fallline.landscape.minima import find_minima

    fitted, own = saved.fitted.alone(), _decay_of(saved)
    decay = own if alpha is None else alpha
    scaled = fitted.rows(rows.x, rows.y)
    found = find_minima(fitted.network, scaled, alpha=decay, beside=fitted.weights, **settings)
    number = None if np.ndim(decay) else float(decay)
    each = [*(replace(fitted, weights=minimum.weights) for minimum in found.minima), fitted]
    return PlacedMinima(
        found, int(found.beside[0]), float(found.beside_error[0]), number, np.array_equal(decay, own),
        np.array([_rmse(fit, rows.x, rows.y) for fit in each]),
        np.array([_rmse(fit, rows.held_x, rows.held_y) for fit in each]) if len(rows.held_x) else None,
    )  # fmt: skip


def _rmse(fitted: "FittedNetwork", x: np.ndarray, y: np.ndarray) -> list[float]:
    """The root mean square error of each target; NaN where it is not finite."""
    figures = (figures_of(a, b) for a, b in zip(y.T, fitted.predict(x).T, strict=True))
    return [np.nan if each.rmse is None else each.rmse for each in figures]


def _decay_of(saved: SavedModel) -> Any:
    """The weight decay of a saved model's fit: one number, or (n_weights,) where Bayesian regularisation found it."""
    alpha = saved.about.get("alpha", 0.0)
    if isinstance(alpha, (int, float)):
        return float(alpha)
    starts = saved.fitted.starts
    return 0.0 if starts is None else starts[starts.shown].strength


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
                f"The rows of {table.name} are not what they were: at the model's weights E is {written(now)} on them, and was "
                f"{written(then)} in the fit. What follows is of the rows as they are now."
            )
    if divided:
        return ""
    rows = _source(saved).get("rows")
    of = f"a table of {_count(rows, 'row')} with a target" if isinstance(rows, int) else "others"
    return (
        f"{table.name} has {_count(len(x), 'row')} with a target, and the model was fitted on {of}: what follows is of these "
        "rows, not of those of the fit."
    )


def fit_table(
    prepared: Prepared,
    *,
    descent: Descent | str = "auto",
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
    intervals: bool = True,
    **settings: Any,
) -> TableFit:
    """Fit a network, and ridge regression beside it, to a prepared table; settings are those of ``fit_network``.

    intervals: whether to find out how far predictions may be off, which takes up to twice the time of the fit.
    """
    from fallline.descent.choose import choose
    from fallline.fit.network_fit import HIDDEN_LAYER_SIZES, fit_network

    began = time.perf_counter()
    held = {"held-out": (prepared.held_x, prepared.held_y)} if len(prepared.held_x) else {}
    fitted, path = fit_network(
        prepared.x, prepared.y, indicators=prepared.columns.indicators, descent=descent, seed=seed, watched=held,
        progress=progress, input_names=prepared.columns.encoded_names, **settings,
    )  # fmt: skip
    why = choose("auto", fitted.alone().network, len(prepared.x))[1] if descent == "auto" else ""
    ridge = fit_ridge(fitted.scaling.x(prepared.x), prepared.y)
    known = _intervals(prepared, fitted, path, seed, settings) if intervals else None
    rowsets = tuple(
        RowSet(
            name, len(x), y, fitted.predict(x), ridge.predict(fitted.scaling.x(x)),
            *(() if known is None or name == "training" else np.moveaxis(known.interval(x, COVERAGE), 2, 0)),
        )
        for name, (x, y) in {"training": (prepared.x, prepared.y), **held}.items()
    )  # fmt: skip
    verdict = _verdict_on(path, fitted, prepared)
    sizes = settings.get("hidden_layer_sizes", HIDDEN_LAYER_SIZES)
    grown = isinstance(sizes, str) and sizes == "auto" and path.alpha == "evidence"
    return TableFit(prepared, fitted, path, rowsets, why, time.perf_counter() - began, known, verdict, grown)


def _verdict_on(path: "DescentPath", fitted: "FittedNetwork", prepared: Prepared) -> "Verdict | None":
    """The verdict on a fit, None where the Hessian would hold it up or there is none."""
    if prepared.y.size * len(path.strength) ** 2 > _MOST_CURVATURE:
        return None
    from fallline.landscape.verdict import verdict_of

    try:
        return verdict_of(path, fitted.rows(prepared.x, prepared.y))
    except FalllineError:
        return None


def _intervals(
    prepared: Prepared, fitted: Any, path: Any, seed: int, settings: Mapping[str, Any]
) -> "FittedIntervals | None":
    """How far predictions may be off; None after a descent that ended badly, where rows are too few, or after Ctrl-C."""
    from fallline.sure.fitted_intervals import intervals_of_fit
    from fallline.sure.intervals import enough_rows

    if path.stop in _ENDED_BADLY:
        return None
    given = {name: settings[name] for name in ("max_iter", "tol", "n_iter_no_change") if name in settings}
    try:
        rows = fitted.rows(*enough_rows(prepared.x, prepared.y))
        return intervals_of_fit(fitted, path, rows, seed=seed, **given)
    except (TableError, KeyboardInterrupt):
        return None


def inside_in_words(rows: RowSet, coverage: float = COVERAGE) -> str:
    """How many of these rows their intervals hold, in words: of 206 held-out rows the 95 % intervals hold 94.2 %."""
    low, high = np.asarray(rows.low), np.asarray(rows.high)
    inside = (low <= rows.actual) & (rows.actual <= high)
    shares = " and ".join(f"{100 * share:.1f} %" for share in inside.mean(axis=0))
    return f"The {100 * coverage:g} % intervals hold {shares} of the {_count(rows.rows, f'{rows.name} row')}."


def report_of(fit: TableFit, command: str, facts: Sequence[tuple[str, str]] = ()) -> FitReport:
    """All that the report says of a fit; ``facts`` are added to its own."""
    path, columns = fit.path, fit.prepared.columns
    notes = (fit.stop_message,) if fit.ended_badly else ()
    return FitReport(
        title=f"{', '.join(columns.targets)} from {fit.prepared.name}",
        command=command,
        targets=columns.targets,
        rowsets=fit.rowsets,
        columns=column_lines(columns, fit.prepared.notes),
        network=fit.network_said,
        descent=fit.descent,
        steps=path.steps,
        training_error=path.error,
        watched_error=path.watched,
        stop=fit.stop_message,
        fitted_on=fit.prepared.rows_said,
        way=(
            *([("Verdict", fit.verdict_said)] if fit.verdict is not None else []),
            *([("Starts", fit.starts_said)] if fit.starts_said else []),
            ("Weight decay", fit.decay),
            ("Effort", fit.effort),
        ),
        intervals=_intervals_in_report(fit),
        facts=(*facts, *versions().items()),
        notes=notes,
        surface=_surface_in_report(fit),
    )


def _intervals_in_report(fit: TableFit) -> str:
    if fit.intervals is None:
        return ""
    names = fit.fitted.network.weight_names(fit.prepared.columns.encoded_names)
    return f"{fit.intervals_said} {fit.intervals.says(names)}".strip()


def _surface_in_report(fit: TableFit) -> "Surface | None":
    """The error surface around a fit, None where there is none or where it would hold the report up."""
    path, network = fit.path, fit.fitted.alone().network
    work = len(fit.prepared.x) * (network.n_weights + _ACTIVATION * sum(network.sizes[1:]))
    if work > _MOST_WORK or network.n_weights > EVERY_STEP_UP_TO or path.stop == Stop.DIVERGED:
        return None
    from fallline.landscape.surface import error_surface

    try:
        return error_surface(path, fit.fitted.rows(fit.prepared.x, fit.prepared.y), points=_GRID)
    except FalllineError:  # a single weight, or a descent without a step: no plane
        return None


def column_lines(
    columns: Columns, notes: Mapping[str, str] | None = None
) -> tuple[tuple[str, str, str], ...]:
    """One line for each column: its name, what it is used as, what it holds or why it was dropped, and how it was read."""

    def says(name: str, words: str) -> str:
        read = f" (read with {notes[name]})" if notes and name in notes else ""
        return words.removeprefix("dropped: ") + read

    return tuple((use.name, use.role, says(use.name, use.says)) for use in columns.uses)


def read_otherwise(columns: Columns, fitted: Any, given: Table) -> tuple[str, ...]:
    """One sentence for each column of a table that was read against the way it was read for the fit.

    ``fitted``: {column: how it was read} then. In a short table nothing may show that 03/04/2026 is in April.
    """
    before = fitted if isinstance(fitted, Mapping) else {}
    names = [*columns.targets, *(str(entry["name"]) for entry in columns.plan)]
    return tuple(
        f"In {given.name} `{name}` was read with {given.notes[name]}, but with {before[name]} for the fit: "
        "check which is right, and write that column in one way."
        for name in names
        if _opposed(str(before.get(name)), given.notes.get(name, ""))
    )


def _opposed(one: str, other: str) -> bool:
    return any((a in one and b in other) or (b in one and a in other) for a, b in _OPPOSED)


def about(
    fit: TableFit, command: str, seed: int, table: Path | None = None, model: Path | None = None
) -> dict[str, Any]:
    """What a model file says of its making, as JSON allows: the same fit gives the same words.

    With the paths of the table and of the model file it also says where to find the rows again.
    """
    from fallline.descent import words_of

    path, prepared = fit.path, fit.prepared
    source: dict[str, Any] = {"holdout": prepared.holdout, "rows": len(prepared.x)}
    if prepared.holdout != 0:
        source["rows"] += len(prepared.held_x)
    if table is not None:
        source["table"] = str(table)
        if (
            model is not None
        ):  # not the absolute path: it is nobody's business, and changes where a project moves
            source["from_model"] = Path(os.path.relpath(table.resolve(), model.parent.resolve())).as_posix()
    return {
        "command": command,
        "table": prepared.name,
        "source": source,
        "rows": fit.prepared.rows_said,
        "read": fit.prepared.notes,
        "figures": {rowset.name: figures(rowset) for rowset in fit.rowsets},
        "descent": words_of(path.descent),
        "alpha": path.alpha,
        "decay": fit.decay,
        **({"starts": fit.starts_said} if fit.starts_said else {}),
        "steps": path.n_steps,
        "passes": path.n_passes,
        "stop": fit.stop_message,
        **({} if fit.verdict is None else {"verdict": fit.verdict_said}),
        "seed": seed,
        "versions": versions(),
    }


def curve_of(fit: TableFit) -> dict[str, np.ndarray]:
    """The error curve for a model file: E on each set of rows at each step, in scaled units."""
    return {"step": fit.path.steps, "training": fit.path.error, **fit.path.watched}


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    import jax

    return {
        "fallline": fallline.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
