"""Where results go: what may be replaced, what cannot be written to, and what belongs together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trees import QUICK, run, table

from fallline.cli.outputs import written_out
from fallline.exceptions import OutputError
from fallline.files import atomic_write, replacing
from fallline.model_file import fingerprint

MODEL, REPORT = "trees-height.fallline", "trees-height.html"
COMMANDS = {
    "fit": (["fit", "trees.csv", "-t", "height", *QUICK, "-q"], REPORT),
    "predict": (["predict", MODEL, "trees.csv", "-o", "out.csv"], "out.csv"),
    "predict to Parquet": (["predict", MODEL, "trees.csv", "-o", "out.parquet"], "out.parquet"),
    "export": (["export", MODEL, "--to", "python", "-o", "out.py"], "out.py"),
    "curve": (["curve", "trees.csv", "-t", "height", "-m", "a + b*age", "-o", "."], "trees-height-curve.html"),
}
FOREIGN = {
    "words": b"my thesis",
    "marks of fallline among others": b'a,b\n"predicted height",\'<script type="application/json" id="fallline-report">{\'\n'
    b'{"__metadata__":{"fallline":" fitted by f allline PAR1',
    "an empty file": b"",
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(("command", "name"), COMMANDS.values(), ids=COMMANDS)
def test_only_what_fallline_wrote_is_replaced_unless_asked(fitted, folder, command, name, foreign):
    (folder / name).write_bytes(foreign)
    done = run(*command)
    assert done.exit_code == 1
    assert f"{name} exists and was not written by fallline: move it away, " in done.stderr
    assert "--overwrite" in done.stderr
    assert (folder / name).read_bytes() == foreign
    assert run(*command, "--overwrite").exit_code == 0
    assert (folder / name).read_bytes() != foreign
    assert run(*command).exit_code == 0  # its own, once more


def test_predictions_with_intervals_take_the_place_of_those_without(fitted, folder):
    for more in ([], ["--interval", "0.9", "--std"], []):
        assert run("predict", MODEL, "trees.csv", "-o", "out.csv", *more).exit_code == 0


def test_a_table_whose_last_column_is_the_users_own_is_not_taken_for_predictions(fitted, folder):
    (folder / "out.csv").write_text("girth,predicted height,comment\n1,2,mine\n")
    assert run("predict", MODEL, "trees.csv", "-o", "out.csv").exit_code == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        *COMMANDS.values(),
        (["surface", MODEL, "-o", "out.png", "--points", "5"], "out.png"),
        (["fit", "in.csv", "-t", "height"], "in.csv"),
        (["show", "in.fallline"], "in.fallline"),
    ],
    ids=[*COMMANDS, "surface", "a table", "a model"],
)
def test_a_pipe_is_refused_and_not_waited_for(fitted, folder, command, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    done = run(*command)
    assert done.exit_code == 1
    assert "is a pipe or a device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize(
    "command", [["--help"], ["show", MODEL], ["predict", MODEL, "trees.csv"]], ids=lambda each: each[0]
)
def test_a_full_disk_behind_the_output_gets_a_sentence(fitted, folder, command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fallline", *command], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == (
        "Error: what is printed cannot be written (No space left on device): make room, or print to another place.\n"
    )


def test_whoever_reads_no_further_is_no_error(fitted, folder):
    command = f"{sys.executable} -m fallline predict {MODEL} trees.csv | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout == "age;kind;height;predicted height\n"
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_a_folder_whose_name_is_not_utf_8_is_no_trouble(folder):
    strange = folder / os.fsdecode(b"b\xff\xfed")
    strange.mkdir()
    path = table(folder).rename(strange / "trees.csv")
    done = run("fit", path, "-t", "height", *QUICK, "-q", "-o", strange)
    assert (done.exit_code, done.stderr) == (0, "")
    done = run("show", strange / MODEL)
    assert done.exit_code == 0
    assert written_out(str(strange)) in done.stdout.replace("\n", "")
    assert run("surface", strange / MODEL, "-o", folder / "s.png", "--points", "5").exit_code == 0


@pytest.mark.parametrize("cache", ["", "here"])
def test_no_cache_is_made_in_the_folder_of_the_user(folder, cache):
    table(folder)
    environment = os.environ | {"XDG_CACHE_HOME": cache, "HOME": "/nonexistent"}
    environment.pop("MPLCONFIGDIR", None)
    command = [sys.executable, "-m", "fallline", "fit", "trees.csv", "-t", "height", *QUICK, "-q"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert sorted(path.name for path in folder.iterdir()) == [MODEL, REPORT, "trees.csv"]


def test_report_and_model_name_each_other_and_show_says_where_they_do_not(fitted, folder):
    own = fingerprint(folder / MODEL)
    assert own in (folder / REPORT).read_text()
    assert run("show", MODEL).stderr == ""
    before = (folder / REPORT).read_bytes()
    run("fit", "trees.csv", "-t", "height", *QUICK, "-q", "--seed", "5")
    assert fingerprint(folder / MODEL) != own
    (folder / REPORT).write_bytes(before)
    assert f"The report {REPORT} beside {MODEL} is of another fit" in run("show", MODEL).stderr


@pytest.mark.parametrize(
    "problem", [OutputError("the disk is full"), KeyboardInterrupt()], ids=["a full disk", "Ctrl-C"]
)
def test_a_report_that_cannot_be_written_leaves_the_new_model_and_says_so(fitted, folder, monkeypatch, problem):
    def fails(*_):
        raise problem

    own, before = fingerprint(folder / MODEL), (folder / REPORT).read_bytes()
    monkeypatch.setattr("fallline.report.write_report", fails)
    done = run("fit", "trees.csv", "-t", "height", *QUICK, "-q", "--seed", "5")
    assert done.exit_code == 1
    assert f"The model was saved to {MODEL} without its report" in done.stderr
    assert f"The report {REPORT} beside {MODEL} is of another fit" in done.stderr
    assert fingerprint(folder / MODEL) != own
    assert (folder / REPORT).read_bytes() == before


def test_what_a_killed_process_left_is_gone_when_the_next_one_writes(tmp_path):
    code = (
        "import sys, time\nfrom fallline.files import replacing\nwith replacing(sys.argv[1]) as new:\n"
        "    new.write_text('half')\n    print('written', flush=True)\n    time.sleep(60)\n"
    )
    path = tmp_path / "a [1].txt"
    dead = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    dead.stdout.readline()
    (left,) = tmp_path.iterdir()
    old = time.time() - 60
    os.utime(left, (old, old))
    atomic_write(path, b"one")  # it is alive, and keeps its file
    assert left.exists()
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    with replacing(path) as mine:
        mine.write_bytes(b"two")
        assert not left.exists()
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"two"
