"""w ← w + Δw: how the weights move, given sums over the rows.

A descent is settings and three plain functions over a small state, which is all the memory there is:

    start(weights, penalty) -> state
    ask(state)              -> the request: which sums over the rows, at which weights
    tell(state, sums)       -> the next state

                 what it asks for            what it makes of the answer
    gradient     g at w                      v ← μ v − (ε/n) g,  w ← w + v
    Rprop        g at w                      w_i ← w_i − sign(g_i) Δ_i, Δ_i longer or shorter as the sign stays or turns
    Levenberg–   E at the trial w + Δw, and  (JᵀJ + damping · D²) Δw = −g, the damping lower or higher as F was
    Marquardt    (E, g, JᵀJ) where it fell   foretold or not

A state's ``walk`` is what the loop reads. A descent does not know where its rows live, and nothing else needs to know which
descent it is. This file holds what all descents share.
"""

import dataclasses
import enum
import functools
import inspect
import math
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from fallline.descent.penalty import Penalty
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError

# An error that has grown by this factor over the lowest seen will not come back by itself, whatever the descent.
RUNAWAY = 1e8


class Stop(enum.IntEnum):
    """Why a descent ended. The sentences that go with them are in ``walk/``."""

    GOING_ON = 0
    FLAT = 1  # the gradient, or the best possible gain, is zero to rounding
    STALLED = 2  # no step, however short, lowers the error at this precision
    NO_CHANGE = 3  # the error fell by less than tol over n_iter_no_change steps
    VALIDATION = 4  # the validation error rose for n_iter_no_change steps
    MAX_ITER = 5
    DIVERGED = 6  # the error grew beyond all bounds or was no longer a number
    INTERRUPTED = 7
    NOT_FINITE = 8  # the error at the start was not a number
    ASKED = 9  # a callback asked to stop
    DECAYED = 10  # the learning rate has fallen to zero, as its decay said
    TIME = 11  # max_seconds were over


class Walk(NamedTuple):
    """What the loop reads of every state: where the descent stands, and the lowest point it has seen.

    weights (p,), error E and penalised error F there, gradient (p,) of F. ``shown``: the numbers named by the descent's
    ``shows``. ``moved``: whether the last ``tell`` arrived at a new point.
    """

    weights: np.ndarray
    error: float
    penalised: float
    gradient: np.ndarray
    shown: tuple[float, ...]
    moved: bool
    steps: int
    passes: int
    lowest_weights: np.ndarray
    lowest_error: float
    lowest_penalised: float
    lowest_step: int
    stop: Stop


def first_walk(weights: np.ndarray, n_shown: int) -> Walk:
    """The walk before anything is known of the error: standing at the start, E infinite."""
    none, infinite = np.zeros_like(weights), math.inf
    # Steps begin at −1: the pass at the start makes it 0.
    return Walk(
        weights, infinite, infinite, none, (0.0,) * n_shown, False, -1, 0,
        weights, infinite, infinite, 0, Stop.GOING_ON,
    )  # fmt: skip


def arrive(
    walk: Walk,
    weights: np.ndarray,
    error: float,
    penalised: float,
    gradient: np.ndarray,
    shown: tuple[float, ...] = (),
    stop: Stop = Stop.GOING_ON,
    *,
    newest: bool = False,
) -> Walk:
    """The walk after a pass that came to a new point; the lowest point is kept.

    ``newest``: errors of different steps do not compare, because the penalty changes on the way or a step changes the
    error by less than its rounding; the newest point counts as the lowest.
    """
    walk = walk._replace(
        weights=weights, error=error, penalised=penalised, gradient=gradient, shown=shown, moved=True,
        steps=walk.steps + 1, passes=walk.passes + 1, stop=stop,
    )  # fmt: skip
    if not (newest or penalised < walk.lowest_penalised):
        return walk
    return walk._replace(lowest_weights=weights, lowest_error=error, lowest_penalised=penalised, lowest_step=walk.steps)


def stay(walk: Walk, stop: Stop = Stop.GOING_ON, shown: tuple[float, ...] | None = None) -> Walk:
    """The walk after a pass that came to no new point: a trial that was no step, or a look at the curvature."""
    return walk._replace(moved=False, passes=walk.passes + 1, stop=stop, shown=walk.shown if shown is None else shown)


def through(walk: Walk, steps: Any) -> Walk:
    """The walk after many steps at once, ``rows.steps``."""
    k, m = int(np.argmin(steps.penalised)), len(steps.error)
    if steps.penalised[k] < walk.lowest_penalised:
        walk = walk._replace(
            lowest_weights=steps.weights[k].copy(), lowest_error=float(steps.error[k]),
            lowest_penalised=float(steps.penalised[k]), lowest_step=walk.steps + 1 + k,
        )  # fmt: skip
    return walk._replace(
        weights=steps.weights[-1].copy(), error=float(steps.error[-1]), penalised=float(steps.penalised[-1]),
        gradient=steps.gradient[-1].copy(), shown=(float(steps.shown[-1]),), moved=True,
        steps=walk.steps + m, passes=walk.passes + m,
    )  # fmt: skip


class Descent:
    """Settings of a descent: a dataclass, with scikit-learn's ``get_params`` and ``set_params`` (no import of it)."""

    finds_penalty: ClassVar[bool] = False  # whether it can find the strength of a Bayesian penalty on the way

    def check(self) -> None:
        """Raises SettingsError, naming the setting, where one is out of its range."""

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        """The names of ``walk.shown``."""
        raise NotImplementedError

    def start(self, weights: np.ndarray, penalty: Penalty) -> Any:
        """The state before the first pass, at weights (p,)."""
        raise NotImplementedError

    def ask(self, state: Any) -> Request:
        """Which sums over the rows are needed next."""
        raise NotImplementedError

    def tell(self, state: Any, sums: Sums) -> Any:
        """The next state, from the sums that were asked for."""
        raise NotImplementedError

    def many(self, state: Any, rows: Any, model: Any, most: int) -> tuple[Any, Any] | None:
        """Up to ``most`` ordinary steps at once, by ``rows.steps``: the state after them, and those ``Steps``.

        None where the rows cannot, or the next step is none that they know: then ``ask`` and ``tell`` see to it.
        """
        return None

    def kept(self, memory: Any) -> Any:
        """A memory that its ``move`` makes, as arrays, numbers and named tuples."""
        return memory

    def again(self, kept: Any, weights: np.ndarray) -> Any:
        """The memory of which this was kept, of a walk by weights (p,)."""
        return kept

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _settings_of(type(self))}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise SettingsError(f"{type(self).__name__} has no setting {name!r}: it has {', '.join(known)}.")
            setattr(self, name, value)
        return self


@functools.cache
def _settings_of(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


def check_number(
    owner: object, name: str, low: float, high: float, *, open_low: bool = False, words: tuple[str, ...] = ()
) -> None:
    """SettingsError unless the setting is one of the words, or a number in [low, high] (or (low, high])."""
    value = getattr(owner, name)
    if isinstance(value, str) and value in words:
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    above = number > low if open_low else number >= low
    if isinstance(value, (bool, str)) or not (above and number <= high):
        allowed = f"a number {'above' if open_low else 'from'} {low:g}" + (
            f" to {high:g}" if high < float("inf") else ""
        )
        either = "".join(f"'{word}' or " for word in words)
        raise SettingsError(f"{name}={value!r} is not possible for {type(owner).__name__}: expected {either}{allowed}.")


def words_of(settings: Descent) -> str:
    """The settings as one would type them: ``GradientDescent(learning_rate=0.1, momentum=0.9)``, defaults left out."""
    said = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if value != field.default:
            words = repr(value)
            said.append(f"{field.name}={words if len(words) < 40 else '…'}")
    return f"{type(settings).__name__}({', '.join(said)})"
