"""Estimators fitted to rows on a device: the same network as in memory, predictions that stay there, and only sums travel."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from fallline import NetworkClassifier, NetworkRegressor, Scaling
from fallline.exceptions import SettingsError
from fallline.rows.device import OnDevice


def table(rows=150, targets=2):
    """Inputs of different sizes, some far from 0, one constant; targets that a small network can fit; row weights, one 0."""
    random = np.random.default_rng(5)
    x = np.column_stack([random.normal(size=(rows, 3)) * [1.0, 300.0, 0.01] + [5.0, 1e4, -1.0], np.full(rows, 2.5)])
    signal = np.column_stack([np.sin(x[:, 0]) + (x[:, 1] - 1e4) / 300, 50 * (x[:, 2] + 1) ** 2])[:, :targets]
    s = random.uniform(size=rows)
    s[7] = 0.0
    return x, 10.0 + signal + 0.2 * random.normal(size=signal.shape), s


def fitted(x, y, s=None, **settings):
    given = {"hidden_layer_sizes": (3,), "n_starts": 3, "max_iter": 300, "random_state": 0} | settings
    return NetworkRegressor(**given).fit(x, y, s)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden_layer_sizes": "auto", "n_starts": 1},
        {"hidden_layer_sizes": ()},
        {"early_stopping": True},
        {"descent": "l-bfgs", "alpha": 1.0},
        {"average": False, "output_activation": "softplus"},
        {"bias": False, "alpha": 1.0},
    ],
    ids=lambda given: ", ".join(map(str, given.values())) or "as it is",
)
@pytest.mark.parametrize("weighted", [False, True], ids=["each row once", "rows counted"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_is_that_of_the_rows_in_memory(settings, weighted, device):
    x, y, s = table()
    s = s if weighted else None
    here = fitted(x, y, s, **settings)
    there = fitted(device.put(x), device.put(y), None if s is None else device.put(s), **settings)
    ends = [[start.penalised_error for start in fit.starts_] for fit in (there, here)]
    np.testing.assert_allclose(*ends, rtol=1e-4)
    assert there.network_ == here.network_
    np.testing.assert_array_equal(there.validation_rows_, here.validation_rows_)
    for name in ("x_mean", "x_scale", "y_mean", "y_scale"):
        np.testing.assert_allclose(getattr(there.scaling_, name), getattr(here.scaling_, name), rtol=1e-12)
    predicted = there.predict(device.put(x))
    assert predicted.device == device.put(x).device
    np.testing.assert_allclose(device.home(predicted), here.predict(x), rtol=0, atol=2e-3 * np.ptp(y))
    np.testing.assert_allclose(there.predict(x), device.home(predicted), rtol=1e-9)


def test_one_target_may_be_one_dimensional_and_a_numpy_array(device):
    x, y, _ = table(targets=1)
    here, there = fitted(x, y[:, 0]), fitted(device.put(x), y[:, 0])
    predicted = there.predict(device.put(x))
    assert tuple(predicted.shape) == (150,)
    np.testing.assert_allclose(device.home(predicted), here.predict(x), rtol=1e-4)


def test_float32_is_computed_in_float32_and_weights_are_in_the_units_of_the_rows(device):
    x, y, _ = (each.astype(np.float32) for each in table())
    there = fitted(device.put(x), device.put(y), n_starts=1)
    rows = there.descended_rows(device.put(x), device.put(y))
    assert isinstance(rows, OnDevice)
    predicted = there.predict(device.put(x))
    assert predicted.dtype == device.put(x).dtype
    hidden = np.tanh(x.astype(np.float64) @ there.coefs_[0] + there.intercepts_[0])
    np.testing.assert_allclose(device.home(predicted), hidden @ there.coefs_[1] + there.intercepts_[1], rtol=1e-4)
    assert np.mean((device.home(predicted) - y) ** 2) < 0.1


def test_columns_far_from_zero_lose_no_more_than_float32_holds(device):
    x = (np.array([[0.0], [1.0], [2.0], [3.0]]) + 2**23).astype(np.float32)
    scaling = Scaling.fit([(device.put(x), device.put(x), None)])
    np.testing.assert_allclose(scaling.x_mean, 2**23 + 1.5, rtol=1e-15)
    scaled = device.home(scaling.x(device.put(x)))
    np.testing.assert_allclose(scaled[:, 0], (np.arange(4) - 1.5) / np.sqrt(1.25), rtol=1e-6)
    np.testing.assert_array_equal(device.home(scaling.unscale_y(scaling.y(device.put(x)))), x)


def test_mini_batches_and_partial_fit_go_on_as_in_memory(device):
    x, y, s = table()
    given = {"hidden_layer_sizes": (3,), "descent": "mini-batch", "random_state": 0}
    here, there = NetworkRegressor(**given), NetworkRegressor(**given)
    for _ in range(3):
        here.partial_fit(x, y, s)
        there.partial_fit(device.put(x), device.put(y), device.put(s))
    np.testing.assert_allclose(there.weights_, here.weights_, rtol=1e-9)
    np.testing.assert_allclose(there.predict(x), here.predict(x), rtol=1e-9)


def test_the_verdict_of_a_fit_is_that_in_memory(device):
    x, y, _ = table()
    here, there = fitted(x, y, tol=1e-8), fitted(device.put(x), device.put(y), tol=1e-8)
    assert there.verdict_.kind == here.verdict_.kind


def test_nothing_of_the_size_of_the_rows_leaves_the_device(device):
    x, y, s = table(rows=5000)
    there = fitted(*map(device.put, (x, y, s)), early_stopping=True, n_starts=2, max_iter=20, tol=1.0)
    there.predict(device.put(x))
    assert there.verdict_ is not None
    assert len(device.brought) > 20
    assert max(device.brought) < 700


def test_what_is_pickled_needs_no_device(device):
    x, y, _ = table()
    there = fitted(device.put(x), device.put(y))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(there)).predict(x), there.predict(x))


def test_intervals_are_refused_and_the_way_to_them_named(device):
    x, y, _ = table()
    there = fitted(device.put(x), device.put(y))
    with pytest.raises(SettingsError, match="rows on a GPU keeps none either: fit to NumPy arrays"):
        there.predict(x, return_std=True)
    here = fitted(x, y)
    with pytest.raises(SettingsError, match="pass X as an array that it can read"):
        here.predict(device.put(x), return_interval=0.9)


def test_labels_are_refused_and_the_way_named(device):
    x, y, _ = table()
    with pytest.raises(SettingsError, match=r"NetworkClassifier takes rows that NumPy can read.*X\.cpu\(\)"):
        NetworkClassifier().fit(device.put(x), y[:, 0] > 10)


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (lambda x, y: (x[:, 0], y), "x has shape \\(150,\\)"),
        (lambda x, y: (np.where(np.arange(150)[:, None] == 4, np.nan, x), y), "NaN or infinity, first in row 4"),
        (lambda x, y: (x, y[:99]), "x has 150 rows and y has 99"),
    ],
    ids=["one dimension", "NaN", "fewer targets"],
)
def test_rows_that_do_not_fit_are_refused(of, says, device):
    x, y = of(*table()[:2])
    with pytest.raises(ValueError, match=says):
        fitted(device.put(x), device.put(y))


def test_other_columns_than_those_of_the_fit_are_refused(device):
    x, y, _ = table()
    there = fitted(device.put(x), device.put(y))
    with pytest.raises(ValueError, match="X has 3 features, but NetworkRegressor is expecting 4"):
        there.predict(device.put(x[:, :3]))
    with pytest.raises(NotFittedError):
        NetworkRegressor().predict(device.put(x))
