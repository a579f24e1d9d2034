"""``fallline fit`` as a person uses it: whole runs, and a sentence for everything that can be wrong."""

import contextlib
import fcntl
import gzip
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
from trees import QUICK, forward, numbers_of, run, squared_figures, table

from fallline.descent.choose import DESCENTS
from fallline.fit.settings import Settings
from fallline.model_file import load_model
from fallline.table.read import read_table


def test_a_fit_prints_reports_saves_and_predicts_the_same_figures(folder):
    path = table(folder)
    done = run("fit", path, "--target", "height", *QUICK)
    assert done.exit_code == 0, done.output
    saved, rows = load_model(folder / "trees-height.fallline"), read_table(path)
    predicted = forward(saved, saved.columns.encode(rows.columns))
    order = np.random.default_rng(0).permutation(60)  # a fifth held out, seed 0
    parts = {"training": order[12:], "held-out": order[:12]}
    in_report = {each["name"]: each["figures"][0] for each in numbers_of(folder / "trees-height.html")["rowsets"]}
    expected = {name: squared_figures(rows.columns["height"][at], predicted[at]) for name, at in parts.items()}
    saved_figures = {name: said[0]["network"] for name, said in saved.about["figures"].items()}
    assert {name: said["network"] for name, said in in_report.items()} == saved_figures
    assert {name: [said[k] for k in ("error", "rmse", "r2")] for name, said in saved_figures.items()} == {
        name: pytest.approx(figures, rel=1e-9) for name, figures in expected.items()
    }
    printed = {
        (part, fit): [float(number.replace(",", "").replace("−", "-")) for number in numbers]
        for part, fit, *numbers in re.findall(
            r"^height +([\w-]+) \(\d+\) +(network|ridge) +(\S+) +(\S+) +(\S+)(?: +best)?$", done.stdout, re.M
        )
    }
    assert printed == {
        (name, fit): pytest.approx([in_report[name][fit][k] for k in ("error", "rmse", "r2")], rel=5e-4, abs=5e-4)
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
    assert "12 rows (a random 20 % of the table, seed 0) that played no part in the fit" in done.stdout
    assert "Levenberg–Marquardt, because the network is small (13 weights for 48 rows)" in done.stdout
    assert "Stopped at" in done.stdout
    assert re.search(r"\d+ steps, \d+ passes over the rows in [\d.]+ s; [\d.]+ s in all", done.stdout)
    assert "alpha = 0.1, in standardised units." in done.stdout


@pytest.mark.parametrize("evidence", [[], ["--alpha", "evidence"]], ids=["by default", "as asked"])
def test_the_weight_decay_is_found_by_its_evidence(evidence, folder):
    done = run("fit", table(folder), "--target", "height", *QUICK[:6], *evidence)
    assert re.search(
        r"Weight decay: chosen automatically \(Bayesian regularisation\)\. The data determine \d+ of 13 weights; estimated "
        r"noise: \d",
        done.stdout,
    )


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
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=side, text=True, env=environment)
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


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        ("last", "12 rows (the last fifth of the table)"),
        ("0", "no rows were held out"),
        ("0.5", "30 rows (a random 50 % of the table"),
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
    "infinite target": ("age;kind;height\n1;ash;2\n2;oak;inf\n", "`height` is infinite in row 2 of other.csv"),
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
        ("t.csv", "../../x", "t-x"),
        ("t.csv", "/etc/passwd", "t-etc_passwd"),
        ("t.csv", r"C:\Users\x", "t-C_Users_x"),
        ("t.csv", "..", "t-"),
        ("t.csv", "a\u202eb\x1b[31m", "t-a_b_31m"),
        (r"..\..\x:y?.csv", "y", "_.._x_y_-y"),
        ("CON.2025.csv", "y", "_CON.2025-y"),
        ("nul.csv", "y", "nul-y"),  # nothing but a dot may follow the name of a device
        (".csv", "y", "y"),
        (".csv", "%", "model"),
        ("a\nb.csv", "y", "a_b-y"),
    ],
    ids=[
        *[
            "dots",
            "punctuation",
            "long",
            "folders",
            "a path",
            "a path of Windows",
            "the folder above",
            "signs that are not seen",
        ],
        *["a table with signs", "a device", "nearly a device", "no name", "no name at all", "lines"],
    ],
)
def test_the_files_are_named_after_table_and_target(folder, table_name, target, stem):
    text = f"x,{target}\n" + "".join(f"{i},{i * i}\n" for i in range(60))
    content = text.encode()
    (folder / table_name).write_bytes(gzip.compress(content) if table_name.endswith("gz") else content)
    done = run("fit", table_name, "-t", target, *QUICK, "-o", "here")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (folder / "here").iterdir()) == sorted([f"{stem}.fallline", f"{stem}.html"])
    assert sorted(path.name for path in folder.iterdir()) == sorted(["here", table_name])


def test_a_name_that_is_no_text_is_refused_before_the_work(folder):
    name = os.fsdecode(b"caf\xe9.csv")
    (folder / name).write_text(line())
    done = run("fit", name, "-t", "y", *QUICK)
    assert done.exit_code == 1
    assert r"the name 'caf\udce9.csv' is not UTF-8" in done.stderr
    assert [path.name for path in folder.iterdir()] == [name]


def test_what_a_table_holds_is_shown_as_it_is(folder):
    (folder / "t.csv").write_bytes(
        b"[b]x[/b],:smile:,a\x1b[31m,y\n" + b"".join(b"%d,%d,%d,%d\n" % (i, i % 7, i % 5, i * i) for i in range(60))
    )
    done = run("fit", "t.csv", "-t", "y", *QUICK)
    assert done.exit_code == 0, done.output
    assert re.search(r"^\[b\]x\[/b\] ", done.stdout, re.M)
    assert re.search(r"^:smile: ", done.stdout, re.M)
    assert re.search(r"^a\\x1b\[31m ", done.stdout, re.M)


def line(n=40):
    return "x,y\n" + "".join(f"{i},{2 * i}\n" for i in range(n))


BAD_TABLES = {
    "empty file": (b"", "y", "empty"),
    "header only": (b"x,y\n", "y", "no rows"),
    "one row": (b"x,y\n1,2\n", "y", "at least two rows"),
    "no such target": (line().replace("y", "strength").encode(), "strenght", "strength"),
    "a target of texts that all differ": (
        b"x,y\n" + b"".join(b"%d,word%d\n" % (i, i) for i in range(40)),
        "y",
        "identifier or free text",
    ),
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
    (folder / "many.csv").write_text("id,x,y\n" + "".join(f"customer {i},{i % 97},{i % 89}\n" for i in range(100_000)))
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
    again = run("fit", path, "-t", "height", "--hidden", "none", "--learning-rate", said[4], "--max-iter", "20")
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


def test_the_time_of_a_fit_ends_it_and_the_model_is_kept(folder):
    endless = ["--descent", "rprop", "--max-iter", 10**8, "--tol", 0, "--hidden", 3]
    done = run("fit", table(folder), "-t", "height", *endless, "--seconds", 0.2)
    assert done.exit_code == 0, done.output
    assert "the time (--seconds) was over" in done.stdout
    assert load_model("trees-height.fallline").path.n_rows == 48


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_none_is_refused(seconds, folder):
    done = run("fit", table(folder), "-t", "height", "--seconds", seconds)
    assert done.exit_code == 2
    assert f"'{seconds}' is not a time: write a positive number of seconds, such as 30." in done.stderr


def test_quiet_prints_nothing(folder):
    assert run("fit", table(folder), "-t", "height", *QUICK, "-q").output.splitlines() == []


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("--hidden", Settings.hidden_layer_sizes),
        ("--activation", Settings.activation),
        ("--max-iter", str(Settings.max_iter)),
        ("--tol", f"{Settings.tol:g}"),
    ],
)
def test_the_help_names_the_defaults_of_a_fit(name, default):
    said = " ".join(run("fit", "--help").output.split())
    option = said[said.index(f" {name} ") :].split(" --", 2)[1]
    assert f"[default: {default}" in option


def test_k_fold_judges_by_all_rows_and_keeps_a_model_of_all_rows(folder):
    done = run("fit", table(folder), "-t", "height", *QUICK, "--k-fold", "4")
    assert done.exit_code == 0, done.output
    assert re.search(r"^height +out-of-fold \(60\) +network .*best$", done.stdout, re.M)
    assert "The saved model was fitted on all 60 rows of trees.csv." in done.stdout
    assert "4 further fits (4 folds at random, seed 0): each predicts the rows that it left out." in done.stdout
    saved = load_model(folder / "trees-height.fallline")
    assert saved.path.n_rows == 60
    in_report = numbers_of(folder / "trees-height.html")["rowsets"]
    assert [rows["name"] for rows in in_report] == ["training", "out-of-fold"]
    shown = run("show", folder / "trees-height.fallline")
    assert "Columns that matter most: age +" in shown.stdout
    assert run("surface", folder / "trees-height.fallline", "-o", folder / "s.png").exit_code == 0  # finds all its rows


@pytest.mark.parametrize("folds", ["1", "0", "-3", "many", "2.5", ""])
def test_a_number_of_folds_that_is_none_gets_a_sentence(folder, folds):
    done = run("fit", table(folder), "-t", "height", *QUICK, "--k-fold", folds)
    assert done.exit_code == 2
    assert f"'{folds}' is no number of folds: write a whole number from 2 up, such as 5 or 10." in done.stderr


def test_more_folds_than_rows_get_a_sentence(folder):
    done = run("fit", table(folder), "-t", "height", *QUICK, "--k-fold", "61")
    assert done.exit_code == 1
    assert "trees.csv has 60 rows with a target, too few for 61 folds" in done.stderr
    assert "give at most 60 folds" in done.stderr


def test_folds_and_held_out_rows_exclude_each_other(folder):
    done = run("fit", table(folder), "-t", "height", *QUICK, "--k-fold", "5", "--holdout", "0.2")
    assert done.exit_code == 2
    assert (
        "--k-fold judges by all rows and --holdout by rows that are kept from every fit: give one of the two."
        in done.stderr
    )
    assert [path.name for path in folder.iterdir()] == ["trees.csv"]


def test_compare_adds_boosting_to_terminal_report_and_model(folder):
    done = run("fit", table(folder), "-t", "height", *QUICK, "--compare")
    assert done.exit_code == 0, done.output
    in_report = numbers_of(folder / "trees-height.html")["rowsets"]
    printed = re.findall(r"^height +([\w-]+) \(\d+\) +boosting +\S+ +(\S+) ", done.stdout, re.M)
    assert [(name, float(rmse)) for name, rmse in printed] == [
        (rows["name"], pytest.approx(rows["figures"][0]["boosting"]["rmse"], rel=5e-4)) for rows in in_report
    ]
    assert "boosting" in run("show", folder / "trees-height.fallline").stdout
    # A noisy table of steps, on which trees are at home, has its sentence.
    x = np.random.default_rng(0).uniform(size=(400, 2))
    steps = np.floor(6 * x[:, 0]) % 2 + 2 * (np.floor(5 * x[:, 1]) % 2)
    (folder / "steps.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{y}\n" for (a, b), y in zip(x, steps, strict=True)))
    done = run("fit", "steps.csv", "-t", "y", *QUICK, "--compare")
    said = "Gradient boosting predicts the 80 held-out rows better: RMSE "
    assert said in done.stdout
    assert said in (folder / "steps-y.html").read_text(encoding="utf-8")
    assert said in run("show", folder / "steps-y.fallline").stdout


def test_the_bar_on_a_terminal_names_each_phase_after_the_descent(folder):
    path = table(folder)
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", 40, 100, 0, 0))
    command = [sys.executable, "-m", "fallline", "fit", str(path), "-t", "height", *QUICK, "--compare", "--k-fold", "2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=side, env=environment)
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert process.wait() == 0
    phases = [
        "finding out how far predictions may be off", "fitting gradient boosting to compare with", "fitting fold 1 of 2",
        "fitting fold 2 of 2", "finding out which columns matter", "drawing the error surface", "writing the report",
    ]  # fmt: skip
    places = [shown.decode().find(phase) for phase in phases]
    assert -1 not in places
    assert places == sorted(places)


def test_codes_that_a_later_file_spells_otherwise_are_the_codes_of_the_fit(folder):
    towns = {"02139": 5.0, "10001": -3.0, "94105": 8.0, "07030": 2.0}
    names = np.resize(list(towns), 60)
    fitted = ["zip,y", *(f"{name},{towns[name] + at % 5 / 100}" for at, name in enumerate(names))]
    (folder / "fit.csv").write_text("\n".join(fitted))
    (folder / "new.csv").write_text("zip,y\n2139,5\n7030,2\n10001,-3\n12345,1\n")
    respelled = (
        "`zip` is spelled otherwise than in the fit in 2 rows, and taken for the same: '2139' for '02139' and '7030'"
    )
    unseen = "Note: In new.csv `zip` holds categories in 1 row that were not in the fit: used as none of its categories"
    done = run("fit", "fit.csv", "-t", "y", *QUICK, "--holdout", "new.csv")
    assert respelled in done.stderr
    assert unseen in done.stderr
    done = run("predict", "fit-y.fallline", "new.csv")
    assert respelled in done.stderr
    assert unseen in done.stderr
    predicted = [float(line.split(",")[2]) for line in done.stdout.splitlines()[1:]]
    np.testing.assert_allclose(predicted[:3], [5, 2, -3], atol=0.6)


def test_classes_of_a_file_to_judge_by_may_be_spelled_otherwise(folder):
    rows = [(at % 20, "Ja" if at % 20 > 9 else "Nein") for at in range(60)]
    (folder / "fit.csv").write_text("x,y\n" + "".join(f"{x},{kind}\n" for x, kind in rows))
    (folder / "new.csv").write_text("x,y\n" + "".join(f"{x},{kind.upper()}\n" for x, kind in rows[:20]))
    done = run("fit", "fit.csv", "-t", "y", *QUICK, "--holdout", "new.csv")
    assert done.exit_code == 0, done.output
    assert re.search(r"held-out \(20\) +network +(0\.9|1\.0)", done.stdout)


def test_what_the_target_follows_from_is_a_note_on_the_terminal_and_in_the_report(folder):
    rows = [(at % 17 + at / 100, at * 7 % 23) for at in range(60)]
    lines = (f"{a},{b},{3 * a + b * b / 9:.4f},{np.log(3 * a + b * b / 9 + 1):.6f}\n" for a, b in rows)
    (folder / "t.csv").write_text("a,b,y,log y\n" + "".join(lines))
    done = run("fit", "t.csv", "-t", "y", *QUICK)
    note = "Where it is known only when `y` is, leave it out: --drop 'log y'."
    assert note in done.stderr
    assert numbers_of(folder / "t-y.html")["notes"][0].endswith(note)
    assert "Note" not in run("fit", "t.csv", "-t", "y", *QUICK, "--drop", "log y").stderr
