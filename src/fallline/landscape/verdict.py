"""The verdict on the point where a descent stopped: what kind of point it is, and what to do about it.

A flat error curve says nothing of that: a valley, a saddle and weights that grow for ever make one as well as a
minimum does. The gradient and the Hessian do. What is judged is what was descended, E or, with a penalty, the penalised
error F. A fall below a thousandth of F counts as none: nobody would go on for it.

Sources: Dauphin et al. (2014), NeurIPS 27:2933, for |H| at a saddle; Golub & Meurant (2010), *Matrices, Moments and
Quadrature*, for gᵀ|H|⁻¹g without H.
"""

import enum
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from fallline.arrays import namespace
from fallline.descent import Stop
from fallline.descent.penalty import weight_decay
from fallline.landscape.evaluate import Errors, changes_without, check_rows_of, errors_at
from fallline.landscape.hessian import (
    DOWN,
    FLAT,
    LARGEST,
    Curvature,
    Products,
    curvature_matrix,
    eigenpairs,
    gauss_newton_matrix,
    krylov,
    lanczos,
    without_effect,
)
from fallline.landscape.planes import names_of
from fallline.markup import curves, shown
from fallline.model.network import Layer, Model, Network
from fallline.rows.memory import GivenRows, check_fit
from fallline.rows.rows import Rows
from fallline.threads import one_blas_thread
from fallline.walk.path import DescentPath
from fallline.words import counted, listed, percent, written

_NEGLIGIBLE = 1e-3  # of the error: a fall that nobody would go on for
_SOFT_EIGENVALUE = (
    1e-6  # of the largest eigenvalue: along a softer direction a descent by the gradient takes a million steps
)
_VALLEY_SHARE = 0.9  # of the promised fall: so much of it along soft directions makes a valley
_ROUNDING = float(np.finfo(np.float64).eps)  # of ½‖y‖²: what E itself cannot tell from 0

_TINY = float(np.finfo(np.float64).tiny)

_DOUBLINGS = 10  # of weights that may run away: a thousand times as large
_ROUNDING_RISE = 1e-12  # of the error: by so much its sum may rise by rounding
# What the Hessian says that a unit without its inputs costs, as a share of what it does cost.
_SATURATED_SHARE = 0.05
_EXPLAINED_SHARE = 0.1  # of the promised fall: less than that is not why the descent still moves
_SATURATING = frozenset({"tanh", "logistic", "softsign"})
_HOMOGENEOUS = frozenset({"relu", "leaky_relu", "identity"})  # f(c z) = c f(z) for c > 0
_SYMMETRY_SHARE = 1e-6  # how far a symmetry may stand out of the flat directions

_NAMED_SHARE = 0.25  # of the weight that matters most: what is named beside it
_MOST_MIXED = 500  # weights: in a larger network of identity units their mixing is not looked for

_KICKS = 2.0 ** np.arange(-12, 2)  # of the length of the weights
_NEWTON_STEPS = 30  # after a kick
_TRIALS = 0.5 ** np.arange(12)  # of a Newton step

_LEAST_UNIT = 1e-6  # of the largest unit of a weight: rounding is not made large
_KRYLOV_PRODUCTS = 80  # for the promised fall, above 2 000 weights
_LANCZOS_PRODUCTS, _LANCZOS_RESIDUAL = 300, 1e-5
_PROBES = 4
_MOST_NAMES = 3
_NOTHING = 0.01  # of the targets' spread: a fit that explains less is their mean
_RANGES = {
    "logistic": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "gaussian": (0.0, 1.0),
}


class Kind(enum.StrEnum):
    """What kind of point it is, as a word: ``Kind.SADDLE == "saddle"``."""

    MINIMUM = "minimum"
    FLAT_MINIMUM = "minimum with flat directions"
    SADDLE = "saddle"
    VALLEY = "flat valley, still moving"
    DESCENDING = "still descending"
    RUNNING = "running away"
    STOPPED = "stopped on purpose"


@dataclass(frozen=True, eq=False)
class Verdict:
    """What kind of point the ``weights`` (p,) are, with the numbers it is read from.

    ``kind``: a ``Kind``. ``point``: what the point would be called if the descent had not been stopped there on
    purpose; the same as ``kind`` otherwise. ``error`` E and ``penalised_error`` F; F is judged, which is E without a penalty.
    ``gradient_norm`` of F. ``promised_fall``: ½ gᵀ|H|⁻¹g, flat directions left out and each weight in a unit of its own, as a
    share of F, or of the rounding of ½‖y‖² where F is lower; ``soft_share``: how much of it lies along directions a
    million times softer than the steepest; ``drift``: the same share of F for a walk along a flat direction as far as the
    weights are long. ``largest`` and ``smallest`` eigenvalue of H, of which ``down`` are below 0 and ``flat`` are 0, to
    rounding; ``eigenvalues`` (p,) all of them, largest first. Above 2 000 weights these come from products with H:
    ``eigenvalues`` are None, ``down`` is whether there is one, ``flat`` counts weights that nothing depends on, and the
    promised fall is at least what is said.

    ``names``: the weights that matter most to what is said, those of the flat, downward or running directions.
    ``symmetries``: how many flat directions are the scaling of rectified units against what follows them.
    ``kick_fall``: at a saddle, how much lower a kick along its steepest downward direction led, as a share of F. ``trend``
    (k, 2): how many times their size the running weights are, and F there. ``second_term``: ‖H_E − JᵀJ‖/‖JᵀJ‖ in
    Frobenius norm, small where residuals are small and JᵀJ is as good as H; None where H was not formed.
    ``plateau``: a valley without any slope, weights being so large that their units are saturated. ``purpose``: why a
    descent was stopped on purpose; ``more``: what would carry it on. ``explained``: 1 − E/E of the targets' means, 1 where the
    targets are all equal; ``beyond``: which targets no weights can reach, in words. ``findings`` and ``advice``: a sentence each.
    """

    kind: Kind
    point: Kind
    weights: np.ndarray
    error: float
    penalised_error: float
    gradient_norm: float
    promised_fall: float
    soft_share: float
    drift: float
    largest: float
    smallest: float
    down: int
    flat: int
    eigenvalues: np.ndarray | None = None
    second_term: float | None = None
    names: tuple[str, ...] = ()
    symmetries: int = 0
    kick_fall: float = 0.0
    trend: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    plateau: bool = False
    purpose: str = ""
    more: str = "more steps"
    explained: float = 1.0
    beyond: str = ""

    @property
    def is_minimum(self) -> bool:
        """Whether the point is a minimum, with flat directions or without."""
        return self.point in (Kind.MINIMUM, Kind.FLAT_MINIMUM)

    @property
    def judged(self) -> str:
        """What was judged, in words: the error, or the penalised error."""
        return "error" if self.penalised_error == self.error else "penalised error"

    @property
    def findings(self) -> str:
        """What it is, with the numbers, in a sentence."""
        point = self.point if self.point in (Kind.DESCENDING, Kind.RUNNING) else f"a {self.point}"
        if self.kind == Kind.STOPPED:
            return f"Stopped on purpose: {self.purpose}. By itself the point is {point}: {self._numbers}."
        return f"{point[0].upper()}{point[1:]}: {self._numbers}."

    @property
    def _numbers(self) -> str:
        what, named = self.judged, listed(self.names, _MOST_NAMES)
        match self.point:
            case Kind.MINIMUM | Kind.FLAT_MINIMUM:
                sentence = f"a full Newton step would gain less than {percent(_NEGLIGIBLE)}"
                if self.down:
                    down = f"{self.down:,} of {counted(len(self.weights), 'direction')}"
                    curves = "curves" if self.down == 1 else "curve"
                    sentence += f", as would a push along the {down} that {curves} downwards"
                else:
                    sentence = f"every {'other ' * bool(self.flat)}direction curves upwards, and {sentence}"
                if self.flat:
                    sentence += f"; {without_effect(self.flat, len(self.weights))} (mostly {named})"
                if self.symmetries:
                    why = "a unit can be scaled against what follows it"
                    sentence += f", {self.symmetries:,} of them because {why}"
                return sentence
            case Kind.SADDLE:
                ways = counted(self.down, "direction") + (" at least" if self.eigenvalues is None else "")
                return (
                    f"the gradient is close to zero, but along {ways} (mostly {named}) the {what} curves downwards; a push that "
                    f"way lowers it by {_percent(self.kick_fall)}"
                )
            case Kind.VALLEY if self.plateau:
                return (
                    f"{named} are so large that the {what} does not depend on them any more (a plateau), "
                    "and without one of them it is lower"
                )
            case Kind.VALLEY:
                return (
                    f"the {what} may still fall by {_percent(max(self.promised_fall, self.drift))}, nearly all of it along "
                    f"directions that hardly curve (mostly {named})"
                )
            case Kind.RUNNING:
                factor, falls = self.trend[-1]
                return (
                    f"the {what} keeps falling as {named} grow: {written(self.penalised_error, 6)} here, "
                    f"{written(falls, 6)} where they are {factor:,.4g} times as large"
                )
        return f"a full Newton step would lower the {what} by {_percent(self.promised_fall)}"

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        if self.explained < _NOTHING and self.kind in (Kind.MINIMUM, Kind.FLAT_MINIMUM, Kind.STOPPED):
            return self.beyond or _AT_THE_MEAN
        if self.kind == Kind.FLAT_MINIMUM and self.symmetries == self.flat:
            return "Nothing is left to do here: the predictions are the same all along them."
        if self.plateau:
            return "Start from smaller weights, and standardise the inputs if they are not."
        return _ADVICE[self.kind].format(more=self.more)

    def __str__(self) -> str:
        return f"{self.findings} {self.advice}"

    def _repr_html_(self) -> str:
        """What it is and what to do, with the numbers, and the eigenvalues of the Hessian, largest first."""
        facts = {
            "what it is": self.findings,
            "what to do": self.advice,
            self.judged: written(self.penalised_error, 6),
            "gradient": written(self.gradient_norm, 3),
            "curvature": f"{written(self.smallest, 3)} to {written(self.largest, 3)}",
        }
        picture = ""
        if self.eigenvalues is not None and len(self.eigenvalues) > 1:
            sizes = np.abs(self.eigenvalues)
            picture = curves(
                {"curvature": np.maximum(sizes, 1e-16 * sizes.max())}, np.arange(len(sizes)), "size of the curvature"
            )
        return shown(f"Verdict: {self.kind}", facts, picture.replace(" steps,", " directions,"))


_AT_THE_MEAN = (
    "But the predictions are no nearer to the targets than their mean is: either the inputs say nothing of the target, or the "
    "way there was not found. Other starts, more hidden units, or input weights that begin ten times as large may find it."
)
_ADVICE = {
    Kind.MINIMUM: "Nothing is left to do here; other starts may end in lower minima.",
    Kind.FLAT_MINIMUM: "Nothing is left to do here; a smaller network or a larger alpha would do without them.",
    Kind.SADDLE: "Start from other weights (another seed), or go on from a point a little beside these.",
    Kind.VALLEY: "A larger alpha gives it a bottom; {more} gain little each.",
    Kind.DESCENDING: "Go on with {more}.",
    Kind.RUNNING: "There is no minimum that way: a weight decay, such as alpha = 0.01, makes one.",
    Kind.STOPPED: "Nothing is left to do: going on would go past the point that was wanted.",
}


def verdict_of(path: DescentPath, rows: GivenRows, *, matrix: bool | None = None) -> Verdict:
    """The verdict on the weights that a descent kept, over the rows that it descended on.

    Judged is what was descended, E or the penalised error, at ``path.best_weights``. A descent that early stopping, a
    callback or Ctrl-C ended while it still moved was stopped on purpose. matrix: see ``verdict_at``. Raises
    SettingsError where these are other rows.
    """
    rows = check_fit(path.model, rows).wide()
    check_rows_of(path, rows)
    found = _verdict(path.model, rows, path.best_weights, path.strength, matrix, path.weight_names)
    if path.stop == Stop.NO_CHANGE:
        found = replace(found, more="a smaller tol and more steps")
    purpose = _purpose(path)
    if purpose and found.point in (Kind.VALLEY, Kind.DESCENDING, Kind.RUNNING) and not found.plateau:
        found = replace(found, kind=Kind.STOPPED, purpose=purpose)
    return found


def verdict_at(
    model: Model, rows: GivenRows, weights: Any, *, alpha: float = 0.0, strength: Any = None, matrix: bool | None = None
) -> Verdict:
    """The verdict on ``weights`` (p,) of ``model`` over ``rows``: what kind of point they are.

    Judged is E, with a weight decay ``alpha`` or ``strength`` (p,), one for each weight, the penalised error. matrix:
    whether the whole Hessian is formed; by default up to 2 000 weights, above which products with it tell, by
    Lanczos. Raises ShapeError, TableError or SettingsError for rows, weights or a decay that do not fit,
    FalllineError where the error is not finite.
    """
    if strength is None:
        strength = weight_decay(model, alpha).strength
    return _verdict(model, rows, weights, np.asarray(strength, np.float64), matrix, names_of(model))


def _purpose(path: DescentPath) -> str:
    """Why the descent ended where it did although it could have gone on, empty if nobody wanted that."""
    match path.stop:
        case Stop.INTERRUPTED:
            return "it was interrupted"
        case Stop.ASKED:
            return "a callback asked for it"
        case Stop.TIME:
            return "its time was over"
    above = path.at_best(path.penalised_error) > path.penalised_error.min()
    judged = above and "effective_weights" not in path.shown and path.watched
    if path.stop == Stop.VALIDATION or judged:
        return f"the weights of step {path.best_step} predicted the validation rows best"
    return ""


class _Falls(NamedTuple):
    """How far F may fall, in units of F, from its bend and slope along conjugate directions.

    promised: ½ gᵀ|H|⁻¹g, and soft, how much of it along soft directions; drift: the most along one that does not bend;
    soft_each (k,): what each soft or flat direction has of both. ways (m, p): −|H|⁻¹g along the directions that promise most,
    all of them together first.
    """

    promised: float
    soft: float
    drift: float
    soft_each: np.ndarray
    ways: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, slopes: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> "_Falls":
        """From eigenvalues (k,) and slopes (k,) along ``directions`` (k, p), which need not be of length 1."""
        size = float(np.abs(values).max(initial=0.0))
        bent = (values > FLAT * size) | (values < -DOWN * size)
        safe = np.where(bent, np.abs(values), 1.0)
        falls = np.where(bent, 0.5 * slopes**2 / safe, 0.0)
        # Along a flat direction: no further than its own little bend says, nor than the weights are long.
        lengths = np.linalg.norm(directions, axis=1)
        reach = np.abs(slopes) * (1.0 + float(np.linalg.norm(weights))) / np.where(lengths > 0, lengths, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            bends = np.where(slopes == 0, 0.0, 0.5 * slopes**2 / np.abs(values))
        drifts = np.where(bent, 0.0, np.minimum(bends, reach))
        soft = np.where(bent & (np.abs(values) <= _SOFT_EIGENVALUE * size), falls, 0.0)
        # What little the step has along other directions would grow on a long way.
        each = falls + drifts
        main = each >= max(_EXPLAINED_SHARE * float(each.sum()), _TINY)
        steps = -(slopes / safe)[main, None] * directions[main]
        return cls(
            float(falls.sum()),
            float(soft.sum()),
            float(drifts.max(initial=0.0)),
            soft + drifts,
            np.concatenate([steps.sum(axis=0)[None, :], steps])[: 1 + len(steps) * (len(steps) > 1)],
        )


class _Ground(NamedTuple):
    """What the curvature says of a point, from the whole Hessian or from products with it.

    told: what a ``Verdict`` says of the eigenvalues, by name. ways (m, p): where the next steps lead; downward (p,): where F
    bends downwards most. weigh_flat and weigh_soft (p,): how much each weight has of the flat, and of the moving soft
    directions. Which directions are flat or soft is told with each weight in units of its own, the length of its row of H,
    so that the scale of an input or of a penalty does not make the others flat.
    """

    error: float
    gradient: np.ndarray
    falls: _Falls
    ways: np.ndarray
    told: dict[str, Any]
    downward: np.ndarray
    unfelt: np.ndarray
    weigh_flat: np.ndarray
    weigh_soft: np.ndarray
    product: Callable[[np.ndarray], np.ndarray]


def _units(felt: np.ndarray, by_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which weights are not felt, (p,) bool, and the units of the others, (p,): the roots of the lengths of the rows of H.

    ``by_rows`` (p,): the same lengths without the penalty, which says what is little.
    """
    largest = float(by_rows.max()) or float(felt.max())
    least = _LEAST_UNIT * largest or 1.0
    return felt <= FLAT * largest, np.sqrt(np.maximum(felt, least))


def _by_matrix(model: Model, rows: Rows, weights: np.ndarray, strength: np.ndarray, orbits: np.ndarray) -> _Ground:
    error, gradient, hessian = curvature_matrix(model, rows, weights, strength)
    across = _without(hessian, orbits)
    raw, own = eigenpairs(across)
    felt = np.linalg.norm(across, axis=1)
    unfelt, d = _units(felt, np.linalg.norm(hessian - np.diag(strength), axis=1))
    matters = np.outer(~unfelt, ~unfelt)
    bend = Curvature(weights, error, gradient / d, rows.count, *eigenpairs(matters * across / d / d[:, None]))
    vectors = bend.eigenvectors
    falls = _Falls.of(bend.eigenvalues, bend.slopes, vectors / d, weights)
    square = gauss_newton_matrix(model, rows, weights)
    rest = hessian - np.diag(strength) - square
    size = float(np.linalg.norm(square))
    told = {
        "largest": float(raw[0]), "smallest": float(raw[-1]), "down": int(bend.down.sum()),
        "flat": int(bend.flat.sum()), "eigenvalues": raw,
        "second_term": float(np.linalg.norm(rest)) / size if size > 0 else None,
    }  # fmt: skip
    return _Ground(
        error, gradient, falls, _Falls.of(raw, own @ gradient, own, weights).ways, told,
        downward=vectors[-1] / d / np.linalg.norm(vectors[-1] / d), unfelt=unfelt,
        weigh_flat=(vectors[bend.flat] ** 2).sum(axis=0), weigh_soft=falls.soft_each @ vectors**2,
        product=lambda v: hessian @ v,
    )  # fmt: skip


def _by_products(model: Model, rows: Rows, weights: np.ndarray, strength: np.ndarray, orbits: np.ndarray) -> _Ground:
    p = len(weights)

    def across(v: np.ndarray) -> np.ndarray:
        return np.asarray(v - (v @ orbits.T) @ orbits)

    products = Products(model, rows, weights, strength)
    probes = np.random.default_rng(0).choice((-1.0, 1.0), (_PROBES, p))
    error, gradient, images = products(probes)

    def bent_by(v: np.ndarray) -> np.ndarray:
        return across(products.times(across(v)))

    # The length of a row of H is what it makes of such a probe, squared, on average; a row of zeros makes 0 of each.
    felt = np.sqrt(np.mean(images**2, axis=0))
    unfelt, d = _units(felt, np.sqrt(np.mean((images - strength * probes) ** 2, axis=0)))
    ends = lanczos(bent_by, p, residual=_LANCZOS_RESIDUAL, most_products=_LANCZOS_PRODUCTS)
    largest, smallest = ends.values.tolist()
    told = {
        "largest": largest, "smallest": smallest, "down": int(smallest < -DOWN * max(abs(largest), abs(smallest))),
        "flat": int(unfelt.sum()) + len(orbits),
    }  # fmt: skip
    seen = krylov(lambda v: bent_by(v / d) / d, gradient / d, _KRYLOV_PRODUCTS)
    falls = _Falls.of(seen.values, seen.along, seen.vectors / d, weights)
    straight = krylov(bent_by, gradient, _KRYLOV_PRODUCTS)
    return _Ground(
        error, gradient, falls, _Falls.of(straight.values, straight.along, straight.vectors, weights).ways, told,
        downward=ends.vectors[1], unfelt=unfelt, weigh_flat=unfelt + (orbits**2).sum(axis=0),
        weigh_soft=falls.soft_each @ seen.vectors**2, product=products.times,
    )  # fmt: skip


@one_blas_thread()
def _verdict(
    model: Model, rows: GivenRows, weights: Any, strength: np.ndarray, matrix: bool | None, names: Sequence[str]
) -> Verdict:
    rows = check_fit(model, rows).wide()
    formed = model.n_weights <= LARGEST if matrix is None else matrix
    weights = np.asarray(weights, np.float64)
    orbits = _orbits(model, weights, strength)
    ground = (_by_matrix if formed else _by_products)(model, rows, weights, strength, orbits)
    scale = max(ground.error, _ROUNDING * rows.error_of_zero, _TINY)
    promised, drift = ground.falls.promised / scale, ground.falls.drift / scale
    found = Verdict(
        kind=Kind.MINIMUM,
        point=Kind.MINIMUM,
        weights=weights,
        error=ground.error - 0.5 * float(weights**2 @ strength),
        penalised_error=ground.error,
        gradient_norm=float(np.linalg.norm(ground.gradient)),
        promised_fall=promised,
        soft_share=ground.falls.soft / ground.falls.promised if ground.falls.promised > 0 else 0.0,
        drift=drift,
        **ground.told,
    )
    found = replace(found, **_of_the_targets(model, rows, found.error))
    errors = functools.partial(errors_at, model, rows, strength=strength)
    moving = max(promised, drift) > _NEGLIGIBLE

    def called(kind: Kind, matter: np.ndarray, **numbers: Any) -> Verdict:
        return replace(found, kind=kind, point=kind, names=_most(names, matter), **numbers)

    if not moving and found.down:
        lower = _kicked(errors, weights, ground)
        fall = (ground.error - float(errors(lower)[0])) / scale
        if fall > _NEGLIGIBLE:
            if formed:
                fall = (ground.error - _followed(model, rows, errors, lower, strength)) / scale
            return called(Kind.SADDLE, ground.downward**2, kick_fall=fall)
    runs = _running(model, errors, weights, strength, ground, moving)
    if runs is not None:
        return called(Kind.RUNNING, runs[0], trend=runs[1])
    if moving:
        falls = ground.falls
        flat = falls.drift + falls.soft >= _VALLEY_SHARE * (falls.drift + falls.promised)
        return called(Kind.VALLEY if flat else Kind.DESCENDING, ground.weigh_soft)
    if (changes_without(model, rows, weights, ground.unfelt, strength) < -_NEGLIGIBLE).any():
        return called(Kind.VALLEY, ground.unfelt * (1.0 + np.abs(weights)), plateau=True)
    if not found.flat:
        return found
    return called(Kind.FLAT_MINIMUM, ground.weigh_flat, symmetries=len(orbits))


def _of_the_targets(model: Model, rows: Rows, error: float) -> dict[str, Any]:
    """What a ``Verdict`` says of the targets: how much of their spread is explained, and which are out of reach."""
    least, most = _RANGES.get(getattr(model, "output_activation", ""), (-np.inf, np.inf))
    y = rows.each(lambda block: block.y)
    xp = namespace(y)
    beyond = float(xp.sum(xp.astype(xp.any((y < least) | (y > most), axis=1), y.dtype))) / len(rows)
    said = f"{percent(beyond)} of the targets lie outside {least:g} … {most:g}, where all outputs of this network lie: "
    return {
        "explained": 1.0 - error / rows.error_of_mean,
        "beyond": f"{said}use identity outputs, or bring the targets into that range." if beyond else "",
    }


def _kicked(errors: Errors, weights: np.ndarray, ground: _Ground) -> np.ndarray:
    """The lowest point on the line through a saddle along its softest direction."""
    long = 1.0 + float(np.linalg.norm(weights))
    steps = np.concatenate([-_KICKS, _KICKS]) * long
    points = weights + steps[:, None] * ground.downward
    return np.asarray(points[int(np.argmin(errors(points)))])


def _followed(model: Model, rows: Rows, errors: Errors, weights: np.ndarray, strength: np.ndarray) -> float:
    """F where a descent from there leads, by steps −|H|⁻¹g, each as long as lowers F most."""
    lowest = float(errors(weights)[0])
    for _ in range(_NEWTON_STEPS):
        bend = Curvature.at(model, rows, weights, strength)
        bent = ~bend.flat
        step = -(bend.slopes[bent] / np.abs(bend.eigenvalues[bent])) @ bend.eigenvectors[bent]
        points = weights + _TRIALS[:, None] * step
        found = errors(points)
        best = int(np.argmin(found))
        if not found[best] < lowest * (1.0 - 0.01 * _NEGLIGIBLE):
            break
        weights, lowest = points[best], float(found[best])
    return lowest


def _running(
    model: Model, errors: Errors, weights: np.ndarray, strength: np.ndarray, ground: _Ground, moving: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether F falls for ever as weights grow: along the next step, or as the weights into one saturated unit do.

    How much each takes part (p,), and how F goes on, (k, 2) of times as large and F; None where it does not. Where the descent
    still moves, that must be why. What a penalty acts on cannot run away. A unit is saturated where the Hessian sees next to
    nothing of what its inputs are worth.
    """
    allowed = _ROUNDING_RISE * ground.error
    factors = 2.0 ** np.arange(_DOUBLINGS + 1)
    explained = max(_EXPLAINED_SHARE * ground.falls.promised, _NEGLIGIBLE * ground.falls.drift) * moving

    def falls_for_ever(values: np.ndarray) -> bool:
        level = np.isfinite(values).all() and (np.diff(values) <= allowed).all()
        return bool(level and values[0] - values[-1] >= explained)

    matter, trend = np.zeros(len(weights)), np.zeros((0, 2))
    for group in _groups(model):
        outward = np.where(group, weights, 0.0)
        if (strength[group] > 0).any() or not outward.any():
            continue
        worth = float(errors(weights - outward)[0]) - ground.error
        if not worth > _NEGLIGIBLE * ground.error:
            continue
        if abs(0.5 * float(outward @ ground.product(outward))) > _SATURATED_SHARE * worth:
            continue
        values = errors(weights + (factors - 1.0)[:, None] * outward)
        if falls_for_ever(values):
            matter += np.abs(outward)
            if not len(trend) or values[-1] < trend[-1, 1]:
                trend = np.stack([factors, values], axis=1)
    if len(trend):
        return matter, trend
    if not moving or strength.any():
        return None
    long = 1.0 + float(np.linalg.norm(weights))
    for step in ground.ways:
        reach = float(np.linalg.norm(step))
        if reach == 0.0:
            continue
        along = np.concatenate([[0.0], max(reach, 0.1 * long) * factors]) / reach
        points = weights + along[:, None] * step
        values = errors(points)
        if falls_for_ever(values):
            times = np.linalg.norm(points, axis=1) / max(float(np.linalg.norm(weights)), _ROUNDING)
            return step**2, np.stack([times, values], axis=1)
    return None


def _groups(model: Model) -> Iterable[np.ndarray]:
    """Weights that may run away together, masks (p,): those into a unit that saturates; of a curve, each by itself."""
    if not isinstance(model, Network):
        return iter(np.eye(model.n_weights, dtype=bool))
    unit, hidden = model.units(), sum(model.hidden)
    saturates = [
        *(number for number in range(hidden) if model.activation in _SATURATING),
        *(hidden + j for j in range(model.outputs) if model.output_activation in _SATURATING),
    ]
    return (unit == number for number in saturates)


def _orbits(model: Model, weights: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Orthonormal directions (k, p) along which F is exactly the same: a unit scaled against what follows it.

    f(c z) = c f(z) for rectified and for identity units, so that what enters a unit may be multiplied by c > 0 and what
    leaves it divided; identity units of one layer may be mixed as well. A penalty breaks it. Other activations have none.
    """
    none = np.zeros((0, len(weights)))
    if not isinstance(model, Network) or model.activation not in _HOMOGENEOUS or not model.hidden:
        return none
    layers, decays = model.layers(weights), model.layers(strength)
    found = []
    for at, size in enumerate(model.hidden):
        into, out = layers[at], layers[at + 1]
        for i, j in np.ndindex(size, size):
            if i != j and (model.activation != "identity" or len(weights) > _MOST_MIXED):
                continue
            held = [decays[at].coef[:, [i, j]], decays[at + 1].coef[[i, j]]]
            if any(each.any() for each in held):
                continue
            change = [Layer(np.zeros_like(a), None if b is None else np.zeros_like(b)) for a, b in layers]
            # A mixing of units, z → z (1 + ε e_i e_jᵀ), undone by the layer after it.
            change[at].coef[:, j] = into.coef[:, i]
            if into.intercept is not None:
                change[at].intercept[j] = into.intercept[i]
            change[at + 1].coef[i] = -out.coef[j]
            found.append(model.vector(change))
    if not found:
        return none
    _, sizes, rows = np.linalg.svd(np.stack(found), full_matrices=False)
    return np.asarray(rows[sizes > _SYMMETRY_SHARE * sizes[0]]) if sizes[0] > 0 else none


def _without(hessian: np.ndarray, orbits: np.ndarray) -> np.ndarray:
    """H across the orbits: beside rest it bends along them, too, but F does not."""
    if not len(orbits):
        return hessian
    half = hessian - (hessian @ orbits.T) @ orbits
    across = half - orbits.T @ (orbits @ half)
    return np.asarray(0.5 * (across + across.T))


def _most(names: Sequence[str], matter: np.ndarray) -> tuple[str, ...]:
    """The weights that matter most, the first of them first."""
    order = np.argsort(-matter, kind="stable")
    return tuple(names[i] for i in order if matter[i] > 0 and matter[i] >= _NAMED_SHARE * matter.max())


def _percent(share: float) -> str:
    """A share of the error; a quadratic may promise more than all there is."""
    return percent(min(share, 1.0))
