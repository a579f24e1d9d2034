import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fallline import Curve, CurveRegressor
from fallline.exceptions import DescentWarning, SettingsError, TableError


# Where there is no fifth column x5 is one more parameter: nothing determines b5 and x5 apart then.
@parametrize_with_checks([CurveRegressor("b0 + b1*x1 + b5*x5")])
def test_scikit_learn_checks(estimator, check, passes):
    assert passes(check, estimator)


@pytest.fixture
def line(random):
    x = random.uniform(0, 3, 40)
    return x[:, None], 2 * x + 1 + 0.3 * random.normal(size=40)


def test_bands_of_a_line_are_those_of_the_textbook(line):
    X, y = line
    fit = CurveRegressor("a*x + b").fit(X, y)
    new = np.array([[0.5], [5.0]])
    # Source: Draper & Smith (1998), *Applied Regression Analysis*, sec. 3.2.
    x, n = X[:, 0], 40
    s = np.sqrt(np.sum((y - fit.predict(X)) ** 2) / (n - 2))
    leverage = 1 / n + (new[:, 0] - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)
    reach = scipy.stats.t.ppf(0.975, n - 2)
    predicted, lower, upper = fit.predict(new, return_interval=0.95)
    np.testing.assert_allclose(upper - predicted, reach * s * np.sqrt(1 + leverage), rtol=1e-9)
    np.testing.assert_allclose(predicted - lower, upper - predicted, rtol=1e-9)
    predicted, lower, upper = fit.predict(new, return_interval=0.95, band="confidence")
    np.testing.assert_allclose(upper - predicted, reach * s * np.sqrt(leverage), rtol=1e-9)
    assert fit.noise_ == pytest.approx(s, rel=1e-12)
    np.testing.assert_allclose(fit.predict(new, return_std=True)[1], s * np.sqrt(1 + leverage), rtol=1e-9)
    assert len(fit.predict(new, return_std=True, return_interval=0.5)) == 4


def test_what_was_found_is_named(line):
    X, y = line
    fit = CurveRegressor("a*x + b", start={"a": 3.0}).fit(X, y)
    assert fit.names_ == ("a", "b")
    slope, intercept = np.polyfit(X[:, 0], y, 1)
    assert fit.parameters_ == pytest.approx({"a": slope, "b": intercept})
    assert (fit.derivatives_, fit.at_bound_, fit.degrees_of_freedom_) == ("exact", (), 38)
    np.testing.assert_allclose(fit.intervals(0.9, "profile"), fit.intervals(0.9), rtol=1e-4)
    assert fit.stop_reason_.startswith("Stopped at step")


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_columns_of_a_data_frame_are_taken_by_name(frame, random):
    table = {"name": ["a", "b"] * 20, "wind speed": random.uniform(1, 9, 40), "t": random.uniform(1, 2, 40)}
    y = 3 * table["wind speed"] ** 0.5 + table["t"]
    fit = CurveRegressor("k*`wind speed`^n + t").fit(frame(table), y)
    assert fit.parameters_ == pytest.approx({"k": 3.0, "n": 0.5})
    turned = frame({name: table[name] for name in ("t", "name", "wind speed")})
    np.testing.assert_allclose(fit.predict(turned), y, rtol=1e-9)
    with pytest.raises(TableError, match="needs the column wind speed, but X has t"):
        fit.predict(frame({"t": table["t"]}))
    with pytest.raises(TableError, match="fitted to a data frame"):
        fit.predict(np.ones((2, 3)))


def test_a_function_takes_several_columns_across(random):
    X = random.uniform(1, 2, size=(30, 2))
    fit = CurveRegressor(lambda x, a, b: a * x[0] ** b + x[1]).fit(X, 2 * X[:, 0] ** 3 + X[:, 1])
    np.testing.assert_allclose(fit.weights_, [2.0, 3.0], rtol=1e-8)


def test_a_band_for_new_rows_needs_their_sigma_where_the_fit_had_one(line):
    X, y = line
    fit = CurveRegressor("a*x + b", absolute_sigma=True).fit(X, y, sigma=np.full(40, 0.3))
    with pytest.raises(SettingsError, match="pass sigma="):
        fit.predict(X, return_std=True)
    mean = fit.predict(X, return_std=True, band="confidence")[1]
    np.testing.assert_allclose(fit.predict(X, return_std=True, sigma=0.4)[1], np.hypot(mean, 0.4), rtol=1e-12)


def test_it_is_cloned_and_cross_validated(line):
    fit = clone(CurveRegressor(Curve("a*x + b"), fixed={"b": 1.0}))
    assert cross_val_score(fit, *line, cv=3).min() > 0.8


def test_too_few_steps_are_a_warning(line):
    X, y = line
    with pytest.warns(ConvergenceWarning, match="max_iter = 1 steps"):
        CurveRegressor("a*exp(-b*x)", start=[5, 5], max_iter=1).fit(X, y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: CurveRegressor("a*z").fit(X, y), r"none of the columns of X \(x\): its names are a, z"),
        (lambda X, y: CurveRegressor(Curve("a*x*t", columns=("x", "t"))).fit(X, y), "the columns x, t, but X has 1: x"),
        (lambda X, y: CurveRegressor("a*x").fit(X, y).predict(X, return_std=True, band="both"), "band='both'"),
        (lambda X, y: CurveRegressor("a*x").fit(X, y).intervals(method="bootstrap"), "method='bootstrap'"),
        (lambda X, y: CurveRegressor("a*t").fit(pd.DataFrame({"t": ["u"] * 40}), y), "the column t holds text"),
    ],
)
def test_what_does_not_fit_is_refused(call, message, line):
    with pytest.raises((SettingsError, TableError), match=message):
        call(*line)


def test_before_fit_there_is_nothing_to_predict():
    with pytest.raises(NotFittedError):
        CurveRegressor("a*x").predict(np.ones((2, 1)))


@pytest.mark.parametrize("kind", ["pandas", "polars", "array"])
def test_groups_are_a_column_of_x(kind, random):
    x, g = random.uniform(0, 3, 60), np.repeat([7, 8], 30)
    y = np.where(g == 7, 2.0, 5.0) * x + 1 + 0.1 * random.normal(size=60)
    data = {"time": x, "kind": np.where(g == 7, "a", "b"), "other": x}
    X = {"pandas": pd.DataFrame(data), "polars": pl.DataFrame(data), "array": np.column_stack([x, g])}[kind]
    names = ("7", "8") if kind == "array" else ("a", "b")
    model = CurveRegressor(
        "rate*x + start" if kind == "array" else "rate*time + start",
        groups=1 if kind == "array" else "kind",
        shared="start",
    )
    fit = model.fit(X, y)
    design = np.column_stack([x * (g == 7), x * (g == 8), np.ones(60)])
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    assert fit.names_ == (f"rate[{names[0]}]", f"rate[{names[1]}]", "start")
    np.testing.assert_allclose(fit.weights_, expected, rtol=1e-8)
    np.testing.assert_allclose(fit.predict(X[:5]), design[:5] @ expected, rtol=1e-8)
    predicted, lower, upper = fit.predict(X[:5], return_interval=0.95)
    assert ((lower < predicted) & (predicted < upper)).all()
    assert (fit.r2_, fit.doubts_) == (pytest.approx(fit.score(X, y)), ())


def test_a_poor_fit_is_a_warning(random):
    x = np.linspace(0, 10, 100)
    with pytest.warns(DescentWarning, match="A poor fit: R² is .* would reach 0.9"):
        CurveRegressor("a*sin(w*x)", start={"w": 9.3}).fit(x[:, None], np.sin(x) + 0.1 * random.normal(size=100))


def test_groups_that_are_no_column_are_a_sentence():
    with pytest.raises(SettingsError, match="groups='kid': there is no such column in X; did you mean 'kind'"):
        CurveRegressor("a*x", groups="kid").fit(pd.DataFrame({"x": [1.0, 2], "kind": ["a", "b"]}), [1.0, 2.0])
    with pytest.raises(SettingsError, match="groups=5 is no column of an array of 2"):
        CurveRegressor("a*x", groups=5).fit(np.ones((3, 2)), [1.0, 2.0, 3.0])
