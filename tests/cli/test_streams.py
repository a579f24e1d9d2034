"""Tables that do not fit in memory, as a user meets them: fitted, predicted and looked at from disk."""

import gzip
import re
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from trees import QUICK, run, table

from fallline.cli import reading
from fallline.fit.figures import figures_of
from fallline.fit.network_fit import fit_network
from fallline.fit.ridge import fit_ridge
from fallline.model_file import load_model
from fallline.table import encoded, stream
from fallline.table.columns import Columns
from fallline.table.read import read_table
from fallline.table.sample import drawn
from fallline.walk import loop


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(encoded, "memory_available", lambda: 0)
    monkeypatch.setattr(stream, "_PIECE", 1500)


def as_parquet(folder, path):
    rows = read_table(path)
    place = folder / f"{path.stem}.parquet"
    pa.parquet.write_table(pa.table({name: values.tolist() for name, values in rows.columns.items()}), place)
    return place


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_streamed_fit_is_that_of_its_training_rows_in_memory(folder, no_memory, suffix):
    path = table(folder, 300)
    path = path if suffix == "csv" else as_parquet(folder, path)
    done = run("fit", path, "-t", "height", *QUICK)
    assert done.exit_code == 0, done.output
    assert re.search(r"Note: trees\.\w+ is read from disk at every pass: in memory a fit would take some", done.stderr)
    saved, rows = load_model(folder / "trees-height.fallline"), read_table(path)
    held = drawn(np.arange(300), 0.2, 0)
    train = rows.take(~held)
    columns = Columns.fit(train.blocks(), ["height"])
    assert saved.columns.plan == columns.plan
    x, y = columns.encode(train.columns), train.columns["height"][:, None]
    options = dict(zip(QUICK[::2], QUICK[1::2], strict=True))
    hidden = tuple(map(int, options["--hidden"].split(",")))
    exact, _ = fit_network(
        x, y, hidden_layer_sizes=hidden, n_starts=int(options["--starts"]), max_iter=int(options["--max-iter"]), seed=0,
        alpha=0.1, indicators=columns.indicators,
    )  # fmt: skip
    np.testing.assert_allclose(saved.fitted.weights, exact.weights, rtol=1e-7, atol=1e-9)
    ridge = fit_ridge(exact.scaling.x(x), y)
    for name, part in (("training", train), ("held-out", rows.take(held))):
        inputs, actual = columns.encode(part.columns), part.columns["height"]
        said = saved.about["figures"][name][0]
        assert said["rows"] == len(actual)
        for fit, predicted in (("network", exact.predict(inputs)), ("ridge", ridge.predict(exact.scaling.x(inputs)))):
            assert said[fit]["rmse"] == pytest.approx(figures_of(actual, predicted[:, 0]).rmse, rel=1e-6)


def test_a_streamed_fit_says_what_is_of_some_rows_only(folder, no_memory):
    done = run("fit", table(folder, 300), "-t", "height", *QUICK)
    assert "of the table by the numbers of its rows, seed 0) that played no part in the fit" in done.stdout
    assert re.search(r"intervals hold [\d.]+ % of the \d+ held-out rows drawn at random", done.stdout)
    report = (folder / "trees-height.html").read_text(encoding="utf-8")
    assert "Figures are of all rows; what is drawn or told row by row is of" in report


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_streamed_predictions_are_those_of_memory_byte_by_byte(folder, monkeypatch, suffix):
    path = table(folder, 300)
    run("fit", path, "-t", "height", *QUICK, "-q")
    place = path if suffix == "csv" else as_parquet(folder, path)
    how = ("--interval", "0.9", "--std")
    done = run("predict", "trees-height.fallline", place, "-o", "memory.csv", *how)
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(encoded, "memory_available", lambda: 0)
    monkeypatch.setattr(stream, "_PIECE", 1000)
    monkeypatch.setattr(stream, "_WITH_TEXT", 64)
    streamed = run("predict", "trees-height.fallline", place, "-o", "streamed.csv", *how)
    assert "is read from disk at every pass" in streamed.stderr
    assert (folder / "memory.csv").read_bytes() == (folder / "streamed.csv").read_bytes()
    assert done.stderr.splitlines()[-1] == streamed.stderr.splitlines()[-1]
    printed = run("predict", "trees-height.fallline", place, *how)
    assert printed.stdout == (folder / "memory.csv").read_text(encoding="utf-8")


def test_streamed_predictions_in_parquet_are_those_of_memory(folder, monkeypatch):
    path = table(folder, 300)
    run("fit", path, "-t", "height", *QUICK, "-q")
    run("predict", "trees-height.fallline", path, "-o", "memory.parquet")
    monkeypatch.setattr(encoded, "memory_available", lambda: 0)
    monkeypatch.setattr(stream, "_PIECE", 1000)
    done = run("predict", "trees-height.fallline", path, "-o", "streamed.parquet")
    assert done.exit_code == 0, done.output
    assert sorted(each.name for each in folder.iterdir()) == [
        "memory.parquet", "streamed.parquet", "trees-height.fallline", "trees-height.html", "trees.csv",
    ]  # fmt: skip
    right, found = (pa.parquet.read_table(folder / name) for name in ("memory.parquet", "streamed.parquet"))
    assert (found.schema.names, found.schema.types) == (right.schema.names, right.schema.types)
    assert found.to_pydict() == right.to_pydict()


def test_predictions_that_cannot_be_finished_leave_what_was_there(folder, no_memory):
    path = table(folder, 300)
    run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("predict", "trees-height.fallline", path, "-o", "out.csv")
    assert done.exit_code == 0, done.output
    before = (folder / "out.csv").read_bytes()
    path.write_text(path.read_text() + "".join(f"\nword {i};oak;1" for i in range(200)))
    done = run("predict", "trees-height.fallline", path, "-o", "out.csv")
    assert done.exit_code == 1
    assert "do not go with that" in done.stderr
    assert (folder / "out.csv").read_bytes() == before
    assert not list(folder.glob("*.part")) + list(folder.glob(".*.part"))


def test_the_files_of_a_folder_are_one_table(folder):
    path = table(folder, 300)
    head, *rows = path.read_text().splitlines(keepends=True)
    (folder / "parts").mkdir()
    (folder / "parts" / "a.csv").write_text(head + "".join(rows[:100]))
    (folder / "parts" / "b.csv.gz").write_bytes(gzip.compress((head + "".join(rows[100:])).encode()))
    for given in ("parts", "parts/*.csv*"):
        done = run("fit", given, "-t", "height", *QUICK)
        assert done.exit_code == 0, done.output
        whole = run("fit", path, "-t", "height", *QUICK)
        assert _figures(done.stdout) == _figures(whole.stdout)
        assert (folder / "parts-height.fallline").exists()
        (folder / "parts-height.fallline").unlink()
    done = run("predict", "trees-height.fallline", "parts", "-o", "out.csv")
    run("predict", "trees-height.fallline", path, "-o", "whole.csv")
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()


def _figures(said):
    return [line for line in said.splitlines() if line.startswith("height ")]


@pytest.mark.parametrize(
    ("holdout", "says"),
    [
        ("last", "60 rows (the last fifth of the table)"),
        ("0", "on all 300 rows"),
        ("trees.csv", "300 rows (all of trees.csv)"),
    ],
)
def test_other_rows_may_be_held_out_of_a_stream(folder, no_memory, holdout, says):
    done = run("fit", table(folder, 300), "-t", "height", *QUICK, "--holdout", holdout)
    assert done.exit_code == 0, done.output
    assert says in done.stdout


@pytest.mark.parametrize("option", [("--k-fold", "5"), ("--compare",)], ids=lambda each: each[0])
def test_what_needs_rows_in_memory_is_refused_with_the_reason(folder, no_memory, option):
    done = run("fit", table(folder, 300), "-t", "height", *QUICK, *option)
    assert done.exit_code == 2
    assert re.search(f"is read from disk at every pass.*{option[0]} needs it there", done.stderr, re.DOTALL)


@pytest.mark.parametrize("target", ["kind", "two"])
def test_classes_of_a_table_that_does_not_fit_are_refused(folder, no_memory, target):
    path = table(folder, 300)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]};two", *(f"{line};{i % 2}" for i, line in enumerate(lines[1:]))]))
    done = run("fit", path, "-t", target, *QUICK)
    assert done.exit_code == 1
    assert "is told by classes, which needs a table in memory" in done.stderr


def test_a_map_of_a_streamed_fit_is_of_some_of_its_training_rows(folder, no_memory, monkeypatch):
    from fallline.cli import rows

    path = table(folder, 300)
    run("fit", path, "-t", "height", *QUICK, "-q")
    monkeypatch.setattr(rows, "_FEW_ROWS", 50)
    done = run("surface", "trees-height.fallline", "--points", "5", "-o", "map.png")
    assert done.exit_code == 0, done.output
    count = int((~drawn(np.arange(300), 0.2, 0)).sum())
    assert (
        f"trees.csv is read from disk: what follows is of 50 of the {count} training rows of trees.csv" in done.stderr
    )


def test_a_streamed_fit_is_found_again_where_the_table_fits(folder, monkeypatch):
    path = table(folder, 300)
    with monkeypatch.context() as small:
        small.setattr(encoded, "memory_available", lambda: 0)
        run("fit", path, "-t", "height", *QUICK, "-q")
    done = run("surface", "trees-height.fallline", "--points", "5", "-o", "map.png")
    assert done.exit_code == 0, done.output
    assert "have changed since the fit" not in done.stderr
    assert "not of those of the fit" not in done.stderr


def test_what_a_table_takes_is_judged_by_the_free_memory(folder, monkeypatch):
    path = table(folder, 300)
    needed = stream.bytes_in_memory(path)
    assert needed == pytest.approx(6 * path.stat().st_size)
    assert stream.bytes_in_memory(as_parquet(folder, path)) == 6 * 8 * 300 * 3
    monkeypatch.setattr(encoded, "memory_available", lambda: 4 * needed)
    assert reading.why_streamed(path) == ""
    monkeypatch.setattr(encoded, "memory_available", lambda: 3.9 * needed)
    assert "more than a quarter of the" in reading.why_streamed(path)


def test_a_streamed_fit_that_is_terminated_goes_on_to_the_same_weights(folder, no_memory, monkeypatch):
    fit = ["fit", table(folder, 300), "-t", "height", *QUICK, "-q"]
    assert run(*fit).exit_code == 0
    expected = load_model(folder / "trees-height.fallline").fitted.weights
    left, before = [20], loop.stopping

    def stopping():
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGTERM)
        return before()

    monkeypatch.setattr(loop, "stopping", stopping)
    done = run(*fit, "--checkpoint", "kept")
    assert done.exit_code == 1
    assert "the same command goes on from the checkpoint in kept" in done.stderr
    assert list((folder / "kept").glob("*.walk"))
    assert run(*fit, "--checkpoint", "kept").exit_code == 0
    np.testing.assert_array_equal(load_model(folder / "trees-height.fallline").fitted.weights, expected)
    assert list((folder / "kept").iterdir()) == []
