"""What is said on the way: how far a fit is, how fast it sums, and how long it may take yet."""

import re
from types import SimpleNamespace

import pytest
from trees import run, table

from fallline.cli import fit
from fallline.walk import loop

LINE = (
    r"\d\d:\d\d:\d\d start 1 of 2, step \d+  RMSE training [\d.]+, held-out [\d.]+, \d+ pass(?:es)?, [\d,]+ rows a second"
    r", at most \d:\d\d:\d\d left"
)


def test_where_there_is_no_terminal_a_line_is_printed_now_and_then(folder, monkeypatch):
    table(folder)
    monkeypatch.setattr(fit, "_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_WORDS", -1.0)
    command = [
        "fit",
        "trees.csv",
        "-t",
        "height",
        "--hidden",
        "3",
        "--starts",
        "2",
        "--max-iter",
        "30",
        "--no-intervals",
    ]
    said = run(*command).stderr.splitlines()
    assert said[0] == "descending; Ctrl-C keeps the best weights so far"
    assert len([line for line in said if re.fullmatch(LINE, line)]) > 10
    monkeypatch.setattr(fit, "_BETWEEN_LINES", 1e6)
    assert run(*command).stderr.splitlines() == said[:1]
    assert run(*command, "-q").stderr == ""


@pytest.mark.parametrize(
    ("heard", "end", "said"),
    [
        ([(100.0, 1, 0.0), (110.0, 1, 0.5)], 1e9, ", at most 0:00:30 left"),  # a quarter of two starts took 10 s
        ([(100.0, 1, 0.0), (110.0, 1, 0.5)], 120.0, ", at most 0:00:10 left"),  # the time of the fit is over before
        ([(100.0, 1, 0.0)], 1e9, ""),
        ([(100.0, 1, 0.6), (104.0, 2, 0.6)], 1e9, ", at most 0:00:02 left"),  # of a walk that goes on, only what is new
        (
            [(100.0, 1, 0.2), (110.0, 1, 0.21), (111.0, 1, 0.0), (112.0, 1, 1.0)],
            1e9,
            ", at most 0:00:01 left",
        ),  # another phase
    ],
)
def test_the_time_left_is_that_of_the_same_pace_at_most(heard, end, said):
    left = fit._Left(end)
    for at, start, share in heard:
        left.hear(SimpleNamespace(start=start, n_starts=2, share=share, phase=""), at)
    assert left.said == said
