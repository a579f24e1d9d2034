"""Minima and basins: where descents end, which of these ends are the same minimum, and which starts lead there."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import weight_decay
from fallline.error.sums import Request
from fallline.exceptions import SettingsError, ShapeError
from fallline.landscape.evaluate import changes_without, errors_at, predict_alike
from fallline.landscape.hessian import LARGEST, Curvature, without_effect
from fallline.landscape.planes import Plane
from fallline.landscape.surface import checked_extent, grid_of
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread
from fallline.walk.starts import Ends, descend_from
from fallline.words import counted, written

_FOLLOW_STEPS = 300  # by which an end is followed on to its minimum
_FOLLOW_TOL = 1e-10  # or until the error falls by less, relatively, over ten of them
_FOLLOW_DAMPING = 10.0  # the damping it begins with
_SAME_WEIGHTS = 1e-2  # ends this near to each other, relative to their size, are followed on as one
_COARSE = 0.3  # of ends this near to each other one at least is followed on
_ON_THE_WAY = np.linspace(0.0, 1.0, 17)  # where the error is looked at between an end and a minimum
_RISE = 1e-9  # of what the rows vary: a rise that is none
_SAME_ERROR = 1e-5  # relative to what the rows vary
_LONGEST_NEWTON = 1e-3  # of the weights: the longest Newton step at a minimum
_FLAT_GAIN = 1e-6  # of the error: what a walk along a flat direction, as long as the weights are, may gain
_OTHER_ERROR = 1e-3  # of the error: what makes it another one
_ARRIVED_ABOVE = 1e-3  # of the error of the mean
_SCOUT_STARTS = 256


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of the error, E or, with weight decay, the penalised error.

    ``weights`` (p,); ``error`` E and ``penalised_error`` there, what was descended; ``gradient_norm`` of the latter.
    ``eigenvalues`` (p,) of its Hessian, largest first, None above 2 000 weights; ``flat`` of them are 0 to rounding.
    ``count``: how many starts ended there.
    """

    weights: np.ndarray
    error: float
    penalised_error: float
    gradient_norm: float
    eigenvalues: np.ndarray | None
    flat: int
    count: int

    def __str__(self) -> str:
        error = f"E = {written(self.error, 6)}"
        if self.penalised_error != self.error:
            error = f"penalised error {written(self.penalised_error, 6)} ({error})"
        curves = flat = ""
        if self.eigenvalues is not None:
            least = 0.0 if self.flat else self.eigenvalues[-1]
            curves = f", curvature {written(least, 3)} to {written(self.eigenvalues[0], 3)}"
        if self.flat:
            flat = f"; {without_effect(self.flat, len(self.weights))}"
        return f"{error}{curves}, reached by {counted(self.count, 'start')}{flat}"


@dataclass(frozen=True, eq=False)
class Minima:
    """The distinct minima that m starts ended in, the lowest first.

    ``index`` (m,): which of ``minima`` each start ended in, −1 for none: it stopped at a saddle or on a plateau, diverged,
    or runs away, the error falling for ever as its weights grow. ``arrived`` (m,): whether the walk itself came so
    near that its error is the minimum's but for a thousandth of the error of the mean; otherwise its last point was followed
    on to see which minimum it belongs to. ``ends`` is where each walk stopped. ``beside`` (k,): which of ``minima`` each
    of the weights given beside the starts belongs to, −1 for none; ``beside_error`` (k,) is the penalised error there.
    """

    minima: tuple[Minimum, ...]
    index: np.ndarray
    arrived: np.ndarray
    ends: Ends
    beside: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    beside_error: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __str__(self) -> str:
        minima = counted(len(self.minima), "distinct minimum", "distinct minima")
        lines = [f"{minima} from {counted(len(self.index), 'start')}:"]
        lines += [f"  {number}. {minimum}" for number, minimum in enumerate(self.minima, start=1)]
        if lost := int((self.index < 0).sum()):
            start = counted(lost, "start")
            lines.append(f"  {start} reached none: a saddle, a plateau, or weights that grow for ever.")
        return "\n".join(lines)


def find_minima(
    model: Model,
    rows: GivenRows,
    descent: Any = "auto",
    *,
    starts: Any = 100,
    seed: int = 0,
    spread: float = 1.0,
    max_iter: int = 1000,
    tol: float = 0.0,
    alpha: Any = 0.0,
    beside: Any = None,
) -> Minima:
    """Go down from many starts, and say which distinct minima they end in.

    starts: their number, drawn by ``model.initial`` from ``seed`` on and multiplied by ``spread``, or an array (m,
    n_weights). Each walks as in ``descend_from``, side by side; its end is followed on by Levenberg–Marquardt (L-BFGS
    above 2 000 weights) until it rests. Two ends are one minimum when their errors and their predictions on the rows
    agree: hidden units in another order, or with both signs turned, are no other minimum. beside: weights (k, n_weights),
    such as those of a fit, to find their place among the minima; they do not walk and are not counted, their own minima
    are among those found. Raises SettingsError, ShapeError or TableError, in a sentence.
    """
    rows = check_fit(model, rows)
    if np.ndim(starts) == 0:
        if isinstance(starts, bool) or int(starts) != starts or starts < 1:
            raise SettingsError(
                f"starts={starts!r} is not possible: give a number from 1 up, or an array (starts, n_weights)."
            )
        starts = spread * np.stack([model.initial(seed + i) for i in range(int(starts))])
    ends = descend_from(model, rows, descent, starts=starts, max_iter=max_iter, tol=tol, alpha=alpha)
    placed = [] if beside is None else [_standing(model, rows, beside, alpha)]
    minima, index, arrived = _told_apart(model, rows, [ends, *placed], alpha, every=True)
    minima = _counted(minima, index[0])  # those given beside are no starts
    found = Minima(minima, index[0], arrived[0], ends)
    return replace(found, beside=index[1], beside_error=placed[0].penalised_error) if placed else found


def _standing(model: Model, rows: Rows, weights: Any, alpha: Any) -> Ends:
    """Weights (k, n_weights), or one of them, as the ends of walks without a step."""
    weights = np.atleast_2d(np.asarray(weights, np.float64))
    if weights.shape[1:] != (model.n_weights,) or not np.isfinite(weights).all():
        raise ShapeError(
            f"the weights to place beside the starts have shape {weights.shape}: give {model.n_weights} finite numbers for each."
        )
    strength = np.asarray(weight_decay(model, alpha).strength)
    error = errors_at(model, rows, weights)
    none = np.zeros(len(weights), np.int64)
    return Ends(weights, weights, error, error + 0.5 * weights**2 @ strength, none, none, none, 0.0)


@dataclass(frozen=True, eq=False)
class Basins:
    """Which minimum each start of a grid ends in, for one descent or several.

    ``first`` (a,) and ``second`` (b,) are the starts' coordinates on ``plane``. By the name of each descent, (b, a):
    ``index`` into ``minima``, −1 for none; ``arrived``, see ``Minima``; ``error``, the lowest that the walk itself came to, what
    was descended. ``minima`` are those of all descents together, the lowest first; their counts are of all starts.
    """

    plane: Plane
    first: np.ndarray
    second: np.ndarray
    minima: tuple[Minimum, ...]
    index: dict[str, np.ndarray]
    arrived: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    max_iter: int
    seconds: float

    def counts(self, name: str) -> np.ndarray:
        """How many starts of that descent end in each of the minima: (minima,)."""
        index = self.index[name]
        return np.bincount(index[index >= 0], minlength=len(self.minima))

    def saved(self, by: str, than: str) -> np.ndarray:
        """(b, a): 1 where the descent ``by`` ends in a lower minimum ``than`` the other, −1 in a higher one, 0 in the same.

        No minimum at all counts as the highest.
        """
        mine, other = (np.where(i < 0, len(self.minima), i) for i in (self.index[by], self.index[than]))
        return np.sign(other - mine).astype(int)

    def comparison(self, by: str, than: str) -> str:
        """Whom one descent saves and whom not, in a sentence."""
        saved, caught = self.saved(by, than), int((self.index[than] != 0).sum())
        helped, harmed = int((saved > 0).sum()), int((saved < 0).sum())
        return (
            f"Of {counted(saved.size, 'start')}, {caught:,} end above the lowest minimum with {than}; with {by}, {helped:,} end "
            f"in a lower minimum than with {than} and {harmed:,} in a higher one."
        )


def find_basins(
    model: Model,
    rows: GivenRows,
    descents: Mapping[str, Any] | Any,
    plane: Plane | Sequence[int | str] = (0, 1),
    *,
    at: Any = None,
    extent: Sequence[float] | None = None,
    points: int | tuple[int, int] = 101,
    max_iter: int = 500,
    alpha: Any = 0.0,
) -> Basins:
    """Start from every point of a grid, by one descent or several, and say which minimum each start ends in.

    descents: by name, {"plain": GradientDescent(0.5), "momentum": …}, or one. plane: a ``Plane``, or two weights by name
    or number, the others as they are ``at`` (n_weights,), 0 by default. extent: (first low, first high, second low,
    second high); without it, what shows the minima that 256 random starts find. Each start takes ``max_iter`` steps. Raises
    SettingsError, ShapeError or TableError, in a sentence.
    """
    began = time.perf_counter()
    rows = check_fit(model, rows)
    named = dict(descents) if isinstance(descents, Mapping) else {"descent": descents}
    if not named:
        raise SettingsError("basins belong to a descent: give at least one, such as {'plain': GradientDescent(0.5)}.")
    plane = plane if isinstance(plane, Plane) else Plane.of_weights(model, tuple(plane), at)
    grid = grid_of(points)
    box = _around_minima(model, rows, plane, alpha) if extent is None else checked_extent(extent)
    first, second = (np.linspace(box[k, 0], box[k, 1], grid[k]) for k in (0, 1))
    starts = plane.at(np.stack(np.meshgrid(first, second), axis=-1)).reshape(-1, model.n_weights)
    walk = functools.partial(descend_from, model, rows, starts=starts, max_iter=max_iter, alpha=alpha)
    ends = [walk(descent) for descent in named.values()]
    minima, index, arrived = _told_apart(model, rows, ends, alpha, every=False)
    shape = len(second), len(first)

    def by_name(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {name: each.reshape(shape) for name, each in zip(named, values, strict=True)}

    return Basins(
        plane, first, second, minima, by_name(index), by_name(arrived),
        by_name([each.penalised_error for each in ends]), max_iter, time.perf_counter() - began,
    )  # fmt: skip


def _around_minima(model: Model, rows: Rows, plane: Plane, alpha: Any) -> np.ndarray:
    """The extent that shows the minima near the plane, the origin, and as much again around them."""
    starts = plane.at(np.random.default_rng(0).normal(scale=5.0, size=(_SCOUT_STARTS, 2)))
    minima = find_minima(model, rows, LevenbergMarquardt(), starts=starts, alpha=alpha).minima
    points = np.array([np.zeros(2), *(plane.coordinates(each.weights) for each in minima)])
    low, high = points.min(axis=0), points.max(axis=0)
    half = np.maximum((high - low) / 2, 0.2 * float((high - low).max()))
    half = 1.6 * np.where(half > 0, half, 3.0)
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)


def _told_apart(
    model: Model, rows: Rows, ends: Sequence[Ends], alpha: Any, *, every: bool
) -> tuple[tuple[Minimum, ...], list[np.ndarray], list[np.ndarray]]:
    """The distinct minima of several sets of ends, which one each end belongs to, and whether it came there by itself.

    every: all ends are followed on to their minimum. Else only some, those of a grid having many neighbours: the others belong
    to the minimum to which they can go straight downhill, where there is one and no other.
    """
    strength = np.asarray(weight_decay(model, alpha).strength)
    weights = np.concatenate([each.weights for each in ends])
    own = np.concatenate([each.penalised_error for each in ends])
    # Ends that are as good as one are followed on as one.
    size = max(float(np.median(np.abs(weights))), 1e-3)
    _, first, inverse = np.unique(
        np.round(weights / (_SAME_WEIGHTS * size)), axis=0, return_index=True, return_inverse=True
    )
    inverse = inverse.reshape(-1)
    distinct, wide = weights[first], rows.wide()
    whole = wide.error_of_mean
    some = np.arange(len(distinct))
    if not every:
        _, some = np.unique(np.round(distinct / (_COARSE * size)), axis=0, return_index=True)
    rest = _followed(model, rows, distinct[some], alpha)
    found, belongs = _distinct(model, wide, rest, strength, whole)
    others = np.setdiff1d(np.arange(len(distinct)), some)
    ways = [_downhill(model, rows, distinct[others], each.weights, strength, whole) for each in found]
    straight = np.sum(ways, axis=0) == 1 if found else np.zeros(len(others), bool)
    alike = np.arange(len(found))
    if not straight.all():
        left, of_each = others[~straight], [int(np.argmax(belongs == k)) for k in range(len(found))]
        rest = _joined(rest, _followed(model, rows, distinct[left], alpha))
        found, belongs = _distinct(model, wide, rest, strength, whole)
        some = np.concatenate([some, left])
        alike = belongs[of_each]  # the minima found before, as they are numbered now
    whither = np.full(len(distinct), -1)
    whither[some] = belongs
    if straight.any():
        whither[others[straight]] = alike[np.argmax(ways, axis=0)[straight]]
    index = whither[inverse]
    minima = _counted(found, index)
    lowest = np.array([minimum.penalised_error for minimum in minima] + [-np.inf])[index]
    arrived = (index >= 0) & (own <= lowest + _ARRIVED_ABOVE * whole)
    cuts = np.cumsum([len(each.error) for each in ends])[:-1]
    return minima, np.split(index, cuts), np.split(arrived, cuts)


def _followed(model: Model, rows: Rows, weights: np.ndarray, alpha: Any) -> Ends:
    """Where ends lead, by short steps at first: a long one could leave the basin."""
    follow: Any = LBFGS()
    if model.n_weights <= LARGEST:
        follow = LevenbergMarquardt(damping=_FOLLOW_DAMPING, scaling="columns")
    return descend_from(
        model, rows, follow, starts=weights, max_iter=_FOLLOW_STEPS, tol=_FOLLOW_TOL, alpha=alpha,
    )  # fmt: skip


def _distinct(
    model: Model, rows: Rows, rest: Ends, strength: np.ndarray, whole: float
) -> tuple[list[Minimum], np.ndarray]:
    """The distinct minima among ends, the lowest first, and which of them each end is, −1 where none."""
    order = np.argsort(rest.penalised_error, kind="stable")
    error = rest.penalised_error[order]
    belongs = np.full(len(order), -1)
    seen = np.zeros(len(order), bool)
    found: list[Minimum] = []
    for at in range(len(order)):
        if seen[at] or not np.isfinite(error[at]):
            continue
        near = error <= error[at] + _SAME_ERROR * max(error[at], 1e-3 * whole)
        same = np.flatnonzero(near & ~seen)
        same = same[predict_alike(model, rows, rest.weights[order[at]], rest.weights[order[same]])]
        seen[same] = True
        minimum = _minimum(model, rows, rest, int(order[at]), strength, whole)
        if minimum is not None:
            belongs[order[same]] = len(found)
            found.append(minimum)
    return found, belongs


def _downhill(
    model: Model, rows: Rows, ends: np.ndarray, minimum: np.ndarray, strength: np.ndarray, whole: float
) -> np.ndarray:
    """Whether the penalised error falls all the way on the straight line from each end (m, p) to a minimum: (m,) bool."""
    points = np.stack([_ON_THE_WAY, np.zeros(len(_ON_THE_WAY))], axis=1)

    def falls(end: np.ndarray) -> bool:
        corners = np.stack([end, minimum - end, 0.0 * end])
        errors = rows.total(Request("plane", corners, points), model).error
        errors = errors + 0.5 * (end + _ON_THE_WAY[:, None] * (minimum - end)) ** 2 @ strength
        return bool((np.diff(errors) <= _RISE * whole).all())

    with one_blas_thread(), np.errstate(all="ignore"):
        return np.array([falls(end) for end in ends], bool)


def _joined(first: Ends, second: Ends) -> Ends:
    """The ends of two sets of starts as one."""
    both = {
        each.name: np.concatenate([getattr(first, each.name), getattr(second, each.name)])
        for each in fields(Ends)
        if each.name != "seconds"
    }
    return Ends(**both, seconds=first.seconds + second.seconds)


def _counted(minima: Sequence[Minimum], index: np.ndarray) -> tuple[Minimum, ...]:
    """The minima, each with how many starts ended there, by the minimum of each start or −1."""
    counts = np.bincount(index[index >= 0], minlength=len(minima)).tolist()
    return tuple(replace(minimum, count=count) for minimum, count in zip(minima, counts, strict=True))


def _minimum(model: Model, rows: Rows, rest: Ends, at: int, strength: np.ndarray, whole: float) -> Minimum | None:
    """The minimum at one end, or None where it is none: a saddle, a plateau, or a point on the way to infinity."""
    weights = rest.weights[at]
    if model.n_weights > LARGEST:
        return Minimum(weights, float(rest.error[at]), float(rest.penalised_error[at]), np.nan, None, 0, 0)
    # The second time after a Newton step: a descent stops where E no longer tells, far from rounding in w.
    for _ in range(2):
        bend = Curvature.at(model, rows, weights, strength)
        if bend.size == 0.0 or bend.down.any():
            return None
        bent, slopes, long = ~bend.flat, bend.slopes, 1.0 + float(np.linalg.norm(weights))
        newton = slopes[bent] / bend.eigenvalues[bent]
        if float(np.linalg.norm(newton)) > _LONGEST_NEWTON * long:
            return None
        if float(np.abs(slopes[~bent]).max(initial=0.0)) * long > _FLAT_GAIN * max(bend.error, 1e-3 * whole):
            return None  # a valley whose floor still falls
        nearest, weights = weights, weights - newton @ bend.eigenvectors[bent]
    weights = nearest
    if (np.abs(changes_without(model, rows, weights, bend.unfelt, strength)) > _OTHER_ERROR).any():
        return None  # a plateau
    norm, error = float(np.linalg.norm(bend.gradient)), bend.error - 0.5 * float(weights**2 @ strength)
    return Minimum(weights, error, bend.error, norm, bend.eigenvalues, int(bend.flat.sum()), 0)
