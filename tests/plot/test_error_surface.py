import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fallline import (
    GradientDescent,
    InMemory,
    LevenbergMarquardt,
    Network,
    NetworkRegressor,
    Plane,
    descend,
    error_surface,
)  # fmt: skip
from fallline.landscape.surface import Lowest, Surface, Track
from fallline.plot import ErrorSurfaceDisplay
from fallline.plot._map import GROUND, round_ticks

NEURON = Network((2, 1), output_activation="logistic", bias=False)
START = [-0.5, -5.0]


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(0).normal(size=(60, 2))
    return InMemory(x, 1 / (1 + np.exp(-x @ [[2.0], [-1.0]])))


@pytest.fixture(scope="module")
def paths(rows):
    descents = {"plain": GradientDescent(20.0), "_$damped{": LevenbergMarquardt()}
    return {
        name: descend(NEURON, rows, each, weights=START, max_iter=150, input_names=["$width", "depth"])
        for name, each in descents.items()
    }


@pytest.fixture(scope="module")
def surface(rows, paths):
    return error_surface(paths, rows, points=41)


def bowl(low=1.0, curvature=(1.0, 4.0), plane=None, extent=(-2, 2, -2, 2), **more):
    """E = low + ½ Σ c w² over two weights."""
    plane = Plane(np.zeros(2), [1.0, 0.0], [0.0, 1.0]) if plane is None else plane
    first, second = np.linspace(*extent[:2], 31), np.linspace(*extent[2:], 21)
    a, b = np.meshgrid(first, second)
    error = low + 0.5 * (curvature[0] * a**2 + curvature[1] * b**2)
    least = {"minimum": Lowest(np.zeros(2), low), **more}
    return Surface(plane, first, second, error, False, 10.0, **least)


def way(name, coordinates, share=1.0, same_rows=True):
    coordinates = np.asarray(coordinates, np.float64)
    zeros = np.zeros(len(coordinates))
    return Track(
        name, np.arange(len(zeros)), coordinates, zeros + 3, zeros + 2, zeros, share, len(zeros) - 1, same_rows
    )


def luminance(colors):
    return np.asarray(colors)[:, :3] @ [0.2126, 0.7152, 0.0722]


def named(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_bands_stand_at_the_levels_of_the_surface_and_each_is_darker_than_the_one_below(surface, ax):
    drawn = ErrorSurfaceDisplay(surface).plot(ax)
    np.testing.assert_array_equal(drawn.contours_.levels, surface.levels())
    shades = drawn.contours_.get_facecolor()
    assert len(shades) == len(surface.levels()) - 1
    assert (np.diff(luminance(shades)) < -0.01).all()
    np.testing.assert_array_equal(drawn.lines_of_contours_.levels, surface.levels()[1:-1])


def test_the_ground_is_darker_with_each_colour_also_to_a_colour_blind_eye():
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in GROUND])
    assert (np.diff(rgb, axis=0) < 0).all()  # in each of the three kinds of cone


def test_the_colour_of_a_point_is_that_of_the_band_its_error_lies_in(ax):
    drawn = ErrorSurfaceDisplay(bowl()).plot(ax, levels=5)
    shades, levels = drawn.contours_.get_facecolor(), drawn.contours_.levels
    middles = (levels[1:] + levels[:-1]) / 2
    np.testing.assert_allclose(drawn.contours_.cmap(drawn.contours_.norm(middles)), shades, atol=1e-12)


def test_the_lines_are_the_tracks_and_their_ends_are_marked(surface, paths, ax):
    drawn = ErrorSurfaceDisplay(surface).plot(ax)
    assert list(drawn.lines_) == list(paths) == [track.name for track in surface.tracks]
    for track in surface.tracks:
        np.testing.assert_array_equal(drawn.lines_[track.name].get_xydata(), track.coordinates)
        np.testing.assert_array_equal(drawn.starts_[track.name].get_xydata(), [START])
        np.testing.assert_array_equal(drawn.ends_[track.name].get_xydata(), track.coordinates[-1:])
        assert drawn.starts_[track.name].get_markerfacecolor() == "white"


def test_a_black_dot_stands_at_the_minimum(surface, ax):
    drawn = ErrorSurfaceDisplay(surface).plot(ax)
    np.testing.assert_array_equal(drawn.minimum_.get_xydata(), [surface.minimum.coordinates])
    np.testing.assert_allclose(drawn.minimum_.get_xydata(), [[2.0, -1.0]], atol=1e-4)
    assert drawn.minimum_.get_markerfacecolor() == "black"
    assert drawn.minimum_.get_zorder() > max(each.get_zorder() for each in drawn.ends_.values())
    assert drawn.local_minima_ is None


def test_local_minima_are_hollow_dots_and_say_their_errors(ax):
    others = (Lowest(np.array([1.0, 1.0]), 2.5), Lowest(np.array([-1.0, 1.0]), 4.0))
    drawn = ErrorSurfaceDisplay(bowl(local_minima=others)).plot(ax)
    np.testing.assert_array_equal(drawn.local_minima_.get_xydata(), [[1.0, 1.0], [-1.0, 1.0]])
    assert drawn.local_minima_.get_markerfacecolor() == "white"
    assert named(ax) == ["minimum, E = 1", "2 local minima, E = 2.5 and 4"]


def test_a_map_whose_error_falls_beyond_its_edge_has_no_dot(ax):
    assert ErrorSurfaceDisplay(bowl(minimum=None)).plot(ax).minimum_ is None


def test_a_minimum_that_is_rounding_only_has_the_error_0(surface, ax):
    ErrorSurfaceDisplay(surface).plot(ax)
    assert named(ax)[-1] == "minimum, E = 0"


def test_axes_and_legend_have_the_names_as_they_are(surface, ax):
    drawn = ErrorSurfaceDisplay(surface).plot(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("weight $width->y1", "weight depth->y1")
    assert named(ax)[:3] == ["plain", " _$damped{", "start"]
    drawn.figure_.canvas.draw()


def test_paths_differ_in_colour_in_marker_and_in_dashes(rows, ax):
    tracks = tuple(way(name, np.random.default_rng(i).normal(size=(200, 2))) for i, name in enumerate("abcd"))
    lines = ErrorSurfaceDisplay(bowl(tracks=tracks)).plot(ax).lines_.values()
    assert len({line.get_color() for line in lines}) == 4
    assert len({line.get_marker() for line in lines}) == 4
    assert len({str(line._dash_pattern) for line in lines}) == 4


@pytest.mark.parametrize(("points", "marker"), [(101, "o"), (102, "None")], ids=["few steps", "many"])
def test_few_steps_are_shown_each(points, marker, ax):
    track = way("", np.linspace([-1, -1], [0, 0], points))
    drawn = ErrorSurfaceDisplay(bowl(tracks=(track,))).plot(ax)
    assert drawn.lines_[""].get_marker() == marker
    assert named(ax)[0] == f"{points - 1} steps"


def test_what_lies_outside_the_map_is_cut_off_and_stretches_nothing(ax):
    track = way("far", [[-1, -1], [30, 40], [1e300, 1e308], [np.nan, np.inf], [0, 0]])
    drawn = ErrorSurfaceDisplay(bowl(tracks=(track,))).plot(ax)
    drawn.figure_.canvas.draw()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-2, 2))
    assert drawn.lines_["far"].get_clip_on()
    np.testing.assert_array_equal(drawn.lines_["far"].get_xydata()[[0, 1, 4]], track.coordinates[[0, 1, 4]])


@pytest.mark.parametrize(
    ("second", "extent", "aspect"),
    [
        ([0.0, 1.0], (-2, 2, -2, 2), 1.0),
        ([0.0, 5.0], (-2, 2, -0.4, 0.4), 5.0),
        ([0.0, 1.0], (-2, 2, -0.4, 0.4), "auto"),
        ([0.5, 1.0], (-2, 2, -2, 2), "auto"),
    ],
    ids=["square", "longer direction", "strip", "oblique"],
)
def test_a_map_is_to_scale_where_that_can_be(second, extent, aspect, ax):
    plane = Plane(np.zeros(2), [1.0, 0.0], second)
    drawn = ErrorSurfaceDisplay(bowl(plane=plane, extent=extent)).plot(ax)
    assert drawn.ax_.get_aspect() == aspect


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("extent", [(-2, 2, -1, 1), (-2, 2, -2, 2)], ids=["wide", "square"])
def test_the_scale_is_as_high_as_the_map(layout, extent, ax):
    ax.figure.set_layout_engine(layout)
    drawn = ErrorSurfaceDisplay(bowl(extent=extent)).plot(ax)
    drawn.figure_.canvas.draw()
    map_, scale = drawn.ax_.get_position(), drawn.colorbar_.ax.get_position()
    np.testing.assert_allclose([scale.y0, scale.y1], [map_.y0, map_.y1], atol=1e-6)
    assert scale.x0 > map_.x1


def test_the_scale_says_round_numbers_in_their_bands(ax):
    drawn = ErrorSurfaceDisplay(bowl(low=83.0)).plot(ax)
    ticks = drawn.colorbar_.get_ticks()
    labels = [text.get_text() for text in drawn.colorbar_.ax.get_yticklabels()]
    assert 4 <= len(ticks) <= 6
    assert [float(label) for label in labels] == pytest.approx(ticks)
    assert max(map(len, labels)) <= 6
    assert drawn.colorbar_.ax.get_ylabel() == "error E"


@pytest.mark.parametrize(
    ("levels", "ticks"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([1e-30, 1e-3, 1e-2, 0.1, 1, 10], [0, 0.001, 0.01, 0.1, 1, 10]),
        ([0, 0.0013, 0.011, 0.12, 1.4, 9.7], [0, 0.001, 0.01, 0.1, 1, 9]),
    ],
    ids=["even", "decades", "uneven"],
)
def test_ticks_are_the_roundest_numbers_near_evenly_spread_places(levels, ticks):
    np.testing.assert_allclose(round_ticks(np.array(levels), 6), ticks, rtol=1e-12)


@pytest.mark.parametrize("low", [1e-12, 0.37, 83.41, 1e9])
def test_ticks_stay_on_the_scale_and_apart_however_flat_the_valley(low):
    levels = low + np.concatenate([[0], np.geomspace(1e-4, 1e3, 14)])
    ticks = round_ticks(levels)
    assert ticks[0] >= levels[0] * (1 - 1e-12)
    assert ticks[-1] <= levels[-1]
    assert len(ticks) == 6
    places = np.interp(ticks, levels, np.arange(15))
    assert (np.diff(places) > 0.5).all()


def test_per_row_everything_is_divided_by_the_number_of_rows(ax):
    drawn = ErrorSurfaceDisplay(bowl()).plot(ax, per_row=True)
    np.testing.assert_allclose(drawn.contours_.levels, bowl().levels() / 10)
    assert drawn.colorbar_.ax.get_ylabel() == "error per row, E/n"
    assert named(ax) == ["minimum, E/n = 0.1"]


def test_the_penalised_error_is_called_so(rows, ax):
    path = descend(NEURON, rows, LevenbergMarquardt(), weights=START, max_iter=20, alpha=0.1)
    drawn = ErrorSurfaceDisplay.from_path(path, rows, points=21, ax=ax)
    assert drawn.colorbar_.ax.get_ylabel() == "penalised error"
    assert named(ax)[-1].startswith("minimum: ")


def test_a_plane_that_leaves_the_path_says_so_under_the_axes(ax):
    track = way("", [[-1, -1], [0, 0]], share=0.5)
    drawn = ErrorSurfaceDisplay(bowl(tracks=(track,))).plot(ax)
    assert drawn.text_.get_text().replace("\n", " ") == drawn.surface.fidelity
    assert ErrorSurfaceDisplay(bowl(tracks=(track,))).plot(ax, say_fidelity=False).text_ is None


def test_a_plane_that_holds_the_path_has_nothing_to_say(surface, ax):
    assert ErrorSurfaceDisplay(surface).plot(ax).text_ is None


def test_where_the_error_is_not_finite_the_ground_is_darkest_and_hatched(ax):
    surface = bowl()
    surface.error[:4] = np.inf
    drawn = ErrorSurfaceDisplay(surface).plot(ax)
    assert drawn.not_finite_.get_hatch()
    shades = [drawn.not_finite_.get_facecolor(), *drawn.contours_.get_facecolor()]
    assert luminance(shades).argmin() == 0
    assert named(ax)[-1] == "error not finite"
    drawn.figure_.canvas.draw()


@pytest.mark.parametrize(
    "change",
    [lambda e: 0 * e, lambda e: 0 * e + 7, lambda e: 1e10 + 1e-5 * e, lambda e: 1e290 * e, lambda e: 1e-290 * e],
    ids=["zero", "flat", "rounding", "huge", "tiny"],
)
def test_errors_out_of_the_ordinary_are_drawn_without_a_warning(change, ax):
    whole = bowl()
    surface = Surface(whole.plane, whole.first, whole.second, change(whole.error), False, 1.0)
    ErrorSurfaceDisplay(surface).plot(ax).figure_.canvas.draw()


def test_an_estimator_is_drawn_on_the_rows_it_was_fitted_to(ax):
    x = np.random.default_rng(0).normal(size=(50, 2))
    fit = NetworkRegressor(hidden_layer_sizes=(3,), random_state=0, tol=0.1).fit(x, np.sin(x[:, 0]))
    drawn = ErrorSurfaceDisplay.from_estimator(fit, x, np.sin(x[:, 0]), points=15, ax=ax)
    assert [track.same_rows for track in drawn.surface.tracks] == [True]
    assert drawn.surface.n_rows == 50
    assert ax.get_xlabel().startswith("first principal direction")


def test_it_draws_into_a_callers_subplots_and_opens_no_figure():
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    drawn = [ErrorSurfaceDisplay(bowl()).plot(ax) for ax in (left, right)]
    figure.canvas.draw()
    assert [each.ax_ for each in drawn] == [left, right]
    assert drawn[0].colorbar_.ax.get_position().x1 < right.get_position().x0
    assert plt.get_fignums() == []


def test_without_axes_it_opens_a_figure_and_changes_no_setting():
    before = dict(matplotlib.rcParams)
    drawn = ErrorSurfaceDisplay(bowl()).plot()
    assert drawn.figure_ is plt.gcf()
    assert dict(matplotlib.rcParams) == before


def test_colours_scale_and_legend_can_be_chosen(ax):
    tracks = (way("a", [[-1, -1], [0, 0]]), way("b", [[1, -1], [0, 0]]))
    drawn = ErrorSurfaceDisplay(bowl(tracks=tracks)).plot(
        ax, cmap="Greys", colors=["#123456", "#654321"], colorbar=False, legend=False
    )
    assert [line.get_color() for line in drawn.lines_.values()] == ["#123456", "#654321"]
    assert drawn.colorbar_ is None
    assert ax.get_legend() is None


def test_drawing_into_given_axes_imports_no_pyplot():
    code = (
        "import sys, numpy as np; from matplotlib.figure import Figure; from fallline.plot import ErrorSurfaceDisplay as D;"
        "from fallline.landscape.surface import Surface; from fallline import Plane;"
        "plane = Plane(np.zeros(2), [1.0, 0.0], [0.0, 1.0]); at = np.linspace(-1, 1, 5);"
        "D(Surface(plane, at, at, at**2 + at[:, None]**2, False, 1.0)).plot(Figure().add_subplot());"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("weights", "label"), [(2, "local minimum, E = 3"), (3, "local minimum of this plane, E = 3")])
def test_dots_of_a_plane_in_many_weights_are_called_minima_of_the_plane(weights, label, ax):
    plane = Plane(np.zeros(weights), np.eye(weights)[0], np.eye(weights)[1])
    drawn = ErrorSurfaceDisplay(bowl(plane=plane, local_minima=(Lowest(np.array([1.0, 1.0]), 3.0),))).plot(ax)
    assert drawn.local_minima_.get_label() == label
