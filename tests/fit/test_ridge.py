import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from fallline.fit.ridge import fit_ridge


def test_it_is_ridge_regression_with_the_penalty_it_chose(random):
    x, y = random.normal(size=(60, 5)), random.normal(size=(60, 2)) + 3
    ours = fit_ridge(x, y)
    for j in range(2):
        judge = Ridge(alpha=ours.alpha[j]).fit(x, y[:, j])
        np.testing.assert_allclose(ours.predict(x)[:, j], judge.predict(x), rtol=1e-9)


def test_the_penalty_is_the_one_generalised_cross_validation_chooses(random):
    x = random.normal(size=(40, 30))
    y = x @ random.normal(size=(30, 1)) + 3 * random.normal(size=(40, 1))
    ours = fit_ridge(x, y)

    def score(alpha):  # from the hat matrix, written out
        centred = x - x.mean(0)
        hat = centred @ np.linalg.solve(centred.T @ centred + alpha * np.eye(30), centred.T) + 1 / 40
        return 40 * np.sum((y[:, 0] - hat @ y[:, 0]) ** 2) / np.trace(np.eye(40) - hat) ** 2

    chosen = score(ours.alpha[0])
    assert chosen <= min(score(ours.alpha[0] * factor) for factor in (0.5, 0.7, 1.4, 2.0)) * (1 + 1e-9)


def test_it_predicts_new_rows_about_as_well_as_scikit_learns_search(random):
    x, w = random.normal(size=(400, 20)), random.normal(size=(20, 1))
    y = x @ w + 5 * random.normal(size=(400, 1))
    ours = fit_ridge(x[:50], y[:50]).predict(x[50:])
    judge = RidgeCV(np.logspace(-3, 4, 50)).fit(x[:50], y[:50, 0]).predict(x[50:])
    truth = (x @ w)[50:, 0]
    assert np.mean((ours[:, 0] - truth) ** 2) <= 1.25 * np.mean((judge - truth) ** 2)


@pytest.mark.parametrize("rows", [2, 5, 20])
def test_more_columns_than_rows_are_no_trouble(rows, random):
    x, y = random.normal(size=(rows, 30)), random.normal(size=(rows, 1))
    assert np.isfinite(fit_ridge(x, y).predict(random.normal(size=(9, 30)))).all()


def test_twin_and_constant_columns_are_no_trouble(random):
    x = np.column_stack([random.normal(size=30)] * 2 + [np.ones(30)])
    y = 2 * x[:, :1] + 1
    np.testing.assert_allclose(fit_ridge(x, y).predict(x), y, atol=1e-3)


def test_row_weights_are_repetitions(random):
    x, y = random.normal(size=(40, 6)) + 1, random.normal(size=(40, 2))
    y[:, 0] += x[:, 0]
    s = random.integers(0, 4, 40)
    ours, repeated = fit_ridge(x, y, s.astype(float)), fit_ridge(np.repeat(x, s, axis=0), np.repeat(y, s, axis=0))
    np.testing.assert_allclose(ours.alpha, repeated.alpha)
    np.testing.assert_allclose(ours.coef, repeated.coef, atol=1e-12)
    np.testing.assert_allclose(ours.intercept, repeated.intercept, atol=1e-12)
    judge = Ridge(alpha=ours.alpha[0]).fit(x, y[:, 0], s)
    np.testing.assert_allclose(ours.predict(x)[:, 0], judge.predict(x), atol=1e-9)


def test_constant_targets_and_more_columns_than_rows_are_no_trouble(random):
    ours = fit_ridge(random.normal(size=(6, 30)), np.full((6, 1), 3.0))
    np.testing.assert_allclose(ours.predict(random.normal(size=(4, 30))), 3.0)
