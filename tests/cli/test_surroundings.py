"""Wherever it is called: folders of any name, no home, a narrow terminal without colours, closed streams, two calls at once."""

import os
import subprocess
import sys

import pytest
from trees import QUICK, table

from fallline.cli.kept import other_report
from fallline.model_file import load_model

FIT = [sys.executable, "-m", "fallline", "fit", "trees.csv", "-t", "height", *QUICK]
MODEL, REPORT = "trees-height.fallline", "trees-height.html"
MADE = [MODEL, REPORT, "trees.csv"]


def made(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["Größe – 測定", 'it\'s  "$HOME"; %s {x} <b>&', "-o", "a\nb"])
def test_a_folder_may_have_any_name(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    table(folder)
    here = subprocess.run([*FIT, "-q"], cwd=folder, capture_output=True, text=True)
    assert (here.returncode, here.stderr, made(folder)) == (0, "", MADE)
    call = [sys.executable, "-m", "fallline", "predict", str(folder / MODEL), str(folder / "trees.csv")]
    done = subprocess.run([*call, "-o", str(folder / "out.csv")], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (folder / "out.csv").read_text(encoding="utf-8").count("\n") == 61


@pytest.mark.parametrize("home", [None, "/nonexistent", "/proc"], ids=["none", "missing", "read-only"])
def test_a_home_is_not_needed(home, tmp_path):
    table(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "MPLCONFIGDIR")}
    environment |= {} if home is None else {"HOME": home}
    done = subprocess.run([*FIT, "-q"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr, made(tmp_path)) == (0, "", MADE)


def test_a_narrow_terminal_without_colours_shows_every_number(tmp_path):
    table(tmp_path)
    plain = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    said = [
        subprocess.run(FIT, cwd=tmp_path, env=plain | {"COLUMNS": columns}, capture_output=True, text=True, check=True)
        for columns in ("20", "200")
    ]
    figures = [[line.split() for line in done.stdout.splitlines() if "training" in line] for done in said]
    assert figures[0] == figures[1] != []
    assert "\x1b" not in "".join(done.stdout + done.stderr for done in said)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_trouble(closed, tmp_path):
    table(tmp_path)
    call = " ".join(map(repr, FIT))
    done = subprocess.run(["sh", "-c", f"{call} {closed}"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, made(tmp_path)) == (0, MADE)
    assert "Traceback" not in done.stderr
    assert load_model(tmp_path / MODEL).about["seed"] == 0


def test_two_fits_into_one_folder_leave_the_model_and_the_report_of_one(tmp_path):
    table(tmp_path)
    for seeds in [(1, 2), (3, 4)]:
        calls = [
            subprocess.Popen(
                [*FIT, "-q", "--seed", str(seed)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for seed in seeds
        ]
        assert [(call.communicate()[1], call.returncode) for call in calls] == [(b"", 0)] * 2
        assert made(tmp_path) == MADE
        assert load_model(tmp_path / MODEL).about["seed"] in seeds
        assert not other_report(tmp_path / MODEL)
