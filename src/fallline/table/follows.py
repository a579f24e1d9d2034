"""Targets that follow from inputs otherwise than by plain sums of three: by ranks, as products, ratios, sums of many.

Judged by a sample of the rows. What holds there within the rounding of printed decimals is found; whether it gives the target
away, or is what there is to learn, a person must say.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fallline.table.encoding import LARGEST

_RANKS = 0.9999  # rank correlation from which on two columns are sorted alike
_FEWEST = 10  # rows that it takes not to be chance
_FEWEST_OF_FEW, _FEW = 50, 5  # where the target has fewer values than so many
_VALUES_OF_PLACES = 20  # of a target, from which on an input that never falls while it rises is no chance
_MOST_INPUTS = 400  # up to which products and sums are looked for
_PROPOSING = 200  # rows of the sample that propose products
_DECIMALS = 9  # looked for
# What may be left of the target's spread, by rounding: where at most a factor was fitted, and where coefficients were; by
# whatever it is; and by binary digits.
_PLAIN, _FITTED, _ANYHOW, _BINARY = 1e-2, 1e-3, 1e-6, 1e-9


class Follows(NamedTuple):
    """How a target follows from inputs, in so many rows of the sample.

    kind: "ranks" of one input, ``constant`` is the rank correlation; "product", ``constant`` times the inputs to the powers of
    ``terms``, (input, 1 or −1); "sum", ``constant`` plus the inputs times the numbers of ``terms``.
    """

    kind: str
    target: int
    terms: tuple[tuple[int, float], ...]
    constant: float
    rows: int

    @property
    def certain(self) -> bool:
        """Whether it is a sum with plain signs, as a total is of its parts."""
        return self.kind == "sum" and self.constant == 0 and all(abs(times) == 1 for _, times in self.terms)


def follows(x: np.ndarray, y: np.ndarray, inputs: Sequence[int]) -> list[Follows]:
    """How each target of y (n, targets) follows from these inputs of x (n, all inputs), NaN where missing.

    Inputs that are found to give a target away are not looked at in what is found after them.
    """
    found: list[Follows] = []
    x = np.where(np.abs(x) <= LARGEST, x, np.nan)
    known = np.isfinite(x)
    low, high = (end(x, axis=0, where=known, initial=start) for end, start in ((np.min, np.inf), (np.max, -np.inf)))
    varied = [i for i in inputs if low[i] < high[i]]
    halves = {i: _half(x[:, i]) for i in varied} if len(varied) <= _MOST_INPUTS else {}
    for target, values in enumerate(y.T):
        few = len(np.unique(values)) < _FEW
        seen = _Seen(target, x, values, halves, _half(values), _FEWEST_OF_FEW if few else _FEWEST)
        left = varied
        for search in (_by_ranks, *(() if few or not halves else (_products, _sums))):
            found += (new := list(search(seen, left)))
            told = {i for relation in new for i, _ in relation.terms}
            left = [i for i in left if i not in told]
    return found


class _Seen(NamedTuple):
    """The sample for one target, half a unit of the last decimal of each column, and how many rows a relation takes."""

    target: int
    x: np.ndarray
    y: np.ndarray
    half: dict[int, float]
    half_y: float
    fewest: int


def _half(values: np.ndarray) -> float:
    """Half a unit of the last decimal that these values are written with; 0 where they have more than ``_DECIMALS``."""
    values = values[np.isfinite(values)]
    for decimals in range(_DECIMALS + 1):
        scaled = values * 10.0**decimals
        if np.all(np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.abs(scaled)):
            return float(0.5 * 10.0**-decimals)
    return 0.0


def _explained(off: np.ndarray, bound: np.ndarray, y: np.ndarray, share: float, anyhow: float = _ANYHOW) -> bool:
    """Whether rounding explains what is off in every row, and it is a small ``share`` of y's spread; or it is next to nothing."""
    spread, size = np.std(y), np.sqrt(np.mean(off**2))
    rounding = bool(np.all(off <= 1.05 * bound + 1e-9 * np.abs(y).max()))  # coefficients are off by rounding, too
    return bool(spread > 0 and ((rounding and size <= share * spread) or size <= anyhow * spread))


def _by_ranks(seen: _Seen, inputs: Sequence[int]) -> Iterator[Follows]:
    of_all = _ranks(seen.y)
    for i in inputs:
        known = np.isfinite(seen.x[:, i])
        x, y = seen.x[known, i], seen.y[known]
        if len(x) < seen.fewest or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        correlation = float(np.corrcoef(_ranks(x), of_all if known.all() else _ranks(y))[0, 1])
        steps = np.sign(correlation) * np.diff(y[np.argsort(x, kind="stable")])
        # Equal targets have the same rank, but a place each where rows were numbered in their order.
        places = np.all(steps >= 0) and np.unique(x).size >= np.unique(y).size >= _VALUES_OF_PLACES
        if abs(correlation) >= _RANKS or places:
            yield Follows("ranks", seen.target, ((i, 1.0),), correlation, len(x))


def _ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among all, counted from 0; equal ones have their mean place."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * (counts + 1))[at])


def _products(seen: _Seen, inputs: Sequence[int]) -> Iterator[Follows]:
    """y = c a b and y = c a / b: a few rows propose by logarithms, all of the sample refute."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, of_y = np.log(np.abs(seen.x[:_PROPOSING, inputs])), np.log(np.abs(seen.y[:_PROPOSING]))
    spread = np.std(of_y[np.isfinite(of_y)]) if np.isfinite(of_y).any() else 0.0
    told: set[int] = set()
    for at, i in enumerate(inputs):
        for powers in ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0)):
            with np.errstate(invalid="ignore"):
                off = (of_y - powers[0] * logs[:, at])[:, None] - powers[1] * logs[:, at + 1 :]
            known = np.isfinite(off)
            count = known.sum(axis=0)
            mean = np.where(known, off, 0).sum(axis=0) / np.maximum(count, 1)
            size = (np.where(known, off - mean, 0) ** 2).sum(axis=0)
            for other in np.flatnonzero((count >= seen.fewest) & (size <= count * (0.2 * spread) ** 2)).tolist():
                terms = (i, powers[0]), (inputs[at + 1 + other], powers[1])
                if told.isdisjoint(j for j, _ in terms) and (found := _product(seen, terms)) is not None:
                    told.update(j for j, _ in terms)
                    yield found


def _product(seen: _Seen, terms: tuple[tuple[int, float], ...]) -> Follows | None:
    """The target as a product, None where a row of the sample refutes it."""
    (i, p), (j, q) = terms
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        product = seen.x[:, i] ** p * seen.x[:, j] ** q
        known = np.isfinite(product)
        y, of = seen.y[known], product[known]
        if len(y) < seen.fewest or not np.isfinite(of @ of) or not of.any():
            return None
        factor = float(of @ y / (of @ of))
        relative = sum(np.abs(seen.half[k] / seen.x[known, k]) for k in (i, j))
        bound = seen.half_y + np.nan_to_num(np.abs(factor * of) * relative, nan=0.0, posinf=0.0)
    for constant in (float(f"{factor:.2g}"), factor):  # a round one rather than the best
        if _explained(np.abs(y - constant * of), bound, y, _PLAIN):
            return Follows("product", seen.target, terms, constant, len(y))
    return None


def _sums(seen: _Seen, inputs: Sequence[int]) -> Iterator[Follows]:
    """Sums with any coefficients; where one is certain, what the other inputs add up to, too."""
    left = list(inputs)
    while (found := _sum(seen, left)) is not None:
        yield found
        if not found.certain:
            return
        told = {i for i, _ in found.terms}
        left = [i for i in left if i not in told]


def _sum(seen: _Seen, inputs: Sequence[int]) -> Follows | None:
    """The target as a sum of as few of these inputs as will do, None where it is none; columns mostly missing are left aside."""
    members = [i for i in inputs if np.isfinite(seen.x[:, i]).mean() >= 0.5]
    known = np.isfinite(seen.x[:, members]).all(axis=1)
    if not members or known.sum() < seen.fewest + 2 * len(members):
        return None
    x, y = seen.x[np.ix_(known, members)], seen.y[known]
    half = np.array([seen.half[i] for i in members])

    def right(used: np.ndarray, times: np.ndarray, constant: float, share: float, anyhow: float = _ANYHOW) -> bool:
        off = np.abs(x[:, used] @ times + constant - y)
        return _explained(off, seen.half_y + np.abs(times) @ half[used], y, share, anyhow)

    if not _may_add_up(x, y):
        return None
    used = np.arange(len(members))
    times, constant = _least_squares(x, y)
    if not right(used, times, constant, _PLAIN):
        return None
    without = len(used) // 2  # of those that add least, as many at a time as the rest can do without
    while without:
        fewer = np.sort(np.argsort(np.abs(times) * np.std(x[:, used], axis=0), kind="stable")[without:])
        found = _least_squares(x[:, used[fewer]], y)
        if len(fewer) and right(used[fewer], *found, _PLAIN):
            used, (times, constant) = used[fewer], found
            without = min(without, len(used) // 2)
        else:
            without //= 2
    signs = np.rint(times)
    if np.all(np.abs(signs) == 1) and right(used, signs, 0.0, _PLAIN, _BINARY):
        times, constant = signs, 0.0
    elif not right(used, times, constant, _FITTED):
        return None
    elif abs(constant) <= 1e-9 * np.abs(y).max():
        constant = 0.0
    terms = tuple((members[i], float(each)) for i, each in zip(used, times, strict=True))
    return Follows("sum", seen.target, terms, constant, len(y))


def _may_add_up(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the best plane leaves so little that a sum is possible, by the normal equations: a fraction of the time of QR."""
    z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    gram, of_y = z.T @ z, z.T @ (y - y.mean())
    times = np.linalg.solve(gram + 1e-10 * len(y) * np.eye(len(gram)), of_y)
    return bool(np.std(y - z @ times) <= 2 * _PLAIN * np.std(y))


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (p,) and constant of the best plane; 0 for columns that others of x (n, p) already determine.

    By QR with pivoting of the standardised columns: Golub & Van Loan (2013), Matrix Computations, section 5.5.6.
    """
    from scipy.linalg import qr, solve_triangular

    times, mean, spread = np.zeros(x.shape[1]), x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    q, r, order = qr((x - mean) / spread, mode="economic", pivoting=True)
    sizes = np.abs(np.diag(r))
    rank = int(np.sum(sizes > 1e-9 * sizes[:1]))
    times[order[:rank]] = solve_triangular(r[:rank, :rank], (q.T @ (y - y.mean()))[:rank])
    times /= spread
    return times, float(y.mean() - mean @ times)
