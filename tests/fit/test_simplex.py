import numpy as np
import pytest
from scipy.optimize import minimize

from fallline.fit.simplex import on_simplex, probabilities


@pytest.mark.parametrize("spread", [0.01, 0.5, 30.0])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_nearest_point_meets_the_conditions_of_karush_kuhn_and_tucker(classes, spread, random):
    y = random.normal(1 / classes, spread, size=(200, classes))
    p = on_simplex(y)
    held = p > 0
    multiplier = ((y - p) * held).sum(axis=1, keepdims=True) / held.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    assert (p >= 0).all()
    np.testing.assert_allclose(np.where(held, y - p - multiplier, 0), 0, atol=1e-13)
    assert (np.where(held, 0, y - multiplier) <= 1e-13).all()


def test_the_nearest_point_is_that_of_a_quadratic_programme(random):
    y = random.normal(size=(20, 4))
    settings = {
        "bounds": [(0, None)] * 4,
        "constraints": {"type": "eq", "fun": lambda p: p.sum() - 1},
        "method": "SLSQP",
        "options": {"ftol": 1e-14},
    }
    found = [minimize(lambda p, row=row: ((p - row) ** 2).sum(), np.full(4, 0.25), **settings).x for row in y]
    np.testing.assert_allclose(on_simplex(y), found, atol=1e-6)


def test_the_nearest_point_is_no_farther_from_any_class_than_the_outputs(random):
    y = random.normal(size=(100, 1, 5))
    before, after = (((points - np.eye(5)) ** 2).sum(axis=2) for points in (y, on_simplex(y[:, 0])[:, None]))
    assert (after <= before + 1e-12).all()
    assert after.mean() < before.mean() - 0.1


@pytest.mark.parametrize(
    ("outputs", "nearest"),
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ([7.0, 7.0, 7.0, 7.0], [0.25, 0.25, 0.25, 0.25]),
        ([1e12 + 0.5, 1e12, -1e12], [0.75, 0.25, 0]),
        ([3.0, 3.0, 0.0], [0.5, 0.5, 0]),
        ([-4.0, -9.0], [1, 0]),
    ],
    ids=["is on it", "all equal", "large", "two equal", "all negative"],
)
def test_a_point_known_by_hand(outputs, nearest):
    np.testing.assert_allclose(on_simplex(np.array([outputs])), [nearest], atol=1e-15)


def test_a_single_output_is_the_second_of_two_classes(random):
    y = random.normal(0.5, 1, size=(100, 1))
    p = probabilities(y)
    np.testing.assert_allclose(p, on_simplex(np.hstack([1 - y, y])), atol=1e-14)
    np.testing.assert_array_equal(p.sum(axis=1), 1)


def test_no_rows_have_no_probabilities():
    assert probabilities(np.empty((0, 3))).shape == (0, 3)
    assert probabilities(np.empty((0, 1))).shape == (0, 2)
