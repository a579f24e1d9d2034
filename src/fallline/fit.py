"""Arrays in, a fitted network out: what the estimator and the command line share.

Scaling, the division of the rows, the descent, and the weights folded back into the
user's units. No file, no table and no scikit-learn is known here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.columns import Scaling
from fallline.descent import Descent, Stop
from fallline.descent.batches import by_batches
from fallline.descent.choose import choose
from fallline.descent.transformation import wrapped
from fallline.epochs import Standing, one_epoch
from fallline.exceptions import SettingsError, TableError
from fallline.loop import Progress, descend
from fallline.network import Layer, Network
from fallline.path import DescentPath
from fallline.rows.memory import InMemory

# What both faces start from.
HIDDEN_LAYER_SIZES = (20,)
ACTIVATION = "tanh"
ALPHA = "auto"
MAX_ITER = 1000
TOL = 3e-4
N_ITER_NO_CHANGE = 10

# Weight decays to choose from, strong to light.
_DECAYS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_LIGHT_DECAY = (
    0.1  # where nothing is chosen: a descent by the gradient, or early stopping, which holds back by itself
)
_PARTS = 5  # a fifth of the rows judges
_JUDGES = 150  # … and more fifths take their turn until so many rows have judged
_PATIENCE = 2  # decays without a lower error before the lighter ones are left out
_ROUGH_STEPS, _ROUGH_TOL = 25, 1e-2  # how far each of these fits goes
_ENOUGH = 2000  # of a long table, so many rows teach: the decay that suits does not depend on their number

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

    ``decay_was_chosen``: whether the weight decay of its fit was chosen on rows held back in turn.
    """

    network: Network
    weights: np.ndarray
    scaling: Scaling
    decay_was_chosen: bool = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Coefficients and biases in the user's units: a forward pass by hand gives ``predict``."""
        return tuple(Layer(*layer) for layer in self.scaling.fold(self.network.layers(self.weights)))

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
    hidden_layer_sizes: Sequence[int] | int = HIDDEN_LAYER_SIZES,
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
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None = None,
    every_step: bool = False,
    input_names: Sequence[str] | None = None,
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to rows x (n, inputs) and y (n, outputs) in the user's units; the way there lives in scaled units.

    With ``scale``, inputs and, under identity outputs, targets are standardised inside; ``indicators`` (inputs,)
    marks columns of 0 and 1, and ``one_target_scale`` divides all targets by one number. ``alpha``: weight decay;
    ``"auto"`` chooses it on fifths of the rows held back in turn, where Levenberg–Marquardt descends 10 rows or more and
    nobody judges, and is 0.1 elsewhere; ``"evidence"``: Bayesian.
    ``watched`` rows, (x, y) or (x, y, sample_weight) by name, are followed and not fitted; ``judge`` names the one
    whose lowest error chooses the weights. ``before`` is a fit to go on from, in its scaling. ``progress`` is told
    how far the descent is, and gets a function that gives the network as it stands. The other arguments are those
    of ``descend``. Raises what ``Network`` and ``descend`` raise.
    """
    network = Network(
        (x.shape[1], *hidden_sizes(hidden_layer_sizes), y.shape[1]), activation, output_activation, bias=bias
    )
    if before is not None and before.network != network:
        raise SettingsError(
            f"warm_start goes on with the network fitted before ({before.network}), but the settings and columns now make "
            f"another one ({network}): set warm_start=False, or put the settings back."
        )
    scaling = (
        before.scaling
        if before
        else _scaling_of(x, y, sample_weight, network, indicators, scale, one_target_scale)
    )

    def told(now: Progress) -> Any:
        return progress and progress(now, lambda: FittedNetwork(network, now.weights, scaling))

    sets = {name: InMemory(scaling.x(a), scaling.y(b), *s) for name, (a, b, *s) in (watched or {}).items()}
    start = network.initial(seed) if before is None else before.weights
    if isinstance(descent, str):
        descent, _ = choose(descent, network, len(x))
    descent = wrapped(descent)
    single = getattr(descent, "batch_size", None) is not None and len(x) * network.n_weights >= _SINGLE_FROM
    rows = InMemory(scaling.x(x), scaling.y(y), sample_weight, np.float32 if single else np.float64)
    chosen = None
    if isinstance(alpha, str) and alpha == "auto":
        if descent.finds_penalty and judge is None and max_iter > 0:
            chosen = choose_weight_decay(network, rows, content_keys(x, y, seed), descent, start, sets)
        alpha = _LIGHT_DECAY if chosen is None else chosen
    path = descend(
        network,
        rows,
        descent,
        weights=start,
        seed=seed,
        max_iter=max_iter,
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        alpha=alpha,
        watched=sets,
        judge=judge,
        progress=told if progress else None,
        every_step=every_step,
        input_names=input_names,
    )
    return FittedNetwork(network, path.best_weights, scaling, chosen is not None), path


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
    hidden_layer_sizes: Sequence[int] | int = HIDDEN_LAYER_SIZES,
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
    network = Network(
        (x.shape[1], *hidden_sizes(hidden_layer_sizes), y.shape[1]), activation, output_activation, bias=bias
    )
    if before is not None and before.network != network:
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
    return FittedNetwork(network, weights, before.scaling), path, standing


def content_keys(x: np.ndarray, y: np.ndarray, seed: int | np.random.Generator | None) -> np.ndarray:
    """A random number for each row, (n,) in [0, 1), the same for equal rows wherever they stand.

    Rows divided by it keep their twins beside them: a repeated row must not be judged by its own twin, and falls
    where the same row with more weight would.
    """
    bits = np.ascontiguousarray(np.column_stack([x, y]) + 0.0).view(np.uint64)  # + 0.0: −0 is 0
    key = np.zeros(len(x), np.uint64)
    for column in bits.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    salt = np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64)
    key = (key ^ salt) * np.uint64(0xBF58476D1CE4E5B9)
    key ^= key >> np.uint64(32)
    return np.asarray(key >> np.uint64(11), np.float64) * 2.0**-53


def _turns(keys: np.ndarray, weight: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which rows teach and which judge, turn by turn, as masks (n,): see ``choose_weight_decay``."""
    rows = float(weight.sum())
    if rows > 2 * _ENOUGH:
        teaches = keys < _ENOUGH / rows
        turns = [(teaches, ~teaches & (keys < 4 * _ENOUGH / rows))]
    else:
        part = (keys * _PARTS).astype(int)
        turns = [(part != k, part == k) for k in range(min(math.ceil(_JUDGES * _PARTS / rows), _PARTS))]
    return [(teaches, judges) for teaches, judges in turns if weight[judges].any() and weight[teaches].any()]


def choose_weight_decay(
    network: Network,
    rows: InMemory,
    keys: np.ndarray,
    descent: Descent,
    start: np.ndarray,
    watched: Mapping[str, InMemory],
) -> float | None:
    """The weight decay whose fits predict rows they have not seen best; None where rows are too few to choose by.

    keys (n,) in [0, 1) divide the rows in fifths. A fifth is left out, the network is fitted to the rest under ever
    lighter decays, each time from the weights the final descent will start from, and judged on the fifth; more fifths
    take their turn until 150 rows have judged. Leaving a row out is giving it no weight, so that every fit runs the
    program of the final one; ``watched`` is passed on for the same reason alone. Of a long table 2 000 rows teach and
    6 000 judge.
    """
    weight = np.ones(len(keys)) if rows.sample_weight is None else np.asarray(rows.sample_weight, np.float64)
    turns = _turns(keys, weight)
    if rows.count < 2 * _PARTS or not turns:
        return None
    long = rows.count > 2 * _ENOUGH
    taught = [
        InMemory(rows.x[teaches], rows.y[teaches], weight[teaches])
        if long
        else InMemory(rows.x, rows.y, np.where(teaches, weight, 0.0))
        for teaches, _ in turns
    ]
    judging = np.concatenate([weight[judges] for _, judges in turns])
    errors: list[np.ndarray] = []  # for each decay, the squared error of every row that judged
    for decay in _DECAYS:
        squares = []
        for given, (_, judges) in zip(taught, turns, strict=True):
            path = descend(
                network,
                given,
                descent,
                weights=start,
                alpha=decay,
                watched={} if long else watched,
                max_iter=_ROUGH_STEPS,
                tol=_ROUGH_TOL,
            )
            if path.stop == Stop.INTERRUPTED:
                raise KeyboardInterrupt
            residual = network.predict(path.best_weights, rows.x[judges]) - rows.y[judges]
            squares.append((residual**2).sum(axis=1))
        errors.append(np.concatenate(squares))
        totals = [np.average(each, weights=judging) for each in errors]
        if len(totals) - 1 - int(np.argmin(totals)) == _PATIENCE:
            break
    best = errors[int(np.argmin(totals))]
    # The strongest decay that is not worse than the best by more than chance: one standard error of the difference
    # row by row. Source: Breiman et al. (1984), *Classification and Regression Trees*, sec. 3.4.3, paired.
    for decay, each in zip(_DECAYS, errors, strict=False):
        worse = np.average(each - best, weights=judging)
        spread = np.average((each - best - worse) ** 2, weights=judging)
        if worse <= math.sqrt(spread / judging.sum()):
            return decay
    return None


def hidden_sizes(given: Sequence[int] | int) -> tuple[int, ...]:
    """``20``, ``(20,)`` or ``[]`` as a tuple of layer sizes. Raises SettingsError for anything else."""
    sizes: tuple[Any, ...] = (given,) if np.ndim(given) == 0 else tuple(given)  # type: ignore[arg-type]
    if any(
        isinstance(size, (bool, str, float)) or size is None or int(size) != size or size < 1
        for size in sizes
    ):
        raise SettingsError(
            f"hidden_layer_sizes={given!r} is not possible: give one whole number from 1 up for each hidden layer, "
            "such as (20,), or () for none."
        )
    return tuple(int(size) for size in sizes)
