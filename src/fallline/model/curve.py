"""ŷ = f(x; a, b, …): a curve as a model, a formula in text or any function with a slope.

Its weights are its parameters, one number each. It goes down the same descents as a network. Nothing here knows
an error, a table or a descent.
"""

import contextlib
import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from fallline.exceptions import SettingsError, ShapeError
from fallline.model.formula import Formula, read_formula

# What the first argument of f(weights, x) is called.
_WEIGHTS_FIRST = ("weights", "w")
# Central differences lose least where the step is the cube root of the rounding: Press et al. (2007), *Numerical
# Recipes*, sec. 5.7.
_SHARE = float(np.finfo(np.float64).eps) ** (1.0 / 3.0)


@dataclass(frozen=True)
class Curve:
    """A curve ŷ = f(x; a, b, …) of one output, whose weights are its parameters.

    function: text such as ``"b1*(1 - exp(-b2*x))"``, in which names of ``columns`` are inputs and all other names are
    parameters; or ``f(x, a, b, …)`` as SciPy's ``curve_fit`` has it, x (n,) of one column, (columns, n) of several; or
    ``f(weights, x)``, recognised by the name of its first argument, x (n, columns). A function sees some of the
    rows at a time and gives each row's ŷ by that row alone, (n,).
    names: the parameters, in the order of the weights; without them, their order in the text or the signature.
    columns: what the inputs are called. given: parameters that are no weights; their values are inputs, after the columns.

    A function need not know JAX: what it takes from NumPy and from ``scipy.special`` is translated. One that cannot be
    translated either is differentiated by central differences, and ``derivatives`` is then ``"numerical"``.
    Two curves of the same function or formula are equal. Raises SettingsError for text or names that do not fit.
    """

    function: Any
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("x",)
    given: tuple[str, ...] = ()

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

    @property
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

    def groups(self) -> np.ndarray:
        """Which weights share one precision under Bayesian regularisation: (n_weights,) int, all −1, free."""
        return np.full(self.n_weights, -1)

    def weight_names(
        self, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A name for each weight, in order: that of the parameter."""
        return self.free

    @property
    def derivatives(self) -> str:
        """``"exact"``, or ``"numerical"`` where JAX cannot trace the function: by central differences then."""
        return "numerical" if _road(self) == "numerical" else "exact"

    def predict(self, weights: Any, x: Any, xp: Any = np) -> Any:
        """ŷ of rows x (n, inputs): (n, 1), with the array namespace ``xp``. Raises ShapeError for what does not fit."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ShapeError(
                f"x has shape {tuple(x.shape)}, but the curve takes (rows, inputs) = (n, {self.inputs}): "
                f"{', '.join((*self.columns, *self.given))}. For a single input, pass x[:, None]."
            )
        if weights.ndim != 1 or weights.shape[0] != self.n_weights:
            raise ShapeError(
                f"weights have shape {tuple(weights.shape)}, but the curve has {self.n_weights}: {', '.join(self.free)}."
            )
        if xp is np:
            with _double_precision():
                return self._column(np.asarray(self._call(weights, x, xp)), x, xp)
        if _road(self) == "numerical":
            return self._by_differences(weights, x)[:, None]
        return self._column(self._traced(weights, x, xp), x, xp)

    def _call(self, weights: Any, x: Any, xp: Any, wrap: Callable[[Any], Any] = lambda value: value) -> Any:
        """What the function says. Given parameters are the same in all rows: the first row's will do."""
        k = len(self.columns)
        if not x.shape[0]:
            return xp.zeros(0)
        value = {name: weights[i] for i, name in enumerate(self.free)}
        value |= {name: x[0, k + i] for i, name in enumerate(self.given)}
        if isinstance(self.function, Formula):
            return self.function(value | {name: x[:, i] for i, name in enumerate(self.columns)}, xp)
        if _takes_weights_first(self.function):
            return self.function(wrap(xp.stack([value[name] for name in self.names])), wrap(x[:, :k]))
        rows = x[:, 0] if k == 1 else x[:, :k].T
        return self.function(wrap(rows), *(wrap(value[name]) for name in self.names))

    def _traced(self, weights: Any, x: Any, xp: Any) -> Any:
        """The function on JAX arrays, which it may promote as it likes: it is not our code."""
        import jax

        if isinstance(self.function, Formula):
            return self._call(weights, x, xp)
        wrap = _Translated if _road(self) == "translated" else _as_it_is
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return _bare(self._call(weights, x, xp, wrap))

    def _column(self, predicted: Any, x: Any, xp: Any) -> Any:
        """ŷ as (n, 1); what is the same for all rows is repeated."""
        n = x.shape[0]
        shape = np.shape(predicted)
        if shape not in ((), (n,), (n, 1), (1, n), (1,)):
            raise ShapeError(
                f"the function of the curve gave shape {shape} for {n} rows: expected one number for each row, ({n},)."
            )
        column = xp.reshape(xp.asarray(predicted), (-1, 1))
        return xp.broadcast_to(column, (n, 1)).astype(xp.result_type(column.dtype, x.dtype))

    def _by_differences(self, weights: Any, x: Any) -> Any:
        """ŷ (n,) of a function that runs on NumPy arrays only, with slopes by central differences."""
        import jax

        n, p = x.shape[0], self.n_weights

        def ask(function: Any, shape: tuple[int, ...], *given: Any) -> Any:
            return _called_back(function, shape, x.dtype, *given)

        @jax.custom_jvp
        def value(w: Any, x: Any) -> Any:
            return ask(self._on_host, (n,), w, x)

        @value.defjvp
        def _(at: Any, along: Any) -> Any:
            # The rows are data: nobody asks how ŷ changes with them.
            return value(*at), ask(self._slopes_on_host, (n, p), *at) @ along[0]

        return value(weights, x)

    def _on_host(self, weights: Any, x: Any) -> np.ndarray:
        """ŷ (n,) by NumPy; NaN where the function gives up, so that a trial there is rejected."""
        weights, x = np.asarray(weights), np.asarray(x)
        try:
            with np.errstate(all="ignore"):
                return np.asarray(self.predict(weights, x)[:, 0], x.dtype)
        except (ArithmeticError, ValueError) as why:
            if isinstance(why, ShapeError):
                raise
            return np.full(len(x), np.nan, x.dtype)

    def _slopes_on_host(self, weights: Any, x: Any) -> np.ndarray:
        """∂ŷ/∂w (n, p) by central differences."""
        weights, x = np.asarray(weights), np.asarray(x)
        slopes = np.empty((len(x), len(weights)), x.dtype)
        for i, weight in enumerate(weights):
            reach = _SHARE * (abs(weight) or 1.0)
            above, below = weights.copy(), weights.copy()
            above[i], below[i] = weight + reach, weight - reach
            slopes[:, i] = (self._on_host(above, x) - self._on_host(below, x)) / (above[i] - below[i])
        return slopes

    def __str__(self) -> str:
        name = getattr(self.function, "__name__", str(self.function))
        return f"{name}: {', '.join(self.names)}"


def _called_back(function: Any, shape: tuple[int, ...], dtype: Any, *given: Any) -> Any:
    """What a function on the host says of traced arrays.

    JAX calls it from a thread in which 64 bits are not in force, and would cut doubles in half: they travel as pairs of
    whole numbers of 32 bits.
    """
    import jax

    wide = dtype == np.float64

    def on_host(*arrays: Any) -> np.ndarray:
        read = (np.ascontiguousarray(each) for each in arrays)
        found = np.asarray(function(*((each.view(dtype)[..., 0] if wide else each) for each in read)), dtype)
        return np.ascontiguousarray(found)[..., None].view(np.uint32) if wide else found

    if not wide:
        return jax.pure_callback(
            on_host, jax.ShapeDtypeStruct(shape, dtype), *given, vmap_method="sequential"
        )
    bits = [jax.lax.bitcast_convert_type(each, np.uint32) for each in given]
    like = jax.ShapeDtypeStruct((*shape, 2), np.uint32)
    said = jax.pure_callback(on_host, like, *bits, vmap_method="sequential")
    return jax.lax.bitcast_convert_type(said, dtype)


def _double_precision() -> Any:
    """Where JAX is loaded the function may be written in it, and must not lose half its digits."""
    jax = sys.modules.get("jax")
    return contextlib.nullcontext() if jax is None else jax.enable_x64(True)


def check_names(asked: Iterable[str], known: Sequence[str]) -> Iterable[str]:
    """The names asked for, if all are parameters. Raises SettingsError, with the nearest that is one."""
    asked = tuple(asked)
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise SettingsError(
                f"{name!r} is no parameter of the curve: its parameters are {', '.join(known)}{hint}"
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


@functools.lru_cache(maxsize=256)
def _road(curve: Curve) -> str:
    """How a function comes to JAX: "exact" as it is, "translated" from NumPy, or "numerical"; tried on two rows."""
    import jax
    import jax.numpy as jnp

    if isinstance(curve.function, Formula):
        return "exact"
    x = jax.ShapeDtypeStruct((2, curve.inputs), np.float64)
    w = jax.ShapeDtypeStruct((curve.n_weights,), np.float64)

    def trial(wrap: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        return lambda w, x: jnp.sum(curve._column(_bare(curve._call(w, x, jnp, wrap)), x, jnp))

    for name, wrap in (("exact", _as_it_is), ("translated", _Translated)):
        try:
            with (
                jax.enable_x64(True),
                jax.numpy_dtype_promotion("standard"),
                jax.numpy_rank_promotion("allow"),
            ):
                jax.eval_shape(jax.grad(trial(wrap)), w, x)
        except Exception:  # whatever a function that was not written for this may raise
            continue
        return name
    return "numerical"


def _as_it_is(value: Any) -> Any:
    return value


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, _Translated) else value


class _Translated(np.lib.mixins.NDArrayOperatorsMixin):
    """A JAX array that NumPy's functions take for one of their own: np.exp of it is jnp.exp."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        import jax.numpy as jnp
        import jax.scipy.special as special

        if method != "__call__" or options:
            return NotImplemented
        translated = getattr(jnp, ufunc.__name__, None) or getattr(special, ufunc.__name__, None)
        return NotImplemented if translated is None else _Translated(translated(*map(_bare, inputs)))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        import jax
        import jax.numpy as jnp

        translated = getattr(jnp, function.__name__, None)
        if translated is None:
            return NotImplemented
        args, options = jax.tree.map(
            _bare, (args, options), is_leaf=lambda each: isinstance(each, _Translated)
        )
        return jax.tree.map(_Translated, translated(*args, **options))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("this array is being traced and has no numbers")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.value, name)
        if callable(found):
            return lambda *args, **options: _Translated(found(*map(_bare, args), **options))
        return found if isinstance(found, (int, tuple, np.dtype)) else _Translated(found)

    def __getitem__(self, index: Any) -> Any:
        return _Translated(self.value[_bare(index)])

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return iter([_Translated(each) for each in self.value])
