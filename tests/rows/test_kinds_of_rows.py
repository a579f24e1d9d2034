"""Rows of any kind against rows in memory: what is asked of one is what is asked of the other."""

import functools
import operator

import dask.array as da
import numpy as np
import pytest

from fallline import (
    LBFGS,
    GradientDescent,
    InMemory,
    LevenbergMarquardt,
    Network,
    Rprop,
    descend,
    error_surface,
    hessian,
    verdict_of,
)  # fmt: skip
from fallline.error.sums import Block, Request, merged
from fallline.exceptions import SettingsError
from fallline.rows import stream
from fallline.rows.cluster import Clustered, Partitions
from fallline.rows.moments import moments_of
from fallline.rows.rows import LARGEST_BLOCK, Rows
from fallline.rows.stream import Streamed
from fallline.sure.intervals import Member, intervals_of

NETWORK, LINE = Network((3, 4, 2)), Network((3, 2))


class Parts(Rows):
    """The least that a kind of rows has to say: several parts, one after the other."""

    def __init__(self, parts):
        self.parts = parts
        self.inputs, self.outputs, self.dtype = parts[0].inputs, parts[0].outputs, parts[0].dtype

    inputs = outputs = None

    def __len__(self):
        return sum(map(len, self.parts))

    @property
    def count(self):
        return sum(part.count for part in self.parts)

    def total(self, request, model):
        return functools.reduce(merged, (part.total(request, model) for part in self.parts))

    def each(self, of_block, width=64):
        found = [part.each(of_block, width) for part in self.parts]
        if isinstance(found[0], tuple):
            return tuple(map(np.concatenate, zip(*found, strict=True)))
        return np.concatenate(found)

    def _fold(self, of_block, merge=operator.add, *, size=LARGEST_BLOCK, work=np.inf):
        return functools.reduce(merge, (part._fold(of_block, merge, size=size, work=work) for part in self.parts))

    def _by_part(self, call, array):
        cuts = np.cumsum([len(part) for part in self.parts])[:-1]
        return Parts([call(*each) for each in zip(self.parts, np.split(array, cuts), strict=True)])

    def taking(self, which):
        return self._by_part(lambda part, some: part.taking(some), which)

    def weighted(self, factor):
        return self._by_part(lambda part, some: part.weighted(some), factor)

    def wide(self):
        return Parts([part.wide() for part in self.parts])


def in_parts(x, y, s):
    return Parts([InMemory(x[at], y[at], s[at]) for at in (slice(0, 7), slice(7, 300), slice(300, None))])


@pytest.fixture
def arrays(random):
    x = random.normal(size=(400, 3)) + [0.0, 50.0, -1.0]
    y = np.column_stack([np.sin(x[:, 0]) + x[:, 2] ** 2, 0.1 * x[:, 1]]) + 0.1 * random.normal(size=(400, 2))
    return x - [0.0, 50.0, 0.0], y, random.integers(0, 3, 400).astype(float)


class Blocks:
    """A source: rows in memory, in blocks of so many."""

    def __init__(self, x, y, s=None, size=37):
        self.x, self.y, self.s, self.size = x, y, s, size
        self.inputs, self.outputs = x.shape[1], y.shape[1]

    def blocks(self):
        for at in range(0, len(self.x), self.size):
            part = slice(at, at + self.size)
            yield self.x[part], self.y[part], None if self.s is None else self.s[part]


def in_one_chunk(*arrays):
    return Streamed(Blocks(*arrays))


def in_chunks(*arrays):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_FEWEST_ROWS", 32)
        patch.setattr(stream, "_CHUNK_BYTES", 1)
        return Streamed(Blocks(*arrays))


def on_cluster(*arrays):
    cuts = (50, 0, 130, 20, 150, 50)
    given = (da.from_array(each, chunks=(cuts, *(-1 for _ in each.shape[1:]))) for each in arrays)
    return Clustered(Partitions.of_arrays(*given))


@pytest.fixture(params=[in_parts, in_one_chunk, in_chunks, on_cluster], ids=["parts", "one chunk", "chunks", "cluster"])
def both(request, arrays):
    """The same rows of another kind, and in memory."""
    if request.param is on_cluster:
        request.getfixturevalue("cluster")
    return request.param(*arrays), InMemory(*arrays)


def test_what_is_said_of_rows_is_what_they_are(both, arrays):
    (rows, memory), (x, y, s) = both, arrays
    assert (len(rows), rows.inputs, rows.outputs, rows.dtype) == (400, 3, 2, np.float64)
    assert rows.count == s.sum()
    np.testing.assert_array_equal(rows.counts, s)
    mean = s @ y / s.sum()
    assert rows.error_of_mean == pytest.approx(0.5 * float(s @ ((y - mean) ** 2).sum(axis=1)), rel=1e-12)
    assert rows.error_of_zero == pytest.approx(0.5 * float(s @ (y**2).sum(axis=1)), rel=1e-12)
    np.testing.assert_allclose(rows.input_sizes, np.sqrt(s @ x**2 / s.sum()), rtol=1e-12)
    np.testing.assert_array_equal(rows.content_keys(3), memory.content_keys(3))
    counted = len(np.unique(x[s > 0], axis=0))
    assert rows.differ(counted)
    assert not rows.differ(counted + 1)


def test_several_sums_at_once_are_those_of_each(both, random):
    asked = [(model, Request(kind, random.normal(size=model.n_weights)))
             for model in (NETWORK, LINE) for kind in ("error", "gradient", "gauss_newton")]  # fmt: skip
    for (model, request), found in zip(asked, both[0].totals(asked), strict=True):
        alone = both[1].total(request, model)
        for one, other in zip(found, alone, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_some_of_the_rows_and_others_weighted(both, random):
    which, factor, w = random.random(400) < 0.3, random.uniform(0, 2, 400), NETWORK.initial(0)
    request = Request("gradient", w)
    for one, other in ([each.taking(which) for each in both], [each.weighted(factor) for each in both]):
        assert one.count == pytest.approx(other.count, rel=1e-12)
        found, expected = one.total(request, NETWORK), other.total(request, NETWORK)
        assert found.error == pytest.approx(expected.error, rel=1e-12)
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("descent", "steps"),
    [
        (GradientDescent(learning_rate=0.02), 40),
        (GradientDescent(learning_rate=0.02, momentum=0.8), 40),
        (GradientDescent(), 30),
        (LevenbergMarquardt(), 15),
        (LBFGS(), 20),
        (Rprop(), 30),
    ],
    ids=["gradient", "momentum", "gradient auto", "levenberg-marquardt", "l-bfgs", "rprop"],
)
def test_a_descent_goes_the_same_way(descent, steps, both):
    one, other = (descend(NETWORK, rows, descent, seed=1, max_iter=steps, alpha=0.1) for rows in both)
    assert len(one.steps) == len(other.steps) == steps + 1
    np.testing.assert_allclose(one.error, other.error, rtol=1e-10)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-7, atol=1e-9)


def test_the_moments_are_those_of_the_rows(both):
    one, other = (moments_of(LINE, rows) for rows in both)
    assert one.least == pytest.approx(other.least, rel=1e-10)
    np.testing.assert_allclose(one.best, other.best, rtol=1e-10)
    np.testing.assert_allclose(one.square, other.square, rtol=1e-10)
    ends = [descend(LINE, rows, GradientDescent(), seed=0, max_iter=np.inf).weights[-1] for rows in both]
    np.testing.assert_allclose(*ends, rtol=1e-10)


def test_the_mountain_and_the_intervals_are_the_same(both):
    path = descend(NETWORK, both[1], LevenbergMarquardt(), seed=1, max_iter=60, alpha=0.1)
    curves = [hessian(NETWORK, rows, path.best_weights, path.strength) for rows in both]
    np.testing.assert_allclose(*curves, rtol=1e-10, atol=1e-10 * np.abs(curves[1]).max())
    surfaces = [error_surface(path, rows, points=5).error for rows in both]
    np.testing.assert_allclose(*surfaces, rtol=1e-10)
    one, other = (verdict_of(path, rows) for rows in both)
    assert one.kind == other.kind
    np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-6)
    known = [intervals_of(NETWORK, [Member(path.best_weights, path.strength)], rows) for rows in both]
    np.testing.assert_allclose(*(each.std(each.weights[:, :3]) for each in known), rtol=1e-8)
    np.testing.assert_allclose(*(each.reach(0.9) for each in known), rtol=1e-8)


def test_mini_batches_are_refused_with_what_to_do_instead(arrays):
    with pytest.raises(SettingsError, match=r"mini-batches .* LevenbergMarquardt\(\) or LBFGS\(\)"):
        descend(NETWORK, in_parts(*arrays), GradientDescent(batch_size=20), seed=0, max_iter=1)


def test_steps_that_only_memory_makes_are_left_to_the_loop(arrays):
    rows = in_parts(*arrays)
    assert rows.steps(NETWORK) is None
    assert not rows.ends(NETWORK)
    assert rows.epoch(NETWORK) is None
    assert isinstance(rows._fold(lambda block: [block]), list)
    assert all(isinstance(each, Block) for each in rows._fold(lambda block: [block]))
