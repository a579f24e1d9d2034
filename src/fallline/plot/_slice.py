"""A fitted model along one or two of its inputs, the others held where most rows are.

Any model of fallline, or an estimator with ``predict``, is seen as the same few things: numbers in, numbers out,
and a name for each.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.plot.display import is_saved
from fallline.words import listed, minus

_SAID = 4  # held inputs that a label can name
_LINE = 56  # letters to a line of it


@dataclass(frozen=True, eq=False)
class Seen:
    """A fitted model and rows it is looked at beside.

    x (n, inputs) as numbers, encoded where columns were text or dates; ``names`` of these inputs; ``indicators``
    (inputs,): those that are 0 or 1 by construction. ``predict``: (m, inputs) → (m, outputs), in the targets' units.
    ``fitted``: the network and its scaling, None for a model of another library. ``columns``: how a table became these inputs,
    None where there was none.
    """

    x: np.ndarray
    names: tuple[str, ...]
    indicators: np.ndarray
    targets: tuple[str, ...]
    predict: Callable[[np.ndarray], np.ndarray]
    fitted: Any = None
    columns: Any = None

    def places(self) -> dict[str, list[int]]:
        """The numbers of the inputs of each column, by its name: several where a column of a table is encoded in several."""
        return {name: [i] for i, name in enumerate(self.names)} if self.columns is None else self.columns.places

    def feature(self, feature: int | str) -> int:
        """The number of an input, given by number or name."""
        if isinstance(feature, str) and feature in self.names:
            return self.names.index(feature)
        if not isinstance(feature, (str, bool)) and 0 <= int(feature) < len(self.names):
            return int(feature)
        raise SettingsError(
            f"there is no input {feature!r}: the model has {len(self.names)}, {listed(self.names, 12)}; give a name, or a number "
            "counted from 0."
        )

    def target_name(self, j: int, y: Any) -> str | None:
        """What target number ``j`` is called: by the model, or by the Series it came in; None where it has no name."""
        if self.targets[j] != "prediction":
            return self.targets[j]
        name = getattr(y, "name", None)
        return name if isinstance(name, str) else None

    def output(self, output: int | None) -> int:
        """The number of the output to show; it must be chosen where there are several."""
        if output is None and len(self.targets) == 1:
            return 0
        if output is None or not 0 <= output < len(self.targets):
            raise SettingsError(
                f"output={output} chooses none of the {len(self.targets)} targets; a Display shows one: "
                f"pass output=0 to output={len(self.targets) - 1}."
            )
        return output

    def held(self) -> np.ndarray:
        """(inputs,) medians of the rows; indicators as they stand most often, together: the median of each
        alone would be a row of no category."""
        values = np.median(self.x, axis=0)
        if self.indicators.any():
            kinds, counts = np.unique(self.x[:, self.indicators], axis=0, return_counts=True)
            values[self.indicators] = kinds[np.argmax(counts)]
        return values

    def held_words(self, varied: Sequence[int]) -> str:
        """What the other inputs are held at, "" where there are none."""
        others = [i for i in range(len(self.names)) if i not in varied]
        if not others:
            return ""
        held = self.held()
        told = listed((f"{self.names[i]} {minus(f'{held[i]:.4g}')}" for i in others), _SAID)
        where = "most frequent value" if self.indicators[others].all() else "median"
        return f"{told}, held at {f'its {where}' if len(others) == 1 else f'their {where}s'}"

    def along(self, varied: Sequence[int], values: np.ndarray) -> np.ndarray:
        """Rows (m, inputs) to predict: the varied inputs take ``values`` (m, len(varied))."""
        rows = np.tile(self.held(), (len(values), 1))
        rows[:, list(varied)] = values
        return rows


def seen(model: Any, X: Any, names: Sequence[str] | None = None) -> Seen:
    """A ``NetworkRegressor``, ``FittedNetwork``, ``SavedModel`` or another estimator with ``predict``, beside rows X."""
    if is_saved(model):
        return _saved(model, X)
    columns = getattr(model, "columns_", None)
    x = model._encoded(X) if columns is not None else np.asarray(X)
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise ShapeError(
            f"X has shape {x.shape} and holds {x.dtype}; expected numbers, (rows, inputs). For a single input, pass x[:, None]."
        )
    x = x.astype(np.float64)
    if columns is not None:
        names = columns.encoded_names
    elif names is None:
        names = getattr(model, "feature_names_in_", getattr(X, "columns", None))
    names = [f"x{i + 1}" for i in range(x.shape[1])] if names is None else [str(name) for name in names]
    if len(names) != x.shape[1]:
        raise ShapeError(f"{len(names)} names were given for {x.shape[1]} inputs; expected one for each.")
    fitted = model if hasattr(model, "scaling") else getattr(model, "_fitted", None)
    indicators = np.zeros(x.shape[1], bool) if columns is None else columns.indicators
    if fitted is None:
        predict = _predicting(model, X)
        outputs = predict(x[:1]).shape[1]
    else:
        predict, outputs = fitted.predict, fitted.network.outputs
        if x.shape[1] != fitted.network.inputs:
            raise ShapeError(f"X has {x.shape[1]} columns, but the network takes {fitted.network.inputs}.")
    targets = tuple("prediction" if outputs == 1 else f"y{j + 1}" for j in range(outputs))
    return Seen(x, tuple(names), indicators, targets, predict, fitted, columns)


def _saved(model: Any, X: Any) -> Seen:
    from fallline.table.frames import table_from_frame

    table, columns = table_from_frame(X), model.columns
    columns.check(list(table.columns))
    return Seen(
        columns.encode(table.columns), columns.encoded_names, columns.indicators, _outputs_of(columns),
        model.fitted.predict, model.fitted, columns,
    )  # fmt: skip


def _outputs_of(columns: Any) -> tuple[str, ...]:
    """What each output of a saved model predicts: a target, or a class; of two classes the second."""
    if not columns.classes:
        return tuple(columns.targets)
    from fallline.table.classes import class_names

    return tuple(class_names(columns.classes)[-columns.outputs :])


def _predicting(model: Any, X: Any) -> Callable[[np.ndarray], np.ndarray]:
    """``model.predict`` as a function (m, inputs) → (m, outputs); a frame is asked for with a frame."""
    named = hasattr(model, "feature_names_in_") and hasattr(X, "columns")

    def predict(x: np.ndarray) -> np.ndarray:
        rows = type(X)(x, columns=list(X.columns)) if named else x
        predicted = np.asarray(model.predict(rows), np.float64)
        return predicted[:, None] if predicted.ndim == 1 else predicted

    return predict


def under(feature: str, held: str) -> str:
    """The label of an axis, with what is held below it, in lines that a small picture has room for."""
    return "\n".join([feature, *textwrap.wrap(f"({held})", _LINE)]) if held else feature


def target_of(model: Any, X: Any, y: Any, seen: Seen) -> np.ndarray:
    """y as numbers (n, outputs); where it is None, the target columns of a table that a saved model is shown."""
    if y is None and is_saved(model):
        from fallline.table.frames import table_from_frame

        return np.asarray(model.columns.target_values(table_from_frame(X).columns))
    values = np.asarray(y, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape != (len(seen.x), len(seen.targets)):
        raise ShapeError(
            f"y has shape {values.shape}; expected a number for each of the {len(seen.x)} rows and {len(seen.targets)} "
            "targets."
        )
    return values


def band_beside(
    model: Any, seen: Seen, x: np.ndarray, y: np.ndarray, sample_weight: Any, coverage: float
) -> np.ndarray | None:
    """Lower and upper ends (m, outputs, 2) of the prediction band at x (m, inputs); y (n, outputs) are the targets of ``seen.x``.

    By the fit's own intervals; of a network that has none, by those of the starts that it averages. None where there are
    neither, as after ``partial_fit``, or where the rows leave nothing to see the noise by.
    """
    from fallline.sure.fitted_intervals import FittedIntervals
    from fallline.sure.intervals import intervals_of

    known, fitted = getattr(model, "intervals", None), seen.fitted
    try:
        if callable(known) and hasattr(model, "_fitted"):
            known = known()
        elif not isinstance(known, FittedIntervals):
            if fitted is None or not fitted.averages():
                return None
            rows = fitted.rows(seen.x, y, sample_weight)
            scaled = intervals_of(fitted.alone().network, fitted.averages(), rows)
            known = FittedIntervals(scaled, fitted)
    except (SettingsError, TableError):
        return None
    return known.interval(x, coverage)
