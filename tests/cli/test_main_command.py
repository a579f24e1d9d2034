"""What all commands have in common: wrong calls, complaints of one sentence, streams of any encoding."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trees import QUICK, run, table


@pytest.mark.parametrize(
    ("encoding", "square", "minus"), [("ascii", "R²", "−"), ("cp1252", "R²", "-"), ("cp1251", "R2", "-")]
)
def test_a_locale_without_the_letters_is_no_trouble(folder, encoding, square, minus):
    noise = np.random.default_rng(1).normal(size=60)  # nothing to learn: on other rows R² is negative
    (folder / "t.csv").write_text("Größe,y\n" + "".join(f"{i},{noise[i]}\n" for i in range(60)), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    process = [sys.executable, "-m", "fallline"]
    shared = {"cwd": folder, "env": environment, "capture_output": True, "check": True}
    done = subprocess.run([*process, "fit", "t.csv", "-t", "y", *QUICK, "--holdout", "last"], **shared)
    said = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    assert square in said
    assert re.search(rf"held-out \(12\).*network.*{minus}[\d.]+\b", said)
    done = subprocess.run([*process, "predict", "t-y.fallline", "t.csv"], **shared)
    assert done.stdout.decode("utf-8").startswith("Größe,y,predicted y\n")


def test_predict_and_show_refuse_what_is_no_model(folder):
    path = table(folder)
    for arguments in (["show", path], ["predict", path, path], ["show", "none.fallline"]):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "`fallline fit` wrote" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["fit", "trees.csv"], "--target"),
        (["fit", "trees.csv", "-t", "height", "--hiden", "3"], "--hidden"),
        (["fit", "trees.csv", "-t", "height", "--hidden", "many"], "write 20, or 20,10 for two layers"),
        (["fit", "trees.csv", "-t", "height", "--holdout", "1.5"], "from 0 to below 1"),
        (["fit", "trees.csv", "-t", "height", "--learning-rate", "-1"], "a positive number such as 0.1"),
        (
            ["fit", "trees.csv", "-t", "height", "--descent", "levenberg-marquardt", "--momentum", "0.9"],
            "gradient descent",
        ),
        (
            ["fit", "trees.csv", "-t", "height", "--descent", "l-bfgs", "--momentum", "0.9"],
            "leave out --descent l-bfgs",
        ),
        (
            ["fit", "trees.csv", "-t", "height", "--descent", "levenberg-marquardt", "--nesterov"],
            "leave out --descent levenberg-marquardt",
        ),
        (["fit", "trees.csv", "-t", "height", "--momentum", "1"], "a number from 0 to below 1 such as 0.9"),
        (["fit", "trees.csv", "-t", "height", "--momentum", "some"], "write auto, or a number"),
        (["fit", "trees.csv", "-t", "height", "--nesterov"], "add --momentum auto or --momentum 0.9"),
        (["fit", "trees.csv", "-t", "height", "--nesterov", "--momentum", "0"], "leave --nesterov out"),
        (["fit", "trees.csv", "-t", "height", "--alpha", "-1"], "auto, evidence, or a number from 0 up"),
        (["fti"], "fit"),
    ],
)
def test_a_wrong_call_exits_with_two_and_says_what_is_right(folder, arguments, word):
    table(folder)
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert word in done.stderr


def test_an_early_complaint_is_all_that_is_said(folder):
    command = [sys.executable, "-m", "fallline", "fit", str(table(folder)), "-t", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (1, 1, "")


@pytest.mark.parametrize("command", [["surface", "--points", "5"], ["minima", "--starts", "1"]])
def test_a_table_that_has_moved_is_asked_for_and_taken(folder, fitted, command):
    (folder / "trees.csv").rename(folder / "moved.csv")
    name, *options = command
    done = run(name, "trees-height.fallline", *options)
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: the rows that trees-height.fallline was fitted on are needed, and a model file does not hold them; "
        f"{folder / 'trees.csv'} is not there: give the table after the model file, as in `trees-height.fallline TABLE`.\n"
    )
    done = run(name, "trees-height.fallline", "moved.csv", *options)
    assert done.exit_code == 0, done.output
    assert "Note:" not in done.stderr
    assert "the 48 training rows of moved.csv" in done.stdout


@pytest.mark.parametrize("command", ["show", "predict"])
def test_what_is_done_with_a_model_loads_no_library_of_mathematics(command, folder):
    model = Path(__file__).parents[1] / "data" / "models_0.1" / "default.fallline"
    arguments = [
        command,
        str(model),
        *([str(model.with_name("trees.csv")), "-o", "out.csv", "--interval", "0.9"] * (command == "predict")),
    ]
    code = f"import sys\nfrom fallline.cli.main import main\nmain({arguments!r}, standalone_mode=False)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "numpy" in loaded
    assert loaded & {"jax", "sklearn", "scipy", "matplotlib", "threadpoolctl"} == set()
