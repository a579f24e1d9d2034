"""What the rows say of the weights, and how far a prediction can be trusted: covariance, noise, intervals.

Near the weights found the network is taken as linear in them, ŷ(w + Δw) = ŷ(w) + J Δw. All then follows
from A = Jᵀ s J + diag(strength). Row weights s are repetitions: a row of weight 3 is three rows.
Nothing here knows units or scaling, nor how an interval is drawn.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fallline.error.sums import Block, Request, jacobian, sweep_of
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread
from fallline.words import counted, minus

_BLOCK_BYTES = 1 << 20  # of the Jacobian of new rows: what is made of it stays in the cache
_EPSILON = float(np.finfo(np.float64).eps)
# A row whose own leverage leaves less than this of its residual is fitted for itself: it says nothing of the noise.
_ALONE = 1e-9
# The share of a prediction's gradient in undetermined directions that is more than rounding.
_OUTSIDE = 1e-6
_NAMED = 3  # directions, and weights of each, that a sentence can hold


class Inverse(NamedTuple):
    """A⁻¹ = root rootᵀ, for A of p weights.

    root (p, rank). undetermined (p, p − rank): directions in which the weights change no prediction and no penalty;
    A⁻¹ is a pseudo-inverse without them. scale (p,): √A_ii, by which the columns were divided before that was judged.
    """

    root: np.ndarray
    undetermined: np.ndarray
    scale: np.ndarray

    @classmethod
    def of_square(cls, square: np.ndarray) -> "Inverse":
        """Of A itself."""
        scale = or_one(np.sqrt(np.diagonal(square)))
        values, vectors = np.linalg.eigh(square / scale[:, None] / scale)
        kept = values > max(64, len(values)) * _EPSILON * max(values[-1], 0.0)
        vectors /= scale[:, None]
        return cls(vectors[:, kept] / np.sqrt(values[kept]), vectors[:, ~kept], scale)

    @classmethod
    def of_triangle(cls, triangle: np.ndarray, strength: np.ndarray) -> "Inverse":
        """Of A = RᵀR + diag(strength), which is not formed: R (p, p) keeps twice the digits."""
        stacked = np.concatenate([triangle, np.diag(np.sqrt(strength))])
        scale = or_one(np.linalg.norm(stacked, axis=0))
        values, vectors = np.linalg.svd(stacked / scale)[1:]
        kept = values > max(64, len(values)) * _EPSILON * values[0]
        vectors = vectors.T / scale[:, None]
        return cls(vectors[:, kept] / values[kept], vectors[:, ~kept], scale)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What n rows and a penalty say of p weights and of k outputs at a minimum, in the units of the rows.

    noise_variance (k,): s² of each output. freedom: what is left of the rows to see it by, the degrees of freedom of
    Student's t for one output; ∞ where s² was given. effective_weights γ: tr(A⁻¹ JᵀsJ), the weights that the rows
    determine; their number where there is no penalty and nothing is undetermined. press (k,): Σ s (leave-one-out
    residual)². residuals, leave_one_out, leverage (n, k): ŷ − y of each row; the same where the fit has not seen one
    repetition of it, NaN where it is fitted for itself; and the share of its y in its own prediction. unseen_leverage
    (n, k): jᵀA⁻¹j of each row where the fit has not seen one repetition of it, h/(1 − h) for one output.
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
    inverse: Inverse

    @property
    def rank(self) -> int:
        """The number of directions that rows and penalty determine."""
        return int(self.inverse.root.shape[1])

    @property
    def covariance(self) -> np.ndarray:
        """C = s² A⁻¹ (p, p), the penalty taken as what was known before; s² is the mean over the outputs.

        Without a penalty it is the covariance of the textbooks and of SciPy's ``curve_fit``.
        """
        return float(self.noise_variance.mean()) * (self.inverse.root @ self.inverse.root.T)

    @property
    def weight_errors(self) -> np.ndarray:
        """Standard error of each weight (p,), √C_ii; ∞ where it is part of an undetermined direction."""
        share = np.sum(_of_length_one(self.inverse.undetermined) ** 2, axis=1)
        return np.where(share > _OUTSIDE, np.inf, np.sqrt(np.diagonal(self.covariance)))

    def says(self, names: Sequence[str] | None = None) -> str:
        """In one sentence, what the rows leave undetermined."""
        if self.rank == len(self.weights):
            return f"The data determine all {counted(self.rank, 'weight')}."
        return undetermined_said(self.model, self.inverse.undetermined, names)

    def mean_error(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of the mean prediction at x (m, inputs): s √(jᵀA⁻¹j), j = ∂ŷ/∂w.

        ∞ where the prediction changes along an undetermined direction: the rows say nothing of it.
        """
        return np.sqrt(self.noise_variance * leverage_at(self.model, self.weights, self.inverse, x))

    def new_row_error(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of a new row at x (m, inputs), the noise of the row added: √(s² + s² jᵀA⁻¹j)."""
        return np.sqrt(self.noise_variance + self.mean_error(x) ** 2)

    def quantile(self, coverage: float = 0.95) -> float:
        """How many standard errors an interval of that coverage reaches to either side: see ``students_quantile``."""
        return students_quantile(self.freedom, coverage)

    def confidence_interval(self, x: np.ndarray, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where the mean of y at x (m, inputs) is to be found: lower and upper ends, (m, k) each."""
        return self._around(x, self.quantile(coverage) * self.mean_error(x))

    def prediction_interval(self, x: np.ndarray, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Where y of a new row at x (m, inputs) is to be found: lower and upper ends, (m, k) each."""
        return self._around(x, self.quantile(coverage) * self.new_row_error(x))

    def _around(self, x: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predicted = np.asarray(self.model.predict(self.weights, inputs_of(self.model, x)))
        return predicted - reach, predicted + reach


@one_blas_thread()
def uncertainty_of(
    model: Model,
    weights: np.ndarray,
    rows: GivenRows,
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
    rows = check_fit(model, rows).wide()  # in single precision rounding would pass for what is determined
    weights = np.asarray(weights, np.float64)
    if weights.shape != (model.n_weights,):
        raise ShapeError(f"weights have shape {weights.shape}; expected ({model.n_weights},), those of the model.")
    strength = _strength(model, strength)
    given = _noise(model, noise)
    if factor == "qr":
        triangle = rows.total(Request("triangle", weights), model).triangle
        inverse = Inverse.of_triangle(triangle[:-1, :-1], strength)
    else:
        square = rows.total(Request("gauss_newton", weights), model).gauss_newton
        inverse = Inverse.of_square(square + np.diag(strength))
    r, left_out, magnified, leverage = _left_out(model, weights, inverse.root, rows)
    gamma = inverse.root.shape[1] - float(np.sum(strength[:, None] * inverse.root**2))
    s = rows.counts[:, None]
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
        variance = press / np.sum(judging * np.nan_to_num(magnified), axis=0)
    return Uncertainty(
        model, weights, strength, variance, freedom, gamma, press, r, left_out, leverage, magnified - 1.0, inverse
    )  # fmt: skip


def _left_out(model: Model, weights: np.ndarray, root: np.ndarray, rows: Rows) -> tuple[np.ndarray, ...]:
    """(n, k) each: residuals, leave-one-out residuals, the diagonals of (1 − h)⁻¹ and of h.

    Without one repetition of a row A is A − jjᵀ, and its residual (1 − h)⁻¹ r, h = jᵀA⁻¹j (Woodbury); of a row that counts
    for less than one, all of it is left out. With several outputs h is (k, k).
    """

    def of_block(block: Block) -> tuple[np.ndarray, ...]:
        sweep = sweep_of(model, weights, block)
        r = (sweep.predicted - block.y.T).T
        along = root.T @ np.moveaxis(sweep.jacobian(), 0, 2)  # (k, rank, b)
        hat = np.einsum("irb,jrb->bij", along, along)
        part = hat if block.s is None else np.minimum(block.s, 1.0)[:, None, None] * hat
        values, vectors = np.linalg.eigh(np.eye(model.outputs) - part)
        values = np.where(values > _ALONE, values, np.nan)[:, None, :]
        magnifies = (vectors / values) @ np.swapaxes(vectors, 1, 2)
        left_out = (magnifies @ r[:, :, None])[:, :, 0]
        return r, left_out, np.diagonal(magnifies, axis1=1, axis2=2), np.diagonal(hat, axis1=1, axis2=2)

    found: tuple[np.ndarray, ...] = rows.each(of_block, 2 * model.outputs * model.n_weights)
    return found


def leverage_at(model: Model, weights: np.ndarray, inverse: Inverse, x: np.ndarray) -> np.ndarray:
    """jᵀA⁻¹j (m, k) at x (m, inputs), j = ∂ŷ/∂w; ∞ where the prediction changes along an undetermined direction.

    Raises ShapeError where x has not the model's inputs.
    """
    x = inputs_of(model, x)
    leverage = np.empty((len(x), model.outputs))
    size = max(_BLOCK_BYTES // (8 * model.outputs * model.n_weights), 16)
    # A saved model predicts without SciPy, whose BLAS that would load to limit it.
    with one_blas_thread() if "scipy.linalg" in sys.modules else contextlib.nullcontext():
        for at in range(0, len(x), size):  # new rows have no y, which rows to be summed over need
            j = np.moveaxis(jacobian(model, weights, x[at : at + size]), 0, 2)  # (k, p, b)
            part = _squares(inverse.root.T @ j)
            if inverse.undetermined.any():
                outside, whole = _squares(inverse.undetermined.T @ j), _squares(j / inverse.scale[:, None])
                part = np.where(outside > _OUTSIDE * whole, np.inf, part)
            leverage[at : at + size] = part.T
    return leverage


def students_quantile(freedom: float, coverage: float) -> float:
    """t with a share ``coverage`` of Student's distribution between −t and t; that of the normal one where freedom is ∞.

    Raises SettingsError for a coverage outside (0, 1).
    """
    from scipy.special import ndtri, stdtrit

    upper = 0.5 + 0.5 * check_coverage(coverage)
    return float(ndtri(upper) if np.isinf(freedom) else stdtrit(freedom, upper))


def check_coverage(coverage: float) -> float:
    """The coverage. Raises SettingsError where it is not a share between 0 and 1."""
    if not 0 < coverage < 1:
        raise SettingsError(f"coverage={coverage!r} is not possible: give a share between 0 and 1, such as 0.95.")
    return coverage


def undetermined_said(model: Model, undetermined: np.ndarray, names: Sequence[str] | None = None) -> str:
    """A sentence on directions (p, d) that the rows leave undetermined: of each the weights with the largest parts."""
    p, d = undetermined.shape
    names = names or getattr(model, "weight_names", lambda: [f"w{i + 1}" for i in range(p)])()
    said = []
    for direction in _of_length_one(undetermined).T[:_NAMED]:
        largest = np.argsort(-np.abs(direction), kind="stable")[:_NAMED]
        largest = largest[np.abs(direction[largest]) > 0.1 * np.abs(direction).max()]
        said.append(", ".join(f"{minus(f'{direction[i]:.2g}')} {names[i]}" for i in largest))
    more = f"; and {d - len(said)} more" if d > len(said) else ""
    return f"The data leave {counted(d, 'combination')} of weights undetermined: {'; '.join(said)}{more}."


def inputs_of(model: Model, x: np.ndarray) -> np.ndarray:
    """Rows x (m, inputs) in float64. Raises ShapeError where they are not rows of the model."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != model.inputs:
        raise ShapeError(
            f"x has shape {x.shape}; expected (rows, inputs) = (m, {model.inputs}): for a single input, pass x[:, None]."
        )
    return x


def _strength(model: Model, strength: Any) -> np.ndarray:
    strength = np.asarray(strength, np.float64)
    if strength.ndim == 0:
        strength = np.where(model.penalised(), float(strength), 0.0)
    if strength.shape != (model.n_weights,):
        raise ShapeError(
            f"strength has shape {strength.shape}; expected one number, or one for each weight, ({model.n_weights},)."
        )
    if not (np.isfinite(strength).all() and (strength >= 0).all()):
        raise SettingsError("strength must be finite and not negative: the weight decay of each weight.")
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
    numbers = np.isfinite(variance).all() and (variance >= 0).all()
    if variance.shape not in ((), (model.outputs,)) or not numbers:
        raise SettingsError(
            f"noise={noise!r} is not possible: a variance is a number from 0 up, or one for each of the {model.outputs} outputs."
        )
    return np.broadcast_to(variance, (model.outputs,)).copy()


def _squares(vectors: np.ndarray) -> np.ndarray:
    """The squared lengths (k, b) of vectors (k, p, b)."""
    return np.einsum("kpb,kpb->kb", vectors, vectors)


def or_one(scale: np.ndarray) -> np.ndarray:
    """The same numbers to divide by: 1 where one is 0."""
    return np.where(scale > 0, scale, 1.0)


def _of_length_one(directions: np.ndarray) -> np.ndarray:
    return directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-300)
