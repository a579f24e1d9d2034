"""Descents for many weights, where JᵀJ would be too large: L-BFGS and truncated Gauss–Newton.

Both need a few vectors as long as the weights. L-BFGS learns the curvature from how the
gradient changed over its last steps; truncated Gauss–Newton asks the rows for products
JᵀJ v and solves its equations only as well as the step deserves. Both are written as
state machines over passes: one trial point, or one product, is one pass over the rows.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk
from fallline.descent.penalty import Penalty, penalise
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError

_MOST_TRIALS = 20  # points on one line; interpolation needs two or three
_LEAST_COSINE = 1e-10  # of the angle between s and y: below it, y says nothing of the curvature along s
_LEAST_DAMPING = 1e-12
_MOST_DAMPING = 1e16


class _Pairs(NamedTuple):
    """Steps s with the changes y of the gradient over them, in rings: what is known of the curvature."""

    steps: Any  # (slots, n_weights)
    turns: Any  # (slots, n_weights)
    inverse: Any  # (slots,): 1/yᵀs


def _no_pairs(slots: int, weights: Any) -> _Pairs:
    ring = jnp.zeros((slots, weights.shape[0]), weights.dtype)
    return _Pairs(ring, ring, ring[:, 0])


def _write(pairs: _Pairs, slot: Any, asked: Any, step: Any, turn: Any) -> tuple[_Pairs, Any]:
    """The pairs with (s, y) in that slot, and whether it was written: if asked, and if it says something of the curvature."""
    product = step @ turn
    said = asked & (product > _LEAST_COSINE * jnp.sqrt((step @ step) * (turn @ turn)))

    def put(ring: Any, new: Any) -> Any:
        return ring.at[slot].set(jnp.where(said, new, ring[slot]))

    inverse = 1.0 / jnp.where(said, product, 1.0)
    return _Pairs(put(pairs.steps, step), put(pairs.turns, turn), put(pairs.inverse, inverse)), said


def _inverse_times(vector: Any, pairs: _Pairs, written: Any, history: int, first: Any = 0) -> Any:
    """H v by two loops over the last pairs, newest to oldest and back; v where there is none (alg. 7.4, eq. 7.20).

    The ring is the ``history`` slots from ``first`` on; ``written``: how many pairs have gone into it so far.
    """
    steps, turns, inverse = pairs
    held = jnp.minimum(written, history)

    def slot(age: Any) -> Any:
        return first + (written - 1 - age) % history

    def back(age: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        vector, shares = carry
        at = slot(age)
        share = inverse[at] * (steps[at] @ vector)
        return vector - share * turns[at], shares.at[age].set(share)

    vector, shares = jax.lax.fori_loop(0, held, back, (vector, jnp.zeros(history, vector.dtype)))

    def forth(i: Any, vector: Any) -> Any:
        age = held - 1 - i
        at = slot(age)
        return vector + (shares[age] - inverse[at] * (turns[at] @ vector)) * steps[at]

    newest = turns[slot(0)]
    scale = jnp.where(held > 0, 1.0 / (inverse[slot(0)] * (newest @ newest)), 1.0)
    return jax.lax.fori_loop(0, held, forth, scale * vector)


class _Point(NamedTuple):
    """A point of a line: how far along it, F there and its slope along the line."""

    length: Any
    error: Any
    slope: Any


def _check_history(settings: Any) -> None:
    check_number(settings, "history", 1, 1000)
    if int(settings.history) != settings.history:
        raise SettingsError(
            f"history={settings.history!r} is not possible for {type(settings).__name__}: expected a whole number of pairs."
        )


class LBFGSState(NamedTuple):
    """Where L-BFGS stands: its line, what the trials on it have shown, and the last steps with their turns."""

    walk: Walk
    trial: Any
    direction: Any  # of the line, from the weights of the walk
    length: Any  # the trial is weights + length · direction
    slope: Any  # of F at length 0
    low: _Point  # the lowest trial that fell enough; at first where the line begins
    high: _Point  # a minimum lies between low and high; at infinity as long as none is enclosed
    trials: Any  # on this line so far
    settles: Any  # whether the trial is the low point again, to be taken as it is
    pairs: _Pairs
    written: Any  # pairs since the last restart
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

    kinds: ClassVar[tuple[str, ...]] = ("gradient",)
    lengths: ClassVar[tuple[str, ...]] = ("history",)

    def check(self) -> None:
        _check_history(self)
        check_number(self, "sufficient_decrease", 0.0, 0.5, open_low=True)
        check_number(self, "slope_ratio", 0.0, 0.999999, open_low=True)
        if self.sufficient_decrease >= self.slope_ratio:
            raise SettingsError(
                f"sufficient_decrease={self.sufficient_decrease!r} is not possible for LBFGS: it must be below "
                f"slope_ratio={self.slope_ratio!r}, or no point may satisfy both."
            )

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        return ("step_length",)

    def start(self, weights: Any, penalty: Penalty) -> LBFGSState:
        zero = jnp.zeros((), weights.dtype)
        point, none = _Point(zero, zero, zero), jnp.zeros((), jnp.int32)
        return LBFGSState(
            walk=first_walk(weights, 1),
            trial=weights,
            direction=jnp.zeros_like(weights),
            length=zero,
            slope=zero,
            low=point,
            high=point,
            trials=none,
            settles=jnp.zeros((), bool),
            pairs=_no_pairs(int(self.history), weights),
            written=none,
            penalty=penalty,
        )

    def ask(self, state: LBFGSState) -> Request:
        return Request(jnp.zeros((), jnp.int32), state.trial, state.direction[:0])

    def tell(self, state: LBFGSState, sums: Sums) -> LBFGSState:
        walk = state.walk
        there = penalise(state.penalty, state.trial, sums)
        start = walk.steps < 0
        finite = jnp.isfinite(there.error) & jnp.all(jnp.isfinite(there.gradient))
        error = jnp.where(finite, there.error, jnp.inf)
        here = _Point(state.length, error, jnp.where(finite, there.gradient @ state.direction, 0.0))
        found, low, high = self._judge(state, here)
        arrived = finite & (start | found | (state.settles & (error <= walk.penalised)))

        # No acceptable point on this line: take the low point as it is, or go straight down the gradient, or give up.
        failed = ~arrived & (state.settles | (state.trials + 1 >= _MOST_TRIALS))
        settles = failed & ~state.settles & (low.length > 0) & (low.error < walk.penalised)
        restarts = failed & ~settles & (state.written > 0)
        stalled = failed & ~settles & ~restarts

        weights = jnp.where(arrived, state.trial, walk.weights)
        gradient = jnp.where(arrived, there.gradient, walk.gradient)
        history = int(self.history)
        pairs, said = _write(
            state.pairs,
            state.written % history,
            arrived & ~start,
            state.trial - walk.weights,
            gradient - walk.gradient,
        )
        written = jnp.where(restarts, 0, jnp.where(said, state.written + 1, state.written))
        renews = arrived | restarts

        def downhill() -> Any:
            direction = -_inverse_times(gradient, pairs, written, history)
            good = jnp.all(jnp.isfinite(direction)) & (direction @ gradient < 0)
            return jnp.where(good, direction, -gradient)

        direction = jax.lax.cond(renews, downhill, lambda: state.direction)
        slope = jnp.where(renews, gradient @ direction, state.slope)
        # The first step of a history knows no scale: as long as 1 at most.
        first = jnp.where(written > 0, 1.0, jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.sqrt(-slope), 1e-300)))
        length = jnp.where(renews, first, jnp.where(settles, low.length, _next_length(low, high)))
        begin = _Point(jnp.zeros_like(length), jnp.where(arrived, error, walk.penalised), slope)
        nowhere = _Point(jnp.full_like(length, jnp.inf), error, slope)
        low, high = (
            jax.tree.map(lambda new, old: jnp.where(renews, new, old), new, old)
            for new, old in ((begin, low), (nowhere, high))
        )

        rounding = 4.0 * jnp.finfo(error.dtype).eps * error
        flat = arrived & (jnp.all(gradient == 0) | ((written > 0) & (-0.5 * slope <= rounding)))
        stop = jnp.where(flat, Stop.FLAT, jnp.where(stalled, Stop.STALLED, Stop.GOING_ON))
        stop = jnp.where(start & ~finite, Stop.NOT_FINITE, stop)
        shown = jnp.where(arrived, state.length, walk.shown[0])[None]
        walk = arrive(walk, arrived, weights, sums.error, error, gradient, shown, stop)
        return state._replace(
            walk=walk,
            trial=weights + length * direction,
            direction=direction,
            length=length,
            slope=slope,
            low=low,
            high=high,
            trials=jnp.where(renews, 0, state.trials + 1),
            settles=settles,
            pairs=pairs,
            written=written,
        )

    def _judge(self, state: LBFGSState, here: _Point) -> tuple[Any, _Point, _Point]:
        """Whether the trial satisfies the strong Wolfe conditions, and what it makes of low and high.

        A high point at infinity says that no minimum is enclosed yet: alg. 3.5, else 3.6.
        """
        low, high, start = state.low, state.high, state.walk.penalised
        promised = self.sufficient_decrease * here.length * state.slope
        # Where less is promised than F can show, it is enough not to rise.
        ceiling = jnp.minimum(start, start + promised + jnp.finfo(start.dtype).eps * start)
        higher = ~(here.error <= ceiling) | (here.error > low.error)
        found = ~higher & (jnp.abs(here.slope) <= -self.slope_ratio * state.slope)
        turned = here.slope * jnp.sign(high.length - low.length) >= 0

        def take(new: Any, old: Any) -> Any:
            return jnp.where(higher, new, old)

        behind = jax.tree.map(lambda new, old: jnp.where(turned, new, old), low, high)
        return found, jax.tree.map(take, low, here), jax.tree.map(take, here, behind)


def _next_length(low: _Point, high: _Point) -> Any:
    """Where to look next: at the minimum of the cubic through both points, kept well inside; outwards if none is enclosed.

    Source: Nocedal & Wright (2006), eq. 3.59.
    """
    width = high.length - low.length
    sum_of_slopes = low.slope + high.slope - 3.0 * (low.error - high.error) / -width
    root = jnp.sign(width) * jnp.sqrt(jnp.maximum(sum_of_slopes**2 - low.slope * high.slope, 0.0))
    share = (high.slope + root - sum_of_slopes) / (high.slope - low.slope + 2.0 * root)
    inside = jnp.where(jnp.isfinite(share), jnp.clip(1.0 - share, 0.1, 0.9), 0.5)
    # Beyond what numbers can hold the values say nothing: come back far.
    inside = jnp.where(jnp.isfinite(high.error), inside, 0.1)
    return jnp.where(jnp.isfinite(high.length), low.length + inside * width, 4.0 * low.length)


class TruncatedGaussNewtonState(NamedTuple):
    """Where truncated Gauss–Newton stands, and how far its conjugate gradients have come."""

    walk: Walk
    trial: Any
    solves: Any  # whether the next pass is a product for the conjugate gradients, and not a trial
    step: Any  # Δw so far
    residual: Any  # −g − (JᵀJ + strength + μ) Δw
    direction: Any
    slope: Any  # residualᵀ M⁻¹ residual, M the preconditioner
    products: Any  # spent on this solve
    gain: Any  # the fall in F that the local quadratic promises for Δw
    scale: Any  # the largest curvature met so far along the first direction of a solve
    damping: Any
    growth: Any  # factor for the damping at the next rejection
    steepest: Any  # ‖g‖, the largest so far
    pairs: _Pairs  # two rings: one holds M⁻¹, the other what this solve learns for the next
    ring: Any  # 0 or 1: which of them holds M⁻¹
    written: Any  # (2,): pairs in each
    penalty: Penalty


@dataclass(repr=True, eq=True)
class TruncatedGaussNewton(Descent):
    """Truncated Gauss–Newton: (JᵀJ + μ) Δw = −∂F/∂w solved roughly by conjugate gradients, F falling at every step.

    μ = ``damping`` · (the largest curvature met where a solve began), so that ``damping`` (> 0), its first value, has no
    unit; it falls after a step that the local quadratic foretold and grows after one that it did not. A solve costs one
    pass for each product JᵀJ v, ``most_products`` at most, and ends earlier at the residual
    min(½, √(‖g‖/largest ‖g‖ so far)) · ‖g‖. It is preconditioned by the last ``history`` products of the solve before.
    Memory: 32 · history bytes a weight. Raises SettingsError, when the descent begins, for a setting out of range.

    Source: Nocedal & Wright (2006), *Numerical Optimization*, alg. 7.1, with Gauss–Newton's curvature (Martens 2010,
    ICML 27:735); damping, Madsen, Nielsen & Tingleff (2004), alg. 3.16; preconditioner, Morales & Nocedal (2000),
    SIAM J. Optim. 10:1079.
    """

    damping: float = 1e-3
    most_products: int = 20
    history: int = 20

    kinds: ClassVar[tuple[str, ...]] = ("gradient", "curvature")
    lengths: ClassVar[tuple[str, ...]] = ("history",)

    def check(self) -> None:
        check_number(self, "damping", 0.0, 1e10, open_low=True)
        check_number(self, "most_products", 1, 1e6)
        _check_history(self)

    def shows(self, penalty: Penalty) -> tuple[str, ...]:
        return ("damping", "cg_iterations")

    def start(self, weights: Any, penalty: Penalty) -> TruncatedGaussNewtonState:
        dtype = weights.dtype
        nowhere, zero = jnp.zeros_like(weights), jnp.zeros((), dtype)
        none = jnp.zeros((), jnp.int32)
        return TruncatedGaussNewtonState(
            walk=first_walk(weights, 2),
            trial=weights,
            solves=jnp.zeros((), bool),
            step=nowhere,
            residual=nowhere,
            direction=nowhere,
            slope=zero,
            products=none,
            gain=zero,
            scale=zero,
            damping=jnp.asarray(self.damping, dtype),
            growth=jnp.full((), 2.0, dtype),
            steepest=zero,
            pairs=_no_pairs(2 * int(self.history), weights),
            ring=none,
            written=jnp.zeros(2, jnp.int32),
            penalty=penalty,
        )

    def ask(self, state: TruncatedGaussNewtonState) -> Request:
        weights = jnp.where(state.solves, state.walk.weights, state.trial)
        return Request(state.solves.astype(jnp.int32), weights, state.direction)

    def tell(self, state: TruncatedGaussNewtonState, sums: Sums) -> TruncatedGaussNewtonState:
        solved, pairs, ring, history = state.solves, state.pairs, state.ring, int(self.history)
        direction, before = state.direction, state.slope
        # The rings stay outside: what goes through the branches of a cond is copied.
        state, curved = jax.lax.cond(
            solved, self._solve, self._try, state._replace(pairs=_Pairs(None, None, None)), sums
        )
        other = 1 - ring
        slot = other * history + state.written[other] % history
        pairs, said = _write(pairs, slot, solved, direction, curved)
        written = state.written.at[other].add(said.astype(jnp.int32))
        # A new solve: what the last one learnt preconditions it, if that was anything.
        turns = ~solved & (written[other] > 0)
        written = jnp.where(turns, written.at[ring].set(0), written)
        ring = jnp.where(turns, other, ring)

        steepest = _inverse_times(state.residual, pairs, written[ring], history, ring * history)
        slope = state.residual @ steepest
        share = jnp.where(solved, slope / before, 0.0)
        return state._replace(
            direction=steepest + share * direction, slope=slope, pairs=pairs, ring=ring, written=written
        )

    def _solve(self, state: TruncatedGaussNewtonState, sums: Sums) -> tuple[TruncatedGaussNewtonState, Any]:
        """One iteration of conjugate gradients, and A times its direction."""
        walk, direction = state.walk, state.direction
        curved = sums.curvature + state.penalty.strength * direction
        fresh = (state.products == 0) & jnp.all(state.step == 0)
        along = direction @ curved / (direction @ direction)
        scale = jnp.where(fresh & jnp.isfinite(along), jnp.maximum(state.scale, along), state.scale)
        curved = curved + state.damping * scale * direction

        share = state.slope / (direction @ curved)
        sound = jnp.isfinite(share) & jnp.all(jnp.isfinite(curved))
        step = jnp.where(sound, state.step + share * direction, state.step)
        residual = jnp.where(sound, state.residual - share * curved, state.residual)
        products = state.products + 1

        size = jnp.sqrt(walk.gradient @ walk.gradient)
        enough = jnp.minimum(0.5, jnp.sqrt(size / state.steepest)) * size
        ends = ~sound | (jnp.sqrt(residual @ residual) <= enough) | (products >= self.most_products)
        # F's own quadratic, without the damping: −gᵀΔw − ½ ΔwᵀAΔw + ½ μ ΔwᵀΔw, where AΔw = −g − residual.
        gain = 0.5 * (step @ residual - step @ walk.gradient + state.damping * scale * (step @ step))
        state = state._replace(
            walk=walk._replace(moved=jnp.zeros((), bool), passes=walk.passes + 1),
            trial=walk.weights + step,
            solves=~ends,
            step=step,
            residual=residual,
            products=products,
            gain=gain,
            scale=scale,
        )
        return state, curved

    def _try(self, state: TruncatedGaussNewtonState, sums: Sums) -> tuple[TruncatedGaussNewtonState, Any]:
        """Take the step if it lowers F, and begin the next solve: afresh there, or from the old step with more damping."""
        walk = state.walk
        there = penalise(state.penalty, state.trial, sums)
        start = walk.steps < 0
        finite = jnp.isfinite(there.error) & jnp.all(jnp.isfinite(there.gradient))
        fall = walk.penalised - there.error
        accepted = finite & (start | (fall > 0))

        ratio = jnp.where(start, 1.0, fall / jnp.where(state.gain > 0, state.gain, 1.0))
        easier = state.damping * jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
        damping = jnp.where(start, state.damping, jnp.where(accepted, easier, state.damping * state.growth))
        damping = jnp.maximum(damping, _LEAST_DAMPING)
        growth = jnp.where(accepted, 2.0, 2.0 * state.growth)

        gradient = jnp.where(accepted, there.gradient, walk.gradient)
        # Rejected: what is known of A Δw gives the best multiple of the old step under the new damping, for nothing.
        old = state.step
        image = -gradient - state.residual + (damping - state.damping) * state.scale * old
        curved = old @ image
        share = jnp.where(
            accepted | ~(curved > 0), 0.0, -(gradient @ old) / jnp.where(curved > 0, curved, 1.0)
        )
        step = share * old
        residual = jnp.where(share != 0, -gradient - share * image, -gradient)

        error = jnp.where(accepted, there.error, walk.penalised)
        rounding = 4.0 * jnp.finfo(error.dtype).eps * error
        flat = accepted & (((state.gain <= rounding) & ~start) | jnp.all(gradient == 0))
        stalled = ~accepted & ((damping > _MOST_DAMPING) | (state.gain <= rounding))
        stop = jnp.where(flat, Stop.FLAT, jnp.where(stalled, Stop.STALLED, Stop.GOING_ON))
        stop = jnp.where(start & ~finite, Stop.NOT_FINITE, stop)
        shown = jnp.stack([damping, state.products.astype(damping.dtype)])
        state = state._replace(
            walk=arrive(walk, accepted, state.trial, sums.error, there.error, there.gradient, shown, stop),
            solves=jnp.ones((), bool),
            step=step,
            residual=residual,
            products=jnp.zeros((), jnp.int32),
            damping=damping,
            growth=growth,
            steepest=jnp.maximum(state.steepest, jnp.sqrt(gradient @ gradient)),
        )
        return state, jnp.zeros_like(old)
