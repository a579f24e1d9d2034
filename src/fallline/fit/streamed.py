"""Rows that stream by in, a fitted network out: what ``network_fit.py`` does for rows that do not fit in memory.

With a descent and a network that are given, the rows are descended on as they would be in memory, pass by pass. Where the fit has
to find them,

1. one pass finds means and spreads, and a tenth of the rows, or some 20 000, is held out, by content;
2. some 20 000 of the others, again by content, are fitted in memory by the usual recipe, rows that are equal as one;
3. the networks found go on over all rows but those held out, by full passes that they share: Levenberg–Marquardt where it is
   affordable, L-BFGS elsewhere, for a work that grows with the root of the rows;
4. what was found is kept if it is nearer to the rows held out than before.

Where all rows fit, or a few thousand are all there are, the fit is that of memory. What was tried is in benchmarks/README.md.
"""

import functools
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.choose import MOST_WEIGHTS, choose
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import Evidence
from fallline.descent.transformation import wrapped
from fallline.error.sums import Request
from fallline.fit.average import Part, Start, end_of_path
from fallline.fit.checkpointed import fit_in_folder, is_folder
from fallline.fit.fitted import FittedNetwork, mean_of, mixture_of
from fallline.fit.large import QUICK, WORK, is_large
from fallline.fit.line import has_line
from fallline.fit.network_fit import alpha_for, fit_network
from fallline.fit.settings import Settings, starts_asked
from fallline.fit.walks import Fit, begins_of, first_of
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.rows.rows import Rows
from fallline.rows.stream import Source, Streamed
from fallline.table.scaling import Scaling
from fallline.threads import Workers
from fallline.walk.loop import Progress, descend
from fallline.walk.path import DescentPath
from fallline.walk.stopping import end_of
from fallline.words import counted, percent

_MOST_ROWS = 20_000  # of the sample, and as many held out
_OF_MEMORY, _COPIES = 1 / 8, 8  # what the sample may take of the machine's memory, and how often a fit holds it
_HELD_SHARE, _SEED = 0.1, 0  # the same rows each time, so that intervals can be found by them afterwards
_DIFFERING = 0.5  # of the rows: where fewer differ, the sample is taken from more of them
_OF_SAMPLE = 0.6  # of the time that a fit has
# Rows · weights² up to which a walk is by Levenberg–Marquardt, and those of all such walks, in √rows; others share the work
# that ``large.py`` gives a table.
_PRODUCTS, _ALL_PRODUCTS = 1e12, 4e9
_LEAST_PASSES, _MOST_PASSES, _MOST_STEPS = 3, 30, 15
_TOL, _PATIENCE = 1e-5, 3

_Current = Callable[[Progress, Callable[[], FittedNetwork]], Any]


def fit_streamed(
    source: Source | Streamed,
    settings: Settings | None = None,
    *,
    watched: Mapping[str, Any] | None = None,
    judge: str | None = None,
    progress: _Current | None = None,
    every_step: bool = False,
    **given: Any,
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to the rows of a source, in the user's units; the way there lives in scaled units.

    As ``fit_network``, but for ``before``, and that the source gives x, y and row weights; ``watched`` rows may be sources, too.
    Mini-batches are refused. Raises what ``Streamed``, ``Network`` and ``descend`` raise.
    """
    settings = replace(settings or Settings(), **given)
    until = end_of(settings.max_seconds)
    rows = source if isinstance(source, Streamed) else Streamed(source)
    fits = len(rows) <= sample_rows(rows)
    if not fits and is_folder(settings):
        again = functools.partial(
            fit_streamed, rows, watched=watched, judge=judge, progress=progress, every_step=every_step
        )
        return fit_in_folder(again, settings, {"table": rows}, {"judge": judge})
    if fits:
        memory = rows.in_memory()
        few = {name: _in_memory(each) for name, each in (watched or {}).items()}
        return fit_network(
            memory.x, memory.y, settings, sample_weight=memory.sample_weight, watched=few, judge=judge, progress=progress,
            every_step=every_step,
        )  # fmt: skip
    if settings.descent == "mini-batch" or getattr(settings.descent, "batch_size", None) is not None:
        rows.batches(np.arange(0), 1)  # raises SettingsError
    scaling = _scaling_of(rows, settings)
    sets = {name: _scaled(each, scaling) for name, each in (watched or {}).items()}
    if judge is None and _has_to_find(rows, settings):
        return _Run(rows, settings, scaling, until, sets, progress, every_step).fit()
    return _as_in_memory(rows.scaled(scaling), settings, scaling, until, sets, judge, progress, every_step=every_step)


def rows_of_fit(rows: Streamed, settings: Settings, judge: str | None = None) -> tuple[Streamed, Streamed | None]:
    """Of the rows that ``fit_streamed`` is given, those that its last walks go over, and those that it holds out inside, or None.

    Intervals are found by the second, as rows ``unseen``.
    """
    if len(rows) <= sample_rows(rows) or judge is not None or not _has_to_find(rows, settings):
        return rows, None
    held, _, others = _parts(rows)
    return others, held


def sample_rows(rows: Streamed) -> int:
    """How many rows a fit in memory is given: as a share of the machine's memory holds, 20 000 at most."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 1 << 32
    row = 8 * _COPIES * (rows.inputs + rows.outputs)
    return max(min(int(_OF_MEMORY * memory / row), _MOST_ROWS), 1)


def _has_to_find(rows: Rows, settings: Settings) -> bool:
    """Whether the descent or the width are to be found."""
    if is_large(len(rows), settings):
        return True
    by_evidence = isinstance(settings.descent, str) or settings.descent.finds_penalty
    return settings.finds_width and by_evidence and settings.alpha in ("auto", "evidence") and settings.max_iter > 0


def _parts(rows: Streamed) -> tuple[Streamed, InMemory, Streamed]:
    """The rows held out, the sample, and all that are not held out."""
    n, most = len(rows), sample_rows(rows)
    share, differing = most / n, 1.0
    while True:
        held = min(_HELD_SHARE, share / differing)
        parts = rows.divided(_SEED, [(0.0, held), (held, min(held + share / differing, 1.0)), (held, 1.0)])
        sample = parts[1].distinct()
        # Where rows come again and again, a share of them holds few that differ: then a larger one.
        if differing < 1 or len(sample) > _DIFFERING * len(parts[1]):
            return parts[0], sample, parts[2]
        differing = max(len(sample), 1) / len(parts[1])


def _scaling_of(rows: Streamed, settings: Settings) -> Scaling:
    if not settings.scale:
        return Scaling.identity(rows.inputs, rows.outputs)
    return rows.scaling_for(
        indicators=settings.indicators, centre=settings.bias, scale_targets=settings.output_activation == "identity",
        one_target_scale=settings.one_target_scale,
    )  # fmt: skip


def _in_memory(given: Any) -> tuple[Any, ...]:
    """Watched rows as ``fit_network`` takes them."""
    if isinstance(given, tuple):
        return given
    memory = (given if isinstance(given, Streamed) else Streamed(given)).in_memory()
    return memory.x, memory.y, *(() if memory.sample_weight is None else (memory.sample_weight,))


def _scaled(given: Any, scaling: Scaling) -> Rows:
    """Watched rows as a walk over streamed rows takes them."""
    if isinstance(given, tuple):
        x, y, *s = given
        return InMemory(scaling.x(x), scaling.y(y), *s)
    return (given if isinstance(given, Streamed) else Streamed(given)).scaled(scaling)


def _as_in_memory(
    rows: Streamed, settings: Settings, scaling: Scaling, until: float, sets: Mapping[str, Rows], judge: str | None,
    progress: _Current | None, *, every_step: bool,
) -> tuple[FittedNetwork, DescentPath]:  # fmt: skip
    """The starts that are asked for, over all rows."""
    network, descent = settings.network(rows.inputs, rows.outputs), settings.descent
    if isinstance(descent, str):
        descent, _ = choose(descent, network, len(rows), all_rows=True)
    descent = wrapped(descent)
    alpha = alpha_for(rows, descent, settings, judge)
    count = starts_asked(settings, network, descent, len(rows))
    with Workers(1 if every_step else count) as workers:  # a thread each, whatever n_jobs: they wait for one pass
        fit = Fit(rows, descent, alpha, settings, sets, judge, scaling, workers, progress, every_step, True, until)
        starts = fit.give(network, begins_of(network, settings.seed, count))
        if not fit.results(starts):
            raise KeyboardInterrupt
    return fit.fitted(starts)


class _Further(NamedTuple):
    """A walk that is to go on: the part and the place in it of its start, how it goes on, and for how many steps at most."""

    place: tuple[int, int]
    network: Network
    start: Start
    descent: Descent
    alpha: Any
    steps: int


class _Run:
    """A fit that has to find its networks."""

    def __init__(
        self, rows: Streamed, settings: Settings, scaling: Scaling, until: float, sets: Mapping[str, Rows],
        progress: _Current | None, every_step: bool,
    ) -> None:  # fmt: skip
        self.rows, self.settings, self.scaling, self.until = rows, settings, scaling, until
        self.sets, self.progress, self.every_step, self.asked = sets, progress, every_step, False

    def fit(self) -> tuple[FittedNetwork, DescentPath]:
        """The fit that the header tells of, and the path over all rows of the network shown."""
        held, sample, others = _parts(self.rows)
        first, path = self._on(sample)
        first = replace(first, left_out=None)  # predictions of rows that are not those of the fit
        seen = f"It has seen {counted(len(sample), 'row')} of {len(self.rows):,}."
        alone = first, replace(path, stop_message=f"{path.stop_message} {seen}")
        walks = self._further(first, len(others))
        if path.stop in (Stop.INTERRUPTED, Stop.ASKED) or not walks or time.perf_counter() >= self.until:
            return alone
        own = others.scaled(first.own_scaling)
        paths = self._walked(walks, own, first)
        if not paths:
            return alone
        further = self._together(first, paths, own)
        shown = paths.get((0, first.parts[0].starts.shown)) or next(iter(paths.values()))
        shown = replace(
            shown, alpha=path.alpha,
            stop_message=f"{shown.stop_message} It went on from a fit to {counted(len(sample), 'row')}.",
        )  # fmt: skip
        if shown.stop in (Stop.INTERRUPTED, Stop.ASKED):
            return further, shown  # lower on many more rows: nobody waits for another pass
        try:
            whole = [(each.network, Request("error", each.weights)) for each in (first, further)]
            before, now = (sums.error for sums in held.scaled(self.scaling).totals(whole))
            spread = held.scaled(self.scaling).error_of_mean
        except KeyboardInterrupt:
            return further, shown
        said = f"On {counted(len(held), 'row')} held out inside"
        if not now < before:
            return first, replace(
                path, stop_message=f"{path.stop_message} {seen} {said} walks over all rows came no nearer."
            )
        error, fall = percent(math.sqrt(now / spread)), 100 * (1 - math.sqrt(now / before))
        said = f"{said} the RMSE is {error} of the target's spread, {fall:.2g} % less than before."
        shown = replace(shown, stop_message=f"{shown.stop_message} {said}")
        return further, shown

    def _on(self, sample: InMemory) -> tuple[FittedNetwork, DescentPath]:
        """The fit to the sample, in memory."""
        settings = self.settings
        if settings.max_seconds is not None:
            seconds = max(self.until - time.perf_counter(), 1e-3) * _OF_SAMPLE
            settings = replace(settings, max_seconds=seconds)
        x, y = sample.each(lambda block: (block.x, block.y))
        return fit_network(
            x, y, settings, sample_weight=sample.counts, scaling=self.scaling,
            progress=self.progress, every_step=self.every_step,
        )  # fmt: skip

    def _further(self, first: FittedNetwork, n: int) -> list[_Further]:
        """The walks that are worth their time on n rows."""
        asked, parts = self.settings.descent, list(first.parts)
        if has_line(first):
            parts.pop()  # logistic regression goes down another error
        found = []
        for at, (starts, _) in enumerate(parts):
            network, p = starts.network, starts.network.n_weights
            for place, start in enumerate(starts):
                if p <= MOST_WEIGHTS and n * network.outputs * p**2 <= _PRODUCTS:
                    evidence = np.isfinite(start.log_evidence)
                    descent = LevenbergMarquardt() if isinstance(asked, str) else wrapped(asked)
                    alpha = Evidence(first_of(start.strength, n)) if evidence else start.strength
                    found.append(_Further((at, place), network, start, descent, alpha, _MOST_STEPS))
                else:
                    found.append(_Further((at, place), network, start, LBFGS(), start.strength, 0))
        share = (QUICK if self.settings.quick else 1.0) / math.sqrt(n)
        small = sum(each.network.outputs * each.network.n_weights**2 for each in found if each.steps)
        light = sum(each.network.n_weights for each in found if not each.steps)
        steps = int(np.clip(_ALL_PRODUCTS * share / (small or 1), _LEAST_PASSES, _MOST_STEPS))
        passes = int(min(WORK * share / (light or 1), _MOST_PASSES))
        found = [each._replace(steps=steps if each.steps else passes) for each in found]
        return [each for each in found if each.steps >= _LEAST_PASSES]

    def _walked(
        self, walks: list[_Further], rows: Streamed, first: FittedNetwork
    ) -> dict[tuple[int, int], DescentPath]:
        """The paths of these walks, by the place of their start; without those that did not begin."""
        with Workers(1 if self.every_step else len(walks)) as workers:
            tasks = [
                workers.give(functools.partial(self._walk, workers, each, number, len(walks), rows, first))
                for number, each in enumerate(walks, 1)
            ]
            found = {}
            for each, task in zip(walks, tasks, strict=True):
                path = task.result()
                if path is not None:
                    found[each.place] = path
                    workers.stopped |= path.stop in (Stop.INTERRUPTED, Stop.ASKED)
        return found

    def _walk(
        self, workers: Workers, each: _Further, number: int, count: int, rows: Streamed, first: FittedNetwork
    ) -> DescentPath:
        def told(now: Progress) -> bool:
            now = replace(now, start=number, n_starts=count, phase="all rows")
            workers.say(functools.partial(self._tell, now, each.network, first))
            return self.asked

        settings = self.settings
        return descend(
            each.network, rows, each.descent, weights=each.start.weights, alpha=each.alpha,
            max_iter=min(settings.max_iter, each.steps), tol=_TOL, n_iter_no_change=_PATIENCE, watched=self.sets,
            progress=told if self.progress else None, every_step=self.every_step,
            input_names=first.input_names(settings.input_names), until=self.until, checkpoint=settings.checkpoint,
        )  # fmt: skip

    def _tell(self, now: Progress, network: Network, first: FittedNetwork) -> None:
        """In the thread that called: say how far a walk is."""
        assert self.progress is not None
        if self.progress(now, lambda: FittedNetwork(network, now.weights, first.own_scaling)):
            self.asked = True

    def _together(
        self, first: FittedNetwork, paths: dict[tuple[int, int], DescentPath], rows: Streamed
    ) -> FittedNetwork:
        """The fit made of where the walks ended, in the place of what they began from."""
        parts = []
        for at, (starts, share) in enumerate(first.parts):
            each = list(starts.each)
            for place in range(len(each)):
                if (at, place) in paths:
                    each[place] = end_of_path(paths[at, place])
            parts.append(Part(replace(starts, each=tuple(each)), share))
        passes = first.passes + sum(path.n_passes for path in paths.values())
        if first.is_mixture:
            return replace(mixture_of(parts, first.scaling, first.scores), passes=passes)
        (ends, _) = parts[0]
        weights = ends.weights if first.members > 1 else ends.weights[ends.shown : ends.shown + 1]
        return replace(mean_of(ends.network, list(weights), first.scaling), parts=tuple(parts), passes=passes)
