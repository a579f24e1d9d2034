"""One more epoch of mini-batches: what ``partial_fit`` does, without scikit-learn."""

from dataclasses import replace

import numpy as np

from fallline.descent import Stop
from fallline.descent.batches import by_batches
from fallline.descent.choose import choose
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError
from fallline.fit.fitted import FittedNetwork
from fallline.fit.network_fit import scaling_of
from fallline.fit.settings import LIGHT_DECAY, Settings
from fallline.rows.memory import InMemory
from fallline.walk.epochs import Standing
from fallline.walk.loop import one_epoch
from fallline.walk.path import DescentPath


def fit_part(
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings,
    *,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
    before: FittedNetwork | None = None,
    standing: Standing | None = None,
) -> tuple[FittedNetwork, DescentPath, Standing]:
    """One epoch of mini-batches over rows x (n, inputs) and y (n, outputs), going on from ``before`` and ``standing``.

    Without ``before`` the network is new, and its scaling is that of these rows, for good. ``standing`` holds what the
    descent remembers from the epochs before. ``"auto"`` is the mini-batch descent here, and a weight decay of 0.1, which
    counts against the rows given. Raises SettingsError for a descent that needs all rows at once, and where the settings now
    make another network.
    """
    same = before.network if settings.finds_width and before is not None else None
    network = settings.network(x.shape[1], y.shape[1], None if same is None else same.hidden)
    network = network if same is None else replace(network, linear_units=same.linear_units)
    wide = network if before is None or before.network == network else network.side_by_side(before.members)
    if before is not None and before.network == wide:
        network = wide  # a mean of several starts goes on as the wider network it is
    elif before is not None:
        raise SettingsError(
            f"partial_fit goes on with the network fitted before ({before.network}), but the settings and targets now make "
            f"another one ({network}): put them back, or call fit to start anew."
        )
    descent, alpha = settings.descent, settings.alpha
    if isinstance(descent, str):
        descent, _ = choose("mini-batch" if descent == "auto" else descent, network, x.shape[0])
    descent = by_batches(wrapped(descent), x.shape[0])
    if isinstance(alpha, str) and alpha != "auto":
        raise SettingsError(f"alpha={alpha!r} needs all rows at once: give partial_fit a number, such as 0.1.")
    if before is None:
        before = FittedNetwork(network, network.initial(seed), scaling_of(x, y, sample_weight, settings))
        standing = None
    path, standing = one_epoch(
        network,
        InMemory(before.scaling.x(x), before.scaling.y(y), sample_weight),
        descent,
        before.weights,
        seed=seed,
        alpha=LIGHT_DECAY if isinstance(alpha, str) else alpha,
        before=standing,
        input_names=settings.input_names,
    )
    weights = path.best_weights if path.stop == Stop.DIVERGED else path.final_weights
    return FittedNetwork(network, weights, before.scaling, before.members), path, standing
