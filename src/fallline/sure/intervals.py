"""How far the prediction of a network, or of the average of several starts, may be off: standard errors and intervals.

Every start says by itself what the rows know of its weights (``uncertainty.py``). Here they become one standard error of
their average, with a scale that is read off rows left out. Nothing here knows units, nor how an interval is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from fallline.error.sums import Block, residuals
from fallline.exceptions import SettingsError, TableError
from fallline.fit.average import Start
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.sure.uncertainty import (
    Inverse,
    check_coverage,
    inputs_of,
    leverage_at,
    or_one,
    students_quantile,
    uncertainty_of,
    undetermined_said,
)
from fallline.threads import one_blas_thread, side_by_side
from fallline.words import listed

# Beyond so many weights A = JᵀJ + … is not formed: a p × p matrix for each start would take longer than its descent.
_MOST_WEIGHTS = 1000
_ENOUGH = 10_000  # rows that stand for all of a longer table
_KEPT_BYTES = 3 << 20  # of the triangles of all starts together: they go into the model file
_TOP, _SPACED = 200, 800  # of the standardised residuals kept: the largest, and of the others evenly
# The starts may differ more than their average is off; the noise is then still a tenth of what it is without their spread.
_LEAST_NOISE = 0.1
_UNSEEN_AT_MOST = 0.5  # the largest share of its residual that a row hides, where leverages are a mean


class Member(NamedTuple):
    """One start that went into an average: its weights (p,) and each weight's own weight decay (p,), or one for all."""

    weights: np.ndarray
    strength: np.ndarray | float


@dataclass(frozen=True, eq=False)
class Intervals:
    """The standard error of ŷ(x), the average of K starts of one model with k outputs, in the units of the rows.

    Of a new row: std² = s² (1 + v) + spread. noise_variance (k,) is s²; v is the mean over starts of jᵀA⁻¹j: the starts
    learn from the same rows, so that averaging does not make it smaller; spread is the variance of ŷ between starts
    times ``spread_scale`` (k,).
    scores (q, k) and shares (q,): a share of the rows, left out, is off by at most so many of its own standard errors.
    typical (k,) is their mean. freedom: the rows less the directions they determine; of that many is the Student's t that is
    followed beyond the last score.
    weights (K, p). triangles (m, p, p), scale (m, p), undetermined (m, p, d): A⁻¹ of the first m starts,
    D⁻¹TᵀTD⁻¹ with D of ``scale``, and what their rows leave undetermined. m is 0 where the network is large; then v is
    ``mean_leverage`` (k,) everywhere.
    """

    model: Model
    weights: np.ndarray
    noise_variance: np.ndarray
    spread_scale: np.ndarray
    scores: np.ndarray
    shares: np.ndarray
    typical: np.ndarray
    freedom: float
    mean_leverage: np.ndarray
    triangles: np.ndarray
    scale: np.ndarray
    undetermined: np.ndarray

    @property
    def known_starts(self) -> int:
        """Of how many starts A⁻¹ is kept."""
        return len(self.triangles)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """ŷ (m, k), the average of the starts."""
        return self._predictions(x).mean(axis=0)

    def mean_std(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of ŷ itself at x (m, inputs): √(s² v + spread); ∞ where the rows do not determine it."""
        return np.sqrt(self._parts(x)[1])

    def std(self, x: np.ndarray) -> np.ndarray:
        """Standard error (m, k) of a new row at x (m, inputs), its noise included: √(s² (1 + v) + spread)."""
        return np.sqrt(self.noise_variance + self._parts(x)[1])

    def interval(self, x: np.ndarray, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends, (m, k) each, between which a new row at x is to be expected with probability ``coverage``."""
        predicted, variance = self._parts(x)
        away = self.reach(coverage) * np.sqrt(self.noise_variance + variance)
        return predicted - away, predicted + away

    def reach(self, coverage: float = 0.95) -> np.ndarray:
        """How many standard errors (k,) an interval goes to either side.

        So many as the ⌈coverage (n + 1)⌉-th of n rows, the nearest first, is off where left out; beyond the last row it grows
        as Student's t does. Raises SettingsError for a coverage outside (0, 1).
        Source: Barber, Candès, Ramdas & Tibshirani (2021), Annals of Statistics 49:486; Lei et al. (2018), JASA
        113:1094, sec. 5.2 (residuals in units of their own spread).
        """
        at = int(np.searchsorted(self.shares, check_coverage(coverage) * (1 - 1e-12)))
        if at < len(self.shares):
            return self.scores[at]
        last = students_quantile(self.freedom, float(self.shares[-1]))
        return self.scores[-1] * (students_quantile(self.freedom, coverage) / last)

    def further_off(self, rows: Rows) -> np.ndarray:
        """How many times further off (k,) rows that no fit has seen are than the rows left out were.

        Both in their own standard errors, the mean of their sizes: 1 where the intervals are as wide as these rows ask for.
        """

        def sizes(block: Block) -> np.ndarray:
            predicted, variance = self._parts(block.x)
            return np.abs(predicted - block.y) / np.sqrt(self.noise_variance + variance)

        typical = np.where(self.typical > 0, self.typical, 1.0)
        return np.asarray(np.average(rows.each(sizes), axis=0, weights=rows.counts) / typical)

    def widened(self, by: np.ndarray | float) -> Self:
        """The same with all standard errors ``by`` (k,) times as large. Raises SettingsError for what is no such factor."""
        by = np.broadcast_to(np.asarray(by, np.float64), self.noise_variance.shape)
        if not (np.isfinite(by).all() and (by > 0).all()):
            raise SettingsError(f"standard errors cannot be {by} times as large: give finite numbers above 0.")
        noise, spread = self.noise_variance * by**2, self.spread_scale * by**2
        return replace(self, noise_variance=noise, spread_scale=spread)

    def says(self, names: Sequence[str] | None = None) -> str:
        """In a sentence or two, what the intervals are made of, and which directions of the weights are undetermined."""
        parts = ["the noise", "the uncertainty of the weights"]
        if not self.known_starts:
            count = f"{self.model.n_weights:,} weights"
            parts[1] = f"the mean uncertainty of {count} (too many to know it row by row)"
        if len(self.weights) > 1:
            parts.append(f"the differences between the {len(self.weights)} networks averaged")
        said = f"Intervals include {listed(parts)}."
        for undetermined in self.undetermined:
            if undetermined.any():
                kept = undetermined[:, undetermined.any(axis=0)]
                return f"{said} {undetermined_said(self.model, kept, names)}"
        return said

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All but the model as float64 arrays by name, triangles packed row by row; for a model file."""
        kept = {name: getattr(self, name) for name in _ARRAYS}
        # Row by row: the indices of all elements would take sixteen times as much memory as the elements.
        rows = [self.triangles[:, at, at:] for at in range(self.triangles.shape[1])]
        return kept | {"freedom": np.array([self.freedom]), "triangles": np.concatenate(rows, axis=1)}

    @classmethod
    def from_arrays(cls, model: Model, arrays: Mapping[str, np.ndarray]) -> Self:
        """What ``to_arrays`` gave. Raises ValueError or KeyError where the arrays do not fit each other or the model."""
        p, k = model.n_weights, model.outputs
        given = {name: np.asarray(arrays[name]) for name in _ARRAYS}
        starts, m, q = len(given["weights"]), len(given["triangles"]), len(given["shares"])
        shapes = {
            "weights": (starts, p),
            "noise_variance": (k,),
            "spread_scale": (k,),
            "scores": (q, k),
            "shares": (q,),
            "typical": (k,),
            "freedom": (1,),
            "mean_leverage": (k,),
            "triangles": (m, p * (p + 1) // 2),
            "scale": (m, p),
            "undetermined": (m, p, *given["undetermined"].shape[2:3]),
        }
        whole = all(given[name].shape == shape for name, shape in shapes.items()) and 0 < starts >= m and q
        whole = whole and all(
            array.dtype == (np.float32 if name == "triangles" else np.float64) for name, array in given.items()
        )
        if not whole or not all(np.isfinite(each).all() for each in given.values()):
            raise ValueError("the intervals and the network do not fit each other")
        if (np.diff(given["shares"]) < 0).any() or (given["noise_variance"] < 0).any():
            raise ValueError("the intervals have shares that fall, or a noise below 0")
        triangles, start = np.zeros((m, p, p), np.float32), 0
        for at in range(p if m else 0):
            triangles[:, at, at:] = given["triangles"][:, start : start + p - at]
            start += p - at
        kept: dict[str, Any] = given | {"triangles": triangles, "freedom": float(given["freedom"][0])}
        return cls(model, **kept)

    def _predictions(self, x: np.ndarray) -> np.ndarray:
        """ŷ of each start, (K, m, k)."""
        x = inputs_of(self.model, x)
        return np.stack([np.asarray(self.model.predict(each, x)) for each in self.weights])

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ŷ (m, k), and the variance of ŷ."""
        each = self._predictions(x)
        leverage = np.zeros(each.shape[1:]) if self.known_starts else self.mean_leverage[None, :]
        for weights, triangle, scale, undetermined in zip(
            self.weights, self.triangles, self.scale, self.undetermined, strict=False
        ):
            inverse = Inverse(triangle.T / scale[:, None], undetermined, scale)
            leverage = leverage + leverage_at(self.model, weights, inverse, x) / self.known_starts
        return each.mean(axis=0), self.noise_variance * leverage + self.spread_scale * _variance(each)


_ARRAYS = tuple(field.name for field in fields(Intervals) if field.name != "model")


@one_blas_thread()
def intervals_of(
    model: Model,
    starts: Sequence[Member | Start],
    rows: GivenRows,
    n_jobs: int | None = None,
    error: np.ndarray | None = None,
) -> Intervals:
    """Intervals around the average of ``starts``, each at a minimum of E + ½ Σ strength w² on these ``rows``.

    The average of n rows' leave-one-out predictions gives residuals of rows that it has not seen: their mean square is
    that of the standard errors, and their distribution, in units of these, says how far an interval of any coverage reaches.
    They know nothing of what the choice of a minimum owes to a row: see ``Intervals.further_off`` and ``widened``. ``error``
    (n, k), residuals by single fits that have not seen the rows, takes their place where there are such, as much smaller as
    the average is nearer than its starts, leave-one-out.
    Of more than 10 000 rows as many stand for all. n_jobs: starts looked at side by side, None for one a processor.
    Raises ShapeError for what does not fit, TableError where the rows leave nothing to see the noise by.
    """
    rows = check_fit(model, rows)
    error = error if error is None else error[enough(len(rows))]
    rows = enough_rows(rows)
    if not starts:
        raise SettingsError("intervals need at least one start: give its weights and its weight decay.")
    p, s = model.n_weights, rows.counts
    kept = min(len(starts), max(_KEPT_BYTES // (2 * p * (p + 1)), 1))
    tasks = [partial(_known, model, start, rows, at < kept) for at, start in enumerate(starts)]
    known = side_by_side(tasks, n_jobs)
    left_out = np.stack([each.left_out for each in known])  # (K, n, k)
    inverses = [each.inverse for each in known if each.inverse is not None]
    leverage = np.mean([each.leverage for each in known[:kept]], axis=0)
    mean, spread = left_out.mean(axis=0), _variance(left_out)
    error = mean if error is None else error * _nearer(mean, left_out)
    judging = np.isfinite(error) & np.isfinite(leverage) & (s > 0)[:, None]
    if not judging.any(axis=0).all():
        raise TableError(
            f"{rows.count:g} rows leave nothing to see the noise of {p} weights by: give more rows, fewer weights or a "
            "weight decay."
        )
    weight = np.where(judging, s[:, None], 0.0)
    error, spread, leverage = (np.where(judging, each, 0.0) for each in (error, spread, leverage))

    def total(values: np.ndarray) -> np.ndarray:
        return np.sum(weight * values, axis=0)

    without = total(error**2) / total(1.0 + leverage)
    noise = np.maximum(total(error**2 - spread) / total(1.0 + leverage), _LEAST_NOISE * without)
    variance = noise * (1.0 + leverage) + spread
    scale = np.where(total(variance) > 0, total(error**2) / or_one(total(variance)), 1.0)
    score = np.abs(error) / or_one(np.sqrt(scale * variance))
    scores, shares = _quantiles(score, weight)
    determined = float(np.mean([each.effective_weights for each in known])) / model.outputs
    return Intervals(
        model=model,
        weights=np.stack([start.weights for start in starts]).astype(np.float64),
        noise_variance=scale * noise,
        spread_scale=scale,
        scores=scores,
        shares=shares,
        typical=total(score) / weight.sum(axis=0),
        freedom=max(rows.count - determined, 1.0),
        mean_leverage=total(leverage) / weight.sum(axis=0),
        triangles=_stacked([_triangle(each) for each in inverses], (p, p), np.float32),
        scale=_stacked([each.scale for each in inverses], (p,)),
        undetermined=_stacked([each.undetermined for each in inverses], (p, 0)),
    )


class _Known(NamedTuple):
    """What the rows say of one start: leave-one-out residuals and leverages of rows left out (n, k), γ, A⁻¹."""

    left_out: np.ndarray
    leverage: np.ndarray
    effective_weights: float
    inverse: Inverse | None


def _known(model: Model, start: Member | Start, rows: Rows, kept: bool) -> _Known:
    if model.n_weights <= _MOST_WEIGHTS:
        found = uncertainty_of(model, start.weights, rows, strength=start.strength)
        inverse = found.inverse if kept else None
        return _Known(found.leave_one_out, found.unseen_leverage, found.effective_weights, inverse)
    # As in generalised cross-validation every row has the mean leverage, here at most p/n.
    share = min(model.n_weights / (rows.count * model.outputs), _UNSEEN_AT_MOST)
    weights = np.asarray(start.weights, np.float64)
    residual = np.asarray(rows.each(lambda block: residuals(model, weights, block)), np.float64)
    leverage = np.full(residual.shape, share / (1 - share))
    return _Known(residual / (1 - share), leverage, share * rows.count * model.outputs, None)


def _triangle(inverse: Inverse) -> np.ndarray:
    """T (p, p) with A⁻¹ = D⁻¹TᵀTD⁻¹, D of the inverse's scale."""
    p, rank = inverse.root.shape
    triangle = np.zeros((p, p))
    triangle[:rank] = np.linalg.qr((inverse.scale[:, None] * inverse.root).T, mode="r")
    return triangle


def _stacked(arrays: Sequence[np.ndarray], shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """(m, *shape) of m arrays; the last axis is as long as the longest, the others filled with zeros."""
    width = max((each.shape[-1] for each in arrays), default=shape[-1])
    whole = np.zeros((len(arrays), *shape[:-1], width), dtype)
    for at, each in enumerate(arrays):
        whole[at, ..., : each.shape[-1]] = each
    return whole


def _variance(each: np.ndarray) -> np.ndarray:
    """The variance between starts (first axis), that of a sample; 0 of a single one."""
    return each.var(axis=0, ddof=1) if len(each) > 1 else np.zeros(each.shape[1:])


def _nearer(mean: np.ndarray, each: np.ndarray) -> np.ndarray:
    """How much smaller (k,) the residuals (n, k) of an average are than those of its starts, (K, n, k); at most as large."""
    seen = np.isfinite(mean)
    of_mean, of_each = (np.sum(np.where(seen, part, 0.0) ** 2, axis=-2) for part in (mean, each))
    typical = of_each.mean(axis=0)
    return np.sqrt(np.where(typical > 0, of_mean / or_one(typical), 1.0))


def enough(n: int) -> Any:
    """Which of n rows stand for all of them."""
    return slice(n) if n <= _ENOUGH else np.sort(np.random.default_rng(0).choice(n, _ENOUGH, replace=False))


def enough_rows(rows: Rows) -> Rows:
    """At most 10 000 of the rows, drawn at random: each then counts for all that it stands for."""
    if len(rows) <= _ENOUGH:
        return rows
    some = rows.taking(enough(len(rows)))
    return some.weighted(np.full(_ENOUGH, rows.count / some.count))


def _quantiles(scores: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of scores (n, k) with row weights (n, k): (q, k) in ascending order, and (q,) the share of rows up to each.

    With n + 1 rows below, as a new row may be the largest of all. The shares are those of the output with the fewest rows.
    """
    order = np.argsort(scores + np.where(weight > 0, 0.0, np.inf), axis=0, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=0)
    below = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0) / (weight.sum(axis=0) + 1.0)
    n = int((weight > 0).sum(axis=0).min())
    at = np.unique(np.concatenate([np.linspace(0, n - 1, _SPACED).round(), np.arange(n)[-_TOP:]]).astype(int))
    shares = below[at].min(axis=1)
    return np.maximum.accumulate(ordered[at], axis=0), shares
