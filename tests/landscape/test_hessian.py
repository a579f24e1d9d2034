import tracemalloc

import numpy as np
import pytest

from fallline.exceptions import FalllineError, SettingsError, ShapeError, TableError
from fallline.landscape import hessian as second
from fallline.landscape.hessian import (
    Curvature,
    Products,
    extreme_eigenpairs,
    extreme_eigenvectors,
    hessian,
    hessian_product,
    lanczos,
)
from fallline.model.network import Network
from fallline.rows.memory import InMemory


def some_rows(network, random, rows=60, weighted=True):
    x, y = random.normal(size=(rows, network.inputs)), random.normal(size=(rows, network.outputs))
    return InMemory(x, y, random.uniform(0.5, 2, rows) if weighted else None)


def error(network, rows, w):
    """E by NumPy alone."""
    return 0.5 * (rows.sample_weight[:, None] * (network.predict(w, rows.x) - rows.y) ** 2).sum()


def second_differences(f, w, step=1e-4):
    """∂²f/∂w² by central differences of f."""
    e = step * np.eye(len(w))
    return np.array([[f(w + a + b) - f(w + a - b) - f(w - a + b) + f(w - a - b) for a in e] for b in e]) / (4 * step**2)


@pytest.mark.parametrize(
    "network",
    [
        Network((2, 3, 2)),
        Network((2, 3, 2), "relu"),
        Network((2, 3, 2, 1), "tanh", "logistic"),
        Network((2, 1), output_activation="logistic", bias=False),
        Network((2, 3, 1), "silu"),
        Network((2, 3, 1), "elu"),
    ],
    ids=["tanh", "relu", "two hidden layers", "one neuron", "silu", "elu"],
)
def test_the_hessian_agrees_with_second_differences_of_the_error(network, random):
    rows, w = some_rows(network, random), network.initial(1)
    expected = second_differences(lambda v: error(network, rows, v), w)
    np.testing.assert_allclose(hessian(network, rows, w), expected, rtol=1e-5, atol=1e-4)


def test_on_a_linear_network_it_is_the_square_of_the_rows(random):
    network = Network((3, 2))
    rows = some_rows(network, random)
    x = np.column_stack([rows.x, np.ones(len(rows.x))])
    expected = np.kron(x.T @ (rows.sample_weight[:, None] * x), np.eye(2))
    np.testing.assert_allclose(hessian(network, rows, network.initial(0)), expected, rtol=1e-12, atol=1e-12)


def test_a_penalty_adds_its_strength_to_the_diagonal(random):
    network = Network((2, 3, 1))
    rows, w, strength = some_rows(network, random), network.initial(0), random.uniform(size=13)
    with_penalty = hessian(network, rows, w, strength)
    np.testing.assert_allclose(with_penalty - hessian(network, rows, w), np.diag(strength), atol=1e-12)


def test_it_is_symmetric_to_the_last_bit(random):
    network = Network((2, 7, 2))
    square = hessian(network, some_rows(network, random), network.initial(0))
    np.testing.assert_array_equal(square, square.T)


def test_a_row_of_weight_two_is_that_row_twice(random):
    network = Network((2, 3, 1))
    x, y, w = random.normal(size=(3, 2)), random.normal(size=(3, 1)), network.initial(0)
    weighted = hessian(network, InMemory(x, y, np.array([1.0, 2.0, 0.0])), w)
    repeated = hessian(network, InMemory(x[[0, 1, 1]], y[[0, 1, 1]]), w)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-11, atol=1e-13)


def test_it_is_the_sum_of_those_of_the_rows_in_pieces(random):
    network = Network((2, 3, 1))
    rows, w = some_rows(network, random, 70_000), network.initial(0)
    whole = sum(hessian(network, rows.taking(at), w) for at in np.array_split(np.arange(70_000), 7))
    np.testing.assert_allclose(hessian(network, rows, w), whole, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize(
    ("directions", "held"), [(None, 20 * 20), (np.ones((16, 201)), 16 * 20)], ids=["the matrix", "products"]
)
def test_memory_does_not_grow_with_the_rows(directions, held, random):
    network = Network((8, 20, 1))
    rows, w = some_rows(network, random, 60_000), network.initial(0)
    products = Products(network, rows, w)
    tracemalloc.start()
    products(directions)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # So much of one layer over all rows alone.
    assert peak < 0.25 * held * 60_000 * 8


def test_rows_in_float32_have_a_hessian_in_float64(random):
    network = Network((2, 3, 1))
    rows, w = some_rows(network, random), network.initial(0)
    single = InMemory(*(a.astype(np.float32) for a in (rows.x, rows.y, rows.sample_weight)))
    double = InMemory(*(a.astype(np.float64) for a in (single.x, single.y, single.sample_weight)))
    square = hessian(network, single, w)
    assert square.dtype == np.float64
    np.testing.assert_allclose(square, hessian(network, double, w), rtol=1e-12, atol=1e-12)


def test_a_product_is_the_matrix_times_the_direction(random):
    network = Network((2, 3, 2))
    rows, w, strength = some_rows(network, random), network.initial(0), random.uniform(size=17)
    square, v = hessian(network, rows, w, strength), random.normal(size=(21, 17))
    np.testing.assert_allclose(hessian_product(network, rows, w, v, strength), v @ square, rtol=1e-10, atol=1e-10)
    one = hessian_product(network, rows, w, v[0], strength)
    np.testing.assert_allclose(one, square @ v[0], rtol=1e-10, atol=1e-10)


def test_the_curvature_has_error_gradient_and_eigenpairs_of_the_penalised_error(random):
    network = Network((2, 3, 1))
    rows, w, strength = some_rows(network, random), network.initial(0), random.uniform(size=13)
    found = Curvature.at(network, rows, w, strength)

    def penalised(v):
        return error(network, rows, v) + 0.5 * strength @ v**2

    steps = 1e-6 * np.eye(13)
    slope = [(penalised(w + e) - penalised(w - e)) / 2e-6 for e in steps]
    assert found.error == pytest.approx(penalised(w), rel=1e-12)
    assert found.n_rows == pytest.approx(rows.sample_weight.sum())
    np.testing.assert_allclose(found.gradient, slope, rtol=1e-6, atol=1e-6)
    assert (np.diff(found.eigenvalues) <= 0).all()
    vectors = found.eigenvectors
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(13), atol=1e-12)
    rebuilt = vectors.T * found.eigenvalues @ vectors
    np.testing.assert_allclose(rebuilt, hessian(network, rows, w, strength), atol=1e-9)


def spectrum(values, random):
    """A symmetric matrix with these eigenvalues."""
    turn = np.linalg.qr(random.normal(size=(len(values), len(values))))[0]
    return turn * values @ turn.T


@pytest.mark.parametrize("most_vectors", [None, 20], ids=["one basis", "restarted"])
def test_lanczos_finds_both_ends_of_a_network_of_300_weights(most_vectors, random):
    network = Network((8, 30, 1))
    rows, w = some_rows(network, random, 400), network.initial(0)
    values, vectors = np.linalg.eigh(hessian(network, rows, w))
    found = lanczos(Products(network, rows, w).times, 301, most_vectors=most_vectors)
    assert found.converged
    np.testing.assert_allclose(found.values, values[[-1, 0]], rtol=1e-9)
    np.testing.assert_allclose(np.abs((found.vectors * vectors.T[[-1, 0]]).sum(axis=1)), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [np.ones(5), np.array([3.0]), np.zeros(4), np.r_[7.0, np.ones(30), -2.0]],
    ids=["all alike", "one weight", "flat", "three values"],
)
def test_lanczos_ends_where_nothing_new_is_left(values, random):
    square = spectrum(values, random)
    found = lanczos(lambda v: square @ v, len(values))
    assert found.converged
    assert found.products <= max(3, len(values))
    np.testing.assert_allclose(found.values, [values.max(), values.min()], atol=1e-12)


def test_lanczos_says_how_far_it_is_from_an_eigenpair(random):
    square = spectrum(np.linspace(0, 1, 200) ** 3, random)
    found = lanczos(lambda v: square @ v, 200, most_products=12)
    real = np.linalg.norm(found.vectors @ square - found.values[:, None] * found.vectors, axis=1)
    assert not found.converged
    assert found.products == 12
    np.testing.assert_allclose(found.residuals, real, rtol=1e-6)


def test_the_same_seed_finds_the_same_vectors(random):
    square = spectrum(np.geomspace(1e-3, 1, 50), random)
    one, two = (lanczos(lambda v: square @ v, 50, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.vectors, two.vectors)


def test_beyond_the_largest_matrix_the_extremes_come_by_lanczos(random, monkeypatch):
    network = Network((2, 3, 1))
    rows, w, strength = some_rows(network, random), network.initial(0), random.uniform(size=13)
    exact = extreme_eigenpairs(network, rows, w, strength)
    monkeypatch.setattr(second, "LARGEST", 12)
    with pytest.raises(SettingsError, match="use extreme_eigenvectors"):
        hessian(network, rows, w)
    values, vectors = extreme_eigenvectors(network, rows, w, strength)
    np.testing.assert_allclose(values, exact.values, rtol=1e-10)
    np.testing.assert_allclose(vectors, exact.vectors, atol=1e-8)


def test_extremes_that_did_not_converge_are_refused_with_what_is_known(random, monkeypatch):
    network = Network((2, 3, 1))
    unfinished = lanczos(lambda v: v * np.arange(13), 13, most_products=3)
    monkeypatch.setattr(second, "extreme_eigenpairs", lambda *_: unfinished)
    with pytest.raises(FalllineError, match=r"after 3 products .* take other weights, or extreme_eigenpairs"):
        extreme_eigenvectors(network, some_rows(network, random), network.initial(0))


@pytest.mark.parametrize(
    ("weights", "strength", "exception", "message"),
    [
        (np.zeros(4), None, ShapeError, r"pass shape \(3,\)"),
        (np.array([0.0, np.nan, 0.0]), None, TableError, "NaN or infinity"),
        (np.zeros(3), np.zeros(2), ShapeError, r"its weight decay, \(3,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, strength, exception, message):
    rows = InMemory(np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(exception, match=message):
        hessian(Network((2, 1)), rows, weights, strength)


def test_directions_of_another_length_are_refused():
    rows = InMemory(np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(ShapeError, match=r"expected \(3,\) or \(directions, 3\)"):
        hessian_product(Network((2, 1)), rows, np.zeros(3), np.zeros((2, 4)))


def test_an_error_that_overflows_has_no_curvature():
    rows = InMemory(np.full((4, 1), 1e200), np.ones((4, 1)))
    with pytest.raises(FalllineError, match="not finite at these weights"):
        Curvature.at(Network((1, 1)), rows, np.ones(2))
