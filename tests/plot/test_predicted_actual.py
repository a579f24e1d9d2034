import numpy as np
import pytest

from fallline.exceptions import ShapeError
from fallline.plot import PredictedActualDisplay

Y = np.array([1.0, 2.0, 4.0, 7.0])
PREDICTED = np.array([1.5, 2.0, 3.0, 7.5])


def test_a_point_is_a_row_at_its_actual_and_its_predicted_value(ax):
    drawn = PredictedActualDisplay(Y, PREDICTED).plot(ax)
    np.testing.assert_equal(drawn.points_.get_data(), [Y, PREDICTED])


def test_the_diagonal_is_where_both_are_equal_and_spans_every_point(ax):
    x, y = PredictedActualDisplay(Y, PREDICTED).plot(ax).diagonal_.get_data()
    np.testing.assert_equal(x, y)
    assert x[0] < 1.0
    assert x[1] > 7.5


def test_both_axes_have_one_scale(ax):
    PredictedActualDisplay(Y, PREDICTED).plot(ax)
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_aspect() == 1.0


def test_the_axes_are_named_after_the_target(ax):
    PredictedActualDisplay(Y, PREDICTED, "strength").plot(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("actual strength", "predicted strength")


def test_colours_can_be_chosen(ax):
    drawn = PredictedActualDisplay(Y, PREDICTED).plot(ax, color="#123456", accent="#654321")
    assert (drawn.points_.get_color(), drawn.diagonal_.get_color()) == ("#123456", "#654321")


def test_rows_that_are_not_finite_are_left_out(ax):
    drawn = PredictedActualDisplay(np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, np.inf])).plot(ax)
    np.testing.assert_equal(drawn.shown_, [0])


def test_a_sample_of_many_points_has_the_size_asked_for_and_every_extreme(ax):
    rng = np.random.default_rng(0)
    y, predicted = rng.normal(size=(2, 20_000))
    drawn = PredictedActualDisplay(y, predicted).plot(ax, at_most=1500)
    extremes = [f(v) for v in (y, predicted, y - predicted) for f in (np.argmin, np.argmax)]
    assert drawn.shown_.size == np.unique(drawn.shown_).size == 1500
    assert set(extremes) <= set(drawn.shown_)
    np.testing.assert_equal(drawn.points_.get_data(), [y[drawn.shown_], predicted[drawn.shown_]])


def test_the_sample_is_the_same_every_time(ax):
    y, predicted = np.random.default_rng(0).normal(size=(2, 5_000))
    first, second = (PredictedActualDisplay(y, predicted).plot(ax, at_most=100).shown_ for _ in range(2))
    np.testing.assert_equal(first, second)


def test_a_bar_reaches_from_the_lower_to_the_upper_end_of_a_rows_interval(ax):
    low, high = PREDICTED - 1.0, np.array([2.0, 3.0, np.inf, 8.0])
    drawn = PredictedActualDisplay(Y, PREDICTED, low=low, high=high).plot(ax)
    assert drawn.barred_.tolist() == [0, 1, 3]
    bars = [np.column_stack([[Y[i]] * 2, [low[i], high[i]]]) for i in (0, 1, 3)]
    np.testing.assert_allclose(drawn.bars_.get_segments(), bars)


def test_intervals_are_taken_as_the_estimator_returns_them(ax):
    interval = np.stack([PREDICTED - 1, PREDICTED + 2], axis=1)
    drawn = PredictedActualDisplay.from_predictions(Y, PREDICTED, interval=interval, ax=ax)
    np.testing.assert_array_equal(drawn.high, PREDICTED + 2)
    both = PredictedActualDisplay.from_predictions(
        np.column_stack([Y, Y]), np.column_stack([Y, PREDICTED]), output=1, ax=ax,
        interval=np.stack([interval - 5, interval], axis=1),
    )  # fmt: skip
    np.testing.assert_array_equal(both.low, PREDICTED - 1)


def test_of_many_rows_60_have_a_bar_from_the_smallest_to_the_largest(ax, random):
    y = random.normal(size=2000)
    drawn = PredictedActualDisplay(y, y, low=y - 1, high=y + 1).plot(ax)
    assert len(drawn.barred_) == 60
    assert {y.argmin(), y.argmax()} <= set(drawn.barred_.tolist())


def test_ends_of_another_number_of_rows_are_refused():
    with pytest.raises(ShapeError, match=r"low has shape \(2,\) for actual values of shape \(4,\)"):
        PredictedActualDisplay(Y, PREDICTED, low=Y[:2], high=Y[:2])
