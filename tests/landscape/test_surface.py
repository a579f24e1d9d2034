import numpy as np
import pytest

from fallline import Curve, GradientDescent, LevenbergMarquardt, Plane, descend, error_surface
from fallline.exceptions import SettingsError, ShapeError
from fallline.landscape.evaluate import errors_at, errors_on
from fallline.model.network import Network
from fallline.rows.memory import InMemory

NEURON = Network((2, 1), output_activation="logistic", bias=False)


class Wave:
    """A model that is no Network: ŷ = a sin(x) + b."""

    n_weights, inputs, outputs = 2, 1, 1

    def initial(self, seed=None):
        return np.zeros(2)

    def penalised(self):
        return np.ones(2, bool)

    def regularised(self):
        return np.zeros(2, bool)

    def predict(self, weights, x):
        return weights[0] * np.sin(x) + weights[1]


def by_hand(model, rows, plane, points, strength):
    """E, or the penalised error, at each point (m, 2) by NumPy alone."""
    s = np.ones(len(rows.x)) if rows.sample_weight is None else rows.sample_weight
    weights = [plane.at(point) for point in points]
    squares = [s @ ((model.predict(w, rows.x) - rows.y) ** 2).sum(axis=1) for w in weights]
    return np.array([0.5 * e + 0.5 * strength @ w**2 for e, w in zip(squares, weights, strict=True)])


@pytest.mark.parametrize(
    "model",
    [
        NEURON,
        Network((3, 10, 1)),
        Network((3, 4, 5, 2), "relu", "logistic"),
        Network((2, 3), bias=False),
        Network((1, 7, 1), "softplus"),
        Wave(),
    ],
    ids=["neuron", "one hidden layer", "two hidden layers", "linear", "softplus", "another model"],
)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain rows", "weights of rows"])
def test_every_point_has_the_error_that_numpy_finds_there(model, weighted, random):
    x, y = random.normal(size=(731, model.inputs)), random.normal(size=(731, model.outputs))
    rows = InMemory(x, y, random.integers(0, 3, 731) if weighted else None)
    plane = Plane(*random.normal(size=(3, model.n_weights))[:, :])
    strength = random.uniform(size=model.n_weights) * weighted
    points = random.normal(size=(300, 2))  # more than one thread takes at a time
    found = errors_on(model, rows, plane, points, strength)
    np.testing.assert_allclose(found, by_hand(model, rows, plane, points, strength), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 40], ids="{} points".format)
def test_a_large_table_has_the_same_errors_in_threads(count, random):
    rows = InMemory(random.normal(size=(70_000, 3)), random.normal(size=(70_000, 1)))
    model = Network((3, 4, 1))
    plane = Plane(*random.normal(size=(3, model.n_weights)))
    points = random.normal(size=(count, 2))
    found = errors_on(model, rows, plane, points)
    np.testing.assert_allclose(found, by_hand(model, rows, plane, points, np.zeros(21)), rtol=1e-12)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_errors_have_the_same_bits_whatever_the_number_of_threads(threads, random, monkeypatch):
    rows, model = InMemory(random.normal(size=(90, 3)), random.normal(size=(90, 1))), Network((3, 4, 1))
    plane, points = Plane(*random.normal(size=(3, model.n_weights))), random.normal(size=(300, 2))
    monkeypatch.setattr("fallline.threads.processors", lambda: 1)
    alone = errors_on(model, rows, plane, points)
    monkeypatch.setattr("fallline.threads.processors", lambda: threads)
    monkeypatch.setattr("fallline.landscape.evaluate.processors", lambda: threads)
    np.testing.assert_array_equal(errors_on(model, rows, plane, points), alone)


def test_no_points_have_no_errors(random):
    rows = InMemory(random.normal(size=(20, 2)), random.normal(size=(20, 1)))
    assert errors_on(NEURON, rows, Plane(np.zeros(2), *np.eye(2)), np.zeros((0, 2))).shape == (0,)


def test_errors_anywhere_are_those_that_numpy_finds_there(random):
    rows = InMemory(random.normal(size=(99, 2)), random.normal(size=(99, 1)), random.integers(0, 3, 99))
    weights, strength = 3.0 * random.normal(size=(9, 2)), np.array([0.5, 2.0])
    expected = by_hand(NEURON, rows, Plane(np.zeros(2), *np.eye(2)), weights, strength)
    np.testing.assert_allclose(errors_at(NEURON, rows, weights, strength), expected, rtol=1e-12)


def test_rows_in_single_precision_are_summed_in_single_precision_and_lose_no_more(random):
    rows = InMemory(random.normal(size=(999, 2)).astype("f4"), random.normal(size=(999, 1)).astype("f4"))
    plane = Plane(*random.normal(size=(3, 2)))
    points = random.normal(size=(9, 2))
    found = errors_on(NEURON, rows, plane, points)
    np.testing.assert_allclose(found, by_hand(NEURON, rows, plane, points, np.zeros(2)), rtol=1e-6)


def test_an_error_that_is_no_number_is_infinite(random):
    rows = InMemory(random.normal(size=(20, 1)), random.normal(size=(20, 1)))
    line = Network((1, 1))
    plane = Plane(np.zeros(2), *np.eye(2))
    found = errors_on(line, rows, plane, [[0.0, 0.0], [1e200, 0.0], [1e308, -1e308]])
    assert np.isfinite(found[0])
    np.testing.assert_array_equal(found[1:], np.inf)


@pytest.fixture
def neuron_rows(random):
    """Rows of one sigmoid neuron of weights 2 and −1, without noise."""
    x = random.normal(size=(100, 2))
    return InMemory(x, NEURON.predict(np.array([2.0, -1.0]), x))


@pytest.fixture
def four_paths(neuron_rows):
    descents = {
        "plain": GradientDescent(2.0),
        "momentum": GradientDescent(2.0, 0.9),
        "Nesterov": GradientDescent(2.0, 0.9, nesterov=True),
        "Levenberg-Marquardt": LevenbergMarquardt(),
    }
    return {
        name: descend(NEURON, neuron_rows, descent, weights=[-0.5, -5.0], max_iter=60)
        for name, descent in descents.items()
    }


def test_the_map_of_two_weights_shows_start_ways_and_minimum(neuron_rows, four_paths):
    surface = error_surface(four_paths, neuron_rows, points=41)
    assert surface.plane.labels == ("weight x1->y1", "weight x2->y1")
    np.testing.assert_allclose(surface.minimum.coordinates, [2.0, -1.0], atol=1e-6)
    assert surface.minimum.error == pytest.approx(0, abs=1e-12)
    assert surface.local_minima == ()
    assert [track.name for track in surface.tracks] == list(four_paths)
    for track, path in zip(surface.tracks, four_paths.values(), strict=True):
        np.testing.assert_allclose(track.coordinates, path.weights, atol=1e-12)
        np.testing.assert_allclose(track.plane_error, path.error, rtol=1e-9, atol=1e-12)
        low, high = track.coordinates.min(axis=0), track.coordinates.max(axis=0)
        assert surface.first[0] < low[0]
        assert high[0] < surface.first[-1]
        assert surface.second[0] < low[1]
        assert high[1] < surface.second[-1]
        assert track.in_plane
    assert surface.fidelity == "The plane contains every way: the error drawn is their own."
    assert not surface.penalised
    assert surface.n_rows == 100


def test_the_grid_holds_the_error_at_its_own_coordinates(neuron_rows, four_paths):
    surface = error_surface(four_paths["plain"], neuron_rows, points=(7, 5), extent=(-1, 3, -4, 2))
    assert surface.error.shape == (5, 7)
    assert surface.first[[0, -1]].tolist() == [-1, 3]
    assert surface.second[[0, -1]].tolist() == [-4, 2]
    at = np.array([surface.first[2], surface.second[4]])
    assert surface.error[4, 2] == pytest.approx(
        0.5 * np.sum((NEURON.predict(at, neuron_rows.x) - neuron_rows.y) ** 2), rel=1e-12
    )


def test_with_weight_decay_the_penalised_error_is_shown_unless_the_error_is_asked_for(neuron_rows):
    path = descend(NEURON, neuron_rows, weights=[1.0, 1.0], alpha=0.5, max_iter=50)
    penalised = error_surface(path, neuron_rows, points=11, extent=(0, 3, -2, 1))
    alone = error_surface(path, neuron_rows, points=11, extent=(0, 3, -2, 1), penalised=False)
    first, second = np.meshgrid(penalised.first, penalised.second)
    np.testing.assert_allclose(penalised.error - alone.error, 0.25 * (first**2 + second**2), rtol=1e-9)
    assert (penalised.what, alone.what) == ("penalised error", "error E")
    np.testing.assert_allclose(penalised.minimum.coordinates, path.best_weights, atol=1e-5)
    assert penalised.minimum.error == pytest.approx(path.penalised_error.min(), rel=1e-9)


def auer_rows(d):
    """Two rows on each axis, far apart in size: two minima an axis, and E is a sum over the axes."""
    x, y = np.zeros((2 * d, d)), np.zeros((2 * d, 1))
    for axis in range(d):
        x[2 * axis, axis], y[2 * axis] = 10, 0.3
        x[2 * axis + 1, axis], y[2 * axis + 1] = 0.5, 0.9
    return InMemory(x, y)


def test_all_local_minima_of_the_map_are_found():
    surface = error_surface(NEURON, auer_rows(2), at=[1.0, 1.0], extent=(-4, 10, -4, 10))
    each = 2 * np.log(9)  # exactly the weight that makes 0.9 of an input of 0.5
    found = np.array([surface.minimum.coordinates, *(low.coordinates for low in surface.local_minima)])
    assert len(found) == 4
    # On an axis dE/dw = 0 at two places; one is near the weight that gives 0.3 of 10, one near that which gives 0.9 of 0.5.
    near = {(round(a), round(b)) for a, b in found}
    assert near == {(0, 0), (0, 4), (4, 0), (4, 4)}
    assert np.abs(found.max() - each) < 0.01


@pytest.fixture
def many(random):
    """Rows, a network of 13 weights, and a path of it."""
    x = random.normal(size=(80, 2))
    rows = InMemory(x, np.sin(2 * x[:, :1]) * x[:, 1:])
    return rows, descend(Network((2, 3, 1)), rows, GradientDescent(0.05), seed=4, max_iter=40)


def test_of_many_weights_the_plane_says_what_it_holds_of_the_way(many):
    rows, path = many
    surface = error_surface(path, rows, points=15)
    (track,) = surface.tracks
    values = np.linalg.svd(path.weights - path.weights[-1], compute_uv=False) ** 2
    assert track.share == pytest.approx(values[:2].sum() / values.sum(), rel=1e-6)
    assert not track.in_plane
    np.testing.assert_allclose(track.error, path.error, rtol=1e-12)
    np.testing.assert_allclose(
        track.plane_error,
        [0.5 * np.sum((path.model.predict(surface.plane.at(c), rows.x) - rows.y) ** 2) for c in track.coordinates],
        rtol=1e-12,
    )
    away = path.weights - surface.plane.at(track.coordinates)
    np.testing.assert_allclose(track.away, np.linalg.norm(away, axis=1), atol=1e-12)
    factor = track.plane_error[0] / track.error[0]
    assert surface.fidelity == (
        f"The plane holds {100 * track.share:.3g} % of the way; the error drawn under it is the plane's: "
        f"{factor:.3g} times the true error at its start and the true error at its best point."
    )


@pytest.mark.parametrize("plane", ["random", "curvature", ("x1->h1", "h1->y1"), "path"], ids=str)
def test_the_lowest_point_of_the_map_is_a_minimum_in_its_plane(plane, many):
    rows = many[0]
    path = descend(many[1].model, rows, LevenbergMarquardt(), seed=4, max_iter=60, alpha=0.01)
    surface = error_surface(path, rows, plane, points=21)
    assert surface.minimum is not None
    assert surface.minimum.error <= surface.error.min()
    span = np.array([np.ptp(surface.first), np.ptp(surface.second)])
    around = surface.minimum.coordinates + 1e-3 * span * np.array(
        [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1], [1, -1], [-1, 1]]
    )
    assert (errors_on(path.model, rows, surface.plane, around, path.strength) > surface.minimum.error).all()


def test_where_the_error_falls_towards_an_edge_there_is_no_minimum_on_the_map(neuron_rows):
    surface = error_surface(NEURON, neuron_rows, at=[0.0, 0.0], extent=(-3, 0, -1, 1), points=31)
    assert surface.minimum is None
    assert surface.lowest == surface.error.min()


def test_a_map_of_other_rows_says_so(many):
    rows, path = many
    surface = error_surface(path, InMemory(rows.x[:50], rows.y[:50]), points=5)
    assert surface.fidelity.startswith("The rows of this map are not those of the way")


def test_a_path_that_runs_along_a_line_is_given_room(neuron_rows):
    rows = InMemory(np.stack([neuron_rows.x[:, 0], 0 * neuron_rows.x[:, 0]], axis=1), neuron_rows.y)
    surface = error_surface(descend(NEURON, rows, weights=[0.0, 0.0], max_iter=9), rows, points=9)
    assert np.ptp(surface.second) > 0.1 * np.ptp(surface.first)


def test_a_long_path_keeps_its_ends_and_its_best_point(neuron_rows):
    path = descend(NEURON, neuron_rows, GradientDescent(0.5), weights=[-0.5, -5.0], max_iter=9000)
    (track,) = error_surface(path, neuron_rows, points=5).tracks
    assert len(track.steps) <= 2000
    assert {0, path.best_step, 9000} <= set(track.steps)
    np.testing.assert_allclose(track.coordinates, path.weights[track.steps])


def test_levels_are_spaced_for_valley_and_slopes_where_the_error_spans_decades(neuron_rows, four_paths):
    surface = error_surface(four_paths["plain"], neuron_rows, points=51)
    levels = surface.levels(12)
    assert levels[0] == surface.lowest
    assert levels[-1] == surface.error.max()
    ratios = np.diff(np.log(levels[1:] - levels[0]))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
    share = np.mean(surface.error < levels[1])
    assert 0 < share < 0.02


def test_levels_are_even_where_the_error_spans_little(random):
    line = Network((2, 1), bias=False)
    rows = InMemory(random.normal(size=(50, 2)), random.normal(size=(50, 1)))
    surface = error_surface(line, rows, at=[40.0, 40.0], extent=(39, 41, 39, 41), points=9)
    steps = np.diff(surface.levels(10))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_a_flat_surface_has_ascending_levels_all_the_same():
    dead = Network((1, 1, 1), "relu")
    surface = error_surface(dead, (np.ones((3, 1)), np.ones((3, 1))), (0, 1), at=[0, -9, 0, 0], extent=(-1, 1, -9, -8))
    assert (np.diff(surface.levels()) > 0).all()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"plane": "hill"}, SettingsError, "plane='hill' is not known: choose 'auto'"),
        ({"plane": ("x1->y1", "x7->y1")}, SettingsError, "no weight 'x7->y1'"),
        ({"extent": (1, 0, 0, 1)}, SettingsError, "each low below its high"),
        ({"extent": (0, 1)}, SettingsError, "extent="),
        ({"points": 1}, SettingsError, "from 2 up"),
        ({"points": 2.5}, SettingsError, "from 2 up"),
        ({"at": [1.0]}, ShapeError, "one number for each of 2 weights"),
        ({"at": [np.nan, 1.0]}, SettingsError, "finite weights"),
        ({"plane": Plane(np.zeros(3), *np.eye(2, 3))}, ShapeError, "space of 3 weights"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(given, error, message, neuron_rows, four_paths):
    with pytest.raises(error, match=message):
        error_surface(four_paths["plain"], neuron_rows, **given)


def test_paths_of_different_models_or_penalties_are_refused(neuron_rows, four_paths, many):
    with pytest.raises(SettingsError, match="different models"):
        error_surface([four_paths["plain"], many[1]], neuron_rows)
    decayed = descend(NEURON, neuron_rows, weights=[1.0, 1.0], alpha=0.5, max_iter=3)
    with pytest.raises(SettingsError, match="penalised=False"):
        error_surface([four_paths["plain"], decayed], neuron_rows)


@pytest.mark.parametrize("of", [{}, [1], "path", None], ids=str)
def test_what_is_no_path_is_refused(of, neuron_rows):
    with pytest.raises(SettingsError, match="path"):
        error_surface(of, neuron_rows)


def test_a_model_without_weights_to_look_around_has_a_plane_of_weights_only(neuron_rows):
    assert error_surface(NEURON, neuron_rows, points=5).minimum is not None
    with pytest.raises(SettingsError, match="give at=weights"):
        error_surface(Network((2, 3, 1)), neuron_rows)


def test_the_window_of_a_curve_is_as_large_along_each_parameter_as_its_path():
    x = np.linspace(0, 3000, 40)[:, None]
    rows = InMemory(x, 238 * (1 - np.exp(-5.5e-4 * x)) + 0.5 * np.sin(x))
    path = descend(
        Curve("a*(1 - exp(-b*x))"), rows, LevenbergMarquardt.for_curves(), weights=[500.0, 1e-4], max_iter=60
    )
    surface = error_surface(path, rows)
    spans = np.ptp(path.weights, axis=0)
    sides = np.ptp(surface.first), np.ptp(surface.second)
    np.testing.assert_array_less(sides, 2.5 * spans)
    assert np.isfinite(surface.error).all()
    np.testing.assert_allclose(surface.minimum.coordinates, path.best_weights, rtol=1e-5)
    alone = error_surface(path.model, rows, at=path.best_weights)
    low, high = np.array([alone.first[[0, -1]], alone.second[[0, -1]]]).T
    assert ((low > 0) & (high < 2 * path.best_weights)).all()
