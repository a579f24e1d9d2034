"""Arrays in, a fitted network out: what the estimator and the command line share.

Scaling, the division of the rows, the descent, and the weights folded back into the
user's units. No file, no table and no scikit-learn is known here.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop
from fallline.descent.batches import by_batches
from fallline.descent.choose import MOST_WEIGHTS, choose
from fallline.descent.penalty import Evidence
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError, TableError
from fallline.fit.average import Start, Starts, starts_of
from fallline.kernel import make_room
from fallline.model.network import Layer, Network
from fallline.rows.memory import InMemory
from fallline.table.columns import Scaling
from fallline.walk.epochs import Standing, one_epoch
from fallline.walk.loop import Progress, descend
from fallline.walk.path import DescentPath

# What both faces start from.
HIDDEN_LAYER_SIZES = "auto"
ACTIVATION = "tanh"
ALPHA = "auto"
N_STARTS: int | str = "auto"
MAX_ITER = 1000
TOL = 3e-4
N_ITER_NO_CHANGE = 10

_LIGHT_DECAY = (
    0.1  # where nothing is found: a descent by the gradient, or early stopping, which holds back by itself
)
# Units of the one hidden layer that "auto" tries, what a pass may take of products, and the layer where nothing is tried.
_WIDTHS = (2, 5, 10, 20, 40)
_MOST_TO_GROW = 3e9
_NEARER, _HARMLESS = 0.9, 0.05
_WORTH = 2.0  # by so much the log evidence must rise: a unit that does nothing changes it by less
# Starts begin from a strong and from a light penalty in turn; one whose log evidence is lower by so much a row is left out.
_FIRST, _LOWER = (Evidence.first, 1e-3), 0.25
_USUAL = (20,)
_CUT_SHORT = (Stop.INTERRUPTED, Stop.ASKED)

_ENOUGH_FOR_EVIDENCE = 10  # rows: fewer say nothing of the noise

# What Levenberg–Marquardt takes of products a pass, up to which so many starts are a matter of seconds.
_STARTS = ((1e8, 10), (1e9, 5), (2e9, 3))

# Mini-batches go in single precision from so many rows · weights on: half the time, and the noise of a batch is far larger.
_SINGLE_FROM = 1e7

_PREDICT_ROWS = 1 << 16  # a block of predictions: bounded memory however long the table


@dataclass(frozen=True)
class Division:
    """Which rows each part got, as row numbers in ascending order: descended on, judging when to stop, kept apart."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def divide(
    n: int, validation: float, test: float, random: np.random.Generator, classes: np.ndarray | None = None
) -> Division:
    """n rows at random in three, as fitnet's ``dividerand`` does: shares ``validation`` and ``test``, the rest to train on.

    classes (n,) of whole numbers from 0 are spread over the parts in proportion, as far as rows can be: the first row of each
    class trains.
    Raises SettingsError for shares outside [0, 1) or without a rest, TableError where a part that was asked for gets no row.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise SettingsError(
            f"validation_fraction={validation!r} and test_fraction={test!r} are not possible: each is a share of the rows "
            "from 0 to below 1, and together they must leave rows to train on."
        )
    order = random.permutation(n)
    if classes is not None:
        # Each class is laid out evenly over [0, 1): any cut divides all of them in the same proportion.
        order = order[np.argsort(classes[order], kind="stable")]
        counts = np.bincount(classes)
        rank = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        order = order[np.lexsort((random.random(n), rank / np.repeat(counts, counts)))]
    n_validation = max(round(n * validation), 1 if validation > 0 else 0)
    n_test = max(round(n * test), 1 if test > 0 else 0)
    if n_validation + n_test >= n:
        raise TableError(f"{n} rows are too few to divide in three: give more rows, or early_stopping=False.")
    cuts = np.split(order, [n - n_validation - n_test, n - n_test])
    return Division(*(np.sort(part) for part in cuts))


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network, its weights (n_weights,) in scaled units, and the scaling they were found in.

    ``members``: of how many networks side by side it is the mean. ``starts``: how the starts of its fit ended, None for a
    network that is on its way.
    """

    network: Network
    weights: np.ndarray
    scaling: Scaling
    members: int = 1
    starts: Starts | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Coefficients and biases in the user's units: a forward pass by hand gives ``predict``."""
        return tuple(Layer(*layer) for layer in self.scaling.fold(self.network.layers(self.weights)))

    def alone(self) -> "FittedNetwork":
        """The start shown by itself, whose path, minimum and surface are looked at; the network where there is no other."""
        if self.starts is None:
            return self
        start = self.starts[self.starts.shown]
        return FittedNetwork(self.starts.network, start.weights, self.scaling)

    def averages(self) -> tuple[Start, ...]:
        """The starts that this is the mean of: all, or the one shown where nothing was averaged."""
        if self.starts is None:
            return ()
        all_ = self.members == len(self.starts) or not self.network.hidden
        return self.starts.each if all_ else (self.starts[self.starts.shown],)

    def rows(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> InMemory:
        """Rows (n, inputs) and targets (n, outputs) in the user's units as the descent sums them: scaled, float64."""
        return InMemory(self.scaling.x(x), self.scaling.y(y), sample_weight, np.float64)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """ŷ of rows (n, inputs) in the user's units: (n, outputs), block by block."""
        parts = [
            self.scaling.unscale_y(
                self.network.predict(self.weights, self.scaling.x(x[at : at + _PREDICT_ROWS]))
            )
            for at in range(0, len(x), _PREDICT_ROWS)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.outputs))


def fit_network(
    x: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    hidden_layer_sizes: Sequence[int] | int | str = HIDDEN_LAYER_SIZES,
    activation: str = ACTIVATION,
    output_activation: str = "identity",
    bias: bool = True,
    scale: bool = True,
    one_target_scale: bool = False,
    indicators: np.ndarray | None = None,
    descent: Any = "auto",
    alpha: float | str = ALPHA,
    max_iter: int = MAX_ITER,
    tol: float = TOL,
    n_iter_no_change: int = N_ITER_NO_CHANGE,
    seed: int | np.random.Generator | None = None,
    watched: Mapping[str, tuple[Any, ...]] | None = None,
    judge: str | None = None,
    before: FittedNetwork | None = None,
    n_starts: int | str = N_STARTS,
    average: bool = True,
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None = None,
    every_step: bool = False,
    input_names: Sequence[str] | None = None,
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to rows x (n, inputs) and y (n, outputs) in the user's units; the way there lives in scaled units.

    With ``scale``, inputs and, under identity outputs, targets are standardised inside; ``indicators`` (inputs,)
    marks columns of 0 and 1, and ``one_target_scale`` divides all targets by one number. ``alpha``: weight decay;
    ``"evidence"``: Bayesian regularisation; ``"auto"`` is that where
    Levenberg–Marquardt descends 10 rows or more and nobody judges, and 0.1 elsewhere. hidden_layer_sizes ``"auto"``: one hidden
    layer of 2, 5, 10, 20 or 40 units, grown until the evidence falls; 20 units where no evidence is found.
    The descent begins ``n_starts`` times, from other weights each time; ``"auto"``: ten times where Levenberg–Marquardt
    descends and rows · outputs · weights² is up to 1e8, five times up to 1e9, three times up to 2e9, once elsewhere.
    ``average``: the network is the mean of all, one wider network; without, it is the start shown (``starts_of``), whose path
    is returned in either case.
    ``watched`` rows, (x, y) or (x, y, sample_weight) by name, are followed and not fitted; ``judge`` names the one
    whose lowest error chooses the weights. ``before`` is a fit to go on from, in its scaling. ``progress`` is told
    how far the descent is, and gets a function that gives the network as it stands. The other arguments are those
    of ``descend``. Raises what ``Network`` and ``descend`` raise.
    """
    make_room()
    grows = isinstance(hidden_layer_sizes, str) and hidden_layer_sizes == "auto"

    def network_of(sizes: Sequence[int]) -> Network:
        return Network((x.shape[1], *sizes, y.shape[1]), activation, output_activation, bias=bias)

    if grows and before is not None:
        network = before.alone().network
    else:
        network = network_of(_USUAL if grows else hidden_sizes(hidden_layer_sizes))
    if before is not None and before.network != network.side_by_side(before.members):
        raise SettingsError(
            f"warm_start goes on with the network fitted before ({before.network}), but the settings and columns now make "
            f"another one ({network}): set warm_start=False, or put the settings back."
        )
    scaling = (
        before.scaling
        if before
        else _scaling_of(x, y, sample_weight, network, indicators, scale, one_target_scale)
    )
    sets = {name: InMemory(scaling.x(a), scaling.y(b), *s) for name, (a, b, *s) in (watched or {}).items()}
    if isinstance(descent, str):
        descent, _ = choose(descent, network, len(x))
    descent = wrapped(descent)
    single = getattr(descent, "batch_size", None) is not None and len(x) * network.n_weights >= _SINGLE_FROM
    rows = InMemory(scaling.x(x), scaling.y(y), sample_weight, np.float32 if single else np.float64)
    if isinstance(alpha, str) and alpha == "auto":
        found = descent.finds_penalty and judge is None and rows.count >= _ENOUGH_FOR_EVIDENCE
        alpha = "evidence" if found else _LIGHT_DECAY

    asked_to_stop = False  # maybe in the moment in which a start ended by itself

    def is_over(paths: Sequence[DescentPath]) -> bool:
        return asked_to_stop or (bool(paths) and paths[-1].stop in _CUT_SHORT)

    def walk(
        network: Network, start: np.ndarray, first: float, arrived: Sequence[np.ndarray] = (), of: int = 1
    ) -> DescentPath:
        """The path from one start, the next of so many after those that have ``arrived``; under Bayesian regularisation from a
        strength of ``first`` a row."""

        def told(now: Progress) -> bool:
            nonlocal asked_to_stop
            now = dataclasses.replace(now, start=len(arrived) + 1, n_starts=of)
            asked_to_stop = bool(
                progress and progress(now, lambda: _mean_of(network, [*arrived, now.weights], scaling))
            )
            return asked_to_stop

        path = descend(
            network,
            rows,
            descent,
            weights=start,
            seed=seed,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            alpha=Evidence(first) if alpha == "evidence" else alpha,
            watched=sets,
            judge=judge,
            progress=told if progress else None,
            every_step=every_step,
            input_names=input_names,
        )
        return dataclasses.replace(path, alpha=alpha)

    def walk_on(
        network: Network, begins: Sequence[np.ndarray], paths: Sequence[DescentPath] = ()
    ) -> list[DescentPath]:
        """A path from each of these starts; of the first, those that are known are taken over."""
        paths = list(paths)
        for number, start in enumerate(begins[len(paths) :], start=len(paths)):
            if is_over(paths):
                break
            arrived = [path.best_weights for path in paths]
            path = walk(network, start, _FIRST[number % 2], arrived, len(begins))
            if len(begins) == 1 and alpha == "evidence" and not is_over([path]) and before is None:
                path = max(path, walk(network, start, _FIRST[1]), key=lambda path: _evidence([path]))
            paths.append(path)
        return paths

    members = 1
    known: list[DescentPath] = []
    if before is None:
        count = functools.partial(starts_asked, n_starts, descent=descent, rows=len(x))
        if grows and alpha == "evidence":
            network, known = _grown(
                network_of, rows, lambda it: walk_on(it, _begins(it, seed, max(count(it) // 3, 1))), is_over
            )
        begins = _begins(network, seed, count(network))
    elif before.starts is not None:
        begins = list(before.starts.weights)
    else:  # after partial_fit: one network, however many it once was the mean of
        network, members, begins = before.network, before.members, [before.weights]
    paths = walk_on(network, begins, known)
    fitted, path = _fitted(network, scaling, rows.x, paths, len(begins), judge, average)
    return dataclasses.replace(fitted, members=fitted.members * members), path


def _grown(
    network_of: Callable[[Sequence[int]], Network],
    rows: InMemory,
    walks: Callable[[Network], list[DescentPath]],
    is_over: Callable[[Sequence[DescentPath]], bool],
) -> tuple[Network, list[DescentPath]]:
    """The network with one hidden layer that is grown until the evidence falls, and its paths.

    The evidence is that of one network. The mean of several is best of networks that each follow the rows a little too
    closely: the first whose evidence fell is kept, if rows left out are nearer to it by a tenth (generalised
    cross-validation; where the noise is large it promises a hundredth, and does not keep it: benchmarks/README.md), or if it
    determines less than a twentieth as many weights as there are rows, so that it cannot follow the noise far.
    Source: MacKay (1992), Neural Computation 4:448, sec. 3.3; Sollich & Krogh (1996), NIPS 8:190; Golub, Heath & Wahba
    (1979), Technometrics 21:215.
    """
    network = network_of(_WIDTHS[:1])
    paths = walks(network)
    for width in _WIDTHS[1:]:
        wider = network_of((width,))
        too_much = rows.count * wider.outputs * wider.n_weights**2 > _MOST_TO_GROW
        if is_over(paths) or too_much or wider.n_weights > MOST_WEIGHTS:
            break
        further = walks(wider)
        fell = not _evidence(further) > _evidence(paths) + _WORTH
        there, here = _sound(further), _sound(paths)
        if not fell or _left_out(there) < _NEARER * _left_out(here) or _determined(there) < _HARMLESS:
            network, paths = wider, further
        if fell:
            break
    return network, paths


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


def _fitted(
    network: Network,
    scaling: Scaling,
    x: np.ndarray,
    paths: list[DescentPath],
    asked: int,
    judge: str | None,
    average: bool,
) -> tuple[FittedNetwork, DescentPath]:
    """The network that several walks led to, and the path of the start shown."""
    last, cut = paths[-1], ""
    if len(paths) > 1 and last.stop in _CUT_SHORT:
        paths = paths[:-1]  # a start cut short would only disturb the mean of those that arrived
        said = "Interrupted" if last.stop == Stop.INTERRUPTED else "Stopped as asked"
        cut = f"{said} in start {len(paths) + 1} of {asked}; the fit is that of the {len(paths)} before it. "
    elif len(paths) < asked and last.stop not in _CUT_SHORT:
        last = dataclasses.replace(last, stop=Stop.ASKED)
        cut = f"Stopped as asked after start {len(paths)} of {asked}. "
    sound = _sound([path for path in paths if path.stop != Stop.DIVERGED])
    starts = starts_of(network, x, sound or paths[:1], judge)
    shown = (sound or paths)[starts.shown]
    if cut:
        shown = dataclasses.replace(shown, stop=last.stop, stop_message=cut + shown.stop_message)
    if average:
        fitted = _mean_of(network, list(starts.weights), scaling)
    else:
        fitted = FittedNetwork(network, starts[starts.shown].weights, scaling)
    return dataclasses.replace(fitted, starts=starts), shown


def _mean_of(network: Network, weights: Sequence[np.ndarray], scaling: Scaling) -> FittedNetwork:
    """The mean of networks of these weights, each (n_weights,), as one."""
    wide, mean = network.averaged(np.array(weights))
    return FittedNetwork(wide, mean, scaling, members=len(weights) if wide != network else 1)


def starts_asked(n_starts: int | str, network: Network, descent: Descent, rows: int) -> int:
    """How many starts ``n_starts`` asks for. Raises SettingsError for anything but "auto" or a whole number from 1 up."""
    if n_starts == "auto":
        work = rows * network.outputs * network.n_weights**2
        quick = [count for most, count in _STARTS if work <= most]
        return quick[0] if quick and descent.finds_penalty and network.hidden else 1
    if isinstance(n_starts, (bool, str)) or n_starts is None or int(n_starts) != n_starts or n_starts < 1:
        raise SettingsError(
            f"n_starts={n_starts!r} is not possible: give a whole number from 1 up, or 'auto'."
        )
    return int(n_starts)


def _begins(network: Network, seed: int | np.random.Generator | None, count: int) -> list[np.ndarray]:
    """Weights to start from, other ones each time; the first are those of a single start."""
    given: Any = seed  # a number is followed by others of its own, a generator by what comes next
    seeds = [[seed, k] if isinstance(seed, (int, np.integer)) and k else given for k in range(count)]
    return [network.initial(each) for each in seeds]  # type: ignore[arg-type]


def _scaling_of(
    x: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    network: Network,
    indicators: np.ndarray | None,
    scale: bool,
    one_target_scale: bool,
) -> Scaling:
    """The scaling that a new fit of ``network`` to these rows lives in."""
    if not scale:
        return Scaling.identity(x.shape[1], y.shape[1])
    return Scaling.fit(
        [(x, y, sample_weight)],
        indicators=indicators,
        centre=network.bias,
        scale_targets=network.output_activation == "identity",
        one_target_scale=one_target_scale,
    )


def fit_part(
    x: np.ndarray,
    y: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    hidden_layer_sizes: Sequence[int] | int | str = HIDDEN_LAYER_SIZES,
    activation: str = ACTIVATION,
    output_activation: str = "identity",
    bias: bool = True,
    scale: bool = True,
    one_target_scale: bool = False,
    indicators: np.ndarray | None = None,
    descent: Any = "auto",
    alpha: float | str = ALPHA,
    seed: int = 0,
    before: FittedNetwork | None = None,
    standing: Standing | None = None,
) -> tuple[FittedNetwork, DescentPath, Standing]:
    """One epoch of mini-batches over rows x (n, inputs) and y (n, outputs), going on from ``before`` and ``standing``.

    Without ``before`` the network is new, and its scaling is that of these rows, for good. ``standing`` holds what the
    descent remembers from the epochs before. The other arguments are those of ``fit_network``; ``"auto"`` is the
    mini-batch descent, and a weight decay of 0.1, which counts against the rows given. Raises SettingsError for a
    descent that needs all rows at once, and where the settings now make another network.
    """
    grows = isinstance(hidden_layer_sizes, str) and hidden_layer_sizes == "auto"
    sizes = _USUAL if grows else hidden_sizes(hidden_layer_sizes)
    if grows and before is not None:
        sizes = before.alone().network.hidden
    network = Network((x.shape[1], *sizes, y.shape[1]), activation, output_activation, bias=bias)
    wide = network if before is None or before.network == network else network.side_by_side(before.members)
    if before is not None and before.network == wide:
        network = wide  # a mean of several starts goes on as the wider network it is
    elif before is not None:
        raise SettingsError(
            f"partial_fit goes on with the network fitted before ({before.network}), but the settings and targets now make "
            f"another one ({network}): put them back, or call fit to start anew."
        )
    if isinstance(descent, str):
        descent, _ = choose("mini-batch" if descent == "auto" else descent, network, len(x))
    descent = by_batches(wrapped(descent), len(x))
    if isinstance(alpha, str) and alpha != "auto":
        raise SettingsError(
            f"alpha={alpha!r} needs all rows at once: give partial_fit a number, such as 0.1."
        )
    if before is None:
        scaling = _scaling_of(x, y, sample_weight, network, indicators, scale, one_target_scale)
        before, standing = FittedNetwork(network, network.initial(seed), scaling), None
    rows = InMemory(before.scaling.x(x), before.scaling.y(y), sample_weight)
    path, standing = one_epoch(
        network,
        rows,
        descent,
        before.weights,
        seed=seed,
        alpha=_LIGHT_DECAY if isinstance(alpha, str) else alpha,
        before=standing,
    )
    weights = path.best_weights if path.stop == Stop.DIVERGED else path.final_weights
    return FittedNetwork(network, weights, before.scaling, before.members), path, standing


def hidden_sizes(given: Any) -> tuple[int, ...]:
    """``20``, ``(20,)`` or ``[]`` as a tuple of layer sizes. Raises SettingsError for anything else."""
    sizes: tuple[Any, ...] = (given,) if np.ndim(given) == 0 else tuple(given)
    if any(
        isinstance(size, (bool, str, float)) or size is None or int(size) != size or size < 1
        for size in sizes
    ):
        raise SettingsError(
            f"hidden_layer_sizes={given!r} is not possible: give one whole number from 1 up for each hidden layer, "
            "such as (20,), () for none, or 'auto'."
        )
    return tuple(int(size) for size in sizes)
