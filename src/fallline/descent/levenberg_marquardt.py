"""Levenberg–Marquardt: Gauss–Newton steps, damped as far as the surface demands.

Each pass asks the rows for the triple (E, g, JᵀJ) at a trial point, or for the triangle of J that holds all three;
they are summed block by block, so that J never exists whole.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk
from fallline.descent.penalty import Penalised, Penalty, penalise, reestimated
from fallline.error.sums import Request, Sums, nothing
from fallline.exceptions import SettingsError
from fallline.model.network import Model, Network

# The damping is in units of the scaled curvature, whose diagonal is 1. At the floor the step is Gauss–Newton's;
# at Nielsen's ceiling it is a gradient step 1e16 times shorter than the scale of the surface: no step helps any more.
# A triangle has the digits for a lower floor.
_LEAST_DAMPING = {"cholesky": 1e-12, "qr": 1e-30}
_RULES = {"nielsen": 1e16, "matlab": 1e10}  # the damping at which each gives up
_LONGER = 4.0  # factor for the damping while a step is longer than it may be: costs no pass
_TRIES = 64

# Bayesian regularisation: the first steps go down a fixed penalty, because far from any valley the local
# quadratic says nothing of the noise; afterwards it is looked at again every few steps, at the cost of a factorisation.
_STEPS_BEFORE_EVIDENCE = 8
_STEPS_BETWEEN_EVIDENCE = 2
_AT_REST = 1e-9  # share of F that a step still promises
_SETTLED = 1e-3  # relative change of the strengths

# Acceleration: how long its part may be, and how well the last step must have been foretold to do without. Source for the
# first: Transtrum & Sethna (2012), arXiv 1201.5885, sec. 2.2.
_MOST_BEND = 0.75
_FORETOLD = 0.1

# The polish: its first step must be this short against the weights, each further one shorter than the last. F may rise by
# this share: where a curve fits to twelve digits, rounding alone moves it by a thousandth, and whoever takes only what
# falls ends where rounding is kindest, with too small a noise.
_NEAR = 1e-2
_RISES = 1e-2


class Damped(NamedTuple):
    """(JᵀJ + damping · D²) Δw = −g in units of D: the matrix as RᵀR, and its solution."""

    root: Any  # R, upper triangular
    felt: Any  # which weights move at all
    unit: Any  # D, 1 where nothing is felt
    slope: Any
    held: Any  # what the damping adds to the diagonal
    move: Any  # D Δw


class LevenbergMarquardtState(NamedTuple):
    """Where Levenberg–Marquardt stands, and what it must remember for its next trial."""

    walk: Walk
    trial: Any
    step: Any  # along the tangent; trial − weights where there is no acceleration
    gain: Any  # the fall in F that the local quadratic promises for that step
    sums: Sums  # E, g and JᵀJ (or the triangle) at the weights, without penalty
    scale: Any  # D: the largest column norm of J seen so far, per weight
    damping: Any
    growth: Any  # factor for the damping at the next rejection
    penalty: Penalty
    bending: Any  # whether the next pass reads how ŷ bends along the step
    polishing: Any  # whether the trial is a step of the polish
    size: Any  # length of that step, in units of D
    solving: Any  # whether the trial is there for its output layer to be solved for
    damped: Damped  # the equations that the step solves


@dataclass(repr=True, eq=True)
class LevenbergMarquardt(Descent):
    """Levenberg–Marquardt: (JᵀJ + damping · D²) Δw = −g, F falling at every step.

    D is the largest column norm of J met so far, so that the damping has no units, one for all weights or each weight's own.
    ``damping`` (> 0) is its first value; it falls after a step that the local quadratic foretold and
    grows after one that it did not. A trial that does not lower F is not a step: it costs a pass.

    rule: ``"nielsen"``: the damping falls by as much as the step was foretold, to a third at most, and grows ever faster while
    trials fail; ``"matlab"``: × 0.1 after each step and × 10 after each trial that is none, ending above 1e10, as ``trainlm``.
    scaling: ``"common"``: one D for all weights; ``"columns"``: each its own (Moré 1978); ``"none"``: D = 1, MATLAB's
    JᵀJ + damping · I. factor: ``"cholesky"`` of the scaled JᵀJ; ``"qr"``: of the rows of J, which keeps twice the digits
    and costs more.
    acceleration: a step also follows the bend of ŷ along it, at the cost of a pass where the last step was not
    foretold to a tenth (geodesic acceleration). longest_step: at most so many lengths of the weights in units of D, None for
    no bound. memory: what is left of D at the next pass; 1 for ever, less where columns shrink by orders of magnitude on the way.
    polish: end with undamped steps, as long as each is shorter than the last, because near the minimum F changes by less
    than its rounding, and half the digits of the weights would go unseen. lower, upper: a bound for each weight, or None.
    project_output: go down the error that is left when the output layer is solved for (variable projection), for networks
    with a hidden layer and identity outputs: the damping holds the hidden weights alone, and a trial's output layer is
    replaced by the best one, for a pass more a step. It excludes bounds, acceleration, polish and ``alpha="evidence"``.
    The default suits networks; ``for_curves()`` has what functions of few parameters and any scale need.
    Raises SettingsError, when the descent begins, for a setting out of its range.

    Source: Madsen, Nielsen & Tingleff (2004), *Methods for Non-linear Least Squares Problems*, alg. 3.16;
    scaling, Moré (1978), in *Numerical Analysis*, Lecture Notes in Mathematics 630, sec. 3;
    acceleration, Transtrum, Machta & Sethna (2011), Phys. Rev. E 83:036701, sec. VIII; projection, Golub & Pereyra (1973),
    SIAM J. Numer. Anal. 10:413, in the form of Kaufman (1975), BIT 15:49.
    """

    damping: float = 1e-2
    factor: str = "cholesky"
    acceleration: bool = False
    longest_step: float | None = None
    memory: float = 1.0
    polish: bool = False
    lower: Any = None
    upper: Any = None
    rule: str = "nielsen"
    scaling: str = "common"
    project_output: Any = (
        False  # suited to a model: how many weights, the last ones, are those of its output layer
    )

    finds_penalty: ClassVar[bool] = True
    lengths: ClassVar[tuple[str, ...]] = ("project_output",)

    @classmethod
    def for_curves(cls, lower: Any = None, upper: Any = None) -> "LevenbergMarquardt":
        """The settings that take all NIST reference problems from both their starts: see benchmarks/nist.py."""
        return cls(
            damping=1e-3,
            scaling="columns",
            factor="qr",
            acceleration=True,
            longest_step=1.0,
            memory=0.8,
            polish=True,
            lower=lower,
            upper=upper,
        )

    @property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        """The kinds of pass it asks for."""
        triple = "triangle" if self.factor == "qr" else "gauss_newton"
        return (triple, "bend") if self.acceleration else (triple,)

    @property
    def bounded(self) -> bool:
        """Whether any weight has a bound."""
        return self.lower is not None or self.upper is not None

    def check(self) -> None:
        check_number(self, "damping", 0.0, 1e10, open_low=True)
        check_number(self, "memory", 0.0, 1.0)
        if self.longest_step is not None:
            check_number(self, "longest_step", 0.0, float("inf"), open_low=True)
        if self.factor not in _LEAST_DAMPING:
            raise SettingsError(
                f"factor={self.factor!r} is not possible for LevenbergMarquardt: expected 'cholesky' or 'qr'."
            )
        if self.rule not in _RULES:
            raise SettingsError(
                f"rule={self.rule!r} is not possible for LevenbergMarquardt: expected 'nielsen' or 'matlab'."
            )
        if self.scaling not in ("columns", "common", "none"):
            raise SettingsError(
                f"scaling={self.scaling!r} is not possible for LevenbergMarquardt: expected 'columns', 'common' or 'none'."
            )
        if self.project_output and (self.bounded or self.acceleration or self.polish):
            raise SettingsError(
                "project_output=True is not possible together with bounds, acceleration or polish: leave one out."
            )

    def suited(self, model: Model) -> "LevenbergMarquardt":
        if not self.project_output:
            return self
        if not (isinstance(model, Network) and model.hidden and model.output_activation == "identity"):
            raise SettingsError(
                f"project_output=True solves for a linear output layer above a hidden one, but this model has none ({model}): "
                "leave it out, or take identity outputs and hidden_layer_sizes."
            )
        return replace(self, project_output=(model.hidden[-1] + model.bias) * model.outputs)

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        found = ("effective_weights", "noise_precision", "log_evidence")
        return ("damping", *found) if penalty.adapts else ("damping",)

    def start(self, weights: Any, penalty: Penalty) -> LevenbergMarquardtState:
        if self.project_output and penalty.adapts:
            raise SettingsError(
                "project_output=True is not possible together with alpha='evidence': give a number."
            )
        n, dtype = weights.shape[0], weights.dtype
        weights = self._within(weights)
        return LevenbergMarquardtState(
            walk=first_walk(weights, len(self.shows(penalty))),
            trial=weights,
            step=jnp.zeros_like(weights),
            gain=jnp.zeros((), dtype),
            sums=nothing(self.kinds, n),
            scale=jnp.zeros(n, dtype),
            damping=jnp.asarray(self.damping, dtype),
            growth=jnp.full((), 2.0 if self.rule == "nielsen" else 10.0, dtype),
            penalty=jax.tree.map(jnp.asarray, penalty),
            bending=jnp.zeros((), bool),
            polishing=jnp.zeros((), bool),
            size=jnp.full((), jnp.inf, dtype),
            solving=jnp.zeros((), bool),
            damped=_unsolved(n),
        )

    def ask(self, state: LevenbergMarquardtState) -> Request:
        if not self.acceleration:
            return Request(jnp.zeros((), jnp.int32), state.trial, state.step[:0])
        where = jnp.where(state.bending, state.walk.weights, state.trial)
        return Request(state.bending.astype(jnp.int32), where, state.step)

    def tell(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        if self.project_output:
            return jax.lax.cond(state.solving, self._solve_output, self._arrive, state, sums)
        if not self.acceleration:
            return self._arrive(state, sums)
        return jax.lax.cond(state.bending, self._bend, self._arrive, state, sums)

    def _arrive(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """The next state after a pass at the trial point."""
        walk, penalty = state.walk, state.penalty
        there = penalise(penalty, state.trial, _with_square(sums))
        start = walk.steps < 0
        finite = (
            jnp.isfinite(there.error)
            & jnp.all(jnp.isfinite(there.gradient))
            & jnp.all(jnp.isfinite(there.gauss_newton))
        )
        fall = walk.penalised - there.error
        low = fall > 0
        if self.polish:
            low |= state.polishing & (there.error <= walk.penalised * (1.0 + _RISES))
        accepted = finite & (start | low)

        ratio = jnp.where(start, 1.0, fall / jnp.where(state.gain > 0, state.gain, 1.0))
        damping, growth = self._next_damping(state, start, accepted, ratio)

        weights = jnp.where(accepted, state.trial, walk.weights)
        sums = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), sums, state.sums)
        full = _with_square(sums)
        settled = jnp.ones((), bool)
        if penalty.adapts:
            steps = walk.steps + 1
            due = accepted & (steps >= _STEPS_BEFORE_EVIDENCE) & (steps % _STEPS_BETWEEN_EVIDENCE == 0)
            due |= ~start & (state.gain <= _AT_REST * walk.penalised)  # the minimum under the present penalty
            due &= ~state.polishing
            penalty = jax.lax.cond(due, reestimated, lambda penalty, *_: penalty, penalty, weights, full)
            change = jnp.abs(penalty.strength - state.penalty.strength)
            settled = due & jnp.all(change <= _SETTLED * state.penalty.strength)
        here = self._held(penalise(penalty, weights, full), weights)
        norms = jnp.sqrt(jnp.maximum(jnp.diagonal(here.gauss_newton), 0.0))
        scale = jnp.maximum(self.memory * state.scale, norms)
        damping, damped = self._short_enough(here, sums, penalty, weights, scale, damping)
        step, gain = damped.move / damped.unit, self._promised(here, damped)

        # Below the rounding of F itself a fall can be neither promised nor seen.
        rounding = 4.0 * jnp.finfo(here.error.dtype).eps * here.error
        flat = settled & (((gain <= rounding) & accepted) | jnp.all(here.gradient == 0))
        stalled = ~accepted & ((damping > _RULES[self.rule]) | ((state.gain <= rounding) & settled))
        stop = jnp.where(flat, Stop.FLAT, jnp.where(stalled, Stop.STALLED, Stop.GOING_ON))
        polishing, size = state.polishing, state.size
        if self.polish:
            begins = (flat | stalled) & ~polishing & finite
            last = self._solved(here, sums, penalty, weights, norms, jnp.zeros_like(damping))
            size = jnp.linalg.norm(last.move)
            before = jnp.where(polishing, state.size, _NEAR * jnp.linalg.norm(norms * weights))
            goes_on = (begins | (polishing & accepted)) & (size < before) & (size > 0)
            stop = jnp.where(goes_on, Stop.GOING_ON, jnp.where(polishing, Stop.FLAT, stop))
            step, gain = jnp.where(goes_on, last.move / last.unit, step), jnp.where(goes_on, 0.0, gain)
        stop = jnp.where(start & ~finite, Stop.NOT_FINITE, stop)

        shown = [damping]
        if penalty.adapts:
            shown += [penalty.effective_weights, penalty.noise_precision, penalty.log_evidence]
        walk = arrive(
            walk,
            accepted,
            weights,
            sums.error,
            here.error,
            here.gradient,
            jnp.stack(shown),
            stop,
            newest=state.polishing if self.polish else penalty.adapts,
        )
        bending = jnp.zeros((), bool)
        if self.polish:
            polishing = goes_on
        if self.acceleration:
            bending = ~(polishing | (accepted & ~start & (jnp.abs(ratio - 1.0) < _FORETOLD)))
        return LevenbergMarquardtState(
            walk,
            self._within(weights + step),
            step,
            gain,
            sums,
            scale,
            damping,
            growth,
            penalty,
            bending,
            polishing,
            size,
            jnp.full((), bool(self.project_output)),
            damped,
        )

    def _next_damping(self, state: LevenbergMarquardtState, start: Any, accepted: Any, ratio: Any) -> Any:
        """The damping after a trial, and the factor by which it grows at the next rejection."""
        if self.rule == "nielsen":
            easier = state.damping * jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
            growth = jnp.where(accepted, 2.0, 2.0 * state.growth)
        else:
            easier, growth = 0.1 * state.damping, state.growth
        damping = jnp.where(start, state.damping, jnp.where(accepted, easier, state.damping * state.growth))
        least = _LEAST_DAMPING[self.factor] if self.scaling == "columns" else _LEAST_DAMPING["qr"]
        return jnp.maximum(damping, least), growth

    def _on_each(self, damping: Any, scale: Any) -> Any:
        """What the damping adds to the diagonal of each weight, in units of its own largest column norm so far.

        The equations are solved in these units whatever holds the weights, so that no column is lost beside larger ones.
        """
        if self.scaling == "columns":
            return damping
        one = jnp.max(scale) if self.scaling == "common" else 1.0
        each = damping * (one / jnp.where(scale > 0, scale, 1.0)) ** 2
        return jnp.maximum(each, _LEAST_DAMPING[self.factor])

    def _faster(self, growth: Any) -> Any:
        return 2.0 * growth if self.rule == "nielsen" else growth

    def _solve_output(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """The next state after a pass at the trial point that was made for its output layer.

        ŷ is linear in that layer, and F in it an exact quadratic: one step leads to its minimum, and what F is there is known
        without a pass. A trial that is not lower there is none, and the damping grows as after any other.
        """
        k, walk, penalty = self.project_output, state.walk, state.penalty
        there = penalise(penalty, state.trial, _with_square(sums))
        output = Penalised(there.error, there.gradient[-k:], there.gauss_newton[-k:, -k:])
        norms = jnp.sqrt(jnp.maximum(jnp.diagonal(output.gauss_newton), 0.0))
        best = by_cholesky(output, norms, jnp.asarray(_LEAST_DAMPING["cholesky"], norms.dtype))
        lower = there.error + 0.5 * best.slope @ best.move
        solved = state.trial.at[-k:].add(best.move / best.unit)
        goes_on = jnp.isfinite(lower) & (lower < walk.penalised) & jnp.all(jnp.isfinite(solved))

        here = penalise(penalty, walk.weights, _with_square(state.sums))
        harder = state.damping * state.growth
        harder, shorter = self._short_enough(here, state.sums, penalty, walk.weights, state.scale, harder)
        step, gain = shorter.move / shorter.unit, self._promised(here, shorter)
        rounding = 4.0 * jnp.finfo(here.error.dtype).eps * here.error
        over = ~goes_on & ((harder > _RULES[self.rule]) | (state.gain <= rounding))
        damping = jnp.where(goes_on, state.damping, harder)
        walk = walk._replace(
            passes=walk.passes + 1,
            moved=jnp.zeros((), bool),
            shown=walk.shown.at[0].set(damping),
            stop=jnp.where(over, Stop.STALLED, Stop.GOING_ON).astype(jnp.int32),
        )
        return state._replace(
            walk=walk,
            trial=jnp.where(goes_on, solved, walk.weights + step),
            step=jnp.where(goes_on, state.step, step),
            gain=jnp.where(goes_on, state.gain, gain),
            damping=damping,
            growth=jnp.where(goes_on, state.growth, self._faster(state.growth)),
            solving=~goes_on,
            damped=jax.tree.map(lambda old, new: jnp.where(goes_on, old, new), state.damped, shorter),
        )

    def _bend(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """The next state after a pass that read how ŷ bends along the step: Δw = v + ½a, a by the same matrix as v.

        Where a is long against v the tangent says nothing so far away: the step is made shorter before it is tried.
        """
        weights, penalty, walk = state.walk.weights, state.penalty, state.walk
        here, damped = self._held(penalise(penalty, weights, _with_square(state.sums)), weights), state.damped
        bend = jnp.where(damped.felt, sums.curvature / damped.unit, 0.0)
        a = -jax.scipy.linalg.cho_solve((damped.root, False), bend, check_finite=False)
        fits = jnp.linalg.norm(a) <= _MOST_BEND * jnp.linalg.norm(state.step * damped.unit)
        trial = self._within(weights + state.step + 0.5 * a / damped.unit)

        harder = state.damping * state.growth
        harder, shorter = self._short_enough(here, state.sums, penalty, weights, state.scale, harder)
        step, gain = shorter.move / shorter.unit, self._promised(here, shorter)
        stop = jnp.where(~fits & (harder > _RULES[self.rule]), Stop.STALLED, Stop.GOING_ON)
        damping = jnp.where(fits, state.damping, harder)
        shown = walk.shown.at[0].set(damping)
        walk = walk._replace(
            passes=walk.passes + 1, moved=jnp.zeros((), bool), shown=shown, stop=stop.astype(jnp.int32)
        )
        return state._replace(
            walk=walk,
            trial=jnp.where(fits, trial, self._within(weights + step)),
            step=jnp.where(fits, state.step, step),
            gain=jnp.where(fits, state.gain, gain),
            damping=damping,
            growth=jnp.where(fits, state.growth, self._faster(state.growth)),
            bending=~fits,
            damped=jax.tree.map(lambda old, new: jnp.where(fits, old, new), damped, shorter),
        )

    def _short_enough(
        self, here: Penalised, sums: Sums, penalty: Penalty, weights: Any, scale: Any, damping: Any
    ) -> tuple[Any, Damped]:
        """The damping under which the step is no longer than it may be, and that step."""

        if self.longest_step is None:
            return damping, self._solved(here, sums, penalty, weights, scale, damping)
        reach = self.longest_step * jnp.linalg.norm(scale * weights)
        reach = jnp.where(reach > 0, reach, jnp.inf)

        def too_long(carry: tuple[Any, Damped, Any]) -> Any:
            _, damped, tries = carry
            return (tries == 0) | (~(jnp.linalg.norm(damped.move) <= reach) & (tries < _TRIES))

        def harder(carry: tuple[Any, Damped, Any]) -> tuple[Any, Damped, Any]:
            damping, _, tries = carry
            damping = jnp.where(tries == 0, damping, _LONGER * damping)
            return damping, self._solved(here, sums, penalty, weights, scale, damping), tries + 1

        first = (damping, _unsolved(weights.shape[0]), jnp.zeros((), jnp.int32))
        return jax.lax.while_loop(too_long, harder, first)[:2]

    def _solved(
        self, here: Penalised, sums: Sums, penalty: Penalty, weights: Any, scale: Any, damping: Any
    ) -> Damped:
        """The damped equations at ``weights``, solved, within the bounds.

        Weights that would go past a bound go as far as it, and the others are solved for anew, until none does.
        """
        none, damping = jnp.zeros_like(weights), self._on_each(damping, scale)
        if self.project_output:
            hidden = jnp.arange(weights.shape[0]) < weights.shape[0] - self.project_output
            damping = jnp.where(hidden, damping, _LEAST_DAMPING[self.factor])
        if not self.bounded:
            return _damped(self.factor, here, sums, penalty, weights, scale, damping, none)

        def solve(carry: tuple[Any, Any, Damped, Any]) -> tuple[Any, Any, Damped, Any]:
            held, fixed = carry[:2]
            free = ~held
            inside = Penalised(
                here.error,
                jnp.where(free, here.gradient + here.gauss_newton @ fixed, 0.0),
                jnp.where(free[:, None] & free[None, :], here.gauss_newton, 0.0),
            )
            damped = _damped(self.factor, inside, sums, penalty, weights, scale, damping, fixed)
            there = weights + jnp.where(held, fixed, damped.move / damped.unit)
            beyond = ~held & (self._within(there) != there) & jnp.isfinite(there)
            step, held = self._within(there) - weights, held | beyond
            fixed = jnp.where(held, step, 0.0)
            return held, fixed, damped._replace(move=step * damped.unit), jnp.any(beyond)

        first = (jnp.zeros(weights.shape, bool), none, _unsolved(weights.shape[0]), jnp.ones((), bool))
        return jax.lax.while_loop(lambda carry: carry[3], solve, first)[2]

    def _promised(self, here: Penalised, damped: Damped) -> Any:
        """The fall in F that the local quadratic promises for a step."""
        if not self.bounded:
            return 0.5 * damped.move @ (damped.held * damped.move - damped.slope)
        step = damped.move / damped.unit
        gain = -(here.gradient @ step) - 0.5 * (step @ (here.gauss_newton @ step))
        # A step cut off at bounds may promise a rise: nothing is at rest then, and nothing was foretold.
        return jnp.where(gain < 0, jnp.inf, gain)

    def _within(self, weights: Any) -> Any:
        if self.lower is not None:
            weights = jnp.maximum(weights, jnp.asarray(self.lower, weights.dtype))
        if self.upper is not None:
            weights = jnp.minimum(weights, jnp.asarray(self.upper, weights.dtype))
        return weights

    def _held(self, here: Penalised, weights: Any) -> Penalised:
        """F without the slope of weights that stand at a bound and would go past it."""
        if not self.bounded:
            return here
        held = jnp.zeros(weights.shape, bool)
        if self.lower is not None:
            held |= (weights <= jnp.asarray(self.lower, weights.dtype)) & (here.gradient > 0)
        if self.upper is not None:
            held |= (weights >= jnp.asarray(self.upper, weights.dtype)) & (here.gradient < 0)
        free = ~held
        return Penalised(
            here.error,
            jnp.where(free, here.gradient, 0.0),
            jnp.where(free[:, None] & free[None, :], here.gauss_newton, 0.0),
        )


def _with_square(sums: Sums) -> Sums:
    """The sums with JᵀJ = RᵀR, where the rows were asked for the triangle R instead."""
    if not sums.triangle.shape[0]:
        return sums
    part = sums.triangle[:, :-1]
    return sums._replace(gauss_newton=part.T @ part)


def _damped(
    factor: str,
    here: Penalised,
    sums: Sums,
    penalty: Penalty,
    weights: Any,
    scale: Any,
    damping: Any,
    fixed: Any,
) -> Damped:
    """The damped equations solved. fixed: a step already decided on, of weights that are not felt."""
    if factor == "cholesky":
        return by_cholesky(here, scale, damping)
    strength = jnp.sqrt(penalty.strength)
    columns = jnp.concatenate([sums.triangle[:, :-1], jnp.diag(strength)])
    right = jnp.concatenate([sums.triangle[:, -1], strength * weights])
    return by_qr(columns, right + columns @ fixed, here, scale, damping)


def _unsolved(n: int) -> Damped:
    none = jnp.zeros(n)
    return Damped(jnp.eye(n), jnp.zeros(n, bool), none + 1.0, none, none, none)


def by_cholesky(here: Penalised, scale: Any, damping: Any) -> Damped:
    """The damped equations solved by Cholesky, in units where the diagonal of D⁻¹JᵀJD⁻¹ is 1.

    A weight that no row feels (its column is 0, or it is held at a bound) stays where it is. Where rounding has made the
    matrix indefinite the step is NaN: such a trial is rejected, and the damping grows.
    """
    felt, unit, slope, on_diagonal = _in_units(here, scale, damping)
    scaled = here.gauss_newton / unit[:, None] / unit[None, :]
    root = jax.scipy.linalg.cholesky(scaled + jnp.diag(on_diagonal), lower=True, check_finite=False)
    move = -jax.scipy.linalg.cho_solve((root, True), slope, check_finite=False)
    return Damped(root.T, felt, unit, slope, on_diagonal, move)


def by_qr(columns: Any, right: Any, here: Penalised, scale: Any, damping: Any) -> Damped:
    """The same equations as the least squares problem [J; √damping D] Δw = −[r; 0], solved by QR.

    columns (m, n_weights) and right (m,) stand for J and r: any with the same JᵀJ and Jᵀr.
    """
    felt, unit, slope, on_diagonal = _in_units(here, scale, damping)
    columns = jnp.where(felt[None, :], columns / unit[None, :], 0.0)
    q, root = jnp.linalg.qr(jnp.concatenate([columns, jnp.diag(jnp.sqrt(on_diagonal))]))
    right = jnp.concatenate([right, jnp.zeros_like(slope)])
    move = -jax.scipy.linalg.solve_triangular(root, q.T @ right, check_finite=False)
    return Damped(root, felt, unit, slope, on_diagonal, move)


def _in_units(here: Penalised, scale: Any, damping: Any) -> tuple[Any, Any, Any, Any]:
    """Which weights are felt, the unit of each, the slope in these units, and what is added to the diagonal."""
    felt = (scale > 0) & (jnp.diagonal(here.gauss_newton) > 0)
    unit = jnp.where(felt, scale, 1.0)
    return felt, unit, jnp.where(felt, here.gradient / unit, 0.0), jnp.where(felt, damping, 1.0)
