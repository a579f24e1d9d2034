"""What a walk leaves behind: its points, and the weights of every step or of as many as there is room for."""

import math
from typing import Any, NamedTuple

import numpy as np

from fallline.walk.path import EVERY_STEP_UP_TO, THINNED_BYTES

_ROOM_BYTES = 1 << 24  # of the weights of a walk, taken before it begins


class Point(NamedTuple):
    """A point of a walk: where it stands after ``step`` steps and ``passes`` sums over the rows.

    weights (p,); error E and penalised error F there; gradient (p,) of F; ``shown``, the descent's own numbers. ``turn`` is
    what ``max_iter`` counts, a step or an epoch; ``epoch`` numbers the latter. ``newest``: errors of different points do not
    compare, and the newest one counts as the lowest.
    """

    step: int
    turn: int
    passes: int
    weights: np.ndarray
    error: float
    penalised: float
    gradient: np.ndarray
    shown: tuple[float, ...]
    epoch: int | None = None
    newest: bool = False


class Stretch(NamedTuple):
    """Points that follow each other, a step and a pass each: the first has these numbers, the arrays have a row for each."""

    step: int
    passes: int
    weights: np.ndarray
    error: np.ndarray
    penalised: np.ndarray
    gradient: np.ndarray
    shown: np.ndarray

    def point(self, k: int) -> Point:
        """One of them."""
        step, passes = self.step + k % len(self.error), self.passes + k % len(self.error)
        return Point(
            step, step, passes, self.weights[k].copy(), float(self.error[k]), float(self.penalised[k]),
            self.gradient[k].copy(), tuple(self.shown[k]),
        )  # fmt: skip


class Growing:
    """A NumPy array that grows at its end: (count, …)."""

    def __init__(self, shape: tuple[int, ...] = (), dtype: Any = np.float64, room: int = 64) -> None:
        self._held, self.count = np.empty((room, *shape), dtype), 0

    def add(self, value: Any) -> None:
        if self.count == len(self._held):
            self._held = np.concatenate([self._held, np.empty_like(self._held)])
        self._held[self.count] = value
        self.count += 1  # last, so that an interruption leaves whole entries

    def add_all(self, values: np.ndarray) -> None:
        """Several entries (m, …)."""
        end = self.count + len(values)
        if end > len(self._held):
            room = np.empty((max(end, 2 * len(self._held)), *self._held.shape[1:]), self._held.dtype)
            room[: self.count] = self._held[: self.count]
            self._held = room
        self._held[self.count : end] = values
        self.count = end

    def upto(self, count: int) -> np.ndarray:
        """The first entries; an array that is nearly empty is not kept for them."""
        part = self._held[:count]
        return part if 2 * count > len(self._held) else part.copy()


class Recorder:
    """Keeps the points of a walk. Up to 1 000 weights the weights of every step, above that as many as fit in 64 MB."""

    def __init__(
        self, n_weights: int, max_turns: float, n_shown: int, n_watched: int, *, every: bool | None = None
    ) -> None:
        self.points = 0
        self.every = n_weights <= EVERY_STEP_UP_TO if every is None else every
        most = max(max_turns if math.isfinite(max_turns) else 0, 0) + 1
        self._stride = 1 if self.every else max(1, math.ceil(most * 16 * n_weights / THINNED_BYTES))
        # Memory costs nothing before it is written to: room for all points spares copies.
        room = int(max(min(most, _ROOM_BYTES // (8 * n_weights)), 16))
        self._whole = [Growing((), np.int64, room) for _ in range(3)]  # step, passes, epoch
        self._numbers = [Growing((), room=room) for _ in range(3)]  # error, penalised error, length of the gradient
        self._shown, self._watched = Growing((n_shown,), room=room), Growing((n_watched,), room=room)
        self._kept = Growing((), np.int64, room)
        self._weights, self._gradient = Growing((n_weights,), room=room), Growing((n_weights,), room=room)
        self._columns = (
            *self._whole, *self._numbers, self._shown, self._watched, self._kept, self._weights, self._gradient,
        )  # fmt: skip
        self.last: Point | None = None

    def note(self, point: Point, watched: Any = ()) -> None:
        """Keep a point, with E of the watched rows there."""
        for whole, count in zip(self._whole, (point.step, point.passes, point.epoch or 0), strict=True):
            whole.add(count)
        length = math.sqrt(float(point.gradient @ point.gradient))
        for column, value in zip(self._numbers, (point.error, point.penalised, length), strict=True):
            column.add(value)
        self._shown.add(point.shown)
        self._watched.add(watched)
        if self.points % self._stride == 0:
            self.between(point.step, point.weights, point.gradient)
        self.points += 1
        self.last = point

    def note_all(self, stretch: Stretch) -> None:
        """Keep the points of a stretch, of a walk without watched rows or epochs; those that are there already, as they are."""
        numbers = np.arange(len(stretch.error))
        before = stretch.step - int(self._whole[0].upto(1)[0])  # a step a point
        for column in (*self._whole, *self._numbers, self._shown, self._watched):
            column.count = min(column.count, before)
        for column in (self._kept, self._weights, self._gradient):
            column.count = min(column.count, -(-before // self._stride))
        whole = stretch.step + numbers, stretch.passes + numbers, 0 * numbers
        for one, counts in zip(self._whole, whole, strict=True):
            one.add_all(counts)
        length = np.sqrt(np.einsum("ij,ij->i", stretch.gradient, stretch.gradient))
        for column, values in zip(self._numbers, (stretch.error, stretch.penalised, length), strict=True):
            column.add_all(values)
        self._shown.add_all(stretch.shown)
        self._watched.add_all(np.empty((len(numbers), 0)))
        kept = slice(-before % self._stride, None, self._stride)
        self._gradient.add_all(stretch.gradient[kept])
        self._weights.add_all(stretch.weights[kept])
        self._kept.add_all(stretch.step + numbers[kept])
        self.end_within(stretch, len(numbers))

    def end_within(self, stretch: Stretch, count: int) -> None:
        """Of the stretch that was noted last, so many points belong to the walk."""
        self.points = stretch.step - int(self._whole[0].upto(1)[0]) + count
        self.last = stretch.point(count - 1)

    def between(self, step: int, weights: np.ndarray, gradient: np.ndarray) -> None:
        """Keep the weights of a step that is no point of its own, or is about to be."""
        self._gradient.add(gradient)
        self._weights.add(weights)
        self._kept.add(step)

    def kept(self) -> Any:
        """What it has kept so far, as a tree."""
        return ([column.upto(column.count) for column in self._columns], self.points, self.last)

    def go_on(self, kept: Any) -> None:
        """Have what another one had kept."""
        columns, self.points, self.last = kept
        for column, values in zip(self._columns, columns, strict=True):
            column.add_all(values)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, under the names that a ``DescentPath`` has for it; the last point's weights are always there."""
        assert self.last is not None
        m = self.points
        steps, passes, epochs = (column.upto(m) for column in self._whole)
        error, penalised, length = (column.upto(m) for column in self._numbers)
        k = min(each.count for each in (self._kept, self._weights, self._gradient))
        kept = self._kept.upto(k)
        within = int(np.searchsorted(kept, steps[-1]))  # nothing beyond the last point
        parts = kept, self._weights.upto(k), self._gradient.upto(k)
        ends = self.last.step, self.last.weights, self.last.gradient
        if within == k - 1 and kept[-1] == steps[-1]:
            kept, weights, gradient = parts
        else:
            kept, weights, gradient = (
                np.concatenate([part[:within], np.asarray(end)[None]]) for part, end in zip(parts, ends, strict=True)
            )
        return {
            "steps": steps, "passes": passes, "epochs": epochs, "error": error, "penalised_error": penalised,
            "gradient_norm": length, "shown": self._shown.upto(m), "watched": self._watched.upto(m),
            "weight_steps": kept, "weights": weights, "gradient": gradient,
        }  # fmt: skip
