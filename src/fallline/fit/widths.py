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
import itertools
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
from fallline.rows.memory import InMemory
from fallline.rows.rows import Rows, content_keys
from fallline.threads import Task
from fallline.walk.loop import descend
from fallline.walk.path import DescentPath
from fallline.words import counted

WIDTHS = (2, 5, 10, 20, 40)
_MOST_WORK = 1e9  # products of a pass
_MOST_SHARE = 1.2  # weights to a value of the targets; the narrowest is tried in any case
# Steps of fits without a fold, and of those with all rows but the one shown, at most (benchmarks/README.md).
_FOLD_STEPS, _FURTHER_STEPS = 100, 200
_LEAST_FOLDS, _RIDGE_FOLDS, _LEAST_SHARE = 3, 10, 0.01
# A width whose folds take more than so many products a pass is tried on two of them first, and left out with all wider ones
# where these two give it less than that share.
_PROBED_FROM, _PROBES, _WORTH = 2e8, 2, 0.1
_MEMBERS = 10  # in all, each width as many as its share; more are hardly nearer (benchmarks/README.md)
# Networks as narrow as these have minima far apart: a fold whose log evidence a row is lower than the best's by more than folds
# differ by chance, 1/√n, walks again from other weights.
_NARROW, _TRIES = 5, 3
# Where folds take fewer products a pass, each is walked without twice: the fit is a mean, and so is what is judged.
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
    """Where a walk begins: weights, and the penalty that evidence begins from; ``steps``: how many it takes at most, and then
    it need not arrive to the last digit, or None for as many as the settings say."""

    weights: np.ndarray
    first: float
    steps: int | None = None


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
    chosen = _in_order([(each, share) for each, share in zip(candidates, shares, strict=False) if share])
    plans = [run.plan(*each, shown=not at) for at, each in enumerate(chosen)]
    fitted, path = run.mixture(plans, float(shares[-1]) if run.ridge else 0.0)
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
        self.without = functools.cache(self._rows_without)
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
        """The widths worth trying, as far as there is time.

        The wide ones are given to threads first of all, so that these do not wait while the one that waits walks for the
        narrow ones; whoever turns out not to be worth it is dropped.
        """
        trials = [_Trial(self, network, first=not at) for at, network in enumerate(self._networks())]
        found: list[_Candidate] = []
        for trial in trials:
            candidate = trial.candidate(found)
            if candidate is None:
                break
            found.append(candidate)
        for trial in trials[len(found) :]:
            trial.drop()
        if found and self._explained(found) < _COLLAPSED and not self.fit.is_over():
            known = {each.network.hidden[0]: each.network for each in found}
            bent = _Trial(self, known.get(_BENT_UNITS, found[-1].network), bent=_BENT).candidate(found)
            found += [] if bent is None else [bent]
        return found

    def _networks(self) -> list[Network]:
        """The narrowest width, and wider ones as long as rows and passes allow."""
        inputs, outputs = self.table.x.shape[1], self.table.y.shape[1]
        inputs = inputs if self.table.scores is None else self.table.scores.shape[1]
        most = min(MOST_WEIGHTS, _MOST_SHARE * self.table.s.sum() * outputs)
        widths = WIDTHS[:-1] if self.fit.settings.quick else WIDTHS
        first, *wider = [self.fit.settings.network(inputs, outputs, (width,)) for width in widths]
        few = itertools.takewhile(lambda each: each.n_weights <= most and self.fit.work(each) <= _MOST_WORK, wider)
        return [first, *few]

    def _explained(self, found: Sequence[_Candidate]) -> float:
        """The share of the targets' spread that the mixture explains in rows left out."""
        entering = self.entering(found)
        residual = self.table.y - self.predicted(entering, self.shares(entering))
        return 1.0 - 0.5 * float((self.table.s @ residual**2).sum()) / (self.fit.rows.error_of_mean or 1.0)

    def is_worth_it(self, entering: np.ndarray, others: Sequence[_Candidate]) -> bool:
        """Whether a width has a share worth its time, by the rows that it is known for."""
        seen = np.isfinite(entering).all(axis=1)
        known = np.concatenate([entering[..., None], self.entering(others)], axis=2)
        return bool(self.shares(known, seen)[0] >= _WORTH)

    def plan(self, candidate: _Candidate, share: float, *, shown: bool) -> _Plan:
        """What is to be walked for a width: the first from its beginning, the others on from where they are.

        With scores all walk from their beginning: without a fold there are others. Only the first of the width shown has to
        arrive at its minimum.
        """
        settings = self.fit.settings
        most = QUICK_STARTS if settings.quick else _MEMBERS
        count = math.ceil(most * share) if settings.n_starts == "auto" else int(settings.n_starts)
        count = count if settings.average else 1
        order = np.argsort([-_evidence(path) for path in candidate.paths], kind="stable").tolist()[:count]
        first, *begins = [candidate.begins[at] for at in order]
        first = first._replace(steps=None if shown else _FURTHER_STEPS)
        if self.table.scores is not None:
            return _Plan(candidate.network, share, [first, *begins], [])
        paths = [candidate.paths[at] for at in order]
        further = [
            _Begin(path.best_weights, first_of(path.strength, path.n_rows), _FURTHER_STEPS) for path in paths[1:]
        ]
        return _Plan(candidate.network, share, [first, *further], paths)

    def mixture(self, plans: Sequence[_Plan], line: float) -> tuple[FittedNetwork, DescentPath]:
        """The fit that these plans make, with ridge regression by the share ``line``, and the path shown."""
        fit, parts, missing = self.fit, list[Part](), 0
        shown: DescentPath | None = None
        given = [
            [self.task(plan.network, begin, at, len(plan.begins)) for at, begin in enumerate(plan.begins)]
            for plan in plans
        ]
        for plan, tasks in zip(plans, given, strict=True):
            paths = self.results(tasks)
            arrived = [path for path in paths if path.stop not in CUT_SHORT]
            missing += len(tasks) - len(arrived)
            sound = sound_of(arrived) or plan.instead or paths[:1]
            if not sound:
                continue
            if not parts and paths and sound[0] is not paths[0] and not fit.is_over():
                # The walk from the beginning ended in a worse minimum: shown is one that goes on from the best of the others.
                best = max(sound, key=_evidence)
                begin = _Begin(best.best_weights, first_of(best.strength, best.n_rows))
                paths = self.results([self.task(plan.network, begin, 0, 1)])
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

    def task(
        self, network: Network, begin: _Begin, at: int, count: int, *, fold: bool = False
    ) -> Task[DescentPath | None]:
        """A walk over all rows, or over those without the fold ``at`` of ``count``."""
        fit = self.fit

        def walk() -> DescentPath:
            rows, _, scores = self.without(count, at) if fold else (None, None, self.table.scores)
            walk = {} if begin.steps is None else NEARLY | {"max_iter": min(fit.settings.max_iter, begin.steps)}
            scaling = fit.scaling if scores is None else replace(fit.scaling, scores=scores)
            return fit.walk(
                network, begin.weights, begin.first, number=at + 1, count=count, rows=rows, **walk,
                watched={} if fold else fit.watched, standing=lambda now: FittedNetwork(network, now.weights, scaling),
                phase=f"{counted(network.hidden[0], 'unit')}{', without a fold' if fold else ''}",
            )  # fmt: skip

        return fit.task(network, walk)

    def results(self, tasks: Sequence[Task[DescentPath | None]]) -> list[DescentPath]:
        """The paths that tasks led to, without those that did not begin."""
        paths = [path for path in map(self.fit.result, tasks) if path is not None]
        self.passes += sum(path.n_passes for path in paths)
        return paths

    def _out(self, count: int, fold: int) -> np.ndarray:
        """The rows (n,) of one of so many folds: each has as many different rows, and equal rows are together."""
        return np.asarray(self._place * count // self.different == fold)

    def _rows_without(self, count: int, fold: int) -> tuple[Rows, np.ndarray, np.ndarray | None]:
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


class _Trial:
    """A width on trial: its walks without each fold, and what these predict for the rows that they have not seen.

    first: whether no width was tried before; bent: what the weights of the first layer are multiplied by where walks begin.
    """

    def __init__(self, run: _Run, network: Network, *, first: bool = False, bent: float = 1.0) -> None:
        fit, settings = run.fit, run.fit.settings
        asked = max(starts_asked(settings, network, fit.descent, len(fit.rows)), _LEAST_FOLDS)
        self.run, self.network, self.count = run, network, min(asked, run.different)
        work, narrow = fit.work(network) * self.count, network.hidden[0] <= _NARROW
        cheap = work <= _CHEAP and not settings.quick
        self.lower = 1 / math.sqrt(fit.rows.count) if narrow else LOWER
        # By how much a fold may be lower and not walk again.
        self.accepted = -math.inf if cheap else self.lower
        self.turns = _TRIES if narrow and not cheap else min(2, _TRIES)
        penalties = [LIGHT] if bent != 1 else FIRST
        into = np.where(network.units() < network.hidden[0], bent, 1.0)
        self.begins: list[_Begin] = []
        for at, weights in enumerate(begins_of(network, settings.seed, _TRIES * self.count)):
            # A fold that walks again begins from the other penalty: from a strong one a walk may see nothing of a curve.
            penalty = penalties[(at % self.count + at // self.count) % len(penalties)]
            self.begins.append(_Begin(into * weights, penalty, _FOLD_STEPS))
        self.walked: list[list[tuple[_Begin, DescentPath]]] = [[] for _ in range(self.count)]
        self.entering = np.full(run.table.y.shape, np.nan)
        probed = not first and work > _PROBED_FROM
        self.probes = range(min(_PROBES, self.count) if probed else self.count)
        self.given = self._give(self.probes)

    def candidate(self, others: Sequence[_Candidate]) -> _Candidate | None:
        """The width as a candidate beside others; None where it is not worth it, or the fit is to stop."""
        rest = range(len(self.probes), self.count)
        if not self._arrived(self.probes, self.given):
            return None
        if rest and not (self.run.is_worth_it(self.entering, others) and self._arrived(rest, self._give(rest))):
            return None
        for turn in range(1, self.turns):
            evidence = [_evidence(self._best(k)[1]) for k in range(self.count)]
            lost = [k for k, found in enumerate(evidence) if found < max(evidence) - self.accepted]
            if not self._arrived(lost, self._give(lost, turn), turn):
                break
        begins, paths = zip(*map(self._best, range(self.count)), strict=True)
        return _Candidate(self.network, list(begins), list(paths), self.entering)

    def drop(self) -> None:
        """Nobody asks what becomes of it any more."""
        for task in self.given:
            task.drop()

    def _give(self, folds: Sequence[int], turn: int = 0) -> list[Task[DescentPath | None]]:
        """Have walks without these folds made, from the begins of a turn."""
        own = self.begins[turn * self.count :]
        return [self.run.task(self.network, own[k], k, self.count, fold=True) for k in folds]

    def _arrived(self, folds: Sequence[int], tasks: list[Task[DescentPath | None]], turn: int = 0) -> bool:
        """Wait for these walks, and predict the rows of their folds; False where the fit is to stop before all arrived."""
        paths = [path for path in self.run.results(tasks) if path.stop not in CUT_SHORT]
        if len(paths) < len(folds):  # whose they are is not known
            return False
        for k, path in zip(folds, paths, strict=True):
            self.walked[k].append((self.begins[turn * self.count + k], path))
            self._predict(k)
        return True

    def _best(self, k: int) -> tuple[_Begin, DescentPath]:
        """The walk without a fold that found the highest evidence, and where it began."""
        return max(self.walked[k], key=lambda each: _evidence(each[1]))

    def _predict(self, k: int) -> None:
        """The rows of a fold, by the mean of the walks without it whose evidence is near the highest."""
        _, out, scores = self.run.without(self.count, k)
        x = self.run.table.x[out] if scores is None else self.run.table.x[out] @ scores
        least = _evidence(self._best(k)[1]) - self.lower
        plain = replace(self.network, output_activation="identity")
        sound = [path for _, path in self.walked[k] if _evidence(path) >= least]
        self.entering[out] = np.mean([plain.predict(path.best_weights, x) for path in sound], axis=0)


def _in_order(chosen: Sequence[tuple[_Candidate, float]]) -> list[tuple[_Candidate, float]]:
    """The one shown first: the narrowest with at least half the largest share, the easiest to look at. Then the longest walks."""
    least = _SHOWN * max((share for _, share in chosen), default=0.0)
    longest = sorted(chosen, key=lambda each: -each[0].network.n_weights)
    shown = [each for each in longest if each[1] >= least][-1:]
    return shown + [each for each in longest if each is not shown[0]]


def _evidence(path: DescentPath) -> float:
    """The log evidence that a path found, a row; −∞ where it is not defined, as of a target without any spread."""
    found = evidence_of(path) / path.n_rows if "log_evidence" in path.shown else 0.0
    return found if found == found else -math.inf
