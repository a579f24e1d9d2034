"""Who walks: it says ``go()`` and gives the point that it came to. What else the loop must know of it stands here."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fallline.descent import Stop
from fallline.descent.penalty import Penalty
from fallline.walk.recorder import Point, Stretch


class Walker:
    """One way to walk. A turn is what ``max_iter`` counts: a step, or an epoch where the walk is ``by_epochs``."""

    end: float  # the turn at which the walk is over,
    end_stop: Stop  # … and why
    penalty: Penalty  # as it is now
    stop: Stop = Stop.GOING_ON  # why the walk ended by itself, if it did
    passes: int = 0  # sums over the rows so far
    shows: tuple[str, ...] = ()  # what the numbers of a point are called
    heeds_tol: bool = True  # whether a lull is a reason to end
    by_epochs: bool = False
    keeps_all: bool | None = None  # whether the weights of every step are kept; None: as there is room
    strides: bool = False  # whether it may come to many points at once
    until: float = math.inf  # when its time is over, as time.perf_counter() reads
    lost_at: int | None = None  # the step at which the error grew without bound, where it is no point
    between: Callable[[int, np.ndarray, np.ndarray], None]  # where the steps between points are to be noted
    left: bool = False  # whether it was kept where its time was over, in the middle of a turn
    pause: Callable[
        [bool], None
    ]  # called where the walk may be kept between two points; it must be where it is left now

    @property
    def stood(self) -> Any:
        """What is another object after each turn, so that one knows whether the last was broken off; None: it keeps itself."""
        return None

    def kept(self) -> Any:
        """All that it needs to go on, a tree of arrays and numbers; None where it would begin anew."""
        return None

    def go_on(self, kept: Any) -> None:
        """Stand where another walk of the same kind was kept."""
        raise NotImplementedError

    def go(self) -> Point | Stretch | None:
        """A pass further, or as far as the next point, or the next points; None where it came to none."""
        raise NotImplementedError
