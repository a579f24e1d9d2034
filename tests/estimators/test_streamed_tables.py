"""Estimators given a table on disk: the fit of the same rows in memory, and a sentence for what needs them there."""

import pickle

import numpy as np
import pandas as pd
import pytest

from fallline import NetworkClassifier, NetworkRegressor, error_surface, open_table
from fallline.exceptions import SettingsError, TableError
from fallline.fit import streamed
from fallline.identity import digest
from fallline.table import stream

SETTINGS = {"hidden_layer_sizes": (3,), "n_starts": 2, "random_state": 0, "max_iter": 500}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_PIECE", 3000)
    random = np.random.default_rng(1)
    kind = random.choice(["a", "b", "c"], size=400)
    frame = pd.DataFrame({"x": random.normal(size=400), "kind": kind, "code": np.arange(400) % 4})
    frame["y"] = np.sin(frame["x"]) + (kind == "b") + 0.1 * random.normal(size=400)
    frame["z"] = 10 * frame["x"] + random.normal(size=400)
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.fixture
def fit(path):
    return NetworkRegressor(**SETTINGS).fit(open_table(path), target="y", drop=["z"])


def test_the_fit_is_that_of_a_data_frame_of_the_same_rows(path, fit):
    frame = pd.read_csv(path)
    X, y = frame[["x", "kind", "code"]], frame["y"]
    right = NetworkRegressor(**SETTINGS).fit(X, y)
    np.testing.assert_allclose(fit.weights_, right.weights_, rtol=1e-6, atol=1e-8)
    table = open_table(path)
    np.testing.assert_allclose(fit.predict(table), right.predict(X), rtol=1e-8)
    assert fit.score(table) == pytest.approx(right.score(X, y), rel=1e-8)
    for found, exact in zip(fit.predict(table, True, 0.9), right.predict(X, True, 0.9), strict=True):
        assert found.shape == exact.shape
        np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert str(fit.verdict_) == str(right.verdict_)


def test_several_targets_are_columns_of_what_is_predicted(path):
    fit = NetworkRegressor(**SETTINGS).fit(open_table(path), target=["y", "z"])
    assert fit.predict(open_table(path)).shape == (400, 2)
    assert fit.score(open_table(path)) > 0.8


def test_columns_may_be_dropped_kept_and_taken_as_categories(path):
    fit = NetworkRegressor(**SETTINGS).fit(open_table(path), target="y", drop=["z"], categories=["code"])
    assert [use.role for use in fit.columns_.uses] == ["number", "category", "category", "target", "dropped"]


def test_the_surface_and_the_verdict_are_of_the_rows_on_disk(path, fit):
    rows = fit.descended_rows(open_table(path))
    surface = error_surface(fit.path_, rows, points=5)
    assert np.isfinite(surface.error).all()
    assert fit.verdict_ is fit.verdict_


def test_a_fit_that_was_pickled_predicts_a_table_on_disk(path, fit):
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(open_table(path)), fit.predict(open_table(path)))


def test_walks_over_rows_that_come_from_disk_end_near_those_of_memory(path, monkeypatch):
    right = NetworkRegressor(**SETTINGS, alpha=0.1).fit(open_table(path), target="y", drop=["z"])
    monkeypatch.setattr(streamed, "sample_rows", lambda rows: 150)
    fit = NetworkRegressor(**SETTINGS, alpha=0.1).fit(open_table(path), target="y", drop=["z"])
    assert fit.score(open_table(path)) == pytest.approx(right.score(open_table(path)), abs=0.02)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"y": [1.0] * 400, "target": "y"}, "a table on disk holds the target itself"),
        ({}, "name its column in target="),
        ({"target": "cod"}, "There is no column `cod` to be a target. Did you mean `code`"),
        ({"target": "kind"}, "The target `kind` is text"),
    ],
    ids=["y", "no target", "another name", "text"],
)
def test_what_cannot_be_fitted_is_said(path, given, says):
    with pytest.raises((SettingsError, TableError), match=says):
        NetworkRegressor(**SETTINGS).fit(open_table(path), **given)


@pytest.mark.parametrize("setting", ["early_stopping", "warm_start"])
def test_settings_that_need_rows_in_memory_are_refused(path, setting):
    with pytest.raises(SettingsError, match=f"{setting} needs rows in memory.*set {setting}=False"):
        NetworkRegressor(**{setting: True}).fit(open_table(path), target="y")


def test_columns_are_named_for_tables_on_disk_alone():
    with pytest.raises(SettingsError, match="name columns of a table on disk"):
        NetworkRegressor().fit(np.ones((9, 1)), np.arange(9.0), drop=["x"])


def test_classes_of_a_table_on_disk_are_refused(path):
    with pytest.raises(SettingsError, match="classes need their rows in memory"):
        NetworkClassifier().fit(open_table(path), None)


def test_a_network_of_arrays_cannot_know_which_columns_of_a_table_are_meant(path):
    fit = NetworkRegressor(**SETTINGS).fit(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0))
    with pytest.raises(TableError, match="fitted to plain numbers"):
        fit.predict(open_table(path))


@pytest.mark.filterwarnings("ignore::fallline.DescentWarning")
def test_a_fit_to_a_table_on_disk_goes_on_from_its_checkpoint(path, until_it_ends, tmp_path):
    call = NetworkRegressor(**SETTINGS | {"n_jobs": 1}, checkpoint=tmp_path / "kept")
    found, _ = until_it_ends(lambda: call.fit(open_table(path), target="y"))
    whole = NetworkRegressor(**SETTINGS).fit(open_table(path), target="y")
    assert digest(found._fitted) == digest(whole._fitted)
    assert list((tmp_path / "kept").iterdir()) == []
