"""The command line, as a person uses it: whole runs, and a sentence for everything that can be wrong."""

import contextlib
import dataclasses
import fcntl
import gzip
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from click.testing import CliRunner

from fallline.cli.main import main
from fallline.descent.choose import DESCENTS
from fallline.fit.network_fit import ACTIVATION, HIDDEN_LAYER_SIZES, MAX_ITER, TOL
from fallline.model_file import load_model, save_model
from fallline.table.read import read_table

# Settings that keep a run short: what is tested here is not how good the fit is.
QUICK = ["--hidden", "3", "--max-iter", "60", "--starts", "1", "--alpha", "0.1"]


@pytest.fixture(autouse=True)
def own_programs(tmp_path_factory, monkeypatch):
    """Compiled programs kept for the tests alone, and shared by them."""
    monkeypatch.setenv("FALLLINE_COMPILE_CACHE", str(tmp_path_factory.getbasetemp() / "programs"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def table(folder, rows=60, name="trees.csv"):
    random = np.random.default_rng(3)
    age, kind = random.uniform(1, 50, rows), random.choice(["ash", "oak"], rows)
    height = 20 * np.tanh(age / 20) + 3 * (kind == "oak") + 0.3 * random.normal(size=rows)
    lines = [f"{a:.3f};{k};{h:.3f}" for a, k, h in zip(age, kind, height, strict=True)]
    path = folder / name
    path.write_text("\n".join(["age;kind;height", *lines]).replace(".", ","), encoding="utf-8")
    return path


def numbers_of(report):
    text = report.read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="fallline-report">(.*?)</script>', text, re.S)[1]
    )


def squared_figures(actual, predicted):
    residual = actual - predicted
    spread = ((actual - actual.mean()) ** 2).sum()
    return (
        0.5 * residual @ residual,
        np.sqrt(residual @ residual / len(residual)),
        1 - residual @ residual / spread,
    )


def forward(model, x):
    """A network by hand: coefficients and biases in the user's units, tanh between them."""
    (hidden, bias), (coef, intercept) = model.fitted.layers
    return (np.tanh(x @ hidden + bias) @ coef + intercept)[:, 0]


def test_a_fit_prints_reports_saves_and_predicts_the_same_figures(folder):
    path = table(folder)
    done = run("fit", path, "--target", "height", *QUICK)
    assert done.exit_code == 0, done.output
    saved, rows = load_model(folder / "trees-height.fallline"), read_table(path)
    predicted = forward(saved, saved.columns.encode(rows.columns))
    order = np.random.default_rng(0).permutation(60)  # a fifth held out, seed 0
    parts = {"training": order[12:], "held-out": order[:12]}
    in_report = {
        each["name"]: each["figures"][0] for each in numbers_of(folder / "trees-height.html")["rowsets"]
    }
    expected = {
        name: squared_figures(rows.columns["height"][at], predicted[at]) for name, at in parts.items()
    }
    saved_figures = {name: said[0]["network"] for name, said in saved.about["figures"].items()}
    assert {name: said["network"] for name, said in in_report.items()} == saved_figures
    assert {name: [said[k] for k in ("error", "rmse", "r2")] for name, said in saved_figures.items()} == {
        name: pytest.approx(figures, rel=1e-9) for name, figures in expected.items()
    }
    printed = {
        (part, fit): [float(number.replace(",", "").replace("−", "-")) for number in numbers]
        for part, fit, *numbers in re.findall(
            r"^height +([\w-]+) \(\d+\) +(network|ridge) +(\S+) +(\S+) +(\S+)$", done.stdout, re.M
        )
    }
    assert printed == {
        (name, fit): pytest.approx(
            [in_report[name][fit][k] for k in ("error", "rmse", "r2")], rel=5e-4, abs=5e-4
        )
        for name in parts
        for fit in ("network", "ridge")
    }
    run("predict", "trees-height.fallline", path, "-o", "out.csv")
    np.testing.assert_allclose(read_table("out.csv").columns["predicted height"], predicted, rtol=1e-9)


def test_a_model_file_keeps_the_way_its_descent_went(folder):
    run("fit", table(folder), "--target", "height", *QUICK, "-q")
    saved = load_model(folder / "trees-height.fallline")
    assert saved.path.n_rows == 48
    assert len(saved.path.weights) == len(saved.path.steps) == saved.about["steps"] + 1
    np.testing.assert_array_equal(saved.path.error, saved.curve["training"])
    at = list(saved.path.steps).index(saved.path.best_step)
    np.testing.assert_array_equal(saved.path.weights[at], saved.fitted.weights)
    assert "age->h1" in saved.path.to_frame().columns


def test_a_fit_says_which_rows_why_it_stopped_and_how_long_it_took(folder):
    done = run("fit", table(folder), "--target", "height", *QUICK)
    assert re.search(r"^age +number +a number, .* \(read with decimal commas\)$", done.stdout, re.M)
    assert "The saved model was fitted on 48 rows of trees.csv." in done.stdout
    assert "12 rows (a random 20% of the table, seed 0) that played no part in the fit" in done.stdout
    assert "Levenberg–Marquardt, because the network is small (13 weights for 48 rows)" in done.stdout
    assert "Stopped at" in done.stdout
    assert re.search(r"\d+ steps, \d+ passes over the rows in [\d.]+ s; [\d.]+ s in all", done.stdout)
    assert "alpha = 0.1, in standardised units." in done.stdout


@pytest.mark.parametrize("evidence", [[], ["--alpha", "evidence"]], ids=["by default", "as asked"])
def test_the_weight_decay_is_found_by_its_evidence(evidence, folder):
    done = run("fit", table(folder), "--target", "height", *QUICK[:6], *evidence)
    assert re.search(
        r"Weight decay: found by Bayesian regularisation: the rows determine \d+ of 13", done.stdout
    )


def test_an_early_complaint_is_all_that_is_said(folder):
    # The imports that run beside the reading of the table must not be cut off where they can be heard.
    command = [sys.executable, "-m", "fallline", "fit", str(table(folder)), "-t", "nothing"]
    said = [subprocess.run(command, capture_output=True, text=True) for _ in range(4)]
    assert {done.returncode for done in said} == {1}
    assert {len(done.stderr.splitlines()) for done in said} == {1}


def test_outside_a_terminal_a_line_is_a_line(folder):
    done = run("fit", table(folder), "--target", "height", *QUICK)
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
    assert "\x1b" not in done.output
    assert any(len(line) > 130 for line in done.stdout.splitlines())


def test_the_model_file_holds_the_command_as_it_was_typed(folder):
    path = table(folder, name="two words.csv")
    run("fit", path.name, "-t", "height", *QUICK, "-q")
    command = load_model(folder / "two words-height.fallline").about["command"]
    assert shlex.split(command) == ["fallline", "fit", "two words.csv", "-t", "height", *QUICK, "-q"]


def test_a_bar_on_a_terminal_shows_the_error_in_the_targets_units(folder):
    path = table(folder)
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", 40, 80, 0, 0))
    command = [sys.executable, "-m", "fallline", "fit", str(path), "-t", "height", *QUICK, "--tol", "0"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=side, text=True, env=environment
    )
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody is left at its other end
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    output, _ = process.communicate()
    said = re.sub(r"\x1b\[[\d;?]*\w", "", shown.decode())
    step, training, held = re.findall(r"step (\d+)  RMSE training (\S+), held-out (\S+) +\d:", said)[-1]
    assert int(step) > 20
    assert re.search(rf"training \(48\) +network +\S+ +{re.escape(training)} ", output)
    assert re.search(rf"held-out \(12\) +network +\S+ +{re.escape(held)} ", output)


def test_the_command_in_the_report_makes_the_same_model_again(folder):
    path = table(folder)
    command = ["fit", path.name, "--target", "height", *QUICK]
    process = [sys.executable, "-m", "fallline"]
    first = subprocess.run([*process, *command], cwd=folder, capture_output=True, text=True, check=True)
    assert "Model   trees-height.fallline" in first.stdout
    content = (folder / "trees-height.fallline").read_bytes()
    again = load_model(folder / "trees-height.fallline").about["command"].split()
    assert again == ["fallline", *map(str, command)]
    subprocess.run([*process, *again[1:]], cwd=folder, capture_output=True, check=True)
    assert (folder / "trees-height.fallline").read_bytes() == content


def test_a_second_process_compiles_nothing_and_none_imports_scikit_learn(folder, tmp_path):
    path = table(folder)
    code = (
        "import sys, jax.monitoring as m, fallline.cli.main\nseen = []\n"
        "m.register_event_listener(lambda event, **_: seen.append(event.rpartition('/')[2]))\n"
        f"fallline.cli.main(['fit', {str(path)!r}, '-t', 'height', *{QUICK!r}, '-q'], standalone_mode=False)\n"
        "print(seen.count('cache_misses'), seen.count('cache_hits'), 'sklearn' in sys.modules)"
    )
    environment = os.environ | {"FALLLINE_COMPILE_CACHE": str(tmp_path / "fresh")}
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        said.append(done.stdout.split())
    (first_missed, _, sklearn), (missed, hit, _) = said
    assert int(first_missed) > 0
    assert (missed, hit) == ("0", first_missed)
    assert sklearn == "False"


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
    path.write_text(
        "kind;age\noak;3,5\nbirch;\n", encoding="utf-8"
    )  # a new category, a missing cell, no target
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "kind,age,predicted height"
    assert len(lines) == 3


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
    r"^Verdict +\w.*error",
    r"^Path +kept at \d+ points, weights at \d+ of them$",
    r"^Rows +The saved model was fitted on 48 rows of trees.csv\.",
    r"^Seed +0$",
    r"^Versions +fallline \d.*jax \d",
    r"^Command +fallline fit",
]


def test_show_says_what_is_inside(folder):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    done = run("show", "trees-height.fallline")
    assert done.exit_code == 0, done.output
    assert [line for line in SHOWN if not re.search(line, done.stdout, re.M)] == []


@pytest.mark.parametrize(
    "about",
    [{"figures": 7}, {"figures": {"training": []}}, {"descent": "x", "steps": "many"}, {"versions": []}],
)
def test_show_refuses_what_no_fit_says(folder, about):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    saved = load_model(folder / "trees-height.fallline")
    save_model(dataclasses.replace(saved, about=about), folder / "forged.fallline")
    done = run("show", "forged.fallline")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: what forged.fallline says of its making is not what `fallline fit` writes: fit again.\n"
    )


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        ("last", "12 rows (the last fifth of the table)"),
        ("0", "no rows were held out"),
        ("0.5", "30 rows (a random 50% of the table"),
        ("other.csv", "25 rows (all of other.csv)"),
    ],
)
def test_the_held_out_rows_are_the_ones_asked_for(folder, holdout, said):
    path = table(folder)
    table(folder, rows=25, name="other.csv")
    done = run("fit", path, "-t", "height", *QUICK, "--holdout", holdout)
    assert done.exit_code == 0, done.output
    assert said in done.output


HELD_OUT_FILES = {
    "no target": ("age;kind\n1;ash\n", "has no column `height`"),
    "target without values": ("age;kind;height\n1;ash;\n2;oak;\n", "no row with a value of `height`"),
    "no such input": ("kind;height\nash;1\noak;2\n", "`age`"),
    "header only": ("age;kind;height\n", "no rows"),
    "infinite target": (
        "age;kind;height\n1;ash;2\n2;oak;inf\n",
        "`height` is infinite in row 2 of other.csv",
    ),
    "infinite input": ("age;kind;height\n1;ash;2\ninf;oak;2\n", "`age` is infinite in row 2"),
}


@pytest.mark.parametrize(("content", "word"), HELD_OUT_FILES.values(), ids=HELD_OUT_FILES)
def test_a_table_to_judge_by_that_cannot_be_used_gets_a_sentence(folder, content, word):
    path = table(folder)
    (folder / "other.csv").write_text(content)
    done = run("fit", path, "-t", "height", *QUICK, "--holdout", "other.csv")
    assert done.exit_code == 1
    assert word in done.stderr
    assert sorted(found.name for found in folder.iterdir()) == ["other.csv", "trees.csv"]


def dates(folder, name, written):
    """A table of 60 days, written one way or the other."""
    days = np.datetime64("2020-01-01") + np.arange(60)
    lines = [f"{day.item().strftime(written)},{i % 7 + i / 10}\n" for i, day in enumerate(days)]
    (folder / name).write_text("day,y\n" + "".join(lines))


def test_a_date_that_reads_the_other_way_round_is_told(folder):
    dates(folder, "fitted.csv", "%m/%d/%Y")
    dates(folder, "held.csv", "%d/%m/%Y")
    note = r"Note: In held.csv `day` was read with day/month/year dates, but with month/day/year dates for the fit"
    assert re.search(note, run("fit", "fitted.csv", "-t", "y", *QUICK, "--holdout", "held.csv").stderr)
    assert re.search(note, run("predict", "fitted-y.fallline", "held.csv").stderr)
    assert "Note" not in run("predict", "fitted-y.fallline", "fitted.csv").stderr


def test_several_targets_are_fitted_together(folder):
    path = folder / "two.csv"
    x = np.linspace(-1, 1, 60)
    path.write_text("x,a,b\n" + "".join(f"{v},{v * v},{np.sin(v)}\n" for v in x))
    done = run("fit", path, "-t", "a", "-t", "b", *QUICK)
    assert done.exit_code == 0, done.output
    assert load_model(folder / "two-a-b.fallline").fitted.network.outputs == 2


def test_names_with_spaces_and_letters_of_every_kind_are_no_trouble(folder):
    (folder / "Größe 1").mkdir()
    path = folder / "Größe 1" / "mes données.csv"
    path.write_text("Höhe (m),[b]x[/b]\n" + "".join(f"{i * i},{i}\n" for i in range(50)), encoding="utf-8")
    done = run("fit", path, "-t", "Höhe (m)", *QUICK, "-o", folder / "neu" / "hier")
    assert done.exit_code == 0, done.output
    assert "[b]x[/b]" in done.output
    assert len(list((folder / "neu" / "hier").iterdir())) == 2


@pytest.mark.parametrize(
    ("table_name", "target", "stem"),
    [
        ("prices.2025.csv.gz", "y", "prices.2025-y"),  # prices.2026 must not replace it
        ("data", "Body Mass (g)", "data-Body_Mass_g"),
        ("t.CSV", "価格" * 60, "t-" + "価格" * 19 + "価"),  # 120 bytes, whole letters
    ],
    ids=["dots", "punctuation", "long"],
)
def test_the_files_are_named_after_table_and_target(folder, table_name, target, stem):
    text = f"x,{target}\n" + "".join(f"{i},{i * i}\n" for i in range(60))
    content = text.encode()
    (folder / table_name).write_bytes(gzip.compress(content) if table_name.endswith("gz") else content)
    done = run("fit", table_name, "-t", target, *QUICK)
    assert done.exit_code == 0, done.output
    assert (folder / f"{stem}.fallline").exists()
    assert (folder / f"{stem}.html").exists()


def test_what_a_table_holds_is_shown_as_it_is(folder):
    (folder / "t.csv").write_bytes(
        b"[b]x[/b],:smile:,a\x1b[31m,y\n"
        + b"".join(b"%d,%d,%d,%d\n" % (i, i % 7, i % 5, i * i) for i in range(60))
    )
    done = run("fit", "t.csv", "-t", "y", *QUICK)
    assert done.exit_code == 0, done.output
    assert re.search(r"^\[b\]x\[/b\] ", done.stdout, re.M)
    assert re.search(r"^:smile: ", done.stdout, re.M)
    assert re.search(r"^a\\x1b\[31m ", done.stdout, re.M)


@pytest.mark.parametrize(
    ("encoding", "square", "minus"), [("ascii", "R²", "−"), ("cp1252", "R²", "-"), ("cp1251", "R2", "-")]
)
def test_a_locale_without_the_letters_is_no_trouble(folder, encoding, square, minus):
    noise = np.random.default_rng(1).normal(size=60)  # nothing to learn: on other rows R² is negative
    (folder / "t.csv").write_text(
        "Größe,y\n" + "".join(f"{i},{noise[i]}\n" for i in range(60)), encoding="utf-8"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    process = [sys.executable, "-m", "fallline"]
    shared = {"cwd": folder, "env": environment, "capture_output": True, "check": True}
    done = subprocess.run([*process, "fit", "t.csv", "-t", "y", *QUICK, "--holdout", "last"], **shared)
    said = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    assert square in said
    assert re.search(rf"held-out \(12\).*network.*{minus}[\d.]+\b", said)
    done = subprocess.run([*process, "predict", "t-y.fallline", "t.csv"], **shared)
    assert done.stdout.decode("utf-8").startswith("Größe,y,predicted y\n")


def line(n=40):
    return "x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(n))


BAD_TABLES = {
    "empty file": (b"", "y", "empty"),
    "header only": (b"x,y\n", "y", "no rows"),
    "one row": (b"x,y\n1,2\n", "y", "at least two rows"),
    "no such target": (line().replace("y", "strength").encode(), "strenght", "strength"),
    "text target": (b"x,y\n" + b"".join(b"%d,word%d\n" % (i, i % 7) for i in range(40)), "y", "text"),
    "constant target": (b"x,y\n" + b"".join(b"%d,5\n" % i for i in range(40)), "y", "5"),
    "target without values": (b"x,y\n" + b"".join(b"%d,\n" % i for i in range(40)), "y", "y"),
    "only empty inputs": (b"x,y\n" + b"".join(b",%d\n" % i for i in range(40)), "y", "x"),
    "an infinity": ((line() + "inf,3\n").encode(), "y", "row 41"),
    "ragged lines": ((line() + "1,2,3,4\n").encode(), "y", "Line 42"),
    "binary noise": (np.random.default_rng(0).bytes(5000), "y", "text"),
}


@pytest.mark.parametrize(("content", "target", "word"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_cannot_be_fitted_gets_a_sentence(folder, content, target, word):
    (folder / "bad.csv").write_bytes(content)
    done = run("fit", "bad.csv", "--target", target, *QUICK, "--holdout", "0", "-o", "new folder")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    assert word in message
    assert [path.name for path in folder.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize("row", [1, 17, 60])
def test_an_infinity_is_found_in_the_row_where_it_stands(folder, row):
    cells = [f"{i},{i * i}" for i in range(60)]
    cells[row - 1] = "3,-inf"
    (folder / "bad.csv").write_text("x,y\n" + "\n".join(cells))
    done = run("fit", "bad.csv", "--target", "y", *QUICK)
    assert done.exit_code == 1
    assert re.search(rf"Error: The target `y` is infinite in row {row}\b", done.stderr)


def test_a_file_that_is_not_there_gets_a_sentence(folder):
    table(folder)
    done = run("fit", "tree.csv", "-t", "height")
    assert done.exit_code == 1
    assert "tree.csv" in done.stderr
    assert "trees.csv" in done.stderr  # the nearest name


def test_a_column_of_a_hundred_thousand_categories_is_left_out(folder):
    (folder / "many.csv").write_text(
        "id,x,y\n" + "".join(f"customer {i},{i % 97},{i % 89}\n" for i in range(100_000))
    )
    done = run("fit", "many.csv", "-t", "y", *QUICK, "--hidden", "none", "--max-iter", "3")
    assert done.exit_code == 0, done.output
    assert re.search(r"id +dropped +identifier or free text", done.output)


@pytest.mark.parametrize("place", ["a file", "/proc"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(folder, place):
    path = table(folder)
    (folder / "a file").write_text("")
    done = run("fit", path, "-t", "height", *QUICK, "-o", f"{place}/sub")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr
    assert "Stopped" not in done.output


def test_a_file_of_somebody_else_is_not_replaced(folder):
    path = table(folder)
    (folder / "trees-height.html").write_text("my thesis")
    done = run("fit", path, "-t", "height", *QUICK)
    assert done.exit_code == 1
    assert "was not written by fallline: move it away" in done.stderr
    assert (folder / "trees-height.html").read_text() == "my thesis"


@pytest.mark.parametrize("rate", ["1000", "1e+200"], ids=["error without bound", "NaN on the way"])
def test_a_rate_that_is_too_large_keeps_the_lowest_weights_and_says_what_to_do(folder, rate):
    path = table(folder)
    done = run("fit", path, "-t", "height", "--hidden", "none", "--learning-rate", rate)
    assert done.exit_code == 1
    said = re.fullmatch(
        r"descending; .*\nError: Diverged after step \d+: learning rate (\S+) is too large .* "
        r"The lowest-error weights are kept \(step (\d+), E = .*\); "
        r"the largest stable rate there is about ([\d.]+)\. Take a rate below ([\d.]+) or --learning-rate auto, .*\n",
        done.stderr,
    )
    assert said, done.stderr
    assert said[1] == rate
    assert float(said[4]) < float(said[3])
    saved = load_model(folder / "trees-height.fallline")
    assert np.isfinite(saved.fitted.weights).all()
    lowest = np.nanmin(saved.curve["training"])
    assert saved.curve["training"][saved.curve["step"] == int(said[2])] == lowest
    assert f"learning rate {rate} is too large" in (folder / "trees-height.html").read_text(encoding="utf-8")
    again = run(
        "fit", path, "-t", "height", "--hidden", "none", "--learning-rate", said[4], "--max-iter", "20"
    )
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("options", "descent"),
    [
        (["--momentum", "auto"], "GradientDescent(momentum='auto')"),
        (["--momentum", "0.9", "--nesterov"], "GradientDescent(momentum=0.9, nesterov=True)"),
        (["--learning-rate", "0.1", "--momentum", "0.5"], "GradientDescent(learning_rate=0.1, momentum=0.5)"),
        (["--descent", "gradient"], "GradientDescent()"),
    ],
)
def test_settings_of_gradient_descent_imply_it(folder, options, descent):
    done = run("fit", table(folder), "-t", "height", *QUICK, *options)
    assert done.exit_code == 0, done.output
    assert load_model(folder / "trees-height.fallline").about["descent"] == descent


def test_ctrl_c_during_the_descent_keeps_the_best_weights(folder):
    path = table(folder)
    command = [sys.executable, "-m", "fallline", "fit", str(path), "-t", "height", "--hidden", "3"]
    command += ["--descent", "gradient", "--learning-rate", "1e-3", "--tol", "0", "--max-iter", "2000000000"]
    # Programs are compiled beforehand, so that the signal meets the descent and not the compiler.
    subprocess.run([*command[:-1], "10"], cwd=folder, capture_output=True, check=True)
    (folder / "trees-height.fallline").unlink()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("descending; Ctrl-C keeps the best weights")
    process.send_signal(signal.SIGINT)
    output, complaint = process.communicate(timeout=60)
    assert process.returncode == 1, complaint
    assert "Interrupted at step" in complaint
    assert "Traceback" not in complaint
    assert load_model(folder / "trees-height.fallline").about["steps"] > 0
    assert "Interrupted at step" in (folder / "trees-height.html").read_text(encoding="utf-8")
    assert "Model   trees-height.fallline" in output


def test_ctrl_c_before_the_descent_writes_nothing(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    path = table(folder)
    monkeypatch.setattr("fallline.cli.table_fit.fit_table", interrupted)
    done = run("fit", path, "-t", "height", *QUICK)
    assert done.exit_code == 1
    assert done.stderr == "Error: Interrupted: nothing more was done, and no file is half written.\n"
    assert [found.name for found in folder.iterdir()] == ["trees.csv"]


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


@pytest.mark.parametrize("name", DESCENTS)
def test_the_command_line_knows_every_descent_by_its_name(name, folder):
    table(folder)
    done = run("fit", "trees.csv", "-t", "height", "--descent", name, *QUICK)
    assert done.exit_code == 0, done.output
    assert type(DESCENTS[name]()).__name__ in done.stdout
    assert load_model("trees-height.fallline").path.n_rows == 48


def test_an_unknown_activation_lists_the_known_ones(folder):
    done = run("fit", table(folder), "-t", "height", "--activation", "sigmoid")
    assert done.exit_code == 1
    assert "choose one of identity, logistic, tanh" in done.stderr


@pytest.fixture
def fitted(folder):
    run("fit", table(folder), "-t", "height", *QUICK, "--tol", "0", "-q")
    return load_model(folder / "trees-height.fallline")


def penalised_by_hand(saved, rows):
    """E + ½ · 0.1 · Σ coef² at the saved weights over 48 training rows, in scaled units, by NumPy alone."""
    at = np.sort(np.random.default_rng(0).permutation(60)[12:])
    x = saved.columns.encode({name: values[at] for name, values in rows.columns.items()})
    y, scaling = rows.columns["height"][at], saved.fitted.scaling
    residual = (y - forward(saved, x)) / scaling.y_scale
    coefs = [layer.coef for layer in saved.fitted.network.layers(saved.fitted.weights)]
    return 0.5 * residual @ residual + 0.05 * sum((coef**2).sum() for coef in coefs)


NUMBER = r"([\d.,e+−-]+)"
SURFACE = rf"""Error surface of trees-height\.fallline over the 48 training rows of trees\.csv

Plane    first principal direction \([\d.]+ %\); second principal direction \([\d.]+ %\)
Shown    penalised error, E \+ ½ Σ weight decay · weight², a sum over 48 rows in scaled units, 31 × 31 points
Lowest   {NUMBER}, highest {NUMBER}
Minimum  {NUMBER} at \(−?0\.0+, −?0\.0+\)
Others   .* on the map.*

The plane holds [\d.]+ % of the way; the error drawn under it is the plane's: .* and the true error at its best point\.

Picture  trees-height-surface\.png
"""


def test_a_surface_is_drawn_beside_the_model_and_summed_up(folder, fitted):
    done = run("surface", "trees-height.fallline", "--points", "31")
    assert done.stderr == ""
    said = re.fullmatch(SURFACE, done.stdout)
    assert said, done.stdout
    lowest, highest, minimum = (float(number.replace(",", "")) for number in said.groups())
    at_model = penalised_by_hand(fitted, read_table("trees.csv"))
    assert lowest == minimum == pytest.approx(at_model, rel=1e-3)  # 20 steps bring it near
    assert lowest <= at_model * (1 + 2e-4) < highest  # of four digits
    assert (folder / "trees-height-surface.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--plane", "random", "--seed", "3"], "Plane    random direction 1; random direction 2"),
        (["--plane", "curvature"], r"Plane    stiffest direction \(λ = .*\); softest direction \(λ = .*\)"),
        (["--weights", "age->h1", "h2->y1"], "Plane    weight age->h1; weight h2->y1"),
        (["--weights", "0", "12"], "Plane    weight age->h1; weight bias->y1"),
        (["--error"], "Shown    error E, a sum over 48 rows in scaled units, 11 × 11 points"),
        (["--penalised"], "Shown    penalised error, .*"),
        (["--extent", "1", "2", "1", "2"], "Minimum  none on this map: .*"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_surface_shows_the_plane_and_the_error_that_were_asked_for(folder, fitted, options, line):
    done = run("surface", "trees-height.fallline", "--points", "11", "-o", "map.svg", *options)
    assert done.exit_code == 0, done.output
    assert re.search(rf"^{line}$", done.stdout, re.M), done.stdout
    assert (folder / "map.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--plane", "path", "--weights", "age->h1", "h2->y1"], 2, "leave out --plane"),
        (["--extent", "1", "0", "0", "1"], 2, "such as --extent -1 1 -2 2"),
        (["--points", "1"], 2, "--points"),
        (["--weights", "age->h1", "hight->h1"], 1, "there is no weight 'hight->h1': the model has 13, by name age->h1, "),
        (["--weights", "age->h1", "age->h1"], 1, "named twice"),
        (["-o", "map.jpg"], 1, "choose a name that ends in .png, .svg or .pdf"),
        (["-o", "trees.csv"], 1, "choose a name that ends in"),
        (["-o", "theirs.png"], 1, "theirs.png exists and was not drawn by fallline: move it away"),
        (["-o", "trees.csv/map.png"], 1, "cannot be written"),
    ],
)  # fmt: skip
def test_a_surface_that_cannot_be_drawn_gets_a_sentence(folder, fitted, arguments, code, word):
    (folder / "theirs.png").write_bytes(b"\x89PNG of somebody else")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run("surface", "trees-height.fallline", *arguments)
    assert done.exit_code == code, done.output
    assert word in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_surface_without_a_way_names_the_option_to_take(folder):
    run(
        "fit",
        table(folder),
        "-t",
        "height",
        "--hidden",
        "2",
        "--max-iter",
        "1",
        "--tol",
        "0",
        "-q",
        "--alpha",
        "0",
        "--starts",
        "1",
    )
    saved = load_model(folder / "trees-height.fallline")
    still = dataclasses.replace(
        saved.path, weights=saved.fitted.weights[None, :], weight_steps=np.array([saved.path.best_step])
    )
    save_model(dataclasses.replace(saved, path=still), folder / "trees-height.fallline")
    done = run("surface", "trees-height.fallline")
    assert done.exit_code == 1
    assert "choose another plane, such as --plane random." in done.stderr


def test_a_surface_is_drawn_again_in_its_own_place(folder, fitted):
    first = run("surface", "trees-height.fallline", "--points", "5")
    content = (folder / "trees-height-surface.png").read_bytes()
    assert run("surface", "trees-height.fallline", "--points", "5").stdout == first.stdout
    assert (folder / "trees-height-surface.png").read_bytes() == content


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


def test_other_rows_than_those_of_the_fit_are_told(folder, fitted):
    table(folder, rows=40, name="few.csv")
    done = run("surface", "trees-height.fallline", "few.csv", "--points", "5")
    assert done.exit_code == 0, done.output
    assert "Note: few.csv has 40 rows with a target, and the model was fitted on a table of 60" in done.stderr
    assert "The rows of this map are not those of the way" in done.stdout


def rows_of_minima(said):
    """Lines of the table of minima: {what stands in the first column: the numbers beside it}."""
    lines = re.findall(r"^ *(the model|model → \d+|\d+)  +(.*)$", said, re.M)
    return {name: [float(number.replace(",", "")) for number in numbers.split()] for name, numbers in lines}


def test_minima_are_told_apart_and_the_model_stands_among_them(folder, fitted):
    done = run("minima", "trees-height.fallline", "--starts", "12", "-o", "minima.pdf")
    assert done.exit_code == 0, done.output
    assert done.stderr == "going down from 12 starts; Ctrl-C gives up\n"
    heading, _, columns, _, *_ = done.stdout.splitlines()
    assert heading == "Minima of the network of trees-height.fallline over the 48 training rows of trees.csv"
    assert columns.split() == [
        "Minimum", "Starts", "E", "+", "decay", "RMSE", "held-out", "λ", "min", "λ", "max", "Flat"
    ]  # fmt: skip
    rows = rows_of_minima(done.stdout)
    error, rmse, held = rows.pop("the model")
    saved_figures = {name: said[0]["network"]["rmse"] for name, said in fitted.about["figures"].items()}
    assert (rmse, held) == pytest.approx((saved_figures["training"], saved_figures["held-out"]), rel=5e-4)
    assert error == pytest.approx(penalised_by_hand(fitted, read_table("trees.csv")), rel=5e-4)
    own = next(name for name in rows if name.startswith("model"))
    number = int(own.removeprefix("model → "))
    assert f"The model is at minimum {number} of {len(rows)}." in done.stdout.splitlines()
    assert rows[own][1] == pytest.approx(error, rel=1e-3)
    errors = [numbers[1] for numbers in rows.values()]
    assert errors == sorted(errors)
    assert sum(numbers[0] for numbers in rows.values()) <= 12
    assert "12 starts, weight decay alpha = 0.1." in done.stdout
    assert done.stdout.endswith("\nPicture  minima.pdf\n")
    assert (folder / "minima.pdf").read_bytes().startswith(b"%PDF")


def test_a_linear_model_is_at_the_only_minimum(folder):
    run(
        "fit",
        table(folder),
        "-t",
        "height",
        "--hidden",
        "none",
        "--max-iter",
        "50",
        "-q",
        "--alpha",
        "0",
        "--tol",
        "0",
    )
    done = run("minima", "trees-height.fallline", "--starts", "4")
    assert done.exit_code == 0, done.output
    assert "1 distinct minimum from 4 starts" in done.stdout
    assert done.stdout.endswith(
        "The model is at minimum 1 of 1.\nNo start ended lower: other starting weights would not help it.\n"
    )
    eigenvalues = rows_of_minima(done.stdout)["model → 1"][4:6]
    x = read_table("trees.csv").columns
    at = np.sort(np.random.default_rng(0).permutation(60)[12:])
    saved = load_model(folder / "trees-height.fallline")
    encoded = saved.columns.encode({name: values[at] for name, values in x.items()})
    design = np.column_stack([saved.fitted.scaling.x(encoded), np.ones(48)])
    values = np.linalg.eigvalsh(design.T @ design)
    assert eigenvalues == pytest.approx([values[0], values[-1]], rel=5e-3)


def test_a_model_on_a_slope_is_told_how_far_above_its_minimum_it_stands(folder):
    run("fit", table(folder), "-t", "height", "--hidden", "none", "--descent", "gradient", "--learning-rate", "0.1",
        "--max-iter", "3", "-q", "--alpha", "0")  # fmt: skip
    done = run("minima", "trees-height.fallline", "--starts", "2")
    assert re.search(
        r"^The model stands on the slope above minimum 1 of 1, E \d+ % higher: `fallline fit` with a smaller --tol goes on",
        done.stdout, re.M,
    ), done.stdout  # fmt: skip


def test_minima_under_another_weight_decay_are_not_held_against_the_model(folder, fitted):
    done = run("minima", "trees-height.fallline", "--starts", "3", "--alpha", "5", "--max-iter", "50")
    assert done.exit_code == 0, done.output
    assert "weight decay alpha = 5." in done.stdout
    assert "--tol" not in done.stdout


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


def test_predict_and_show_refuse_what_is_no_model(folder):
    path = table(folder)
    for arguments in (["show", path], ["predict", path, path], ["show", "none.fallline"]):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "`fallline fit` wrote" in done.stderr


def test_quiet_prints_nothing(folder):
    assert run("fit", table(folder), "-t", "height", *QUICK, "-q").output.splitlines() == []


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("--hidden", HIDDEN_LAYER_SIZES),
        ("--activation", ACTIVATION),
        ("--max-iter", str(MAX_ITER)),
        ("--tol", f"{TOL:g}"),
    ],
)
def test_the_help_names_the_defaults_of_a_fit(name, default):
    said = " ".join(run("fit", "--help").output.split())
    option = said[said.index(f" {name} ") :].split(" --", 2)[1]
    assert f"[default: {default}" in option


# Curves.


@pytest.fixture
def decay(folder):
    random = np.random.default_rng(4)
    x = np.linspace(0, 5, 30)
    y, noise = 3 * np.exp(-0.8 * x) + 1, np.linspace(0.02, 0.1, 30)
    y = y + noise * random.normal(size=30)
    lines = [
        f"{a},{b},{c},some words" for a, b, c in zip(x.tolist(), y.tolist(), noise.tolist(), strict=True)
    ]
    path = folder / "decay.csv"
    path.write_text("\n".join(["time,signal,noise,remark", *lines, "7,,0.1,no signal"]), encoding="utf-8")
    return path, x, y, noise


CURVE = "a*exp(-b*time) + c"


def parameters(output):
    """{name: numbers} of the table of parameters that ``fallline curve`` prints."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]
    return {name: [float(each) for each in numbers] for name, *numbers in rows if name in ("a", "b", "c")}


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_a_curve_has_the_parameters_and_standard_errors_of_curve_fit(decay, absolute):
    path, x, y, noise = decay
    arguments = ["--start", "a=1,b=1", "--sigma", "noise", *(["--absolute-sigma"] if absolute else [])]
    done = run("curve", path, "--y", "signal", "--model", CURVE, *arguments)
    assert done.exit_code == 0, done.stderr
    popt, pcov = scipy.optimize.curve_fit(
        lambda x, a, b, c: a * np.exp(-b * x) + c, x, y, sigma=noise, absolute_sigma=absolute
    )
    errors = np.sqrt(np.diag(pcov))
    reach = scipy.stats.norm.ppf(0.975) if absolute else scipy.stats.t.ppf(0.975, 27)
    expected = np.column_stack([popt, errors, popt - reach * errors, popt + reach * errors])
    np.testing.assert_allclose(list(parameters(done.stdout).values()), expected, rtol=1e-4)
    assert f"signal = {CURVE}" in done.stdout
    assert "30 rows, 27 degrees of freedom" in done.stdout
    assert done.stderr == "Note: 1 of 31 rows have a gap in these columns and are left out.\n"


def test_a_curve_takes_fixed_parameters_bounds_and_profiles(decay):
    path, *_ = decay
    arguments = ["--fix", "c=1", "--bounds", "b=0:0.7", "--profile"]
    done = run("curve", path, "--y", "signal", "--model", CURVE, *arguments)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"^c +1 +fixed *$", done.stdout, re.M)
    assert re.search(r"^b +0\.7 ", done.stdout, re.M)
    assert "Intervals by profile likelihood" in done.stdout
    assert "At a bound: b" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--y", "signal", "--model", "a*exp(-b*time"], 1, "cannot be read at character 14: it ends here"),
        (["--y", "sginal", "--model", CURVE], 1, "has no column 'sginal': its columns are time, signal"),
        (["--y", "signal", "--model", "a*exp(-b*t)"], 1, "has none of the columns of decay.csv"),
        (["--y", "signal", "--model", "a*remark"], 1, "the column remark does not hold numbers"),
        (
            ["--y", "signal", "--model", CURVE, "--start", "a:1"],
            2,
            "'a:1' cannot be read: write b1=500,b2=1e-4",
        ),
        (["--y", "signal", "--model", CURVE, "--bounds", "a=1"], 2, "'a=1' cannot be read: write b1=0:10"),
        (["--y", "signal", "--model", CURVE, "--start", "d=1"], 1, "'d' is no parameter of the curve"),
        (
            ["--y", "signal", "--model", CURVE, "--start", "a=9,b=9,c=9", "--max-iter", "1"],
            1,
            "Stopped at max_iter = 1",
        ),
    ],
)
def test_a_curve_that_cannot_be_fitted_is_a_sentence(decay, arguments, code, message):
    done = run("curve", decay[0], *arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output
