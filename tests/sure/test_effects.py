"""Partial dependence against scikit-learn, and its band against closed forms."""

import numpy as np
import pytest
from sklearn.inspection import partial_dependence as of_sklearn
from sklearn.neighbors import KNeighborsRegressor

from fallline import partial_dependence
from fallline.exceptions import SettingsError

X = np.random.default_rng(0).normal(size=(200, 3))
VALUES = np.linspace(-2.0, 2.0, 9)[:, None]


def test_the_mean_is_that_of_scikit_learn():
    model = KNeighborsRegressor().fit(X, X[:, 0] * X[:, 1] + X[:, 2])
    found = partial_dependence(lambda x: model.predict(x)[:, None], X, [0], VALUES)
    theirs = of_sklearn(model, X, [0], method="brute", kind="average", custom_values={0: VALUES[:, 0]})
    np.testing.assert_allclose(found.mean[:, 0], theirs["average"][0], rtol=1e-10)
    np.testing.assert_array_equal(found.at, VALUES[:, 0])


def test_where_a_column_does_the_same_in_all_rows_the_band_is_the_curve():
    found = partial_dependence(lambda x: np.sin(x[:, :1]) + 5 * x[:, 1:2] ** 3, X, [0], VALUES)
    np.testing.assert_allclose(found.mean, np.sin(VALUES) + 5 * np.mean(X[:, 1] ** 3), rtol=1e-10)
    np.testing.assert_allclose(found.low, found.mean, atol=1e-10)
    np.testing.assert_allclose(found.high, found.mean, atol=1e-10)


def test_of_a_product_the_band_is_as_wide_as_the_other_factor_spreads():
    found = partial_dependence(lambda x: x[:, :1] * x[:, 1:2], X, [0], VALUES, share=0.6)
    low, high = np.quantile(X[:, 1], [0.2, 0.8])  # the values have mean 0: a row's curve is its other factor times them
    steps = np.abs(VALUES[:, 0])
    np.testing.assert_allclose((found.high - found.low)[:, 0], (high - low) * steps, atol=1e-12)


def test_inputs_that_belong_together_change_together():
    both = np.column_stack([VALUES[:, 0], VALUES[:, 0] ** 2])
    found = partial_dependence(lambda x: x[:, :1] + x[:, 2:3], X, [0, 2], both, column="day", at=np.arange(9.0))
    np.testing.assert_allclose(found.mean[:, 0], both.sum(axis=1), atol=1e-12)
    assert found.column == "day"
    np.testing.assert_array_equal(found.at, np.arange(9.0))


def test_every_target_has_its_curve():
    found = partial_dependence(lambda x: np.column_stack([x[:, 0], -x[:, 0]]), X, [0], VALUES)
    np.testing.assert_allclose(found.mean, VALUES * [1.0, -1.0], atol=1e-12)


@pytest.mark.parametrize("share", [0, 1, 80])
def test_a_share_that_is_none_gets_a_sentence(share):
    with pytest.raises(SettingsError, match=r"give a share of the rows between 0 and 1, such as 0\.8"):
        partial_dependence(lambda x: x, X, [0], VALUES, share=share)


@pytest.mark.parametrize(("rows", "values"), [(X[:0], VALUES), (X, VALUES[:0])], ids=["no rows", "no values"])
def test_without_rows_or_values_there_is_no_effect(rows, values):
    with pytest.raises(SettingsError, match="give at least one of each"):
        partial_dependence(lambda x: x, rows, [0], values)
