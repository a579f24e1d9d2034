from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fallline.error.dense import Dense
from fallline.error.pairs import by_pairs, hessian_products_of, input_pairs, pairs, products_of, put_together, widest
from fallline.model.network import Network

NETWORKS = {
    "no hidden layer": Network((3, 2)),
    "one hidden layer": Network((3, 4, 1)),
    "several outputs": Network((4, 5, 3)),
    "curved outputs": Network((2, 5, 2), output_activation="logistic"),
    "without biases": Network((4, 3, 2), bias=False),
    "two hidden layers": Network((3, 4, 5, 2), "softplus"),
    "three hidden layers": Network((2, 3, 1, 2, 1), "sine"),
    "one of everything": Network((1, 1, 1)),
    "linear units": Network((3, 4, 2), linear_units=1),
    "rectifiers": Network((3, 6, 2), "relu"),
    "many inputs": Network((90, 2, 2)),
    "many units": Network((1, 60, 1), "gaussian"),
}
NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
COUNTED = pytest.mark.parametrize("counted", [True, False], ids=["row weights", "none"])


def some(network, random, counted=True):
    """A sweep over 40 rows, how often each counts, and ∂E/∂ŷ at them."""
    x, w = random.normal(size=(40, network.inputs)), random.normal(size=network.n_weights)
    s = random.uniform(0.5, 2, size=40) if counted else None
    u = random.normal(size=(network.outputs, 40))
    return Dense(network, w, x), s, u if s is None else u * s


def square(sweep, s):
    """JᵀsJ of the Jacobian."""
    j = sweep.jacobian()
    return np.einsum("n,njp,njq->pq", np.ones(len(j)) if s is None else s, j, j)


@NETWORK
@COUNTED
def test_the_products_make_the_square_of_the_jacobian(network, counted, random):
    sweep, s, _ = some(network, random, counted)
    found = put_together(network, products_of(sweep, s))
    np.testing.assert_allclose(found, square(sweep, s), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-13)


@NETWORK
@COUNTED
def test_the_products_make_the_hessian_that_directions_make_one_by_one(network, counted, random):
    sweep, s, u = some(network, random, counted)
    every = np.eye(network.n_weights)
    changes = sweep.along(every)
    expected = sweep.turned_back(u, changes if s is None else changes * s, every)
    found = put_together(network, hessian_products_of(sweep, u, s))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-10)


@NETWORK
def test_where_residuals_are_zero_the_hessian_is_the_square(network, random):
    sweep, s, u = some(network, random)
    found = put_together(network, hessian_products_of(sweep, 0.0 * u, s))
    np.testing.assert_allclose(found, square(sweep, s), rtol=1e-10, atol=1e-11)


@NETWORK
@pytest.mark.parametrize(
    "made",
    [products_of, lambda sweep, s, first=None: hessian_products_of(sweep, sweep.predicted, s, first)],
    ids=["square", "hessian"],
)
def test_pairs_of_the_inputs_may_be_at_hand(made, network, random):
    sweep, s, _ = some(network, random)
    found, without = (
        put_together(network, made(sweep, s, first)) for first in (input_pairs(network, sweep.below[0].T), None)
    )
    np.testing.assert_array_equal(found, without)


@NETWORK
def test_products_of_parts_of_the_rows_add_up_before_they_are_put_together(network, random):
    sweep, s, _ = some(network, random)
    x, w = sweep.below[0].T, random.normal(size=network.n_weights)
    whole, one, other = (
        products_of(Dense(network, w, x[part]), s[part]) for part in (slice(None), slice(0, 13), slice(13, 40))
    )
    total = put_together(network, {key: one[key] + other[key] for key in one})
    np.testing.assert_allclose(total, put_together(network, whole), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10])
def test_pairs_hold_every_product_of_two_and_few_of_them_twice(size, random):
    a = random.normal(size=(size, 1))
    found = pairs(a)[:, 0]
    assert len(found) <= size * (size + 1) // 2 + size // 2
    assert set(found) == set((a * a.T).ravel())


def test_what_one_thread_holds_for_its_products_no_other_overwrites(random):
    a = random.normal(size=(3, 5))
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(pairs, a, "above").result()
    here, again = pairs(a, "above"), pairs(2.0 * a, "above")
    assert np.shares_memory(here, again)
    np.testing.assert_array_equal(there, pairs(a))


def test_pairs_are_left_where_they_would_be_far_more_than_the_columns_of_j():
    assert by_pairs(Network((8, 10, 1)))
    assert not by_pairs(Network((500, 2, 1)))


def test_the_widest_product_of_one_hidden_layer_is_that_of_its_own_pairs():
    assert widest(Network((8, 20, 1))) == 9 * 5 + 20 * 11
