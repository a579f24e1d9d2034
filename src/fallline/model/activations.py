"""The functions f that a unit may apply to what enters it, each with its first and second derivative.

Written with names that every array namespace has. Derivatives are given z and a = f(z), because most of them are a
short formula in a. Where f has a corner, the derivative is that on the left, as scikit-learn and PyTorch have it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fallline.exceptions import SettingsError
from fallline.words import did_you_mean


@dataclass(frozen=True)
class Activation:
    """f as ``value(z, xp)``, f′ as ``slope(z, a, xp)`` and f″ as ``bend(z, a, xp)``, with a = f(z)."""

    value: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any, Any], Any]
    bend: Callable[[Any, Any, Any], Any]


def _logistic(z: Any, xp: Any) -> Any:
    return 0.5 * xp.tanh(0.5 * z) + 0.5  # 1/(1 + e⁻ᶻ), without overflow for large |z|


def _softplus(z: Any, xp: Any) -> Any:
    return xp.where(z > 0, z, xp.zeros_like(z)) + xp.log1p(xp.exp(-xp.abs(z)))


def _elu(z: Any, xp: Any) -> Any:
    return xp.where(z > 0, z, xp.expm1(xp.where(z > 0, xp.zeros_like(z), z)))


def _silu_slope(z: Any, a: Any, xp: Any) -> Any:
    s = _logistic(z, xp)
    return s + z * s * (1.0 - s)


def _silu_bend(z: Any, a: Any, xp: Any) -> Any:
    s = _logistic(z, xp)
    return s * (1.0 - s) * (2.0 + z * (1.0 - 2.0 * s))


def _softplus_bend(z: Any, a: Any, xp: Any) -> Any:
    s = _logistic(z, xp)
    return s * (1.0 - s)


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(lambda z, xp: z, lambda z, a, xp: xp.ones_like(z), lambda z, a, xp: xp.zeros_like(z)),
    "logistic": Activation(_logistic, lambda z, a, xp: a * (1.0 - a), lambda z, a, xp: a * (1.0 - a) * (1.0 - 2.0 * a)),
    "tanh": Activation(
        lambda z, xp: xp.tanh(z), lambda z, a, xp: 1.0 - a * a, lambda z, a, xp: -2.0 * a * (1.0 - a * a)
    ),
    "relu": Activation(
        lambda z, xp: xp.where(z > 0, z, xp.zeros_like(z)),
        lambda z, a, xp: xp.astype(z > 0, z.dtype),
        lambda z, a, xp: xp.zeros_like(z),
    ),
    "leaky_relu": Activation(
        lambda z, xp: xp.where(z > 0, z, 0.01 * z),
        lambda z, a, xp: 0.99 * xp.astype(z > 0, z.dtype) + 0.01,
        lambda z, a, xp: xp.zeros_like(z),
    ),
    "softplus": Activation(_softplus, lambda z, a, xp: _logistic(z, xp), _softplus_bend),
    "softsign": Activation(
        lambda z, xp: z / (1.0 + xp.abs(z)),
        lambda z, a, xp: 1.0 / (1.0 + xp.abs(z)) ** 2,
        lambda z, a, xp: -2.0 * xp.sign(z) / (1.0 + xp.abs(z)) ** 3,
    ),
    "elu": Activation(
        _elu,
        lambda z, a, xp: xp.where(z > 0, xp.ones_like(z), a + 1.0),
        lambda z, a, xp: xp.where(z > 0, xp.zeros_like(z), a + 1.0),
    ),
    "silu": Activation(lambda z, xp: z * _logistic(z, xp), _silu_slope, _silu_bend),
    "sine": Activation(lambda z, xp: xp.sin(z), lambda z, a, xp: xp.cos(z), lambda z, a, xp: -a),
    "gaussian": Activation(
        lambda z, xp: xp.exp(-z * z), lambda z, a, xp: -2.0 * z * a, lambda z, a, xp: (4.0 * z * z - 2.0) * a
    ),
}

# Half of their units is silent, which the initial weights make up for (``Network.initial``).
RECTIFIERS = frozenset({"relu", "leaky_relu", "elu", "silu", "softplus"})


def partly_linear(f: Activation, units: int, axis: int) -> Activation:
    """f for all units but the last few, which stand along ``axis`` and hand on what enters them."""

    def apart(here: Callable[..., Any], there: Callable[..., Any]) -> Callable[..., Any]:
        def both(*given: Any) -> Any:
            *arrays, xp = given
            places = [[slice(None)] * array.ndim for array in arrays]
            parts = []
            for of, part in ((here, slice(None, -units)), (there, slice(-units, None))):
                for place in places:
                    place[axis] = part
                parts.append(of(*(array[tuple(at)] for array, at in zip(arrays, places, strict=True)), xp))
            return xp.concat(parts, axis=axis)

        return both

    line = ACTIVATIONS["identity"]
    return Activation(apart(f.value, line.value), apart(f.slope, line.slope), apart(f.bend, line.bend))


def check_activation(name: object) -> str:
    """The activation of that name; SettingsError lists the known ones."""
    if isinstance(name, str) and name in ACTIVATIONS:
        return name
    hint = did_you_mean("logistic" if name == "sigmoid" else name, ACTIVATIONS)
    raise SettingsError(f"activation {name!r} is not known: choose one of {', '.join(ACTIVATIONS)}{hint}")
