import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from fallline import Columns, FittedNetwork, NetworkRegressor, SavedModel
from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import OneInputFitDisplay

GRID = np.linspace(0.0, 1.0, 5)


@pytest.fixture(scope="module")
def line():
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(-3.0, 5.0, 40))[:, None]
    y = 20.0 + 3.0 * x[:, 0] + random.normal(size=40)
    return NetworkRegressor((), alpha=0.0, random_state=0).fit(x, y), x, y


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(1)
    X = pd.DataFrame({"age": random.uniform(0, 9, 60), "dose": random.uniform(5, 6, 60), "kind": list("aab" * 20)})
    y = X["age"].to_numpy() + np.where(X["kind"] == "a", 0.0, 5.0) + 0.1 * random.normal(size=60)
    return NetworkRegressor((), alpha=0.0, random_state=0).fit(X, y), X, y


def test_a_line_is_drawn_in_the_units_of_the_user_with_its_band(line, ax):
    estimator, x, y = line
    drawn = OneInputFitDisplay.from_estimator(estimator, x, y, coverage=0.9, ax=ax)
    fit = stats.linregress(x[:, 0], y)
    middle = fit.intercept + fit.slope * drawn.grid
    np.testing.assert_allclose(drawn.prediction, middle, rtol=1e-6)
    np.testing.assert_allclose(0.5 * (drawn.low + drawn.high), middle, rtol=1e-6)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "rows", "90 % prediction band: a new row", "prediction",
    ]  # fmt: skip


def test_the_curve_is_what_the_estimator_predicts_over_the_range_of_the_rows(line, ax):
    estimator, x, y = line
    drawn = OneInputFitDisplay.from_estimator(estimator, x, y, ax=ax, target="length [m]", names=["time [s]"])
    np.testing.assert_allclose(drawn.curve_.get_ydata(), estimator.predict(drawn.curve_.get_xdata()[:, None]))
    assert (drawn.grid[0], drawn.grid[-1]) == (x.min(), x.max())
    np.testing.assert_equal(drawn.points_.get_data(), [x[:, 0], y])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time [s]", "length [m]")


def test_other_inputs_are_held_at_their_medians_and_the_label_says_so(frame, ax):
    estimator, X, y = frame
    drawn = OneInputFitDisplay.from_estimator(estimator, X, y, feature="age", ax=ax)
    rows = pd.DataFrame({"age": drawn.grid, "dose": X["dose"].median(), "kind": "a"})
    np.testing.assert_allclose(drawn.prediction, estimator.predict(rows), rtol=1e-6)
    assert drawn.held.startswith(f"dose {X['dose'].median():.4g} and ")
    assert drawn.held.endswith("held at their medians")
    assert "held at their medians" in ax.get_xlabel().replace("\n", " ")
    assert drawn.points_.get_alpha() < 0.3


def test_the_fitted_network_and_the_saved_model_give_the_same_picture(frame, ax):
    estimator, X, y = frame
    first = OneInputFitDisplay.from_estimator(estimator, X, y, ax=ax)
    table = X.assign(yield_=y)
    columns = Columns.fit([{name: table[name].to_numpy() for name in table}], ["yield_"])
    saved = SavedModel(estimator._fitted, columns, {}, {}, estimator.path_, estimator.intervals())
    again = OneInputFitDisplay.from_estimator(saved, table, ax=ax)
    np.testing.assert_allclose([again.prediction, again.low, again.high], [first.prediction, first.low, first.high])
    assert (again.target, again.feature) == ("yield_", "age")
    fitted = FittedNetwork(estimator.network_, estimator.weights_, estimator.scaling_)
    bare = OneInputFitDisplay.from_estimator(fitted, columns.encode({n: X[n].to_numpy() for n in X}), y, ax=ax)
    np.testing.assert_allclose(bare.prediction, first.prediction)
    assert bare.band_ is None  # nothing is known of its starts


def test_a_target_that_is_a_series_gives_its_name(frame, ax):
    estimator, X, y = frame
    drawn = OneInputFitDisplay.from_estimator(estimator, X, pd.Series(np.asarray(y), name="yield"), ax=ax)
    assert ax.get_ylabel() == drawn.target == "yield"


def test_of_several_targets_one_is_chosen(line, ax):
    _, x, y = line
    both = NetworkRegressor((), alpha=0.0, random_state=0).fit(x, np.c_[y, -2 * y])
    drawn = OneInputFitDisplay.from_estimator(both, x, np.c_[y, -2 * y], output=1, ax=ax)
    np.testing.assert_allclose(drawn.prediction, both.predict(drawn.grid[:, None])[:, 1])
    np.testing.assert_equal(drawn.y, -2 * y)
    with pytest.raises(SettingsError, match="pass output=0 to output=1"):
        OneInputFitDisplay.from_estimator(both, x, np.c_[y, y], ax=ax)


def test_the_band_is_that_of_the_intervals_of_the_fit(line, ax):
    _, x, y = line
    waves = NetworkRegressor((3,), alpha=0.1, n_starts=3, random_state=0).fit(x, y)
    drawn = OneInputFitDisplay.from_estimator(waves, x, y, coverage=0.8, ax=ax)
    interval = waves.predict(drawn.grid[:, None], return_interval=0.8)[1]
    np.testing.assert_allclose(np.stack([drawn.low, drawn.high], axis=1), interval, rtol=1e-9)


def test_the_band_of_a_mean_without_intervals_is_that_of_its_starts(line, ax):
    _, x, y = line
    waves = NetworkRegressor((3,), alpha=1.0, n_starts=3, random_state=0).fit(x, y)
    drawn = OneInputFitDisplay.from_estimator(waves._fitted, x, y, ax=ax)
    np.testing.assert_allclose(0.5 * (drawn.low + drawn.high), waves.predict(drawn.grid[:, None]), rtol=1e-9)


def test_without_what_a_band_needs_there_is_none(line, ax):
    estimator, x, y = line
    other = OneInputFitDisplay.from_estimator(LinearRegression().fit(x, y), x, y, ax=ax)
    np.testing.assert_allclose(other.prediction, estimator.predict(other.grid[:, None]), rtol=1e-6)
    assert other.band_ is None
    assert OneInputFitDisplay.from_estimator(estimator, x, y, band=False, ax=ax).band_ is None
    assert OneInputFitDisplay.from_estimator(estimator._fitted, x[:2], y[:2], ax=ax).band_ is None
    assert OneInputFitDisplay.from_estimator(clone(estimator).partial_fit(x, y), x, y, ax=ax).band_ is None


def test_row_weights_count(line, ax):
    _, x, y = line
    s = np.tile([1.0, 4.0], 20)
    weighted = NetworkRegressor((), alpha=0.0, random_state=0).fit(x, y, s)
    repeated = np.repeat(np.arange(40), s.astype(int))
    one = OneInputFitDisplay.from_estimator(weighted._fitted, x, y, sample_weight=s, ax=ax)
    other = OneInputFitDisplay.from_estimator(weighted._fitted, x[repeated], y[repeated], ax=ax)
    plain = OneInputFitDisplay.from_estimator(weighted._fitted, x, y, ax=ax)
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], rtol=1e-3)
    assert not np.allclose([one.low, one.high], [plain.low, plain.high], rtol=1e-3)


def test_a_band_that_has_no_end_is_a_gap(ax):
    drawn = OneInputFitDisplay(GRID, GRID, GRID, GRID, np.full(5, -np.inf), np.full(5, np.inf)).plot(ax)
    drawn.figure_.canvas.draw()
    assert np.isfinite(ax.get_ylim()).all()


def test_an_input_of_one_value_and_names_with_dollar_signs_are_drawn(ax):
    x, y = np.ones((9, 1)), np.arange(9.0)
    estimator = NetworkRegressor((), random_state=0).fit(x, y)
    drawn = OneInputFitDisplay.from_estimator(estimator, x, y, names=["$x_{"], target="$y_{", ax=ax)
    drawn.figure_.canvas.draw()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_{", "$y_{")


def test_what_does_not_fit_is_refused(line, frame, ax):
    estimator, x, y = line
    with pytest.raises(SettingsError, match="there is no input 'ages': the model has 3, age, dose"):
        OneInputFitDisplay.from_estimator(*frame, feature="ages", ax=ax)
    with pytest.raises(SettingsError, match="there is no input 1: the model has 1, x1"):
        OneInputFitDisplay.from_estimator(estimator, x, y, feature=1, ax=ax)
    with pytest.raises(
        ShapeError, match=r"for a single input, pass x\[:, None\]|For a single input, pass x\[:, None\]"
    ):
        OneInputFitDisplay.from_estimator(estimator, x[:, 0], y, ax=ax)
    with pytest.raises(ShapeError, match="expected a number for each of the 40 rows and 1 targets"):
        OneInputFitDisplay.from_estimator(estimator, x, y[:3], ax=ax)
    with pytest.raises(ShapeError, match=r"low has shape \(3,\) for a grid of shape \(5,\)"):
        OneInputFitDisplay(GRID, GRID, GRID, GRID, np.ones(3), GRID)
