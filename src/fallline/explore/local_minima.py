"""The third place: a neuron whose error has several minima, the starts that lead to each, and whom momentum saves."""

import functools
from typing import Any, NamedTuple

import numpy as np

from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.explore.messages import Given, frame
from fallline.explore.two_weights import FARTHEST, RATES, Neuron, descents
from fallline.landscape.evaluate import errors_on
from fallline.landscape.minima import find_basins, find_minima
from fallline.landscape.planes import Plane
from fallline.landscape.surface import Lowest, Surface
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

STEPS = 1000
_GRID, _BANDS, _MOST_POINTS = 121, 12, 81
_NEAR = 1e-2  # of the map: how near to a minimum a way has to come to have arrived


class Hollow(NamedTuple):
    """Rows of a neuron whose error has several minima, and the window in which they lie."""

    x: np.ndarray
    y: np.ndarray
    extent: tuple[float, float, float, float]


def _two() -> Hollow:
    random = np.random.default_rng(48)
    x = random.normal(size=(12, 2)) * np.exp(1.2 * random.normal(size=(12, 1)))
    return Hollow(x, random.uniform(0.05, 0.95, size=(12, 1)), (-6.0, 6.0, -6.0, 6.0))


def _four() -> Hollow:
    # Auer, Herbster & Warmuth (1996), NeurIPS 8:316: a weight cannot serve a large and a small input at once.
    x = np.array([[10, 0], [0.5, 0], [0, 10], [0, 0.5]])
    return Hollow(x, np.array([[0.3], [0.9], [0.3], [0.9]]), (-2.0, 7.0, -2.0, 7.0))


SETS = {"two": _two, "four": _four}


class Ground(NamedTuple):
    """A neuron, its rows, the map of its error, and where on it the minima are, (k, 2), the lowest first."""

    neuron: Neuron
    rows: InMemory
    surface: Surface
    places: np.ndarray

    def nearest(self, weights: np.ndarray) -> int:
        """Which minimum weights (2,) have come to, −1 for none."""
        away = np.linalg.norm(self.places - weights, axis=1)
        return int(np.argmin(away)) if away.min() <= _NEAR * np.ptp(self.surface.first) else -1


@functools.lru_cache(maxsize=8)
def _ground(name: str) -> Ground:
    hollow = SETS[name]()
    neuron = Neuron((2, 1), output_activation="logistic", bias=False)
    rows = InMemory(hollow.x, hollow.y)
    low, high = hollow.extent[:2]
    scouts = np.stack(np.meshgrid(*2 * [np.linspace(low, high, 8)]), axis=-1).reshape(-1, 2)
    found = find_minima(neuron, rows, LevenbergMarquardt(), starts=scouts, max_iter=100)
    axis, plane = np.linspace(low, high, _GRID), Plane.of_weights(neuron, (0, 1))
    error = errors_on(neuron, rows, plane, np.stack(np.meshgrid(axis, axis), axis=-1))
    dots = [
        Lowest(each.weights, each.error)
        for each in found.minima
        if low < each.weights.min() and each.weights.max() < high
    ]
    surface = Surface(plane, axis, axis, error, False, rows.count, (), dots[0], tuple(dots[1:]))
    return Ground(neuron, rows, surface, np.array([dot.coordinates for dot in dots]))


def look(given: Given, _: Any) -> bytes:
    """The map of the error and its minima, the lowest first."""
    surface = _ground(given.choice("neuron", tuple(SETS))).surface
    dots = (surface.minimum, *surface.local_minima)
    said = {
        "levels": surface.levels(_BANDS),
        "minima": [{"at": dot.coordinates, "error": dot.error} for dot in dots if dot is not None],
    }
    return frame(said, axis=surface.first, error=surface.error.astype(np.float32))


def walk(given: Given, _: Any) -> bytes:
    """The way of plain descent and of momentum from one start, and in which of the minima each ends, −1 for none yet."""
    ground = _ground(given.choice("neuron", tuple(SETS)))
    start, rate = given.pair("start", FARTHEST), given.number("rate", *RATES)
    both = descents(["plain", "momentum"], rate, given.number("momentum", 0.0, 0.99))
    told: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, descent in both.items():
        path = descend(ground.neuron, ground.rows, descent, weights=start, max_iter=STEPS)
        told[name] = {
            "ends": ground.nearest(path.final_weights),
            "steps": path.n_steps,
            "error": float(path.error[-1]),
            "says": path.stop_message,
        }
        arrays |= {f"{name} weights": path.weights, f"{name} error": path.error}
    return frame({"paths": told}, **arrays)


def basins(given: Given, _: Any) -> bytes:
    """For every start of a grid the minimum that plain descent and momentum lead to, and whom momentum saves."""
    ground = _ground(given.choice("neuron", tuple(SETS)))
    surface = ground.surface
    rate, momentum = given.number("rate", *RATES), given.number("momentum", 0.0, 0.99)
    extent = (*surface.first[[0, -1]], *surface.second[[0, -1]])
    found = find_basins(
        ground.neuron, ground.rows, descents(["plain", "momentum"], rate, momentum), extent=extent,
        points=given.whole("points", 5, _MOST_POINTS), max_iter=STEPS // 2,
    )  # fmt: skip
    # As the map numbers its minima: a grid may miss one, or find one beyond the map.
    numbered, known = np.array([*(ground.nearest(each.weights) for each in found.minima), -1]), len(ground.places)
    saved = found.saved("momentum", "plain")
    painted = {name: numbered[index].astype(np.int32) for name, index in found.index.items()}
    said = {
        "counts": {name: [int((each == i).sum()) for i in range(known)] for name, each in painted.items()},
        "helped": int((saved > 0).sum()),
        "harmed": int((saved < 0).sum()),
        "starts": found.index["plain"].size,
    }
    return frame(said, **painted, saved=saved.astype(np.int32))
