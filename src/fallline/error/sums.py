"""½ Σ_j ( ŷ_j − y_j )²: the error of one block of rows, its gradient, its curvature.

The convention of the whole package stands here. With residuals r = ŷ − y and row
weights s (1 unless a row counts for more or, in padding, for nothing),

    E = ½ Σ_μ s_μ Σ_j r_j²     g = Jᵀ s r     G = Jᵀ s J     J = ∂ŷ/∂w

All three are in the triangle R of [√s J | √s r] = Q R, too, with twice the digits of G.
E is a sum over rows, not a mean: it grows with the number of rows. Where the rows
come from, and what is done with the sums, is not known here.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fallline.error.pairs import gram, no_products, products_of, put_together
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.curve import Curve
from fallline.model.network import Model, Network

# What one pass over the rows can be asked for. A descent names the few it needs.
KINDS = ("error", "gradient", "gauss_newton", "curvature", "triangle", "bend")


class Block(NamedTuple):
    """Some rows: x (b, inputs), y (b, outputs), and how often each counts, s (b,)."""

    x: Any
    y: Any
    s: Any


class Sums(NamedTuple):
    """What the rows say at one point: sums that add up block by block, by ``merged``.

    rows: Σ s, the number of rows. error: E. gradient (n_weights,): ∂E/∂w. gauss_newton
    (n_weights, n_weights): JᵀJ. curvature (n_weights,): JᵀJ v for the direction asked, or Jᵀ ∂²ŷ/∂v² ("bend").
    triangle (n_weights + 1, n_weights + 1): R of [√s J | √s r] = Q R, so that JᵀJ need not be formed, which squares
    the condition number. What was not asked for is zero, or of length 0 where the descent never asks for it.
    """

    rows: Any
    error: Any
    gradient: Any
    gauss_newton: Any
    curvature: Any
    triangle: Any


class Request(NamedTuple):
    """One pass over the rows: which sums (an index into the descent's kinds), at which weights, in which direction."""

    kind: Any
    weights: Any
    direction: Any


def residuals(model: Model, weights: Any, block: Block) -> Any:
    """r = ŷ − y: (b, outputs). Raises ShapeError where they differ in shape."""
    return _difference(model.predict(weights, block.x, jnp), block)


def _difference(predicted: Any, block: Block) -> Any:
    """ŷ − y."""
    _check_targets(predicted.shape, block)
    return predicted - block.y


def _check_targets(predicted: tuple[int, ...], block: Block) -> None:
    """ShapeError if y has another shape than the prediction: (b,) against (b, 1) would broadcast to (b, b) in silence."""
    if predicted != block.y.shape:
        raise ShapeError(
            f"y has shape {block.y.shape}, but the model predicts {predicted} (rows, outputs). "
            "For a single output, pass y[:, None]."
        )


def squared_error(model: Model, weights: Any, block: Block) -> Any:
    """E of a block, in squared units of the target; products in the precision of the rows, their sum in float64."""
    r = residuals(model, weights, block)
    return 0.5 * _total(r * (r * block.s[:, None]))


def error_and_gradient(model: Model, weights: Any, block: Block) -> tuple[Any, Any]:
    """E of a block, float64, and g = Jᵀ s r by one backward sweep."""
    predicted, back = jax.vjp(lambda w: model.predict(w, block.x, jnp), weights)
    r = _difference(predicted, block)
    weighted = r * block.s[:, None]
    return 0.5 * _total(r * weighted), back(weighted)[0]


_MANY, _TOGETHER = 4096, 128


def _total(terms: Any) -> Any:
    """The sum of all terms in float64; of many float32 terms, first 128 at a time as they are.

    To widen each one would take longer than all the rest of a pass, and 128 terms lose no more than their rounding.
    They are added as a product with ones, which goes to the library for products: XLA's own sums take six times longer.
    """
    if terms.dtype == jnp.float32 and terms.size >= _MANY and terms.size % _TOGETHER == 0:
        terms = terms.reshape(-1, _TOGETHER) @ jnp.ones(_TOGETHER, terms.dtype)
    return jnp.sum(terms, dtype=jnp.float64)


def nothing_apart(model: Model, kinds: tuple[str, ...]) -> Sums:
    """``nothing`` for sums whose JᵀJ is ``apart``."""
    zero = nothing(kinds, model.n_weights)
    if "gauss_newton" in kinds and isinstance(model, Network):
        return zero._replace(gauss_newton=no_products(model))
    return zero


def joined(model: Model, sums: Sums) -> Sums:
    """The sums with JᵀJ put together of what ``apart`` left of it."""
    if isinstance(sums.gauss_newton, dict) and isinstance(model, Network):
        return sums._replace(gauss_newton=put_together(model, sums.gauss_newton))
    return sums


def nothing(kinds: tuple[str, ...], n_weights: int) -> Sums:
    """The sums over no rows, float64: where adding up begins."""
    dtype = jnp.float64
    wide = n_weights if "gauss_newton" in kinds else 0
    long = n_weights if "curvature" in kinds or "bend" in kinds else 0
    side = n_weights + 1 if "triangle" in kinds else 0
    zero = jnp.zeros((), dtype)
    return Sums(
        zero,
        zero,
        jnp.zeros(n_weights, dtype),
        jnp.zeros((wide, wide), dtype),
        jnp.zeros(long, dtype),
        jnp.zeros((side, side), dtype),
    )


def merged(first: Sums, second: Sums, xp: Any = jnp) -> Sums:
    """The sums over the rows of both: added, and the triangles stacked and made one again by QR.

    Source: Golub & Van Loan (2013), *Matrix Computations*, sec. 6.5 (adding rows to a factorisation).
    """
    total = jax.tree.map(xp.add, first, second)
    if not first.triangle.shape[0]:
        return total
    stacked = xp.concatenate([first.triangle, second.triangle])
    return total._replace(triangle=xp.linalg.qr(stacked, mode="r"))


def sums_of_block(
    model: Model, kinds: tuple[str, ...], kind: str, request: Request, block: Block, *, apart: bool = False
) -> Sums:
    """The sums of one kind over one block, float64; parts that other kinds of the same descent need stay zero.

    Inside the block the arithmetic is that of the rows, float32 or float64. ``apart``: a network's JᵀJ stays in the
    products it is made of, which add up like all else and are to be ``joined`` once, at the end.
    """
    weights = request.weights.astype(block.x.dtype)
    empty = nothing_apart(model, kinds) if apart else nothing(kinds, model.n_weights)
    rows = _total(block.s)
    if kind == "error":
        return empty._replace(rows=rows, error=squared_error(model, weights, block))
    if kind == "gradient":
        error, gradient = error_and_gradient(model, weights, block)
        return empty._replace(rows=rows, error=error, gradient=gradient.astype(jnp.float64))
    if kind == "gauss_newton":
        triple = gauss_newton(model, weights, block, apart=apart)
        error, gradient, square = jax.tree.map(lambda part: part.astype(jnp.float64), triple)
        return empty._replace(rows=rows, error=error, gradient=gradient, gauss_newton=square)
    if kind == "curvature":
        product = curvature_product(model, weights, block, request.direction.astype(weights.dtype))
        return empty._replace(rows=rows, curvature=product.astype(jnp.float64))
    if kind == "bend":
        bend = bend_of(model, weights, block, request.direction.astype(weights.dtype))
        return empty._replace(rows=rows, curvature=bend.astype(jnp.float64))
    if kind == "triangle":
        triangle = triangle_of(model, weights, block).astype(jnp.float64)
        error, gradient = error_and_gradient_of(triangle)
        return empty._replace(rows=rows, error=error, gradient=gradient, triangle=triangle)
    raise SettingsError(f"a pass of kind {kind!r} is not known: choose one of {', '.join(KINDS)}.")


def jacobian(model: Model, weights: Any, x: Any) -> Any:
    """J = ∂ŷ/∂w: (b, outputs, n_weights), one backward sweep per output; of a curve, one forward sweep per weight.

    A curve has few weights, and a function that is not ours is best asked for all rows at once.
    """
    if isinstance(model, Curve):
        return jax.jacfwd(lambda w: model.predict(w, x, jnp))(weights)

    def one_row(row: Any) -> Any:
        return jax.jacrev(lambda w: model.predict(w, row[None, :], jnp)[0])(weights)

    return jax.vmap(one_row)(x)


def gauss_newton(model: Model, weights: Any, block: Block, *, apart: bool = False) -> tuple[Any, Any, Any]:
    """The triple (E, g, JᵀJ) of a block: all that Levenberg–Marquardt asks of the rows."""
    if isinstance(model, Network):
        _check_targets((block.x.shape[0], model.outputs), block)
        return (products_of if apart else gram)(model, weights, block.x, block.y, block.s)
    r = residuals(model, weights, block)
    root = jnp.sqrt(block.s)[:, None]
    scaled = (r * root).reshape(-1)
    square_root = (jacobian(model, weights, block.x) * root[:, :, None]).reshape(scaled.shape[0], -1)
    return 0.5 * scaled @ scaled, square_root.T @ scaled, square_root.T @ square_root


def curvature_product(model: Model, weights: Any, block: Block, direction: Any) -> Any:
    """JᵀJ v without J: one forward derivative along v, one backward sweep.

    Source: Schraudolph (2002), Neural Computation 14:1723.
    """

    def predict(w: Any) -> Any:
        return model.predict(w, block.x, jnp)

    _, along = jax.jvp(predict, (weights,), (direction,))
    _, back = jax.vjp(predict, weights)
    return back(along * block.s[:, None])[0]


def triangle_of(model: Model, weights: Any, block: Block) -> Any:
    """R of [√s J | √s r] = Q R for a block: (n_weights + 1, n_weights + 1), upper triangular."""
    root = jnp.sqrt(block.s)[:, None]
    r = (residuals(model, weights, block) * root).reshape(-1)
    side = model.n_weights + 1
    stacked = jnp.concatenate(
        [(jacobian(model, weights, block.x) * root[:, :, None]).reshape(r.shape[0], -1), r[:, None]], axis=1
    )
    factor = jnp.linalg.qr(stacked, mode="r")
    return jnp.pad(factor, ((0, side - factor.shape[0]), (0, 0)))


def error_and_gradient_of(triangle: Any) -> tuple[Any, Any]:
    """E and g of the rows behind a triangle: its last column is Qᵀ√s r."""
    last = triangle[:, -1]
    return 0.5 * last @ last, triangle[:, :-1].T @ last


# How far along the step the second derivative is taken: near enough to be local, far enough to lose few digits.
_ALONG = 0.1


def bend_of(model: Model, weights: Any, block: Block, direction: Any) -> Any:
    """Jᵀ s ∂²ŷ/∂v² along v: how the prediction bends away from its tangent.

    The second derivative by a difference of ŷ and one forward derivative, so that a function that has only
    first derivatives will do: (2/h)[(ŷ(w + hv) − ŷ(w))/h − J v].
    Source: Transtrum, Machta & Sethna (2011), Phys. Rev. E 83:036701, sec. VIII.
    """

    def predict(w: Any) -> Any:
        return model.predict(w, block.x, jnp)

    here, along = jax.jvp(predict, (weights,), (direction,))
    _, back = jax.vjp(predict, weights)
    ahead = predict(weights + _ALONG * direction)
    bend = (2.0 / _ALONG) * ((ahead - here) / _ALONG - along)
    return back(bend * block.s[:, None])[0]
