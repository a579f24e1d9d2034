import math
import pickle
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from fallline.exceptions import SettingsError, ShapeError
from fallline.model.curve import Curve


def decay(x, a, b):
    return a * np.exp(-b * x)


def decay_in_jax(x, a, b):
    return a * jnp.exp(-b * x)


def decay_of_weights(weights, x):
    return weights[0] * np.exp(-weights[1] * x[:, 0])


def decay_by_hand(x, a, b):
    return np.array([a * math.exp(-b * each) for each in x])


X, W = np.array([[0.5], [1.5], [2.5]]), np.array([2.0, 0.7])
WAYS = {
    "text": Curve("a*exp(-b*x)"),
    "numpy": Curve(decay),
    "jax": Curve(decay_in_jax),
    "weights": Curve(decay_of_weights, names=("a", "b")),
    "by hand": Curve(decay_by_hand),
}
SLOPES = np.column_stack([np.exp(-0.7 * X[:, 0]), -2.0 * X[:, 0] * np.exp(-0.7 * X[:, 0])])


DERIVATIVES = {
    "text": "exact", "numpy": "exact", "jax": "exact", "weights": "complex step", "by hand": "numerical"
}  # fmt: skip


@pytest.mark.parametrize("curve", WAYS.values(), ids=WAYS)
def test_every_way_to_write_a_curve_predicts_the_same(curve):
    np.testing.assert_allclose(curve.predict(W, X), 2.0 * np.exp(-0.7 * X), rtol=1e-14)
    assert (curve.n_weights, curve.inputs, curve.outputs, curve.weight_names()) == (2, 1, 1, ("a", "b"))
    assert curve.predict(W, X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", WAYS)
def test_its_slopes_and_how_they_change_are_those_of_the_closed_form(name):
    curve, x, direction = WAYS[name], X[:, 0], np.array([0.3, -1.2])
    digits, of_change = {"numerical": (1e-9, 1e-6), "complex step": (1e-14, 1e-9)}.get(
        DERIVATIVES[name], (1e-14, 1e-13)
    )
    np.testing.assert_allclose(curve.jacobian(W, X)[:, 0], SLOPES, rtol=digits)
    hessian = np.exp(-0.7 * x) * np.array([[0 * x, -x], [-x, 2 * x**2]])
    change = np.einsum("ijn,j->ni", hessian, direction)
    np.testing.assert_allclose(curve.jacobian_along(W, X, direction)[:, 0], change, rtol=of_change)
    assert not curve.jacobian_along(W, X, np.zeros(2)).any()


def test_how_a_function_is_differentiated_is_said_before_and_after():
    before = {name: Curve(curve.function, curve.names).derivatives for name, curve in WAYS.items()}
    for curve in WAYS.values():
        curve.jacobian(W, X)
    assert before == {name: curve.derivatives for name, curve in WAYS.items()} == DERIVATIVES


def clipped(x, a):
    return (a * x).clip(0, 2)


FUNCTIONS = pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        (lambda x, a: a * scipy.special.erf(a * x), "complex step"),
        (lambda x, a: np.where(x > 1, a * x, 0.0), "complex step"),
        (lambda x, a: a * np.sqrt(np.abs(x)) ** 2 - np.maximum(a * x, 1.0), "complex step"),
        (clipped, "complex step"),
        (lambda x, a: np.sin(1e5 * a * x), "exact"),
        (lambda x, a: np.where(x > 0, np.sin(1e5 * a * x), 0), "complex step"),
        (lambda x, a: np.arctan(-a * x**2) / 3 + np.float64(2) * np.abs(a), "exact"),
        (lambda x, a: a * x if isinstance(a, float) else x, "numerical"),
        (lambda x, a: jnp.where(x > 1, a * x, 0.0).at[0].add(a), "exact"),
        (lambda x, a: jnp.array([float(each) for each in np.asarray(a) * x]), "numerical"),
        (lambda x, a: a * x if a > 0 else x, "numerical"),
        (lambda x, a: float(a) * x, "numerical"),
        (lambda x, a: scipy.special.expit(a * x), "numerical"),
        (lambda x, a: np.hypot(a, x), "numerical"),
        (lambda x, a: np.where(x < 1, a * x, np.abs(a - x)), "numerical"),
        (lambda x, a: np.real(a * x), "numerical"),
        (lambda x, a: np.float32(a) * x if np.isreal(a) else x, "numerical"),
    ],
    ids=["erf", "where", "several", "method", "fast", "fast where", "formula", "by type", "jax alone", "jax, not traced", "if",
         "float", "no complex", "real", "abs of some rows", "real part", "single"],
)  # fmt: skip


@FUNCTIONS
def test_what_a_function_says_and_its_slopes_are_found_whatever_the_way(function, derivatives):
    curve = Curve(function)
    w = np.array([0.6])
    np.testing.assert_allclose(curve.predict(w, X)[:, 0], curve.evaluate(w, X)[:, 0], rtol=1e-14)
    slopes = curve.jacobian(w, X)[:, 0, 0]
    assert curve.derivatives == derivatives
    h = 1e-5 if derivatives == "numerical" else 1e-9
    about = (curve.predict(w + h, X) - curve.predict(w - h, X))[:, 0] / (2 * h)
    np.testing.assert_allclose(slopes, about, rtol=1e-2, atol=1e-3)


def test_an_amplitude_of_zero_hides_what_the_complex_step_does_not_see():
    x = np.linspace(0, 3, 20)[:, None]
    curve = Curve(lambda x, a, b: a * np.hypot(np.sin(np.real(b) * x), 0))
    curve.jacobian(np.array([0.0, 1.0]), x)
    assert curve.derivatives == "complex step"
    assert curve.slopes_agree(np.array([0.0, 1.0]), x)
    assert not curve.slopes_agree(np.array([1.0, 1.0]), x)
    numerical = curve.by_differences()
    assert (numerical, numerical.derivatives) == (curve, "numerical")
    assert np.abs(numerical.jacobian(np.array([1.0, 1.0]), x)[:, 0, 1]).max() > 0.5


def test_where_a_function_gives_no_number_nothing_is_decided():
    curve = Curve(lambda x, a: np.maximum(a * np.exp(a * x), -1))
    assert not np.isfinite(curve.jacobian(np.array([1e5]), X)).any()
    curve.jacobian(np.array([0.1]), X)
    assert curve.derivatives == "complex step"


def test_trying_a_function_warns_of_nothing_and_leaves_the_filters_of_warnings(recwarn):
    before = list(warnings.filters)
    curve = Curve(lambda weights, x: np.array([math.exp(weights[0] * each) for each in x[:, 0]]), ("a",))
    assert curve.derivatives == "numerical"
    np.testing.assert_allclose(curve.jacobian(np.array([0.3]), X)[:, 0, 0], X[:, 0] * np.exp(0.3 * X[:, 0]), rtol=1e-9)
    assert not recwarn.list
    assert warnings.filters == before


@pytest.mark.parametrize("curve", WAYS.values(), ids=WAYS)
def test_a_curve_is_pickled_after_it_was_differentiated(curve):
    curve.jacobian(W, X)
    again = pickle.loads(pickle.dumps(curve))
    assert again == curve
    np.testing.assert_array_equal(again.jacobian(W, X), curve.jacobian(W, X))


def test_several_columns_lie_across_for_a_function_as_for_curve_fit():
    x = np.arange(6.0).reshape(3, 2)
    curve = Curve(lambda x, a: a * x[0] + x[1], columns=("u", "v"))
    np.testing.assert_array_equal(curve.predict(np.array([2.0]), x)[:, 0], 2 * x[:, 0] + x[:, 1])


def test_columns_of_a_formula_are_inputs_and_other_names_parameters():
    curve = Curve("k*`max speed` + load^n", columns=("load", "max speed", "unused"))
    assert curve.names == ("k", "n")
    x = np.array([[2.0, 5.0, 9.0]])
    assert curve.predict(np.array([3.0, 4.0]), x).item() == 31.0


def test_given_parameters_are_read_from_further_columns():
    for curve in WAYS.values():
        held = curve.with_given(("b",))
        assert (held.free, held.n_weights, held.inputs) == (("a",), 1, 2)
        x = np.column_stack([X, np.full(3, 0.7)])
        np.testing.assert_allclose(held.predict(np.array([2.0]), x), 2.0 * np.exp(-0.7 * X), rtol=1e-14)
        np.testing.assert_allclose(held.jacobian(np.array([2.0]), x)[:, 0], SLOPES[:, :1], rtol=1e-9)


def test_a_constant_is_repeated_for_every_row():
    np.testing.assert_array_equal(Curve("a").predict(np.array([3.0]), X), np.full((3, 1), 3.0))
    assert Curve("a*x").predict(np.array([3.0]), X[:0]).shape == (0, 1)


def test_the_same_curve_is_equal_and_hashes_alike():
    same = {Curve("a*x"), Curve("a * x"), Curve("(a)*x")}
    assert len(same) == 1
    assert Curve(decay) == Curve(decay)
    assert Curve("a*x") != Curve("a*x", columns=("a",))


def test_a_function_that_gives_up_is_no_number_there():
    curve = Curve(lambda x, a: np.array([math.log(a) + each for each in x]))
    assert np.isnan(curve.predict(np.array([-1.0]), X)).all()
    assert np.isnan(curve.jacobian(np.array([-1.0]), X)).all()
    with pytest.raises(ValueError, match=r"math domain error|positive input"):
        curve.evaluate(np.array([-1.0]), X)


def test_without_a_start_all_parameters_are_one_and_none_is_penalised():
    curve = Curve("a*x + b")
    np.testing.assert_array_equal(curve.initial(), [1.0, 1.0])
    assert (curve.initial(0) != curve.initial(1)).all()
    assert not curve.penalised().any()
    assert not curve.regularised().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve("x"), "has no parameters: every name in it is a column"),
        (lambda: Curve(3), "3 is no curve: give text such as"),
        (lambda: Curve("a*x", names=("a", "b")), "names=a, b do not fit the formula, whose parameters are a"),
        (lambda: Curve(lambda x, *p: x), "does not name the parameters: give the parameters' names"),
        (lambda: Curve(lambda weights, x: x), "does not name the parameters"),
        (lambda: Curve(decay, names=("a", "a")), "each parameter needs a name of its own"),
        (lambda: Curve("rate*x", given=("rat",)), "'rat' is no parameter of the curve.*did you mean 'rate'"),
        (lambda: Curve("a*x", given=("a",)), "leave at least one free"),
    ],
)
def test_what_makes_no_curve_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.mark.parametrize(
    ("weights", "x", "message"),
    [
        (W, np.ones((3, 2)), r"\(n, 1\): x\. For a single input"),
        (W, np.ones(3), r"x has shape \(3,\)"),
        (np.ones(3), X, "the curve has 2: a, b"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(weights, x, message):
    with pytest.raises(ShapeError, match=message):
        Curve("a*exp(-b*x)").predict(weights, x)


def test_a_function_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"gave shape \(2, 3\) for 3 rows"):
        Curve(lambda x, a: a * np.ones((2, 3))).predict(np.array([1.0]), X)
