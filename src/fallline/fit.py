"""Arrays in, a fitted network out: what the estimator and the command line share.

Scaling, the division of the rows, the descent, and the weights folded back into the
user's units. No file, no table and no scikit-learn is known here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.columns import Scaling
from fallline.descend import DescentPath, Progress, descend
from fallline.descent import Descent
from fallline.exceptions import SettingsError, TableError
from fallline.network import Layer, Network
from fallline.rows.memory import InMemory

# What both faces start from. Chosen on splits 0-4 of the tables in benchmarks/README.md.
HIDDEN_LAYER_SIZES = (20,)
ACTIVATION = "tanh"
ALPHA = "auto"
MAX_ITER = 1000
TOL = 1e-4
N_ITER_NO_CHANGE = 10

_PREDICT_ROWS = 1 << 16  # a block of predictions: bounded memory however long the table


@dataclass(frozen=True)
class Division:
    """Which rows each part got, as row numbers in ascending order: descended on, judging when to stop, kept apart."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def divide(n: int, validation: float, test: float, random: np.random.Generator) -> Division:
    """n rows at random into three parts, as fitnet's ``dividerand`` does: shares ``validation`` and ``test``, the rest to train on.

    Raises SettingsError for shares outside [0, 1) or without a rest, TableError where a part that was asked for gets no row.
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise SettingsError(
            f"validation_fraction={validation!r} and test_fraction={test!r} are not possible: each is a share of the rows "
            "from 0 to below 1, and together they must leave rows to train on."
        )
    order = random.permutation(n)
    n_validation = max(round(n * validation), 1 if validation > 0 else 0)
    n_test = max(round(n * test), 1 if test > 0 else 0)
    if n_validation + n_test >= n:
        raise TableError(f"{n} rows are too few to divide in three: give more rows, or early_stopping=False.")
    cuts = np.split(order, [n - n_validation - n_test, n - n_test])
    return Division(*(np.sort(part) for part in cuts))


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network, its weights (n_weights,) in scaled units, and the scaling they were found in."""

    network: Network
    weights: np.ndarray
    scaling: Scaling

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Coefficients and biases in the user's units: a forward pass by hand gives ``predict``."""
        return tuple(Layer(*layer) for layer in self.scaling.fold(self.network.layers(self.weights)))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """ŷ of rows (n, inputs) in the user's units: (n, outputs), block by block."""
        parts = [
            self.scaling.unscale_y(self.network.predict(self.weights, self.scaling.x(x[at : at + _PREDICT_ROWS])))
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
    indicators: np.ndarray | None = None,
    descent: Descent | str = "auto",
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
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to rows x (n, inputs) and y (n, outputs) in the user's units; the way there lives in scaled units.

    With ``scale``, inputs and, under identity outputs, targets are standardised inside; ``indicators`` (inputs,)
    marks columns of 0 and 1. ``watched`` rows, (x, y) or (x, y, sample_weight) by name, are followed and not fitted; ``judge`` names the one
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
    if before is not None:
        scaling = before.scaling
    elif scale:
        blocks = [(x, y, sample_weight)]
        scaling = Scaling.fit(blocks, indicators=indicators, centre=bias, scale_targets=output_activation == "identity")
    else:
        scaling = Scaling.identity(x.shape[1], y.shape[1])

    def told(now: Progress) -> Any:
        return progress and progress(now, lambda: FittedNetwork(network, now.weights, scaling))

    path = descend(
        network,
        InMemory(scaling.x(x), scaling.y(y), sample_weight),
        descent,
        weights=None if before is None else before.weights,
        seed=seed,
        max_iter=max_iter,
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        alpha=alpha,
        watched={name: InMemory(scaling.x(a), scaling.y(b), *s) for name, (a, b, *s) in (watched or {}).items()},
        judge=judge,
        progress=told if progress else None,
        every_step=every_step,
    )
    return FittedNetwork(network, path.best_weights, scaling), path


def hidden_sizes(given: Sequence[int] | int) -> tuple[int, ...]:
    """``20``, ``(20,)`` or ``[]`` as a tuple of layer sizes. Raises SettingsError for anything else."""
    sizes = (given,) if np.ndim(given) == 0 else tuple(given)  # type: ignore[arg-type]
    if any(isinstance(size, (bool, str, float)) or size is None or int(size) != size or size < 1 for size in sizes):
        raise SettingsError(
            f"hidden_layer_sizes={given!r} is not possible: give one whole number from 1 up for each hidden layer, "
            "such as (20,), or () for none."
        )
    return tuple(int(size) for size in sizes)

