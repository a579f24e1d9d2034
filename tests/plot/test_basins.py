import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fallline import Basins, GradientDescent, Minimum, Network, Plane, find_basins
from fallline.exceptions import SettingsError
from fallline.plot import BasinDisplay
from fallline.plot.basins import BASINS, HARMED, NO_MINIMUM, SAME, SAVED

PLANE = Plane(np.zeros(2), [1.0, 0.0], [0.0, 1.0], ("weight $a", "weight b"))
LOWEST, HIGHER = [0.5, 1.0], [2.0, 1.0]
# Two rows of starts, three in each: plain is caught in four, and once at no minimum; momentum saves three, harms one.
PLAIN = np.array([[0, 1, 1], [-1, 1, 0]])
HEAVY = np.array([[0, 0, 1], [0, 0, 1]])


def minimum(weights, error, count=1):
    return Minimum(np.asarray(weights, np.float64), error, error, 0.0, np.ones(len(weights)), 0, count)


def made(plain=PLAIN, heavy=HEAVY, arrived=True, minima=None, plane=PLANE):
    minima = (minimum(LOWEST, 1.25), minimum(HIGHER, 2.5)) if minima is None else minima
    index = {"plain": plain, "_heavy ball$": heavy}
    return Basins(
        plane, np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5]), minima, index,
        {name: np.full(np.shape(each), arrived) for name, each in index.items()},
        {name: np.zeros(np.shape(each)) for name, each in index.items()}, 300, 0.1,
    )  # fmt: skip


def luminance(color):
    return np.asarray(to_rgb(color)) @ [0.2126, 0.7152, 0.0722]


def painted(mesh):
    """The colour of each start (b, a, 3), as the mesh maps it."""
    return mesh.to_rgba(mesh.get_array())[..., :3]


def listed(drawn):
    return [text.get_text() for text in drawn.legend_.get_texts()]


@pytest.fixture
def drawn(ax):
    return BasinDisplay(made(), saved=("_heavy ball$", "plain")).plot(ax)


@pytest.mark.parametrize(("name", "index"), [("plain", PLAIN), ("_heavy ball$", HEAVY)])
def test_every_start_has_the_colour_of_its_minimum(name, index, drawn):
    colors = np.array([to_rgb(color) for color in BASINS])
    mesh = drawn.meshes_[name]
    shown = ~np.ma.getmaskarray(mesh.get_array())
    np.testing.assert_array_equal(shown, index >= 0)
    np.testing.assert_allclose(painted(mesh)[shown], colors[index[shown]])


def test_the_lowest_minimum_is_the_lightest_and_each_next_one_darker():
    light = [luminance(color) for color in BASINS]
    assert (np.diff(light) < -0.03).all()


def test_who_is_saved_and_who_is_harmed_differ_in_grey_too(drawn):
    colors = np.array([to_rgb(color) for color in (HARMED, SAME, SAVED)])
    expected = np.array([[1, 2, 1], [2, 2, 0]])  # by hand, of the two arrays above
    np.testing.assert_allclose(painted(drawn.saved_mesh_), colors[expected])
    light = sorted(luminance(color) for color in (SAVED, HARMED, SAME))
    assert min(np.diff(light)) > 0.2


def test_the_comparison_stands_under_it_in_words(drawn):
    said = " ".join(drawn.text_.get_text().split())
    assert said == drawn.basins.comparison("_heavy ball$", "plain")
    assert "3 end in a lower minimum than with plain and 1 in a higher one" in said


def test_a_black_dot_stands_at_the_lowest_minimum_and_hollow_ones_at_the_others(drawn):
    for_plain = drawn.dots_["plain"]
    np.testing.assert_array_equal([dot.get_xydata()[0] for dot in for_plain], [LOWEST, HIGHER])
    assert [dot.get_markerfacecolor() for dot in for_plain] == ["black", "white"]
    assert [text.get_text() for text in drawn.axes_["plain"].texts] == ["1", "2"]


def test_a_minimum_off_the_plane_or_off_the_map_has_no_dot(ax):
    plane = Plane(np.zeros(3), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    minima = (minimum([0.5, 1.0, 0.3], 1.0), minimum([0.5, 1.0, 0.0], 2.0), minimum([5.0, 1.0, 0.0], 3.0))
    drawn = BasinDisplay(made(minima=minima, plane=plane)).plot(ax)
    np.testing.assert_array_equal([dot.get_xydata()[0] for dot in drawn.dots_["plain"]], [[0.5, 1.0]])


def test_the_legend_counts_the_starts_of_each_descent(drawn):
    assert listed(drawn) == [
        "minimum 1, E = 1.25: plain 2, _heavy ball$ 4",
        "minimum 2, E = 2.5: plain 3, _heavy ball$ 2",
        "no minimum: plain 1, _heavy ball$ 0",
        "to a lower minimum by _heavy ball$ than by plain: 3",
        "to a higher minimum by _heavy ball$ than by plain: 1",
    ]


def test_where_there_is_no_minimum_the_ground_is_grey_and_hatched(drawn):
    (ground,) = [patch for patch in drawn.axes_["plain"].patches if to_rgb(patch.get_facecolor()) == to_rgb(NO_MINIMUM)]
    assert ground.get_hatch()
    assert drawn.axes_["_heavy ball$"].patches[:] == []


def test_starts_that_had_not_arrived_are_stippled_and_no_others(ax):
    basins = made(heavy=HEAVY)
    basins.arrived["plain"][:, 0] = False
    drawn = BasinDisplay(basins).plot(ax)
    x, y = drawn.stipples_["plain"].get_data()
    assert len(x) > 50
    assert x.max() < 0.5  # half way to the next start
    assert y.max() < 1.0  # above, the start ends at no minimum
    assert drawn.stipples_["_heavy ball$"] is None
    assert listed(drawn)[-1] == "not yet there after 300 steps: plain 1, _heavy ball$ 0"


def test_minima_beyond_the_last_colour_share_it(ax):
    minima = tuple(minimum([0.2 * i, 1.0], 1.0 + i) for i in range(9))
    index = np.array([[0, 5, 6], [7, 8, 8]])
    drawn = BasinDisplay(made(plain=index, heavy=index, minima=minima)).plot(ax)
    np.testing.assert_allclose(painted(drawn.meshes_["plain"])[1], [to_rgb(BASINS[-1])] * 3)
    assert listed(drawn)[-1] == "minima 7 to 9, E = 7 and more: plain 4, _heavy ball$ 4"
    assert len(drawn.legend_.get_texts()) == len(BASINS)


def test_panels_have_their_names_and_axes_as_they_are(drawn):
    assert list(drawn.axes_) == ["plain", "_heavy ball$"]
    assert [each.get_title() for each in drawn.axes_.values()] == ["plain", "_heavy ball$"]
    assert drawn.saved_ax_.get_title() == "_heavy ball$ against plain"
    assert drawn.axes_["plain"].get_xlabel() == "weight $a"
    assert drawn.axes_["plain"].get_ylabel() == "weight b"
    assert drawn.axes_["plain"].get_aspect() == 1.0
    drawn.figure_.canvas.draw()


def test_a_comparison_of_a_descent_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match=r"there is no descent 'fast' to compare: .*'plain'"):
        BasinDisplay(made(), saved=("fast", "plain"))


def test_the_minima_of_a_neuron_are_all_there(ax):
    x = np.array([[10.0, 0.0], [0.5, 0.0], [0.0, 10.0], [0.0, 0.5]])
    y = np.array([[0.3], [0.9], [0.3], [0.9]])
    neuron = Network((2, 1), output_activation="logistic", bias=False)
    descents = {"plain": GradientDescent(0.2)}
    basins = find_basins(neuron, (x, y), descents, extent=(-2, 6, -2, 6), points=9, max_iter=50)
    drawn = BasinDisplay(basins).plot(ax)
    # Two minima on each axis, four in all (Auer, Herbster & Warmuth 1996).
    assert len(drawn.basins.minima) == 4
    assert len(drawn.dots_["plain"]) == 4
    assert sum(drawn.basins.counts("plain")) == 81


def test_it_keeps_to_the_room_it_is_given_and_opens_no_figure():
    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1)
    drawn = [BasinDisplay(made(), saved=("plain", "_heavy ball$")).plot(ax) for ax in (above, below)]
    figure.canvas.draw()
    tops = [each.axes_["plain"].get_position() for each in drawn]
    assert tops[0].y0 > tops[1].y1
    assert drawn[1].ax_ is below
    assert plt.get_fignums() == []


def test_without_axes_it_opens_a_figure_that_grows_with_its_panels():
    before = dict(matplotlib.rcParams)
    two = BasinDisplay(made()).plot()
    three = BasinDisplay(made(), saved=("plain", "_heavy ball$")).plot()
    assert three.figure_ is plt.gcf()
    assert (three.figure_.get_size_inches() > two.figure_.get_size_inches()).all()
    assert dict(matplotlib.rcParams) == before
