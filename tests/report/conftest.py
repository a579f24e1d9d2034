"""Reports to test: a plain one, and a maker of others."""

import dataclasses

import numpy as np
import pytest

from fallline.landscape.planes import Plane
from fallline.landscape.surface import Lowest, Surface, Track
from fallline.report import FitReport, RowSet


def rows_named(name, rows, targets=1, seed=0):
    rng = np.random.default_rng(seed)
    actual = rng.normal(35.0, 16.0, (rows, targets))
    return RowSet(
        name, rows, actual, actual + rng.normal(0.5, 5.0, actual.shape), actual + rng.normal(0.0, 10.0, actual.shape)
    )


@pytest.fixture
def make_rows():
    return rows_named


@pytest.fixture
def report():
    steps = np.arange(200)
    return FitReport(
        title="strength from concrete.csv",
        command="fallline fit examples/concrete.csv --target strength",
        targets=("strength",),
        rowsets=(rows_named("training", 824, seed=1), rows_named("held-out", 206, seed=2)),
        columns=(
            ("cement", "number", "used as it is, scaled"),
            ("batch", "dropped", "dropped: a different value in every row"),
            ("strength", "target", "predicted"),
        ),
        network="8 inputs, 20 tanh units, 1 output: 201 weights",
        descent="Levenberg–Marquardt, at most 200 steps",
        steps=steps,
        training_error=400 * np.exp(-steps / 20) + 40,
        watched_error={"held-out": 100 * np.exp(-steps / 20) + 12 + 0.01 * steps},
        stop="The held-out error had not fallen for 20 steps.",
        fitted_on="The figures come from 206 rows chosen at random; the model was fitted on the other 824.",
        way=(("Verdict", "A minimum: no step lowers the error."), ("Effort", "200 steps")),
        intervals="The 95 % intervals hold 94.2 % of the 206 held-out rows.",
        facts=(("seed", "0"), ("model file", "strength.fallline")),
    )


@pytest.fixture
def remade(report):
    def remake(**changes):
        return dataclasses.replace(report, **changes)

    return remake


@pytest.fixture
def two_targets(remade):
    return remade(
        targets=("strength", "slump"),
        rowsets=(rows_named("training", 824, 2, seed=1), rows_named("held-out", 206, 2, seed=2)),
        notes=("Interrupted at step 112: the weights with the lowest error so far were kept.",),
    )


@pytest.fixture
def surface():
    """E = 12 + 3 (a − 1)² + 50 (b + 1)² over 824 rows, and a way of four steps down it; the names are to be escaped."""
    first, second = np.linspace(-4.0, 4.0, 41), np.linspace(-3.0, 3.0, 31)

    def error(a, b):
        return 12 + 3 * (a - 1) ** 2 + 50 * (b + 1) ** 2

    way = np.array([[-3.0, 2.0], [-2.0, -0.5], [0.0, -1.2], [0.8, -1.0], [1.0, -1.0]])
    along = error(*way.T)
    names = ("weight $a_1$ & <b>->h1", "weight 高さ->h2")
    plane = Plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), names, "weights")
    track = Track("", np.arange(5), way, 1.5 * along, along, np.full(5, 0.1), 0.8, 4, True)
    minimum, other = Lowest(np.array([1.0, -1.0]), 12.0), Lowest(np.array([3.0, 2.0]), 700.0)
    error = error(*np.meshgrid(first, second))
    return Surface(plane, first, second, error, True, 824.0, (track,), minimum, (other,))


@pytest.fixture
def mountain(remade, surface):
    return remade(surface=surface)
