"""Optax's gradient transformations as descents. Optax itself is never imported: what has ``init`` and ``update`` is one."""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent
from fallline.descent.batches import ByBatches, check_batches
from fallline.descent.penalty import Penalty
from fallline.exceptions import SettingsError


@dataclass(repr=True, eq=True)
class Transformation(ByBatches):
    """Any Optax gradient transformation: w ← w + update(g), g the gradient of F/n (per row).

    transformation: what an Optax optimiser is, such as ``optax.adam(1e-3)``, which holds its own rate and
    schedule; a schedule counts steps. ``descend`` and ``NetworkRegressor(descent=…)`` wrap one by themselves.
    batch_size rows make the gradient of a step; None: all of them. The weights are one vector to it. The value F/n and the
    gradient are handed on to a transformation that asks for them. Raises SettingsError for one that asks for
    more, such as ``optax.lbfgs``, whose line search needs the error at other weights.
    """

    transformation: Any
    batch_size: int | None = None

    def check(self) -> None:
        check_batches(self)
        if not is_transformation(self.transformation):
            raise SettingsError(
                f"transformation={self.transformation!r} is not possible: expected an Optax gradient transformation, "
                "such as optax.adam(1e-3), with functions init and update."
            )
        two = np.zeros(2)
        try:
            self.move(self.remember(two), two, two, 0.0, 0.0)
        except TypeError as why:
            if "argument" not in str(why):
                raise
            raise SettingsError(
                f"this transformation asks for more than the gradient and the error where the descent stands ({why}). "
                "For a line search take fallline's own LBFGS; otherwise a transformation that goes by the gradient."
            ) from None

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        return ()

    def remember(self, weights: np.ndarray) -> Any:
        with _double():
            return self.transformation.init(weights)

    def kept(self, memory: Any) -> list[np.ndarray]:
        import jax

        return [np.asarray(leaf) for leaf in jax.tree.leaves(memory)]

    def again(self, kept: list[np.ndarray], weights: np.ndarray) -> Any:
        import jax

        with _double():
            leaves, form = jax.tree.flatten(self.remember(weights))
            arrays = [
                jax.numpy.asarray(new, jax.numpy.asarray(leaf).dtype) for new, leaf in zip(kept, leaves, strict=True)
            ]
            return jax.tree.unflatten(form, arrays)

    def move(
        self, memory: Any, weights: np.ndarray, gradient: np.ndarray, rate: float, error: float
    ) -> tuple[Any, np.ndarray]:
        with _double():
            memory, moved = _compiled(self.transformation.update)(memory, weights, gradient, error)
        return memory, np.asarray(moved)


@functools.lru_cache(maxsize=8)
def _compiled(update: Any) -> Any:
    """One step as JAX compiles it: a step of many small operations one by one would take milliseconds."""
    import jax
    import jax.numpy as jnp

    takes = inspect.signature(update).parameters.values()
    more = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes)

    @jax.jit
    def step(memory: Any, weights: Any, gradient: Any, error: Any) -> tuple[Any, Any]:
        given = {"value": jnp.asarray(error, weights.dtype), "grad": gradient} if more else {}
        change, new = update(gradient, memory, weights, **given)
        new = jax.tree.map(lambda now, was: jnp.asarray(now, jnp.asarray(was).dtype), new, memory)
        return new, weights + jnp.asarray(change, weights.dtype)

    return step


@contextlib.contextmanager
def _double() -> Iterator[None]:
    """A block in which JAX keeps 64 bits, and promotes dtypes and ranks as code from elsewhere may expect."""
    try:
        import jax
    except ImportError:
        raise SettingsError(
            "Optax transformations need JAX, which is not installed: pip install 'fallline[jax]', or take a descent of "
            "fallline's own, such as Adam()."
        ) from None
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def is_transformation(thing: Any) -> bool:
    """Whether it has what Optax's transformations have: callable ``init`` and ``update``."""
    return callable(getattr(thing, "init", None)) and callable(getattr(thing, "update", None))


def wrapped(descent: Any) -> Any:
    """A bare transformation as a descent; anything else as it is. Raises SettingsError for what is neither."""
    if isinstance(descent, (str, Descent)):
        return descent
    if is_transformation(descent):
        return Transformation(descent)
    raise SettingsError(
        f"descent={descent!r} is not possible: expected 'auto', the name of a descent, one such as GradientDescent(0.1), "
        "or an Optax transformation."
    )
