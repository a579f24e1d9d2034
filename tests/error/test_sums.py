import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fallline.error.sums import (
    Block,
    Request,
    curvature_product,
    gauss_newton,
    jacobian,
    merged,
    squared_error,
    sums_of_block,
)
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.curve import Curve
from fallline.model.network import ACTIVATIONS, Network

pytestmark = pytest.mark.usefixtures("x64")
ALL = ("error", "gradient", "gauss_newton", "curvature")


def some(network, random, rows=9):
    x, y = random.normal(size=(rows, network.inputs)), random.normal(size=(rows, network.outputs))
    return jnp.asarray(random.normal(size=network.n_weights)), Block(
        *map(jnp.asarray, (x, y, random.uniform(0.5, 2, rows)))
    )


def differences(f, w, step=1e-6):
    """Central differences of f at w, one column per weight."""
    return np.stack(
        [(np.asarray(f(w + e)) - np.asarray(f(w - e))) / (2 * step) for e in step * np.eye(len(w))], axis=-1
    )


def test_the_error_is_half_the_sum_of_squares_over_rows_and_outputs():
    network = Network((1, 2), bias=False)
    block = Block(jnp.array([[1.0], [2.0]]), jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.ones(2))
    # Predictions (1, −1) and (2, −2); residuals 0, −1, 2, −5.
    assert float(squared_error(network, jnp.array([1.0, -1.0]), block)) == 0.5 * (0 + 1 + 4 + 25)


def test_one_logistic_neuron_follows_backpropagation_by_hand(random):
    network = Network((2, 1), output_activation="logistic", bias=False)
    w, block = some(network, random)
    x, y, s = map(np.asarray, block)
    predicted = 1 / (1 + np.exp(-x @ np.asarray(w)))
    delta = s * (predicted - y[:, 0]) * predicted * (1 - predicted)
    sums = sums_of_block(network, ALL, "gradient", Request(0, w, w), block)
    np.testing.assert_allclose(sums.gradient, delta @ x, rtol=1e-12)


def test_one_hidden_layer_follows_backpropagation_by_hand(random):
    network = Network((3, 4, 2))
    w, block = some(network, random)
    x, y, s = map(np.asarray, block)
    (w1, b1), (w2, b2) = network.layers(np.asarray(w))
    hidden = np.tanh(x @ w1 + b1)
    above = s[:, None] * (hidden @ w2 + b2 - y)
    below = (above @ w2.T) * (1 - hidden**2)
    expected = np.concatenate([(x.T @ below).ravel(), below.sum(0), (hidden.T @ above).ravel(), above.sum(0)])
    sums = sums_of_block(network, ALL, "gradient", Request(0, w, w), block)
    np.testing.assert_allclose(sums.gradient, expected, rtol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_the_gradient_agrees_with_finite_differences(activation, bias, random):
    network = Network((2, 3, 2), activation, "logistic", bias=bias)
    w, block = some(network, random)
    sums = sums_of_block(network, ALL, "gradient", Request(0, w, w), block)
    expected = differences(jax.jit(lambda v: squared_error(network, v, block)), w)
    np.testing.assert_allclose(sums.gradient, expected, rtol=1e-6, atol=1e-8)


def test_the_triple_agrees_with_finite_differences_of_the_predictions(random):
    network = Network((2, 3, 2), "silu")
    w, block = some(network, random)
    x, y, s = map(np.asarray, block)
    slopes = differences(
        lambda v: network.predict(np.asarray(v), x), np.asarray(w)
    )  # (rows, outputs, weights)
    r = network.predict(np.asarray(w), x) - y
    error, gradient, square = gauss_newton(network, w, block)
    np.testing.assert_allclose(jacobian(network, w, block.x), slopes, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(error, 0.5 * (s[:, None] * r**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(gradient, np.einsum("b,bk,bkp->p", s, r, slopes), rtol=1e-6)
    np.testing.assert_allclose(square, np.einsum("b,bkp,bkq->pq", s, slopes, slopes), rtol=1e-6, atol=1e-7)


def test_a_curvature_product_is_the_matrix_times_the_direction(random):
    network = Network((2, 3, 2))
    w, block = some(network, random)
    v = jnp.asarray(random.normal(size=network.n_weights))
    np.testing.assert_allclose(
        curvature_product(network, w, block, v), gauss_newton(network, w, block)[2] @ v, rtol=1e-11
    )


@pytest.mark.parametrize("kind", ALL)
def test_a_row_of_weight_two_is_that_row_twice(kind, random):
    network = Network((2, 3, 1))
    w, block = some(network, random, rows=3)
    weighted = block._replace(s=jnp.array([1.0, 2.0, 0.0]))
    repeated = Block(block.x[jnp.array([0, 1, 1])], block.y[jnp.array([0, 1, 1])], jnp.ones(3))
    one, other = (sums_of_block(network, ALL, kind, Request(0, w, w), b) for b in (weighted, repeated))
    assert float(one.rows) == 3.0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), one, other)


def test_float32_rows_are_summed_in_float64(random):
    network = Network((2, 3, 1))
    w, block = some(network, random)
    single = Block(*(part.astype(jnp.float32) for part in block))
    for kind in ALL:
        one, other = (sums_of_block(network, ALL, kind, Request(0, w, w), b) for b in (block, single))
        assert {leaf.dtype for leaf in jax.tree.leaves(other)} == {np.dtype("float64")}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5), one, other)


def test_targets_of_another_shape_are_refused_instead_of_broadcast(random):
    network = Network((2, 1))
    w, block = some(network, random)
    with pytest.raises(ShapeError, match=r"pass y\[:, None\]"):
        squared_error(network, w, block._replace(y=block.y[:, 0]))


def test_an_unknown_kind_of_pass_names_the_known_ones(random):
    network = Network((2, 1))
    w, block = some(network, random)
    with pytest.raises(SettingsError, match="error, gradient, gauss_newton, curvature"):
        sums_of_block(network, ALL, "hessian", Request(0, w, w), block)


def test_the_triangle_holds_error_gradient_and_square(random):
    network = Network((2, 3, 2))
    w, block = some(network, random, rows=12)
    sums = sums_of_block(network, ("triangle",), "triangle", Request(0, w, w), block)
    error, gradient, square = gauss_newton(network, w, block)
    part = sums.triangle[:, :-1]
    np.testing.assert_allclose(part.T @ part, square, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(sums.gradient, gradient, rtol=1e-11)
    np.testing.assert_allclose(sums.error, error, rtol=1e-12)
    np.testing.assert_array_equal(sums.triangle, jnp.triu(sums.triangle))


def test_merged_triangles_hold_the_rows_of_both(random):
    network = Network((2, 3, 1))
    w, block = some(network, random, rows=5)  # fewer than the weights
    one, other = (
        sums_of_block(
            network, ("triangle",), "triangle", Request(0, w, w), jax.tree.map(lambda a, p=part: a[p], block)
        )
        for part in (slice(0, 2), slice(2, 5))
    )
    both = merged(one, other)
    part = both.triangle[:, :-1]
    np.testing.assert_allclose(part.T @ part, gauss_newton(network, w, block)[2], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(both.error, squared_error(network, w, block), rtol=1e-12)


def test_the_bend_of_a_parabola_is_twice_its_second_coefficient(random):
    curve = Curve("a*x + b^2")  # ŷ(w + tv) = … + t² v_b², whose second derivative in t is 2 v_b²
    block = Block(
        jnp.asarray(random.normal(size=(6, 1))), jnp.zeros((6, 1)), jnp.asarray(random.uniform(size=6))
    )
    w, v = jnp.array([0.3, 0.7]), jnp.array([2.0, 3.0])
    sums = sums_of_block(curve, ("triangle", "bend"), "bend", Request(1, w, v), block)
    expected = jacobian(curve, w, block.x)[:, 0].T @ (block.s * 18.0)
    np.testing.assert_allclose(sums.curvature, expected, rtol=1e-11)
    np.testing.assert_array_equal(sums.triangle, np.zeros((3, 3)))


@pytest.mark.parametrize(
    "curve",
    [
        Curve("a*exp(-b*x)"),
        Curve(lambda x, a, b: a * np.exp(-b * x)),
        Curve(lambda x, a, b: np.asarray(x) * a + b),
    ],
    ids=["text", "translated", "numerical"],
)
def test_the_jacobian_of_a_curve_agrees_with_finite_differences(curve, random):
    w, x = jnp.array([1.3, 0.4]), random.normal(size=(7, 1))
    slopes = differences(lambda v: curve.predict(np.asarray(v), x), np.asarray(w))
    np.testing.assert_allclose(jacobian(curve, w, jnp.asarray(x)), slopes, rtol=1e-6, atol=1e-8)
