"""What momentum does at a minimum: how fast each descent by the gradient comes down to it.

Near a minimum the error is its quadratic, F ≈ F* + ½ n Σ_i λ_i z_i², with λ the eigenvalues of the Hessian per row, H/n,
and z the distances along its eigenvectors. There a descent at a fixed rate moves along each direction by itself,
as on a linear network (``descent/linear.py``): its distances shrink by a factor a step that follows from λ, the learning
rate and the momentum. The slowest direction rules, and it is always one of the two ends of the spectrum. Far
from the minimum nothing of this holds; how far it does is what ``predict_path`` shows.

Sources: Polyak (1964), USSR Comp. Math. 4:1; Goh (2017), Distill, "Why momentum really works", whose powers R^k are printed
with σ₁ and σ₂ exchanged; Lessard, Recht & Packard (2016), SIAM J. Optim. 26:57, prop. 1.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent.gradient import GradientDescent
from fallline.descent.linear import best_heavy_ball, best_nesterov, best_plain_rate, carried_on, remaining
from fallline.descent.rate import stability_limit
from fallline.exceptions import FalllineError, SettingsError, ShapeError
from fallline.landscape.evaluate import check_rows_of
from fallline.landscape.hessian import Curvature
from fallline.model.network import Model
from fallline.rows.memory import GivenRows, check_fit
from fallline.walk.path import DescentPath

METHODS = ("plain", "heavy ball", "Nesterov")

_MATTERS = 1e-6  # of the largest eigenvalue: below, a direction is left out of what is said of rates
_NEAR = 0.1  # how far the quadratic may be from the error, as a share of both, where it is said to hold
_ROUNDING = 1e-10  # of the error: what lies lower above the minimum than this is not compared


@dataclass(frozen=True, eq=False)
class Convergence:
    """How fast the descents by the gradient converge to one minimum, from the curvature there.

    ``eigenvalues`` (p,) of the Hessian per row, H/n, largest first, in units of 1/learning rate; those below ``tol``
    times the largest are left out of every rate, ``left_out`` says how many. ``n_rows`` = Σ s. With the network
    known, ``directions`` (p, p) are the eigenvectors, one a row, ``minimum`` (p,) where the local quadratic is lowest and
    ``lowest`` the penalised error F there; ``above`` is how far F lay above that at the weights that were given.

    Raises FalllineError where the error curves downwards, since a saddle has no rate of convergence, or not at all.
    """

    eigenvalues: np.ndarray
    tol: float = _MATTERS
    n_rows: float = 1.0
    directions: np.ndarray | None = None
    minimum: np.ndarray | None = None
    lowest: float = 0.0
    above: float = 0.0

    def __post_init__(self) -> None:
        values = np.sort(np.asarray(self.eigenvalues, np.float64).ravel())[::-1]
        if not values.size or not np.isfinite(values).all():
            raise ShapeError("the eigenvalues must be finite numbers, at least one of them.")
        if not 0 < self.tol < 1:
            raise SettingsError(
                f"tol={self.tol!r} is not possible: expected a share of the largest eigenvalue between 0 and 1, such as 1e-6."
            )
        if values[0] <= 0:
            raise FalllineError(
                "the error does not curve upwards in any direction at these weights: they are no minimum, and every rate is "
                "as good as another. Give the weights of a minimum."
            )
        down = int((values < -self.tol * values[0]).sum())
        if down:
            raise FalllineError(
                f"the error curves downwards along {down} of {len(values)} directions at these weights (smallest eigenvalue "
                f"{values[-1]:.3g} per row, largest {values[0]:.3g}): they are no minimum. Descend further, from a point a "
                "little beside them, and give the weights where that ends."
            )
        object.__setattr__(self, "eigenvalues", values)

    @classmethod
    def at(
        cls, model: Model, rows: GivenRows, weights: Any, strength: Any = None, *, tol: float = _MATTERS
    ) -> "Convergence":
        """That at the minimum ``weights`` (p,) of the error of ``model`` over ``rows``.

        The weights need not be the last digit of it: the minimum is that of their local quadratic. strength (p,): each
        weight's weight decay, as a path has it. Up to 2 000 weights. Raises as ``hessian`` does, and FalllineError at a saddle.
        """
        return cls.of(Curvature.at(model, rows, weights, strength), tol=tol)

    @classmethod
    def of(cls, curvature: Curvature, *, tol: float = _MATTERS) -> "Convergence":
        """That of a minimum whose curvature is known."""
        values, vectors = curvature.eigenvalues, curvature.eigenvectors
        matter = values > tol * values[0]
        slope = (vectors @ curvature.gradient)[matter]
        away = slope / values[matter]
        above = 0.5 * float(slope @ away)
        minimum, n = curvature.weights - away @ vectors[matter], curvature.n_rows
        return cls(values / n, tol, n, vectors, minimum, curvature.error - above, above)

    @classmethod
    def of_path(
        cls, path: DescentPath, rows: GivenRows, minimum: Any = None, *, tol: float = _MATTERS
    ) -> "Convergence":
        """That at the best weights of a path, or at ``minimum`` (p,), over the rows it descended on.

        Raises SettingsError where these are other rows.
        """
        rows = check_fit(path.model, rows)
        check_rows_of(path, rows)
        minimum = path.best_weights if minimum is None else minimum
        return cls.at(path.model, rows, minimum, path.strength, tol=tol)

    @property
    def curvature(self) -> np.ndarray:
        """The eigenvalues that matter, largest first: (r,)."""
        return self.eigenvalues[self.eigenvalues > self.tol * self.eigenvalues[0]]

    @property
    def left_out(self) -> int:
        """How many directions are too flat to matter: a descent stays there nearly where it started."""
        return len(self.eigenvalues) - len(self.curvature)

    @property
    def condition(self) -> float:
        """κ, the largest eigenvalue that matters divided by the smallest."""
        return float(self.curvature[0] / self.curvature[-1])

    def factor(self, learning_rate: Any, momentum: Any = 0.0, nesterov: bool = False) -> np.ndarray:
        """By how much a step shrinks the distance in the long run: the spectral radius, 1 or more where it diverges.

        Learning rates per row and momenta broadcast against each other.
        """
        return np.exp(-self._decay(learning_rate, momentum, nesterov))

    def steps_per_decade(self, learning_rate: Any, momentum: Any = 0.0, nesterov: bool = False) -> np.ndarray:
        """Steps that reduce the distance to a tenth, and its error to a hundredth; infinite where it does not converge."""
        decay = self._decay(learning_rate, momentum, nesterov)
        with np.errstate(divide="ignore"):
            return np.where(decay > 0, math.log(10.0) / np.maximum(decay, 0.0), np.inf)

    def _decay(self, learning_rate: Any, momentum: Any, nesterov: bool) -> np.ndarray:
        """−ln of the factor.

        As a function of λ the factor falls and then rises, so that one of the two ends is the slowest direction.
        """
        rate, beta = np.asarray(learning_rate, np.float64), np.asarray(momentum, np.float64)
        if not (rate > 0).all() or not ((beta >= 0) & (beta < 1)).all():
            raise SettingsError("a learning rate must be positive and a momentum from 0 up to, not including, 1.")
        ends = self.curvature[[0, -1]]
        return np.minimum(*(decay_along(rate * value, beta, nesterov) for value in ends))

    def limit(self, momentum: Any = 0.0, nesterov: bool = False) -> Any:
        """The largest stable learning rate, 2/λ₁ plain, 2(1 + β)/λ₁ heavy ball, (2 + 2β)/(1 + 2β)/λ₁ in Nesterov's form."""
        return stability_limit(float(self.curvature[0]), np.asarray(momentum, np.float64), nesterov)

    def best(self, method: str = "heavy ball") -> GradientDescent:
        """The descent that arrives soonest: "plain", "heavy ball" or "Nesterov" with its best rate and momentum.

        Plain 2/(λ₁ + λ_r), shrinking by (κ − 1)/(κ + 1) a step; the heavy ball by (√κ − 1)/(√κ + 1); Nesterov's form by
        1 − 2/√(3κ + 1). Raises SettingsError for another method.
        """
        if method not in METHODS:
            raise SettingsError(f"method={method!r} is not known: choose one of {', '.join(METHODS)}.")
        steepest, shallowest = float(self.curvature[0]), float(self.curvature[-1])
        if method == "plain":
            return GradientDescent(best_plain_rate(steepest, shallowest))
        rate, momentum = (best_nesterov if method == "Nesterov" else best_heavy_ball)(steepest, shallowest)
        momentum = max(momentum, 0.0)  # by rounding, where all directions are alike
        return GradientDescent(rate, momentum, nesterov=method == "Nesterov" and momentum > 0)

    def quadratic(self, weights: Any) -> np.ndarray:
        """F of the local quadratic at each of ``weights`` (m, p): (m,). What lies along flat directions costs nothing."""
        z = self._distances(np.atleast_2d(np.asarray(weights, np.float64)))
        return self.lowest + 0.5 * self.n_rows * z**2 @ self._pull

    @property
    def _pull(self) -> np.ndarray:
        return np.maximum(self.eigenvalues, 0.0)  # rounding below 0 pulls nowhere

    def _distances(self, weights: np.ndarray) -> np.ndarray:
        if self.directions is None or self.minimum is None:
            raise SettingsError(
                "a way needs the directions of the curvature, and only its eigenvalues are known: make it by Convergence.at."
            )
        if weights.shape[1:] != self.minimum.shape:
            raise ShapeError(
                f"weights of shape {weights.shape[1:]} are not those of the minimum, {self.minimum.shape}."
            )
        return (weights - self.minimum) @ self.directions.T

    def predicted_error(self, descent: GradientDescent, start: Any, steps: Any, before: Any = None) -> np.ndarray:
        """F after ``steps`` (m,) of a descent from ``start`` (p,) on the local quadratic, in closed form: (m,).

        The descent begins at rest, or goes on from the weights one step earlier, ``before`` (p,). Raises SettingsError
        unless the descent is a ``GradientDescent`` with numbers for rate and momentum, over all rows at once.
        """
        _check_fixed(descent)
        steps = np.atleast_1d(np.asarray(steps))
        now = self._distances(np.asarray(start, np.float64)[None])[0]
        with np.errstate(all="ignore"):  # a descent that diverges leaves what floats can hold
            if before is None:
                left = remaining(descent, self._pull, steps) * now
            else:
                earlier = self._distances(np.asarray(before, np.float64)[None])[0]
                left = carried_on(descent, self._pull, steps, now, earlier)
            return self.lowest + 0.5 * self.n_rows * left**2 @ self._pull

    def predict_path(self, path: DescentPath, from_step: int | str = "auto") -> "PredictedPath":
        """The measured error of a path beside the predicted one from ``from_step`` on.

        "auto": from where the local quadratic is the error to a tenth, at that point of the path and at every later one; the
        start, on a linear network. Raises SettingsError for a descent without a formula, for a step that the path does not have
        with its weights, and where no point of the path is so near.
        """
        descent = _numbers_of(path)
        above = path.penalised_error - self.lowest
        known = np.flatnonzero(np.isin(path.steps, path.weight_steps))
        weights = path.weights[np.isin(path.weight_steps, path.steps)]
        if from_step == "auto":
            says = self.quadratic(weights) - self.lowest
            floor = _ROUNDING * abs(self.lowest) + np.finfo(np.float64).tiny
            wrong = ~(np.abs(says - above[known]) <= _NEAR * np.maximum(above[known], says) + floor)
            first = int(np.flatnonzero(wrong)[-1]) + 1 if wrong.any() else 0
            if first >= len(known) - 1 and len(known) > 1:
                raise SettingsError(
                    "the path does not come near enough to the minimum for its quadratic to hold: descend further, or give "
                    "from_step a number, such as 0."
                )
        else:
            at = np.flatnonzero(path.steps[known] == from_step)
            if not at.size:
                raise SettingsError(
                    f"from_step={from_step!r} is no step whose weights the path has: give 'auto', or one from {path.steps[0]} to "
                    f"{path.steps[-1]}."
                )
            first = int(at[0])
        begin = int(path.steps[known[first]])
        before = None
        if begin > int(path.steps[0]) and descent.momentum != 0:
            earlier = np.flatnonzero(path.weight_steps == begin - 1)
            if not earlier.size:
                raise SettingsError(
                    f"the path has no weights at step {begin - 1}, from which the velocity at step {begin} would be known: give "
                    "from_step=0."
                )
            before = path.weights[earlier[0]]
        later, predicted = path.steps >= begin, np.full(len(path.steps), np.nan)
        predicted[later] = self.predicted_error(descent, weights[first], path.steps[later] - begin, before)
        predicted = (predicted - self.lowest) / path.n_rows
        return PredictedPath(path.steps, above / path.n_rows, predicted, begin, descent)

    def __str__(self) -> str:
        values = self.curvature
        few = f"; {self.left_out} of {len(self.eigenvalues)} directions are too flat to count"
        ends = f"Curvature per row {values[0]:.4g} to {values[-1]:.4g}, condition {self.condition:.4g}"
        lines = [f"{ends}{few * bool(self.left_out)}."]
        for method in METHODS:
            best = self.best(method)
            steps = float(self.steps_per_decade(best.learning_rate, best.momentum, best.nesterov))
            momentum = f", momentum {best.momentum:.4g}" if method != "plain" else ""
            lines.append(
                f"{method}: best at learning rate {best.learning_rate:.4g}{momentum}, "
                f"{steps:.3g} steps to a tenth of the distance."
            )
        return "\n".join(lines)


def decay_along(a: Any, momentum: Any, nesterov: bool = False) -> np.ndarray:
    """−ln of the factor by which a step shrinks the distance along a direction with rate · λ = ``a``; they broadcast.

    The factor is the larger root of σ² − (1 + β − a)σ + β in size, of σ² − (1 + β)(1 − a)σ + β(1 − a) in Nesterov's form.
    """
    a, beta = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(momentum, np.float64))
    # In terms of 1 − σ, which is small where convergence is slow.
    half = 0.5 * ((1.0 - beta) + ((1.0 + beta) * a if nesterov else a))
    discriminant = half * half - a
    low = half + np.sqrt(np.maximum(discriminant, 0.0))
    high = np.divide(a, low, out=np.zeros_like(low), where=low > 0)
    short = np.where(np.abs(1.0 - low) > np.abs(1.0 - high), low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        slides = np.where(short < 0.5, np.log1p(-np.minimum(short, 0.5)), np.log(np.abs(1.0 - short)))
        waves = 0.5 * np.log(beta * (1.0 - a) if nesterov else beta)
    return -np.where(discriminant < 0, waves, slides)


def _check_fixed(descent: Any) -> None:
    if not isinstance(descent, GradientDescent) or descent.batch_size is not None or descent.reads_curvature:
        raise SettingsError(
            f"the way of {descent!r} follows from no formula: take GradientDescent with numbers for learning_rate and "
            "momentum, and all rows in a step."
        )


@dataclass(frozen=True, eq=False)
class PredictedPath:
    """A descent as it went and as its minimum's curvature says it should have gone.

    ``steps`` (m,); ``measured`` and ``predicted`` (m,): the penalised error above the lowest of the local quadratic,
    per row. ``from_step``: where the prediction begins, with the weights and the velocity the descent had there; NaN
    before. ``descent``: with its numbers, those that it found included.
    """

    steps: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    from_step: int
    descent: GradientDescent


def _numbers_of(path: DescentPath) -> GradientDescent:
    """The descent of a path with its numbers: given ones, or those that it kept all the way, as on a linear network."""
    descent: Any = path.descent
    if isinstance(descent, GradientDescent) and descent.batch_size is None and descent.reads_curvature:
        found = {
            name: np.unique(path.shown[name][1:])
            for name in ("learning_rate", "momentum")
            if isinstance(getattr(descent, name), str) and name in path.shown
        }
        if found and all(len(values) == 1 for values in found.values()):
            numbers: dict[str, Any] = {name: float(values[0]) for name, values in found.items()}
            descent = dataclasses.replace(descent, **numbers)
    _check_fixed(descent)
    return descent
