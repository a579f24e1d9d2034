import math

import jax
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


@pytest.mark.parametrize("curve", WAYS.values(), ids=WAYS)
def test_every_way_to_write_a_curve_predicts_the_same(curve, x64):
    expected = 2.0 * np.exp(-0.7 * X)
    np.testing.assert_allclose(curve.predict(W, X), expected, rtol=1e-14)
    compiled = jax.jit(lambda w, x: curve.predict(w, x, jnp))
    np.testing.assert_allclose(compiled(jnp.asarray(W), jnp.asarray(X)), expected, rtol=1e-14)
    assert (curve.n_weights, curve.inputs, curve.outputs, curve.weight_names()) == (2, 1, 1, ("a", "b"))


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("curve", WAYS.values(), ids=WAYS)
def test_its_slopes_are_those_of_the_closed_form_forwards_and_backwards(curve, mode, x64):
    slopes = mode(lambda w: curve.predict(w, jnp.asarray(X), jnp)[:, 0])(jnp.asarray(W))
    np.testing.assert_allclose(slopes, SLOPES, rtol=1e-9)


def test_only_a_function_that_cannot_be_traced_is_differentiated_numerically():
    said = {name: curve.derivatives for name, curve in WAYS.items()}
    assert said == dict.fromkeys(WAYS, "exact") | {"by hand": "numerical"}


@pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        (lambda x, a: a * scipy.special.erf(x), "exact"),
        (lambda x, a: np.where(x > 1, a * x, 0.0), "exact"),
        (lambda x, a: a * np.sqrt(np.abs(x)) ** 2 - np.maximum(x, 1.0), "exact"),
        (lambda x, a: (a * x).clip(0, 2), "exact"),
        (lambda x, a: a * x if a > 0 else x, "numerical"),
        (lambda x, a: float(a) * x, "numerical"),
        (lambda x, a: a * np.asarray(x), "numerical"),
    ],
    ids=["erf", "where", "several", "method", "if", "float", "asarray"],
)
def test_what_is_written_for_numpy_keeps_its_values_whatever_the_way(function, derivatives, x64):
    curve = Curve(function)
    assert curve.derivatives == derivatives
    traced = jax.jit(lambda w, x: curve.predict(w, x, jnp))(jnp.array([0.6]), jnp.asarray(X))
    np.testing.assert_allclose(traced[:, 0], function(X[:, 0], 0.6), rtol=1e-14)


def test_several_columns_lie_across_for_a_function_as_for_curve_fit():
    x = np.arange(6.0).reshape(3, 2)
    curve = Curve(lambda x, a: a * x[0] + x[1], columns=("u", "v"))
    np.testing.assert_array_equal(curve.predict(np.array([2.0]), x)[:, 0], 2 * x[:, 0] + x[:, 1])


def test_columns_of_a_formula_are_inputs_and_other_names_parameters():
    curve = Curve("k*`max speed` + load^n", columns=("load", "max speed", "unused"))
    assert curve.names == ("k", "n")
    x = np.array([[2.0, 5.0, 9.0]])
    assert curve.predict(np.array([3.0, 4.0]), x).item() == 31.0


def test_given_parameters_are_read_from_further_columns(x64):
    for curve in WAYS.values():
        held = curve.with_given(("b",))
        assert (held.free, held.n_weights, held.inputs) == (("a",), 1, 2)
        x = np.column_stack([X, np.full(3, 0.7)])
        np.testing.assert_allclose(held.predict(np.array([2.0]), x), 2.0 * np.exp(-0.7 * X), rtol=1e-14)


def test_a_constant_is_repeated_for_every_row():
    np.testing.assert_array_equal(Curve("a").predict(np.array([3.0]), X), np.full((3, 1), 3.0))
    assert Curve("a*x").predict(np.array([3.0]), X[:0]).shape == (0, 1)


def test_the_same_curve_is_equal_and_hashes_alike_so_that_it_compiles_once():
    traced = []

    def predicted(curve, w, x):
        traced.append(curve)
        return curve.predict(w, x, jnp)

    compiled = jax.jit(predicted, static_argnums=0)
    for curve in (Curve("a*x"), Curve("a * x"), Curve("(a)*x")):
        assert float(compiled(curve, jnp.ones(1), jnp.ones((1, 1)))[0, 0]) == 1.0
    assert len(traced) == 1
    assert Curve(decay) == Curve(decay)
    assert Curve("a*x") != Curve("a*x", columns=("a",))


def test_a_function_that_gives_up_is_no_number_there():
    curve = Curve(lambda x, a: np.array([math.log(a) + each for each in x]))
    assert np.isnan(curve._on_host(np.array([-1.0]), X)).all()
    with pytest.raises(ValueError, match=r"math domain error|positive input"):
        curve.predict(np.array([-1.0]), X)


def test_without_a_start_all_parameters_are_one_and_none_is_penalised():
    curve = Curve("a*x + b")
    np.testing.assert_array_equal(curve.initial(), [1.0, 1.0])
    assert (curve.initial(0) != curve.initial(1)).all()
    assert not curve.penalised().any()
    assert (curve.groups() == -1).all()


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
