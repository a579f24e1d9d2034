import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fallline.error.pairs import (
    by_pairs,
    gram,
    no_products,
    pairs_of,
    products_of,
    put_together,
    unordered,
    widest,
)
from fallline.error.sums import jacobian
from fallline.model.network import Network

pytestmark = pytest.mark.usefixtures("x64")

NETWORKS = {
    "no hidden layer": Network((3, 2)),
    "one hidden layer": Network((3, 4, 1)),
    "several outputs": Network((4, 5, 3)),
    "curved outputs": Network((2, 5, 2), output_activation="logistic"),
    "without biases": Network((4, 3, 2), bias=False),
    "two hidden layers": Network((3, 4, 5, 2), "softplus"),
    "three hidden layers": Network((2, 3, 1, 2, 1), "sine"),
    "one of everything": Network((1, 1, 1)),
    "rectifiers": Network((3, 6, 2), "relu"),
    "many inputs": Network((90, 2, 2)),
    "many units": Network((1, 60, 1), "gaussian"),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_triple_is_that_of_the_jacobian(network, random):
    x, y = random.normal(size=(40, network.inputs)), random.normal(size=(40, network.outputs))
    s, w = random.uniform(0, 2, size=40), random.normal(size=network.n_weights)
    j = np.asarray(jax.jit(jacobian, static_argnums=0)(network, jnp.asarray(w), jnp.asarray(x)))
    r = network.predict(w, x) - y
    error, slope, square = jax.jit(gram, static_argnums=0)(network, *map(jnp.asarray, (w, x, y, s)))
    np.testing.assert_allclose(error, 0.5 * np.sum(s[:, None] * r**2), rtol=1e-13)
    np.testing.assert_allclose(slope, np.einsum("n,nj,njp->p", s, r, j), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(square, np.einsum("n,njp,njq->pq", s, j, j), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_products_of_parts_of_the_rows_add_up_before_they_are_put_together(network, random):
    x, y = random.normal(size=(40, network.inputs)), random.normal(size=(40, network.outputs))
    s, w = random.uniform(0, 2, size=40), jnp.asarray(random.normal(size=network.n_weights))
    total = no_products(network)
    for part in (slice(0, 13), slice(13, 40)):
        _, _, products = products_of(network, w, *(jnp.asarray(each[part]) for each in (x, y, s)))
        assert jax.tree.map(jnp.shape, products) == jax.tree.map(jnp.shape, total)
        total = jax.tree.map(jnp.add, total, products)
    whole = gram(network, w, *map(jnp.asarray, (x, y, s)))[2]
    np.testing.assert_allclose(put_together(network, total), whole, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10])
def test_unordered_pairs_hold_every_product_of_two(size, random):
    a = random.normal(size=(size, 1))
    found = np.asarray(unordered(jnp.asarray(a)))[:, 0]
    assert len(found) == pairs_of(size)
    assert set(found) == set((a * a.T).ravel())


def test_pairs_are_left_where_they_would_be_far_more_than_the_columns_of_j():
    assert by_pairs(9, 10)
    assert not by_pairs(500, 2)
    assert widest(Network((500, 2, 1))) < 2 * Network((500, 2, 1)).n_weights
