from types import SimpleNamespace

import numpy as np
import pytest

from fallline import NetworkRegressor
from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import ErrorCurveDisplay

STEPS = np.array([0, 1, 2, 5])
CURVES = {"training": np.array([8.0, 2.0, 1.0, 0.5]), "held-out": np.array([9.0, 3.0, 2.5, 2.75])}


def test_a_line_is_a_curve_over_the_steps(ax):
    drawn = ErrorCurveDisplay(STEPS, CURVES).plot(ax)
    np.testing.assert_equal(drawn.lines_["training"].get_data(), [STEPS, CURVES["training"]])
    np.testing.assert_equal(drawn.lines_["held-out"].get_data(), [STEPS, CURVES["held-out"]])


def test_the_error_is_on_a_logarithmic_axis_that_says_it_is_per_row(ax):
    ErrorCurveDisplay(STEPS, CURVES).plot(ax)
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "error per row, E/n")


def test_the_lowest_point_of_the_curve_that_is_named_is_marked(ax):
    drawn = ErrorCurveDisplay(STEPS, CURVES, lowest_of="held-out").plot(ax)
    assert drawn.lowest == (2.0, 2.5)
    np.testing.assert_equal(drawn.lowest_.get_data(), [[2.0], [2.5]])


def test_no_point_is_marked_unless_asked_for(ax):
    drawn = ErrorCurveDisplay(STEPS, CURVES).plot(ax)
    assert drawn.lowest is None
    assert drawn.lowest_ is None


def test_the_lowest_point_is_a_finite_one():
    display = ErrorCurveDisplay(np.arange(3), {"held-out": np.array([np.nan, 4.0, -np.inf])}, "held-out")
    assert display.lowest == (1.0, 4.0)


def test_the_marked_curve_has_the_accent_and_the_others_are_told_apart_by_their_dashes(ax):
    curves = CURVES | {"validation": np.ones(4)}
    lines = ErrorCurveDisplay(STEPS, curves, "held-out").plot(ax, color="#123456", accent="#654321").lines_
    assert [line.get_color() for line in lines.values()] == ["#123456", "#654321", "#123456"]
    assert lines["training"]._dash_pattern != lines["validation"]._dash_pattern


def test_an_estimator_shows_the_path_it_recorded_divided_by_its_rows(ax):
    path = SimpleNamespace(
        steps=STEPS, error=np.array([40.0, 20.0, 10.0, 5.0]), n_rows=10.0,
        watched={"validation": np.array([8.0, 3.0, 4.0, 5.0])}, watched_rows={"validation": 2.0},
    )  # fmt: skip
    drawn = ErrorCurveDisplay.from_estimator(SimpleNamespace(path_=path), ax=ax)
    np.testing.assert_equal(drawn.lines_["training"].get_ydata(), [4.0, 2.0, 1.0, 0.5])
    np.testing.assert_equal(drawn.lines_["validation"].get_ydata(), [4.0, 1.5, 2.0, 2.5])
    assert drawn.lowest == (1.0, 1.5)


def test_early_stopping_shows_training_validation_and_test_rows(ax):
    x = np.random.default_rng(0).normal(size=(60, 1))
    fit = NetworkRegressor((2,), early_stopping=True, random_state=0).fit(x, np.sin(x[:, 0]))
    drawn = ErrorCurveDisplay.from_estimator(fit, ax=ax)
    assert list(drawn.lines_) == ["training", "validation", "test"]
    assert drawn.lowest_of == "validation"
    np.testing.assert_allclose(drawn.lines_["test"].get_ydata(), fit.path_.watched["test"] / len(fit.test_rows_))


@pytest.mark.parametrize(
    ("error", "labels"),
    [
        pytest.param([1e4, 1e-8], ["10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1", "100", "10⁴"], id="twelve decades"),
        pytest.param([300.0, 2.0], ["3", "10", "30", "100", "300"], id="two decades"),
        pytest.param([1.0, 0.95], ["0.96", "0.98", "1"], id="a twentieth of one"),
    ],
)
def test_the_labels_can_be_read_over_many_decades_and_over_few(error, labels, ax):
    drawn = ErrorCurveDisplay(np.arange(2), {"training": np.array(error)}).plot(ax)
    drawn.figure_.canvas.draw()
    low, high = ax.get_ylim()
    seen = [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert seen == labels


@pytest.mark.parametrize(
    "error",
    [[0.0, 0.0], [np.nan, np.inf], [3.0, 3.0], [1.0, 0.0], [1e-300, 1e300], []],
    ids=["exact", "not finite", "flat", "exact at last", "as far as floats go", "empty"],
)
def test_curves_out_of_the_ordinary_are_drawn_without_a_warning(error, ax):
    curves = {"training": np.array(error), "_$held_{out": np.array(error)}
    display = ErrorCurveDisplay(np.arange(len(error)), curves, lowest_of="_$held_{out")
    display.plot(ax).figure_.canvas.draw()


def test_a_curve_without_an_error_for_every_step_is_refused():
    with pytest.raises(ShapeError, match=r"'training' has shape \(3,\) for steps of shape \(4,\)"):
        ErrorCurveDisplay(STEPS, {"training": np.ones(3)})


def test_the_lowest_point_of_a_curve_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="the curves are 'training' and 'held-out'"):
        ErrorCurveDisplay(STEPS, CURVES, lowest_of="test")


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["flat last", "flat first"])
def test_two_displays_in_one_axes_are_both_in_sight(order, ax):
    first, second = [np.array([100.0, 10.0, 1.0, 0.1]), np.array([3.0, 3.0, 3.0, 3.0])][order]
    ErrorCurveDisplay(STEPS, {"momentum": first}).plot(ax)
    ErrorCurveDisplay(STEPS, {"plain": second}).plot(ax)
    low, high = ax.get_ylim()
    assert low < 0.1
    assert high > 100.0
