"""Slopes over the values of a column: points, their mean and their band."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from fallline import NetworkClassifier, NetworkRegressor, Sensitivity
from fallline.exceptions import SettingsError
from fallline.plot import SensitivityDisplay


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(1)
    X = pd.DataFrame({"age": random.uniform(0, 9, 90), "kind": list("aab" * 30), "size": random.normal(size=90)})
    X.loc[::9, "size"] = np.nan
    y = 3 * X["age"] + np.where(X["kind"] == "a", 0.0, 5.0)
    return NetworkRegressor((), alpha=0.0, random_state=0).fit(X, y), X


def test_every_row_has_its_slope_in_the_units_of_the_table(frame, ax):
    fit, X = frame
    drawn = SensitivityDisplay.from_estimator(fit, X, column="age", target="height", ax=ax)
    at, slopes = drawn.points_.get_data()
    np.testing.assert_array_equal(at, np.sort(X["age"]))
    np.testing.assert_allclose(slopes, 3.0, rtol=1e-5)
    np.testing.assert_allclose(drawn.curve_.get_ydata(), 3.0, rtol=1e-5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "∂ height / ∂ age")
    assert drawn.sensitivity.names == ("age", "size")  # of categories there is no slope


def test_rows_where_the_column_is_missing_are_not_drawn(frame, ax):
    fit, X = frame
    drawn = SensitivityDisplay.from_estimator(fit, X, column=2, ax=ax)
    assert len(drawn.points_.get_xdata()) == 80


def test_mean_and_band_are_those_of_rows_of_nearly_equal_value(ax):
    at = np.repeat(np.arange(4.0), 25)
    slopes = at**2 + np.tile(np.linspace(-1, 1, 25), 4)
    drawn = SensitivityDisplay(Sensitivity(("x",), at[:, None], slopes[:, None, None], 0.5)).plot(ax, at_most=30)
    middle, mean = drawn.curve_.get_data()
    np.testing.assert_allclose(middle, np.arange(4.0))
    np.testing.assert_allclose(mean, middle**2, atol=1e-12)
    ends = drawn.band_.get_paths()[0].vertices[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((-0.5, 9.5))
    assert len(drawn.points_.get_xdata()) == 30


def test_a_single_row_and_none_can_be_drawn(ax):
    row = Sensitivity(("x",), np.ones((1, 1)), np.full((1, 1, 1), 2.0))
    assert SensitivityDisplay(row).plot(ax).curve_.get_marker() == "o"
    nothing = Sensitivity(("x",), np.ones((3, 1)), np.full((3, 1, 1), np.nan))
    assert len(SensitivityDisplay(nothing).plot(ax).points_.get_xdata()) == 0


def test_of_a_classifier_it_is_the_slope_of_an_output(ax):
    X = np.random.default_rng(0).normal(size=(60, 2))
    fit = NetworkClassifier((), alpha=0.0, random_state=0).fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    drawn = SensitivityDisplay.from_estimator(fit, X, column=0, output=2, ax=ax)
    assert drawn.sensitivity.slopes.shape == (60, 2, 3)
    slopes = drawn.sensitivity.mean[0]
    assert slopes[0] < 0 < slopes[2]
    assert slopes.sum() == pytest.approx(0.0, abs=0.02)  # at the minimum the three outputs add up to 1
    with pytest.raises(SettingsError, match="pass output=0 to output=2"):
        SensitivityDisplay.from_estimator(fit, X, column=0, ax=ax)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("kind", "column 'kind' is a category, which has no slope"),
        ("aeg", "there is no column 'aeg'"),
        (3, "no column 3"),
    ],
)
def test_a_column_without_a_slope_gets_a_sentence(frame, ax, column, words):
    fit, X = frame
    with pytest.raises(SettingsError, match=f"{words}.*the columns of numbers are age and size"):
        SensitivityDisplay.from_estimator(fit, X, column=column, ax=ax)


def test_a_model_of_another_library_gets_a_sentence(ax):
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(SettingsError, match="LinearRegression is no network of fallline"):
        SensitivityDisplay.from_estimator(LinearRegression().fit(X, X[:, 0]), X, ax=ax)
