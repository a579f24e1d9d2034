"""Whether the derivatives are right: each beside a second way to the same numbers, and how many digits agree.

A wrong derivative does not stop a descent, it only spoils it, so it has to be looked for. Four second ways stand here, and none
uses the code that it judges: central differences; complex steps and a backpropagation derived by hand, both by the formulas of
the network written out once more, row by row; NumPy for what is summed and walked in C; ``lstsq`` for a linear network.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.error.dense import Dense
from fallline.error.sums import Request, jacobian
from fallline.exceptions import SettingsError, TableError
from fallline.landscape.hessian import LARGEST
from fallline.model.network import Network
from fallline.native import kernels
from fallline.rows.memory import GivenRows, InMemory, InNumPy, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread
from fallline.walk.loop import descend

FORMULA, DIFFERENCES, COMPLEX, BY_HAND, TWIN, LSTSQ = (
    "formula", "central differences", "complex steps", "backpropagation by hand", "NumPy", "lstsq"
)  # fmt: skip
ENOUGH = {FORMULA: 10, DIFFERENCES: 6, COMPLEX: 10, BY_HAND: 10, TWIN: 10, LSTSQ: 6}
"""Digits that are enough, by what is compared with."""
WHY = {
    FORMULA: "the same numbers added up in another order differ by rounding alone",
    DIFFERENCES: "steps of 6·10⁻⁶ leave about 10 of 16 digits, and fewer where the error bends strongly",
    COMPLEX: "nothing is subtracted, so that rounding of the sums alone is left",
    BY_HAND: "the same products added up in another order differ by rounding alone",
    TWIN: "C adds up in another order, and its tanh and the like may differ in the last digits",
    LSTSQ: "sums of squares lose twice the digits that lstsq does; components of the columns below 10⁻⁴ are left out",
}
_MOST = 16.0  # digits that float64 has

# How much is looked at: rows, numbers of a Jacobian, weights that are moved one by one, directions, steps and rows of a batch.
_ROWS, _NUMBERS, _WEIGHTS, _DIRECTIONS, _STEPS, _BATCH = 1000, 4_000_000, 200, 3, 20, 32
_STEP, _COMPLEX_STEP = np.finfo(float).eps ** (1 / 3), 1e-30
_SMALLEST_COMPONENT = 1e-4  # of the largest, as the spread of the rows along it
_NEAR = 1e-3  # of a corner: a difference must not reach across

_Complex = Any  # numbers (n, units) that are real, or complex along a step


def _logistic(z: _Complex) -> _Complex:
    return (1 + np.tanh(z / 2)) / 2


def _side(z: _Complex) -> np.ndarray:
    return np.where(z.real > 0, 1.0, -1.0)


# f and f′ in z alone, for complex numbers too: |z| has no derivative there, so its sign is taken of the real part.
_FORMULAS: dict[str, tuple[Callable[[_Complex], _Complex], Callable[[_Complex], _Complex]]] = {
    "identity": (lambda z: z, np.ones_like),
    "logistic": (_logistic, lambda z: 1 / (4 * np.cosh(z / 2) ** 2)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: z * (z.real > 0), lambda z: np.where(z.real > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: z * np.where(z.real > 0, 1.0, 0.01), lambda z: np.where(z.real > 0, 1.0, 0.01)),
    "softplus": (lambda z: z * (z.real > 0) + np.log1p(np.exp(-_side(z) * z)), _logistic),
    "softsign": (lambda z: z / (1 + _side(z) * z), lambda z: 1 / (1 + _side(z) * z) ** 2),
    "elu": (
        lambda z: np.where(z.real > 0, z, np.expm1(np.where(z.real > 0, 0, z))),
        lambda z: np.exp(np.where(z.real > 0, 0, z)),
    ),
    "silu": (lambda z: z * _logistic(z), lambda z: _logistic(z) + z / (4 * np.cosh(z / 2) ** 2)),
    "sine": (np.sin, np.cos),
    "gaussian": (lambda z: np.exp(-(z**2)), lambda z: -2 * z * np.exp(-(z**2))),
}
_CORNERS = frozenset({"relu", "leaky_relu", "softsign", "elu"})  # f′ or f″ jumps at 0


class Agreement(NamedTuple):
    """How far two ways to the same numbers agree: ``what`` was checked ``against`` what, and to how many ``digits``.

    Digits are counted as −log₁₀ of the largest difference over the largest sum of the sizes of what was added up, so that a
    gradient that vanishes at a minimum keeps its digits; 0 where a number is not finite. ``enough`` digits are asked for.

    >>> from fallline import Agreement
    >>> Agreement("gradient", "central differences", 9.3).holds
    True
    """

    what: str
    against: str
    digits: float

    @property
    def enough(self) -> int:
        return ENOUGH[self.against]

    @property
    def holds(self) -> bool:
        """Whether the digits are enough."""
        return self.digits >= self.enough


def check_derivatives(
    network: Network, rows: GivenRows, weights: Any = None, *, seed: int | np.random.Generator | None = 0
) -> tuple[Agreement, ...]:
    """Check E, its gradient, JᵀJ, JᵀJ v, H, H v and ∂ŷ/∂x of a network over rows, the C code, and a linear network.

    weights (n_weights,): where to look, random ones without. Rows, weights and directions of a large problem are a random part
    of it, by the ``seed``. Matrices are left out above 2,000 weights, C where there is none. Raises SettingsError for a model
    that is no ``Network``, ShapeError or TableError for rows that do not fit.

    >>> import numpy as np
    >>> from fallline import Network, check_derivatives
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> all(agreement.holds for agreement in check_derivatives(Network((1, 3, 1)), (x, np.sin(3 * x))))
    True

    Source: Squire & Trapp (1998), SIAM Review 40:110 (complex steps).
    """
    if not isinstance(network, Network):
        raise SettingsError(f"{type(network).__name__} cannot be checked: give a Network, whose formulas are known.")
    random, given = np.random.default_rng(seed), check_fit(network, rows).wide()
    w = network.initial(random) if weights is None else np.asarray(weights, np.float64)
    network.layers(w)  # raises ShapeError
    with one_blas_thread(), np.errstate(all="ignore"):  # what is not finite has no digits
        few = _few(network, given, w, random)
        return (*_derivatives(network, few, w, random), *_native(network, few, w, random), *_linear(few))


def _few(network: Network, rows: Rows, w: np.ndarray, random: np.random.Generator) -> Rows:
    """Rows that count, few enough for their Jacobian, and none with a unit so near a corner that a difference reaches across."""
    fits = rows.counts > 0
    if _CORNERS & {network.activation, network.output_activation}:
        hand = _ByHand(network, w, *rows.each(lambda block: (block.x, block.y)))
        near = [np.any(np.abs(z) < _NEAR, axis=1) for z in hand.entering]
        fits = fits & ~np.any(near, axis=0)
    most = int(np.clip(_NUMBERS // (network.n_weights * network.outputs), 10, _ROWS))
    which = np.sort(random.permutation(np.flatnonzero(fits))[:most])
    if not len(which):
        raise TableError("no row has a weight and a derivative here: give rows that count, or other weights.")
    return rows.taking(which)


class _ByHand:
    """A network at weights (p,) for rows x (n, inputs), y (n, outputs), written out row by row; complex numbers are welcome."""

    def __init__(self, network: Network, w: _Complex, x: _Complex, y: np.ndarray, s: Any = 1.0) -> None:
        self.network, self.y, self.s, at = network, y, np.broadcast_to(s, len(y)), 0
        self.coefs: list[_Complex] = []
        self.below, self.entering, a = [], [], x
        for number, (inputs, units) in enumerate(itertools.pairwise(network.sizes)):
            coef = w[at : at + inputs * units].reshape(inputs, units)
            z = a @ coef
            at += coef.size
            if network.bias:
                z, at = z + w[at : at + units], at + units
            self.coefs.append(coef)
            self.below.append(a)
            self.entering.append(z)
            a = self._of_layer(number, 0)
        self.predicted = a

    def _of_layer(self, number: int, which: int) -> _Complex:
        """f of a layer, (n, units), or f′ where ``which`` is 1; the last units of a hidden layer may be linear."""
        z, last = self.entering[number], number == len(self.network.sizes) - 2
        name = self.network.output_activation if last else self.network.activation
        bent = z.shape[1] - (0 if last else self.network.linear_units)
        parts = (_FORMULAS[name][which](z[:, :bent]), _FORMULAS["identity"][which](z[:, bent:]))
        return np.concatenate(parts, axis=1)

    def error(self) -> _Complex:
        return np.sum(self.s[:, None] * (self.predicted - self.y) ** 2) / 2

    def gradient(self) -> _Complex:
        """∂E/∂w, (p,)."""
        return self._back((self.s[:, None] * (self.predicted - self.y))[:, None, :])[0].sum(axis=0)[0]

    def jacobian(self) -> _Complex:
        """∂ŷ/∂w, (n, outputs, p)."""
        return self._back(np.broadcast_to(np.eye(self.network.outputs), (len(self.y), *[self.network.outputs] * 2)))[0]

    def to_inputs(self) -> _Complex:
        """∂ŷ/∂x, (n, outputs, inputs)."""
        return self._back(np.broadcast_to(np.eye(self.network.outputs), (len(self.y), *[self.network.outputs] * 2)))[1]

    def _back(self, asked: _Complex) -> tuple[_Complex, _Complex]:
        """For c questions about the outputs, (n, c, outputs), what each weight (n, c, p) and each input (n, c, inputs) does."""
        back, parts = asked, []
        for number in range(len(self.coefs) - 1, -1, -1):
            delta = back * self._of_layer(number, 1)[:, None, :]
            if self.network.bias:
                parts.append(delta)
            coef = np.einsum("ni,nch->ncih", self.below[number], delta)
            parts.append(coef.reshape(*delta.shape[:2], -1))
            back = np.einsum("nch,ih->nci", delta, self.coefs[number])
        return np.concatenate(parts[::-1], axis=2), back


def _derivatives(network: Network, rows: Rows, w: np.ndarray, random: np.random.Generator) -> Iterator[Agreement]:
    x, y = rows.each(lambda block: (block.x, block.y))
    s, p = rows.counts, network.n_weights

    def by_hand(weights: _Complex, x: _Complex = x) -> _ByHand:
        return _ByHand(network, weights, x, y, s)

    def total(kind: str, weights: np.ndarray = w, direction: Any = None) -> Any:
        return rows.total(Request(kind, weights, direction), network)

    def central(f: Callable[[np.ndarray], Any], along: np.ndarray) -> np.ndarray:
        """How f(w) changes along each of c directions, (c, …)."""
        return np.stack([(f(w + _STEP * v) - f(w - _STEP * v)) / (2 * _STEP) for v in along])

    def complex_steps(f: Callable[[_Complex], Any], along: np.ndarray) -> np.ndarray:
        return np.stack([np.imag(f(w + 1j * _COMPLEX_STEP * v)) / _COMPLEX_STEP for v in along])

    hand = by_hand(w)
    residual = np.abs(hand.predicted) + np.abs(y)  # its size before it cancels, as where the rows are fitted exactly
    yield Agreement("E", FORMULA, digits(total("error").error, hand.error(), _error(residual, s)))
    some = np.sort(random.permutation(p)[:_WEIGHTS])
    units = np.zeros((len(some), p))
    units[np.arange(len(some)), some] = 1.0
    j = hand.jacobian()
    flat, weighted = j.reshape(-1, p), (s[:, None, None] * j).reshape(-1, p)

    gradient = total("gradient").gradient
    size = np.max(np.abs(weighted).T @ residual.ravel())
    found = central(lambda at: total("error", at).error, units)
    yield Agreement("gradient", DIFFERENCES, digits(gradient[some], found, size))
    found = complex_steps(lambda at: by_hand(at).error(), units)
    yield Agreement("gradient", COMPLEX, digits(gradient[some], found, size))
    yield Agreement("gradient", BY_HAND, digits(gradient, hand.gradient(), size))

    own = jacobian(network, w, x)
    square = total("gauss_newton").gauss_newton if p <= LARGEST else None
    each = np.repeat(s, network.outputs)
    for against, f in ((DIFFERENCES, lambda at: network.predict(at, x)), (COMPLEX, lambda at: by_hand(at).predicted)):
        columns = (central if against == DIFFERENCES else complex_steps)(f, units)
        yield Agreement("J", against, digits(np.moveaxis(own[..., some], 2, 0), columns))
        if square is not None:
            columns = columns.reshape(len(some), -1)
            yield Agreement("JᵀJ", against, digits(square[np.ix_(some, some)], (each * columns) @ columns.T))
    yield Agreement("J", BY_HAND, digits(own, j))
    if square is not None:
        yield Agreement("JᵀJ", BY_HAND, digits(square, weighted.T @ flat))
    directions = random.normal(size=(_DIRECTIONS, p))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = np.stack([total("curvature", direction=v).product for v in directions])
    size = np.max(np.abs(weighted).T @ (np.abs(flat) @ np.abs(directions).T))
    yield Agreement("JᵀJ v", BY_HAND, digits(along, (directions @ flat.T) @ weighted, size))

    bent = total("hessian", direction=directions).product
    found = central(lambda at: total("gradient", at).gradient, directions)
    exact = complex_steps(lambda at: by_hand(at).gradient(), directions)
    yield Agreement("H v", DIFFERENCES, digits(bent, found, size))
    yield Agreement("H v", COMPLEX, digits(bent, exact, size))
    if p <= LARGEST:
        yield Agreement("H", COMPLEX, digits(directions @ total("hessian").product, exact, size))

    to_inputs = np.moveaxis(Dense(network, w, x).to_inputs(), 2, 0)
    steps = 1j * _COMPLEX_STEP * np.eye(network.inputs)
    along_x = np.stack([np.imag(by_hand(w, x + step).predicted) / _COMPLEX_STEP for step in steps], axis=2)
    yield Agreement("∂ŷ/∂x", COMPLEX, digits(to_inputs, along_x))
    yield Agreement("∂ŷ/∂x", BY_HAND, digits(to_inputs, hand.to_inputs()))


def _native(network: Network, rows: Rows, w: np.ndarray, random: np.random.Generator) -> Iterator[Agreement]:
    """What C sums and walks beside the same in NumPy; nothing where C does not know the network."""
    x, y = rows.each(lambda block: (block.x, block.y))
    if kernels.sums(network, Request("error", w), x, y) is None:
        return
    twin, p = InNumPy(x, y, rows.counts), network.n_weights
    hand = _ByHand(network, w, x, y, rows.counts)
    of_weights = np.einsum("n,nkp->p", rows.counts, hand.jacobian() ** 2)
    size = _error(np.abs(hand.predicted) + np.abs(y), rows.counts)
    found, expected = (each.total(Request("gradient", w), network) for each in (rows, twin))
    yield Agreement("E in C", TWIN, digits(found.error, expected.error, size))
    scale = math.sqrt(2 * size * np.max(of_weights))  # what a sum of r · ∂ŷ/∂w can be
    yield Agreement("gradient in C", TWIN, digits(found.gradient, expected.gradient, scale))
    if p <= LARGEST:
        request = Request("gauss_newton", w)
        both = (each.total(request, network).gauss_newton for each in (rows, twin))
        yield Agreement("JᵀJ in C", TWIN, digits(*both))
    request = Request("plane", np.stack([w, *random.normal(size=(2, p))]), random.uniform(-1, 1, (9, 2)))
    yield Agreement("E on a plane in C", TWIN, digits(*(each.total(request, network).error for each in (rows, twin))))
    rate = 0.5 * rows.count / (float(np.sum(of_weights)) or 1.0)  # the trace of JᵀJ is at least its largest eigenvalue
    walks = {
        f"{_STEPS} steps in C": (GradientDescent(rate, momentum=0.5), _STEPS),
        "an epoch in C": (Adam(learning_rate=1e-3, batch_size=_BATCH), 1),
    }
    for what, (descent, most) in walks.items():
        ends = (descend(network, each, descent, weights=w, max_iter=most, seed=0).weights[-1] for each in (rows, twin))
        yield Agreement(what, TWIN, digits(*ends))


def _error(residual: np.ndarray, s: np.ndarray) -> float:
    """E of residuals (n, outputs) in rows that count s (n,)."""
    return float(np.sum(s[:, None] * residual**2) / 2)


def _linear(rows: Rows) -> Iterator[Agreement]:
    """The exact minimum of a linear network on the columns beside ``lstsq``, by their predictions.

    On principal components: sums of squares have no digits left of the smallest of nearly collinear columns.
    """
    import scipy.linalg

    x, y = rows.each(lambda block: (block.x, block.y))
    s, root = rows.counts, np.sqrt(rows.counts)[:, None]
    x = x - np.average(x, axis=0, weights=s)
    lengths = np.linalg.norm(root * x, axis=0)
    x = x / np.where(lengths > 0, lengths, 1.0)
    _, spread, components = np.linalg.svd(root * x, full_matrices=False)
    if not spread[0] > 0:
        return
    x = math.sqrt(len(x)) * x @ components[spread > _SMALLEST_COMPONENT * spread[0]].T
    ones = np.column_stack([x, np.ones(len(x))])
    expected = ones @ scipy.linalg.lstsq(root * ones, root * y)[0]
    line = Network((x.shape[1], y.shape[1]))
    found = descend(line, InMemory(x, y, s), GradientDescent(), max_iter=math.inf, seed=0).weights[-1]
    yield Agreement("ŷ of a linear network", LSTSQ, digits(line.predict(found, x), expected, np.max(np.abs(y))))


def digits(found: Any, expected: Any, scale: float | None = None) -> float:
    """How many digits agree: −log₁₀ of the largest difference over ``scale``, the largest number that is expected without it."""
    size = float(np.max(np.abs(expected)) if scale is None else scale)
    apart = float(np.max(np.abs(np.asarray(found) - expected)))
    if not (math.isfinite(size) and math.isfinite(apart)):
        return 0.0
    if apart == 0:
        return _MOST
    return min(max(-math.log10(apart / size), 0.0), _MOST) if size > 0 else 0.0
