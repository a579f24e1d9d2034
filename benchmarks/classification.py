"""Least squares on columns of 0 and 1 beside networks, lines and trees that descend the logarithmic score.

    python benchmarks/classification.py [--splits K] [NAME …]

The four classification tables that scikit-learn brings along; inputs standardised on the training rows for the peers
(trees take them as they are). K random divisions, seeds 0 to K − 1, 30 % of the rows held out, every class in proportion.
Printed: means over the divisions, on held-out rows, of accuracy, Brier score (Σ over classes, halved for two) and
logarithmic score (probabilities of 0 as 2⁻⁵²), and the median of the seconds that a fit takes: the first compiles.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fallline import NetworkClassifier

TABLES = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer, "digits": load_digits}


MODELS = {
    "NetworkClassifier()": lambda seed: NetworkClassifier(random_state=seed),
    'NetworkClassifier((100,), output_activation="logistic", alpha=0.1)': lambda seed: NetworkClassifier(
        (100,), output_activation="logistic", alpha=0.1, random_state=seed
    ),
    "MLPClassifier()": lambda seed: make_pipeline(StandardScaler(), MLPClassifier(random_state=seed, max_iter=1000)),
    "LogisticRegression()": lambda seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "HistGradientBoostingClassifier()": lambda seed: HistGradientBoostingClassifier(random_state=seed),
}


def brier(y: np.ndarray, p: np.ndarray) -> float:
    """Mean over rows of Σ_j (p_j − y_j)², halved for two classes: what is usually called by that name."""
    squares = ((p - (y[:, None] == np.arange(p.shape[1]))) ** 2).sum(axis=1).mean()
    return float(squares / 2 if p.shape[1] == 2 else squares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--splits", type=int, default=5)
    asked = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")  # a descent that ends at max_iter is judged as it is
    print("| table | model | accuracy | Brier | log | seconds |\n|---|---|---|---|---|---|")
    for name, load in TABLES.items():
        if asked.names and name not in asked.names:
            continue
        x, y = load(return_X_y=True)
        for title, model in MODELS.items():
            told = []
            for seed in range(asked.splits):
                x_fit, x_new, y_fit, y_new = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
                began = time.perf_counter()
                fit = model(seed).fit(x_fit, y_fit)
                seconds = time.perf_counter() - began
                p = fit.predict_proba(x_new)
                right = accuracy_score(y_new, p.argmax(axis=1))
                told.append((right, brier(y_new, p), log_loss(y_new, p), seconds))
            right, squares, log, _ = np.mean(told, axis=0)
            seconds = np.median(told, axis=0)[3]
            print(f"| {name} | `{title}` | {right:.3f} | {squares:.4f} | {log:.3f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
