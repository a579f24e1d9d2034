"""How long do basins take? 200 × 200 starts of the two-weight sigmoid neuron, 100 rows, 500 steps each, on all cores.

    python benchmarks/basins.py

Plain descent and momentum, each with the minima told apart at the end.
"""

import time

import numpy as np

from fallline import GradientDescent, InMemory, Network, find_basins

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(100, 2)) * np.exp(RANDOM.normal(size=(100, 1)))
NEURON = Network((2, 1), output_activation="logistic", bias=False)
Y = NEURON.predict(np.array([2.0, -1.0]), X) + 0.1 * RANDOM.normal(size=(100, 1))
DESCENTS = {"plain": GradientDescent(2.0), "momentum": GradientDescent(2.0, 0.9)}


def main() -> None:
    rows = InMemory(X, Y)
    for name, descent in DESCENTS.items():
        clock = time.perf_counter()
        basins = find_basins(NEURON, rows, {name: descent}, extent=(-9, 9, -9, 9), points=200, max_iter=500)
        inside, arrived = basins.counts(name).sum(), basins.arrived[name].sum()
        found = f"{len(basins.minima)} minima, {inside} starts in a basin, {arrived} arrived"
        print(f"{name:9} {time.perf_counter() - clock:6.2f} s, {found}")


if __name__ == "__main__":
    main()
