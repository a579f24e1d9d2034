"""Descents on linear networks against loops on the rows written by hand, and against certified minima."""

import functools
import math

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.linear import (
    Bowl,
    best_heavy_ball,
    best_nesterov,
    best_plain_rate,
    bowl_of,
    carried_on,
    is_stable,
    remaining,
    settled,
    steps_shown,
    walks_on_moments,
)
from fallline.exceptions import FalllineError, SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.rows.moments import moments_of
from fallline.walk.loop import descend

BIAS = pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])


Nesterov = functools.partial(GradientDescent, nesterov=True)


PLAIN, HEAVY, NESTEROV = (lambda rate, _: GradientDescent(rate), GradientDescent, Nesterov)
METHODS = pytest.mark.parametrize("method", [PLAIN, HEAVY, NESTEROV], ids=["plain", "heavy ball", "Nesterov"])


def conditioned(random, n, d, condition, outputs=1):
    """Centred rows whose singular values are in geometric progression, and targets with noise: x, y."""
    left = np.linalg.qr(random.normal(size=(n, d)) - random.normal(size=(n, d)).mean(0))[0]
    left -= left.mean(0)
    left = np.linalg.qr(left)[0]
    right = np.linalg.qr(random.normal(size=(d, d)))[0]
    x = math.sqrt(n) * (left * np.geomspace(1.0, 1.0 / condition, d)) @ right
    return x, x @ random.normal(size=(d, outputs)) + 0.1 * random.normal(size=(n, outputs)) + 0.3


def by_hand(x, y, s, bias, alpha, rate, momentum, nesterov, start, steps):
    """Every step on the rows, in NumPy, PyTorch's convention: w₀ … w_steps, (steps + 1, weights)."""
    columns = np.column_stack([x, np.ones(len(x))])[:, : x.shape[1] + bias]
    decay = alpha * (np.arange(columns.shape[1]) < x.shape[1])[:, None]
    w, buffer, walk = start.reshape(columns.shape[1], -1), 0.0, [start]
    for _ in range(steps):
        gradient = (columns.T @ (s[:, None] * (columns @ w - y)) + decay * w) / s.sum()
        buffer = momentum * buffer + gradient
        w = w - rate * ((gradient + momentum * buffer) if nesterov else buffer)
        walk.append(w.ravel())
    return np.array(walk)


def step_by_step(a, momentum, nesterov, steps):
    """z_k/z_0 by the recurrence in extended precision: (steps + 1, len(a))."""
    z, buffer, walk = np.ones(len(a), np.longdouble), np.zeros(len(a), np.longdouble), [np.ones(len(a))]
    a, momentum = a.astype(np.longdouble), np.longdouble(momentum)
    for _ in range(steps):
        gradient = a * z
        buffer = momentum * buffer + gradient
        z = z - ((gradient + momentum * buffer) if nesterov else buffer)
        walk.append(z)
    return np.array(walk)


@BIAS
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("condition", [10.0, 1e4])
@pytest.mark.parametrize(("rate", "momentum"), [(1.5, 0.0), (0.9, 0.9)], ids=["plain", "heavy ball"])
def test_the_walk_is_that_on_the_rows(rate, momentum, condition, alpha, bias, random):
    x, y = conditioned(random, 200, 5, condition, outputs=2)
    s, network = random.uniform(0.5, 1.5, 200), Network((5, 2), bias=bias)
    start = random.normal(size=network.n_weights)
    path = descend(
        network,
        InMemory(x, y, s),
        GradientDescent(rate, momentum),
        weights=start,
        alpha=alpha,
        max_iter=2000,
        watched={"half": InMemory(x[:100], y[:100])},
    )
    expected = by_hand(x, y, s, bias, alpha, rate, momentum, False, start, 2000)
    np.testing.assert_allclose(path.weights, expected, rtol=1e-10, atol=1e-10)
    residual = np.stack([network.predict(w, x) - y for w in expected[::50]])
    np.testing.assert_allclose(path.error[::50], 0.5 * np.einsum("m,pmj->p", s, residual**2), rtol=1e-10)
    np.testing.assert_allclose(path.watched["half"][::50], 0.5 * (residual[:, :100] ** 2).sum((1, 2)), rtol=1e-10)
    assert path.n_passes == 1
    assert (path.passes == 1).all()


@BIAS
@METHODS
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_the_closed_form_is_the_walk_on_the_rows(method, condition, alpha, bias, random):
    x, y = conditioned(random, 200, 5, condition, outputs=2)
    s, network = random.uniform(0.5, 1.5, 200), Network((5, 2), bias=bias)
    start, descent = random.normal(size=network.n_weights), method(0.8, 0.9)
    path = descend(network, InMemory(x, y, s), descent, weights=start, alpha=alpha, max_iter=10**6)
    nesterov = descent.nesterov
    expected = by_hand(x, y, s, bias, alpha, 0.8, descent.momentum, nesterov, start, 5000)
    shown = path.steps <= 5000
    assert np.array_equal(path.steps[:1001], np.arange(1001))
    np.testing.assert_allclose(path.weights[shown], expected[path.steps[shown]], rtol=1e-10, atol=1e-10)
    residual = np.stack([network.predict(w, x) - y for w in expected[:1000:50]])
    np.testing.assert_allclose(path.error[:1000:50], 0.5 * np.einsum("m,pmj->p", s, residual**2), rtol=1e-10)
    assert (path.steps[-1], path.stop, path.n_passes) == (10**6, Stop.MAX_ITER, 1)


@METHODS
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_points_of_a_closed_form_are_those_of_the_loop(method, alpha, random):
    x, y = conditioned(random, 100, 4, 30.0)
    network, rows, descent = Network((4, 1)), InMemory(x, y), method(0.5, 0.8)
    at_once = descend(network, rows, descent, seed=3, alpha=alpha, max_iter=30_000)
    loop = descend(network, rows, descent, seed=3, alpha=alpha, max_iter=1000)
    for name in ("weights", "gradient", "gradient_norm", "error", "penalised_error"):
        np.testing.assert_allclose(getattr(at_once, name)[:1001], getattr(loop, name), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.9, 0.999])
def test_any_step_along_any_direction_is_that_of_the_recurrence(momentum, nesterov):
    limit = (2 + 2 * momentum) / (1 + 2 * momentum) if nesterov else 2 + 2 * momentum
    double = (1 - math.sqrt(momentum)) ** 2
    a = np.concatenate(
        [
            limit * np.array([1e-12, 1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999]),
            double * (1 + np.array([-1e-3, -1e-9, -1e-15, 0, 1e-15, 1e-9, 1e-3])),
            [1 / (1 + momentum), 1.0, (1 + math.sqrt(momentum)) ** 2 * 0.999999],
        ]
    )
    a = a[a < limit]
    descent = (Nesterov if nesterov else GradientDescent)(1.0, momentum)
    expected = step_by_step(a, momentum, nesterov, 3000)
    # Near a double root at −1 the way out is a thousand times the start: judged by the farthest point.
    farthest = np.abs(expected).max(axis=0)
    found = remaining(descent, a, np.arange(3001))
    np.testing.assert_allclose(found / farthest, expected / farthest, rtol=0, atol=2e-10)
    slow = a < 0.9 * double
    np.testing.assert_allclose(found[:, slow], expected[:, slow], rtol=1e-10, atol=1e-250)


@pytest.mark.parametrize("short", [-1e-12, 0.0, 1e-14, 1e-8], ids=str)
def test_near_a_double_root_nothing_is_lost(short):
    momentum = 0.25  # √momentum and the double root 0.25 are exact
    a = np.array([0.25 * (1 + short)])
    expected = step_by_step(a, momentum, False, 300)
    np.testing.assert_allclose(remaining(GradientDescent(1.0, momentum), a, np.arange(301)), expected, rtol=1e-11)


@METHODS
@pytest.mark.parametrize("taken", [1, 2, 7, 40])
def test_a_descent_under_way_is_carried_on_as_it_would_have_gone(method, taken):
    a = np.array([1e-9, 1e-3, 0.0026, 0.1, 0.5, 0.98, 1.2, 1.6])
    descent = method(1.0, 0.9)
    walk = step_by_step(a, descent.momentum, descent.nesterov, taken + 500).astype(float)
    found = carried_on(descent, a, np.arange(501), walk[taken], walk[taken - 1])
    scale = np.abs(walk[taken:]).max(axis=0)
    np.testing.assert_allclose(found / scale, walk[taken:] / scale, rtol=0, atol=1e-10)


@METHODS
def test_a_million_steps_are_those_of_the_recurrence_in_extended_precision(method):
    a = np.array([1e-7, 1e-6, 1e-4, 0.5])
    descent = method(1.0, 0.9)
    m, wide = np.longdouble(descent.momentum), a.astype(np.longdouble)
    # (z, buffer) after a step of ``step_by_step``: a matrix for each of a.
    by_buffer, by_z = (-m * m, 1 - wide - m * wide) if descent.nesterov else (-m, 1 - wide)
    step = np.moveaxis(np.array([[by_z, by_buffer + 0 * wide], [wide, m + 0 * wide]]), 2, 0)
    expected = np.linalg.matrix_power(step, 10**6)[:, 0, 0].astype(float)
    np.testing.assert_allclose(
        np.linalg.matrix_power(step, 1000)[:, 0, 0].astype(float),
        step_by_step(a, m, descent.nesterov, 1000)[-1].astype(float),
        rtol=1e-12,
    )
    found = remaining(descent, a, np.array([10**6]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def test_plain_descent_flips_its_sign_beyond_the_minimum_of_a_direction():
    found = remaining(GradientDescent(1.0), np.array([0.0, 0.5, 1.0, 1.5]), np.arange(4))
    np.testing.assert_allclose(found, [[1] * 4, [1, 0.5, 0, -0.5], [1, 0.25, 0, 0.25], [1, 0.125, 0, -0.125]])


def test_the_best_numbers_are_those_that_shrink_soonest():
    """Beside the closed-form rates: no neighbour of the pair does better along both ends of the bowl."""
    high, low = 4.0, 0.04
    root, wide = math.sqrt(100.0), math.sqrt(301.0)
    rate, momentum = best_heavy_ball(high, low)
    assert math.sqrt(momentum) == pytest.approx((root - 1) / (root + 1), rel=1e-12)
    assert rate == pytest.approx((2 / (2 + 0.2)) ** 2, rel=1e-12)
    rate, momentum = best_nesterov(high, low)
    left = np.abs(remaining(Nesterov(rate, momentum), np.array([high, low]), np.array([2000, 2001])))
    assert left[1] / left[0] == pytest.approx([1 - 2 / wide] * 2, rel=2e-3)
    assert best_plain_rate(4.0, 0.25) == pytest.approx(2 / 4.25)


def test_the_automatic_rate_is_read_off_the_exact_curvature():
    bowl = Bowl(np.array([4.0, 0.04]), np.eye(2), np.zeros((2, 0)), np.zeros((2, 1)))
    assert settled(GradientDescent(), bowl) == GradientDescent(1.9 / 4.0)
    assert settled(GradientDescent(momentum=0.5), bowl) == GradientDescent(1.5 / 4.0, 0.5)
    assert settled(Nesterov(momentum=0.5), bowl).learning_rate == pytest.approx(0.75 / 4.0)
    assert settled(GradientDescent(0.3, 0.2), bowl) == GradientDescent(0.3, 0.2)
    best = settled(GradientDescent(momentum="auto"), bowl)
    assert (best.learning_rate, best.momentum) == best_heavy_ball(4.0, 0.04)
    assert is_stable(GradientDescent(0.4999), bowl)
    assert not is_stable(GradientDescent(0.5), bowl)
    assert (
        settled(GradientDescent(), Bowl(np.zeros(0), np.zeros((1, 0)), np.eye(1), np.zeros((1, 1)))).learning_rate
        == 1.0
    )


def test_the_curvature_is_that_of_the_columns_with_their_biases(random):
    x, y = random.normal(size=(60, 3)) + [0.0, 1.0, -3.0], random.normal(size=(60, 2))
    network = Network((3, 2))
    bowl = bowl_of(network, moments_of(network, InMemory(x, y)), np.array([6.0] * 6 + [0.0] * 2))
    columns = np.column_stack([x, np.ones(60)])
    curvature = (columns.T @ columns + np.diag([6.0, 6.0, 6.0, 0.0])) / 60
    np.testing.assert_allclose(bowl.curvature, np.linalg.eigvalsh(curvature)[::-1], rtol=1e-12)
    np.testing.assert_allclose(curvature @ bowl.directions, bowl.directions * bowl.curvature, atol=1e-12)
    np.testing.assert_allclose(bowl.minimum, np.linalg.solve(60 * curvature, columns.T @ y), rtol=1e-11)


# NIST Statistical Reference Datasets, linear regression, lower level of difficulty: certified values.
NORRIS_X = """.2 337.4 118.2 884.6 10.1 226.5 666.3 996.3 448.6 777.0 558.2 .4 .6 775.5 666.9 338.0 447.5 11.6 556.0
    228.1 995.8 887.6 120.2 .3 .3 556.8 339.1 887.2 999.0 779.0 11.1 118.3 229.2 669.1 448.9 .5"""
NORRIS_Y = """.1 338.8 118.1 888.0 9.2 228.1 668.5 998.5 449.1 778.9 559.2 .3 .1 778.1 668.8 339.3 448.9 10.8 557.7
    228.3 998.0 888.8 119.6 .3 .6 557.6 339.3 888.0 998.5 778.9 10.2 117.6 228.9 668.4 449.2 .2"""
PONTIUS_X = [150000.0 * i for i in range(1, 21)] * 2
PONTIUS_Y = """.11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599 1.52399
    1.63194 1.73947 1.84646 1.95392 2.06128 2.16844 .11052 .22018 .32939 .43886 .54798 .65739 .76596 .87474 .98300
    1.09150 1.20004 1.30818 1.41613 1.52408 1.63159 1.73965 1.84696 1.95445 2.06177 2.16829"""
NIST = {
    "Norris": (
        np.array(NORRIS_X.split(), float)[:, None], np.array(NORRIS_Y.split(), float)[:, None],
        [1.00211681802045, -2.62323073774029e-01], 26.6173985294224,
    ),
    "Pontius": (
        np.array(PONTIUS_X)[:, None] ** [1, 2], np.array(PONTIUS_Y.split(), float)[:, None],
        [7.32059160401003e-07, -3.16081871345029e-15, 6.73565789473684e-04], 1.55761768796992e-06,
    ),
    "Wampler1": (  # y = 1 + x + … + x⁵, of no error at all
        np.arange(21.0)[:, None] ** np.arange(1, 6), (np.arange(21.0)[:, None] ** np.arange(6)).sum(1, keepdims=True),
        [1.0] * 6, 0.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NIST)
def test_the_limit_is_the_certified_minimum(name):
    x, y, certified, rest = NIST[name]
    path = descend(Network((x.shape[1], 1)), InMemory(x, y), GradientDescent(), seed=0, max_iter=math.inf)
    np.testing.assert_allclose(path.final_weights, certified, rtol=1e-9)
    np.testing.assert_allclose(2 * path.error[-1], rest, rtol=1e-9, atol=1e-15)
    assert path.stop == Stop.FLAT
    assert "the exact minimum" in path.stop_message
    np.testing.assert_array_equal(path.best_weights, path.final_weights)


@BIAS
@METHODS
def test_the_limit_of_wildly_scaled_columns_is_that_of_least_squares(method, bias, random):
    scale = np.array([1e-6, 1.0, 1e5, 30.0])
    x = random.normal(size=(80, 4))
    y = x @ random.normal(size=(4, 2)) + random.normal(size=(80, 2))
    network = Network((4, 2), bias=bias)
    path = descend(network, InMemory(x * scale, y), method("auto", 0.9), seed=0, max_iter=math.inf)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(80)])[:, : 4 + bias], y)[0]
    expected[:4] /= scale[:, None]
    np.testing.assert_allclose(path.final_weights, expected.ravel(), rtol=1e-11)


def test_the_limit_under_a_weight_decay_is_ridge_regression(random):
    x, y = random.normal(size=(50, 3)), random.normal(size=(50, 1))
    path = descend(Network((3, 1), bias=False), InMemory(x, y), GradientDescent(), alpha=5.0, max_iter=math.inf)
    expected = np.linalg.solve(x.T @ x + 5 * np.eye(3), x.T @ y)[:, 0]
    np.testing.assert_allclose(path.final_weights, expected, rtol=1e-12)
    np.testing.assert_allclose(path.penalised_error[-1], path.error[-1] + 2.5 * expected @ expected, rtol=1e-12)


@pytest.mark.parametrize("max_iter", [20_000, 10**6, math.inf], ids=["loop", "closed form", "limit"])
def test_what_the_rows_do_not_determine_stays_as_it_started_and_is_named(max_iter, random):
    x = random.normal(size=(300, 4))
    x[:, 3] = 2 * x[:, 1]
    start = np.array([1.0, 2.0, 3.0, -4.0, 5.0])
    path = descend(Network((4, 1)), InMemory(x, x[:, :1] + 1), GradientDescent(0.3), weights=start, max_iter=max_iter)
    assert (
        "The data leave 1 combination of weights undetermined; it keeps its initial value: x2 − 0.5·x4 is constant."
        in path.stop_message
    )
    # The gradient lies along (x2, x4) = (1, 2): across it, along (2, −1), nothing moves.
    np.testing.assert_allclose(path.weights[:, 1] * 2 - path.weights[:, 3], 8.0, rtol=1e-11)
    np.testing.assert_allclose(path.final_weights, [1.0, 3.2, 0.0, -1.6, 1.0], atol=1e-9)


def test_a_rate_beyond_the_limit_diverges_as_on_the_rows(random):
    x, y = conditioned(random, 100, 3, 4.0)
    network, start = Network((3, 1)), random.normal(size=4)
    path = descend(network, InMemory(x, y), GradientDescent(2.1), weights=start, max_iter=10**6)
    expected = by_hand(x, y, np.ones(100), True, 0.0, 2.1, 0.0, False, start, path.n_steps)
    assert path.stop == Stop.DIVERGED
    np.testing.assert_allclose(path.weights, expected, rtol=1e-9)
    assert "largest stable rate there is about 2" in path.stop_message


def test_float32_rows_walk_as_their_float64_copies(random):
    x, y = (each.astype(np.float32) for each in conditioned(random, 500, 4, 100.0))
    single, double = (
        descend(Network((4, 1)), InMemory(x, y, dtype=dtype), GradientDescent(0.5, 0.9), seed=0, max_iter=10**6)
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_array_equal(single.weights, double.weights)


def test_the_message_says_how_far_the_minimum_is(random):
    x, y = conditioned(random, 100, 3, 1e4)
    rows, network = InMemory(x, y), Network((3, 1))
    short, long = (descend(network, rows, GradientDescent(1.0), seed=0, max_iter=steps) for steps in (21_000, 10**14))
    least = descend(network, rows, GradientDescent(1.0), seed=0, max_iter=math.inf).error[-1]
    above = float(short.stop_message.split("steps, ")[1].split(" above")[0])
    assert above == pytest.approx(short.error[-1] - least, rel=1e-2)
    assert "at the exact minimum to rounding" in long.stop_message
    assert not short.every_step
    assert f"Weights kept at {len(short.steps)} of 21001 points" in str(short)


def test_the_last_progress_report_is_that_of_all_steps_at_once(random):
    x, y = conditioned(random, 100, 3, 4.0)
    seen = []
    rows = InMemory(x, y)
    path = descend(
        Network((3, 1)), rows, GradientDescent(0.5), max_iter=10**5, watched={"same": rows}, progress=seen.append
    )
    assert (seen[-1].steps, seen[-1].stop) == (10**5, Stop.MAX_ITER)
    assert {each.stop for each in seen[:-1]} <= {Stop.GOING_ON}
    np.testing.assert_array_equal(path.watched["same"], path.error)
    assert seen[-1].watched == {"same": path.error[-1]}


@pytest.mark.parametrize(
    "changed",
    [
        {"model": Network((3, 2, 1))},
        {"model": Network((3, 1), output_activation="tanh")},
        {"descent": LevenbergMarquardt()},
        {"tol": 1e-3},
        {"every_step": True},
        {"judge": "kept back"},
    ],
    ids=["hidden layer", "bent output", "Levenberg–Marquardt", "tol", "every step", "judge"],
)
def test_a_limit_that_is_not_known_is_refused(changed, random):
    rows = InMemory(random.normal(size=(20, 3)), random.normal(size=(20, 1)))
    settings = {"model": Network((3, 1)), "descent": GradientDescent(), "watched": {"kept back": rows}} | changed
    model, descent = settings.pop("model"), settings.pop("descent")
    with pytest.raises(SettingsError, match="only for GradientDescent on a linear network"):
        descend(model, rows, descent, max_iter=math.inf, **settings)


def test_a_limit_that_does_not_exist_is_refused(random):
    x, y = conditioned(random, 50, 2, 2.0)
    with pytest.raises(SettingsError, match=r"learning rate 3: .* stable rate here is 2\. Take a rate below 1\.9"):
        descend(Network((2, 1), bias=False), InMemory(x, y), GradientDescent(3.0), max_iter=math.inf)


def test_rows_too_large_for_products_are_descended_row_by_row():
    rows = InMemory(1e160 * np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]]))
    with pytest.raises(SettingsError, match="products overflow"):
        descend(Network((1, 1)), rows, GradientDescent(0.1), max_iter=math.inf)


@pytest.mark.parametrize(
    ("inputs", "max_iter", "expected"), [(20, 1, True), (500, 10, False), (500, 1000, True), (2000, 10**6, False)]
)
def test_moments_are_taken_where_they_cost_less_than_the_steps(inputs, max_iter, expected):
    assert walks_on_moments(Network((inputs, 1)), GradientDescent(), max_iter) == expected


@pytest.mark.parametrize(("last", "most"), [(0, 10**5), (5, 10**5), (1000, 10**5), (10**6, 10**5), (2**62, 300)])
def test_the_steps_shown_begin_at_0_and_end_at_the_last(last, most):
    steps = steps_shown(last, most)
    assert (steps[0], steps[-1]) == (0, last)
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= min(most, 3100) + 2


@pytest.mark.parametrize("max_iter", [10, 10**6, math.inf], ids=["loop", "closed form", "limit"])
def test_a_start_of_no_finite_error_is_refused(max_iter, random):
    rows = InMemory(random.normal(size=(20, 1)), random.normal(size=(20, 1)))
    with pytest.raises(FalllineError, match="not a finite number: start from smaller weights"):
        descend(Network((1, 1)), rows, GradientDescent(0.1), weights=[1e200, 0.0], max_iter=max_iter)
