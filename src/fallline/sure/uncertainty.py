"""What the rows say of the weights, and how far a prediction can be trusted: covariance, noise, intervals.

Near the weights found the network is taken as linear in them, ŷ(w + Δw) = ŷ(w) + J Δw. All then follows
from A = Jᵀ s J + diag(strength), which is summed in blocks, so that J never exists whole. Row weights s are
repetitions: a row of weight 3 is three rows. Nothing here knows units or scaling, nor how an interval is drawn.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline.error.sums import Block, gauss_newton, jacobian, residuals, triangle_of
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.network import Model
from fallline.rows.memory import InMemory, Rows, check_fit
from fallline.threads import one_blas_thread

_BLOCK_BYTES = 8 << 20  # of a block's Jacobian
_LARGEST_BLOCK = 1 << 14
_EPSILON = float(np.finfo(np.float64).eps)
# A row whose own leverage leaves less than this of its residual is fitted for itself: it says nothing of the noise.
_ALONE = 1e-9
# The share of a prediction's gradient in undetermined directions that is more than rounding.
_OUTSIDE = 1e-6
_NAMED = 3  # directions, and weights of each, that a sentence can hold


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What n rows and a penalty say of p weights and of k outputs at a minimum, in the units of the rows.

    noise_variance (k,): s² of each output. freedom: what is left of the rows to see it by, the degrees of freedom of
    Student's t for one output; ∞ where s² was given. effective_weights γ: tr(A⁻¹ JᵀsJ), the weights that the rows
    determine; their number where there is no penalty and nothing is undetermined. press (k,): Σ s (leave-one-out
    residual)². residuals, leave_one_out, leverage (n, k): ŷ − y of each row; the same where the fit has not seen one
    repetition of it, NaN where it is fitted for itself; and the share of its y in its own prediction. unseen_leverage
    (n, k): jᵀA⁻¹j of each row where the fit has not seen one repetition of it, h/(1 − h) for one output.
    root (p, rank): A⁻¹ = root rootᵀ. undetermined (p, p − rank): directions in which the weights change no prediction
    and no penalty; A⁻¹ is a pseudo-inverse without them.
    """

    model: Model
    weights: np.ndarray
    strength: np.ndarray
    noise_variance: np.ndarray
    freedom: float
    effective_weights: float
    press: np.ndarray
    residuals: np.ndarray
    leave_one_out: np.ndarray
    leverage: np.ndarray
    unseen_leverage: np.ndarray
    root: np.ndarray
    undetermined: np.ndarray
    scale: np.ndarray

    @property
    def rank(self) -> int:
        """The number of directions that rows and penalty determine."""
        return int(self.root.shape[1])

    @property
    def covariance(self) -> np.ndarray:
        """C = s² A⁻¹ (p, p), the penalty taken as what was known before; s² is the mean over the outputs.

        Without a penalty it is the covariance of the textbooks and of SciPy's ``curve_fit``.
        """
        return float(self.noise_variance.mean()) * (self.root @ self.root.T)

    @property
    def sampling_covariance(self) -> np.ndarray:
        """s² A⁻¹ JᵀsJ A⁻¹ (p, p): how the weights scatter from table to table, around a point that the penalty moved."""
        inverse = self.root @ self.root.T
        return float(self.noise_variance.mean()) * (inverse - inverse @ (self.strength[:, None] * inverse))

    @property
    def weight_errors(self) -> np.ndarray:
        """Standard error of each weight (p,), √C_ii; ∞ where it is part of an undetermined direction."""
        share = np.sum((self.undetermined / np.maximum(_norms(self.undetermined), 1e-300)) ** 2, axis=1)
        return np.where(share > _OUTSIDE, np.inf, np.sqrt(np.diagonal(self.covariance)))

    def says(self, names: Sequence[str] | None = None) -> str:
        """In one sentence, what the rows leave undetermined: of each direction the weights with the largest parts."""
        if self.rank == len(self.weights):
            return f"The rows determine all {self.rank} directions of the weights."
        return directions_in_words(self.model, self.undetermined, names)

    def mean_error(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of the mean prediction at x (m, inputs): s √(jᵀA⁻¹j), j = ∂ŷ/∂w.

        ∞ where the prediction changes along an undetermined direction: the rows say nothing of it.
        """
        leverage = leverage_at(self.model, self.weights, self.root, self.undetermined, self.scale, x)
        return np.sqrt(self.noise_variance * leverage)

    def new_row_error(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of a new row at x (m, inputs), the noise of the row added: √(s² + s² jᵀA⁻¹j)."""
        return np.sqrt(self.noise_variance + self.mean_error(x) ** 2)

    def quantile(self, coverage: float = 0.95) -> float:
        """How many standard errors an interval of that coverage reaches to either side, by Student's t.

        Raises SettingsError for a coverage outside (0, 1).
        """
        return students_quantile(self.freedom, coverage)

    def confidence_interval(self, x: np.ndarray, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where the mean of y at x (m, inputs) is to be found: lower and upper ends, (m, k) each."""
        return self._around(x, self.quantile(coverage) * self.mean_error(x))

    def prediction_interval(self, x: np.ndarray, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where y of a new row at x (m, inputs) is to be found: lower and upper ends, (m, k) each."""
        return self._around(x, self.quantile(coverage) * self.new_row_error(x))

    def _around(self, x: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predicted = np.asarray(self.model.predict(self.weights, np.asarray(x, np.float64)))
        return predicted - reach, predicted + reach


def uncertainty_of(
    model: Model,
    weights: np.ndarray,
    rows: Rows,
    *,
    strength: float | np.ndarray = 0.0,
    noise: str | float | np.ndarray = "leave-one-out",
    factor: str = "square",
) -> Uncertainty:
    """What ``rows`` say of ``weights`` (p,) at a minimum of E + ½ Σ strength w².

    strength: a weight decay for the weights that one acts on, or (p,), as ``path.strength`` has it. noise: where s² comes
    from. ``"leave-one-out"``: Σ s e² / Σ s/(1 − h) over leave-one-out residuals e = r/(1 − h) with leverage h, so that the
    intervals are as wide as rows the fit has not seen ask for; ``"residuals"``: Σ s r²/(n − γ), as ``curve_fit`` has it;
    or s² itself, one number or (k,), say from held-out rows.

    Directions whose eigenvalue, columns scaled to length 1, is below max(64, p) ε of the largest are undetermined.
    factor="qr": the triangle of J takes the place of JᵀJ, and the limit is for the singular values of J: a curve has few
    weights, and they may be nearly collinear and known all the same.
    Raises ShapeError and SettingsError for what does not fit, TableError where the rows leave nothing to see the
    noise by.
    Source: Seber & Wild (1989), *Nonlinear Regression*, sec. 5.1; Allen (1974), Technometrics 16:125 (PRESS); MacKay
    (1992), Neural Computation 4:415, eq. 4.10 (γ).
    """
    rows = check_fit(model, rows)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (model.n_weights,):
        raise ShapeError(
            f"weights have shape {weights.shape}; expected ({model.n_weights},), those of the model."
        )
    strength = _strength(model, strength)
    given = _noise(model, noise)
    with jax.enable_x64(True), one_blas_thread():
        if factor == "qr":
            root, undetermined, scale = _inverse_root_of_triangle(_triangle(model, weights, rows), strength)
        else:
            root, undetermined, scale = _inverse_root(_square(model, weights, rows) + np.diag(strength))
        gamma = root.shape[1] - float(np.sum(strength[:, None] * root**2))
        values = _left_out(model, weights, root, rows)
    r, left_out, inverse, leverage = values
    s = (np.ones(len(r)) if rows.sample_weight is None else np.asarray(rows.sample_weight, np.float64))[
        :, None
    ]
    judging = np.where(np.isfinite(left_out), s, 0.0)
    press = np.sum(judging * np.nan_to_num(left_out) ** 2, axis=0)
    freedom = rows.count - gamma / model.outputs
    if given is not None:
        variance, freedom = given, np.inf
    elif freedom < 1e-6 * rows.count or not (judging > 0).any(axis=0).all():
        raise TableError(
            f"{rows.count:g} rows determine {gamma:.4g} weights and leave nothing to see the noise by: give more rows, fewer "
            "weights, a weight decay, or the variance of the noise itself."
        )
    elif noise == "residuals":
        variance = np.sum(s * r**2, axis=0) / freedom
    else:
        variance = press / np.sum(judging * np.nan_to_num(inverse), axis=0)
    return Uncertainty(
        model, weights, strength, variance, freedom, gamma, press, r, left_out, leverage, inverse - 1.0, root, undetermined,
        scale,
    )  # fmt: skip


def students_quantile(freedom: float, coverage: float) -> float:
    """t with a share ``coverage`` of Student's distribution between −t and t; that of the normal one where freedom is ∞.

    Raises SettingsError for a coverage outside (0, 1).
    """
    from scipy.special import ndtri, stdtrit

    if not 0 < coverage < 1:
        raise SettingsError(
            f"coverage={coverage!r} is not possible: give a share between 0 and 1, such as 0.95."
        )
    upper = 0.5 + 0.5 * coverage
    return float(ndtri(upper) if np.isinf(freedom) else stdtrit(freedom, upper))


def directions_in_words(model: Model, undetermined: np.ndarray, names: Sequence[str] | None = None) -> str:
    """A sentence on directions (p, d) that the rows leave undetermined: of each the weights with the largest parts."""
    p, d = undetermined.shape
    names = names or getattr(model, "weight_names", lambda: [f"w{i + 1}" for i in range(p)])()
    parts = []
    for direction in (undetermined / _norms(undetermined)).T[:_NAMED]:
        largest = np.argsort(-np.abs(direction), kind="stable")[:_NAMED]
        largest = largest[np.abs(direction[largest]) > 0.1 * np.abs(direction).max()]
        parts.append(", ".join(f"{direction[i]:.2g} {names[i]}" for i in largest))
    more = f"; and {d - len(parts)} more" if d > len(parts) else ""
    return f"The rows determine {p - d} of {p} directions of the weights; undetermined: {'; '.join(parts)}{more}."


def inputs_of(model: Model, x: np.ndarray) -> np.ndarray:
    """Rows x (m, inputs) in float64. Raises ShapeError where they are not rows of the model."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != model.inputs:
        raise ShapeError(
            f"x has shape {x.shape}; expected (rows, inputs) = (m, {model.inputs}): for a single input, pass x[:, None]."
        )
    return x


def leverage_at(
    model: Model,
    weights: np.ndarray,
    root: np.ndarray,
    undetermined: np.ndarray,
    scale: np.ndarray,
    x: np.ndarray,
) -> np.ndarray:
    """jᵀA⁻¹j (m, k) at x (m, inputs), with ``root``, ``undetermined`` and ``scale`` as an ``Uncertainty`` has them.

    ∞ where the prediction changes along an undetermined direction. Raises ShapeError where x has not the model's inputs.
    """
    x = inputs_of(model, x)
    leverage = np.empty((len(x), model.outputs))
    with jax.enable_x64(True), one_blas_thread():
        for part, (block, *_) in _blocks(model, x):
            given = (weights, root, undetermined, scale, block)
            leverage[part] = np.asarray(_spread(model, *given))[: part.stop - part.start]
    return leverage


def _strength(model: Model, strength: Any) -> np.ndarray:
    strength = np.asarray(strength, np.float64)
    if strength.ndim == 0:
        strength = np.where(model.penalised(), float(strength), 0.0)
    if strength.shape != (model.n_weights,):
        raise ShapeError(
            f"strength has shape {strength.shape}; expected one number, or one for each weight, ({model.n_weights},)."
        )
    if not (np.isfinite(strength).all() and (strength >= 0).all()):
        raise SettingsError(
            "strength must be finite and not negative: it is the weight decay of each weight."
        )
    return strength


def _noise(model: Model, noise: Any) -> np.ndarray | None:
    """s² (k,) where it is given; None where it is to be found."""
    if isinstance(noise, str):
        if noise not in ("leave-one-out", "residuals"):
            raise SettingsError(
                f"noise={noise!r} is not known: give 'leave-one-out', 'residuals', or the variance of the noise."
            )
        return None
    variance = np.asarray(noise, np.float64)
    if variance.shape not in ((), (model.outputs,)) or not (
        np.isfinite(variance).all() and (variance >= 0).all()
    ):
        raise SettingsError(
            f"noise={noise!r} is not possible: a variance is a number from 0 up, or one for each of the {model.outputs} outputs."
        )
    return np.broadcast_to(variance, (model.outputs,)).copy()


def _inverse_root(square: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """root with A⁺ = root rootᵀ, the undetermined directions, and the lengths of the columns that A was scaled by."""
    scale = np.sqrt(np.diagonal(square))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(square / scale[:, None] / scale[None, :])
    kept = values > max(64, len(values)) * _EPSILON * max(values[-1], 0.0)
    vectors = vectors / scale[:, None]
    return vectors[:, kept] / np.sqrt(values[kept]), vectors[:, ~kept], scale


def _inverse_root_of_triangle(
    triangle: np.ndarray, strength: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from R with RᵀR = JᵀJ, without forming it: A = RᵀR + diag(strength)."""
    stacked = np.concatenate([triangle, np.diag(np.sqrt(strength))])
    scale = np.linalg.norm(stacked, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.svd(stacked / scale)[1:]
    kept = values > max(64, len(values)) * _EPSILON * values[0]
    vectors = vectors.T / scale[:, None]
    return vectors[:, kept] / values[kept], vectors[:, ~kept], scale


def _triangle(model: Model, weights: np.ndarray, rows: InMemory) -> np.ndarray:
    """R (p, p) of √s J = Q R, block by block in the order of the rows."""
    total = np.zeros((0, model.n_weights))
    for _, block in _blocks(model, rows.x, rows.y, rows.sample_weight):
        part = np.asarray(_triangle_of_block(model, weights, *block))[:, :-1]
        total = np.asarray(np.linalg.qr(np.concatenate([total, part]), mode="r"))
    return total


def _square(model: Model, weights: np.ndarray, rows: InMemory) -> np.ndarray:
    """JᵀsJ (p, p), block by block in the order of the rows."""
    total = np.zeros((model.n_weights, model.n_weights))
    for _, block in _blocks(model, rows.x, rows.y, rows.sample_weight):
        total += np.asarray(_square_of_block(model, weights, *block))
    return total


def _left_out(
    model: Model, weights: np.ndarray, root: np.ndarray, rows: InMemory
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, k) each: residuals, leave-one-out residuals, the diagonals of (1 − h)⁻¹ and of h."""
    found = tuple(np.empty((len(rows.x), model.outputs)) for _ in range(4))
    for part, block in _blocks(model, rows.x, rows.y, rows.sample_weight):
        for whole, values in zip(found, _left_out_of_block(model, weights, root, *block), strict=True):
            whole[part] = np.asarray(values)[: part.stop - part.start]
    return found  # type: ignore[return-value]


def _blocks(
    model: Model, x: np.ndarray, *others: np.ndarray | None
) -> Iterator[tuple[slice, tuple[np.ndarray, ...]]]:
    """Blocks of rows in float64, each of one size; where rows end, the first of the block is repeated with weight 0."""
    most = max(_BLOCK_BYTES // (8 * model.outputs * model.n_weights), 16)
    size = min(1 << (most.bit_length() - 1), _LARGEST_BLOCK, 1 << max(len(x) - 1, 7).bit_length())
    y, s = (*others, None, None)[:2]
    for at in range(0, len(x), size):
        part = slice(at, min(at + size, len(x)))
        extra = size - (part.stop - at)

        def padded(array: np.ndarray, part: slice = part, extra: int = extra) -> np.ndarray:
            array = np.asarray(array[part], np.float64)
            return (
                np.concatenate([array, np.broadcast_to(array[:1], (extra, *array.shape[1:]))])
                if extra
                else array
            )

        counts = np.ones(size) if s is None else padded(s)
        counts[size - extra :] = 0.0
        yield part, (padded(x), padded(y) if y is not None else counts, counts)


@functools.partial(jax.jit, static_argnums=0)
def _square_of_block(model: Model, weights: Any, x: Any, y: Any, s: Any) -> Any:
    return gauss_newton(model, weights, Block(x, y, s))[2]


@functools.partial(jax.jit, static_argnums=0)
def _triangle_of_block(model: Model, weights: Any, x: Any, y: Any, s: Any) -> Any:
    return triangle_of(model, weights, Block(x, y, s))


@functools.partial(jax.jit, static_argnums=0)
def _left_out_of_block(model: Model, weights: Any, root: Any, x: Any, y: Any, s: Any) -> Any:
    """What ``_left_out`` gives, of a block.

    Without one repetition of a row A is A − jjᵀ, and its residual (1 − h)⁻¹ r, h = jᵀA⁻¹j (Woodbury); of a row that counts
    for less than one, all of it is left out. With several outputs h is (k, k).
    """
    r = residuals(model, weights, Block(x, y, s))
    along = jacobian(model, weights, x) @ root
    hat = along @ jnp.swapaxes(along, 1, 2)
    part = jnp.minimum(s, 1.0)[:, None, None] * hat
    if hat.shape[1] == 1:
        left = 1.0 - part[:, 0]
        inverse = 1.0 / jnp.where(left > _ALONE, left, jnp.nan)
        return r, inverse * r, inverse, hat[:, 0]
    values, vectors = jnp.linalg.eigh(jnp.eye(hat.shape[1], dtype=hat.dtype)[None, :, :] - part)
    values = jnp.where(values > _ALONE, values, jnp.nan)[:, None, :]
    inverse = (vectors / values) @ jnp.swapaxes(vectors, 1, 2)
    left_out = (inverse @ r[:, :, None])[:, :, 0]
    return r, left_out, jnp.diagonal(inverse, axis1=1, axis2=2), jnp.diagonal(hat, axis1=1, axis2=2)


@functools.partial(jax.jit, static_argnums=0)
def _spread(model: Model, weights: Any, root: Any, undetermined: Any, scale: Any, x: Any) -> Any:
    """jᵀA⁻¹j (b, k), ∞ where j has a part along undetermined directions."""
    gradients = jacobian(model, weights, x)
    outside = jnp.sum((gradients @ undetermined) ** 2, axis=2)
    size = jnp.sum((gradients / scale[None, None, :]) ** 2, axis=2)
    return jnp.where(outside > _OUTSIDE * size, jnp.inf, jnp.sum((gradients @ root) ** 2, axis=2))


def _norms(directions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(directions, axis=0, keepdims=True)
