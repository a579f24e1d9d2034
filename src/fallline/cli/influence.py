"""What the columns do in a fit: which of them matter, the effects of these, and the curve where there is only one.

No mathematics is done here: rows and columns are chosen, few enough to take a fraction of a second.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fallline.cli.fits import COVERAGE, Fits, OutOfFold
from fallline.cli.rows import Prepared
from fallline.report import RowSet
from fallline.sure.effects import Effect, partial_dependence
from fallline.sure.importance import REPEATS, Importance, importance_of, permutation_importance
from fallline.sure.sensitivities import Sensitivity, sensitivities
from fallline.table.values import values_taken
from fallline.words import counted

if TYPE_CHECKING:
    from fallline.plot import OneInputFitDisplay

_FEW, _FEWEST, _MOST_WORK = 1000, 100, 4e9  # rows, and predictions · weights of all shuffles
_EFFECTS, _ROWS = 5, 100  # columns of a target whose effect is shown, and rows that it is a mean over
_STEEP = 3  # columns of a target whose slopes are drawn
_POINTS = 301  # of a curve


class Influence(NamedTuple):
    """Which columns matter, of which rows that is in words, and for each target the effects of those that matter most.

    ``sensitivity``: the slopes of the columns of numbers in some training rows, None without such columns; ``steep``: for each
    target the places of those that matter most.
    """

    importance: Importance
    of: str
    effects: tuple[tuple[Effect, ...], ...]
    sensitivity: Sensitivity | None = None
    steep: tuple[tuple[int, ...], ...] = ()


def few_of(prepared: Prepared, fits: Fits, rows: int) -> np.ndarray:
    """The numbers of the rows, counted from 0, whose columns are shuffled: all, or so many that it does not take long."""
    work = len(prepared.columns.plan) * REPEATS * fits.fitted.network.n_weights
    most = int(np.clip(_MOST_WORK / work, _FEWEST, _FEW))
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


def influence_of(prepared: Prepared, fits: Fits, judged: RowSet, folds: OutOfFold | None = None) -> Influence | None:
    """What the columns do; None where there is only one, or where a prediction is not finite.

    By the rows ``judged``, held out or out of fold, where these are at least two, else by the training rows.
    """
    places = prepared.columns.places
    if len(places) < 2:
        return None
    unseen = judged.unseen and judged.rows > 1
    if folds is not None:
        few, n = folds.few, judged.rows
        found = importance_of(folds.shuffled, judged.predicted[few], judged.actual[few], tuple(places))
    else:
        x, y = (prepared.held_x, prepared.held_y) if unseen else (prepared.x, prepared.y)
        few, n = few_of(prepared, fits, len(x)), len(x)
        found = permutation_importance(fits.fitted.predict, x[few], y[few], places)
    if not np.isfinite(found.rises).all():
        return None
    rows = counted(n, f"{judged.name if unseen else 'training'} row")
    of = f"the {rows}" if len(few) == n else f"{len(few):,} of the {rows}"
    effects = tuple(
        tuple(_effect(prepared, fits, found.names[i]) for i in found.above_chance(j)[:_EFFECTS])
        for j in range(prepared.y.shape[1])
    )
    numbers = {entry["name"]: places[entry["name"]] for entry in prepared.columns.plan if entry["kind"] == "number"}
    if not numbers:
        return Influence(found, of, effects)
    sensitivity = sensitivities(fits.fitted, prepared.x[_evenly(len(prepared.x), _FEW)], numbers)
    steep = tuple(
        tuple(list(numbers).index(effect.column) for effect in each if effect.column in numbers)[:_STEEP]
        for each in effects
    )
    return Influence(found, of, effects, sensitivity, steep)


def _evenly(rows: int, most: int) -> np.ndarray:
    """The numbers of at most so many rows, evenly among all."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)


def _effect(prepared: Prepared, fits: Fits, name: str) -> Effect:
    entry = next(entry for entry in prepared.columns.plan if entry["name"] == name)
    inputs = prepared.columns.places[name]
    at, values = values_taken(entry, prepared.x[:, inputs])
    few = prepared.x[_evenly(len(prepared.x), _ROWS)]
    return partial_dependence(fits.fitted.predict, few, inputs, values, column=name, at=at)


def curves_of(prepared: Prepared, fits: Fits) -> "tuple[OneInputFitDisplay, ...]":
    """Of a table whose only input is a number, the fitted curve of each target with its band; else none."""
    from fallline.plot import OneInputFitDisplay

    plan = prepared.columns.plan
    if len(plan) != 1 or plan[0]["kind"] != "number":
        return ()
    there = prepared.x[:, -1] == 0 if plan[0]["missing"] else np.ones(len(prepared.x), bool)
    x, y = prepared.x[there, 0], prepared.y[there]
    if not len(x):
        return ()
    grid = np.zeros((_POINTS, prepared.x.shape[1]))
    grid[:, 0] = np.linspace(x.min(), x.max(), _POINTS)
    predicted = fits.fitted.predict(grid)
    ends = None if fits.intervals is None else fits.intervals.interval(grid, COVERAGE)
    return tuple(
        OneInputFitDisplay(
            grid[:, 0],
            predicted[:, j],
            x,
            y[:, j],
            low=None if ends is None else ends[:, j, 0],
            high=None if ends is None else ends[:, j, 1],
            coverage=COVERAGE,
            feature=plan[0]["name"],
            target=target,
        )
        for j, target in enumerate(prepared.columns.targets)
    )
