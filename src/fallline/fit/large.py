"""The default fit of a large table: mini-batches, and every choice judged by rows held out inside.

1. The rows are divided into ten parts, equal rows together. Without the first of them are fitted, at the same cost each, networks
   of two hidden layers; beside these ridge regression, and a small network by Levenberg–Marquardt on some of the rows, which is
   far ahead where there is hardly any noise.
2. They are compared on the part held out, then two more weight decays of the best. What is wider, or has another decay, is taken
   only if it is nearer by more than the standard error of the difference, row by row.
3. Six networks like the best, for more epochs, are the fit: their mean. Five leave out another part each, and of their walks the
   point nearest to that part is kept; the sixth sees all rows, and its path is shown.

Where the small network is nearest the fit is left to Levenberg–Marquardt. Where none is nearer than ridge regression, the fit is
ridge regression and says so. What was tried is in benchmarks/README.md.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.adam import Adam
from fallline.descent.choose import MOST_WEIGHTS, choose
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import Evidence
from fallline.fit.average import Part, starts_of
from fallline.fit.fitted import FittedNetwork, mean_of
from fallline.fit.settings import LIGHT_DECAY, QUICK_STARTS, Settings, starts_asked
from fallline.fit.walks import CUT_SHORT, LIGHT
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.table.scaling import Scaling
from fallline.threads import Workers, workers_for
from fallline.walk.loop import Progress, descend
from fallline.walk.path import DescentPath
from fallline.words import counted, percent

LARGE = 5000  # rows (benchmarks/README.md)
HELD = "held out inside"
_PARTS, _MEMBERS = 10, 6
_HIDDEN = ((64, 64), (128, 128))
_DECAYS = (0.1 * LIGHT_DECAY, 10 * LIGHT_DECAY)
# Rows · weights · epochs of a fit, in √rows; of it a trial takes this share, and the members together.
WORK, _OF_TRIAL, _OF_MEMBERS = 2.2e9, 1 / 15, 2 / 3
QUICK = 0.3  # of that work, where the effort is "quick"
_A_SECOND = 3e9  # so much of it a thread does in a second, with care: by this a fit that has ``max_seconds`` is planned
_CARE, _TO_THE_END = 0.8, 0.8
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 200
# The small network sees so many rows for so many steps, where a pass over all of them would take up to so many products.
_SMALL_HIDDEN, _SMALL_ROWS, _SMALL_STEPS, _SMALL_WORK = (20,), 5000, 150, 3e9

_Current = Callable[[Progress, Callable[[], FittedNetwork]], Any]


class _Kind(NamedTuple):
    """What is tried: a network, how it descends and for how long, its weight decay, and on how many rows, all by default."""

    network: Network
    descent: Descent
    alpha: Any
    max_iter: int
    patience: int
    rows: float = math.inf

    @property
    def words(self) -> str:
        """What it is called while it is under way."""
        units = " and ".join(map(str, self.network.hidden))
        return f"{units} hidden units by mini-batches" if isinstance(self.descent, Adam) else "what to compare with"


class _Tried(NamedTuple):
    """A kind, the path that it walked, which rows that one had not seen (n,), and of these, (m, …), the predictions, the squared
    errors and how often each counts.
    """

    kind: _Kind
    path: DescentPath
    held: np.ndarray
    predicted: np.ndarray
    squares: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """The mean square."""
        return float(np.average(self.squares, weights=self.counts))

    def is_nearer_than(self, other: "_Tried") -> bool:
        """Whether it is nearer to the same rows, by more than the standard error of the difference."""
        gain = other.squares - self.squares
        mean = np.average(gain, weights=self.counts)
        spread = np.average((gain - mean) ** 2, weights=self.counts)
        return bool(mean > math.sqrt(spread / self.counts.sum()))


def is_large(rows: int, settings: Settings) -> bool:
    """Whether the recipe is meant for so many rows under these settings."""
    network = settings.network(1, 1)
    automatic = isinstance(settings.descent, str) and settings.descent == "auto" and settings.alpha != "evidence"
    return rows >= LARGE and automatic and bool(network.hidden) and settings.max_iter > 0


def fit_large(
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings,
    scaling: Scaling,
    sample_weight: np.ndarray | None = None,
    watched: Mapping[str, tuple[Any, ...]] | None = None,
    until: float = math.inf,
    progress: _Current | None = None,
    *,
    every_step: bool = False,
) -> tuple[FittedNetwork, DescentPath] | None:
    """The fit that the header tells of, and the path of the member nearest to the part it had not seen.

    None where Levenberg–Marquardt is nearer, or where few rows differ. The fit ends at ``until``, as ``time.perf_counter()``
    reads then, with the best so far. The rest is as in ``fit_network``. Raises KeyboardInterrupt where Ctrl-C comes before
    anything is known, and what ``descend`` raises.
    """
    rows = InMemory(scaling.x(x), scaling.y(y), sample_weight, np.float32)
    sets = {name: InMemory(scaling.x(a), scaling.y(b), *s) for name, (a, b, *s) in (watched or {}).items()}
    run = _Run(rows, settings, scaling, until, sets, progress, every_step)
    return run.fit() if run.different >= LARGE // _PARTS else None


class _Run:
    """One such fit under way."""

    def __init__(
        self, rows: InMemory, settings: Settings, scaling: Scaling, until: float, watched: dict[str, InMemory],
        progress: _Current | None, every_step: bool,
    ) -> None:  # fmt: skip
        self.rows, self.settings, self.scaling, self.until = rows, settings, scaling, until
        self.watched, self.progress, self.every_step = watched, progress, every_step
        self.random = np.random.default_rng(settings.seed)
        different, self.place = np.unique(rows.content_keys(self.random), return_inverse=True)
        self.different = len(different)
        self.jobs = 1 if every_step else workers_for(settings.n_jobs)
        self.began, self.done = time.perf_counter(), 0.0
        seconds = max(until - self.began, 0.0)
        work = WORK * (QUICK if settings.quick else 1.0)
        self.work = min(work * math.sqrt(len(rows)), _A_SECOND * self.jobs * seconds)
        self.given, self.planned, self.passes, self.asked = 0, 0, 0, False

    def fit(self) -> tuple[FittedNetwork, DescentPath] | None:
        """The fit and the path shown; None where Levenberg–Marquardt is nearer."""
        settings, wide = self.settings, self.settings.finds_width
        usual = QUICK_STARTS if settings.quick else _MEMBERS
        asked = replace(settings, n_starts=usual) if settings.n_starts == "auto" else settings
        count = starts_asked(asked, settings.network(1, 1), Adam(), 0)
        others = [self._linear(), *(self._small() if wide else [])]
        trials = [
            self._by_batches(hidden, LIGHT_DECAY, self.work * _OF_TRIAL) for hidden in (_HIDDEN if wide else [None])
        ]
        self.planned = len(others) + len(trials) + len(_DECAYS) + count
        with Workers(self.jobs) as self.workers:
            line, *rest = self._walked([*others, *trials])
            small, tried = rest[: len(others) - 1], rest[len(others) - 1 :]
            best = _nearest(line if wide else None, tried) or line
            if best is None:
                raise KeyboardInterrupt
            if any(each is not None and each.is_nearer_than(best) for each in small) and not self._is_over():
                return None
            if best.kind.network.hidden and settings.alpha == "auto":
                again = [self._like(best, decay, self.work * _OF_TRIAL) for decay in _DECAYS]
                best = _nearest(best, self._walked(again)) or best
            kinds, parts = [best.kind], list[int | None]([None])
            if best.kind.network.hidden:
                member = self._like(best, best.kind.alpha, self._work_of_members() / count)
                kinds = [member] * (count - 1) + [self._whole(member, best)]
                parts = [*(k % _PARTS for k in range(count - 1)), None]
            walked = [each for each in self._walked(kinds, parts) if each is not None]
            return self._fitted(walked, best, line, len(kinds))

    def _is_over(self) -> bool:
        return time.perf_counter() >= self.until or self.asked or self.workers.stopped

    def _work_of_members(self) -> float:
        """The work of all members: what was planned, or less where a fit that has ``max_seconds`` turned out to be slower."""
        now = time.perf_counter()
        pace = self.done / (now - self.began)
        return min(self.work * _OF_MEMBERS, _CARE * pace * max(self.until - now, 0.0) if pace else math.inf)

    def _by_batches(self, hidden: Sequence[int] | None, alpha: float, work: float) -> _Kind:
        network = self._network(hidden)
        epochs = int(min(max(work / (len(self.rows) * network.n_weights), _LEAST_EPOCHS), _MOST_EPOCHS))
        epochs = min(epochs, self.settings.max_iter)
        given = self.settings.alpha
        return _Kind(
            network, Adam(decay=epochs), alpha if given == "auto" else given, self.settings.max_iter, epochs + 1
        )

    def _like(self, best: _Tried, alpha: float, work: float) -> _Kind:
        return self._by_batches(best.kind.network.hidden, alpha, work)

    def _whole(self, member: _Kind, best: _Tried) -> _Kind:
        """The member that sees all rows: as long as the others, or as the best trial where that began to follow the noise."""
        epochs, path = float(getattr(best.kind.descent, "decay", 0.0)), best.path
        found = math.inf if path.epochs is None else path.at_best(path.epochs)
        return (
            member if found >= _TO_THE_END * epochs else member._replace(descent=Adam(decay=max(found, _LEAST_EPOCHS)))
        )

    def _linear(self) -> _Kind:
        """Ridge regression, its penalty found by the evidence."""
        network = self._network(())
        descent, _ = choose("auto", network, len(self.rows))
        alpha = Evidence() if descent.finds_penalty else LIGHT_DECAY
        return _Kind(network, descent, alpha, self.settings.max_iter, self.settings.n_iter_no_change)

    def _small(self) -> list[_Kind]:
        """The network by Levenberg–Marquardt, where it is small."""
        network, its = self._network(_SMALL_HIDDEN), self.settings
        most = min(_SMALL_STEPS, its.max_iter)
        kind = _Kind(network, LevenbergMarquardt(), Evidence(LIGHT), most, its.n_iter_no_change, _SMALL_ROWS)
        work = len(self.rows) * network.outputs * network.n_weights**2
        return [kind] if network.n_weights <= MOST_WEIGHTS and work <= _SMALL_WORK else []

    def _network(self, hidden: Sequence[int] | None) -> Network:
        return self.settings.network(len(self.scaling.x_scale), len(self.scaling.y_scale), hidden)

    def _walked(self, kinds: Sequence[_Kind], parts: Sequence[int | None] | None = None) -> list[_Tried | None]:
        """A walk of each kind without that part of the rows, the first by default; None where the fit was to stop before."""
        tasks = []
        for kind, part in zip(kinds, parts or [0] * len(kinds), strict=True):
            seed, self.given = int(self.random.integers(1 << 62)), self.given + 1
            tasks.append(self.workers.give(functools.partial(self._walk, kind, part, seed, self.given)))
        found = []
        for task in tasks:
            tried = task.result()
            found.append(tried)
            if tried is not None:
                self.passes += tried.path.n_passes
                self.done += len(self.rows) * tried.kind.network.n_weights * (tried.path.n_epochs or 0)
                self.workers.stopped |= tried.path.stop in (Stop.ASKED, Stop.INTERRUPTED)
            self.workers.stopped |= self.asked
        return found

    def _walk(self, kind: _Kind, part: int | None, seed: int, number: int) -> _Tried | None:
        if number > 1 and self._is_over():
            return None

        def told(now: Progress) -> bool:
            now = replace(now, start=number, n_starts=max(self.planned, number), phase=kind.words)
            self.workers.say(functools.partial(self._tell, kind.network, now))
            return self.asked

        held = np.zeros(len(self.rows), bool) if part is None else self.place * _PARTS // self.different == part
        seen = ~held
        if kind.rows < len(self.rows):
            seen &= self.place < self.different * (1 / _PARTS + kind.rows / len(self.rows))
        rows = self.rows if part is None else self.rows.taking(seen)
        judges = {} if part is None else {HELD: self.rows.taking(held)}
        path = descend(
            kind.network, rows if isinstance(kind.descent, Adam) else rows.wide(), kind.descent, seed=seed,
            max_iter=kind.max_iter, tol=self.settings.tol, n_iter_no_change=kind.patience, alpha=kind.alpha,
            watched=self.watched | judges, judge=None if part is None else HELD, progress=told if self.progress else None,
            every_step=self.every_step, input_names=self.settings.input_names, until=self.until,
            checkpoint=self.settings.checkpoint,
        )  # fmt: skip
        path = replace(path, alpha="evidence") if isinstance(kind.alpha, Evidence) else path
        if part is None:
            return _Tried(kind, path, held, np.empty((0, kind.network.outputs)), np.empty(0), np.empty(0))

        def judged(block: Any) -> tuple[np.ndarray, np.ndarray]:
            predicted = np.asarray(kind.network.predict(path.best_weights, block.x), np.float64)
            return predicted, np.sum((block.y - predicted) ** 2, axis=1)

        predicted, squares = judges[HELD].each(judged)
        return _Tried(kind, path, held, predicted, squares, judges[HELD].counts)

    def _tell(self, network: Network, now: Progress) -> None:
        """In the thread that called: say how far a walk is."""
        assert self.progress is not None
        if self.progress(now, lambda: mean_of(network, [now.weights], self.scaling)):
            self.asked = True

    def _fitted(
        self, walked: list[_Tried], best: _Tried, line: _Tried | None, count: int
    ) -> tuple[FittedNetwork, DescentPath]:
        """The mean of the networks that walked, and the path of the one that saw all rows, or else of the nearest."""
        # Those cut short would only disturb the mean of those that arrived.
        found = [each for each in walked if each.path.stop not in CUT_SHORT]
        found = found or [min([best, *(each for each in walked if each.held.any())], key=lambda each: each.error)]
        network, paths = found[0].kind.network, [each.path for each in found]
        at = int(np.argmin([each.error if each.held.any() else -1.0 for each in found]))
        ends = replace(starts_of(network, self.rows, paths), shown=at)
        weights = list(ends.weights) if self.settings.average else [ends[at].weights]
        left_out = np.full((len(self.rows), network.outputs), np.nan)
        for each in found:
            left_out[each.held] = each.predicted
        fitted = replace(
            mean_of(network, weights, self.scaling), parts=(Part(ends, 1.0),), passes=self.passes,
            left_out=self.scaling.unscale_y(left_out),
        )  # fmt: skip
        shown, said = paths[at], self._said([*found, best], line)
        if self._is_over() and (len(found) < count or not network.hidden) and shown.stop not in CUT_SHORT:
            why, words = Stop.INTERRUPTED, "Interrupted"
            if self.asked:
                why, words = Stop.ASKED, "Stopped as asked"
            elif not self.workers.interrupted:
                why, words = Stop.TIME, "The time (max_seconds) was over"
            left = f"the fit is that of the {len(found)} of {count} networks that had arrived."
            left = left if network.hidden else "the fit is linear, as no network had arrived that was nearer."
            shown = replace(shown, stop=why, stop_message=f"{words}: {left} {shown.stop_message}")
        return fitted, replace(shown, stop_message=f"{shown.stop_message} {said}".rstrip())

    def _said(self, tried: Sequence[_Tried], line: _Tried | None) -> str:
        """What the rows held out say of the first fit that was judged by the same ones as ridge regression, and of that."""
        if line is None:
            return ""
        best = next(each for each in tried if np.array_equal(each.held, line.held))
        held, judges = f"the {counted(len(line.squares), 'row')} held out inside", self.rows.taking(line.held)
        spread = 2 * judges.error_of_mean / judges.count
        ridge, own = (f"{percent(math.sqrt(each.error / spread))} of the target's spread" for each in (line, best))
        if not best.kind.network.hidden:
            return f"The fit is linear: on {held} no network was nearer than ridge regression (RMSE {ridge})."
        found = f"On {held} one network has an RMSE of {own}, ridge regression {ridge}."
        return found if best.is_nearer_than(line) else f"{found} A linear fit would do: hidden_layer_sizes=()."


def _nearest(first: _Tried | None, others: Sequence[_Tried | None]) -> _Tried | None:
    """Of these, one after the other, the one that was nearer than the one before, as far as there are any."""
    for other in others:
        if other is not None and (first is None or other.is_nearer_than(first)):
            first = other
    return first
