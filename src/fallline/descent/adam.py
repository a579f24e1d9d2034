"""Adam: each weight has a rate of its own, from how large its gradients have been."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from fallline.descent import check_number
from fallline.descent.batches import ByBatches, check_batches


class AdamMemory(NamedTuple):
    """Decaying means of the gradient and of its square, and the number of steps they have seen."""

    mean: np.ndarray
    square: np.ndarray
    steps: int


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

    adaptive: ClassVar[bool] = True

    def check(self) -> None:
        check_number(self, "learning_rate", 0.0, float("inf"), open_low=True)
        check_number(self, "beta_1", 0.0, 0.999999)
        check_number(self, "beta_2", 0.0, 0.99999999)
        check_number(self, "epsilon", 0.0, 1.0, open_low=True)
        check_batches(self)

    def remember(self, weights: np.ndarray) -> AdamMemory:
        return AdamMemory(np.zeros_like(weights), np.zeros_like(weights), 0)

    def packed(self, memory: AdamMemory) -> tuple[tuple[float, ...], np.ndarray, int]:
        rule = (0.0, 0.0, self.beta_1, self.beta_2, self.epsilon)
        return rule, np.stack([memory.mean, memory.square]), memory.steps

    def unpacked(self, memory: np.ndarray, steps: int) -> AdamMemory:
        return AdamMemory(memory[0], memory[1], steps)

    def move(
        self, memory: AdamMemory, weights: np.ndarray, gradient: np.ndarray, rate: float, error: float
    ) -> tuple[AdamMemory, np.ndarray]:
        number = weights.dtype.type
        one, two, steps = number(self.beta_1), number(self.beta_2), memory.steps + 1
        mean = one * memory.mean + (1 - one) * gradient
        square = two * memory.square + (1 - two) * gradient * gradient
        # Both means begin at zero: divided by the share of the memory that is filled.
        root = math.sqrt(1.0 - self.beta_2**steps)
        rate = rate * root / (1.0 - self.beta_1**steps)
        weights = weights - number(rate) * mean / (np.sqrt(square) + number(self.epsilon * root))
        return AdamMemory(mean, square, steps), weights
