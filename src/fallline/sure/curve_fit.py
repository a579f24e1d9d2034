"""Rows in, a fitted curve out: where to start, the descent, covariance and intervals of the parameters.

Nothing is scaled: E is ½ Σ ((ŷ − y)/σ)², as SciPy's ``curve_fit`` has it. What a parameter is called and how a fit is
shown is the business of the faces.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fallline.descent import Descent
from fallline.descent.choose import choose
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.transformation import wrapped
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.curve import Curve, check_names
from fallline.rows.memory import InMemory
from fallline.sure.curve_start import find_start
from fallline.sure.uncertainty import Uncertainty, uncertainty_of
from fallline.walk.loop import descend
from fallline.walk.path import DescentPath

# Profile likelihood: an end is found to this share of a standard error; further out than so many it is nowhere.
_EXACT, _DOUBLINGS = 1e-7, 12

_DERIVATIVES = {
    "exact": (),
    "complex step": ("Derivatives by the complex step, confirmed by central differences.",),
    "numerical": ("Derivatives by central differences.",),
}


@dataclass(frozen=True, eq=False)
class CurveFit:
    """A curve fitted to n rows: p parameters, the fixed ones among them.

    curve: the curve; values (p,) its parameters, in its order. path: the way of the free ones. uncertainty: what the rows
    say of these, None where no row is left to see the noise by. rows: as they were descended on, fixed parameters
    as further inputs, 1/σ² as row weights. freedom: n less the directions that the rows determine. start: where it began.
    refitted: whether a first fit, by the complex step, ended where differences said otherwise, and was thrown away.
    """

    curve: Curve
    values: np.ndarray
    path: DescentPath
    rows: InMemory
    uncertainty: Uncertainty | None
    freedom: int
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    refitted: bool = False

    @property
    def model(self) -> Curve:
        """The curve as it was descended on: its fixed parameters are inputs."""
        model: Any = self.path.model
        return model

    @property
    def free(self) -> np.ndarray:
        """Which parameters are free: (p,) bool."""
        return np.array([name not in self.model.given for name in self.curve.names])

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the parameters (p, p): 0 for fixed ones, ∞ for those that the rows leave undetermined."""
        whole, known = np.zeros((len(self.values),) * 2), np.array(np.inf)
        if self.uncertainty is not None:
            known, lost = self.uncertainty.covariance, np.isinf(self.uncertainty.weight_errors)
            known[lost, :], known[:, lost] = np.inf, np.inf
        whole[np.ix_(self.free, self.free)] = known
        return whole

    @property
    def standard_errors(self) -> np.ndarray:
        """√ of the diagonal of the covariance (p,)."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def correlations(self) -> np.ndarray:
        """Correlations of the parameters (p, p): NaN where one is fixed or undetermined."""
        errors = np.where(np.isfinite(self.standard_errors), self.standard_errors, np.nan)
        errors = np.where(errors > 0, errors, np.nan)
        return self.covariance / errors[:, None] / errors[None, :]

    @property
    def at_bound(self) -> tuple[str, ...]:
        """The free parameters that stand at a bound: their standard errors mean little."""
        at = self.free & ((self.values <= self.lower) | (self.values >= self.upper))
        return tuple(name for name, is_at in zip(self.curve.names, at, strict=True) if is_at)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """ŷ (n,) of rows x (n, inputs)."""
        return self.curve.evaluate(self.values, x)[:, 0]

    def as_descended(self, x: np.ndarray) -> np.ndarray:
        """Rows x (n, inputs) with the fixed parameters as further columns."""
        fixed = self.values[~self.free]
        return np.column_stack([x, np.broadcast_to(fixed, (len(x), len(fixed)))])

    @property
    def derivatives(self) -> str:
        """How the curve was differentiated: ``"exact"``, ``"complex step"`` or ``"numerical"``."""
        return self.model.derivatives

    @property
    def noise(self) -> float:
        """s, the standard deviation of a row whose σ is 1: √(2E / freedom); NaN where no freedom is left."""
        return float(np.sqrt(2.0 * self.path.error[-1] / self.freedom)) if self.freedom > 0 else float("nan")

    @property
    def said(self) -> str:
        """Why the descent ended, how slopes were found, what the rows leave undetermined, which parameters are at a bound."""
        parts = [self.path.stop_message, *_DERIVATIVES[self.derivatives]]
        if self.refitted:
            parts.append("By the complex step it ended where differences contradict it: this is a new fit.")
        if self.uncertainty is None:
            rows = f"{len(self.rows)} rows"
            parts.append(f"{rows} leave nothing to see the noise by: the standard errors are infinite.")
        elif self.uncertainty.rank < len(self.uncertainty.weights):
            parts.append(self.uncertainty.says())
        if self.at_bound:
            parts.append(f"At a bound: {', '.join(self.at_bound)}; standard errors mean little there.")
        return " ".join(parts)

    def spread(self, x: np.ndarray, sigma: Any = None) -> np.ndarray:
        """Standard error (n,) of ŷ at rows x, or, with ``sigma`` (n,) or a number, of y of a new row whose noise that is.

        In units in which the rows of the fit had theirs: s σ is the noise of a row.
        """
        if self.uncertainty is None:
            return np.full(len(x), np.inf)
        mean = self.uncertainty.mean_error(self.as_descended(x))[:, 0]
        if sigma is None:
            return mean
        return np.sqrt(mean**2 + self.uncertainty.noise_variance[0] * np.asarray(sigma, np.float64) ** 2)

    def quantile(self, coverage: float) -> float:
        """How many standard errors an interval of that coverage reaches to either side."""
        return float("inf") if self.uncertainty is None else self.uncertainty.quantile(coverage)

    def intervals(self, coverage: float = 0.95) -> np.ndarray:
        """Where each parameter is to be found (p, 2), by its standard error and Student's t: as far down as up."""
        reach, errors = self.quantile(coverage), self.standard_errors
        half = np.where(errors > 0, reach * np.where(errors > 0, errors, 1.0), 0.0)
        return np.column_stack([self.values - half, self.values + half])

    def profile_intervals(self, coverage: float = 0.95) -> np.ndarray:
        """The same by profile likelihood (p, 2): as far as E, all other parameters fitted anew, stays below its limit.

        E rises by ½ t² s² at the ends, t as in ``intervals``: no straight line is put in the place of the curve, so that the
        interval may be lopsided. An end is infinite where E never gets there.
        Source: Bates & Watts (1988), *Nonlinear Regression Analysis and Its Applications*, sec. 6.1.
        """
        found = np.column_stack([self.values, self.values])
        if self.uncertainty is None:
            found[self.free] = [-np.inf, np.inf]
            return found
        reach = self.uncertainty.quantile(coverage)
        least = float(self.path.error[-1])
        for number, i in enumerate(np.flatnonzero(self.free).tolist()):
            found[i] = [self._end(number, i, side, reach, least) for side in (-1.0, 1.0)]
        return found

    def _end(self, number: int, i: int, side: float, reach: float, least: float) -> float:
        """Where the profile of parameter i (the ``number``-th free one) crosses its limit, to one side."""
        assert self.uncertainty is not None
        from scipy.optimize import brentq

        centre, step = float(self.values[i]), float(self.uncertainty.weight_errors[number])
        noise = float(self.uncertainty.noise_variance[0])
        bound = float(self.lower[i] if side < 0 else self.upper[i])
        if centre == bound or not noise > 0:
            return centre
        if not np.isfinite(step):
            step = abs(centre) or 1.0
        others, known = self.path.best_weights, {centre: -reach}

        def above(value: float) -> float:
            """√ of the rise of 2E in units of the noise, less its limit: nearly straight in the value."""
            nonlocal others
            if value not in known:
                error, ended = self._with_held(number, value, others)
                others = ended if np.isfinite(error) else others
                known[value] = float(np.sqrt(max(2.0 * (error - least), 0.0) / noise)) - reach
            return known[value]

        far = centre
        for doubling in range(_DOUBLINGS):
            near, far = far, centre + side * reach * step * 2.0**doubling
            far = max(far, bound) if side < 0 else min(far, bound)
            if above(far) >= 0:
                return float(brentq(above, near, far, xtol=_EXACT * step))
            if far == bound:
                return bound
        return side * np.inf

    def _with_held(self, number: int, value: float, start: np.ndarray) -> tuple[float, np.ndarray]:
        """The least E with one free parameter held at a value, and the weights there: ∞ where E is no number."""
        lower, upper = self.lower[self.free].copy(), self.upper[self.free].copy()
        lower[number] = upper[number] = value
        start = start.copy()
        start[number] = value
        descent = LevenbergMarquardt.for_curves(tuple(lower.tolist()), tuple(upper.tolist()))
        try:
            path = descend(self.path.model, self.rows, descent, weights=start)
        except FalllineError:  # no number at the start
            return np.inf, start
        return float(path.error[-1]), path.best_weights


def fit_curve(
    curve: Curve,
    x: np.ndarray,
    y: np.ndarray,
    *,
    start: Mapping[str, float] | Sequence[float] | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float | None, float | None]] | tuple[Any, Any] | None = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    descent: Any = "auto",
    max_iter: int = 1000,
    seed: int = 0,
) -> CurveFit:
    """Fit ``curve`` to rows x (n, inputs) and y (n,), nothing scaled: E = ½ Σ ((ŷ − y)/σ)².

    start: a value for each parameter, by name or in the order of ``curve.names``; those left out are looked for. fixed:
    parameters that stay at a value. bounds: {name: (lower, upper)}, or two of numbers or sequences, as ``curve_fit`` has them.
    sigma (n,): the noise of each row, 1 by default; only its ratios count unless ``absolute_sigma``. descent: settings,
    ``"auto"`` for ``LevenbergMarquardt.for_curves()``; bounds need a ``LevenbergMarquardt``.
    Raises SettingsError, ShapeError or TableError, in a sentence.
    """
    names = curve.names
    held = dict(fixed or {})
    check_names(held, names)
    model = curve.with_given(name for name in names if name in held)
    values = _by_name(start, names) | {name: float(value) for name, value in held.items()}
    lower, upper = _bounds(bounds, names)
    for name, value in values.items():
        at = names.index(name)
        if not lower[at] <= value <= upper[at]:
            raise SettingsError(
                f"{name} = {value:g} lies outside its bounds, {lower[at]:g} to {upper[at]:g}: start within them."
            )
    y = np.asarray(y, np.float64)
    given = np.array([values[name] for name in model.given])
    inputs = np.column_stack([x, np.broadcast_to(given, (len(x), len(given)))])
    rows = InMemory(inputs, y.reshape(len(y), -1), _row_weights(sigma, len(y)), np.float64)
    free = np.array([name in model.free for name in names])
    box = lower[free], upper[free]
    descent = _descent(descent, model, len(y), box)
    # A function that does not fit says so here: at a trial it would be no number.
    with np.errstate(all="ignore"):
        model.evaluate(np.clip(model.initial(), *box), inputs[:2])
    known = {name: values.get(name) for name in model.free}
    # On a copy: how slopes are found is decided where the descent begins.
    begin = find_start(dataclasses.replace(model), rows, descent, known, box, seed)
    path = descend(model, rows, descent, weights=begin, max_iter=max_iter)
    refitted = not model.slopes_agree(path.best_weights, inputs)
    if refitted:
        model = model.by_differences()
        begin = find_start(model, rows, descent, known, box, seed)
        path = descend(model, rows, descent, weights=begin, max_iter=max_iter)
    whole = np.empty(len(names))
    whole[free], whole[~free] = path.best_weights, given
    uncertainty, freedom = _what_rows_say(model, path, rows, absolute_sigma)
    return CurveFit(curve, whole, path, rows, uncertainty, freedom, begin, lower, upper, refitted)


def _what_rows_say(
    model: Curve, path: DescentPath, rows: InMemory, absolute_sigma: bool
) -> tuple[Uncertainty | None, int]:
    """The uncertainty of the weights, its noise as ``curve_fit`` has it, and the degrees of freedom; None if there are none.

    Rows count as rows here, whatever their σ.
    """
    found = uncertainty_of(model, path.best_weights, rows, noise=1.0, factor="qr")
    freedom = len(rows) - found.rank
    if absolute_sigma:
        return found, freedom
    if freedom < 1:
        return None, freedom
    noise = np.sum(rows.counts[:, None] * found.residuals**2, axis=0) / freedom
    return dataclasses.replace(found, noise_variance=noise, freedom=float(freedom)), freedom


def _by_name(start: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Where to start, by name; None and parameters left out are not in it."""
    if start is None:
        return {}
    if not isinstance(start, Mapping):
        values = np.asarray(start, np.float64).ravel()
        if len(values) != len(names):
            raise ShapeError(
                f"start has {len(values)} numbers, but the curve has {len(names)} parameters: {', '.join(names)}."
            )
        start = dict(zip(names, values.tolist(), strict=True))
    check_names(start, names)
    found = {name: float(value) for name, value in start.items() if value is not None}
    for name, value in found.items():
        if not np.isfinite(value):
            raise SettingsError(f"start of {name} is {value}: give a finite number, or leave it out.")
    return found


def _bounds(bounds: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each parameter (p,), ∞ where there is none."""
    lower, upper = np.full(len(names), -np.inf), np.full(len(names), np.inf)
    if isinstance(bounds, Mapping):
        check_names(bounds, names)
        for name, pair in bounds.items():
            at = names.index(name)
            low, high = pair
            lower[at] = -np.inf if low is None else low
            upper[at] = np.inf if high is None else high
    elif bounds is not None:
        try:
            low, high = bounds
            lower[:], upper[:] = np.asarray(low, np.float64), np.asarray(high, np.float64)
        except (TypeError, ValueError):
            raise SettingsError(
                f"bounds={bounds!r} are not possible: give {{name: (lower, upper)}}, or (lower, upper) with a number "
                f"for all or one for each of the {len(names)} parameters."
            ) from None
    if not (lower < upper).all():
        at = int(np.argmin(lower < upper))
        raise SettingsError(
            f"the bounds of {names[at]}, {lower[at]:g} and {upper[at]:g}, leave nothing between them: to hold a parameter, "
            "fix it."
        )
    return lower, upper


def _row_weights(sigma: Any, n: int) -> np.ndarray | None:
    """1/σ² of each row, or None."""
    if sigma is None:
        return None
    sigma = np.asarray(sigma, np.float64)
    if sigma.shape not in ((), (n,)):
        raise ShapeError(
            f"sigma has shape {sigma.shape}: expected one number for each of the {n} rows. A covariance between rows is not "
            "taken here: whiten the rows first."
        )
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise TableError("sigma must be finite and above 0: the standard deviation of each row's noise.")
    return np.broadcast_to(1.0 / sigma**2, (n,)).copy()


def _descent(descent: Any, model: Curve, n: int, box: tuple[np.ndarray, np.ndarray]) -> Descent:
    """The descent asked for, within the bounds."""
    if isinstance(descent, str):
        descent, _ = choose(descent, model, n, all_rows=True)
    found: Descent = wrapped(descent)
    if not np.isfinite(np.concatenate(box)).any():
        return found
    if not isinstance(found, LevenbergMarquardt):
        raise SettingsError(
            f"bounds are kept by LevenbergMarquardt, not by {type(found).__name__}: leave the descent or the bounds out."
        )
    lower, upper = (tuple(side.tolist()) for side in box)
    return dataclasses.replace(found, lower=lower, upper=upper)
