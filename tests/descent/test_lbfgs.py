import numpy as np
import pytest
import scipy.optimize

from fallline.descent import Stop
from fallline.descent.lbfgs import LBFGS, Point, _next_length, inverse_times, pair_of
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

BOWL = Network((2, 1), bias=False)
X = np.array([[2.0, 0.3], [0.0, 0.5], [2.0, 0.0], [0.4, 0.5]])
BEST = np.array([1.5, -2.0])
ROWS = InMemory(X, (X @ BEST)[:, None])
START = np.array([3.0, 1.0])


@pytest.fixture
def waves(random):
    x = random.normal(size=(80, 3))
    return InMemory(x, np.sin(2 * x[:, :2]) * x[:, 1:] + 0.1 * random.normal(size=(80, 2)))


def as_function(network, rows, alpha):
    """F and its gradient as SciPy takes them, written out for one layer of tanh units."""
    decay = alpha * network.penalised()

    def penalised(w):
        first, second = network.layers(w)
        hidden = np.tanh(rows.x @ first.coef + first.intercept)
        residual = hidden @ second.coef + second.intercept - rows.y
        back = residual @ second.coef.T * (1 - hidden**2)
        parts = [rows.x.T @ back, back.sum(0), hidden.T @ residual, residual.sum(0)]
        gradient = np.concatenate([np.ravel(part) for part in parts])
        return 0.5 * np.sum(residual**2) + 0.5 * decay @ w**2, gradient + decay * w

    return penalised


def test_the_minimum_of_a_bowl_is_reached():
    path = descend(BOWL, ROWS, LBFGS(), weights=START, max_iter=50)
    np.testing.assert_allclose(path.final_weights, BEST, rtol=0, atol=1e-10)
    assert path.n_steps < 20


def test_a_linear_network_of_two_outputs_arrives_at_the_least_squares_solution(random):
    x, y = random.normal(size=(30, 4)), random.normal(size=(30, 2))
    path = descend(Network((4, 2)), InMemory(x, y), LBFGS(), seed=0, max_iter=200)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), y, rcond=None)[0]
    # Near the minimum a step changes E by less than its rounding: half the digits of the weights are seen.
    np.testing.assert_allclose(path.best_weights, expected.ravel(), rtol=0, atol=1e-7)
    assert path.stop in (Stop.FLAT, Stop.STALLED)


def test_weight_decay_arrives_at_the_ridge_solution_with_free_bias(random):
    x, y = random.normal(size=(30, 3)), 5 + random.normal(size=(30, 1))
    path = descend(Network((3, 1)), InMemory(x, y), LBFGS(), seed=0, max_iter=200, alpha=7.0)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.solve(design.T @ design + np.diag([7.0, 7, 7, 0]), design.T @ y)[:, 0]
    np.testing.assert_allclose(path.best_weights, expected, rtol=0, atol=1e-7)


def test_row_weights_are_repetitions(waves, random):
    often = random.integers(0, 4, size=len(waves.x))
    network = Network((3, 4, 2))
    weighted = InMemory(waves.x, waves.y, sample_weight=often)
    repeated = InMemory(np.repeat(waves.x, often, axis=0), np.repeat(waves.y, often, axis=0))
    one, other = (descend(network, rows, LBFGS(), seed=1, max_iter=10) for rows in (weighted, repeated))
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-7)


def test_scipy_ends_in_the_same_minimum_from_the_same_start(waves):
    network, alpha = Network((3, 2, 2)), 5.0
    start = network.initial(0)
    path = descend(network, waves, LBFGS(), weights=start, max_iter=3000, alpha=alpha)
    judge = scipy.optimize.minimize(
        as_function(network, waves, alpha), start, jac=True, method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    assert path.stop in (Stop.FLAT, Stop.STALLED)
    assert path.penalised_error[-1] == pytest.approx(judge.fun, rel=1e-8)


def test_scipy_finds_nothing_lower_from_where_it_stopped(random):
    x = random.uniform(-3, 3, size=(80, 1))
    rows = InMemory(x, np.sin(2 * x) + 0.1 * random.normal(size=(80, 1)))
    network, alpha = Network((1, 4, 1)), 0.01
    path = descend(network, rows, LBFGS(), seed=3, max_iter=5000, alpha=alpha)
    decay = np.sqrt(alpha) * network.penalised()
    judge = scipy.optimize.least_squares(
        lambda w: np.append(network.predict(w, rows.x) - rows.y, decay * w),
        path.best_weights,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert path.penalised_error[-1] <= judge.cost * (1 + 1e-9)
    assert path.error[-1] < 0.1 * path.error[0]


@pytest.mark.parametrize("times", [1, 30], ids=["usual start", "bad start"])
def test_the_error_falls_at_every_step_and_stays_finite(times, waves):
    network = Network((3, 8, 2))
    path = descend(network, waves, LBFGS(), weights=times * network.initial(1), max_iter=300, alpha=0.01 / times**2)
    assert (np.diff(path.penalised_error) <= 0).all()
    assert path.penalised_error[-1] < 0.1 * path.penalised_error[0]
    assert np.isfinite(path.weights).all()
    assert np.isfinite(path.gradient).all()


def test_a_network_of_rectifiers_that_explodes_on_the_first_line_is_still_descended(random):
    x = random.normal(size=(60, 4))
    network = Network((4, 20, 20, 20, 1), "relu")
    rows = InMemory(x, np.abs(x[:, :1]))
    path = descend(network, rows, LBFGS(), weights=10 * network.initial(0), max_iter=200)
    assert path.error[-1] < 1e-3 * path.error[0]
    assert np.isfinite(path.weights).all()


def test_a_start_at_the_minimum_stops_at_once():
    path = descend(BOWL, InMemory(X, np.zeros((4, 1))), LBFGS(), weights=[0.0, 0.0], max_iter=50)
    assert (path.stop, path.n_steps, path.n_passes) == (Stop.FLAT, 0, 1)


def test_a_minimum_above_zero_ends_the_walk_and_says_why(random):
    rows = InMemory(random.normal(size=(40, 2)), random.normal(size=(40, 1)))
    path = descend(BOWL, rows, LBFGS(), weights=START, max_iter=10**6)
    assert path.stop in (Stop.FLAT, Stop.STALLED)
    assert path.n_passes < 200


def test_a_start_without_a_finite_error_is_refused():
    rows = InMemory(np.full((3, 1), 1e200), np.zeros((3, 1)))
    with pytest.raises(FalllineError, match="not a finite number: start from smaller weights"):
        descend(Network((1, 1)), rows, LBFGS(), weights=[1e200, 0.0])


@pytest.mark.parametrize("slope_ratio", [0.9, 0.1], ids=["loose", "tight"])
def test_every_step_of_l_bfgs_satisfies_the_strong_wolfe_conditions(slope_ratio, waves):
    descent = LBFGS(slope_ratio=slope_ratio)
    path = descend(Network((3, 5, 2)), waves, descent, seed=0, max_iter=150, alpha=0.01)
    step = np.diff(path.weights, axis=0)
    slope_before = (path.gradient[:-1] * step).sum(1)
    slope_after = (path.gradient[1:] * step).sum(1)
    rounding = 1e-15 * path.penalised_error[:-1]
    assert len(step) > 100
    assert (slope_before < 0).all()
    assert (np.diff(path.penalised_error) <= 1e-4 * slope_before + rounding).all()
    assert (np.abs(slope_after) <= slope_ratio * np.abs(slope_before) * (1 + 1e-6)).all()
    assert path.n_passes > path.n_steps + 1  # trials that were not taken are passes


def test_the_two_loops_multiply_by_the_inverse_curvature_of_bfgs(random):
    """Against eq. 7.16 written with whole matrices: H ← VᵀHV + ρssᵀ over the pairs held, V = I − ρysᵀ."""
    n, held = 6, 4
    square = random.normal(size=(n, n))
    square = square @ square.T + np.eye(n)
    steps = random.normal(size=(held, n))
    turns = steps @ square
    inverse = np.eye(n) * (steps[-1] @ turns[-1]) / (turns[-1] @ turns[-1])
    for s, y in zip(steps, turns, strict=True):
        rho = 1 / (s @ y)
        v = np.eye(n) - rho * np.outer(y, s)
        inverse = v.T @ inverse @ v + rho * np.outer(s, s)
    vector = random.normal(size=n)
    pairs = tuple(map(pair_of, steps, turns))
    np.testing.assert_allclose(inverse_times(vector, pairs), inverse @ vector, rtol=1e-10)


def test_a_pair_that_says_nothing_of_the_curvature_is_left_out(random):
    step, turn = random.normal(size=(2, 5))
    across = turn - step * (step @ turn) / (step @ step)
    assert pair_of(step, across) is None
    assert pair_of(step, -step) is None
    np.testing.assert_allclose(pair_of(step, across + step).inverse, 1 / (step @ step), rtol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (2.0, 0.0), (0.5, 1.6)], ids=["forwards", "backwards", "inside"])
def test_the_next_point_of_a_line_is_the_minimum_of_the_cubic(low, high):
    cubic = np.polynomial.Polynomial([1.0, -3.0, 0.0, 1.0])  # t³ − 3t + 1, lowest at t = 1
    points = [Point(t, cubic(t), cubic.deriv()(t)) for t in (low, high)]
    np.testing.assert_allclose(_next_length(*points), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("high", "expected"),
    [((np.inf, 1.0, 0.0), 4.0), ((2.0, np.inf, 0.0), 1.1), ((2.0, 0.0, -1.0), 1.5)],
    ids=["none is enclosed: outwards", "beyond numbers: back far", "a straight line: the middle"],
)
def test_where_there_is_no_cubic_the_next_point_is_still_a_number(high, expected):
    at = _next_length(Point(1.0, 1.0, -1.0), Point(*high))
    np.testing.assert_allclose(at, expected, rtol=1e-12)


def test_the_path_shows_the_length_of_each_step_of_the_line(waves):
    path = descend(Network((3, 5, 2)), waves, LBFGS(), seed=0, max_iter=30)
    length = path.shown["step_length"]
    first = np.linalg.norm(path.weights[1] - path.weights[0])
    np.testing.assert_allclose(first, length[1] * path.gradient_norm[0], rtol=1e-9)
    assert np.median(length[2:]) == 1.0


@pytest.mark.parametrize(
    ("descent", "message"),
    [
        (LBFGS(history=0), "history=0 is not possible for LBFGS: expected a number from 1"),
        (LBFGS(history=2.5), "history=2.5 is not possible for LBFGS: expected a whole number"),
        (LBFGS(sufficient_decrease=0.0), "sufficient_decrease=0.0"),
        (LBFGS(slope_ratio=1.0), "slope_ratio=1.0"),
        (LBFGS(sufficient_decrease=0.3, slope_ratio=0.2), "must be below slope_ratio=0.2"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(descent, message):
    with pytest.raises(SettingsError, match=message):
        descend(BOWL, ROWS, descent)
