"""Several starts, one network: where each of them ended, which ends are one minimum, and their mean.

The mean of networks is one wider network. What belongs to a single minimum (the path, the surface, the weights that the
rows determine) is told of one of them, the one shown.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fallline.descent import Stop
from fallline.model.network import Network
from fallline.rows.rows import Rows
from fallline.walk.path import DescentPath, to_native_frame

# Two ends are one minimum where their predictions differ by less than this share of the residuals: a descent ends a
# little before its minimum, each at another point of the floor.
_SAME = 0.1


@dataclass(frozen=True, eq=False)
class Start:
    """Where one start ended, in scaled units.

    ``weights`` (p,) of its own network and ``strength`` (p,), each weight's own weight decay; ``error`` is E there, and
    ``penalised_error`` what was descended. ``log_evidence``, ``effective_weights`` and ``noise_precision`` are those of
    Bayesian regularisation, NaN without. ``minimum`` is the number of the minimum it ended in, the lowest being 1.
    """

    weights: np.ndarray
    strength: np.ndarray
    error: float
    penalised_error: float
    log_evidence: float
    effective_weights: float
    noise_precision: float
    steps: int
    passes: int
    stop: Stop
    minimum: int = 1


@dataclass(frozen=True, eq=False)
class Starts(Sequence[Start]):
    """The starts of a fit: ``network`` is that of each of them, ``shown`` the place of the one whose path is kept."""

    network: Network
    each: tuple[Start, ...]
    shown: int = 0

    def __len__(self) -> int:
        return len(self.each)

    def __getitem__(self, at: Any) -> Any:
        return self.each[at]

    @property
    def weights(self) -> np.ndarray:
        """The weights of each: (starts, p)."""
        return np.array([start.weights for start in self.each])

    @property
    def minima(self) -> tuple[tuple[int, Start], ...]:
        """The distinct minima, the lowest first: how many starts ended there, and the lowest of these starts."""
        counts = Counter(start.minimum for start in self.each)
        lowest: dict[int, Start] = {}
        for start in sorted(self.each, key=lambda start: start.penalised_error):
            lowest.setdefault(start.minimum, start)
        return tuple((counts[number], lowest[number]) for number in sorted(counts))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it but the network and ``shown`` as float64 arrays, (starts,) or (starts, p), for a file."""
        return {
            field.name: np.array([getattr(start, field.name) for start in self.each], np.float64)
            for field in dataclasses.fields(Start)
        }

    @classmethod
    def from_arrays(cls, network: Network, arrays: Mapping[str, np.ndarray], shown: int) -> "Starts":
        """Back from ``to_arrays``. Raises KeyError, TypeError or ValueError for arrays that are not from there."""
        names = [field.name for field in dataclasses.fields(Start)]
        count, whole = len(arrays[names[0]]), ("steps", "passes", "stop", "minimum")
        for name in names:
            long, array = name in ("weights", "strength"), arrays[name]
            if array.shape != ((count, network.n_weights) if long else (count,)) or array.dtype != np.float64:
                raise ValueError(f"{name} of the starts has another shape or type")
            if (long or name in whole) and not np.isfinite(array).all():
                raise ValueError(f"{name} of the starts is not finite")
        each = []
        for at in range(count):
            values: dict[str, Any] = {name: arrays[name][at] for name in names}
            values |= {name: int(values[name]) for name in whole} | {"stop": Stop(int(values["stop"]))}
            each.append(Start(**values))
        return cls(network, tuple(each), shown)

    def to_dict(self) -> dict[str, np.ndarray]:
        """A column for each number of a start: start, minimum, error, penalised_error, …, each (starts,)."""
        names = [field.name for field in dataclasses.fields(Start)[2:]]  # all but the two arrays
        columns = {name: np.array([getattr(start, name) for start in self.each]) for name in names}
        columns["stop"] = np.array([start.stop.name.lower() for start in self.each])
        first = {"start": np.arange(1, len(self) + 1), "minimum": columns.pop("minimum")}
        return first | columns

    def to_frame(self, backend: str | None = None) -> Any:
        """``to_dict`` as a data frame, a row for each start; backend as in ``DescentPath.to_frame``."""
        return to_native_frame(self.to_dict(), backend)


class Part(NamedTuple):
    """What goes into a fit: the starts of one network, in their mean, and the share of that mean in the prediction.

    Ridge regression is a network without hidden layers and has one start.
    """

    starts: Starts
    share: float


def starts_of(network: Network, rows: Rows, paths: Sequence[DescentPath], judge: str | None = None) -> Starts:
    """What the paths of several starts say of their ends; ``rows`` are those they walked on.

    Shown is the start of the highest evidence; without Bayesian regularisation that of the lowest error on the rows that
    ``judge`` names, or, where nobody judged, of the lowest penalised error.
    """
    ends = [end_of_path(path) for path in paths]
    apart = rows.apart(network, np.array([start.weights for start in ends]))
    lowest: list[int] = []  # of each minimum, its lowest start
    for at in np.argsort([start.penalised_error for start in ends], kind="stable").tolist():
        same = [k for k, one in enumerate(lowest) if apart[at, one] <= _SAME**2 * 2.0 * ends[one].error]
        if not same:
            lowest.append(at)
        ends[at] = dataclasses.replace(ends[at], minimum=(same[0] if same else len(lowest) - 1) + 1)
    if judge is not None:
        merits = [-path.at_best(path.watched[judge]) for path in paths]
    elif all(np.isfinite(start.log_evidence) for start in ends):
        merits = [start.log_evidence for start in ends]
    else:
        merits = [-start.penalised_error for start in ends]
    return Starts(network, tuple(ends), int(np.argmax(merits)))


def end_of_path(path: DescentPath) -> Start:
    """Where a path ended, as a start."""

    def found(name: str) -> float:
        return float(path.shown[name][-1]) if name in path.shown else np.nan

    return Start(
        weights=path.best_weights,
        strength=path.strength,
        error=path.at_best(path.error),
        penalised_error=path.at_best(path.penalised_error),
        steps=path.n_iter,
        passes=path.n_passes,
        stop=path.stop,
        log_evidence=found("log_evidence"),
        effective_weights=found("effective_weights"),
        noise_precision=found("noise_precision"),
    )
