import json
import math
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from fallline.descent.choose import choose
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.curve import Curve
from fallline.rows.memory import InMemory
from fallline.sure.curve_fit import fit_curve
from fallline.sure.curve_start import find_start

NIST = json.loads((Path(__file__).parents[1] / "data" / "nist.json").read_text())


def decay(x, a, b, c):
    return a * np.exp(-b * x) + c


CURVE = Curve("a*exp(-b*x) + c")
# Tight, so that its last Jacobian is that of the end, too.
TIGHT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "maxfev": 10_000}


@pytest.fixture
def rows(random):
    x = np.linspace(0, 4, 50)
    sigma = 0.05 + 0.1 * random.uniform(size=50)
    return x, decay(x, 2.5, 1.3, 0.5) + sigma * random.normal(size=50), sigma


def digits(found, certified, most=11.0):
    certified = np.asarray(certified)
    size = np.where(certified == 0, 1.0, np.abs(certified))
    return np.min(np.minimum(-np.log10(np.maximum(np.abs(found - certified) / size, 1e-300)), most))


@pytest.mark.parametrize("which", [0, 1], ids=["far start", "near start"])
@pytest.mark.parametrize("name", NIST["nonlinear"])
def test_nist_problems_arrive_at_eight_digits_from_both_starts(name, which):
    problem = NIST["nonlinear"][name]
    p = len(problem["certified"])
    curve = Curve(problem["model"], tuple(f"b{i + 1}" for i in range(p)), tuple(problem["columns"]))
    x = np.column_stack(list(problem["columns"].values()))
    fit = fit_curve(curve, x, problem["y"], start=problem["starts"][which])
    assert digits(fit.values, problem["certified"]) >= 8
    # Lanczos1 fits to twelve digits: its data as float64 say no more of the noise.
    assert digits(fit.standard_errors, problem["certified_sd"]) >= {"Lanczos1": 3}.get(name, 6)
    assert fit.path.n_passes <= 3000  # E first, J where it fell: up to three passes a step


# What the condition of each set leaves of 16 digits: Filip's columns agree to ten, Wampler5's residuals are 2 500 times its y's.
LEAST = {"Filip": (7, 6), "Wampler4": (7, 8), "Wampler5": (5, 8), "Wampler3": (8, 8)}


@pytest.mark.parametrize("name", NIST["linear"])
def test_linear_nist_sets_need_no_start(name):
    problem = NIST["linear"][name]
    curve = Curve(problem["model"], columns=tuple(problem["columns"]))
    fit = fit_curve(curve, np.column_stack(list(problem["columns"].values())), problem["y"])
    of_weights, of_errors = LEAST.get(name, (10, 10))
    assert digits(fit.values, problem["certified"], 15) >= of_weights
    assert digits(fit.standard_errors, problem["certified_sd"], 15) >= of_errors


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("weighted", [True, False], ids=["sigma", "no sigma"])
def test_parameters_and_covariance_are_those_of_curve_fit(weighted, absolute, rows):
    x, y, sigma = rows
    sigma = sigma if weighted else None
    fit = fit_curve(CURVE, x[:, None], y, start=[1, 1, 0], sigma=sigma, absolute_sigma=absolute)

    def slopes(x, a, b, c):
        return np.column_stack([np.exp(-b * x), -a * x * np.exp(-b * x), np.ones_like(x)])

    popt, pcov = scipy.optimize.curve_fit(
        decay, x, y, [1, 1, 0], sigma=sigma, absolute_sigma=absolute, jac=slopes, **TIGHT
    )
    np.testing.assert_allclose(fit.values, popt, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, pcov, rtol=1e-6)
    np.testing.assert_allclose(fit.standard_errors, np.sqrt(np.diag(pcov)), rtol=1e-6)
    np.testing.assert_allclose(np.diag(fit.correlations), 1.0)
    assert fit.freedom == 47


def test_standard_intervals_reach_by_students_t(rows):
    x, y, _ = rows
    fit = fit_curve(CURVE, x[:, None], y)
    reach = scipy.stats.t.ppf(0.95, 47) * fit.standard_errors
    np.testing.assert_allclose(
        fit.intervals(0.9), np.column_stack([fit.values - reach, fit.values + reach]), rtol=1e-10
    )


def test_without_a_start_it_arrives_where_it_does_from_a_good_one(rows):
    x, y, _ = rows
    found = fit_curve(CURVE, 1e4 * x[:, None], 1e-3 * y)
    np.testing.assert_allclose(found.values, [2.5e-3, 1.3e-4, 0.5e-3], rtol=0.15)
    given = fit_curve(CURVE, 1e4 * x[:, None], 1e-3 * y, start=found.values * 1.01)
    np.testing.assert_allclose(found.values, given.values, rtol=1e-8)


def test_linear_parameters_start_at_least_squares(rows):
    x, y, _ = rows
    descent, _ = choose("auto", CURVE, 50)
    known = {"a": None, "b": 0.9, "c": None}
    start = find_start(
        CURVE, InMemory(x[:, None], y[:, None]), descent, known, (np.full(3, -np.inf), np.full(3, np.inf))
    )
    design = np.column_stack([np.exp(-0.9 * x), np.ones(50)])
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(start, [expected[0], 0.9, expected[1]], rtol=1e-9)


def test_a_fixed_parameter_stays_and_the_others_fit_around_it(rows):
    x, y, _ = rows
    fit = fit_curve(CURVE, x[:, None], y, fixed={"c": 0.45})
    popt, pcov = scipy.optimize.curve_fit(lambda x, a, b: decay(x, a, b, 0.45), x, y, **TIGHT)
    np.testing.assert_allclose(fit.values, [*popt, 0.45], rtol=1e-7)
    np.testing.assert_allclose(fit.covariance[:2, :2], pcov, rtol=1e-4)
    np.testing.assert_array_equal(fit.covariance[2], 0.0)
    np.testing.assert_allclose(fit.predict(x[:, None]), decay(x, *popt, 0.45), rtol=1e-7)


@pytest.mark.parametrize(
    "bounds", [{"b": (None, 1.1)}, ([-np.inf] * 3, [np.inf, 1.1, np.inf]), {"b": (0.2, 1.1), "a": (0, None)}]
)
def test_a_parameter_ends_at_its_bound_as_with_curve_fit(bounds, rows):
    x, y, _ = rows
    fit = fit_curve(CURVE, x[:, None], y, bounds=bounds)
    box = ([-np.inf] * 3, [np.inf, 1.1, np.inf])
    popt, _ = scipy.optimize.curve_fit(decay, x, y, [1, 1, 0], bounds=box, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(fit.values, popt, rtol=1e-6)
    assert fit.at_bound == ("b",)
    assert "At a bound: b" in fit.said


def test_profile_intervals_end_where_the_refitted_error_reaches_its_limit(rows):
    x, y, _ = rows
    fit = fit_curve(CURVE, x[:, None], y)
    least = np.sum((fit.predict(x[:, None]) - y) ** 2)
    limit = least * (1 + scipy.stats.f.ppf(0.95, 1, 47) / 47)  # t² is F with 1 degree of freedom
    ends = fit.profile_intervals()[1]
    for end in ends:
        others = scipy.optimize.least_squares(
            lambda w, b=end: decay(x, w[0], b, w[1]) - y, [2.5, 0.5], xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
        assert 2 * others.cost == pytest.approx(limit, rel=1e-5)
    assert ends[0] < fit.values[1] < ends[1]


def test_profile_intervals_of_a_line_are_the_standard_ones(random):
    x = random.normal(size=30)
    fit = fit_curve(Curve("a*x + b"), x[:, None], 2 * x + random.normal(size=30))
    np.testing.assert_allclose(fit.profile_intervals(0.9), fit.intervals(0.9), rtol=1e-5)


def test_a_profile_that_never_reaches_its_limit_is_open():
    x = np.array([0.0, 1.0, 2.0, 3.0])[:, None]
    y = np.array([0.0, 0.985, 1.01, 1.0])  # as if it jumped: any large rate will do
    low, high = fit_curve(Curve("1 - exp(-b*x)"), x, y).profile_intervals()[0]
    assert high == np.inf
    assert 1 < low < 5


@pytest.mark.parametrize("descent", [LBFGS(), GradientDescent(momentum="auto"), "levenberg-marquardt"])
@pytest.mark.parametrize("way", ["text", "by hand"])
def test_a_curve_goes_down_every_descent(way, descent, rows):
    x, y, _ = rows
    curve = {"text": CURVE, "by hand": Curve(decay_by_hand)}[way]
    fit = fit_curve(curve, x[:, None], y, start=[1, 1, 0], descent=descent, max_iter=400)
    np.testing.assert_allclose(fit.values, fit_curve(CURVE, x[:, None], y).values, rtol=1e-4)


def decay_in_jax(x, a, b, c):
    return a * jnp.exp(-b * x) + c


def decay_of_positive(x, a, b, c):
    return np.maximum(a, 0) * np.exp(-b * x) + c


def decay_by_hand(x, a, b, c):
    return np.array([a * math.exp(-b * each) + c for each in x])


@pytest.mark.parametrize(
    ("function", "derivatives", "said", "digits"),
    [
        (decay, "exact", "", 1e-9),
        (decay_of_positive, "complex step", "by the complex step, confirmed by central differences.", 1e-9),
        (decay_in_jax, "exact", "", 1e-9),
        (decay_by_hand, "numerical", "Derivatives by central differences.", 1e-6),
    ],
)
@pytest.mark.parametrize("start", [[1, 1, 0], None], ids=["a start", "no start"])
def test_a_function_gets_the_parameters_of_the_formula_and_its_derivatives_are_said(
    start, function, derivatives, said, digits, rows
):
    x, y, _ = rows
    fit = fit_curve(Curve(function), x[:, None], y, start=start)
    text = fit_curve(CURVE, x[:, None], y)
    assert (fit.derivatives, fit.refitted) == (derivatives, False)
    assert said in fit.said
    assert "Derivatives" not in text.said
    np.testing.assert_allclose(fit.values, text.values, rtol=digits)
    np.testing.assert_allclose(fit.standard_errors, text.standard_errors, rtol=1e3 * digits)


@pytest.mark.parametrize("function", ["a*exp(-b*x) + c", decay, decay_of_positive, decay_by_hand])
def test_curves_need_no_jax(function, rows, monkeypatch):
    x, y, _ = rows
    monkeypatch.setitem(sys.modules, "jax", None)  # as if it were not installed
    fit = fit_curve(Curve(function), x[:, None], y, start=[1, 1, 0])
    np.testing.assert_allclose(fit.profile_intervals()[0], fit.intervals()[0], rtol=0.2)


def test_a_complex_step_that_proves_wrong_at_the_end_leads_to_a_new_fit_by_differences():
    def rectified(x, a, b):
        return a * np.where(x >= 0, np.abs(np.cos(b * x)), 0)  # real, whatever b: seen only where a is not 0

    x = np.linspace(0, 3, 60)
    y = rectified(x, 2.0, 1.3) + 0.01 * np.sin(40 * x)
    fit = fit_curve(Curve(rectified), x[:, None], y, start=[0.0, 1.25])
    expected = fit_curve(Curve("a*abs(cos(b*x))"), x[:, None], y, start=[1.0, 1.25])
    assert (fit.refitted, fit.derivatives) == (True, "numerical")
    assert "differences contradict it: this is a new fit" in fit.said
    np.testing.assert_allclose(fit.values, expected.values, rtol=1e-6)


def test_a_trial_at_which_a_function_gives_up_is_rejected():
    tried = []

    def product(x, a, b):
        tried.append(float(b))
        return np.array([a * math.log(b) * each for each in x])  # a ValueError where b is not positive

    x = np.linspace(0, 4, 50)
    fit = fit_curve(Curve(product), x[:, None], 3 * x, start=[0.01, 1e-3])
    assert min(tried) <= 0
    np.testing.assert_allclose(fit.predict(x[:, None]), 3 * x, atol=1e-9)


def test_what_rows_do_not_determine_is_infinite_and_named(rows):
    x, y, _ = rows
    fit = fit_curve(Curve("(a + b)*x + c"), x[:, None], y, start=[1, 1, 1])
    assert np.isinf(fit.standard_errors[:2]).all()
    assert fit.standard_errors[2] == pytest.approx(
        fit_curve(Curve("a*x + c"), x[:, None], y).standard_errors[1], rel=0.02
    )
    assert "undetermined: −0.71 b, 0.71 a." in fit.said


def test_as_many_parameters_as_rows_leave_no_standard_errors():
    fit = fit_curve(Curve("a*x + b"), np.array([[0.0], [1.0]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(fit.values, [2.0, 1.0], rtol=1e-12)
    assert np.isinf(fit.covariance).all()
    assert np.isinf(fit.intervals()).all()
    assert "leave nothing to see the noise by" in fit.said


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"start": {"rate": 1}}, SettingsError, "'rate' is no parameter of the curve: its parameters are a, b, c"),
        ({"start": [1, 2]}, ShapeError, "start has 2 numbers, but the curve has 3 parameters: a, b, c"),
        ({"start": {"a": np.nan}}, SettingsError, "start of a is nan"),
        ({"fixed": {"d": 1}}, SettingsError, "'d' is no parameter"),
        ({"bounds": {"a": (2, 1)}}, SettingsError, "bounds of a, 2 and 1, leave nothing between them"),
        ({"bounds": 3}, SettingsError, "bounds=3 are not possible"),
        ({"start": [1, 1, 1], "bounds": (2, 3)}, SettingsError, "a = 1 lies outside its bounds, 2 to 3"),
        ({"bounds": {"a": (0, None)}, "descent": LBFGS()}, SettingsError, "not by LBFGS"),
        ({"sigma": np.ones(3)}, ShapeError, r"sigma has shape \(3,\): expected one number for each of the 50 rows"),
        ({"sigma": np.zeros(50)}, TableError, "sigma must be finite and above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error, message, rows):
    with pytest.raises(error, match=message):
        fit_curve(CURVE, rows[0][:, None], rows[1], **settings)
