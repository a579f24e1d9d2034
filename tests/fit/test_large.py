"""Large tables: every choice is judged by rows held out inside. Here a table is large from 1 000 rows on, and work is little."""

import _thread
import re

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.fit import large
from fallline.fit.network_fit import fit_network
from fallline.fit.settings import Settings


@pytest.fixture(autouse=True)
def _smaller(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 1000)
    monkeypatch.setattr(large, "WORK", 1e8)
    monkeypatch.setattr(large, "_MOST_EPOCHS", 40)
    monkeypatch.setattr(large, "_SMALL_WORK", 0.0)  # nothing by Levenberg–Marquardt


@pytest.fixture
def steps(random):
    """Steps in one input and waves in another: neither a line nor a few tanh units."""
    x = random.uniform(-1, 1, size=(3000, 3))
    return x, np.sign(np.sin(9 * x[:, :1])) + np.sin(7 * x[:, 1:2]) + 0.3 * random.normal(size=(3000, 1))


def off(fitted, x, y):
    return np.sqrt(np.mean((fitted.predict(x) - y) ** 2))


def test_a_rough_curve_has_two_hidden_layers_and_the_mean_is_nearer_than_its_members(steps):
    x, y = steps
    fitted, path = fit_network(x[:2000], y[:2000], seed=0)
    members = fitted.starts
    assert len(members.network.hidden) == 2
    assert fitted.members == len(members) == 6
    each = [
        np.sqrt(
            np.mean((fitted.scaling.unscale_y(members.network.predict(w, fitted.scaling.x(x[2000:]))) - y[2000:]) ** 2)
        )
        for w in members.weights
    ]
    line = LinearRegression().fit(x[:2000], y[:2000])
    assert off(fitted, x[2000:], y[2000:]) < np.mean(each) < 0.9 * off(line, x[2000:], y[2000:])
    assert path.stop == Stop.DECAYED
    assert path.n_rows == 2000
    assert path.at_best(path.error) == pytest.approx(
        fitted.alone().rows(x[:2000], y[:2000]).count
        * off(fitted.alone(), x[:2000], y[:2000]) ** 2
        / 2
        / fitted.scaling.y_scale[0] ** 2,
        rel=1e-4,
    )
    assert "On the 200 rows held out inside one network has an RMSE of" in path.stop_message


def test_a_line_in_noise_is_fitted_by_a_line(random):
    x = random.normal(size=(2000, 4))
    y = x @ [[1.0], [-2.0], [0.5], [0.0]] + 2 * random.normal(size=(2000, 1))
    fitted, path = fit_network(x, y, seed=0)
    assert fitted.network.hidden == ()
    assert re.search(
        r"no network was nearer than ridge regression \(RMSE 6\d % of the target's spread\)[.]$", path.stop_message
    )
    np.testing.assert_allclose(fitted.predict(x), LinearRegression().fit(x, y).predict(x), atol=0.02)


def test_a_curve_without_noise_is_left_to_levenberg_marquardt(random, monkeypatch):
    monkeypatch.setattr(large, "_SMALL_WORK", 1e9)
    x = random.uniform(-1, 1, size=(1500, 2))
    _, path = fit_network(x, np.tanh(2 * x[:, :1] - x[:, 1:]), seed=0, max_iter=60)
    assert type(path.descent).__name__ == "LevenbergMarquardt"
    assert np.sqrt(2 * path.error[-1] / 1500) < 1e-3


def test_predictions_of_rows_left_out_are_those_of_a_member_that_had_not_seen_them_nor_their_twins(steps):
    x, y = (np.concatenate([each, each]) for each in steps)
    fitted, _ = fit_network(x, y, seed=0, hidden_layer_sizes=(8, 8), alpha=0.1)
    left_out, twins = fitted.left_out[:3000], fitted.left_out[3000:]
    np.testing.assert_array_equal(left_out, twins)
    assert np.isfinite(left_out).mean() == pytest.approx(0.5, abs=0.01)
    scaled = fitted.scaling.x(x[:3000])
    members = np.hstack(
        [fitted.scaling.unscale_y(fitted.starts.network.predict(w, scaled)) for w in fitted.starts.weights]
    )
    nearest = np.abs(members - left_out).min(axis=1)
    np.testing.assert_allclose(nearest[np.isfinite(nearest)], 0.0, atol=1e-5)


def test_the_number_of_threads_changes_no_bit(steps):
    one, two = (fit_network(*steps, seed=3, hidden_layer_sizes=(8, 8), n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one[0].weights, two[0].weights)
    assert one[1].stop_message == two[1].stop_message


def test_width_decay_and_number_of_members_that_were_asked_for_are_kept(steps):
    fitted, path = fit_network(*steps, seed=0, hidden_layer_sizes=(9,), alpha=2.5, n_starts=2)
    assert fitted.starts.network.hidden == (9,)
    assert (path.alpha, len(fitted.starts), fitted.members) == (2.5, 2, 2)
    alone, _ = fit_network(*steps, seed=0, hidden_layer_sizes=(9,), alpha=2.5, n_starts=2, average=False)
    np.testing.assert_array_equal(alone.weights, fitted.starts[fitted.starts.shown].weights)


def test_a_network_that_is_no_nearer_than_a_line_says_so(random):
    x = random.normal(size=(2000, 2))
    _, path = fit_network(x, x[:, :1] + 3 * random.normal(size=(2000, 1)), seed=0, hidden_layer_sizes=(5,))
    assert path.stop_message.endswith("A linear fit would do: hidden_layer_sizes=().")


@pytest.mark.parametrize(("count", "nearer"), [(4, False), (400, True)])
def test_nearer_is_what_gains_more_than_its_standard_error(count, nearer):
    gain = np.tile([-9.0, 11.0], count // 2)  # 1 in the mean, 10 of standard deviation
    tried = [
        large._Tried(None, None, None, None, squares, np.ones(count)) for squares in (20 - gain, np.full(count, 20.0))
    ]
    assert tried[0].is_nearer_than(tried[1]) == nearer
    assert not tried[1].is_nearer_than(tried[0])


@pytest.mark.parametrize("hidden", ["auto", (8, 8)])
def test_without_time_for_a_step_the_weights_are_finite_and_the_fit_says_so(hidden, steps):
    fitted, path = fit_network(*steps, seed=0, hidden_layer_sizes=hidden, max_seconds=1e-9)
    assert path.stop == Stop.TIME
    assert "before the first step" in path.stop_message
    assert np.isfinite(fitted.predict(steps[0])).all()


def test_a_time_that_is_over_keeps_the_best_so_far(steps, monkeypatch):
    for plan in ("_A_SECOND", "WORK", "_MOST_EPOCHS"):  # far more than there is time for
        monkeypatch.setattr(large, plan, 1e12)
    fitted, path = fit_network(*steps, seed=0, hidden_layer_sizes=(64, 64), max_seconds=2)
    assert path.stop == Stop.TIME
    assert off(fitted, *steps) < 0.9 * off(LinearRegression().fit(*steps), *steps)


CUT = {"asked": (lambda: True, Stop.ASKED), "Ctrl-C": (_thread.interrupt_main, Stop.INTERRUPTED)}


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(("cut", "stop"), CUT.values(), ids=CUT)
def test_a_fit_cut_short_keeps_the_best_so_far(cut, stop, n_jobs, steps, monkeypatch):
    monkeypatch.setattr(large, "WORK", 1e12)
    fitted, path = fit_network(
        *steps, seed=0, hidden_layer_sizes=(8, 8), n_jobs=n_jobs, progress=lambda now, _: now.start > 1 and cut()
    )
    assert path.stop == stop
    assert np.isfinite(fitted.predict(steps[0])).all()


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [
        (1000, {}, True),
        (999, {}, False),
        (1000, {"descent": "mini-batch"}, False),
        (1000, {"descent": Adam()}, False),
        (1000, {"alpha": "evidence"}, False),
        (1000, {"hidden_layer_sizes": ()}, False),
        (1000, {"max_iter": 0}, False),
    ],
)
def test_the_recipe_is_for_many_rows_where_nothing_else_was_asked_for(rows, given, expected):
    assert large.is_large(rows, Settings(**given)) == expected


def test_a_table_of_few_different_rows_is_fitted_as_a_small_one(random):
    x = np.repeat(random.normal(size=(50, 2)), 30, axis=0)
    fitted, path = fit_network(x, x[:, :1], seed=0, hidden_layer_sizes=(2,), n_starts=1, max_iter=30)
    assert fitted.left_out is None
    assert path.n_rows == 1500
