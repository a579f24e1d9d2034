"""ŷ = f(x; a, b, …): a curve as a model, a formula in text or any function with a slope.

Its weights are its parameters, one number each. It goes down the same descents as a network. Nothing here knows
an error, a table or a descent.

Slopes of a formula are formulas. A function is tried where its slopes are first asked for: one that makes a formula of numbers
not known yet, as operators and NumPy's functions do, has the slopes of that; one that gives arrays of JAX is differentiated by
JAX; the complex step serves where it agrees with differences; else central differences do.
"""

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.model.differences import along, as_columns, by_complex_step, by_differences, complex_step_holds
from fallline.model.formula import Formula, Unknown, formula_of, read_formula
from fallline.words import did_you_mean

# What the first argument of f(weights, x) is called.
_WEIGHTS_FIRST = ("weights", "w")
_ROWS_TRIED = 256
_DECIDING = threading.RLock()  # what is done with warnings holds for the whole process


@dataclass(frozen=True)
class Curve:
    """A curve ŷ = f(x; a, b, …) of one output, whose weights are its parameters.

    function: text such as ``"b1*(1 - exp(-b2*x))"``, in which names of ``columns`` are inputs and all other names are
    parameters; or ``f(x, a, b, …)`` as SciPy's ``curve_fit`` has it, x (n,) of one column, (columns, n) of several; or
    ``f(weights, x)``, recognised by the name of its first argument, x (n, columns). A function sees some of the
    rows at a time and gives each row's ŷ by that row alone, (n,).
    names: the parameters, in the order of the weights; without them, their order in the text or the signature.
    columns: what the inputs are called. given: parameters that are no weights; their values are inputs, after the columns.

    Two curves of the same function or formula are equal. Raises SettingsError for text or names that do not fit.
    """

    function: Any
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("x",)
    given: tuple[str, ...] = ()
    # How it is differentiated, once that is known: by a formula, by "jax", by a "complex step", or "numerical".
    _way: Formula | str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        function = read_formula(self.function) if isinstance(self.function, str) else self.function
        columns, names = _texts(self.columns), _texts(self.names)
        if isinstance(function, Formula):
            found = tuple(name for name in function.names if name not in columns)
            if names and set(names) != set(found):
                raise SettingsError(
                    f"names={', '.join(names)} do not fit the formula, whose parameters are {', '.join(found) or 'none'} "
                    f"(its columns are {', '.join(columns)})."
                )
            names = names or found
        elif callable(function):
            names = names or _parameters_of(function)
        else:
            raise SettingsError(
                f"{function!r} is no curve: give text such as 'b1*(1 - exp(-b2*x))', or a function f(x, a, b, …)."
            )
        for kind, given in (("parameter", names), ("column", columns)):
            if len(set(given)) < len(given):
                raise SettingsError(f"each {kind} needs a name of its own, but got {', '.join(given)}.")
        if not names:
            raise SettingsError(
                f"the curve {function} has no parameters: every name in it is a column ({', '.join(columns)})."
            )
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "given", tuple(check_names(self.given, names)))
        if not self.free:
            raise SettingsError("every parameter of the curve is fixed: leave at least one free.")

    @functools.cached_property
    def free(self) -> tuple[str, ...]:
        """The parameters that are weights, in their order."""
        return tuple(name for name in self.names if name not in self.given)

    @property
    def n_weights(self) -> int:
        return len(self.free)

    @property
    def inputs(self) -> int:
        return len(self.columns) + len(self.given)

    @property
    def outputs(self) -> int:
        return 1

    def with_given(self, names: Iterable[str]) -> Self:
        """The same curve, in which these parameters and no others are inputs, after the columns and in this order."""
        return replace(self, given=tuple(names))

    def initial(self, seed: int | np.random.Generator | None = None) -> np.ndarray:
        """Weights to start from where nothing is known: all 1, as ``curve_fit`` has it; with a seed, 1 give or take a half."""
        ones = np.ones(self.n_weights)
        return ones if seed is None else ones + np.random.default_rng(seed).uniform(-0.5, 0.5, self.n_weights)

    def penalised(self) -> np.ndarray:
        """Which weights a weight decay acts on: (n_weights,) bool, none: zero is no better a parameter than another."""
        return np.zeros(self.n_weights, bool)

    def regularised(self) -> np.ndarray:
        """Which weights Bayesian regularisation acts on: (n_weights,) bool, none."""
        return np.zeros(self.n_weights, bool)

    def weight_names(
        self, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A name for each weight, in order: that of the parameter."""
        return self.free

    @property
    def derivatives(self) -> str:
        """``"exact"``, by a formula or by JAX; ``"complex step"``; or ``"numerical"``, by central differences.

        For a function whose slopes nobody has asked for yet, what it takes on rows made up here.
        """
        way = self._way
        if way is None:
            made_up = np.repeat([[0.5], [1.5], [2.5]], self.inputs, axis=1)
            way = replace(self)._decided(self.initial(), made_up)
        return "exact" if isinstance(way, Formula) or way == "jax" else way

    def formula(self, weights: np.ndarray, x: np.ndarray) -> Formula | None:
        """The curve as a formula: its text, or what its function makes of names; None of a function that makes none."""
        way = self._decided(weights, x)
        return way if isinstance(way, Formula) else None

    def parts(self, weights: np.ndarray, x: np.ndarray) -> "Iterator[tuple[str, Curve, np.ndarray, np.ndarray]]":
        """What a ``GroupedCurve`` has several of: a name, a curve, its weights and its rows."""
        yield "", self, weights, np.arange(len(x))

    def afresh(self) -> Self:
        """The same curve, of which nobody knows yet how it is differentiated."""
        return replace(self)

    def by_differences(self) -> Self:
        """The same curve, its function differentiated by central differences."""
        curve = replace(self)
        object.__setattr__(curve, "_way", "numerical")
        return curve

    def slopes_agree(self, weights: np.ndarray, x: np.ndarray) -> bool:
        """Whether its slopes, where they are taken by the complex step, agree with central differences there."""
        return self._way != "complex step" or complex_step_holds(self._at(_some(x)), weights) is not False

    def predict(self, weights: Any, x: Any) -> np.ndarray:
        """ŷ of rows x (n, inputs): (n, 1), NaN where the function gives up, so that a trial there is rejected.

        It gives up by an ArithmeticError or a ValueError, as math.log(−1). Raises ShapeError for what does not fit.
        """
        at, rows = self._checked(weights, x)
        return self._at(rows)(at)[:, None].astype(_floating(x))

    def evaluate(self, weights: Any, x: Any) -> np.ndarray:
        """The same, but where the function gives up its own error is raised."""
        return self._called(*self._checked(weights, x))[:, None].astype(_floating(x))

    def jacobian(self, weights: Any, x: Any) -> np.ndarray:
        """∂ŷ/∂w of rows x (n, inputs): (n, 1, n_weights), float64. Raises ShapeError for what does not fit."""
        with np.errstate(all="ignore"):
            return self._slopes(*self._checked(weights, x))[:, None, :]

    def jacobian_along(self, weights: Any, x: Any, direction: Any) -> np.ndarray:
        """d/dt of the Jacobian at weights + t · direction, t = 0: (n, 1, n_weights), float64.

        By central differences of the Jacobian where that is not exact. Raises ShapeError for what does not fit.
        """
        weights, x = self._checked(weights, x)
        direction = np.asarray(direction, np.float64)
        with np.errstate(all="ignore"):
            way = self._decided(weights, x)
            if isinstance(way, Formula):
                parts = way.slopes_along(self.named(weights, x), self.free, direction)
                return as_columns(parts, len(x))[:, None, :]
            if way == "jax":
                return _in_jax(self)(weights, x, direction)[:, None, :]
            slopes, exact = functools.partial(self._slopes, x=x), way == "complex step"
            return along(slopes, weights, direction, exact=exact)[:, None, :]

    def _checked(self, weights: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Both in float64."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}, but the curve takes (rows, inputs) = (n, {self.inputs}): "
                f"{', '.join((*self.columns, *self.given))}. For a single input, pass x[:, None]."
            )
        if weights.ndim != 1 or weights.shape[0] != self.n_weights:
            raise ShapeError(
                f"weights have shape {tuple(weights.shape)}, but the curve has {self.n_weights}: {', '.join(self.free)}."
            )
        return np.asarray(weights, np.float64), np.asarray(x, np.float64)

    def named(self, weights: Any, x: Any) -> dict[str, Any]:
        """What each name of the formula stands for. Given parameters are the same in all rows: the first row's will do."""
        given = x[0, len(self.columns) :] if len(x) else np.ones(len(self.given))
        names = (*self.columns, *self.free, *self.given)
        return dict(zip(names, (*x.T[: len(self.columns)], *weights, *given), strict=True))

    def _said(self, weights: Any, x: Any, xp: Any = np) -> Any:
        """What the function makes of arrays of the namespace ``xp``."""
        values, inputs = self.named(weights, x), x[:, : len(self.columns)]
        if isinstance(self.function, Formula):
            return self.function(values)
        parameters = [values[name] for name in self.names]
        if _takes_weights_first(self.function):
            return self.function(xp.stack(parameters), inputs)
        return self.function(inputs[:, 0] if len(self.columns) == 1 else inputs.T, *parameters)

    def _said_anyhow(self, weights: Any, x: Any) -> Any:
        """The same in double precision, from arrays of JAX where those of NumPy will not do."""
        jax = sys.modules.get("jax")
        with contextlib.nullcontext() if jax is None else jax.enable_x64(True):
            try:
                return self._said(weights, x)
            except AttributeError:  # x.at
                if jax is None or not isinstance(weights, np.ndarray):
                    raise
                return self._said(jax.numpy.asarray(weights), jax.numpy.asarray(x), jax.numpy)

    def _called(self, weights: Any, x: np.ndarray) -> np.ndarray:
        """ŷ (n,), as the function says."""
        return _one_each(np.asarray(self._said_anyhow(weights, x)), x) if len(x) else np.zeros(0)

    def _at(self, x: np.ndarray) -> Callable[[Any], np.ndarray]:
        """ŷ (n,) of rows x as a function of the weights, NaN where it gives up."""

        def predicted(weights: Any) -> np.ndarray:
            try:
                with np.errstate(all="ignore"):
                    return self._called(weights, x)
            except ShapeError:
                raise
            except (ArithmeticError, ValueError):
                return np.full(len(x), np.nan)

        return predicted

    def _slopes(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """∂ŷ/∂w (n, n_weights)."""
        way = self._decided(weights, x)
        if isinstance(way, Formula):
            return as_columns(way.slopes(self.named(weights, x), self.free), len(x))
        if way == "jax":
            return _in_jax(self)(weights, x)
        return (by_complex_step if way == "complex step" else by_differences)(self._at(x), weights)

    def _decided(self, weights: np.ndarray, x: np.ndarray) -> Formula | str:
        """How it is differentiated: kept once the function has given numbers to judge by."""
        if isinstance(self.function, Formula):
            return self.function
        with _DECIDING, np.errstate(all="ignore"):
            if self._way is None:
                some = _some(x)
                way = self._recorded(weights, some) or self._traced(weights, some)
                if way is None:
                    holds = complex_step_holds(self._at(some), weights)
                    if holds is None:
                        return "numerical"
                    way = "complex step" if holds else "numerical"
                object.__setattr__(self, "_way", way)
            assert self._way is not None
            return self._way

    def _recorded(self, weights: np.ndarray, x: np.ndarray) -> Formula | None:
        """The formula that the function makes of numbers not known yet, if that says there what the function says."""
        unknown = [Unknown(("name", name)) for name in (*self.columns, *self.names)]
        k = len(self.columns)
        try:
            if _takes_weights_first(self.function) or set(self.columns) & set(self.names):
                return None
            formula = formula_of(self.function(unknown[0] if k == 1 else unknown[:k], *unknown[k:]))
            said = self._called(weights, x)
            rounding = 1e-9 * np.max(np.abs(said), where=np.isfinite(said), initial=0.0)
            again = formula(self.named(weights, x))
            same = np.allclose(again, said, rtol=0.0, atol=rounding, equal_nan=True)
        except Exception:  # whatever a function may have against such numbers: others will do
            return None
        return formula if same and np.isfinite(said).any() else None

    def _traced(self, weights: np.ndarray, x: np.ndarray) -> str | None:
        """``"jax"`` for a function that is written in it: it gives arrays of JAX, and can be traced."""
        try:
            said, jax = self._said_anyhow(weights, x), sys.modules.get("jax")
            if jax is not None and isinstance(said, jax.Array):
                _in_jax(self)(weights, x)
                return "jax"
        except Exception:  # whatever a function may raise: other ways will do
            pass
        return None

    def __str__(self) -> str:
        name = getattr(self.function, "__name__", str(self.function))
        return f"{name}: {', '.join(self.names)}"


def _some(x: np.ndarray) -> np.ndarray:
    return x[np.linspace(0, len(x) - 1, min(len(x), _ROWS_TRIED)).astype(int)]


def _floating(x: Any) -> np.dtype[Any]:
    return np.result_type(x.dtype, np.float32)


def _one_each(predicted: Any, x: Any, xp: Any = np) -> Any:
    """ŷ (n,) of rows x (n, inputs); what is the same for all is repeated."""
    n = len(x)
    if predicted.shape not in ((), (n,), (n, 1), (1, n), (1,)):
        raise ShapeError(
            f"the function of the curve gave shape {predicted.shape} for {n} rows: expected one number for each row, ({n},)."
        )
    return xp.broadcast_to(xp.reshape(predicted, (-1,)), (n,))


@functools.lru_cache(maxsize=64)
def _in_jax(curve: Curve) -> Callable[..., np.ndarray]:
    """∂ŷ/∂w (n, p) for weights and rows, or how it changes along a direction given after these."""
    import jax
    import jax.numpy as jnp

    def predicted(weights: Any, x: Any) -> Any:
        return _one_each(jnp.asarray(curve._said(weights, x, jnp)), x, jnp)

    def along(weights: Any, x: Any, direction: Any) -> Any:
        return jax.jvp(lambda w: jax.jacfwd(predicted)(w, x), (weights,), (direction,))[1]

    compiled = jax.jit(jax.jacfwd(predicted)), jax.jit(along)

    def found(weights: Any, x: Any, *direction: Any) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(compiled[len(direction)](weights, x, *direction))

    return found


def check_names(asked: Iterable[str], known: Sequence[str]) -> Iterable[str]:
    """The names asked for, if all are parameters. Raises SettingsError, with the nearest that is one."""
    asked = tuple(asked)
    for name in asked:
        if name not in known:
            raise SettingsError(
                f"{name!r} is no parameter of the curve: its parameters are {', '.join(known)}{did_you_mean(name, known)}"
            )
    return asked


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(str(name) for name in names)


def _takes_weights_first(function: Any) -> bool:
    """Whether it is f(weights, x), by the name of its first argument."""
    try:
        first = next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):
        return False
    return first in _WEIGHTS_FIRST


def _parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names after x in the signature of f(x, a, b, …)."""
    say = "give the parameters' names as names=('a', 'b')."
    try:
        arguments = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise SettingsError(f"the signature of {function!r} cannot be read: {say}") from None
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if _takes_weights_first(function) or any(each.kind in loose for each in arguments):
        raise SettingsError(
            f"the signature of {getattr(function, '__name__', function)} does not name the parameters: {say}"
        )
    return tuple(each.name for each in arguments[1:] if each.kind is not inspect.Parameter.KEYWORD_ONLY)
