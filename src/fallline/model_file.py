"""One model, one file: safetensors for the arrays, JSON for the rest.

Writing is whole or not at all. Reading parses bytes and does nothing else: no import,
no code from the file, no second file. A digest over the content tells a damaged file
from a whole one.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fallline.columns import Columns, Scaling
from fallline.exceptions import FalllineError, ModelFileError
from fallline.files import atomic_write
from fallline.fit import FittedNetwork
from fallline.network import Network

SUFFIX = ".fallline"
_FORMAT = 1
_CURVE = "curve."
_SCALING = "scaling."


@dataclass(frozen=True, eq=False)
class SavedModel:
    """What a model file holds.

    ``fitted``: the network, its weights and scaling. ``columns``: how a table becomes its inputs.
    ``curve``: {"step": (m,), "training": (m,), …} E on each set of rows at each step, in scaled units.
    ``about``: what was done, as JSON allows: command, descent, stop, rows, figures, seed, versions.
    """

    fitted: FittedNetwork
    columns: Columns
    curve: Mapping[str, np.ndarray]
    about: Mapping[str, Any] = field(default_factory=dict)


def save_model(model: SavedModel, path: Path | str) -> None:
    """Write a model to one file. Raises OutputError, in a sentence, where the folder cannot be written."""
    network, scaling = model.fitted.network, model.fitted.scaling
    arrays = {"weights": model.fitted.weights}
    arrays |= {_SCALING + name: array for name, array in scaling.to_arrays().items()}
    arrays |= {_CURVE + name: array for name, array in model.curve.items()}
    arrays = {name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()}
    said = {
        "format": _FORMAT,
        "network": {
            "sizes": list(network.sizes),
            "activation": network.activation,
            "output_activation": network.output_activation,
            "bias": network.bias,
        },
        "columns": model.columns.to_dict(),
        "about": dict(model.about),
    }
    text = json.dumps(said, ensure_ascii=False, allow_nan=False, sort_keys=True)
    # One entry of metadata: several would be written in another order each time.
    atomic_write(Path(path), safetensors.numpy.save(arrays, {"fallline": f"{_digest(text, arrays)} {text}"}))


def load_model(path: Path | str) -> SavedModel:
    """Read a model file. Raises ModelFileError, in a sentence, where it is missing, damaged or not fallline's."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(
            f"there is no model file {str(path)!r}: give the file that `fallline fit` wrote."
        ) from None
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
        raise ModelFileError(
            f"{name} is a safetensors file of another program: give a file that `fallline fit` wrote."
        )
    digest, _, text = entry.partition(" ")
    if digest != _digest(text, arrays):
        raise _damaged(name)
    try:
        said = json.loads(text)
        if said["format"] != _FORMAT:
            raise ModelFileError(
                f"{name} is written in format {said['format']!r}, and this fallline reads format {_FORMAT}: "
                "read it with the version that wrote it, or fit again."
            )
        network = Network(
            tuple(said["network"]["sizes"]), said["network"]["activation"], said["network"]["output_activation"],
            bias=said["network"]["bias"],
        )  # fmt: skip
        columns = Columns.from_dict(said["columns"])
        scaling = Scaling.from_arrays(_under(_SCALING, arrays))
        fitted = FittedNetwork(network, arrays["weights"], scaling)
        network.layers(fitted.weights)
        if fitted.weights.dtype != np.float64 or not np.isfinite(fitted.weights).all():
            raise ValueError("the weights are not finite numbers")
        widths = (len(columns.encoded_names), len(scaling.x_mean), len(columns.targets), len(scaling.y_mean))
        if widths != (network.inputs, network.inputs, network.outputs, network.outputs):
            raise ValueError("columns, scaling and network do not fit each other")
        return SavedModel(fitted, columns, _under(_CURVE, arrays), dict(said["about"]))
    except ModelFileError:
        raise
    except (
        FalllineError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as problem:
        raise ModelFileError(
            f"{name} is not a whole fallline model ({type(problem).__name__}: {problem}): "
            "fit again, or take the file from a backup."
        ) from None


def is_model_file(path: Path) -> bool:
    """Whether a file at ``path`` is one that fallline wrote: it may be replaced by the next fit."""
    try:
        with path.open("rb") as file:
            return b'"fallline"' in file.read(1 << 20)
    except OSError:
        return False


def _unpack(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a safetensors file."""
    try:
        arrays = safetensors.numpy.load(content)
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        if b'"fallline"' in content[: 1 << 20]:
            raise _damaged(name) from None
        raise ModelFileError(
            f"{name} is not a fallline model file: give a file that `fallline fit` wrote."
        ) from None
    return arrays, metadata if isinstance(metadata, dict) else {}


def _damaged(name: str) -> ModelFileError:
    return ModelFileError(f"{name} is damaged or cut short: take the file from a backup, or fit again.")


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """A fingerprint of everything a file holds, whatever the order of its arrays."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        whole.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()
