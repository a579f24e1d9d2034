"""JᵀJ and the Hessian of a dense network without J: what a layer's columns of J have in common is multiplied once.

The column of the weight from unit i to unit h is a_i δ_h, the activation below times the sensitivity above, so that

    (JᵀJ)_(ih)(i'h') = Σ_μ s_μ (a_i a_i') (Σ_j δ_h^j δ_h'^j)

is a product of pairs with pairs. Within a layer both are symmetric, and only half of each is formed: a quarter of
the products, and several outputs j cost hardly more than one. The products of all blocks of rows are added up as they
are, and put in the order of the weights once. The Hessian has the same shape: how ∂E/∂z_h' changes as z_h moves stands
where s Σ_j δ_h^j δ_h'^j does, and, where h' stands above h, how a_i' does.
"""

import functools
import itertools
import math
import threading
from typing import Any

import numpy as np

from fallline.arrays import namespace, taken
from fallline.error.dense import Dense
from fallline.model.network import Network

# Where a layer has far more inputs than units, or the reverse, its pairs are so many more than its columns of J that
# forming them costs more than the smaller product saves.
_MOST_PAIRS = 4

Products = dict[tuple[int, int], Any]


def by_pairs(network: Network) -> bool:
    """Whether JᵀJ is made of pairs: worth it where no layer is much wider than the next."""
    return all(_count(a) + _count(b) <= _MOST_PAIRS * a * b for a, b in _shapes(network)[:-1])


def widest(network: Network) -> int:
    """Numbers of a row that one product reads at most."""
    shapes = _shapes(network)
    widths = [_count(a) + _count(b) for a, b in shapes[:-1]]
    widths += [a * c + b * d for (a, b), (c, d) in itertools.combinations(shapes, 2)]
    return max([*widths, shapes[-1][0] * network.outputs])


def products_of(sweep: Dense, s: Any, first_pairs: Any = None) -> Products:
    """What ``put_together`` makes JᵀJ of, by pairs of layers; s (n,) or None: how often each row counts.

    first_pairs: those of the inputs (and 1), which are the same at all weights, where somebody has them at hand.
    """
    xp, network = sweep.xp, sweep.network
    below = [_with_one(a, network.bias) for a in sweep.below]
    deltas, top = sweep.sensitivities(), None if sweep.linear_outputs else sweep.slopes[-1]
    last = len(below) - 1
    products: Products = {}
    for i in range(last):
        above = pairs(deltas[i][0, ...], "above")
        for j in range(1, network.outputs):
            above += pairs(deltas[i][j, ...], "another output")
        if s is not None:
            above *= s
        under = first_pairs if i == 0 and first_pairs is not None else pairs(below[i], "below")
        products[i, i] = under @ above.T
        for k in range(i + 1, last + 1):
            # An output unit j feels its own ŷ_j alone.
            both = (
                xp.sum(deltas[i][:, :, None, :] * deltas[k][:, None, :, :], axis=0)
                if k < last
                else xp.permute_dims(deltas[i] if top is None else deltas[i] * top[:, None, :], (1, 0, 2))
            )
            both = both if s is None else both * s
            products[i, k] = _flat(both) @ _flat(_outer(below[i], below[k])).T
    squares = None if top is None else top * top
    if s is not None:
        squares = s[None, :] if squares is None else squares * s
    over = below[-1][None, ...] if squares is None else squares[:, None, :] * below[-1][None, ...]
    products[last, last] = over @ below[-1].T  # one for all outputs where they are linear
    return products


def hessian_products_of(sweep: Dense, u: Any, s: Any, first_pairs: Any = None) -> Products:
    """What ``put_together`` makes the Hessian of E of; u (outputs, n) is ∂E/∂ŷ, the other arguments are those above."""
    xp, network = sweep.xp, sweep.network
    below = [_with_one(a, network.bias) for a in sweep.below]
    coefs, slopes, last = [layer.coef for layer in sweep.layers], sweep.slopes, len(below) - 1
    deltas: list[Any] = []  # ∂E/∂z of each layer
    bends: list[Any] = []  # how it changes with z alone
    back = u
    for number in range(last, -1, -1):
        deltas.insert(0, back * slopes[number])
        bends.insert(0, back * sweep.bend(number))
        back = coefs[number] @ deltas[0]
    products: Products = {}
    for i in range(last):
        units = coefs[i].shape[1]
        # How z of the layers above i changes as z of each unit of layer i does, (units, others, n).
        moves = [coefs[i + 1][:, :, None] * slopes[i][:, None, :]]
        for k in range(i + 2, last + 1):
            moves.append(coefs[k].T @ (slopes[k - 1] * moves[-1]))
        turned = slopes[last] * moves[-1]
        turned = turned if s is None else turned * s
        for k in range(last, i, -1):
            turned = turned * slopes[k] + bends[k] * moves[k - i - 1]
            others = turned.shape[1]
            product = _flat(turned) @ _flat(_outer(below[i], below[k])).T
            product = products[i, k] = xp.reshape(product, (units, others, below[i].shape[0], -1))
            if k == i + 1:
                part = _flat(_outer(slopes[i], deltas[k])) @ below[i].T
                part = xp.reshape(part, (units, others, -1))
                for h in range(units):
                    product[h, :, :, h] += part[h, ...]
            else:
                under = slopes[k - 1] * moves[k - i - 2]
                for h in range(others):
                    part = xp.reshape(_flat(under * deltas[k][h, :]) @ below[i].T, (units, under.shape[1], -1))
                    product[:, h, :, : under.shape[1]] += xp.permute_dims(part, (0, 2, 1))
            if k > i + 1:
                turned = coefs[k] @ turned
        above = (coefs[i + 1] @ turned) * slopes[i]
        for h in range(units):
            above[h, h, :] += bends[i][h, :]
        above = taken(_flat(above), _round(units))
        under = first_pairs if i == 0 and first_pairs is not None else pairs(below[i], "below")
        products[i, i] = under @ above.T
    squares = slopes[last] ** 2 if s is None else slopes[last] ** 2 * s
    products[last, last] = ((squares + bends[last])[:, None, :] * below[last][None, ...]) @ below[last].T
    return products


def put_together(network: Network, products: Products) -> np.ndarray:
    """JᵀJ, or H, (p, p), float64, of the ``products`` of a network's rows."""
    shapes = _shapes(network)
    last = len(shapes) - 1
    starts = np.concatenate([[0], np.cumsum([a * b for a, b in shapes])])
    square = np.empty((starts[-1], starts[-1]))
    for (i, k), product in products.items():
        rows, columns = slice(starts[i], starts[i + 1]), slice(starts[k], starts[k + 1])
        (inputs, units), (sources, others) = shapes[i], shapes[k]
        if i == k == last:
            block = np.zeros((inputs, units, inputs, units))
            block[:, np.arange(units), :, np.arange(units)] = product
            square[rows, columns] = block.reshape(inputs * units, -1)
        elif i == k:
            square[rows, columns] = product.reshape(-1)[_places(inputs, units)]
        else:
            block = product.reshape(units, others, inputs, sources).transpose(2, 0, 3, 1)
            square[rows, columns] = block.reshape(inputs * units, -1)
            square[columns, rows] = square[rows, columns].T
    return square


def pairs(a: Any, room: str | None = None) -> Any:
    """a_i a_k for each pair once: (size, n) to (pairs, n), in the ``room`` of that name if one is given.

    Around a circle, k = i, then k = i + 1, i + 2, … to halfway round: all pairs are then one product, and what threads wait
    for each other with is the number of operations.
    """
    xp, (size, n) = namespace(a), a.shape
    turns = size // 2 + 1
    around = xp.concat([a, a[:turns, :]])
    if xp is not np:
        return xp.concat([around[turn : turn + size, :] * a for turn in range(turns)])
    found, (step, along) = _room(room, (turns, size, n), a.dtype), around.strides
    np.multiply(np.ndarray((turns, size, n), a.dtype, around, 0, (step, step, along)), a, out=found)
    return _flat(found)


def _outer(a: Any, b: Any) -> Any:
    """a_i b_k: (inputs, n) and (sources, n) to (inputs, sources, n)."""
    if not isinstance(a, np.ndarray):
        return a[:, None, :] * b[None, ...]
    return np.multiply(a[:, None, :], b[None], out=_room("outer", (len(a), *b.shape), a.dtype))


_rooms = threading.local()


def _room(name: str | None, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array not filled, in the same memory each time that a thread asks for that name.

    Blocks of megabytes that are given back to the system after every pass cost more in page faults than all products.
    """
    if name is None:
        return np.empty(shape, dtype)
    size = math.prod(shape)
    held = _rooms.__dict__.get(name)
    if held is None or held.dtype != dtype or held.size < size:
        held = _rooms.__dict__[name] = np.empty(size, dtype)
    return np.asarray(held[:size].reshape(shape))


def input_pairs(network: Network, x: Any) -> Any:
    """The pairs of what stands below the first layer, for rows x (n, inputs)."""
    return pairs(_with_one(x.T, network.bias))


def _count(size: int) -> int:
    """How many pairs ``pairs`` makes of so many: for an even number, those halfway round twice."""
    return size * (size // 2 + 1)


@functools.lru_cache(maxsize=64)
def _round(size: int) -> np.ndarray:
    """size · i + k of the pairs that ``pairs`` makes, in its order."""
    turn, i = np.divmod(np.arange(_count(size)), size)
    return size * i + (i + turn) % size


def _shapes(network: Network) -> list[tuple[int, int]]:
    """What stands below each layer, the 1 of the biases among it, and the layer's units."""
    return [(a + network.bias, b) for a, b in itertools.pairwise(network.sizes)]


def _with_one(a: Any, bias: bool) -> Any:
    xp = namespace(a)
    return xp.concat([a, xp.ones((1, a.shape[1]), dtype=a.dtype, device=a.device)]) if bias else a


def _flat(terms: Any) -> Any:
    return namespace(terms).reshape(terms, (-1, terms.shape[-1]))


@functools.lru_cache(maxsize=64)
def _places(inputs: int, units: int) -> np.ndarray:
    """Where the products of pairs have the entry (i h, i' h') of JᵀJ: (inputs · units, inputs · units)."""
    i, h = np.divmod(np.arange(inputs * units), units)
    return _pair(i[:, None], i[None, :], inputs) * _count(units) + _pair(h[:, None], h[None, :], units)


def _pair(i: Any, k: Any, size: int) -> Any:
    """The number of the pair (i, k) among ``pairs``."""
    ahead, behind = (k - i) % size, (i - k) % size
    return np.where(ahead <= size // 2, ahead * size + i, behind * size + k)
