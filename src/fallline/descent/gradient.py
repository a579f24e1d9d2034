"""Descent by the gradient: plain, and with momentum.

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
    READS,
    STEPS_BETWEEN_READS,
    first_direction,
    power_step,
    rate_for,
)
from fallline.error import Request, Sums

# An error that has grown by this factor over the lowest seen will not come back by itself.
_RUNAWAY = 1e8


class GradientState(NamedTuple):
    """Where a gradient descent stands, and what it must remember for its next step."""

    walk: Walk
    trial: Any  # the weights the next sums are asked for
    step: Any  # the step just taken
    rate: Any
    direction: Any  # estimate of the steepest direction of curvature
    reads: Any  # curvature passes still to come before the next step
    caution: Any  # factor on the rate read off, halved each time it proved too large
    penalty: Penalty


@dataclass(repr=True, eq=True)
class GradientDescent(Descent):
    """Gradient descent, w ← w + Δw with Δw(t) = −(ε/n) ∂F/∂w + momentum · Δw(t−1), over all rows or by mini-batches.

    learning_rate ε multiplies the gradient per row, F/n: a rate that suits 100 rows suits a million.
    ``"auto"`` reads it off the largest eigenvalue of the curvature, again every few steps. momentum in
    [0, 1). nesterov: the step is momentum · Δw(t) − (ε/n) ∂F/∂w instead. Raises SettingsError, when the descent
    begins, for a rate that is not positive or a momentum out of range.

    batch_size: rows to a step, all of them where it is None. The gradient per row is then that of the batch, and
    ``max_iter`` counts epochs. decay, by mini-batches: ``"none"``; ``"inverse"``, ε/(1 + epochs); ``"cosine"``, a cosine
    down to zero over ``max_iter`` epochs; or a number: a cosine over so many epochs, where the walk ends.

    Source: Rumelhart, Hinton & Williams (1986), Nature 323:533, eq. 8 and 9.
    """

    learning_rate: float | str = "auto"
    momentum: float = 0.0
    nesterov: bool = False
    batch_size: int | None = None
    decay: float | str = "none"

    lengths: ClassVar[tuple[str, ...]] = ("batch_size",)
    layered: ClassVar[bool] = True  # by mini-batches the weights move layer by layer

    @property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("gradient", "curvature") if self.reads_curvature else ("gradient",)

    @property
    def reads_curvature(self) -> bool:
        return isinstance(self.learning_rate, str)

    def check(self) -> None:
        check_number(self, "learning_rate", 0.0, float("inf"), open_low=True, words=("auto",))
        check_number(self, "momentum", 0.0, 0.999999)
        check_batches(self)

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        return ("learning_rate",)

    def start(self, weights: Any, penalty: Penalty) -> GradientState:
        dtype = weights.dtype
        rate = jnp.zeros((), dtype) if self.reads_curvature else jnp.asarray(self.learning_rate, dtype)
        direction = jnp.asarray(first_direction(weights.shape[0] if self.reads_curvature else 1), dtype)
        reads = jnp.asarray(FIRST_READS if self.reads_curvature else 0, jnp.int32)
        one = jnp.ones((), dtype)
        return GradientState(
            first_walk(weights, 1), weights, jnp.zeros_like(weights), rate, direction, reads, one, penalty
        )

    def ask(self, state: GradientState) -> Request:
        return Request((state.reads > 0).astype(jnp.int32), state.trial, state.direction)

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
        product = sums.curvature + state.penalty.strength * state.direction
        length, direction = power_step(product / sums.rows)
        reads = state.reads - 1
        # No curvature at all (saturated units, a zero gradient): any rate does, and 1 is finite.
        rate = jnp.where(length > 0, state.caution * rate_for(length, self.momentum), 1.0)
        walk = state.walk._replace(moved=jnp.zeros((), bool), passes=state.walk.passes + 1)
        return state._replace(
            walk=walk, rate=jnp.where(reads == 0, rate, state.rate), direction=direction, reads=reads
        )

    def _move(self, state: GradientState, sums: Sums) -> GradientState:
        walk = state.walk
        here = penalise(state.penalty, state.trial, sums)
        finite = jnp.isfinite(here.error) & jnp.all(jnp.isfinite(here.gradient))
        start = walk.steps < 0
        lost = ~finite | (here.error > _RUNAWAY * (walk.lowest_penalised + jnp.finfo(here.error.dtype).tiny))
        step = self.momentum * state.step - (state.rate / sums.rows) * here.gradient
        trial = state.trial + (
            self.momentum * step - (state.rate / sums.rows) * here.gradient if self.nesterov else step
        )
        reads = state.reads
        if self.reads_curvature:
            # The curvature moves as the weights do: read it again now and then, and at once when the error rises.
            due = (walk.steps + 1) % STEPS_BETWEEN_READS == STEPS_BETWEEN_READS - 1
            rose = here.error > walk.penalised
            reads = jnp.where(due | rose | lost, READS, 0).astype(jnp.int32)
            # A rate that was read off too late: back to the lowest point, from rest.
            trial = jnp.where(lost & ~start, walk.lowest_weights, trial)
            step = jnp.where(lost & ~start, 0.0, step)
            state = state._replace(caution=jnp.where(lost, 0.5 * state.caution, state.caution))
            arrived, ended = finite & (start | ~lost), lost & start
        else:
            arrived, ended = finite & (start | ~lost), lost
        flat = arrived & jnp.all(here.gradient == 0) & jnp.all(state.step == 0)
        stop = jnp.where(
            ended, jnp.where(start, Stop.NOT_FINITE, Stop.DIVERGED), jnp.where(flat, Stop.FLAT, Stop.GOING_ON)
        )
        stop = jnp.where(start & finite & ~flat, Stop.GOING_ON, stop)
        shown = state.rate[None]
        walk = arrive(walk, arrived, state.trial, sums.error, here.error, here.gradient, shown, stop)
        return state._replace(walk=walk, trial=trial, step=step, reads=reads)
