import numpy as np

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


def test_colours_and_artists_can_be_chosen(ax):
    drawn = PredictedActualDisplay(Y, PREDICTED).plot(
        ax, color="#123456", accent="#654321", points_kw={"alpha": 1}
    )
    assert (drawn.points_.get_color(), drawn.diagonal_.get_color()) == ("#123456", "#654321")
    assert drawn.points_.get_alpha() == 1


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
