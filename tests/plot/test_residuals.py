import numpy as np

from fallline.plot import ResidualsDisplay

Y = np.array([1.0, 2.0, 4.0, 7.0])
PREDICTED = np.array([1.5, 2.0, 3.0, 7.5])


def test_a_point_is_a_row_at_its_prediction_and_actual_minus_predicted(ax):
    drawn = ResidualsDisplay(Y, PREDICTED).plot(ax)
    np.testing.assert_equal(drawn.points_.get_data(), [PREDICTED, [-0.5, 0.0, 1.0, -0.5]])


def test_the_line_is_at_zero(ax):
    np.testing.assert_equal(ResidualsDisplay(Y, PREDICTED).plot(ax).zero_.get_ydata(), [0.0, 0.0])


def test_the_axes_say_what_is_subtracted_from_what(ax):
    ResidualsDisplay(Y, PREDICTED, "strength").plot(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted strength", "actual − predicted")


def test_a_sample_of_many_points_keeps_the_largest_residual(ax):
    y, predicted = np.random.default_rng(0).normal(size=(2, 5_000))
    y[4_321] = 50.0
    drawn = ResidualsDisplay(y, predicted).plot(ax, at_most=100)
    assert drawn.shown_.size == 100
    assert 4_321 in drawn.shown_
