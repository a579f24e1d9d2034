"""The settings of a fit, and what ``"auto"`` means among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent
from fallline.exceptions import SettingsError
from fallline.model.network import Network

# What Levenberg–Marquardt takes of products a pass, up to which so many starts are a matter of seconds.
_STARTS = ((1e8, 10), (1e9, 5), (2e9, 3))

QUICK_STARTS = 3  # at most, where the effort is "quick"
USUAL = (20,)  # hidden units where no width is tried
# For fits that leave rows out: they need not arrive to the last digit. Intervals by them are 0.6 % narrower, by 4 % narrower to
# 1 % wider on twelve fits of four tables, in two thirds of the time.
NEARLY: dict[str, Any] = {"tol": 1e-3, "n_iter_no_change": 5}
LIGHT_DECAY = 0.1  # where none is found: by the gradient, or by early stopping, which holds back by itself

# What is different where the target is told by classes: E is the Brier score, in one scale for all classes.
OF_CLASSES: dict[str, Any] = {"one_target_scale": True, "output_activation": "logistic"}


@dataclass(frozen=True, eq=False)
class Settings:
    """How a network is fitted; names, meanings and defaults are those of ``NetworkRegressor``.

    Beside these: ``indicators`` (inputs,) marks columns of 0 and 1, ``one_target_scale`` divides all targets by one number,
    ``seed`` orders the rows and draws the starts, ``line`` is the weight decay of logistic regression beside the networks of a
    classifier, None without, and ``input_names`` are for messages and the names of the weights. ``checkpoint`` is a folder, or
    an open ``Checkpoint``.
    """

    hidden_layer_sizes: Sequence[int] | int | str = "auto"
    activation: str = "tanh"
    output_activation: str = "identity"
    bias: bool = True
    scale: bool = True
    one_target_scale: bool = False
    indicators: np.ndarray | None = None
    descent: Any = "auto"
    alpha: float | str = "auto"
    max_iter: int = 1000
    tol: float = 3e-4
    n_iter_no_change: int = 10
    max_seconds: float | None = None
    effort: str = "usual"
    seed: int | np.random.Generator | None = None
    n_starts: int | str = "auto"
    average: bool = True
    n_jobs: int | None = None
    line: float | None = None
    input_names: Sequence[str] | None = None
    checkpoint: Any = None

    def __post_init__(self) -> None:
        if self.effort not in ("usual", "quick"):
            raise SettingsError(f"effort={self.effort!r} is not possible: choose 'usual' or 'quick'.")

    @property
    def quick(self) -> bool:
        """Whether a third of the time is worth more than the last per cents of the error."""
        return self.effort == "quick"

    @property
    def finds_width(self) -> bool:
        """Whether the width of the network is to be found."""
        return isinstance(self.hidden_layer_sizes, str) and self.hidden_layer_sizes == "auto"

    @property
    def walk(self) -> dict[str, Any]:
        """What ``descend`` is told of the seed, of when to stop, and of where it is kept."""
        return {name: getattr(self, name) for name in ("seed", "max_iter", "tol", "n_iter_no_change", "checkpoint")}

    def network(self, inputs: int, outputs: int, hidden: Sequence[int] | None = None) -> Network:
        """The network that is asked for, with these hidden layers instead where they are given."""
        if hidden is None:
            hidden = USUAL if self.finds_width else hidden_sizes(self.hidden_layer_sizes)
        return Network((inputs, *hidden, outputs), self.activation, self.output_activation, bias=self.bias)


def starts_asked(settings: Settings, network: Network, descent: Descent, rows: int) -> int:
    """How many starts ``n_starts`` asks for. Raises SettingsError for anything but "auto" or a whole number from 1 up."""
    n_starts = settings.n_starts
    if n_starts == "auto":
        work = rows * network.outputs * network.n_weights**2
        quick = [count for most, count in _STARTS if work <= most]
        count = quick[0] if quick and descent.finds_penalty and network.hidden else 1
        return min(count, QUICK_STARTS) if settings.quick else count
    if isinstance(n_starts, (bool, str)) or n_starts is None or int(n_starts) != n_starts or n_starts < 1:
        raise SettingsError(f"n_starts={n_starts!r} is not possible: give a whole number from 1 up, or 'auto'.")
    return int(n_starts)


def hidden_sizes(given: Any) -> tuple[int, ...]:
    """``20``, ``(20,)`` or ``[]`` as a tuple of layer sizes. Raises SettingsError for anything else."""
    sizes: tuple[Any, ...] = (given,) if np.ndim(given) == 0 else tuple(given)
    strange = (type(None), bool, str, float)
    if any(isinstance(size, strange) or int(size) != size or size < 1 for size in sizes):
        raise SettingsError(
            f"hidden_layer_sizes={given!r} is not possible: give one whole number from 1 up for each hidden layer, "
            "such as (20,), () for none, or 'auto'."
        )
    return tuple(int(size) for size in sizes)
