import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from fallline.exceptions import SettingsError
from fallline.landscape.slope import Differentiable, descend_curve

SQUARE = Differentiable(lambda x: x**2)


def test_the_slope_of_the_square_at_two_is_four():
    assert SQUARE.at(2.0) == (2.0, 4.0, 4.0)
    assert SQUARE.exact


@pytest.mark.parametrize(
    ("f", "slope", "curvature", "x"),
    [
        (lambda x: x**3 - 2 * x, lambda x: 3 * x**2 - 2, lambda x: 6 * x, 1.7),
        (lambda x: jnp.sin(x) / x, lambda x: (x * math.cos(x) - math.sin(x)) / x**2, None, 2.3),
        (jnp.tanh, lambda x: 1 / math.cosh(x) ** 2, lambda x: -2 * math.tanh(x) / math.cosh(x) ** 2, 0.4),
        (lambda x: 3.0, lambda x: 0.0, lambda x: 0.0, 1.0),
        ("x^3 - 2*x", lambda x: 3 * x**2 - 2, lambda x: 6 * x, 1.7),
        (np.tanh, lambda x: 1 / math.cosh(x) ** 2, lambda x: -2 * math.tanh(x) / math.cosh(x) ** 2, 0.5),
        (lambda x: 2 / np.abs(np.float64(3) - x) ** 0.5, lambda x: (3 - x) ** -1.5, lambda x: 1.5 * (3 - x) ** -2.5, 1.0),
    ],
    ids=["operators", "jax.numpy", "a function of JAX", "a constant", "text", "NumPy", "several"],
)  # fmt: skip
def test_what_is_a_formula_or_written_in_jax_has_exact_derivatives(f, slope, curvature, x):
    curve = Differentiable(f)
    assert curve.exact
    np.testing.assert_allclose(curve.slope(x), slope(x), rtol=1e-14)
    np.testing.assert_allclose(curve.curvature(x), curvature(x) if curvature else curve.curvature(x), rtol=1e-13)


@pytest.mark.parametrize(
    ("f", "slope", "curvature", "x"),
    [
        (math.sin, math.cos, lambda x: -math.sin(x), 1.0),
        (math.exp, math.exp, math.exp, 3.0),
        (math.log, lambda x: 1 / x, lambda x: -1 / x**2, 0.05),
        (lambda x: np.sin(x) if x else 0.0, math.cos, lambda x: -math.sin(x), 0.5),
        (lambda x: x**2 if isinstance(x, float) else 0.0, lambda x: 2 * x, lambda x: 2.0, 0.4),
        (lambda x: float(x) ** 2, lambda x: 2 * x, lambda x: 2.0, 1e6),
        (lambda x: math.sin(50 * x), lambda x: 50 * math.cos(50 * x), lambda x: -2500 * math.sin(50 * x), 0.3),
        (lambda x: [np.exp(-x)], lambda x: -math.exp(-x), lambda x: math.exp(-x), 2.0),
    ],
    ids=["sine", "exponential", "logarithm beside its pole", "a branch", "by type", "large x", "fast sine", "in a list"],
)  # fmt: skip
def test_everything_else_is_differentiated_by_differences_and_says_so(f, slope, curvature, x):
    curve = Differentiable(f)
    assert not curve.exact
    np.testing.assert_allclose(curve.slope(x), slope(x), rtol=1e-9)
    np.testing.assert_allclose(curve.curvature(x), curvature(x), rtol=1e-6)


def test_values_are_those_of_the_function_and_nan_where_there_is_none():
    np.testing.assert_allclose(SQUARE.values(np.array([1.0, -3.0])), [1.0, 9.0])
    np.testing.assert_allclose(Differentiable(math.log).values(np.array([-1.0, 1.0])), [np.nan, 0.0])
    np.testing.assert_allclose(Differentiable(lambda x: float(x) ** 0.5).values(np.array([-1.0, 4.0])), [np.nan, 2.0])


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_on_a_parabola_the_steps_follow_their_closed_form(momentum):
    rate, curvature, k = 0.3, 2.0, np.arange(26)
    way = descend_curve(SQUARE, 3.0, rate, 25, momentum)
    # (x, Δx)(t+1) is a matrix times (x, Δx)(t).
    step = np.array([[1 - rate * curvature, momentum], [-rate * curvature, momentum]])
    expected = [np.linalg.matrix_power(step, each)[0, 0] * 3.0 for each in k]
    np.testing.assert_allclose(way.x, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(way.value, way.x**2)
    np.testing.assert_allclose(way.slope, 2 * way.x)


def test_where_it_arrives_the_minimum_is_found_to_rounding():
    way = descend_curve(Differentiable(lambda x: x**4 - 3 * x**2 + x), 2.1, 0.02, 40)
    roots = np.roots([4, 0, -6, 1]).real
    x, value = way.minimum
    np.testing.assert_allclose(x, roots.max(), rtol=1e-12)
    np.testing.assert_allclose(value, x**4 - 3 * x**2 + x, rtol=1e-12)
    assert "the minimum there is" in way.says
    assert not way.diverged


def test_the_minimum_of_a_function_known_by_its_values_is_found():
    x, _ = descend_curve(Differentiable(lambda x: math.cosh(x - 1)), 3.0, 0.3, 30).minimum
    np.testing.assert_allclose(x, 1.0, atol=1e-8)


@pytest.mark.parametrize(
    ("f", "start", "rate", "steps", "words"),
    [
        (lambda x: x**2, 2.0, 0.01, 10, "still on the way"),
        (lambda x: -(x**2), 0.0, 0.1, 10, "slope is 0 there, but it is no minimum"),
        (lambda x: x**3, 1.0, 0.1, 3000, "still on the way"),
        (lambda x: -(x**2), 0.1, 0.1, 10, "ever steeper: no minimum is in sight"),
    ],
    ids=["few steps", "on top", "a saddle", "downhill without end"],
)
def test_what_is_no_minimum_is_not_called_one(f, start, rate, steps, words):
    way = descend_curve(Differentiable(f), start, rate, steps)
    assert way.minimum is None
    assert words in way.says


@pytest.mark.parametrize(
    ("f", "start", "rate", "steps", "momentum", "words"),
    [
        (lambda x: x**2, 1.0, 1.1, 15, 0.0, r"rose from 1 to .* stay stable below 1 at its lowest point. Try 0.5"),
        (lambda x: x**2, 1.0, 2.1, 40, 0.9, r"stay stable below 1.9 at its lowest point"),
        (lambda x: x**2, 1.0, 1e200, 5, 0.0, r"Step 1 leads where f is not finite .* Try 0.5"),
        (lambda x: x**4, 3.0, 1.0, 30, 0.0, r"not finite .* learning rate 1 is too large"),
        (lambda x: x**3, -1.0, 0.1, 300, 0.0, r"falls without end in this direction"),
    ],
    ids=["too large", "too large with momentum", "out of all bounds", "a quartic", "no bottom"],
)  # fmt: skip
def test_a_descent_that_diverges_ends_with_a_sentence_and_finite_numbers(f, start, rate, steps, momentum, words):
    way = descend_curve(Differentiable(f), start, rate, steps, momentum)
    assert way.diverged
    assert way.minimum is None
    assert re.search(words, way.says)
    assert np.isfinite([way.x, way.value, way.slope]).all()


@pytest.mark.parametrize("setting", [{"learning_rate": 0.0}, {"learning_rate": math.nan}, {"momentum": 1.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingsError, match="give a positive rate and a momentum from 0 to below 1"):
        descend_curve(SQUARE, 1.0, **setting)


def test_no_steps_are_refused():
    with pytest.raises(SettingsError, match="give a whole number from 1 up"):
        descend_curve(SQUARE, 1.0, n_steps=0)


@pytest.mark.parametrize("f", [lambda x: "a", lambda x: None, lambda x: [x, x]], ids=["text", "nothing", "two"])
def test_what_gives_no_number_is_refused(f):
    with pytest.raises(SettingsError, match="give a function of one number that returns one"):
        Differentiable(f).at(1.0)


def test_a_formula_in_other_names_is_refused():
    with pytest.raises(SettingsError, match="the formula a\\*x is in a, x: write it in x alone"):
        Differentiable("a*x")


def test_a_point_without_a_slope_is_refused():
    with pytest.raises(SettingsError, match="slope inf at x = 0: choose a point where both are finite"):
        Differentiable(lambda x: abs(x) ** 0.5).at(0.0)
