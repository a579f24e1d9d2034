"""The damped equations of Levenberg–Marquardt, (JᵀJ + damping · D²) Δw = −g: by Cholesky, or by QR with twice the digits."""

from typing import Any, NamedTuple

import numpy as np

from fallline.descent.penalty import Penalised
from fallline.native.lapack import solved


class Damped(NamedTuple):
    """(JᵀJ + damping · D²) Δw = −g in units of D: the matrix as RᵀR, and its solution."""

    root: np.ndarray  # R: its upper triangle, what is below says nothing
    felt: np.ndarray  # which weights move at all
    unit: np.ndarray  # D, 1 where nothing is felt
    slope: np.ndarray
    held: np.ndarray  # what the damping adds to the diagonal
    move: np.ndarray  # D Δw

    @property
    def step(self) -> np.ndarray:
        """Δw."""
        return self.move / self.unit


def by_cholesky(here: Penalised, scale: np.ndarray, damping: Any) -> Damped:
    """The damped equations solved by Cholesky, in units where the diagonal of D⁻¹JᵀJD⁻¹ is 1.

    A weight that no row feels (its column is 0, or it is held at a bound) stays where it is. Where rounding has made the
    matrix indefinite the step is NaN: such a trial is rejected, and the damping grows.
    """
    felt, unit, slope, on_diagonal = _in_units(here, scale, damping)
    root, move = solved(here.gauss_newton, 1.0 / unit, on_diagonal, slope)
    return Damped(root, felt, unit, slope, on_diagonal, move)


def by_qr(columns: np.ndarray, right: np.ndarray, here: Penalised, scale: np.ndarray, damping: Any) -> Damped:
    """The same equations as the least squares problem [J; √damping D] Δw = −[r; 0], solved by QR.

    columns (m, n_weights) and right (m,) stand for J and r: any with the same JᵀJ and Jᵀr.
    """
    from scipy.linalg.lapack import dtrtrs

    felt, unit, slope, on_diagonal = _in_units(here, scale, damping)
    columns = np.where(felt, columns / unit, 0.0)
    q, root = np.linalg.qr(np.concatenate([columns, np.diag(np.sqrt(on_diagonal))]))
    right = np.concatenate([right, np.zeros_like(slope)])
    solution, failed = dtrtrs(root, q.T @ right)
    return Damped(root, felt, unit, slope, on_diagonal, np.full(len(slope), np.nan) if failed else -solution)


def _in_units(
    here: Penalised, scale: np.ndarray, damping: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which weights are felt, the unit of each, the slope in these units, and what is added to the diagonal."""
    felt = (scale > 0) & (np.diagonal(here.gauss_newton) > 0)
    unit = np.where(felt, scale, 1.0)
    return felt, unit, np.where(felt, here.gradient / unit, 0.0), np.where(felt, damping, 1.0)
