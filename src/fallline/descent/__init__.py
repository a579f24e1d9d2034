"""w ← w + Δw: how the weights move, given sums over the rows.

A descent is settings and three pure functions over a small immutable state:

    start(weights, penalty) -> state
    ask(state)              -> the request: which sums over the rows, at which weights
    tell(state, sums)       -> the next state

This file holds what all descents share. A descent does not know where its rows live,
and nothing else needs to know which descent it is: the loop reads a state's ``walk``.
"""

import dataclasses
import enum
import functools
import inspect
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from fallline.descent.penalty import Penalty
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError
from fallline.model.network import Model

# An error that has grown by this factor over the lowest seen will not come back by itself, whatever the descent.
RUNAWAY = 1e8


class Stop(enum.IntEnum):
    """Why a descent ended. The sentences that go with them are in ``loop.py``."""

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


class Walk(NamedTuple):
    """What the loop reads of every state: where the descent stands, and the lowest point it has seen.

    weights (n_weights,), error E and penalised error F there, gradient of F. ``shown``: the numbers named
    by the descent's ``shows``. ``moved``: whether the last ``tell`` arrived at a new point.
    """

    weights: Any
    error: Any
    penalised: Any
    gradient: Any
    shown: Any
    moved: Any
    steps: Any
    passes: Any
    lowest_weights: Any
    lowest_error: Any
    lowest_penalised: Any
    lowest_step: Any
    stop: Any


class Descent:
    """Settings of a descent, with scikit-learn's ``get_params`` and ``set_params`` (no import of it).

    A subclass is a dataclass. To JAX its numbers are run-time values and everything else is
    static, so that another learning rate compiles nothing. A number that is the length of an array is static too.
    """

    kinds: ClassVar[tuple[str, ...]] = ()  # the kinds of pass it asks for
    in_one_kernel: ClassVar[bool] = False  # whether its small steps were tried as one kernel (kernel.py)
    lengths: ClassVar[tuple[str, ...]] = ()  # settings that are the length of an array of the state
    finds_penalty: ClassVar[bool] = False  # whether it can find the strength of a Bayesian penalty on the way

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_pytree_node(cls, _flatten, _unflatten(cls))

    @property
    def sums_squares(self) -> bool:
        """Whether it asks for JᵀJ, by itself or as a triangle: products and factorisations are nearly all of such a pass."""
        return bool({"gauss_newton", "triangle"} & set(self.kinds))

    def check(self) -> None:
        """Raises SettingsError, naming the setting, where one is out of its range."""

    def suited(self, model: Model) -> Self:
        """The settings as they are for one model. Raises SettingsError where they cannot be."""
        return self

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        """The names of ``walk.shown``."""
        raise NotImplementedError

    def start(self, weights: Any, penalty: Penalty) -> Any:
        raise NotImplementedError

    def ask(self, state: Any) -> Request:
        raise NotImplementedError

    def tell(self, state: Any, sums: Sums) -> Any:
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _settings_of(type(self))}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise SettingsError(
                    f"{type(self).__name__} has no setting {name!r}: it has {', '.join(known)}."
                )
            setattr(self, name, value)
        return self


@functools.cache
def _settings_of(cls: type) -> tuple[str, ...]:
    return tuple(inspect.signature(cls).parameters)


def _is_number(value: Any) -> bool:
    return not isinstance(value, (str, bool, type(None)))


def _flatten(settings: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    params = settings.get_params()
    numbers = {
        name: value for name, value in params.items() if _is_number(value) and name not in settings.lengths
    }
    words = tuple((name, value) for name, value in params.items() if name not in numbers)
    return tuple(numbers.values()), (tuple(numbers), words)


def _unflatten(cls: type) -> Any:
    def build(static: tuple[Any, ...], numbers: Any) -> Any:
        names, words = static
        settings: Any = object.__new__(cls)  # tracers take the place of numbers: nothing to check
        for name, value in (*zip(names, numbers, strict=True), *words):
            setattr(settings, name, value)
        return settings

    return build


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
        raise SettingsError(
            f"{name}={value!r} is not possible for {type(owner).__name__}: expected {either}{allowed}."
        )


def first_walk(weights: Any, n_shown: int) -> Walk:
    """The walk before anything is known of the error: standing at the start, E infinite."""
    infinite = jnp.full((), jnp.inf, weights.dtype)
    none = jnp.zeros((), jnp.int64)
    return Walk(
        weights=weights,
        error=infinite,
        penalised=infinite,
        gradient=jnp.zeros_like(weights),
        shown=jnp.zeros(n_shown, weights.dtype),
        moved=jnp.zeros((), bool),
        steps=none - 1,  # the pass at the start makes it 0
        passes=none,
        lowest_weights=weights,
        lowest_error=infinite,
        lowest_penalised=infinite,
        lowest_step=none,
        stop=jnp.zeros((), jnp.int32),
    )


def arrive(
    walk: Walk,
    arrived: Any,
    weights: Any,
    error: Any,
    penalised: Any,
    gradient: Any,
    shown: Any,
    stop: Any,
    *,
    newest: Any = False,
) -> Walk:
    """The walk after a pass: at ``weights`` if ``arrived``, else where it stood; the lowest point kept.

    ``newest``: errors of different steps do not compare, because the penalty changes on the way or a step changes the
    error by less than its rounding; the newest point counts as the lowest.
    """

    def either(new: Any, old: Any) -> Any:
        return jnp.where(arrived, new, old)

    steps = jnp.where(arrived, walk.steps + 1, walk.steps)
    lower = arrived & (newest | (penalised < walk.lowest_penalised))
    return Walk(
        weights=either(weights, walk.weights),
        error=either(error, walk.error),
        penalised=either(penalised, walk.penalised),
        gradient=either(gradient, walk.gradient),
        shown=shown,
        moved=arrived,
        steps=steps,
        passes=walk.passes + 1,
        lowest_weights=jnp.where(lower, weights, walk.lowest_weights),
        lowest_error=jnp.where(lower, error, walk.lowest_error),
        lowest_penalised=jnp.where(lower, penalised, walk.lowest_penalised),
        lowest_step=jnp.where(lower, steps, walk.lowest_step),
        stop=jnp.asarray(stop, jnp.int32),
    )


def words_of(settings: Descent) -> str:
    """The settings as one would type them: ``GradientDescent(learning_rate=0.1, momentum=0.9)``, defaults left out."""
    said = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if value != field.default:
            words = repr(value)
            said.append(f"{field.name}={words if len(words) < 40 else '…'}")
    return f"{type(settings).__name__}({', '.join(said)})"
