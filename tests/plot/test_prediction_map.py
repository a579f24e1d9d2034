import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from fallline import NetworkRegressor
from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import PredictionMapDisplay

CORNERS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 2.0]])


class Sum:
    """A model whose prediction is the sum of its inputs."""

    def predict(self, X):
        return np.asarray(X).sum(axis=1)


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 4)) * [1.0, 10.0, 1.0, 1.0]
    y = x @ [1.0, 0.2, 3.0, 0.0] + 7.0
    return NetworkRegressor((), alpha=0.0, random_state=0).fit(x, y), x, y


def test_the_map_is_what_the_estimator_predicts_with_the_others_at_their_medians(fitted, ax):
    estimator, x, y = fitted
    drawn = PredictionMapDisplay.from_estimator(estimator, x, y, features=(2, 0), points=7, ax=ax)
    median = np.median(x, axis=0)
    first, second = np.meshgrid(drawn.first, drawn.second, indexing="ij")
    expected = 7.0 + 3.0 * first + second + 0.2 * median[1]
    np.testing.assert_allclose(drawn.prediction, expected, rtol=1e-6)
    np.testing.assert_allclose(drawn.map_.get_array().reshape(7, 7), expected.T, rtol=1e-6)
    np.testing.assert_equal(drawn.x, x[:, [2, 0]])
    assert drawn.held == f"x2 {median[1]:.4g} and x4 {median[3]:.4g}, held at their medians".replace("-", "−")
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"x3\n({drawn.held})", "x1")


def test_rows_and_map_have_one_scale_that_is_named(fitted, ax):
    estimator, x, y = fitted
    drawn = PredictionMapDisplay.from_estimator(estimator, x, y, target="$strength", ax=ax)
    assert drawn.points_.norm is drawn.map_.norm
    assert drawn.points_.get_cmap().name == drawn.map_.get_cmap().name == "cividis"
    np.testing.assert_equal(drawn.points_.get_array(), y)
    assert drawn.map_.norm.vmin <= y.min()
    assert drawn.map_.norm.vmax >= y.max()
    assert drawn.colorbar_.ax.get_ylabel() == "$strength: predicted (map), of the rows (points)"
    drawn.figure_.canvas.draw()


def test_outside_the_hull_of_the_rows_the_map_is_veiled(ax):
    drawn = PredictionMapDisplay.from_estimator(Sum(), CORNERS, CORNERS.sum(axis=1), points=51, ax=ax)
    first, second = np.meshgrid(drawn.first, drawn.second, indexing="ij")
    beyond = np.minimum.reduce([first, second, 1 - first / 4 - second / 2])
    assert drawn.inside[beyond > 1e-6].all()
    assert not drawn.inside[beyond < -1e-6].any()
    np.testing.assert_equal(np.unique(drawn.hull, axis=0), np.unique(CORNERS, axis=0))
    assert drawn.veil_ is not None
    assert drawn.outline_.get_xydata().shape == (4, 2)
    # Colours span what is not extrapolated, 0 to 4; the bar says that there is more, on both sides.
    assert (drawn.map_.norm.vmin, drawn.map_.norm.vmax) == (0.0, 4.0)
    assert drawn.colorbar_.extend == "both"


def test_contour_lines_carry_numbers_and_end_where_extrapolation_begins(ax):
    drawn = PredictionMapDisplay.from_estimator(Sum(), CORNERS, CORNERS.sum(axis=1), points=51, ax=ax)
    assert set(drawn.contours_.levels) <= set(np.arange(0.5, 4.0, 0.5))
    assert {text.get_text() for text in drawn.contours_.labelTexts} <= {"0.5", "1", "1.5", "2", "2.5", "3", "3.5"}
    assert len(drawn.contours_.labelTexts) > 2
    points = np.concatenate([path.vertices for path in drawn.contours_.get_paths()])
    assert (points[:, 0] / 4 + points[:, 1] / 2 < 1 + 1e-6).all()


def test_rows_on_a_line_have_no_hull_but_a_box(ax):
    line = np.column_stack([np.arange(5.0), np.arange(5.0)])
    drawn = PredictionMapDisplay.from_estimator(Sum(), line, ax=ax)
    np.testing.assert_equal(np.unique(drawn.hull), [0.0, 4.0])
    assert drawn.inside.any()
    assert not drawn.inside.all()
    assert drawn.colorbar_.ax.get_ylabel() == "predicted y"
    drawn.figure_.canvas.draw()


def test_rows_are_thinned_and_keep_their_extremes(ax):
    x = np.random.default_rng(0).normal(size=(3000, 2))
    y = x[:, 0].copy()
    y[1234] = 50.0
    drawn = PredictionMapDisplay.from_estimator(Sum(), x, y, at_most=200, ax=ax)
    assert drawn.shown_.size == 200
    assert 1234 in drawn.shown_


@pytest.mark.parametrize("value", [3.0, np.nan], ids=["flat", "not finite"])
def test_maps_out_of_the_ordinary_are_drawn_without_a_warning(value, ax):
    flat = np.full((4, 5), value)
    inside = np.ones((4, 5), bool)
    given = (np.arange(4.0), np.arange(5.0), flat, np.zeros((1, 2)), np.array([value]), inside, np.zeros((0, 2)))
    drawn = PredictionMapDisplay(*given).plot(ax)
    drawn.figure_.canvas.draw()
    assert (drawn.contours_, drawn.veil_, drawn.outline_) == (None, None, None)


def test_an_estimator_of_another_library_is_drawn_too(fitted, ax):
    estimator, x, y = fitted
    other = PredictionMapDisplay.from_estimator(LinearRegression().fit(x, y), x, y, points=5, ax=ax)
    mine = PredictionMapDisplay.from_estimator(estimator, x, y, points=5, ax=ax)
    np.testing.assert_allclose(other.prediction, mine.prediction, rtol=1e-6)


def test_without_a_colour_bar_there_is_none(fitted, ax):
    assert PredictionMapDisplay.from_estimator(*fitted, colorbar=False, ax=ax).colorbar_ is None


def test_what_does_not_fit_is_refused(fitted, ax):
    estimator, x, y = fitted
    with pytest.raises(SettingsError, match="name one input twice: give two"):
        PredictionMapDisplay.from_estimator(estimator, x, y, features=(1, "x2"), ax=ax)
    with pytest.raises(SettingsError, match=r"give two inputs, such as \(0, 1\)"):
        PredictionMapDisplay.from_estimator(estimator, x, y, features=(1,), ax=ax)
    with pytest.raises(SettingsError, match="there is no input 'age'"):
        PredictionMapDisplay.from_estimator(estimator, x, y, features=("age", 0), ax=ax)
    with pytest.raises(ShapeError, match="X has 2 columns, but the network takes 4"):
        PredictionMapDisplay.from_estimator(estimator, x[:, :2], y, ax=ax)
    with pytest.raises(ShapeError, match="expected a number for each of the 50 rows"):
        PredictionMapDisplay.from_estimator(estimator, x, y[:4], ax=ax)
    with pytest.raises(ShapeError, match=r"expected \(n, 2\), the two inputs, and \(n,\)"):
        PredictionMapDisplay([0.0], [0.0], np.zeros((1, 1)), np.zeros(3), None, np.ones((1, 1)), [])
