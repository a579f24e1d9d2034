import _thread
import itertools
import time

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend
from fallline.walk.starts import descend_from

NETWORK = Network((2, 3, 1))


@pytest.fixture
def rows(random):
    x = random.normal(size=(60, 2))
    return InMemory(x, np.sin(x[:, :1]) + x[:, 1:])


@pytest.fixture
def starts(random):
    return random.normal(size=(5, NETWORK.n_weights))


@pytest.mark.parametrize(
    "descent",
    [GradientDescent(0.05, 0.9), GradientDescent(), GradientDescent(momentum="auto"), LevenbergMarquardt()],
    ids=["fixed rate", "automatic rate", "automatic momentum", "Levenberg-Marquardt"],
)
def test_each_start_ends_where_it_would_end_alone(descent, rows, starts):
    ends = descend_from(NETWORK, rows, descent, starts=starts, max_iter=20, alpha=0.01)
    alone = [descend(NETWORK, rows, descent, weights=w, max_iter=20, alpha=0.01) for w in starts]
    np.testing.assert_allclose(ends.weights, [path.best_weights for path in alone], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ends.penalised_error, [path.penalised_error.min() for path in alone], rtol=1e-9)
    np.testing.assert_array_equal(ends.steps, [path.n_steps for path in alone])
    np.testing.assert_array_equal(ends.passes, [path.n_passes for path in alone])
    np.testing.assert_array_equal(ends.stop, [path.stop for path in alone])


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
def test_starts_that_walk_as_one_stack_end_by_the_same_rules_as_alone(nesterov, rows, random):
    heavy = InMemory(rows.x, rows.y, random.uniform(0.5, 2, 60))
    starts = np.concatenate([random.normal(size=(300, 13)), 1e3 * random.normal(size=(3, 13)), np.zeros((1, 13))])
    descent, how = (
        GradientDescent(0.2, 0.8, nesterov),
        {"max_iter": 120, "alpha": 0.1, "tol": 1e-2, "n_iter_no_change": 4},
    )
    ends = descend_from(NETWORK, heavy, descent, starts=starts, **how)
    some = [*range(0, 300, 40), 300, 301, 302, 303]
    alone = [descend(NETWORK, heavy, descent, weights=starts[at], **how) for at in some]
    np.testing.assert_allclose(ends.weights[some], [path.best_weights for path in alone], rtol=1e-6, atol=1e-9)
    assert ends.steps[some].tolist() == [path.n_steps for path in alone]
    assert ends.passes[some].tolist() == [path.n_passes for path in alone]
    assert ends.stop[some].tolist() == [path.stop for path in alone]
    assert len(set(ends.stop)) > 1


@pytest.mark.parametrize("descent", [GradientDescent(1e-6), LevenbergMarquardt()], ids=["one stack", "one by one"])
def test_ctrl_c_ends_all_starts_and_is_raised(descent, rows, monkeypatch):
    numbers, passes = itertools.count(), []

    def counted(verb):
        def call(self, *given):
            number = next(numbers)  # each is given once, whichever threads come at once
            passes.append(number)
            if number == 20:
                _thread.interrupt_main()
            return verb(self, *given)

        return call

    for name in ("total", "ends"):  # pass by pass, or many steps at once
        monkeypatch.setattr(InMemory, name, counted(getattr(InMemory, name)))
    starts = np.random.default_rng(0).normal(size=(4000, 13))
    with pytest.raises(KeyboardInterrupt):
        descend_from(NETWORK, rows, descent, starts=starts, max_iter=10**7)
    ended = len(passes)
    time.sleep(0.05)
    assert len(passes) == ended


def test_starts_that_arrive_early_do_not_hold_up_or_disturb_the_others(rows):
    line = Network((2, 1), bias=False)
    best = np.linalg.lstsq(rows.x, rows.y, rcond=None)[0][:, 0]
    starts = np.array([best, [1e200, 0.0], [3.0, -2.0], best + 1e-3, [0.0, 0.0]])
    ends = descend_from(line, rows, LevenbergMarquardt(), starts=starts, max_iter=500)
    np.testing.assert_allclose(ends.weights[[0, 2, 3, 4]], np.tile(best, (4, 1)), rtol=1e-6)
    assert ends.stop[1] == Stop.NOT_FINITE
    assert set(ends.stop[[0, 2, 3, 4]]) <= {Stop.FLAT, Stop.STALLED}


def test_a_rate_that_is_too_large_diverges_and_keeps_the_lowest(rows, starts):
    ends = descend_from(NETWORK, rows, GradientDescent(1e4), starts=starts, max_iter=50)
    assert np.isfinite(ends.weights).all()
    assert np.isfinite(ends.error).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"starts": np.zeros(13)}, ShapeError, r"one row of 13 weights for each start"),
        ({"starts": np.zeros((0, 13))}, ShapeError, r"shape \(0, 13\)"),
        ({"starts": np.full((2, 13), np.nan)}, TableError, "finite weights"),
        ({"starts": np.zeros((2, 13)), "max_iter": 1.5}, SettingsError, "max_iter=1.5"),
        ({"starts": np.zeros((2, 13)), "alpha": "evidence"}, SettingsError, "one start at a time"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(arguments, error, message, rows):
    with pytest.raises(error, match=message):
        descend_from(NETWORK, rows, LevenbergMarquardt(), **arguments)


@pytest.mark.parametrize(
    "descent", ["mini-batch", Adam(), GradientDescent(0.1, batch_size=16)], ids=["by name", "Adam", "gradient"]
)
def test_a_descent_by_mini_batches_is_refused_and_not_walked_by_all_rows(descent, rows, starts):
    with pytest.raises(SettingsError, match=r"all rows at every step.*batch_size=None"):
        descend_from(NETWORK, rows, descent, starts=starts)


def test_the_same_descent_by_all_rows_is_walked(rows, starts):
    adam = Adam(batch_size=None, decay="none")
    ends = descend_from(NETWORK, rows, adam, starts=starts[:1], max_iter=30)
    alone = descend(NETWORK, rows, adam, weights=starts[0], max_iter=30)
    np.testing.assert_allclose(ends.weights[0], alone.best_weights, rtol=1e-6)


def test_auto_takes_all_rows_where_descend_would_take_mini_batches(random):
    large = Network((20, 60, 1))  # 1 321 weights, too many for Levenberg–Marquardt
    x = random.normal(size=(2000, 20))
    rows, starts = InMemory(x, np.sin(x[:, :1])), large.initial(0)[None]
    auto = descend_from(large, rows, starts=starts, max_iter=2)
    named = descend_from(large, rows, LBFGS(), starts=starts, max_iter=2)
    np.testing.assert_array_equal(auto.weights, named.weights)
