"""The network and what it is compared with, fitted to the same rows once, or once for each fold.

No mathematics is done here, only the order of things; nothing is said of a fit.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallline.cli.rows import Prepared
from fallline.descent import Stop
from fallline.exceptions import TableError
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import fit_network
from fallline.fit.ridge import fit_ridge
from fallline.fit.settings import Settings
from fallline.report import RowSet
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.threads import Interrupts
from fallline.walk.path import DescentPath

# How likely a new row is to lie within the intervals of a report.
COVERAGE = 0.95
ENDED_BADLY = (Stop.DIVERGED, Stop.INTERRUPTED)

Predicting = Callable[[np.ndarray], np.ndarray]  # (n, inputs) → (n, outputs)
Phase = Callable[[str], Any]  # is called with what is done next


class Fits(NamedTuple):
    """A network fitted to rows, ridge regression and perhaps gradient boosting beside it, and how far the network may be off."""

    fitted: FittedNetwork
    path: DescentPath
    ridge: Predicting
    boosting: Predicting | None
    intervals: FittedIntervals | None

    def rows(self, name: str, x: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> RowSet:
        """What is predicted for rows x (n, inputs), y (n, outputs), beside what was measured; training rows have no intervals."""
        known = None if name == "training" else self.intervals
        low, high = (None, None) if known is None else np.moveaxis(known.interval(x, COVERAGE), 2, 0)
        boosting = None if self.boosting is None else self.boosting(x)
        return RowSet(name, len(x), y, self.fitted.predict(x), self.ridge(x), low, high, boosting, numbers)


def fits_of(
    prepared: Prepared, asked: Settings, phase: Phase, *, intervals: bool = True, compare: bool = False,
    interrupts: Interrupts | None = None, **given: Any
) -> Fits:  # fmt: skip
    """All fits to the rows that train. ``given`` is for ``fit_network``: ``watched``, ``progress``.

    ``interrupts``: once the network is there, Ctrl-C leaves out what is not; without it, it ends all.
    """
    columns = prepared.columns
    asked = dataclasses.replace(asked, indicators=columns.indicators, input_names=columns.encoded_names)
    if interrupts is not None:
        interrupts.ask()
    fitted, path = fit_network(prepared.x, prepared.y, asked, **given)
    if interrupts is not None:
        interrupts.keep()
    optional = Interrupts.unheard if interrupts is None else interrupts.optional
    known = None
    if intervals and path.stop not in ENDED_BADLY:
        phase("finding out how far predictions may be off")
        known = optional("intervals", lambda: _intervals(prepared, fitted, path, asked))
    phase("fitting gradient boosting to compare with" if compare else "fitting what it is compared with")
    ridge = fit_ridge(fitted.scaling.x(prepared.x), prepared.y)
    boosting = None
    if compare:
        boosting = optional("gradient boosting", lambda: fit_boosting(prepared.x, prepared.y, asked.seed))
    return Fits(fitted, path, lambda x: ridge.predict(fitted.scaling.x(x)), boosting, known)


def _intervals(prepared: Prepared, fitted: FittedNetwork, path: DescentPath, asked: Settings) -> FittedIntervals | None:
    """How far predictions may be off; None where rows are too few."""
    try:
        return intervals_of_fit(fitted, path, fitted.rows(prepared.x, prepared.y), asked)
    except TableError:
        return None


def fit_boosting(x: np.ndarray, y: np.ndarray, seed: Any) -> Predicting:
    """Gradient boosting of y (n, outputs) on x (n, inputs), one for each output, with scikit-learn's defaults.

    In one thread: its threads wait for each other in busy loops, 8 to 25 times slower where other work shares the processor.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # here: its import takes a second
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        models = [HistGradientBoostingRegressor(random_state=seed).fit(x, target) for target in y.T]

    def predict(x: np.ndarray) -> np.ndarray:
        with threadpool_limits(1, user_api="openmp"):
            return np.stack([model.predict(x) for model in models], axis=1)

    return predict


class OutOfFold(NamedTuple):
    """Every row as the fit predicts it that has not seen it, and a few of the rows, ``few`` (m,), with columns shuffled.

    ``shuffled``: predictions (m, outputs) of these few where the values of the column of a name come in another order.
    """

    rows: RowSet
    few: np.ndarray
    shuffled: Callable[[str, np.ndarray], np.ndarray]


def out_of_fold(
    prepared: Prepared,
    folds: Sequence[Callable[[], Prepared]],
    asked: Settings,
    phase: Phase,
    few: np.ndarray,
    **how: Any,
) -> OutOfFold:
    """Fit each fold and predict the rows it leaves out. Raises KeyboardInterrupt where Ctrl-C came before all were predicted."""
    parts: list[tuple[np.ndarray, RowSet]] = []
    looked_at: list[tuple[np.ndarray, np.ndarray, dict[str, list[int]], FittedNetwork]] = []
    for k, ready in enumerate(folds, 1):
        phase(f"fitting fold {k} of {len(folds)}")
        fold = ready()
        fits = fits_of(fold, asked, lambda words: None, **how)
        if fits.path.stop == Stop.INTERRUPTED:
            raise KeyboardInterrupt
        train, held = (np.searchsorted(prepared.numbers, numbers) for numbers in (fold.numbers, fold.held_numbers))
        parts.append((held, fits.rows("out-of-fold", fold.held_x, fold.held_y, fold.held_numbers)))
        # The few in this fold's own encoding: its columns were judged without the rows it holds out.
        x = np.empty((len(train) + len(held), fold.x.shape[1]))
        x[train], x[held] = fold.x, fold.held_x
        looked_at.append((np.flatnonzero(np.isin(few, held)), x[few], fold.columns.places, fits.fitted))

    def shuffled(name: str, order: np.ndarray) -> np.ndarray:
        predicted = np.empty((len(few), prepared.y.shape[1]))
        for own, x, places, fitted in looked_at:
            rows, inputs = x[own], places.get(name, [])  # a column that this fold has dropped changes nothing
            rows[:, inputs] = x[order[own]][:, inputs]
            predicted[own] = fitted.predict(rows)
        return predicted

    return OutOfFold(_joined(prepared, parts), few, shuffled)


def _joined(prepared: Prepared, parts: Sequence[tuple[np.ndarray, RowSet]]) -> RowSet:
    """The rows of all folds in the order of the table; what not every fold knows, none does."""

    def whole(name: str) -> Any:
        given = [getattr(rows, name) for _, rows in parts]
        if any(each is None for each in given):
            return None
        joined = np.empty(prepared.y.shape)
        for (at, _), each in zip(parts, given, strict=True):
            joined[at] = each
        return joined

    others = {name: whole(name) for name in ("ridge", "low", "high", "boosting")}
    return RowSet("out-of-fold", len(prepared.y), prepared.y, whole("predicted"), numbers=prepared.numbers, **others)
