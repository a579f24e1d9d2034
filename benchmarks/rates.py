"""How good is the rate that ``learning_rate="auto"`` takes? Against the best of 31 fixed rates, on real tables.

    python benchmarks/rates.py DATA

DATA holds the UCI tables. For each table, seed and number of steps: the lowest E that plain descent reached with the
automatic rate, over the lowest that any of 31 log-spaced fixed rates from 0.01 to 10 reached in as many steps.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fallline import GradientDescent, InMemory, Network, descend, read_table

TABLES = {
    "yacht.csv": ["resistance"],
    "concrete.csv": ["strength"],
    "energy.csv": ["heating_load", "cooling_load"],
    "wine_red.csv": ["quality"],
    "kin8nm.csv": ["y"],
    "power_plant.csv": ["power"],
    "naval.csv.gz": ["compressor_decay", "turbine_decay"],
    "protein.csv.gz": ["RMSD"],
}
RATES = np.logspace(-2, 1, 31)
SEEDS = (0, 1, 2)
STEPS = (200, 2000)


def standardised(path: Path, targets: list[str]) -> tuple[np.ndarray, np.ndarray]:
    columns = dict(read_table(path).columns)
    y = np.column_stack([columns.pop(name) for name in targets])
    x = np.column_stack(list(columns.values()))
    return tuple((a - a.mean(0)) / np.where(a.std(0) > 0, a.std(0), 1.0) for a in (x, y))


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def lowest_of_fixed_rates(network: Network, start, rates, x, y, steps: int):
    """The lowest E met within as many steps as each of ``STEPS`` asks, for every rate: a plain loop of its own."""

    def error(w):
        return 0.5 * jnp.sum((network.predict(w, x, jnp) - y) ** 2)

    def one(rate):
        def step(carry, _):
            w, lowest = carry
            e, g = jax.value_and_grad(error)(w)
            lowest = jnp.where(e < lowest, e, lowest)
            return (w - rate / x.shape[0] * g, lowest), lowest

        infinite = jnp.full((), jnp.inf, x.dtype)
        return jax.lax.scan(step, (start, infinite), None, length=steps + 1)[1][jnp.array(STEPS)]

    return jax.vmap(one)(rates)


def best_fixed(network: Network, x, y, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``STEPS``: the lowest E of all fixed rates, and which rate that was."""
    with jax.enable_x64(True):
        found = np.asarray(lowest_of_fixed_rates(network, network.initial(seed), RATES, x, y, STEPS[-1]))
    return found.min(0), RATES[found.argmin(0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", default=list(TABLES))
    arguments = parser.parse_args()
    print("| table | seed | steps | E/E_best | best fixed rate | passes per step |\n|---|---|---|---|---|---|")
    worst: list[tuple[float, float]] = []
    for name in arguments.only:
        x, y = standardised(arguments.data / name, TABLES[name])
        network = Network((x.shape[1], 10, y.shape[1]))
        for seed in SEEDS:
            lowest, rates = best_fixed(network, x, y, seed)
            for steps, best, rate in zip(STEPS, lowest, rates, strict=True):
                path = descend(network, InMemory(x, y), GradientDescent(), seed=seed, max_iter=steps)
                ratio, passes = path.error.min() / best, (path.n_passes - 1) / steps
                worst.append((ratio, passes))
                print(f"| {name} | {seed} | {steps} | {ratio:.4f} | {rate:.3g} | {passes:.3f} |", flush=True)
    ratios, passes = np.array(worst).T
    print(
        f"\nE/E_best: worst {ratios.max():.4f}, median {np.median(ratios):.4f}; most passes per step {passes.max():.3f}"
    )


if __name__ == "__main__":
    main()
