import matplotlib.pyplot as plt
import numpy as np
import pytest

from fallline import Convergence, GradientDescent, InMemory, LevenbergMarquardt, Network, NetworkRegressor, descend
from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import MomentumMapDisplay
from fallline.plot.momentum_map import levels_of

FORMS = pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
BOWL = Convergence([4.0, 1.0, 0.04])


@pytest.fixture
def line(random):
    x = random.normal(size=(60, 3)) @ np.diag([2.0, 1.0, 0.3])
    return Network((3, 1)), InMemory(x, x @ [[1.0], [2.0], [-1.0]] + 0.1 * random.normal(size=(60, 1)))


def largest_root(rate, momentum, curvature, nesterov):
    """Of σ² − Tσ + P, in size."""
    a = rate * curvature
    trace, product = (1 + momentum - a, momentum)
    trace, product = ((1 + momentum) * (1 - a), momentum * (1 - a)) if nesterov else (trace, product)
    return np.abs(np.roots([1.0, -trace, product])).max()


@FORMS
@pytest.mark.parametrize("at", [(0, 100), (40, 300), (200, 400), (360, 20)])
def test_a_point_of_the_map_is_the_steps_to_a_tenth_of_the_distance(nesterov, at, ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, nesterov=nesterov, ax=ax)
    momentum, rate = drawn.momenta[at[0]], drawn.learning_rates[at[1]]
    factor = max(largest_root(rate, momentum, value, nesterov) for value in (4.0, 1.0, 0.04))
    expected = np.log(0.1) / np.log(factor)
    assert drawn.steps[at] == pytest.approx(expected, rel=1e-9)


@FORMS
def test_beyond_the_line_of_the_limit_it_diverges_and_nowhere_else(nesterov, ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, nesterov=nesterov, ax=ax)
    beyond = drawn.learning_rates > drawn.limit[:, None]
    np.testing.assert_array_equal(np.isinf(drawn.steps), beyond)
    np.testing.assert_array_equal(drawn.limit_.get_data(), [drawn.limit, drawn.momenta])
    assert [text.get_text() for text in ax.texts] == ["diverges"]
    assert beyond.any(axis=1).all()


@FORMS
def test_the_black_dot_is_where_no_point_of_the_map_is_faster(nesterov, ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, nesterov=nesterov, ax=ax)
    assert drawn.best_.get_color() == "black"
    np.testing.assert_array_equal(np.ravel(drawn.best_.get_data()), drawn.best)
    assert drawn.steps.min() >= drawn.best_steps
    assert drawn.steps.min() < 1.3 * drawn.best_steps


def test_slower_is_darker(ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, ax=ax)
    light = drawn.contours_.get_facecolor()[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(light) < 0).all()


@pytest.mark.parametrize("fewest", [0.0, 1.0, 11.5, 154.0, 2e4])
def test_levels_are_round_numbers_from_the_fewest_steps_to_a_hundred_times_that(fewest):
    levels = levels_of(fewest)
    assert len(levels) in (6, 7)
    assert max(fewest, 1.0) <= levels[0] <= 2.5 * max(fewest, 1.0)
    assert levels[-1] <= 100 * max(fewest, 1.0)
    assert set(levels // 10.0 ** np.floor(np.log10(levels))) == {1.0, 2.0, 5.0}


@pytest.mark.parametrize("pair", [(0.2, 0.5), (1e-6, 0.9), (50.0, 0.9999)], ids=["near", "slow", "far out"])
def test_a_pair_that_was_taken_is_marked_inside_the_map(pair, ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, taken={"mine": pair}, ax=ax)
    np.testing.assert_array_equal(np.ravel(drawn.taken_["mine"].get_data()), pair)
    assert drawn.learning_rates[0] < pair[0] < drawn.learning_rates[-1]
    assert pair[1] < drawn.momenta[-1] < 1
    assert "mine" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_axes_say_what_they_are(ax):
    drawn = MomentumMapDisplay.from_convergence(BOWL, ax=ax)
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "learning rate, per row")
    assert ax.get_ylabel() == "momentum, heavy ball"
    assert drawn.colorbar_.ax.get_ylabel() == "steps to a tenth of the distance"
    again = MomentumMapDisplay.from_convergence(BOWL, nesterov=True, ax=plt.figure().add_subplot())
    assert again.ax_.get_ylabel() == "momentum, Nesterov's form"


def test_directions_too_flat_to_count_are_said(ax):
    drawn = MomentumMapDisplay.from_convergence(Convergence([1.0, 0.1, 1e-9]), ax=ax)
    assert drawn.colorbar_.ax.get_ylabel().endswith("\n1 of 3 directions are too flat to count")


@FORMS
def test_a_path_stands_beside_its_prediction(nesterov, line, ax):
    network, rows = line
    path = descend(network, rows, GradientDescent(0.1, 0.6, nesterov=nesterov), seed=0, max_iter=60)
    drawn = MomentumMapDisplay.from_path(path, rows, ax=ax)
    assert drawn.nesterov is nesterov
    assert list(drawn.taken_) == ["taken (0.1, 0.6)"]
    assert list(drawn.axes_) == ["map", "error"]
    measured, predicted = (drawn.lines_[name].get_ydata() for name in ("measured", "predicted"))
    x = np.column_stack([rows.x, np.ones(60)])
    least = 0.5 * np.linalg.lstsq(x, rows.y, rcond=None)[1][0]
    np.testing.assert_allclose(measured[:40], (path.error[:40] - least) / 60, rtol=1e-6)
    np.testing.assert_allclose(predicted[:40], measured[:40], rtol=1e-6)
    assert drawn.axes_["error"].get_yscale() == "log"
    assert drawn.ax_ is ax


def test_a_prediction_that_begins_on_the_way_says_from_which_step(random, ax):
    network = Network((2, 1), output_activation="logistic")
    x = random.normal(size=(100, 2))
    rows = InMemory(x, network.predict(np.array([2.0, -1.0, 0.5]), x) + 0.05 * random.normal(size=(100, 1)))
    minimum = descend(network, rows, LevenbergMarquardt(), seed=0, max_iter=100).best_weights
    path = descend(network, rows, GradientDescent(5.0, 0.8), weights=np.array([-2.0, 3.0, 1.0]), max_iter=150)
    drawn = MomentumMapDisplay.from_path(path, rows, minimum=minimum, ax=ax)
    names = [text.get_text() for text in drawn.axes_["error"].get_legend().get_texts()]
    assert names == ["measured", "predicted", f"from step {drawn.beside.from_step}"]
    assert drawn.beside.from_step > 10


def test_a_path_of_another_descent_gives_the_map_of_its_minimum_alone(line, ax):
    network, rows = line
    path = descend(network, rows, LevenbergMarquardt(), seed=0, max_iter=20)
    drawn = MomentumMapDisplay.from_path(path, rows, nesterov=True, ax=ax)
    assert list(drawn.axes_) == ["map"]
    assert drawn.taken == {}
    assert drawn.nesterov


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_estimator_shows_the_rows_it_descended_on(early_stopping, line, ax):
    _, rows = line
    settings = {"descent": GradientDescent(0.05, 0.5), "random_state": 0, "max_iter": 3000, "tol": 1e-9}
    fit = NetworkRegressor((), early_stopping=early_stopping, n_iter_no_change=50, **settings)
    fit.fit(rows.x, rows.y[:, 0])
    drawn = MomentumMapDisplay.from_estimator(fit, rows.x, rows.y[:, 0], ax=ax)
    scaled = fit.descended_rows(rows.x, rows.y[:, 0])
    expected = Convergence.of_path(fit.path_, scaled)
    assert drawn.best[0] == pytest.approx(expected.best("heavy ball").learning_rate)
    assert len(scaled.x) == len(fit.train_rows_)


def test_other_rows_than_those_of_the_path_are_refused(line, ax):
    network, rows = line
    path = descend(network, rows, GradientDescent(0.1, 0.6), seed=0, max_iter=60)
    with pytest.raises(SettingsError, match="pass the rows that it descended on"):
        MomentumMapDisplay.from_path(path, InMemory(2 * rows.x, rows.y), ax=ax)


def test_without_axes_it_opens_a_figure_of_its_own():
    drawn = MomentumMapDisplay.from_convergence(BOWL)
    assert drawn.figure_ is plt.gcf()


def test_numbers_of_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(2, 3\) and \(2,\)"):
        MomentumMapDisplay(np.ones(3), np.ones(2), np.ones((3, 2)), np.ones(2), (1.0, 0.0), 1.0)
