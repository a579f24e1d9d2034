"""Do fits on a cluster whose workers are killed at random moments end at the same weights?

    python benchmarks/lost_workers.py [KILLS [SEED]]

A walk by Levenberg–Marquardt over 64 partitions that two worker processes hold is made once without a stop. Then it is made again
and again; at a moment drawn evenly from its time SIGKILL comes to one of the workers. Dask starts another; where it has given
up, a new cluster goes on. Each time all weights of the way have to be the same bits as before.
"""

import os
import random
import signal
import sys
import threading
import time

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from fallline import LevenbergMarquardt, Network, descend
from fallline.rows.cluster import Clustered, Partitions

NETWORK = Network((6, 8, 1))


def workers(client: Client) -> list[int]:
    """The process ids of the workers, once there are two, or nobody starts another."""
    until = time.monotonic() + 15
    while len(found := client.run(os.getpid, on_error="ignore")) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return list(found.values())


def walked(rows: Clustered) -> tuple[np.ndarray, float]:
    """All weights of the way, and the seconds it took."""
    began = time.monotonic()
    path = descend(NETWORK, rows, LevenbergMarquardt(), seed=0, max_iter=15, tol=0)
    return path.weights, time.monotonic() - began


def main(kills: int = 50, seed: int = 0) -> None:
    numbers, chance = np.random.default_rng(seed), random.Random(seed)
    x = numbers.normal(size=(64 * 2048, 6))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * numbers.normal(size=len(x))
    expected, killed, clusters, spent, alone = None, 0, 0, [], 0.0
    while killed < kills:
        clusters += 1
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as made,
            Client(made) as client,
        ):
            rows = Clustered(Partitions.of_arrays(da.from_array(x, chunks=(2048, 6)), da.from_array(y, chunks=2048)))
            walked(rows)
            found, alone = walked(rows)
            expected = found if expected is None else expected
            assert np.array_equal(found, expected), "other weights on another cluster"
            while killed < kills and len(there := workers(client)) == 2:
                killer = threading.Timer(chance.uniform(0, alone), os.kill, (chance.choice(there), signal.SIGKILL))
                killer.start()
                found, seconds = walked(rows)
                killer.join()
                assert np.array_equal(found, expected), f"other weights in walk {killed}"
                spent.append(seconds)
                killed += 1
                print(f"\r{killed}", end="", file=sys.stderr, flush=True)
    print(f"{killed} workers killed on {clusters} clusters: identical weights every time")
    print(f"A walk took {np.mean(spent):.1f} s in the mean, {max(spent):.1f} s at most, {alone:.1f} s without a kill")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
