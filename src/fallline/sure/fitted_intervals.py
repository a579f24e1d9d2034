"""How far the predictions of a fitted network may be off, in the user's units.

``intervals.py`` says what the rows of a fit know of themselves; here fits that leave rows out say by how much that is too
little, where the network is flexible. No file, no table and no scikit-learn is known here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.descent.penalty import Evidence
from fallline.exceptions import TableError
from fallline.fit.fitted import FittedNetwork
from fallline.fit.settings import NEARLY, Settings
from fallline.rows.rows import Rows
from fallline.sure.intervals import Intervals, Member, enough, enough_rows, intervals_of
from fallline.threads import side_by_side
from fallline.walk.loop import descend
from fallline.walk.path import DescentPath

# Where rows determine more than this share of as many weights, leave-one-out trusts the minimum too much: it was found with
# the row. Fits without it say by how much (benchmarks/README.md).
_FLEXIBLE = 0.05
_FOLDS = 5
# Of how many starts such a fit is the mean, where the fit itself is one of several: a single start is further off than a mean,
# and most of what several gain two have gained.
_STARTS = 2
_AT_ONCE = 1 << 16  # rows predicted at a time


@dataclass(frozen=True, eq=False)
class FittedIntervals:
    """Standard errors and intervals of a fitted network, in the user's units; ``scaled`` holds them in those of the descent."""

    scaled: Intervals
    fitted: FittedNetwork

    def std(self, x: np.ndarray) -> np.ndarray:
        """Standard error (n, outputs) of a new row at x (n, inputs), its noise included."""
        return self._by_rows(x, lambda block: self.scaled.std(block))

    def mean_std(self, x: np.ndarray) -> np.ndarray:
        """Standard error (n, outputs) of ŷ at x (n, inputs), for a fit to other rows of the same kind."""
        return self._by_rows(x, lambda block: self.scaled.mean_std(block))

    def interval(self, x: np.ndarray, coverage: float = 0.95) -> np.ndarray:
        """(n, outputs, 2): lower and upper end of the interval in which a new row at x is to be expected.

        Infinite where the rows of the fit leave the prediction undetermined. Raises SettingsError for a coverage outside (0, 1).
        """
        away = self.scaled.reach(coverage) * self.std(x)
        predicted = self.fitted.predict(x)
        return np.stack([predicted - away, predicted + away], axis=2)

    def says(self, names: Sequence[str] | None = None) -> str:
        """What the intervals are made of, and which directions of the weights the rows leave undetermined."""
        return self.scaled.says(names)

    def _by_rows(self, x: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        scaling = self.fitted.own_scaling
        blocks = [of(scaling.x(x[at : at + _AT_ONCE])) * scaling.y_scale for at in range(0, len(x), _AT_ONCE)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.scaled.model.outputs))


def intervals_of_fit(
    fitted: FittedNetwork, path: DescentPath, rows: Rows, settings: Settings, unseen: Rows | None = None
) -> FittedIntervals:
    """How far predictions of a fit may be off. ``rows`` are those it descended on, scaled, as ``FittedNetwork.rows`` has them.

    Where the fit knows predictions of its rows by fits that had not seen them (``FittedNetwork.left_out``), these say it.
    Leave-one-out residuals hold a row against a minimum that was found with it. Where the network is flexible, so that the
    rows determine more than one weight for twenty of them, five more fits from new starts (two each, where the fit is the mean
    of several) leave out a fifth each, and the intervals are widened by as much as the rows left out are further off. ``unseen``
    rows, which the fit has not seen (a test part), take their place. Of more than 10 000 rows as many stand for all. The
    settings are those of the fit. Raises what ``intervals_of`` raises, and KeyboardInterrupt at Ctrl-C.
    """
    rows, error = enough_rows(rows), None
    if fitted.left_out is not None:
        predicted = fitted.scaling.y(fitted.left_out[enough(len(fitted.left_out))])
        error = predicted - rows.each(lambda block: block.y)
    found = intervals_of(fitted.alone().network, fitted.averages(), rows, settings.n_jobs, error)
    factor: Any = 1.0
    if error is not None:
        return FittedIntervals(found, fitted)
    if unseen is not None:
        factor = found.further_off(unseen)
    elif rows.count - found.freedom > _FLEXIBLE * rows.count and settings.max_iter > 0:
        factor = _further_off_in_folds(path, rows, settings, min(len(found.weights), _STARTS))
    return FittedIntervals(found.widened(np.maximum(factor, 1.0)), fitted)


def _as_found(path: DescentPath) -> Any:
    """The penalty of a further fit: of the same kind, found anew from the strength that the fit ended with.

    From a strong one it would take two to three times as long, and might end at the mean of the rows, where small weights see
    nothing of the curve: such a fit says nothing of this one.
    """
    held = path.strength[path.strength > 0]
    if path.alpha != "evidence" or not held.size:
        return path.alpha
    return Evidence(float(held.mean()) / path.n_rows)


def _further_off_in_folds(path: DescentPath, rows: Rows, settings: Settings, starts: int) -> np.ndarray:
    """How many times further off (k,) rows are from fits without their fifth than leave-one-out says of those fits."""
    network: Any = path.model
    seed: Any = settings.seed
    part, counts = (rows.content_keys(seed) * _FOLDS).astype(int), rows.counts > 0
    divided = [(counts & (part != k), counts & (part == k)) for k in range(_FOLDS)]
    folds = [(rows.taking(a), rows.taking(b)) for a, b in divided if a.any() and b.any()]
    random = np.random.default_rng(None if seed is None else (seed, _FOLDS))

    def walk(teaches: Rows, begin: np.ndarray) -> DescentPath:
        way = descend(network, teaches, path.descent, weights=begin, alpha=_as_found(path), **(settings.walk | NEARLY))
        if way.stop == Stop.INTERRUPTED:
            raise KeyboardInterrupt
        return way

    tasks = [partial(walk, teaches, network.initial(random)) for teaches, _ in folds for _ in range(starts)]
    ways = side_by_side(tasks, settings.n_jobs)

    def further_off(fold: int) -> np.ndarray:
        teaches, judges = folds[fold]
        own = ways[fold * starts : (fold + 1) * starts]
        members = [Member(way.best_weights, way.strength) for way in own]
        try:
            return intervals_of(network, members, teaches).further_off(judges)
        except TableError:  # four fifths of the rows may leave nothing to see the noise by
            return np.full(network.outputs, np.nan)

    found = side_by_side([partial(further_off, fold) for fold in range(len(folds))], settings.n_jobs)
    factors = np.reshape(found, (-1, network.outputs))
    known = np.isfinite(factors).all(axis=1)
    if not known.any():
        return np.ones(network.outputs)
    judged = np.array([judges.count for _, judges in folds])
    return np.asarray(np.average(factors[known], axis=0, weights=judged[known]))
