"""One fit under way: its rows lie ready, and its walks are tasks for threads.

Whoever decides which walks there are (``network_fit.py``: so many starts; ``widths.py``: widths, folds and starts) gives them
here and asks for the paths.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.penalty import Evidence
from fallline.fit.average import Part, starts_of
from fallline.fit.fitted import FittedNetwork, mean_of
from fallline.fit.settings import Settings
from fallline.model.network import Network
from fallline.rows.rows import Rows
from fallline.table.scaling import Scaling
from fallline.threads import Task, Workers
from fallline.walk.checkpoint import CUT_SHORT
from fallline.walk.loop import Progress, descend
from fallline.walk.path import DescentPath

# Starts begin from a strong and from a light penalty in turn; one whose log evidence is lower by so much a row is left out.
LIGHT = 1e-3
FIRST, LOWER = (Evidence.first, LIGHT), 0.25
_QUICK = 1.5e7  # products of a pass, up to which starts walk one after the other: side by side they are no sooner there


class Starts(NamedTuple):
    """Starts under way: where they begin and with which penalty, the paths that have come back, and the tasks of all others."""

    network: Network
    begins: Sequence[np.ndarray]
    firsts: Sequence[float]
    paths: list[DescentPath]
    tasks: list[Task[DescentPath | None]]


@dataclasses.dataclass
class Fit:
    """One fit under way: its rows lie ready, and its starts are tasks for workers."""

    rows: Rows
    descent: Descent
    alpha: float | str
    settings: Settings
    watched: Mapping[str, Rows]
    judge: str | None
    scaling: Scaling
    workers: Workers
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None
    every_step: bool
    is_new: bool
    until: float  # when its time is over, as time.perf_counter() reads
    begun: bool = False  # whether a walk was given that is made however short the time is
    asked_to_stop: bool = False  # maybe in the moment in which a start ended by itself

    def give(self, network: Network, begins: Sequence[np.ndarray], firsts: Sequence[float] = ()) -> Starts:
        """Have a path walked from each of these starts; ``firsts``: the penalties that evidence begins from, where known."""
        starts = Starts(network, begins, firsts, [], [])
        for number in range(len(begins)):
            walk = functools.partial(self._walk, starts, number)
            starts.tasks.append(self.task(network, walk, here=len(begins) == 1))
        return starts

    def task(
        self, network: Network, walk: Callable[[], DescentPath], *, here: bool = False
    ) -> Task[DescentPath | None]:
        """A walk as a task, of the thread that waits where it is quick. Its result is None where the time is over, unless
        it is the first of all.
        """
        first, self.begun = not self.begun, True

        def in_time() -> DescentPath | None:
            return walk() if first or not self.late() else None

        return self.workers.give(in_time, here=here or self.work(network) <= _QUICK)

    def work(self, network: Network) -> float:
        """The products of a pass of Levenberg–Marquardt."""
        return self.rows.count * network.outputs * network.n_weights**2

    def result(self, task: Task[DescentPath | None]) -> DescentPath | None:
        """The path that a task led to; None where the fit was to stop before."""
        path = task.result()
        if path is not None:
            self.workers.stopped |= path.stop in CUT_SHORT and path.stop != Stop.TIME  # of time all walks know
        self.workers.stopped |= self.asked_to_stop
        return path

    def results(self, starts: Starts) -> list[DescentPath]:
        """The paths of these starts, in their order; fewer where the fit was to stop."""
        for task in starts.tasks:
            path = self.result(task)
            if path is not None:
                starts.paths.append(path)
        return starts.paths

    def is_over(self, paths: Sequence[DescentPath] = ()) -> bool:
        """Whether the fit is to stop where it is."""
        asked = self.late() or self.asked_to_stop or self.workers.stopped
        return asked or any(path.stop in CUT_SHORT for path in paths)

    def late(self) -> bool:
        """Whether its time is over."""
        return time.perf_counter() >= self.until

    def fitted(self, starts: Starts) -> tuple[FittedNetwork, DescentPath]:
        """The network that several walks led to, and the path of the start shown."""
        # Starts cut short would only disturb the mean of those that arrived.
        arrived = [path for path in starts.paths if path.stop not in CUT_SHORT] or starts.paths[:1]
        sound = sound_of([path for path in arrived if path.stop != Stop.DIVERGED]) or arrived[:1]
        ends = starts_of(starts.network, self.rows, sound, self.judge)
        shown = sound[ends.shown]
        if len(arrived) < len(starts.begins) and arrived[0].stop not in CUT_SHORT:
            left = f"the fit is that of the {len(arrived)} of {len(starts.begins)} starts that had arrived. "
            shown = self.cut_short(shown, left)
        if self.settings.average:
            fitted = mean_of(starts.network, list(ends.weights), self.scaling)
        else:
            fitted = FittedNetwork(starts.network, ends[ends.shown].weights, self.scaling)
        passes = sum(path.n_passes for path in starts.paths)
        return dataclasses.replace(fitted, parts=(Part(ends, 1.0),), passes=passes), shown

    def cut_short(self, path: DescentPath, left: str, *, late: bool = False) -> DescentPath:
        """A path that arrived, of a fit that was to stop: it says so, and what is ``left``; ``late``: for want of time."""
        why, said = Stop.INTERRUPTED, "Interrupted"
        if self.asked_to_stop:
            why, said = Stop.ASKED, "Stopped as asked"
        elif (late or self.late()) and not self.workers.interrupted:
            why, said = Stop.TIME, "The time (max_seconds) was over"
        return dataclasses.replace(path, stop=why, stop_message=f"{said}: {left}{path.stop_message}")

    def _walk(self, starts: Starts, number: int) -> DescentPath:
        """The path from one start; under Bayesian regularisation from a strong and a light penalty in turn, if none is known.

        A single start walks from both, and the path of the higher evidence is taken.
        """

        def standing(now: Progress) -> FittedNetwork:
            arrived = [path.best_weights for path in starts.paths]
            return mean_of(starts.network, [*arrived, now.weights], self.scaling)

        count = len(starts.begins)

        def walk(first: float) -> DescentPath:
            return self.walk(
                starts.network, starts.begins[number], first, number=number + 1, count=count, standing=standing
            )

        firsts = starts.firsts or FIRST
        path = walk(firsts[number % len(firsts)])
        if count > 1 or self.alpha != "evidence" or not self.is_new or self.is_over([path]):
            return path
        return max(path, walk(LIGHT), key=evidence_of)

    def walk(
        self, network: Network, weights: np.ndarray, first: float, *, number: int, count: int,
        standing: Callable[[Progress], FittedNetwork], rows: Rows | None = None, phase: str = "", **walk: Any,
    ) -> DescentPath:  # fmt: skip
        """Walk from ``weights`` over all rows, or over those given; ``first``: the penalty that evidence begins from.

        It is walk ``number`` of ``count``, as is told on the way; ``standing`` makes a network of what it has come to.
        """

        def told(now: Progress) -> bool:
            now = dataclasses.replace(now, start=number, n_starts=count, phase=phase)
            self.workers.say(functools.partial(self._tell, now, standing))
            return self.asked_to_stop

        path = descend(
            network, self.rows if rows is None else rows, self.descent, weights=weights,
            judge=self.judge, alpha=Evidence(first) if self.alpha == "evidence" else self.alpha,
            progress=told if self.progress else None, every_step=self.every_step,
            input_names=self.settings.input_names, until=self.until, **({"watched": self.watched} | self.settings.walk | walk),
        )  # fmt: skip
        return dataclasses.replace(path, alpha=self.alpha)

    def _tell(self, now: Progress, standing: Callable[[Progress], FittedNetwork]) -> None:
        """In the thread that called: say how far a start is, the first that has not arrived."""
        assert self.progress is not None
        if self.progress(now, lambda: standing(now)):
            self.asked_to_stop = True


def begins_of(network: Network, seed: int | np.random.Generator | None, count: int) -> list[np.ndarray]:
    """Weights to start from, other ones each time; the first are those of a single start."""
    given: Any = seed  # a number is followed by others of its own, a generator by what comes next
    seeds = [[seed, k] if isinstance(seed, (int, np.integer)) and k else given for k in range(count)]
    return [network.initial(each) for each in seeds]  # type: ignore[arg-type]


def first_of(strength: np.ndarray, n: float) -> float:
    """The penalty of n rows that evidence goes on from where a walk ended with this strength (p,)."""
    held = strength[strength > 0]
    return float(held.mean()) / n if held.size else FIRST[0]


def sound_of(paths: Sequence[DescentPath]) -> list[DescentPath]:
    """The paths without those that ended at a lower maximum of the evidence, by more than a quarter for each row."""
    if not all("log_evidence" in path.shown for path in paths):
        return list(paths)
    highest = max(map(evidence_of, paths), default=-math.inf)
    if not np.isfinite(highest):
        return list(paths)
    return [path for path in paths if evidence_of(path) >= highest - LOWER * paths[0].n_rows]


def evidence_of(path: DescentPath) -> float:
    """The log evidence that a path found."""
    return path.at_best(path.shown["log_evidence"])
