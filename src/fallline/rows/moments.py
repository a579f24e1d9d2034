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

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fallline.arrays import namespace, put, to_numpy, widened
from fallline.error.sums import Block, Request, Sums
from fallline.exceptions import SettingsError
from fallline.model.network import Model
from fallline.rows.device import OnDevice
from fallline.rows.rows import Rows
from fallline.words import listed

# Rows are copied, in float64, to a block that stays in the cache; so many blocks are one piece of work for a thread.
# Both follow from the width alone, so that the sums do not depend on the number of threads.
_BLOCK_BYTES = 200_000
_BLOCKS_TO_A_PIECE = 64
_BLOCKS_TO_A_CALL = 4
_DEVICE_BYTES = 1 << 27  # of a block of rows on a device, as they are copied
# Columns are shifted before the products are formed where the mean is larger than so many spreads; a smaller mean
# costs the products at most the square of this in rounding.
_SHIFT = 2.0
# Where the least error is below this part of the terms it is the difference of, a second pass sums it row by row.
_CANCELLED = 1e-6
# Refinement ends when a step of it gains less than this part of the error, or after so many passes in all.
_SETTLED = 1e-12
_MOST_PASSES = 4
# Up to this part of the largest eigenvalue (columns scaled to length 1) a direction is rounding: undetermined.
ROUNDING = 64 * np.finfo(np.float64).eps
_KINDS = ("error", "gradient", "gauss_newton", "curvature", "hessian")


@dataclass(frozen=True, eq=False)
class Moments(Rows):
    """What the rows say to a network linear in its weights, d inputs by k outputs, float64: a kind of rows, but for single ones.

    rows: n = Σ s. x_mean (d,), y_mean (k,): the point x̄, ȳ through which the best plane goes; 0 without biases.
    root (d, d): R with RᵀR = C, so that nothing C says can be negative. best (d, k): W*, the shortest (columns scaled
    to length 1) where the rows leave directions undetermined. least: E_min. passes: over the rows, 1 to 4.
    """

    rows: float
    x_mean: np.ndarray
    y_mean: np.ndarray
    root: np.ndarray
    best: np.ndarray
    least: float
    passes: int

    dtype = np.dtype(np.float64)

    @property
    def inputs(self) -> int:
        return len(self.x_mean)

    @property
    def outputs(self) -> int:
        return len(self.y_mean)

    def __len__(self) -> int:
        return round(self.rows)

    @property
    def count(self) -> float:
        return self.rows

    def wide(self) -> "Moments":
        return self

    @property
    def square(self) -> np.ndarray:
        """C, without what is rounding in it."""
        return self.root.T @ self.root

    def total(self, request: Request, model: Model) -> Sums:
        """The sums asked for, at a cost that does not know n. Raises SettingsError for kinds that need single rows."""
        kind = request.kind
        if kind not in _KINDS:
            raise SettingsError(f"moments know {listed(_KINDS)}, not {kind!r}: ask the rows themselves.")
        weights = np.asarray(request.weights, np.float64).reshape(-1, model.outputs)
        sums = Sums(self.rows, float(error_at(self, weights)))
        if kind in ("curvature", "hessian", "gauss_newton"):
            asked = np.eye(weights.size) if request.direction is None else request.direction
            directions = np.asarray(asked, np.float64).reshape(*asked.shape[:-1], *weights.shape)
            found = self._curved(directions).reshape(asked.shape)
            sums = sums._replace(gauss_newton=found) if kind == "gauss_newton" else sums._replace(product=found)
        if kind in ("gradient", "gauss_newton", "hessian"):
            sums = sums._replace(gradient=self._curved(self._from_minimum(weights)).ravel())
        return sums

    def each(self, *_: Any) -> NoReturn:
        """Moments hold no single rows. Raises SettingsError."""
        raise SettingsError("moments hold no single rows, and no batches of them: ask the rows themselves.")

    batches = taking = weighted = _fold = each  # type: ignore[assignment]

    @functools.cached_property
    def _minimum(self) -> np.ndarray:
        return np.vstack([self.best, self.y_mean - self.x_mean @ self.best])

    def _from_minimum(self, weights: np.ndarray) -> np.ndarray:
        """How far weights (…, d + 1, k), (…, d, k) without biases, are from W* and the b that goes with it."""
        return weights - self._minimum[: weights.shape[-2]]

    def _seen(self, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R V and x̄ V + v_b, for a change [V; v_b] of the weights (…, d + 1, k), V alone without biases."""
        d = len(self.root)
        middle = self.x_mean @ change[..., :d, :]  # 0 without biases
        return self.root @ change[..., :d, :], middle if change.shape[-2] == d else middle + change[..., d, :]

    def _curved(self, change: np.ndarray) -> np.ndarray:
        """What the curvature makes of a change of the weights, in its shape."""
        off, middle = self._seen(change)
        bottom = self.rows * middle[..., None, :]
        top = self.root.T @ off + self.x_mean[:, None] * bottom
        return top if top.shape == change.shape else np.concatenate([top, bottom], axis=-2)


def has_biases(model: Model) -> bool:
    """Whether a linear network adds b: its weights are W row by row, then b."""
    return model.n_weights > model.inputs * model.outputs


@np.errstate(over="ignore", invalid="ignore")
def moments_of(model: Model, rows: Rows, *, refined: bool = False) -> Moments | None:
    """The moments of the rows for a network linear in its weights; None where numbers are so large that products overflow.

    One pass over the rows. Where E_min is too small to be seen as a difference, or if ``refined``, up to three more
    that sum the residuals at W* row by row and take a step of refinement from them. Source of that step:
    Björck (1987), Lin. Alg. Appl. 88:31.
    """
    d, n, bias = model.inputs, rows.count, has_biases(model)
    shift = bias * _shift(rows)
    total = _products(rows, shift)
    if not np.isfinite(total).all():
        return None
    mean = bias * total[:, -1] / n
    total = total[:, :-1] - n * np.outer(mean, mean)
    square, cross, height = total[:d, :d], total[:d, d:], np.diagonal(total)[d:]
    x_mean, y_mean = np.split(mean + shift, [d])

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
    return Moments(n, x_mean, y_mean, root, best, max(float(least), 0.0), passes)


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


def relations(model: Model, moments: Moments, names: Sequence[str] | None = None) -> list[str]:
    """A sentence for each direction that the rows leave undetermined: ``x3 − 2·x7 is constant``; names: of the inputs."""
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
    names = list(names or [f"x{i + 1}" for i in range(model.inputs)])
    what = "constant" if has_biases(model) else "0 in every row"
    said = []
    for each in left:
        columns = np.flatnonzero(each)
        shares = each[columns] / factor.scale[columns]
        said.append((columns[0], _relation([names[i] for i in columns], shares / shares[0], what)))
    return [sentence for _, sentence in sorted(said)]


_MOST_NAMED = 6


def _relation(names: Sequence[str], shares: np.ndarray, what: str) -> str:
    if len(names) > _MOST_NAMED:
        return f"a sum over {len(names)} columns ({', '.join(names[:_MOST_NAMED])}, …) is {what}"
    terms = [
        f"{'−' if share < 0 else '+'} {'' if f'{abs(share):.4g}' == '1' else f'{abs(share):.4g}·'}{name}"
        for name, share in zip(names, shares, strict=True)
    ]
    return f"{' '.join(terms).removeprefix('+ ')} is {what}"


def error_at(moments: Moments, weights: np.ndarray) -> np.ndarray:
    """E at weights (…, d + 1, k), or (…, d, k) without biases: (…)."""
    off, middle = moments._seen(moments._from_minimum(weights))
    error: np.ndarray = moments.least + 0.5 * ((off * off).sum((-2, -1)) + moments.rows * (middle * middle).sum(-1))
    return error


def _shift(rows: Rows) -> np.ndarray:
    """Numbers near the means of x and y (d + k,) to form products about; 0 where that gains nothing."""
    mean, spread = rows._middle()
    return np.where(np.abs(mean) > _SHIFT * spread, mean, 0.0)


def _piece(rows: Rows) -> tuple[int, int]:
    """Rows to a block that stays in the cache, and to a piece of work."""
    width = rows.inputs + rows.outputs + 1
    if isinstance(rows, OnDevice):
        size = max(_DEVICE_BYTES // (8 * width), 1)
        return size, size
    block = 1 << max(_BLOCK_BYTES // (8 * width), 256).bit_length() - 1
    return block, block * _BLOCKS_TO_A_PIECE


def _cut(size: int, rows: int) -> Iterator[slice]:
    for at in range(0, rows, size):
        yield slice(at, min(at + size, rows))


def _products(rows: Rows, shift: np.ndarray) -> np.ndarray:
    """Sums of the shifted rows, (d + k, d + k + 1): Σ s [x y]ᵀ [x y 1]."""
    known = rows._products()
    if known is not None:
        off = rows._spread.mean - shift
        return np.column_stack([known + rows.count * np.outer(off, off), rows.count * off])
    size, piece = _piece(rows)
    of = _products_on_device if isinstance(rows, OnDevice) else _products_of
    return rows._fold(functools.partial(of, shift, size), size=piece)


def _products_on_device(shift: np.ndarray, size: int, block: Block) -> np.ndarray:
    xp, s = namespace(block.x), block.s
    columns = widened(xp.concat([block.x, block.y], axis=1))
    columns = columns - put(shift, columns)
    right = xp.concat([columns, xp.ones_like(columns[:, :1])], axis=1)
    return to_numpy((columns if s is None else columns * s[:, None]).T @ right)


@np.errstate(over="ignore", invalid="ignore")
def _products_of(shift: np.ndarray, size: int, block: Block) -> np.ndarray:
    """The products of a piece, by blocks of ``size`` rows."""
    d, k = block.x.shape[1], block.y.shape[1]
    # To a multiple of four: BLAS is a quarter faster then.
    width = -(-(d + k + 1) // 4) * 4
    # Several blocks to a call of NumPy: it lets the other threads run only while it is inside one.
    held = np.zeros((_BLOCKS_TO_A_CALL, size, width))
    held[:, :, d + k] = 1.0
    flat = held.reshape(-1, width)
    total, parts = np.zeros((d + k, width)), np.empty((_BLOCKS_TO_A_CALL, d + k, width))
    # As wide and long as a block: NumPy runs through two whole arrays five times faster than row by row.
    shifts = np.tile(np.pad(shift, (0, width - d - k)), (len(flat), 1)) if shift.any() else None
    for at in _cut(len(flat), len(block.x)):
        here = flat[: at.stop - at.start]
        flat[len(here) :] = 0.0  # the last of a piece: what no row fills counts for nothing
        here[:, :d], here[:, d : d + k] = block.x[at], block.y[at]
        if shifts is not None:
            here -= shifts[: len(here)]
        if block.s is not None:
            here[:, d + k] = 1.0
            here *= np.sqrt(block.s[at], dtype=np.float64)[:, None]
        # A column wider on the right: of a matrix and its own transpose NumPy would make a call of syrk,
        # which takes twice as long as gemm where rows are this narrow.
        np.matmul(held[:, :, : d + k].transpose(0, 2, 1), held, out=parts)
        total += parts.sum(axis=0)
    return total[:, : d + k + 1]


def _residuals(rows: Rows, x_mean: np.ndarray, y_mean: np.ndarray, best: np.ndarray) -> np.ndarray:
    """With r = y − ȳ − (x − x̄) W*: Σ s (x − x̄) rᵀ, then Σ s r, then Σ s r², stacked as (d + 2, k)."""
    size, piece = _piece(rows)
    return rows._fold(functools.partial(_residuals_of, x_mean, y_mean, best, size), size=piece)


@np.errstate(over="ignore", invalid="ignore")
def _residuals_of(x_mean: np.ndarray, y_mean: np.ndarray, best: np.ndarray, size: int, block: Block) -> np.ndarray:
    total: Any = 0.0
    for at in _cut(size, block.x.shape[0]):
        xp, x, y = namespace(block.x), widened(block.x[at, :]), widened(block.y[at, :])
        x = x - put(x_mean, x)
        r = (y - put(y_mean, y)) - x @ put(best, x)
        weighed = r if block.s is None else r * block.s[at][:, None]
        total += to_numpy(
            xp.concat([x.T @ weighed, xp.sum(weighed, axis=0)[None, :], xp.sum(weighed * r, axis=0)[None, :]])
        )
    return np.asarray(total)
