"""A fitted network: its weights, the scaling they were found in, and what it was put together of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fallline.arrays import namespace, on_device
from fallline.fit.average import Part, Start, Starts
from fallline.fit.scores import score_names
from fallline.model.network import Layer, Network, mixed
from fallline.rows.memory import InMemory
from fallline.table.scaling import Scaling

_PREDICT_ROWS = 1 << 16  # a block of predictions: bounded memory however long the table


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A network, its weights (n_weights,) in scaled units, and the scaling they were found in.

    ``parts``: what it is put together of, the one shown first; () for a network that is on its way. ``members``: of how many
    networks of one width side by side it is the mean, 1 for a mixture of widths. ``scores`` (inputs, q) or None: what the
    networks of the parts see of scaled inputs. ``left_out`` (n, outputs) or None: predictions of the rows of the fit, in the
    targets' units, by fits that had not seen them, NaN where all had. ``passes``: sums over the rows of all walks of the fit.
    """

    network: Network
    weights: np.ndarray
    scaling: Scaling
    members: int = 1
    parts: tuple[Part, ...] = ()
    scores: np.ndarray | None = None
    left_out: np.ndarray | None = None
    passes: int = 0

    @property
    def starts(self) -> Starts | None:
        """How the starts ended: those of the part shown."""
        return self.parts[0].starts if self.parts else None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Coefficients and biases in the user's units: a forward pass by hand gives ``predict``."""
        return tuple(Layer(*layer) for layer in self.scaling.fold(self.network.layers(self.weights)))

    @property
    def is_mixture(self) -> bool:
        """Whether it is more than the mean of starts of one network on the inputs as they are."""
        return bool(self.parts) and (self.parts[0].share < 1 or self.scores is not None)

    def alone(self) -> "FittedNetwork":
        """The start shown by itself, whose path, minimum and surface are looked at; the network where there is no other."""
        if self.starts is None:
            return self
        start = self.starts[self.starts.shown]
        return FittedNetwork(self.starts.network, start.weights, self.own_scaling)

    def input_names(self, names: Any) -> Any:
        """What the inputs of the start shown are called, where those of the table have these names."""
        return names if self.scores is None else score_names(self.scores.shape[1])

    def averages(self) -> tuple[Start, ...]:
        """The starts shown that went into this: all of their part, or the one where nothing was averaged."""
        if self.starts is None:
            return ()
        all_ = self.is_mixture or self.members == len(self.starts) or not self.network.hidden
        return self.starts.each if all_ else (self.starts[self.starts.shown],)

    def rows(self, x: Any, y: Any, sample_weight: Any = None) -> InMemory:
        """Rows (n, inputs) and targets (n, outputs) in the user's units as the start shown sums them: scaled, float64."""
        scaling = self.own_scaling
        return InMemory(scaling.x(x), scaling.y(y), sample_weight, np.float64)

    def predict(self, x: Any) -> Any:
        """ŷ of rows (n, inputs) in the user's units: (n, outputs), block by block, where the rows lie."""
        x = x if on_device(x) else np.asarray(x)
        n, scaling = x.shape[0], self.scaling
        blocks = (x[at : min(at + _PREDICT_ROWS, n), :] for at in range(0, n, _PREDICT_ROWS))
        parts = [scaling.unscale_y(self.network.predict(self.weights, scaling.x(block))) for block in blocks]
        return namespace(x).concat(parts) if parts else np.empty((0, self.network.outputs))

    @property
    def own_scaling(self) -> Scaling:
        """The scaling that the networks of the parts live in."""
        return self.scaling if self.scores is None else replace(self.scaling, scores=self.scores)


def mean_of(network: Network, weights: Sequence[np.ndarray], scaling: Scaling) -> FittedNetwork:
    """The mean of networks of these weights, each (n_weights,), as one."""
    wide, mean = mixed([(network, each, 1 / len(weights)) for each in weights])
    return FittedNetwork(wide, mean, scaling, members=len(weights) if wide != network else 1)


def mixture_of(parts: Sequence[Part], scaling: Scaling, scores: np.ndarray | None = None) -> FittedNetwork:
    """The parts, each in the mean of its starts and by its share, as one network."""
    members = []
    for starts, share in parts:
        for start in starts.each:
            network, weights = starts.network, start.weights
            if scores is not None and network.hidden:
                first, *others = network.layers(weights)
                network = replace(network, sizes=(len(scores), *network.sizes[1:]))
                weights = network.vector([Layer(scores @ first.coef, first.intercept), *others])
            members.append((network, weights, share / len(starts)))
    network, weights = mixed(members)
    count = len(parts[0].starts) if len(parts) == 1 and network.hidden else 1
    return FittedNetwork(network, weights, scaling, members=count, parts=tuple(parts), scores=scores)
