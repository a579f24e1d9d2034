"""``fallline fit --checkpoint``: killed, terminated or interrupted, the same command goes on and writes the same model."""

import signal

import pytest
from trees import QUICK, run, table

from fallline.identity import digest
from fallline.model_file import load_model
from fallline.walk import loop

FIT = ["fit", "trees.csv", "-t", "height", *QUICK, "--checkpoint", "kept"]
MODEL = "trees-height.fallline"


@pytest.fixture
def signalled(monkeypatch):
    """Have a signal come at the n-th step of a fit."""

    def at(n, number):
        left = [n]

        def stopping():
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(number)
            return before()

        monkeypatch.setattr(loop, "stopping", stopping)

    before = loop.stopping
    return at


def test_after_a_signal_it_says_how_to_go_on_and_ends_at_the_same_model(folder, signalled):
    table(folder)
    handler = signal.getsignal(signal.SIGTERM)
    signalled(20, signal.SIGTERM)
    done = run(*FIT)
    assert done.exit_code == 1
    assert (
        "Error: Terminated: no model was written, but the same command goes on from the checkpoint in kept."
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (folder / MODEL).exists()
    assert signal.getsignal(signal.SIGTERM) is handler
    signalled(10, signal.SIGINT)
    done = run(*FIT)
    assert done.exit_code == 1
    assert "Note: The checkpoint in kept stays: the same command goes on from there." in done.stderr
    interrupted = (folder / MODEL).read_bytes()
    done = run(*FIT, "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert list((folder / "kept").iterdir()) == []
    fitted = load_model(MODEL).fitted
    assert run(*FIT[:-2], "-q").exit_code == 0  # all at once
    assert digest(fitted) == digest(load_model(MODEL).fitted)
    assert (folder / MODEL).read_bytes() != interrupted


@pytest.mark.parametrize(
    ("more", "said"), [(["--alpha", "0.2"], "--alpha was 0.1, now 0.2"), (["--seed", "5"], r"table was 48 rows")]
)
def test_another_command_is_refused(more, said, folder, signalled):
    table(folder)
    signalled(20, signal.SIGTERM)
    assert run(*FIT, "-q").exit_code == 1
    done = run(*FIT, "-q", *more)
    assert done.exit_code == 1
    assert "the checkpoint in kept is that of another fit (" in done.stderr
    assert said in done.stderr
    assert "give another folder, or delete kept to begin anew." in done.stderr
    assert run(*FIT, "-q", "--seconds", "60", "--no-intervals").exit_code == 0  # which determines nothing


def test_files_of_others_are_named(folder):
    table(folder)
    (folder / "kept").mkdir()
    (folder / "kept" / "notes.txt").write_text("mine")
    done = run(*FIT)
    assert done.exit_code == 1
    assert "the folder kept holds files that are no checkpoint (notes.txt)" in done.stderr
