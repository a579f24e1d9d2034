import json
from pathlib import Path

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.descent.rprop import VARIANTS, Rprop
from fallline.exceptions import SettingsError
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend

# Iterates of torch.optim.Rprop, written by make_torch_rprop.py.
TORCH = json.loads(Path(__file__).with_name("torch_rprop.json").read_text(encoding="utf-8"))

LINEAR = Network((2, 1), bias=False)
X = np.array([[2.0, 0.3], [0.0, 0.5], [2.0, 0.0], [0.4, 0.5]])
BEST = np.array([1.5, -2.0])
ROWS = InMemory(X, (X @ BEST)[:, None])
START = np.array([3.0, 1.0])


@pytest.fixture
def waves(random):
    x = random.normal(size=(60, 3))
    return InMemory(x, np.sin(2 * x[:, :2]) * x[:, 1:])


@pytest.mark.parametrize("name", TORCH["runs"])
def test_irprop_minus_walks_as_pytorch_does(name):
    run = TORCH["runs"][name]
    (decrease, increase), (smallest, largest) = run["settings"]["etas"], run["settings"]["step_sizes"]
    descent = Rprop("irprop-", increase, decrease, run["settings"]["lr"], smallest, largest)
    expected = np.array(run["weights"])
    rows = InMemory(TORCH["x"], TORCH["y"])
    path = descend(Network(tuple(TORCH["sizes"])), rows, descent, weights=expected[0], max_iter=len(expected) - 1)
    np.testing.assert_allclose(path.weights, expected, rtol=0, atol=1e-12)


def by_hand(variant, x, y, weights, steps):
    """Riedmiller & Braun (1993), sec. D, and Igel & Hüsken (2003), fig. 1 and 3, weight by weight, on a linear model."""
    at, size, moved = weights.copy(), np.full(len(weights), 0.1), np.zeros(len(weights))
    before, error_before, way = np.zeros(len(weights)), np.inf, [weights]
    for _ in range(steps):
        residual = x @ at - y
        error, gradient = 0.5 * residual @ residual, x.T @ residual
        for i in range(len(at)):
            if gradient[i] * before[i] > 0:
                size[i] = min(size[i] * 1.2, 50.0)
                moved[i] = -np.sign(gradient[i]) * size[i]
                at[i] += moved[i]
                before[i] = gradient[i]
            elif gradient[i] * before[i] < 0:
                size[i] = max(size[i] * 0.5, 1e-10)
                if variant == "rprop+" or error > error_before:
                    at[i] -= moved[i]
                before[i] = 0.0
            else:
                moved[i] = -np.sign(gradient[i]) * size[i]
                at[i] += moved[i]
                before[i] = gradient[i]
        error_before = error
        way.append(at.copy())
    return np.array(way)


@pytest.mark.parametrize("variant", ["rprop+", "irprop+"])
def test_the_variants_that_take_steps_back_walk_as_they_were_published(variant, random):
    x, y, start = random.normal(size=(30, 6)), random.normal(size=30), random.normal(size=6)
    path = descend(Network((6, 1), bias=False), InMemory(x, y[:, None]), Rprop(variant), weights=start, max_iter=60)
    np.testing.assert_allclose(path.weights, by_hand(variant, x, y, start, 60), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_arrives_at_the_minimum_of_a_bowl(variant):
    path = descend(LINEAR, ROWS, Rprop(variant), weights=START, max_iter=500)
    np.testing.assert_allclose(path.best_weights, BEST, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1e6], ids=["small", "large"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_neither_the_number_of_rows_nor_their_weight_changes_the_way(variant, scale, waves):
    network = Network((3, 4, 2))
    many = InMemory(waves.x, waves.y, sample_weight=np.full(len(waves.x), scale))
    one, other = (descend(network, rows, Rprop(variant), seed=1, max_iter=40) for rows in (waves, many))
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.error, scale * one.error, rtol=1e-10)


def test_row_weights_are_repetitions(waves, random):
    often = random.integers(0, 4, size=len(waves.x))
    network = Network((3, 4, 2))
    weighted = InMemory(waves.x, waves.y, sample_weight=often)
    repeated = InMemory(np.repeat(waves.x, often, axis=0), np.repeat(waves.y, often, axis=0))
    one, other = (descend(network, rows, Rprop(), seed=1, max_iter=40) for rows in (weighted, repeated))
    np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weight_decay_shrinks_to_the_ridge_solution(variant):
    path = descend(LINEAR, ROWS, Rprop(variant), weights=START, max_iter=1000, alpha=3.0)
    expected = np.linalg.solve(X.T @ X + 3.0 * np.eye(2), X.T @ ROWS.y)[:, 0]
    np.testing.assert_allclose(path.best_weights, expected, rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bad_start_is_left_with_finite_numbers(variant, waves):
    network = Network((3, 8, 2))
    path = descend(network, waves, Rprop(variant), weights=30 * network.initial(1), max_iter=2000)
    assert np.isfinite(path.weights).all()
    assert np.isfinite(path.error).all()
    assert path.error.min() < 0.05 * path.error[0]


def test_steps_beyond_what_numbers_can_hold_lead_back_to_the_lowest_point(random):
    network = Network((3, 20, 20, 20, 1), "relu")
    x = random.normal(size=(50, 3))
    path = descend(
        network, InMemory(x, x[:, :1]), Rprop(first_step=1e9, largest_step=1e10, decrease=0.1), seed=0, max_iter=300
    )
    assert path.n_passes > path.n_steps + 1  # a lost trial is a pass and not a step
    assert np.isfinite(path.error).all()
    assert path.error.min() < 0.5 * path.error[0]


def test_a_start_at_the_minimum_stops_at_once():
    path = descend(LINEAR, InMemory(X, np.zeros((4, 1))), Rprop(), weights=[0.0, 0.0], max_iter=50)
    assert (path.stop, path.n_steps) == (Stop.FLAT, 0)


def test_steps_below_the_rounding_of_the_weights_end_the_walk():
    path = descend(LINEAR, ROWS, Rprop(smallest_step=0.0), weights=START, max_iter=10_000, alpha=1.0)
    assert path.stop in (Stop.STALLED, Stop.FLAT)
    assert path.n_steps < 1000


def test_the_path_shows_the_mean_step_growing_while_the_signs_stay():
    path = descend(LINEAR, ROWS, Rprop(first_step=1e-4), weights=START, max_iter=4)
    np.testing.assert_allclose(path.shown["mean_step"], [1e-4, 1e-4, 1.2e-4, 1.44e-4, 1.728e-4], rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "rprop-"}, r"variant='rprop-' is not possible for Rprop: expected one of 'rprop\+', "),
        ({"increase": 0.9}, "increase=0.9 is not possible for Rprop: expected a number from 1"),
        ({"decrease": 0}, "decrease=0 is not possible.*above 0"),
        ({"decrease": 1.0}, "decrease=1.0"),
        ({"first_step": 0.0}, "first_step=0.0"),
        ({"smallest_step": -1e-6}, "smallest_step=-1e-06"),
        ({"largest_step": "wide"}, "largest_step='wide'"),
        ({"smallest_step": 2.0, "largest_step": 1.0}, "smallest_step=2.0.*larger than largest_step=1.0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(SettingsError, match=message):
        descend(LINEAR, ROWS, Rprop(**settings))
