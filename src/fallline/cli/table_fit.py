"""A prepared table in, the network and its figures out: the main job, without a word on the screen.

No mathematics is done here, only the order of things. What is said of a fit stands in ``sentences.py``, what is kept of it
in ``kept.py``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.cli.class_fit import class_rows
from fallline.cli.rows import Prepared
from fallline.descent import Descent, Stop
from fallline.descent.choose import choose
from fallline.exceptions import FalllineError, TableError
from fallline.fit.class_decay import decided
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import fit_network
from fallline.fit.ridge import fit_ridge
from fallline.fit.settings import OF_CLASSES, Settings
from fallline.landscape.surface import Surface, error_surface
from fallline.landscape.verdict import Verdict, verdict_of
from fallline.report import ClassRows, RowSet
from fallline.rows.memory import InMemory
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.walk.path import EVERY_STEP_UP_TO, DescentPath

# How likely a new row is to lie within the intervals of a report.
COVERAGE = 0.95
# The map in a report: points along each direction, and the products for each of them that take half a second in all.
_GRID, _MOST_WORK, _ACTIVATION = 61, 4e5, 10
# Values · weights² whose Hessian takes a second or two.
_MOST_CURVATURE = 2e9
_ENDED_BADLY = (Stop.DIVERGED, Stop.INTERRUPTED)


@dataclass(frozen=True, eq=False)
class TableFit:
    """A network fitted to a table, with all that a report or a model file says of it.

    ``rowsets``: the training rows, then the held-out ones, with predictions, ridge regression and intervals; of classes with
    probabilities and logistic regression.
    ``why_this_descent`` is empty where it was asked for; ``grown``: whether the evidence chose how wide the network is,
    ``decay_by_folds``: whether rows left out chose the weight decay, as they do of classes.
    ``intervals`` is None where nobody asked or the rows leave nothing to see the noise by, ``verdict`` where finding it
    would hold the fit up.
    """

    prepared: Prepared
    fitted: FittedNetwork
    path: DescentPath
    rowsets: tuple[RowSet | ClassRows, ...]
    why_this_descent: str
    seconds: float
    intervals: FittedIntervals | None = None
    verdict: Verdict | None = None
    grown: bool = False
    decay_by_folds: bool = False

    @property
    def ended_badly(self) -> bool:
        """Whether the descent diverged or was interrupted: what is kept is the lowest it saw."""
        return self.path.stop in _ENDED_BADLY

    def surface(self) -> Surface | None:
        """The error surface around the fit, None where there is none or where it would hold the report up."""
        path, network = self.path, self.fitted.alone().network
        work = len(self.prepared.x) * (network.n_weights + _ACTIVATION * sum(network.sizes[1:]))
        if work > _MOST_WORK or network.n_weights > EVERY_STEP_UP_TO or path.stop == Stop.DIVERGED:
            return None
        try:
            return error_surface(path, self.fitted.rows(self.prepared.x, self.prepared.y), points=_GRID)
        except FalllineError:  # a single weight, or a descent without a step: no plane
            return None


def fit_table(
    prepared: Prepared,
    *,
    descent: Descent | str = "auto",
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
    arrived: Callable[[str], None] | None = None,
    intervals: bool = True,
    **settings: Any,
) -> TableFit:
    """Fit a network, and ridge regression beside it, to a prepared table; the settings are those of ``Settings``.

    intervals: whether to find out how far predictions may be off, which takes up to twice the time of the fit; probabilities
    of classes have none, and stand beside logistic regression. ``arrived`` is
    called when the descent has ended, with what is done after it.
    """
    began = time.perf_counter()
    held = {"held-out": (prepared.held_x, prepared.held_y)} if len(prepared.held_x) else {}
    by_classes = bool(prepared.columns.classes)
    intervals = intervals and not by_classes
    asked = Settings(
        descent=descent, seed=seed, indicators=prepared.columns.indicators, input_names=prepared.columns.encoded_names,
        **((OF_CLASSES if by_classes else {}) | settings),
    )  # fmt: skip
    chosen = by_classes and asked.alpha == "auto"
    asked = decided(asked, prepared.x, prepared.y) if by_classes else asked
    fitted, path = fit_network(prepared.x, prepared.y, asked, watched=held, progress=progress)
    if arrived is not None:
        arrived("finding out how far predictions may be off" if intervals else "judging the fit")
    why = choose("auto", fitted.alone().network, len(prepared.x))[1] if descent == "auto" else ""
    rows = fitted.rows(prepared.x, prepared.y)
    known = _intervals(rows, fitted, path, asked) if intervals else None
    sets = {"training": (prepared.x, prepared.y), **held}
    rowsets: tuple[RowSet | ClassRows, ...] = (
        class_rows(prepared, fitted, sets) if by_classes else _row_sets(prepared, fitted, known, sets)
    )
    verdict = _verdict_on(rows, path)
    grown = asked.finds_width and path.alpha == "evidence"
    return TableFit(prepared, fitted, path, rowsets, why, time.perf_counter() - began, known, verdict, grown, chosen)


def _row_sets(
    prepared: Prepared,
    fitted: FittedNetwork,
    known: FittedIntervals | None,
    sets: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[RowSet, ...]:
    """Each of these sets of rows (x, y) with predictions, those of ridge regression, and, of rows not trained on, intervals."""
    ridge = fit_ridge(fitted.scaling.x(prepared.x), prepared.y)
    return tuple(
        RowSet(
            name, len(x), y, fitted.predict(x), ridge.predict(fitted.scaling.x(x)),
            *(() if known is None or name == "training" else np.moveaxis(known.interval(x, COVERAGE), 2, 0)),
        )
        for name, (x, y) in sets.items()
    )  # fmt: skip


def _verdict_on(rows: InMemory, path: DescentPath) -> Verdict | None:
    """The verdict on a fit, None where the Hessian would hold it up or there is none."""
    if len(rows) * path.model.outputs * path.model.n_weights**2 > _MOST_CURVATURE:
        return None
    try:
        return verdict_of(path, rows)
    except FalllineError:
        return None


def _intervals(rows: InMemory, fitted: FittedNetwork, path: DescentPath, asked: Settings) -> FittedIntervals | None:
    """How far predictions may be off; None after a descent that ended badly, where rows are too few, or after Ctrl-C."""
    if path.stop in _ENDED_BADLY:
        return None
    try:
        return intervals_of_fit(fitted, path, rows, asked)
    except (TableError, KeyboardInterrupt):
        return None
