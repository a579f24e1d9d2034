"""The second derivatives of the error: how it bends at a point, in every direction.

    H = ∂²F/∂w² = Jᵀ s J + Σ_μ s_μ Σ_j r_j ∂²ŷ_j/∂w² + diag(strength)

All of it, not the Gauss–Newton part alone: a saddle shows only in the second term. H is that of F, a sum over
rows; learning rates act on H/n. It is asked of the rows, always in float64. Nothing here knows a descent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fallline.error.sums import Request
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.threads import one_blas_thread
from fallline.words import counted

LARGEST = 2000  # weights: above, the matrix and its eigenvectors take longer than they are worth

# Shares of the largest eigenvalue in size.
DOWN = 1e-6  # an eigenvalue so far below 0 is no rounding
FLAT = 1e-9  # a direction that the error does not bend in

_DIRECTIONS_AT_ONCE = 16  # that one sweep over the rows multiplies

# Lanczos: vectors kept before a restart, as far as they take no more memory than this; taken over at a restart from each end.
_MOST_VECTORS, _VECTOR_BYTES = 160, 256 << 20
_FEWEST_VECTORS = 24
_KEPT_VECTORS = 8
_PRODUCTS_BETWEEN_LOOKS = 8  # products between two looks at the residuals
_MOST_PRODUCTS = 3000
_RESIDUAL = 1e-7  # of the largest eigenvalue in size


class Bend(NamedTuple):
    """At one point F, its gradient (p,), and H times each of c directions, (c, p), or H itself, (p, p)."""

    error: float
    gradient: np.ndarray
    products: np.ndarray


class Products:
    """The Hessian at ``weights`` (p,) as what it does to directions (c, p); without any, H itself.

    Raises ShapeError or TableError for rows, weights or a strength that do not fit.
    """

    def __init__(self, model: Model, rows: GivenRows, weights: Any, strength: Any = None) -> None:
        self.model, self.rows, p = model, check_fit(model, rows).wide(), model.n_weights
        self.weights = np.asarray(weights, np.float64)
        if self.weights.shape != (p,):
            raise ShapeError(f"weights have shape {self.weights.shape}, but the model has {p}: pass shape ({p},).")
        if not np.isfinite(self.weights).all():
            raise TableError("the weights contain NaN or infinity: the error has no second derivative there.")
        self.strength = np.zeros(p) if strength is None else np.asarray(strength, np.float64)
        if self.strength.shape != (p,):
            raise ShapeError(
                f"strength has shape {self.strength.shape}: give each of the {p} weights its weight decay, ({p},), "
                "such as the strength of a path."
            )

    def __call__(self, directions: np.ndarray | None = None) -> Bend:
        some: Any = [directions]
        more = np.diag(self.strength)
        if directions is not None:
            cuts = np.arange(_DIRECTIONS_AT_ONCE, len(directions), _DIRECTIONS_AT_ONCE)
            some, more = np.split(directions, cuts), self.strength * directions
        found = self.rows.totals([(self.model, Request("hessian", self.weights, each)) for each in some])
        pull = self.strength * self.weights
        return Bend(
            found[0].error + 0.5 * float(pull @ self.weights),
            found[0].gradient + pull,
            np.concatenate([sums.product for sums in found]) + more,
        )

    def times(self, direction: np.ndarray) -> np.ndarray:
        """H v for one direction (p,): (p,)."""
        return self(direction[None, :]).products[0]


def hessian_product(model: Model, rows: GivenRows, weights: Any, directions: Any, strength: Any = None) -> np.ndarray:
    """H v for a direction (p,), or for each of c directions (c, p): the same shape, float64, without H.

    H is that of ½ Σ_μ s_μ Σ_j r_j² + ½ Σ_i strength_i w_i² at ``weights`` (p,). Raises ShapeError or TableError for
    rows, weights or directions that do not fit.
    Source: Pearlmutter (1994), Neural Computation 6:147.
    """
    directions = np.asarray(directions, np.float64)
    if directions.ndim not in (1, 2) or directions.shape[-1] != model.n_weights or not directions.size:
        raise ShapeError(
            f"directions have shape {directions.shape}: expected ({model.n_weights},) or (directions, {model.n_weights})."
        )
    products = Products(model, rows, weights, strength)(np.atleast_2d(directions)).products
    return products.reshape(directions.shape)


def hessian(model: Model, rows: GivenRows, weights: Any, strength: Any = None) -> np.ndarray:
    """All second derivatives of ½ Σ_μ s_μ Σ_j r_j² + ½ Σ_i strength_i w_i² at ``weights`` (p,): (p, p), symmetric, float64.

    strength (p,): each weight's own weight decay, none by default; a ``DescentPath`` has it. Up to 2 000 weights;
    above, SettingsError names what to use instead. Raises ShapeError or TableError for rows or weights that do not fit.
    """
    return curvature_matrix(model, rows, weights, strength)[2]


def curvature_matrix(
    model: Model, rows: GivenRows, weights: Any, strength: Any = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """F, its gradient (p,) and its Hessian (p, p) at ``weights``."""
    p = model.n_weights
    if p > LARGEST:
        raise SettingsError(
            f"the Hessian of {p} weights has {p * p:,} entries: up to {LARGEST} weights it is formed; above, use "
            "extreme_eigenvectors for its stiffest and softest directions, or hessian_product."
        )
    error, gradient, square = Products(model, rows, weights, strength)()
    return error, gradient, 0.5 * (square + square.T)


@dataclass(frozen=True, eq=False)
class Curvature:
    """How the penalised error bends at one point.

    ``weights`` (p,); ``error`` F and ``gradient`` (p,) there; ``n_rows`` = Σ s, by which rates per row divide.
    ``eigenvalues`` (p,) of the Hessian of F, largest first, and ``eigenvectors`` (p, p), one a row, orthonormal.
    """

    weights: np.ndarray
    error: float
    gradient: np.ndarray
    n_rows: float
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    @property
    def slopes(self) -> np.ndarray:
        """The gradient along each eigenvector: (p,)."""
        return self.eigenvectors @ self.gradient

    @property
    def size(self) -> float:
        """The largest eigenvalue in size."""
        return float(np.abs(self.eigenvalues).max())

    @property
    def down(self) -> np.ndarray:
        """Along which eigenvectors F bends downwards, by more than rounding: (p,) bool."""
        return self.eigenvalues < -DOWN * self.size

    @property
    def flat(self) -> np.ndarray:
        """Along which eigenvectors F does not bend: (p,) bool."""
        return (self.eigenvalues <= FLAT * self.size) & ~self.down

    @property
    def unfelt(self) -> np.ndarray:
        """Weights that neither F nor its gradient depends on here: (p,) bool.

        There is nothing to feel, or a weight is so large that its unit is saturated.
        """
        felt = np.linalg.norm(self.eigenvectors * self.eigenvalues[:, None], axis=0)
        return np.asarray(felt <= FLAT * self.size)

    @classmethod
    def at(cls, model: Model, rows: GivenRows, weights: Any, strength: Any = None) -> "Curvature":
        """That of ``model`` over ``rows`` at ``weights``; the arguments, and what is refused, are those of ``hessian``."""
        rows = check_fit(model, rows)
        error, gradient, square = curvature_matrix(model, rows, weights, strength)
        values, vectors = eigenpairs(square)
        return cls(np.asarray(weights, np.float64), error, gradient, rows.count, values, vectors)


def eigenpairs(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, and eigenvectors, one a row, each with its largest entry positive."""
    if not np.isfinite(square).all():
        raise FalllineError(
            "the second derivatives are not finite at these weights: take weights where the error is a number."
        )
    with one_blas_thread():  # threads would wait for each other longer than they work
        values, vectors = np.linalg.eigh(square)
    rows = vectors.T[::-1]
    return values[::-1].copy(), rows * _signs(rows)


def without_effect(flat: int, weights: int) -> str:
    """What flat directions mean for a fit: "84 of 301 weight combinations do not affect the fit"."""
    return f"{flat:,} of {counted(weights, 'weight combination')} {'does' if flat == 1 else 'do'} not affect the fit"


def _signs(vectors: np.ndarray) -> np.ndarray:
    """±1 for each row: the sign of its largest entry. An eigenvector has none of its own, and pictures should not flip."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Extremes:
    """The largest and the smallest eigenvalue of a symmetric matrix, ``values`` (2,), and unit ``vectors`` (2, p).

    ``residuals`` (2,): ‖H v − λ v‖; an eigenvalue lies that near. ``products``: how many H v it took, 0 where the
    matrix was formed. ``converged``: whether both residuals are below 1e-7 of the largest eigenvalue in size.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int
    converged: bool


def gauss_newton_matrix(model: Model, rows: GivenRows, weights: Any) -> np.ndarray:
    """JᵀsJ at ``weights`` (p,): (p, p), float64, what the Hessian of E is where the residuals are small."""
    request = Request("gauss_newton", np.asarray(weights, np.float64))
    return check_fit(model, rows).wide().total(request, model).gauss_newton


def extreme_eigenpairs(model: Model, rows: GivenRows, weights: Any, strength: Any = None, seed: int = 0) -> Extremes:
    """The stiffest and the softest direction at ``weights``: the largest and the smallest eigenvalue of the Hessian of F.

    The smallest, not that nearest 0: below 0 at a saddle. Exact up to 2 000 weights, by Lanczos above, from a
    random vector that ``seed`` fixes. Raises ShapeError or TableError for rows or weights that do not fit.
    """
    if model.n_weights <= LARGEST:
        _, _, square = curvature_matrix(model, rows, weights, strength)
        values, vectors = eigenpairs(square)
        values, vectors = values[[0, -1]], vectors[[0, -1]]
        residuals = np.linalg.norm(vectors @ square - values[:, None] * vectors, axis=1)
        return Extremes(values, vectors, residuals, 0, True)
    with one_blas_thread():
        return lanczos(Products(model, rows, weights, strength).times, model.n_weights, seed)


def extreme_eigenvectors(
    model: Model, rows: GivenRows, weights: Any, strength: Any = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The stiffest and the softest eigenvalue, (2,), and their unit eigenvectors, (2, p): see ``extreme_eigenpairs``.

    Raises FalllineError where Lanczos did not come to rest.
    """
    found = extreme_eigenpairs(model, rows, weights, strength, seed)
    if not found.converged:
        raise FalllineError(
            f"after {found.products} products with the Hessian its extreme eigenvalues, {found.values[0]:.4g} and "
            f"{found.values[1]:.4g}, are known to {found.residuals.max():.2g} only: take other weights, or "
            "extreme_eigenpairs, which returns them as they are."
        )
    return found.values, found.vectors


def lanczos(
    product: Callable[[np.ndarray], np.ndarray],
    n: int,
    seed: int = 0,
    *,
    residual: float = _RESIDUAL,
    most_products: int = _MOST_PRODUCTS,
    most_vectors: int | None = None,
) -> Extremes:
    """Both ends of the spectrum of a symmetric (n, n) matrix that is known by ``product``, v ↦ H v.

    Every new vector is made orthogonal to all before it, twice. When there is no room for another, the basis is
    replaced by the few Ritz vectors nearest to both ends, and grows again.
    Source: Golub & Van Loan, Matrix Computations, ch. 10; the restart of Wu & Simon (2000), SIAM J. Matrix Anal. 22:602.
    """
    room = most_vectors or int(np.clip(_VECTOR_BYTES // (8 * n), _FEWEST_VECTORS, _MOST_VECTORS))
    room = min(room, n)
    basis, projected = np.zeros((room, n)), np.zeros((room, room))
    following = np.random.default_rng(seed).standard_normal(n)
    following /= np.linalg.norm(following)
    k = products = 0
    while True:
        basis[k] = following
        image = np.array(product(following), np.float64)
        if not np.isfinite(image).all():
            raise FalllineError(
                "the second derivatives are not finite at these weights: take weights where the error is a number."
            )
        k, products = k + 1, products + 1
        left = _take_out(image, basis[:k], projected)
        size = float(np.abs(projected[:k, :k]).max())
        over = k == n or left <= n * np.finfo(np.float64).eps * size or products >= most_products
        if over or k == room or products % _PRODUCTS_BETWEEN_LOOKS == 0:
            values, ritz = np.linalg.eigh(projected[:k, :k])
            ends = np.array([-1, 0])
            scale = float(np.abs(values).max())
            residuals = np.abs(left * ritz[-1, ends])
            converged = bool((residuals <= residual * scale).all())
            if over or converged:
                vectors = ritz[:, ends].T @ basis[:k]
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                return Extremes(values[ends], vectors * _signs(vectors), residuals, products, converged)
            if k == room:
                few = min(_KEPT_VECTORS, (room - 1) // 2)
                kept = np.r_[0:few, k - few : k]
                basis[: len(kept)] = ritz[:, kept].T @ basis[:k]
                projected[:] = 0.0
                np.fill_diagonal(projected[: len(kept), : len(kept)], values[kept])
                k = len(kept)
        following = image / left


def _take_out(image: np.ndarray, basis: np.ndarray, projected: np.ndarray) -> float:
    """Take out of ``image``, which H made of the last of ``basis`` (k, n), what all of these have of it, and note that.

    Twice, since rounding leaves some of it the first time. Returns how long the rest is.
    """
    k = len(basis)
    along = basis @ image
    image -= along @ basis
    again = basis @ image
    image -= again @ basis
    projected[k - 1, :k] = projected[:k, k - 1] = along + again
    return float(np.linalg.norm(image))


@dataclass(frozen=True, eq=False)
class Krylov:
    """A symmetric matrix as a vector g sees it: on the space of g, H g, H² g, …

    ``values`` (k,): the eigenvalues there, smallest first; ``vectors`` (k, n) unit vectors that go with them, one a
    row; ``along`` (k,): g along each. gᵀ f(H) g is Σ along² f(values), exact for polynomials up to degree 2k − 1.
    """

    values: np.ndarray
    vectors: np.ndarray
    along: np.ndarray


def krylov(product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, most: int) -> Krylov:
    """The Krylov space of ``start`` (n,), of at most ``most`` products v ↦ H v, every vector orthogonal to all before.

    That of 0 is empty. Source: Golub & Meurant (2010), *Matrices, Moments and Quadrature*, ch. 6 and 7.
    """
    n, norm = len(start), float(np.linalg.norm(start))
    if norm == 0.0:
        return Krylov(np.zeros(0), np.zeros((0, n)), np.zeros(0))
    room = min(most, n)
    basis, projected = np.zeros((room, n)), np.zeros((room, room))
    following, k = start / norm, 0
    while True:
        basis[k] = following
        image = np.array(product(following), np.float64)
        k += 1
        left = _take_out(image, basis[:k], projected)
        if k == room or left <= n * np.finfo(np.float64).eps * float(np.abs(projected).max()):
            values, ritz = np.linalg.eigh(projected[:k, :k])
            return Krylov(values, ritz.T @ basis[:k], norm * ritz[0])
        following = image / left
