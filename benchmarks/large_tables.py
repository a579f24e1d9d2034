"""How good is the default fit of a large table, beside boosting and scikit-learn's network with early stopping?

    python benchmarks/large_tables.py DATA [--tables protein:2,friedman:100000,rough:100000] [--seconds S]

DATA is the folder with protein.csv.gz and its splits (sources in benchmarks/README.md); protein:2 is split 2. The others are
made: so many rows of ten uniform inputs, and 20 000 to test on. Printed are root mean squared errors on the test rows, in units
of their spread, the standard error of the difference from fallline, row by row, and seconds of the processor and elapsed.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkRegressor

TESTED = 20_000


def friedman(x, random):
    smooth = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return smooth + 3 * random.normal(size=len(x))


def rough(x, random):
    steps = 3 * np.sign(np.sin(9 * x[:, 0]) * np.cos(7 * x[:, 1])) + 4 * np.abs(np.sin(8 * x[:, 2] + 4 * x[:, 3]))
    return steps + 0.2 * friedman(x, random)


def table(folder: Path, name: str, which: int):
    """x and y to fit, x and y to test on."""
    random = np.random.default_rng(0)
    if name != "protein":
        x = random.uniform(size=(which + TESTED, 10))
        y = {"friedman": friedman, "rough": rough}[name](x, random)
        return x[:which], y[:which], x[which:], y[which:]
    rows = np.loadtxt(folder / "protein.csv.gz", delimiter=",", skiprows=1)
    tested = np.loadtxt(folder / "splits" / "protein.test_rows.csv.gz", int, delimiter=",", skiprows=1)[:, which]
    fitted = np.setdiff1d(np.arange(len(rows)), tested)
    return rows[fitted, :-1], rows[fitted, -1], rows[tested, :-1], rows[tested, -1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--tables", default="protein:2,protein:3,protein:4,friedman:100000,rough:100000")
    parser.add_argument("--seconds", type=float, help="max_seconds of fallline")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    for each in asked.tables.split(","):
        name, which = each.split(":")
        x, y, unseen, truth = table(asked.data, name, int(which))
        print(f"{each}: {len(x)} rows", flush=True)
        peers = {
            "fallline": NetworkRegressor(random_state=0, max_seconds=asked.seconds),
            "boosting": HistGradientBoostingRegressor(random_state=0),
            "boosting, 500 trees": HistGradientBoostingRegressor(max_iter=500, early_stopping=True, random_state=0),
            "MLPRegressor": make_pipeline(StandardScaler(), MLPRegressor(early_stopping=True, random_state=0)),
            "ridge": make_pipeline(StandardScaler(), RidgeCV()),
        }
        ours = None
        for peer, model in peers.items():
            processor, elapsed = time.process_time(), time.perf_counter()
            model.fit(x, y)
            processor, elapsed = time.process_time() - processor, time.perf_counter() - elapsed
            squares = ((model.predict(unseen) - truth) / truth.std()) ** 2
            ours = squares if ours is None else ours
            error = np.sqrt(squares.mean())
            spread = np.std(squares - ours) / np.sqrt(len(squares)) / (error + np.sqrt(ours.mean()))
            seconds = f"{processor:6.0f} s of the processor, {elapsed:6.0f} s elapsed"
            print(f"  {peer:20} {error:.4f}  difference ± {spread:.4f}  {seconds}", flush=True)


if __name__ == "__main__":
    main()
