from dataclasses import dataclass

import numpy as np
import pytest

from fallline.error.sums import KINDS, Block, Request, finished, jacobian, merged, residuals, sums_of_block
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.activations import ACTIVATIONS
from fallline.model.network import Network

ACTIVATION = pytest.mark.parametrize("activation", ACTIVATIONS)
BIAS = pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
PLACE = pytest.mark.parametrize("place", ["activation", "output_activation"], ids=["hidden", "outputs"])
KIND = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plane"])


@dataclass(frozen=True)
class Decay:
    """ŷ = a exp(−b x) + a b², a model that gives its own derivatives: (a, b) in one row of J each."""

    inputs: int = 1
    outputs: int = 1
    n_weights: int = 2

    def predict(self, weights, x):
        a, b = weights
        return a * np.exp(-b * x) + a * b * b

    def jacobian(self, weights, x):
        a, b = weights
        falls = np.exp(-b * x)
        return np.stack([falls + b * b, -a * x * falls + 2 * a * b], axis=-1)

    def jacobian_along(self, weights, x, direction):
        (a, b), (da, db) = weights, direction
        falls = np.exp(-b * x)
        mixed = -x * falls + 2 * b
        return np.stack([mixed * db, mixed * da + a * (x * x * falls + 2) * db], axis=-1)


MODELS = {
    "one neuron": Network((2, 1), output_activation="logistic", bias=False),
    "one hidden layer": Network((2, 3, 2), "silu"),
    "two hidden layers": Network((2, 4, 3, 2), "tanh", "logistic"),
    "linear units": Network((2, 4, 3, 2), "tanh", "logistic", linear_units=2),
    "a curve": Decay(),
}
MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def some(model, random, rows=9, dtype=np.float64):
    x, y = random.normal(size=(rows, model.inputs)), random.normal(size=(rows, model.outputs))
    parts = (x, y, random.uniform(0.5, 2, rows))
    return random.normal(size=model.n_weights), Block(*(part.astype(dtype) for part in parts))


def sums(model, kind, w, block, direction=None):
    if direction is None and kind in ("curvature", "bend"):
        direction = np.linspace(-1, 1, model.n_weights)
    return finished(model, sums_of_block(model, Request(kind, w, direction), block))


def error(model, w, block):
    """E by NumPy alone."""
    return 0.5 * (block.s[:, None] * (model.predict(w, block.x) - block.y) ** 2).sum()


def differences(f, w, step=1e-6):
    """Central differences of f at w, one column per weight."""
    return np.stack([(f(w + e) - f(w - e)) / (2 * step) for e in step * np.eye(len(w))], axis=-1)


def assert_same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, **tolerance)


def test_the_error_is_half_the_sum_of_squares_over_rows_and_outputs():
    network = Network((1, 2), bias=False)
    block = Block(np.array([[1.0], [2.0]]), np.array([[1.0, 0.0], [0.0, 3.0]]))
    # Predictions (1, −1) and (2, −2); residuals 0, −1, 2, −5.
    assert sums(network, "error", np.array([1.0, -1.0]), block).error == 0.5 * (0 + 1 + 4 + 25)


def test_one_logistic_neuron_follows_backpropagation_by_hand(random):
    network = MODELS["one neuron"]
    w, block = some(network, random)
    predicted = 1 / (1 + np.exp(-block.x @ w))
    delta = block.s * (predicted - block.y[:, 0]) * predicted * (1 - predicted)
    np.testing.assert_allclose(sums(network, "gradient", w, block).gradient, delta @ block.x, rtol=1e-12)


def test_one_hidden_layer_follows_backpropagation_by_hand(random):
    network = Network((3, 4, 2))
    w, block = some(network, random)
    (w1, b1), (w2, b2) = network.layers(w)
    hidden = np.tanh(block.x @ w1 + b1)
    above = block.s[:, None] * (hidden @ w2 + b2 - block.y)
    below = (above @ w2.T) * (1 - hidden**2)
    expected = np.concatenate([(block.x.T @ below).ravel(), below.sum(0), (hidden.T @ above).ravel(), above.sum(0)])
    np.testing.assert_allclose(sums(network, "gradient", w, block).gradient, expected, rtol=1e-11)


@ACTIVATION
@PLACE
@BIAS
def test_the_gradient_agrees_with_finite_differences(activation, place, bias, random):
    network = Network((2, 3, 4, 2), bias=bias, **{place: activation})
    w, block = some(network, random)
    expected = differences(lambda v: error(network, v, block), w)
    np.testing.assert_allclose(sums(network, "gradient", w, block).gradient, expected, rtol=1e-6, atol=1e-7)


@ACTIVATION
@PLACE
@BIAS
def test_the_hessian_and_its_products_agree_with_finite_differences(activation, place, bias, random):
    network = Network((2, 3, 4, 2), bias=bias, **{place: activation})
    w, block = some(network, random)
    directions = random.normal(size=(5, network.n_weights))
    slope, whole, along = (
        sums(network, kind, w, block, directions if each else None)
        for kind, each in (("gradient", 0), ("hessian", 0), ("hessian", 1))
    )
    expected = differences(lambda v: sums(network, "gradient", v, block).gradient, w)
    np.testing.assert_allclose(whole.product, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(along.product, directions @ whole.product, rtol=1e-9, atol=1e-10)
    assert_same(along[:3], slope[:3], rtol=1e-14)
    assert_same(whole[:3], slope[:3], rtol=1e-14)


@MODEL
def test_the_triple_agrees_with_finite_differences_of_the_predictions(model, random):
    w, block = some(model, random)
    slopes = differences(lambda v: model.predict(v, block.x), w)  # (rows, outputs, weights)
    r = model.predict(w, block.x) - block.y
    found = sums(model, "gauss_newton", w, block)
    np.testing.assert_allclose(jacobian(model, w, block.x), slopes, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(residuals(model, w, block), r, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.error, error(model, w, block), rtol=1e-12)
    np.testing.assert_allclose(found.gradient, np.einsum("b,bk,bkp->p", block.s, r, slopes), rtol=1e-6, atol=1e-8)
    square = np.einsum("b,bkp,bkq->pq", block.s, slopes, slopes)
    np.testing.assert_allclose(found.gauss_newton, square, rtol=1e-6, atol=1e-7)


@MODEL
def test_a_hessian_is_that_of_the_error_by_finite_differences(model, random):
    w, block = some(model, random)
    expected = differences(lambda v: sums(model, "gradient", v, block).gradient, w)
    np.testing.assert_allclose(sums(model, "hessian", w, block).product, expected, rtol=1e-6, atol=1e-7)


@MODEL
def test_a_curvature_product_is_the_matrix_times_the_direction(model, random):
    w, block = some(model, random)
    v = random.normal(size=model.n_weights)
    square = sums(model, "gauss_newton", w, block).gauss_newton
    np.testing.assert_allclose(sums(model, "curvature", w, block, v).product, square @ v, rtol=1e-11, atol=1e-12)


@MODEL
def test_the_bend_is_the_second_difference_of_the_predictions(model, random):
    w, block = some(model, random)
    v, h = random.normal(size=model.n_weights), 0.1
    ahead, here, slope = (model.predict(w + h * v, block.x), model.predict(w, block.x), jacobian(model, w, block.x))
    bent = 2 / h * ((ahead - here) / h - slope @ v)
    expected = np.einsum("b,bk,bkp->p", block.s, bent, slope)
    np.testing.assert_allclose(sums(model, "bend", w, block, v).product, expected, rtol=1e-8, atol=1e-9)


@KIND
@MODEL
def test_a_row_of_weight_two_is_that_row_twice(model, kind, random):
    w, block = some(model, random, rows=3)
    weighted = Block(block.x, block.y, np.array([1.0, 2.0, 0.0]))
    repeated = Block(block.x[[0, 1, 1]], block.y[[0, 1, 1]])
    one, other = (sums(model, kind, w, b) for b in (weighted, repeated))
    assert one.rows == 3.0
    # A triangle is that of its rows but for signs.
    one, other = (each._replace(triangle=None) for each in (one, other))
    assert_same(one, other, rtol=1e-11, atol=1e-12)


@KIND
@MODEL
def test_rows_that_count_once_need_no_weights(model, kind, random):
    w, block = some(model, random)
    ones, none = (sums(model, kind, w, Block(block.x, block.y, s)) for s in (np.ones(9), None))
    assert_same(ones, none, rtol=1e-13, atol=1e-14)


@KIND
@MODEL
def test_float32_rows_have_sums_in_float64(model, kind, random):
    w, single = some(model, random, dtype=np.float32)
    double = Block(*(part.astype(np.float64) for part in (single.x, single.y, single.s)))
    one, other = (sums(model, kind, w, block)._replace(triangle=None) for block in (double, single))
    assert {np.asarray(part).dtype for part in other if part is not None} == {np.dtype("float64")}
    assert_same(one, other, rtol=1e-3, atol=1e-4)


def test_targets_of_another_shape_are_refused_instead_of_broadcast(random):
    network = Network((2, 1))
    w, block = some(network, random)
    with pytest.raises(ShapeError, match=r"pass y\[:, None\]"):
        sums(network, "error", w, Block(block.x, block.y[:, 0], block.s))


def test_an_unknown_kind_of_pass_names_the_known_ones(random):
    network = Network((2, 1))
    w, block = some(network, random)
    with pytest.raises(SettingsError, match="'jtj' is not known: choose one of error, gradient, gauss_newton"):
        sums(network, "jtj", w, block)


def test_what_overflows_is_infinite_without_a_warning(random):
    network = Network((2, 3, 1), "identity")
    w, block = some(network, random)
    assert not np.isfinite(sums(network, "gradient", 1e200 * w, block).error)
    assert np.isnan(sums(network, "triangle", 1e200 * w, block).triangle).all()


@MODEL
def test_the_triangle_holds_error_gradient_and_square(model, random):
    w, block = some(model, random, rows=40)
    found, triple = (sums(model, kind, w, block) for kind in ("triangle", "gauss_newton"))
    part = found.triangle[:, :-1]
    np.testing.assert_allclose(part.T @ part, triple.gauss_newton, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.gradient, triple.gradient, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.error, triple.error, rtol=1e-12)
    np.testing.assert_array_equal(found.triangle, np.triu(found.triangle))


@KIND
@MODEL
def test_merged_sums_are_those_of_the_rows_of_both(model, kind, random):
    w, block = some(model, random, rows=5)  # fewer than the weights
    v = np.linspace(-1, 1, model.n_weights)
    parts = (Block(block.x[at], block.y[at], block.s[at]) for at in (slice(0, 2), slice(2, 5)))
    one, other = (sums_of_block(model, Request(kind, w, None if kind == "hessian" else v), part) for part in parts)
    both, whole = finished(model, merged(one, other)), sums(model, kind, w, block)
    squares = [None if each.triangle is None else each.triangle.T @ each.triangle for each in (both, whole)]
    assert_same([*both[:5], squares[0]], [*whole[:5], squares[1]], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [*MODELS.values(), Network((3, 4, 5, 2), "relu"), Network((3, 4, 2), "gaussian", bias=False), Network((2, 3))],
    ids=[*MODELS, "rectified", "no biases", "no hidden layer"],
)
@pytest.mark.parametrize("weighted", [True, False])
def test_errors_on_a_plane_are_those_at_its_points(model, weighted, random):
    _, block = some(model, random)
    corners, points = random.normal(size=(3, model.n_weights)), random.normal(size=(7, 2))
    block = block if weighted else Block(block.x, block.y)
    found = sums(model, "plane", corners, block, points)
    expected = [sums(model, "error", corners[0] + a * corners[1] + b * corners[2], block).error for a, b in points]
    np.testing.assert_allclose(found.error, expected, rtol=1e-11)
    assert found.error.dtype == np.float64


def test_a_point_of_a_plane_that_overflows_says_so_without_a_warning(random):
    network = Network((2, 3, 1), "identity")
    corners, (_, block) = random.normal(size=(3, 13)), some(network, random)
    found = sums(network, "plane", corners, block, np.array([[0.0, 0.0], [1e200, 1.0]]))
    np.testing.assert_array_equal(np.isfinite(found.error), [True, False])


def test_sums_over_many_float32_rows_lose_no_digits(random):
    network = Network((8, 1), output_activation="tanh")
    w, single = some(network, random, rows=1 << 14, dtype=np.float32)
    double = Block(*(part.astype(np.float64) for part in (single.x, single.y, single.s)))
    w = w.astype(np.float32).astype(np.float64)
    one, other = (sums(network, "gradient", w, block) for block in (double, single))
    np.testing.assert_allclose(other.error, one.error, rtol=1e-7)
    np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-6 * np.abs(one.gradient).max())
