"""What of a dense network is summed and walked in C: each function has a twin in NumPy, and gives None where the twin serves.

The twins say what is meant; nobody but their callers knows of these. C is called through ctypes, so that other threads go on.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.native.lapack import address_of
from fallline.native.library import function

# In the order in which kernels.c numbers them.
_ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "leaky_relu", "softplus", "softsign", "elu", "silu", "sine", "gaussian",
)  # fmt: skip
_MOST_LAYERS = 16


class _Rows(ctypes.Structure):
    """Rows where they lie: pointers, strides in numbers, and the product of BLAS for their type."""

    _fields_ = (
        ("x", ctypes.c_void_p), ("y", ctypes.c_void_p), ("s", ctypes.c_void_p),
        ("x_row", ctypes.c_int64), ("x_column", ctypes.c_int64), ("y_row", ctypes.c_int64), ("y_column", ctypes.c_int64),
        ("n", ctypes.c_int64), ("order", ctypes.c_void_p), ("gemm", ctypes.c_void_p),
    )  # fmt: skip


def _place(array: np.ndarray | None) -> int | None:
    return None if array is None else array.__array_interface__["data"][0]


def _rows_of(block: Any) -> Any:
    """A block as C reads it; kept with it, as are the arrays that it points to."""
    found = block.kept.get("native")
    if found is None:
        x, y, size = block.x, block.y, block.x.itemsize
        gemm = address_of("cython_blas", "dgemm" if size == 8 else "sgemm")
        steps = (*(step // size for step in x.strides), *(step // size for step in y.strides))
        found = _Rows(_place(x), _place(y), _place(block.s), *steps, len(x), None, gemm)
        block.kept["native"] = found
    return found


@functools.lru_cache(maxsize=256)
def _shape(network: Any) -> Any:
    """A network as C reads it, or None for one that it does not know."""
    layers = len(network.sizes) - 1
    if layers > _MOST_LAYERS:
        return None
    codes = (_ACTIVATIONS.index(network.activation), _ACTIVATIONS.index(network.output_activation))
    return (ctypes.c_int64 * (4 + len(network.sizes)))(layers, *codes, network.bias, *network.sizes)


_P, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_ARGUMENTS = {"sums": (_P,) * 6}


@functools.cache
def _function(name: str, dtype: Any) -> Any:
    return function(name, dtype, _ARGUMENTS[name], ctypes.c_int64)


_KINDS = ("error", "gradient", "gauss_newton")


def sums(
    network: Any, request: Any, x: np.ndarray, y: np.ndarray
) -> Callable[[Any], tuple[float, np.ndarray | None, np.ndarray | None]] | None:
    """A function that says of a block what was requested: E, its gradient (p,) and JᵀJ (p, p), or None for what was not.

    None where C does not know the request, or the rows are not those of the network.
    """
    kind, weights, p = request.kind, request.weights, network.n_weights
    if kind not in _KINDS or weights.shape != (p,) or (x.shape[1], y.shape[1]) != (network.inputs, network.outputs):
        return None
    call, shape = _function("sums", x.dtype), _shape(network)
    if call is None or shape is None:
        return None
    weights = np.ascontiguousarray(weights, np.float64)

    def of_block(block: Any) -> tuple[float, np.ndarray | None, np.ndarray | None]:
        error, rows = ctypes.c_double(), _rows_of(block)
        gradient = None if kind == "error" else np.empty(p)
        square = np.empty((p, p)) if kind == "gauss_newton" else None
        done = call(shape, ctypes.byref(rows), _place(weights), ctypes.byref(error), _place(gradient), _place(square))
        if not done:
            raise MemoryError("there is no memory for the sums over a block of rows.")
        return error.value, gradient, square

    return of_block
