"""The way a descent went, as data: what the loop recorded, step by step.

Pictures, reports and model files read it; nobody walks a second time. Why it ended is put into words in ``ending.py``.
"""

import dataclasses
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent, Stop, words_of
from fallline.exceptions import FalllineError, SettingsError
from fallline.markup import curves, shown
from fallline.model.network import Model
from fallline.words import counted, written

# Up to this many weights every step is kept; above it the path is thinned to this many bytes.
EVERY_STEP_UP_TO = 1000
THINNED_BYTES = 64 << 20


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told now and then on the way."""

    steps: int
    max_iter: int
    passes: int
    error: float
    n_rows: float
    watched: dict[str, float]
    watched_rows: dict[str, float]
    weights: np.ndarray  # the lowest so far
    stop: Stop
    epochs: int | None = None  # by mini-batches
    start: int = 1  # which of n_starts this is
    n_starts: int = 1
    phase: str = ""  # what these starts are for
    seconds: float = 0.0  # that this walk has taken so far

    @property
    def share(self) -> float:
        """How far this walk is on its way to ``max_iter``, where it ends at the latest: from 0 to 1."""
        return (self.steps if self.epochs is None else self.epochs) / max(self.max_iter, 1)

    @property
    def pace(self) -> str:
        """How many passes over the rows this walk has made, and how many rows it sums up in a second, in words."""
        rate = self.passes * self.n_rows / self.seconds if self.seconds > 0 else 0.0
        return f"{counted(self.passes, 'pass', 'passes')}, {counted(float(f'{rate:.2g}'), 'row')} a second"


_GIVEN = ("model", "descent", "alpha", "input_names")  # of a path: what the walk was given
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
    strength: Any
    input_names: Any

    @property
    def every_step(self) -> bool:
        """Whether ``weights`` holds every step, or was thinned."""
        return len(self.weight_steps) > int(self.steps[-1]) - int(self.steps[0])

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
            # By mini-batches weights are kept between points, too; where they were thinned, not at every point.
            table = np.full((self.model.n_weights, len(self.steps)), np.nan)  # a row for each weight
            _, points, kept = np.intersect1d(self.steps, self.weight_steps, return_indices=True)
            table[:, points] = np.asarray(self.weights)[kept].T
            columns |= dict(zip(self.weight_names, table, strict=True))
        return {name: np.array(values) for name, values in columns.items()}

    def to_frame(self, weights: bool = True, backend: str | None = None) -> Any:
        """The path as a data frame, a row for each point; the columns are those of ``to_dict``.

        backend: "pandas", "polars" or "pyarrow"; without it, pandas or else Polars, whichever is installed. A weight
        is NaN (pandas) or null where the weights were thinned out. Raises SettingsError for another backend,
        FalllineError, in a sentence, where the library is missing.
        """
        gaps = self.weight_names if weights and not self.every_step else ()
        return to_native_frame(self.to_dict(weights), backend, gaps)

    def _repr_html_(self) -> str:
        """The error along the path, and where it went in a few lines."""
        errors = {"training rows": np.asarray(self.error) / self.n_rows}
        errors |= {f"{name} rows": np.asarray(each) / self.watched_rows[name] for name, each in self.watched.items()}
        facts = {
            "model": self.model,
            "descent": words_of(self.descent) if hasattr(self, "descent") else "",
            "E at the start": written(float(self.error[0])),
            "E at its lowest": f"{written(self.at_best(self.error))}, step {int(self.best_step):,}",
            "ended": getattr(self, "stop_message", ""),
        }
        return shown("The path of a descent", facts, curves(errors, self.steps, "error per row"))

    def at_best(self, values: np.ndarray) -> float:
        """Of values (m,) at the points, the one at ``best_weights``."""
        return float(values[np.searchsorted(self.steps, self.best_step)])


def to_native_frame(columns: dict[str, Any], backend: str | None, gaps: Sequence[str] = ()) -> Any:
    """Columns as a data frame: see ``Recorded.to_frame``. NaN in the columns ``gaps`` becomes null where there is null."""
    import narwhals as nw  # only here: a path is made without it

    library: Any = _frame_library(backend)
    frame = nw.from_dict(columns, backend=library)
    if gaps and library != "pandas":
        frame = frame.with_columns(nw.col(*gaps).fill_nan(None))
    return frame.to_native()


def _frame_library(asked: str | None) -> str:
    """The data frame library to use: the one asked for, or the first of pandas and Polars that is installed."""
    if asked is not None and asked not in _FRAMES:
        raise SettingsError(f"backend={asked!r} is not possible: choose one of {', '.join(map(repr, _FRAMES))}.")
    tried = _FRAMES[:2] if asked is None else (asked,)
    for name in tried:
        if importlib.util.find_spec(name) is not None:
            return name
    missing = " and ".join(tried)
    raise FalllineError(
        f"a data frame needs a library, and {missing} {'is' if asked else 'are'} not installed: "
        f"install {asked or 'pandas or polars'}, or use to_dict()."
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
    ``passes`` (m,) sums over the rows spent so far; ``shown`` {name: (m,)} the damping, or the
    learning rate of the step that led there, 0 at the start; ``watched`` {name: (m,)} E on rows that
    the descent did not see, ``watched_rows`` how many those are.
    ``weights`` and ``gradient`` (k, p) at the steps ``weight_steps`` (k,): every step (k = m) up to
    1 000 weights, thinned to 64 MB above, the first and the last always kept.

    Of a linear network more than 20 000 steps are taken at once; then ``steps`` are the points that were computed, every
    one up to 1 000 and ever fewer after, and all arrays are of these. Its ``passes`` are those that found its moments.

    By mini-batches a step is a batch and a point is the end of an epoch, the number of which is in ``epochs`` (m,), None
    otherwise; where an epoch is long, every fourth. E is exact, over all rows. An epoch is one pass and so is the E of a
    point; readings of the curvature count by the rows they take, rounded up. ``weights`` still hold every step up to
    1 000 weights and 256 MB, above that the points, thinned. ``gradient`` is that of the batch the next step goes by,
    times n/Σs of the batch: an estimate of the gradient over all rows, and so is ``gradient_norm``.

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
    epochs: np.ndarray | None = None
    input_names: tuple[str, ...] | None = None

    def kept(self) -> dict[str, Any]:
        """All that the walk found, by name: what ``path_of`` makes a path of again."""
        names = (field.name for field in dataclasses.fields(self) if field.name not in _GIVEN)
        return {name: getattr(self, name) for name in names}

    @property
    def n_steps(self) -> int:
        return int(self.steps[-1]) if len(self.steps) else 0

    @property
    def n_epochs(self) -> int | None:
        """Epochs of mini-batches, or None."""
        return None if self.epochs is None else int(self.epochs[-1] - self.epochs[0])

    @property
    def n_iter(self) -> int:
        """What ``max_iter`` counts: epochs by mini-batches, steps otherwise."""
        return self.n_steps if self.n_epochs is None else self.n_epochs

    @property
    def final_weights(self) -> np.ndarray:
        """The weights where the descent stopped: (p,). On divergence, the last that were kept."""
        return np.asarray(self.weights[-1])

    def __str__(self) -> str:
        thinned = "" if self.every_step else f" Weights kept at {len(self.weight_steps)} of {self.n_steps + 1} points."
        epochs = "" if self.n_epochs is None else f"{self.n_epochs} epochs, "
        return (
            f"{words_of(self.descent)}: {epochs}{self.n_steps} steps, {self.n_passes} passes, "
            f"E {self.error[0]:.6g} -> {self.error[-1]:.6g}. {self.stop_message}{thinned}"
        )


def path_of(
    kept: Any, model: Model, descent: Descent, alpha: Any, input_names: tuple[str, ...] | None
) -> DescentPath | None:
    """The path of which this was kept, None where it is not whole."""
    try:
        path = DescentPath(model=model, descent=descent, alpha=alpha, input_names=input_names, **kept)
        points, rows, p = len(path.steps), len(path.weight_steps), model.n_weights
        curves = [path.steps, path.error, path.penalised_error, path.gradient_norm, path.passes]
        curves += [*path.shown.values(), *path.watched.values(), *([] if path.epochs is None else [path.epochs])]
        fits = (
            points > 0
            and {each.shape for each in curves} == {(points,)}
            and path.weight_steps.shape == (rows,)
            and {path.weights.shape, path.gradient.shape} == {(rows, p)}
            and {path.best_weights.shape, path.strength.shape} == {(p,)}
            and path.watched.keys() == path.watched_rows.keys()
            and isinstance(path.stop_message, str)
        )
        if not (fits and np.isfinite([path.n_rows, path.seconds, path.best_step, path.n_passes]).all()):
            return None
        return dataclasses.replace(path, stop=Stop(path.stop))
    except (TypeError, ValueError, AttributeError):
        return None
