"""Descents on quadratics have closed forms: Goh (2017), Distill, "Why momentum really works"."""

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.exceptions import SettingsError
from fallline.loop import descend
from fallline.network import Network
from fallline.rows.memory import InMemory

LINEAR = Network((2, 1), bias=False)
# XᵀX/n = diag(4, 0.25): curvatures per row 4 and 0.25, so plain descent is stable below 2/4.
X = np.array([[2.0, 0.0], [0.0, 0.5], [2.0, 0.0], [0.0, 0.5]]) * np.sqrt(2)
BEST = np.array([1.5, -2.0])
ROWS = InMemory(X, (X @ BEST)[:, None])
CURVATURE = np.array([4.0, 0.25])
START = np.array([3.0, 1.0])


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.49])
def test_plain_descent_on_a_bowl_follows_its_closed_form(rate):
    path = descend(LINEAR, ROWS, GradientDescent(rate), weights=START, max_iter=50)
    steps = np.arange(51)[:, None]
    expected = BEST + (1 - rate * CURVATURE) ** steps * (START - BEST)
    np.testing.assert_allclose(path.weights, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        path.error, 0.5 * 4 * ((expected - BEST) ** 2 @ CURVATURE), rtol=1e-9, atol=1e-20
    )


@pytest.mark.parametrize(("rate", "momentum"), [(0.1, 0.5), (0.4, 0.9), (0.85, 0.8)])
def test_the_heavy_ball_on_a_bowl_follows_its_closed_form(rate, momentum):
    path = descend(LINEAR, ROWS, GradientDescent(rate, momentum), weights=START, max_iter=40)
    at = path.weights[-1]
    for i, curvature in enumerate(CURVATURE):
        # (z, w) → R (z, w) with z ← momentum z + g, w ← w − rate z
        matrix = np.array([[momentum, curvature], [-rate * momentum, 1 - rate * curvature]])
        expected = (np.linalg.matrix_power(matrix, 40) @ [0.0, START[i] - BEST[i]])[1] + BEST[i]
        np.testing.assert_allclose(at[i], expected, rtol=1e-10)


@pytest.mark.parametrize(("momentum", "limit"), [(0.0, 0.5), (0.5, 0.75), (0.9, 0.95)])
def test_a_descent_converges_below_the_stability_limit_and_diverges_above_it(momentum, limit):
    below = descend(LINEAR, ROWS, GradientDescent(0.98 * limit, momentum), weights=START, max_iter=3000)
    above = descend(LINEAR, ROWS, GradientDescent(1.02 * limit, momentum), weights=START, max_iter=3000)
    assert below.error[-1] < 1e-12
    assert above.stop == Stop.DIVERGED
    assert (
        f"largest stable rate there{f' for momentum {momentum:g}' if momentum else ''} is about {limit:.3g}"
        in above.stop_message
    )
    assert f"learning rate {1.02 * limit:g} is too large" in above.stop_message


@pytest.mark.parametrize(
    "rate", [3.0, 1e170, 1e300], ids=["growing", "infinite on the way", "NaN on the way"]
)
def test_a_diverged_descent_keeps_the_lowest_weights_and_nothing_infinite(rate):
    path = descend(LINEAR, ROWS, GradientDescent(rate), weights=START, max_iter=1000)
    assert path.stop == Stop.DIVERGED
    assert "Take a rate below 0.47" in path.stop_message
    np.testing.assert_array_equal(path.best_weights, START)
    assert path.best_step == 0
    assert np.isfinite(path.error).all()
    assert np.isfinite(path.weights).all()


def test_the_automatic_rate_reaches_the_minimum_without_being_told_a_rate():
    path = descend(LINEAR, ROWS, GradientDescent(), weights=START, max_iter=300)
    np.testing.assert_allclose(path.final_weights, BEST, rtol=1e-8)
    # 0.95 of the limit 2/λ_max = 0.5
    np.testing.assert_allclose(path.shown["learning_rate"][1:], 0.475, rtol=1e-3)


def test_the_automatic_rate_recovers_where_the_curvature_rises_on_the_way(random):
    network = Network((3, 8, 1))
    x = random.normal(size=(60, 3))
    rows = InMemory(x, np.sin(3 * x[:, :1]))
    path = descend(
        network, rows, GradientDescent(momentum=0.9), weights=30 * network.initial(1), max_iter=2000
    )
    assert path.stop in (Stop.MAX_ITER, Stop.FLAT)
    assert path.error.min() < 0.2 * path.error[0]
    assert np.isfinite(path.error).all()


def test_weight_decay_shrinks_to_the_ridge_solution():
    path = descend(LINEAR, ROWS, GradientDescent(), weights=START, max_iter=2000, alpha=3.0)
    expected = np.linalg.solve(X.T @ X + 3.0 * np.eye(2), X.T @ ROWS.y)[:, 0]
    np.testing.assert_allclose(path.final_weights, expected, rtol=1e-8)


def test_a_rate_suits_any_number_of_rows():
    many = InMemory(np.tile(X, (5, 1)), np.tile(ROWS.y, (5, 1)))
    few, more = (
        descend(LINEAR, rows, GradientDescent(0.2), weights=START, max_iter=20) for rows in (ROWS, many)
    )
    np.testing.assert_allclose(few.weights, more.weights, rtol=1e-12)


def test_a_row_of_zero_error_stops_at_once():
    path = descend(LINEAR, ROWS, GradientDescent(0.1), weights=BEST, max_iter=50)
    assert path.stop == Stop.FLAT
    assert path.n_steps == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, r"learning_rate=0.0 is not possible.*expected 'auto' or a number above 0"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"learning_rate": "fast"}, "learning_rate='fast'"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"momentum": 1.0}, r"momentum=1.0 is not possible.*from 0 to"),
        ({"momentum": True}, "momentum=True"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(SettingsError, match=message):
        descend(LINEAR, ROWS, GradientDescent(**settings))


def test_settings_are_read_and_written_as_scikit_learn_does():
    descent = GradientDescent(0.1)
    assert {"learning_rate": 0.1, "momentum": 0.0, "batch_size": None}.items() <= descent.get_params().items()
    assert descent.set_params(momentum=0.5) == GradientDescent(0.1, 0.5)
    with pytest.raises(SettingsError, match="has no setting 'lr': it has learning_rate, momentum"):
        descent.set_params(lr=1)
