"""``fallline predict``: what stands beside the rows, and a sentence where it cannot."""

import re

import numpy as np
import pytest
from trees import QUICK, run, table

from fallline.model_file import load_model
from fallline.table.read import read_table


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predictions_stand_beside_the_rows(folder, suffix):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("predict", "trees-height.fallline", path, "-o", f"out.{suffix}")
    assert done.exit_code == 0, done.output
    out, rows = read_table(folder / f"out.{suffix}"), read_table(path)
    saved = load_model(folder / "trees-height.fallline")
    assert list(out.columns) == ["age", "kind", "height", "predicted height"]
    expected = saved.fitted.predict(saved.columns.encode(rows.columns))[:, 0]
    np.testing.assert_allclose(out.columns["predicted height"], expected, rtol=1e-12)
    assert "height: RMSE" in done.stderr


def test_the_ends_of_intervals_stand_beside_the_predictions(folder):
    path = table(folder, 200)
    done = run("fit", path, "-t", "height", *QUICK)
    assert re.search(r"The 95 % intervals hold (\d+\.\d) % of the 40 held-out rows\.", done.stdout)
    done = run("predict", "trees-height.fallline", path, "-o", "out.csv", "--interval", "0.9", "--std")
    assert done.exit_code == 0, done.output
    out, saved = read_table(folder / "out.csv"), load_model(folder / "trees-height.fallline")
    assert list(out.columns)[3:] == ["predicted height", "std height", "lower height", "upper height"]
    x = saved.columns.encode(read_table(path).columns)
    low, high = saved.intervals.interval(x, 0.9)[:, 0].T
    np.testing.assert_allclose(out.columns["lower height"], low, rtol=1e-12)
    np.testing.assert_allclose(out.columns["upper height"], high, rtol=1e-12)
    np.testing.assert_allclose(out.columns["std height"], saved.intervals.std(x)[:, 0], rtol=1e-12)
    inside = np.mean((low <= out.columns["height"]) & (out.columns["height"] <= high))
    assert f"; {100 * inside:.1f} % of them lie in their 90 % interval" in done.stderr
    assert 0.82 < inside < 0.97


def test_a_model_without_intervals_says_how_to_get_them(folder):
    path = table(folder)
    done = run("fit", path, "-t", "height", *QUICK, "--no-intervals")
    assert "intervals" not in done.stdout
    done = run("predict", "trees-height.fallline", path, "--interval", "0.95")
    assert done.exit_code == 1
    assert "fit again, without --no-intervals" in done.stderr


def test_predictions_without_an_output_go_to_stdout(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    path.write_text("kind;age\noak;3,5\nbirch;\n", encoding="utf-8")  # a new category, a missing cell, no target
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "kind;age;predicted height"
    assert [line.rpartition(";")[0] for line in lines[1:]] == ["oak;3,5", "birch;"]
    assert all("," in line.rpartition(";")[2] for line in lines[1:])  # as the file writes its decimals


def test_a_missing_column_is_named_at_predict(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    path.write_text("age;height\n3;4\n5;6\n")
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 1
    assert "kind" in done.stderr


def test_predict_ignores_columns_the_model_does_not_use(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    (folder / "more.csv").write_text("note,kind,age,predicted height\nhello,oak,3.5,8\n")
    done = run("predict", "trees-height.fallline", "more.csv")
    assert done.exit_code == 0, done.output
    header, row = done.stdout.splitlines()
    assert header == "note,kind,age,predicted height,predicted height_2"
    assert row.startswith("hello,oak,3.5,8,")


UNPREDICTABLE = {
    "an infinity": (b"age;kind\n1;ash\ninf;oak\n", "`age` is infinite in row 2"),
    "another type": (b"age;kind\nold;ash\nyoung;oak\n", "`age`"),
    "header only": (b"age;kind\n", "no rows"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "word"), UNPREDICTABLE.values(), ids=UNPREDICTABLE)
def test_a_table_that_cannot_be_predicted_gets_a_sentence(folder, content, word):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    (folder / "bad.csv").write_bytes(content)
    done = run("predict", "trees-height.fallline", "bad.csv", "-o", "out.csv")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert word in done.stderr
    assert not (folder / "out.csv").exists()


def test_predictions_do_not_replace_the_table(folder):
    path = table(folder)
    before = path.read_bytes()
    run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("predict", "trees-height.fallline", path, "-o", "./trees.csv")
    assert done.exit_code == 1
    assert "is the table itself, which stays as it is: give another file to --output" in done.stderr
    assert path.read_bytes() == before


def test_a_class_that_a_spreadsheet_would_run_is_written_as_text_and_the_users_columns_as_they_are(folder):
    rows = [f"{at % 20},{'=1+1' if at % 20 > 9 else '@sum'},=2+2" for at in range(60)]
    (folder / "t.csv").write_text("\n".join(["x,y,note", *rows]) + "\n")
    run("fit", "t.csv", "-t", "y", *QUICK, "-q")
    done = run("predict", "t-y.fallline", "t.csv")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()[1:]
    assert [line.rsplit(",", 3)[0] for line in lines] == rows
    assert {line.split(",")[3] for line in lines} == {"'=1+1", "'@sum"}
