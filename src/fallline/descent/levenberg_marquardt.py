"""Levenberg–Marquardt: Gauss–Newton steps, damped as far as the surface demands.

Each pass asks the rows for the triple (E, g, JᵀJ) at a trial point; JᵀJ is summed
block by block, so that J never exists whole.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk
from fallline.descent.penalty import Penalised, Penalty, penalise, reestimated
from fallline.error import Request, Sums, nothing

# The damping is in units of the scaled curvature, whose diagonal is 1. At the floor the step is Gauss–Newton's;
# at the ceiling it is a gradient step 1e16 times shorter than the scale of the surface: no step helps any more.
_LEAST_DAMPING = 1e-12
_MOST_DAMPING = 1e16


# Bayesian regularisation: the first steps go down a fixed penalty, because far from any valley the local
# quadratic says nothing of the noise; afterwards it is looked at again every few steps, at the cost of a factorisation.
_STEPS_BEFORE_EVIDENCE = 8
_STEPS_BETWEEN_EVIDENCE = 2
_AT_REST = 1e-9  # share of F that a step still promises
_SETTLED = 1e-3  # relative change of the strengths


class LevenbergMarquardtState(NamedTuple):
    """Where Levenberg–Marquardt stands, and what it must remember for its next trial."""

    walk: Walk
    trial: Any
    step: Any  # trial − weights
    gain: Any  # the fall in F that the local quadratic promises for that step
    sums: Sums  # E, g and JᵀJ at the weights, without penalty
    scale: Any  # D: the largest column norm of J seen so far, per weight
    damping: Any
    growth: Any  # factor for the damping at the next rejection
    penalty: Penalty


@dataclass(repr=True, eq=True)
class LevenbergMarquardt(Descent):
    """Levenberg–Marquardt: (JᵀJ + damping · D²) Δw = −g, F falling at every step.

    D holds the largest column norms of J met so far (Moré 1978), so that the damping has no units.
    ``damping`` (> 0) is its first value; it falls after a step that the local quadratic foretold and
    grows after one that it did not. A trial that does not lower F is not a step: it costs a pass.
    Raises SettingsError, when the descent begins, for a damping that is not positive.

    Source: Madsen, Nielsen & Tingleff (2004), *Methods for Non-linear Least Squares Problems*, alg. 3.16;
    scaling, Moré (1978), in *Numerical Analysis*, Lecture Notes in Mathematics 630, sec. 3.
    """

    damping: float = 1e-3

    kinds: ClassVar[tuple[str, ...]] = ("gauss_newton",)
    finds_penalty: ClassVar[bool] = True

    def check(self) -> None:
        check_number(self, "damping", 0.0, 1e10, open_low=True)

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        return ("damping", "effective_weights", "noise_precision") if penalty.adapts else ("damping",)

    def start(self, weights: Any, penalty: Penalty) -> LevenbergMarquardtState:
        n, dtype = weights.shape[0], weights.dtype
        return LevenbergMarquardtState(
            walk=first_walk(weights, len(self.shows(penalty))),
            trial=weights,
            step=jnp.zeros_like(weights),
            gain=jnp.zeros((), dtype),
            sums=nothing(self.kinds, n),
            scale=jnp.zeros(n, dtype),
            damping=jnp.asarray(self.damping, dtype),
            growth=jnp.full((), 2.0, dtype),
            penalty=jax.tree.map(jnp.asarray, penalty),
        )

    def ask(self, state: LevenbergMarquardtState) -> Request:
        return Request(jnp.zeros((), jnp.int32), state.trial, state.step[:0])

    def tell(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        walk, penalty = state.walk, state.penalty
        there = penalise(penalty, state.trial, sums)
        start = walk.steps < 0
        finite = (
            jnp.isfinite(there.error)
            & jnp.all(jnp.isfinite(there.gradient))
            & jnp.all(jnp.isfinite(there.gauss_newton))
        )
        fall = walk.penalised - there.error
        accepted = finite & (start | (fall > 0))

        ratio = jnp.where(start, 1.0, fall / jnp.where(state.gain > 0, state.gain, 1.0))
        easier = state.damping * jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
        damping = jnp.where(start, state.damping, jnp.where(accepted, easier, state.damping * state.growth))
        damping = jnp.maximum(damping, _LEAST_DAMPING)
        growth = jnp.where(accepted, 2.0, 2.0 * state.growth)

        weights = jnp.where(accepted, state.trial, walk.weights)
        sums = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), sums, state.sums)
        settled = jnp.ones((), bool)
        if penalty.adapts:
            steps = walk.steps + 1
            due = accepted & (steps >= _STEPS_BEFORE_EVIDENCE) & (steps % _STEPS_BETWEEN_EVIDENCE == 0)
            due |= ~start & (state.gain <= _AT_REST * walk.penalised)  # the minimum under the present penalty
            penalty = jax.lax.cond(due, reestimated, lambda penalty, *_: penalty, penalty, weights, sums)
            change = jnp.abs(penalty.strength - state.penalty.strength)
            settled = due & jnp.all(change <= _SETTLED * state.penalty.strength)
        here = penalise(penalty, weights, sums)
        scale = jnp.maximum(state.scale, jnp.sqrt(jnp.maximum(jnp.diagonal(here.gauss_newton), 0.0)))
        step, gain = damped_step(here, scale, damping)

        # Below the rounding of F itself a fall can be neither promised nor seen.
        rounding = 4.0 * jnp.finfo(here.error.dtype).eps * here.error
        flat = settled & (((gain <= rounding) & accepted) | jnp.all(here.gradient == 0))
        stalled = ~accepted & ((damping > _MOST_DAMPING) | ((state.gain <= rounding) & settled))
        stop = jnp.where(flat, Stop.FLAT, jnp.where(stalled, Stop.STALLED, Stop.GOING_ON))
        stop = jnp.where(start & ~finite, Stop.NOT_FINITE, stop)

        shown = [damping, penalty.effective_weights, penalty.noise_precision] if penalty.adapts else [damping]
        walk = arrive(
            walk,
            accepted,
            weights,
            sums.error,
            here.error,
            here.gradient,
            jnp.stack(shown),
            stop,
            newest=penalty.adapts,
        )
        return LevenbergMarquardtState(
            walk, weights + step, step, gain, sums, scale, damping, growth, penalty
        )


def damped_step(here: Penalised, scale: Any, damping: Any) -> tuple[Any, Any]:
    """The step Δw of (JᵀJ + damping · D²) Δw = −g and the fall in F that it promises, ½ Δwᵀ(damping D² Δw − g).

    Solved by Cholesky in units where the diagonal of D⁻¹JᵀJD⁻¹ is 1. A weight that no row feels (scale 0)
    stays where it is. Where rounding has made the matrix indefinite the step is NaN: such a trial is
    rejected, and the damping grows.
    """
    felt = scale > 0
    unit = jnp.where(felt, scale, 1.0)
    scaled = here.gauss_newton / unit[:, None] / unit[None, :]
    slope = jnp.where(felt, here.gradient / unit, 0.0)
    matrix = scaled + jnp.diag(jnp.where(felt, damping, 1.0))
    factor = jax.scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
    move = -jax.scipy.linalg.cho_solve(factor, slope, check_finite=False)
    gain = 0.5 * move @ (damping * move - slope)
    return move / unit, gain
