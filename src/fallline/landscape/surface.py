"""The error surface: E over a plane of weights, the ways that were walked there, its lowest points.

Every number is exact: E is summed over all rows at every point of the grid, and where a path does not lie in the
plane, what the plane misses of it is said. How a surface is drawn is not known here.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent.penalty import weight_decay
from fallline.exceptions import FalllineError, SettingsError, ShapeError
from fallline.landscape.evaluate import Errors, errors_at, errors_on
from fallline.landscape.planes import Plane, alike, names_of
from fallline.markup import ground, shown
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.walk.path import Recorded
from fallline.words import written

_MARGIN = 0.15  # of the map, on each side of what it must show
_NO_STRIP, _NEARLY_SQUARE = 0.3, 0.75  # shorter side to longer
_WINDOW_POINTS = 15  # points along a side of the window in which a lowest point is looked for
_MOST_WINDOWS = 40
_MOST_LOCAL = 64  # so many local minima are looked at, the lowest of the grid
_TRACK_POINTS = 2000  # of a path on a plane: no picture shows more
_SAME_ROWS = 1e-6


@dataclass(frozen=True, eq=False)
class Track:
    """A path laid on a plane: k points, each the point of the plane nearest to the weights of a step.

    ``steps`` (k,); ``coordinates`` (k, 2); ``error`` (k,) what was recorded there, E or the penalised error as the
    surface shows; ``plane_error`` (k,) the same at the points of the plane; ``away`` (k,) the distance from the plane, in
    units of the weights. ``share`` is the share of the way that lies in the plane (``Plane.share``). A long path is
    thinned to 2 000 points, the first, the last and the best among them; ``best`` is the index of the best.
    """

    name: str
    steps: np.ndarray
    coordinates: np.ndarray
    error: np.ndarray
    plane_error: np.ndarray
    away: np.ndarray
    share: float
    best: int
    same_rows: bool

    @property
    def in_plane(self) -> bool:
        """Whether the plane contains the whole way."""
        return bool(self.share > 1 - 1e-12)

    @property
    def fidelity(self) -> str:
        """How true the map is to this way, in one sentence: the share it holds, and its error beside the true one."""
        who = f"the way of {self.name}" if self.name else "the way"
        if not self.same_rows:
            return f"The rows of this map are not those of {who}: the errors recorded on it are others."
        if self.in_plane:
            return f"The plane contains {who}: the error drawn under it is its own."
        start, best = (_ratio(self.plane_error[at], self.error[at]) for at in (0, self.best))
        return (
            f"The plane holds {100 * self.share:.3g} % of {who}; the error drawn under it is the plane's: {start} at its start "
            f"and {best} at its best point."
        )


def _ratio(drawn: float, true: float) -> str:
    if not (np.isfinite(drawn) and np.isfinite(true) and true > 0):
        return "not comparable with the true error"
    factor = drawn / true
    return "the true error" if abs(factor - 1) < 5e-4 else f"{factor:.3g} times the true error"


@dataclass(frozen=True, eq=False)
class Lowest:
    """A lowest point of the surface, in the plane: its coordinates (2,), and the error there, E or penalised."""

    coordinates: np.ndarray
    error: float


@dataclass(frozen=True, eq=False)
class Surface:
    """E over a plane of weights, on a grid.

    ``first`` (a,) and ``second`` (b,) are the coordinates of the grid along the two directions of ``plane``, ``error``
    (b, a) the error there, infinite where it is not a finite number. ``penalised`` says which: E, or the penalised error
    E + ½ Σ strength_i w_i². E is a sum over ``n_rows`` rows. ``tracks`` are the paths laid on it. ``minimum`` is the lowest
    point of the plane that lies on the map, found between the grid points, too; None where the error goes on falling
    towards an edge of the map. ``local_minima`` are the others, in which a descent on this plane can be caught.
    """

    plane: Plane
    first: np.ndarray
    second: np.ndarray
    error: np.ndarray
    penalised: bool
    n_rows: float
    tracks: tuple[Track, ...] = ()
    minimum: Lowest | None = None
    local_minima: tuple[Lowest, ...] = ()

    @property
    def what(self) -> str:
        """Which error is shown: "error E" or "penalised error E + ½ Σ strength · w²"."""
        return "penalised error" if self.penalised else "error E"

    @property
    def lowest(self) -> float:
        """The smallest error on the map."""
        least = float(self.error.min())
        return least if self.minimum is None else min(least, self.minimum.error)

    @property
    def fidelity(self) -> str:
        """How true the map is to the ways on it, a sentence for each that differs; "" without any."""
        if len(self.tracks) > 1 and all(track.in_plane and track.same_rows for track in self.tracks):
            return "The plane contains every way: the error drawn is their own."
        return " ".join(track.fidelity for track in self.tracks)

    def _repr_html_(self) -> str:
        """The map, darker where the error is larger, and its lowest points."""
        extent = (*self.first[[0, -1]].tolist(), *self.second[[0, -1]].tolist())
        dots = [(each.coordinates, True) for each in self.local_minima]
        dots += [] if self.minimum is None else [(self.minimum.coordinates, False)]
        ways = [track.coordinates for track in self.tracks]
        levels = self.levels(12)
        said = f"{self.what}, {written(self.lowest)} to {written(float(levels[-1]))}, darker where it is larger"
        facts = {
            "across": self.plane.labels[0],
            "up": self.plane.labels[1],
            "minimum": "none on this map" if self.minimum is None else written(self.minimum.error),
            "other minima": len(self.local_minima) or "",
            "rows": f"{self.n_rows:,.0f}",
            "ways": self.fidelity,
        }
        return shown("The error over a plane of weights", facts, ground(self.error, levels, ways, dots, extent, said))

    def levels(self, count: int = 14) -> np.ndarray:
        """At most count + 1 errors, ascending, to draw contours at: the floor of the valley and the slopes can both be read.

        Where the error spans more than a decade over the map, the levels are evenly spaced in the logarithm of the height
        above its lowest point; otherwise in the error. The first is the lowest error of all, the last the largest finite one.
        """
        finite = self.error[np.isfinite(self.error)]
        if not finite.size:
            raise FalllineError("the error is not finite anywhere on this map: choose a smaller extent.")
        low, high = self.lowest, float(finite.max())
        if not high > low:
            return low + max(abs(low), 1.0) * np.linspace(-1e-9, 1e-9, count + 1)
        top, heights = high - low, np.sort(finite - low)
        heights = heights[heights > 0]
        # Of the map four thousandths may lie below the first line: that is the floor of the valley.
        floor = max(float(heights[int(0.004 * len(heights))]), 1e-9 * top)
        steps = np.concatenate([[0.0], np.geomspace(floor, top, count)])
        levels = low + (top * np.linspace(0, 1, count + 1) if high <= 10 * low else steps)
        levels[-1] = high
        return np.unique(levels)  # two may be one number where the error hardly varies


def error_surface(
    of: Any,
    rows: GivenRows,
    plane: Plane | str | Sequence[int | str] = "auto",
    *,
    at: Any = None,
    extent: Sequence[float] | None = None,
    points: int | tuple[int, int] = 101,
    penalised: bool | None = None,
    alpha: Any = 0.0,
    seed: int = 0,
) -> Surface:
    """The error over a plane of weights, with the paths that were walked, around their start, way and minimum.

    of: a path of ``descend``, of an estimator or a model file; several of them by name, {"plain": path, …}, or in a list; or
    a model, with the weights ``at`` (n_weights,) to look around. rows: ``InMemory``, or (x, y), those that were descended:
    of an estimator, in its scaled units. plane: a ``Plane``; two weights by name or number; "path", the principal
    components of the (first) path; "random", two random directions scaled neuron by neuron; "curvature", the stiffest and
    the softest eigenvector of the Hessian; "auto" is the two weights of a model that has two, else the path, else
    random. It goes through ``at`` or the best weights of the first path.

    extent: (first low, first high, second low, second high) in coordinates of the plane; without it, what shows the paths
    and the minimum. points: of the grid along each direction, or along (first, second). penalised: whether the
    penalised error is shown; by default what was descended. alpha: the weight decay where no path says it.

    Raises SettingsError, ShapeError or TableError, in a sentence, for what does not fit.
    """
    model, paths = _model_and_paths(of)
    rows = check_fit(model, rows)
    grid = grid_of(points)
    strength = _strength(model, paths, penalised, alpha)
    first_path = next(iter(paths.values()), None)
    at = _centre(model, first_path, at)
    plane = _plane(model, rows, plane, at, first_path, strength, seed)
    errors = functools.partial(errors_on, model, rows, plane, strength=strength)
    laid = {name: _thinned(path) for name, path in paths.items()}
    shown = [plane.coordinates(weights) for _, weights, _ in laid.values()]
    if extent is None:
        apart = plane.kind == "weights" and not alike(model)
        box, inside = _box(errors, plane, at, np.concatenate(shown) if shown else None, apart)
    else:
        box, inside = checked_extent(extent), None
    first, second = (np.linspace(box[k, 0], box[k, 1], grid[k]) for k in (0, 1))
    error = errors(np.stack(np.meshgrid(first, second), axis=-1))
    minimum, local = _lowest_points(errors, first, second, error, inside)
    rounding = rows.error_of_zero * float(np.finfo(rows.dtype).eps)

    def track(name: str) -> Track:
        (steps, weights, best), path = laid[name], paths[name]
        # By mini-batches weights are kept between the points at which E was summed.
        where = np.searchsorted(path.steps, steps).clip(0, len(path.steps) - 1)
        told = np.where(path.steps[where] == steps, path.error[where], np.nan)
        if strength is not None:  # under the last one, where it was found on the way
            told = told + 0.5 * (weights**2 @ strength)
        there, again = plane.coordinates(weights), float(errors_at(model, rows, weights[best], strength)[0])
        off = abs(again - told[best]) > _SAME_ROWS * abs(again) + rounding
        same = not (np.isfinite(told[best]) and off)
        away, share = plane.distance(weights), plane.share(weights)
        return Track(name, steps, there, told, errors(there), away, share, best, same)

    tracks = tuple(map(track, laid))
    penalised = strength is not None
    return Surface(plane, first, second, error, penalised, rows.count, tracks, minimum, local)


def _model_and_paths(of: Any) -> tuple[Model, dict[str, Recorded]]:
    """The model of a surface, and the paths to lay on it by name."""
    if isinstance(of, Recorded):
        return of.model, {"": of}
    if isinstance(of, (Mapping, list, tuple)) and not hasattr(of, "predict"):
        paths = dict(of) if isinstance(of, Mapping) else {f"path {i + 1}": path for i, path in enumerate(of)}
        if not paths or not all(isinstance(path, Recorded) for path in paths.values()):
            raise SettingsError("a surface is drawn of paths, and these are none: give what descend returned.")
        models = [path.model for path in paths.values()]
        if any(model != models[0] for model in models):
            raise SettingsError(
                "the paths are of different models, and one surface cannot show them: draw each by itself."
            )
        return models[0], paths
    if hasattr(of, "predict") and hasattr(of, "n_weights"):
        return of, {}
    raise SettingsError(
        f"a surface cannot be made of {type(of).__name__}: give a path, several by name, or a model with at=weights."
    )


def _strength(model: Model, paths: Mapping[str, Recorded], penalised: bool | None, alpha: Any) -> np.ndarray | None:
    """The penalty that belongs to what is shown, None for E alone."""
    if penalised is False:
        return None
    given = [np.asarray(path.strength, np.float64) for path in paths.values()]
    if not given:
        given = [np.asarray(weight_decay(model, alpha).strength)]
    if any(not np.allclose(each, given[0], rtol=1e-6, atol=0) for each in given):
        raise SettingsError(
            "the paths went down different penalised errors, and one surface cannot show them: pass penalised=False to show "
            "the error E under all of them."
        )
    return given[0] if given[0].any() else None


def _centre(model: Model, path: Any, at: Any) -> np.ndarray | None:
    """The weights to look around: those given, or the best of a path."""
    if at is None and path is None:
        return None
    at = np.asarray(path.best_weights if at is None else at, np.float64)
    if at.shape != (model.n_weights,):
        raise ShapeError(f"at has shape {at.shape}; expected one number for each of {model.n_weights} weights.")
    if not np.isfinite(at).all():
        raise SettingsError("at contains NaN or infinity: give finite weights to look around.")
    return at


def _plane(model: Model, rows: Rows, plane: Any, at: Any, path: Any, strength: Any, seed: int) -> Plane:
    """The plane asked for."""
    if isinstance(plane, Plane):
        if plane.n_weights != model.n_weights:
            raise ShapeError(
                f"the plane lies in the space of {plane.n_weights} weights, but the model has {model.n_weights}."
            )
        return plane
    names = names_of(model) if path is None else path.weight_names
    if isinstance(plane, str) and plane == "auto":
        plane = (0, 1) if model.n_weights == 2 else "random" if path is None else "path"
    if not isinstance(plane, str):
        return Plane.of_weights(model, tuple(plane), at, names)
    if plane not in ("path", "random", "curvature"):
        raise SettingsError(
            f"plane={plane!r} is not known: choose 'auto', 'path', 'random', 'curvature', two weights such as "
            f"{tuple(names[:2])}, or a Plane."
        )
    if plane == "path":
        if path is None:
            raise SettingsError("plane='path' needs a path: give what descend returned.")
        return Plane.of_path(np.concatenate([np.asarray(path.weights, np.float64), [path.best_weights]]))
    if at is None:
        raise SettingsError(f"plane={plane!r} needs weights to look around: give at=weights.")
    if plane == "random":
        return Plane.at_random(model, at, seed)
    return Plane.of_curvature(model, rows, at, strength, seed)


def _thinned(path: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Steps (k,), weights (k, p) and the index of the best of a path, thinned where it is long."""
    steps, weights = np.asarray(path.weight_steps), np.asarray(path.weights, np.float64)
    if not len(steps):
        raise SettingsError("the path has no weights, they were too many to keep: give at=weights.")
    best = int(np.argmin(np.abs(steps - path.best_step)))
    at = np.arange(len(steps))
    if len(at) > _TRACK_POINTS:
        # Densely at first, where steps are long: half evenly in the number of the step, half in the way gone.
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(weights, axis=0), axis=1))])
        by_way = np.searchsorted(length, np.linspace(0, length[-1], _TRACK_POINTS // 2)).clip(0, len(at) - 1)
        evenly = np.linspace(0, len(at) - 1, _TRACK_POINTS // 2 - 2).astype(int)
        at = np.unique(np.concatenate([by_way, evenly, [0, best, len(at) - 1]]))
    return steps[at], weights[at], int(np.searchsorted(at, best))


def checked_extent(extent: Sequence[float]) -> np.ndarray:
    """(2, 2): low and high along each direction. Raises SettingsError where they are none."""
    box = np.asarray(extent, np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or not (box[0] < box[1] and box[2] < box[3]):
        raise SettingsError(
            f"extent={extent!r} is not possible: give (first low, first high, second low, second high), each low below its high."
        )
    return box.reshape(2, 2)


def grid_of(points: Any) -> tuple[int, int]:
    """Points of a grid along each direction. Raises SettingsError where they are no two numbers from 2 up."""
    grid = (points, points) if np.ndim(points) == 0 else tuple(points)
    if len(grid) != 2 or any(isinstance(n, (bool, str)) or int(n) != n or n < 2 for n in grid):
        raise SettingsError(
            f"points={points!r} is not possible: give a whole number from 2 up, or one for each direction."
        )
    return int(grid[0]), int(grid[1])


def _box(
    errors: Errors, plane: Plane, at: np.ndarray | None, shown: np.ndarray | None, apart: bool
) -> tuple[np.ndarray, Lowest | None]:
    """The extent that shows the paths and the lowest point of the plane near them, and that point.

    ``apart``: whether the two directions have units of their own, so that neither says how far to go along the other.
    """
    centre = plane.coordinates(at) if at is not None else np.zeros(2)
    must = np.atleast_2d(centre) if shown is None else shown[np.isfinite(shown).all(axis=1)]
    if plane.kind == "minima":
        must = np.concatenate([must, plane.coordinates(plane.at(np.array([[0.0, 0.0], [1.0, 0.0]])))])
    low, high = must.min(axis=0), must.max(axis=0)
    half = (high - low) / 2
    if apart:
        half = np.where(half > 0, half, np.where(centre != 0, np.abs(centre), 1.0) / 2)
    elif not half.any():  # a point: a map as large as its weights
        half = np.ones(2)
        if plane.kind in ("weights", "curvature", "path", "given"):
            size = float(np.linalg.norm(plane.at(centre))) or 1.0
            lengths = np.linalg.norm([plane.first, plane.second], axis=1)
            half = np.maximum(size / math.sqrt(plane.n_weights), 0.5) / lengths
    if not apart:
        half = np.maximum(half, 0.2 * half.max())  # a path along an axis: give it room
    if plane.kind == "random":  # as far as the weights are long: a path is hardly seen in such a plane
        half = np.maximum(half, 1.0)
    middle = (low + high) / 2
    start = centre if np.isfinite(centre).all() else middle
    inside = _settled(errors, start, 0.3 * half)
    # The minimum is shown where it is not so far off that the paths would become a dot.
    if inside is not None and (np.abs(inside.coordinates - middle) > 6 * (half if apart else half.max())).any():
        inside = None
    if inside is not None:
        low, high = np.minimum(low, inside.coordinates), np.maximum(high, inside.coordinates)
    least = half if shown is None or apart else 0.2 * ((high - low) / 2).max()
    half = np.maximum((high - low) / 2, least)
    middle = (low + high) / 2
    lengths = half * np.linalg.norm([plane.first, plane.second], axis=1)
    if (
        not apart and lengths.min() > _NO_STRIP * lengths.max()
    ):  # it can be drawn to scale: rather a square than a strip
        half *= np.maximum(_NEARLY_SQUARE * lengths.max() / lengths, 1.0)
    half = half * (1 + 2 * _MARGIN)
    return np.stack([middle - half, middle + half], axis=1), inside


def _settled(errors: Errors, start: np.ndarray, half: np.ndarray) -> Lowest | None:
    """The lowest point of the plane next to ``start``, found from values alone; None where the error falls on and on.

    A window of points moves to its lowest one and shrinks around it; the quadratic through its points proposes one more.
    So it works for any model, and a long narrow valley does not hold it up.
    """
    sides = np.linspace(-1, 1, _WINDOW_POINTS)
    offsets = np.stack(np.meshgrid(sides, sides), axis=-1).reshape(-1, 2)
    terms = np.column_stack([np.ones(len(offsets)), offsets, offsets**2, offsets[:, 0] * offsets[:, 1]])
    centre, first_half, size = np.array(start, np.float64), np.array(half, np.float64), 1.0
    best = math.inf
    for _ in range(_MOST_WINDOWS):
        points = centre + size * first_half * offsets
        error = errors(points)
        at = int(np.argmin(error))
        if not np.isfinite(error[at]):
            return None
        centre, best = points[at], float(error[at])
        if np.isfinite(error).all():
            _, b, c, d, e, f = np.linalg.lstsq(terms, error - best, rcond=None)[0]
            curvature = np.array([[2 * d, f], [f, 2 * e]])
            if d > 0 and np.linalg.det(curvature) > 0:
                jump = np.linalg.solve(curvature, [-b, -c]).clip(-30, 30)
                proposed = points[len(points) // 2] + size * first_half * jump
                there = float(errors(proposed))
                if there < best:
                    centre, best = proposed, there
        edge = np.abs(offsets[at]).max() == 1.0
        size *= 1.5 if edge else 0.25
        if size < 1e-7:
            return Lowest(centre, best)
        if size > 1e3:
            return None
    return Lowest(centre, best) if size < 0.05 else None


def _lowest_points(
    errors: Errors, first: np.ndarray, second: np.ndarray, error: np.ndarray, known: Lowest | None
) -> tuple[Lowest | None, tuple[Lowest, ...]]:
    """The lowest point on the map and its other local minima, each found between the grid points."""
    cell = np.array([first[1] - first[0], second[1] - second[0]])
    low, high = np.array([first[0], second[0]]), np.array([first[-1], second[-1]])
    starts = [np.array([first[j], second[i]]) for i, j in _dips(error)]
    if known is not None:  # its own dip would lead there again
        starts = [start for start in starts if (np.abs(start - known.coordinates) > cell).any()]
    found = [_settled(errors, start, cell) for start in starts]
    distinct: list[Lowest] = []
    for lowest in sorted(filter(None, (known, *found)), key=lambda lowest: lowest.error):
        inside = ((low <= lowest.coordinates) & (lowest.coordinates <= high)).all()
        apart = [np.abs(lowest.coordinates - other.coordinates) > cell for other in distinct]
        if inside and all(map(np.any, apart)):
            distinct.append(lowest)
    # Where the map's own edge lies lower than every dip, the error goes on falling there: no dot says "the minimum".
    if not distinct or distinct[0].error > float(error.min()) + 1e-12 * abs(float(error.min())):
        return None, tuple(distinct)
    return distinct[0], tuple(distinct[1:])


def _dips(error: np.ndarray) -> list[tuple[int, int]]:
    """Points of the grid lower than all eight beside them by more than rounding, the lowest first."""
    from scipy.ndimage import minimum_filter

    rim = minimum_filter(error, footprint=[[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    dip = np.isfinite(error) & (error < rim - 1e-13 * np.abs(error))
    dip[[0, -1]] = dip[:, [0, -1]] = False
    at = np.argwhere(dip)
    order = np.argsort(error[dip], kind="stable")[:_MOST_LOCAL]
    return [(int(i), int(j)) for i, j in at[order]]
