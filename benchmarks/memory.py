"""How much memory does Levenberg–Marquardt take above its rows?

    python benchmarks/memory.py [ROWS]

1 million × 10 rows unless asked, 17 tanh units, 205 weights, three steps, in float64 and float32, by Cholesky and by QR, each in
a process of its own. Printed: the peak of the process above what it held when the rows were made and a hundred of them had been
fitted (Python, JAX and the rows), and seconds a pass.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fallline import InMemory, LevenbergMarquardt, Network, descend


def megabytes(which: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[which].split()[0]) / 1024


def one(rows: int, dtype: str, factor: str) -> None:
    network, descent, random = (Network((10, 17, 1)), LevenbergMarquardt(factor=factor), np.random.default_rng(0))
    x = random.standard_normal((rows, 10), dtype)
    y = np.empty((rows, 1), dtype)
    for at in range(0, rows, 1 << 14):  # no temporary as large as the table: the peak is to be the descent's
        y[at : at + (1 << 14), 0] = np.sin(x[at : at + (1 << 14), :3].sum(axis=1))
    descend(network, (x[:100].copy(), y[:100].copy()), descent, seed=0, max_iter=1)
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.perf_counter()
    path = descend(network, InMemory(x, y), descent, seed=0, max_iter=3)
    seconds = (time.perf_counter() - began) / path.n_passes
    peak = megabytes("VmHWM") - before
    print(
        f"{rows} × 10 {dtype}, {network.n_weights} weights, {factor}: {peak:.0f} MB above the data at the peak, "
        f"{path.n_passes} passes of {seconds:.2f} s, compiling among them",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.one:
        one(asked.rows, *asked.one)
        return
    for factor in ("cholesky", "qr"):
        for dtype in ("float64", "float32"):
            command = [sys.executable, __file__, str(asked.rows), "--one", dtype, factor]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
