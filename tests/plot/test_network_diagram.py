import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.neural_network import MLPRegressor

from fallline import Columns, FittedNetwork, NetworkClassifier, NetworkRegressor, SavedModel
from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import NetworkDiagramDisplay

COEFS = [np.array([[2.0, -1.0], [0.5, 4.0], [-4.0, 1.0]]), np.array([[3.0], [-2.0]])]
INTERCEPTS = [np.array([1.0, -1.0]), np.array([0.5])]


@pytest.fixture(scope="module")
def fitted():
    x = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 100.0, 1.0]
    return NetworkRegressor((2,), random_state=0, n_starts=1, alpha=0.1, max_iter=200, tol=1e-3).fit(
        x, np.tanh(x[:, 0]) + 0.01 * x[:, 1]
    )


def segments(lines):
    return np.array(lines.get_segments())


def test_a_line_is_as_wide_as_its_weight_is_large(ax):
    drawn = NetworkDiagramDisplay(COEFS, INTERCEPTS).plot(ax)
    assert (drawn.widest_, drawn.left_out_, drawn.n_weights) == (4.0, 0, 11)
    weights = np.array([each.weight for each in drawn.connections_])
    widths = drawn.positive_.get_linewidths(), drawn.negative_.get_linewidths()
    np.testing.assert_allclose(widths[0], weights[weights > 0])
    np.testing.assert_allclose(widths[1], -weights[weights < 0])


def test_a_line_joins_the_units_of_its_weight(ax):
    drawn = NetworkDiagramDisplay(COEFS, INTERCEPTS).plot(ax)
    inputs, hidden, output = (np.array(units.get_xydata()) for units in drawn.units_)
    largest = drawn.connections_[-2:]
    assert {(each.source, each.target, each.weight) for each in largest} == {(1, 1, 4.0), (2, 0, -4.0)}
    np.testing.assert_equal(segments(drawn.positive_)[-1], [inputs[1], hidden[1]])
    np.testing.assert_equal(segments(drawn.negative_)[-1], [inputs[2], hidden[0]])
    bias = drawn.biases_[1].get_xydata()[0]
    assert [bias.tolist(), output[0].tolist()] in segments(drawn.positive_).tolist()


def test_signs_are_told_apart_by_colour_and_by_dashes(ax):
    drawn = NetworkDiagramDisplay(COEFS).plot(ax, color="#123456", accent="#654321")
    assert drawn.positive_.get_linestyle()[0][1] is None
    assert drawn.negative_.get_linestyle()[0][1] is not None
    colours = drawn.positive_.get_color()[0][:3], drawn.negative_.get_color()[0][:3]
    np.testing.assert_allclose(np.array(colours) * 255, [[0x12, 0x34, 0x56], [0x65, 0x43, 0x21]])


def test_names_captions_and_legend_say_what_is_drawn(ax):
    drawn = NetworkDiagramDisplay(COEFS, INTERCEPTS, ["$a", "b", "c"], ["yield"], ["tanh", "identity"]).plot(ax)
    assert [label.get_text() for label in drawn.labels_] == ["$a", "b", "c", "yield"]
    captions = {text.get_text() for text in ax.texts} - {label.get_text() for label in drawn.labels_}
    assert captions == {"3 inputs", "2 tanh\nunits", "1 output"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["+4", "−4", "bias"]
    drawn.figure_.canvas.draw()


def test_without_biases_there_are_no_squares(ax):
    drawn = NetworkDiagramDisplay(COEFS).plot(ax)
    assert drawn.biases_ == []
    assert drawn.n_weights == 8


def test_of_a_wide_network_the_largest_weights_are_drawn_and_the_rest_is_counted(ax):
    random = np.random.default_rng(0)
    coefs = [random.normal(size=(4, 64)), random.normal(size=(64, 1))]
    coefs[0][:, 10], coefs[1][10] = 9.0, 9.0
    drawn = NetworkDiagramDisplay(coefs).plot(ax, at_most=50)
    assert [len(shown) for shown in drawn.shown_] == [4, 30, 1]
    assert 10 in drawn.shown_[1]
    sizes = np.abs(np.concatenate([coefs[0][:, drawn.shown_[1]].ravel(), coefs[1][drawn.shown_[1]].ravel()]))
    np.testing.assert_allclose([abs(each.weight) for each in drawn.connections_], np.sort(sizes)[-50:])
    assert drawn.left_out_ == 320 - 50
    assert ax.get_legend().get_title().get_text() == "the 50 largest of 320 weights"
    assert "30 drawn of\n64 units" in {text.get_text() for text in ax.texts}


def test_one_weight_that_dwarfs_all_others_does_not_hide_them(ax):
    coefs = [np.array([[1.0, -1.0, 1.0, 1e4]])]
    drawn = NetworkDiagramDisplay(coefs).plot(ax)
    assert drawn.widest_ == 8.0
    np.testing.assert_allclose(drawn.positive_.get_linewidths(), [0.5, 0.5, 4.0])
    assert ax.get_legend().get_texts()[0].get_text() == "+8 or more"


def test_the_estimator_the_network_and_the_saved_model_are_drawn_alike(fitted, ax):
    first = NetworkDiagramDisplay.from_estimator(fitted, ax=ax)
    layers = fitted.network_.layers(fitted.weights_)
    np.testing.assert_equal(first.coefs[0], layers[0].coef)
    np.testing.assert_equal(first.intercepts[1], layers[1].intercept)
    assert ax.get_legend().get_title().get_text() == "weights between standardised inputs and targets"
    network = FittedNetwork(fitted.network_, fitted.weights_, fitted.scaling_)
    table = {name: np.arange(9.0) ** 0.5 * k for k, name in enumerate(("a", "b", "c", "yield"), start=1)}
    saved = SavedModel(network, Columns.fit([table], ["yield"], keep=["a", "b", "c"]), {})
    again = NetworkDiagramDisplay.from_estimator(saved, ax=ax)
    assert [label.get_text() for label in again.labels_] == ["a", "b", "c", "yield"]
    np.testing.assert_equal(again.coefs[0], first.coefs[0])


def test_weights_in_the_units_of_the_user_are_those_of_the_estimator(fitted, ax):
    drawn = NetworkDiagramDisplay.from_estimator(fitted, scaled=False, ax=ax)
    np.testing.assert_equal(drawn.coefs[0], fitted.coefs_[0])
    np.testing.assert_equal(drawn.intercepts[0], fitted.intercepts_[0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_of_scikit_learn_is_drawn_too(ax):
    x = np.random.default_rng(0).normal(size=(20, 2))
    other = MLPRegressor(hidden_layer_sizes=(3,), max_iter=5, random_state=0).fit(x, x[:, 0])
    drawn = NetworkDiagramDisplay.from_estimator(other, ax=ax)
    np.testing.assert_equal(drawn.coefs[0], other.coefs_[0])
    assert "3 relu\nunits" in {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("weight", [0.0, 1e-300, np.nan, 1e300], ids=["zero", "tiny", "not a number", "huge"])
def test_weights_out_of_the_ordinary_are_drawn_fast_and_without_a_warning(weight, ax):
    began = time.perf_counter()
    NetworkDiagramDisplay([np.array([[weight, -1e-9], [-weight, 1.0]])]).plot(ax).figure_.canvas.draw()
    assert time.perf_counter() - began < 5.0  # a tenth of a second


def test_names_have_room_inside_the_axes(ax):
    drawn = NetworkDiagramDisplay(COEFS, None, ["coarse aggregate"] * 3).plot(ax)
    drawn.figure_.canvas.draw()
    left = min(label.get_window_extent().x0 for label in drawn.labels_)
    assert left > ax.get_window_extent().x0 - 2


def test_without_axes_it_opens_a_figure_that_grows_with_the_network():
    small = NetworkDiagramDisplay(COEFS).plot()
    large = NetworkDiagramDisplay([np.ones((20, 20))] * 3).plot()
    assert large.figure_ is plt.gcf()
    assert (large.figure_.get_size_inches() > small.figure_.get_size_inches()).all()


def test_a_network_too_large_to_draw_is_refused_with_a_sentence():
    with pytest.raises(SettingsError, match="120,000 weights in 2 layers would show nothing: up to 100,000"):
        NetworkDiagramDisplay([np.zeros((400, 200)), np.zeros((200, 200))])
    with pytest.raises(SettingsError, match="in 9 layers would show nothing"):
        NetworkDiagramDisplay([np.eye(2)] * 9)


def test_layers_and_names_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 2\) is followed by one of \(3, 1\)"):
        NetworkDiagramDisplay([COEFS[0], np.zeros((3, 1))])
    with pytest.raises(ShapeError, match=r"expected \[\(2,\), \(1,\)\]"):
        NetworkDiagramDisplay(COEFS, INTERCEPTS[::-1])
    with pytest.raises(ShapeError, match="input_names has 2 names; expected 3"):
        NetworkDiagramDisplay(COEFS, None, ["a", "b"])
    with pytest.raises(ShapeError, match="a list of matrices"):
        NetworkDiagramDisplay([np.ones(3)])


def test_of_networks_averaged_one_is_drawn_and_the_target_is_named(ax):
    random = np.random.default_rng(0)
    x = pd.DataFrame(random.normal(size=(60, 2)), columns=["girth", "age"])
    y = pd.Series(x["girth"] ** 2 + 0.1 * random.normal(size=60), name="height")
    fit = NetworkRegressor((3,), n_starts=4, alpha=0.1, random_state=0).fit(x, y)
    drawn = NetworkDiagramDisplay.from_estimator(fit, x, y, ax=ax)
    assert fit.coefs_[0].shape == (2, 12)
    assert [len(shown) for shown in drawn.shown_] == [2, 3, 1]
    assert "one of 4 networks averaged" in ax.get_legend().get_title().get_text()
    assert [label.get_text() for label in drawn.labels_] == ["girth", "age", "height"]
    alone = fit._fitted.alone()
    z = np.tanh(alone.scaling.x(x.to_numpy()) @ drawn.coefs[0] + drawn.intercepts[0])
    predicted = alone.scaling.unscale_y(z @ drawn.coefs[1] + drawn.intercepts[1])
    np.testing.assert_allclose(predicted, alone.predict(x.to_numpy()), rtol=1e-10)


def test_outputs_of_a_classifier_are_named_by_their_classes(ax):
    x = np.random.default_rng(0).normal(size=(60, 2))
    kind = np.where(x[:, 0] > 0.5, "up", np.where(x[:, 1] > 0, "side", "down"))
    fit = NetworkClassifier((2,), n_starts=1, alpha=0.1, random_state=0).fit(x, kind)
    drawn = NetworkDiagramDisplay.from_estimator(fit, ax=ax)
    assert [label.get_text() for label in drawn.labels_][2:] == ["down", "side", "up"]
