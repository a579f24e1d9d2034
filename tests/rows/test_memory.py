import functools

import numpy as np
import pytest

from fallline.error.sums import KINDS, Block, Request, finished, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.model.network import Network
from fallline.rows import memory
from fallline.rows.memory import InMemory, block_rows, check_fit
from fallline.threads import side_by_side

NETWORK = Network((3, 4, 2))
KIND = pytest.mark.parametrize("kind", KINDS)


def some(random, rows=77, dtype=np.float64, weighted=True):
    x, y = random.normal(size=(rows, 3)), random.normal(size=(rows, 2))
    s = random.uniform(size=rows).astype(dtype) if weighted else None
    return InMemory(x.astype(dtype), y.astype(dtype), s)


def asked(kind, network=NETWORK):
    """A request of that kind, at weights and in a direction of no meaning."""
    w, p = network.initial(0) + 0.1, network.n_weights
    if kind == "plane":
        return Request(kind, np.stack([w, *np.eye(p)[:2]]), np.array([[0.0, 0.0], [0.3, -0.2]]))
    return Request(kind, w, np.cos(np.arange(p)) if kind in ("curvature", "bend") else None)


def assert_same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, **tolerance)


def in_blocks(monkeypatch, rows):
    """Have every pass take blocks of so many rows, and threads whatever the work."""
    monkeypatch.setattr(memory, "block_rows", lambda *_: rows)
    monkeypatch.setattr(memory, "_WORTH_THREADS", 0)


@KIND
@pytest.mark.parametrize("block", [1, 8, 76, 77, 128])
def test_a_total_is_the_sum_over_the_rows_in_whatever_blocks(kind, block, random, monkeypatch):
    rows, request = some(random), asked(kind)
    whole = finished(NETWORK, sums_of_block(NETWORK, request, Block(rows.x, rows.y, rows.sample_weight)))
    in_blocks(monkeypatch, block)
    total = rows.total(request, NETWORK)
    assert total.rows == pytest.approx(rows.sample_weight.sum())
    squares = [None if each.triangle is None else each.triangle.T @ each.triangle for each in (total, whole)]
    assert_same([*total[:5], squares[0]], [*whole[:5], squares[1]], rtol=1e-11, atol=1e-11)


@KIND
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_a_total_has_the_same_bits_whatever_the_number_of_threads(kind, threads, random, monkeypatch):
    rows, request = some(random, 3001), asked(kind)
    in_blocks(monkeypatch, 11)
    monkeypatch.setattr(memory, "processors", lambda: 1)
    alone = rows.total(request, NETWORK)
    monkeypatch.setattr(memory, "processors", lambda: threads)
    assert_same(rows.total(request, NETWORK), alone, rtol=0)


@KIND
def test_a_total_has_the_same_bits_beside_others(kind, random, monkeypatch):
    rows, request = some(random, 3001), asked(kind)
    in_blocks(monkeypatch, 11)
    task = functools.partial(rows.total, request, NETWORK)
    alone = task()
    one, *_, other = side_by_side([task] * 4, n_jobs=4)
    assert_same(one, alone, rtol=0)
    assert_same(other, alone, rtol=0)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 4095, 70_001])
def test_sums_over_few_and_many_rows_are_those_written_out(rows, weighted, random):
    table = some(random, rows, weighted=weighted)
    network = Network((3, 2), output_activation="tanh")
    w = network.initial(0) + 0.1
    sums = table.total(Request("gradient", w), network)
    error, gradient = sums_by_hand(w, table.x, table.y, table.counts)
    assert sums.rows == pytest.approx(table.counts.sum(), rel=1e-14)
    np.testing.assert_allclose(sums.error, error, rtol=1e-11)
    np.testing.assert_allclose(sums.gradient, gradient, rtol=1e-9, atol=1e-9)


def sums_by_hand(w, x, y, s):
    """E and ∂E/∂w of ŷ = tanh(x W + b), written out in NumPy and float64."""
    x, y, s = (np.asarray(a, np.float64) for a in (x, y, s))
    coef = w[: x.shape[1] * y.shape[1]].reshape(x.shape[1], y.shape[1])
    predicted = np.tanh(x @ coef + w[coef.size :])
    slope = (predicted - y) * (1 - predicted**2) * s[:, None]
    error = 0.5 * (s[:, None] * (predicted - y) ** 2).sum()
    return error, np.concatenate([(x.T @ slope).ravel(), slope.sum(0)])


def test_a_long_sum_of_float32_rows_loses_no_digits(random):
    rows, network = (some(random, 1_000_003, np.float32, weighted=False), Network((3, 2), output_activation="tanh"))
    w = network.initial(0).astype(np.float32).astype(np.float64)
    sums = rows.total(Request("gradient", w), network)
    error, gradient = sums_by_hand(w, rows.x, rows.y, np.ones(len(rows)))
    assert sums.rows == 1_000_003
    np.testing.assert_allclose(sums.error, error, rtol=1e-7)
    np.testing.assert_allclose(sums.gradient, gradient, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("order", ["F", "a slice"])
def test_rows_that_lie_otherwise_in_memory_sum_to_the_same(order, random):
    rows, network = some(random), Network((3, 4, 2))
    x = np.asfortranarray(rows.x) if order == "F" else np.repeat(rows.x, 2, axis=0)[::2]
    request = asked("gauss_newton")
    other = InMemory(x, rows.y, rows.sample_weight).total(request, network)
    assert_same(other, rows.total(request, network), rtol=1e-12, atol=1e-13)


@KIND
@pytest.mark.parametrize("rows", [1, 900, 1_000_000])
@pytest.mark.parametrize("network", [NETWORK, Network((500, 2, 1)), Network((8, 20, 1))], ids=str)
def test_blocks_are_nearly_equal_and_no_longer_than_a_cache(kind, rows, network):
    size = block_rows(network, asked(kind, network), rows)
    assert 1 <= size <= min(rows, 1 << 14)
    assert -(-rows // size) * size - rows < -(-rows // size)


@pytest.mark.parametrize("block", [1, 10, 76, 77, 1000])
def test_each_joins_what_is_said_of_the_rows_in_their_order(block, random, monkeypatch):
    rows, w = some(random), NETWORK.initial(0)
    monkeypatch.setattr(memory, "_SMALLEST", block)
    monkeypatch.setattr(memory, "LARGEST_BLOCK", block)
    predicted = rows.each(lambda block: NETWORK.predict(w, block.x))
    residuals, counts = rows.each(lambda block: (NETWORK.predict(w, block.x) - block.y, block.s))
    np.testing.assert_allclose(predicted, NETWORK.predict(w, rows.x), rtol=1e-13)
    np.testing.assert_allclose(residuals, NETWORK.predict(w, rows.x) - rows.y, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(counts, rows.sample_weight)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", [1, 7, 35, 70, 100])
@pytest.mark.parametrize("window", [0, 1 << 19])
def test_batches_are_the_rows_in_the_order_asked_for(size, window, weighted, random, monkeypatch):
    monkeypatch.setattr(memory, "_WINDOW_BYTES", window)
    rows, order = some(random, weighted=weighted), random.permutation(77)[:70]
    batches = list(rows.batches(order, size))
    assert [len(batch.x) for batch in batches] == [len(order[at : at + size]) for at in range(0, 70, size)]
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in batches]), rows.x[order])
    np.testing.assert_array_equal(np.concatenate([batch.y for batch in batches]), rows.y[order])
    counts = [np.ones(len(batch.x)) if batch.s is None else batch.s for batch in batches]
    np.testing.assert_array_equal(np.concatenate(counts), rows.counts[order])


def test_a_weighting_multiplies_how_often_rows_count_and_copies_nothing(random):
    rows, factor = some(random), random.uniform(size=77)
    weighted = rows.weighted(factor)
    assert weighted.x is rows.x
    assert weighted.y is rows.y
    np.testing.assert_allclose(weighted.counts, rows.counts * factor)
    np.testing.assert_allclose(some(random, weighted=False).weighted(factor).counts, factor)
    expected = InMemory(rows.x, rows.y, rows.sample_weight * factor).total(asked("gauss_newton"), NETWORK)
    rows.total(asked("gauss_newton"), NETWORK)
    assert_same(weighted.total(asked("gauss_newton"), NETWORK), expected, rtol=0)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("named", [np.asarray, np.flatnonzero], ids=["by a mask", "by number"])
def test_some_of_the_rows_are_taken(named, weighted, random):
    rows, mask = some(random, weighted=weighted), random.uniform(size=77) < 0.3
    taken = rows.taking(named(mask))
    np.testing.assert_array_equal(taken.x, rows.x[mask])
    np.testing.assert_array_equal(taken.y, rows.y[mask])
    np.testing.assert_array_equal(taken.counts, rows.counts[mask])
    assert taken.dtype == rows.dtype


def test_rows_that_are_float64_are_wide_already_and_others_are_widened(random):
    double, single = some(random), some(random, dtype=np.float32)
    assert double.wide() is double
    wide = single.wide()
    assert {wide.x.dtype, wide.y.dtype, wide.sample_weight.dtype} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(wide.x, single.x)


def test_the_count_and_the_error_of_the_mean_follow_the_row_weights():
    rows = InMemory(np.ones((3, 1)), np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]]), np.array([1.0, 0.0, 2.0]))
    assert rows.count == 3.0
    assert rows.error_of_mean == pytest.approx(0.5 * (1 * 2.0**2 + 2 * 1.0**2))  # the mean is 3


@pytest.mark.parametrize(("y", "error"), [(5.0, 0.5 * 3 * 25.0), (0.0, 1.0)], ids=["all alike", "all zero"])
def test_the_error_of_the_mean_is_never_zero(y, error):
    assert InMemory(np.ones((3, 1)), np.full((3, 1), y)).error_of_mean == pytest.approx(error)


@pytest.mark.parametrize(
    ("x", "y", "s", "error", "message"),
    [
        (np.ones(3), np.ones((3, 1)), None, ShapeError, r"x\[:, None\]"),
        (np.ones((3, 1)), np.ones(3), None, ShapeError, r"y\[:, None\]"),
        (np.ones((3, 1)), np.ones((4, 1)), None, ShapeError, "3 rows and y has 4"),
        (np.ones((0, 1)), np.ones((0, 1)), None, TableError, "no rows"),
        (np.array([[1.0], [np.nan]]), np.ones((2, 1)), None, TableError, r"x contains NaN or infinity, first in row 1"),
        (np.ones((2, 1)), np.array([[np.inf], [1.0]]), None, TableError, r"y contains NaN or infinity, first in row 0"),
        (np.ones((2, 1)), np.ones((2, 1)), np.ones(3), ShapeError, "one number for each of the 2 rows"),
        (np.ones((2, 1)), np.ones((2, 1)), -np.ones(2), TableError, "not negative"),
        (np.ones((2, 1)), np.ones((2, 1)), np.zeros(2), TableError, "0 for every row"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_summed_are_refused(x, y, s, error, message):
    with pytest.raises(error, match=message):
        InMemory(x, y, s)


def test_large_finite_numbers_are_not_taken_for_infinite():
    InMemory(np.full((4, 1), 1e308), np.ones((4, 1)))


def test_rows_of_another_width_than_the_model_are_refused():
    with pytest.raises(ShapeError, match="2 inputs and 1 targets, but the model takes 3"):
        check_fit(Network((3, 1)), InMemory(np.ones((2, 2)), np.ones((2, 1))))


@pytest.mark.parametrize("given", [2, 3])
def test_arrays_side_by_side_are_rows(given):
    parts = (np.ones((4, 3)), np.ones((4, 1)), np.arange(4.0))[:given]
    rows = check_fit(Network((3, 1)), parts)
    assert rows.x is parts[0]
    assert rows.count == (6.0 if given == 3 else 4.0)


@pytest.mark.parametrize("row", [0, 70_000, 262_143, 262_144, 300_000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_number_in_any_block_is_named_with_its_row(row, value):
    x = np.zeros((300_001, 4), np.float32)
    x[row, 2] = value
    with pytest.raises(TableError, match=rf"x contains NaN or infinity, first in row {row} "):
        InMemory(x, np.ones((300_001, 1)))


@pytest.mark.parametrize(
    ("x", "y", "asked", "kept"),
    [
        (np.float32, np.float32, None, np.float32),
        (np.float32, np.float64, None, np.float64),
        (np.int64, np.int64, None, np.float64),
        (np.float32, np.float32, np.float64, np.float64),
        (np.float64, np.float64, np.float32, np.float32),
    ],
)
def test_float32_is_kept_where_inputs_and_targets_are_float32(x, y, asked, kept):
    rows = InMemory(np.ones((3, 2), x), np.ones((3, 1), y), np.ones(3), dtype=asked)
    assert (rows.x.dtype, rows.y.dtype, rows.sample_weight.dtype) == (kept, kept, kept)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_the_right_type_is_not_copied(order):
    x, y = np.ones((5, 2), order=order), np.ones((5, 1))
    rows = InMemory(x, y)
    assert rows.x is x
    assert rows.y is y


def test_equal_rows_have_equal_keys_and_others_others(random):
    rows = some(random, 50).taking(np.r_[0:50, 3, 7])
    keys = rows.content_keys(1)
    assert len(np.unique(keys)) == 50
    np.testing.assert_array_equal(keys[[50, 51]], keys[[3, 7]])
    assert not np.array_equal(keys, rows.content_keys(2))
    assert (keys >= 0).all()
    assert (keys < 1).all()


@pytest.mark.parametrize("repeats", [1, 400])
def test_rows_differ_by_what_they_hold_and_only_those_that_count(repeats, random):
    x, y = np.tile(random.normal(size=(9, 2)), (repeats, 1)), np.tile(random.normal(size=(9, 1)), (repeats, 1))
    last = np.r_[x, x[:1]], np.r_[y, y[:1] + 1]  # the tenth stands at the end, beyond the first thousand
    assert InMemory(x, y).differ(9)
    assert not InMemory(x, y).differ(10)
    assert InMemory(*last).differ(10)
    assert not InMemory(*last, np.r_[np.ones(len(x)), 0.0]).differ(10)
    assert not InMemory(-0.0 * x, 0.0 * y).differ(2)
