"""What is predicted at a minimum against descents that were walked, by fallline and by loops in NumPy."""

import functools
import math

import numpy as np
import pytest

from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import FalllineError, SettingsError, ShapeError
from fallline.landscape.hessian import Curvature
from fallline.landscape.momentum import METHODS, Convergence, decay_along
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

Nesterov = functools.partial(GradientDescent, nesterov=True)
FORMS = pytest.mark.parametrize(
    "form", [lambda rate, _: GradientDescent(rate), GradientDescent, Nesterov], ids=["plain", "heavy ball", "Nesterov"]
)


def matrix(descent, curvature):
    """One step of a descent along one direction, (velocity, weight) to (velocity, weight)."""
    rate, beta = descent.learning_rate, descent.momentum
    heavy = np.array([[beta, -rate * curvature], [beta, 1 - rate * curvature]])
    ahead = np.array([[beta, -rate * curvature], [beta * beta, 1 - rate * curvature * (1 + beta)]])
    return ahead if descent.nesterov else heavy


def by_hand(curvature, descent, start, steps):
    """The error ½ Σ λ z² of every step, from rest: (steps + 1,)."""
    z, velocity, walk = start.copy(), np.zeros_like(start), []
    for _ in range(steps + 1):
        walk.append(0.5 * curvature @ z**2)
        slope = -descent.learning_rate * curvature * z
        velocity = descent.momentum * velocity + slope
        z = z + (descent.momentum * velocity + slope if descent.nesterov else velocity)
    return np.array(walk)


@pytest.fixture
def line(random):
    """A network linear in its weights, with rows of unlike columns."""
    x = random.normal(size=(80, 4)) @ np.diag([3.0, 1.0, 0.5, 0.2]) + 0.3
    y = x @ random.normal(size=(4, 2)) + 0.1 * random.normal(size=(80, 2))
    return Network((4, 2)), InMemory(x, y, random.uniform(0.5, 2, 80))


@pytest.fixture
def neuron(random):
    """One sigmoid neuron, its rows, and its minimum."""
    network = Network((2, 1), output_activation="logistic")
    x = random.normal(size=(100, 2))
    y = network.predict(np.array([2.0, -1.0, 0.5]), x) + 0.05 * random.normal(size=(100, 1))
    rows = InMemory(x, y)
    return network, rows, descend(network, rows, LevenbergMarquardt(), seed=0, max_iter=100).best_weights


@FORMS
@pytest.mark.parametrize("rate", [0.03, 0.3, 0.95, 1.3, 1.99, 2.5])
@pytest.mark.parametrize("momentum", [0.05, 0.5, 0.9])
def test_the_factor_is_the_largest_root_of_a_step_along_any_direction(form, rate, momentum):
    descent = form(rate, momentum)
    values = np.geomspace(1.0, 1e-4, 9)
    roots = [np.abs(np.linalg.eigvals(matrix(descent, value))).max() for value in values]
    beta, nesterov = descent.momentum, descent.nesterov
    np.testing.assert_allclose(np.exp(-decay_along(rate * values, beta, nesterov)), roots, rtol=1e-7)
    found = Convergence(values).factor(rate, beta, nesterov)
    assert float(found) == pytest.approx(max(roots), rel=1e-7)


@FORMS
@pytest.mark.parametrize("rate", [0.1, 0.4, 0.6])
def test_the_factor_is_what_is_left_of_a_distance_after_a_step_in_the_long_run(form, rate):
    values, descent = np.array([2.0, 1.0, 0.03]), form(rate, 0.6)
    left = np.sqrt(by_hand(values, descent, np.ones(3), 900))
    factor = Convergence(values).factor(rate, descent.momentum, descent.nesterov)
    assert (left[900] / left[300]) ** (1 / 600) == pytest.approx(float(factor), rel=2e-3)


@FORMS
def test_a_descent_converges_just_below_its_limit_and_diverges_just_above(form):
    curvature, start = np.array([5.0, 0.5]), np.ones(2)
    convergence, momentum = Convergence(curvature), form(1.0, 0.7).momentum
    limit = float(convergence.limit(momentum, form is Nesterov))
    expected = {"plain": 2.0, "heavy": 2 * 1.7, "Nesterov": 3.4 / 2.4}
    kind = "Nesterov" if form is Nesterov else "heavy" if momentum else "plain"
    assert limit * 5.0 == pytest.approx(expected[kind])
    below, above = (by_hand(curvature, form(limit * share, 0.7), start, 6000) for share in (0.999, 1.001))
    assert below[-1] < 1e-3 * below[0]
    assert above[-1] > 1e3 * above[0]
    rates, nesterov = limit * np.array([0.999999, 1.000001]), form is Nesterov
    assert [*(convergence.factor(rates, momentum, nesterov) < 1)] == [True, False]
    assert [*np.isfinite(convergence.steps_per_decade(rates, momentum, nesterov))] == [True, False]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[3.0, 0.8, 0.01], [1.0, 0.9]], ids=["a valley", "nearly round"])
def test_no_pair_on_a_fine_grid_is_faster_than_the_best(method, values):
    convergence = Convergence(values)
    best = convergence.best(method)
    least = float(convergence.factor(best.learning_rate, best.momentum, best.nesterov))
    momenta = np.zeros((1, 1)) if method == "plain" else np.linspace(0, 0.999, 800)[:, None]
    rates = np.geomspace(0.01, 4.0, 1500) / values[0]
    factors = convergence.factor(rates, momenta, method == "Nesterov")
    assert factors.min() >= least - 1e-12
    assert factors.min() < least + 0.02


def test_the_best_factors_are_those_of_the_literature():
    convergence = Convergence([4.0, 1.0, 0.04])
    kappa = 100.0
    expected = [
        (kappa - 1) / (kappa + 1),
        (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1),
        1 - 2 / math.sqrt(3 * kappa + 1),
    ]
    bests = [convergence.best(method) for method in METHODS]
    found = [float(convergence.factor(b.learning_rate, b.momentum, b.nesterov)) for b in bests]
    # At a double root a rounding of the pair shows with its square root.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_where_all_directions_are_alike_one_step_is_enough(method):
    convergence = Convergence([2.0, 2.0])
    best = convergence.best(method)
    best.check()
    assert float(convergence.factor(best.learning_rate, best.momentum, best.nesterov)) < 1e-7


def test_steps_per_decade_leave_a_tenth_of_the_distance():
    convergence = Convergence([1.0, 0.01])
    steps = float(convergence.steps_per_decade(0.5))
    assert 0.995**steps == pytest.approx(0.1, rel=1e-12)


@FORMS
@pytest.mark.parametrize("penalty", [0.0, 3.0], ids=["no penalty", "weight decay"])
def test_the_predicted_error_is_the_measured_one_on_a_linear_network(form, penalty, line, random):
    network, rows = line
    start, descent = random.normal(size=10), form(0.05, 0.8)
    path = descend(network, rows, descent, weights=start, alpha=penalty, max_iter=400)
    # Any point will do: its quadratic is the error.
    convergence = Convergence.at(network, rows, random.normal(size=10), path.strength)
    found = convergence.predicted_error(descent, start, path.steps)
    np.testing.assert_allclose(found, path.penalised_error, rtol=1e-10)


@FORMS
def test_the_predicted_error_is_that_of_a_loop(form, random):
    curvature, start = np.array([4.0, 1.0, 0.1]), random.normal(size=3)
    convergence = Convergence(curvature, directions=np.eye(3), minimum=np.zeros(3))
    descent = form(0.3, 0.8)
    expected = by_hand(curvature, descent, start, 60)
    np.testing.assert_allclose(convergence.predicted_error(descent, start, np.arange(61)), expected, rtol=1e-10)  # fmt: skip


@FORMS
def test_a_prediction_that_begins_on_the_way_knows_the_velocity(form, line):
    network, rows = line
    path = descend(network, rows, form(0.05, 0.8), seed=3, max_iter=300)
    compared = Convergence.of_path(path, rows).predict_path(path, from_step=17)
    assert np.isnan(compared.predicted[:17]).all()
    least = 1e-11 * path.error[-1] / path.n_rows
    np.testing.assert_allclose(compared.predicted[17:], compared.measured[17:], rtol=1e-8, atol=least)


def test_on_a_linear_network_the_quadratic_holds_from_the_start(line):
    network, rows = line
    path = descend(network, rows, GradientDescent(momentum="auto"), seed=3, max_iter=300)
    compared = Convergence.of_path(path, rows).predict_path(path)
    assert compared.from_step == 0
    # What is left of E after a hundred steps is its rounding.
    np.testing.assert_allclose(compared.predicted[:50], compared.measured[:50], rtol=1e-6)


@FORMS
def test_close_to_the_minimum_of_a_neuron_the_prediction_is_good_to_a_few_percent(form, neuron):
    network, rows, minimum = neuron
    descent, start = form(5.0, 0.8), minimum + np.array([0.002, -0.003, 0.002])
    path = descend(network, rows, descent, weights=start, max_iter=15)
    convergence = Convergence.at(network, rows, minimum)
    compared = convergence.predict_path(path, from_step=0)
    np.testing.assert_allclose(compared.predicted, compared.measured, rtol=0.03)
    assert convergence.predict_path(path).from_step == 0


def test_from_far_away_the_prediction_begins_where_the_surface_is_its_quadratic(neuron):
    network, rows, minimum = neuron
    path = descend(network, rows, GradientDescent(5.0, 0.8), weights=np.array([-2.0, 3.0, 1.0]), max_iter=300)
    convergence = Convergence.at(network, rows, minimum)
    compared = convergence.predict_path(path)
    assert 0 < compared.from_step < 200
    part = slice(compared.from_step, None)
    first = compared.measured[compared.from_step]
    np.testing.assert_allclose(compared.predicted[part] / first, compared.measured[part] / first, atol=0.1)
    before = path.weights[compared.from_step - 1]
    above = path.error[compared.from_step - 1] - convergence.lowest
    assert abs(convergence.quadratic(before)[0] - convergence.lowest - above) > 0.05 * above


def test_the_minimum_is_that_of_the_quadratic_beside_it(neuron):
    network, rows, minimum = neuron
    beside = Convergence.at(network, rows, minimum + 1e-4)
    np.testing.assert_allclose(beside.minimum, minimum, atol=1e-6)
    e = 0.5 * np.sum((network.predict(minimum, rows.x) - rows.y) ** 2)
    assert beside.lowest == pytest.approx(e, rel=1e-8)
    assert beside.above == pytest.approx(Curvature.at(network, rows, minimum + 1e-4).error - e, rel=1e-2)


def test_learning_rates_act_on_the_curvature_per_row(line):
    network, rows = line
    thrice = InMemory(rows.x, rows.y, 3 * rows.sample_weight)
    one, other = (Convergence.at(network, each, np.zeros(10)) for each in (rows, thrice))
    np.testing.assert_allclose(other.eigenvalues, one.eigenvalues, rtol=1e-12)
    assert other.n_rows == pytest.approx(3 * one.n_rows)


def test_flat_directions_are_left_out_and_counted(random):
    x = random.normal(size=(50, 2))
    rows = InMemory(np.c_[x, x[:, :1]], x[:, :1])  # the third column is the first
    convergence = Convergence.at(Network((3, 1)), rows, np.ones(4))
    assert convergence.left_out == 1
    assert len(convergence.curvature) == 3
    assert convergence.condition < 10
    assert "1 of 4 directions are too flat to count" in str(convergence)
    assert Convergence([1.0, 1e-3, 1e-5], tol=1e-4).left_out == 1


def test_a_path_is_the_descent_it_was(line):
    network, rows = line
    path = descend(network, rows, seed=0, alpha=1.0)
    same = Convergence.at(network, rows, path.best_weights, path.strength)
    np.testing.assert_array_equal(Convergence.of_path(path, rows).eigenvalues, same.eigenvalues)


def test_a_summary_has_the_best_pair_of_each_method():
    said = str(Convergence([4.0, 0.04]))
    assert "condition 100." in said
    assert "plain: best at learning rate 0.495, 115 steps to a tenth of the distance." in said
    assert "heavy ball: best at learning rate 0.8264, momentum 0.6694, 11.5 steps" in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2.0, -0.5, -1.0], "downwards along 2 of 3 directions"),
        ([0.0, 0.0], "does not curve upwards in any direction"),
        ([-1.0], "does not curve upwards in any direction"),
    ],
)
def test_what_is_no_minimum_is_refused(values, message):
    with pytest.raises(FalllineError, match=message):
        Convergence(values)


def test_a_saddle_of_a_network_is_refused(random):
    network = Network((1, 2, 1))
    x = random.normal(size=(30, 1))
    # Both hidden units silent: E can fall in one direction and rise in the other.
    with pytest.raises(FalllineError, match="they are no minimum"):
        Convergence.at(network, InMemory(x, np.sin(x)), np.zeros(7))


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_eigenvalues_that_are_no_numbers_are_refused(values):
    with pytest.raises(ShapeError, match="finite numbers"):
        Convergence(values)


def test_settings_that_are_not_possible_are_refused():
    convergence = Convergence([1.0, 0.1])
    with pytest.raises(SettingsError, match="plain, heavy ball, Nesterov"):
        convergence.best("adam")
    with pytest.raises(SettingsError, match="momentum from 0 up to, not including, 1"):
        convergence.factor(0.1, 1.0)
    with pytest.raises(SettingsError, match="learning rate must be positive"):
        convergence.factor(0.0)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Convergence([1.0], tol=0.0)
    with pytest.raises(SettingsError, match=r"make it by Convergence\.at"):
        convergence.predicted_error(GradientDescent(0.1), np.zeros(2), [1])


@pytest.mark.parametrize("descent", [GradientDescent(), Adam(), GradientDescent(0.1, batch_size=8)])
def test_a_descent_without_a_formula_is_refused(descent):
    convergence = Convergence([1.0, 0.1], directions=np.eye(2), minimum=np.zeros(2))
    with pytest.raises(SettingsError, match="GradientDescent with numbers"):
        convergence.predicted_error(descent, np.zeros(2), [1])


def test_weights_of_another_network_are_refused():
    convergence = Convergence([1.0, 0.1], directions=np.eye(2), minimum=np.zeros(2))
    with pytest.raises(ShapeError, match="not those of the minimum"):
        convergence.predicted_error(GradientDescent(0.1), np.zeros(3), [1])


def test_a_path_that_stays_far_away_is_not_compared_by_itself(neuron):
    network, rows, minimum = neuron
    path = descend(network, rows, GradientDescent(0.01), weights=np.array([-2.0, 3.0, 1.0]), max_iter=20)
    convergence = Convergence.at(network, rows, minimum)
    with pytest.raises(SettingsError, match="descend further, or give from_step a number"):
        convergence.predict_path(path)
    assert convergence.predict_path(path, from_step=0).from_step == 0
    with pytest.raises(SettingsError, match="from_step=21 is no step"):
        convergence.predict_path(path, from_step=21)
