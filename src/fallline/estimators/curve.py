"""The scikit-learn face of curves: validates, calls ``curve_fit.py`` and stores what it found."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fallline.descent import Stop
from fallline.estimators.common import store, warn_of
from fallline.exceptions import DescentWarning, SettingsError, TableError
from fallline.model.curve import Curve
from fallline.model.formula import Formula, read_formula
from fallline.sure.curve_fit import fit_curve
from fallline.table.frames import table_if_frame
from fallline.words import did_you_mean


class CurveRegressor(RegressorMixin, BaseEstimator):
    """A curve ŷ = f(x; a, b, …) fitted by least squares: E = ½ Σ ((ŷ − y)/σ)².

    Goes down E by Levenberg–Marquardt, nothing scaled; derivatives are exact where ``derivatives_`` does not say otherwise. What
    SciPy's ``curve_fit`` calls popt and pcov are ``weights_`` and ``covariance_``.

    Parameters
    ----------
    curve : str, function or Curve
        Text such as ``"b1*(1 - exp(-b2*x))"``: names of columns are inputs, all others are parameters. The columns of an
        array are called x1, x2, …, a single one x, too; those of a data frame by their names (in backticks, if they
        are more than letters and digits). Or ``f(x, a, b, …)`` as ``curve_fit`` has it, x (n,), or (columns, n) of several.
    start : dict, sequence or None, default=None
        Where to start, {name: value} or one value for each parameter. Parameters left out are looked for: linear ones by
        least squares, the others at many points.
    fixed : dict or None, default=None
        Parameters that stay at a value: {name: value}.
    bounds : dict, pair or None, default=None
        {name: (lower, upper)}, None for no bound; or (lower, upper) as ``curve_fit`` has them. Bounds are kept at every
        step; a parameter may end at one, and is then named in ``at_bound_``.
    groups : str, int or None, default=None
        The column of X that says to which group a row belongs: its name in a data frame, its number in an array. Every group has
        a curve of its own, all fitted together; the parameter rate of group b is called ``rate[b]``. In ``start``, ``fixed`` and
        ``bounds``, ``rate`` stands for those of all groups.
    shared : sequence of str, default=()
        Parameters that are the same in all groups.
    absolute_sigma : bool, default=False
        Whether ``sigma`` is the noise itself; otherwise only its ratios count, and its size is found from the residuals.
    descent : "auto", the name of a descent, or a descent, default="auto"
        How the parameters move; ``"auto"`` is ``LevenbergMarquardt.for_curves()``.
    max_iter : int, default=1000
        The most steps.
    random_state : int, RandomState or None, default=None
        For the points where a start is looked for; None: always the same.

    Attributes
    ----------
    weights_ : ndarray (p,), the parameters; names_ : tuple of str, what they are called; parameters_ : dict of both
    covariance_ : ndarray (p, p), 0 for fixed parameters, ∞ for those that the rows leave undetermined
    standard_errors_ : ndarray (p,), √ of its diagonal; correlations_ : ndarray (p, p)
    noise_ : float, s = √(2E/degrees of freedom), the residual standard deviation where σ is 1
    degrees_of_freedom_ : int, rows less the parameters that they determine
    derivatives_ : "exact"; or, of a function from which no formula can be read, "complex step" (exact to rounding) or
        "numerical" (central differences)
    r2_ : float, R², weighted by 1/σ²; aic_, bic_ : float, n ln(χ²/n) + 2k and + k ln n, k free parameters (see ``CurveFit.aic``)
    doubts_ : tuple of str, sentences on a poor fit, a pattern in the residuals, an alias; () where there is nothing to doubt
    at_bound_ : tuple of str; curve_ : Curve; fit_ : CurveFit, all of it in one
    start_ : ndarray, where the free parameters started; path_ : DescentPath, their way from there
    n_iter_ : int, steps; n_passes_ : int, sums over the rows; stop_reason_ : str
    n_features_in_, feature_names_in_ : as in scikit-learn

    Examples
    --------
    >>> import numpy as np
    >>> from fallline import CurveRegressor
    >>> x = np.linspace(0, 4, 40)
    >>> fit = CurveRegressor("height*exp(-rate*x)").fit(x[:, None], 3 * np.exp(-0.5 * x))
    >>> {name: round(value, 6) for name, value in fit.parameters_.items()}
    {'height': 3.0, 'rate': 0.5}
    """

    def __init__(
        self,
        curve: Any,
        *,
        start: Any = None,
        fixed: Any = None,
        bounds: Any = None,
        absolute_sigma: bool = False,
        descent: Any = "auto",
        max_iter: int = 1000,
        random_state: Any = None,
        groups: Any = None,
        shared: Any = (),
    ) -> None:
        store(locals())

    def fit(self, X: Any, y: Any, sigma: Any = None) -> Self:
        """Find the parameters for rows X (n, columns) and y (n,).

        sigma (n,): the noise of each row, a standard deviation; 1 by default. Warns with ConvergenceWarning where
        ``max_iter`` ended the descent, with DescentWarning where it diverged or was interrupted, and where the fit is poor or
        an alias.
        Raises ValueError, in a sentence, for data, a curve or settings that do not fit.
        """
        frame = _frame_columns(X)
        if frame is None:
            x, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
            self._columns: Sequence[str] | None = None
            x, labels = self._apart(x)
            curve, _ = _curve_on(self.curve, _array_columns(self.curve, x.shape[1]))
        else:
            validate_data(self, X, skip_check_array=True)
            y = validate_data(self, X="no_validation", y=y, y_numeric=True)
            labels = self._labels(frame)
            curve, self._columns = _curve_on(
                self.curve, tuple(name for name in frame if self.groups is None or name != self.groups), named=True
            )
            self.feature_names_in_ = np.array(list(frame), dtype=object)
            self.n_features_in_ = len(frame)
            x = _numbers(frame, self._columns)
        seed = 0 if self.random_state is None else check_random_state(self.random_state).randint(2**31 - 1)
        fit = fit_curve(
            curve, x, y, start=self.start, fixed=self.fixed, bounds=self.bounds, sigma=sigma, seed=seed,
            absolute_sigma=self.absolute_sigma, descent=self.descent, max_iter=self.max_iter, groups=labels,
            shared=self.shared,
        )  # fmt: skip
        self.fit_, self.curve_, self.names_ = fit, fit.curve, fit.curve.names
        self.weights_, self.covariance_ = fit.values, fit.covariance
        self.parameters_ = dict(zip(self.names_, fit.values.tolist(), strict=True))
        self.standard_errors_, self.correlations_ = fit.standard_errors, fit.correlations
        self.noise_, self.degrees_of_freedom_ = fit.noise, fit.freedom
        self.r2_, self.aic_, self.bic_ = fit.r2, fit.aic, fit.bic
        self.doubts_ = (*fit.doubts.severe, *fit.doubts.mild)
        self.derivatives_, self.at_bound_ = fit.derivatives, fit.at_bound
        self.start_, self.path_ = fit.start, fit.path
        self.n_iter_, self.n_passes_ = max(fit.path.n_iter, 1), fit.path.n_passes
        self.stop_reason_ = fit.said
        self._weighted = sigma is not None
        warn_of(fit.path.stop, fit.said, 2)
        if fit.doubts.severe and fit.path.stop not in (Stop.MAX_ITER, Stop.INTERRUPTED, Stop.DIVERGED):
            warnings.warn(" ".join(fit.doubts.severe), DescentWarning, stacklevel=2)
        return self

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        return_interval: float | None = None,
        *,
        band: str = "prediction",
        sigma: Any = None,
    ) -> Any:
        """ŷ (n,) for rows X; with its standard error (n,), or with the two ends of an interval, (n,) each.

        return_interval: the coverage, such as 0.95: returns ŷ, lower, upper. band: ``"prediction"``, where y of a new row is
        to be found, its own noise included; ``"confidence"``, where the curve is. sigma: the noise of the new rows, a
        number or (n,), needed for a prediction band where the fit was given a sigma.
        Raises NotFittedError before ``fit``, ValueError where columns, values or settings do not fit.
        """
        check_is_fitted(self)
        x, groups = self._rows(X)
        predicted = self.fit_.predict(x, groups)
        if not return_std and return_interval is None:
            return predicted
        if band not in ("prediction", "confidence"):
            raise SettingsError(f"band={band!r} is not possible: expected 'prediction' or 'confidence'.")
        if band == "prediction" and sigma is None and self._weighted:
            raise SettingsError(
                "the fit was given a sigma for each row, so a prediction band needs the sigma of the new rows: pass sigma=…, "
                "or band='confidence' for where the curve is."
            )
        new_row = None if band == "confidence" else 1.0 if sigma is None else sigma
        spread = self.fit_.spread(x, new_row, groups)
        if return_interval is None:
            return predicted, spread
        reach = self.fit_.quantile(return_interval) * spread
        if return_std:
            return predicted, spread, predicted - reach, predicted + reach
        return predicted, predicted - reach, predicted + reach

    def intervals(self, coverage: float = 0.95, method: str = "standard") -> np.ndarray:
        """Where each parameter is to be found: (p, 2), lower and upper ends.

        method: ``"standard"``, by standard errors and Student's t; ``"profile"``, by profile likelihood, which follows the
        bend of the curve, refitting the other parameters, and may be lopsided or open. Raises NotFittedError before ``fit``.
        """
        check_is_fitted(self)
        if method == "standard":
            return self.fit_.intervals(coverage)
        if method == "profile":
            return self.fit_.profile_intervals(coverage)
        raise SettingsError(f"method={method!r} is not possible: expected 'standard' or 'profile'.")

    def _rows(self, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """x (n, columns) as the curve takes it, and the group of each row, if there are groups."""
        if self._columns is None:
            return self._apart(np.asarray(validate_data(self, X, dtype=np.float64, reset=False)))
        frame = _frame_columns(X)
        if frame is None:
            raise TableError(
                f"this curve was fitted to a data frame: pass one with the columns {', '.join(self._columns)}."
            )
        return _numbers(frame, self._columns), self._labels(frame)

    def _apart(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """An array without the column of its groups, and these."""
        if self.groups is None:
            return x, None
        k = x.shape[1]
        if isinstance(self.groups, str) or not -k <= self.groups < k or k < 2:
            raise SettingsError(f"groups={self.groups!r} is no column of an array of {k}: give its number, from 0.")
        return np.delete(x, self.groups, axis=1), x[:, self.groups]

    def _labels(self, frame: dict[str, np.ndarray]) -> np.ndarray | None:
        """The group of each row of a data frame. Raises SettingsError for a column that is not there."""
        if self.groups is None:
            return None
        if self.groups not in frame:
            raise SettingsError(
                f"groups={self.groups!r}: there is no such column in X{did_you_mean(self.groups, map(str, frame))}"
            )
        return np.asarray(frame[self.groups])


def _frame_columns(X: Any) -> dict[str, np.ndarray] | None:
    """The columns of a data frame by name, or None if X is something else."""
    # Columns that are numbers have no names, as scikit-learn sees it.
    if hasattr(X, "iloc") and not all(isinstance(name, str) for name in X.columns):
        return None
    table = table_if_frame(X)
    return None if table is None else table.columns


def _array_columns(curve: Any, k: int) -> tuple[str, ...]:
    """What the columns of an array are called: x1, x2, …; a single one x, unless a text says x1."""
    names = tuple(f"x{i + 1}" for i in range(k))
    if k > 1:
        return names
    said = read_formula(curve).names if isinstance(curve, str) else ()
    return names if "x1" in said and "x" not in said else ("x",)


def _curve_on(curve: Any, columns: tuple[str, ...], *, named: bool = False) -> tuple[Curve, tuple[str, ...]]:
    """The curve for these columns, and which of them it takes; by name if they are ``named``, else in their order.

    Raises SettingsError where they do not fit.
    """
    if isinstance(curve, str):
        formula = read_formula(curve)
        used = tuple(name for name in columns if name in formula.names)
        if not used:
            raise SettingsError(
                f"the formula {formula} has none of the columns of X ({', '.join(columns)}): its names are "
                f"{', '.join(formula.names)}."
            )
        return Curve(formula, columns=used if named else columns), used
    if not isinstance(curve, Curve):
        return Curve(curve, columns=columns), columns
    if named and set(curve.columns) <= set(columns):
        return curve, curve.columns
    if len(curve.columns) == len(columns) and not (named and isinstance(curve.function, Formula)):
        return curve, columns
    raise SettingsError(
        f"the curve has the columns {', '.join(curve.columns)}, but X has {len(columns)}: {', '.join(columns)}."
    )


def _numbers(frame: dict[str, np.ndarray], columns: Sequence[str]) -> np.ndarray:
    """These columns of a data frame as (n, columns) float64. Raises TableError for one that is missing or has no numbers."""
    missing = [name for name in columns if name not in frame]
    if missing:
        raise TableError(
            f"the curve needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, but X has {', '.join(frame)}."
        )
    parts = []
    for name in columns:
        column = frame[name]
        if column.dtype.kind not in "fiub" or np.isnan(column.astype(np.float64)).any():
            raise TableError(
                f"the column {name} holds text, dates or missing values: a curve takes numbers without gaps."
            )
        parts.append(column.astype(np.float64))
    return np.column_stack(parts)
