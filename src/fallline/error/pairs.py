"""JᵀJ of a network without J: what a layer's columns of J have in common is multiplied once.

The column of a weight from unit i to unit h is a_i δ_h, the activation below times the sensitivity above, so that

    (JᵀJ)_(ih)(i'h') = Σ_μ s_μ (a_i a_i') (Σ_j δ_h^j δ_h'^j)

is a product of pairs with pairs. Within a layer both are symmetric, and only half of each is formed: a quarter of
the products, and several outputs j cost hardly more than one. Rows lie across, so that vector units are full.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.model.network import ACTIVATIONS, Network

# Where a layer has far more inputs than units, or the reverse, its pairs are so many more than its columns of J that forming them
# costs more than the smaller product saves.
_MOST_PAIRS = 8


def pairs_of(size: int) -> int:
    """Rows of ``unordered`` pairs."""
    return size * (size // 2 + 1)


def by_pairs(inputs: int, units: int) -> bool:
    """Whether the columns of one layer are multiplied pair by pair."""
    return pairs_of(inputs) + pairs_of(units) <= _MOST_PAIRS * inputs * units


def widest(network: Network) -> int:
    """Numbers of a row that one product reads at most."""
    shapes = _shapes(network)
    widths = [
        pairs_of(a) + pairs_of(b) if by_pairs(a, b) else a * b * network.outputs for a, b in shapes[:-1]
    ]
    widths += [a * c + b * d for (a, b), (c, d) in itertools.combinations(shapes, 2)]
    return max(widths + [shapes[-1][0] * network.outputs])


def gram(network: Network, weights: Any, x: Any, y: Any, s: Any) -> tuple[Any, Any, Any]:
    """(E, g, JᵀJ) of rows x (n, inputs), y (n, outputs) that count s (n,) times."""
    error, gradient, products = products_of(network, weights, x, y, s)
    return error, gradient, put_together(network, products)


def products_of(network: Network, weights: Any, x: Any, y: Any, s: Any) -> tuple[Any, Any, Any]:
    """(E, g, products): what ``put_together`` makes JᵀJ of, once the products of all rows are added up; by pairs of layers."""
    below, slopes, predicted = _forward(network, weights, x.T)
    deltas = _sensitivities(network, weights, slopes)
    r = predicted - y.T
    weighted = r * s[None]
    last = len(below) - 1

    gradient = [
        (a @ jnp.einsum("jhn,jn->hn", delta, weighted).T).reshape(-1)
        for a, delta in zip(below, deltas, strict=False)
    ]
    gradient.append((below[-1] @ (slopes[-1] * weighted).T).reshape(-1))

    products: dict[tuple[int, int], Any] = {}
    for i in range(last):
        products[i, i] = _within(below[i], deltas[i], s)
        for k in range(i + 1, last + 1):
            # An output unit j feels its own ŷ_j alone.
            both = (
                jnp.einsum("jhn,jkn->hkn", deltas[i], deltas[k])
                if k < last
                else (deltas[i] * slopes[-1][:, None]).transpose(1, 0, 2)
            )
            products[i, k] = _across(below[i], below[k], both * s[None, None])
    top = slopes[-1] ** 2 * s[None]
    products[last, last] = jnp.einsum("jn,an,bn->jab", top, below[-1], below[-1])
    return 0.5 * jnp.sum(r * weighted), jnp.concatenate(gradient), products


def put_together(network: Network, products: dict[tuple[int, int], Any]) -> Any:
    """JᵀJ (n_weights, n_weights) of the ``products`` of a network's rows."""
    shapes = _shapes(network)
    last = len(shapes) - 1
    blocks: list[list[Any]] = [[None] * (last + 1) for _ in shapes]
    for i, (inputs, units) in enumerate(shapes[:-1]):
        own = products[i, i]
        if by_pairs(inputs, units):
            square = own[_place(units).reshape(-1)][:, _place(inputs).reshape(-1)]
            own = _by_weight(square, units, units, inputs, inputs)
        blocks[i][i] = own
        for k in range(i + 1, last + 1):
            sources, others = shapes[k]
            blocks[i][k] = _by_weight(products[i, k], units, others, inputs, sources)
            blocks[k][i] = blocks[i][k].T
    top, (below, outputs) = products[last, last], shapes[-1]
    square = jnp.einsum("jab,jk->ajbk", top, jnp.eye(outputs, dtype=top.dtype))
    blocks[last][last] = square.reshape(below * outputs, below * outputs)
    return jnp.block(blocks)


def no_products(network: Network) -> dict[tuple[int, int], Any]:
    """The ``products`` of no rows, float64."""
    shapes = _shapes(network)
    last = len(shapes) - 1
    below, outputs = shapes[-1]
    none = {(last, last): jnp.zeros((outputs, below, below))}
    for i, (inputs, units) in enumerate(shapes[:-1]):
        paired = by_pairs(inputs, units)
        size = (pairs_of(units), pairs_of(inputs)) if paired else (inputs * units, inputs * units)
        none[i, i] = jnp.zeros(size)
        for k in range(i + 1, last + 1):
            sources, others = shapes[k]
            none[i, k] = jnp.zeros((units * others, inputs * sources))
    return none


def _shapes(network: Network) -> list[tuple[int, int]]:
    """What stands below each layer, the 1 of the biases among it, and the layer's units."""
    return [(a + network.bias, b) for a, b in itertools.pairwise(network.sizes)]


def _forward(network: Network, weights: Any, x: Any) -> tuple[list[Any], list[Any], Any]:
    """What stands below each layer, (inputs + 1, n) with the 1 of the biases; the slope of each unit; ŷ (outputs, n)."""
    hidden, output = ACTIVATIONS[network.activation], ACTIVATIONS[network.output_activation]
    layers = network.layers(weights)
    below, slopes = [], []
    for number, (coef, intercept) in enumerate(layers):
        act = output if number == len(layers) - 1 else hidden
        one = jnp.ones((1, x.shape[1]), x.dtype)
        below.append(x if intercept is None else jnp.concatenate([x, one]))
        z = coef.T @ x
        z = z if intercept is None else z + intercept[:, None]
        x, slope = jax.jvp(lambda z, act=act: act(z, jnp), (z,), (jnp.ones_like(z),))
        slopes.append(slope)
    return below, slopes, x


def _sensitivities(network: Network, weights: Any, slopes: list[Any]) -> list[Any]:
    """δ = ∂ŷ_j/∂z_h of the hidden layers, from the first: (outputs, units, n) each."""
    layers = network.layers(weights)
    deltas: list[Any] = []
    for number in range(len(layers) - 2, -1, -1):
        coef = layers[number + 1].coef
        top = not deltas
        back = coef.T[:, :, None] * slopes[-1][:, None] if top else jnp.einsum("hk,jkn->jhn", coef, deltas[0])
        deltas.insert(0, back * slopes[number][None])
    return deltas


def _within(below: Any, delta: Any, s: Any) -> Any:
    """What one layer's weights have with each other: pairs of units by pairs of inputs, or their block of JᵀJ itself."""
    inputs, units = below.shape[0], delta.shape[1]
    if not by_pairs(inputs, units):
        columns = below[:, None, None] * delta.transpose(1, 0, 2)[None]
        columns = columns.reshape(inputs * units, -1)
        counted = columns * jnp.tile(s, delta.shape[0])[None]
        return counted @ columns.T
    above = jnp.sum(jax.vmap(unordered)(delta), axis=0) * s[None]
    return above @ unordered(below).T


def _across(first: Any, second: Any, above: Any) -> Any:
    """What the weights of two layers have with each other, (units · units', inputs · inputs'), from what stands below
    them and above (units, units', n)."""
    n = first.shape[1]
    below = (first[:, None] * second[None]).reshape(-1, n)
    return above.reshape(-1, n) @ below.T


def _by_weight(product: Any, units: int, others: int, inputs: int, sources: int) -> Any:
    """From (h h', i i') to (i h, i' h'), the order of the weights."""
    product = product.reshape(units, others, inputs, sources)
    return product.transpose(2, 0, 3, 1).reshape(inputs * units, sources * others)


def unordered(a: Any) -> Any:
    """a_i a_k for each pair once: (pairs, n), the pairs k = i, then k = i + 1, i + 2, … around the circle.

    Round a circle every distance has as many pairs, so that no list of them is needed: row d of the circle
    wound up in rows one longer than itself is the circle turned by d.
    """
    size, n = a.shape
    turns = size // 2 + 1
    wound = jnp.broadcast_to(a, (turns + 1, size, n)).reshape(-1, n)[: turns * (size + 1)]
    turned = wound.reshape(turns, size + 1, n)[:, :size]
    return (turned * a[None]).reshape(-1, n)


def _place(size: int) -> np.ndarray:
    """Where ``unordered`` has the pair (i, k): (size, size)."""
    i, k = np.indices((size, size))
    ahead, behind = (k - i) % size, (i - k) % size
    return np.where(ahead < size // 2 + 1, ahead * size + i, behind * size + k)
