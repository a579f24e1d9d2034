"""Arrays in, a fitted network out: what the estimators and the command line share.

Rows are scaled once and lie ready for every start; starts and widths walk side by side in threads. No file, no table and no
scikit-learn is known here.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.choose import MOST_WEIGHTS, choose
from fallline.descent.penalty import Evidence
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError
from fallline.fit.average import starts_of
from fallline.fit.fitted import FittedNetwork, mean_of
from fallline.fit.settings import LIGHT_DECAY, Settings, starts_asked
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.table.scaling import Scaling
from fallline.threads import Task, Workers
from fallline.walk.loop import Progress, descend
from fallline.walk.path import DescentPath
from fallline.walk.stopping import end_of

# Units of the one hidden layer that "auto" tries, and what a pass of them may take of products.
_WIDTHS = (2, 5, 10, 20, 40)
_MOST_TO_GROW = 3e9
_NEARER, _HARMLESS = 0.9, 0.05
_WORTH = 2.0  # by so much the log evidence must rise: a unit that does nothing changes it by less
# Starts begin from a strong and from a light penalty in turn; one whose log evidence is lower by so much a row is left out.
_FIRST, _LOWER = (Evidence.first, 1e-3), 0.25
_CUT_SHORT = (Stop.INTERRUPTED, Stop.ASKED, Stop.TIME)
_QUICK = 1.5e7  # products of a pass, up to which starts walk one after the other: side by side they are no sooner there
_ENOUGH_FOR_EVIDENCE = 10  # rows: fewer say nothing of the noise

# Mini-batches go in single precision from so many rows · weights on: half the time, and the noise of a batch is far larger.
_SINGLE_FROM = 1e7
_SUMMED_ROWS = 1 << 20  # of a table: what is made of so many for its means and spreads is held together


def fit_network(
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings | None = None,
    *,
    sample_weight: np.ndarray | None = None,
    watched: Mapping[str, tuple[Any, ...]] | None = None,
    judge: str | None = None,
    before: FittedNetwork | None = None,
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None = None,
    every_step: bool = False,
    **given: Any,
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to rows x (n, inputs) and y (n, outputs) in the user's units; the way there lives in scaled units.

    Rows of NumPy are computed in float64, those on a GPU in float32 where x and y are.

    settings: ``Settings``, or the fields of one by name. The descent begins ``n_starts`` times, from other weights each time;
    the path returned is that of the start shown (``starts_of``).
    ``watched`` rows, (x, y) or (x, y, sample_weight) by name, are followed and not fitted; ``judge`` names the one
    whose lowest error chooses the weights. ``before`` is a fit to go on from, in its scaling. ``progress`` is told
    how far the descent is, in the thread that called, and gets a function that gives the network as it stands; it ends the
    fit by returning True. With ``every_step`` it hears of every step, and starts walk one after the other.
    Raises what ``Network`` and ``descend`` raise.
    """
    settings = dataclasses.replace(settings or Settings(), **given)
    until = end_of(settings.max_seconds)
    inputs, outputs = x.shape[1], y.shape[1]
    hidden = before.alone().network.hidden if settings.finds_width and before is not None else None
    network = settings.network(inputs, outputs, hidden)
    if before is not None and before.network != network.side_by_side(before.members):
        raise SettingsError(
            f"warm_start goes on with the network fitted before ({before.network}), but the settings and columns now make "
            f"another one ({network}): set warm_start=False, or put the settings back."
        )
    scaling = before.scaling if before else scaling_of(x, y, sample_weight, network, settings)
    sets = {name: InMemory(scaling.x(a), scaling.y(b), *s) for name, (a, b, *s) in (watched or {}).items()}
    descent = settings.descent
    if isinstance(descent, str):
        descent, _ = choose(descent, network, x.shape[0])
    descent = wrapped(descent)
    by_batches = getattr(descent, "batch_size", None) is not None
    single = by_batches and x.shape[0] * network.n_weights >= _SINGLE_FROM
    rows = InMemory(scaling.x(x), scaling.y(y), sample_weight, np.float32 if single else None)
    alpha = settings.alpha
    if isinstance(alpha, str) and alpha == "auto":
        found = descent.finds_penalty and judge is None and rows.count >= _ENOUGH_FOR_EVIDENCE
        alpha = "evidence" if found else LIGHT_DECAY

    members = 1
    with Workers(1 if every_step else settings.n_jobs) as workers:
        fit = _Fit(
            rows, descent, alpha, settings, sets, judge, scaling, workers, progress, every_step, before is None, until
        )
        if before is None:
            count = functools.partial(starts_asked, settings.n_starts, descent=descent, rows=len(rows))
            known: list[DescentPath] = []
            if settings.finds_width and alpha == "evidence":
                networks = [settings.network(inputs, outputs, (width,)) for width in _WIDTHS]
                grown = _grown(fit, networks, lambda it: _begins(it, settings.seed, max(count(it) // 3, 1)))
                network, known = grown.network, grown.paths
            begins = _begins(network, settings.seed, count(network))
        elif before.starts is not None:
            known, begins = [], list(before.starts.weights)
        else:  # after partial_fit: one network, however many it once was the mean of
            known, network, members, begins = [], before.network, before.members, [before.weights]
        starts = fit.give(network, begins, known)
        if not fit.results(starts):
            raise KeyboardInterrupt
    fitted, path = fit.fitted(starts)
    return dataclasses.replace(fitted, members=fitted.members * members), path


@dataclasses.dataclass
class _Fit:
    """One fit under way: its rows lie ready, and its starts are tasks for workers."""

    rows: InMemory
    descent: Descent
    alpha: float | str
    settings: Settings
    watched: dict[str, InMemory]
    judge: str | None
    scaling: Scaling
    workers: Workers
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None
    every_step: bool
    is_new: bool
    until: float  # when its time is over, as time.perf_counter() reads
    begun: bool = False  # whether a walk was given that is made however short the time is
    asked_to_stop: bool = False  # maybe in the moment in which a start ended by itself

    def give(self, network: Network, begins: Sequence[np.ndarray], known: Sequence[DescentPath] = ()) -> "_Starts":
        """Have a path walked from each of these starts but the first, whose paths are ``known``."""
        starts = _Starts(network, begins, list(known), [])
        here = self.work(network) <= _QUICK or len(begins) == 1
        for number in range(len(known), len(begins)):
            walk = functools.partial(self._walk, starts, number, not self.begun)
            starts.tasks.append(self.workers.give(walk, here=here))
            self.begun = True
        return starts

    def work(self, network: Network) -> float:
        """The products of a pass of Levenberg–Marquardt."""
        return self.rows.count * network.outputs * network.n_weights**2

    def results(self, starts: "_Starts") -> list[DescentPath]:
        """The paths of these starts, in their order; fewer where the fit was to stop."""
        for task in starts.tasks:
            path = task.result()
            if path is not None:
                starts.paths.append(path)
                self.workers.stopped |= path.stop in _CUT_SHORT and path.stop != Stop.TIME  # of time all walks know
            self.workers.stopped |= self.asked_to_stop
        return starts.paths

    def is_over(self, paths: Sequence[DescentPath]) -> bool:
        """Whether the fit is to stop where it is."""
        return (
            self.late() or self.asked_to_stop or self.workers.stopped or any(path.stop in _CUT_SHORT for path in paths)
        )

    def late(self) -> bool:
        """Whether its time is over."""
        return time.perf_counter() >= self.until

    def fitted(self, starts: "_Starts") -> tuple[FittedNetwork, DescentPath]:
        """The network that several walks led to, and the path of the start shown."""
        # Starts cut short would only disturb the mean of those that arrived.
        arrived = [path for path in starts.paths if path.stop not in _CUT_SHORT] or starts.paths[:1]
        sound = _sound([path for path in arrived if path.stop != Stop.DIVERGED]) or arrived[:1]
        ends = starts_of(starts.network, self.rows, sound, self.judge)
        shown = sound[ends.shown]
        if len(arrived) < len(starts.begins) and arrived[0].stop not in _CUT_SHORT:
            why, said = Stop.INTERRUPTED, "Interrupted"
            if self.asked_to_stop:
                why, said = Stop.ASKED, "Stopped as asked"
            elif self.late() and not self.workers.interrupted:
                why, said = Stop.TIME, "The time (max_seconds) was over"
            cut = f"{said}: the fit is that of the {len(arrived)} of {len(starts.begins)} starts that had arrived. "
            shown = dataclasses.replace(shown, stop=why, stop_message=cut + shown.stop_message)
        if self.settings.average:
            fitted = mean_of(starts.network, list(ends.weights), self.scaling)
        else:
            fitted = FittedNetwork(starts.network, ends[ends.shown].weights, self.scaling)
        return dataclasses.replace(fitted, starts=ends), shown

    def _walk(self, starts: "_Starts", number: int, first: bool) -> DescentPath | None:
        """The path from one start, None where the time is over and it is not the first.

        Under Bayesian regularisation from a strong and from a light penalty in turn; a single start walks from both, and
        the path of the higher evidence is taken.
        """
        if self.late() and not first:
            return None
        path = self._from(starts, number, _FIRST[number % 2])
        alone = len(starts.begins) == 1 and self.alpha == "evidence" and self.is_new
        if not alone or self.is_over([path]):
            return path
        return max(path, self._from(starts, number, _FIRST[1]), key=lambda path: _evidence([path]))

    def _from(self, starts: "_Starts", number: int, first: float) -> DescentPath:
        def told(now: Progress) -> bool:
            now = dataclasses.replace(now, start=number + 1, n_starts=len(starts.begins))
            self.workers.say(functools.partial(self._tell, starts, now))
            return self.asked_to_stop

        path = descend(
            starts.network, self.rows, self.descent, weights=starts.begins[number], watched=self.watched, judge=self.judge,
            alpha=Evidence(first) if self.alpha == "evidence" else self.alpha, progress=told if self.progress else None,
            every_step=self.every_step, input_names=self.settings.input_names, until=self.until, **self.settings.walk,
        )  # fmt: skip
        return dataclasses.replace(path, alpha=self.alpha)

    def _tell(self, starts: "_Starts", now: Progress) -> None:
        """In the thread that called: say how far a start is, the first that has not arrived."""
        assert self.progress is not None
        arrived = [path.best_weights for path in starts.paths]
        if self.progress(now, lambda: mean_of(starts.network, [*arrived, now.weights], self.scaling)):
            self.asked_to_stop = True


class _Starts(NamedTuple):
    """Starts under way: where they begin, the paths that have come back, and the tasks of all others."""

    network: Network
    begins: Sequence[np.ndarray]
    paths: list[DescentPath]
    tasks: list[Task[DescentPath | None]]


def _grown(fit: _Fit, networks: Sequence[Network], begins: Callable[[Network], list[np.ndarray]]) -> _Starts:
    """The starts of that network, each wider than the one before, at which the evidence falls.

    The evidence is that of one network. Ensembles gain from slight overfitting: the first network whose evidence fell is
    kept, if rows left out are nearer to it by a tenth (generalised cross-validation; where the noise is large it promises a
    hundredth, and does not keep it: benchmarks/README.md), or if it determines less than a twentieth as many weights as there
    are rows, so that it cannot follow the noise far. Wider networks begin to walk while the decision is still open.
    Source: MacKay (1992), Neural Computation 4:448, sec. 3.3; Sollich & Krogh (1996), NIPS 8:190; Golub, Heath & Wahba
    (1979), Technometrics 21:215.
    """
    small = (it for it in networks if it.n_weights <= MOST_WEIGHTS and fit.work(it) <= _MOST_TO_GROW)
    given = [fit.give(network, begins(network)) for network in list(small) or networks[:1]]
    best = given[0]
    fit.results(best)
    for wider in given[1:]:
        if fit.is_over(best.paths) or not fit.results(wider) or any(path.stop == Stop.TIME for path in wider.paths):
            break
        fell = not _evidence(wider.paths) > _evidence(best.paths) + _WORTH
        there, here = _sound(wider.paths), _sound(best.paths)
        if not fell or _left_out(there) < _NEARER * _left_out(here) or _determined(there) < _HARMLESS:
            best = wider
        if fell:
            break
    for task in (task for starts in given for task in starts.tasks):
        task.drop()  # nobody waits for those that have not arrived
    return best


def _sound(paths: Sequence[DescentPath]) -> list[DescentPath]:
    """The paths without those that ended at a lower maximum of the evidence, by more than a quarter for each row."""
    if not all("log_evidence" in path.shown for path in paths) or not np.isfinite(_evidence(paths)):
        return list(paths)
    least = _evidence(paths) - _LOWER * paths[0].n_rows
    return [path for path in paths if path.at_best(path.shown["log_evidence"]) >= least]


def _evidence(paths: Sequence[DescentPath]) -> float:
    """The highest of the log evidences that these paths found."""
    return max((path.at_best(path.shown["log_evidence"]) for path in paths), default=-math.inf)


def _determined(paths: Sequence[DescentPath]) -> float:
    """How many weights the rows determine, in the mean over these paths and as a share of all values of the targets."""
    counts = [path.at_best(path.shown["effective_weights"]) for path in paths]
    return float(np.mean(counts)) / (paths[0].n_rows * paths[0].model.outputs)


def _left_out(paths: Sequence[DescentPath]) -> float:
    """How far off, in the mean over these paths, a row is that was left out, by generalised cross-validation."""
    values = [path.n_rows * path.model.outputs for path in paths]
    free = [n - path.at_best(path.shown["effective_weights"]) for n, path in zip(values, paths, strict=True)]
    errors = [path.at_best(path.error) for path in paths]
    sizes = [math.sqrt(2.0 * e * n) / max(f, 0.01 * n) for e, n, f in zip(errors, values, free, strict=True)]
    return float(np.mean(sizes))


def _begins(network: Network, seed: int | np.random.Generator | None, count: int) -> list[np.ndarray]:
    """Weights to start from, other ones each time; the first are those of a single start."""
    given: Any = seed  # a number is followed by others of its own, a generator by what comes next
    seeds = [[seed, k] if isinstance(seed, (int, np.integer)) and k else given for k in range(count)]
    return [network.initial(each) for each in seeds]  # type: ignore[arg-type]


def scaling_of(
    x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, network: Network, settings: Settings
) -> Scaling:
    """The scaling that a new fit of ``network`` to these rows lives in."""
    if not settings.scale:
        return Scaling.identity(x.shape[1], y.shape[1])
    n, s = x.shape[0], sample_weight
    parts = (slice(at, min(at + _SUMMED_ROWS, n)) for at in range(0, n, _SUMMED_ROWS))
    return Scaling.fit(
        [(x[part, :], y[part, :], None if s is None else s[part]) for part in parts],
        indicators=settings.indicators,
        centre=network.bias,
        scale_targets=network.output_activation == "identity",
        one_target_scale=settings.one_target_scale,
    )
