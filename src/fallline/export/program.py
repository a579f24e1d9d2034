"""A fitted network as the few arrays that every export writes: from the cells of a row to predictions, all scaling inside."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError
from fallline.fit.fitted import FittedNetwork
from fallline.model.network import Network
from fallline.table.classes import class_names
from fallline.table.columns import Columns
from fallline.table.encoding import Entry
from fallline.words import free_name


@dataclass(frozen=True, eq=False)
class Program:
    """What is written: z = (x − centre) · coef + intercept, then f, layer by layer.

    ``entries`` are the columns of a table and how each becomes some of the d inputs x (``Columns.plan``); ``inputs`` are the
    names of these. ``centre`` (d,); ``layers``: (coef (in, out), intercept (out,)) of each, in the users' units, so that nothing
    has to be scaled before or after. ``classes``: their names where outputs are to become probabilities. ``about``: sentences for
    a comment.
    """

    name: str
    entries: tuple[Entry, ...]
    inputs: tuple[str, ...]
    centre: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    network: Network
    targets: tuple[str, ...]
    classes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the numbers that come out are called: the targets, or the classes."""
        return self.classes or self.targets

    @property
    def plain(self) -> bool:
        """Whether every column is a number as it is: no category, no date, no mark of what is missing."""
        return all(entry["kind"] in ("number", "boolean") and not entry["missing"] for entry in self.entries)

    def activation(self, layer: int) -> tuple[str, int]:
        """f of a layer, and how many of its last units hand on what enters them."""
        last = layer == len(self.layers) - 1
        return (self.network.output_activation, 0) if last else (self.network.activation, self.network.linear_units)


def program_of(model: Any, single: bool = False) -> Program:
    """The program of a ``SavedModel`` (``load_model``) or a fitted estimator; ``single``: of one network of a combination.

    Raises SettingsError, one sentence, for anything else.
    """
    fitted: FittedNetwork | None = getattr(model, "fitted", getattr(model, "_fitted", None))
    if fitted is None or not isinstance(fitted, FittedNetwork):
        raise SettingsError(
            f"An object of type {type(model).__name__} cannot be exported: give a fitted NetworkRegressor or NetworkClassifier, "
            "or what load_model read."
        )
    combined = fitted.starts is not None and fitted.network != fitted.starts.network
    about = getattr(model, "about", {})
    fitted = fitted.alone() if single else fitted
    columns: Columns | None = getattr(model, "columns", getattr(model, "columns_", None))
    said = [text for text in (about.get("rows"), about.get("alone") if single else None) if isinstance(text, str)]
    if single and combined:
        said.insert(0, "One network of those that the model combines.")
    if columns is None:
        inputs = _names_of(model, fitted.network.inputs)
        entries: tuple[Entry, ...] = tuple(
            {"kind": "number", "name": name, "mean": 0.0, "missing": False} for name in inputs
        )
        classes = tuple(class_names(list(model.classes_))) if hasattr(model, "classes_") else ()
        targets = ("y",) if fitted.network.outputs == 1 else tuple(f"y{j + 1}" for j in range(fitted.network.outputs))
    else:
        inputs, entries = columns.encoded_names, columns.plan
        classes, targets = class_names(columns.classes), columns.targets
        if hasattr(model, "classes_"):
            classes = tuple(class_names(list(model.classes_)))
    centre, layers = _unscaled(fitted)
    name = _title(about, targets)
    return Program(name, tuple(entries), tuple(inputs), centre, layers, fitted.network, targets, classes, tuple(said))


def _title(about: Mapping[str, Any], targets: Sequence[str]) -> str:
    source = about.get("table")
    return f"{', '.join(targets)} from {source}" if isinstance(source, str) else ", ".join(targets)


def _names_of(model: Any, count: int) -> tuple[str, ...]:
    given = getattr(model, "feature_names_in_", None)
    return tuple(map(str, given)) if given is not None else tuple(f"x{i + 1}" for i in range(count))


def _unscaled(fitted: FittedNetwork) -> tuple[np.ndarray, tuple[tuple[np.ndarray, np.ndarray], ...]]:
    """The centre of the inputs, and the layers with all scaling inside.

    The centre is kept apart: folded into the intercepts it would cost digits where inputs are as 1e9 ± 1.
    """
    scaling, network = fitted.scaling, fitted.network
    layers = [
        (np.array(coef, float), np.zeros(np.shape(coef)[1]) if intercept is None else np.array(intercept, float))
        for coef, intercept in network.layers(fitted.weights)
    ]
    coef, intercept = layers[0]
    coef = coef if scaling.scores is None else scaling.scores @ coef
    layers[0] = (coef / scaling.x_scale[:, None], intercept)
    coef, intercept = layers[-1]
    layers[-1] = (coef * scaling.y_scale, intercept * scaling.y_scale + scaling.y_mean)
    return np.array(scaling.x_mean, float), tuple(layers)


def identifiers(names: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """The names as words of a programming language: ASCII letters, digits and underscores, each once, none of them reserved."""
    found: list[str] = []
    taken = set(reserved)
    for name in names:
        word = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or "column"
        word = f"x_{word}" if word[0].isdigit() else word
        word = free_name(word, taken)
        taken.add(word)
        found.append(word)
    return found


def number(value: float) -> str:
    """A number that reads back as the same float64."""
    return repr(float(value))
