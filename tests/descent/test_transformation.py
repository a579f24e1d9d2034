import numpy as np
import optax
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.transformation import Transformation
from fallline.exceptions import SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

NETWORK = Network((2, 3, 1))


@pytest.fixture
def table(random):
    x = random.normal(size=(70, 2))
    return InMemory(x, np.sin(2 * x[:, :1]) + x[:, 1:])


def walk(table, descent):
    return descend(NETWORK, table, descent, weights=NETWORK.initial(0), seed=3, max_iter=6, alpha=0.5)


@pytest.mark.parametrize("batch", [None, 32], ids=["all rows", "mini-batches"])
@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)], ids=["plain", "momentum", "nesterov"]
)
def test_optax_sgd_takes_the_steps_of_gradient_descent(table, batch, momentum, nesterov):
    theirs = walk(table, Transformation(optax.sgd(0.1, momentum or None, nesterov), batch_size=batch))
    ours = walk(table, GradientDescent(0.1, momentum, nesterov, batch_size=batch))
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-10)
    np.testing.assert_allclose(theirs.error, ours.error, rtol=1e-10)
    assert (theirs.stop, theirs.n_passes) == (Stop.MAX_ITER, ours.n_passes)


@pytest.mark.parametrize("batch", [None, 32], ids=["all rows", "mini-batches"])
def test_optax_adam_takes_the_steps_of_adam(table, batch):
    theirs = walk(table, Transformation(optax.adam(0.05), batch_size=batch))
    ours = walk(table, Adam(0.05, batch, "none"))
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-6)  # Optax counts its steps in single precision


def test_a_bare_transformation_is_wrapped(table):
    path = walk(table, optax.sgd(0.1))
    assert isinstance(path.descent, Transformation)
    np.testing.assert_array_equal(path.weights, walk(table, Transformation(optax.sgd(0.1))).weights)


def test_a_schedule_counts_steps(table):
    schedule = optax.piecewise_constant_schedule(0.1, {4: 0.0})
    path = walk(table, Transformation(optax.sgd(schedule), batch_size=32))
    assert (np.diff(path.weights, axis=0)[:4] != 0).any(axis=1).all()
    np.testing.assert_array_equal(path.weights[4:], np.broadcast_to(path.weights[4], path.weights[4:].shape))


@pytest.mark.parametrize("batch", [None, 32], ids=["all rows", "mini-batches"])
def test_a_transformation_that_asks_for_the_error_gets_it(table, batch):
    path = walk(table, Transformation(optax.polyak_sgd(max_learning_rate=0.5), batch_size=batch))
    assert path.error[-1] < path.error[0]


def test_float32_rows_stay_in_single_precision(table):
    single = InMemory(table.x, table.y, dtype=np.float32)
    path = walk(single, Transformation(optax.adamw(0.05), batch_size=32))
    np.testing.assert_allclose(path.weights, np.float32(path.weights), rtol=0)


def test_a_transformation_that_diverges_keeps_the_lowest_weights(table):
    path = descend(NETWORK, table, Transformation(optax.sgd(1e9), batch_size=8), seed=0, max_iter=20)
    assert path.stop == Stop.DIVERGED
    assert "Take a smaller rate in the transformation" in path.stop_message
    np.testing.assert_array_equal(path.best_weights, NETWORK.initial(0))


@pytest.mark.parametrize(
    ("descent", "message"),
    [
        (optax.lbfgs(), "value_fn.*fallline's own LBFGS"),
        (Transformation(optax.lbfgs(), batch_size=32), "fallline's own LBFGS"),
        (Transformation(3.0), "expected an Optax gradient transformation"),
        (3.0, "expected 'auto', the name of a descent"),
        (optax.adam, "expected 'auto', the name of a descent"),
    ],
)
def test_what_is_no_gradient_transformation_is_refused(table, descent, message):
    with pytest.raises(SettingsError, match=message):
        walk(table, descent)
