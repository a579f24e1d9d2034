import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fallline import GradientDescent, LevenbergMarquardt, Network, Plane, find_basins, find_minima
from fallline.exceptions import SettingsError, ShapeError
from fallline.rows.memory import InMemory


def neuron(d):
    return Network((d, 1), output_activation="logistic", bias=False)


def auer_rows(d):
    """Two rows on each axis, very different in size: E is a sum over the axes, each with two minima.

    Auer, Herbster & Warmuth (1996), "Exponentially many local minima for single neurons".
    """
    x, y = np.zeros((2 * d, d)), np.zeros((2 * d, 1))
    for axis in range(d):
        x[2 * axis, axis], y[2 * axis] = 10, 0.3
        x[2 * axis + 1, axis], y[2 * axis + 1] = 0.5, 0.9
    return InMemory(x, y)


def on_one_axis(weight):
    """E of the two rows of one axis."""
    predicted = 1 / (1 + np.exp(-weight * np.array([10, 0.5])))
    return 0.5 * np.sum((predicted - [0.3, 0.9]) ** 2)


# The two minima of an axis, by Brent's method on the one-dimensional error.
AXIS = [
    minimize_scalar(on_one_axis, bounds=bounds, method="bounded", options={"xatol": 1e-12})
    for bounds in ((-1, 1), (3, 6))
]
DESCENTS = {
    "plain": GradientDescent(0.02),
    "momentum": GradientDescent(0.02, 0.9),
    "Levenberg-Marquardt": LevenbergMarquardt(),
}


@pytest.mark.parametrize("d", [1, 2, 3], ids=["1 weight", "2 weights", "3 weights"])
@pytest.mark.parametrize("descent", DESCENTS.values(), ids=DESCENTS)
def test_all_minima_of_a_sigmoid_neuron_are_found_and_no_other(descent, d, random):
    starts = random.uniform(-8, 8, size=(200, d))
    found = find_minima(neuron(d), auer_rows(d), descent, starts=starts, max_iter=2000)
    assert len(found.minima) == 2**d
    places = np.stack([minimum.weights for minimum in found.minima])
    expected = np.stack(np.meshgrid(*[[low.x for low in AXIS]] * d), axis=-1).reshape(-1, d)
    distances = np.linalg.norm(places[:, None] - expected[None], axis=2)
    assert distances.min(axis=1).max() < 1e-4
    assert distances.min(axis=0).max() < 1e-4
    energies = np.sort(np.stack(np.meshgrid(*[[low.fun for low in AXIS]] * d)).reshape(d, -1).sum(axis=0))
    np.testing.assert_allclose([minimum.error for minimum in found.minima], energies, rtol=1e-9)
    assert sum(minimum.count for minimum in found.minima) == (found.index >= 0).sum()


def test_the_eigenvalues_of_a_minimum_are_its_second_derivatives(random):
    found = find_minima(neuron(2), auer_rows(2), starts=random.uniform(-8, 8, size=(200, 2)))
    step = 1e-3
    for minimum in found.minima:
        second = [
            (on_one_axis(w + step) - 2 * on_one_axis(w) + on_one_axis(w - step)) / step**2 for w in minimum.weights
        ]
        np.testing.assert_allclose(minimum.eigenvalues, np.sort(second)[::-1], rtol=2e-2)
        assert minimum.flat == 0
        assert minimum.gradient_norm < 1e-9


def test_hidden_units_in_another_order_or_with_both_signs_turned_are_no_other_minimum(random):
    network = Network((1, 3, 1))
    x = np.linspace(-2, 2, 40)[:, None]
    rows = InMemory(x, np.sin(2 * x) + 0.3 * x**2)
    found = find_minima(network, rows, LevenbergMarquardt(), starts=60, max_iter=500, alpha=1e-3)
    lowest = found.minima[0]
    mine = np.flatnonzero(found.index == 0)
    signs = {tuple(np.sign(found.ends.weights[i][:3])) for i in mine}
    assert len(signs) > 1
    assert lowest.count == len(mine)
    errors = np.array([minimum.penalised_error for minimum in found.minima])
    assert (np.diff(errors) > 0).all()


def test_with_weight_decay_the_penalised_error_is_what_is_lowest(random):
    rows = InMemory(random.normal(size=(30, 2)), random.normal(size=(30, 1)))
    line = Network((2, 1), bias=False)
    (minimum,) = find_minima(line, rows, starts=5, alpha=2.0).minima
    square = rows.x.T @ rows.x + 2 * np.eye(2)
    weights = np.linalg.solve(square, rows.x.T @ rows.y)[:, 0]
    np.testing.assert_allclose(minimum.weights, weights, rtol=1e-9)
    np.testing.assert_allclose(minimum.eigenvalues, np.linalg.eigvalsh(square)[::-1], rtol=1e-10)
    r = rows.x @ weights - rows.y[:, 0]
    assert minimum.error == pytest.approx(0.5 * r @ r, rel=1e-12)
    assert minimum.penalised_error == pytest.approx(0.5 * r @ r + weights @ weights, rel=1e-12)


def test_weights_that_the_rows_do_not_determine_are_flat_directions(random):
    x = random.normal(size=(30, 2))
    rows = InMemory(np.column_stack([x, x.sum(axis=1)]), x[:, :1])
    found = find_minima(Network((3, 1), bias=False), rows, starts=20)
    assert [minimum.flat for minimum in found.minima] == [1]
    assert "1 of 3 weight combinations does not affect the fit" in str(found)


def test_weights_beside_the_starts_find_their_place_and_are_not_counted(random):
    lowest, higher = sorted(AXIS, key=lambda each: each.fun)
    beside = np.array([[higher.x + 0.1], [lowest.x], [lowest.x - 0.2]])
    starts = random.uniform(-1, 6, (20, 1))
    found = find_minima(neuron(1), auer_rows(1), starts=starts, beside=beside)
    alone = find_minima(neuron(1), auer_rows(1), starts=starts)
    np.testing.assert_array_equal(found.beside, [1, 0, 0])
    np.testing.assert_allclose(found.beside_error, [on_one_axis(w) for w in beside[:, 0]], rtol=1e-12)
    np.testing.assert_array_equal(found.index, alone.index)
    assert [each.count for each in found.minima] == [each.count for each in alone.minima]


def test_a_minimum_that_only_weights_beside_the_starts_are_in_has_no_start():
    lowest, higher = sorted(AXIS, key=lambda each: each.fun)
    found = find_minima(neuron(1), auer_rows(1), starts=[[lowest.x]], beside=[higher.x])
    assert [each.count for each in found.minima] == [1, 0]
    np.testing.assert_array_equal(found.beside, [1])


def test_with_weight_decay_the_error_beside_is_the_penalised_one():
    found = find_minima(neuron(1), auer_rows(1), starts=[[0.1]], beside=[0.3], alpha=0.5)
    np.testing.assert_allclose(found.beside_error, [on_one_axis(0.3) + 0.25 * 0.3**2], rtol=1e-12)


def test_weights_that_grow_for_ever_are_no_minimum():
    rows = InMemory(np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]]))  # a sigmoid never reaches 1
    found = find_minima(neuron(1), rows, starts=np.array([[0.5], [3.0]]))
    assert found.minima == ()
    assert found.index.tolist() == [-1, -1]
    assert "2 starts reached none" in str(found)


def test_a_start_on_a_saddle_is_in_no_basin():
    x = np.linspace(-1, 1, 20)[:, None]
    network = Network((1, 2, 1), bias=False)
    found = find_minima(network, InMemory(x, np.tanh(2 * x) - 0.4 * x), GradientDescent(0.1), starts=np.zeros((1, 4)))
    assert found.index.tolist() == [-1]


def test_a_walk_that_is_cut_short_belongs_to_its_minimum_and_has_not_arrived():
    starts = np.array([[7.0], [-3.0], [AXIS[0].x]])
    found = find_minima(neuron(1), auer_rows(1), GradientDescent(0.02), starts=starts, max_iter=3)
    assert found.index.tolist() == [1, 0, 0]
    assert found.arrived.tolist() == [False, False, True]


@pytest.fixture(scope="module")
def basins():
    return find_basins(
        neuron(2), auer_rows(2),
        {"plain": GradientDescent(0.15), "momentum": GradientDescent(0.15, 0.9)},
        extent=(-3, 9, -3, 9), points=(25, 17), max_iter=500,
    )  # fmt: skip


def test_each_start_of_the_grid_has_the_basin_it_has_alone(basins):
    at = [(0, 0), (16, 24), (5, 20), (9, 3)]
    for name, descent in (("plain", GradientDescent(0.15)), ("momentum", GradientDescent(0.15, 0.9))):
        starts = np.array([[basins.first[j], basins.second[i]] for i, j in at])
        alone = find_minima(neuron(2), auer_rows(2), descent, starts=starts, max_iter=500)
        ends = [alone.minima[k].error for k in alone.index]
        there = [basins.minima[basins.index[name][i, j]].error for i, j in at]
        np.testing.assert_allclose(there, ends, rtol=1e-6)


def test_the_error_is_separable_so_a_basin_is_a_product_of_intervals(basins):
    index = basins.index["plain"]
    lower = np.array([minimum.weights for minimum in basins.minima]) < 2  # which of the two on each axis
    by_axis = lower[index]  # (b, a, 2)
    assert (by_axis[..., 0] == by_axis[:1, :, 0]).all()
    assert (by_axis[..., 1] == by_axis[:, :1, 1]).all()
    assert 0 < by_axis[..., 0].mean() < 1


def test_counts_and_whom_momentum_saves_agree_with_the_minima(basins):
    assert len(basins.minima) == 4
    for name in ("plain", "momentum"):
        assert basins.counts(name).sum() == 25 * 17
    total = basins.counts("plain") + basins.counts("momentum")
    assert total.tolist() == [minimum.count for minimum in basins.minima]
    saved = basins.saved("momentum", "plain")
    energy = np.array([minimum.error for minimum in basins.minima])
    np.testing.assert_array_equal(
        saved > 0, basins.index["momentum"] < basins.index["plain"]
    )  # the lowest minimum is number 0
    change = energy[basins.index["momentum"]] - energy[basins.index["plain"]]
    assert (change[saved > 0] <= 1e-9).all()
    np.testing.assert_array_equal(basins.saved("plain", "momentum"), -saved)
    assert basins.comparison("momentum", "plain") == (
        f"Of 425 starts, {np.sum(basins.index['plain'] != 0)} end above the lowest minimum with plain; with momentum, "
        f"{(saved > 0).sum()} end in a lower minimum than with plain and {(saved < 0).sum()} in a higher one."
    )


def test_without_an_extent_the_map_shows_the_minima(random):
    basins = find_basins(neuron(2), auer_rows(2), GradientDescent(0.05), points=5, max_iter=50)
    for low in AXIS:
        assert basins.first[0] < low.x < basins.first[-1]
        assert basins.second[0] < low.x < basins.second[-1]


def test_basins_lie_on_any_plane(random):
    plane = Plane(np.full(3, 1.0), np.array([1.0, 0, 0]), np.array([0, 1.0, 1.0]))
    basins = find_basins(
        neuron(3), auer_rows(3), {"plain": GradientDescent(0.05)}, plane, extent=(-3, 5, -3, 5), points=4
    )
    assert basins.index["plain"].shape == (4, 4)
    weights = np.array([minimum.weights for minimum in basins.minima])
    ends = weights[basins.index["plain"]]
    np.testing.assert_array_equal(ends[..., 1] < 2, ends[..., 2] < 2)  # started alike, they end alike


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, r: find_minima(m, r, starts=0), SettingsError, "from 1 up"),
        (lambda m, r: find_minima(m, r, starts=np.ones((3, 5))), ShapeError, "one row of 2 weights"),
        (lambda m, r: find_minima(m, r, starts=1, beside=[1.0]), ShapeError, "give 2 finite numbers for each"),
        (lambda m, r: find_minima(m, r, starts=1, beside=[1.0, np.nan]), ShapeError, "2 finite numbers"),
        (lambda m, r: find_basins(m, r, {}), SettingsError, "at least one"),
        (lambda m, r: find_basins(m, r, {"a": GradientDescent(0.1)}, points=1), SettingsError, "from 2 up"),
        (lambda m, r: find_basins(m, r, {"a": GradientDescent(0.1)}, (0, 5)), SettingsError, "no weight 5"),
        (lambda m, r: find_basins(m, r, {"a": GradientDescent(0.1)}, extent=(0, 0, 1, 1)), SettingsError, "extent"),
        (lambda m, r: find_basins(m, r, {"a": GradientDescent(-1.0)}, extent=(0, 1, 0, 1)), SettingsError, "learning_rate"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call(neuron(2), auer_rows(2))
