"""Gradient descent whose learning rate, or momentum, is read off the curvature.

λ_max of the Gauss–Newton part G/n comes from products G v, each one pass over the rows: a few before the first step, one
or two every twenty steps. Without momentum the steps are silver steps (``rate.py``). Where an error shows that a rate was
read off too late, the walk goes back to its lowest point.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fallline.descent import Stop, Walk, arrive, first_walk, stay
from fallline.descent.penalty import Penalty, penalise
from fallline.descent.rate import (
    FIRST_READS,
    MOST_MOMENTUM,
    ROUNDING,
    SHORTEST_CYCLE,
    STEPS_BETWEEN_READS,
    Cycle,
    first_cycle,
    has_lost,
    momentum_for,
    next_in_cycle,
    power_step,
    rate_for,
    shorter,
    silver,
)
from fallline.error.sums import Request, Sums

if TYPE_CHECKING:
    from fallline.descent.gradient import GradientDescent

_RISE = 1e3  # times the lowest error: an automatic rate is corrected long before a fixed one has failed
_TRUST = 1.02  # growth of its caution, per step, back to none


class AutomaticState(NamedTuple):
    """Where such a descent stands, and what it must remember for its next step."""

    walk: Walk
    trial: np.ndarray  # the weights the next sums are asked for
    velocity: np.ndarray
    rate: float
    momentum: float
    used: tuple[float, ...]  # rate and momentum of the step that led to the trial, as many as are shown; 0 at the start
    first: float  # F at the start
    direction: np.ndarray  # estimate of the steepest direction of curvature
    steepest: float  # λ_max of the curvature per row, as last read
    reads: int  # curvature passes still to come before the next step
    caution: float  # factor on the rate read off, halved each time it proved too large
    cycle: Cycle  # of the silver steps, where the rate is read off and there is no momentum
    penalty: Penalty


def _finds_rate(descent: "GradientDescent") -> bool:
    return isinstance(descent.learning_rate, str)


def _finds_momentum(descent: "GradientDescent") -> bool:
    return isinstance(descent.momentum, str)


def _in_cycles(descent: "GradientDescent", state: AutomaticState) -> bool:
    """Whether it takes silver steps."""
    return _finds_rate(descent) and not _finds_momentum(descent) and state.momentum == 0


def start(descent: "GradientDescent", weights: np.ndarray, penalty: Penalty) -> AutomaticState:
    """The state before the first pass."""
    count = len(descent.shows(penalty))
    return AutomaticState(
        walk=first_walk(weights, count),
        trial=weights,
        velocity=np.zeros_like(weights),
        rate=0.0 if _finds_rate(descent) else float(descent.learning_rate),
        momentum=0.0 if _finds_momentum(descent) else float(descent.momentum),
        used=(0.0,) * count,
        first=math.inf,
        direction=np.zeros_like(weights),
        steepest=0.0,
        reads=0,
        caution=1.0,
        cycle=first_cycle(),
        penalty=penalty,
    )


def ask(descent: "GradientDescent", state: AutomaticState) -> Request:
    """The gradient at the trial, or how G turns a direction there."""
    if state.reads:
        return Request("curvature", state.trial, _direction(descent, state))
    return Request("gradient", state.trial)


def tell(descent: "GradientDescent", state: AutomaticState, sums: Sums) -> AutomaticState:
    """The next state."""
    return _read(descent, state, sums) if state.reads else _move(descent, state, sums)


def _direction(descent: "GradientDescent", state: AutomaticState) -> np.ndarray:
    """What a read asks about: the last of several, where momentum is to be found, looks along the gradient."""
    if _finds_momentum(descent) and state.reads == 1:
        return power_step(state.walk.gradient)[1]
    return state.direction


def _read(descent: "GradientDescent", state: AutomaticState, sums: Sums) -> AutomaticState:
    asked, last = _direction(descent, state), state.reads == 1
    product = (sums.product + state.penalty.strength * asked) / sums.rows
    steepest, direction, momentum, rate = state.steepest, state.direction, state.momentum, state.rate
    if not (_finds_momentum(descent) and last):
        steepest, direction = power_step(product)
    else:
        momentum = min(momentum_for(steepest, float(asked @ product)), MOST_MOMENTUM)
    if _finds_rate(descent) and last:
        # No curvature at all (saturated units): any rate does, and 1 is finite.
        rate = state.caution * rate_for(steepest, momentum, descent.nesterov) if steepest > 0 else 1.0
    state = state._replace(
        walk=stay(state.walk),
        rate=rate,
        momentum=momentum,
        direction=direction,
        steepest=steepest,
        reads=state.reads - 1,
    )
    if not (last and state.walk.steps == 0):
        return state
    # Nothing was known at the start: its step is taken now.
    used = rate * silver(state.cycle.at) if _in_cycles(descent, state) else rate
    velocity = -(used / sums.rows) * state.walk.gradient
    ahead = (1.0 + momentum) * velocity if descent.nesterov else velocity
    return state._replace(trial=state.walk.weights + ahead, velocity=velocity, used=(used, momentum)[: len(state.used)])


def _move(descent: "GradientDescent", state: AutomaticState, sums: Sums) -> AutomaticState:
    walk, penalty = state.walk, state.penalty
    here = penalise(penalty, state.trial, sums)
    begins = walk.steps < 0
    first = here.error if begins else state.first
    # A fixed momentum may overshoot; one that is read off restarts long before.
    overshoot = 1.0 if _finds_momentum(descent) else (1.0 - state.momentum) ** 2
    lost = has_lost(here, walk, first, begins, overshoot)
    finite = math.isfinite(here.error) and bool(np.isfinite(here.gradient).all())
    if begins and not finite:
        return state._replace(walk=stay(walk, Stop.NOT_FINITE))
    if _finds_rate(descent):
        lost = lost or (not begins and here.error > _RISE * (walk.lowest_penalised + ROUNDING * first))
    elif lost:
        return state._replace(walk=stay(walk, Stop.DIVERGED))

    cycle, rate, spared = state.cycle, state.rate, False
    if _finds_rate(descent) and not _finds_momentum(descent):
        cycle = next_in_cycle(cycle, here.error, begins)
        if state.momentum == 0:
            rate *= silver(cycle.at)
    slope = -(rate / sums.rows) * here.gradient
    if _finds_momentum(descent) and here.error > walk.penalised and not begins:
        # What carries the weights uphill is forgotten: O'Donoghue & Candès (2015), Found. Comput. Math. 15:715.
        velocity = ahead = slope
    else:
        velocity = state.momentum * state.velocity + slope
        ahead = state.momentum * velocity + slope if descent.nesterov else velocity
    trial = state.trial + ahead
    if lost:
        # A rate that was read off too late: back to the lowest point, from rest, by shorter cycles while there are any,
        # else by a smaller rate, which is trusted again in time.
        trial, velocity = walk.lowest_weights, np.zeros_like(velocity)
        spared = state.momentum == 0 and cycle.order > SHORTEST_CYCLE
        cycle = shorter(cycle, walk.lowest_penalised)
    caution = 0.5 * state.caution if lost and not spared else min(_TRUST * state.caution, 1.0)
    # The curvature moves as the weights do: read it again now and then.
    due = (walk.steps + 1) % STEPS_BETWEEN_READS == STEPS_BETWEEN_READS - 1
    again = 2 if _finds_momentum(descent) else 1
    reads = FIRST_READS + again - 1 if begins else again if due or lost else 0
    if lost:
        walk = stay(walk, shown=state.used)
    else:
        flat = not here.gradient.any() and not state.velocity.any()
        walk = arrive(
            walk, state.trial, sums.error, here.error, here.gradient, state.used, Stop.FLAT if flat else Stop.GOING_ON
        )
    return state._replace(
        walk=walk,
        trial=state.trial if begins else trial,
        velocity=velocity,
        cycle=cycle,
        used=(rate, state.momentum)[: len(state.used)],
        first=first,
        direction=power_step(here.gradient)[1] if begins else state.direction,
        reads=reads,
        caution=caution,
    )
