"""Many inputs as a few scores: against scikit-learn's partial least squares, and what a score must be whoever finds it."""

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression

from fallline.fit.scores import MOST_SCORES, scores_of


def wide(random, rows=80, inputs=50, outputs=1):
    x = random.normal(size=(rows, inputs)) * random.uniform(0.2, 3.0, inputs) + random.normal(size=inputs)
    y = x[:, :outputs] - x[:, 3:4] ** 2 + random.normal(size=(rows, outputs))
    return x, y


def onto(space):
    """The projection on what these columns span."""
    q = np.linalg.qr(space)[0]
    return q @ q.T


def test_for_one_target_the_scores_are_those_of_partial_least_squares(random):
    x, y = wide(random)
    directions = scores_of(x, y, np.ones(len(x)))
    judge = PLSRegression(n_components=5, scale=False).fit(x, y).x_scores_
    ours = (x - x.mean(axis=0)) @ directions
    for j in range(1, 6):
        np.testing.assert_allclose(onto(ours[:, :j]), onto(judge[:, :j]), atol=1e-8)


@pytest.mark.parametrize("outputs", [1, 3])
def test_scores_have_unit_spread_and_no_correlation_by_the_row_weights(outputs, random):
    x, y = wide(random, outputs=outputs)
    s = random.integers(1, 4, len(x)).astype(float)
    directions = scores_of(x, y, s)
    assert directions.shape == (50, MOST_SCORES)
    scores = (x - s @ x / s.sum()) @ directions
    np.testing.assert_allclose((scores * s[:, None]).T @ scores / s.sum(), np.eye(MOST_SCORES), atol=1e-8)


def test_the_first_of_several_targets_scores_has_the_largest_covariance(random):
    x, y = wide(random, outputs=3)
    first = scores_of(x, y, np.ones(len(x)), 1)[:, 0]
    cross = (x - x.mean(0)).T @ (y - y.mean(0))
    most = np.linalg.svd(cross)[1][0]
    assert np.linalg.norm(first @ cross) / np.linalg.norm(first) == pytest.approx(most)


def test_row_weights_are_repetitions(random):
    x, y = wide(random, outputs=2)
    s = random.integers(0, 3, len(x))
    repeated = scores_of(np.repeat(x, s, axis=0), np.repeat(y, s, axis=0), np.ones(s.sum()), 6)
    np.testing.assert_allclose(abs(scores_of(x, y, s.astype(float), 6)), abs(repeated), atol=1e-8)


def test_where_the_targets_are_exhausted_there_are_no_more(random):
    values, vectors = np.linalg.qr(random.normal(size=(60, 20)))[0], np.arange(20) % 3 + 1.0
    x = values - values.mean(axis=0)
    x = np.linalg.qr(x)[0] * vectors  # three different spreads: three Krylov directions hold all
    y = x @ random.normal(size=(20, 1))
    assert scores_of(x, y, np.ones(60)).shape == (20, 3)


@pytest.mark.parametrize(("rows", "most"), [(5, 4), (12, 11)])
def test_there_are_fewer_than_rows(rows, most, random):
    x, y = wide(random, rows=rows)
    found = scores_of(x, y, np.ones(rows))
    assert found.shape == (50, most)
    assert np.isfinite(found).all()


def test_constant_targets_have_one_score_that_says_nothing(random):
    np.testing.assert_array_equal(
        scores_of(random.normal(size=(30, 4)), np.ones((30, 1)), np.ones(30)), np.zeros((4, 1))
    )
