"""Are default fits of small tables as good as the best that scikit-learn has, on the splits of the literature?

    python benchmarks/small_tables.py DATA [NAME …] [--splits 5-19] [--peers mlp l-bfgs boosting]

DATA is a folder with ``uci/`` (its source is in benchmarks/README.md). Each split trains ``NetworkRegressor()`` and, on the
same rows, scikit-learn's ``MLPRegressor`` (as it comes, and by L-BFGS; inputs and target standardised for it) and
histogram gradient boosting, each with its default settings. Printed for each table: the mean RMSE on the rows left out, its
standard error, the mean of the paired ratio to ours, and the median seconds of a fit; beside them the published means of
probabilistic backpropagation and of dropout. Settings were chosen on splits 0 to 10.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkRegressor

# Target, and columns that are no inputs. Published: Hernández-Lobato & Adams (2015), ICML, table 1; Gal & Ghahramani (2016),
# ICML, table 1.
TABLES = {
    "yacht": ("resistance", (), 1.02, 1.11),
    "concrete": ("strength", (), 5.67, 5.23),
    "energy": ("heating_load", ("cooling_load",), 1.80, 1.66),
    "wine_red": ("quality", (), 0.64, 0.62),
    "kin8nm": ("y", (), 0.10, 0.10),
    "power_plant": ("power", (), 4.12, 4.02),
}


def standardised(estimator):
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), estimator), transformer=StandardScaler())


PEERS = {
    "mlp": lambda: standardised(MLPRegressor(random_state=0)),
    "l-bfgs": lambda: standardised(MLPRegressor(solver="lbfgs", random_state=0)),
    "boosting": lambda: HistGradientBoostingRegressor(random_state=0),
}


def rows_of(folder, name, split):
    target, others, *_ = TABLES[name]
    table = pd.read_csv(folder / f"{name}.csv")
    tests = pd.read_csv(folder / "splits" / f"{name}.test_rows.csv")[f"split{split}"].dropna().to_numpy(int)
    x, y = table.drop(columns=[target, *others]).to_numpy(float), table[target].to_numpy(float)
    trains = np.setdiff1d(np.arange(len(x)), tests)
    return x[trains], y[trains], x[tests], y[tests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--splits", default="5-19")
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    asked = parser.parse_intermixed_args()
    first, last = (int(each) for each in asked.splits.split("-"))
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in asked.names or TABLES:
        makers = {"fallline": lambda: NetworkRegressor(random_state=0)} | {p: PEERS[p] for p in asked.peers}
        errors = {who: [] for who in makers}
        seconds = {who: [] for who in makers}
        for split in range(first, last + 1):
            x, y, x_test, y_test = rows_of(asked.data / "uci", name, split)
            for who, make in makers.items():
                began = time.perf_counter()
                fit = make().fit(x, y)
                seconds[who].append(time.perf_counter() - began)
                errors[who].append(np.sqrt(np.mean((fit.predict(x_test) - y_test) ** 2)))
        *_, backpropagation, dropout = TABLES[name]
        print(f"{name}, splits {first} to {last}; published {backpropagation} and {dropout}")
        for who, each in errors.items():
            ratio = np.mean(np.array(each) / np.array(errors["fallline"]))
            error = np.std(each, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
            print(
                f"  {who:10} RMSE {np.mean(each):8.4f} ± {error:.4f}  ratio {ratio:6.3f}  {np.median(seconds[who]):6.2f} s"
                f"  first {seconds[who][0]:6.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
