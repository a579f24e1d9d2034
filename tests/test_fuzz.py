"""Hostile input gets a sentence: a few hundred inputs of ``benchmarks/fuzz.py``, and all that failed once."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import fuzz  # noqa: E402

CORPUS = sorted((ROOT / "tests" / "data" / "fuzz").iterdir())


@pytest.mark.parametrize("name", sorted({path.name.partition("-")[0] for path in CORPUS}))
def test_what_failed_once_fails_no_more(name):
    target = fuzz.TARGETS[name]()
    kept = [path for path in CORPUS if path.name.startswith(f"{name}-")]
    failed = {
        path.name: found for path in kept if isinstance(found := fuzz.tried(target, path.read_bytes()), fuzz.Failure)
    }
    assert failed == {}


@pytest.mark.parametrize(("name", "inputs"), [("model", 250), ("table", 150), ("formula", 500), ("messages", 300)])
def test_a_few_hundred_inputs_get_sentences_or_are_read(name, inputs):
    found = [outcome for _, outcome in fuzz.runs(name, inputs, seed=7)]
    assert [outcome for outcome in found if isinstance(outcome, fuzz.Failure)] == []
    assert {False, True} == set(found)


def test_what_goes_wrong_is_seen():
    def wrong(content):
        raise ZeroDivisionError

    found = fuzz.tried(fuzz.Target(lambda chance: b"", wrong), b"x")
    assert isinstance(found, fuzz.Failure)
    assert found.kind.startswith("ZeroDivisionError in test_fuzz.py")
