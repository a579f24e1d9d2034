"""Where a walk stands, as bytes: a tree of tuples, lists, numbers and arrays as safetensors and JSON, and back, bit by bit.

What is read is data, and nothing else: tuples become what ``classes`` names, and only that.
"""

import hashlib
import json
import struct
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fallline.exceptions import CheckpointError

_ENTRY = "fallline walk"


def classes_of(modules: Iterable[types.ModuleType]) -> dict[str, type]:
    """The named tuples that stand in these modules, by module and name."""
    things = [thing for module in modules for thing in vars(module).values()]
    return {_name(each): each for each in things if isinstance(each, type) and hasattr(each, "_fields")}


def _name(of: type) -> str:
    return f"{of.__module__}.{of.__qualname__}"


def packed(tree: Any, classes: Mapping[str, type]) -> bytes:
    """The tree as the content of a file. Raises CheckpointError where a part is none that can be kept."""
    import safetensors.numpy

    arrays: dict[str, np.ndarray] = {}
    places: dict[int, dict[str, str]] = {}  # an array that stands at several places is written once

    def of(part: Any) -> Any:
        if isinstance(part, (np.ndarray, np.generic)) and part.dtype.kind in "biuf":
            if id(part) not in places:
                array, name = np.asarray(part), str(len(arrays))
                # As it lies: BLAS may add up a transposed matrix in another order.
                turned = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
                arrays[name] = np.array(array.T if turned else array, order="C")
                places[id(part)] = {"n" if isinstance(part, np.generic) else "f" if turned else "a": name}
            return places[id(part)]
        if part is None or isinstance(part, (bool, int, float, str)):
            return part
        if isinstance(part, dict) and all(isinstance(name, str) for name in part):
            return {"d": {name: of(each) for name, each in part.items()}}
        if isinstance(part, list):
            return {"l": [of(each) for each in part]}
        if type(part) is tuple:
            return {"t": [of(each) for each in part]}
        if _name(type(part)) in classes:
            return {"c": _name(type(part)), "t": [of(each) for each in part]}
        raise CheckpointError(
            f"the descent remembers a {_name(type(part))}, which a checkpoint cannot keep: arrays, numbers and named tuples of "
            "the descent's own module are what it can. Fit without checkpoint, or take another descent."
        )

    text = json.dumps(of(tree))
    return bytes(safetensors.numpy.save(arrays, {_ENTRY: f"{digest_of(text, arrays)} {text}"}))


def unpacked(content: bytes, classes: Mapping[str, type]) -> Any:
    """The tree in the content of a file. Raises CheckpointError where it is not whole."""
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(content)
        (length,) = struct.unpack_from("<Q", content)
        digest, _, text = json.loads(content[8 : 8 + length])["__metadata__"][_ENTRY].partition(" ")
        if digest != digest_of(text, arrays):
            raise ValueError("another digest")

        def of(part: Any) -> Any:
            if not isinstance(part, dict):
                return part
            if "c" in part:
                return classes[part["c"]](*map(of, part["t"]))
            ((kind, held),) = part.items()
            if kind == "d":
                return {name: of(each) for name, each in held.items()}
            if kind in "lt":
                return (list if kind == "l" else tuple)(map(of, held))
            array = np.array(arrays[held])  # a copy: aligned, and its own
            return array[()] if kind == "n" else array.T if kind == "f" else array

        return of(json.loads(text))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        raise CheckpointError("damaged or cut short") from None


def alike(fresh: Any, kept: Any, *, grown: bool = False) -> bool:
    """Whether what was kept may take the place of a fresh tree: the same kinds of things, arrays of the same shape.

    Where nothing stands yet anything may; ``grown``: arrays are longer than the fresh ones.
    """
    if fresh is None or (type(fresh) is tuple and not fresh):
        return True
    if isinstance(fresh, np.ndarray):
        same = isinstance(kept, np.ndarray) and (fresh.dtype, fresh.ndim) == (kept.dtype, kept.ndim)
        return same and fresh.shape[grown:] == kept.shape[grown:]
    if isinstance(fresh, (bool, int, float, np.generic)):
        return isinstance(kept, (bool, int, float, np.generic))
    if isinstance(fresh, dict):
        same = isinstance(kept, dict) and fresh.keys() == kept.keys()
        return same and all(alike(fresh[name], kept[name], grown=grown) for name in fresh)
    if isinstance(fresh, str):
        return isinstance(kept, str)
    same = type(fresh) is type(kept) and len(fresh) == len(kept)
    return same and all(alike(*each, grown=grown) for each in zip(fresh, kept, strict=True))


def digest_of(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """A fingerprint of everything a file holds, whatever the order of its arrays."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        whole.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()
