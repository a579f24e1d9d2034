"""One model, one file: safetensors for the arrays, JSON for the rest.

Writing is whole or not at all. Reading parses bytes and does nothing else: no import,
no code from the file, no second file. A digest over the content tells a damaged file
from a whole one.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fallline.exceptions import FalllineError, ModelFileError, ShapeError
from fallline.files import atomic_write, holds
from fallline.fit.average import Part, Starts
from fallline.fit.fitted import FittedNetwork
from fallline.model.network import Network
from fallline.sure.fitted_intervals import FittedIntervals
from fallline.sure.intervals import Intervals
from fallline.table.columns import Columns
from fallline.table.scaling import Scaling
from fallline.walk.path import Recorded
from fallline.walk.tree import digest_of

SUFFIX = ".fallline"
_FORMAT, _OF_CLASSES = 1, 2  # of classes: what reads numbers alone must not take them for such
_MARK, _HEAD = b'"fallline"', 1 << 20  # what tells a damaged model file from others, and within how many bytes
_HEADER = b'{"__metadata__":{"fallline":"'  # how a whole one begins, after the eight bytes of its length
_GIVE = "give a file that `fallline fit` wrote"
_CURVE = "curve."
_SCALING = "scaling."
_PATH = "path."
_STARTS = "starts."
_INTERVALS = "intervals."
_AMISS = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
_PATH_BYTES = 1 << 20  # all arrays of a path together
_CURVES = ("steps", "passes", "error", "penalised_error", "gradient_norm")


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a model file holds.

    ``fitted``: the network, its weights and scaling. ``columns``: how a table becomes its inputs.
    ``curve``: {"step": (m,), "training": (m,), …} E on each set of rows at each step, in scaled units.
    ``about``: what was done, as JSON allows: command, descent, stop, rows, figures, seed, versions.
    ``path``: the way the descent went, in scaled weights, or None where the file has none. Any path of ``descend`` can
    be saved; beyond 1 MiB it is thinned evenly, and what is read is a ``SavedPath``.
    ``intervals``: how far predictions may be off, or None where the file does not know.
    """

    fitted: FittedNetwork
    columns: Columns
    curve: Mapping[str, np.ndarray]
    about: Mapping[str, Any] = field(default_factory=dict)
    path: Recorded | None = None
    intervals: FittedIntervals | None = None

    @property
    def decay(self) -> float | np.ndarray:
        """The weight decay of the fit: one number, or (n_weights,) of the start shown where Bayesian regularisation found it."""
        alpha, starts = self.about.get("alpha", 0.0), self.fitted.starts
        if isinstance(alpha, (int, float)):
            return float(alpha)
        return 0.0 if starts is None else starts.each[starts.shown].strength


@dataclass(frozen=True, eq=False)
class SavedPath(Recorded):
    """The way a descent went, as a model file keeps it: points and weights of ``DescentPath``, and nothing else of it.

    With m points and p weights: ``steps``, ``passes``, ``error`` (E), ``penalised_error`` and ``gradient_norm``, each
    (m,); ``shown`` and ``watched`` {name: (m,)}; ``weights`` (k, p) at the steps ``weight_steps`` (k,), k from 0 to m.
    ``n_rows`` and ``watched_rows`` are the rows that E sums over; ``best_step`` is the step whose weights were taken,
    ``best_weights`` (p,), and ``strength`` (p,) each weight's own weight decay there.
    """

    model: Network
    steps: np.ndarray
    passes: np.ndarray
    error: np.ndarray
    penalised_error: np.ndarray
    gradient_norm: np.ndarray
    shown: dict[str, np.ndarray]
    watched: dict[str, np.ndarray]
    watched_rows: dict[str, float]
    n_rows: float
    weight_steps: np.ndarray
    weights: np.ndarray
    best_step: int
    best_weights: np.ndarray
    strength: np.ndarray
    input_names: tuple[str, ...] | None = None


def save_model(model: SavedModel, path: Path | str) -> None:
    """Write a model to one file.

    Raises OutputError, in a sentence, where the folder cannot be written, ShapeError for a path of another network.
    """
    network, scaling, starts = model.fitted.network, model.fitted.scaling, model.fitted.starts
    walked = network if starts is None else starts.network
    if model.path is not None and np.shape(model.path.weights)[1:] != (walked.n_weights,):
        raise ShapeError(
            f"the path has weights of shape {np.shape(model.path.weights)}, but the network has {walked.n_weights}: "
            "save the path that led to these weights, or path=None."
        )
    arrays = {"weights": model.fitted.weights}
    arrays |= {_SCALING + name: array for name, array in scaling.to_arrays().items()}
    if model.fitted.scores is not None:
        arrays["scores"] = model.fitted.scores
    arrays |= {_CURVE + name: array for name, array in model.curve.items()}
    arrays |= {} if starts is None else {_STARTS + name: array for name, array in starts.to_arrays().items()}
    arrays |= {_PATH + name: array for name, array in _path_arrays(model.path).items()}
    arrays = {name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()}
    if model.intervals is not None:
        known = model.intervals.scaled.to_arrays()
        arrays |= {_INTERVALS + name: np.ascontiguousarray(array) for name, array in known.items()}
    said = {
        "format": _OF_CLASSES if model.columns.classes else _FORMAT,
        "network": asdict(network),
        "columns": model.columns.to_dict(),
        "about": dict(model.about),
    }
    if starts is not None:
        hidden = list(starts.network.hidden)
        share, members = float(model.fitted.parts[0].share), model.fitted.members
        said["starts"] = {"hidden": hidden, "shown": starts.shown, "members": members, "share": share}
    if (path_ := model.path) is not None:
        rows = {name: float(count) for name, count in path_.watched_rows.items()}
        said["path"] = {"rows": float(path_.n_rows), "watched_rows": rows, "best_step": int(path_.best_step)}
    text = json.dumps(said, ensure_ascii=False, allow_nan=False, sort_keys=True)
    # One entry of metadata: several would be written in another order each time.
    atomic_write(Path(path), safetensors.numpy.save(arrays, {"fallline": f"{digest_of(text, arrays)} {text}"}))


def load_model(path: Path | str) -> SavedModel:
    """Read a model file. Raises ModelFileError, in a sentence, where it is missing, damaged or not fallline's."""
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ModelFileError(f"the model file {str(path)!r} is a pipe or a device: {_GIVE}.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {str(path)!r}: {_GIVE}.") from None
    except OSError as problem:
        raise ModelFileError(
            f"the model file {str(path)!r} cannot be read ({problem.strerror}): check the path."
        ) from None
    return parse_model(content, path.name)


def parse_model(content: bytes, name: str = "the model file") -> SavedModel:
    """The model in the bytes of a file; ``name`` is what messages call it. Raises ModelFileError."""
    arrays, metadata = _unpack(content, name)
    entry = metadata.get("fallline")
    if not isinstance(entry, str):
        raise ModelFileError(f"{name} is a safetensors file of another program: {_GIVE}.")
    digest, _, text = entry.partition(" ")
    try:
        if digest != digest_of(text, arrays):
            raise _damaged(name)
        said = json.loads(text)
        json.dumps(said, ensure_ascii=False).encode()  # half of a letter could not be written again
        if said["format"] not in (_FORMAT, _OF_CLASSES):
            raise ModelFileError(
                f"{name} is written in format {said['format']!r}, and this fallline reads formats {_FORMAT} and {_OF_CLASSES}: "
                "read it with the version that wrote it, or fit again."
            )
        network = Network(**said["network"])
        columns = Columns.from_dict(said["columns"])
        scaling = Scaling.from_arrays(_under(_SCALING, arrays))
        fitted = FittedNetwork(network, arrays["weights"], scaling)
        if "starts" in said:
            fitted = _with_starts(fitted, said["starts"], _under(_STARTS, arrays), arrays.get("scores"))
        network.layers(fitted.weights)
        if fitted.weights.dtype != np.float64 or not np.isfinite(fitted.weights).all():
            raise ValueError("the weights are not finite numbers")
        widths = (len(columns.encoded_names), len(scaling.x_mean), columns.outputs, len(scaling.y_mean))
        if widths != (network.inputs, network.inputs, network.outputs, network.outputs):
            raise ValueError("columns, scaling and network do not fit each other")
        path = _path_of(said["path"], _under(_PATH, arrays), fitted, columns) if "path" in said else None
        known, intervals = _under(_INTERVALS, arrays), None
        if known:
            intervals = FittedIntervals(Intervals.from_arrays(fitted.alone().network, known), fitted)
        return SavedModel(fitted, columns, _curve_of(arrays), _about_of(said["about"], columns), path, intervals)
    except ModelFileError:
        raise
    except (FalllineError, *_AMISS) as problem:
        raise ModelFileError(
            f"{name} is not a whole fallline model ({type(problem).__name__}: {problem}): "
            "fit again, or take the file from a backup."
        ) from None


def _with_starts(
    fitted: FittedNetwork, said: Mapping[str, Any], arrays: Mapping[str, np.ndarray], scores: np.ndarray | None
) -> FittedNetwork:
    """The network with the starts that a file holds. Raises ValueError, KeyError or TypeError where they do not fit it."""
    wide, shown, members = fitted.network, int(said["shown"]), int(said["members"])
    share = float(said.get("share", 1.0))
    if scores is not None and not (scores.ndim == 2 and len(scores) == wide.inputs and np.isfinite(scores).all()):
        raise ValueError("the scores and the network do not fit each other")
    seen = wide.inputs if scores is None else scores.shape[1]
    network = replace(wide, sizes=(seen, *said["hidden"], wide.outputs), linear_units=0)
    starts = Starts.from_arrays(network, arrays, shown)
    whole = replace(fitted, members=members, parts=(Part(starts, share),), scores=scores)
    fits = 0 <= shown < len(starts) and 0 < share <= 1 and members in (1, len(starts))
    if not fits or not (whole.is_mixture or network.side_by_side(members) == wide):
        raise ValueError("the starts and the network do not fit each other")
    return whole


def _path_arrays(path: Recorded | None, most: int = _PATH_BYTES) -> dict[str, np.ndarray]:
    """The arrays of a path by their names in a file, thinned to ``most`` bytes in all; {} without a path."""
    if path is None:
        return {}
    curves = {name: getattr(path, name) for name in _CURVES}
    curves |= {f"shown.{name}": values for name, values in path.shown.items()}
    curves |= {f"watched.{name}": values for name, values in path.watched.items()}
    weight_steps, weights = np.asarray(path.weight_steps), np.asarray(path.weights, np.float64)
    points, rows = _kept(path, 8 * len(curves), 8 * (1 + weights.shape[1]), most)
    return {name: np.asarray(values, np.float64)[points] for name, values in curves.items()} | {
        "weight_steps": weight_steps[rows],
        "weights": weights[rows],
        **({"strength": np.asarray(path.strength, np.float64)} if np.any(path.strength) else {}),
    }


def _kept(path: Recorded, a_point: int, a_row: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the points to keep and of the rows of weights, where each costs so many bytes: all if they fit.

    Otherwise evenly spaced, with the first, the last and the best. Where weights are few, every point kept has its own;
    where they are many, points are kept more densely; where not three rows of weights fit, none is.
    """
    steps, weight_steps, best = np.asarray(path.steps), np.asarray(path.weight_steps), path.best_step
    everything, left = np.arange(len(steps)), most - len(steps) * a_point
    if left >= len(weight_steps) * a_row:
        return everything, np.arange(len(weight_steps))
    together, dense = most // (a_point + a_row), most // 4 // a_point
    if path.every_step and len(weight_steps) == len(steps) and together >= dense:
        points = _evenly(steps, best, together)
        return points, points
    if len(steps) <= dense:
        return everything, _evenly(weight_steps, best, left // a_row)
    rows = _evenly(weight_steps, best, 3 * most // 4 // (a_point + a_row))
    at = np.searchsorted(steps, weight_steps[rows])
    return np.union1d(_evenly(steps, best, dense), at), rows


def _evenly(steps: np.ndarray, best_step: int, room: int) -> np.ndarray:
    """Indices of at most ``room`` points, evenly spaced, with the first, the last and the best; none if room is below 3."""
    if len(steps) <= room:
        return np.arange(len(steps))
    if room < 3:
        return np.arange(0)
    spaced = np.linspace(0, len(steps) - 1, room - 1).round().astype(int)
    return np.union1d(spaced, np.flatnonzero(steps == best_step))


def _path_of(
    said: Mapping[str, Any], arrays: Mapping[str, np.ndarray], fitted: FittedNetwork, columns: Columns
) -> SavedPath:
    """The path that a file holds. Raises ValueError, KeyError or TypeError where its parts do not fit each other."""
    alone = fitted.alone()
    network, whole_ones = alone.network, ("weights", "weight_steps", "strength")
    curves = {name: array for name, array in arrays.items() if name not in whole_ones}
    steps, weight_steps, weights = arrays["steps"], arrays["weight_steps"], arrays["weights"]
    strength = arrays.get("strength", np.zeros(network.n_weights))
    whole = np.concatenate([steps, arrays["passes"], weight_steps])
    shown, watched = _under("shown.", curves), _under("watched.", curves)
    rows = {name: float(said["watched_rows"][name]) for name in watched}
    n_rows, best_step = float(said["rows"]), int(said["best_step"])
    fits = (
        all(array.dtype == np.float64 for array in arrays.values())
        and len(steps) > 0
        and {array.shape for array in curves.values()} == {(len(steps),)}
        and weights.shape == (len(weight_steps), network.n_weights)
        and strength.shape == (network.n_weights,)
        and bool((np.isfinite(whole) & (whole == np.round(whole)) & (np.abs(whole) < 2.0**53)).all())
        and bool((np.diff(steps) > 0).all() and (np.diff(weight_steps) > 0).all())
        and bool((weight_steps >= steps[0]).all() and (weight_steps <= steps[-1]).all())
        and steps[0] <= best_step <= steps[-1]
        and all(0 < count < float("inf") for count in (n_rows, *rows.values()))
    )
    if not fits:
        raise ValueError("the path and the network do not fit each other")
    return SavedPath(
        model=network, steps=steps.astype(np.int64), passes=arrays["passes"].astype(np.int64), error=arrays["error"],
        penalised_error=arrays["penalised_error"], gradient_norm=arrays["gradient_norm"], shown=shown, watched=watched,
        watched_rows=rows, n_rows=n_rows, weight_steps=weight_steps.astype(np.int64), weights=weights,
        best_step=best_step, best_weights=alone.weights, strength=strength,
        input_names=tuple(fitted.input_names(columns.encoded_names)),
    )  # fmt: skip


def _curve_of(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The error at each step that a file holds. Raises ValueError where it is no curve."""
    curve = _under(_CURVE, arrays)
    if (
        any(array.ndim != 1 or array.dtype != np.float64 for array in curve.values())
        or len(set(map(len, curve.values()))) > 1
    ):
        raise ValueError("the error curve is not one number for each step")
    return curve


_SENTENCES = (
    "command", "table", "rows", "descent", "decay", "stop", "starts", "verdict", "matters", "alone", "comparison"
)  # fmt: skip


def _about_of(said: Any, columns: Columns) -> dict[str, Any]:
    """What a file says of its making, each part of the kind that ``fallline fit`` writes. Raises ValueError for another kind.

    What is not known here is kept as it is, for nothing reads it.
    """
    texts = {"from_model": str, "table": str}
    kinds: dict[str, Callable[[Any], bool]] = {name: lambda value: isinstance(value, str) for name in _SENTENCES}
    kinds |= dict.fromkeys(("steps", "passes", "seed"), _is_count)
    kinds |= {name: lambda value: _all_of(value, str) for name in ("read", "versions")}
    kinds |= {
        "alpha": lambda value: isinstance(value, str) or _is_number(value),
        "source": lambda value: (
            isinstance(value, dict)
            and (
                value.get("holdout", 0) == "last"
                or (_is_number(holdout := value.get("holdout", 0)) and 0 <= holdout < 1)
            )
            and _is_count(value.get("rows", 0))
            and all(isinstance(value.get(name, ""), kind) for name, kind in texts.items())
        ),
        "reading": lambda value: _all_of(value, dict),
        "figures": lambda value: (
            _all_of(value, list)
            and all(
                len(each) == len(columns.targets) and all(_are_figures(of, columns) for of in each)
                for each in value.values()
            )
        ),
    }
    wrong = [name for name, fits in kinds.items() if name in said and not fits(said[name])]
    if wrong:
        raise ValueError(f"`{wrong[0]}` of what it says of its making is not what `fallline fit` writes there")
    if "descent" in said and not {"steps", "passes"} <= said.keys():
        raise ValueError("it names a descent without the number of its steps and passes")
    return dict(said)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number, and no larger than another program could hold."""
    return type(value) in (int, float) and abs(value) < 1e308


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _all_of(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(each, kind) for each in value.values())


def _are_figures(of: Any, columns: Columns) -> bool:
    """Whether they are those of one target on one set of rows, as ``fallline.report.figures`` has them."""
    names = ("accuracy", "brier", "log_loss") if columns.classes else ("error", "rmse", "r2")
    fits = ("network", "logistic") if columns.classes else ("network", "ridge", "boosting")
    return (
        isinstance(of, dict)
        and _is_number(of.get("rows"))
        and of.keys() <= {"rows", *fits}
        and all(
            each is None
            or (isinstance(each, dict) and all(name in each for name in names) and all(map(_is_figure, each.values())))
            for each in (of.get(name) for name in fits)
        )
    )


def _is_figure(value: Any) -> bool:
    return value is None or _is_number(value)


def is_model_file(path: Path) -> bool:
    """Whether a file at ``path`` is one that fallline wrote: it may be replaced by the next fit."""
    return holds(path, _HEADER, len(_HEADER) + 8)


def fingerprint(path: Path) -> str:
    """The first letters of the digest of a whole model file: its report has them too, so that one sees they belong together."""
    with path.open("rb") as file:
        return file.read(len(_HEADER) + 24)[-16:].decode(errors="replace")


def _unpack(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a safetensors file."""
    try:
        arrays = safetensors.numpy.load(content)
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        if _MARK in content[:_HEAD]:
            raise _damaged(name) from None
        raise ModelFileError(f"{name} is not a fallline model file: {_GIVE}.") from None
    return arrays, metadata if isinstance(metadata, dict) else {}


def _damaged(name: str) -> ModelFileError:
    return ModelFileError(f"{name} is damaged or cut short: take the file from a backup, or fit again.")


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
