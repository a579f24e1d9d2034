"""A table of trees as a file and in memory, quick fits of it, and figures by hand."""

import json
import re

import numpy as np
from click.testing import CliRunner

from fallline.cli.main import main
from fallline.table.read import Table

# Settings that keep a run short: what is tested here is not how good the fit is.
QUICK = ["--hidden", "3", "--max-iter", "60", "--starts", "1", "--alpha", "0.1"]
SETTINGS = {"hidden_layer_sizes": (3,), "max_iter": 20, "alpha": 0.1, "n_starts": 1}
NUMBER = r"([\d.,e+−-]+)"  # as it is printed


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def table(folder, rows=60, name="trees.csv"):
    random = np.random.default_rng(3)
    age, kind = random.uniform(1, 50, rows), random.choice(["ash", "oak"], rows)
    height = 20 * np.tanh(age / 20) + 3 * (kind == "oak") + 0.3 * random.normal(size=rows)
    # Four digits: of three behind the comma in all cells, nothing would show that they are decimals.
    lines = [f"{a:.3f}0;{k};{h:.3f}0" for a, k, h in zip(age, kind, height, strict=True)]
    path = folder / name
    path.write_text("\n".join(["age;kind;height", *lines]).replace(".", ","), encoding="utf-8")
    return path


def numbers_of(report):
    text = report.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="fallline-report">(.*?)</script>', text, re.S)[1])


def squared_figures(actual, predicted):
    residual = actual - predicted
    spread = ((actual - actual.mean()) ** 2).sum()
    return (0.5 * residual @ residual, np.sqrt(residual @ residual / len(residual)), 1 - residual @ residual / spread)


def forward(model, x):
    """A network by hand: coefficients and biases in the user's units, tanh between them."""
    (hidden, bias), (coef, intercept) = model.fitted.layers
    return (np.tanh(x @ hidden + bias) @ coef + intercept)[:, 0]


def penalised_by_hand(saved, rows):
    """E + ½ · 0.1 · Σ coef² at the saved weights over 48 training rows, in scaled units, by NumPy alone."""
    at = np.sort(np.random.default_rng(0).permutation(60)[12:])
    x = saved.columns.encode({name: values[at] for name, values in rows.columns.items()})
    y, scaling = rows.columns["height"][at], saved.fitted.scaling
    residual = (y - forward(saved, x)) / scaling.y_scale
    coefs = [layer.coef for layer in saved.fitted.network.layers(saved.fitted.weights)]
    return 0.5 * residual @ residual + 0.05 * sum((coef**2).sum() for coef in coefs)


def tree_table(rows=60, **other):
    random = np.random.default_rng(3)
    age = random.uniform(1, 50, rows)
    columns = {"age": age, "number": np.arange(rows) * 1.5, "height": 20 * np.tanh(age / 20), **other}
    return Table("trees.csv", columns, {"age": "decimal commas"})
