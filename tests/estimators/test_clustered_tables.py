"""Fits to what Dask holds: as to the same rows in memory, by changing what is passed and nothing else."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from fallline import LBFGS, GradientDescent, LevenbergMarquardt, NetworkClassifier, NetworkRegressor, verdict_of
from fallline.exceptions import ClusterError, SettingsError, ShapeError, TableError
from fallline.fit import streamed

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (4,), "n_starts": 2, "alpha": 0.1, "max_iter": 15, "random_state": 0}


@pytest.fixture
def arrays(random):
    x = random.normal(size=(900, 3)) * [1.0, 5.0, 0.1] + [0.0, 30.0, 0.0]
    return x, np.sin(x[:, 0]) + 10 * x[:, 2] + 0.1 * random.normal(size=900)


@pytest.fixture
def frame(random):
    n = 900
    size = random.normal(size=n)
    size[::17] = np.nan
    kind = random.choice(["oak", "elm", "fir"], n)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 700, n), unit="D")
    price = np.nan_to_num(size) + (kind == "oak") + 0.001 * (day - day[0]).days.to_numpy() + 0.1 * random.normal(size=n)
    return pd.DataFrame({"size": size, "kind": kind, "day": day, "price": price})


@pytest.fixture
def all_over(monkeypatch):
    """Rows that stay on the cluster, though they are few."""
    monkeypatch.setattr(streamed, "sample_rows", lambda rows: 100)


def on_cluster(*arrays):
    return [da.from_array(each, chunks=(250, *(-1,) * (each.ndim - 1))) for each in arrays]


@pytest.mark.parametrize(
    "descent", [LevenbergMarquardt(), LBFGS(), GradientDescent(0.01)], ids=["lm", "lbfgs", "gradient"]
)
def test_arrays_of_dask_give_the_fit_of_memory(descent, arrays, cluster, all_over):
    x, y = arrays
    one = NetworkRegressor(**SETTINGS, descent=descent).fit(*on_cluster(x, y))
    other = NetworkRegressor(**SETTINGS, descent=descent).fit(x, y)
    np.testing.assert_allclose(one.best_loss_, other.best_loss_, rtol=1e-10)
    np.testing.assert_allclose(one.predict(x), other.predict(x), rtol=1e-6, atol=1e-8)
    assert one.n_features_in_ == 3
    kinds = [
        verdict_of(fit.path_, fit.descended_rows(*given)).kind
        for fit, given in ((one, on_cluster(x, y)), (other, (x, y)))
    ]
    assert kinds[0] == kinds[1]
    assert one.score(*on_cluster(x, y)) == pytest.approx(other.score(x, y), rel=1e-8)


def test_predictions_of_dask_are_made_when_they_are_asked_for(arrays, cluster):
    x, y = arrays
    fit = NetworkRegressor(**SETTINGS).fit(x, y)
    (given,) = on_cluster(x)
    found = fit.predict(given, return_std=True, return_interval=0.9)
    expected = fit.predict(x, return_std=True, return_interval=0.9)
    assert all(isinstance(each, da.Array) for each in found)
    assert found[0].chunks == ((250, 250, 250, 150),)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.compute(), other, rtol=1e-12)
    two = NetworkRegressor(**SETTINGS).fit(x, np.column_stack([y, -y]))
    np.testing.assert_allclose(two.predict(given).compute(), two.predict(x), rtol=1e-12)
    with pytest.raises(ShapeError, match=r"X has shape \(900, 2\): expected \(n, 3\)"):
        fit.predict(given[:, :2])


def test_a_data_frame_of_dask_is_encoded_where_it_lies(frame, cluster, all_over):
    given = dd.from_pandas(frame, npartitions=5)
    given = given[given["size"].isnull() | (given["size"] < 10)]  # some partitions may be of any length
    one = NetworkRegressor(**SETTINGS).fit(given, target="price")
    other = NetworkRegressor(**SETTINGS).fit(frame.drop(columns="price"), frame["price"])
    assert one.columns_.encoded_names == other.columns_.encoded_names
    np.testing.assert_allclose(one.best_loss_, other.best_loss_, rtol=1e-9)
    assert one.feature_names_in_.tolist() == ["size", "kind", "day"]
    predicted = one.predict(given)
    assert isinstance(predicted, da.Array)
    np.testing.assert_allclose(predicted.compute(), other.predict(frame.drop(columns="price")), rtol=1e-5, atol=1e-6)
    assert one.score(given) == pytest.approx(other.score(frame.drop(columns="price"), frame["price"]), rel=1e-6)


def test_rows_without_a_target_and_partitions_without_rows_are_left_out(frame, cluster, all_over):
    frame.loc[::7, "price"] = np.nan
    given = dd.from_pandas(frame, npartitions=4)
    one = NetworkRegressor(**SETTINGS).fit(given[given["size"] > -0.5], target="price", drop=["day"])
    kept = frame[frame["price"].notna() & (frame["size"] > -0.5)].drop(columns="day")
    other = NetworkRegressor(**SETTINGS).fit(kept.drop(columns="price"), kept["price"])
    np.testing.assert_allclose(one.best_loss_, other.best_loss_, rtol=1e-9)
    assert one.path_.n_rows == len(kept)


def test_the_default_goes_on_over_the_rows_of_the_cluster(arrays, cluster, all_over):
    x, y = arrays
    fit = NetworkRegressor(max_iter=10, random_state=0).fit(*on_cluster(x, y))
    assert "rows held out" in fit.stop_reason_
    assert np.sqrt(np.mean((fit.predict(x) - y) ** 2)) < 0.3


def test_what_cannot_be_fitted_on_a_cluster_says_so(arrays, frame, cluster, monkeypatch):
    x, y = arrays
    given, targets = on_cluster(x, y)
    table = dd.from_pandas(frame, npartitions=3)
    for call, error, words in (
        (lambda fit: fit.fit(given, y), SettingsError, "X is a Dask array, and y or sample_weight is not"),
        (lambda fit: fit.fit(given, targets, target="y"), SettingsError, "no columns with names"),
        (lambda fit: fit.fit(table), SettingsError, "name its column in target="),
        (lambda fit: fit.fit(table, target="prize"), TableError, "Did you mean `price`"),
        (
            lambda fit: fit.set_params(early_stopping=True).fit(given, targets),
            SettingsError,
            "set early_stopping=False",
        ),
        (lambda fit: NetworkClassifier().fit(given, targets), SettingsError, "classes need their rows in memory"),
    ):
        with pytest.raises(error, match=words):
            call(NetworkRegressor(**SETTINGS))
    monkeypatch.setattr(streamed, "sample_rows", lambda rows: 100)
    with pytest.raises(SettingsError, match="mini-batches take rows in random order"):
        NetworkRegressor(**SETTINGS, descent=GradientDescent(0.1, batch_size=10)).fit(given, targets)


def test_a_data_frame_is_not_predicted_by_a_fit_to_plain_numbers(arrays, frame, cluster):
    fit = NetworkRegressor(**SETTINGS).fit(*on_cluster(*arrays))
    with pytest.raises(TableError, match=r"pass a Dask array, frame.to_dask_array\(\)"):
        fit.predict(dd.from_pandas(frame, npartitions=2))


def test_without_a_client_a_fit_says_so(arrays):
    with pytest.raises(ClusterError, match="make one first"):
        NetworkRegressor(**SETTINGS).fit(*on_cluster(*arrays))
