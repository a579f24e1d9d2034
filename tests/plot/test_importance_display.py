"""A bar for each column: as long as the error rises where it is shuffled, the longest on top."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from fallline import Columns, FittedNetwork, Importance, NetworkRegressor, SavedModel, permutation_importance
from fallline.exceptions import SettingsError
from fallline.plot import ImportanceDisplay


@pytest.fixture
def importance():
    """Three columns and two targets; the mean rises of the second target are 5, 30 and 10."""
    rises = np.array([[[1.0, 4.0], [2.0, 28.0], [3.0, 9.0]], [[1.0, 6.0], [2.0, 32.0], [3.0, 11.0]]])
    return Importance(("a", "$b_1$", "c" * 40), rises, np.array([1.0, 2.0]), 50)


def test_the_bars_are_the_mean_rises_the_longest_first(importance, ax):
    drawn = ImportanceDisplay(importance, 1, "y").plot(ax)
    assert [bar.get_width() for bar in drawn.bars_] == [30.0, 10.0, 5.0]
    spreads = np.array(drawn.spread_.get_segments())[:, :, 0]
    np.testing.assert_allclose(spreads.mean(axis=1), [30.0, 10.0, 5.0])
    np.testing.assert_allclose(np.diff(spreads, axis=1)[:, 0], 2 * np.array([32 - 28, 2, 2]) / np.sqrt(2))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["$b_1$", "c" * 23 + "…", "a"]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "rise of the RMSE of y"
    drawn.figure_.canvas.draw()


def test_of_many_columns_the_most_important_are_drawn(importance, ax):
    drawn = ImportanceDisplay(importance, 1).plot(ax, at_most=2)
    assert list(drawn.shown_) == [1, 2]
    assert len(drawn.bars_) == 2


def test_a_column_of_a_data_frame_is_shuffled_as_a_whole(ax):
    random = np.random.default_rng(1)
    X = pd.DataFrame({"age": random.uniform(0, 9, 90), "kind": list("aab" * 30), "noise": random.normal(size=90)})
    y = pd.Series(3 * X["age"] + np.where(X["kind"] == "a", 0.0, 5.0), name="height")
    fit = NetworkRegressor((), alpha=0.0, random_state=0).fit(X, y)
    drawn = ImportanceDisplay.from_estimator(fit, X, y, ax=ax)
    found = drawn.importance
    assert found.names == ("age", "kind", "noise")
    assert [found.names[i] for i in drawn.shown_] == ["age", "kind", "noise"]
    assert found.mean[2, 0] == pytest.approx(0.0, abs=1e-5)
    assert drawn.target == "height"


def test_a_saved_model_takes_its_target_from_the_table(ax):
    random = np.random.default_rng(0)
    table = {"a": random.normal(size=60), "b": random.normal(size=60)}
    table["y"] = 2 * table["a"]
    columns = Columns.fit([table], ["y"], keep=["a"])
    fit = NetworkRegressor((), alpha=0.0, random_state=0).fit(columns.encode(table), table["y"])
    model = SavedModel(fit._fitted, columns, {})
    assert isinstance(model.fitted, FittedNetwork)
    drawn = ImportanceDisplay.from_estimator(model, pd.DataFrame(table), ax=ax)
    expected = permutation_importance(
        lambda x: 2 * x[:, :1], columns.encode(table), table["y"][:, None], {"a": [0], "b": [1]}
    )
    np.testing.assert_allclose(drawn.importance.rises, expected.rises, atol=1e-6)


def test_an_estimator_of_another_library_is_asked_for_its_predictions(ax):
    X = np.random.default_rng(0).normal(size=(50, 2))
    y = np.column_stack([X[:, 0], X[:, 1]])
    model = LinearRegression().fit(X, y)
    drawn = ImportanceDisplay.from_estimator(model, X, y, output=1, names=["a", "b"], ax=ax)
    assert list(drawn.shown_) == [1, 0]
    with pytest.raises(SettingsError, match="pass output=0 to output=1"):
        ImportanceDisplay.from_estimator(model, X, y, ax=ax)
