import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.loop import descend
from fallline.network import Network
from fallline.rows.memory import InMemory
from fallline.starts import descend_from

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
    ends = descend_from(NETWORK, rows, descent, starts=starts, max_iter=40, alpha=0.01)
    alone = [descend(NETWORK, rows, descent, weights=w, max_iter=40, alpha=0.01) for w in starts]
    np.testing.assert_allclose(ends.weights, [path.best_weights for path in alone], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        ends.penalised_error, [path.penalised_error.min() for path in alone], rtol=1e-9
    )
    np.testing.assert_array_equal(ends.steps, [path.n_steps for path in alone])
    np.testing.assert_array_equal(ends.passes, [path.n_passes for path in alone])
    np.testing.assert_array_equal(ends.stop, [path.stop for path in alone])


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
