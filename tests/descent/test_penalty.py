import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import bayesian, penalise, reestimated, weight_decay
from fallline.error.sums import Sums
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend


def sums_of(x, y, w):
    r = x @ w - y
    return Sums(float(len(x)), 0.5 * float(r @ r), x.T @ r, x.T @ x)


def test_weight_decay_adds_half_alpha_times_the_squares_of_the_coefficients(random):
    network = Network((2, 1))
    x, y, w = (
        np.column_stack([random.normal(size=(9, 2)), np.ones(9)]),
        random.normal(size=9),
        np.array([1.0, -2.0, 5.0]),
    )
    sums = sums_of(x, y, w)
    here = penalise(weight_decay(network, 0.4), w, sums)
    np.testing.assert_allclose(here.error, sums.error + 0.2 * (1 + 4), rtol=1e-12)
    np.testing.assert_allclose(here.gradient, sums.gradient + 0.4 * np.array([1, -2, 0]), rtol=1e-12)
    np.testing.assert_allclose(here.gauss_newton, sums.gauss_newton + np.diag([0.4, 0.4, 0]), rtol=1e-12)


def test_the_effective_weights_are_the_sum_over_the_eigenvalues(random):
    x, y, w = random.normal(size=(40, 5)), random.normal(size=40), random.normal(size=5)
    penalty = bayesian(Network((5, 1), bias=False), 40)
    sums = sums_of(x, y, w)
    after = reestimated(penalty._replace(strength=np.full(5, 3.0)), w, sums)
    values = np.linalg.eigvalsh(x.T @ x)
    gamma = (values / (values + 3.0)).sum()
    noise = (40 - gamma) / (2 * sums.error)
    np.testing.assert_allclose(after.effective_weights, gamma, rtol=1e-9)
    np.testing.assert_allclose(after.noise_precision, noise, rtol=1e-9)
    np.testing.assert_allclose(after.strength, gamma / (w @ w) / noise, rtol=1e-9)


def test_the_log_evidence_is_the_density_of_the_targets_with_the_weights_integrated_out(random):
    x, y, strength = random.normal(size=(40, 5)), random.normal(size=40), 3.0
    penalty = bayesian(Network((5, 1), bias=False), 40)
    penalty = penalty._replace(strength=np.full(5, strength))
    minimum = np.linalg.solve(x.T @ x + strength * np.eye(5), x.T @ y)
    after = reestimated(penalty, minimum, sums_of(x, y, minimum))
    variance = 1 / after.noise_precision
    covariance = variance * (np.eye(40) + x @ x.T / strength)  # the weights have precision strength / variance
    expected = multivariate_normal(np.zeros(40), covariance).logpdf(y)
    np.testing.assert_allclose(after.log_evidence, expected, rtol=1e-9)


def test_a_strength_for_each_weight_is_taken_as_it_is():
    given = np.array([1.0, 0.0, 5.0])
    np.testing.assert_array_equal(weight_decay(Network((2, 1)), given).strength, given)
    with pytest.raises(ShapeError, match="a strength for each of the 3 weights"):
        weight_decay(Network((2, 1)), given[:2])


def test_evidence_finds_the_precisions_a_linear_model_was_drawn_from(random):
    x = random.normal(size=(2000, 60))
    w = random.normal(size=(60, 1)) * 0.5  # weight precision 4
    y = x @ w + 0.2 * random.normal(size=(2000, 1))  # noise precision 25
    path = descend(Network((60, 1)), InMemory(x, y), LevenbergMarquardt(), seed=0, alpha="evidence", max_iter=60)
    assert path.shown["noise_precision"][-1] == pytest.approx(25, rel=0.1)
    assert path.strength[0] * path.shown["noise_precision"][-1] == pytest.approx(4, rel=0.5)
    assert 59 < path.shown["effective_weights"][-1] < 61
    assert path.strength[-1] == 0  # the output bias is free


def test_evidence_needs_a_descent_that_sees_the_curvature():
    rows = InMemory(np.ones((4, 1)), np.ones((4, 1)))
    with pytest.raises(SettingsError, match="GradientDescent does not ask for: use LevenbergMarquardt"):
        descend(Network((1, 1)), rows, GradientDescent(0.1), alpha="evidence")


@pytest.mark.parametrize("alpha", [-1, "strong", float("inf"), True])
def test_an_impossible_decay_is_refused(alpha):
    with pytest.raises(SettingsError, match=r"a number from 0 up, such as 0.1, or 'evidence'"):
        weight_decay(Network((1, 1)), alpha)
