"""Rows on a cluster: the same bits however many workers there are and whoever answers, a killed one included."""

import contextlib
import functools
import os
import signal
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, KilledWorker, LocalCluster

import fallline
from fallline import GradientDescent, InMemory, LevenbergMarquardt, Network, descend
from fallline.error.sums import Request
from fallline.exceptions import ClusterError, FalllineError, SettingsError, ShapeError, TableError
from fallline.native.library import status
from fallline.rows import cluster as module
from fallline.rows.cluster import Clustered, Partitions

NETWORK = Network((3, 4, 1))
REQUEST = Request("gauss_newton", NETWORK.initial(0))
CUTS = (40, 0, 160, 100, 1, 199, 300, 0, 0, 130, 70)


@pytest.fixture
def arrays(random):
    x = random.normal(size=(1000, 3)) * [1.0, 20.0, 0.1] + [0.0, 300.0, 0.0]
    return x, np.sin(x[:, 0]) + 10 * x[:, 2] + 0.1 * x[:, 1], random.integers(0, 3, 1000).astype(float)


@pytest.fixture
def alone():
    """Another cluster, of three workers in this very process."""
    with (
        LocalCluster(n_workers=3, threads_per_worker=2, processes=False, dashboard_address=":0") as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


def clustered(arrays, cuts=CUTS):
    return Clustered(
        Partitions.of_arrays(*(da.from_array(each, chunks=(cuts, *(-1,) * (each.ndim - 1))) for each in arrays))
    )


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def pids(cluster):
    return cluster.run(os.getpid, on_error="ignore")


def wait_for_two(cluster, killed=0):
    """The workers, when there are two again and none of them is the process that was killed."""
    while len(found := pids(cluster)) < 2 or killed in found.values():
        time.sleep(0.05)
    return sorted(found)


# Merging


def by_halves(leaves):
    """The sum of 2^k leaves as that of two halves; those that are not there left out."""
    size = 1 << (len(leaves) - 1).bit_length()
    if len(leaves) == 1:
        return leaves[0]
    left, right = by_halves(leaves[: size // 2]), by_halves(leaves[size // 2 :])
    return left if right is None else right if left is None else f"({left}+{right})"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64, 100])
def test_sums_are_merged_along_one_tree_whoever_holds_the_leaves(count, random):
    leaves = [None if random.random() < 0.2 else str(number) for number in range(count)]
    holders = random.integers(0, 4, count)
    nodes = {}
    for holder in range(4):
        held = {(0, number): leaves[number] for number in range(count) if holders[number] == holder}
        nodes |= module._merged(held, count, lambda one, other: f"({one}+{other})")
    (total,) = module._merged(nodes, count, lambda one, other: f"({one}+{other})").values()
    assert total == by_halves(leaves)


def test_neighbours_come_back_as_one_triple():
    held = module._merged({(0, number): 1 for number in range(16, 32)}, 64, int.__add__)
    assert held == {(4, 1): 16}


@pytest.mark.parametrize("tasks", [(1, 1), (3, 3), (8, 8)])
def test_sums_have_the_same_bits_whatever_the_number_of_tasks_and_workers(tasks, cluster, alone, arrays, monkeypatch):
    expected = clustered(arrays).total(REQUEST, NETWORK)
    monkeypatch.setattr(module, "_TASKS", tasks)
    with alone.as_current():
        same(clustered(arrays).total(REQUEST, NETWORK), expected)


def test_sums_have_the_same_bits_where_workers_answer_in_another_order(cluster, arrays):
    rows = clustered(arrays)
    expected = rows._fold(lambda block: block.y.sum())
    for slow in (0, 999):
        assert (
            rows._fold(
                lambda block, slow=slow: (time.sleep(0.3 * (block.y[0, 0] == arrays[1][slow])), block.y.sum())[1]
            )
            == expected
        )


def test_sums_are_those_of_memory(cluster, arrays):
    x, y, s = arrays
    rows, memory = clustered(arrays), InMemory(x, y[:, None], s)
    assert (len(rows), rows.count, rows.inputs, rows.outputs) == (1000, s.sum(), 3, 1)
    for one, other in zip(rows.total(REQUEST, NETWORK), memory.total(REQUEST, NETWORK), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-8)


def test_several_sums_take_one_pass_and_small_tasks(cluster, arrays):
    rows = clustered(arrays)
    assert 2 <= len(rows._gate._groups) <= 4 * 2
    before = rows._gate.passes
    asked = [(NETWORK, Request("gradient", NETWORK.initial(seed))) for seed in range(5)]
    for (model, request), found in zip(asked, rows.totals(asked), strict=True):
        same(
            [each for each in found if each is not None],
            [each for each in rows.total(request, model) if each is not None],
        )
    assert rows._gate.passes == before + 1 + 5


def test_dask_arrays_are_descended_on_where_they_lie(cluster, arrays):
    x, y, s = arrays
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    given = [
        (da.from_array(x, chunks=(300, 2)), da.from_array(y, chunks=300), da.from_array(s, chunks=300)),
        (x, y[:, None], s),
    ]
    one, other = (descend(NETWORK, rows, LevenbergMarquardt(), seed=1, max_iter=8) for rows in given)
    np.testing.assert_allclose(one.error, other.error, rtol=1e-10)


# Faults


def test_a_worker_killed_in_a_pass_costs_time_and_not_a_bit(cluster, arrays, tmp_path):
    rows, mark = clustered(arrays), str(tmp_path / "killed")

    def deadly(block):
        with contextlib.suppress(FileExistsError):
            with Path(mark).open("x") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return block.y.sum()

    assert rows._fold(deadly) == rows._fold(lambda block: block.y.sum())
    wait_for_two(cluster, int(Path(mark).read_text()))


def test_a_descent_goes_the_same_way_though_workers_are_killed(cluster, arrays):
    x, y, s = arrays
    rows = clustered(((x - x.mean(axis=0)) / x.std(axis=0), y, s))
    walk = functools.partial(descend, NETWORK, rows, LevenbergMarquardt(), seed=1, max_iter=12, tol=0)
    expected, victims = walk(), list(pids(cluster).values())

    def kill(progress):
        if progress.steps in (3, 8):
            with contextlib.suppress(IndexError):
                os.kill(victims.pop(), signal.SIGKILL)

    found = walk(progress=kill, every_step=True)
    if status().level is None:  # NumPy's sums differ in the last digit by where arrays lie in memory
        np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
    else:
        same([found.weights], [expected.weights])
    assert not victims
    wait_for_two(cluster)


# On the workers


def test_freed_memory_stays_with_a_worker_though_dask_gives_it_back(cluster, arrays):
    def faults():
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(1 << 20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert all(cluster.run(lambda: "MALLOC_TRIM_THRESHOLD_" in os.environ).values())
    clustered(arrays)
    cluster.run(faults)
    assert max(cluster.run(faults).values()) < 20 * (8 << 20) / 4096 / 4  # pages, were all asked for anew


def test_blas_has_one_thread_in_a_task(cluster, arrays):
    def threads(block):
        from threadpoolctl import threadpool_info

        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    found = clustered(arrays)._fold(lambda block: threads(block))
    assert set(found) == {1}


# Sentences


def test_a_worker_without_fallline_is_named(cluster, arrays):
    worker = wait_for_two(cluster)[1]

    def hide():
        sys.hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("fallline")}
        sys.modules["fallline"] = None

    def show():
        sys.modules.update(sys.hidden)

    clustered(arrays)
    cluster.run(hide, workers=[worker])
    try:
        with pytest.raises(
            ClusterError, match=f"{worker} cannot import fallline .*: install fallline {fallline.__version__} in"
        ):
            clustered(arrays)
    finally:
        cluster.run(show, workers=[worker])


def test_a_worker_with_another_version_or_other_native_code_is_named(cluster, arrays):
    worker = wait_for_two(cluster)[0]

    def change(name):
        from fallline.rows import cluster as module

        module.before, module.kind = module.kind, lambda: name

    def put_back():
        from fallline.rows import cluster as module

        module.kind = module.before

    rows, here = clustered(arrays), module.kind()
    for name, words in (
        (("0.0.1", "avx2"), f"{worker} has fallline 0.0.1, and here is {here[0]}.*Install the same version"),
        ((here[0], "other"), f"{worker} at level other.*FALLLINE_NATIVE set to the lowest level"),
    ):
        cluster.run(change, name, workers=[worker])
        try:
            with pytest.raises(ClusterError, match=words):
                clustered(arrays)
            with pytest.raises(ClusterError, match="round differently"):  # who comes later
                rows.total(REQUEST, NETWORK)
        finally:
            cluster.run(put_back, workers=[worker])


def test_without_a_client_or_a_cluster_that_is_there_says_so(arrays):
    with pytest.raises(ClusterError, match=r"no client of one: make one first"):
        clustered(arrays)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as made:
        with Client(made, set_as_default=False) as client, client.as_current():
            rows = clustered(arrays)
        with pytest.raises(ClusterError, match="the cluster is gone"):
            rows.total(REQUEST, NETWORK)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as made,
        Client(made, set_as_default=False) as client,
        client.as_current(),
        pytest.raises(ClusterError, match="no workers: start some"),
    ):
        clustered(arrays)


def test_what_cannot_be_summed_is_named_as_in_memory(cluster, arrays):
    x, y, s = arrays
    with pytest.raises(TableError, match="x contains NaN or infinity, first in row 700"):
        clustered((np.where(np.arange(1000)[:, None] == 700, np.nan, x), y, s))
    with pytest.raises(TableError, match="there are no rows"):
        clustered((x[:0], y[:0], s[:0]), (0, 0))
    with pytest.raises(ShapeError, match=r"cut into rows in different ways.*rechunk"):
        Partitions.of_arrays(da.from_array(x, chunks=(500, 3)), da.from_array(y, chunks=400))
    with pytest.raises(ShapeError, match=r"shapes \(1000, 3\), \(1000, 3, 1\): expected"):
        Partitions.of_arrays(da.from_array(x), da.from_array(x[..., None]))
    with pytest.raises(SettingsError, match=r"mini-batches take rows in random order, and these \(Clustered\)"):
        descend(NETWORK, clustered(arrays), GradientDescent(batch_size=10))


def test_what_dask_raises_is_said_in_sentences(cluster, arrays, monkeypatch):
    died = "several workers died one after the other over the same partitions"
    with pytest.raises(ClusterError, match=died), module.in_sentences(cluster):
        raise KilledWorker("list-1", None, 3)

    def lacking():
        import no_such_library  # noqa: F401

    with pytest.raises(ClusterError, match=r"a worker lacks what is needed there .*no_such_library.*: install it"):
        Clustered(Partitions([dask.delayed(lacking)()], 3, 1))
    with pytest.raises(FileNotFoundError):  # of a partition, not of the cluster
        Clustered(Partitions([dask.delayed(open)("/no/such/file")], 3, 1))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ClusterError, match=r"rows on a cluster need Dask's `distributed`.*pip install 'fallline\[cluster\]'"
    ):
        module.client_at_hand()


def test_what_breaks_where_the_partitions_are_made_is_heard_here(cluster):
    def broken():
        raise TableError("the file is damaged: copy it again.")

    with pytest.raises(TableError, match="the file is damaged"):
        Clustered(Partitions([dask.delayed(broken)()], 3, 1))


def test_a_walk_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits(cluster, arrays, tmp_path):
    x, y, s = arrays
    rows = clustered(((x - x.mean(axis=0)) / x.std(axis=0), y, s))
    walk = functools.partial(descend, NETWORK, rows, LevenbergMarquardt(), seed=1, max_iter=12, every_step=True)
    expected = walk()
    stopped = walk(checkpoint=tmp_path / "kept", progress=lambda now: now.steps >= 4)
    assert stopped.n_iter < expected.n_iter
    found = walk(checkpoint=tmp_path / "kept")
    same([found.weights, found.error], [expected.weights, expected.error])
    other = clustered((x, y, s))
    walk(checkpoint=tmp_path / "again", progress=lambda now: now.steps >= 4)
    with pytest.raises(FalllineError, match=r"table|rows"):
        descend(
            NETWORK, other, LevenbergMarquardt(), seed=1, max_iter=12, every_step=True, checkpoint=tmp_path / "again"
        )
