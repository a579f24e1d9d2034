"""A million heavy-ball steps on a linear network: how long, against one ``X.T @ X``?

    python benchmarks/linear.py [--rows 10000000] [--inputs 20] [--steps 1000000] [--repeats 5] [--threads 2]

``InMemory`` checks the rows and is timed apart. Then ``X.T @ X`` by NumPy and ``descend`` take turns, in the same
process, each allowed the same number of threads, and the medians and their ratio are printed; a first turn of both is
not counted. Processor seconds, over all threads, stand beside the seconds on the clock: where other work shares the machine
they say more. "memory" is how far the process grows above the rows during the first ``descend`` (Linux).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fallline import GradientDescent, InMemory, Network, descend


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """On the clock, and of processors."""
    began, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - spent


def held(name: str) -> float:
    """A line of /proc/self/status, in MB: VmRSS now, VmHWM the most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--inputs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])

    random = np.random.default_rng(0)
    x = random.standard_normal((asked.rows, asked.inputs), dtype=np.float32)
    x *= np.geomspace(1.0, 0.03, asked.inputs, dtype=np.float32)
    y = x @ random.standard_normal((asked.inputs, 1), dtype=np.float32)
    y += 3.0 + 0.5 * random.standard_normal(y.shape, dtype=np.float32)
    began = time.perf_counter()
    rows = InMemory(x, y, dtype=np.float32)
    checked = time.perf_counter() - began
    network, descent = Network((asked.inputs, 1)), GradientDescent(0.5, momentum=0.9)
    start = network.initial(0)

    def walk() -> Any:
        return descend(network, rows, descent, weights=start, max_iter=asked.steps)

    def product() -> Any:
        return x.T @ x

    products, walks = [], []
    with threadpool_limits(asked.threads):
        product()
        Path("/proc/self/clear_refs").write_text("5")  # forgets the most memory held so far
        before = held("VmRSS")
        path = walk()
        grown = held("VmHWM") - before
        for _ in range(asked.repeats):
            products.append(seconds(product))
            walks.append(seconds(walk))
    print(f"{asked.rows:,} x {asked.inputs} float32 rows, {asked.steps:,} steps, {asked.threads} thread(s)")
    print(f"check of the rows by InMemory  {checked:7.3f} s")
    medians = []
    for name, taken in (("X.T @ X", products), ("descend", walks)):
        clock, processor = (sorted(each) for each in zip(*taken, strict=True))
        medians.append((statistics.median(clock), statistics.median(processor)))
        print(
            f"{name:30} {medians[-1][0]:7.3f} s  ({clock[0]:.3f} to {clock[-1]:.3f}), {medians[-1][1]:.3f} s of processors"
        )
    one, all_steps = medians
    print(f"ratio                          {all_steps[0] / one[0]:7.2f}    (of processors {all_steps[1] / one[1]:.2f})")
    print(f"memory                         {grown:7.0f} MB above the rows' {(x.nbytes + y.nbytes) / 2**20:.0f}")
    print(path)


if __name__ == "__main__":
    main()
