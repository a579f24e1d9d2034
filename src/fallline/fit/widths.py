"""The default fit: networks of several widths and ridge regression, combined by what they say of rows left out.

1. The rows are divided into folds, equal rows together. For each width one network is fitted without each fold, and so is ridge
   regression; together they predict every row from fits that have not seen it.
2. The shares of the widths and of ridge are those whose mixture is nearest to the targets by these predictions, none below
   0 and 1 in all. Source: Breiman (1996), Machine Learning 24:49; Wolpert (1992), Neural Networks 5:241.
3. The networks of the widths that have a share go on with all rows, a few steps; their mean, by these shares, is the fit. One of
   them, of the narrowest width with at least half the largest share, walks from its first weights over all rows: its path,
   surface and verdict are shown.

Where inputs are many the networks see scores of them (``scores.py``), found anew without each fold, and start anew in step 3.
"""

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fallline.descent.choose import MOST_WEIGHTS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.fit.average import Part, starts_of
from fallline.fit.fitted import FittedNetwork, mixture_of
from fallline.fit.ridge import fit_ridge
from fallline.fit.scores import scores_of
from fallline.fit.settings import NEARLY, QUICK_STARTS, starts_asked
from fallline.fit.shares import shares_of
from fallline.fit.walks import CUT_SHORT, FIRST, LIGHT, LOWER, Fit, begins_of, evidence_of, first_of, sound_of
from fallline.model.activations import ACTIVATIONS
from fallline.model.network import Layer, Network
from fallline.rows.memory import InMemory, content_keys
from fallline.threads import Task
from fallline.walk.loop import descend
from fallline.walk.path import DescentPath
from fallline.words import counted

WIDTHS = (2, 5, 10, 20, 40)
_MOST_WORK = 3e9  # products of a pass
_MOST_SHARE = 1.2  # weights to a value of the targets; the narrowest is tried in any case
# Steps of fits without a fold, and of those that go on from there, at most (benchmarks/README.md).
_FOLD_STEPS, _FURTHER_STEPS = 100, 300
_LEAST_FOLDS, _RIDGE_FOLDS, _LEAST_SHARE = 3, 10, 0.01
# A width whose folds take more than so many products a pass is tried on two of them first, and left out with all wider ones
# where these two give it less than that share.
_PROBED_FROM, _PROBES, _WORTH = 2e8, 2, 0.1
_MEMBERS = 10  # in all, each width as many as its share; more are hardly nearer (benchmarks/README.md)
# Networks as narrow as these have minima far apart: a fold whose log evidence a row is lower than the best's by more than folds
# differ by chance, 1/√n, walks again from other weights.
_NARROW, _TRIES = 5, 3
# Where folds take fewer products a pass, each is walked without three times: the fit is a mean, and so is what is judged.
_CHEAP = 3e7
# Where a mixture explains less than so much of rows left out, one width tries from units that are bent so much more: small
# weights see nothing of a curve that goes up and down many times, and a walk from them ends at the mean.
_COLLAPSED, _BENT, _BENT_UNITS = 0.1, 10.0, 20
_DIGITS = 9  # of scaled rows, by which they are told apart
_SHOWN = 0.5
_OF_FOLDS = 0.6  # of the time that a fit has


class Table(NamedTuple):
    """The rows of a fit, scaled: x (n, inputs), y (n, outputs), s (n,) how often each counts; ``scores`` (inputs, q) or None.

    ``names``: what the inputs are called, or None.
    """

    x: np.ndarray
    y: np.ndarray
    s: np.ndarray
    scores: np.ndarray | None
    names: Sequence[str] | None = None


class _Begin(NamedTuple):
    """Where a walk begins: weights, and the penalty that evidence begins from; ``nearly``: whether it need not arrive
    to the last digit."""

    weights: np.ndarray
    first: float
    nearly: bool = False


class _Candidate(NamedTuple):
    """One width: the walk without each fold, where it began, and ``entering`` (n, outputs).

    The last is what enters the outputs for rows that the walk had not seen.
    """

    network: Network
    begins: list[_Begin]
    paths: list[DescentPath]
    entering: np.ndarray


class _Plan(NamedTuple):
    """A part of the fit to be walked for: its network, its share, its begins, and the paths that serve if the time is over."""

    network: Network
    share: float
    begins: list[_Begin]
    instead: list[DescentPath]


def fit_widths(fit: Fit, table: Table) -> tuple[FittedNetwork, DescentPath]:
    """The mixture of widths and ridge regression that the header tells of, and the path shown.

    ``fit.rows`` are those of the table, as scores where there are any. A fit cut short is that of what had arrived.
    """
    run, until = _Run(fit, table), fit.until
    fit.until = until if until == math.inf else time.perf_counter() + _OF_FOLDS * (until - time.perf_counter())
    candidates = run.candidates()
    run.late, fit.until = fit.late(), until
    entering = run.entering(candidates)
    shares = run.shares(entering)
    if not fit.settings.average and candidates:
        shares = np.where(np.arange(len(shares)) == np.argmax(shares[: len(candidates)]), 1.0, 0.0)
    shares[shares < _LEAST_SHARE] = 0.0
    shares /= shares.sum()
    left_out = run.predicted(entering, shares)
    plans = [run.plan(each, share) for each, share in zip(candidates, shares, strict=False) if share]
    fitted, path = run.mixture(_in_order(plans), float(shares[-1]) if run.ridge else 0.0)
    return replace(fitted, left_out=fit.scaling.unscale_y(left_out)), path


def widths_again(fit: Fit, table: Table, before: FittedNetwork) -> tuple[FittedNetwork, DescentPath]:
    """Every start of a mixture goes on from where it ended; the shares stay what they were."""
    run = _Run(fit, table)
    bent = [part for part in before.parts if part.starts.network.hidden]
    plans = [
        _Plan(
            starts.network,
            share,
            [_Begin(start.weights, first_of(start.strength, fit.rows.count)) for start in starts.each],
            [],
        )
        for starts, share in bent
    ]
    return run.mixture(plans, 1.0 - sum(plan.share for plan in plans))


class _Run:
    """One fit of widths under way."""

    def __init__(self, fit: Fit, table: Table) -> None:
        self.fit, self.table, self.passes = fit, table, 0
        self.late = False  # whether there was no time for all widths
        self.output_activation = fit.settings.output_activation
        # Rounded: rows counted twice, or in other units, are scaled to other last bits, and belong to the same folds.
        keys = content_keys(np.round(table.x, _DIGITS), np.round(table.y, _DIGITS), fit.settings.seed)
        different = np.unique(keys[table.s > 0])  # rows that do not count stand beside others
        self.different, self._place = len(different), np.searchsorted(different[1:], keys, "right")
        self._without = functools.cache(self._rows_without)
        self.ridge = [self._ridge_without()] if self.output_activation == "identity" and fit.settings.bias else []

    def entering(self, candidates: Sequence[_Candidate]) -> np.ndarray:
        """What enters the outputs (n, outputs, m) for rows left out, by each width and by ridge regression."""
        return np.stack([each.entering for each in candidates] + self.ridge, axis=2)

    def predicted(self, entering: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """The predictions (n, outputs) of a mixture by these shares (m,)."""
        return np.asarray(ACTIVATIONS[self.output_activation].value(entering @ shares, np))

    def shares(self, entering: np.ndarray, seen: Any = slice(None)) -> np.ndarray:
        """The shares by what enters the outputs (n, outputs, m) for the rows ``seen``."""
        table = self.table
        return shares_of(entering[seen], table.y[seen], table.s[seen], self.output_activation)

    def candidates(self) -> list[_Candidate]:
        """The widths worth trying, as far as there is time."""
        found: list[_Candidate] = []
        inputs, outputs = self.table.x.shape[1], self.table.y.shape[1]
        inputs = inputs if self.table.scores is None else self.table.scores.shape[1]
        most = min(MOST_WEIGHTS, _MOST_SHARE * self.table.s.sum() * outputs)
        for width in WIDTHS[:-1] if self.fit.settings.quick else WIDTHS:
            network = self.fit.settings.network(inputs, outputs, (width,))
            if found and (network.n_weights > most or self.fit.work(network) > _MOST_WORK):
                break
            candidate = self._tried(network, found)
            if candidate is None:
                break
            found.append(candidate)
        if found and self._explained(found) < _COLLAPSED and not self.fit.is_over():
            known = {each.network.hidden[0]: each.network for each in found}
            bent = self._tried(known.get(_BENT_UNITS, found[-1].network), found, bent=_BENT)
            found += [] if bent is None else [bent]
        return found

    def _explained(self, found: Sequence[_Candidate]) -> float:
        """The share of the targets' spread that the mixture explains in rows left out."""
        entering = self.entering(found)
        residual = self.table.y - self.predicted(entering, self.shares(entering))
        return 1.0 - 0.5 * float((self.table.s @ residual**2).sum()) / self.fit.rows.error_of_mean

    def _tried(self, network: Network, others: Sequence[_Candidate], bent: float = 1.0) -> _Candidate | None:
        """A width, by a walk without each fold; None where it is not worth it, or the fit is to stop.

        bent: what the weights of the first layer are multiplied by where walks begin.
        """
        fit, settings = self.fit, self.fit.settings
        asked = max(starts_asked(settings, network, fit.descent, len(fit.rows)), _LEAST_FOLDS)
        count = min(asked, self.different)
        penalties = [LIGHT] if bent != 1 else FIRST
        into = np.where(network.units() < network.hidden[0], bent, 1.0)
        weights = begins_of(network, settings.seed, _TRIES * count)
        # A fold that walks again begins from the other penalty: from a strong one a walk may see nothing of a curve.
        turns = [penalties[(at % count + at // count) % len(penalties)] for at in range(len(weights))]
        begins = [_Begin(into * each, first, True) for each, first in zip(weights, turns, strict=True)]
        paths: list[DescentPath] = []
        entering = np.full(self.table.y.shape, np.nan)

        def walked(some: Sequence[int], turn: int = 0) -> list[DescentPath]:
            tasks = [self._task(network, begins[turn * count + k], k, count, fold=True) for k in some]
            return [path for path in self._results(tasks) if path.stop not in CUT_SHORT]

        tried: list[list[DescentPath]] = [[] for _ in range(count)]
        narrow, cheap = network.hidden[0] <= _NARROW, fit.work(network) * count <= _CHEAP and not settings.quick
        lower = 1 / math.sqrt(fit.rows.count) if narrow else LOWER

        def keep(k: int, path: DescentPath) -> None:
            tried[k].append(path)
            least = max(map(_evidence, tried[k])) - lower
            _, out, scores = self._without(count, k)
            x = self.table.x[out] if scores is None else self.table.x[out] @ scores
            plain = replace(network, output_activation="identity")
            each = [plain.predict(path.best_weights, x) for path in tried[k] if _evidence(path) >= least]
            entering[out] = np.mean(each, axis=0)

        probes = min(_PROBES, count) if others and fit.work(network) * count > _PROBED_FROM else count
        for some in filter(len, (range(probes), range(probes, count))):
            paths += walked(some)
            if len(paths) < some.stop:
                return None
            for k in some:
                keep(k, paths[k])
            if some.stop < count and not self._is_worth_it(entering, others):
                return None
        for turn in range(1, _TRIES if narrow or cheap else 2):
            least = math.inf if cheap else max(map(_evidence, paths)) - lower
            lost = [k for k, path in enumerate(paths) if _evidence(path) < least]
            again = walked(lost, turn)
            if len(again) < len(lost):  # cut short: whose they are is not known
                break
            for k, path in zip(lost, again, strict=True):
                keep(k, path)
                if _evidence(path) > _evidence(paths[k]):
                    paths[k], begins[k] = path, begins[turn * count + k]
        return _Candidate(network, begins[:count], paths, entering)

    def _is_worth_it(self, entering: np.ndarray, others: Sequence[_Candidate]) -> bool:
        """Whether a width has a share worth its time, by the rows that it is known for."""
        seen = np.isfinite(entering).all(axis=1)
        known = np.concatenate([entering[..., None], self.entering(others)], axis=2)
        return bool(self.shares(known, seen)[0] >= _WORTH)

    def plan(self, candidate: _Candidate, share: float) -> _Plan:
        """What is to be walked for a width: the first from its beginning, the others on from where they are.

        With scores all walk from their beginning: without a fold there are others.
        """
        settings = self.fit.settings
        most = QUICK_STARTS if settings.quick else _MEMBERS
        count = math.ceil(most * share) if settings.n_starts == "auto" else int(settings.n_starts)
        count = count if settings.average else 1
        order = np.argsort([-_evidence(path) for path in candidate.paths], kind="stable").tolist()
        begins = [candidate.begins[at]._replace(nearly=False) for at in order]
        paths = [candidate.paths[at] for at in order]
        if self.table.scores is not None:
            return _Plan(candidate.network, share, begins[:count], [])
        further = [_Begin(path.best_weights, first_of(path.strength, path.n_rows), True) for path in paths[1:]]
        return _Plan(candidate.network, share, [begins[0], *further][:count], paths[:count])

    def mixture(self, plans: Sequence[_Plan], line: float) -> tuple[FittedNetwork, DescentPath]:
        """The fit that these plans make, with ridge regression by the share ``line``, and the path shown."""
        fit, parts, missing = self.fit, list[Part](), 0
        shown: DescentPath | None = None
        given = [
            [self._task(plan.network, begin, at, len(plan.begins)) for at, begin in enumerate(plan.begins)]
            for plan in plans
        ]
        for plan, tasks in zip(plans, given, strict=True):
            paths = self._results(tasks)
            arrived = [path for path in paths if path.stop not in CUT_SHORT]
            missing += len(tasks) - len(arrived)
            sound = sound_of(arrived) or plan.instead or paths[:1]
            if not sound:
                continue
            if not parts and paths and sound[0] is not paths[0] and not fit.is_over():
                # The walk from the beginning ended in a worse minimum: shown is one that goes on from the best of the others.
                best = max(sound, key=_evidence)
                begin = _Begin(best.best_weights, first_of(best.strength, best.n_rows))
                paths = self._results([self._task(plan.network, begin, 0, 1)])
                sound = [*paths, *(path for path in sound if path is not best)]
            ends = starts_of(plan.network, fit.rows, sound)
            at = 0 if paths and sound[0] is paths[0] else ends.shown
            shown = shown or sound[at]
            parts.append(Part(replace(ends, shown=at), plan.share))
        if line or not parts:
            part, path = self._ridge_part(line or 1.0, walked=not parts)
            parts.append(part)
            shown = shown or path
        if shown is None:
            raise KeyboardInterrupt
        if self.late or ((missing or not plans) and fit.is_over()):
            shown = fit.cut_short(shown, "the fit is that of the starts that had arrived. ", late=self.late)
        total = sum(part.share for part in parts)
        parts = [Part(part.starts, part.share / total) for part in parts]
        scores = self.table.scores if parts[0].starts.network.hidden else None
        return replace(mixture_of(parts, fit.scaling, scores), passes=self.passes), shown

    def _task(
        self, network: Network, begin: _Begin, at: int, count: int, *, fold: bool = False
    ) -> Task[DescentPath | None]:
        """A walk over all rows, or over those without the fold ``at`` of ``count``."""
        fit = self.fit

        def walk() -> DescentPath:
            rows, _, scores = self._without(count, at) if fold else (None, None, self.table.scores)
            steps = _FOLD_STEPS if fold else _FURTHER_STEPS
            walk = NEARLY | {"max_iter": min(fit.settings.max_iter, steps)} if begin.nearly else {}
            scaling = fit.scaling if scores is None else replace(fit.scaling, scores=scores)
            return fit.walk(
                network, begin.weights, begin.first, number=at + 1, count=count, rows=rows, **walk,
                watched={} if fold else fit.watched, standing=lambda now: FittedNetwork(network, now.weights, scaling),
                phase=f"{counted(network.hidden[0], 'unit')}{', without a fold' if fold else ''}",
            )  # fmt: skip

        return fit.task(network, walk)

    def _results(self, tasks: Sequence[Task[DescentPath | None]]) -> list[DescentPath]:
        """The paths that tasks led to, without those that did not begin."""
        paths = [path for path in map(self.fit.result, tasks) if path is not None]
        self.passes += sum(path.n_passes for path in paths)
        return paths

    def _out(self, count: int, fold: int) -> np.ndarray:
        """The rows (n,) of one of so many folds: each has as many different rows, and equal rows are together."""
        return np.asarray(self._place * count // self.different == fold)

    def _rows_without(self, count: int, fold: int) -> tuple[InMemory, np.ndarray, np.ndarray | None]:
        """The rows without a fold, as a network sees them, which rows (n,) the fold is, and the scores without it."""
        out, (x, y, s, scores, _) = self._out(count, fold), self.table
        if scores is None:
            return self.fit.rows.taking(~out), out, None
        found = scores_of(x[~out], y[~out], s[~out], scores.shape[1])
        found = np.pad(found, ((0, 0), (0, scores.shape[1] - found.shape[1])))  # fewer rows may have fewer
        return InMemory(x[~out] @ found, y[~out], s[~out]), out, found

    def _ridge_without(self) -> np.ndarray:
        """Ridge regression's predictions (n, outputs) of rows that it has not seen."""
        x, y, s, *_ = self.table
        predicted = np.empty(y.shape)
        count = min(_RIDGE_FOLDS, self.different)
        for fold in range(count):
            out = self._out(count, fold)
            predicted[out] = fit_ridge(x[~out], y[~out], s[~out]).predict(x[out])
        return predicted

    def _ridge_part(self, share: float, *, walked: bool) -> tuple[Part, DescentPath | None]:
        """Ridge regression as a network without hidden layers, and the path there, walked only where it is shown."""
        fit, (x, y, s, _, names) = self.fit, self.table
        network = fit.settings.network(x.shape[1], y.shape[1], ())
        ridge = fit_ridge(x, y, s)
        weights = network.vector([Layer(ridge.coef, ridge.intercept)])
        strength = network.vector([Layer(np.broadcast_to(ridge.alpha, ridge.coef.shape), np.zeros(y.shape[1]))])
        rows = InMemory(x, y, s)
        path = descend(
            network, rows, LevenbergMarquardt(), weights=network.initial(fit.settings.seed) if walked else weights,
            alpha=strength, max_iter=fit.settings.max_iter if walked else 0, input_names=names,
        )  # fmt: skip
        path = replace(path, alpha=float(ridge.alpha.mean()))
        return Part(starts_of(network, rows, [path]), share), path if walked else None


def _in_order(plans: Sequence[_Plan]) -> list[_Plan]:
    """The one shown first: the narrowest with at least half the largest share, the easiest to look at. Then the longest walks."""
    least = _SHOWN * max((plan.share for plan in plans), default=0.0)
    longest = sorted(plans, key=lambda plan: -plan.network.n_weights)
    shown = [plan for plan in longest if plan.share >= least][-1:]
    return shown + [plan for plan in longest if plan is not shown[0]]


def _evidence(path: DescentPath) -> float:
    """The log evidence that a path found, a row."""
    return evidence_of(path) / path.n_rows if "log_evidence" in path.shown else 0.0
