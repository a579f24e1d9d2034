"""How long does a step take where there is next to nothing to compute? One sigmoid neuron, its whole path kept.

    python benchmarks/neuron.py

Two weights, 100 rows, float64, plain descent at a fixed rate: weights, E and gradient of every step. Beside fallline,
in turn: a hand-written ``lax.scan``, the same loop in C (gcc -O3 -march=native -ffast-math) where there is a compiler,
and PyTorch's eager loop where it is installed. Microseconds a step, medians of 5.
"""

import argparse
import ctypes
import functools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fallline import GradientDescent, Network, descend

RATE, START = 5.0, np.array([-0.5, -5.0])
X = np.random.default_rng(0).normal(size=(100, 2))
Y = 1 / (1 + np.exp(-X @ [[2.0], [-1.0]]))
NEURON = Network((2, 1), output_activation="logistic", bias=False)

LOOP_IN_C = r"""
#include <math.h>
void walk(const double *x, const double *y, int n, const double *start, double rate, long steps,
          double *weights, double *error, double *gradient) {
  double a = start[0], b = start[1];
  for (long t = 0; t <= steps; t++) {
    double e = 0, ga = 0, gb = 0;
    for (int i = 0; i < n; i++) {
      double p = 1 / (1 + exp(-(a * x[2 * i] + b * x[2 * i + 1]))), r = p - y[i], d = r * p * (1 - p);
      e += r * r; ga += d * x[2 * i]; gb += d * x[2 * i + 1];
    }
    weights[2 * t] = a; weights[2 * t + 1] = b; error[t] = 0.5 * e; gradient[2 * t] = ga; gradient[2 * t + 1] = gb;
    a -= rate / n * ga; b -= rate / n * gb;
  }
}
"""


def by_fallline(steps: int):
    path = descend(NEURON, (X, Y), GradientDescent(RATE), weights=START, max_iter=steps)
    return path.weights, path.error, path.gradient


@functools.partial(jax.jit, static_argnames="steps")
def _scan(start, x, y, steps):
    def error(w):
        return 0.5 * jnp.sum((jax.nn.sigmoid(x @ w) - y) ** 2)

    def step(w, _):
        e, g = jax.value_and_grad(error)(w)
        return w - RATE / 100 * g, (w, e, g)

    return jax.lax.scan(step, start, None, length=steps + 1)[1]


def by_scan(steps: int):
    with jax.enable_x64(True):
        return [np.asarray(each) for each in _scan(START, X, Y[:, 0], steps)]


def in_c(folder: Path) -> Callable[[int], tuple[np.ndarray, ...]]:
    (folder / "walk.c").write_text(LOOP_IN_C)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, folder / "walk.c", "-o", folder / "walk.so", "-lm"], check=True)
    library = ctypes.CDLL(str(folder / "walk.so"))

    def run(steps: int):
        found = np.empty((steps + 1, 2)), np.empty(steps + 1), np.empty((steps + 1, 2))
        pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (X, Y, START, *found)]
        library.walk(*pointers[:2], 100, pointers[2], ctypes.c_double(RATE), ctypes.c_long(steps), *pointers[3:])
        return found

    return run


def by_torch(steps: int):
    import torch

    torch.set_num_threads(1)
    x, y = torch.tensor(X), torch.tensor(Y)
    w = torch.tensor(START[:, None], requires_grad=True)
    optimiser, kept = torch.optim.SGD([w], lr=RATE / 100), []
    for _ in range(steps + 1):
        optimiser.zero_grad()
        error = 0.5 * ((torch.sigmoid(x @ w) - y) ** 2).sum()
        error.backward()
        kept.append((w.detach().clone(), error.item(), w.grad.clone()))
        optimiser.step()
    return torch.stack([w for w, _, _ in kept])[:, :, 0].numpy(), np.array([e for _, e, _ in kept]), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, tuple[Callable, int]] = {"fallline": (by_fallline, steps), "lax.scan": (by_scan, steps)}
        if shutil.which("gcc"):
            runs["C"] = (in_c(Path(folder)), steps)
        try:
            import torch  # noqa: F401

            runs["PyTorch"] = (by_torch, max(steps // 100, 100))
        except ImportError:
            pass
        first = {name: run(count) for name, (run, count) in runs.items()}  # compiles, and must agree
        for name, found in first.items():
            length = len(found[1])
            np.testing.assert_allclose(
                found[0], first["C" if "C" in runs else "lax.scan"][0][:length], rtol=1e-8, err_msg=name
            )
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(5):
            for name, (run, count) in runs.items():
                clock = time.perf_counter()
                run(count)
                seconds[name].append((time.perf_counter() - clock) / count)
    each = {name: float(np.median(times)) for name, times in seconds.items()}
    for name, time_of_step in each.items():
        print(
            f"{name:10} {1e6 * time_of_step:9.3f} µs a step   fallline takes {each['fallline'] / time_of_step:8.4f} of it"
        )


if __name__ == "__main__":
    main()
