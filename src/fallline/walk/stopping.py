"""When a walk ends that does not end by itself: one rule for all of them."""

import math
import numbers
import time
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.exceptions import SettingsError
from fallline.walk.recorder import Point, Stretch


def check_patience(tol: float, n_iter_no_change: int) -> None:
    """SettingsError where a walk could not end by them."""
    if not tol >= 0 or not n_iter_no_change >= 1:
        raise SettingsError(f"tol={tol!r} must be at least 0 and n_iter_no_change={n_iter_no_change!r} at least 1.")


def end_of(max_seconds: Any) -> float:
    """When what begins now and has so many seconds is to end, as ``time.perf_counter()`` reads then; None: never.

    Raises SettingsError for anything but None and a positive number.
    """
    if max_seconds is None:
        return math.inf
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, numbers.Real) or not float(max_seconds) > 0:
        raise SettingsError(
            f"max_seconds={max_seconds!r} is not possible: give a positive number of seconds, such as 30, or None for no limit."
        )
    return time.perf_counter() + float(max_seconds)


class Stopping:
    """Follows the points of a walk: the lowest of them, and for how many turns there has been no news.

    A turn is what ``max_iter`` counts. News is a fall of F by more than ``tol`` (relative); where the penalty is still being
    found F may rise, and that is news too. Where rows judge (``judged``: E on them), what counts is that E falls there.
    """

    def __init__(self, tol: float, patience: int, end: float, end_stop: Stop, *, adapts: bool, judges: bool) -> None:
        self._tol, self._patience, self._end, self._end_stop = tol, patience, end, end_stop
        self._adapts, self._judges = adapts, judges
        self._reference, self._news_at = math.inf, 0
        self._judged, self._judged_at = math.inf, 0
        self._lowest: Point | None = None
        self._chosen: Point | None = None  # by the rows that judge

    def tell(self, point: Point, judged: float = math.inf) -> Stop:
        """Why the walk ends at this point, if it does."""
        if self._lowest is None or point.newest or point.penalised < self._lowest.penalised:
            self._lowest = point
        fall = self._reference - point.penalised
        if (abs(fall) if self._adapts else fall) > self._tol * min(self._reference, point.penalised):
            self._reference, self._news_at = point.penalised, point.turn
        if self._judges and judged < self._judged:
            self._judged, self._judged_at, self._chosen = judged, point.turn, point
        if self._judges and point.turn - self._judged_at >= self._patience:
            return Stop.VALIDATION
        if self._tol > 0 and point.turn - self._news_at >= self._patience:
            return Stop.NO_CHANGE
        return self._end_stop if point.turn >= self._end else Stop.GOING_ON

    def tell_all(self, stretch: Stretch) -> tuple[Stop, int]:
        """Why the walk ends within a stretch, if it does, and after how many points; the penalty is fixed, and no rows judge."""
        stop, count = Stop.GOING_ON, len(stretch.error)
        if stretch.step + count > self._end:
            stop, count = self._end_stop, int(self._end) + 1 - stretch.step
        if self._tol > 0:
            for turn, penalised in enumerate(stretch.penalised[:count].tolist(), stretch.step):
                if self._reference - penalised > self._tol * min(self._reference, penalised):
                    self._reference, self._news_at = penalised, turn
                elif turn - self._news_at >= self._patience:
                    stop, count = Stop.NO_CHANGE, turn - stretch.step + 1
                    break
        lowest = int(np.argmin(stretch.penalised[:count]))
        if self._lowest is None or stretch.penalised[lowest] < self._lowest.penalised:
            self._lowest = stretch.point(lowest)
        return stop, count

    def kept(self) -> Any:
        """Where it stands, as a tree."""
        return (self._reference, self._news_at, self._judged, self._judged_at, self._lowest, self._chosen)

    def go_on(self, kept: Any) -> None:
        """Stand where another one was kept."""
        self._reference, self._news_at, self._judged, self._judged_at, self._lowest, self._chosen = kept

    @property
    def best(self) -> Point:
        """The point whose weights are to be kept."""
        best = self._chosen or self._lowest
        assert best is not None
        return best

    @property
    def best_error(self) -> float:
        """The error it was chosen by."""
        return self._judged if self._chosen else self.best.error
