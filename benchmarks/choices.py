"""Which of Levenberg–Marquardt's choices earn their place? Each alone against the default, on networks.

    python benchmarks/choices.py DATA [--units H] [--starts K] [--splits K] [--passes P] [--only NAME …]

DATA holds concrete, energy, kin8nm, power_plant, wine_red and yacht as .csv. Standardised columns, 20 tanh units, at most 1 000
rows to descend on, as many held out, the same starting weights for each choice, alpha = 0.1 and 0. Printed for each choice, all
over the default's: F after a tenth, a third and all of the passes, F, held-out error and passes where an estimator would stop
(tol 3e-4), processor seconds a pass: geometric means over tables, splits and starts, in brackets how often the choice is lower.
What each choice is worth on the NIST problems, benchmarks/nist.py says.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from fallline import InMemory, LevenbergMarquardt, Network, descend

TABLES = {"concrete": 1, "energy": 2, "kin8nm": 1, "power_plant": 1, "wine_red": 1, "yacht": 1}
ALPHAS = (0.1, 0.0)
TOL, PATIENCE = 3e-4, 10  # as the estimator stops
CHOICES = {
    "default": LevenbergMarquardt(),
    "rule matlab": LevenbergMarquardt(rule="matlab"),
    "matlab, unscaled, 0.001": LevenbergMarquardt(1e-3, rule="matlab", scaling="none"),
    "columns, 0.001": LevenbergMarquardt(1e-3, scaling="columns"),
    "columns, 0.1": LevenbergMarquardt(0.1, scaling="columns"),
    "columns, 1": LevenbergMarquardt(1.0, scaling="columns"),
    "columns, 0.001, memory 0.8": LevenbergMarquardt(1e-3, scaling="columns", memory=0.8),
    "unscaled, 0.001": LevenbergMarquardt(1e-3, scaling="none"),
    "unscaled, 10": LevenbergMarquardt(10.0, scaling="none"),
    "common, 0.001": LevenbergMarquardt(1e-3),
    "common, 0.1": LevenbergMarquardt(0.1),
    "longest step 1": LevenbergMarquardt(longest_step=1.0),
    "acceleration": LevenbergMarquardt(acceleration=True),
    "polish": LevenbergMarquardt(polish=True),
    "factor qr": LevenbergMarquardt(factor="qr"),
    "Nguyen–Widrow": LevenbergMarquardt(),
}


def nguyen_widrow(network: Network, seed: int, x: np.ndarray) -> np.ndarray:
    """Initial weights as MATLAB's initnw: inputs mapped to [−1, 1], rows of length 0.7 · H^(1/I), active range [−2, 2]."""
    random, layers = np.random.default_rng(seed), network.layers(network.initial(seed))
    inputs, units = network.sizes[:2]
    size = 0.7 * units ** (1 / inputs)
    rows = random.uniform(-1, 1, (inputs, units))
    rows *= size / np.linalg.norm(rows, axis=0)
    bias = size * np.linspace(-1, 1, units) * np.sign(rows[0])
    low, high = x.min(axis=0), x.max(axis=0)
    span = 2 / np.where(high > low, high - low, 1.0)
    coef = rows * span[:, None]
    first = type(layers[0])(coef, bias - (span * low + 1) @ rows)
    return network.vector([first, *layers[1:]])


def split(folder: Path, name: str, outputs: int, seed: int) -> tuple[InMemory, InMemory]:
    table = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)
    table = table[np.random.default_rng(seed).permutation(len(table))]
    half = min(1000, int(0.8 * len(table)))
    table = table[: half + 1000]
    spread = table[:half].std(axis=0)
    table = (table[:, spread > 0] - table[:half, spread > 0].mean(axis=0)) / spread[spread > 0]
    x, y = table[:, :-outputs], table[:, -outputs:]
    return InMemory(x[:half], y[:half]), InMemory(x[half:], y[half:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--passes", type=int, default=90)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--only", nargs="*", default=list(CHOICES))
    asked = parser.parse_args()
    chosen = ["default", *(name for name in asked.only if name != "default")]
    figures: dict[tuple[str, float], list] = {(name, alpha): [] for name in chosen for alpha in ALPHAS}
    for table in asked.tables.split(","):
        for seed in range(asked.splits):
            rows, held_out = split(asked.data, table, TABLES[table], seed)
            network = Network((rows.x.shape[1], asked.units, rows.y.shape[1]))
            for name in chosen:
                descend(network, rows, CHOICES[name], seed=0, max_iter=1)
                for start in range(asked.starts):
                    weights = network.initial(start)
                    if name == "Nguyen–Widrow":
                        weights = nguyen_widrow(network, start, rows.x)
                    for alpha in ALPHAS:
                        walked = walk(network, rows, held_out, CHOICES[name], weights, alpha, asked.passes)
                        figures[name, alpha].append(walked)
        print(f"{table}: load {os.getloadavg()[0]:.1f}", flush=True)
    for alpha in ALPHAS:
        print(f"\nalpha = {alpha:g}, {len(figures['default', alpha])} walks")
        print("| choice | F, 1/10 | F, 1/3 | F, all | F at the stop | held out | passes | seconds a pass |")
        print("|---|---|---|---|---|---|---|---|")
        base = np.array(figures["default", alpha])
        for name in chosen:
            share = np.array(figures[name, alpha]) / base
            better = (share < 0.999).sum(axis=0)
            means = np.exp(np.log(share).mean(axis=0))
            cells = [f"{mean:.3f} ({count})" for mean, count in zip(means, better, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def walk(network, rows, held_out, descent, weights, alpha, passes):
    """F after a tenth, a third and all passes; F, held-out E and passes where tol would end the walk; seconds a pass."""
    began = time.process_time()
    path = descend(
        network, rows, descent, weights=weights, alpha=alpha, max_iter=passes,
        progress=lambda now: now.passes >= passes,
    )  # fmt: skip
    seconds = (time.process_time() - began) / path.n_passes
    lowest = [path.penalised_error[path.passes <= share * passes].min() for share in (0.1, 1 / 3, 1.0)]
    reference, since, stop = np.inf, 0, len(path.steps) - 1
    for step, error in enumerate(path.penalised_error):
        since += 1
        if reference - error > TOL * error:
            reference, since = error, 0
        if since >= PATIENCE:
            stop = step
            break
    residual = network.predict(path.weights[stop], held_out.x) - held_out.y
    return [*lowest, path.penalised_error[stop], np.sum(residual**2), path.passes[stop], seconds]


if __name__ == "__main__":
    main()
