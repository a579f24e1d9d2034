"""The weight decay of a classifier, and whether logistic regression stands beside it, by the Brier score of rows left out.

Columns of 0 and 1 have no noise of one size, so that the evidence of Bayesian regularisation says little of them: the decay it
found had 1.3 times (wine) to 1.9 times (iris) the Brier score of a fixed one, and less only on a table without noise (crabs).
Which decay is best differs by a factor of 200 from table to table, and rows left out see it (benchmarks/README.md). The same
rows say whether the networks are better by themselves than in the mean with logistic regression. No file, no table and no
scikit-learn is known here.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.descent.choose import choose
from fallline.fit.fitted import FittedNetwork
from fallline.fit.large import is_large
from fallline.fit.line import SHARE, lines
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import LIGHT_DECAY, NEARLY, Settings
from fallline.fit.simplex import class_numbers_of, probabilities
from fallline.model.activations import ACTIVATIONS
from fallline.rows.rows import content_keys
from fallline.threads import side_by_side
from fallline.walk.stopping import end_of

# From hardly any to one under which a network is all but linear, in steps of three; the climb begins at the middle.
_DECAYS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FIRST = 3
# Of the standard errors by which the score has to fall: a stronger decay is the simpler fit, a lighter one has to prove itself.
_ENOUGH = {1: 0.5, -1: 1.0}
_ENOUGH_ALONE = 1.0  # by which networks alone have to be better than in the mean with a line, which is safer
_FOLDS = 5
# Of a fit that leaves a fold out: the fit itself is a mean, which bears a lighter decay than a single start.
_STARTS = 2
_FEWEST_ROWS = 20
_MOST_ROWS = 2000  # that choose: a decay stands for what is known of weights before there are rows, however many come
# Hidden units where nobody chose: networks of ten units predicted as well as those of twenty on the four tables tried (iris, two
# classes of it, wine, crabs), in 0.2 to 0.8 of the time. Where Levenberg–Marquardt cannot go down, many inputs and classes want
# more of them.
_NARROW, _WIDE = (10,), (50,)
# Of logistic regression, whose fits are nearly free, from strong to light; its rows · inputs² · outputs at most.
_LINE_DECAYS, _MOST_LINE = [float(10 ** (k / 4)) for k in range(10, -7, -1)], 1e8


def decided(
    settings: Settings, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None, judged: bool = False,
    told: Callable[[str], Any] = lambda words: None,
) -> Settings:  # fmt: skip
    """The settings of a fit to x (n, inputs) and columns y (n, k) of 0 and 1, with a number for an ``alpha`` of "auto".

    Looked for from 0.1 on to stronger candidates, for as long as the Brier score over five folds falls by more than half its
    standard error, or else to lighter ones, by more than all of it: a few rows must not decide. Folds hold each class in
    proportion and equal rows together, so that weights are repetitions. Fits too large for Levenberg–Marquardt leave out one
    fold alone. With fewer than 20 rows, or where rows that are ``judged`` by stop the descent, it is 0.1. A width that nobody
    chose is 10 hidden units, 50 where the fit is large; ``line`` is then the decay under which logistic regression has the lowest
    score, unless the networks alone have a lower one than both together, by more than its standard error. Of ``max_seconds`` the
    search takes at most half; the settings returned have the rest. ``told`` is called with what is tried next, in words.
    Raises KeyboardInterrupt at Ctrl-C.
    """
    began, end = time.perf_counter(), end_of(settings.max_seconds)
    has_line = _bears_line(settings, x, y)
    large = not choose("auto", settings.network(x.shape[1], y.shape[1]), len(x))[0].finds_penalty
    if settings.finds_width and settings.alpha != "evidence":
        settings = dataclasses.replace(settings, hidden_layer_sizes=_WIDE if large else _NARROW)
    if settings.alpha != "auto":
        return settings
    if judged or (len(x) if sample_weight is None else sample_weight.sum()) < _FEWEST_ROWS:
        return dataclasses.replace(settings, alpha=LIGHT_DECAY)
    search = _Search(settings, x, y, sample_weight, 1 if large else _FOLDS, began + (end - began) / 2, told)
    decay = search.decay()
    line = search.line() if has_line and not search.is_over() else None
    if settings.max_seconds is not None:
        left = max(settings.max_seconds - (time.perf_counter() - began), 1e-3)
        settings = dataclasses.replace(settings, max_seconds=left)
    return dataclasses.replace(settings, alpha=decay, line=line)


def _bears_line(settings: Settings, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether logistic regression may stand beside the networks: a usual fit, and rows of which it is quick."""
    usual = settings.finds_width and settings.average and settings.bias and settings.scale
    usual = usual and settings.output_activation == "logistic" and not is_large(len(x), settings)
    return usual and len(x) * x.shape[1] ** 2 * y.shape[1] <= _MOST_LINE


class _Search:
    """The rows that choose, the folds of them that are left out, and the best fits so far without each.

    ``until``: when its time is over, as ``time.perf_counter()`` reads then.
    """

    def __init__(
        self, settings: Settings, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, count: int, until: float,
        told: Callable[[str], Any],
    ) -> None:  # fmt: skip
        seed = 0 if settings.seed is None else settings.seed
        self.asked = dataclasses.replace(settings, seed=seed, n_starts=_STARTS, n_jobs=1, **NEARLY)
        self.n_jobs, self.weighted, self.until, self.told = settings.n_jobs, sample_weight is not None, until, told
        counts = np.ones(len(x)) if sample_weight is None else sample_weight
        at = np.flatnonzero(counts > 0)
        keys = content_keys(x[at], y[at], 0)
        if len(different := np.unique(keys)) > _MOST_ROWS:
            some = keys < different[_MOST_ROWS]
            at, keys = at[some], keys[some]
        self.x, self.y, self.counts, self.number = x[at], y[at], counts[at], class_numbers_of(y)[at]
        fold = _folds(keys, self.number)
        self.folds = [fold == k for k in range(count) if (fold == k).any() and (fold != k).any()]
        self.often = np.concatenate([self.counts[left] for left in self.folds])
        self.fits: list[FittedNetwork] = []
        self.scores = np.empty(0)

    def is_over(self) -> bool:
        """Whether its time is."""
        return time.perf_counter() >= self.until

    def decay(self) -> float:
        """The decay of the lowest score, as far as steps prove to be worth it; ``fits`` and ``scores`` are then its own."""
        place = _FIRST
        self.fits, self.scores = self._under(place, [None] * len(self.folds))
        for step in (1, -1):
            while 0 <= place + step < len(_DECAYS):
                fits, scores = self._under(place + step, self.fits)
                if self.is_over() or not _lower(scores, self.scores, self.often, _ENOUGH[step]):
                    break
                self.fits, self.scores, place = fits, scores, place + step
            if place != _FIRST:
                break
        return _DECAYS[place]

    def line(self) -> float | None:
        """The decay of logistic regression beside the fits; None where these are better alone."""
        self.told("trying logistic regression beside the network")
        tasks = [functools.partial(self._beside, near, left) for near, left in zip(self.fits, self.folds, strict=True)]
        alone, beside = np.concatenate(side_by_side(tasks, self.n_jobs), axis=2)
        mean = int(np.argmin(alone @ self.often))
        return None if _lower(self.scores, beside[mean], self.often, _ENOUGH_ALONE) else _LINE_DECAYS[mean]

    def _under(self, place: int, before: Sequence[FittedNetwork | None]) -> tuple[list[FittedNetwork], np.ndarray]:
        """The fits without each fold under a decay, going on from others, and the score of each row, fold by fold."""
        self.told(f"choosing the weight decay by rows left out: trying {_DECAYS[place]:g}")
        each = zip(self.folds, before, strict=True)
        tasks = [functools.partial(self._without, left, _DECAYS[place], near) for left, near in each]
        fits, scores = zip(*side_by_side(tasks, self.n_jobs), strict=True)
        return list(fits), np.concatenate(scores)

    def _without(
        self, left: np.ndarray, decay: float, before: FittedNetwork | None
    ) -> tuple[FittedNetwork, np.ndarray]:
        """A fit without the rows that are left out, and the Brier score of each of these."""
        weights = self.counts[~left] if self.weighted else None
        seconds = None if self.until == math.inf else max(self.until - time.perf_counter(), 1e-3)
        fitted, path = fit_network(
            self.x[~left], self.y[~left], self.asked,
            sample_weight=weights, before=before, alpha=decay, max_seconds=seconds,
        )  # fmt: skip
        if path.stop == Stop.INTERRUPTED:
            raise KeyboardInterrupt
        return fitted, self._score(fitted.predict(self.x[left]), left)

    def _beside(self, fitted: FittedNetwork, left: np.ndarray) -> np.ndarray:
        """Scores (2, decays, rows) of the rows left out, by logistic regression alone and in the mean with a fit without them."""
        seen, new = fitted.scaling.x(self.x[~left]), fitted.scaling.x(self.x[left])
        enters = dataclasses.replace(fitted.network, output_activation="identity").predict(fitted.weights, new)
        value, scores = ACTIVATIONS["logistic"].value, []
        for line in lines(seen, self.y[~left], self.counts[~left], _LINE_DECAYS):
            z = new @ line.coef + line.intercept
            scores.append([self._score(value(each, np), left) for each in (z, SHARE * z + (1 - SHARE) * enters)])
        return np.stack(scores, axis=1)

    def _score(self, outputs: np.ndarray, left: np.ndarray) -> np.ndarray:
        """The Brier score of each row that was left out, by the outputs for them."""
        p = probabilities(outputs)
        return np.asarray(((p - np.eye(p.shape[1])[self.number[left]]) ** 2).sum(axis=1))


def _lower(scores: np.ndarray, than: np.ndarray, often: np.ndarray, errors: float) -> bool:
    """Whether scores (n,) are lower than others of the same rows, in the mean and by more than so many of its standard errors."""
    apart, n = scores - than, often.sum()
    mean = often @ apart / n
    return bool(mean < 0 and mean**2 > errors**2 * (often @ (apart - mean) ** 2) / n**2)


def _folds(keys: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The fold of each row, (n,): the different rows of each class are dealt out in the order of their keys."""
    fold, dealt = np.empty(len(keys), int), 0
    for one in np.unique(number):
        own = number == one
        different, place = np.unique(keys[own], return_inverse=True)
        fold[own] = (place + dealt) % _FOLDS
        dealt += len(different)  # so that classes of a row or two do not all fall into the first fold
    return fold
