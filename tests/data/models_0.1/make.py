"""Model files and a pickle as fallline 0.1.0 wrote them, and what it said of them: what later versions must still read.

    python make.py        with fallline 0.1.0.dev0 (commit a7d0953) and its JAX; it writes beside itself

``trees.csv``: 60 rows made here, with a number, a number with gaps, a category and two targets. From it
``default.fallline`` (a default fit: several starts, Bayesian regularisation, intervals), ``mini_batch.fallline`` and
``gauss_newton.fallline``, whose descent there is no longer. ``expected.json`` has for each its predictions of the rows of
``trees.csv``, their standard errors and 95 % intervals where the file has intervals, and what ``fallline show`` printed.
``regressor.pickle`` is a ``NetworkRegressor``.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

import fallline
from fallline.table import read_table

HERE = Path(__file__).resolve().parent
OPTIONS = {
    "default": [],
    "mini_batch": ["--descent", "mini-batch", "--hidden", "3", "--max-iter", "40", "--no-intervals"],
    "gauss_newton": ["--descent", "gauss-newton", "--hidden", "2", "--alpha", "0.1", "--starts", "2"],
}


def make_table():
    """60 trees: height and volume from girth, age (with gaps) and kind, with some noise."""
    random = np.random.default_rng(12)
    girth, age = random.uniform(20, 90, 60).round(1), random.integers(5, 80, 60).astype(object)
    kind = random.choice(["ash", "oak", "yew"], 60)
    height = 4 + 12 * np.tanh(girth / 40) + 3 * (kind == "ash") + random.normal(0, 0.7, 60)
    volume = 1e-4 * girth**2 * height + random.normal(0, 0.2, 60)
    age[[3, 17, 40]] = ""
    lines = ["girth,age,kind,height,volume"]
    lines += [",".join(map(str, row)) for row in zip(girth, age, kind, height.round(3), volume.round(4), strict=True)]
    (HERE / "trees.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(*arguments):
    command = [sys.executable, "-m", "fallline", *arguments]
    return subprocess.run(
        command, cwd=HERE, check=True, capture_output=True, encoding="utf-8", env={**os.environ, "COLUMNS": "200"}
    ).stdout


def expected_of(name):
    saved = fallline.load_model(HERE / f"{name}.fallline")
    x = saved.columns.encode(read_table(HERE / "trees.csv").columns)
    said = {"show": run("show", f"{name}.fallline"), "prediction": saved.fitted.predict(x).tolist()}
    if saved.intervals is not None:
        said["std"] = saved.intervals.std(x).tolist()
        said["interval"] = saved.intervals.interval(x, 0.95).tolist()
    return said


def main():
    make_table()
    expected = {}
    for name, options in OPTIONS.items():
        run("fit", "trees.csv", "--target", "height", "--target", "volume", "--quiet", *options)
        (HERE / "trees-height-volume.fallline").replace(HERE / f"{name}.fallline")
        (HERE / "trees-height-volume.html").unlink()
        expected[name] = expected_of(name)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False), encoding="utf-8")
    x = np.linspace(0.0, 3.0, 12)
    network = fallline.NetworkRegressor(2, n_starts=1, max_iter=5, tol=0.0, alpha=0.1).fit(x[:, None], x**2)
    (HERE / "regressor.pickle").write_bytes(pickle.dumps(network))


if __name__ == "__main__":
    main()
