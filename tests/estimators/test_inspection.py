"""scikit-learn's tools for looking into models, on these estimators."""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import PartialDependenceDisplay, partial_dependence, permutation_importance

import fallline
from fallline import NetworkClassifier, NetworkRegressor

SECONDS = 10.0  # a tenth of it where nothing else runs


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 4))
    return X, np.sin(X[:, 0]) + 2 * X[:, 1]


@pytest.fixture(scope="module")
def regressor(rows):
    return NetworkRegressor((5,), random_state=0).fit(*rows)


@pytest.fixture
def quick():
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < SECONDS


def test_the_importance_of_columns_is_that_of_fallline(rows, regressor, quick):
    X, y = rows
    found = permutation_importance(
        regressor, X, y, scoring="neg_root_mean_squared_error", n_repeats=20, random_state=0
    ).importances_mean
    own = fallline.permutation_importance(
        lambda x: regressor.predict(x)[:, None], X, y[:, None], {str(i): [i] for i in range(4)}, repeats=20
    ).mean[:, 0]
    np.testing.assert_allclose(found, own, rtol=0.1, atol=0.02)


def test_partial_dependence_is_that_of_fallline(rows, regressor, quick):
    X = rows[0]
    theirs = partial_dependence(regressor, X, [0], grid_resolution=30)
    values = theirs["grid_values"][0]
    own = fallline.partial_dependence(lambda x: regressor.predict(x)[:, None], X, [0], values[:, None])
    np.testing.assert_allclose(theirs["average"][0], own.mean[:, 0], rtol=1e-9)


def test_partial_dependence_is_drawn_of_both_estimators_and_of_frames(rows, regressor, quick):
    X, y = rows
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 3] > 0, "up", "down"))
    of_frame = NetworkRegressor((3,), random_state=0).fit(frame, y)
    classifier = NetworkClassifier((3,), random_state=0).fit(X, y > 0)
    try:
        PartialDependenceDisplay.from_estimator(regressor, X, [0, 1, (0, 1)], grid_resolution=15)
        drawn = PartialDependenceDisplay.from_estimator(of_frame, frame, ["b", "kind"], categorical_features=["kind"])
        assert drawn.axes_[0, 0].get_xlabel() == "b"
        rising = PartialDependenceDisplay.from_estimator(classifier, X, [1], grid_resolution=15)
        average = rising.pd_results[0]["average"][0]
        assert (np.diff(average) > -1e-9).all()
        assert 0 <= average[0] < average[-1] <= 1
    finally:
        plt.close("all")
