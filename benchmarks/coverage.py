"""Do 95 % intervals hold 95 % of rows that a fit has not seen, and how wide are they?

    python benchmarks/coverage.py DATA [--splits K] [--coverage C] [NAME …]

DATA is a folder with ``uci/`` and its ``uci/splits/`` (sources in benchmarks/README.md). A default fit to the training part of
each standard split, and the share of its test part that lies inside the intervals, with their mean width in standard
deviations of the target; beside them the intervals of the textbook, the residuals' standard error and Student's t.
Printed: means over the splits, the standard error of the coverage, and the median seconds of fit and intervals.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from fallline.cli.rows import prepare
from fallline.exceptions import TableError
from fallline.fit.network_fit import fit_network
from fallline.sure.fitted_intervals import intervals_of_fit, members_of
from fallline.sure.uncertainty import uncertainty_of
from fallline.table.read import read_table

TARGETS = {
    "yacht": "resistance",
    "concrete": "strength",
    "energy": "heating_load",
    "wine_red": "quality",
    "kin8nm": "y",
    "power_plant": "power",
}
OTHER_TARGETS = {"energy": ["cooling_load"]}


def inside_and_width(low: np.ndarray, high: np.ndarray, y: np.ndarray, unit: float) -> list[float]:
    return [np.mean((low <= y) & (y <= high)), np.mean(high - low) / unit]


def textbook(fitted, path, x, y, new, coverage):
    """Lower and upper ends by s² = Σr²/(n − γ) and Student's t, of the first start."""
    start = members_of(fitted, path)[0]
    network = path.model
    try:
        found = uncertainty_of(network, start.weights, fitted.rows(x, y), strength=start.strength, noise="residuals")
    except TableError:
        return None
    ends = found.prediction_interval(fitted.scaling.x(new), coverage)
    return [fitted.scaling.unscale_y(end) for end in ends]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--coverage", type=float, default=0.95)
    asked = parser.parse_intermixed_args()
    for name, target in TARGETS.items():
        if asked.names and name not in asked.names:
            continue
        table = read_table(asked.data / "uci" / f"{name}.csv")
        parts = np.loadtxt(
            asked.data / "uci" / "splits" / f"{name}.test_rows.csv", delimiter=",", skiprows=1, dtype=int
        )
        ours, theirs, seconds = [], [], []
        for seed in range(min(asked.splits, parts.shape[1])):
            test = np.sort(parts[:, seed])
            train = np.setdiff1d(np.arange(table.rows), test)
            rows = prepare(table.take(train), [target], holdout=table.take(test), drop=OTHER_TARGETS.get(name, []))
            began = time.perf_counter()
            fitted, path = fit_network(rows.x, rows.y, indicators=rows.columns.indicators, seed=seed)
            fit = time.perf_counter() - began
            known = intervals_of_fit(fitted, path, fitted.rows(rows.x, rows.y), seed=seed)
            seconds.append([fit, time.perf_counter() - began - fit])
            unit = rows.y.std()
            low, high = np.moveaxis(known.interval(rows.held_x, asked.coverage), 2, 0)
            ours.append(inside_and_width(low, high, rows.held_y, unit))
            if ends := textbook(fitted, path, rows.x, rows.y, rows.held_x, asked.coverage):
                theirs.append(inside_and_width(*ends, rows.held_y, unit))
        (share, width), (fit, after) = np.mean(ours, axis=0), np.median(seconds, axis=0)
        spread = np.std([each[0] for each in ours], ddof=1) / np.sqrt(len(ours)) if len(ours) > 1 else np.nan
        others = np.mean(theirs, axis=0) if theirs else [np.nan, np.nan]
        print(
            f"{name:12} {len(ours):2} splits  inside {share:.3f} ± {spread:.3f}  width {width:.3f}   textbook "
            f"{others[0]:.3f}  width {others[1]:.3f}   fit {fit:.1f} s, intervals {after:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
