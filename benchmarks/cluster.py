"""Rows on a Dask cluster of two worker processes, one thread each, on this machine: what a pass costs, and a whole fit.

    python benchmarks/cluster.py [PARTITIONS [ROWS_OF_A_PARTITION]]

64 partitions of 4,096 rows × 6 inputs, and a network of 8 hidden units (65 weights), unless asked otherwise. ``overhead``: a pass
that is asked for nothing, beside four empty tasks of Dask. ``E and gradient``, ``JᵀJ``: a pass over all rows;
beside it the same rows in the memory of one process that uses both processors. ``fit``: a walk by Levenberg–Marquardt to its end,
and beside it the same in memory. All in turn; medians.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from fallline import InMemory, LevenbergMarquardt, Network, descend
from fallline.error.sums import Request
from fallline.rows.cluster import Clustered, Partitions

ROUNDS, FITS, STEPS = 31, 5, 40


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def nothing(*_: object) -> int:
    """What is asked where only the asking costs."""
    return 0


def main(partitions: int = 64, size: int = 4096) -> None:
    random, n = np.random.default_rng(0), partitions * size
    x = random.normal(size=(n, 6))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * x[:, 3] + 0.1 * random.normal(size=n)
    network = Network((6, 8, 1))
    weights = network.initial(0)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as made,
        Client(made) as client,
    ):
        began = time.perf_counter()
        rows = Clustered(Partitions.of_arrays(da.from_array(x, chunks=(size, 6)), da.from_array(y, chunks=size)))
        print(f"{partitions} partitions of {size:,} rows brought to the workers in {time.perf_counter() - began:.2f} s")
        memory = InMemory(x, y[:, None])
        found = in_turn(
            {
                "a pass that asks for nothing": lambda: rows._fold(nothing, nothing),
                "four empty tasks of Dask": lambda: client.gather(
                    [client.submit(nothing, i, pure=False) for i in range(4)]
                ),
            },
            ROUNDS,
        )
        for name, seconds in found.items():
            print(f"{name}: {1e3 * seconds:.1f} ms")
        for name, kind in (("E and gradient", "gradient"), ("JᵀJ", "gauss_newton")):
            request = Request(kind, weights)
            both = in_turn(
                {
                    "cluster": lambda r=request: rows.total(r, network),
                    "memory": lambda r=request: memory.total(r, network),
                },
                ROUNDS,
            )
            print(f"{name}: cluster {1e3 * both['cluster']:.1f} ms, memory {1e3 * both['memory']:.1f} ms")

        def fit(given: object) -> float:
            path = descend(network, given, LevenbergMarquardt(), seed=0, max_iter=STEPS)  # type: ignore[arg-type]
            return float(path.error[-1])

        ends = [fit(rows), fit(memory)]
        both = in_turn({"cluster": lambda: fit(rows), "memory": lambda: fit(memory)}, FITS)
        print(
            f"fit, {STEPS} steps at most: cluster {both['cluster']:.2f} s, memory {both['memory']:.2f} s, ratio "
            f"{both['cluster'] / both['memory']:.2f}; E {ends[0]:.9g} and {ends[1]:.9g}"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
