"""Adam: each weight has a rate of its own, from how large its gradients have been."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from fallline.descent import check_number
from fallline.descent.batches import ByBatches, check_batches


class AdamMemory(NamedTuple):
    """Decaying means of the gradient and of its square, and the number of steps they have seen."""

    mean: Any
    square: Any
    steps: Any


@dataclass(repr=True, eq=True)
class Adam(ByBatches):
    """Adam by mini-batches: Δw = −ε · m̂/(√v̂ + epsilon), m̂ and v̂ the running means of g and g².

    g is the gradient per row of a batch of ``batch_size`` rows; None: of all rows. The rate ε begins at
    learning_rate and, with decay a number, falls to zero over so many epochs by a cosine, where the walk ends;
    ``"cosine"``: over ``max_iter`` epochs; ``"inverse"``: ε/(1 + epochs); ``"none"``: it stays. beta_1 and beta_2
    in [0, 1) are the memories of m and v. Raises SettingsError, when the descent begins, for settings out of range.

    Source: Kingma & Ba (2015), arXiv 1412.6980, alg. 1.
    """

    learning_rate: float = 0.01
    batch_size: int | None = 128
    decay: float | str = 50
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    lengths: ClassVar[tuple[str, ...]] = ("batch_size",)

    def check(self) -> None:
        check_number(self, "learning_rate", 0.0, float("inf"), open_low=True)
        check_number(self, "beta_1", 0.0, 0.999999)
        check_number(self, "beta_2", 0.0, 0.99999999)
        check_number(self, "epsilon", 0.0, 1.0, open_low=True)
        check_batches(self)

    def remember(self, weights: Any) -> AdamMemory:
        zero = jax.tree.map(jnp.zeros_like, weights)
        return AdamMemory(zero, zero, jnp.zeros((), jax.tree.leaves(weights)[0].dtype))

    def move(
        self, memory: AdamMemory, weights: Any, gradient: Any, rate: Any, error: Any
    ) -> tuple[AdamMemory, Any]:
        dtype = memory.steps.dtype
        one, two, small = (jnp.asarray(each, dtype) for each in (self.beta_1, self.beta_2, self.epsilon))
        steps = memory.steps + 1.0
        mean = jax.tree.map(lambda m, g: one * m + (1.0 - one) * g, memory.mean, gradient)
        square = jax.tree.map(lambda v, g: two * v + (1.0 - two) * g * g, memory.square, gradient)
        # Both means begin at zero: divided by the share of the memory that is filled.
        root = jnp.sqrt(1.0 - two**steps)
        rate = rate * root / (1.0 - one**steps)
        weights = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + small * root), weights, mean, square
        )
        return AdamMemory(mean, square, steps), weights
