"""One full-batch pass over a table larger than any cache: what share of the memory's speed is reached?

    python benchmarks/full_pass.py [ROWS] [INPUTS]

A pass is E and its gradient for one logistic unit, 4 million × 32 float32 unless asked. The bare read, fallline and, where it
is installed, PyTorch take turns; medians of 5 rounds. The read is a C loop compiled here by gcc, or NumPy's sum where there is
no gcc. fallline is timed as a user has it: ``descend`` with 20 steps against ``descend`` with 4.
"""

import ctypes
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from fallline import GradientDescent, InMemory, Network, descend

READ = r"""
#include <pthread.h>
#include <stddef.h>
typedef struct { const float *a; size_t n; float s; } part;
static void *one(void *v) {
  part *p = v; float s[64] = {0};
  for (size_t i = 0; i + 64 <= p->n; i += 64) for (int k = 0; k < 64; k++) s[k] += p->a[i + k];
  p->s = 0; for (int k = 0; k < 64; k++) p->s += s[k];
  return 0;
}
float read_all(const float *a, size_t n, int threads) {
  pthread_t t[256]; part p[256]; float s = 0; size_t each = n / threads;
  for (int i = 0; i < threads; i++) { p[i] = (part){a + i * each, each, 0}; pthread_create(&t[i], 0, one, &p[i]); }
  for (int i = 0; i < threads; i++) { pthread_join(t[i], 0); s += p[i].s; }
  return s;
}
"""


def aligned(rows: int, columns: int) -> np.ndarray:
    room = np.empty(rows * columns * 4 + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + rows * columns * 4].view(np.float32).reshape(rows, columns)


def reader(folder: str):
    """A function (array, threads) that reads every number once, and what it is."""
    if not shutil.which("gcc"):
        return lambda array, threads: array.sum(), "NumPy sum, one thread"
    source, library = Path(folder, "read.c"), Path(folder, "read.so")
    source.write_text(READ)
    options = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-pthread"]
    subprocess.run(["gcc", *options, source, "-o", library], check=True)
    read = ctypes.CDLL(str(library)).read_all
    read.argtypes, read.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_float
    return lambda array, threads: read(array.ctypes.data, array.size, threads), "C"


def megabytes(which: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[which].split()[0]) / 1024


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    n, d = (int(given) for given in (sys.argv[1:] + ["4000000", "32"][len(sys.argv) - 1 :])[:2])
    threads = len(os.sched_getaffinity(0))
    random = np.random.default_rng(0)
    x, y = aligned(n, d), aligned(n, 1)
    random.standard_normal(dtype=np.float32, out=x)
    y[:] = 1 / (1 + np.exp(-(x @ random.standard_normal((d, 1), dtype=np.float32))))
    size = (x.nbytes + y.nbytes) / 1e9

    network = Network((d, 1), output_activation="logistic")
    descent = GradientDescent(learning_rate=1.0)

    def fallline(steps: int, rows=None) -> None:
        descend(network, rows or InMemory(x, y), descent, seed=0, max_iter=steps)

    fallline(2, InMemory(x[:1000], y[:1000]))
    before = megabytes("VmRSS")
    fallline(20)
    grown = megabytes("VmRSS") - before
    peak = megabytes("VmHWM") - before
    rows = InMemory(x, y)

    with tempfile.TemporaryDirectory() as folder:
        read, how = reader(folder)
        turns = {
            "read, 1 thread": lambda: timed(lambda: read(x, 1)),
            f"read, {threads} threads": lambda: timed(lambda: read(x, threads)),
            "fallline": lambda: (timed(lambda: fallline(20, rows)) - timed(lambda: fallline(4, rows))) / 16,
        }
        try:
            import torch
        except ImportError:
            torch = None
        if torch:
            inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
            coef, bias = torch.zeros(d, 1, requires_grad=True), torch.zeros(1, requires_grad=True)

            def one_pass() -> None:
                coef.grad = bias.grad = None
                (0.5 * ((torch.sigmoid(inputs @ coef + bias) - targets) ** 2).sum()).backward()

            turns["PyTorch"] = lambda: timed(one_pass)
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for turn in range(6):
            for name, take in turns.items():
                spent = take()
                if turn:  # the first one warms up
                    seconds[name].append(spent)

    print(
        f"{n} × {d} float32, {size:.2f} GB; {platform.processor() or platform.machine()}, {threads} processors, ",
        end="",
    )
    print(
        f"load {os.getloadavg()[0]:.1f}; jax {jax.__version__}{f', torch {torch.__version__}' if torch else ''}; read by {how}"
    )
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    bare = medians[f"read, {threads} threads"]
    for name, median in medians.items():
        spread = f"{min(seconds[name]) * 1e3:.0f} to {max(seconds[name]) * 1e3:.0f}"
        print(
            f"{name:16} {median * 1e3:7.1f} ms ({spread}) {size / median:6.1f} GB/s {bare / median:6.0%} of the read",
            end="",
        )
        print(f", {medians['PyTorch'] / median:.2f} × PyTorch" if torch else "")
    print(f"memory above the data and the process after a small fit: {grown:.0f} MB, at the peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
