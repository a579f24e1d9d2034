import numpy as np
import pytest

from fallline.columns import Scaling
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import SettingsError, TableError
from fallline.fit import FittedNetwork, choose_weight_decay, content_keys, divide, fit_network, hidden_sizes
from fallline.network import Network
from fallline.rows.memory import InMemory


def test_a_division_is_a_partition_in_the_shares_asked_for(random):
    parts = divide(200, 0.15, 0.15, random)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [140, 30, 30]
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(200))
    assert (np.diff(parts.train) > 0).all()


@pytest.mark.parametrize("shares", [(1.0, 0.0), (-0.1, 0.0), (0.6, 0.5), (0.5, 0.5)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares, random):
    with pytest.raises(SettingsError, match="leave rows to train on"):
        divide(100, *shares, random)


def test_too_few_rows_to_divide_are_refused(random):
    with pytest.raises(TableError, match="2 rows are too few to divide in three"):
        divide(2, 0.15, 0.15, random)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(20, (20,)), ((), ()), ([3, 4], (3, 4)), (np.array([5]), (5,)), (np.int64(7), (7,))],
)
def test_hidden_sizes_are_read_in_every_usual_form(given, expected):
    assert hidden_sizes(given) == expected


@pytest.mark.parametrize("given", ["20", (2.5,), (0,), (-3,), None, True, ("a",)])
def test_other_hidden_sizes_are_refused(given):
    with pytest.raises(SettingsError, match=r"such as \(20,\), or \(\) for none"):
        hidden_sizes(given)


def test_a_fit_does_not_depend_on_the_units_of_the_table(random):
    x = random.normal(size=(80, 2))
    y = np.tanh(x[:, :1]) + 0.1 * random.normal(size=(80, 1))
    units, settings = (
        np.array([1e4, 1e-3]),
        {"hidden_layer_sizes": (4,), "seed": 0, "alpha": 0.1, "max_iter": 40},
    )
    plain, _ = fit_network(x, y, **settings)
    other, _ = fit_network(x * units + 7 * units, 50 * y - 3, **settings)
    np.testing.assert_allclose(
        other.predict(x * units + 7 * units), 50 * plain.predict(x) - 3, rtol=1e-6, atol=1e-6
    )


def test_folded_layers_predict_in_the_users_units_by_hand(random):
    x, y = 100 + 9 * random.normal(size=(50, 3)), 1e6 * random.normal(size=(50, 2))
    fitted, _ = fit_network(
        x, y, hidden_layer_sizes=(4, 3), activation="softplus", alpha=1.0, seed=0, max_iter=5
    )
    (w1, b1), (w2, b2), (w3, b3) = fitted.layers
    hidden = np.log1p(np.exp(np.log1p(np.exp(x @ w1 + b1)) @ w2 + b2))
    np.testing.assert_allclose(hidden @ w3 + b3, fitted.predict(x), rtol=1e-9)


def test_predictions_in_blocks_are_the_predictions(random):
    network = Network((2, 3, 1))
    fitted = FittedNetwork(network, network.initial(0), Scaling.identity(2, 1))
    x = random.normal(size=(70_000, 2))
    np.testing.assert_allclose(fitted.predict(x), network.predict(fitted.weights, x), rtol=1e-12)
    assert fitted.predict(x[:0]).shape == (0, 1)


def test_no_bias_is_fitted_without_centring(random):
    x = 5 + random.normal(size=(60, 2))
    fitted, _ = fit_network(x, x @ [[2.0], [1.0]], hidden_layer_sizes=(), bias=False, alpha=0.0, seed=0)
    np.testing.assert_allclose(fitted.layers[0].coef, [[2.0], [1.0]], rtol=1e-6)
    assert fitted.layers[0].intercept is None


def noisy(random, noise):
    x = random.normal(size=(150, 6))
    y = np.sin(2 * x[:, :1])
    return InMemory(x, y / y.std() + noise * random.normal(size=(150, 1)))


def decay_for(network, rows, start):
    return choose_weight_decay(
        network, rows, content_keys(rows.x, rows.y, 0), LevenbergMarquardt(), start, {}
    )


def test_keys_are_uniform_and_equal_rows_share_theirs(random):
    x, y = random.normal(size=(5000, 3)), random.normal(size=(5000, 1))
    keys = content_keys(x, y, 1)
    assert (np.abs(np.histogram(keys, 5, (0, 1))[0] - 1000) < 120).all()
    order = random.permutation(np.repeat(np.arange(5000), 2))
    np.testing.assert_array_equal(content_keys(x[order], y[order], 1), keys[order])
    assert not np.array_equal(content_keys(x, y, 2), keys)


def test_noise_asks_for_a_strong_decay_and_a_clean_curve_for_a_light_one(random):
    network = Network((6, 8, 1))
    start = network.initial(0)
    clean, rough = (decay_for(network, noisy(random, noise), start) for noise in (0.0, 2.0))
    assert clean <= 0.3
    assert rough >= 3.0


def test_a_row_of_no_weight_has_no_say_in_the_decay(random):
    network = Network((6, 8, 1))
    rows = noisy(random, 0.5)
    wild = np.concatenate([rows.y, 100 * random.normal(size=(40, 1))])
    x = np.concatenate([rows.x, random.normal(size=(40, 6))])
    weights = np.r_[np.ones(150), np.zeros(40)]
    start = network.initial(0)
    decay = decay_for(network, InMemory(x, wild, weights), start)
    assert 0.01 <= decay <= 10


@pytest.mark.parametrize(
    "settings",
    [
        {"descent": GradientDescent()},
        {"judge": "validation", "watched": {"validation": (np.ones((3, 1)), np.ones((3, 1)))}},
    ],
    ids=["by the gradient", "with a judge"],
)
def test_the_decay_is_light_where_none_is_chosen(settings, random):
    x = random.normal(size=(40, 1))
    _, path = fit_network(x, x**2, hidden_layer_sizes=(2,), max_iter=3, seed=0, **settings)
    assert path.alpha == 0.1


def test_a_long_table_is_judged_by_rows_that_did_not_teach(random):
    x = random.normal(size=(6000, 2))
    rows = InMemory(x, np.sin(x[:, :1]) + random.normal(size=(6000, 1)))
    network = Network((2, 3, 1))
    assert decay_for(network, rows, network.initial(0)) in (0.3, 1.0, 3.0, 10.0, 30.0)


def test_the_decay_chosen_is_the_one_descended(random):
    rows = noisy(random, 1.0)
    _, path = fit_network(rows.x, rows.y, hidden_layer_sizes=(8,), seed=0)
    assert path.alpha >= 0.3
    assert set(np.unique(path.strength)) == {0.0, path.alpha}


def test_going_on_with_another_network_is_refused(random):
    x = random.normal(size=(30, 2))
    before, _ = fit_network(x, x[:, :1], hidden_layer_sizes=(3,), alpha=0.1, max_iter=3, seed=0)
    with pytest.raises(SettingsError, match="set warm_start=False"):
        fit_network(x, x[:, :1], hidden_layer_sizes=(4,), before=before)


def test_every_class_is_divided_in_the_shares_asked_for(random):
    classes = random.permutation(np.repeat([0, 1, 2], [100, 60, 40]))
    parts = divide(200, 0.2, 0.1, random, classes)
    counts = [np.bincount(classes[part]) for part in (parts.train, parts.validation, parts.test)]
    np.testing.assert_array_equal(counts, [[70, 42, 28], [20, 12, 8], [10, 6, 4]])
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(200))


def test_the_only_row_of_a_class_trains(random):
    classes = np.array([1, *[0] * 30, 3, *[2] * 8])
    parts = [divide(40, 0.3, 0.3, random, classes) for _ in range(20)]
    assert {set(classes[each.train]) == {0, 1, 2, 3} for each in parts} == {True}


def test_rows_of_a_class_are_divided_at_random(random):
    classes = np.repeat([0, 1], 50)
    often = sum(
        np.isin(np.arange(100), divide(100, 0.2, 0.0, random, classes).validation) for _ in range(500)
    )
    assert abs(often / 500 - 0.2).max() < 0.08  # of 100 rows, a share of 0.2 with a standard error of 0.018
