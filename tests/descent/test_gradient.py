"""Descents on quadratics have closed forms: Goh (2017), Distill, "Why momentum really works"."""

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.rate import silver
from fallline.exceptions import SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

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
    np.testing.assert_allclose(path.error, 0.5 * 4 * ((expected - BEST) ** 2 @ CURVATURE), rtol=1e-9, atol=1e-20)


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


@pytest.mark.parametrize("rate", [3.0, 1e170, 1e300], ids=["growing", "infinite on the way", "NaN on the way"])
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
    # 2/(λ_max + λ_min), known exactly for a linear network
    np.testing.assert_allclose(path.shown["learning_rate"][1:], 2 / 4.25, rtol=1e-12)


def test_the_automatic_rate_recovers_where_the_curvature_rises_on_the_way(random):
    network = Network((3, 8, 1))
    x = random.normal(size=(60, 3))
    rows = InMemory(x, np.sin(3 * x[:, :1]))
    path = descend(network, rows, GradientDescent(momentum=0.9), weights=30 * network.initial(1), max_iter=2000)
    assert path.stop in (Stop.MAX_ITER, Stop.FLAT)
    assert path.error.min() < 0.2 * path.error[0]
    assert np.isfinite(path.error).all()


def test_weight_decay_shrinks_to_the_ridge_solution():
    path = descend(LINEAR, ROWS, GradientDescent(), weights=START, max_iter=2000, alpha=3.0)
    expected = np.linalg.solve(X.T @ X + 3.0 * np.eye(2), X.T @ ROWS.y)[:, 0]
    np.testing.assert_allclose(path.final_weights, expected, rtol=1e-8)


def test_a_rate_suits_any_number_of_rows():
    many = InMemory(np.tile(X, (5, 1)), np.tile(ROWS.y, (5, 1)))
    few, more = (descend(LINEAR, rows, GradientDescent(0.2), weights=START, max_iter=20) for rows in (ROWS, many))
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
    assert {
        "learning_rate": 0.1,
        "momentum": 0.0,
        "nesterov": False,
        "batch_size": None,
    }.items() <= descent.get_params().items()
    assert descent.set_params(momentum=0.5) == GradientDescent(0.1, 0.5)
    with pytest.raises(SettingsError, match="has no setting 'lr': it has learning_rate, momentum, nesterov"):
        descent.set_params(lr=1)


def test_the_column_that_makes_the_curvature_large_is_named(random):
    x = random.normal(size=(200, 4)) * [1.0, 1.0, 500.0, 1.0]
    rows = InMemory(x, x @ [[1.0], [2.0], [0.01], [3.0]])
    path = descend(Network((4, 1)), rows, GradientDescent(0.1), seed=0, input_names=["a", "b", "pressure", "d"])
    assert path.stop == Stop.DIVERGED
    assert "The input pressure makes the curvature so large (100% of its steepest direction)" in path.stop_message
    assert "Standardise it. Take a rate below" in path.stop_message
    assert path.n_steps < 5


def test_no_column_is_blamed_where_all_are_of_one_size(random):
    x = random.normal(size=(50, 3))
    path = descend(Network((3, 1)), InMemory(x, x[:, :1]), GradientDescent(3.0), seed=0)
    assert path.stop == Stop.DIVERGED
    assert "Standardise" not in path.stop_message


@pytest.mark.parametrize(("rate", "momentum"), [(0.1, 0.5), (0.3, 0.9), (0.35, 0.5)])
def test_nesterovs_form_on_a_bowl_follows_its_closed_form(rate, momentum):
    path = descend(LINEAR, ROWS, GradientDescent(rate, momentum, True), weights=START, max_iter=40)
    at = path.weights[-1]
    for i, curvature in enumerate(CURVATURE):
        # v ← momentum v − rate g, w ← w + momentum v − rate g, g = curvature · w
        matrix = np.array([[momentum, -rate * curvature], [momentum**2, 1 - rate * curvature * (1 + momentum)]])
        expected = (np.linalg.matrix_power(matrix, 40) @ [0.0, START[i] - BEST[i]])[1] + BEST[i]
        np.testing.assert_allclose(at[i], expected, rtol=1e-10)


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_nesterovs_form_converges_below_its_own_limit_and_diverges_above_it(momentum):
    limit = (2 + 2 * momentum) / (1 + 2 * momentum) / CURVATURE[0]
    below, above = (
        descend(LINEAR, ROWS, GradientDescent(rate, momentum, True), weights=START, max_iter=3000)
        for rate in (0.98 * limit, 1.02 * limit)
    )
    assert below.error[-1] < 1e-12
    assert above.stop == Stop.DIVERGED
    assert f"for Nesterov's momentum {momentum:g} is about {limit:.3g}" in above.stop_message


def test_curvature_is_read_at_no_more_than_a_tenth_of_the_steps(random):
    x = random.normal(size=(80, 3))
    rows = InMemory(x, np.sin(2 * x[:, :1]))
    path = descend(Network((3, 6, 1)), rows, GradientDescent(), seed=0, max_iter=400)
    assert 400 < path.n_passes - 1 <= 1.1 * 400


def test_silver_steps_multiply_as_their_source_says():
    # In k = 2^m − 1 steps their lengths add up to (1 + √2)^m − 1: Altschuler & Parrilo, lemma 2.
    lengths = np.asarray(silver(np.arange(1, 64)))
    np.testing.assert_allclose(lengths.cumsum()[[2, 6, 14, 30, 62]], (1 + 2**0.5) ** np.arange(2, 7) - 1)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": "auto"}, {"momentum": "auto", "nesterov": True}],
                         ids=["plain", "heavy ball", "automatic", "Nesterov"])  # fmt: skip
def test_an_automatic_descent_goes_below_the_best_of_many_fixed_rates(settings, random):
    x = random.normal(size=(150, 3))
    rows = InMemory(x, np.sin(2 * x[:, :1]) + x[:, 1:2])
    network = Network((3, 8, 1))
    fixed = [
        descend(network, rows, GradientDescent(rate), seed=0, max_iter=300).error.min()
        for rate in np.logspace(-2, 1, 16)
    ]
    found = descend(network, rows, GradientDescent(**settings), seed=0, max_iter=300)
    assert found.error.min() < min(fixed)


def test_the_automatic_momentum_and_rate_of_each_step_are_in_the_path(random):
    x = random.normal(size=(80, 3))
    path = descend(
        Network((3, 6, 1)), InMemory(x, np.sin(2 * x[:, :1])), GradientDescent(momentum="auto"), seed=0, max_iter=200
    )
    rate, momentum = path.shown["learning_rate"], path.shown["momentum"]
    assert rate[0] == momentum[0] == 0
    assert (rate[1:] > 0).all()
    assert 0 < momentum[1:].max() <= 0.99
    first = -rate[1] / 80 * path.gradient[0]
    np.testing.assert_allclose(path.weights[1] - path.weights[0], first, rtol=1e-10)


@pytest.mark.parametrize(
    "settings", [{"nesterov": True}, {"nesterov": 1, "momentum": 0.5}], ids=["without momentum", "a number"]
)
def test_nesterovs_form_is_asked_for_in_words_that_fit(settings):
    with pytest.raises(SettingsError, match="nesterov="):
        descend(LINEAR, ROWS, GradientDescent(**settings))
