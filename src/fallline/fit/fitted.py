"""A fitted network: its weights, the scaling they were found in, and how the starts of its fit ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.arrays import namespace, on_device
from fallline.fit.average import Start, Starts
from fallline.model.network import Layer, Network
from fallline.rows.memory import InMemory
from fallline.table.scaling import Scaling

_PREDICT_ROWS = 1 << 16  # a block of predictions: bounded memory however long the table


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

    def rows(self, x: Any, y: Any, sample_weight: Any = None) -> InMemory:
        """Rows (n, inputs) and targets (n, outputs) in the user's units as the descent sums them: scaled, float64."""
        return InMemory(self.scaling.x(x), self.scaling.y(y), sample_weight, np.float64)

    def predict(self, x: Any) -> Any:
        """ŷ of rows (n, inputs) in the user's units: (n, outputs), block by block, where the rows lie."""
        x = x if on_device(x) else np.asarray(x)
        n, scaling = x.shape[0], self.scaling
        blocks = (x[at : min(at + _PREDICT_ROWS, n), :] for at in range(0, n, _PREDICT_ROWS))
        parts = [scaling.unscale_y(self.network.predict(self.weights, scaling.x(block))) for block in blocks]
        return namespace(x).concat(parts) if parts else np.empty((0, self.network.outputs))


def mean_of(network: Network, weights: Sequence[np.ndarray], scaling: Scaling) -> FittedNetwork:
    """The mean of networks of these weights, each (n_weights,), as one."""
    wide, mean = network.averaged(np.array(weights))
    return FittedNetwork(wide, mean, scaling, members=len(weights) if wide != network else 1)
