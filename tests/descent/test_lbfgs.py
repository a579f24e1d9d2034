import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from fallline.descent import Stop
from fallline.descent.large import LBFGS, TruncatedGaussNewton, _inverse_times, _next_length, _Pairs, _Point
from fallline.descent.penalty import weight_decay
from fallline.error.sums import Sums
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

BOTH = pytest.mark.parametrize("descent", [LBFGS(), TruncatedGaussNewton()], ids=["l-bfgs", "gauss-newton"])

BOWL = Network((2, 1), bias=False)
X = np.array([[2.0, 0.3], [0.0, 0.5], [2.0, 0.0], [0.4, 0.5]])
BEST = np.array([1.5, -2.0])
ROWS = InMemory(X, (X @ BEST)[:, None])
START = np.array([3.0, 1.0])


@pytest.fixture
def waves(random):
    x = random.normal(size=(80, 3))
    return InMemory(x, np.sin(2 * x[:, :2]) * x[:, 1:] + 0.1 * random.normal(size=(80, 2)))


def as_function(network, rows, alpha=0.0):
    """F and its gradient as SciPy takes them, by JAX on the whole table."""
    decay = alpha * network.penalised()

    def penalised(w):
        return 0.5 * jnp.sum((network.predict(w, rows.x, jnp) - rows.y) ** 2) + 0.5 * jnp.sum(decay * w * w)

    both = jax.jit(jax.value_and_grad(penalised))
    return lambda w: tuple(np.asarray(part, np.float64) for part in both(w))


@BOTH
def test_the_minimum_of_a_bowl_is_reached(descent):
    path = descend(BOWL, ROWS, descent, weights=START, max_iter=50)
    np.testing.assert_allclose(path.final_weights, BEST, rtol=0, atol=1e-10)
    assert path.n_steps < 20


@BOTH
def test_a_linear_network_of_two_outputs_arrives_at_the_least_squares_solution(descent, random):
    x, y = random.normal(size=(30, 4)), random.normal(size=(30, 2))
    path = descend(Network((4, 2)), InMemory(x, y), descent, seed=0, max_iter=200)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), y, rcond=None)[0]
    # Near the minimum a step changes E by less than its rounding: half the digits of the weights are seen.
    np.testing.assert_allclose(path.best_weights, expected.ravel(), rtol=0, atol=1e-7)
    assert path.stop in (Stop.FLAT, Stop.STALLED)


@BOTH
def test_weight_decay_arrives_at_the_ridge_solution_with_free_bias(descent, random):
    x, y = random.normal(size=(30, 3)), 5 + random.normal(size=(30, 1))
    path = descend(Network((3, 1)), InMemory(x, y), descent, seed=0, max_iter=200, alpha=7.0)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.solve(design.T @ design + np.diag([7.0, 7, 7, 0]), design.T @ y)[:, 0]
    np.testing.assert_allclose(path.best_weights, expected, rtol=0, atol=1e-7)


@BOTH
def test_row_weights_are_repetitions(descent, waves, random):
    often = random.integers(0, 4, size=len(waves.x))
    network = Network((3, 4, 2))
    weighted = InMemory(waves.x, waves.y, sample_weight=often)
    repeated = InMemory(np.repeat(waves.x, often, axis=0), np.repeat(waves.y, often, axis=0))
    one, other = (descend(network, rows, descent, seed=1, max_iter=10) for rows in (weighted, repeated))
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-7)


@BOTH
def test_scipy_ends_in_the_same_minimum_from_the_same_start(descent, waves, x64):
    network, alpha = Network((3, 2, 2)), 5.0
    start = network.initial(0)
    path = descend(network, waves, descent, weights=start, max_iter=3000, alpha=alpha)
    judge = scipy.optimize.minimize(
        as_function(network, waves, alpha), start, jac=True, method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    assert path.stop in (Stop.FLAT, Stop.STALLED)
    assert path.penalised_error[-1] == pytest.approx(judge.fun, rel=1e-8)


@BOTH
def test_scipy_finds_nothing_lower_from_where_it_stopped(descent, random):
    x = random.uniform(-3, 3, size=(80, 1))
    rows = InMemory(x, np.sin(2 * x) + 0.1 * random.normal(size=(80, 1)))
    network, alpha = Network((1, 4, 1)), 0.01
    path = descend(network, rows, descent, seed=3, max_iter=5000, alpha=alpha)
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


@BOTH
@pytest.mark.parametrize("times", [1, 30], ids=["usual start", "bad start"])
def test_the_error_falls_at_every_step_and_stays_finite(descent, times, waves):
    network = Network((3, 8, 2))
    path = descend(
        network, waves, descent, weights=times * network.initial(1), max_iter=300, alpha=0.01 / times**2
    )
    assert (np.diff(path.penalised_error) <= 0).all()
    assert path.penalised_error[-1] < 0.1 * path.penalised_error[0]
    assert np.isfinite(path.weights).all()
    assert np.isfinite(path.gradient).all()


@BOTH
def test_a_network_of_rectifiers_that_explodes_on_the_first_line_is_still_descended(descent, random):
    x = random.normal(size=(60, 4))
    network = Network((4, 20, 20, 20, 1), "relu")
    rows = InMemory(x, np.abs(x[:, :1]))
    path = descend(network, rows, descent, weights=10 * network.initial(0), max_iter=200)
    assert path.error[-1] < 1e-3 * path.error[0]
    assert np.isfinite(path.weights).all()


def test_neither_rows_nor_units_change_the_way_of_gauss_newton(waves):
    network, heavy = Network((3, 4, 2)), np.full(len(waves.x), 1e4)
    one, other = (
        descend(network, rows, TruncatedGaussNewton(), seed=1, max_iter=10)
        for rows in (waves, InMemory(waves.x, waves.y, sample_weight=heavy))
    )
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-7)
    assert one.passes.tolist() == other.passes.tolist()


@BOTH
def test_a_start_at_the_minimum_stops_at_once(descent):
    path = descend(BOWL, InMemory(X, np.zeros((4, 1))), descent, weights=[0.0, 0.0], max_iter=50)
    assert (path.stop, path.n_steps, path.n_passes) == (Stop.FLAT, 0, 1)


@BOTH
def test_a_minimum_above_zero_ends_the_walk_and_says_why(descent, random):
    rows = InMemory(random.normal(size=(40, 2)), random.normal(size=(40, 1)))
    path = descend(BOWL, rows, descent, weights=START, max_iter=10**6)
    assert path.stop in (Stop.FLAT, Stop.STALLED)
    assert path.n_passes < 200


@BOTH
def test_a_start_without_a_finite_error_is_refused(descent):
    rows = InMemory(np.full((3, 1), 1e200), np.zeros((3, 1)))
    with pytest.raises(FalllineError, match="not a finite number: start from smaller weights"):
        descend(Network((1, 1)), rows, descent, weights=[1e200, 0.0])


@BOTH
def test_many_starts_under_vmap_walk_as_each_alone(descent, x64):
    square, pull = jnp.asarray(X.T @ X), jnp.asarray(X.T @ ROWS.y[:, 0])
    penalty = jax.tree.map(jnp.asarray, weight_decay(BOWL, 0.1))
    n_curved = 2 * ("curvature" in descent.kinds)

    def passes(start):
        def one(_, state):
            request = descent.ask(state)
            w = request.weights
            error = 0.5 * w @ square @ w - pull @ w + 100.0
            curved = (square @ request.direction)[:n_curved] if n_curved else jnp.zeros(0)
            sums = Sums(
                jnp.asarray(4.0), error, square @ w - pull, jnp.zeros((0, 0)), curved, jnp.zeros((0, 0))
            )
            return descent.tell(state, sums)

        return jax.lax.fori_loop(0, 12, one, descent.start(start, penalty)).walk.weights

    starts = jnp.asarray([[3.0, 1.0], [-1.0, 0.5], [20.0, 30.0]])
    together = jax.jit(jax.vmap(passes))(starts)
    alone = np.stack([passes(starts[0]), passes(starts[1]), passes(starts[2])])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-9)


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


def test_the_two_loops_multiply_by_the_inverse_curvature_of_bfgs(random, x64):
    """Against eq. 7.16 written with whole matrices: H ← VᵀHV + ρssᵀ over the pairs held, V = I − ρysᵀ."""
    n, history, pairs = 6, 4, 7
    square = random.normal(size=(n, n))
    square = square @ square.T + np.eye(n)
    steps = random.normal(size=(pairs, n))
    turns = steps @ square
    newest = [3, 4, 5, 6]
    inverse = np.eye(n) * (steps[-1] @ turns[-1]) / (turns[-1] @ turns[-1])
    for i in newest:
        rho = 1 / (steps[i] @ turns[i])
        v = np.eye(n) - rho * np.outer(turns[i], steps[i])
        inverse = v.T @ inverse @ v + rho * np.outer(steps[i], steps[i])
    slots = [4, 5, 6, 3]  # pair i lies in slot i % history
    pairs = _Pairs(steps[slots], turns[slots], 1 / (steps * turns).sum(1)[slots])
    vector = random.normal(size=n)
    product = _inverse_times(jnp.asarray(vector), jax.tree.map(jnp.asarray, pairs), jnp.asarray(7), history)
    np.testing.assert_allclose(product, inverse @ vector, rtol=1e-10)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 2.0), (2.0, 0.0), (0.5, 1.6)], ids=["forwards", "backwards", "inside"]
)
def test_the_next_point_of_a_line_is_the_minimum_of_the_cubic(low, high, x64):
    cubic = np.polynomial.Polynomial([1.0, -3.0, 0.0, 1.0])  # t³ − 3t + 1, lowest at t = 1
    points = [_Point(*map(jnp.asarray, (t, cubic(t), cubic.deriv()(t)))) for t in (low, high)]
    np.testing.assert_allclose(_next_length(*points), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("high", "expected"),
    [((np.inf, 1.0, 0.0), 4.0), ((2.0, np.inf, 0.0), 1.1), ((2.0, 0.0, -1.0), 1.5)],
    ids=["none is enclosed: outwards", "beyond numbers: back far", "a straight line: the middle"],
)
def test_where_there_is_no_cubic_the_next_point_is_still_a_number(high, expected, x64):
    low = _Point(*map(jnp.asarray, (1.0, 1.0, -1.0)))
    at = _next_length(low, _Point(*map(jnp.asarray, high)))
    np.testing.assert_allclose(at, expected, rtol=1e-12)


def test_the_path_shows_the_length_of_each_step_of_the_line(waves):
    path = descend(Network((3, 5, 2)), waves, LBFGS(), seed=0, max_iter=30)
    length = path.shown["step_length"]
    first = np.linalg.norm(path.weights[1] - path.weights[0])
    np.testing.assert_allclose(first, length[1] * path.gradient_norm[0], rtol=1e-9)
    assert np.median(length[2:]) == 1.0


@pytest.mark.parametrize("outputs", [1, 3])
def test_conjugate_gradients_solve_a_bowl_in_as_many_products_as_it_has_weights(outputs, random):
    x, y = random.normal(size=(40, 5)), random.normal(size=(40, outputs))
    network = Network((5, outputs), bias=False)
    path = descend(network, InMemory(x, y), TruncatedGaussNewton(1e-12), seed=0, max_iter=60)
    expected = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(path.best_weights, expected.ravel(), rtol=0, atol=1e-7)
    assert 1 <= path.shown["cg_iterations"].max() <= network.n_weights


@pytest.fixture
def solver(random, x64):
    """Conjugate gradients on ½ wᵀAw − bᵀw, as a function of how many products are spent; nothing ends them early."""
    a = random.normal(size=(9, 6))
    square, pull = jnp.asarray(a.T @ a), jnp.asarray(random.normal(size=6))
    penalty = jax.tree.map(jnp.asarray, weight_decay(Network((6, 1), bias=False), 0.0))
    descent = TruncatedGaussNewton(damping=0.01, most_products=6)

    def tell(state, worse=0.0):
        request = descent.ask(state)
        w = request.weights
        error = 0.5 * w @ square @ w - pull @ w + 100.0 + worse
        sums = Sums(
            jnp.asarray(9.0),
            error,
            square @ w - pull,
            jnp.zeros((0, 0)),
            square @ request.direction,
            jnp.zeros((0, 0)),
        )
        return descent.tell(state, sums)

    def solve(state, products=6):
        state = state._replace(steepest=jnp.asarray(1e300))  # the residual aimed at becomes 0
        return jax.lax.fori_loop(0, products, lambda _, state: tell(state), state)

    begun = tell(descent.start(jnp.asarray(random.normal(size=6)), penalty))
    return np.asarray(square), begun, tell, solve


def left_over(square, state):
    """−g − (A + μ) Δw, from its definition."""
    damped = square + float(state.damping * state.scale) * np.eye(len(square))
    return -np.asarray(state.walk.gradient) - damped @ np.asarray(state.step)


def test_as_many_products_as_weights_solve_the_damped_equations_exactly(solver):
    square, begun, _, solve = solver
    state = solve(begun)
    np.testing.assert_allclose(left_over(square, state), 0.0, rtol=0, atol=1e-9)
    assert not state.solves
    promised = 0.5 * state.step @ square @ state.step + state.walk.gradient @ state.step
    np.testing.assert_allclose(state.gain, -promised, rtol=1e-9)


def test_the_solve_before_preconditions_the_next_one_to_the_end_in_few_products(solver):
    square, begun, tell, solve = solver
    after = tell(solve(begun))  # accepted: its six pairs are all there is to know of A
    assert after.walk.steps == 1
    few = solve(after, products=3)
    size = np.linalg.norm(after.walk.gradient)
    assert np.linalg.norm(left_over(square, few)) < 1e-3 * size
    np.testing.assert_allclose(few.residual, left_over(square, few), rtol=0, atol=1e-9)


def test_a_rejected_step_is_gone_on_from_with_the_right_residual(solver):
    square, begun, tell, solve = solver
    rejected = tell(solve(begun, products=6), worse=1e3)
    assert rejected.walk.steps == 0
    assert rejected.damping == pytest.approx(0.02)
    assert np.linalg.norm(rejected.step) > 0
    expected = left_over(square, rejected)
    np.testing.assert_allclose(rejected.residual, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(expected @ rejected.step, 0.0, rtol=0, atol=1e-9)  # its best multiple
    np.testing.assert_allclose(left_over(square, solve(rejected)), 0.0, rtol=0, atol=1e-8)


def test_a_first_step_of_gauss_newton_solves_the_damped_equations(random):
    x, y = random.normal(size=(40, 4)), random.normal(size=(40, 1))
    start = random.normal(size=4)
    path = descend(
        Network((4, 1), bias=False), InMemory(x, y), TruncatedGaussNewton(1.0), weights=start, max_iter=1
    )
    gradient, square = path.gradient[0], x.T @ x
    scale = gradient @ square @ gradient / (gradient @ gradient)
    exact = np.linalg.solve(square + scale * np.eye(4), -gradient)
    left = (square + scale * np.eye(4)) @ (path.weights[1] - start) + gradient
    assert np.linalg.norm(left) <= 0.5 * np.linalg.norm(gradient)
    assert np.linalg.norm(path.weights[1] - start - exact) <= 0.5 * np.linalg.norm(exact)


def test_products_are_passes_and_not_steps_and_are_bounded(waves):
    path = descend(Network((3, 8, 2)), waves, TruncatedGaussNewton(most_products=7), seed=0, max_iter=50)
    assert path.shown["cg_iterations"].max() == 7
    spent = np.diff(path.passes)
    taken = path.shown["cg_iterations"][1:]
    assert (spent >= taken + 1).all()  # and more where a step was rejected on the way
    assert (np.diff(path.steps) == 1).all()


@pytest.mark.parametrize(
    ("descent", "message"),
    [
        (LBFGS(history=0), "history=0 is not possible for LBFGS: expected a number from 1"),
        (LBFGS(history=2.5), "history=2.5 is not possible for LBFGS: expected a whole number"),
        (LBFGS(sufficient_decrease=0.0), "sufficient_decrease=0.0"),
        (LBFGS(slope_ratio=1.0), "slope_ratio=1.0"),
        (LBFGS(sufficient_decrease=0.3, slope_ratio=0.2), "must be below slope_ratio=0.2"),
        (TruncatedGaussNewton(damping=0), "damping=0 is not possible for TruncatedGaussNewton: .*above 0"),
        (TruncatedGaussNewton(most_products=0), "most_products=0"),
        (TruncatedGaussNewton(most_products=True), "most_products=True"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(descent, message):
    with pytest.raises(SettingsError, match=message):
        descend(BOWL, ROWS, descent)
