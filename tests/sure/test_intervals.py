import sys

import numpy as np
import pytest
from scipy import stats

from fallline import InMemory, LevenbergMarquardt, Network, descend
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.sure import intervals
from fallline.sure.intervals import Intervals, Member, intervals_of
from fallline.sure.uncertainty import uncertainty_of

PLANE, PLANES = Network((3, 1)), Network((3, 2))
DECAYS = (0.5, 4.0, 20.0)  # starts of a linear network that differ: each under a weight decay of its own


def table(random, n=30, outputs=1):
    x = random.normal(size=(n, 3)) + [5.0, 0.0, 1.0]
    return x, x @ random.normal(size=(3, outputs)) + 2.0 + 0.3 * random.normal(size=(n, outputs))


def design(x):
    return np.column_stack([x, np.ones(len(x))])


def solver(x, strength, s=None):
    """(4, n): the matrix that makes of y the weights of a linear network with one output, biases free."""
    s = np.ones(len(x)) if s is None else s
    square = design(x).T @ (s[:, None] * design(x)) + strength * np.diag([1.0, 1.0, 1.0, 0.0])
    return np.linalg.solve(square, design(x).T * s)


def average(model, x, y, strengths=DECAYS, s=None):
    starts = [Member((solver(x, each, s) @ y).ravel(), each) for each in strengths]
    return intervals_of(model, starts, InMemory(x, y, s))


def left_out_by_hand(x, y, strengths=DECAYS):
    """ŷ − y (K, n, k) of fits without the row, and jᵀA⁻¹j (K, n) there."""
    error, leverage = np.empty((len(strengths), *y.shape)), np.empty((len(strengths), len(x)))
    for k, strength in enumerate(strengths):
        for i in range(len(x)):
            kept, j = np.arange(len(x)) != i, design(x[[i]])
            solve = solver(x[kept], strength)
            square = design(x[kept]).T @ design(x[kept]) + strength * np.diag([1.0, 1.0, 1.0, 0.0])
            error[k, i] = j @ solve @ y[kept] - y[i]
            leverage[k, i] = (j @ np.linalg.solve(square, j.T)).item()
    return error, leverage


def std_by_hand(x, y, strengths=DECAYS):
    """s² (k,), what the sum of squares asks for on top (k,), and the standard errors of the rows where left out, (n, k)."""
    error, leverage = left_out_by_hand(x, y, strengths)
    squares, spread, v = error.mean(0) ** 2, error.var(0, ddof=1), leverage.mean(0)[:, None]
    noise = np.maximum((squares - spread).sum(0), 0.1 * squares.sum(0)) / (1 + v).sum(0)
    scale = squares.sum(0) / (noise * (1 + v) + spread).sum(0)
    return noise * scale, scale, np.sqrt(scale * (noise * (1 + v) + spread))


@pytest.mark.parametrize(("model", "outputs"), [(PLANE, 1), (PLANES, 2)], ids=["one output", "two outputs"])
def test_of_one_start_standard_errors_are_those_of_its_uncertainty(model, outputs, random):
    x, y = table(random, 40, outputs)
    got = average(model, x, y, (3.0,))
    alone = uncertainty_of(model, got.weights[0], InMemory(x, y), strength=3.0)
    new = 3.0 * random.normal(size=(7, 3))
    np.testing.assert_allclose(got.noise_variance, alone.noise_variance, rtol=1e-9)
    np.testing.assert_allclose(got.std(new), alone.new_row_error(new), rtol=1e-5)
    np.testing.assert_allclose(got.mean_std(new), alone.mean_error(new), rtol=1e-5)
    np.testing.assert_allclose(got.freedom, alone.freedom)


@pytest.mark.parametrize(("model", "outputs"), [(PLANE, 1), (PLANES, 2)], ids=["one output", "two outputs"])
def test_an_average_is_held_against_fits_without_the_row(model, outputs, random):
    x, y = table(random, 20, outputs)
    got, (noise, scale, std) = average(model, x, y), std_by_hand(x, y)
    np.testing.assert_allclose(got.noise_variance, noise, rtol=1e-8)
    np.testing.assert_allclose(got.spread_scale, scale, rtol=1e-8)
    sizes = np.sort(np.abs(left_out_by_hand(x, y)[0].mean(0)) / std, axis=0)
    np.testing.assert_allclose(got.scores, sizes, rtol=1e-7)
    np.testing.assert_allclose(got.shares, np.arange(1, 21) / 21)
    np.testing.assert_allclose(got.typical, sizes.mean(0), rtol=1e-8)


def test_at_a_new_row_noise_leverage_and_spread_add_up(random):
    x, y = table(random)
    got, (noise, scale, _) = average(PLANE, x, y), std_by_hand(x, y)
    new = 2.0 * random.normal(size=(5, 3))
    each = np.stack([design(new) @ solver(x, strength) @ y for strength in DECAYS])
    leverage = np.mean(
        [
            np.einsum(
                "ni,ij,nj->n",
                design(new),
                np.linalg.inv(design(x).T @ design(x) + strength * np.diag([1, 1, 1, 0])),
                design(new),
            )
            for strength in DECAYS
        ],
        axis=0,
    )[:, None]
    variance = noise * leverage + scale * each.var(0, ddof=1)
    np.testing.assert_allclose(got.predict(new), each.mean(0), rtol=1e-10)
    np.testing.assert_allclose(got.mean_std(new), np.sqrt(variance), rtol=1e-5)
    np.testing.assert_allclose(got.std(new), np.sqrt(noise + variance), rtol=1e-5)
    low, high = got.interval(new, 0.8)
    np.testing.assert_allclose(0.5 * (low + high), each.mean(0), rtol=1e-10)
    np.testing.assert_allclose(0.5 * (high - low), got.reach(0.8) * got.std(new), rtol=1e-10)


@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.683, 0.9, 0.95, 0.99])
def test_it_reaches_as_far_as_the_row_of_that_rank(coverage, random):
    x, y = table(random, 150)
    got, std = average(PLANE, x, y), std_by_hand(x, y)[2]
    sizes = np.sort(np.abs(left_out_by_hand(x, y)[0].mean(0)) / std, axis=0)
    np.testing.assert_allclose(got.reach(coverage), sizes[int(np.ceil(coverage * 151)) - 1], rtol=1e-7)


def test_within_the_rows_it_is_known_without_scipy(random, monkeypatch):
    got = average(PLANE, *table(random, 30))
    monkeypatch.setitem(sys.modules, "scipy.special", None)  # an import of it fails
    assert np.isfinite(got.interval(np.ones((2, 3)), 0.95)).all()


def test_beyond_the_largest_row_it_grows_as_students_t(random):
    got = average(PLANE, *table(random, 30))
    ratio = stats.t.ppf(0.9995, got.freedom) / stats.t.ppf(0.5 + 15 / 31, got.freedom)
    np.testing.assert_allclose(got.reach(0.999), got.scores[-1] * ratio, rtol=1e-9)


@pytest.mark.parametrize(
    "noise",
    [lambda r, x: r.normal(size=len(x)), lambda r, x: r.standard_t(2.5, len(x)), lambda r, x: x[:, 0] * r.normal(size=len(x))],
    ids=["normal", "heavy tails", "growing"],
)  # fmt: skip
@pytest.mark.parametrize("strengths", [(1.0,), (0.1, 1.0, 4.0)], ids=["one start", "three starts"])
def test_so_many_new_rows_lie_inside_as_were_asked_for(strengths, noise):
    random, inside = np.random.default_rng(5), []
    for _ in range(60):
        x, y = table(random, 80 + 50)
        y = y + noise(random, x)[:, None]
        low, high = average(PLANE, x[:80], y[:80], strengths).interval(x[80:], 0.9)
        inside.append(np.mean((low <= y[80:]) & (y[80:] <= high)))
    # Tables differ in their coverage by more than rows by chance: a standard error of the mean over the tables themselves.
    assert abs(np.mean(inside) - 0.9) < 3.5 * np.std(inside) / np.sqrt(60)


def test_a_network_sees_the_noise_that_was_added():
    random = np.random.default_rng(0)
    x = random.uniform(-3, 3, size=(400, 1))
    y = np.sin(x) + 0.1 * random.normal(size=x.shape)
    model = Network((1, 6, 1))
    paths = [
        descend(model, InMemory(x, y), LevenbergMarquardt(), seed=seed, alpha=0.01, tol=1e-4, max_iter=300)
        for seed in range(3)
    ]
    got = intervals_of(model, [Member(path.best_weights, path.strength) for path in paths], InMemory(x, y))
    assert 0.0085 < got.noise_variance[0] < 0.0115
    new = np.linspace(-3, 3, 2000)[:, None]
    low, high = got.interval(new)
    covered = stats.norm.cdf(high, np.sin(new), 0.1) - stats.norm.cdf(low, np.sin(new), 0.1)
    assert 0.93 < covered.mean() < 0.97
    assert got.mean_std(np.array([[6.0]])) > 5 * got.mean_std(np.array([[0.0]]))


def test_the_order_of_the_starts_changes_nothing(random):
    x, y = table(random)
    got, turned = average(PLANE, x, y), average(PLANE, x, y, DECAYS[::-1])
    np.testing.assert_allclose(got.std(x), turned.std(x), rtol=1e-6)
    np.testing.assert_allclose(got.interval(x), turned.interval(x), rtol=1e-6)


def test_row_weights_are_repetitions(random):
    x, y = table(random)
    s = np.tile([1.0, 3.0, 0.0], 10)
    weighted = average(PLANE, x, y, s=s)
    repeated = average(PLANE, np.repeat(x, s.astype(int), 0), np.repeat(y, s.astype(int), 0))
    np.testing.assert_allclose(weighted.std(x), repeated.std(x), rtol=1e-5)
    np.testing.assert_allclose(weighted.reach(0.75), repeated.reach(0.75), rtol=1e-7)
    np.testing.assert_allclose(weighted.typical, repeated.typical, rtol=1e-7)


def test_where_the_rows_say_nothing_an_interval_has_no_end_and_the_direction_is_named(random):
    x, y = table(random)
    x[:, 2] = 2.0 * x[:, 0]
    least = (np.linalg.pinv(design(x)) @ y).ravel()
    got = intervals_of(PLANE, [Member(least, 0.0), Member(least + [2.0, 0.0, -1.0, 0.0], 0.0)], InMemory(x, y))
    on, off = np.array([[1.0, 0.5, 2.0]]), np.array([[1.0, 0.5, 2.5]])
    assert np.isfinite(got.interval(on)).all()
    assert np.isinf(got.std(off)).all()
    assert np.isinf(got.interval(off)).all()
    said = got.says(["a", "b", "c", "1"])
    assert said.startswith(
        "Intervals include the noise, the uncertainty of the weights and the differences between the 2 networks averaged. "
        "The data leave 1 combination of weights undetermined: "
    )
    assert " c" in said.split("undetermined: ")[1]


def test_a_large_network_has_the_mean_leverage_everywhere(random, monkeypatch):
    monkeypatch.setattr(intervals, "_MOST_WEIGHTS", 3)
    x, y = table(random, 50)
    got = average(PLANE, x, y, (0.0,))
    residual = design(x) @ solver(x, 0.0) @ y - y
    # Generalised cross-validation: every row hides 4/50 of its residual.
    np.testing.assert_allclose(got.noise_variance, (residual**2).sum() / (50 - 4), rtol=1e-9)
    np.testing.assert_allclose(got.std(100 * x), np.sqrt(got.noise_variance / (1 - 4 / 50)) * np.ones((50, 1)))
    assert got.known_starts == 0
    assert got.says() == (
        "Intervals include the noise and the mean uncertainty of 4 weights (too many to know it row by row)."
    )


def test_of_a_long_table_some_rows_stand_for_all(random, monkeypatch):
    x, y = table(random, 3000)
    whole = average(PLANE, x, y)
    monkeypatch.setattr(intervals, "_ENOUGH", 1000)
    got = average(PLANE, x, y)
    np.testing.assert_allclose(got.noise_variance, whole.noise_variance, rtol=0.2)
    np.testing.assert_allclose(got.mean_std(x[:5]), whole.mean_std(x[:5]), rtol=0.3)
    np.testing.assert_allclose(got.freedom, whole.freedom, rtol=1e-3)


def test_rows_that_no_fit_has_seen_can_widen_it(random):
    x, y = table(random, 60)
    got = average(PLANE, x, y)
    twice = 2.0 * (y - got.predict(x)) + got.predict(x)
    once = got.further_off(InMemory(x, y))
    np.testing.assert_allclose(got.further_off(InMemory(x, twice)), 2.0 * once, rtol=1e-9)
    s = np.arange(60.0)
    sizes = np.abs(got.predict(x) - y) / got.std(x)
    np.testing.assert_allclose(got.further_off(InMemory(x, y, s)), (s @ sizes) / s.sum() / got.typical, rtol=1e-9)
    wide = got.widened(1.5)
    np.testing.assert_allclose(wide.std(x), 1.5 * got.std(x), rtol=1e-9)
    np.testing.assert_allclose(wide.mean_std(x), 1.5 * got.mean_std(x), rtol=1e-9)
    np.testing.assert_allclose(wide.further_off(InMemory(x, y)), once / 1.5, rtol=1e-9)


@pytest.mark.parametrize("outputs", [1, 2])
def test_it_comes_back_from_arrays_as_it_was(outputs, random):
    x, y = table(random, 30, outputs)
    x[:, 2] = 2.0 * x[:, 0]
    model = Network((3, outputs))
    got = average(model, x, y)
    back = Intervals.from_arrays(model, got.to_arrays())
    np.testing.assert_array_equal(back.interval(x, 0.9), got.interval(x, 0.9))
    np.testing.assert_array_equal(back.mean_std(2 * x), got.mean_std(2 * x))
    assert back.says() == got.says()


def test_arrays_of_another_network_or_with_gaps_are_refused(random):
    arrays = average(PLANE, *table(random)).to_arrays()
    with pytest.raises(ValueError, match="do not fit each other"):
        Intervals.from_arrays(PLANES, arrays)
    with pytest.raises(ValueError, match="do not fit each other"):
        Intervals.from_arrays(PLANE, arrays | {"noise_variance": np.array([np.nan])})
    with pytest.raises(ValueError, match="shares that fall"):
        Intervals.from_arrays(PLANE, arrays | {"shares": arrays["shares"][::-1]})


def test_what_makes_no_intervals_is_refused(random):
    x, y = table(random)
    got = average(PLANE, x, y)
    with pytest.raises(SettingsError, match="give a share between 0 and 1"):
        got.interval(x, 95)
    with pytest.raises(ShapeError, match=r"for a single input, pass x\[:, None\]"):
        got.std(np.zeros(3))
    with pytest.raises(SettingsError, match="give finite numbers above 0"):
        got.widened(0.0)
    with pytest.raises(SettingsError, match="at least one start"):
        intervals_of(PLANE, [], InMemory(x, y))
    with pytest.raises(TableError, match="give more rows"):
        average(PLANE, x[:4], y[:4], (0.0,))
