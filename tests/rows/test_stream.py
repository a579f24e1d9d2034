"""Rows that stream by: the same sums whatever the source's blocks, the threads and whoever else asks."""

import functools
import threading
import tracemalloc

import numpy as np
import pytest

from fallline import LBFGS, Adam, GradientDescent, InMemory, LevenbergMarquardt, Network, descend, descend_from
from fallline.error.sums import Request
from fallline.exceptions import ShapeError, TableError
from fallline.rows import stream
from fallline.rows.stream import Streamed
from fallline.table.scaling import Scaling
from fallline.threads import Workers, side_by_side

NETWORK = Network((3, 4, 2))
REQUEST = Request("gauss_newton", NETWORK.initial(0))


class Blocks:
    """A source: arrays in blocks of these lengths, again and again."""

    def __init__(self, x, y, s=None, sizes=(37,)):
        self.x, self.y, self.s, self.sizes = x, y, s, sizes
        self.inputs, self.outputs, self.asked = 3, 2, 0

    def blocks(self):
        self.asked += 1
        at = turn = 0
        while at < len(self.x):
            part = slice(at, at + self.sizes[turn % len(self.sizes)])
            yield self.x[part], self.y[part], None if self.s is None else self.s[part]
            at, turn = part.stop, turn + 1


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "_FEWEST_ROWS", 64)
    monkeypatch.setattr(stream, "_CHUNK_BYTES", 1)


@pytest.fixture
def arrays(random):
    x = random.normal(size=(1000, 3)) * [1.0, 20.0, 0.1] + [0.0, 300.0, 0.0]
    x[500:600] = x[:100]
    y = np.column_stack([np.sin(x[:, 0]), 10 * x[:, 2] + 0.1 * x[:, 1]])
    return x, y, random.integers(0, 3, 1000).astype(float)


def same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, **tolerance)


@pytest.mark.parametrize("sizes", [(1,), (5, 0, 64), (64,), (999,), (1000,), (5000,)])
@pytest.mark.parametrize("single", [True, False])
def test_sums_have_the_same_bits_whatever_the_blocks_of_the_source(sizes, single, arrays):
    x, y, s = (each.astype(np.float32) if single else each for each in arrays)
    found = [Streamed(Blocks(x, y, s, blocks)) for blocks in ((37,), sizes)]
    assert found[0].dtype == (np.float32 if single else np.float64)
    same(*(rows.total(REQUEST, NETWORK) for rows in found), rtol=0)
    assert not [each for each in threading.enumerate() if each.name.startswith("rows")]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_sums_have_the_same_bits_whatever_the_number_of_threads(threads, arrays, monkeypatch):
    rows = Streamed(Blocks(*arrays))
    expected = rows.total(REQUEST, NETWORK)
    monkeypatch.setattr(stream, "processors", lambda: threads)
    same(rows.total(REQUEST, NETWORK), expected, rtol=0)


def test_rows_are_scaled_on_the_way(arrays):
    x, y, s = arrays
    rows = Streamed(Blocks(*arrays))
    scaling = rows.scaling_for()
    expected = Scaling.fit([(x, y, s)])
    for name, value in scaling.to_arrays().items():
        np.testing.assert_allclose(value, expected.to_arrays()[name], rtol=1e-12, atol=1e-12)
    scaled, memory = rows.scaled(scaling), InMemory(scaling.x(x), scaling.y(y), s)
    same(scaled.total(REQUEST, NETWORK), memory.total(REQUEST, NETWORK), rtol=1e-11, atol=1e-9)
    for name in ("count", "error_of_mean", "error_of_zero"):
        assert getattr(scaled, name) == pytest.approx(getattr(memory, name), rel=1e-11)
    np.testing.assert_allclose(scaled.input_sizes, memory.input_sizes, rtol=1e-11)
    scores = scaled.scaled(
        Scaling(*(getattr(scaling, f"{a}_{b}") for a in "xy" for b in ("mean", "scale")), np.eye(3)[:, :2])
    )
    assert scores.inputs == 2
    np.testing.assert_allclose(scores.input_sizes, memory.input_sizes[:2], rtol=1e-11)


@pytest.mark.parametrize("columns", [64, 1])
def test_a_linear_fit_needs_no_pass_but_the_first_where_columns_are_few(columns, arrays, monkeypatch):
    monkeypatch.setattr(stream, "_FEW_COLUMNS", columns)
    x, y, s = arrays
    line, source = Network((3, 2)), Blocks(x, y, s)
    scaling = Scaling.fit([(x, y, s)])
    for rows, memory in (
        (Streamed(source), InMemory(x, y, s)),
        (Streamed(source).scaled(scaling), InMemory(scaling.x(x), scaling.y(y), s)),
    ):
        before = source.asked
        one, other = (descend(line, each, GradientDescent(), max_iter=500, seed=0) for each in (rows, memory))
        assert source.asked - before == (0 if columns == 64 else 1)
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-9, atol=1e-12)
        one, other = (descend(line, each, GradientDescent(), max_iter=np.inf, seed=0) for each in (rows, memory))
        np.testing.assert_allclose(one.weights[-1], other.weights[-1], rtol=1e-9, atol=1e-12)
        assert one.error[-1] == pytest.approx(other.error[-1], rel=1e-9)
    without = Network((3, 2), bias=False)
    one, other = (
        descend(without, each, GradientDescent(), max_iter=np.inf, seed=0)
        for each in (Streamed(source), InMemory(x, y, s))
    )
    np.testing.assert_allclose(one.weights[-1], other.weights[-1], rtol=1e-9, atol=1e-12)


def test_float32_rows_can_be_had_in_float64(arrays):
    x, y, s = (each.astype(np.float32) for each in arrays)
    rows = Streamed(Blocks(x, y, s)).wide()
    assert rows.wide() is rows
    assert rows.dtype == np.float64
    same(rows.total(REQUEST, NETWORK), InMemory(x, y, s, np.float64).total(REQUEST, NETWORK), rtol=1e-11, atol=1e-9)


def test_row_weights_may_be_given_for_some_blocks_only(arrays):
    class Some(Blocks):
        def blocks(self):
            for at, (x, y, s) in enumerate(super().blocks()):
                yield x, y, s if at % 2 else None

    x, y, s = arrays
    rows = Streamed(Some(x, y, s))
    counts = np.where(np.arange(1000) // 37 % 2 == 1, s, 1.0)
    assert rows.count == counts.sum()
    np.testing.assert_array_equal(rows.counts, counts)


def test_parts_by_content_are_those_of_memory_and_keep_equal_rows_together(arrays):
    ranges = [(0.0, 0.2), (0.2, 0.7), (0.7, 1.0)]
    source = Blocks(*arrays)
    rows, memory = Streamed(source), InMemory(*arrays)
    before = source.asked
    parts = rows.divided(5, ranges)
    assert [len(part) for part in parts] == [len(part) for part in memory.divided(5, ranges)]
    assert sum(part.count for part in parts) == pytest.approx(rows.count)
    assert source.asked == before + 1  # one pass for all of them
    for one, other in zip(parts, memory.divided(5, ranges), strict=True):
        same(one.each(lambda block: (block.x, block.y, block.s)), (other.x, other.y, other.sample_weight), rtol=0)
        same(one.total(REQUEST, NETWORK), other.total(REQUEST, NETWORK), rtol=1e-11, atol=1e-8)
    twins = [{row.tobytes() for row in part.each(lambda block: block.x)} for part in parts]
    assert not twins[0] & twins[1]
    assert not twins[1] & twins[2]


def test_some_rows_of_a_part_and_others_weighted(arrays, random):
    part = Streamed(Blocks(*arrays)).divided(5, [(0.2, 0.7)])[0]
    memory = part.in_memory()
    which, factor = random.random(len(part)) < 0.5, random.uniform(0.1, 2, len(part))
    for one, other in (
        (part.taking(which), memory.taking(which)),
        (part.weighted(factor), memory.weighted(factor)),
        (part.weighted(factor).taking(which), memory.weighted(factor).taking(which)),
        (part.taking(which).weighted(factor[which]), memory.taking(which).weighted(factor[which])),
    ):
        assert isinstance(one, Streamed)
        assert (len(one), one.count) == (len(other), pytest.approx(other.count, rel=1e-12))
        same(one.total(REQUEST, NETWORK), other.total(REQUEST, NETWORK), rtol=1e-11, atol=1e-8)
        np.testing.assert_allclose(one.input_sizes, other.input_sizes, rtol=1e-11)
    numbers = random.permutation(len(part))[:50]
    taken = part.weighted(factor).taking(numbers)
    assert isinstance(taken, InMemory)
    expected = memory.weighted(factor).taking(numbers)
    same((taken.x, taken.y, taken.counts), (expected.x, expected.y, expected.counts), rtol=0)


def test_rows_that_come_again_are_one_that_counts_as_often(arrays):
    x, y, s = arrays
    y[500:600] = y[:100]
    found = Streamed(Blocks(x, y, s)).distinct()
    assert len(found) == 900
    assert found.count == s.sum()
    same(found.total(REQUEST, NETWORK), InMemory(x, y, s).total(REQUEST, NETWORK), rtol=1e-11, atol=1e-8)


def test_each_part_has_a_content_of_its_own(arrays):
    rows = Streamed(Blocks(*arrays))
    contents = [
        rows.content,
        *(part.content for part in rows.divided(5, [(0.0, 0.5), (0.5, 1.0)])),
        rows.weighted(arrays[2]).content,
    ]
    assert len(set(contents)) == 4
    assert Streamed(Blocks(*arrays, sizes=(100,))).content == rows.content


def test_an_empty_part_says_so(arrays):
    (empty,) = Streamed(Blocks(*arrays)).divided(0, [(1.0, 1.0)])
    assert (len(empty), empty.count) == (0, 0.0)
    with pytest.raises(TableError, match="no rows in this part"):
        empty.total(REQUEST, NETWORK)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x, y, s: x.__setitem__((700, 1), np.nan), TableError, "x contains NaN or infinity, first in row 700"),
        (lambda x, y, s: y.__setitem__((999, 1), -np.inf), TableError, "y contains NaN or infinity, first in row 999"),
        (lambda x, y, s: s.__setitem__(3, -1.0), TableError, "finite and not negative"),
        (lambda x, y, s: s.fill(0.0), TableError, "0 for every row"),
    ],
)
def test_what_cannot_be_summed_is_named(change, error, words, arrays):
    change(*arrays)
    with pytest.raises(error, match=words):
        Streamed(Blocks(*arrays))


def test_a_source_without_rows_or_with_others_than_it_says_is_refused(arrays):
    x, y, _ = arrays
    with pytest.raises(TableError, match="there are no rows"):
        Streamed(Blocks(x[:0], y[:0]))
    with pytest.raises(ShapeError, match=r"3 inputs and 2 targets and gave blocks of shapes \(64, 2\), \(64, 2\)"):
        Streamed(Blocks(x[:, :2], y))
    with pytest.raises(ShapeError, match=r"3 inputs and 2 targets, but the model takes 4"):
        descend(Network((4, 2)), Streamed(Blocks(x, y)))


def test_a_source_that_breaks_is_heard_of_and_leaves_no_thread(arrays):
    source = Blocks(*arrays)
    rows, whole = Streamed(source), source.blocks

    def broken():
        yield from list(whole())[:9]
        raise OSError("the disk is gone")

    source.blocks = broken
    with pytest.raises(OSError, match="the disk is gone"):
        rows.total(REQUEST, NETWORK)
    assert not [each for each in threading.enumerate() if each.name.startswith("rows")]
    source.blocks = whole
    assert rows.total(REQUEST, NETWORK).rows == arrays[2].sum()


def test_who_asks_for_nonsense_spoils_nothing_for_others(arrays):
    rows = Streamed(Blocks(*arrays))

    def nonsense(block):
        raise ValueError("nonsense")

    def walk(ask):
        with rows.walking():
            return ask()

    def refused():
        with pytest.raises(ValueError, match="nonsense"):
            rows.each(nonsense)

    total = functools.partial(rows.total, REQUEST, NETWORK)
    found = side_by_side([functools.partial(walk, each) for each in (total, refused, total)], n_jobs=3)
    same(found[0], total(), rtol=0)
    same(found[2], total(), rtol=0)


def test_walks_side_by_side_share_passes_and_go_as_they_would_alone(arrays):
    source = Blocks(*arrays)
    rows = Streamed(source)
    rows = rows.scaled(rows.scaling_for())
    descents = [LevenbergMarquardt(), LBFGS(), GradientDescent(learning_rate=0.02), LevenbergMarquardt()]
    folds = [rows.divided(1, [(0.0, edge)])[0] for edge in (1.0, 0.8, 0.6, 0.5)]
    tasks = [
        functools.partial(descend, NETWORK, fold, descent, seed=seed, max_iter=12)
        for seed, (fold, descent) in enumerate(zip(folds, descents, strict=True))
    ]
    alone, before = [task() for task in tasks], source.asked
    together = side_by_side(tasks, n_jobs=len(tasks))
    asked = source.asked - before
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
    most = max(path.n_passes for path in alone)
    assert most <= asked <= most + 4  # those that began before the others


def test_starts_side_by_side_share_passes_and_end_where_they_do_in_memory(arrays, monkeypatch):
    monkeypatch.setattr("fallline.threads.processors", lambda: 2)
    x, y, s = arrays
    scaling = Scaling.fit([(x, y, s)])
    source = Blocks(x, y, s)
    rows = Streamed(source).scaled(scaling)
    starts = np.stack([NETWORK.initial(seed) for seed in range(2)])
    before = source.asked
    one, other = (
        descend_from(NETWORK, each, LBFGS(), starts=starts, max_iter=10)
        for each in (rows, InMemory(scaling.x(x), scaling.y(y), s))
    )
    np.testing.assert_allclose(one.error, other.error, rtol=1e-8)
    assert source.asked - before < 0.8 * one.passes.sum()


def test_a_walk_that_is_dropped_leaves_the_pass_to_the_others(arrays):
    class Slow(Blocks):
        def blocks(self):
            for each in super().blocks():
                begun.set()
                hold.wait(5)
                yield each

    begun, hold = threading.Event(), threading.Event()
    hold.set()
    rows = Streamed(Slow(*arrays))
    expected = rows.total(REQUEST, NETWORK)
    hold.clear(), begun.clear()
    with Workers(2) as workers:
        first = workers.give(functools.partial(rows.total, REQUEST, NETWORK))
        begun.wait(5)
        second = workers.give(functools.partial(rows.total, REQUEST, NETWORK))
        first.drop()
        hold.set()
        assert first.result() is None
        same(second.result(), expected, rtol=0)


def test_auto_takes_a_descent_that_needs_no_order(arrays):
    x, y, _ = arrays
    rows = Streamed(Blocks(np.tile(x, (3, 1)), np.tile(y, (3, 1))))
    wide = Network((3, 60, 30, 2))
    assert isinstance(descend(wide, rows, max_iter=1).descent, LBFGS)
    assert isinstance(descend(NETWORK, rows, max_iter=1).descent, LevenbergMarquardt)
    assert isinstance(descend(wide, rows.in_memory(), max_iter=1).descent, Adam)


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.undo()

    class Made:
        inputs, outputs = 8, 1

        def __init__(self, count):
            self.count = count

        def blocks(self):
            for at in range(self.count):
                x = np.random.default_rng(at).normal(size=(50_000, 8))
                yield x, x[:, :1], None

    tracemalloc.start()
    try:
        descend(Network((8, 1)), Streamed(Made(30)), LevenbergMarquardt(), seed=0, max_iter=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 5e6 < peak < 4e7  # a few blocks of 3.6 MB: the rows are 108 MB
