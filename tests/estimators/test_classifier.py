import dataclasses
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from fallline import NetworkClassifier, NetworkRegressor


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the checks set max_iter to 5
@parametrize_with_checks([NetworkClassifier(hidden_layer_sizes=(4,))])
def test_scikit_learn_check(estimator, check, passes):
    assert passes(check, estimator)


def small(**settings):
    return NetworkClassifier(
        **({"hidden_layer_sizes": (4,), "random_state": 0, "alpha": 0.1, "n_starts": 1, "tol": 1e-3} | settings)
    )


def linear(**settings):
    """Least squares in closed form: the outputs as they are."""
    plain = {"hidden_layer_sizes": (), "alpha": 0.0, "descent": "levenberg-marquardt", "output_activation": "identity"}
    return small(**(plain | settings))


def clouds(random, rows=150, labels=("ash", "birch", "oak")):
    """Rows of as many overlapping clouds as there are labels, the last of them rare."""
    share = np.array([1.0] * (len(labels) - 1) + [0.3])
    number = random.choice(len(labels), size=rows, p=share / share.sum())
    return random.normal(size=(rows, 2)) + 1.5 * np.eye(len(labels), 2)[number], np.array(labels)[number]


@pytest.fixture
def three(random):
    return clouds(random)


@pytest.fixture
def two(random):
    return clouds(random, labels=("no", "yes"))


def lowest(path):
    """E of the weights chosen."""
    return path.error[path.steps == path.best_step][0]


def with_ones(x):
    return np.hstack([x, np.ones((len(x), 1))])


def test_without_a_hidden_layer_it_is_least_squares_on_columns_of_0_and_1(three):
    x, y = three
    one_hot = (y[:, None] == ["ash", "birch", "oak"]).astype(float)
    fit = linear().fit(x, y)
    expected = np.linalg.lstsq(with_ones(x), one_hot, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([fit.coefs_[0], fit.intercepts_[0]]), expected, atol=1e-8)
    np.testing.assert_allclose(fit.decision_function(x), with_ones(x) @ expected, atol=1e-8)


def test_one_output_for_two_classes_has_the_minimum_of_two_outputs(two):
    x, y = two
    both = np.stack([y == "no", y == "yes"], axis=1).astype(float)
    fit = linear().fit(x, y)
    other = NetworkRegressor((), alpha=0.0, tol=1e-3, random_state=0).fit(x, both)
    assert fit.n_outputs_ == 1
    np.testing.assert_allclose(1 + fit.decision_function(x), 2 * other.predict(x)[:, 1], atol=1e-6)
    np.testing.assert_allclose(1 - fit.decision_function(x), 2 * other.predict(x)[:, 0], atol=1e-6)


def test_the_error_of_two_classes_is_the_brier_score(two):
    x, y = two
    fit = small(output_activation="logistic", alpha=0.0, max_iter=10, tol=0)
    with pytest.warns(ConvergenceWarning):
        fit.fit(x, y)
    score = brier_score_loss(y, fit.predict_proba(x)[:, 1], pos_label="yes")
    assert 2 * lowest(fit.path_) / len(y) == pytest.approx(score, rel=1e-10)


def test_the_error_of_several_classes_is_the_brier_score_in_one_scale_however_rare_they_are(three):
    x, y = three
    fit = small(output_activation="identity").fit(x, y)
    one_hot = (y[:, None] == fit.classes_).astype(float)
    squares = ((fit.decision_function(x) - one_hot) ** 2).sum()
    shares = one_hot.mean(axis=0)
    np.testing.assert_allclose(fit.scaling_.y_scale, np.sqrt((shares * (1 - shares)).mean()), rtol=1e-12)
    assert 2 * lowest(fit.path_) * fit.scaling_.y_scale[0] ** 2 == pytest.approx(squares, rel=1e-9)


@pytest.mark.parametrize("labels", [("no", "yes"), ("ash", "birch", "oak"), tuple("abcdefg")])
def test_probabilities_lie_on_the_simplex_and_predict_takes_the_largest(labels, random):
    x, y = clouds(random, labels=labels)
    fit = small().fit(x, y)
    p = fit.predict_proba(x)
    assert p.shape == (150, len(labels))
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(fit.predict(x), np.array(labels)[p.argmax(axis=1)])
    assert fit.score(x, y) > np.mean(y == labels[0]) + 0.05


@pytest.mark.parametrize("labels", [("no", "yes"), ("ash", "birch", "elm", "oak")])
def test_of_equally_probable_classes_the_first_is_predicted(labels):
    y = np.repeat(labels, 10)
    x = np.tile([[0.0, 0.0], [1.0, 0.0]], (len(y) // 2, 1))
    fit = linear().fit(x, y)
    np.testing.assert_allclose(fit.predict_proba(x), 1 / len(labels), atol=1e-12)
    fit._fitted = dataclasses.replace(fit._fitted, weights=0 * fit.weights_)  # to the last digit
    assert len(set(fit.predict_proba(x).ravel())) == 1
    assert set(fit.predict(x)) == {labels[0]}


@pytest.mark.parametrize(
    "labels",
    [
        np.array([False, True]),
        np.array([-1, 1]),
        np.array([3, 7, 2]),
        np.array([0.0, 2.0, 5.0]),
        np.array(["yes", "no"]),
        np.array(["b", "a", "c"], dtype=object),
    ],
    ids=["booleans", "signs", "whole numbers", "floats", "text", "objects"],
)
def test_labels_come_back_as_they_were_given(labels, random):
    x, y = clouds(random, labels=labels)
    fit = linear().fit(x, y)
    np.testing.assert_array_equal(fit.classes_, np.unique(labels))
    predicted = fit.predict(x)
    assert predicted.dtype == labels.dtype
    assert set(predicted) <= set(labels)
    assert np.mean(predicted == y) > 0.6


def known_probabilities(x):
    """Those of three classes, far from linear in x."""
    p = np.exp(np.column_stack([np.sin(2 * x[:, 0]), 1.5 * np.cos(x[:, 0] + x[:, 1]), 0 * x[:, 0]]))
    return p / p.sum(axis=1, keepdims=True)


def test_probabilities_are_those_that_made_the_rows(random):
    x = random.uniform(-2, 2, size=(4000, 2))
    true = known_probabilities(x)
    y = (true.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    fit = small(hidden_layer_sizes=(12,), alpha=1.0).fit(x, y)
    new = random.uniform(-2, 2, size=(4000, 2))
    found = fit.predict_proba(new)
    assert np.abs(found - known_probabilities(new)).mean() < 0.035
    assert np.abs(found - known_probabilities(new)).mean() < 0.2 * np.abs(true - true.mean(axis=0)).mean()


@pytest.mark.parametrize("labels", [("no", "yes"), ("ash", "birch", "oak")])
def test_sample_weights_are_repetitions(labels, random):
    x, y = clouds(random, 90, labels)
    often = np.arange(90) % 3
    settings = {"class_weight": "balanced", "max_iter": 8, "tol": 0}
    with pytest.warns(ConvergenceWarning):
        weighted = small(**settings).fit(x, y, sample_weight=often)
    with pytest.warns(ConvergenceWarning):
        repeated = small(**settings).fit(np.repeat(x, often, axis=0), np.repeat(y, often))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("weights", ["balanced", {"ash": 2.0, "birch": 0.5, "oak": 4.0}, {"oak": 3.0}])
def test_class_weights_multiply_the_weights_of_rows_as_scikit_learns_do(weights, three, random):
    x, y = three
    each = compute_sample_weight(weights, y)
    fit = linear(class_weight=weights).fit(x, y)
    np.testing.assert_allclose(fit.coefs_[0], linear().fit(x, y, each).coefs_[0], atol=1e-8)
    own = random.uniform(0.5, 2, len(y))
    fit = linear(class_weight={"ash": 2.0, "birch": 0.5, "oak": 4.0}).fit(x, y, own)
    each = compute_sample_weight(fit.class_weight, y)
    np.testing.assert_allclose(fit.coefs_[0], linear().fit(x, y, own * each).coefs_[0], atol=1e-8)


def test_a_class_without_weight_is_never_predicted(three):
    x, y = three
    fit = linear(class_weight="balanced").fit(x, y, (y != "oak").astype(float))
    assert set(fit.predict(x)) == {"ash", "birch"}
    np.testing.assert_allclose(fit.predict_proba(x)[:, 2], 0, atol=1e-8)


def test_the_rows_of_the_fit_have_the_error_of_its_path(three):
    x, y = three
    fit = small(class_weight="balanced", early_stopping=True).fit(x, y)
    rows = fit.descended_rows(x, y)
    residual = fit.network_.predict(fit.weights_, rows.x) - rows.y
    error = 0.5 * (rows.sample_weight[:, None] * residual**2).sum()
    assert error == pytest.approx(lowest(fit.path_), rel=1e-9)


def test_early_stopping_spreads_every_class_over_the_three_parts(random):
    y = random.permutation(np.repeat(["ash", "birch", "oak"], [100, 80, 20]))
    x = random.normal(size=(200, 2)) + (y == "oak")[:, None]
    fit = small(early_stopping=True).fit(x, y)
    parts = [fit.train_rows_, fit.validation_rows_, fit.test_rows_]
    counts = [[np.sum(y[part] == label) for label in fit.classes_] for part in parts]
    np.testing.assert_array_equal(counts, [[70, 56, 14], [15, 12, 3], [15, 12, 3]])
    assert min(fit.validation_loss_curve_) == pytest.approx(
        fit.path_.watched["validation"][fit.path_.steps == fit.path_.best_step][0] / 30
    )


TABLES = [  # a fixed weight decay where choosing it takes long
    pytest.param(load_iris, {}, id="iris"),
    pytest.param(load_wine, {"alpha": 3.0}, id="wine"),
    pytest.param(load_breast_cancer, {"alpha": 10.0}, id="breast cancer"),
    pytest.param(load_digits, {"hidden_layer_sizes": (40,), "output_activation": "logistic"}, id="digits"),
]


@pytest.mark.parametrize(("load", "settings"), TABLES)
def test_as_many_new_rows_are_told_apart_as_by_logistic_regression(load, settings):
    x, y = load(return_X_y=True)
    x, new_x, y, new_y = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    fit = NetworkClassifier(**({"random_state": 0} | settings)).fit(x, y)
    peer = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    assert fit.score(new_x, new_y) >= peer.score(new_x, new_y) - 0.03  # two rows of a small table


def test_outputs_rank_rows_whose_probabilities_are_equal(two):
    x, y = two
    fit = linear().fit(x, y)
    outputs, p = fit.decision_function(x), fit.predict_proba(x)[:, 1]
    np.testing.assert_allclose(p, np.clip((1 + outputs) / 2, 0, 1), rtol=1e-14)
    np.testing.assert_array_equal(fit.predict(x) == "yes", outputs > 0)
    assert roc_auc_score(y, outputs) >= roc_auc_score(y, p)
    assert np.sum(p == 0) > 1


def test_scikit_learns_scores_for_probabilities_take_it(three, two):
    x, y = two
    assert cross_val_score(linear(), x, y == "yes", scoring="neg_brier_score", cv=3).mean() > -0.25
    assert cross_val_score(linear(), *two, scoring="roc_auc", cv=3).mean() > 0.7
    assert cross_val_score(linear(), *three, scoring="roc_auc_ovr", cv=3).mean() > 0.7


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_data_frame_of_mixed_columns_is_encoded(library, random):
    kind = random.choice(["round", "long", "lobed"], size=90)
    width = random.uniform(1, 5, size=90)
    y = np.where(kind == "lobed", "oak", np.where(width > 3, "ash", "birch"))
    width[::9] = np.nan
    X = library({"kind": kind, "width": width})
    fit = small().fit(X, y)
    assert {use.name: use.role for use in fit.columns_.uses if use.name in ("kind", "width")} == {
        "kind": "category",
        "width": "number",
    }
    assert fit.score(X, y) > 0.85
    assert fit.predict_proba(X[:4]).shape == (4, 3)


def test_an_input_that_equals_the_class_is_left_out_and_one_that_tells_a_single_class_is_not(three):
    x, y = three
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(
        code=np.searchsorted(["ash", "birch", "oak"], y), is_oak=y == "oak", text=["s", "t", "u"] * 50
    )
    roles = {use.name: use.role for use in small().fit(frame, y).columns_.uses}
    assert (roles["code"], roles["is_oak"]) == ("dropped", "boolean")


def test_warm_start_goes_on_with_the_same_classes_only(three):
    x, y = three
    fit = small(max_iter=3, tol=0, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        fit.fit(x, y)
    before = fit.loss_curve_[-1]
    with pytest.warns(ConvergenceWarning):
        fit.fit(x, y)
    assert fit.loss_curve_[0] == pytest.approx(before, rel=1e-12)
    with pytest.raises(ValueError, match=r"goes on with the classes \['ash', 'birch', 'oak'\], but y now has"):
        fit.fit(x, np.char.upper(y))


def test_a_pickled_fit_predicts_the_same(three):
    x, y = three
    fit = linear().fit(x, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).predict_proba(x), fit.predict_proba(x))


def test_partial_fit_learns_from_parts_that_lack_classes(random):
    x, y = clouds(random, 400)
    order = np.argsort(y, kind="stable")
    fit = small(alpha=0.01)
    fit.partial_fit(x[order[:60]], y[order[:60]], classes=["oak", "ash", "birch"])
    assert set(y[order[:60]]) == {"ash"}
    assert fit.predict_proba(x).shape == (400, 3)
    for part in np.array_split(random.permutation(np.tile(np.arange(400), 20)), 20):
        fit.partial_fit(x[part], y[part])
    assert fit.n_iter_ == 21
    assert fit.score(x, y) > small().fit(x, y).score(x, y) - 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit, x, y: fit.partial_fit(x, y), r"needs classes=… at its first call"),
        (lambda fit, x, y: fit.partial_fit(x, y, classes=["ash", "oak"]), "label 'birch', which is not among"),
        (lambda fit, x, y: fit.fit(x, y).partial_fit(x, y, classes=["ash", "birch"]), "are not those of before"),
        (lambda fit, x, y: fit.partial_fit(x, y, classes=["ash"]), "y has one class, 'ash'"),
        (
            lambda fit, x, y: fit.set_params(class_weight="balanced").partial_fit(x, y, classes=y),
            "needs all rows at once",
        ),
        (
            lambda fit, x, y: fit.partial_fit(
                pd.DataFrame({"a": x[:, 0], "b": "text"}), np.full(150, "ash"), classes=y
            ),
            "all of the class 'ash'.*begin with rows of two classes",
        ),
        (lambda fit, x, y: fit.fit(x, np.full(150, "ash")), "y has one class, 'ash'"),
        (lambda fit, x, y: fit.fit(x, np.array(["ash", None] * 75)), "types NoneType, str.*leave out rows"),
        (lambda fit, x, y: fit.fit(x, x[:, 0]), "continuous"),
        (lambda fit, x, y: fit.fit(x, np.stack([y, y], axis=1)), "1d array"),
        (lambda fit, x, y: fit.set_params(class_weight="even").fit(x, y), "class_weight='even'.*'balanced'"),
        (lambda fit, x, y: fit.set_params(class_weight={"elm": 2}).fit(x, y), "names 'elm', but the classes"),
        (lambda fit, x, y: fit.set_params(class_weight={"oak": -2}).fit(x, y), "a number from 0 up"),
        (lambda fit, x, y: fit.fit(x, y, -np.ones(150)), "(?i)negative"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(call, message, three):
    with pytest.raises(ValueError, match=message):
        call(linear(), *three)


def test_probabilities_before_fitting_are_refused():
    with pytest.raises(NotFittedError):
        small().predict_proba(np.zeros((2, 2)))
