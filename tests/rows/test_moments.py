"""Moments against sums over the rows: the same answers, to rounding."""

import dataclasses

import numpy as np
import pytest

from fallline.error.sums import Request
from fallline.exceptions import SettingsError
from fallline.model.network import Network
from fallline.rows import moments as moments_module
from fallline.rows.memory import InMemory
from fallline.rows.moments import Factor, error_at, moments_of, relations

BIAS = pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])


@pytest.fixture
def table(random):
    """77 rows, 4 inputs, 2 outputs, counted differently."""
    x = random.normal(size=(77, 4)) * [1.0, 10.0, 0.1, 3.0] + [0.0, 5.0, -1.0, 100.0]
    y = x @ random.normal(size=(4, 2)) + random.normal(size=(77, 2)) + 7.0
    return InMemory(x, y, random.uniform(0.5, 2.0, size=77))


@BIAS
@pytest.mark.parametrize(
    ("kind", "along"),
    [
        ("error", None),
        ("gradient", None),
        ("gauss_newton", None),
        ("curvature", 0),
        ("hessian", [0, 1, 2]),
        ("hessian", None),
    ],
    ids=str,
)
def test_moments_answer_what_the_rows_answer(kind, along, bias, table, random):
    network = Network((4, 2), bias=bias)
    w, directions = random.normal(size=network.n_weights), random.normal(size=(3, network.n_weights))
    request = Request(kind, w, None if along is None else directions[along])
    moments, by_rows = moments_of(network, table), table.total(request, network)
    sums = moments.total(request, network)
    assert [name for name, of in by_rows._asdict().items() if of is not None] == [
        name for name, of in sums._asdict().items() if of is not None
    ]
    np.testing.assert_allclose(_flat(sums), _flat(by_rows), rtol=1e-11, atol=1e-12 * np.abs(_flat(by_rows)).max())
    assert moments.count == pytest.approx(table.count, rel=1e-15)


def _flat(sums):
    return np.concatenate([np.ravel(of) for of in sums if of is not None])


def test_what_moments_do_not_know_is_refused_in_a_sentence(table, random):
    network = Network((4, 2))
    moments = moments_of(network, table)
    with pytest.raises(SettingsError, match=r"moments know error, .* not 'triangle': ask the rows themselves"):
        moments.total(Request("triangle", random.normal(size=network.n_weights)), network)
    with pytest.raises(SettingsError, match="moments hold no single rows"):
        moments.each(lambda block: block.x)
    with pytest.raises(SettingsError, match="no batches of them: ask the rows themselves"):
        moments.batches(np.arange(3), 2)


@BIAS
def test_a_row_that_counts_twice_is_two_rows(bias, table):
    network = Network((4, 2), bias=bias)
    count = np.arange(77) % 3
    counted = moments_of(network, InMemory(table.x, table.y, count))
    repeated = moments_of(network, InMemory(table.x.repeat(count, axis=0), table.y.repeat(count, axis=0)))
    scale = max(np.abs(counted.square).max(), 1.0)
    for one, other in zip(*map(dataclasses.astuple, (counted, repeated)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13 * scale)


@BIAS
def test_the_best_weights_and_the_least_error_are_those_of_least_squares(bias, table):
    network = Network((4, 2), bias=bias)
    found = moments_of(network, InMemory(table.x, table.y))
    columns = np.column_stack([table.x, np.ones(77)])[:, : 4 + bias]
    expected, rest, *_ = np.linalg.lstsq(columns, table.y)
    np.testing.assert_allclose(found.best, expected[:4], rtol=1e-11)
    np.testing.assert_allclose(found.least, 0.5 * rest.sum(), rtol=1e-10)
    assert found.passes == 1


def test_an_error_of_rounding_is_summed_row_by_row(table):
    target = table.x @ np.array([[1.0], [2.0], [-3.0], [0.5]]) + 4.0
    noise = 1e-9 * np.where(np.arange(77) % 2, 1.0, -1.0)[:, None]
    found = moments_of(Network((4, 1)), InMemory(table.x, target + noise))
    columns = np.column_stack([table.x, np.ones(77)])
    rest = noise - columns @ np.linalg.lstsq(columns, noise)[0]
    np.testing.assert_allclose(found.least, 0.5 * (rest**2).sum(), rtol=1e-3)
    assert found.passes > 1


def test_columns_far_from_zero_lose_no_digits(random):
    near = random.normal(size=(5000, 3)).round(6)
    y = near @ [[1.0], [-2.0], [0.5]] + random.normal(size=(5000, 1)).round(6)
    network = Network((3, 1))
    here = moments_of(network, InMemory(near, y))
    far = moments_of(network, InMemory(near + 1e6, y - 1e6))
    # The sixth digit after the point is all that 1e6 + x keeps of x beyond 1e-10: differences of it remain.
    np.testing.assert_allclose(far.square, here.square, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(far.best, here.best, rtol=1e-9)
    np.testing.assert_allclose(far.least, here.least, rtol=1e-9)


def test_float32_rows_are_multiplied_in_float64(random):
    x, y = random.normal(size=(3000, 5)).astype(np.float32), random.normal(size=(3000, 1)).astype(np.float32)
    x[:, 4] = x[:, 3] + np.float32(1e-4) * x[:, 4]
    network = Network((5, 1))
    single, double = (moments_of(network, InMemory(x, y, dtype=np.float32)), moments_of(network, InMemory(x, y)))
    for one, other in zip(*map(dataclasses.astuple, (single, double)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_sums_do_not_depend_on_the_number_of_threads(workers, table, monkeypatch):
    network = Network((4, 2))
    rows = InMemory(*(np.concatenate([part] * 30) for part in (table.x, table.y, table.sample_weight)))
    at_once = moments_of(network, rows)
    monkeypatch.setattr(moments_module, "_BLOCKS_TO_A_PIECE", 2)
    monkeypatch.setattr(moments_module, "_BLOCK_BYTES", 1)
    monkeypatch.setattr("fallline.rows.memory.processors", lambda: 3)
    expected = moments_of(network, rows)
    monkeypatch.setattr("fallline.rows.memory.processors", lambda: workers)
    found = moments_of(network, rows)
    for one, other, whole in zip(*map(dataclasses.astuple, (found, expected, at_once)), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, whole, rtol=1e-9, atol=1e-9)


def test_an_error_at_many_weights_is_the_error_at_each(table, random):
    network = Network((4, 2))
    points = random.normal(size=(6, network.n_weights))
    found = error_at(moments_of(network, table), points.reshape(6, 5, 2))
    residual = np.stack([network.predict(w, table.x) - table.y for w in points])
    expected = 0.5 * np.einsum("m,pmj->p", table.sample_weight, residual**2)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("bias", "columns", "expected"),
    [
        (True, {3: lambda x: 2 * x[:, 0]}, ["x1 − 0.5·x4 is constant"]),
        (True, {1: lambda x: 0 * x[:, 0] + 0.1}, ["x2 is constant"]),
        (True, {1: lambda x: 0 * x[:, 0] + 123.456}, ["x2 is constant"]),
        (False, {1: lambda x: 0 * x[:, 0]}, ["x2 is 0 in every row"]),
        (False, {1: lambda x: 0 * x[:, 0] + 0.1}, []),
        (True, {4: lambda x: 7 - x[:, 0] - x[:, 1]}, ["x1 + x2 + x5 is constant"]),
        (True, {1: lambda x: x[:, 0] + 1e5, 3: lambda x: 1e-3 * x[:, 2]},
         ["x1 − x2 is constant", "x3 − 1000·x4 is constant"]),
        (True, {9: lambda x: x[:, :9].sum(1)}, ["a sum over 10 columns (x1, x2, x3, x4, x5, x6, …) is constant"]),
    ],
    ids=["copy", "constant", "far constant", "zero", "constant without biases", "sum", "two pairs", "many"],
)  # fmt: skip
def test_directions_that_the_rows_leave_undetermined_are_named(bias, columns, expected, random):
    x = random.normal(size=(400, 10))
    for at, column in columns.items():
        x[:, at] = column(x)
    network = Network((10, 1), bias=bias)
    rows = InMemory(x, x[:, :1] + 1, random.uniform(0.5, 2.0, 400))
    assert relations(network, moments_of(network, rows)) == expected


def test_relations_name_the_inputs_as_they_are_called(random):
    x = random.normal(size=(50, 2))
    network = Network((2, 1))
    found = moments_of(network, InMemory(np.column_stack([x[:, 0], 2.0 * x[:, 0]]), x[:, 1:]))
    assert relations(network, found, ["age", "months"]) == ["age − 0.5·months is constant"]


def test_a_factor_leaves_out_what_is_rounding(random):
    x = random.normal(size=(100, 4)) * [1.0, 1e4, 1e-4, 1.0]
    x[:, 3] = x[:, 1] - 1e7 * x[:, 2]
    factor = Factor.of(x.T @ x)
    assert factor.root.shape == (3, 4)
    np.testing.assert_allclose(factor.root.T @ factor.root, x.T @ x, rtol=1e-11, atol=1e-10)


def test_numbers_whose_products_overflow_have_no_moments(random):
    assert moments_of(Network((1, 1)), InMemory(np.full((3, 1), 1e200) * [[1], [2], [3]], np.ones((3, 1)))) is None
