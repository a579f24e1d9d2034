"""Ctrl-C: it ends what may be left out and loses nothing else."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fallline.table.database import database
from fallline.threads import Interrupts, Workers, stopping


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_it_raises_until_there_is_something_to_keep_and_then_ends_what_is_optional():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
        interrupts.keep()
        ctrl_c()  # while something is computed that is needed
        assert interrupts.optional("first", lambda: 1) is None
        assert interrupts.optional("second", lambda: 2) is None
        assert interrupts.optional("report", lambda: 3, always=True) == 3
        assert interrupts.optional("another report", ctrl_c, always=True) is None
        assert interrupts.left_out == ["first", "second", "another report"]
    assert signal.getsignal(signal.SIGINT) is before


def test_who_walks_hears_of_it_once_and_the_second_that_nobody_heard_raises():
    with Interrupts() as interrupts:
        interrupts.ask()
        assert not stopping()
        ctrl_c()
        assert stopping()
        assert not stopping()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
    assert not stopping()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_it_ends_work_side_by_side_though_nothing_is_raised(n_jobs):
    def work():
        while not stopping():
            time.sleep(0.01)
        if n_jobs == 1:
            raise KeyboardInterrupt

    with Interrupts() as interrupts, Workers(n_jobs) as workers:
        interrupts.ask()
        tasks = [workers.give(work) for _ in range(4)]
        threading.Timer(0.3, ctrl_c_of_process).start()
        assert [task.result() for task in tasks] == [None] * 4
        assert workers.interrupted


def ctrl_c_of_process():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("phase", "left_out", "shown"),
    [
        ("fallline.cli.fits.intervals_of_fit", "intervals, importances, curves and verdict", False),
        ("fallline.cli.table_fit.influence_of", "importances, curves and verdict", True),
        ("fallline.cli.table_fit.verdict_of", "verdict", True),
    ],
)
def test_after_the_descent_the_model_and_a_report_are_kept(tmp_path, monkeypatch, phase, left_out, shown):
    from click.testing import CliRunner

    from fallline.cli.main import main
    from fallline.model_file import load_model

    random = np.random.default_rng(0)
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(random.normal(size=40))))
    monkeypatch.setattr(phase, lambda *_, **__: ctrl_c())
    call = [
        "fit",
        str(tmp_path / "t.csv"),
        "-t",
        "y",
        "--hidden",
        "2",
        "--starts",
        "1",
        "--max-iter",
        "5",
        "-o",
        str(tmp_path),
    ]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"Error: Interrupted: what was found is saved, without {left_out}."
    assert (load_model(tmp_path / "t-y.fallline").intervals is not None) == shown
    assert f"Interrupted after the descent: without {left_out}." in (tmp_path / "t-y.html").read_text()


ENDLESS = "select sum(sqrt(range)) from range(1000000000000)"


def test_it_is_heard_whenever_a_database_is_asked(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")

    def ask(seconds):
        with database(tmp_path / "t.csv") as connection:
            threading.Timer(seconds, ctrl_c_of_process).start()
            connection.execute(ENDLESS).fetchall()

    before = signal.getsignal(signal.SIGINT)
    for seconds in np.linspace(0.05, 0.2, 8):  # DuckDB's own way is to hang at one of five
        with pytest.raises(KeyboardInterrupt):
            ask(seconds)
    assert signal.getsignal(signal.SIGINT) is before


PROMISE = "Ctrl-C keeps"


def test_it_is_heard_at_any_moment_of_a_fit_and_what_was_promised_is_kept(tmp_path):
    random = np.random.default_rng(0)
    rows = "".join(f"{a},{b},{np.sin(3 * a) + b}\n" for a, b in random.normal(size=(60, 2)))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    command = [sys.executable, "-m", "fallline", "fit", "t.csv", "-t", "y"]
    began = time.monotonic()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    whole = time.monotonic() - began
    for share in (0.5, 0.7, 0.9):
        for old in tmp_path.glob("t-y.*"):
            old.unlink()
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(share * whole)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        made = sorted(path.name for path in tmp_path.iterdir())
        assert "Traceback" not in said, said
        assert made[-1] == "t.csv"
        assert not [name for name in made if name.endswith(".part")]
        assert PROMISE not in said or "t-y.fallline" in made, (share, said)
        assert process.returncode in (0, 1, -signal.SIGINT)  # the last: as the interpreter ends
        assert process.returncode or re.fullmatch("t-y.fallline t-y.html t.csv", " ".join(made))
