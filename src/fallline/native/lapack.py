"""The factorisations of a descent: in C by the LAPACK and BLAS that SciPy carries, one call each, or by SciPy's own functions.

SciPy's wrappers keep Python's lock, and two descents side by side would wait for each other; C lets go of it.
"""

import ctypes
import functools
import importlib

import numpy as np

from fallline.native.library import function


@functools.cache
def address_of(module: str, name: str) -> int:
    """Where a function of BLAS or LAPACK stands, from the table of pointers that ``scipy.linalg.<module>`` offers to Cython."""
    capsule = importlib.import_module(f"scipy.linalg.{module}").__pyx_capi__[name]
    named = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointed = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return int(pointed(capsule, named(capsule)))


class _Lapack(ctypes.Structure):
    """The functions that kernels.c calls, as it names them."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("potrf", "potrs", "trtri", "trmm"))


@functools.cache
def _lapack() -> _Lapack:
    names = ("dpotrf", "dpotrs", "dtrtri")
    return _Lapack(*(address_of("cython_lapack", name) for name in names), address_of("cython_blas", "dtrmm"))


def _in_c(name: str, pointers: int, p: int, *arrays: np.ndarray) -> bool | None:
    """Whether a function of kernels.c found the matrix positive definite; None where there is no C."""
    call = function(name, np.float64, (ctypes.c_int64, *(ctypes.c_void_p,) * pointers), ctypes.c_int64)
    if call is None:
        return None
    by = _lapack()  # held while C reads it: of two threads that ask for it first, one gets a table that nobody keeps
    return bool(call(p, ctypes.addressof(by), *(array.__array_interface__["data"][0] for array in arrays)))


def solved(square: np.ndarray, scale: np.ndarray, more: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R (p, p) with RᵀR = D square D + diag(more), upper triangular, D = diag(scale), and −(RᵀR)⁻¹ slope (p,).

    The solution is NaN where the matrix is not positive definite in numbers.
    """
    square, scale, more, slope = map(np.ascontiguousarray, (square, scale, more, slope))
    root, move = np.empty_like(square), np.empty_like(slope)
    fine = _in_c("damped", 7, len(slope), square, scale, more, slope, root, move)
    if fine is None:
        root, fine = _root(square, scale, more)
        move = -solve_by_root(root, slope)
    return root, move if fine else np.full_like(slope, np.nan)


def diagonals(square: np.ndarray, scale: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The diagonals of that R and of (RᵀR)⁻¹, (p,) each; None where the matrix is not positive definite in numbers."""
    from scipy.linalg.lapack import dtrtri

    square, scale, more = map(np.ascontiguousarray, (square, scale, more))
    root, diagonal, variance = np.empty_like(square), np.empty_like(scale), np.empty_like(scale)
    fine = _in_c("spread", 7, len(scale), square, scale, more, root, diagonal, variance)
    if fine is None:
        root, fine = _root(square, scale, more)
        inverse = np.triu(dtrtri(root.T, lower=1)[0].T)
        diagonal, variance = np.diagonal(root), np.einsum("ij,ij->i", inverse, inverse)
    return (diagonal, variance) if fine else None


def _root(square: np.ndarray, scale: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, bool]:
    from scipy.linalg.lapack import dpotrf

    scaled = square * scale[:, None] * scale
    scaled.reshape(-1)[:: len(scaled) + 1] += more
    # Row by row is, to LAPACK, the transpose column by column: its lower triangle is the upper one here.
    root, failed = dpotrf(scaled.T, lower=1, overwrite_a=1)
    return root.T, not failed


def solve_by_root(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(RᵀR)⁻¹ of a right side (p,), from R as ``solved`` gives it."""
    from scipy.linalg.lapack import dpotrs

    return np.asarray(dpotrs(root.T, right, lower=1)[0])
