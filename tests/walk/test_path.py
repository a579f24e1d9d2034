"""The path as a table: every number of it, under a name, in the row of its step."""

import dataclasses
import importlib.util

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fallline import FalllineError, GradientDescent, InMemory, LevenbergMarquardt, Network, descend
from fallline.exceptions import SettingsError

SEEN = ["step", "passes", "error", "penalised_error", "gradient_norm"]


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(0).normal(size=(60, 2))
    return InMemory(x, np.tanh(x @ [[2.0], [-1.0]]))


@pytest.fixture(scope="module")
def path(rows):
    return descend(
        Network((2, 1), bias=False), rows, GradientDescent(0.1), weights=[0.5, 0.5], max_iter=6, alpha=0.5,
        watched={"validation": InMemory(rows.x[:9], rows.y[:9])}, input_names=["width", "depth"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def thinned(path):
    return dataclasses.replace(path, weight_steps=path.weight_steps[[0, 4, 6]], weights=path.weights[[0, 4, 6]])


def test_a_row_is_a_point_and_a_column_is_what_was_recorded_there(path):
    table = path.to_dict()
    assert list(table) == [*SEEN, "learning_rate", "validation error", "width->y1", "depth->y1"]
    np.testing.assert_array_equal(table["step"], np.arange(7))
    np.testing.assert_array_equal(table["learning_rate"], path.shown["learning_rate"])
    np.testing.assert_array_equal(table["validation error"], path.watched["validation"])
    np.testing.assert_array_equal(table["depth->y1"], path.weights[:, 1])
    coef = np.column_stack([table["width->y1"], table["depth->y1"]])
    np.testing.assert_allclose(table["penalised_error"] - table["error"], 0.25 * (coef**2).sum(1), rtol=1e-9)


def test_the_table_can_be_changed_without_changing_the_path(path):
    path.to_dict()["error"][:] = 0
    assert (path.error > 0).all()


def test_weights_that_were_thinned_out_are_not_numbers(path, thinned):
    weights = thinned.to_dict()["width->y1"]
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(weights)), [0, 4, 6])
    np.testing.assert_array_equal(weights[[0, 4, 6]], path.weights[[0, 4, 6], 0])


@pytest.mark.parametrize(
    ("backend", "kind"),
    [(None, pd.DataFrame), ("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("pyarrow", pa.Table)],
)
def test_a_frame_holds_the_same_columns(path, backend, kind):
    frame, table = path.to_frame(backend=backend), path.to_dict()
    assert isinstance(frame, kind)
    assert frame.shape == (7, 9)
    assert list(getattr(frame, "column_names", frame.columns)) == list(table)
    np.testing.assert_array_equal(np.asarray(frame["depth->y1"]), table["depth->y1"])


def test_in_a_frame_thinned_weights_are_missing(thinned):
    assert thinned.to_frame()["width->y1"].isna().tolist() == [False, True, True, True, False, True, False]
    assert thinned.to_frame(backend="polars")["width->y1"].null_count() == 4
    assert thinned.to_frame(backend="pyarrow")["width->y1"].null_count == 4


def test_a_frame_without_weights_is_the_curves_alone(path):
    frame = path.to_frame(weights=False)
    assert list(frame.columns) == [*SEEN, "learning_rate", "validation error"]


def test_every_number_a_descent_shows_is_a_column(rows):
    both = descend(Network((2, 1)), rows, GradientDescent(momentum="auto"), seed=0, max_iter=3)
    assert {"learning_rate", "momentum"} <= set(both.to_dict())
    damped = descend(Network((2, 1)), rows, LevenbergMarquardt(), seed=0, max_iter=3)
    assert "damping" in damped.to_dict()
    assert list(damped.to_dict())[-3:] == ["x1->y1", "x2->y1", "bias->y1"]


def test_an_input_called_bias_does_not_hide_the_bias(rows):
    path = descend(Network((2, 1)), rows, seed=0, max_iter=2, input_names=["bias", "depth"])
    assert list(path.to_dict())[-3:] == ["bias->y1", "depth->y1", "bias->y1 (2)"]
    assert path.to_frame(backend="polars").shape[1] == len(path.to_dict())


def without(*libraries):
    found = importlib.util.find_spec
    return lambda name: None if name in libraries else found(name)


def test_without_pandas_it_is_a_frame_of_polars(path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", without("pandas"))
    assert isinstance(path.to_frame(), pl.DataFrame)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (None, r"pandas and polars are not installed: install pandas or polars, or use to_dict\(\)"),
        ("polars", r"polars is not installed: install polars, or use to_dict\(\)"),
    ],
)
def test_without_a_library_a_sentence_says_what_to_install(path, monkeypatch, backend, said):
    monkeypatch.setattr("importlib.util.find_spec", without("pandas", "polars"))
    with pytest.raises(FalllineError, match=said):
        path.to_frame(backend=backend)


def test_another_library_is_refused(path):
    with pytest.raises(SettingsError, match="choose one of 'pandas', 'polars', 'pyarrow'"):
        path.to_frame(backend="dask")
