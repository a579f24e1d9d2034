import jax
import numpy as np
import pytest

from fallline.error import Block, Request, sums_of_block
from fallline.exceptions import ShapeError, TableError
from fallline.network import Network
from fallline.rows.memory import InMemory, block_rows, capacity, check_fit, sum_over_rows

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
    assert capacity(rows) == len(held.x)
    assert len(held.x) % block_rows(Network((8, 20, 1)), kinds, held) == 0


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
    assert held.x.shape == (8, 2)
    np.testing.assert_array_equal(held.x[5:], np.broadcast_to(x[0], (3, 2)))
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
