"""Rows in, a fitted curve out: where to start, the descent, covariance and intervals of the parameters.

Nothing is scaled: E is ½ Σ ((ŷ − y)/σ)², as SciPy's ``curve_fit`` has it. What a parameter is called and how a fit is
shown is the business of the faces.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fallline.descent import Descent
from fallline.descent.choose import choose
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.transformation import wrapped
from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.model.curve import Curve, check_names
from fallline.model.grouped_curve import GroupedCurve
from fallline.rows.memory import InMemory
from fallline.sure.curve_doubts import Doubts, doubts_of
from fallline.sure.curve_start import find_group_start, find_start
from fallline.sure.uncertainty import Uncertainty, uncertainty_of
from fallline.walk.loop import descend
from fallline.walk.path import DescentPath
from fallline.words import counted, did_you_mean, listed, written, written_share

_SEARCHES, _LOWER = 3, 1e-6  # for a start, where the end is poor; the share of E that makes an end a better one
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
    doubts: sentences on a poor fit, a pattern in the residuals, an alias. spread_of_y: Σ ((y − ȳ)/σ)², ȳ weighted by 1/σ².
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
    doubts: Doubts = field(default_factory=Doubts)
    spread_of_y: float = float("nan")
    absolute_sigma: bool = False

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

    @property
    def r2(self) -> float:
        """R² = 1 − Σ ((y − ŷ)/σ)² / Σ ((y − ȳ)/σ)²; NaN where all y are equal."""
        return float(1.0 - 2.0 * self.path.error[-1] / self.spread_of_y) if self.spread_of_y > 0 else float("nan")

    @property
    def aic(self) -> float:
        """Akaike's criterion, n ln(χ²/n) + 2k, or χ² + 2k where σ is the noise itself; χ² = Σ ((y − ŷ)/σ)².

        k counts the free parameters, not the variance of the noise; terms that are the same for every curve through these
        rows are left out. So it is lmfit's, and n (1 + ln 2π) + 2 Σ ln σ below −2 ln L + 2k. Lower is better.
        """
        return self._criterion(2.0)

    @property
    def bic(self) -> float:
        """The Bayesian (Schwarz's) criterion: as ``aic``, with k ln n in the place of 2k."""
        return self._criterion(float(np.log(len(self.rows))))

    def _criterion(self, each: float) -> float:
        chi, n = 2.0 * float(self.path.error[-1]), len(self.rows)
        with np.errstate(divide="ignore"):
            fits = chi if self.absolute_sigma else n * float(np.log(chi / n))
        return fits + each * int(self.free.sum())

    @property
    def figures_said(self) -> str:
        """R², AIC and BIC, with what they are made of."""
        fits = "χ²" if self.absolute_sigma else "n ln(χ²/n)"
        return (
            f"R² {written_share(self.r2)}; AIC {written(self.aic, 6)} and BIC {written(self.bic, 6)} ({fits} + 2k and {fits} + "
            f"k ln n, lower is better; k = {counted(int(self.free.sum()), 'free parameter')})."
        )

    def with_groups(self, x: np.ndarray, groups: Any = None) -> np.ndarray:
        """Rows x (n, columns) as the curve takes them: for a fit in groups with the number of each row's group (n,) beside them.

        Raises SettingsError where groups are missing, not wanted or not among those of the fit.
        """
        if not isinstance(self.curve, GroupedCurve):
            if groups is not None:
                raise SettingsError("this curve was fitted without groups: leave groups out.")
            return x
        if groups is None:
            raise SettingsError("this curve was fitted to groups: give the group of each row, groups=….")
        return np.column_stack([x, _numbers_of(groups, self.curve.groups, len(x))])

    def predict(self, x: np.ndarray, groups: Any = None) -> np.ndarray:
        """ŷ (n,) of rows x (n, columns); of a fit in groups, with the group of each row (n,)."""
        return self.curve.evaluate(self.values, self.with_groups(x, groups))[:, 0]

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
        """How it ended, and what is doubtful about it."""
        return " ".join([self.ending, *self.doubts.severe, *self.doubts.mild])

    @property
    def ending(self) -> str:
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

    def spread(self, x: np.ndarray, sigma: Any = None, groups: Any = None) -> np.ndarray:
        """Standard error (n,) of ŷ at rows x, or, with ``sigma`` (n,) or a number, of y of a new row whose noise that is.

        In units in which the rows of the fit had theirs: s σ is the noise of a row.
        """
        if self.uncertainty is None:
            return np.full(len(x), np.inf)
        mean = self.uncertainty.mean_error(self.as_descended(self.with_groups(x, groups)))[:, 0]
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
    groups: Any = None,
    shared: Sequence[str] = (),
) -> CurveFit:
    """Fit ``curve`` to rows x (n, inputs) and y (n,), nothing scaled: E = ½ Σ ((ŷ − y)/σ)².

    start: a value for each parameter, by name or in the order of ``curve.names``; those left out are looked for. fixed:
    parameters that stay at a value. bounds: {name: (lower, upper)}, or two of numbers or sequences, as ``curve_fit`` has them.
    sigma (n,): the noise of each row, 1 by default; only its ratios count unless ``absolute_sigma``. descent: settings,
    ``"auto"`` for ``LevenbergMarquardt.for_curves()``; bounds need a ``LevenbergMarquardt``.
    groups (n,): the group of each row. Every group has a curve of its own but for the parameters ``shared``; all are fitted
    together, as a ``GroupedCurve`` with parameters such as ``rate[b]``. Start values, fixed ones and bounds of ``rate`` are
    for all groups, those of ``rate[b]`` for one.
    Raises SettingsError, ShapeError or TableError, in a sentence.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if groups is not None:
        labels = sorted(set(_labels(groups)), key=_in_order)
        curve = GroupedCurve.of(curve, labels, shared)
        start, fixed, bounds = (curve.named_as_groups(each) for each in (start, fixed, bounds))
        x = np.column_stack([x, _numbers_of(groups, labels, len(x))])
    elif len(shared):
        raise SettingsError(f"shared={shared!r} needs groups: say to which group each row belongs, groups=….")
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
    noise = np.ones(len(y)) if sigma is None else np.broadcast_to(np.asarray(sigma, np.float64), (len(y),))

    def descended(model: Curve, seed: int) -> tuple[Curve, DescentPath, np.ndarray, bool]:
        """The curve as it was differentiated, its way, where that began, and whether it was gone anew, by differences."""
        find: Any = find_group_start if isinstance(model, GroupedCurve) else find_start
        # On a copy: how slopes are found is decided where the descent begins.
        begin = find(model.afresh(), rows, descent, known, box, seed)
        path = descend(model, rows, descent, weights=begin, max_iter=max_iter)
        refitted = not model.slopes_agree(path.best_weights, inputs)
        if refitted:
            model = model.by_differences()
            begin = find(model, rows, descent, known, box, seed)
            path = descend(model, rows, descent, weights=begin, max_iter=max_iter)
        return model, path, begin, refitted

    found = descended(model, seed)
    doubts = doubts_of(found[0], found[1].best_weights, inputs, y, noise)
    # A poor end may be the fault of the search: twice more, by other draws.
    for again in range(1, _SEARCHES if None in known.values() else 1):
        if not doubts.severe:
            break
        other = descended(model.afresh(), seed + again)
        if other[1].error[-1] < (1.0 - _LOWER) * found[1].error[-1]:
            found = other
            doubts = doubts_of(found[0], found[1].best_weights, inputs, y, noise)
    model, path, begin, refitted = found
    whole = np.empty(len(names))
    whole[free], whole[~free] = path.best_weights, given
    uncertainty, freedom = _what_rows_say(model, path, rows, absolute_sigma)
    mean = np.average(y, weights=noise**-2.0)
    spread = float(np.sum(((y - mean) / noise) ** 2))
    return CurveFit(
        curve, whole, path, rows, uncertainty, freedom, begin, lower, upper, refitted, doubts, spread, absolute_sigma
    )  # fmt: skip


def _in_order(label: str) -> tuple[float, str]:
    """Numbers by their size, then words by their letters."""
    try:
        return float(label), label
    except ValueError:
        return np.inf, label


def _labels(groups: Any) -> list[str]:
    """The group of each row in words. Raises TableError where one is missing."""
    said = np.asarray(groups).ravel().tolist()
    if missing := sum(each is None or each != each for each in said):
        raise TableError(f"{counted(missing, 'row')} of {len(said):,} have no group: every row needs one.")
    return [f"{each:.15g}" if isinstance(each, float) else str(each) for each in said]


def _numbers_of(groups: Any, names: Sequence[str], n: int) -> np.ndarray:
    """The number of each row's group (n,). Raises ShapeError or SettingsError where they do not fit."""
    said = _labels(groups)
    if len(said) != n:
        raise ShapeError(f"groups are {len(said)}: expected the group of each of the {n} rows, ({n},).")
    numbers = {name: i for i, name in enumerate(names)}
    if unknown := sorted(set(said) - set(numbers)):
        raise SettingsError(
            f"the group {unknown[0]!r} is none of those of the fit: {listed(names, 9)}{did_you_mean(unknown[0], names)}"
        )
    return np.array([numbers[each] for each in said], np.float64)


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
