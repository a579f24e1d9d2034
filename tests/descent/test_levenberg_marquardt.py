import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from fallline.descent import Stop
from fallline.descent.levenberg_marquardt import LevenbergMarquardt, damped_step
from fallline.descent.penalty import Penalised
from fallline.exceptions import SettingsError
from fallline.loop import descend
from fallline.network import Network
from fallline.rows.memory import InMemory


def wave(random, rows=80):
    x = random.uniform(-3, 3, size=(rows, 1))
    return InMemory(x, np.sin(2 * x) + 0.1 * random.normal(size=(rows, 1)))


def test_a_linear_network_arrives_at_the_least_squares_solution(random):
    x, y = random.normal(size=(30, 4)), random.normal(size=(30, 2))
    path = descend(Network((4, 2)), InMemory(x, y), LevenbergMarquardt(), seed=0, max_iter=100)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    # Near the minimum a step changes E by less than its rounding: half the digits of the weights are seen.
    np.testing.assert_allclose(path.best_weights, expected.ravel(), rtol=1e-7)
    assert path.stop == Stop.FLAT
    assert path.n_steps < 20


def test_weight_decay_arrives_at_the_ridge_solution_with_free_bias(random):
    x, y = random.normal(size=(30, 3)), 5 + random.normal(size=(30, 1))
    path = descend(Network((3, 1)), InMemory(x, y), LevenbergMarquardt(), seed=0, max_iter=100, alpha=7.0)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.solve(design.T @ design + np.diag([7.0, 7, 7, 0]), design.T @ y)[:, 0]
    np.testing.assert_allclose(path.best_weights, expected, rtol=1e-7)


def test_scipy_finds_nothing_lower_from_where_it_stopped(random):
    network, rows = Network((1, 4, 1)), wave(random)
    path = descend(network, rows, LevenbergMarquardt(), seed=3, max_iter=500)
    judge = scipy.optimize.least_squares(
        lambda w: (network.predict(w, rows.x) - rows.y)[:, 0],
        path.best_weights,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert path.error[-1] <= judge.cost * (1 + 1e-6)
    assert path.error[-1] < 0.1 * path.error[0]


def test_the_error_falls_at_every_step(random):
    path = descend(Network((1, 6, 1)), wave(random), LevenbergMarquardt(), seed=0, max_iter=100, alpha=0.01)
    assert (np.diff(path.penalised_error) < 0).all()


def test_a_step_solves_the_damped_equations(random, x64):
    j, r = random.normal(size=(20, 5)) * [1, 1e3, 1e-3, 1, 1], random.normal(size=20)
    square, slope = j.T @ j, j.T @ r
    scale = np.sqrt(np.diag(square))
    step, gain = damped_step(
        Penalised(0.0, jnp.asarray(slope), jnp.asarray(square)), jnp.asarray(scale), jnp.asarray(0.3)
    )
    np.testing.assert_allclose(step, np.linalg.solve(square + 0.3 * np.diag(scale**2), -slope), rtol=1e-9)
    promised = -(slope @ step + 0.5 * step @ square @ step)
    np.testing.assert_allclose(gain, promised, rtol=1e-9)


def test_a_weight_that_no_row_feels_stays_where_it_is(random):
    x = np.column_stack([random.normal(size=20), np.zeros(20)])
    path = descend(
        Network((2, 1), bias=False),
        InMemory(x, x[:, :1] * 3),
        LevenbergMarquardt(),
        weights=[0.0, 0.7],
        max_iter=50,
    )
    np.testing.assert_allclose(path.best_weights, [3.0, 0.7], rtol=1e-12)


def test_twin_columns_are_no_singular_matrix(random):
    x = random.normal(size=(20, 1)) @ np.ones((1, 3))
    path = descend(Network((3, 1)), InMemory(x, 2 * x[:, :1] + 1), LevenbergMarquardt(), seed=0, max_iter=200)
    assert path.error[-1] < 1e-20


def test_the_path_shows_the_damping_falling_on_a_bowl(random):
    x = random.normal(size=(30, 2))
    path = descend(
        Network((2, 1)), InMemory(x, x[:, :1]), LevenbergMarquardt(damping=1.0), seed=0, max_iter=5
    )
    np.testing.assert_allclose(path.shown["damping"][:3], [1.0, 1 / 3, 1 / 9], rtol=1e-6)


def test_a_damping_that_is_not_positive_is_refused():
    rows = InMemory(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(
        SettingsError, match="damping=0 is not possible for LevenbergMarquardt: expected a number above 0"
    ):
        descend(Network((1, 1)), rows, LevenbergMarquardt(damping=0))
