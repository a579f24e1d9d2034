"""The factorisations of a descent, by the LAPACK that SciPy carries, called so that other threads go on meanwhile.

SciPy's own wrappers keep Python's lock: two descents side by side would wait for each other's factorisations. Here the
functions behind them are called through ctypes, which lets go of it.
"""

import ctypes
import functools
import importlib
from typing import Any

import numpy as np


@functools.cache
def address_of(module: str, name: str) -> int:
    """Where a function of BLAS or LAPACK stands, from the table of pointers that ``scipy.linalg.<module>`` offers to Cython."""
    capsule = importlib.import_module(f"scipy.linalg.{module}").__pyx_capi__[name]
    named = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointed = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return int(pointed(capsule, named(capsule)))


@functools.cache
def _function(name: str, arguments: int) -> Any:
    """A function of LAPACK."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address_of("cython_lapack", name))


_LOWER, _NOT_UNIT = (ctypes.create_string_buffer(letter) for letter in (b"L", b"N"))


def _call(name: str, *arguments: Any) -> int:
    """LAPACK's ``info``: 0 where all went well."""
    info = ctypes.c_int(0)
    given = [ctypes.c_int(each) if isinstance(each, int) else each for each in arguments]
    places = [each.ctypes.data if isinstance(each, np.ndarray) else ctypes.byref(each) for each in given]
    _function(name, len(given) + 1)(*places, ctypes.byref(info))
    return info.value


def cholesky(square: np.ndarray) -> np.ndarray | None:
    """R (p, p), upper triangular with RᵀR = square, in the memory of ``square``; what is below the diagonal is of no meaning.

    square: symmetric, float64, row by row. None where it is not positive definite in numbers.
    """
    p = len(square)
    # Row by row is, to LAPACK, the transpose column by column: its lower triangle is the upper one here.
    return None if _call("dpotrf", _LOWER, p, square, p) else square


# LAPACK's inverse of a triangle is slow where it is large: from so many rows on it is put together of two halves.
_HALVED = 120


def inverse_of_root(root: np.ndarray) -> np.ndarray:
    """R⁻¹ (p, p), upper triangular, from R as ``cholesky`` gives it: (RᵀR)⁻¹ = R⁻¹R⁻ᵀ.

    Source: Higham (2002), *Accuracy and Stability of Numerical Algorithms*, sec. 14.2.2 (block methods).
    """
    p = len(root)
    if p < _HALVED:
        inverse = np.array(root)
        _call("dtrtri", _LOWER, _NOT_UNIT, p, inverse, p)
        return np.triu(inverse)
    half, inverse = p // 2, np.zeros((p, p))
    first, last = inverse_of_root(root[:half, :half]), inverse_of_root(root[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[:half, half:] = -first @ (root[:half, half:] @ last)
    return inverse


def solve_by_root(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ of a right side (p,), from R as ``cholesky`` gives it."""
    p, solution = len(root), np.array(right, np.float64)
    root = np.ascontiguousarray(root)
    _call("dpotrs", _LOWER, p, 1, root, p, solution, p)
    return solution
