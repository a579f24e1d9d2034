"""What is said where another fit predicts better than the network, and of the columns that matter."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from fallline.cli import sentences
from fallline.fit.figures import rmse_difference
from fallline.report import RowSet
from fallline.sure.importance import Importance


def told(fit, network, ridge, boosting=None, name="held-out", folds=0):
    """What is said where the fits are off by so much, row by row."""
    actual = np.zeros((len(network), 1))
    fits = [None if each is None else np.asarray(each, float)[:, None] for each in (network, ridge, boosting)]
    rows = RowSet(name, len(network), actual, fits[0], fits[1], boosting=fits[2])
    [said] = sentences.comparisons(dataclasses.replace(fit, rowsets=(rows,), folds=folds))
    return said


ONES = np.resize([1.0, -1.0], 50)


@pytest.mark.parametrize(
    ("network", "ridge", "boosting"),
    [(ONES, 2 * ONES, None), (ONES, ONES, ONES), (ONES, (1 - 1e-7) * ONES, 3 * ONES), (ONES, None, None)],
    ids=["better", "equal", "equal but for rounding", "alone"],
)
def test_nothing_is_said_where_the_network_is_as_good_as_any(fit, network, ridge, boosting):
    assert told(fit, network, ridge, boosting) == ""


def test_a_ridge_that_is_better_for_sure_says_so_and_what_to_do(fit):
    # Squares of 1.6 and 1.4 in turn: a difference of 0.5033 with a standard error of (0.3 √(50/49))/(2 · 1.5033 √50).
    assert told(fit, 1.5 * ONES + 0.1, ONES) == (
        "Ridge regression predicts the 50 held-out rows better: RMSE 0.50 lower than the network's, hardly by chance (35.3 "
        "standard errors): as far as these rows tell, the relation is linear. Take the linear model (--hidden none), or give "
        "more rows or other columns."
    )


def test_a_boosting_that_is_better_for_sure_is_to_be_taken(fit):
    said = told(fit, 1.5 * ONES + 0.1, 1.2 * ONES, ONES)
    assert said.startswith(
        "Gradient boosting predicts the 50 held-out rows better: RMSE 0.50 lower than the network's, hardly"
    )
    assert said.endswith("steps and thresholds suit trees. Take gradient boosting, or give more rows or other columns.")


def test_a_difference_that_may_be_chance_says_so(fit):
    network, ridge = ONES.copy(), ONES.copy()
    network[:3], ridge[3:5] = 3.0, 2.5
    said = told(fit, network, ridge)
    less, error = rmse_difference(np.zeros(50), network, ridge)
    assert 0 < less < 2 * error
    assert said == (
        f"Ridge regression predicts the 50 held-out rows better: RMSE {less:.2f} lower than the network's, which may be chance "
        f"(standard error {error:.2f}): more rows may tell (--k-fold 10 judges by all); until then the linear model "
        "(--hidden none) is the simpler one."
    )
    assert "--k-fold" not in told(fit, network, ridge, name="out-of-fold", folds=5)
    assert "the 50 out-of-fold rows" in told(fit, network, ridge, name="out-of-fold", folds=5)


def test_a_single_row_tells_nothing(fit):
    assert "which may be chance" in told(fit, [2.0], [1.0])


def test_training_rows_judge_no_fit(fit):
    assert told(fit, 2 * ONES, ONES, name="training") == ""


def test_of_several_targets_each_has_its_own_sentence(fit):
    actual = np.zeros((50, 2))
    predicted, ridge = np.column_stack([ONES, 2 * ONES + 0.1]), np.column_stack([2 * ONES, ONES])
    columns = dataclasses.replace(fit.prepared.columns, targets=("a", "b"))
    both = dataclasses.replace(
        fit,
        prepared=dataclasses.replace(fit.prepared, columns=columns),
        rowsets=(RowSet("held-out", 50, actual, predicted, ridge),),
    )
    first, second = sentences.comparisons(both)
    assert first == ""
    assert second.startswith("`b`: Ridge regression predicts")


def test_the_standard_error_of_a_difference_is_that_of_the_bootstrap():
    random = np.random.default_rng(0)
    y = random.normal(size=400)
    first, second = y + random.normal(size=400), y + 0.8 * random.normal(size=400)
    less, error = rmse_difference(y, first, second)

    def difference(y, a, b, axis):
        return np.sqrt(np.mean((y - a) ** 2, axis=axis)) - np.sqrt(np.mean((y - b) ** 2, axis=axis))

    assert less == pytest.approx(difference(y, first, second, 0), rel=1e-12)
    drawn = stats.bootstrap((y, first, second), difference, paired=True, n_resamples=2000, rng=1, method="percentile")
    assert error == pytest.approx(drawn.standard_error, rel=0.06)


@pytest.mark.parametrize(("one", "two"), [(0.0, 0.0), (1.0, 0.0)])
def test_exact_predictions_have_a_difference_too(one, two):
    y = np.arange(4.0)
    assert rmse_difference(y, y + one, y + two) == (one - two, 0.0)


def test_the_columns_that_matter_most_are_named_with_what_they_cost(fit):
    rises = (
        np.array([[4.0, 0.5, 11.11, 2.0, 0.0]] * 5)[:, :, None] + np.array([-0.1, -0.05, 0, 0.05, 0.1])[:, None, None]
    )
    found = Importance(tuple("abcde"), rises, np.array([1.0]), 12)
    influence = fit.influence._replace(importance=found)
    assert sentences.matters(dataclasses.replace(fit, influence=influence)) == (
        "Columns that matter most: c +11.1, a +4.00 and d +2.00 (the rise of the RMSE of the 12 held-out rows where a column is "
        "shuffled among them)."
    )
    nothing = fit.influence._replace(importance=dataclasses.replace(found, rises=0 * rises))
    said = sentences.matters(dataclasses.replace(fit, influence=nothing))
    assert said.startswith("Columns that matter most: none, as far as these rows tell (")
    assert sentences.matters(dataclasses.replace(fit, influence=None)) == ""
