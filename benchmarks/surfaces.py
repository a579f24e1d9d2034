"""How long does a map of the error take? 201 × 201 points, 10 000 rows, a network of 101 weights, float64.

    python benchmarks/surfaces.py

Beside it, in turn, the same grid batched in PyTorch, where it is installed: all products of a few points and some rows as one
batch, in the sizes that proved fastest of those tried at the start, and with both cores. Medians of 3; a tenth of the grid
for PyTorch's trials. The errors of both must agree.
"""

import itertools
import time

import numpy as np

from fallline import InMemory, Network, Plane
from fallline.landscape.evaluate import errors_on

ROWS, INPUTS, UNITS, POINTS, REPEATS = 10_000, 8, 10, 201, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, INPUTS))
Y = np.sin(X[:, :1]) + 0.3 * X[:, 1:2]
NETWORK = Network((INPUTS, UNITS, 1))
PLANE = Plane(*(0.4 * RANDOM.normal(size=(3, NETWORK.n_weights))))
SIDE = np.linspace(-1, 1, POINTS)
GRID = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)


def by_fallline(points: np.ndarray = GRID) -> np.ndarray:
    return errors_on(NETWORK, InMemory(X, Y), PLANE, points)


def by_torch(points: np.ndarray, together: int, rows: int) -> np.ndarray:
    import torch

    x, y = torch.tensor(X), torch.tensor(Y[:, 0])
    weights = torch.tensor(PLANE.at(points))
    found = torch.zeros(len(points), dtype=torch.float64)
    with torch.no_grad():
        for at in range(0, len(points), together):
            w = weights[at : at + together]
            first = w[:, : INPUTS * UNITS].reshape(-1, INPUTS, UNITS)
            bias, second, last = w[:, None, 80:90], w[:, 90:100, None], w[:, 100:]
            for row in range(0, ROWS, rows):
                hidden = torch.baddbmm(bias, x[row : row + rows].expand(len(w), -1, -1), first).tanh_()
                r = torch.bmm(hidden, second)[:, :, 0].add_(last).sub_(y[row : row + rows])
                found[at : at + together] += 0.5 * (r * r).sum(1)
    return found.numpy()


def main() -> None:
    runs = {"fallline": by_fallline}
    try:
        import torch

        print(f"PyTorch {torch.__version__} with {torch.get_num_threads()} threads")
        some = GRID[:: len(GRID) // 400]
        trials = {}
        for together, rows in itertools.product((1, 4, 16, 64), (500, 2_000, 10_000)):
            by_torch(some[:64], together, rows)
            clock = time.perf_counter()
            np.testing.assert_allclose(by_torch(some, together, rows), by_fallline(some), rtol=1e-12)
            trials[together, rows] = time.perf_counter() - clock
        best = min(trials, key=trials.__getitem__)
        print(f"PyTorch is fastest with {best[0]} points and {best[1]} rows at a time")
        runs["PyTorch"] = lambda: by_torch(GRID, *best)
    except ImportError:
        pass
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            clock = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - clock)
    ours = float(np.median(seconds["fallline"]))
    for name, times in seconds.items():
        took = float(np.median(times))
        rows = ROWS * len(GRID) / took / 1e6
        print(f"{name:10} {took:7.2f} s   {took / ours:5.2f} × fallline   {rows:6.0f} million rows × points a second")


if __name__ == "__main__":
    main()
