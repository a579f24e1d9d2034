"""The second place: one neuron with two weights, the whole of its error, and four descents from the same start."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.error.sums import Request
from fallline.exceptions import FalllineError, SettingsError
from fallline.explore.data import SETS, Pairs, within_reach
from fallline.explore.messages import Given, frame
from fallline.landscape.evaluate import errors_on
from fallline.landscape.hessian import Curvature
from fallline.landscape.minima import find_minima
from fallline.landscape.momentum import Convergence
from fallline.landscape.planes import Plane
from fallline.landscape.surface import Lowest, Surface
from fallline.model.activations import ACTIVATIONS
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend
from fallline.words import label

KINDS = ("identity", "logistic", "tanh", "relu", "softplus", "gaussian")
METHODS = ("plain", "momentum", "nesterov", "levenberg-marquardt")
STEPS, FARTHEST = 400, 1e3
RATES = (1e-5, 1e5)

_GRID, _BANDS = 81, 12
_HALVES = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # a map reaches as far to either side: round numbers on its axes
_SCOUTS = np.array([[a, b] for a in (-1.5, 1.5) for b in (-1.5, 1.5)] + [[0.1, 0.2]])


class Neuron(Network):
    """A neuron that walks over its rows also where it is linear: over few of them steps in C are sooner made than on moments."""

    @property
    def linear(self) -> bool:
        return False


@dataclass(frozen=True, eq=False)
class Ground:
    """A neuron and its rows, the map of its error, and the curvature at its minimum where there is one."""

    neuron: Neuron
    rows: InMemory
    pairs: Pairs
    surface: Surface
    convergence: Convergence | None
    limit: float  # the largest stable rate of plain descent at the minimum, or where the map is lowest
    y: np.ndarray = field(repr=False)

    def limits(self, momentum: float) -> dict[str, float]:
        """The largest stable rate of each descent with that momentum, none where there is no minimum."""
        if self.convergence is None:
            return {}
        return {
            "plain": float(self.convergence.limit()),
            "momentum": float(self.convergence.limit(momentum)),
            "nesterov": float(self.convergence.limit(momentum, nesterov=True)),
        }

    def best(self) -> dict[str, list[float]]:
        """The rate and the momentum with which each descent arrives soonest."""
        if self.convergence is None:
            return {}
        names = {"plain": "plain", "momentum": "heavy ball", "nesterov": "Nesterov"}
        found = {name: self.convergence.best(method) for name, method in names.items()}
        return {name: [float(each.learning_rate), float(each.momentum)] for name, each in found.items()}


def ground_of(pairs: Pairs, activation: str) -> Ground:
    """The neuron of an activation on these rows, with the map of its error around its minimum."""
    neuron = Neuron((2, 1), output_activation=activation, bias=False)
    y = within_reach(pairs.t, activation)
    rows = InMemory(pairs.x, y)
    found = find_minima(neuron, rows, LevenbergMarquardt(), starts=_SCOUTS, max_iter=60).minima
    far = 1.7 * float(np.abs(found[0].weights).max()) if found else 5.0
    half = next((half for half in _HALVES if far <= half), math.ceil(far))
    axis = np.linspace(-half, half, _GRID)
    plane = Plane.of_weights(neuron, (0, 1))
    error = errors_on(neuron, rows, plane, np.stack(np.meshgrid(axis, axis), axis=-1))
    lowest = [Lowest(each.weights, each.error) for each in found if np.abs(each.weights).max() <= half]
    surface = Surface(plane, axis, axis, error, False, rows.count, (), lowest[0] if lowest else None, tuple(lowest[1:]))
    at = found[0].weights if found else plane.at(_lowest_of(surface))
    bend = Curvature.at(neuron, rows, at)
    try:
        convergence = Convergence.of(bend) if found else None
    except FalllineError:
        convergence = None
    steepest = float(np.abs(bend.eigenvalues).max()) / rows.count
    limit = float(convergence.limit()) if convergence else 2.0 / max(steepest, 1e-6)
    return Ground(neuron, rows, pairs, surface, convergence, limit, y)


def _lowest_of(surface: Surface) -> np.ndarray:
    i, j = np.unravel_index(int(np.argmin(surface.error)), surface.error.shape)
    return np.array([surface.first[j], surface.second[i]])


@functools.lru_cache(maxsize=24)
def _played(data: str, activation: str) -> Ground:
    return ground_of(SETS[data](), activation)


def warm_up() -> None:
    """The map that a page begins with."""
    _played(next(iter(SETS)), "tanh")


def _asked(given: Given, session: Any) -> Ground:
    """The ground that a request is about: a small set of rows, or two columns of the session's table."""
    activation = given.choice("activation", KINDS)
    if given.text("data", 20) == "table":
        ground: Ground = session.ground(given, activation)
        return ground
    return _played(given.choice("data", tuple(SETS)), activation)


def look(given: Given, session: Any) -> bytes:
    """The map of the error, its minimum, the rates that its curvature allows, and the rows."""
    ground = _asked(given, session)
    surface = ground.surface
    said = {
        "levels": surface.levels(_BANDS),
        "minimum": None if surface.minimum is None else _dot(surface.minimum),
        "others": [_dot(each) for each in surface.local_minima],
        "limit": ground.limit,
        "best": ground.best(),
        "inputs": ground.pairs.inputs,
        "target": ground.pairs.target,
        "rows": len(ground.rows),
    }
    return frame(said, axis=surface.first, error=surface.error.astype(np.float32), x=ground.pairs.x, y=ground.y)


def _dot(lowest: Lowest) -> dict[str, Any]:
    return {"at": lowest.coordinates, "error": lowest.error}


def descents(names: list[str], rate: float, momentum: float) -> dict[str, Any]:
    """The descents of these names; Nesterov's form without momentum is plain descent."""
    every = {
        "plain": GradientDescent(rate),
        "momentum": GradientDescent(rate, momentum),
        "nesterov": GradientDescent(rate, momentum, nesterov=momentum > 0),
        "levenberg-marquardt": LevenbergMarquardt(),
    }
    return {name: every[name] for name in names}


def walk(given: Given, session: Any) -> bytes:
    """The paths of the descents asked for from one start, and the largest stable rates with that momentum."""
    ground = _asked(given, session)
    start = given.pair("start", FARTHEST)
    rate, momentum = given.number("rate", *RATES), given.number("momentum", 0.0, 0.99)
    steps = given.whole("steps", 1, STEPS)
    told: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, descent in descents(given.choices("methods", METHODS), rate, momentum).items():
        path = descend(ground.neuron, ground.rows, descent, weights=start, max_iter=steps)
        told[name] = {
            "steps": path.n_steps,
            "diverged": int(path.steps[-1]) if path.stop == Stop.DIVERGED else None,
            "arrived": path.stop == Stop.FLAT,
            "says": path.stop_message,
        }
        arrays |= {f"{name} weights": path.weights, f"{name} error": path.error, f"{name} gradient": path.gradient}
    return frame({"paths": told, "limits": ground.limits(momentum)}, **arrays)


def one_row(given: Given, session: Any) -> bytes:
    """The formula at some weights with the numbers of one row in it, and the sums over all rows."""
    ground = _asked(given, session)
    weights = given.pair("weights", 1e12)
    n = len(ground.rows)
    row = given.whole("row", 1, n) - 1
    x, y = ground.pairs.x[row : row + 1], ground.y[row : row + 1]
    alone = InMemory(x, y)
    with np.errstate(all="ignore"):
        z = x @ weights
        predicted = ground.neuron.predict(weights, x)[0, 0]
        f = ACTIVATIONS[ground.neuron.output_activation]
        slope = f.slope(z, f.value(z, np), np)[0]
    own, whole = (each.total(Request("gradient", weights), ground.neuron) for each in (alone, ground.rows))
    if not math.isfinite(whole.error):
        raise SettingsError(f"the error is not finite at the weights {label(weights[0])} and {label(weights[1])}.")
    residual = y[0, 0] - predicted
    said = {
        "weights": weights, "x": x[0], "y": y[0, 0], "z": z[0], "predicted": predicted, "slope": slope, "residual": residual,
        "half_square": own.error, "gradient": own.gradient,
        "total": whole.error, "total_gradient": whole.gradient, "rows": n,
    }  # fmt: skip
    return frame(said)
