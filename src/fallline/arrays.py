"""Which array library an array belongs to, and the way between NumPy and a device such as a GPU.

What is summed is written with the names that every array library has (the array API standard), so that it runs where the
rows lie. array-api-compat is imported when the first array comes that is not NumPy's.
"""

from typing import Any

import numpy as np

_OF_NUMPY = (np.ndarray, np.generic)


def namespace(array: Any) -> Any:
    """The library of an array, with the names of the array API standard."""
    if isinstance(array, _OF_NUMPY):
        return np
    from array_api_compat import array_namespace

    return array_namespace(array)


def on_device(array: Any) -> bool:
    """Whether this is an array that lies where NumPy cannot read it, such as on a GPU."""
    if isinstance(array, np.ndarray) or not hasattr(array, "dtype"):
        return False
    from array_api_compat import is_array_api_obj, is_cupy_array, is_torch_array

    if is_cupy_array(array) or is_torch_array(array):
        return getattr(array.device, "type", "") != "cpu"
    if not is_array_api_obj(array):
        return False
    try:
        np.asarray(array)
    except (TypeError, RuntimeError):
        return True
    return False


def put(values: Any, like: Any) -> Any:
    """Values, of NumPy or of the library of ``like``, in the type of ``like`` and where it lies."""
    if isinstance(like, np.ndarray):
        return values.astype(like.dtype, copy=False)
    if isinstance(values, np.ndarray):  # PyTorch warns of memory that must not be written to
        values = np.require(values, requirements=["C", "W"])
    return namespace(like).asarray(values, dtype=like.dtype, device=like.device)


def to_numpy(array: Any) -> np.ndarray:
    """The same numbers as an array of NumPy: of one on a device, a copy."""
    if isinstance(array, _OF_NUMPY):
        return np.asarray(array)
    from array_api_compat import is_cupy_array, is_torch_array, to_device

    named = is_cupy_array(array) or is_torch_array(array)
    here = "cpu" if named else namespace(array).__array_namespace_info__().default_device()
    return np.asarray(to_device(array, here))


def widest(array: Any) -> Any:
    """float64 in the library of an array; float32 where its device has no float64."""
    xp = namespace(array)
    if xp is not np and array.dtype != xp.float64:
        try:
            xp.empty(0, dtype=xp.float64, device=array.device)
        except (TypeError, ValueError, RuntimeError):
            return xp.float32
    return xp.float64


def widened(array: Any) -> Any:
    """The same numbers in the type of ``widest``, where they lie."""
    if not on_device(array):
        return np.asarray(array, np.float64)
    return namespace(array).astype(array, widest(array), copy=False)


def taken(array: Any, which: np.ndarray) -> Any:
    """Some rows of an array, where it lies: those where ``which`` (n,) of NumPy is True, or those of these numbers."""
    if isinstance(array, np.ndarray):
        return array[which]
    xp, numbers = namespace(array), np.flatnonzero(which) if which.dtype == bool else which
    at = xp.asarray(np.require(numbers, np.int64, ["C", "W"]), device=array.device)
    return xp.take(array, at, axis=0)
