"""What is doubtful about a fitted curve is said, and nothing where there is nothing."""

import numpy as np
import pytest

from fallline.model.curve import Curve
from fallline.sure.curve_fit import fit_curve

X = np.linspace(0, 10, 100)


@pytest.fixture
def noise(random):
    return 0.1 * random.normal(size=100)


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_doubt(seed):
    y = 2 * np.exp(-0.5 * X) + 1 + 0.2 * np.random.default_rng(seed).normal(size=100)
    doubts = fit_curve(Curve("a*exp(-k*x) + c"), X[:, None], y).doubts
    assert (doubts.severe, doubts.mild) == ((), ())


def test_a_fit_to_rounding_is_no_doubt():
    assert fit_curve(Curve("a*exp(-k*x)"), X[:, None], 2 * np.exp(-0.5 * X)).doubts.mild == ()


def test_a_poor_fit_says_what_a_smooth_line_would_reach(noise):
    y = np.sin(X) + noise
    fit = fit_curve(Curve("a*sin(w*x) + c"), X[:, None], y, start={"a": 0.1, "w": 9.3, "c": 0.0})
    share = 1 - np.sum((y - fit.predict(X[:, None])) ** 2) / np.sum((y - y.mean()) ** 2)
    assert fit.r2 == pytest.approx(share, rel=1e-9)
    assert share < 0.2
    (said,) = fit.doubts.severe
    assert f"A poor fit: R² is {share:.3f}" in said
    reached = float(said.split("would reach ")[1][:5])
    assert reached == pytest.approx(1 - 0.1**2 / np.var(y), abs=0.01)  # what the noise leaves
    assert "give start values or bounds, or another formula" in said
    assert said in fit.said


def test_a_missing_term_is_a_pattern(noise):
    y = 3 * X + 0.5 * np.sin(X) + noise
    (said,) = fit_curve(Curve("a + b*x"), X[:, None], y).doubts.mild
    residual = y - np.polyval(np.polyfit(X, y, 1), X)
    alike = np.sum(residual[1:] * residual[:-1]) / np.sum(residual**2)
    assert f"those of neighbouring rows are alike (correlation {alike:.2f})" in said


def test_order_of_the_rows_changes_no_doubt(noise, random):
    y, order = 3 * X + 0.5 * np.sin(X) + noise, random.permutation(100)
    first = fit_curve(Curve("a + b*x"), X[:, None], y).doubts
    assert fit_curve(Curve("a + b*x"), X[order, None], y[order]).doubts == first


def test_an_alias_on_an_even_grid_is_said_and_not_found(noise):
    x = np.arange(100.0)
    y = 2 * np.sin(2 * np.pi * 0.1 * x) + noise
    curve = Curve("a*sin(2*pi*f*x + p)")
    found = fit_curve(curve, x[:, None], y)
    assert found.values[1] == pytest.approx(0.1, abs=1e-3)
    assert found.doubts.severe == ()
    (said,) = fit_curve(curve, x[:, None], y, start={"f": 0.9}).doubts.severe
    assert "x is evenly spaced, 1.000 apart, and the curve turns 0.9" in said
    assert float(said.split(" from ")[1].split(". ")[0]) == pytest.approx(0.1, abs=1e-3)


def test_a_frequency_that_was_missed_is_said(random):
    x = np.sort(random.uniform(0, 100, 150))
    y = np.sin(2 * np.pi * 1.234 * x) + 0.1 * random.normal(size=150)
    curve = Curve("a*sin(2*pi*f*x + p)")
    (said,) = fit_curve(curve, x[:, None], y, start={"a": 0.1, "f": 0.5, "p": 0.0}).doubts.severe
    assert "a sine of frequency 1.23" in said
    assert "Start a frequency there" in said


def test_doubts_name_the_group(noise):
    x, groups = np.tile(X, 2), np.repeat(["line", "wave"], 100)
    y = np.concatenate([3 * X, 3 * X + 0.5 * np.sin(X)]) + np.tile(noise, 2)
    (said,) = fit_curve(Curve("a + b*x"), x[:, None], y, groups=groups).doubts.mild
    assert said.startswith("group wave: The residuals have a pattern")
