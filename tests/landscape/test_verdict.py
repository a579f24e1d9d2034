import functools
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from fallline import GradientDescent, InMemory, Kind, LevenbergMarquardt, Network, descend, verdict_at, verdict_of
from fallline.exceptions import FalllineError, SettingsError, ShapeError
from fallline.landscape.hessian import hessian, krylov

P = 6  # weights of a constructed point


@dataclass(frozen=True)
class Rows6:
    """ŷ of a row x = (a, b, c): c₀t + c₁t² + c₂tu + c₃e⁻ᵗ with t = a·w, u = b·w: a landscape built row by row."""

    inputs: int = 2 * P + 4
    outputs: int = 1
    n_weights: int = P

    def initial(self, seed=None):
        return np.zeros(P)

    def penalised(self):
        return np.ones(P, bool)

    def regularised(self):
        return np.zeros(P, bool)

    def predict(self, weights, x):
        t, u, c, _, _ = self._parts(weights, x)
        return (c[0] * t + c[1] * t * t + c[2] * t * u + c[3] * np.exp(-t))[:, None]

    def jacobian(self, weights, x):
        t, u, c, a, b = self._parts(weights, x)
        slope = (c[0] + 2 * c[1] * t + c[2] * u - c[3] * np.exp(-t))[:, None] * a + (c[2] * t)[:, None] * b
        return slope[:, None, :]

    def jacobian_along(self, weights, x, direction):
        t, _, c, a, b = self._parts(weights, x)
        dt, du = a @ direction, b @ direction
        turn = (2 * c[1] * dt + c[2] * du + c[3] * np.exp(-t) * dt)[:, None] * a + (c[2] * dt)[:, None] * b
        return turn[:, None, :]

    def _parts(self, weights, x):
        a, b = x[:, :P], x[:, P : 2 * P]
        return a @ weights, b @ weights, x[:, 2 * P :].T, a, b


MODEL = Rows6()


class Landscape:
    """Coordinates t = Q (w − origin) with a random rotation Q; rows are added for each of them."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.axes = np.linalg.qr(self.random.normal(size=(P, P)))[0]
        self.x, self.y = [], []

    def row(self, y, a=None, b=None, c=(0, 0, 0, 0)):
        zero = np.zeros(P)
        self.x.append(np.concatenate([zero if a is None else self.axes[a], zero if b is None else self.axes[b], c]))
        self.y.append(y)

    def bowls(self, axes, low=1e-3, high=1.0):
        """Eigenvalues at random between two bounds along these axes, minimum at 0."""
        values = np.exp(self.random.uniform(np.log(low), np.log(high), len(axes)))
        for axis, value in zip(axes, values, strict=True):
            self.row(0.0, axis, c=(np.sqrt(value), 0, 0, 0))
        return values

    def floor(self, error):
        """A row that no weight reaches: E is never below this."""
        self.row(np.sqrt(2 * error))

    def point(self, t):
        return InMemory(np.array(self.x), np.array(self.y)[:, None]), np.asarray(t) @ self.axes


def minimum(seed):
    """Eigenvalues from 1e-3 to 1, a promised fall of 1e-5 of E: the line is drawn at 1e-3."""
    land = Landscape(seed)
    values = land.bowls(range(P))
    land.floor(1.0)
    return land.point(np.sqrt(2e-5 / P / values) * land.random.choice([-1, 1], P))


def well(seed):
    """One of the minima ±1 of (t² − 1)² along each of two axes."""
    land = Landscape(seed)
    land.bowls(range(2, P))
    land.row(1.0, 0, c=(0, 1, 0, 0))
    land.row(1.0, 1, c=(0, 1, 0, 0))
    land.floor(0.5)
    return land.point([*land.random.choice([-1, 1], 2), 0, 0, 0, 0])


def flat_minimum(seed):
    """One to three directions of no curvature at all."""
    land = Landscape(seed)
    flat = 1 + seed % 3
    land.bowls(range(flat, P))
    land.floor(1.0)
    return land.point([*land.random.normal(size=flat), *np.zeros(P - flat)])


def hyperbola(seed):
    """Somewhere on t u = 1, a valley of minima with a level floor."""
    land = Landscape(seed)
    land.bowls(range(2, P))
    land.row(1.0, 0, 1, (0, 0, 1, 0))
    land.floor(0.5)
    t = np.exp(land.random.uniform(-1, 1))
    return land.point([t, 1 / t, 0, 0, 0, 0])


def saddle(seed):
    """On the ridge between the minima ±1 of (t² − 1)² along one to three axes, a ten-thousandth beside it."""
    land = Landscape(seed)
    down = 1 + seed % 3
    land.bowls(range(down, P), low=1e-2)
    for axis in range(down):
        land.row(1.0, axis, c=(0, 1, 0, 0))
    land.floor(land.random.uniform(0.0, 1.0))
    return land.point([*(1e-4 * land.random.normal(size=down)), *np.zeros(P - down)])


def valley(seed):
    """At rest but along one direction, 10⁸ times softer than the steepest, along which E still falls by 5 to 50 %."""
    land = Landscape(seed)
    land.bowls(range(1, P), low=1e-2)
    land.row(0.0, 0, c=(1e-4, 0, 0, 0))
    share = land.random.uniform(0.05, 0.5)
    land.floor(1.0)
    return land.point([np.sqrt(2 * share / (1 - share) / 1e-8), 0, 0, 0, 0, 0])


def descending(seed):
    """10 to 90 % of E above the minimum of a bowl whose eigenvalues are 1e-3 to 1."""
    land = Landscape(seed)
    values = land.bowls(range(P))
    share = land.random.uniform(0.1, 0.9)
    land.floor(1.0)
    z = land.random.normal(size=P)
    return land.point(z / np.linalg.norm(z) * np.sqrt(2 * share / (1 - share) / values))


def running(seed):
    """½e⁻²ᵗ along one direction, at t from 0.5 to 4, over a floor of as much; a thousandth beside rest along the others."""
    land = Landscape(seed)
    t = land.random.uniform(0.5, 4)
    values = land.bowls(range(1, P), low=1e-2)
    land.row(0.0, 0, c=(0, 0, 0, 1))
    land.floor(0.5 * np.exp(-2 * t))
    return land.point([t, *(1e-3 * np.exp(-t) / np.sqrt(values))])


NEURON = Network((1, 1), output_activation="logistic", bias=False)


def saturating(seed):
    """A sigmoid that is to be 0 and 1 goes to infinity; half of the points are so far that E is 0 to rounding."""
    random = np.random.default_rng(seed)
    x = random.uniform(0.5, 2, (6, 1)) * np.array([[1], [-1]] * 3)
    far = [random.uniform(1, 5), random.uniform(800, 5000)][seed % 2]
    return InMemory(x, (x > 0).astype(float)), np.array([far])


def plateau(seed):
    """The same sigmoid, saturated the wrong way: no slope to feel, and E is lower elsewhere."""
    rows, weights = saturating(2 * seed + 1)
    return rows, -weights


def unfinished(seed):
    """Ten steps down a network that needs hundreds."""
    rows = wave(seed)
    path = descend(Network((1, 4, 1)), rows, GradientDescent(0.05), seed=seed, max_iter=10)
    return rows, path.best_weights


def wave(seed, rows=40):
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 2, (rows, 1))
    return InMemory(x, np.sin(2 * x) + 0.1 * random.normal(size=x.shape))


def at(model, make, seed):
    return verdict_at(model, *make(seed)).kind


def asked_to_stop(make, seed):
    rows, weights = make(seed)
    path = descend(
        MODEL,
        rows,
        GradientDescent(1e-3),
        weights=weights,
        max_iter=50,
        progress=lambda now: now.steps >= 3,
        every_step=True,
    )
    return verdict_of(path, rows).kind


# What was built, how it is judged, and how many of it.
POINTS = (
    (Kind.MINIMUM, functools.partial(at, MODEL, minimum), 30),
    (Kind.MINIMUM, functools.partial(at, MODEL, well), 10),
    (Kind.FLAT_MINIMUM, functools.partial(at, MODEL, flat_minimum), 20),
    (Kind.FLAT_MINIMUM, functools.partial(at, MODEL, hyperbola), 10),
    (Kind.SADDLE, functools.partial(at, MODEL, saddle), 40),
    (Kind.VALLEY, functools.partial(at, MODEL, valley), 20),
    (Kind.VALLEY, functools.partial(at, NEURON, plateau), 10),
    (Kind.DESCENDING, functools.partial(at, MODEL, descending), 20),
    (Kind.DESCENDING, functools.partial(at, Network((1, 4, 1)), unfinished), 10),
    (Kind.RUNNING, functools.partial(at, MODEL, running), 10),
    (Kind.RUNNING, functools.partial(at, NEURON, saturating), 10),
    (Kind.STOPPED, functools.partial(asked_to_stop, descending), 10),
)


def confusion():
    """Rows: what the points were built as. Columns: what the verdict calls them."""
    kinds = list(Kind)
    table = np.zeros((len(kinds), len(kinds)), int)
    for built, judged, count in POINTS:
        for seed in range(count):
            table[kinds.index(built), kinds.index(judged(seed))] += 1
    return table


def test_two_hundred_constructed_points_are_called_what_they_are():
    table = confusion()
    said = "\n".join(f"{kind:30}{row}" for kind, row in zip(Kind, table, strict=True))
    assert table.sum() == 200
    np.testing.assert_array_equal(table, np.diag([40, 30, 40, 30, 30, 20, 10]), err_msg=f"\n{said}")


MAKERS = {
    "minimum": minimum,
    "flat minimum": flat_minimum,
    "saddle": saddle,
    "valley": valley,
    "descending": descending,
    "running": running,
}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (minimum, r"A minimum: every direction curves upwards, and a full Newton step would gain less than 0\.1 %\."),
        (flat_minimum, r"A minimum with flat directions: every other direction curves upwards, .* less than 0\.1 %; "
         r"1 of 6 weight combinations does not affect the fit \(mostly w\d.*\)\."),
        (saddle, r"A saddle: .* close to zero, but along 1 direction \(mostly w\d.*\) the error curves downwards; a push "
         r"that way lowers it by \d+ %\."),
        (valley, r"A flat valley, still moving: the error may still fall by \d+ %, nearly all of it along directions that "
         r"hardly curve \(mostly w\d.*\)\."),
        (descending, r"Still descending: a full Newton step would lower the error by \d+ %\."),
        (running, r"Running away: the error keeps falling as w\d.* grow: [\d.]+ here, [\d.]+ where they are [\d,.]+ times as "
         r"large\."),
    ],
    ids=MAKERS,
)  # fmt: skip
def test_it_says_what_it_is_in_a_sentence(make, says):
    assert re.fullmatch(says, verdict_at(MODEL, *make(6)).findings)


def test_a_minimum_that_curves_a_little_downwards_says_so():
    found = replace(verdict_at(MODEL, *minimum(6)), down=2)
    assert found.findings == (
        "A minimum: a full Newton step would gain less than 0.1 %, as would a push along the 2 of 6 directions that curve "
        "downwards."
    )


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_another_rotation_of_the_coordinates_changes_nothing(make):
    rows, weights = make(3)
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(P, P)))[0]
    x = rows.x.copy()
    x[:, :P], x[:, P : 2 * P] = x[:, :P] @ turn, x[:, P : 2 * P] @ turn
    before, after = verdict_at(MODEL, rows, weights), verdict_at(MODEL, InMemory(x, rows.y), weights @ turn)
    assert after.kind == before.kind
    assert (after.down, after.flat) == (before.down, before.flat)
    np.testing.assert_allclose(after.eigenvalues, before.eigenvalues, atol=1e-12)
    assert after.promised_fall == pytest.approx(before.promised_fall, rel=0.05, abs=1e-12)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_unit_of_the_target_changes_nothing(make):
    rows, weights = make(4)
    x = rows.x.copy()
    x[:, 2 * P :] *= 1000.0
    before, after = (verdict_at(MODEL, rows, weights), verdict_at(MODEL, InMemory(x, 1000 * rows.y), weights))
    assert after.kind == before.kind
    assert after.penalised_error == pytest.approx(1e6 * before.penalised_error, rel=1e-12)
    assert after.promised_fall == pytest.approx(before.promised_fall, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_rows_in_single_precision_are_judged_in_double(make):
    rows, weights = make(5)
    single = InMemory(rows.x.astype(np.float32), rows.y.astype(np.float32))
    double = InMemory(single.x.astype(np.float64), single.y.astype(np.float64))
    found, expected = (verdict_at(MODEL, each, weights) for each in (single, double))
    assert str(found) == str(expected)
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_products_with_the_hessian_tell_what_the_hessian_tells(make):
    rows, weights = make(5)
    formed, products = (verdict_at(MODEL, rows, weights, matrix=matrix) for matrix in (True, False))
    assert (products.kind, products.is_minimum) in (
        (formed.kind, formed.is_minimum),
        (Kind.MINIMUM, formed.kind == Kind.FLAT_MINIMUM),  # a flat direction is not seen from the gradient
    )
    assert products.eigenvalues is None
    np.testing.assert_allclose(
        [products.largest, products.smallest], [formed.largest, formed.smallest], atol=1e-9 * formed.largest
    )
    assert products.promised_fall == pytest.approx(formed.promised_fall, rel=1e-3, abs=1e-7)


def test_on_a_network_products_promise_what_the_hessian_does():
    network, rows = Network((1, 12, 1)), wave(3)
    weights = descend(network, rows, GradientDescent(0.05), seed=1, max_iter=200).best_weights
    formed, products = (verdict_at(network, rows, weights, alpha=0.01, matrix=matrix) for matrix in (True, False))
    assert products.kind == formed.kind == Kind.DESCENDING
    assert products.promised_fall == pytest.approx(formed.promised_fall, rel=0.1)


def test_the_promised_fall_of_a_bowl_is_how_far_it_lies_above_the_minimum():
    rows, weights = descending(7)
    assert verdict_at(MODEL, rows, weights).promised_fall == pytest.approx(
        1 - 1 / (0.5 * np.sum((MODEL.predict(weights, rows.x) - rows.y) ** 2)), rel=1e-9
    )


def test_what_a_network_of_few_steps_is_promised_it_finds():
    rows, weights = unfinished(2)
    network = Network((1, 4, 1))
    found = descend(network, rows, LevenbergMarquardt(), weights=weights, max_iter=100)
    assert found.penalised_error[-1] < 0.9 * found.penalised_error[0]


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["one way down", "two ways", "three ways"])
def test_a_kick_at_a_saddle_leads_into_a_minimum(seed):
    rows, weights = saddle(seed)
    found = verdict_at(MODEL, rows, weights)
    ground = 0.5 * rows.y[-1, 0] ** 2
    # Every (t² − 1)² adds ½ on the ridge and nothing in its wells; a straight kick alone could leave some of them.
    assert found.kick_fall == pytest.approx((0.5 * (seed + 1)) / (0.5 * (seed + 1) + ground), rel=1e-3)
    assert found.down == seed + 1
    assert f"{seed + 1} direction" in found.findings
    assert "another seed" in found.advice


def test_a_saddle_of_a_network_is_where_two_units_are_one():
    network, rows = Network((1, 2, 1), bias=False), wave(1)
    one = descend(Network((1, 1, 1), bias=False), rows, LevenbergMarquardt(), seed=1, max_iter=300)
    (w,), (v,) = one.best_weights[:1], one.best_weights[1:]
    assert verdict_of(one, rows).kind == Kind.MINIMUM
    # Split in two, the minimum of one unit is a saddle or flat: Fukumizu & Amari (2000), Neural Networks 13:317.
    found = verdict_at(network, rows, [w, w, 0.5 * v, 0.5 * v])
    assert found.kind in (Kind.SADDLE, Kind.FLAT_MINIMUM)
    assert found.gradient_norm < 1e-6


def test_the_order_and_the_signs_of_hidden_units_change_nothing():
    network, rows = Network((1, 5, 1)), wave(5)
    path = descend(network, rows, LevenbergMarquardt(), seed=2, max_iter=200, alpha=0.01)
    before = verdict_of(path, rows)
    first, second = network.layers(path.best_weights)
    order, signs = np.array([3, 0, 4, 1, 2]), np.array([1, -1, -1, 1, -1])
    turned = network.vector(
        [
            (first.coef[:, order] * signs, first.intercept[order] * signs),
            (second.coef[order] * signs[:, None], second.intercept),
        ]
    )
    after = verdict_at(network, rows, turned, strength=path.strength)
    assert after.kind == before.kind
    assert before.is_minimum
    np.testing.assert_allclose(after.eigenvalues, before.eigenvalues, rtol=1e-6, atol=1e-9)


def test_rectified_units_scaled_against_what_follows_are_flat_directions():
    random = np.random.default_rng(3)
    network, x = Network((2, 3, 1), activation="relu"), random.normal(size=(60, 2))
    weights = network.vector(
        [(random.normal(size=(2, 3)), 0.1 * random.normal(size=3)), (random.choice([-1.0, 1.0], (3, 1)), np.zeros(1))]
    )
    noise = random.normal(size=(60, 1))
    rows = InMemory(x, network.predict(weights, x) + 1e-3 * noise)
    path = descend(network, rows, LevenbergMarquardt(), weights=weights, max_iter=50)
    found = verdict_of(path, rows)
    assert found.kind == Kind.FLAT_MINIMUM
    assert (found.flat, found.symmetries) == (3, 3)
    assert "3 of 13 weight combinations do not affect the fit" in found.findings
    assert "3 of them because a unit can be scaled" in found.findings
    scaled = path.best_weights * np.where(network.units() == 0, 5.0, 1.0)
    scaled[9] /= 5.0
    assert verdict_at(network, rows, scaled).flat == 3


def test_a_weight_decay_leaves_no_symmetry():
    network = Network((2, 3, 1), activation="relu")
    random = np.random.default_rng(4)
    rows = InMemory(random.normal(size=(40, 2)), random.normal(size=(40, 1)))
    assert verdict_at(network, rows, network.initial(1), alpha=0.1).symmetries == 0


def test_units_of_a_deep_linear_network_can_be_mixed():
    random = np.random.default_rng(5)
    network, x = (Network((3, 2, 1), activation="identity", bias=False), np.linalg.qr(random.normal(size=(40, 3)))[0])
    rows = InMemory(x, x @ np.array([[1.0], [2.0], [0.5]]) + 0.1)
    path = descend(network, rows, LevenbergMarquardt(), seed=1, max_iter=100)
    found = verdict_of(path, rows)
    # 8 weights make 3 numbers: 5 directions are left, of which 2 × 2 mix the units, one by one.
    assert found.kind == Kind.FLAT_MINIMUM
    assert found.flat == 5
    assert found.symmetries == 4


def test_inputs_that_say_the_same_are_flat_directions_by_name():
    random = np.random.default_rng(6)
    x = random.normal(size=(30, 2))
    rows = InMemory(np.column_stack([x, x[:, 0]]), x[:, 1:] + 0.1 * random.normal(size=(30, 1)))
    path = descend(Network((3, 1)), rows, LevenbergMarquardt(), max_iter=20, input_names=["east", "north", "west"])
    found = verdict_of(path, rows)
    assert (found.kind, found.flat) == (Kind.FLAT_MINIMUM, 1)
    assert set(found.names) == {"east->y1", "west->y1"}
    assert "larger alpha" in found.advice


def test_a_penalty_a_hundred_million_times_the_rest_makes_nothing_else_flat():
    rows, weights = minimum(1)
    x = np.concatenate([rows.x, np.zeros((1, rows.x.shape[1]))])
    strength = np.array([1e8, 0, 0, 0, 0, 0])
    held = np.where(strength > 0, 0.0, weights)
    found = verdict_at(MODEL, InMemory(x, np.append(rows.y, [[0.0]], axis=0)), held, strength=strength)
    assert (found.flat, found.down) == (0, 0)
    assert found.largest == pytest.approx(1e8, rel=1e-6)


def test_what_a_weight_decay_holds_does_not_run_away():
    rows, weights = saturating(0)
    path = descend(NEURON, rows, LevenbergMarquardt(), weights=weights, alpha=0.01, max_iter=100)
    assert verdict_of(path, rows).kind == Kind.MINIMUM


def test_a_unit_that_becomes_a_step_runs_away_by_name():
    x = np.linspace(-1, 1, 40)[:, None]
    rows = InMemory(x, np.sign(x - 0.1) + 0.3 * x)
    network = Network((1, 2, 1))
    # Lightly damped, the first step leads far enough for a unit to saturate.
    path = descend(network, rows, LevenbergMarquardt(1e-3, scaling="columns"), seed=3, max_iter=60)
    found = verdict_of(path, rows)
    assert found.kind == Kind.RUNNING
    assert any("->h" in name for name in found.names)
    assert found.trend[-1, 1] <= found.trend[0, 1]
    assert "weight decay" in found.advice


@pytest.mark.parametrize("start", [-1.0, 5.0], ids=["the lower", "the saturated"])
def test_both_minima_of_a_sigmoid_neuron_are_minima(start):
    # Auer, Herbster & Warmuth (1996): one of them with the first row saturated.
    rows = InMemory(np.array([[10.0], [0.5]]), np.array([[0.3], [0.9]]))
    path = descend(NEURON, rows, LevenbergMarquardt(), weights=[start], max_iter=200)
    assert verdict_of(path, rows).kind == Kind.MINIMUM


def test_the_second_term_is_what_the_hessian_has_beside_jtj():
    # ½(t² − 1)² at t = ½: the residual −¾ times the second derivative 2, beside J² = 1.
    land = Landscape(0)
    land.row(1.0, 0, c=(0, 1, 0, 0))
    rows, weights = land.point([0.5, 0, 0, 0, 0, 0])
    found = verdict_at(MODEL, rows, weights)
    assert found.second_term == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(hessian(MODEL, rows, weights))[::-1], atol=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 3.0])
def test_a_fit_of_a_small_table_with_weight_decay_ends_in_a_minimum(alpha):
    data = load_diabetes()
    x = data.data / data.data.std(axis=0)
    y = ((data.target - data.target.mean()) / data.target.std())[:, None]
    path = descend(Network((10, 4, 1)), InMemory(x, y), LevenbergMarquardt(), seed=0, alpha=alpha, max_iter=500)
    found = verdict_of(path, InMemory(x, y))
    assert found.is_minimum
    assert found.judged == "penalised error"
    assert found.penalised_error == pytest.approx(path.penalised_error.min(), rel=1e-9)
    assert "Nothing is left" in str(found)


def test_two_steps_are_still_descending_and_more_are_advised():
    rows = wave(8)
    path = descend(Network((1, 5, 1)), rows, GradientDescent(0.05), seed=0, max_iter=2)
    found = verdict_of(path, rows)
    assert found.kind == found.point == Kind.DESCENDING
    assert "more steps" in found.advice


def test_early_stopping_is_on_purpose_where_the_error_still_falls():
    rows, others = wave(9, rows=12), wave(10)
    network = Network((1, 10, 1))
    path = descend(
        network, rows, LevenbergMarquardt(), seed=0, max_iter=200,
        watched={"validation": others}, judge="validation",
    )  # fmt: skip
    found = verdict_of(path, rows)
    assert path.best_step < path.n_steps
    assert found.kind == Kind.STOPPED
    assert found.point not in (Kind.MINIMUM, Kind.STOPPED)
    assert f"step {path.best_step}" in found.findings
    assert verdict_at(network, rows, path.best_weights).kind == found.point


def test_above_two_thousand_weights_no_hessian_is_formed():
    network, rows = Network((1, 700, 1)), wave(2)
    path = descend(network, rows, GradientDescent(0.001), seed=0, max_iter=5)
    found = verdict_of(path, rows)
    assert found.eigenvalues is None
    assert found.kind == Kind.DESCENDING


def test_a_krylov_space_of_all_directions_holds_the_whole_matrix(random):
    root = random.normal(size=(12, 12))
    matrix, start = root + root.T, random.normal(size=12)
    found = krylov(lambda v: matrix @ v, start, 50)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(matrix), atol=1e-10)
    np.testing.assert_allclose(found.along @ found.vectors, start, atol=1e-10)
    values, vectors = np.linalg.eigh(matrix)
    expected = np.sum((vectors.T @ start) ** 2 / np.abs(values))
    assert np.sum(found.along**2 / np.abs(found.values)) == pytest.approx(expected, rel=1e-9)


def test_other_rows_than_those_of_the_path_are_refused():
    path = descend(Network((1, 3, 1)), wave(1), GradientDescent(0.05), max_iter=3)
    with pytest.raises(SettingsError, match="the rows that it descended on"):
        verdict_of(path, wave(2))


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"weights": np.zeros(3)}, ShapeError, "pass shape"),
        ({"weights": np.zeros(P), "strength": [1.0]}, ShapeError, "weight decay"),
        ({"weights": np.zeros(P), "alpha": -1.0}, SettingsError, "weight decay"),
    ],
    ids=["too few weights", "one strength", "a negative alpha"],
)
def test_what_does_not_fit_is_refused(given, error, match):
    rows, _ = minimum(0)
    with pytest.raises(error, match=match):
        verdict_at(MODEL, rows, **given)


def test_an_error_that_is_no_number_has_no_verdict():
    rows, weights = running(0)
    with pytest.raises(FalllineError, match="not finite"):
        verdict_at(MODEL, rows, weights - 1e200)


def test_units_that_weight_decay_made_constant_are_flat_directions_of_a_minimum():
    random = np.random.default_rng(7)
    x = random.uniform(-1, 1, (60, 1))
    rows, network = InMemory(x, np.tanh(2 * x)), Network((1, 2, 1))
    path = descend(
        network, rows, LevenbergMarquardt(), weights=[1.5, 0, 0, 12, 1, 0.03, -0.03], alpha=0.1, max_iter=100
    )
    found = verdict_of(path, rows)
    assert found.kind == Kind.FLAT_MINIMUM
    assert found.names == ("bias->h2",)


def test_a_fit_at_the_mean_is_never_said_to_be_finished(random):
    rows = InMemory(random.normal(size=(80, 2)), random.normal(size=(80, 1)))
    found = verdict_at(
        Network((2, 1)), rows, np.array([0.0, 0.0, float(rows.each(lambda block: block.y).mean())]), alpha=1e6
    )
    assert found.is_minimum
    assert abs(found.explained) < 0.01
    assert "Nothing is left to do" not in str(found)
    assert "no nearer to the targets than their mean is" in found.advice


def test_targets_out_of_the_reach_of_the_outputs_are_named(random):
    x = random.normal(size=(60, 1))
    rows, network = InMemory(x, 5 + x**2), Network((1, 3, 1), output_activation="logistic")
    path = descend(network, rows, LevenbergMarquardt(), seed=0, alpha=1e-3, max_iter=200)
    found = verdict_of(path, rows)
    assert found.advice.startswith("100 % of the targets lie outside 0 … 1, where all outputs of this network lie: ")


def test_of_equal_targets_the_mean_is_all_there_is():
    rows = InMemory(np.arange(6.0)[:, None], np.full((6, 1), 3.0))
    found = verdict_at(Network((1, 1)), rows, np.array([0.0, 3.0]), alpha=1.0)
    assert found.explained == 1.0
