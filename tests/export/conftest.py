"""Fitted networks of every kind that an export has to write, rows to predict, and what the model predicts for them."""

import datetime
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from fallline import NetworkClassifier, NetworkRegressor
from fallline.model.activations import ACTIVATIONS

QUICK = {"n_starts": 2, "max_iter": 20, "random_state": 0}


class Case(NamedTuple):
    """A model; rows to predict, as a data frame; and its predictions (rows, outputs)."""

    model: Any
    rows: pd.DataFrame
    predicted: np.ndarray

    def records(self):
        """The rows as dictionaries of plain Python, None where a cell is missing."""
        return [
            {name: None if pd.isna(cell) else cell for name, cell in row.items()}
            for row in self.rows.to_dict("records")
        ]


def table(n, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age (years)": random.uniform(1, 50, n),
        "1e9": 1e9 + random.normal(size=n),
        "kind": np.array(random.choice(["ash", "oak", 'B"ü\\rk\'', "7"], n), object),
        "two": np.array(random.choice(["a", "b"], n), object),
        "ok": random.random(n) > 0.5,
        "when": np.datetime64("2019-01-01", "s") + random.integers(0, 900 * 86400, n).astype("timedelta64[s]"),
    })  # fmt: skip
    frame.loc[frame.index[3::17], "age (years)"] = np.nan
    frame.loc[frame.index[5::23], "kind"] = None
    return frame


def targets(frame):
    random = np.random.default_rng(1)
    age = frame["age (years)"].fillna(20).to_numpy()
    season = np.sin(2 * np.pi * frame["when"].dt.day_of_year.to_numpy() / 365)
    return (
        20 * np.tanh(age / 20) + 3 * (frame["kind"] == "oak").to_numpy() + season + 0.3 * random.normal(size=len(frame))
    )


def strange_rows():
    """Rows as they may come later: unseen categories, every cell missing once, dates before 1970."""
    frame = table(40, seed=5)
    frame.loc[0, "kind"], frame.loc[1, "two"] = "elm", None
    frame.loc[2, "when"] = datetime.datetime(1931, 5, 3, 23, 59)
    frame.loc[3, "age (years)"], frame.loc[4, "kind"] = np.nan, None
    frame.loc[5, "1e9"] = np.nan
    return frame


def _combined():
    frame = table(150)
    model = NetworkRegressor(random_state=0, max_iter=60, effort="quick").fit(frame, targets(frame))
    return model, model.predict(strange_rows())[:, None]


def _one_layer(activation):
    frame = table(100)
    model = NetworkRegressor(hidden_layer_sizes=(3,), activation=activation, **QUICK).fit(frame, targets(frame))
    return model, model.predict(strange_rows())[:, None]


def _two_layers():
    frame = table(100)
    y = np.column_stack([targets(frame), -targets(frame)])
    model = NetworkRegressor(hidden_layer_sizes=(4, 3), **QUICK).fit(frame, y)
    return model, model.predict(strange_rows())


def _linear():
    frame = table(100)
    model = NetworkRegressor(hidden_layer_sizes=(), **QUICK).fit(frame, targets(frame))
    return model, model.predict(strange_rows())[:, None]


def _classes(names, bounds):
    frame = table(150)
    classes = np.array(names, object)[np.digitize(targets(frame), bounds)]
    model = NetworkClassifier(hidden_layer_sizes=(3,), alpha=0.01, **QUICK).fit(frame, classes)
    return model, model.predict_proba(strange_rows())


CASES = {
    "combined": _combined,
    "two layers, two targets": _two_layers,
    "linear": _linear,
    "two classes": lambda: _classes(["lo", "hi"], [15]),
    "three classes": lambda: _classes(["lo", "mid", "hi"], [12, 17]),
    **{name: (lambda name=name: _one_layer(name)) for name in ACTIVATIONS},
}


@pytest.fixture(scope="session", params=CASES)
def case(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few steps are enough here
        model, predicted = CASES[request.param]()
    return Case(model, strange_rows(), predicted)
