"""L-BFGS: for many weights, where JᵀJ would be too large.

It needs a few vectors as long as the weights, and learns the curvature from how the gradient changed over its last steps.
A trial point of the line search is one pass over the rows.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk, stay
from fallline.descent.penalty import Penalty, penalise
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError

_MOST_TRIALS = 20  # points on one line; interpolation needs two or three
_LEAST_COSINE = 1e-10  # of the angle between s and y: below it, y says nothing of the curvature along s
_EPSILON = float(np.finfo(np.float64).eps)


class Pair(NamedTuple):
    """A step s (p,) with the change y (p,) of the gradient over it: what is known of the curvature; and 1/yᵀs."""

    step: np.ndarray
    turn: np.ndarray
    inverse: float


def pair_of(step: np.ndarray, turn: np.ndarray) -> Pair | None:
    """The pair, if it says something of the curvature."""
    product = float(step @ turn)
    if not product > _LEAST_COSINE * math.sqrt(float(step @ step) * float(turn @ turn)):
        return None
    return Pair(step, turn, 1.0 / product)


def inverse_times(vector: np.ndarray, pairs: tuple[Pair, ...]) -> np.ndarray:
    """H v from the last pairs, the newest last, by two loops over them; v where there is none (alg. 7.4, eq. 7.20)."""
    shares = []
    for step, turn, inverse in reversed(pairs):
        shares.append(inverse * float(step @ vector))
        vector = vector - shares[-1] * turn
    if pairs:
        _, turn, inverse = pairs[-1]
        vector = vector / (inverse * float(turn @ turn))
    for (step, turn, inverse), share in zip(pairs, reversed(shares), strict=True):
        vector = vector + (share - inverse * float(turn @ vector)) * step
    return vector


class Point(NamedTuple):
    """A point of a line: how far along it, F there and its slope along the line."""

    length: float
    error: float
    slope: float


_NOWHERE = Point(math.inf, math.inf, 0.0)


class LBFGSState(NamedTuple):
    """Where L-BFGS stands: its line, what the trials on it have shown, and the last steps with their turns."""

    walk: Walk
    trial: np.ndarray
    direction: np.ndarray  # of the line, from the weights of the walk
    length: float  # the trial is weights + length · direction
    slope: float  # of F at length 0
    low: Point  # the lowest trial that fell enough; at first where the line begins
    high: Point  # a minimum lies between low and high; at infinity as long as none is enclosed
    trials: int  # on this line so far
    settles: bool  # whether the trial is the low point again, to be taken as it is
    pairs: tuple[Pair, ...]
    penalty: Penalty


@dataclass(repr=True, eq=True)
class LBFGS(Descent):
    """L-BFGS: Δw = −α H ∂F/∂w, with H the inverse curvature as the last ``history`` steps have shown it.

    α is found by a line search: it must lower F by ``sufficient_decrease`` times what the slope at α = 0 promises, and the
    slope at α must be at most ``slope_ratio`` of that at 0 (strong Wolfe conditions, 0 < sufficient_decrease <
    slope_ratio < 1). A trial that does not is a pass and not a step; F never rises. Memory: 16 · history bytes a weight.
    Raises SettingsError, when the descent begins, for a setting out of range.

    Source: Nocedal & Wright (2006), *Numerical Optimization*, alg. 7.4 and 7.5 (L-BFGS), 3.5 and 3.6 (line search).
    """

    history: int = 20
    sufficient_decrease: float = 1e-4
    slope_ratio: float = 0.9

    def check(self) -> None:
        check_number(self, "history", 1, 1000)
        if int(self.history) != self.history:
            raise SettingsError(
                f"history={self.history!r} is not possible for LBFGS: expected a whole number of pairs."
            )
        check_number(self, "sufficient_decrease", 0.0, 0.5, open_low=True)
        check_number(self, "slope_ratio", 0.0, 0.999999, open_low=True)
        if self.sufficient_decrease >= self.slope_ratio:
            raise SettingsError(
                f"sufficient_decrease={self.sufficient_decrease!r} is not possible for LBFGS: it must be below "
                f"slope_ratio={self.slope_ratio!r}, or no point may satisfy both."
            )

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        return ("step_length",)

    def start(self, weights: np.ndarray, penalty: Penalty) -> LBFGSState:
        none = Point(0.0, 0.0, 0.0)
        walk = first_walk(weights, 1)
        return LBFGSState(walk, weights, np.zeros_like(weights), 0.0, 0.0, none, none, 0, False, (), penalty)

    def ask(self, state: LBFGSState) -> Request:
        return Request("gradient", state.trial)

    def tell(self, state: LBFGSState, sums: Sums) -> LBFGSState:
        walk, start = state.walk, state.walk.steps < 0
        there = penalise(state.penalty, state.trial, sums)
        finite = math.isfinite(there.error) and bool(np.isfinite(there.gradient).all())
        if start and not finite:
            return state._replace(walk=stay(walk, Stop.NOT_FINITE))
        error = there.error if finite else math.inf
        here = Point(state.length, error, float(there.gradient @ state.direction) if finite else 0.0)
        found, low, high = self._judge(state, here)
        if finite and (start or found or (state.settles and error <= walk.penalised)):
            pairs = state.pairs
            new = None if start else pair_of(state.trial - walk.weights, there.gradient - walk.gradient)
            if new is not None:
                pairs = (*pairs, new)[-int(self.history) :]
            walk = arrive(walk, state.trial, sums.error, error, there.gradient, (state.length,))
            return self._new_line(state, walk, pairs)

        # No acceptable point on this line: take the low point as it is, or go straight down the gradient, or give up.
        state = state._replace(low=low, high=high, walk=stay(walk), trials=state.trials + 1)
        if not (state.settles or state.trials >= _MOST_TRIALS):
            return self._try(state, _next_length(low, high), settles=False)
        if not state.settles and low.length > 0 and low.error < walk.penalised:
            return self._try(state, low.length, settles=True)
        if state.pairs:
            return self._new_line(state, state.walk, ())
        return self._try(state, _next_length(low, high), settles=False)._replace(walk=stay(walk, Stop.STALLED))

    def _try(self, state: LBFGSState, length: float, *, settles: bool) -> LBFGSState:
        trial = state.walk.weights + length * state.direction
        return state._replace(trial=trial, length=length, settles=settles)

    def _new_line(self, state: LBFGSState, walk: Walk, pairs: tuple[Pair, ...]) -> LBFGSState:
        """The state at the beginning of a line from where the walk stands; at its end, if there is nothing left to gain."""
        gradient = walk.gradient
        direction = -inverse_times(gradient, pairs)
        if not (np.isfinite(direction).all() and direction @ gradient < 0):
            direction = -gradient
        slope = float(gradient @ direction)
        # The first step of a history knows no scale: as long as 1 at most.
        length = 1.0 if pairs else min(1.0, 1.0 / max(math.sqrt(-slope), 1e-300))
        if not gradient.any() or (pairs and -0.5 * slope <= 4.0 * _EPSILON * walk.penalised):
            walk = walk._replace(stop=Stop.FLAT)
        state = LBFGSState(
            walk, state.trial, direction, length, slope, Point(0.0, walk.penalised, slope), _NOWHERE._replace(slope=slope),
            0, False, pairs, state.penalty,
        )  # fmt: skip
        return self._try(state, length, settles=False)

    def _judge(self, state: LBFGSState, here: Point) -> tuple[bool, Point, Point]:
        """Whether the trial satisfies the strong Wolfe conditions, and what it makes of low and high.

        A high point at infinity says that no minimum is enclosed yet: alg. 3.5, else 3.6.
        """
        low, high, start = state.low, state.high, state.walk.penalised
        promised = self.sufficient_decrease * here.length * state.slope
        # Where less is promised than F can show, it is enough not to rise.
        ceiling = min(start, start + promised + _EPSILON * start)
        if not here.error <= ceiling or here.error > low.error:
            return False, low, here
        turned = here.slope * np.sign(high.length - low.length) >= 0
        return abs(here.slope) <= -self.slope_ratio * state.slope, here, low if turned else high


def _next_length(low: Point, high: Point) -> float:
    """Where to look next: at the minimum of the cubic through both points, kept well inside; outwards if none is enclosed.

    Source: Nocedal & Wright (2006), eq. 3.59.
    """
    if not math.isfinite(high.length):
        return 4.0 * low.length
    width, inside = high.length - low.length, 0.5
    if not math.isfinite(high.error):
        inside = 0.1  # beyond what numbers can hold the values say nothing: come back far
    elif width:
        sum_of_slopes = low.slope + high.slope + 3.0 * (low.error - high.error) / width
        root = math.copysign(math.sqrt(max(sum_of_slopes * sum_of_slopes - low.slope * high.slope, 0.0)), width)
        divisor = high.slope - low.slope + 2.0 * root
        share = (high.slope + root - sum_of_slopes) / divisor if divisor else math.nan
        if math.isfinite(share):
            inside = min(max(1.0 - share, 0.1), 0.9)
    return low.length + inside * width
