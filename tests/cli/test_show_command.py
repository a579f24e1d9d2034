"""``fallline show``: what is inside a model file."""

import dataclasses
import re

import pytest
from trees import QUICK, run, table

from fallline.model_file import load_model, save_model

SHOWN = [
    r"^height from trees.csv$",
    r"^kind +category +2 categories: ash, oak$",
    r"read with decimal commas",
    r"^height +training \(48\) +network +\S+ +\S+ +0.\d+$",
    r"^height +held-out \(12\) +ridge",
    r"^Network +\d inputs, 3 tanh units, 1 output: 13 weights$",
    r"^Descent +LevenbergMarquardt\(\): \d+ steps",
    r"^Weight decay +alpha = 0.1",
    r"^Ended +Stopped at",
    r"^Verdict +(A|Still|Running) .*\.",
    r"^Path +kept at \d+ points, weights at \d+ of them$",
    r"^Rows +The saved model was fitted on 48 rows of trees.csv\.",
    r"^Seed +0$",
    r"^Versions +fallline \d.*numpy \d",
    r"^Command +fallline fit",
]


def test_show_says_what_is_inside(folder):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    done = run("show", "trees-height.fallline")
    assert done.exit_code == 0, done.output
    assert [line for line in SHOWN if not re.search(line, done.stdout, re.M)] == []


@pytest.mark.parametrize(
    "about", [{"figures": 7}, {"figures": {"training": []}}, {"descent": "x", "steps": "many"}, {"versions": []}]
)
def test_show_refuses_what_no_fit_says(folder, about):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    saved = load_model(folder / "trees-height.fallline")
    save_model(dataclasses.replace(saved, about=about), folder / "forged.fallline")
    done = run("show", "forged.fallline")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: forged.fallline is not a whole fallline model (ValueError: ")
