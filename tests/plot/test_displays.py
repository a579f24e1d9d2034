"""What every Display keeps to: numbers first, no pyplot unless it is needed, nothing global changed."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import fallline.plot
from fallline import NetworkRegressor
from fallline.exceptions import FalllineError, SettingsError, ShapeError
from fallline.plot import (
    ErrorCurveDisplay,
    PathDisplay,
    PredictedActualDisplay,
    ResidualHistogramDisplay,
    ResidualsDisplay,
)
from fallline.plot.display import Display

Y = np.array([1.0, 2.0, 4.0, 7.0])
PREDICTED = np.array([1.5, 2.0, 3.0, 7.5])
of_predictions = pytest.mark.parametrize(
    "display", [PredictedActualDisplay, ResidualsDisplay, ResidualHistogramDisplay], ids=lambda d: d.__name__
)


@of_predictions
def test_it_draws_into_the_axes_it_is_given_and_keeps_them(display, ax):
    drawn = display.from_predictions(Y, PREDICTED, ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is ax.figure
    assert plt.get_fignums() == []


@of_predictions
def test_without_axes_it_opens_a_figure_of_its_own(display):
    drawn = display.from_predictions(Y, PREDICTED)
    assert drawn.figure_ is plt.gcf()


@of_predictions
def test_it_leaves_the_settings_of_matplotlib_alone(display, ax):
    before = matplotlib.rcParams.copy()
    display.from_predictions(Y, PREDICTED, ax=ax)
    assert matplotlib.rcParams.copy() == before


@of_predictions
def test_an_estimator_is_asked_for_its_predictions(display, ax):
    X = np.arange(4.0)[:, None]
    estimator = LinearRegression().fit(X, Y)
    from_estimator = display.from_estimator(estimator, X, Y, ax=ax, target="y")
    expected = display.from_predictions(Y, estimator.predict(X), ax=ax, target="y")
    np.testing.assert_equal(vars(from_estimator)["target"], "y")
    np.testing.assert_equal(list(numbers(from_estimator)), list(numbers(expected)))


def numbers(display):
    return [value for value in vars(display).values() if isinstance(value, np.ndarray)]


@of_predictions
def test_of_several_targets_one_is_chosen(display, ax):
    both = display.from_predictions(np.c_[Y, -Y], np.c_[PREDICTED, -PREDICTED], output=1, ax=ax)
    one = display.from_predictions(-Y, -PREDICTED, ax=ax)
    np.testing.assert_equal(numbers(both), numbers(one))


@of_predictions
@pytest.mark.parametrize("output", [None, 2, -1])
def test_of_several_targets_the_choice_is_asked_for(display, output, ax):
    with pytest.raises(SettingsError, match="pass output=0 to output=1"):
        display.from_predictions(np.c_[Y, Y], np.c_[Y, Y], output=output, ax=ax)


@of_predictions
def test_values_and_predictions_of_different_shape_are_refused(display, ax):
    with pytest.raises(ShapeError, match=r"\(4,\) and y_pred \(3,\)"):
        display.from_predictions(Y, PREDICTED[:3], ax=ax)


@of_predictions
def test_a_target_with_dollar_signs_is_no_formula(display, ax):
    drawn = display.from_predictions(Y, PREDICTED, target="$x_{ and $y", ax=ax)
    drawn.figure_.canvas.draw()
    assert ax.get_xlabel().endswith("$x_{ and $y")


@of_predictions
@pytest.mark.parametrize(
    ("y", "predicted"),
    [
        pytest.param([], [], id="no rows"),
        pytest.param([2.0], [2.0], id="one row"),
        pytest.param([0.0, 0.0], [0.0, 0.0], id="all zero"),
        pytest.param([np.nan, 1.0, 2.0], [0.0, np.inf, 2.5], id="not finite"),
        pytest.param([0.0] * 50 + [1e300], [0.0] * 51, id="one far outlier"),
    ],
)
def test_rows_out_of_the_ordinary_are_drawn_without_a_warning(display, y, predicted, ax):
    display.from_predictions(y, predicted, ax=ax).figure_.canvas.draw()


def test_importing_the_displays_imports_no_matplotlib():
    found = "import sys, fallline.plot; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_drawing_into_given_axes_imports_no_pyplot():
    found = (
        "import sys; from matplotlib.figure import Figure; import fallline.plot as p;"
        "p.ResidualsDisplay.from_predictions([1, 2], [1, 3], ax=Figure().add_subplot());"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", fallline.plot.__all__)
def test_every_display_stands_on_the_same_base(name):
    assert issubclass(getattr(fallline.plot, name), Display)


@pytest.mark.parametrize("display", [ErrorCurveDisplay, PathDisplay], ids=lambda d: d.__name__)
def test_an_estimator_that_went_no_way_gets_a_sentence(display):
    with pytest.raises(FalllineError, match="this NetworkRegressor has no path to draw: fit it first"):
        display.from_estimator(NetworkRegressor())
