import numpy as np
import pytest
import scipy.optimize

from fallline.descent import Stop
from fallline.descent.damped import by_cholesky, by_qr
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.penalty import Penalised, weight_decay
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.curve import Curve
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend


def wave(random, rows=80):
    x = random.uniform(-3, 3, size=(rows, 1))
    return InMemory(x, np.sin(2 * x) + 0.1 * random.normal(size=(rows, 1)))


def test_a_linear_network_arrives_at_the_least_squares_solution(random):
    x, y = random.normal(size=(30, 4)), random.normal(size=(30, 2))
    path = descend(Network((4, 2)), InMemory(x, y), LevenbergMarquardt(), seed=0, max_iter=100)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    # Near the minimum a step changes E by less than its rounding: half the digits of the weights are seen.
    np.testing.assert_allclose(path.best_weights, expected.ravel(), rtol=1e-7)
    assert path.stop == Stop.FLAT
    assert path.n_steps < 20


def test_weight_decay_arrives_at_the_ridge_solution_with_free_bias(random):
    x, y = random.normal(size=(30, 3)), 5 + random.normal(size=(30, 1))
    path = descend(Network((3, 1)), InMemory(x, y), LevenbergMarquardt(), seed=0, max_iter=100, alpha=7.0)
    design = np.column_stack([x, np.ones(30)])
    expected = np.linalg.solve(design.T @ design + np.diag([7.0, 7, 7, 0]), design.T @ y)[:, 0]
    np.testing.assert_allclose(path.best_weights, expected, rtol=1e-7)


@pytest.mark.parametrize("scaling", ["common", "columns"])
def test_scipy_finds_nothing_lower_from_where_it_stopped(scaling, random):
    network, rows = Network((1, 4, 1)), wave(random)
    descent = LevenbergMarquardt(scaling=scaling)
    path = descend(network, rows, descent, seed=3, max_iter=500, alpha=0.01)
    root = 0.1 * network.penalised()
    judge = scipy.optimize.least_squares(
        lambda w: np.concatenate([(network.predict(w, rows.x) - rows.y)[:, 0], root * w]),
        path.best_weights,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    assert path.penalised_error[-1] <= judge.cost * (1 + 1e-6)
    assert path.error[-1] < 0.5 * path.error[0]


def test_the_error_falls_at_every_step(random):
    path = descend(Network((1, 6, 1)), wave(random), LevenbergMarquardt(), seed=0, max_iter=100, alpha=0.01)
    assert (np.diff(path.penalised_error) < 0).all()


SOLVED = {"cholesky": lambda j, r, *rest: by_cholesky(*rest), "qr": lambda j, r, *rest: by_qr(j, r, *rest)}


@pytest.mark.parametrize("factor", SOLVED)
def test_a_step_solves_the_damped_equations(factor, random):
    j, r = random.normal(size=(20, 5)) * [1, 1e3, 1e-3, 1, 1], random.normal(size=20)
    square, slope = j.T @ j, j.T @ r
    scale = np.linalg.norm(j, axis=0)
    damped = SOLVED[factor](j, r, Penalised(0.0, slope, square), scale, 0.3)
    matrix = square + 0.3 * np.diag(scale**2)
    np.testing.assert_allclose(damped.move / scale, np.linalg.solve(matrix, -slope), rtol=1e-9)
    root = np.triu(damped.root) * scale
    np.testing.assert_allclose(root.T @ root, matrix, rtol=1e-9, atol=1e-9)


def test_qr_solves_what_the_square_has_lost(random):
    j = np.linalg.qr(random.normal(size=(20, 3)))[0] @ np.array([[1.0, 1, 0], [0, 1e-9, 0], [0, 0, 1]])
    expected = np.array([1.0, 2.0, 3.0])
    there, unit = Penalised(0.0, j.T @ (j @ -expected), j.T @ j), np.ones(3)
    found = by_qr(j, j @ -expected, there, unit, 1e-30).move
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    lost = by_cholesky(there, unit, 1e-30).move
    assert not np.allclose(lost, expected, rtol=1e-2)


def test_a_weight_that_no_row_feels_stays_where_it_is(random):
    x = np.column_stack([random.normal(size=20), np.zeros(20)])
    path = descend(
        Network((2, 1), bias=False), InMemory(x, x[:, :1] * 3), LevenbergMarquardt(), weights=[0.0, 0.7], max_iter=50
    )
    np.testing.assert_allclose(path.best_weights, [3.0, 0.7], rtol=1e-12)


def test_twin_columns_are_no_singular_matrix(random):
    x = random.normal(size=(20, 1)) @ np.ones((1, 3))
    path = descend(Network((3, 1)), InMemory(x, 2 * x[:, :1] + 1), LevenbergMarquardt(), seed=0, max_iter=200)
    assert path.error[-1] < 1e-20


@pytest.mark.parametrize(
    ("descent", "square"),
    [(LevenbergMarquardt(damping=1e-10), "gauss_newton"), (LevenbergMarquardt(1e-10, factor="qr"), "triangle")],
    ids=["cholesky", "qr"],
)
def test_a_trial_asks_for_the_error_first_and_for_the_curvature_where_it_is_a_step(descent, square, random):
    network, rows = Network((1, 5, 1)), wave(random)
    state, errors, kinds = descent.start(network.initial(1), weight_decay(network, 0.0)), [], []
    for _ in range(60):
        request = descent.ask(state)
        sums = rows.total(request, network)
        state = descent.tell(state, sums)
        kinds.append(request.kind)
        errors.append(sums.error)
    # E at the start, then each trial, lower than all before it or not.
    trials = np.array([errors[0], *(e for e, kind in zip(errors, kinds, strict=True) if kind == "error")])
    stepped = trials[1:] < np.minimum.accumulate(trials)[:-1]
    expected = [square, *(kind for step in stepped for kind in ("error", *[square] * int(step)))]
    assert kinds == expected[:60]
    assert 5 < stepped.sum() < len(stepped)


def test_an_accepted_step_takes_two_passes_and_a_rejected_trial_one(random):
    x = random.normal(size=(30, 2))
    path = descend(Network((2, 1)), InMemory(x, x[:, :1] + x[:, 1:] ** 2), LevenbergMarquardt(), seed=0, max_iter=4)
    assert path.passes.tolist() == [1, 3, 5, 7, 9]  # on a bowl every trial is a step


def test_the_path_shows_the_damping_falling_on_a_bowl(random):
    x = random.normal(size=(30, 2))
    path = descend(Network((2, 1)), InMemory(x, x[:, :1]), LevenbergMarquardt(damping=1.0), seed=0, max_iter=5)
    np.testing.assert_allclose(path.shown["damping"][:3], [1.0, 1 / 3, 1 / 9], rtol=1e-6)


def test_a_damping_that_is_not_positive_is_refused():
    rows = InMemory(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(
        SettingsError, match="damping=0 is not possible for LevenbergMarquardt: expected a number above 0"
    ):
        descend(Network((1, 1)), rows, LevenbergMarquardt(damping=0))


def decay(random, rows=40, noise=0.05):
    x = np.linspace(0, 5, rows)[:, None]
    return Curve("a*exp(-b*x) + c"), InMemory(x, 3 * np.exp(-0.9 * x) + 1 + noise * random.normal(size=(rows, 1)))


FOR_CURVES = LevenbergMarquardt.for_curves()
# Each of its settings alone, on networks and curves: none may change where a descent leads.
ALONE = {
    "qr": LevenbergMarquardt(factor="qr"),
    "acceleration": LevenbergMarquardt(acceleration=True),
    "acceleration by qr": LevenbergMarquardt(acceleration=True, factor="qr"),
    "longest_step": LevenbergMarquardt(longest_step=0.3),
    "memory": LevenbergMarquardt(memory=0.5),
    "polish": LevenbergMarquardt(polish=True),
    "MATLAB's rule": LevenbergMarquardt(rule="matlab"),
    "unscaled": LevenbergMarquardt(scaling="none"),
    "one scale for all": LevenbergMarquardt(scaling="common"),
    "wide bounds": LevenbergMarquardt(lower=(-1e9,) * 3, upper=(1e9,) * 3),
    "for curves": FOR_CURVES,
}


@pytest.mark.parametrize("descent", ALONE.values(), ids=ALONE)
def test_every_setting_leads_to_the_minimum_that_scipy_finds(descent, random):
    curve, rows = decay(random)
    path = descend(curve, rows, descent, weights=[1.0, 1.0, 0.0], max_iter=200)
    judge = scipy.optimize.least_squares(
        lambda w: (curve.predict(w, rows.x) - rows.y)[:, 0], [1.0, 1.0, 0.0], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    np.testing.assert_allclose(path.best_weights, judge.x, rtol=1e-5)


def test_polished_weights_have_the_digits_of_the_closed_form(random):
    x, y = random.normal(size=(30, 3)), random.normal(size=(30, 1))
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(30)]), y, rcond=None)[0][:, 0]
    given = {"weights": [50.0, 50, 50, 50], "max_iter": 100}
    polished = descend(Network((3, 1)), InMemory(x, y), LevenbergMarquardt(polish=True, factor="qr"), **given)
    np.testing.assert_allclose(polished.best_weights, expected, rtol=1e-13)
    np.testing.assert_array_equal(polished.best_weights, polished.final_weights)


def test_a_step_is_no_longer_than_it_may_be(random):
    curve, rows = decay(random)
    descent = LevenbergMarquardt(longest_step=0.1, memory=0.0)
    path = descend(curve, rows, descent, weights=[30.0, 4.0, 2.0], max_iter=5)
    lengths = [
        np.linalg.norm(norms * step) / np.linalg.norm(norms * weights)
        for weights, step, norms in zip(
            path.weights[:-1], np.diff(path.weights, axis=0), map(norms_of(curve, rows), path.weights), strict=False
        )
    ]
    assert max(lengths) <= 0.1
    assert lengths[0] > 0.02


def norms_of(curve, rows):
    return lambda weights: np.linalg.norm(curve.jacobian(weights, rows.x)[:, 0], axis=0)


def test_acceleration_takes_fewer_steps_along_a_curved_valley():
    # Rosenbrock's valley as a curve: residuals 10(b − a²) and 1 − a. Source: Transtrum & Sethna (2012), sec. 5.
    curve = Curve(lambda x, a, b: 10 * (b - a * a) * x + (1 - a) * (1 - x))
    rows = InMemory(np.array([[1.0], [0.0]]), np.zeros((2, 1)))
    steps = [
        descend(
            curve,
            rows,
            LevenbergMarquardt(1e-3, scaling="columns", acceleration=way),
            weights=[-1.2, 1.0],
            max_iter=300,
        ).n_steps
        for way in (True, False)
    ]
    assert steps[0] < 0.7 * steps[1]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [((-np.inf, 1.5, -np.inf), None), (None, (2.0, np.inf, np.inf)), ((0.0, 1.2, 0.0), (2.5, 9.0, 0.5))],
    ids=["below", "above", "both"],
)
def test_within_bounds_it_finds_what_scipy_finds_within_them(lower, upper, random):
    curve, rows = decay(random)
    path = descend(curve, rows, LevenbergMarquardt.for_curves(lower, upper), weights=[1.0, 2.0, 0.2], max_iter=300)
    box = (-np.inf if lower is None else lower, np.inf if upper is None else upper)
    judge = scipy.optimize.least_squares(
        lambda w: (curve.predict(w, rows.x) - rows.y)[:, 0],
        [1.0, 2.0, 0.2],
        bounds=box,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    np.testing.assert_allclose(path.best_weights, judge.x, rtol=1e-5)
    assert (path.weights >= box[0]).all()
    assert (path.weights <= box[1]).all()


def test_a_descent_by_qr_over_many_blocks_goes_the_way_of_the_whole(random):
    x = random.uniform(0, 3, size=(3000, 1))
    y = 2 * np.exp(-x) + 0.1 * random.normal(size=(3000, 1))
    curve, descent = Curve("a*exp(-b*x)"), LevenbergMarquardt(factor="qr")
    whole = descend(curve, InMemory(x, y), descent, weights=[1.0, 0.3], max_iter=20)
    shuffled = random.permutation(3000)
    other = descend(curve, InMemory(x[shuffled], y[shuffled]), descent, weights=[1.0, 0.3], max_iter=20)
    np.testing.assert_allclose(other.error, whole.error, rtol=1e-12)
    judge = scipy.optimize.curve_fit(lambda x, a, b: a * np.exp(-b * x), x[:, 0], y[:, 0])[0]
    np.testing.assert_allclose(whole.best_weights, judge, rtol=1e-6)


@pytest.mark.parametrize(
    ("descent", "message"),
    [
        (LevenbergMarquardt(factor="svd"), "factor='svd' is not possible.*'cholesky' or 'qr'"),
        (LevenbergMarquardt(memory=2.0), "memory=2.0 is not possible"),
        (LevenbergMarquardt(longest_step=0.0), "longest_step=0.0 is not possible"),
        (LevenbergMarquardt(rule="marquardt"), "rule='marquardt' is not possible.*'nielsen' or 'matlab'"),
        (LevenbergMarquardt(scaling="rows"), "scaling='rows' is not possible.*'columns', 'common' or 'none'"),
    ],
    ids=["factor", "memory", "longest_step", "rule", "scaling"],
)
def test_a_setting_out_of_its_range_is_refused(descent, message):
    with pytest.raises(SettingsError, match=message):
        descend(Network((1, 1)), InMemory(np.ones((3, 1)), np.ones((3, 1))), descent)


def test_a_step_into_a_corner_is_the_best_one_in_the_box():
    # A bowl whose minimum (3, 1) lies beyond the bound of the first weight: at w1 = 1 the second is best at 1 + 0.8 · 2.
    square, start = np.array([[1.0, 0.8], [0.8, 1.0]]), np.zeros(2)
    gradient = square @ (start - [3.0, 1.0])
    here, descent = Penalised(0.0, gradient, square), LevenbergMarquardt(upper=(1.0, 9.0))
    damped = descent._solved(here, None, None, start, np.ones(2), 1e-12)
    np.testing.assert_allclose(damped.move, [1.0, 2.6], rtol=1e-9)
    promised = -(gradient @ damped.move + 0.5 * damped.move @ square @ damped.move)
    np.testing.assert_allclose(descent._promised(here, damped), promised, rtol=1e-9)


def by_hand(rule, scaling, x, y, w, passes, damping=1e-3):
    """Levenberg–Marquardt in NumPy on a network of one input and tanh units: all weights stood at, and the damping after each."""
    units = (len(w) - 1) // 3

    def look(w):
        a, b, c, d = w[:units], w[units : 2 * units], w[2 * units : -1], w[-1]
        h = np.tanh(x * a + b)
        slope = (1 - h**2) * c
        return h @ c + d - y, np.column_stack([x * slope, slope, h, np.ones(len(x))])

    (r, j), growth, unit = look(w), 2.0, np.zeros(len(w))
    walked, dampings = [w], [damping]
    for _ in range(passes):
        norms = np.linalg.norm(j, axis=0)
        unit = {"columns": np.maximum(unit, norms), "common": max(unit[0], norms.max()) + 0 * w, "none": 1 + 0 * w}[
            scaling
        ]
        step = np.linalg.solve(j.T @ j + damping * np.diag(unit**2), -j.T @ r)
        r2, j2 = look(w + step)
        fall = 0.5 * r @ r - 0.5 * r2 @ r2
        ratio = fall / (0.5 * step @ (damping * unit**2 * step - j.T @ r))
        if fall > 0:
            w, r, j = w + step, r2, j2
            easier = max(1 / 3, 1 - (2 * ratio - 1) ** 3) if rule == "nielsen" else 0.1
            damping = max(easier * damping, 1e-12 if scaling == "columns" else 0.0)
            growth = 2.0
            walked, dampings = [*walked, w], [*dampings, damping]
        else:
            damping, growth = damping * (growth if rule == "nielsen" else 10.0), 2 * growth
    return np.array(walked), np.array(dampings)


@pytest.mark.parametrize("scaling", ["columns", "common", "none"])
@pytest.mark.parametrize("rule", ["nielsen", "matlab"])
def test_the_walk_is_that_of_the_rule_written_out(rule, scaling, random):
    network, rows = Network((1, 3, 1)), wave(random)
    walked, dampings = by_hand(rule, scaling, rows.x, rows.y[:, 0], network.initial(1), passes=25)
    descent = LevenbergMarquardt(damping=1e-3, rule=rule, scaling=scaling)
    path = descend(network, rows, descent, seed=1, max_iter=len(walked) - 1)
    assert 10 < len(walked) < 25  # some trials were steps, some were not
    np.testing.assert_allclose(path.weights, walked, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(path.shown["damping"], dampings, rtol=1e-4)


SINGULAR = {
    "twin columns": lambda x, y: (x[:, [0, 0, 1]], y),
    "constant columns": lambda x, y: (np.column_stack([x[:, 0], np.full(len(x), 3.0), np.zeros(len(x))]), y),
    "columns nearly alike": lambda x, y: (
        np.column_stack([x[:, 0], x[:, 0] + 1e-7 * x[:, 1], x[:, 1].astype(np.float32)]), y
    ),
    "fewer rows than weights": lambda x, y: (x[:3], y[:3]),
    "a single row": lambda x, y: (x[:1], y[:1]),
    "the same row again and again": lambda x, y: (x[[0] * 40], y[[0] * 40]),
    "huge inputs": lambda x, y: (1e8 * x, y),
    "inputs from tiny to huge": lambda x, y: (x * [1e-12, 1.0, 1e12], y),
    "targets that are all zero": lambda x, y: (x, 0 * y),
    "targets of 1e150": lambda x, y: (x, 1e150 * y),
    "targets of 1e-150": lambda x, y: (x, 1e-150 * y),
}  # fmt: skip
FROM = {
    "random weights": lambda network: network.initial(0),
    "zero weights": lambda network: np.zeros(network.n_weights),
    "saturated units": lambda network: 1e3 * network.initial(0),
    "silent units": lambda network: np.where(network.penalised(), network.initial(0), -50.0),
}
WALKS = {
    "default": LevenbergMarquardt(),
    "MATLAB's, unscaled": LevenbergMarquardt(rule="matlab", scaling="none"),
    "for curves": FOR_CURVES,
}


@pytest.mark.parametrize("descent", WALKS.values(), ids=WALKS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_no_rows_and_no_start_make_it_fail_or_climb(activation, descent):
    random = np.random.default_rng(7)
    x, y = random.normal(size=(40, 3)), random.normal(size=(40, 1))
    network = Network((3, 6, 1), activation)
    paths = [
        descend(network, InMemory(*change(x, y)), descent, weights=start(network), max_iter=25)
        for change in SINGULAR.values()
        for start in FROM.values()
    ]
    assert all(np.isfinite(path.best_weights).all() for path in paths)
    assert all(np.isfinite(path.error).all() for path in paths)
    assert all(path.error[path.steps == path.best_step] <= path.error[0] for path in paths)


def test_targets_whose_squares_overflow_are_named_in_a_sentence(random):
    rows = InMemory(random.normal(size=(20, 1)), np.full((20, 1), 1e200))
    with pytest.raises(
        FalllineError, match="is not a finite number: start from smaller weights, or bring inputs and targets"
    ):
        descend(Network((1, 3, 1)), rows, LevenbergMarquardt(), seed=0)
