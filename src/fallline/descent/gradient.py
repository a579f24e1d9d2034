"""Descent by the gradient: plain, with momentum, and in Nesterov's form.

Nothing here knows where rows live or how a path is drawn: the sums come from
``rows/``, the loop is ``loop.py``, the pictures are ``plot/``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk
from fallline.descent.batches import check_batches
from fallline.descent.penalty import Penalty, penalise
from fallline.descent.rate import (
    FIRST_READS,
    MOST_MOMENTUM,
    SHORTEST_CYCLE,
    STEPS_BETWEEN_READS,
    Cycle,
    first_cycle,
    momentum_for,
    next_in_cycle,
    power_step,
    rate_for,
    shorter,
    silver,
)
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError

# A fixed rate has failed when the error is this many times the lowest seen. Momentum may overshoot by 1/(1 − β) in the
# weights before it settles, so that the bound grows with the square of that.
_RUNAWAY = 1e4
# … beside this share of the error at the start: at the bottom of a perfect fit rounding alone multiplies E.
_ROUNDING = 1e-12
# An automatic rate is corrected long before that.
_RISE = 1e3
_TRUST = 1.02  # growth of its caution, per step, back to none


class GradientState(NamedTuple):
    """Where a gradient descent stands, and what it must remember for its next step."""

    walk: Walk
    trial: Any  # the weights the next sums are asked for
    step: Any  # the velocity Δw(t)
    rate: Any
    momentum: Any
    used: Any  # rate and momentum of the step that led to the trial, as many as are shown; 0 at the start
    first: Any  # F at the start
    direction: Any  # estimate of the steepest direction of curvature
    steepest: Any  # λ_max of the curvature per row, as last read
    reads: Any  # curvature passes still to come before the next step
    caution: Any  # factor on the rate read off, halved each time it proved too large
    cycle: Cycle  # of the silver steps, where the rate is read off and there is no momentum
    penalty: Penalty


@dataclass(repr=True, eq=True)
class GradientDescent(Descent):
    """Gradient descent, w ← w + Δw with Δw(t) = −(ε/n) ∂F/∂w + β Δw(t−1): plain, heavy ball, or Nesterov's form.

    learning_rate ε multiplies the gradient per row, F/n: a rate that suits 100 rows suits a million.
    ``"auto"`` reads it off the largest eigenvalue of the curvature, again every few steps. momentum β in
    [0, 1), or ``"auto"``: read off λ_max and the curvature along the gradient, the softest that still matters.
    nesterov: w ← w + β Δw(t) − (ε/n) ∂F/∂w, the gradient one step ahead in PyTorch's form of it; stable below
    (2 + 2β)/(1 + 2β)/λ_max, where the heavy ball is stable below 2(1 + β)/λ_max. Raises SettingsError, when the
    descent begins, for a rate that is not positive, a momentum out of range, or Nesterov's form without momentum.

    batch_size: rows to a step, all of them where it is None. The gradient per row is then that of the batch, and
    ``max_iter`` counts epochs. decay, by mini-batches: ``"none"``; ``"inverse"``, ε/(1 + epochs); ``"cosine"``, a cosine
    down to zero over ``max_iter`` epochs; or a number: a cosine over so many epochs, where the walk ends.

    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533, eq. 8 and 9; Polyak (1964), USSR Comp. Math. 4:1;
    Nesterov (1983), Soviet Math. Dokl. 27:372, in the form of Sutskever et al. (2013), ICML, eq. 3 and 4.
    """

    learning_rate: float | str = "auto"
    momentum: float | str = 0.0
    nesterov: bool = False
    batch_size: int | None = None
    decay: float | str = "none"

    in_one_kernel: ClassVar[bool] = True
    lengths: ClassVar[tuple[str, ...]] = ("batch_size",)
    layered: ClassVar[bool] = True  # by mini-batches the weights move layer by layer

    @property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("gradient", "curvature") if self.reads_curvature else ("gradient",)

    @property
    def reads_curvature(self) -> bool:
        return self.finds_rate or self.finds_momentum

    @property
    def finds_rate(self) -> bool:
        return isinstance(self.learning_rate, str)

    @property
    def finds_momentum(self) -> bool:
        return isinstance(self.momentum, str)

    def check(self) -> None:
        check_number(self, "learning_rate", 0.0, float("inf"), open_low=True, words=("auto",))
        check_number(self, "momentum", 0.0, 0.999999, words=("auto",))
        if not isinstance(self.nesterov, bool):
            raise SettingsError(f"nesterov={self.nesterov!r} is not possible: expected True or False.")
        if self.nesterov and self.momentum == 0:
            raise SettingsError(
                "nesterov=True needs momentum: give momentum=0.9 or momentum='auto', or leave nesterov out."
            )
        check_batches(self)
        if self.finds_momentum and self.batch_size is not None:
            raise SettingsError(
                "momentum='auto' is read off the curvature over all rows: with batch_size give a number, such as 0.9."
            )

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        return ("learning_rate", "momentum") if self.finds_momentum else ("learning_rate",)

    def start(self, weights: Any, penalty: Penalty) -> GradientState:
        dtype = weights.dtype
        return GradientState(
            walk=first_walk(weights, len(self.shows(penalty))),
            trial=weights,
            step=jnp.zeros_like(weights),
            rate=jnp.asarray(0.0 if self.finds_rate else self.learning_rate, dtype),
            momentum=jnp.asarray(0.0 if self.finds_momentum else self.momentum, dtype),
            used=jnp.zeros(len(self.shows(penalty)), dtype),
            first=jnp.zeros((), dtype),
            direction=jnp.zeros(weights.shape[0] if self.reads_curvature else 1, dtype),
            steepest=jnp.zeros((), dtype),
            reads=jnp.zeros((), jnp.int32),
            caution=jnp.ones((), dtype),
            cycle=first_cycle(dtype),
            penalty=penalty,
        )

    def ask(self, state: GradientState) -> Request:
        return Request((state.reads > 0).astype(jnp.int32), state.trial, self._direction(state))

    def _direction(self, state: GradientState) -> Any:
        """The direction that a read asks the curvature of: the last of several looks along the gradient."""
        if not self.finds_momentum:
            return state.direction
        return jnp.where(state.reads == 1, power_step(state.walk.gradient)[1], state.direction)

    def tell(self, state: GradientState, sums: Sums) -> GradientState:
        if not self.reads_curvature:
            return self._move(state, sums)
        return jax.lax.cond(state.reads > 0, self._read, self._move, state, sums)

    def remember(self, weights: Any) -> Any:
        """By mini-batches: the step just taken."""
        return jax.tree.map(jnp.zeros_like, weights)

    def move(self, memory: Any, weights: Any, gradient: Any, rate: Any, error: Any) -> tuple[Any, Any]:
        """By mini-batches: the next step and weights, from the gradient per row of a batch."""
        momentum = jnp.asarray(self.momentum, rate.dtype)
        step = jax.tree.map(lambda s, g: momentum * s - rate * g, memory, gradient)
        if self.nesterov:
            move = jax.tree.map(lambda s, g: momentum * s - rate * g, step, gradient)
            return step, jax.tree.map(jnp.add, weights, move)
        return step, jax.tree.map(jnp.add, weights, step)

    def _read(self, state: GradientState, sums: Sums) -> GradientState:
        asked = self._direction(state)
        product = (sums.curvature + state.penalty.strength * asked) / sums.rows
        steepest, direction = power_step(product)
        momentum, done = state.momentum, state.reads == 1
        if self.finds_momentum:
            steepest = jnp.where(done, state.steepest, steepest)
            direction = jnp.where(done, state.direction, direction)
            found = jnp.minimum(momentum_for(steepest, asked @ product), MOST_MOMENTUM)
            momentum = jnp.where(done, found, momentum)
        rate = state.rate
        if self.finds_rate:
            # No curvature at all (saturated units): any rate does, and 1 is finite.
            read = jnp.where(steepest > 0, state.caution * rate_for(steepest, momentum, self.nesterov), 1.0)
            rate = jnp.where(done, read, rate)
        # Nothing was known at the start: its step is taken now.
        leaving = done & (state.walk.steps == 0)
        if self.finds_rate and not self.finds_momentum:
            used = jnp.where(momentum > 0, rate, rate * silver(state.cycle.at))
        else:
            used = rate
        step = -(used / sums.rows) * state.walk.gradient
        ahead = (1.0 + momentum) * step if self.nesterov else step
        return state._replace(
            walk=state.walk._replace(moved=jnp.zeros((), bool), passes=state.walk.passes + 1),
            trial=jnp.where(leaving, state.walk.weights + ahead, state.trial),
            step=jnp.where(leaving, step, state.step),
            rate=rate,
            momentum=momentum,
            used=jnp.where(leaving, jnp.stack([used, momentum][: len(state.used)]), state.used),
            direction=direction,
            steepest=steepest,
            reads=state.reads - 1,
        )

    def _move(self, state: GradientState, sums: Sums) -> GradientState:
        walk = state.walk
        here = penalise(state.penalty, state.trial, sums)
        finite = jnp.isfinite(here.error) & jnp.all(jnp.isfinite(here.gradient))
        start = walk.steps < 0
        first = jnp.where(start, here.error, state.first)
        floor = walk.lowest_penalised + _ROUNDING * first
        # A fixed momentum is a number; one that is read off restarts long before it overshoots.
        overshoot = 1.0 if self.finds_momentum else (1.0 - state.momentum) ** 2
        lost = ~finite | (~start & (here.error * overshoot > _RUNAWAY * floor))

        rate, cycle = state.rate, state.cycle
        if self.finds_rate and not self.finds_momentum:
            cycle = next_in_cycle(cycle, here.error, start)
            rate = jnp.where(state.momentum > 0, rate, rate * silver(cycle.at))
        slope = -(rate / sums.rows) * here.gradient
        step = state.momentum * state.step + slope
        ahead = state.momentum * step + slope if self.nesterov else step
        trial, reads, caution = state.trial + ahead, state.reads, state.caution
        if self.reads_curvature:
            rose = here.error > walk.penalised
            if self.finds_momentum:
                # What carries the weights uphill is forgotten: O'Donoghue & Candès (2015), Found. Comput. Math. 15:715.
                step = jnp.where(rose & ~start, slope, step)
                trial = jnp.where(rose & ~start, state.trial + slope, trial)
            if self.finds_rate:
                # A rate that was read off too late: back to the lowest point, from rest.
                lost = lost | (~start & (here.error > _RISE * floor))
                trial = jnp.where(lost & ~start, walk.lowest_weights, trial)
                step = jnp.where(lost & ~start, 0.0, step)
                # … by shorter cycles while there are any, else by a smaller rate, which is trusted again in time.
                spared = (state.momentum == 0) & (cycle.order > SHORTEST_CYCLE)
                caution = jnp.where(lost & ~spared, 0.5 * caution, jnp.minimum(_TRUST * caution, 1.0))
                cycle = jax.tree.map(
                    lambda new, old: jnp.where(lost, new, old), shorter(cycle, walk.lowest_penalised), cycle
                )
            # The curvature moves as the weights do: read it again now and then.
            due = (walk.steps + 1) % STEPS_BETWEEN_READS == STEPS_BETWEEN_READS - 1
            again = 2 if self.finds_momentum else 1
            reads = jnp.where(start, FIRST_READS + again - 1, jnp.where(due | lost, again, 0)).astype(
                jnp.int32
            )
            trial = jnp.where(start, state.trial, trial)
        direction = state.direction
        if self.reads_curvature:
            direction = jnp.where(start, power_step(here.gradient)[1], direction)
        ended = lost & start if self.finds_rate else lost
        arrived = finite & (start | ~lost)
        flat = arrived & jnp.all(here.gradient == 0) & jnp.all(state.step == 0)
        stop = jnp.where(
            ended, jnp.where(start, Stop.NOT_FINITE, Stop.DIVERGED), jnp.where(flat, Stop.FLAT, Stop.GOING_ON)
        )
        walk = arrive(walk, arrived, state.trial, sums.error, here.error, here.gradient, state.used, stop)
        return state._replace(
            walk=walk,
            trial=trial,
            step=step,
            cycle=cycle,
            used=jnp.stack([rate, state.momentum][: len(state.used)]),
            first=first,
            direction=direction,
            reads=reads,
            caution=caution,
        )
