import numpy as np
import pytest

from fallline import Plane
from fallline.exceptions import SettingsError, ShapeError
from fallline.landscape.hessian import hessian
from fallline.model.network import Network
from fallline.rows.memory import InMemory

NETWORK = Network((2, 3, 1))  # 13 weights


@pytest.fixture
def slanted(random):
    """A plane whose directions are neither orthogonal nor of one length."""
    origin, first, second = random.normal(size=(3, 13))
    return Plane(origin, 0.01 * first, 100 * (second + first))


def test_coordinates_are_those_of_the_point(slanted, random):
    coordinates = random.normal(size=(4, 5, 2))
    np.testing.assert_allclose(slanted.coordinates(slanted.at(coordinates)), coordinates, rtol=1e-9)
    assert np.abs(slanted.distance(slanted.at(coordinates))).max() < 1e-9


def test_a_point_outside_is_laid_on_the_nearest_point_of_the_plane(slanted, random):
    points = random.normal(size=(6, 13))
    directions = np.stack([slanted.first, slanted.second], axis=1)
    nearest, *_ = np.linalg.lstsq(directions, (points - slanted.origin).T, rcond=None)
    left = points - slanted.origin - (directions @ nearest).T
    np.testing.assert_allclose(slanted.distance(points), np.linalg.norm(left, axis=1), rtol=1e-9)


def test_the_coordinates_of_two_named_weights_are_these_weights(random):
    weights = random.normal(size=13)
    plane = Plane.of_weights(NETWORK, ("x2->h1", 12), at=weights)
    np.testing.assert_allclose(plane.coordinates(weights), weights[[3, 12]], rtol=1e-14)
    moved = plane.at([7.0, -8.0])
    np.testing.assert_array_equal(moved[[3, 12]], [7.0, -8.0])
    np.testing.assert_array_equal(np.delete(moved, [3, 12]), np.delete(weights, [3, 12]))
    assert plane.labels == ("weight x2->h1", "weight bias->y1")


def test_a_random_direction_is_as_long_as_the_weights_of_every_neuron():
    weights = NETWORK.initial(3)
    weights[[0, 3, 6]] = 0.0  # all that leads into the first hidden unit
    plane = Plane.at_random(NETWORK, weights, seed=5)
    for direction in (plane.first, plane.second):
        hidden, output = NETWORK.layers(direction)
        own_hidden, own_output = NETWORK.layers(weights)
        of = np.linalg.norm(np.vstack([hidden.coef, hidden.intercept]), axis=0)
        np.testing.assert_allclose(
            of, np.linalg.norm(np.vstack([own_hidden.coef, own_hidden.intercept]), axis=0), rtol=1e-12
        )
        np.testing.assert_allclose(
            np.linalg.norm([*output.coef[:, 0], output.intercept[0]]),
            np.linalg.norm([*own_output.coef[:, 0], own_output.intercept[0]]),
        )


def test_the_same_seed_gives_the_same_random_plane_and_another_another():
    weights = NETWORK.initial(3)
    one, again, other = (Plane.at_random(NETWORK, weights, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.first, again.first)
    assert np.abs(one.first - other.first).max() > 0.1


@pytest.mark.parametrize("points", [9, 40], ids=["fewer points than weights", "more points than weights"])
def test_the_plane_of_a_path_holds_what_the_first_two_singular_values_hold(points, random):
    weights = np.cumsum(random.normal(size=(points, 13)), axis=0)
    plane = Plane.of_path(weights)
    values = np.linalg.svd(weights - weights[-1], compute_uv=False)
    assert plane.share(weights) == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-10)
    np.testing.assert_allclose(plane.at([0.0, 0.0]), weights[-1])
    np.testing.assert_allclose(
        [plane.first @ plane.first, plane.first @ plane.second, plane.second @ plane.second], [1, 0, 1], atol=1e-12
    )


def test_the_plane_of_a_path_names_the_shares_of_its_directions(random):
    weights = np.zeros((5, 13))
    weights[:, 0] = [4, 3, 2, 1, 0]
    weights[:, 1] = [0, 2, 0, 2, 0]
    values = np.linalg.svd(weights, compute_uv=False) ** 2
    first = Plane.of_path(weights).labels[0]
    assert first == f"first principal direction ({100 * values[0] / values.sum():.3g} %)"


def test_a_straight_path_gets_a_direction_across():
    weights = np.outer([3.0, 2.0, 0.0], np.arange(13.0))
    plane = Plane.of_path(weights)
    assert plane.labels == ("direction of the path (100 %)", "direction across the path")
    assert plane.first @ plane.second == pytest.approx(0, abs=1e-12)
    assert plane.share(weights) == pytest.approx(1, abs=1e-12)


def test_the_plane_of_curvature_has_the_first_and_the_last_eigenvector(random):
    rows = InMemory(random.normal(size=(40, 2)), random.normal(size=(40, 1)))
    weights, strength = random.normal(size=13), np.linspace(0, 1, 13)
    plane = Plane.of_curvature(NETWORK, rows, weights, strength)
    square = hessian(NETWORK, rows, weights, strength)
    values = np.linalg.eigvalsh(square)
    assert plane.first @ square @ plane.first == pytest.approx(values[-1], rel=1e-10)
    assert plane.second @ square @ plane.second == pytest.approx(values[0], rel=1e-8)
    assert plane.labels[0] == f"stiffest direction (λ = {values[-1]:.3g})"


def test_the_plane_through_three_points_contains_them(random):
    points = random.normal(size=(3, 13))
    plane = Plane.through(points, ("A", "B", "C"))
    assert np.abs(plane.distance(points)).max() < 1e-12
    np.testing.assert_allclose(plane.coordinates(points)[:2], [[0, 0], [1, 0]], atol=1e-12)
    assert plane.first @ plane.second == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(plane.first) == pytest.approx(np.linalg.norm(plane.second))


def test_points_that_are_all_the_same_lie_in_every_plane(slanted, random):
    assert slanted.share(np.tile(random.normal(size=13), (4, 1))) == 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Plane(np.zeros(3), np.ones(3), 2 * np.ones(3)), SettingsError, "parallel"),
        (lambda: Plane(np.zeros(3), np.ones(3), np.zeros(3)), SettingsError, "not zero"),
        (lambda: Plane(np.zeros(3), np.ones(3), np.full(3, np.nan)), SettingsError, "finite"),
        (lambda: Plane(np.zeros(3), np.ones(3), np.ones(4)), ShapeError, "same length"),
        (lambda: Plane.of_weights(NETWORK, ("x1->h1", "x9->h1")), SettingsError, "no weight 'x9->h1'.*x1->h1"),
        (lambda: Plane.of_weights(NETWORK, (0, 13)), SettingsError, "number 0 to 12"),
        (lambda: Plane.of_weights(NETWORK, (0, "x1->h1")), SettingsError, "named twice"),
        (lambda: Plane.of_weights(NETWORK, (0, 1, 2)), SettingsError, "3 were named"),
        (lambda: Plane.of_path(np.ones((4, 13))), SettingsError, "one point only"),
        (lambda: Plane.at_random(NETWORK, np.zeros(13)), SettingsError, "all 0"),
        (lambda: Plane.through(np.outer([0, 1, 2], np.ones(13))), SettingsError, "on one line"),
        (lambda: Plane.through(np.ones((2, 13))), ShapeError, "three points"),
        (lambda: Plane(np.zeros(3), *np.eye(2, 3)).coordinates(np.ones(4)), ShapeError, "space of 3 weights"),
    ],
)  # fmt: skip
def test_what_makes_no_plane_is_refused_in_a_sentence(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("first", "second", "aspect"),
    [
        ([2.0, 0.0, 0.0], [0.0, 3.0, 4.0], 2.5),
        ([1.0, 1.0, 0.0], [1.0, -1.0, 0.0], 1.0),
        ([1.0, 0.0, 0.0], [0.1, 1.0, 0.0], None),
    ],
    ids=["of different length", "turned", "oblique"],
)
def test_the_aspect_is_the_ratio_of_lengths_where_directions_are_at_right_angles(first, second, aspect):
    assert Plane(np.zeros(3), first, second).aspect == (aspect and pytest.approx(aspect, rel=1e-12))
