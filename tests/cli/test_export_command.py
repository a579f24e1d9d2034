"""``fallline export`` on a fitted model: every target is written, and a file of others is left alone."""

import importlib.util

import numpy as np
import pytest
from trees import run

from fallline.table.read import read_table

TARGETS = {
    "onnx": ".onnx",
    "python": ".py",
    "c": ".h",
    "matlab": ".m",
    "excel": ".xlsx",
    "latex": ".tex",
    "text": ".txt",
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_written_beside_the_model_and_replaced_by_its_like(folder, fitted, target):
    for _ in range(2):
        done = run("export", "trees-height.fallline", "--to", target)
        assert done.exit_code == 0, done.output
    written = done.stdout.removeprefix("Written to ").strip()
    assert written == {"c": "trees_height", "matlab": "trees_height"}.get(target, "trees-height") + TARGETS[target]
    assert (folder / written).stat().st_size > 100


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_of_others_is_left_alone(folder, fitted, target):
    (folder / "mine").write_text("my own work")
    done = run("export", "trees-height.fallline", "--to", target, "-o", "mine")
    assert done.exit_code == 1
    assert "was not written by fallline" in done.stderr
    assert (folder / "mine").read_text() == "my own work"


def test_an_exported_module_predicts_the_rows_of_the_file(folder, fitted):
    run("export", "trees-height.fallline", "--to", "python", "-o", "exported.py")
    spec = importlib.util.spec_from_file_location("exported", folder / "exported.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = read_table("trees.csv")
    cells = zip(table.columns["age"], table.columns["kind"], strict=True)
    found = [module.predict({"age": age, "kind": kind})["height"] for age, kind in cells]
    wanted = fitted.fitted.predict(fitted.columns.encode(table.columns))[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert "trees.csv" in module.__doc__


def test_a_single_network_says_how_far_off_it_is_by_itself(folder, fitted):
    run("fit", "trees.csv", "-t", "height", "--hidden", "3", "--starts", "4", "--max-iter", "30", "-q", "-o", "of-four")
    done = run("export", "of-four/trees-height.fallline", "--to", "text", "--single")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("By itself it has an RMSE of height ")
    assert "(all combined: " in done.stdout
    assert "12 held-out rows" in done.stdout
    text = (folder / "trees-height.txt").read_text()
    assert "One network of those that the model combines." in text
    assert text.count("tanh(") == 3


def test_what_is_no_model_is_told(folder):
    (folder / "no.fallline").write_text("x")
    done = run("export", "no.fallline", "--to", "c")
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
