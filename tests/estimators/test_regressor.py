import pickle
import warnings

import numpy as np
import optax
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

from fallline import DescentWarning, GradientDescent, LevenbergMarquardt, NetworkRegressor, verdict_of
from fallline.exceptions import SettingsError, ShapeError


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the checks set max_iter to 5
@parametrize_with_checks([NetworkRegressor(hidden_layer_sizes=(4,))])
def test_scikit_learn_check(estimator, check, passes):
    assert passes(check, estimator)


@pytest.fixture
def waves(random):
    x = random.uniform(-2, 2, size=(120, 2))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] ** 2


def small(**settings):
    return NetworkRegressor(**({"hidden_layer_sizes": (6,), "random_state": 0, "n_starts": 1} | settings))


def by_hand(estimator, x):
    """The forward pass from coefs_ and intercepts_ alone."""
    for layer, (coef, intercept) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        x = x @ coef + intercept
        if layer < len(estimator.coefs_) - 1:
            x = np.tanh(x)
    return x


def test_coefs_are_in_the_users_units(waves):
    x, y = waves
    fit = small().fit(1000 * x + 5, 1e-3 * y - 7)
    np.testing.assert_allclose(by_hand(fit, 1000 * x + 5)[:, 0], fit.predict(1000 * x + 5), rtol=1e-10)
    assert fit.score(1000 * x + 5, 1e-3 * y - 7) > 0.99


def test_several_targets_are_predicted_as_columns(waves):
    x, y = waves
    both = np.column_stack([y, x[:, 0] * x[:, 1]])
    fit = small(hidden_layer_sizes=(12,), alpha=0.01).fit(x, both)
    assert fit.predict(x).shape == (120, 2)
    assert fit.n_outputs_ == 2
    assert fit.score(x, both) > 0.98


def test_loss_curve_is_the_penalised_error_per_row(waves):
    x, y = waves
    fit = small(alpha=0.5).fit(x, y)
    scaled = fit.scaling_.x(x)
    residual = fit.network_.predict(fit.weights_, scaled) - fit.scaling_.y(y[:, None])
    coef = fit.weights_[fit.network_.penalised()]
    expected = (0.5 * (residual**2).sum() + 0.25 * (coef**2).sum()) / 120
    assert fit.loss_curve_[-1] == pytest.approx(expected, rel=1e-10)
    assert fit.best_loss_ == min(fit.loss_curve_)
    assert fit.n_iter_ == len(fit.loss_curve_) - 1


def test_sample_weights_are_repetitions(waves):
    x, y = waves
    weights = np.arange(120) % 3
    settings = {"max_iter": 12, "alpha": 0.1}
    with pytest.warns(ConvergenceWarning):
        weighted = small(**settings).fit(x, y, sample_weight=weights)
    with pytest.warns(ConvergenceWarning):
        repeated = small(**settings).fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-6)


def test_early_stopping_divides_in_three_and_keeps_the_lowest_validation_weights(random):
    x = random.normal(size=(200, 5))
    y = x[:, 0] + random.normal(size=200)
    fit = small(early_stopping=True, alpha=0.0, hidden_layer_sizes=(20,), n_iter_no_change=6).fit(x, y)
    parts = [fit.train_rows_, fit.validation_rows_, fit.test_rows_]
    assert [len(part) for part in parts] == [140, 30, 30]
    assert sorted(np.concatenate(parts)) == list(range(200))
    assert fit.path_.best_step == int(np.argmin(fit.validation_loss_curve_))
    on_validation = 0.5 * np.sum((fit.predict(x[parts[1]]) - y[parts[1]]) ** 2) / 30 / fit.scaling_.y_scale[0] ** 2
    assert min(fit.validation_loss_curve_) == pytest.approx(on_validation, rel=1e-9)
    assert "Stopped early" in fit.stop_reason_
    assert set(fit.path_.watched) == {"validation", "test"}


def test_early_stopping_without_a_test_part_trains_on_the_rest(waves):
    fit = small(early_stopping=True, test_fraction=0).fit(*waves)
    assert (len(fit.train_rows_), len(fit.validation_rows_), len(fit.test_rows_)) == (102, 18, 0)


def test_warm_start_goes_on_where_it_stopped(waves):
    x, y = waves
    first = small(max_iter=5, warm_start=True, alpha=0.1)
    with pytest.warns(ConvergenceWarning):
        first.fit(x, y)
    before = first.loss_curve_[-1]
    first.set_params(max_iter=300).fit(x, y)
    assert first.loss_curve_[0] == pytest.approx(before, rel=1e-12)
    assert first.loss_curve_[-1] < before
    with pytest.raises(ValueError, match="set warm_start=False"):
        first.set_params(hidden_layer_sizes=(7,)).fit(x, y)


def test_a_grid_search_tunes_the_settings_of_a_descent(waves):
    x, y = waves
    rough = small(descent=GradientDescent(0.1), max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(
            rough, {"descent__learning_rate": [1e-6, 0.3], "descent__momentum": [0.0, 0.9]}, cv=3
        ).fit(x, y)
    assert search.best_params_["descent__learning_rate"] == 0.3
    assert rough.descent == GradientDescent(0.1)
    assert clone(rough).descent == rough.descent
    assert clone(rough).descent is not rough.descent


def test_it_works_in_a_pipeline_and_cross_validation(waves):
    scores = cross_val_score(make_pipeline(PolynomialFeatures(2), small(alpha=0.1)), *waves, cv=3)
    assert scores.min() > 0.9


def test_a_pickled_fit_predicts_the_same(waves):
    x, y = waves
    fit = small().fit(x, y)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(x), fit.predict(x))
    np.testing.assert_array_equal(again.path_.weights, fit.path_.weights)


def test_the_notebook_representation_names_the_descent():
    page = small(descent=LevenbergMarquardt(damping=0.5))._repr_html_()
    assert "NetworkRegressor" in page
    assert "damping" in page


class Recorder:
    def __init__(self, stop_at=None):
        self.calls, self.stop_at, self.scores = [], stop_at, []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.calls.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_name == "step" and context.task_id + 1 == self.stop_at


def test_each_step_is_a_task_of_scikit_learns_callbacks(waves):
    recorder = Recorder(stop_at=4)
    fit = small().set_callbacks(recorder).fit(*waves)
    step = ["begin step", "end step"]
    assert recorder.calls == ["setup", "begin fit", *step * 4, "end fit", "teardown"]
    assert fit.n_iter_ == 4
    assert recorder.scores[-1] == pytest.approx(fit.score(*waves))
    assert recorder.scores[3] > recorder.scores[0]


def test_scikit_learns_own_callbacks_follow_a_fit(waves, capsys):
    monitor = ScoringMonitor(scoring="r2")
    fit = small().set_callbacks(ProgressBar(), monitor).fit(*waves)
    log = monitor.get_logs(select="most_recent").data if hasattr(monitor.get_logs(), "data") else monitor.get_logs()
    assert str(log)
    assert fit.score(*waves) > 0.98


def frame(rows=90):
    random = np.random.default_rng(5)
    kind = random.choice(["ash", "birch", "oak"], size=rows)
    age = random.uniform(1, 50, size=rows)
    felled = np.array("2024-01-01", "datetime64[D]") + random.integers(0, 700, size=rows)
    y = age + np.select([kind == "ash", kind == "oak"], [5.0, -5.0], 0.0)
    age[::9] = np.nan
    return {"kind": kind, "age": age, "felled": felled, "healthy": age > 20}, y


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_a_data_frame_of_mixed_columns_is_encoded(library):
    data, y = frame()
    X = library(data)
    fit = small(alpha=1.0).fit(X, y)
    assert list(fit.feature_names_in_) == list(data)
    assert {use.name: use.role for use in fit.columns_.uses if use.name in data} == {
        "kind": "category", "age": "number", "felled": "date", "healthy": "boolean",
    }  # fmt: skip
    assert fit.predict(X).shape == (90,)
    assert fit.score(X, y) > 0.8


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_a_data_frame_of_numbers_is_taken_as_it_is(library, waves):
    x, y = waves
    X = library({"a": x[:, 0], "b": x[:, 1]})
    fit = small().fit(X, y)
    np.testing.assert_allclose(fit.predict(X), small().fit(x, y).predict(x), rtol=1e-10)
    assert fit.columns_ is None
    assert list(fit.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match=r"(?i)feature names|columns"):
        fit.predict(library({"b": x[:, 1], "a": x[:, 0]}))


def test_a_missing_column_is_named_at_predict():
    data, y = frame()
    fit = small(alpha=1.0).fit(pd.DataFrame(data), y)
    with pytest.raises(ValueError, match="kind"):
        fit.predict(pd.DataFrame(data).drop(columns="kind"))
    with pytest.raises(ValueError, match="pass a data frame with the columns kind, age, felled, healthy"):
        fit.predict(np.zeros((3, 4)))


def test_a_rate_that_is_too_large_warns_and_keeps_the_lowest_weights(waves):
    x, y = waves
    with pytest.warns(DescentWarning, match="learning rate 1000 is too large.*largest stable rate"):
        fit = small(descent=GradientDescent(1000.0), activation="identity").fit(x, y)
    assert np.isfinite(fit.predict(x)).all()
    assert fit.best_loss_ == min(fit.loss_curve_)


@pytest.mark.parametrize("encoded", [False, True], ids=["numbers", "mixed columns"])
def test_the_column_that_makes_a_rate_diverge_is_named(encoded, random):
    x = pd.DataFrame(random.normal(size=(60, 3)), columns=["width", "pressure", "depth"])
    x["pressure"] *= 1000
    y = x["width"] + 1e-3 * x["pressure"]
    X = x.assign(kind=["ash", "oak"] * 30) if encoded else x
    with pytest.warns(DescentWarning, match=r"The input pressure makes the curvature so large .*Standardise it"):
        small(descent=GradientDescent(0.1), hidden_layer_sizes=(), scale=False).fit(X, y)


def test_max_iter_warns_as_scikit_learn_does(waves):
    with pytest.warns(ConvergenceWarning, match="max_iter = 3"):
        small(max_iter=3).fit(*waves)


def test_a_time_that_is_over_warns_and_leaves_finite_weights(waves):
    with pytest.warns(ConvergenceWarning, match="The time .max_seconds. was over before the first step"):
        fit = small(max_seconds=1e-9).fit(*waves)
    assert np.isfinite(fit.predict(waves[0])).all()
    assert fit.stop_reason_.endswith("Give more time.")


def test_verbose_prints_the_error(waves, capsys):
    small(verbose=True).fit(*waves)
    assert "E/n = " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "sigmoid"}, "choose one of identity, logistic, tanh"),
        ({"hidden_layer_sizes": (0,)}, r"such as \(20,\), \(\) for none, or 'auto'"),
        ({"hidden_layer_sizes": "20"}, r"such as \(20,\)"),
        ({"descent": "newton"}, "levenberg-marquardt, l-bfgs, rprop, gradient"),
        ({"alpha": -1}, "alpha=-1"),
        ({"early_stopping": True, "validation_fraction": 0.9, "test_fraction": 0.2}, "leave rows to train on"),
        ({"max_iter": 0.5}, "max_iter=0.5"),
        ({"max_seconds": 0}, "max_seconds=0 is not possible: give a positive number of seconds"),
        ({"max_seconds": float("nan")}, "max_seconds=nan is not possible"),
        ({"n_jobs": 0}, "n_jobs=0 is not possible: give a number of threads from 1 up"),
        ({"n_jobs": "all"}, "n_jobs='all' is not possible"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(settings, message, waves):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(*waves)


def test_predicting_before_fitting_is_refused():
    with pytest.raises(NotFittedError):
        small().predict(np.zeros((2, 2)))


def test_a_network_without_a_hidden_layer_is_the_linear_or_logistic_neuron(random):
    x = random.normal(size=(80, 2))
    y = 1 / (1 + np.exp(-(2 * x[:, 0] - x[:, 1])))
    fit = small(hidden_layer_sizes=(), output_activation="logistic", bias=False, scale=False, alpha=0.0).fit(x, y)
    np.testing.assert_allclose(fit.coefs_[0][:, 0], [2, -1], rtol=1e-6)
    assert fit.intercepts_ == []


@pytest.fixture
def many(random):
    x = random.uniform(-2, 2, size=(600, 2))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] ** 2


def test_two_calls_of_partial_fit_are_two_epochs(many):
    x, y = many
    descent = GradientDescent(0.05, momentum=0.9, batch_size=50)
    fit = small(descent=descent).partial_fit(x, y)
    once = fit.weights_
    fit.partial_fit(x, y)
    with pytest.warns(ConvergenceWarning, match="max_iter = 2 epochs"):
        path = small(descent=descent, max_iter=2).fit(x, y).path_
    assert (fit.n_iter_, len(fit.loss_curve_)) == (2, 3)
    assert fit.loss_curve_[0] == pytest.approx(path.penalised_error[0] / 600, rel=1e-12)
    assert fit.loss_curve_[2] < fit.loss_curve_[1] < fit.loss_curve_[0]
    assert not np.array_equal(once, fit.weights_)
    np.testing.assert_allclose(fit.weights_, path.final_weights, rtol=1e-12)
    assert fit.path_.steps.tolist() == [12, 24]


def test_partial_fit_is_the_same_for_the_same_random_state(many):
    x, y = many
    one, other = (small().partial_fit(x, y).partial_fit(x[:300], y[:300]) for _ in range(2))
    np.testing.assert_array_equal(one.predict(x), other.predict(x))


def test_partial_fit_keeps_the_scaling_of_its_first_rows_and_learns_from_all(many):
    x, y = many
    fit = small(hidden_layer_sizes=(12,), alpha=0.01)
    for _ in range(60):
        for part in np.array_split(np.arange(600), 3):
            fit.partial_fit(x[part], y[part])
    np.testing.assert_allclose(fit.scaling_.x_mean, x[:200].mean(axis=0), rtol=1e-12)
    assert fit.score(x, y) > 0.95
    np.testing.assert_allclose(by_hand(fit, x)[:, 0], fit.predict(x), rtol=1e-8)


def test_partial_fit_goes_on_after_fit_and_fit_starts_anew_after_partial_fit(many):
    x, y = many
    fit = small(alpha=0.1).fit(x, y)
    fitted = fit.loss_curve_[-1]
    fit.partial_fit(x, y)
    assert fit.path_.penalised_error[0] / 600 == pytest.approx(fitted, rel=1e-9)
    assert fit.starts_ is None
    np.testing.assert_array_equal(fit.fit(x, y).weights_, small(alpha=0.1).fit(x, y).weights_)


def test_a_descent_by_all_rows_takes_batches_in_partial_fit(many):
    fit = small(descent=GradientDescent(0.05)).partial_fit(*many)
    assert fit.path_.descent.batch_size == 200
    assert fit.path_.n_steps == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"descent": LevenbergMarquardt()}, r"needs all rows at every step.*descent='mini-batch'"),
        ({"descent": "levenberg-marquardt"}, "LevenbergMarquardt needs all rows at every step"),
        ({"alpha": "evidence"}, "alpha='evidence' needs all rows"),
    ],
)
def test_what_needs_all_rows_refuses_to_go_on_with_some(many, settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).partial_fit(*many)


def test_partial_fit_refuses_rows_and_targets_of_another_shape(many):
    x, y = many
    fit = small().partial_fit(x, y)
    with pytest.raises(ValueError, match="3 features"):
        fit.partial_fit(np.column_stack([x, y]), y)
    with pytest.raises(ValueError, match="call fit to start anew"):
        fit.partial_fit(x, np.column_stack([y, y]))


def test_partial_fit_on_data_frames_keeps_the_encoding():
    data, y = frame()
    X = pd.DataFrame(data)
    fit = small(alpha=1.0).partial_fit(X, y).partial_fit(X[:20], y[:20])
    assert fit.predict(X[:3]).shape == (3,)
    with pytest.raises(ValueError, match="kind"):
        fit.partial_fit(X.drop(columns="kind"), y)


def test_a_rate_that_is_too_large_for_partial_fit_warns_and_keeps_the_weights(many):
    x, y = many
    fit = small(descent=GradientDescent(1e4, batch_size=10), activation="identity")
    with pytest.warns(DescentWarning, match="learning rate 10000 is too large"):
        fit.partial_fit(x, y)
    assert np.isfinite(fit.predict(x)).all()


def test_a_pickled_network_goes_on_where_it_was(many):
    x, y = many
    fit = small().partial_fit(x, y)
    again = pickle.loads(pickle.dumps(fit)).partial_fit(x, y)
    np.testing.assert_array_equal(again.weights_, fit.partial_fit(x, y).weights_)


def test_an_optax_transformation_is_a_descent_that_can_be_cloned(many):
    x, y = many
    rough = small(descent=optax.adam(0.05), max_iter=100, alpha=0.1)
    with pytest.warns(ConvergenceWarning):
        fit = clone(rough).fit(x, y)
    assert fit.score(x, y) > 0.9
    assert clone(rough).partial_fit(x, y).path_.n_steps == 3


def test_mini_batches_fit_as_well_as_scikit_learns_network(many):
    x, y = many
    fit = small(hidden_layer_sizes=(32,), descent="mini-batch").fit(x, y)
    assert (fit.n_iter_, fit.path_.n_epochs) == (50, 50)
    assert "learning rate had decayed to zero" in fit.stop_reason_
    theirs = MLPRegressor(hidden_layer_sizes=(32,), max_iter=50, random_state=0, batch_size=128)
    with pytest.warns(ConvergenceWarning):
        theirs.fit(x, y)
    assert fit.score(x, y) > theirs.score(x, y)


def test_the_rows_of_the_fit_have_the_error_of_its_path(random):
    x = random.normal(size=(50, 2))
    y, s = 3 * x + 1 + 0.3 * random.normal(size=(50, 2)), random.uniform(0.5, 2, 50)
    fit = NetworkRegressor((3,), random_state=0, early_stopping=True, n_starts=1).fit(x, y, sample_weight=s)
    rows = fit.descended_rows(x, y, s)
    r = fit.network_.predict(fit.path_.best_weights, rows.x) - rows.y
    at = int(np.flatnonzero(fit.path_.steps == fit.path_.best_step)[0])
    assert 0.5 * (rows.sample_weight[:, None] * r**2).sum() == pytest.approx(fit.path_.error[at], rel=1e-9)
    with pytest.raises(ShapeError, match="X has 49 rows, but the fit had 50"):
        fit.descended_rows(x[1:], y[1:])


def test_intervals_come_beside_the_predictions(waves):
    x, y = waves
    y = y + 0.2 * np.random.default_rng(1).normal(size=len(y))
    fit = small(alpha=0.1).fit(x, y)
    predicted, std, interval = fit.predict(x, return_std=True, return_interval=0.95)
    np.testing.assert_array_equal(predicted, fit.predict(x))
    assert (std.shape, interval.shape) == ((120,), (120, 2))
    np.testing.assert_allclose(interval.mean(axis=1), predicted, rtol=1e-9)
    np.testing.assert_allclose(np.ptp(interval, axis=1) / std, np.ptp(interval[0]) / std[0], rtol=1e-9)
    assert 0.15 < std.mean() < 0.3
    np.testing.assert_array_equal(fit.predict(x, return_interval=0.95)[1], interval)
    np.testing.assert_array_equal(fit.predict(x, return_std=True)[1], std)
    assert 0.9 < np.mean((interval[:, 0] <= y) & (y <= interval[:, 1])) <= 1.0


def test_intervals_of_several_targets_stand_beside_their_predictions(waves):
    x, y = waves
    predicted, std, interval = (
        small(alpha=0.1).fit(x, np.column_stack([y, -3 * y])).predict(x, return_std=True, return_interval=0.8)
    )
    assert (predicted.shape, std.shape, interval.shape) == ((120, 2), (120, 2), (120, 2, 2))


def test_intervals_of_a_pickled_fit_and_of_a_data_frame_are_those_of_the_arrays(waves):
    x, y = waves
    fit = small(alpha=0.1).fit(x, y)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(x, return_interval=0.9)[1], fit.predict(x, return_interval=0.9)[1])
    named = pd.DataFrame(x, columns=["a", "b"])
    framed = small(alpha=0.1).fit(named, y)
    np.testing.assert_array_equal(framed.predict(named, return_interval=0.9)[1], fit.predict(x, return_interval=0.9)[1])


def test_an_interval_without_an_end_is_said_with_the_directions_that_the_rows_leave_undetermined(random):
    x = random.normal(size=(40, 2)) @ np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    fit = small(hidden_layer_sizes=(), alpha=0.0).fit(x, x[:, 0] + random.normal(size=40))
    with pytest.warns(UserWarning, match=r"some intervals have no end.*undetermined: .*x1->y1"):
        interval = fit.predict([[1.0, 0.0, 0.0]], return_interval=0.95)[1]
    assert np.isinf(interval).all()
    assert np.isfinite(fit.predict(x, return_interval=0.95)[1]).all()


def test_with_early_stopping_the_test_part_says_how_wide_they_are(random):
    x = random.uniform(-2, 2, size=(400, 2))
    y = np.sin(2 * x[:, 0]) + 0.2 * random.normal(size=400)
    fit = small(early_stopping=True, test_fraction=0.3).fit(x, y)
    part = fit.test_rows_
    low, high = fit.predict(x[part], return_interval=0.9)[1].T
    assert 0.85 < np.mean((low <= y[part]) & (y[part] <= high)) < 0.96


@pytest.mark.parametrize("coverage", [0, 1, 95, True, -0.5])
def test_a_coverage_that_cannot_be_is_refused(coverage, waves):
    with pytest.raises(SettingsError, match=r"give a share between 0 and 1, such as 0\.95"):
        small(hidden_layer_sizes=()).fit(*waves).predict(waves[0], return_interval=coverage)


def test_after_partial_fit_there_are_no_intervals(waves):
    fit = small().partial_fit(*waves)
    with pytest.raises(SettingsError, match="partial_fit keeps none: call fit"):
        fit.predict(waves[0], return_std=True)


def test_the_verdict_of_a_fit_is_that_of_its_path_over_its_rows(random):
    x = random.normal(size=(50, 2))
    y, s = np.tanh(x @ [1, 2]) + 0.1 * random.normal(size=50), random.uniform(0.5, 2, 50)
    fit = NetworkRegressor((3,), random_state=0, alpha=0.1, test_fraction=0.1).fit(x, y, sample_weight=s)
    expected = verdict_of(fit.path_, fit.descended_rows(x, y, s))
    assert str(fit.verdict_) == str(expected)
    assert fit.verdict_.is_minimum
    assert fit.verdict_ is fit.verdict_


def test_a_pickled_estimator_keeps_its_verdict_but_not_its_rows(waves):
    x, y = waves
    fit = small(alpha=0.1).fit(x, y)
    assert not hasattr(pickle.loads(pickle.dumps(fit)), "verdict_")
    assert x.tobytes() not in pickle.dumps(fit)
    said = str(fit.verdict_)
    assert str(pickle.loads(pickle.dumps(fit)).verdict_) == said


def test_after_a_partial_fit_there_are_no_rows_to_judge(waves):
    x, y = waves
    fit = small(descent="mini-batch").partial_fit(x, y)
    with pytest.raises(AttributeError, match="verdict_of"):
        _ = fit.verdict_


def test_the_default_fit_predicts_its_rows_by_fits_that_had_not_seen_them(random):
    x = random.normal(size=(90, 2))
    y = np.sin(2 * x[:, 0]) + 0.3 * random.normal(size=90)
    fit = NetworkRegressor(random_state=0, effort="quick").fit(x, y)
    seen, unseen = np.mean((fit.predict(x) - y) ** 2), np.mean((fit.out_of_fold_prediction_ - y) ** 2)
    assert fit.out_of_fold_prediction_.shape == (90,)
    assert seen < unseen < np.var(y)
    assert NetworkRegressor((3,), n_starts=1, random_state=0).fit(x, y).out_of_fold_prediction_ is None
