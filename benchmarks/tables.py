"""Does a default fit hold up against ridge regression on every table, with no preparation by hand?

    python benchmarks/tables.py DATA [--alpha A] [--splits K] [NAME …]

DATA is a folder with ``tables/`` and ``uci/`` (their sources are in benchmarks/README.md). Each table goes through
the road of ``fallline fit``: read, columns judged, five random fifths held out (seeds 0 to 4), default settings.
Printed: mean held-out R² of network and ridge on the same encoded columns, their difference, and seconds per fit.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
from fallline.report import figures
from fallline.table.read import read_table

TARGETS = {
    "tables/penguins.csv": ["body_mass_g"],
    "tables/penguins_raw.csv": ["Body Mass (g)"],
    "tables/bike_sharing_day.csv": ["cnt"],
    "tables/winequality-red.csv": ["quality"],
    "tables/montreal_bikes.csv": ["Berri 1"],
    "uci/yacht.csv": ["resistance"],
    "uci/concrete.csv": ["strength"],
    "uci/energy.csv": ["heating_load", "cooling_load"],
    "uci/wine_red.csv": ["quality"],
    "uci/kin8nm.csv": ["y"],
    "uci/power_plant.csv": ["power"],
    "uci/naval.csv.gz": ["compressor_decay", "turbine_decay"],
    "uci/protein.csv.gz": ["RMSD"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--splits", type=int, default=5)
    asked = parser.parse_intermixed_args()
    settings = {} if asked.alpha is None else {"alpha": asked.alpha}
    for file, targets in TARGETS.items():
        if asked.names and not any(name in file for name in asked.names):
            continue
        table = read_table(asked.data / file)
        scores, seconds, stops = [], [], []
        for seed in range(asked.splits):
            began = time.perf_counter()
            fit = fit_table(prepare(table, targets, seed=seed), seed=seed, **settings)
            seconds.append(time.perf_counter() - began)
            scores.append([[said["network"]["r2"], said["ridge"]["r2"]] for said in figures(fit.rowsets[-1])])
            stops.append(fit.path.n_steps)
        for target, (network, ridge) in zip(targets, np.mean(scores, axis=0), strict=True):
            verdict = "" if network >= ridge - 0.01 else "  BELOW RIDGE"
            print(
                f"{file:28} {target:18} network {network:7.4f}  ridge {ridge:7.4f}  {network - ridge:+.4f}"
                f"  {np.median(seconds):6.2f} s  {np.median(stops):4.0f} steps{verdict}",
                flush=True,
            )


if __name__ == "__main__":
    main()
