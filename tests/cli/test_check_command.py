"""``fallline check``: what is printed of a model and of a table, and exit code 1 where a derivative is wrong."""

import re

import pytest
from trees import run, table

from fallline.error.dense import Dense

LINE = re.compile(
    r"^(\S.*?)  +(formula|central differences|complex steps|backpropagation by hand|NumPy|lstsq) +([\d.]+) +(\d+)"
)


def lines(output):
    return {
        match.group(1, 2): (float(match[3]), int(match[4])) for match in map(LINE.match, output.splitlines()) if match
    }


def test_a_model_is_checked_over_its_own_rows(folder, fitted):
    done = run("check", "trees-height.fallline")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "Of the network of trees-height.fallline over the 48 training rows of trees.csv: 2 inputs, 3 tanh units, 1 output"
    )
    found = lines(done.stdout)
    assert {what for what, _ in found} >= {
        "E",
        "gradient",
        "J",
        "JᵀJ",
        "JᵀJ v",
        "H",
        "H v",
        "∂ŷ/∂x",
        "ŷ of a linear network",
    }
    assert all(digits >= enough for digits, enough in found.values())
    assert f"All {len(found)} comparisons agree to enough digits." in done.stdout
    assert re.search(r"central differences +6: steps of", done.stdout)


def test_the_table_of_a_model_may_have_moved(folder, fitted):
    (folder / "trees.csv").rename(folder / "moved.csv")
    assert "give the table after the model file" in run("check", "trees-height.fallline").stderr
    assert "over the 48 training rows of moved.csv" in run("check", "trees-height.fallline", "moved.csv").stdout


def test_of_a_table_a_small_network_is_checked_over_all_its_rows(folder):
    done = run("check", table(folder), "--target", "height", "--activation", "softplus")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "Of a network of random weights over the 60 rows of trees.csv: 2 inputs, 4 softplus units"
    )
    assert len(lines(done.stdout)) >= 17


def test_a_target_of_texts_is_checked_by_its_classes(folder):
    done = run("check", table(folder), "--target", "kind")
    assert done.exit_code == 0, done.output


def test_a_wrong_derivative_is_a_complaint(folder, monkeypatch):
    monkeypatch.setattr(Dense, "along", lambda self, v, right=Dense.along: (1 + 1e-7) * right(self, v))
    done = run("check", table(folder), "--target", "height")
    assert done.exit_code == 1
    assert re.search(r"^JᵀJ v +backpropagation by hand +[67]\.\d +10 +too few$", done.stdout, re.M)
    assert re.search(
        r"too few digits agree in \d+ of \d+ .*JᵀJ v against backpropagation by hand \([67]\.\d of 10\)", done.stderr
    )
    assert "fallline show --system" in done.stderr
    assert "agree to enough" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trees.csv"], "add --target COLUMN"),
        (["trees.csv", "trees.csv", "-t", "height"], "give a single one, or a model file and its table"),
        (["trees-height.fallline", "-t", "height"], "leave these options out"),
        (["trees-height.fallline", "--decimal", ","], "leave these options out"),
    ],
)
def test_a_wrong_call_says_what_to_write(folder, arguments, words):
    table(folder)
    done = run("check", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.fallline"], "there is no model file"),
        (["trees.csv", "-t", "size"], "`size`"),
        (["trees.csv", "-t", "height", "--activation", "sigmoid"], "logistic"),
    ],
)
def test_what_is_not_there_is_a_complaint(folder, arguments, words):
    table(folder)
    done = run("check", *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
