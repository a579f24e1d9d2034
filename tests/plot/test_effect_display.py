"""The effect of a column: a curve over numbers and dates, a point for each category."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from fallline import Effect, NetworkRegressor
from fallline.exceptions import SettingsError
from fallline.plot import EffectDisplay

DAYS = np.datetime64("2021-01-01") + np.arange(90) * np.timedelta64(9, "D")


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(1)
    X = pd.DataFrame({"age": random.uniform(0, 9, 90), "kind": list("aab" * 30), "day": DAYS})
    y = 3 * X["age"] + np.where(X["kind"] == "a", 0.0, 5.0)
    return NetworkRegressor((), alpha=0.0, random_state=0).fit(X, y), X


def test_over_a_number_the_curve_is_the_mean_prediction(frame, ax):
    fit, X = frame
    drawn = EffectDisplay.from_estimator(fit, X, column="age", target="height", ax=ax)
    at, mean = drawn.curve_.get_data()
    assert (at.min(), at.max()) == (X["age"].min(), X["age"].max())
    np.testing.assert_allclose(mean, 3 * at + 5 / 3, rtol=1e-5)  # a third of the rows is of kind b
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "mean prediction of height")
    band = drawn.band_.get_paths()[0].vertices
    np.testing.assert_allclose(np.interp(band[:, 0], at, mean), band[:, 1], atol=1e-3)  # the same in every row


def test_of_categories_each_has_its_point(frame, ax):
    fit, X = frame
    drawn = EffectDisplay.from_estimator(fit, X, column=1, ax=ax)
    mean, places = drawn.curve_.get_data()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    np.testing.assert_allclose(np.diff(mean), 5.0, rtol=1e-5)
    np.testing.assert_array_equal(places, [0, 1])
    assert len(drawn.band_.get_segments()) == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean prediction", "kind")


def test_over_dates_the_axis_shows_dates(frame, ax):
    fit, X = frame
    drawn = EffectDisplay.from_estimator(fit, X, column="day", ax=ax)
    drawn.figure_.canvas.draw()
    assert drawn.effect.at[0] == DAYS[0]
    shown = [text.get_text() for text in ax.get_xticklabels()]
    assert 2 <= len(set(shown)) == len(shown)
    assert all(text.startswith("202") for text in shown)


def test_names_of_categories_are_no_formulas(ax):
    at = np.array(["$x_{", "b" * 30], object)
    drawn = EffectDisplay(Effect("$z", at, *np.zeros((3, 2, 1))), 0, "$y").plot(ax)
    drawn.figure_.canvas.draw()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["$x_{", "b" * 23 + "…"]


def test_a_column_of_one_value_is_a_point(ax):
    drawn = EffectDisplay(Effect("x", np.array([2.0]), *np.ones((3, 1, 1)))).plot(ax)
    drawn.figure_.canvas.draw()
    assert drawn.curve_.get_marker() == "o"


def test_of_another_library_a_column_is_a_number_or_a_name_given(ax):
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = LinearRegression().fit(X, X @ [1.0, -2.0])
    drawn = EffectDisplay.from_estimator(model, X, column="b", names=["a", "b"], ax=ax)
    np.testing.assert_allclose(np.gradient(drawn.effect.mean[:, 0], drawn.effect.at), -2.0, rtol=1e-9)


@pytest.mark.parametrize("column", ["aeg", 3, -1])
def test_an_unknown_column_gets_a_sentence(frame, ax, column):
    fit, X = frame
    with pytest.raises(SettingsError, match="the model has 3, age, kind and day; give a name, or a number"):
        EffectDisplay.from_estimator(fit, X, column=column, ax=ax)
