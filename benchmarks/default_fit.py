"""How good is the default fit, table by table, beside ridge, boosting, scikit-learn's networks and an earlier version?

    python benchmarks/default_fit.py FOLDER … --results FILE [--tables NAME …] [--splits 5-19] [--below 3000]
        [--part 0/2] [--only-default] [--against FILE]

A FOLDER has an ``index.csv`` that names tables and targets (the development tables), or ``uci/`` with its splits and
``tables/`` (sources in benchmarks/README.md). Split k holds out a random tenth (seed 1000 + k), or the standard split k.
On the same rows are fitted ``NetworkRegressor()``, ridge, histogram gradient boosting and ``MLPRegressor``, as it comes and by
L-BFGS, all of them on the columns as the network encodes them, standardised for the last two. Every split of a table is one
line of the results, written at once: a run that was cut short goes on where it stopped, and several may write one file.
Printed at the end: a row a table (means over the splits ± standard error of the RMSE over the target's spread, coverage and
width of the 95 % intervals, seconds of fit with intervals, the parts of the mixture), and the marks. ``--against`` is the
results of an earlier version, made by this file with its ``src`` in PYTHONPATH (``--only-default``: peers are the same).
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkRegressor
from fallline.fit.ridge import fit_ridge
from fallline.table.read import read_table

# File, target, and columns that are no inputs.
TABLES = [
    ("uci/yacht.csv", "resistance", ()),
    ("uci/concrete.csv", "strength", ()),
    ("uci/energy.csv", "heating_load", ("cooling_load",)),
    ("uci/wine_red.csv", "quality", ()),
    ("uci/kin8nm.csv", "y", ()),
    ("uci/power_plant.csv", "power", ()),
    ("uci/naval.csv.gz", "compressor_decay", ("turbine_decay",)),
    ("tables/penguins.csv", "body_mass_g", ()),
    ("tables/penguins_raw.csv", "Body Mass (g)", ()),
    ("tables/bike_sharing_day.csv", "cnt", ()),
    ("tables/montreal_bikes.csv", "Berri 1", ()),
]


class Ridge(RegressorMixin, BaseEstimator):
    """fallline's ridge regression as scikit-learn's pipelines want it."""

    def fit(self, x, y):
        self.fitted_ = fit_ridge(x, y[:, None])
        return self

    def predict(self, x):
        return self.fitted_.predict(x)[:, 0]


def standardised(estimator):
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), estimator), transformer=StandardScaler())


PEERS = {
    "ridge": lambda: make_pipeline(StandardScaler(), Ridge()),
    "boosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "MLP": lambda: standardised(MLPRegressor(max_iter=1000, random_state=0)),
    "L-BFGS": lambda: standardised(MLPRegressor(solver="lbfgs", max_iter=1000, random_state=0)),
}
# How far above a rival the default may be: this share of its error, or as many standard errors of the paired difference.
ALLOWED = {"ridge": (0.01, 1), "earlier": (0.03, 2)}


class Entry(NamedTuple):
    """A table: its name, where it is, what is predicted, which columns are no inputs, and the file of its splits or None."""

    name: str
    path: Path
    target: str
    others: tuple[str, ...]
    splits: Path | None


def entries(folders: list[Path]) -> list[Entry]:
    found = []
    for folder in folders:
        if (folder / "index.csv").exists():
            index = pd.read_csv(folder / "index.csv")
            for name, target in zip(index["table"], index["target"], strict=True):
                found.append(Entry(name, folder / f"{name}.csv", target, (), None))
            continue
        for file, target, others in TABLES:
            name = Path(file).name.split(".")[0]
            splits = folder / "uci" / "splits" / f"{name}.test_rows.csv"
            found.append(Entry(name, folder / file, target, others, splits if file.startswith("uci/") else None))
    return found


def divided(entry: Entry, frame: pd.DataFrame, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on and of those held out."""
    if entry.splits is None:
        order = np.random.default_rng(1000 + split).permutation(len(frame))
        tenth = max(1, round(0.1 * len(frame)))
        return order[tenth:], order[:tenth]
    test = pd.read_csv(entry.splits)[f"split{split}"].dropna().to_numpy(int)
    return np.setdiff1d(np.arange(len(frame)), test), test


def measured(entry: Entry, frame: pd.DataFrame, split: int, peers: dict) -> dict:
    """What is known of one split: errors over the spread of the training target, seconds [wall, processor], intervals."""
    train, test = divided(entry, frame, split)
    inputs, target = frame.drop(columns=[entry.target, *entry.others]), frame[entry.target].to_numpy(float)
    x, y, new, seen = inputs.iloc[train], target[train], inputs.iloc[test], target[test]
    predicted, seconds = {}, {}

    def timed(name, run):
        wall, processor = time.perf_counter(), time.process_time()
        found = run()
        seconds[name] = [time.perf_counter() - wall, time.process_time() - processor]
        return found

    network = NetworkRegressor(random_state=0, n_jobs=1)

    def default():
        network.fit(x, y)
        try:
            return network.predict(new, return_interval=0.95)
        except ValueError as error:  # no intervals of so few rows
            print(f"{entry.name}, split {split}: {error}", flush=True)
            return network.predict(new), np.full((len(new), 2), np.nan)

    predicted["default"], interval = timed("default", default)
    low, high = interval.T
    known = not np.isnan(interval).any()
    encoded = [each.to_numpy(float) if network.columns_ is None else encode(network, each) for each in (x, new)]
    for name, make in peers.items():
        predicted[name] = timed(name, lambda make=make: make().fit(encoded[0], y).predict(encoded[1]))
    spread = y.std()
    return {
        "table": entry.name, "split": split, "rows": len(y), "inputs": encoded[0].shape[1], "tested": len(seen),
        "rmse": {name: float(np.sqrt(np.mean((each - seen) ** 2)) / spread) for name, each in predicted.items()},
        "seconds": seconds,
        "inside": float(np.mean((low <= seen) & (seen <= high))) if known else None,
        "width": float(np.mean(high - low) / spread) if known else None,
        # [units, share] of each width; an earlier version, which has no mixture, has none
        "parts": [[sum(p.starts.network.hidden), float(p.share)] for p in getattr(network._fitted, "parts", ())],
    }  # fmt: skip


def encode(network: NetworkRegressor, frame: pd.DataFrame) -> np.ndarray:
    return network.columns_.encode({name: frame[name].to_numpy() for name in frame.columns})


def frame_of(entry: Entry) -> pd.DataFrame:
    frame = pd.DataFrame(read_table(entry.path).columns)
    return frame[frame[entry.target].notna()].reset_index(drop=True)


def results_of(file: Path) -> dict:
    if not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {(line["table"], line["split"]): line for line in lines}


def mean_and_error(values) -> tuple[float, float]:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(error)


def coverage(lines: list[dict]) -> tuple[float, int]:
    """The share of all rows held out that lie inside their intervals, and how many rows these are."""
    known = [line for line in lines if line["inside"] is not None]
    tested = [line["tested"] for line in known]
    return (float(np.average([line["inside"] for line in known], weights=tested)) if tested else np.nan), sum(tested)


def show_tables(lines: dict[str, list[dict]], names: list[str]) -> None:
    """Print a row for each table, from what is known of its splits."""
    print(f"\n| table | rows × inputs, splits | {' | '.join(names)} | inside | width | seconds | parts |")
    print("|" + "---|" * (len(names) + 6))
    for table, each in lines.items():
        errors = {name: mean_and_error([line["rmse"][name] for line in each]) for name in names}
        least = min(errors.values())[0]
        cells = [f"**{mean:.4f}**" if mean == least else f"{mean:.4f}" for mean, _ in errors.values()]
        if len(each) > 1:
            cells = [f"{cell} ± {se:.4f}" for cell, (_, se) in zip(cells, errors.values(), strict=True)]
        seconds = np.mean([line["seconds"]["default"][0] for line in each])
        width = np.mean([np.nan if line["width"] is None else line["width"] for line in each])
        shares: dict[int, float] = defaultdict(float)
        for line in each:
            for units, share in line["parts"]:
                shares[units] += share / len(each)
        parts = ", ".join(f"{units or 'line'}: {share:.2f}" for units, share in sorted(shares.items()))
        size = f"{each[0]['rows']} × {each[0]['inputs']}, {len(each)}"
        print(
            f"| {table} | {size} | {' | '.join(cells)} | {coverage(each)[0]:.3f} | {width:.2f} | {seconds:.1f} | {parts} |"
        )


def show_marks(lines: dict[str, list[dict]], names: list[str]) -> None:
    """Print how the default stands to each rival over all tables, and what its intervals hold."""
    error = {
        (table, name): np.array([line["rmse"][name] for line in lines[table]]) for table in lines for name in names
    }
    print("\n| default over … | mean log ratio | at or below | worst table | further above than allowed |")
    print("|---|---|---|---|---|")
    for name in names[1:]:
        log = np.array([np.log(error[table, "default"].mean() / error[table, name].mean()) for table in lines])
        mean, se = mean_and_error(log)
        beyond = []
        for table in lines if name in ALLOWED else ():
            share, errors = ALLOWED[name]
            above, spread = mean_and_error(error[table, "default"] - error[table, name])
            if above > np.nanmax([share * error[table, name].mean(), errors * spread]):
                beyond.append(f"{table} {100 * above / error[table, name].mean():+.1f} %")
        said = (", ".join(beyond) or "none") if name in ALLOWED else ""
        worst = f"{list(lines)[log.argmax()]} {100 * np.expm1(log.max()):+.1f} %"
        print(f"| {name} | {100 * mean:+.1f} ± {100 * se:.1f} % | {np.mean(log <= 0):.2f} | {worst} | {said} |")
    if {"MLP", "L-BFGS"} <= set(names):
        both = [error[t, "default"].mean() <= min(error[t, n].mean() for n in ("MLP", "L-BFGS")) for t in lines]
        print(f"\nAt or below both networks of scikit-learn: {np.mean(both):.2f} of the tables.")
    shares = {table: coverage(each) for table, each in lines.items()}
    mean, se = mean_and_error([share for share, n in shares.values() if n])
    pooled, n = coverage([line for each in lines.values() for line in each])
    print(f"Inside 95 % intervals: {mean:.3f} ± {se:.3f} in the mean over the tables, {pooled:.3f} of all {n} rows.")
    # Of n rows a share of 0.95 scatters by √(0.95 · 0.05/n), even where each interval is right.
    off = [
        f"{table} {share:.3f} of {n} rows" for table, (share, n) in shares.items()
        if not 0.93 <= share <= 0.97 and abs(share - 0.95) > 2 * np.sqrt(0.95 * 0.05 / n)
    ]  # fmt: skip
    print(f"Outside 0.93 to 0.97 by more than two standard errors of 0.95: {', '.join(off) or 'none'}.")
    seconds = {n: np.mean([line["seconds"][n] for each in lines.values() for line in each], axis=0) for n in names}
    print(
        "Mean seconds of a fit, wall (processor):", ", ".join(f"{n} {w:.2f} ({c:.2f})" for n, (w, c) in seconds.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, added to")
    parser.add_argument("--tables", nargs="*", default=[])
    parser.add_argument("--splits", default="5-19", help="first and last")
    parser.add_argument("--below", type=int, help="only tables with fewer rows")
    parser.add_argument("--part", default="0/1", help="0/2 and 1/2: every second of the fits")
    parser.add_argument("--only-default", action="store_true", help="no peers")
    parser.add_argument("--against", type=Path, help="results of an earlier version; nothing is fitted that it lacks")
    asked = parser.parse_args()
    first, last = (int(each) for each in asked.splits.split("-"))
    part, parts = (int(each) for each in asked.part.split("/"))
    warnings.simplefilter("ignore")  # descents that end early, categories first seen in held-out rows: all take part
    found = entries(asked.folders)
    if unknown := set(asked.tables) - {entry.name for entry in found}:
        parser.error(f"no table {', '.join(unknown)}: there are {', '.join(entry.name for entry in found)}.")
    frames = {entry: frame_of(entry) for entry in found if entry.name in asked.tables or not asked.tables}
    frames = {entry: frame for entry, frame in frames.items() if asked.below is None or len(frame) < asked.below}
    earlier = results_of(asked.against) if asked.against else {}
    jobs = [(entry, split) for split in range(first, last + 1) for entry in frames]
    jobs = [(entry, split) for entry, split in jobs if not asked.against or (entry.name, split) in earlier]
    for entry, split in jobs[part::parts]:
        if (entry.name, split) in results_of(asked.results):
            continue
        line = measured(entry, frames[entry], split, {} if asked.only_default else PEERS)
        with asked.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        said = "  ".join(f"{name} {error:.4f}" for name, error in line["rmse"].items())
        print(f"{entry.name}, split {split}: {said}  {line['seconds']['default'][0]:.1f} s", flush=True)
    results, lines = results_of(asked.results), defaultdict(list)
    for key in ((entry.name, split) for entry in frames for split in range(first, last + 1)):
        if key in results and (not earlier or key in earlier):
            if earlier:
                for what in ("rmse", "seconds"):
                    results[key][what]["earlier"] = earlier[key][what]["default"]
            lines[key[0]].append(results[key])
    if lines:
        everywhere = set.intersection(*(set(line["rmse"]) for each in lines.values() for line in each))
        names = [name for name in ("default", *PEERS, "earlier") if name in everywhere]
        show_tables(lines, names)
        show_marks(lines, names)


if __name__ == "__main__":
    main()
