"""Levenberg–Marquardt: Gauss–Newton steps, damped as far as the surface demands.

A trial point is asked for E alone; where E fell, it is a step, and (E, g, JᵀJ) are asked for there, or the triangle of J
that holds all three. The sums are made block by block, so that J never exists whole.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fallline.descent import Descent, Stop, Walk, arrive, check_number, first_walk, stay
from fallline.descent.damped import Damped, by_cholesky, by_qr
from fallline.descent.penalty import Penalised, Penalty, penalise, reestimated
from fallline.error.sums import Request, Sums
from fallline.exceptions import SettingsError
from fallline.native.lapack import solve_by_root

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
_SETTLED = 1e-3  # relative change of the strength

# Acceleration: how long its part may be, and how well the last step must have been foretold to do without. Source for the
# first: Transtrum & Sethna (2012), arXiv 1201.5885, sec. 2.2.
_MOST_BEND = 0.75
_FORETOLD = 0.1

# The polish: its first step must be this short against the weights, each further one shorter than the last. F may rise by
# this share: where a curve fits to twelve digits, rounding alone moves it by a thousandth, and whoever takes only what
# falls ends where rounding is kindest, with too small a noise.
_NEAR = 1e-2
_RISES = 1e-2

_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)  # of F: below it a fall can be neither promised nor seen


class LevenbergMarquardtState(NamedTuple):
    """Where Levenberg–Marquardt stands, and what it must remember for its next trial."""

    walk: Walk
    trial: np.ndarray
    asks: str  # "square" where the trial is a step (or the start), "error" where it is tried, "bend" before that
    damping: float
    growth: float  # factor for the damping at the next rejection
    penalty: Penalty
    ratio: float = 1.0  # how much of the fall that was foretold the trial brought
    gain: float = 0.0  # the fall in F that the local quadratic promises for the step
    sums: Any = None  # E, g and JᵀJ (and the triangle) at the weights, without penalty
    scale: Any = None  # D: the largest column norm of J seen so far, per weight
    damped: Any = None  # the equations that the step solves
    step: Any = None  # along the tangent; trial − weights where there is no acceleration
    polishing: bool = False  # whether the trial is a step of the polish
    size: float = math.inf  # length of that step, in units of D


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
    The default suits networks; ``for_curves()`` has what functions of few parameters and any scale need.
    Raises SettingsError, when the descent begins, for a setting out of its range.

    Source: Madsen, Nielsen & Tingleff (2004), *Methods for Non-linear Least Squares Problems*, alg. 3.16;
    scaling, Moré (1978), in *Numerical Analysis*, Lecture Notes in Mathematics 630, sec. 3;
    acceleration, Transtrum, Machta & Sethna (2011), Phys. Rev. E 83:036701, sec. VIII.
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

    finds_penalty: ClassVar[bool] = True

    @classmethod
    def for_curves(cls, lower: Any = None, upper: Any = None) -> "LevenbergMarquardt":
        """The settings that take all NIST reference problems from both their starts: see benchmarks/nist.py."""
        return cls(
            damping=1e-3, scaling="columns", factor="qr", acceleration=True, longest_step=1.0, memory=0.8, polish=True,
            lower=lower, upper=upper,
        )  # fmt: skip

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

    def shows(self, penalty: Penalty | None) -> tuple[str, ...]:
        found = ("effective_weights", "noise_precision", "log_evidence")
        return ("damping", *found) if penalty is not None and penalty.adapts else ("damping",)

    def start(self, weights: np.ndarray, penalty: Penalty) -> LevenbergMarquardtState:
        weights = self._within(weights)
        walk = first_walk(weights, len(self.shows(penalty)))
        growth = 2.0 if self.rule == "nielsen" else 10.0
        damping = max(float(self.damping), self._floor)
        return LevenbergMarquardtState(walk, weights, "square", damping, growth, penalty)

    def ask(self, state: LevenbergMarquardtState) -> Request:
        if state.asks == "bend":
            return Request("bend", state.walk.weights, state.step)
        if state.asks == "error":
            return Request("error", state.trial)
        return Request("triangle" if self.factor == "qr" else "gauss_newton", state.trial)

    def tell(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        if state.asks == "bend":
            return self._follow_bend(state, sums)
        if state.asks == "error":
            return self._judge(state, sums)
        return self._arrive(state, sums)

    def _judge(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """After E at the trial: a step if F fell, else harder damping from where it stands."""
        walk = state.walk
        error = state.penalty.on(sums.error, state.trial)
        fall = walk.penalised - error
        taken = fall > 0 or (state.polishing and error <= walk.penalised * (1.0 + _RISES))
        if not (math.isfinite(error) and taken):
            return self._reject(state)
        ratio = fall / state.gain if state.gain > 0 else fall
        return state._replace(asks="square", ratio=ratio, walk=stay(walk))

    def _reject(self, state: LevenbergMarquardtState) -> LevenbergMarquardtState:
        """The trial is no step: the damping grows, by ever more under Nielsen's rule."""
        walk, penalty, settled = state.walk, state.penalty, True
        damping = max(state.damping * state.growth, self._floor)
        growth = 2.0 * state.growth if self.rule == "nielsen" else state.growth
        if penalty.adapts and state.gain <= _AT_REST * walk.penalised and not state.polishing:
            penalty, settled = self._look_at_evidence(penalty, walk.weights, state.sums)
        elif penalty.adapts:
            settled = False
        stop = Stop.GOING_ON
        if damping > _RULES[self.rule] or (state.gain <= _ROUNDING * walk.penalised and settled):
            stop = Stop.STALLED
        state = state._replace(damping=damping, growth=growth, penalty=penalty)
        return self._go_on(state, state.sums, stay(walk, stop), accepted=False, settled=settled, ratio=math.inf)

    def _arrive(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """After (E, g, JᵀJ) at a step, or at the start."""
        walk, penalty, start = state.walk, state.penalty, state.walk.steps < 0
        sums = _with_square(sums)
        there = penalise(penalty, state.trial, sums._replace(gauss_newton=None))
        if not (
            math.isfinite(there.error) and np.isfinite(there.gradient).all() and np.isfinite(sums.gauss_newton).all()
        ):
            return state._replace(walk=stay(walk, Stop.NOT_FINITE)) if start else self._reject(state)
        damping = state.damping
        if not start:
            foretold = min(max(2.0 * state.ratio - 1.0, -1.0), 1.0)
            share = max(1.0 / 3.0, 1.0 - foretold**3) if self.rule == "nielsen" else 0.1
            damping = max(damping * share, self._floor)
        growth = 2.0 if self.rule == "nielsen" else state.growth

        settled = True
        if penalty.adapts:
            steps = walk.steps + 1
            due = steps >= _STEPS_BEFORE_EVIDENCE and steps % _STEPS_BETWEEN_EVIDENCE == 0
            # … or the minimum under the present penalty
            due = (due or (not start and state.gain <= _AT_REST * walk.penalised)) and not state.polishing
            settled = False
            if due:
                penalty, settled = self._look_at_evidence(penalty, state.trial, sums)
                there = penalise(penalty, state.trial, sums._replace(gauss_newton=None))
        newest = state.polishing if self.polish else penalty.adapts
        gradient = self._held(there, state.trial).gradient
        walk = arrive(walk, state.trial, sums.error, there.error, gradient, newest=newest)
        state = state._replace(damping=damping, growth=growth, penalty=penalty)
        ratio = math.inf if start else state.ratio
        return self._go_on(state, sums, walk, accepted=True, settled=settled, ratio=ratio)

    def _look_at_evidence(self, penalty: Penalty, weights: np.ndarray, sums: Sums) -> tuple[Penalty, bool]:
        """The penalty found anew, and whether it stays nearly as it was."""
        new = reestimated(penalty, weights, sums)
        change = np.abs(new.strength - penalty.strength)
        return new, bool((change <= _SETTLED * penalty.strength).all())

    def _go_on(
        self, state: LevenbergMarquardtState, sums: Sums, walk: Walk, *, accepted: bool, settled: bool, ratio: float
    ) -> LevenbergMarquardtState:
        """The next trial from where the walk stands, or the end."""
        weights, penalty = walk.weights, state.penalty
        here = self._held(penalise(penalty, weights, sums), weights)
        norms = np.sqrt(np.maximum(np.diagonal(here.gauss_newton), 0.0))
        scale = norms if state.scale is None else np.maximum(self.memory * state.scale, norms)
        damping, damped = self._short_enough(here, sums, penalty, weights, scale, state.damping)
        step, gain = damped.step, self._promised(here, damped)

        stop, polishing, size = walk.stop, state.polishing, state.size
        if settled and ((accepted and gain <= _ROUNDING * here.error) or not here.gradient.any()):
            stop = Stop.FLAT
        if self.polish:
            last = self._solved(here, sums, penalty, weights, norms, 0.0)
            size = float(np.linalg.norm(last.move))
            before = state.size if polishing else _NEAR * float(np.linalg.norm(norms * weights))
            begins = stop != Stop.GOING_ON and not polishing
            if (begins or (polishing and accepted)) and 0 < size < before:
                stop, polishing, step, gain = Stop.GOING_ON, True, last.step, 0.0
            elif polishing:
                stop, polishing = Stop.FLAT, False
        bends = self.acceleration and not polishing and not (accepted and abs(ratio - 1.0) < _FORETOLD)
        shown: tuple[float, ...] = (damping,)
        if penalty.adapts:
            shown += (penalty.effective_weights, penalty.noise_precision, penalty.log_evidence)
        return LevenbergMarquardtState(
            walk=walk._replace(stop=stop, shown=shown),
            trial=self._within(weights + step),
            asks="bend" if bends else "error",
            damping=damping,
            growth=state.growth,
            penalty=penalty,
            gain=gain,
            sums=sums,
            scale=scale,
            damped=damped,
            step=step,
            polishing=polishing,
            size=size,
        )

    def _follow_bend(self, state: LevenbergMarquardtState, sums: Sums) -> LevenbergMarquardtState:
        """After a pass that read how ŷ bends along the step: Δw = v + ½a, a by the same matrix as v.

        Where a is long against v the tangent says nothing so far away: the step is made shorter before it is tried.
        """
        walk, penalty, damped = state.walk, state.penalty, state.damped
        bend = np.where(damped.felt, sums.product / damped.unit, 0.0)
        a = -solve_by_root(damped.root, bend)
        if np.linalg.norm(a) <= _MOST_BEND * np.linalg.norm(state.step * damped.unit):
            trial = self._within(walk.weights + state.step + 0.5 * a / damped.unit)
            return state._replace(asks="error", trial=trial, walk=stay(walk))
        here = self._held(penalise(penalty, walk.weights, state.sums), walk.weights)
        damping, damped = self._short_enough(
            here, state.sums, penalty, walk.weights, state.scale, state.damping * state.growth
        )
        stop = Stop.STALLED if damping > _RULES[self.rule] else Stop.GOING_ON
        return state._replace(
            walk=stay(walk, stop, (damping, *walk.shown[1:])),
            trial=self._within(walk.weights + damped.step),
            step=damped.step,
            gain=self._promised(here, damped),
            damping=damping,
            growth=2.0 * state.growth if self.rule == "nielsen" else state.growth,
            damped=damped,
        )

    @property
    def _floor(self) -> float:
        return _LEAST_DAMPING[self.factor] if self.scaling == "columns" else _LEAST_DAMPING["qr"]

    def _on_each(self, damping: float, scale: np.ndarray) -> Any:
        """What the damping adds to the diagonal of each weight, in units of its own largest column norm so far.

        The equations are solved in these units whatever holds the weights, so that no column is lost beside larger ones.
        """
        if self.scaling == "columns":
            return damping
        one = scale.max() if self.scaling == "common" else 1.0
        each = damping * (one / np.where(scale > 0, scale, 1.0)) ** 2
        return np.maximum(each, _LEAST_DAMPING[self.factor])

    def _short_enough(
        self, here: Penalised, sums: Sums, penalty: Penalty, weights: np.ndarray, scale: np.ndarray, damping: float
    ) -> tuple[float, Damped]:
        """The damping under which the step is no longer than it may be, and that step."""
        damped = self._solved(here, sums, penalty, weights, scale, damping)
        if self.longest_step is None:
            return damping, damped
        reach = self.longest_step * float(np.linalg.norm(scale * weights)) or math.inf
        tries = 1
        while not np.linalg.norm(damped.move) <= reach and tries < _TRIES:
            damping *= _LONGER
            damped = self._solved(here, sums, penalty, weights, scale, damping)
            tries += 1
        return damping, damped

    def _solved(
        self, here: Penalised, sums: Sums, penalty: Penalty, weights: np.ndarray, scale: np.ndarray, damping: float
    ) -> Damped:
        """The damped equations at ``weights``, solved, within the bounds.

        Weights that would go past a bound go as far as it, and the others are solved for anew, until none does.
        """
        fixed, held, each = (np.zeros_like(weights), np.zeros(len(weights), bool), self._on_each(damping, scale))
        if not self.bounded:
            return _damped(self.factor, here, sums, penalty, weights, scale, each, fixed)
        while True:
            inside = _without(held, here, here.gradient + here.gauss_newton @ fixed)
            damped = _damped(self.factor, inside, sums, penalty, weights, scale, each, fixed)
            there = weights + np.where(held, fixed, damped.step)
            beyond = ~held & (self._within(there) != there) & np.isfinite(there)
            step, held = self._within(there) - weights, held | beyond
            fixed = np.where(held, step, 0.0)
            if not beyond.any():
                return damped._replace(move=step * damped.unit)

    def _promised(self, here: Penalised, damped: Damped) -> float:
        """The fall in F that the local quadratic promises for a step."""
        if not self.bounded:
            return 0.5 * float(damped.move @ (damped.held * damped.move - damped.slope))
        step = damped.step
        gain = -float(here.gradient @ step) - 0.5 * float(step @ (here.gauss_newton @ step))
        # A step cut off at bounds may promise a rise: nothing is at rest then, and nothing was foretold.
        return math.inf if gain < 0 else gain

    def _within(self, weights: np.ndarray) -> np.ndarray:
        if self.lower is not None:
            weights = np.maximum(weights, np.asarray(self.lower, np.float64))
        if self.upper is not None:
            weights = np.minimum(weights, np.asarray(self.upper, np.float64))
        return weights

    def _held(self, here: Penalised, weights: np.ndarray) -> Penalised:
        """F without the slope of weights that stand at a bound and would go past it."""
        if not self.bounded:
            return here
        held = np.zeros(weights.shape, bool)
        if self.lower is not None:
            held |= (weights <= np.asarray(self.lower, np.float64)) & (here.gradient > 0)
        if self.upper is not None:
            held |= (weights >= np.asarray(self.upper, np.float64)) & (here.gradient < 0)
        return _without(held, here, here.gradient)


def _without(held: np.ndarray, here: Penalised, gradient: np.ndarray) -> Penalised:
    """F as it looks to the weights that are not held."""
    free, square = ~held, here.gauss_newton
    if square is not None:
        square = np.where(free[:, None] & free, square, 0.0)
    return Penalised(here.error, np.where(free, gradient, 0.0), square)


def _with_square(sums: Sums) -> Sums:
    """The sums with JᵀJ = RᵀR, where the rows were asked for the triangle R instead."""
    if sums.triangle is None:
        return sums
    part = sums.triangle[:, :-1]
    return sums._replace(gauss_newton=part.T @ part)


def _damped(
    factor: str,
    here: Penalised,
    sums: Sums,
    penalty: Penalty,
    weights: np.ndarray,
    scale: np.ndarray,
    damping: Any,
    fixed: np.ndarray,
) -> Damped:
    """The damped equations solved. fixed: a step already decided on, of weights that are not felt."""
    if factor == "cholesky":
        return by_cholesky(here, scale, damping)
    strength = np.sqrt(penalty.strength)
    columns = np.concatenate([sums.triangle[:, :-1], np.diag(strength)])
    right = np.concatenate([sums.triangle[:, -1], strength * weights])
    return by_qr(columns, right + columns @ fixed, here, scale, damping)
