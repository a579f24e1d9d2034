"""ŷ = f(x; w): what is predicted.

A model is initial weights and ``predict(weights, x)``. The weights of a model
are one vector, so that a path, a plane or a covariance is an array; a
``Network`` shows them layer by layer when asked.

Nothing here knows an error, a table or a descent.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from fallline.arrays import namespace, put, widest
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.activations import ACTIVATIONS, RECTIFIERS, Activation, check_activation, partly_linear
from fallline.words import counted


class Model(Protocol):
    """What a descent needs of a model: how many weights, where they start, what they predict."""

    @property
    def n_weights(self) -> int: ...

    @property
    def inputs(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    def initial(self, seed: int | np.random.Generator | None = None) -> np.ndarray:
        """Weights to start from: (n_weights,) float64, the same for the same seed."""
        ...

    def penalised(self) -> np.ndarray:
        """Which weights a weight decay acts on: (n_weights,) bool."""
        ...

    def regularised(self) -> np.ndarray:
        """Which weights Bayesian regularisation holds: (n_weights,) bool."""
        ...

    def predict(self, weights: Any, x: Any) -> Any:
        """ŷ of (n, inputs) rows: (n, outputs)."""
        ...


class Layer(NamedTuple):
    """The weights of one layer: z = x · coef + intercept.

    coef (inputs, outputs); intercept (outputs,), or None in a network without biases.
    """

    coef: Any
    intercept: Any


@dataclass(frozen=True)
class Network:
    """A feed-forward network ŷ = f(… f(x W₁ + b₁) … W_L + b_L).

    sizes (inputs, hidden …, outputs), at least two numbers: ``Network((3, 1))`` has no hidden
    layer, ŷ_j = f(Σ_i w_ij x_i + b_j). ``activation`` is f of the hidden layers,
    ``output_activation`` f of the outputs; ``bias=False`` leaves every b out. The last ``linear_units`` of each hidden
    layer hand on what enters them, f(z) = z: a linear part beside the bent one.

    The weights are one vector, layer by layer: the (inputs × outputs) coefficients row by row,
    then the biases. Raises SettingsError for sizes below 1, an unknown activation, or more linear units than a layer has.
    """

    sizes: tuple[int, ...]
    activation: str = "tanh"
    output_activation: str = "identity"
    bias: bool = True
    linear_units: int = 0

    def __post_init__(self) -> None:
        sizes = tuple(int(size) for size in self.sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise SettingsError(
                f"sizes {tuple(self.sizes)} do not make a network: give inputs, hidden layers if any, and outputs, "
                "each at least 1, such as (8, 20, 1)."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "bias", bool(self.bias))
        check_activation(self.activation)
        check_activation(self.output_activation)
        if int(self.linear_units) != self.linear_units or not 0 <= self.linear_units <= min(self.hidden, default=0):
            raise SettingsError(
                f"linear_units={self.linear_units!r} is not possible: give a whole number from 0 up to the units of the smallest "
                f"hidden layer, here {min(self.hidden, default=0)}."
            )
        object.__setattr__(self, "linear_units", int(self.linear_units))

    @property
    def inputs(self) -> int:
        return self.sizes[0]

    @property
    def outputs(self) -> int:
        return self.sizes[-1]

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.sizes[1:-1]

    @property
    def n_weights(self) -> int:
        return sum((a + self.bias) * b for a, b in itertools.pairwise(self.sizes))

    @property
    def linear(self) -> bool:
        """Whether ŷ is linear in the weights: no hidden layer, identity outputs."""
        return not self.hidden and self.output_activation == "identity"

    def activation_of(self, layer: int, axis: int) -> Activation:
        """f of a layer, counted from 0, for arrays whose units stand along ``axis``."""
        if layer == len(self.hidden):
            return ACTIVATIONS[self.output_activation]
        f = ACTIVATIONS[self.activation]
        return partly_linear(f, self.linear_units, axis) if self.linear_units else f

    def layers(self, weights: Any) -> tuple[Layer, ...]:
        """The (n_weights,) vector as layers. Raises ShapeError if its length is not n_weights."""
        if weights.ndim != 1 or weights.shape[0] != self.n_weights:
            raise ShapeError(
                f"weights have shape {tuple(weights.shape)}, but a network of sizes {self.sizes} "
                f"{'with' if self.bias else 'without'} biases has {self.n_weights}: pass a vector of shape ({self.n_weights},)."
            )
        xp, layers, at = namespace(weights), [], 0
        for inputs, outputs in itertools.pairwise(self.sizes):
            coef = weights[at : at + inputs * outputs]
            # The method takes a third of the time, but only NumPy's arrays are sure to have it.
            coef = coef.reshape(inputs, outputs) if xp is np else xp.reshape(coef, (inputs, outputs))
            at += inputs * outputs
            intercept = weights[at : at + outputs] if self.bias else None
            at += outputs if self.bias else 0
            layers.append(Layer(coef, intercept))
        return tuple(layers)

    def vector(self, layers: Sequence[Layer]) -> np.ndarray:
        """Layers as one (n_weights,) float64 vector: the inverse of ``layers``. Raises ShapeError if they do not fit."""
        shapes = list(itertools.pairwise(self.sizes))
        if len(layers) != len(shapes):
            raise ShapeError(f"{len(layers)} layers were given, but sizes {self.sizes} make {len(shapes)}.")
        parts = []
        for number, ((coef, intercept), shape) in enumerate(zip(layers, shapes, strict=True)):
            coef = np.asarray(coef, np.float64)
            if coef.shape != shape:
                raise ShapeError(
                    f"coefficients of layer {number} have shape {coef.shape}; expected (inputs, outputs) = {shape}."
                )
            parts.append(coef.ravel())
            if self.bias:
                intercept = np.zeros(shape[1]) if intercept is None else np.asarray(intercept, np.float64)
                if intercept.shape != shape[1:]:
                    raise ShapeError(f"biases of layer {number} have shape {intercept.shape}; expected {shape[1:]}.")
                parts.append(intercept)
        return np.concatenate(parts)

    def weight_names(
        self, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A name for each weight, in order: ``x1->h1``, ``bias->h1``, ``h1->y1``; layers of several are ``h2.1``."""
        deep = len(self.hidden) > 1
        units = [list(inputs) if inputs is not None else [f"x{i + 1}" for i in range(self.inputs)]]
        for number, size in enumerate(self.hidden, start=1):
            units.append([f"h{number}.{i + 1}" if deep else f"h{i + 1}" for i in range(size)])
        units.append(list(outputs) if outputs is not None else [f"y{j + 1}" for j in range(self.outputs)])
        names: list[str] = []
        for below, above in itertools.pairwise(units):
            names += [f"{i}->{j}" for i in below for j in above]
            if self.bias:
                names += [f"bias->{j}" for j in above]
        return tuple(names)

    def penalised(self) -> np.ndarray:
        """Which weights a weight decay acts on: (n_weights,) bool; coefficients are, biases are free."""
        mask = []
        for inputs, outputs in itertools.pairwise(self.sizes):
            mask += [True] * (inputs * outputs) + [False] * (outputs if self.bias else 0)
        return np.array(mask, bool)

    def regularised(self) -> np.ndarray:
        """Which weights Bayesian regularisation holds: (n_weights,) bool, all but the output biases.

        All share one precision, as Foresee & Hagan (1997) have it. With one for each layer the weights into the hidden units
        shrink and those out of them grow without end where the noise is large, on the way to a polynomial that explodes
        outside the rows (benchmarks/README.md).
        """
        mask = np.ones(self.n_weights, bool)
        if self.bias:
            mask[-self.outputs :] = False
        return mask

    def units(self) -> np.ndarray:
        """Which unit each weight leads into: (n_weights,) int, counted from 0 through the hidden layers to the outputs."""
        unit: list[int] = []
        seen = 0
        for inputs, outputs in itertools.pairwise(self.sizes):
            unit += list(range(seen, seen + outputs)) * (inputs + self.bias)
            seen += outputs
        return np.array(unit, int)

    def initial(self, seed: int | np.random.Generator | None = None) -> np.ndarray:
        """Random weights for inputs of unit spread: (n_weights,) float64.

        Coefficients are normal with variance gain/inputs, gain 2 before a rectifier and 1 otherwise
        (LeCun et al. 1998; He et al. 2015). Biases of hidden layers are uniform in [−1, 1], so that
        the units of one layer do not all bend at the origin; biases of the outputs are 0.
        """
        random = np.random.default_rng(seed)
        last = len(self.sizes) - 2
        layers = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(self.sizes)):
            gain = 2.0 if number < last and self.activation in RECTIFIERS else 1.0
            coef = random.standard_normal((inputs, outputs)) * math.sqrt(gain / inputs)
            bias = random.uniform(-1.0, 1.0, outputs) if number < last else np.zeros(outputs)
            layers.append(Layer(coef, bias if self.bias else None))
        return self.vector(layers)

    def predict(self, weights: Any, x: Any) -> Any:
        """ŷ of rows x (n, inputs): (n, outputs), by the array library of x. Raises ShapeError if x has not ``inputs`` columns."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}, but the network takes (rows, inputs) = (n, {self.inputs}). "
                "For a single input, pass x[:, None]; for a single row, x[None, :]."
            )
        xp = namespace(x)
        if isinstance(weights, np.ndarray) and xp is not np:
            x = x if xp.isdtype(x.dtype, "real floating") else xp.astype(x, widest(x))
            weights = put(weights, x)
        for number, (coef, intercept) in enumerate(self.layers(weights)):
            z = x @ coef
            if intercept is not None:
                z = z + intercept
            x = self.activation_of(number, -1).value(z, xp)
        return x

    def side_by_side(self, count: int) -> "Network":
        """The network of ``count`` such networks side by side: so many times as wide, where there are hidden layers."""
        return replace(self, sizes=(self.inputs, *(count * size for size in self.hidden), self.outputs))

    def __str__(self) -> str:
        outputs = "output" if self.output_activation == "identity" else f"{self.output_activation} output"
        bent = [counted(size - self.linear_units, f"{self.activation} unit") for size in self.hidden]
        parts = [
            counted(self.inputs, "input"),
            *(f"{units} and {self.linear_units} linear" if self.linear_units else units for units in bent),
            counted(self.outputs, outputs),
        ]
        biases = "" if self.bias else ", no biases"
        return f"{', '.join(parts)}{biases}: {counted(self.n_weights, 'weight')}"


def mixed(members: Sequence[tuple[Network, np.ndarray, float]]) -> tuple[Network, np.ndarray]:
    """The one network that is the sum of networks (network, weights, share), each times its share; and its weights.

    Hidden units stand side by side, and what leads from the last of them to the outputs is multiplied by the share: summed is
    what enters the outputs, ŷ itself under identity outputs. Networks without hidden layers become linear units.
    The others must have as many hidden layers as each other.
    """
    bent = [member for member in members if member[0].hidden]
    first, outputs = members[0][0], members[0][0].outputs
    line = [share * weights for network, weights, share in members if not network.hidden]
    if not bent:
        return first, np.sum(line, axis=0)
    first = bent[0][0]
    layers = [network.layers(weights) for network, weights, _ in bent]
    shares = [share for _, _, share in bent]
    linear = replace(first, sizes=(first.inputs, outputs)).layers(np.sum(line, axis=0))[0] if line else None
    units = outputs if line else 0
    wide: list[Layer] = []
    for number in range(len(first.hidden) + 1):
        coefs, biases = zip(*(each[number] for each in layers), strict=True)
        through = [np.eye(units)] if units else []  # from one layer's linear units to the next's
        if number == len(first.hidden):
            coef = np.concatenate([a * coef for a, coef in zip(shares, coefs, strict=True)] + through)
            bias = sum(a * bias for a, bias in zip(shares, biases, strict=True)) if first.bias else None
            bias = bias + linear.intercept if linear is not None and first.bias else bias
        else:
            coefs = (*coefs, *([linear.coef] if linear is not None and not number else through))
            coef = _diagonal(coefs) if number else np.concatenate(coefs, axis=1)
            bias = np.concatenate([*biases, np.zeros(units)]) if first.bias else None
        wide.append(Layer(coef, bias))
    sizes = (first.inputs, *(layer.coef.shape[1] for layer in wide))
    network = replace(first, sizes=sizes, linear_units=units)
    return network, network.vector(wide)


def _diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Matrices along the diagonal of one that is zero elsewhere."""
    whole = np.zeros(np.sum([block.shape for block in blocks], axis=0))
    row, column = 0, 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole
