"""The way a descent went, as data, and the sentence that says why it ended.

What the loop recorded, step by step. Pictures, reports and model files read it; nobody
walks a second time.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop, words_of
from fallline.exceptions import FalllineError, SettingsError
from fallline.network import Model

_FRAMES = ("pandas", "polars", "pyarrow")


class Recorded:
    """Points of a way as a table: what the path of a descent and that of a model file have in common."""

    model: Any
    steps: Any
    error: Any
    penalised_error: Any
    gradient_norm: Any
    passes: Any
    shown: Any
    watched: Any
    watched_rows: Any
    n_rows: Any
    weight_steps: Any
    weights: Any
    best_step: Any
    input_names: Any

    @property
    def every_step(self) -> bool:
        """Whether ``weights`` holds every step, or was thinned."""
        return len(self.weight_steps) == len(self.steps)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """A name for each weight, such as ``cement->h1``, from the names of the inputs where they are known."""
        if not hasattr(self.model, "weight_names"):
            return tuple(f"w{i + 1}" for i in range(self.model.n_weights))
        return _told_apart(self.model.weight_names(self.input_names))

    def to_dict(self, weights: bool = True) -> dict[str, np.ndarray]:
        """The path as columns (m,), a row for each point: {name: values}.

        "step", "passes", "error" (E), "penalised_error", "gradient_norm", then the descent's own numbers
        ("learning_rate", "momentum", "damping", …; they belong to the step that led to the point), E on watched rows
        ("validation error"), and with ``weights`` each weight by its name. A weight is NaN where the weights were
        thinned out.
        """
        columns = {
            "step": self.steps,
            "passes": self.passes,
            "error": self.error,
            "penalised_error": self.penalised_error,
            "gradient_norm": self.gradient_norm,
            **self.shown,
        }
        columns |= {f"{name} error": error for name, error in self.watched.items()}
        if weights:
            table = np.asarray(self.weights).T  # a column for each weight
            if not self.every_step:
                table = np.full((len(table), len(self.steps)), np.nan)
                table[:, np.searchsorted(self.steps, self.weight_steps)] = np.asarray(self.weights).T
            columns |= dict(zip(self.weight_names, table, strict=True))
        return {name: np.array(values) for name, values in columns.items()}

    def to_frame(self, weights: bool = True, backend: str | None = None) -> Any:
        """The path as a data frame, a row for each point; the columns are those of ``to_dict``.

        backend: "pandas", "polars" or "pyarrow"; without it, pandas or else Polars, whichever is installed. A weight
        is NaN (pandas) or null where the weights were thinned out. Raises SettingsError for another backend,
        FalllineError, in a sentence, where the library is missing.
        """
        import narwhals as nw  # only here: a path is made without it

        library: Any = _frame_library(backend)
        frame = nw.from_dict(self.to_dict(weights), backend=library)
        if weights and not self.every_step and library != "pandas":
            frame = frame.with_columns(nw.col(*self.weight_names).fill_nan(None))
        return frame.to_native()


def _frame_library(asked: str | None) -> str:
    """The data frame library to use: the one asked for, or the first of pandas and Polars that is installed."""
    if asked is not None and asked not in _FRAMES:
        raise SettingsError(
            f"backend={asked!r} is not possible: choose one of {', '.join(map(repr, _FRAMES))}."
        )
    tried = _FRAMES[:2] if asked is None else (asked,)
    for name in tried:
        if importlib.util.find_spec(name) is not None:
            return name
    missing = " and ".join(tried)
    raise FalllineError(
        f"a data frame needs a library, and {missing} {'is' if asked else 'are'} not installed: "
        f"install {asked or 'pandas or polars'}, or use path.to_dict()."
    )


def _told_apart(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number after one that was there before: an input may be called "bias"."""
    seen: dict[str, None] = {}
    for name in names:
        number, new = 2, name
        while new in seen:
            new, number = f"{name} ({number})", number + 1
        seen[new] = None
    return tuple(seen)


@dataclass(frozen=True, eq=False)
class DescentPath(Recorded):
    """The way a descent went, point by point, from the start (step 0) to where it stopped.

    With m points and p weights: ``steps`` (m,) step numbers; ``error`` (m,) E; ``penalised_error`` (m,)
    what was descended, E plus the penalty; ``gradient_norm`` (m,) of the penalised error;
    ``passes`` (m,) sums over the rows spent so far; ``shown`` {name: (m,)} the learning rate or the damping;
    ``watched`` {name: (m,)} E on rows that the descent did not see, ``watched_rows`` how many those are.
    ``weights`` and ``gradient`` (k, p) at the steps ``weight_steps`` (k,): every step (k = m) up to
    1 000 weights, thinned to 64 MB above, the first and the last always kept.

    ``alpha`` is the weight decay asked for, ``strength`` (p,) what each weight's was at the end: F = E + ½ Σ strength_i w_i².

    ``input_names`` are what the inputs are called, where that is known; ``to_dict`` and ``to_frame`` give it all as a table.

    ``best_weights`` (p,) are those of the lowest penalised error, or of the lowest validation error where a
    validation set judged; ``best_step`` is their step. ``stop`` and ``stop_message`` say why it ended.
    """

    model: Model
    descent: Descent
    steps: np.ndarray
    error: np.ndarray
    penalised_error: np.ndarray
    gradient_norm: np.ndarray
    passes: np.ndarray
    shown: dict[str, np.ndarray]
    watched: dict[str, np.ndarray]
    watched_rows: dict[str, float]
    n_rows: float
    weight_steps: np.ndarray
    weights: np.ndarray
    gradient: np.ndarray
    best_weights: np.ndarray
    best_step: int
    stop: Stop
    stop_message: str
    n_passes: int
    seconds: float
    alpha: float | str
    strength: np.ndarray
    input_names: tuple[str, ...] | None = None

    @property
    def n_steps(self) -> int:
        return int(self.steps[-1]) if len(self.steps) else 0

    @property
    def final_weights(self) -> np.ndarray:
        """The weights where the descent stopped: (p,). On divergence, the last that were kept."""
        return np.asarray(self.weights[-1])

    def __str__(self) -> str:
        thinned = (
            ""
            if self.every_step
            else f" Weights kept at {len(self.weight_steps)} of {len(self.steps)} points."
        )
        return (
            f"{words_of(self.descent)}: {self.n_steps} steps, {self.n_passes} passes, "
            f"E {self.error[0]:.6g} -> {self.error[-1]:.6g}. {self.stop_message}{thinned}"
        )


def stop_sentence(
    stop: Stop,
    descent: Descent,
    steps: int,
    best_step: int,
    best_error: float,
    tol: float,
    patience: int,
    judge: str | None,
    limit: float | None,
    column: str = "",
) -> str:
    """Why the descent ended, what was kept, and what to do where there is something to do.

    limit: the largest stable rate, of a descent that diverged; column: a sentence on the input that is the cause, if one is.
    """
    kept = f"The lowest-error weights are kept (step {best_step}, E = {best_error:.6g})"
    match stop:
        case Stop.FLAT:
            return f"Stopped at step {steps}: the gradient is zero to rounding, so no step has anything left to gain."
        case Stop.STALLED:
            return f"Stopped at step {steps}: no step, however short, lowers the error at this precision."
        case Stop.NO_CHANGE:
            return f"Stopped at step {steps}: the error fell by less than tol = {tol:g} (relative) over {patience} steps."
        case Stop.VALIDATION:
            return (
                f"Stopped early at step {steps}: the {judge} error had not fallen for {patience} steps. "
                f"The weights of step {best_step}, where it was lowest, are kept."
            )
        case Stop.MAX_ITER:
            return f"Stopped at max_iter = {steps} steps. More steps may lower the error further."
        case Stop.DIVERGED:
            rate = getattr(descent, "learning_rate", None)
            momentum = getattr(descent, "momentum", 0.0)
            form = "Nesterov's momentum" if getattr(descent, "nesterov", False) else "momentum"
            method = f" for {form} {momentum:g}" if momentum and not isinstance(momentum, str) else ""
            largest = f"; the largest stable rate there{method} is about {limit:.3g}" if limit else ""
            advice = f"a rate below {0.95 * limit:.2g}" if limit else "a smaller rate"
            cure = "" if column else ", and standardise the inputs if they are not"
            return (
                f"Diverged after step {steps}: learning rate {rate:g} is too large and the error grew without bound. "
                f"{kept}{largest}. {column}Take {advice} or learning_rate='auto'{cure}."
            )
        case Stop.INTERRUPTED:
            return f"Interrupted at step {steps}. {kept}."
        case Stop.ASKED:
            return f"Stopped at step {steps}, as a callback asked. {kept}."
    return ""
