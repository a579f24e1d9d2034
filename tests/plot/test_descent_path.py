import subprocess
import sys
import time
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from fallline import Curve, GradientDescent, InMemory, LevenbergMarquardt, Network, descend
from fallline.exceptions import ShapeError
from fallline.plot import PathDisplay

STEPS = np.arange(4)
ERROR = {"training": np.array([8.0, 2.0, 1.0, 0.5])}
NORM = np.array([4.0, 2.0, 1.0, 0.1])


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(0).normal(size=(40, 2))
    return InMemory(x, np.tanh(x @ [[2.0], [-1.0]]))


def walked(rows, descent, model=None, **settings):
    return descend(model or Network((2, 3, 1)), rows, descent, seed=0, max_iter=8, **settings)


def seen(ax):
    """The labels of the vertical axis that are in sight."""
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    return [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]


@pytest.mark.parametrize(
    ("descent", "panels"),
    [
        (GradientDescent(0.1), ["learning_rate"]),
        (GradientDescent(momentum="auto"), ["learning_rate", "momentum"]),
        (LevenbergMarquardt(), ["damping"]),
    ],
    ids=["plain", "automatic", "damped"],
)
def test_a_panel_for_error_gradient_and_each_number_of_the_descent(rows, descent, panels, ax):
    path = walked(rows, descent)
    drawn = PathDisplay.from_path(path, ax=ax)
    assert list(drawn.axes_) == ["error", "gradient_norm", *panels]
    np.testing.assert_allclose(drawn.lines_["error"]["training"].get_ydata(), path.error / 40)
    np.testing.assert_allclose(drawn.lines_["gradient_norm"]["gradient_norm"].get_ydata(), path.gradient_norm / 40)
    np.testing.assert_allclose(drawn.lines_[panels[-1]][panels[-1]].get_ydata()[1:], path.shown[panels[-1]][1:])


def test_the_panels_share_the_steps_and_the_lowest_names_them(ax):
    drawn = PathDisplay(STEPS, ERROR, NORM, {"learning_rate": np.full(4, 0.1)}).plot(ax)
    error, norm, rate = drawn.axes_.values()
    rate.set_xlim(1, 2)
    assert error.get_xlim() == norm.get_xlim() == (1, 2)
    assert [each.get_xlabel() for each in drawn.axes_.values()] == ["", "", "step"]
    assert [each.get_ylabel() for each in drawn.axes_.values()] == [
        "error per row\nE/n",
        "gradient norm\nper row",
        "learning\nrate",
    ]


def test_five_decades_have_labels_that_stand_apart(ax):
    error = {"training": 10.0 ** -np.arange(6)}
    momentum = {"momentum": np.linspace(0.5, 0.95, 6)}
    drawn = PathDisplay(np.arange(6), error, 10.0 ** -np.arange(6), momentum).plot(ax)
    assert drawn.axes_["error"].get_yscale() == "log"
    assert seen(drawn.axes_["error"]) == ["10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1"]
    assert drawn.axes_["momentum"].get_yscale() == "linear"


def test_a_rate_that_was_given_is_written_at_its_line(ax):
    drawn = PathDisplay(STEPS, ERROR, NORM, {"learning_rate": np.full(4, 0.05)}).plot(ax)
    assert seen(drawn.axes_["learning_rate"]) == ["0.05"]


def test_before_the_first_step_no_rate_has_been_taken(rows, ax):
    rate = PathDisplay.from_path(walked(rows, GradientDescent()), ax=ax).shown["learning_rate"]
    assert np.isnan(rate[0])
    assert (rate[1:] > 0).all()


def test_under_a_weight_decay_the_error_that_was_descended_stands_beside_it(rows, ax):
    path = walked(rows, LevenbergMarquardt(), alpha=1.0)
    drawn = PathDisplay.from_path(path, ax=ax)
    assert list(drawn.error_per_row) == ["training", "training, penalised"]
    np.testing.assert_allclose(drawn.error_per_row["training, penalised"], path.penalised_error / 40)


def test_under_bayesian_regularisation_damping_and_effective_weights_have_their_panels(rows, ax):
    path = walked(rows, LevenbergMarquardt(), alpha="evidence")
    drawn = PathDisplay.from_path(path, ax=ax)
    assert list(drawn.axes_) == [
        "error",
        "gradient_norm",
        "damping",
        "effective_weights",
        "noise_precision",
        "log_evidence",
    ]
    shown = drawn.lines_["effective_weights"]["effective_weights"].get_ydata()
    np.testing.assert_allclose(shown, path.shown["effective_weights"])
    assert drawn.axes_["effective_weights"].get_yscale() == "linear"


def test_watched_rows_are_divided_by_their_own_number_and_the_weights_kept_are_marked(rows, ax):
    path = SimpleNamespace(
        steps=STEPS, error=np.full(4, 40.0), penalised_error=np.full(4, 40.0), n_rows=10.0, gradient_norm=NORM,
        watched={"validation": np.array([8.0, 3.0, 4.0, 5.0])}, watched_rows={"validation": 2.0}, shown={},
        best_step=1, model=Network((2, 3, 1)), every_step=True,
    )  # fmt: skip
    drawn = PathDisplay.from_estimator(SimpleNamespace(path_=path), ax=ax)
    np.testing.assert_equal(drawn.lines_["error"]["training"].get_ydata(), np.full(4, 4.0))
    np.testing.assert_equal(drawn.lines_["error"]["validation"].get_ydata(), [4.0, 1.5, 2.0, 2.5])
    named = [text.get_text() for text in drawn.axes_["error"].get_legend().get_texts()]
    assert named == ["training", "validation", "weights kept: step 1"]


def test_a_neuron_of_two_weights_shows_its_walk_to_scale(rows, ax):
    model = Network((2, 1), bias=False)
    path = walked(rows, GradientDescent(0.5), model, input_names=["$width", "depth"])
    drawn = PathDisplay.from_path(path, ax=ax)
    plane = drawn.axes_["walk"]
    np.testing.assert_equal(drawn.lines_["walk"]["walk"].get_xydata(), path.weights)
    np.testing.assert_equal(drawn.lines_["walk"]["start"].get_xydata(), path.weights[:1])
    np.testing.assert_equal(drawn.lines_["walk"]["end"].get_xydata(), path.weights[-1:])
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("weight $width->y1", "weight depth->y1")
    assert plane.get_aspect() == 1.0
    drawn.figure_.canvas.draw()


def test_a_network_of_more_weights_has_no_plane_to_walk_in(rows, ax):
    assert "walk" not in PathDisplay.from_path(walked(rows, GradientDescent(0.1)), ax=ax).axes_


@pytest.mark.parametrize("walk", [None, np.random.default_rng(1).normal(size=(100_000, 2)).cumsum(axis=0)])
def test_a_long_path_is_drawn_fast_and_no_spike_is_lost(walk, ax):
    error = np.exp(-np.linspace(0, 12, 100_000))
    error[50_123], error[70_001] = 3.0, 1e-9
    rate = np.random.default_rng(0).uniform(0.1, 10, 100_000)
    display = PathDisplay(np.arange(100_000), {"training": error}, error, {"learning_rate": rate}, walk=walk)
    began = time.perf_counter()
    drawn = display.plot(ax)
    drawn.figure_.canvas.draw()
    assert time.perf_counter() - began < 5.0  # about a second
    x, y = drawn.lines_["error"]["training"].get_data()
    assert len(x) <= 10_000
    assert (y[x == 50_123].item(), y[x == 70_001].item()) == (3.0, 1e-9)
    shown = drawn.lines_["learning_rate"]["learning_rate"].get_ydata()
    assert (shown.min(), shown.max()) == (rate.min(), rate.max())


def test_what_is_not_finite_is_a_gap_in_a_long_curve_and_hides_no_spike(ax):
    error = np.ones(100_000)
    error[[40_000, 40_001]], error[40_003] = [np.nan, np.inf], 7.0
    drawn = PathDisplay(np.arange(100_000), {"training": error}, np.ones(100_000)).plot(ax)
    y = drawn.lines_["error"]["training"].get_ydata()
    assert np.nanmax(y[np.isfinite(y)]) == 7.0
    assert not np.isfinite(y).all()


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [np.nan, np.inf], [3.0, 3.0], [1.0, 0.0], [1e-300, 1e300], [2.0], []],
    ids=["exact", "not finite", "flat", "exact at last", "as far as floats go", "one point", "empty"],
)
def test_paths_out_of_the_ordinary_are_drawn_without_a_warning(values, ax):
    values = np.array(values)
    walk = np.column_stack([values, values])
    shown = {"learning_rate": values, "momentum": values}
    display = PathDisplay(np.arange(len(values)), {"_$held_{out": values}, values, shown, 0, walk)
    display.plot(ax).figure_.canvas.draw()


def test_a_curve_without_a_number_for_every_step_is_refused():
    with pytest.raises(ShapeError, match=r"'momentum' has shape \(3,\) for steps of shape \(4,\)"):
        PathDisplay(STEPS, ERROR, NORM, {"momentum": np.ones(3)})
    with pytest.raises(ShapeError, match=r"the walk has shape \(4, 3\); expected \(points, 2\)"):
        PathDisplay(STEPS, ERROR, NORM, walk=np.ones((4, 3)))


@pytest.mark.parametrize(
    "given",
    [Figure().add_axes((0.2, 0.3, 0.4, 0.5)), Figure().add_subplot(2, 2, 3)],
    ids=["placed by hand", "one of a grid"],
)
def test_it_keeps_to_the_room_it_is_given(given):
    drawn = PathDisplay(STEPS, ERROR, NORM, walk=np.ones((4, 2))).plot(given)
    drawn.figure_.canvas.draw()
    boxes = np.array([each.get_position().extents for each in drawn.axes_.values()])
    room = given.get_position().extents
    np.testing.assert_allclose([*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)], room, atol=1e-9)
    assert (drawn.ax_, drawn.figure_) == (given, given.figure)
    assert plt.get_fignums() == []


def test_without_axes_it_opens_a_figure_that_has_room_for_every_panel():
    small = PathDisplay(STEPS, ERROR, NORM).plot()
    large = PathDisplay(STEPS, ERROR, NORM, {"momentum": NORM}, walk=np.ones((4, 2))).plot()
    assert large.figure_ is plt.gcf()
    assert (large.figure_.get_size_inches() > small.figure_.get_size_inches()).all()


def test_colours_can_be_chosen(ax):
    watched = ERROR | {"validation": np.ones(4)}
    drawn = PathDisplay(STEPS, watched, NORM).plot(ax, color="#123456", accent="#654321")
    lines = drawn.lines_["error"]
    assert (lines["training"].get_color(), lines["validation"].get_color()) == ("#123456", "#654321")


def test_drawing_into_given_axes_imports_no_pyplot():
    found = (
        "import sys; from matplotlib.figure import Figure; import fallline.plot as p;"
        "p.PathDisplay([0, 1], {'training': [2.0, 1.0]}, [2.0, 1.0]).plot(Figure().add_subplot());"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("model", "to_scale"),
    [(Network((2, 1), bias=False), True), (Curve("a*exp(-b*x) + 0*z", columns=("x", "z")), False)],
    ids=["neuron", "curve"],
)
def test_weights_are_drawn_to_scale_and_parameters_of_a_curve_are_not(model, to_scale, rows):
    path = descend(model, rows, LevenbergMarquardt(), weights=[0.5, 0.5], max_iter=3)
    drawn = PathDisplay.from_path(path)
    assert drawn.to_scale is to_scale
    assert (drawn.axes_["walk"].get_aspect() == 1.0) is to_scale
