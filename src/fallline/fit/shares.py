"""How much each of several predictions is worth, by what they say of rows that they have not seen."""

import numpy as np

from fallline.model.activations import ACTIVATIONS

_STEPS, _SETTLED = 30, 1e-6
_FIRMLY = 1e4  # how much more than all rows it counts that the shares are 1 in all


def shares_of(entering: np.ndarray, y: np.ndarray, s: np.ndarray, output_activation: str = "identity") -> np.ndarray:
    """The shares (m,), none below 0 and 1 in all, at which Σ s (y − f(Σ share · z))² is least.

    entering (n, k, m) is what enters the k outputs by each of m predictions, y (n, k) the targets, s (n,) how often each row
    counts, f the output activation. Under identity outputs this is non-negative least squares; elsewhere so at each step of
    Gauss–Newton. Source: Breiman (1996), Machine Learning 24:49; Lawson & Hanson (1974), ch. 23.
    """
    from scipy.optimize import nnls

    f, m, root = ACTIVATIONS[output_activation], entering.shape[2], np.sqrt(s)[:, None]

    def error(shares: np.ndarray) -> float:
        return float(np.sum((root * (f.value(entering @ shares, np) - y)) ** 2))

    single = [error(each) for each in np.eye(m)]
    shares = np.eye(m)[int(np.argmin(single))]
    now = min(single)
    for _ in range(_STEPS):
        z = entering @ shares
        predicted = f.value(z, np)
        rows = ((root * f.slope(z, predicted, np))[..., None] * entering).reshape(-1, m)
        right = (root * (y - predicted)).reshape(-1) + rows @ shares
        firmly = _FIRMLY * max(float(np.linalg.norm(rows, axis=0).max()), float(np.linalg.norm(right)), 1e-300)
        found, _ = nnls(np.vstack([rows, np.full(m, firmly)]), np.append(right, firmly), maxiter=100 * m)
        found = found / (found.sum() or 1.0)
        length = 1.0
        while length > _SETTLED and not error(shares + length * (found - shares)) < now:
            length /= 2
        if length <= _SETTLED:
            break
        shares = shares + length * (found - shares)
        before, now = now, error(shares)
        if before - now <= _SETTLED * before:
            break
    return shares
