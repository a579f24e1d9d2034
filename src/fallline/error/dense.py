"""A sweep through a dense network: its predictions for some rows, and their derivatives with respect to the weights.

Rows lie across, (units, rows), so that activations and biases run along the rows whatever the widths of the layers.
Everything is a matrix product or runs along an array, in the array library of the rows. No error is known here: what
comes back through the network is whatever one asks about its outputs.
"""

import itertools
from typing import Any

from fallline.arrays import namespace
from fallline.model.network import Network


class Dense:
    """One network at one vector of weights (p,), swept forwards over rows x (n, inputs).

    ``below`` [l] (units, n) stands below layer l, ``entering`` [l] is the z of its units, ``predicted`` (outputs, n).
    """

    def __init__(self, network: Network, weights: Any, x: Any) -> None:
        self.network, self.layers, self.xp = network, network.layers(weights), namespace(x)
        self.linear_outputs = network.output_activation == "identity"  # their slope is 1, and not multiplied by
        self.activations = [network.activation_of(number, -2) for number in range(len(self.layers))]
        a = x.T
        self.below, self.entering = [], []
        for (coef, intercept), activation in zip(self.layers, self.activations, strict=True):
            z = coef.T @ a
            if intercept is not None:
                z += intercept[:, None]
            self.below.append(a)
            self.entering.append(z)
            a = activation.value(z, self.xp)
        self.predicted = a
        self._slopes: list[Any] | None = None

    @property
    def slopes(self) -> list[Any]:
        """f′ of the units of each layer, (units, n)."""
        if self._slopes is None:
            above = [*self.below[1:], self.predicted]
            self._slopes = [
                f.slope(z, a, self.xp) for f, z, a in zip(self.activations, self.entering, above, strict=True)
            ]
        return self._slopes

    def bend(self, number: int) -> Any:
        """f″ of the units of a layer, (units, n)."""
        above = self.predicted if number == len(self.layers) - 1 else self.below[number + 1]
        return self.activations[number].bend(self.entering[number], above, self.xp)

    def back(self, u: Any) -> Any:
        """Jᵀ u: the gradient (p,) of Σ u · ŷ, for u (outputs, n).

        Source: Rumelhart, Hinton & Williams (1986), Nature 323:533.
        """
        delta, parts = u if self.linear_outputs else u * self.slopes[-1], []
        for number in range(len(self.layers) - 1, -1, -1):
            parts.append(self._to_weights(self.below[number], delta))
            if number:
                delta = (self.layers[number].coef @ delta) * self.slopes[number - 1]
        return self.xp.concat(parts[::-1])

    def _to_weights(self, below: Any, delta: Any) -> Any:
        """What a layer's weights get of the δ (units, n) of its units: Σ a_i δ_h row by row, then Σ δ_h."""
        coef = self.xp.reshape(below @ delta.T, (-1,))
        if not self.network.bias:
            return coef
        return self.xp.concat([coef, self.xp.sum(delta, axis=1)])

    def along(self, direction: Any) -> Any:
        """J v: how ŷ changes along a direction v (p,), (outputs, n)."""
        return self._tangents(direction)[-1]

    def _tangents(self, direction: Any) -> list[Any]:
        """How z of each layer changes along v, then how ŷ does; for directions (c, p) each is (c, units, n)."""
        changes, a = [], None
        for (coef, _), (turn, lift), below, slope in zip(
            self.layers, layers_of(self.network, direction), self.below, self.slopes, strict=True
        ):
            z = turned(turn) @ below
            if a is not None:
                z = z + coef.T @ a
            if lift is not None:
                z = z + lift[..., None]
            changes.append(z)
            a = slope * z
        return [*changes, a]

    def jacobian(self) -> Any:
        """J = ∂ŷ/∂w, (n, outputs, p)."""
        xp, columns = self.xp, []
        for below, delta in zip(self.below, self.sensitivities(), strict=True):
            outputs, _, n = delta.shape
            part = below[None, :, None, :] * delta[:, None, :, :]
            columns.append(xp.reshape(part, (outputs, -1, n)))
            if self.network.bias:
                columns.append(delta)
        return xp.permute_dims(xp.concat(columns, axis=1), (2, 0, 1))

    def sensitivities(self) -> list[Any]:
        """δ = ∂ŷ_j/∂z_h of each layer, from the first: (outputs, units, n)."""
        xp, outputs = self.xp, self.network.outputs
        one = xp.eye(outputs, dtype=self.predicted.dtype, device=self.predicted.device)
        delta = one[:, :, None] * self.slopes[-1][None, ...]
        deltas = [delta]
        for number in range(len(self.layers) - 1, 0, -1):
            coef = self.layers[number].coef
            direct = self.linear_outputs and number == len(self.layers) - 1
            delta = (coef.T[:, :, None] if direct else coef @ delta) * self.slopes[number - 1][None, ...]
            deltas.insert(0, delta)
        return deltas

    def to_inputs(self) -> Any:
        """∂ŷ/∂x, (outputs, inputs, n)."""
        return self.layers[0].coef @ self.sensitivities()[0]

    def turned_back(self, u: Any, du: Any, directions: Any) -> Any:
        """How Jᵀu changes along each of c directions (c, p), where u (outputs, n) changes by du (c, outputs, n): (c, p).

        The backward sweep is differentiated by hand, forwards along the directions.
        Source: Pearlmutter (1994), Neural Computation 6:147, R{·}.
        """
        xp, tangents = self.xp, self._tangents(directions)
        turns = [turn for turn, _ in layers_of(self.network, directions)]
        back, dback = u, du  # what comes from above to the units of a layer, and its change
        parts = []
        for number in range(len(self.layers) - 1, -1, -1):
            slope = self.slopes[number]
            delta = back * slope
            ddelta = dback * slope + (back * self.bend(number)) * tangents[number]
            change = self.below[number] @ xp.permute_dims(ddelta, (0, 2, 1))
            if number:
                da = self.slopes[number - 1] * tangents[number - 1]
                change = change + da @ delta.T
            if self.network.bias:
                parts.append(xp.sum(ddelta, axis=-1))
            parts.append(xp.reshape(change, (change.shape[0], -1)))
            if number:
                coef = self.layers[number].coef
                back, dback = coef @ delta, coef @ ddelta + turns[number] @ delta
        return xp.concat(parts[::-1], axis=1)


def turned(coef: Any) -> Any:
    """The transpose of each matrix of a stack."""
    return namespace(coef).permute_dims(coef, (*range(coef.ndim - 2), coef.ndim - 1, coef.ndim - 2))


def layers_of(network: Network, directions: Any) -> list[tuple[Any, Any]]:
    """Directions (…, p) layer by layer: coefficients (…, inputs, units), biases (…, units) or None."""
    found, at, first = [], 0, directions.shape[:-1]
    xp = namespace(directions)
    for inputs, units in itertools.pairwise(network.sizes):
        coef = xp.reshape(directions[..., at : at + inputs * units], (*first, inputs, units))
        at += inputs * units
        bias = directions[..., at : at + units] if network.bias else None
        at += units if network.bias else 0
        found.append((coef, bias))
    return found
