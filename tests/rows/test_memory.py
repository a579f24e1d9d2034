import jax
import numpy as np
import pytest

from fallline.descent.gradient import GradientDescent
from fallline.error.sums import Block, Request, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.model.network import Network
from fallline.rows import memory
from fallline.rows.memory import (
    InMemory,
    Parts,
    block_rows,
    capacity,
    check_fit,
    part_rows,
    sum_over_parts,
    sum_over_rows,
)
from fallline.walk.loop import descend

ALL = ("error", "gradient", "gauss_newton", "curvature")


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 900, 1000, 65_537, 1_000_000])
def test_a_capacity_holds_the_rows_with_an_eighth_to_spare_at_most_when_large(rows):
    assert capacity(rows) >= rows
    assert capacity(rows) <= max(8, 2 * rows)
    assert rows < 65_536 or capacity(rows) <= 1.125 * rows


def test_nine_hundred_and_a_thousand_rows_share_a_capacity():
    assert capacity(900) == capacity(1000)


@pytest.mark.parametrize("rows", [1, 5, 900, 70_000, 999_999])
@pytest.mark.parametrize("kinds", [("gradient",), ("gauss_newton",)])
def test_blocks_tile_the_capacity(rows, kinds):
    held = InMemory(np.ones((rows, 8)), np.ones((rows, 1))).padded()
    assert capacity(rows) == len(held.y)
    assert len(held.y) % block_rows(Network((8, 20, 1)), kinds, held) == 0


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("block", [8, 32, 128])
def test_sums_over_blocks_are_sums_over_rows(kind, block, random, x64):
    network = Network((3, 4, 2))
    x, y, s = random.normal(size=(77, 3)), random.normal(size=(77, 2)), random.uniform(size=77)
    rows = InMemory(x, y, s)
    w = network.initial(0)
    whole = sums_of_block(
        network,
        ALL,
        kind,
        Request(0, jax.numpy.asarray(w), jax.numpy.asarray(w)),
        Block(*map(jax.numpy.asarray, (x, y, s))),
    )
    kinds = np.int32(ALL.index(kind))
    summed = jax.jit(lambda w, held: sum_over_rows(network, ALL, Request(kinds, w, w), held, block))(
        w, rows.padded()
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), summed, whole)
    assert rows.count == pytest.approx(s.sum())


def test_padding_repeats_a_real_row(random, x64):
    x, y = random.normal(size=(5, 2)), random.normal(size=(5, 1))
    held = InMemory(x, y).padded()
    assert held.x.shape == (2, 8)  # a column of the table is contiguous
    np.testing.assert_array_equal(held.x[:, 5:].T, np.broadcast_to(x[0], (3, 2)))
    np.testing.assert_array_equal(held.s, [1, 1, 1, 1, 1, 0, 0, 0])


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


def aligned(array):
    """A copy of the array that starts at a multiple of 64 bytes, as XLA needs it to take it without another copy."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(memory, "_LARGE_BYTES", 0)


def sums_by_hand(w, x, y, s, bias):
    """E and ∂E/∂w of ŷ = tanh(x W + b), written out in NumPy and float64."""
    x, y, s = (np.asarray(a, np.float64) for a in (x, y, s))
    coef = w[: x.shape[1] * y.shape[1]].reshape(x.shape[1], y.shape[1])
    predicted = np.tanh(x @ coef + (w[coef.size :] if bias else 0.0))
    slope = (predicted - y) * (1 - predicted**2) * s[:, None]
    error = 0.5 * (s[:, None] * (predicted - y) ** 2).sum()
    return error, np.concatenate([(x.T @ slope).ravel(), slope.sum(0) if bias else []])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("everything_is_large")
def test_parts_of_an_aligned_array_are_the_array_itself(dtype, random, x64):
    x, y = aligned(random.normal(size=(70_001, 32)).astype(dtype)), aligned(np.ones((70_001, 1), dtype))
    rows = InMemory(x, y)
    held = rows.held()
    size = len(held.parts[0].x)
    assert rows.x is x
    assert len(held.parts) == -(-70_001 // size) > 2
    for number, part in enumerate(held.parts[:-1]):
        assert part.x.unsafe_buffer_pointer() == x[number * size :].ctypes.data
        assert part.y.unsafe_buffer_pointer() == y[number * size :].ctypes.data
        assert part.x.dtype == dtype


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.usefixtures("everything_is_large")
def test_an_array_that_lies_otherwise_is_copied_and_sums_to_the_same(order, random, x64):
    x, y = random.normal(size=(70_001, 3)), random.normal(size=(70_001, 1))
    room = np.empty(x.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + 8
    unaligned = room[start : start + x.nbytes].view(np.float64).reshape(x.shape, order=order)
    unaligned[...] = x
    network = Network((3, 1), output_activation="tanh")
    w = network.initial(0)
    held = InMemory(unaligned, y).held()
    sums = sum_over_parts(network, ("gradient",), Request(np.int32(0), w, None), held, 8192)
    error, gradient = sums_by_hand(w, x, y, np.ones(len(x)), bias=True)
    np.testing.assert_allclose(sums.error, error, rtol=1e-11)
    np.testing.assert_allclose(sums.gradient, gradient, rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 4095, 4096, 4097, 65_535, 65_536, 65_537, 70_001, 140_000])
@pytest.mark.parametrize(("outputs", "bias", "weighted"), [(1, True, False), (3, False, True)])
@pytest.mark.usefixtures("everything_is_large")
def test_sums_at_the_borders_of_blocks_and_parts_are_those_of_numpy(
    rows, outputs, bias, weighted, random, x64
):
    x, y = random.normal(size=(rows, 4)), random.normal(size=(rows, outputs))
    s = random.integers(0, 3, rows) + (np.arange(rows) == 0)
    network = Network((4, outputs), output_activation="tanh", bias=bias)
    w = network.initial(0) + 0.1
    held = InMemory(x, y, s if weighted else None).held()
    request = Request(np.int32(0), w, None)
    block = block_rows(network, ("gradient",), held)
    sums = (
        sum_over_parts(network, ("gradient",), request, held, block)
        if isinstance(held, Parts)
        else jax.jit(lambda held: sum_over_rows(network, ("gradient",), request, held, block))(held)
    )
    s = s if weighted else np.ones(rows)
    error, gradient = sums_by_hand(w, x, y, s, bias)
    assert float(sums.rows) == s.sum()
    np.testing.assert_allclose(sums.error, error, rtol=1e-11)
    np.testing.assert_allclose(sums.gradient, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.usefixtures("everything_is_large")
def test_sums_over_parts_do_not_depend_on_the_number_of_threads(kind, random, x64):
    network = Network((3, 4, 2))
    x, y = random.normal(size=(300_001, 3)), random.normal(size=(300_001, 2))
    w, kinds = network.initial(0), np.int32(ALL.index(kind))
    many = InMemory(x, y).held()
    alone = Parts(many.parts, memory.ThreadPoolExecutor(1))
    sums = [sum_over_parts(network, ALL, Request(kinds, w, w), held, 4096) for held in (alone, many, many)]
    jax.tree.map(np.testing.assert_array_equal, sums[0], sums[1])
    jax.tree.map(np.testing.assert_array_equal, sums[0], sums[2])


@pytest.mark.usefixtures("everything_is_large")
def test_a_long_sum_of_float32_rows_loses_no_digits(random, x64):
    x, y = (random.normal(size=(1_000_003, d)).astype(np.float32) for d in (8, 1))
    network = Network((8, 1), output_activation="tanh")
    w = network.initial(0).astype(np.float32).astype(np.float64)
    held = InMemory(x, y).held()
    sums = sum_over_parts(
        network, ("gradient",), Request(np.int32(0), w, None), held, block_rows(network, ("gradient",), held)
    )
    error, gradient = sums_by_hand(w, x, y, np.ones(len(x)), bias=True)
    assert held.parts[0].x.dtype == np.float32
    assert float(sums.rows) == 1_000_003
    np.testing.assert_allclose(sums.error, error, rtol=1e-7)
    np.testing.assert_allclose(sums.gradient, gradient, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("rate", [0.5, 1e6], ids=["converging", "diverging"])
def test_a_descent_over_parts_goes_the_way_of_one_over_padded_rows(rate, random, monkeypatch):
    x = random.normal(size=(70_001, 3))
    y = np.tanh(x @ [[1.0], [-0.5], [0.2]]) + 0.1 * random.normal(size=(70_001, 1))
    network = Network((3, 1), output_activation="tanh")

    def path():
        return descend(
            network,
            InMemory(x, y),
            GradientDescent(rate),
            seed=0,
            max_iter=7,
            watched={"validation": InMemory(x[:66_000], y[:66_000]), "few": InMemory(x[:9], y[:9])},
            judge="validation",
        )

    padded = path()
    monkeypatch.setattr(memory, "_LARGE_BYTES", 0)
    parts = path()
    np.testing.assert_allclose(parts.error, padded.error, rtol=1e-9)
    np.testing.assert_allclose(parts.weights, padded.weights, rtol=1e-9)
    np.testing.assert_allclose(parts.watched["validation"], padded.watched["validation"], rtol=1e-9)
    np.testing.assert_allclose(parts.watched["few"], padded.watched["few"], rtol=1e-9)
    assert (parts.stop, parts.best_step, parts.n_passes) == (padded.stop, padded.best_step, padded.n_passes)


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


@pytest.mark.parametrize("row_bytes", [8, 132, 1000, 10**6])
def test_a_part_is_a_power_of_two_between_its_bounds(row_bytes):
    size = part_rows(row_bytes)
    assert 1 << 10 <= size <= 1 << 16
    assert size & (size - 1) == 0
