"""The command line, as a person uses it: whole runs, and a sentence for everything that can be wrong."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from fallline.cli import main
from fallline.model_file import load_model
from fallline.table import read_table

# Settings that keep a run short: what is tested here is not how good the fit is.
QUICK = ["--hidden", "3", "--max-iter", "20", "--alpha", "0.1"]


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


def test_a_fit_prints_reports_and_saves_the_same_figures(folder):
    path = table(folder)
    done = run("fit", path, "--target", "height", *QUICK)
    assert done.exit_code == 0, done.output
    saved = load_model(folder / "trees-height.fallline")
    rows = read_table(path)
    held = np.sort(np.random.default_rng(0).permutation(60)[:12])  # a fifth, seed 0
    predicted = saved.fitted.predict(saved.columns.encode(rows.columns))[:, 0]
    error, rmse, r2 = squared_figures(rows.columns["height"][held], predicted[held])
    said = saved.about["figures"]["held-out"][0]
    assert said["rows"] == 12
    np.testing.assert_allclose(
        [said["network"][k] for k in ("error", "rmse", "r2")], [error, rmse, r2], rtol=1e-9
    )
    row = next(line for line in done.output.splitlines() if "held-out (12)   network" in line)
    assert row.split()[-3:] == [f"{error:.3f}", f"{rmse:.4f}", f"{r2:.3f}"]
    in_report = json.dumps(numbers_of(folder / "trees-height.html"))
    assert json.dumps(said["network"]["rmse"]) in in_report
    assert "12 rows (a random 20% of the table, seed 0) that played no part in the fit" in done.output
    assert "Stopped at" in done.output
    assert "ridge" in done.output


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


def test_a_second_process_compiles_nothing(folder, tmp_path):
    path = table(folder)
    code = (
        "import jax.monitoring as m, fallline.cli\nmissed = []\n"
        "m.register_event_listener(lambda e, **k: missed.append(e) if e.endswith('cache_misses') else None)\n"
        f"fallline.cli.main(['fit', {str(path)!r}, '-t', 'height', *{QUICK!r}, '-q'], standalone_mode=False)\n"
        "print(len(missed))"
    )
    environment = os.environ | {"FALLLINE_COMPILE_CACHE": str(tmp_path / "fresh")}

    def missed():
        return int(
            subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            ).stdout
        )

    assert missed() > 0
    assert missed() == 0


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


def test_show_says_what_is_inside(folder):
    run("fit", table(folder), "-t", "height", *QUICK, "-q")
    done = run("show", "trees-height.fallline")
    assert done.exit_code == 0, done.output
    for word in (
        "height from trees.csv",
        "3 inputs, 3 tanh units, 1 output",
        "category",
        "held-out (12)",
        "Seed",
        "fallline 0.",
    ):
        assert word.split()[0] in done.output


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
    done = run("fit", "bad.csv", "--target", target, *QUICK, "--holdout", "0")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    assert word in message
    assert [path.name for path in folder.iterdir()] == ["bad.csv"]


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


def test_a_rate_that_is_too_large_keeps_the_lowest_weights_and_says_what_to_do(folder):
    path = table(folder)
    done = run("fit", path, "-t", "height", "--hidden", "none", "--learning-rate", "1000")
    assert done.exit_code == 1
    assert re.search(
        r"learning rate 1000 is too large.*largest stable rate there is about [\d.]+\. Take",
        done.stderr,
        re.S,
    )
    saved = load_model(folder / "trees-height.fallline")
    assert np.isfinite(saved.fitted.weights).all()
    assert "learning rate 1000 is too large" in (folder / "trees-height.html").read_text(encoding="utf-8")


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
        (["fti"], "fit"),
    ],
)
def test_a_wrong_call_exits_with_two_and_says_what_is_right(folder, arguments, word):
    table(folder)
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert word in done.stderr


def test_an_unknown_activation_lists_the_known_ones(folder):
    done = run("fit", table(folder), "-t", "height", "--activation", "sigmoid")
    assert done.exit_code == 1
    assert "choose one of identity, logistic, tanh" in done.stderr


def test_a_missing_column_is_named_at_predict(folder):
    path = table(folder)
    run("fit", path, "-t", "height", *QUICK, "-q")
    path.write_text("age;height\n3;4\n5;6\n")
    done = run("predict", "trees-height.fallline", path)
    assert done.exit_code == 1
    assert "kind" in done.stderr


def test_predict_and_show_refuse_what_is_no_model(folder):
    path = table(folder)
    for arguments in (["show", path], ["predict", path, path], ["show", "none.fallline"]):
        done = run(*arguments)
        assert done.exit_code == 1
        assert "`fallline fit` wrote" in done.stderr


def test_quiet_prints_nothing(folder):
    assert run("fit", table(folder), "-t", "height", *QUICK, "-q").output.splitlines() == []
