"""The shares of several predictions: against other minimisers, and where they are known beforehand."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from fallline.fit.shares import shares_of
from fallline.model.activations import ACTIVATIONS


def predictions(random, m=4, rows=120, outputs=1):
    """A truth, and m predictions of it: each with an error of its own, and one they share."""
    truth = random.normal(size=(rows, outputs))
    own = random.normal(size=(rows, outputs, m)) * np.linspace(0.4, 1.5, m)
    return truth[..., None] + own + 0.3 * random.normal(size=(rows, outputs, 1)), truth


def error(shares, entering, y, s, activation):
    return float(np.sum(s[:, None] * (ACTIVATIONS[activation].value(entering @ shares, np) - y) ** 2))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("activation", ["identity", "logistic"])
def test_no_other_minimiser_goes_lower(activation, outputs, random):
    entering, z = predictions(random, outputs=outputs)
    y = ACTIVATIONS[activation].value(z, np)
    s = random.uniform(0.5, 2.0, len(y))
    ours = shares_of(entering, y, s, activation)
    judge = minimize(
        error, np.full(4, 0.25), (entering, y, s, activation), "SLSQP", bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-12},
    ).x  # fmt: skip
    assert error(ours, entering, y, s, activation) <= error(judge, entering, y, s, activation) * (1 + 1e-6)
    np.testing.assert_allclose(ours, judge, atol=5e-3)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh"])
def test_no_point_of_a_fine_grid_is_lower(activation, random):
    entering, z = predictions(random, m=3, rows=40)
    y = ACTIVATIONS[activation].value(z + random.normal(size=z.shape), np)
    ours = shares_of(entering, y, np.ones(40), activation)
    grid = [(a, b, 50 - a - b) for a, b in itertools.product(range(51), repeat=2) if a + b <= 50]
    lowest = min(error(np.array(each) / 50, entering, y, np.ones(40), activation) for each in grid)
    assert error(ours, entering, y, np.ones(40), activation) <= lowest * (1 + 1e-9)


@pytest.mark.parametrize("activation", ["identity", "logistic"])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_they_are_shares(activation, scale, random):
    entering, z = predictions(random, m=6)
    y = ACTIVATIONS[activation].value(z, np)
    if activation == "identity":
        entering, y = entering * scale, y * scale
    shares = shares_of(entering, y, np.full(len(y), scale), activation)
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("activation", ["identity", "logistic"])
def test_who_predicts_without_error_has_all(activation, random):
    entering, z = predictions(random)
    entering[..., 2] = z
    y = ACTIVATIONS[activation].value(z, np)
    np.testing.assert_allclose(shares_of(entering, y, np.ones(len(y)), activation), [0, 0, 1, 0], atol=1e-6)


def test_two_unbiased_predictions_are_weighed_by_their_variances(random):
    y = random.normal(size=(200_000, 1))
    errors = random.normal(size=(200_000, 1, 2)) * [1.0, 2.0]
    shares = shares_of(y[..., None] + errors, y, np.ones(len(y)))
    np.testing.assert_allclose(shares, [4 / 5, 1 / 5], atol=0.01)  # the inverses of 1 and 4


@pytest.mark.parametrize("activation", ["identity", "logistic"])
def test_row_weights_are_repetitions(activation, random):
    entering, z = predictions(random)
    y = ACTIVATIONS[activation].value(z + random.normal(size=z.shape), np)
    s = random.integers(0, 3, len(y))
    repeated = shares_of(np.repeat(entering, s, axis=0), np.repeat(y, s, axis=0), np.ones(s.sum()), activation)
    np.testing.assert_allclose(shares_of(entering, y, s.astype(float), activation), repeated, atol=1e-6)


def test_one_alone_and_twins_are_no_trouble(random):
    entering, y = predictions(random, m=1)
    np.testing.assert_array_equal(shares_of(entering, y, np.ones(len(y))), [1.0])
    twins = shares_of(np.concatenate([entering, entering], axis=2), y, np.ones(len(y)))
    assert twins.sum() == pytest.approx(1.0)
    constant = shares_of(np.zeros((5, 1, 3)), np.zeros((5, 1)), np.ones(5))
    assert constant.sum() == pytest.approx(1.0)
