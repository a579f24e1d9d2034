"""By how much predictions get worse where a column is shuffled, against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.inspection import permutation_importance as of_sklearn
from sklearn.linear_model import LinearRegression

from fallline import permutation_importance
from fallline.exceptions import SettingsError, ShapeError
from fallline.sure.importance import importance_of

EACH = {"a": [0], "b": [1], "c": [2]}


@pytest.fixture(scope="module")
def line():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 3))
    return x, x @ [3.0, 1.0, 0.0] + 0.5 * random.normal(size=400)


def test_the_rise_is_that_of_scikit_learn(line):
    x, y = line
    model = LinearRegression().fit(x, y)
    found = permutation_importance(lambda x: model.predict(x)[:, None], x, y[:, None], EACH, repeats=40, seed=1)
    theirs = of_sklearn(model, x, y, scoring="neg_root_mean_squared_error", n_repeats=40, random_state=2)
    np.testing.assert_allclose(found.mean[:, 0], theirs.importances_mean, atol=0.02)
    np.testing.assert_allclose(found.std[:, 0], theirs.importances_std, rtol=0.4, atol=1e-3)
    assert found.rmse[0] == pytest.approx(np.sqrt(np.mean((y - model.predict(x)) ** 2)), rel=1e-12)


def test_a_column_alone_in_an_exact_prediction_costs_its_own_differences(line):
    x, _ = line

    def predict(x):
        return np.column_stack([2.0 * x[:, 0], x[:, 1] ** 2])

    found = permutation_importance(predict, x, predict(x), EACH, repeats=3, seed=4)
    random = np.random.default_rng(4)
    shuffled = [predict(x[random.permutation(400)]) for _ in range(3)]
    rises = np.sqrt(np.mean((np.array(shuffled) - predict(x)) ** 2, axis=1))  # (repeats, outputs)
    np.testing.assert_allclose(found.rises[:, 0, 0], rises[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found.rises[:, 1, 1], rises[:, 1], rtol=1e-12)
    np.testing.assert_array_equal(found.rises[:, 2], 0.0)
    np.testing.assert_array_equal(found.rises[:, 1, 0], 0.0)
    assert list(found.order(1)) == [1, 0, 2]
    assert list(found.above_chance(0)) == [0]


def test_the_inputs_of_a_category_are_shuffled_together():
    one_hot = np.eye(3)[np.random.default_rng(0).integers(0, 3, 60)]
    x = np.column_stack([one_hot, np.arange(60.0)])

    def predict(x):
        np.testing.assert_array_equal(x[:, :3].sum(axis=1), 1.0)  # each row stays in exactly one category
        return x[:, :1]

    found = permutation_importance(predict, x, x[:, :1], {"kind": [0, 1, 2], "x": [3]})
    assert found.names == ("kind", "x")
    assert (found.rises[:, 0] > 0.3).all()


def test_the_rows_given_are_not_changed(line):
    x, y = line
    before = x.copy()
    permutation_importance(lambda x: x[:, :1], x, y[:, None], EACH)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("rows", "repeats"), [(1, 5), (9, 1)])
def test_too_little_to_shuffle_gets_a_sentence(rows, repeats):
    x = np.ones((rows, 1))
    with pytest.raises(SettingsError, match="give at least two rows and two repeats"):
        permutation_importance(lambda x: x, x, x, {"a": [0]}, repeats=repeats)


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"the predictions have shape \(3,\), y \(3, 1\)"):
        importance_of(lambda name, order: 0, np.ones(3), np.ones((3, 1)), ["a"])
