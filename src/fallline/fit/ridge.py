"""Ridge regression on the same columns: what a network has to beat to be worth its weights.

A closed form on XᵀX and Xᵀy; the penalty is chosen by generalised cross-validation, so
that the comparison is with ridge at its best. Nothing is descended here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_PENALTIES = np.logspace(-6, 4, 61)  # times the number of rows: inputs have unit spread


@dataclass(frozen=True, eq=False)
class Ridge:
    """ŷ = x · coef + intercept: coef (inputs, outputs), intercept (outputs,); alpha (outputs,) the penalties chosen."""

    coef: np.ndarray
    intercept: np.ndarray
    alpha: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """ŷ of rows (n, inputs): (n, outputs)."""
        return np.asarray(x @ self.coef + self.intercept)


def fit_ridge(x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Ridge:
    """Ridge regression of y (n, outputs) on standardised x (n, inputs), each output with its own penalty.

    The penalty minimises n·RSS/(n − 1 − df)² with df = Σ λ/(λ + alpha), λ the eigenvalues of the centred XᵀX. sample_weight
    (n,): how often each row counts.
    Source: Golub, Heath & Wahba (1979), Technometrics 21:215.
    """
    return ridge_of_blocks([(x, y, sample_weight)])


def ridge_of_blocks(blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> Ridge:
    """As ``fit_ridge``, of blocks of rows (x, y, sample_weight or None), in one pass over them."""
    n, mean, m2 = 0.0, np.zeros(1), np.zeros((1, 1))
    inputs = 0
    for x, y, weights in blocks:
        inputs = x.shape[1]
        s = np.ones(len(x)) if weights is None else weights
        rows, count = np.column_stack([x, y]), float(s.sum())
        own = s @ rows / count
        centred = np.sqrt(s)[:, None] * (rows - own)
        # Added as Chan, Golub & LeVeque (1979) do: sums of squares would lose targets far from 0.
        apart, whole = own - mean, n + count
        m2 = m2 + centred.T @ centred + np.outer(apart, apart) * (n * count / whole)
        n, mean = whole, mean + apart * (count / whole)
    gram, cross, total = m2[:inputs, :inputs], m2[:inputs, inputs:], np.diag(m2)[inputs:]
    x_mean, y_mean = mean[:inputs], mean[inputs:]
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    turned = vectors.T @ cross  # (inputs, outputs)
    alphas = n * _PENALTIES
    shrunk = 1.0 / (values[None, :] + alphas[:, None])  # (penalties, inputs)
    explained = np.einsum("pi,ik->pk", shrunk * (2.0 - values * shrunk), turned**2)
    freedom = n - 1.0 - (values * shrunk).sum(axis=1)
    score = n * np.maximum(total - explained, 0.0) / np.maximum(freedom, 0.5)[:, None] ** 2
    # With more columns than rows the smallest penalties leave no freedom: they do not take part.
    score = np.where(freedom[:, None] > 0.5, score, np.inf)
    chosen = alphas[score.argmin(axis=0)]
    coef = vectors @ (turned / (values[:, None] + chosen[None, :]))
    return Ridge(coef, y_mean - x_mean @ coef, chosen)
