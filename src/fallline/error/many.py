"""Many networks of one shape over the same rows: the error and the gradient at m vectors of weights at once.

What enters the first units is one product for all of them; the layers above are stacks of small ones.
"""

from typing import Any

from fallline.arrays import namespace
from fallline.error.dense import layers_of, turned
from fallline.model.network import Network


def errors_and_gradients(network: Network, weights: Any, block: Any) -> tuple[Any, Any]:
    """E (m,) and ∂E/∂w (m, p) at weights (m, p), over a block of rows."""
    xp, layers, x = namespace(weights), layers_of(network, weights), block.x.T
    last, m = len(layers) - 1, weights.shape[0]
    below, slopes, a = [], [], x
    for number, (coef, bias) in enumerate(layers):
        f = network.activation_of(number, -2)
        z = turned(coef)
        z = z @ a if number else xp.reshape(xp.reshape(z, (-1, x.shape[0])) @ x, (m, -1, x.shape[1]))
        if bias is not None:
            z += bias[..., None]
        below.append(a)
        a = f.value(z, xp)
        slopes.append(f.slope(z, a, xp))
    r = a - block.y.T
    weighted = r if block.s is None else r * block.s
    errors = 0.5 * xp.sum(r * weighted, axis=(1, 2))
    delta, parts = weighted * slopes[-1], []
    for number in range(last, -1, -1):
        if network.bias:
            parts.append(xp.sum(delta, axis=2))
        if number:
            change = below[number] @ turned(delta)
        else:
            change = turned(xp.reshape(xp.reshape(delta, (-1, x.shape[1])) @ x.T, (m, -1, x.shape[0])))
        parts.append(xp.reshape(change, (m, -1)))
        if number:
            delta = (layers[number][0] @ delta) * slopes[number - 1]
    return errors, xp.concat(parts[::-1], axis=1)
