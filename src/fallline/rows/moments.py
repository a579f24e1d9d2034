"""All that a network linear in its weights can learn from its rows: their moments, in one pass.

With ŷ = x W + b the error is a quadratic, and the rows enter it through their number, the
means, and the products about the means alone. Centred, the error falls apart in two:

    E = E_min + ½ Σ_j (W − W*)_jᵀ C (W − W*)_j + ½ n |e|²      e = x̄ W + b − ȳ

with C = Σ s (x − x̄)(x − x̄)ᵀ and W* a minimum of the first part. No term cancels another, so
that neither columns far from zero nor an error close to its minimum lose digits. Without
biases nothing is centred: x̄ = ȳ = 0 and the last term is absent.

Products are formed and summed in float64 whatever the rows are kept in: in float32 the small
eigenvalues of C drown. Nothing here knows how the weights move.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fallline.error.sums import Request, Sums, nothing
from fallline.model.network import Model
from fallline.rows.memory import InMemory
from fallline.threads import processors

# Rows are copied, in float64, to a block that stays in the cache; so many blocks are one piece of work for a thread.
# Both follow from the width alone, so that the sums do not depend on the number of threads.
_BLOCK_BYTES = 200_000
_BLOCKS_TO_A_PIECE = 64
_BLOCKS_TO_A_CALL = 4
# Columns are shifted before the products are formed where the mean is larger than so many spreads; a smaller mean
# costs the products at most the square of this in rounding.
_SHIFT = 2.0
_SAMPLE = 1024
# Where the least error is below this part of the terms it is the difference of, a second pass sums it row by row.
_CANCELLED = 1e-6
# Refinement ends when a step of it gains less than this part of the error, or after so many passes in all.
_SETTLED = 1e-12
_MOST_PASSES = 4
# Up to this part of the largest eigenvalue (columns scaled to length 1) a direction is rounding: undetermined.
ROUNDING = 64 * np.finfo(np.float64).eps


class Moments(NamedTuple):
    """What the rows say to a network linear in its weights, d inputs by k outputs, float64.

    rows: n = Σ s. x_mean (d,), y_mean (k,): the point x̄, ȳ through which the best plane goes; 0 without biases.
    root (d, d): R with RᵀR = C, so that nothing C says can be negative. best (d, k): W*, the shortest (columns scaled
    to length 1) where the rows leave directions undetermined. least: E_min. passes: over the rows, 1 to 4.
    """

    rows: Any
    x_mean: Any
    y_mean: Any
    root: Any
    best: Any
    least: Any
    passes: Any

    @property
    def square(self) -> Any:
        """C, without what is rounding in it."""
        return self.root.T @ self.root


def has_biases(model: Model) -> bool:
    """Whether a linear network adds b: its weights are W row by row, then b."""
    return model.n_weights > model.inputs * model.outputs


@np.errstate(over="ignore", invalid="ignore")
def moments_of(model: Model, rows: InMemory, *, refined: bool = False) -> Moments | None:
    """The moments of the rows for a network linear in its weights; None where numbers are so large that products overflow.

    One pass over the rows. Where E_min is too small to be seen as a difference, or if ``refined``, up to three more
    that sum the residuals at W* row by row and take a step of refinement from them. Source of that step:
    Björck (1987), Lin. Alg. Appl. 88:31.
    """
    d, bias = model.inputs, has_biases(model)
    x_shift, y_shift = _shifts(rows, bias)
    total = _products(rows, x_shift, y_shift)
    if not np.isfinite(total).all():
        return None
    n = rows.count
    x_mean, y_mean = total[:d, -1] / n, total[d, d:-1] / n
    if not bias:
        x_mean, y_mean = np.zeros_like(x_mean), np.zeros_like(y_mean)
    square = total[:d, :d] - n * np.outer(x_mean, x_mean)
    cross = total[:d, d:-1] - n * np.outer(x_mean, y_mean)
    height = total[d + 1, d:-1] - n * y_mean**2
    x_mean, y_mean = x_mean + x_shift, y_mean + y_shift

    square = 0.5 * (square + square.T)
    varies = np.sqrt(np.maximum(np.diagonal(square), 0.0) / n) > ROUNDING * np.abs(x_mean)
    square, cross = np.where(varies[:, None] & varies, square, 0.0), np.where(varies[:, None], cross, 0.0)
    factor = Factor.of(square)
    best = factor.solve(cross)
    best += factor.solve(cross - square @ best)
    taken = np.sum(cross * best)
    least = 0.5 * (np.sum(height) - taken)
    size = 0.5 * (np.sum(height) + np.sum(best**2 * np.diagonal(square)[:, None]))
    passes = 1
    if refined or least <= _CANCELLED * size:
        while passes < _MOST_PASSES:
            # y − ȳ − (x − x̄) W*, with the middle moved to where the mean residual is 0.
            left = _residuals(rows, x_mean, y_mean, best)
            slope = np.where(varies[:, None], left[:d], 0.0)
            step = factor.solve(slope)
            best, passes, gain = best + step, passes + 1, 0.5 * np.sum(step * slope)
            least = 0.5 * np.sum(left[d + 1])
            if bias:
                y_mean, least = y_mean + left[d] / n, least - 0.5 * np.sum(left[d] ** 2) / n
            if gain <= _SETTLED * least:
                break
    root = np.zeros((d, d))
    root[: len(factor.root)] = factor.root
    return Moments(np.float64(n), x_mean, y_mean, root, best, np.maximum(least, 0.0), np.int64(passes))


class Factor(NamedTuple):
    """C = D Q Λ Qᵀ D, D the lengths of the columns, without what is rounding in Λ.

    root (r, d): Λ^½ Qᵀ D, so that C = rootᵀ root. inverse (d, r): D⁻¹ Q Λ^−½. nothing (d − r, d): the rows z of
    D Q that were left out, z C⁺ = 0; as relations between columns they are what ``relations`` names.
    """

    root: np.ndarray
    inverse: np.ndarray
    scale: np.ndarray
    nothing: np.ndarray

    @classmethod
    def of(cls, square: np.ndarray) -> "Factor":
        scale = np.sqrt(np.maximum(np.diagonal(square), 0.0))
        unit = np.where(scale > 0, scale, 1.0)
        values, vectors = np.linalg.eigh(square / unit[:, None] / unit)
        found = values > ROUNDING * values[-1]
        length = np.sqrt(values[found])
        return cls(
            root=(length * vectors[:, found]).T * scale,  # a column of zeros stays one
            inverse=vectors[:, found] / length / unit[:, None],
            scale=unit,
            nothing=vectors[:, ~found].T,
        )

    def solve(self, right: np.ndarray) -> np.ndarray:
        """C⁺ right."""
        return np.asarray(self.inverse @ (self.inverse.T @ right))


def relations(model: Model, moments: Moments) -> list[str]:
    """A sentence for each direction that the rows leave undetermined: ``x3 − 2·x7 is constant``."""
    factor = Factor.of(moments.square)
    left = factor.nothing.copy()
    for row in range(len(left)):  # Gauss–Jordan: each relation with as few columns as can be
        free = left.copy()
        free[:row] = 0.0
        at, column = divmod(int(np.argmax(np.abs(free).round(9))), free.shape[1])
        left[[row, at]] = left[[at, row]]
        left[row] /= left[row, column]
        others = np.arange(len(left)) != row
        left[others] -= np.outer(left[others, column], left[row])
    left[np.abs(left) < 1e-6] = 0.0
    what = "constant" if has_biases(model) else "0 in every row"
    said = []
    for each in left:
        columns = np.flatnonzero(each)
        shares = each[columns] / factor.scale[columns]
        said.append((columns[0], _relation(columns, shares / shares[0], what)))
    return [sentence for _, sentence in sorted(said)]


_MOST_NAMED = 6


def _relation(columns: np.ndarray, shares: np.ndarray, what: str) -> str:
    names = [f"x{i + 1}" for i in columns]
    if len(names) > _MOST_NAMED:
        return f"a sum over {len(names)} columns ({', '.join(names[:_MOST_NAMED])}, …) is {what}"
    terms = [
        f"{'−' if share < 0 else '+'} {'' if f'{abs(share):.4g}' == '1' else f'{abs(share):.4g}·'}{name}"
        for name, share in zip(names, shares, strict=True)
    ]
    return f"{' '.join(terms).removeprefix('+ ')} is {what}"


def error_at(moments: Moments, weights: Any, xp: Any = np) -> Any:
    """E at weights (…, d + 1, k), or (…, d, k) without biases: (…)."""
    off, middle = _off(moments, weights)
    return moments.least + 0.5 * (
        xp.sum(off * off, axis=(-2, -1)) + moments.rows * xp.sum(middle * middle, axis=-1)
    )


def _off(moments: Moments, weights: Any) -> tuple[Any, Any]:
    """R (W − W*) and e."""
    d = moments.best.shape[0]
    off = moments.root @ (weights[..., :d, :] - moments.best)
    middle = moments.x_mean @ weights[..., :d, :] - moments.y_mean  # 0 without biases
    if weights.shape[-2] > d:
        middle = middle + weights[..., d, :]
    return off, middle


def sums_of_moments(model: Model, kinds: tuple[str, ...], request: Request, moments: Moments) -> Sums:
    """What ``sum_over_rows`` says, from the moments alone, at a cost that does not know n. To be traced.

    All kinds are answered at once: a switch between them would cost more than they do.
    """
    shape = (model.inputs + has_biases(model), model.outputs)

    def joined(off: Any, along: Any) -> Any:
        """The sums of s x(x v + v_b) and s(x v + v_b) from R v and x̄ v + v_b."""
        middle = moments.rows * along
        both = moments.root.T @ off + moments.x_mean[:, None] * middle[None, :]
        return jnp.concatenate([both.reshape(-1), middle]) if has_biases(model) else both.reshape(-1)

    sums = nothing(kinds, model.n_weights)
    weights = request.weights.astype(jnp.float64).reshape(shape)
    sums = sums._replace(rows=moments.rows, error=error_at(moments, weights, jnp))
    if set(kinds) - {"error"}:
        off, middle = _off(moments, weights)
        sums = sums._replace(gradient=joined(off, middle))
    if "curvature" in kinds:
        along = request.direction.astype(jnp.float64).reshape(shape)
        top = along[: model.inputs]
        across = moments.x_mean @ top + (along[-1] if has_biases(model) else 0.0)
        sums = sums._replace(curvature=joined(moments.root @ top, across))
    if "gauss_newton" in kinds:
        means = jnp.concatenate([moments.x_mean, jnp.ones(shape[0] - model.inputs)])
        inner = moments.rows * means[:, None] * means[None, :]
        inner = inner.at[: model.inputs, : model.inputs].add(moments.square)
        sums = sums._replace(gauss_newton=jnp.kron(inner, jnp.eye(model.outputs)))
    return sums


def _shifts(rows: InMemory, bias: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers near the means, from rows spread over the table, to form products about; 0 where that gains nothing."""
    some = slice(None, None, max(len(rows.x) // _SAMPLE, 1))
    shifts = []
    for values in (rows.x, rows.y):
        part = np.asarray(values[some][:_SAMPLE], np.float64)
        mean = np.mean(part, axis=0)
        spread = np.sqrt(np.mean((part - mean) ** 2, axis=0))
        shifts.append(np.where((np.abs(mean) > _SHIFT * spread) & bias, mean, 0.0))
    return shifts[0], shifts[1]


def _pieces(rows: InMemory) -> tuple[int, list[slice]]:
    width = rows.x.shape[1] + rows.y.shape[1] + 1
    block = 1 << max(_BLOCK_BYTES // (8 * width), 256).bit_length() - 1
    step = block * _BLOCKS_TO_A_PIECE
    return block, [slice(at, min(at + step, len(rows.x))) for at in range(0, len(rows.x), step)]


def _over_pieces(work: Callable[[int, slice], np.ndarray], rows: InMemory) -> np.ndarray:
    """Σ work(block, piece) over pieces of the rows, on all processors, added in order."""
    block, pieces = _pieces(rows)
    workers = min(processors(), len(pieces))
    if workers == 1:
        return np.asarray(sum(work(block, piece) for piece in pieces))
    with ThreadPoolExecutor(workers) as pool:
        return np.asarray(sum(pool.map(lambda piece: work(block, piece), pieces)))


def _blocks(block: int, piece: slice) -> Iterator[slice]:
    for at in range(piece.start, piece.stop, block):
        yield slice(at, min(at + block, piece.stop))


def _products(rows: InMemory, x_shift: np.ndarray, y_shift: np.ndarray) -> np.ndarray:
    """Sums of the shifted rows, (d + 2, d + k + 1): Σ s xᵀ [x y 1], below it Σ s y and Σ s y² in the columns of y."""
    d, k = rows.x.shape[1], rows.y.shape[1]
    # To a multiple of four: BLAS is a quarter faster then.
    width = -(-(d + k + 1) // 4) * 4

    def work(block: int, piece: slice) -> np.ndarray:
        # Several blocks to a call of NumPy: it lets the other threads run only while it is inside one.
        held = np.zeros((_BLOCKS_TO_A_CALL, block, width))
        held[:, :, d + k] = 1.0
        flat = held.reshape(-1, width)
        total, parts = np.zeros((d + 2, width)), np.empty((_BLOCKS_TO_A_CALL, d, width))
        above = total[:d]
        # As wide and long as a block: NumPy runs through two whole arrays five times faster than row by row.
        shifts = np.tile(np.pad(x_shift, (0, width - d)), (len(flat), 1)) if x_shift.any() else None
        y = rows.y[piece].astype(np.float64)
        if y_shift.any():
            y -= y_shift
        weighed = y
        if rows.sample_weight is not None:
            weighed = y * rows.sample_weight[piece, None].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total[d, d : d + k], total[d + 1, d : d + k] = (
                weighed.sum(axis=0),
                np.einsum("ij,ij->j", weighed, y),
            )
            for at in _blocks(len(flat), piece):
                here = flat[: at.stop - at.start]
                flat[len(here) :] = 0.0  # the last of a piece: what no row fills counts for nothing
                here[:, :d] = rows.x[at]
                if shifts is not None:
                    here -= shifts[: len(here)]
                here[:, d : d + k] = y[at.start - piece.start : at.stop - piece.start]
                if rows.sample_weight is not None:
                    here[:, d + k] = 1.0
                    here *= np.sqrt(rows.sample_weight[at], dtype=np.float64)[:, None]
                # A column wider on the right: of a matrix and its own transpose NumPy would make a call of syrk,
                # which takes twice as long as gemm where rows are this narrow.
                np.matmul(held[:, :, :d].transpose(0, 2, 1), held, out=parts)
                np.add(above, parts.sum(axis=0), out=above)
        return total[:, : d + k + 1]

    return _over_pieces(work, rows)


def _residuals(rows: InMemory, x_mean: np.ndarray, y_mean: np.ndarray, best: np.ndarray) -> np.ndarray:
    """With r = y − ȳ − (x − x̄) W*: Σ s (x − x̄) rᵀ, then Σ s r, then Σ s r², stacked as (d + 2, k)."""

    def work(block: int, piece: slice) -> np.ndarray:
        total = np.zeros((len(x_mean) + 2, len(y_mean)))
        for at in _blocks(block, piece):
            x = rows.x[at] - x_mean
            r = (rows.y[at] - y_mean) - x @ best
            weighed = r if rows.sample_weight is None else r * rows.sample_weight[at, None]
            total += np.concatenate([x.T @ weighed, weighed.sum(0)[None], (weighed * r).sum(0)[None]])
        return total

    return _over_pieces(work, rows)
