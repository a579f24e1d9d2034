import numpy as np
import pytest

from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.fit.average import Starts, starts_of
from fallline.model.network import Network, mixed
from fallline.rows.memory import InMemory
from fallline.walk.loop import descend


def scattered(network, count, random):
    return random.normal(size=(count, network.n_weights))


@pytest.mark.parametrize(
    "network",
    [Network((3, 4, 2)), Network((3, 4, 5, 2), "relu"), Network((2, 3, 2, 3, 1), bias=False), Network((3, 2))],
    ids=str,
)
def test_the_mean_of_networks_is_one_network(network, random):
    weights, x = scattered(network, 3, random), random.normal(size=(20, network.inputs))
    wide, mean = mixed([(network, each, 1 / len(weights)) for each in weights])
    expected = np.mean([network.predict(each, x) for each in weights], axis=0)
    np.testing.assert_allclose(wide.predict(mean, x), expected, atol=1e-12)
    assert wide == network.side_by_side(3)


def test_behind_an_output_activation_the_mean_is_that_of_what_enters_it(random):
    network, plain = Network((2, 3, 1), "tanh", "logistic"), Network((2, 3, 1))
    weights, x = scattered(network, 4, random), random.normal(size=(20, 2))
    wide, mean = mixed([(network, each, 1 / len(weights)) for each in weights])
    entering = np.mean([plain.predict(each, x) for each in weights], axis=0)
    np.testing.assert_allclose(wide.predict(mean, x), 1 / (1 + np.exp(-entering)), atol=1e-12)


def test_the_error_of_a_mean_is_at_most_the_mean_of_the_errors(random):
    network, x, y = Network((2, 3, 1)), random.normal(size=(30, 2)), random.normal(size=(30, 1))
    weights = scattered(network, 5, random)
    wide, mean = mixed([(network, each, 1 / len(weights)) for each in weights])
    errors = [((network.predict(each, x) - y) ** 2).sum() for each in weights]
    assert ((wide.predict(mean, x) - y) ** 2).sum() < np.mean(errors)


@pytest.fixture
def paths(random):
    """Four walks on one curve: two starts that differ in the order and sign of their units, and two others."""
    network, x = Network((1, 2, 1)), np.linspace(-2, 2, 40)[:, None]
    rows = InMemory(x, np.sin(2 * x) + 0.05 * random.normal(size=x.shape))
    w = network.initial(3)
    mirrored = np.array([-w[1], w[0], -w[3], w[2], -w[5], w[4], w[6]])
    begins = [w, mirrored, network.initial(0), network.initial(9)]
    return rows, [
        descend(network, rows, LevenbergMarquardt(), weights=each, alpha=1e-3, max_iter=300) for each in begins
    ]


def test_starts_that_end_in_one_minimum_are_counted_together(paths):
    rows, walks = paths
    starts = starts_of(walks[0].model, rows, walks)
    assert starts[0].minimum == starts[1].minimum
    assert sum(count for count, _ in starts.minima) == 4
    lowest = [start.penalised_error for _, start in starts.minima]
    assert lowest == sorted(lowest)
    assert starts.shown == int(np.argmin([start.penalised_error for start in starts]))
    np.testing.assert_allclose(starts[2].error, walks[2].error[-1])


def test_a_judge_shows_the_start_it_likes_best(random):
    network, x = Network((1, 2, 1)), random.normal(size=(30, 1))
    rows, others = InMemory(x[:20], x[:20] ** 2), InMemory(x[20:], x[20:] ** 2)
    walks = [
        descend(network, rows, seed=seed, max_iter=5, watched={"validation": others}, judge="validation")
        for seed in range(3)
    ]
    starts = starts_of(network, rows, walks, "validation")
    errors = [((network.predict(start.weights, others.x) - others.y) ** 2).sum() for start in starts]
    assert starts.shown == int(np.argmin(errors))


def test_starts_go_into_arrays_and_back(paths):
    rows, walks = paths
    starts = starts_of(walks[0].model, rows, walks)
    back = Starts.from_arrays(starts.network, starts.to_arrays(), starts.shown)
    told, again = starts.to_dict(), back.to_dict()
    assert list(told) == list(again)
    assert [np.array_equal(told[name], again[name], equal_nan=told[name].dtype.kind == "f") for name in told] == [
        True
    ] * 10
    np.testing.assert_array_equal(back.weights, starts.weights)


@pytest.mark.parametrize(
    ("name", "wrong"), [("weights", np.ones((4, 3))), ("error", np.ones(3)), ("stop", np.full(4, np.nan))]
)
def test_arrays_that_are_no_starts_are_refused(name, wrong, paths):
    rows, walks = paths
    starts = starts_of(walks[0].model, rows, walks)
    with pytest.raises(ValueError, match=f"{name} of the starts"):
        Starts.from_arrays(starts.network, starts.to_arrays() | {name: wrong}, 0)


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_a_frame_has_a_row_for_each_start(backend, paths):
    rows, walks = paths
    frame = starts_of(walks[0].model, rows, walks).to_frame(backend)
    assert frame.shape == (4, 10)
