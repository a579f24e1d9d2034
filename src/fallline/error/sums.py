"""½ Σ_j ( ŷ_j − y_j )²: the error of one block of rows, its gradient, its curvature.

The convention of the whole package stands here. With residuals r = ŷ − y and row weights s (how often a row counts),

    E = ½ Σ_μ s_μ Σ_j r_j²     g = Jᵀ s r     G = Jᵀ s J     J = ∂ŷ/∂w     H = G + Σ_μ s_μ Σ_j r_j ∂²ŷ_j/∂w²

E, g and G are in the triangle R of [√s J | √s r] = Q R, too, with twice the digits of G. E is a sum over rows, not a
mean: it grows with the number of rows. Where the rows come from, and what is done with the sums, is not known here.
"""

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fallline.arrays import namespace, put, to_numpy, widest
from fallline.error.dense import Dense
from fallline.error.direct import Direct
from fallline.error.many import errors_and_gradients
from fallline.error.pairs import by_pairs, hessian_products_of, input_pairs, products_of, put_together
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.network import Model, Network

# What the rows can be asked for.
KINDS = ("error", "gradient", "gauss_newton", "triangle", "curvature", "bend", "hessian", "plane")


@dataclass(eq=False)
class Block:
    """Some rows: x (b, inputs), y (b, outputs), and how often each counts, s (b,), or None where each counts once.

    ``kept`` holds what depends on the rows alone and is needed at every pass, if ``keeps`` says that there is room.
    """

    x: Any
    y: Any
    s: Any = None
    keeps: bool = False
    kept: dict[Any, Any] = field(default_factory=dict)

    @functools.cached_property
    def count(self) -> float:
        """Σ s."""
        return float(self.x.shape[0] if self.s is None else _total(self.s))


class Request(NamedTuple):
    """One pass over the rows: which sums, at which weights (p,), in which direction.

    kind: "error": E; "gradient": E, g, of a network also at
    weights (m, p); "gauss_newton": E, g, JᵀsJ; "triangle": R, and with it E, g;
    "curvature": JᵀsJ v for a direction v (p,); "bend": Jᵀ s ∂²ŷ/∂v²; "hessian": E, g and H times each of the directions
    (c, p), H itself without any; "plane": E at origin + a · first + b · second for the points (a, b), ``weights`` (3, p)
    and ``direction`` (m, 2).
    """

    kind: str
    weights: Any
    direction: Any = None


class Sums(NamedTuple):
    """What the rows say at one point, float64: sums that add up block by block, by ``merged``. None is what was not asked.

    rows: Σ s, the number of rows. error: E; (m,) on a plane. gradient (p,): ∂E/∂w. gauss_newton (p, p): JᵀsJ.
    product: (p,) or (c, p), what a matrix does to the direction asked about, or that matrix (p, p). triangle (p + 1, p + 1): R of
    [√s J | √s r] = Q R, so that JᵀJ need not be formed, which squares the condition number.
    """

    rows: float
    error: Any = None
    gradient: Any = None
    gauss_newton: Any = None
    product: Any = None
    triangle: Any = None


def sweep_of(model: Model, weights: Any, block: Block) -> Dense | Direct:
    """The model swept over a block. Raises ShapeError where y has another shape than what is predicted."""
    sweep = _sweep(model, put(weights, block.x), block.x)
    predicted = tuple(sweep.predicted.shape[::-1])
    if predicted != tuple(block.y.shape):  # (b,) against (b, 1) would broadcast to (b, b) in silence
        raise ShapeError(
            f"y has shape {tuple(block.y.shape)}, but the model predicts {predicted} (rows, outputs). "
            "For a single output, pass y[:, None]."
        )
    return sweep


def _sweep(model: Model, weights: Any, x: Any) -> Dense | Direct:
    return Dense(model, weights, x) if isinstance(model, Network) else Direct(model, weights, x)


def sums_of_block(model: Model, request: Request, block: Block) -> Sums:
    """The sums over one block; the arithmetic is that of the rows, float32 or float64. A network's JᵀJ stays in the
    products it is made of until ``finished``. Numbers may become infinite or NaN here, without a warning."""
    kind = request.kind
    if kind not in KINDS:
        raise SettingsError(f"a pass of kind {kind!r} is not known: choose one of {', '.join(KINDS)}.")
    with np.errstate(all="ignore"):
        return Sums(*map(_wide, _summed(model, request, block)))


def _summed(model: Model, request: Request, block: Block) -> Sums:
    """The sums in the arithmetic of the rows, where these lie: on a device each operation begins while others go on."""
    kind = request.kind
    if kind == "plane":
        return Sums(block.count, error=_on_plane(model, request, block))
    if kind == "gradient" and request.weights.ndim == 2 and isinstance(model, Network):
        return Sums(block.count, *errors_and_gradients(model, put(request.weights, block.x), block))
    sweep, s = sweep_of(model, request.weights, block), block.s
    r = sweep.predicted - block.y.T
    weighted = r if s is None else r * s
    if kind == "triangle":
        return _with_triangle(sweep, r, block)
    sums = Sums(block.count, 0.5 * _total(r * weighted))
    if kind == "error":
        return sums
    if kind in ("curvature", "bend"):
        direction = put(request.direction, block.x)
        along = sweep.along(direction)
        if kind == "bend":
            along = _bend(model, sweep, along, request, block)
        return sums._replace(product=sweep.back(along if s is None else along * s))
    sums = sums._replace(gradient=sweep.back(weighted))
    if kind == "hessian":
        return sums._replace(product=_bent(sweep, weighted, request.direction, block))
    if kind == "gauss_newton":
        return sums._replace(gauss_newton=_square(sweep, block))
    return sums


def merged(first: Sums, second: Sums) -> Sums:
    """The sums over the rows of both: added, and the triangles stacked and made one again by QR.

    Source: Golub & Van Loan (2013), *Matrix Computations*, sec. 6.5 (adding rows to a factorisation).
    """
    pairs = zip(first, second, strict=True)
    total = Sums(*(_plus(a, b) for a, b in pairs))
    if first.triangle is None:
        return total
    return total._replace(triangle=np.linalg.qr(np.concatenate([first.triangle, second.triangle]), mode="r"))


def finished(model: Model, sums: Sums) -> Sums:
    """The sums over all rows, JᵀJ or H put together of the products it was left in."""
    if isinstance(sums.gauss_newton, dict):
        return sums._replace(gauss_newton=put_together(model, sums.gauss_newton))  # type: ignore[arg-type]
    if isinstance(sums.product, dict):
        return sums._replace(product=put_together(model, sums.product))  # type: ignore[arg-type]
    return sums


def residuals(model: Model, weights: Any, block: Block) -> Any:
    """r = ŷ − y: (b, outputs). Raises ShapeError where they differ in shape."""
    return (sweep_of(model, weights, block).predicted - block.y.T).T


def jacobian(model: Model, weights: Any, x: Any) -> Any:
    """J = ∂ŷ/∂w of rows x (b, inputs): (b, outputs, p)."""
    return _sweep(model, weights, x).jacobian()


def error_and_gradient_of(triangle: Any) -> tuple[float, Any]:
    """E and g of the rows behind a triangle: its last column is Qᵀ√s r."""
    last = triangle[:, -1]
    return 0.5 * float(last @ last), triangle[:, :-1].T @ last


def _plus(a: Any, b: Any) -> Any:
    if a is None:
        return None
    return {key: a[key] + b[key] for key in a} if isinstance(a, dict) else a + b


def _wide(part: Any) -> Any:
    """Sums as NumPy has them, in float64, where adding them loses no digits: a number, an array, or several by name."""
    if part is None or isinstance(part, float):
        return part
    if isinstance(part, dict):
        return {key: _wide(each) for key, each in part.items()}
    return np.asarray(to_numpy(part), np.float64) if part.ndim else float(part)


def _total(terms: Any) -> Any:
    """The sum of all terms, in float64 where their device has it."""
    if isinstance(terms, np.ndarray):
        return float(terms.sum(dtype=np.float64))
    return namespace(terms).sum(terms, dtype=widest(terms))


def _square(sweep: Any, block: Block) -> Any:
    if isinstance(sweep, Dense) and by_pairs(sweep.network):
        return products_of(sweep, block.s, _first_pairs(sweep.network, block))
    columns = _counted_jacobian(sweep, block.s)
    return columns.T @ columns


def _bent(sweep: Any, u: Any, directions: Any, block: Block) -> Any:
    """H times each of the directions (c, p), or H; u (outputs, b) is ∂E/∂ŷ."""
    if directions is None and isinstance(sweep, Dense):
        return hessian_products_of(sweep, u, block.s, _first_pairs(sweep.network, block))
    if directions is None:
        directions = np.eye(len(sweep.weights))
    directions = put(directions, block.x)
    changes = _changes(sweep, directions)
    return sweep.turned_back(u, changes if block.s is None else changes * block.s, directions)


def _first_pairs(network: Network, block: Block) -> Any:
    first = block.kept.get(network.bias)
    if first is None:
        first = input_pairs(network, block.x)
        if block.keeps:
            block.kept[network.bias] = first
    return first


def _counted_jacobian(sweep: Any, s: Any) -> Any:
    """√s J, (b · outputs, p)."""
    j = sweep.jacobian()
    xp = namespace(j)
    if s is not None:
        j = j * xp.sqrt(s)[:, None, None]
    return xp.reshape(j, (-1, j.shape[-1]))


def _with_triangle(sweep: Any, r: Any, block: Block) -> Sums:
    xp, columns = namespace(r), _counted_jacobian(sweep, block.s)
    right = xp.reshape((r if block.s is None else r * xp.sqrt(block.s)).T, (-1, 1))
    stacked, side = xp.concat([columns, right], axis=1), columns.shape[1] + 1
    if xp.all(xp.isfinite(stacked)):
        factor = np.linalg.qr(stacked, mode="r") if xp is np else to_numpy(xp.linalg.qr(stacked).R)
        triangle = np.zeros((side, side))
        triangle[: len(factor)] = factor
    else:
        triangle = np.full((side, side), np.nan)
    error, gradient = error_and_gradient_of(triangle)
    return Sums(block.count, error, gradient, triangle=triangle)


def _changes(sweep: Any, directions: Any) -> Any:
    """J v for each of the directions (c, p): (c, outputs, b)."""
    if isinstance(sweep, Dense):
        return sweep.along(directions)
    return np.stack([sweep.along(each) for each in directions])


# How far along the step the second derivative is taken: near enough to be local, far enough to lose few digits.
_ALONG = 0.1


def _bend(model: Model, sweep: Any, along: Any, request: Request, block: Block) -> Any:
    """∂²ŷ/∂v² along v: how the prediction bends away from its tangent.

    By a difference of ŷ and the first derivative, so that a function that has only first derivatives will do:
    (2/h)[(ŷ(w + hv) − ŷ(w))/h − J v].
    Source: Transtrum, Machta & Sethna (2011), Phys. Rev. E 83:036701, sec. VIII.
    """
    ahead = sweep_of(model, request.weights + _ALONG * request.direction, block).predicted
    return (2.0 / _ALONG) * ((ahead - sweep.predicted) / _ALONG - along)


def _on_plane(model: Model, request: Request, block: Block) -> Any:
    """E of a block at the points of a plane: (m,).

    What enters the first units of a network is linear in the weights: along a plane it is a sum of three arrays, formed once.
    """
    xp, x, y, s, errors = namespace(block.x), block.x.T, block.y.T, block.s, []
    corners, points = put(request.weights, block.x), np.asarray(request.direction).tolist()
    origin, first, second = (corners[at, :] for at in range(3))
    network = model if isinstance(model, Network) else None
    if network is not None:
        entering = [_entering(network.layers(corner)[0], x) for corner in (origin, first, second)]
    base, before = None, None
    for a, b in points:
        weights = origin + a * first + b * second
        if network is None:
            predicted = model.predict(weights, block.x).T
        else:
            if b != before:  # along a row of a grid b stays
                base, before = entering[0] + b * entering[2], b
            z = base + a * entering[1]
            for number, layer in enumerate(network.layers(weights)[1:]):
                z = _entering(layer, network.activation_of(number, -2).value(z, xp))
            predicted = network.activation_of(len(network.hidden), -2).value(z, xp)
        r = predicted - y
        errors.append(0.5 * _total(r * (r if s is None else r * s)))
    return np.array(errors) if xp is np else xp.stack(errors)


def _entering(layer: Any, below: Any) -> Any:
    z = layer.coef.T @ below
    return z if layer.intercept is None else z + layer.intercept[:, None]
