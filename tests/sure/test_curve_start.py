"""Curves find their start: data of known truth, far from 1, and every problem of NIST without its starts."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lombscargle

from fallline.exceptions import SettingsError
from fallline.model.curve import Curve
from fallline.sure.curve_fit import fit_curve
from fallline.sure.curve_start import periodogram, spacing

NIST = json.loads((Path(__file__).parents[1] / "data" / "nist.json").read_text())
YEARS = np.arange(1900.0, 2021.0)


def found_like(formula, x, truth, noise, seed, function=None):
    """The fit without a start, which has to end as low as that from the truth, and to be near the truth between the rows."""
    random = np.random.default_rng(seed)
    curve = Curve(formula)
    weights = np.array([truth[name] for name in curve.names])
    y = curve.evaluate(weights, x[:, None])[:, 0]
    y = y + noise * random.normal(size=len(x))
    best = fit_curve(curve, x[:, None], y, start=weights).path.error[-1]
    fit = fit_curve(Curve(function or formula), x[:, None], y)
    assert fit.path.error[-1] <= best * (1 + 1e-5)
    between = np.linspace(x.min(), x.max(), 2001)[:, None]
    apart = fit.predict(between) - curve.evaluate(weights, between)[:, 0]
    assert np.sqrt(np.mean(apart**2)) < noise
    assert fit.doubts.severe == ()
    return dict(zip(fit.curve.names, fit.values.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("frequency", [0.01, 1.0, 30.0, 1000.0])
def test_a_sine_finds_its_frequency(frequency, even, seed):
    random = np.random.default_rng(seed)
    long = random.uniform(5, 20) / frequency
    x = (np.linspace(0, long, 100) if even else np.sort(random.uniform(0, long, 100))) + random.uniform(-3, 3) * long
    truth = {"c": 50.0, "a": random.uniform(1, 4), "f": frequency * random.uniform(0.7, 1.4), "p": 1.0}
    found = found_like("c + a*sin(2*pi*f*x + p)", x, truth, 0.3, seed)
    assert found["f"] == pytest.approx(truth["f"], rel=0.02)


def test_a_period_is_found_among_many_rows():
    x = 0.001 * np.arange(20_000)
    found_like("c + a*sin(2*pi*x/T + p)", x, {"c": 3.0, "a": 1.0, "T": 0.00517, "p": 2.0}, 0.5, 1)


def test_two_periods_are_found_one_after_the_other():
    x = np.sort(np.random.default_rng(3).uniform(0, 100, 200))
    truth = {"a": 2.0, "T": 5.3, "p": 1.0, "b": 1.3, "U": 17.0, "q": 4.0, "c": 4.0}
    found_like("a*sin(2*pi*x/T + p) + b*sin(2*pi*x/U + q) + c", x, truth, 0.3, 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "formula", ["b + h*exp(-(x - m)^2/(2*s^2))", "b + h/(1 + ((x - m)/s)^2)", "b + h*s^2/((x - m)^2 + s^2)"]
)
def test_a_narrow_peak_finds_its_place(formula, seed):
    random = np.random.default_rng(seed)
    x = np.linspace(9940, 10060, 120)
    truth = {"b": 5.0, "h": random.choice([-9.0, 15.0]), "m": 1e4 + random.uniform(-40, 40), "s": random.uniform(2, 5)}
    found = found_like(formula, x, truth, 0.3, seed)
    assert found["m"] == pytest.approx(truth["m"], abs=0.5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("formula", "x", "truth", "noise"),
    [
        ("L/(1 + exp(-k*(x - m)))", YEARS, {"L": 300.0, "k": 0.09, "m": 1961.0}, 3.0),
        ("c + L/(1 + exp(p - k*x))", YEARS, {"c": 30.0, "L": 200.0, "k": 0.1, "p": 195.0}, 2.0),
        ("c + a*exp(k*x)", YEARS, {"c": 20.0, "a": 100 * np.exp(-0.03 * 2020), "k": 0.03}, 1.0),
        ("c + a*exp(-k*x)", np.linspace(0, 4e6, 60), {"c": 1.0, "a": 3.0, "k": 1e-6}, 0.05),
        ("c + a*exp(-k*x)", np.linspace(0, 4e-6, 60), {"c": 1.0, "a": 3.0, "k": 1e6}, 0.05),
        ("a*exp(-k*x) + b*exp(-l*x)", np.geomspace(1e-5, 1e-2, 120), {"a": 2.0, "k": 4e2, "b": 3.0, "l": 7e3}, 0.01),
        ("b + (t - b)/(1 + (e/x)^h)", np.geomspace(1e-9, 1e-4, 40), {"b": 2.0, "t": 80.0, "e": 3e-7, "h": 1.3}, 1.0),
        ("a*exp(-d*x)*sin(w*x + p) + c", np.linspace(0, 0.04, 200), {"a": 2.0, "d": 60.0, "w": 1250.0, "p": 1.0, "c": 10.0}, 0.1),
        ("b + h*exp(-((x-m)/s)^2) + i*exp(-((x-n)/t)^2)", np.linspace(400, 700, 200),
         {"b": 2.0, "h": 7.0, "m": 470.0, "s": 12.0, "i": 6.0, "n": 630.0, "t": 15.0}, 0.2),
    ],
    ids=["logistic", "logistic p - kx", "growth", "slow", "fast", "double", "hill", "damped", "two peaks"],
)  # fmt: skip
def test_curves_far_from_one_are_found(formula, x, truth, noise, seed):
    found_like(formula, x, truth, noise, seed)


def test_a_function_without_a_formula_is_searched_too():
    def lorentz(x, b, h, m, s):
        return np.array([b + h / (1 + ((each - m) / s) ** 2) for each in x.tolist()])  # no list of a name

    x = np.linspace(940, 1060, 100)
    truth = {"b": 5.0, "h": 9.0, "m": 1012.0, "s": 6.0}
    found_like("b + h/(1 + ((x - m)/s)^2)", x, truth, 0.3, 0, lorentz)


@pytest.mark.parametrize("name", NIST["nonlinear"])
def test_nist_problems_are_found_without_their_starts(name):
    problem = NIST["nonlinear"][name]
    names = tuple(f"b{i + 1}" for i in range(len(problem["certified"])))
    curve = Curve(problem["model"], names, tuple(problem["columns"]))
    fit = fit_curve(curve, np.column_stack(list(problem["columns"].values())), problem["y"])
    # The residuals of Lanczos1 are those of its data's rounding.
    assert 2 * fit.path.error[-1] <= max(problem["residual_sum_of_squares"] * (1 + 1e-6), 1e-20)


@pytest.mark.parametrize("spaced", ["even", "uneven"])
def test_the_periodogram_is_that_of_scipy(spaced, random):
    x = {"even": np.arange(200.0), "uneven": np.sort(random.uniform(0, 200, 200))}[spaced] + 1000.0
    y = np.sin(1.3 * x) + random.normal(size=200)
    frequencies, share = periodogram(x, y, 0.45)
    straight = y - np.polynomial.Polynomial.fit(x, y, 1)(x)
    expected = lombscargle(x - 1000, straight, 2 * np.pi * frequencies, floating_mean=True)
    np.testing.assert_allclose(share * np.sum(straight**2), 2 * expected, rtol=1e-6, atol=1e-9)
    assert frequencies[np.argmax(share)] * 2 * np.pi == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize(
    ("x", "step"),
    [
        (np.arange(10) * 0.1 + 3, 0.1),
        (np.array([1900.0, 1910, 1920, 1950, 1990, 2000, 2010]), 10.0),
        (np.arange(20.0) ** 1.1, None),
    ],
)
def test_even_spacing_is_seen_with_gaps(x, step):
    assert spacing(x) == (None if step is None else pytest.approx(step))


def test_a_curve_that_is_a_number_nowhere_is_a_sentence():
    x = np.array([[-1.0], [-2.0], [-3.0], [-4.0]])
    with pytest.raises(
        SettingsError, match=r"no start was found at which the curve is a number in every row.*start=\{'b': …\}"
    ):
        fit_curve(Curve("log(x)^b"), x, np.ones(4))
