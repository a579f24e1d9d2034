"""The README's Python runs, and its figures are the ones a fit gives."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", BLOCKS[:2], ids=["estimator", "neuron"])
def test_a_python_block_of_the_readme_runs(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = {}
    exec(block, said)  # our own text
    path = said["path"] if "path" in said else said["fit"].path_
    assert path.error[-1] < 0.1 * path.error[0]


def test_the_mountain_of_the_readme_is_drawn_with_its_minimum(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (mountain,) = BLOCKS[2:]
    exec(mountain, said := {})  # our own text
    assert (tmp_path / "mountain.png").stat().st_size > 10_000
    assert said["paths"]["Levenberg–Marquardt"].error[-1] < 1e-20
    assert capsys.readouterr().out.startswith("1 distinct minimum from 50 starts")
    import matplotlib.pyplot as plt

    plt.close("all")


def test_the_estimator_of_the_readme_gives_coefficients_in_the_users_units(monkeypatch):
    monkeypatch.chdir(ROOT)
    said = {}
    exec(BLOCKS[0], said)
    fit, x = said["fit"], said["table"].to_numpy()
    (w1, w2), (b1, b2) = fit.coefs_, fit.intercepts_
    np.testing.assert_allclose((np.tanh(x @ w1 + b1) @ w2 + b2)[:, 0], fit.predict(x), rtol=1e-9)


def test_there_are_two_commands():
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert len(lines) == 2
