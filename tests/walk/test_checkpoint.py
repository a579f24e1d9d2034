"""Checkpoints: a walk that is stopped anywhere goes on at the same bits; what is not its own, or not whole, is refused.

The oracle of every road is the same walk without a checkpoint and without an interruption.
"""

import dataclasses
import signal
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import optax
import pytest

from fallline.descent import Stop
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.rprop import Rprop
from fallline.descent.transformation import Transformation
from fallline.exceptions import CheckpointError, DescentWarning, OutputError
from fallline.model.curve import Curve
from fallline.model.network import Network
from fallline.rows.memory import InMemory, InNumPy
from fallline.walk import checkpoint, epochs, loop, tree
from fallline.walk.loop import descend

NETWORK, LINE = Network((3, 5, 1)), Network((3, 1))


@pytest.fixture
def rows(random):
    x = random.normal(size=(150, 3))
    return x, np.sin(x[:, :1]) + x[:, 1:2] ** 2 + 0.1 * random.normal(size=(150, 1))


def assert_same(found, expected):
    """Every number and word of two paths, bit by bit."""
    for name, value in expected.kept().items():
        if name == "seconds":
            continue
        other = getattr(found, name)
        for a, b in zip(
            *((each.values() if isinstance(each, dict) else [each]) for each in (other, value)), strict=True
        ):
            assert type(a) is type(b)
            assert a == b if not isinstance(a, np.ndarray) else (a.dtype == b.dtype and a.tobytes() == b.tobytes()), (
                name
            )


DESCENTS = {
    "gradient": GradientDescent(0.05),
    "momentum": GradientDescent(0.02, 0.9),
    "Nesterov": GradientDescent(0.02, 0.9, nesterov=True),
    "a rate that is too large": GradientDescent(1.2, 0.5),
    "automatic rate": GradientDescent("auto"),
    "automatic rate and momentum": GradientDescent("auto", "auto"),
    "Levenberg–Marquardt": LevenbergMarquardt(),
    "by QR, with acceleration and polish": LevenbergMarquardt.for_curves(),
    "L-BFGS": LBFGS(),
    "Rprop": Rprop(),
    "Adam by all rows": Adam(batch_size=None, decay="none"),
    "Optax by all rows": Transformation(optax.adam(1e-2)),
    "mini-batches": GradientDescent(0.05, 0.9, batch_size=16, decay="inverse"),
    "mini-batches, automatic rate": GradientDescent("auto", batch_size=16),
    "mini-batches that diverge": GradientDescent(1.0, 0.9, batch_size=16),
    "Adam": Adam(batch_size=16, decay=12),
    "Optax": Transformation(optax.chain(optax.clip(1.0), optax.sgd(1e-2, momentum=0.9)), batch_size=50),
}


@pytest.mark.parametrize("kind", [InMemory, InNumPy])
@pytest.mark.parametrize("descent", DESCENTS.values(), ids=DESCENTS)
def test_a_walk_that_is_stopped_anywhere_ends_at_the_same_bits(descent, kind, rows, until_it_ends, tmp_path):
    steps = 12 if getattr(descent, "batch_size", None) else 40
    call = {"model": NETWORK, "rows": kind(*rows), "descent": descent, "seed": 3, "max_iter": steps, "alpha": 0.1}
    whole = descend(**call)
    found, often = until_it_ends(lambda: descend(**call, checkpoint=tmp_path / "kept"))
    assert often > 1
    assert_same(found, whole)
    assert list((tmp_path / "kept").iterdir()) == []


OTHERWISE = {
    "evidence": (NETWORK, {"descent": LevenbergMarquardt(), "alpha": "evidence", "max_iter": 40}),
    "rows that judge": (NETWORK, {"descent": LBFGS(), "judge": "others", "max_iter": 60}),
    "rows that judge mini-batches": (NETWORK, {"descent": Adam(batch_size=16), "judge": "others", "max_iter": 12}),
    "an end by tol": (NETWORK, {"descent": GradientDescent(0.1), "tol": 1e-2, "max_iter": 200}),
    "every step told": (NETWORK, {"descent": Rprop(), "every_step": True, "max_iter": 30}),
    "a line on its moments": (LINE, {"descent": GradientDescent("auto", 0.5), "max_iter": 60}),
    "a line, all steps at once": (LINE, {"descent": GradientDescent(0.1), "max_iter": 50_000}),
    "a line to its limit": (LINE, {"descent": GradientDescent(0.1, 0.9), "max_iter": float("inf")}),
    "a curve": (Curve("a + b*x1 + c*x2**2*x3", columns=("x1", "x2", "x3")), {"descent": LevenbergMarquardt()}),
}


@pytest.mark.parametrize(("model", "asked"), OTHERWISE.values(), ids=OTHERWISE)
def test_so_does_any_other(model, asked, rows, random, until_it_ends, tmp_path):
    others = InMemory(random.normal(size=(40, 3)), random.normal(size=(40, 1)))
    call = {
        "model": model,
        "rows": InMemory(*rows),
        "watched": {"others": others} if "judge" in asked else None,
        **asked,
    }
    call |= {"weights": np.ones(3)} if isinstance(model, Curve) else {"seed": 3}
    whole = descend(**call)
    found, _ = until_it_ends(lambda: descend(**call, checkpoint=tmp_path))
    assert_same(found, whole)


def test_float32_of_several_targets_with_row_weights_and_a_long_epoch(
    rows, random, until_it_ends, tmp_path, monkeypatch
):
    monkeypatch.setattr(epochs, "_LONG_EPOCH", 0)  # a point every fourth epoch
    x, y = rows
    given = InMemory(x, np.column_stack([y, x[:, :1] * y]), random.integers(0, 3, len(x)), np.float32)
    call = {"model": Network((3, 4, 2)), "rows": given, "descent": Adam(batch_size=32, decay=10), "seed": 1}
    whole = descend(**call)
    found, often = until_it_ends(lambda: descend(**call, checkpoint=tmp_path))
    assert often > 1
    assert_same(found, whole)


def test_an_error_in_a_callback_loses_nothing(rows, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_WORDS", -1.0)

    def told(now):
        if now.steps == 7:
            raise OSError("the disk of the log is full")

    call = {"model": NETWORK, "rows": rows, "descent": LevenbergMarquardt(), "seed": 3, "max_iter": 30}
    with pytest.raises(OSError, match="log is full"):
        descend(**call, checkpoint=tmp_path, progress=told)
    seen = []
    found = descend(**call, checkpoint=tmp_path, progress=lambda now: seen.append(now.steps))
    assert seen[0] == 7  # a trial that is no step, or the next one
    assert_same(found, descend(**call))


@pytest.mark.parametrize("descent", [LBFGS(), Adam(batch_size=8, decay="none")], ids=["steps", "mini-batches"])
def test_time_after_time_the_walk_goes_on(descent, rows, monkeypatch, tmp_path):
    call = {"model": NETWORK, "rows": rows, "descent": descent, "seed": 3, "max_iter": 60, "checkpoint": tmp_path}
    whole = descend(**call)
    slices = 1
    while (path := descend(**call, max_seconds=0.004)).stop == Stop.TIME:
        slices += 1
        assert list(tmp_path.glob("*.walk"))
    assert slices > 1
    assert_same(path, whole)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_nobody_gave_is_drawn_once(rows, until_it_ends, tmp_path):
    starts = []

    def call():
        path = descend(NETWORK, rows, LBFGS(), max_iter=50, checkpoint=tmp_path)
        starts.append(path.weights[0])
        return path

    _, often = until_it_ends(call)
    assert often > 1
    assert len({start.tobytes() for start in starts}) == 1
    another = descend(NETWORK, rows, LBFGS(), max_iter=0, checkpoint=tmp_path)
    assert not np.array_equal(another.weights[0], starts[0])


# What is refused


def begun(folder, rows, **asked):
    """A folder with a walk of 5 steps of 50."""
    path = descend(
        NETWORK, rows, **{"descent": LBFGS(), "seed": 3, "max_iter": 50} | asked, checkpoint=folder, every_step=True,
        progress=lambda now: now.steps == 5,
    )  # fmt: skip
    assert path.stop == Stop.ASKED
    return folder


def go_on(folder, rows, **asked):
    return descend(**{"model": NETWORK, "rows": rows, "descent": LBFGS(), "seed": 3, "max_iter": 50, "every_step": True,
        "checkpoint": folder} | asked)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"descent": LBFGS(history=3)}, r"descent was LBFGS\(\), now LBFGS\(history=3\)"),
        ({"seed": 4}, "seed was 3, now 4"),
        ({"max_iter": 60}, "max_iter was 50, now 60"),
        ({"alpha": 0.5}, "alpha was 0.0, now 0.5"),
        ({"weights": np.zeros(26)}, r"weights was None, now ndarray \(\w{8}\)"),
        ({"model": Network((3, 5, 1), "relu")}, "model was 3 inputs, 5 tanh .*, now 3 inputs, 5 relu .*"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_another_walk_is_refused_and_says_what_differs(asked, said, rows, tmp_path):
    begun(tmp_path, rows)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        CheckpointError, match=f"is that of another fit .{said}.: do the same again .* give another folder"
    ):
        go_on(tmp_path, rows, **asked)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_table_is_refused(rows, tmp_path):
    begun(tmp_path, rows)
    x = rows[0].copy()
    x[7, 1] = np.nextafter(x[7, 1], 9.0)
    with pytest.raises(CheckpointError, match=r"rows was 150, content \w{8}, now 150, content \w{8}"):
        go_on(tmp_path, (x, rows[1]))


def test_another_version_is_refused(rows, tmp_path, monkeypatch):
    begun(tmp_path, rows)
    monkeypatch.setattr(checkpoint, "__version__", "9.0")
    with pytest.raises(CheckpointError, match=r"fallline was version [\d.]+, now version 9.0"):
        go_on(tmp_path, rows)


def test_a_call_that_was_wrong_leaves_nothing_that_a_right_one_would_stumble_over(rows, tmp_path):
    with pytest.raises(ValueError, match="tol=-1"):
        go_on(tmp_path, rows, tol=-1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "checkpoint.json").write_text(
        '{"mark": "fallline checkpoint 1", "about": {}, "drawn": null}'
    )  # killed at once
    assert go_on(tmp_path, rows).stop == Stop.MAX_ITER


def test_a_folder_of_other_files_is_not_touched(rows, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(
        CheckpointError, match=r"holds files that are no checkpoint \(thesis.tex\): give an empty folder"
    ):
        go_on(tmp_path, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(CheckpointError, match="is a file, but a checkpoint is a folder"):
        go_on(tmp_path / "thesis.tex", rows)


def test_other_files_beside_a_checkpoint_stay_when_it_is_emptied(rows, tmp_path):
    begun(tmp_path, rows)
    (tmp_path / "notes.txt").write_text("mine")
    go_on(tmp_path, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_at_once_are_refused_and_a_dead_one_is_not_waited_for(rows, tmp_path):
    def told(now):
        with pytest.raises(CheckpointError, match="another process is at work in the checkpoint folder"):
            go_on(tmp_path, rows)
        return True

    go_on(tmp_path, rows, progress=told)
    code = (
        "import os, sys, numpy as np\nfrom fallline import Network, descend\n"
        "x = np.linspace(-1, 1, 30)[:, None]\n"
        "descend(Network((1, 3, 1)), (x, x**2), 'l-bfgs', checkpoint=sys.argv[1], progress=lambda now: os.kill(os.getpid(), 9))"
    )
    folder = tmp_path / "other"
    assert subprocess.run([sys.executable, "-c", code, str(folder)]).returncode == -signal.SIGKILL
    x = np.linspace(-1, 1, 30)[:, None]
    assert descend(Network((1, 3, 1)), (x, x**2), "l-bfgs", checkpoint=folder, max_iter=3).n_steps == 3


# What is damaged


def test_a_damaged_walk_begins_anew_with_a_sentence(rows, tmp_path, random):
    expected = go_on(None, rows)
    for _ in range(25):
        (path,) = begun(tmp_path, rows).glob("*.walk")
        content = bytearray(path.read_bytes())
        for at in random.integers(len(content), size=3):
            content[at] ^= int(random.integers(1, 256))
        path.write_bytes(content[: int(random.integers(len(content)))] if random.random() < 0.3 else content)
        with pytest.warns(DescentWarning, match=rf"{path.name} in the checkpoint folder .* is damaged: .* begins anew"):
            found = go_on(tmp_path, rows)
        assert_same(found, expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {**state, "seen": 3},
        lambda state: {**state, "walker": None},
        lambda state: {**state, "rule": state["rule"][:-1]},
        lambda state: {**state, "recorder": (state["recorder"][0][::-1], *state["recorder"][1:])},
        lambda state: {**state, "walker": (state["walker"][0]._replace(trial=np.zeros(3)), state["walker"][1])},
        lambda state: [state],
    ],
    ids=["another list", "nobody walks", "a rule cut short", "columns in disorder", "other weights", "a list"],
)
def test_so_does_one_of_another_shape_though_its_digest_is_right(change, rows, tmp_path):
    expected = go_on(None, rows)
    (path,) = begun(tmp_path, rows).glob("*.walk")
    state = tree.unpacked(path.read_bytes(), checkpoint._CLASSES)["under way"]
    path.write_bytes(tree.packed({"under way": change(state)}, checkpoint._CLASSES))
    with pytest.warns(DescentWarning, match="is damaged"):
        assert_same(go_on(tmp_path, rows), expected)


def test_a_path_that_is_not_whole_is_walked_again(rows, tmp_path):
    expected = go_on(None, rows)
    (path,) = begun(tmp_path, rows).glob("*.walk")
    for wrong in ({"steps": expected.steps[:-1]}, {"best_weights": np.zeros(2)}, {"stop": 99}, {"error": None}):
        path.write_bytes(tree.packed({"ended": expected.kept() | wrong}, checkpoint._CLASSES))
        with pytest.warns(DescentWarning, match="is damaged"):
            assert_same(go_on(tmp_path, rows), expected)
        begun(tmp_path, rows)


@pytest.mark.parametrize(
    "said", ["", "[]", "{", '{"mark": 1, "about": {}, "drawn": 1}', '{"mark": "fallline checkpoint 1"}', "[" * 99999]
)
def test_a_header_that_cannot_be_read_is_refused(said, rows, tmp_path):
    (begun(tmp_path, rows) / "checkpoint.json").write_text(said)
    with pytest.raises(
        CheckpointError, match=r"cannot be read \(checkpoint.json\): give another folder, or delete .* anew"
    ):
        go_on(tmp_path, rows)


def test_a_full_disk_loses_neither_the_walk_nor_the_last_checkpoint(rows, tmp_path, monkeypatch):
    (path,) = begun(tmp_path, rows).glob("*.walk")
    before, tried = path.read_bytes(), []

    def full(path, content, synced):
        tried.append(path)
        raise OutputError(f"{path} cannot be written: the disk is full. Make room, or choose another disk.")

    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE", 1e9)
    monkeypatch.setattr(checkpoint, "atomic_write", full)
    with pytest.warns(
        DescentWarning, match="stays as it was last written, and the fit goes on: .* the disk is full"
    ) as said:
        go_on(tmp_path, rows, max_iter=50, progress=lambda now: now.steps == 30)
    assert len(said) == 1
    assert len(tried) > 10
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert_same(go_on(tmp_path, rows), go_on(None, rows))


class Odd(NamedTuple):
    """A state with something that is neither array nor number."""

    walk: object
    trial: np.ndarray
    penalty: object
    thing: object


@dataclasses.dataclass
class Mine(GradientDescent):
    """A descent of a user, whose states are named tuples of this module."""

    thing: object = None

    def start(self, weights, penalty):
        state = super().start(weights, penalty)
        return Odd(state.walk, state, penalty, self.thing)

    def ask(self, state):
        return super().ask(state.trial)

    def tell(self, state, sums):
        inner = super().tell(state.trial, sums)
        return Odd(inner.walk, inner, inner.penalty, self.thing)

    def many(self, *_):
        return None


def test_a_descent_of_a_user_is_kept_by_the_tuples_of_its_module(rows, until_it_ends, tmp_path):
    call = {"model": NETWORK, "rows": rows, "descent": Mine(0.1), "seed": 3, "max_iter": 30}
    whole = descend(**call)
    found, often = until_it_ends(lambda: descend(**call, checkpoint=tmp_path))
    assert often > 1
    assert_same(found, whole)


def test_a_descent_that_remembers_what_cannot_be_kept_is_refused_before_its_first_step(rows, tmp_path):
    with pytest.raises(CheckpointError, match=r"remembers a builtins\.object, which a checkpoint cannot keep"):
        descend(NETWORK, rows, Mine(0.1, thing=object()), checkpoint=tmp_path)
    assert list(tmp_path.iterdir()) == []


# Bytes


def test_a_tree_comes_back_as_it_was():
    shared = np.arange(3.0)
    given = {
        "numbers": [1, True, None, 0.1, float("inf"), float("-inf"), "ü\n", np.float32(0.1), np.int64(3)],
        "arrays": (
            shared,
            shared,
            np.asfortranarray(np.eye(3)[:, :2]),
            np.zeros((0, 4)),
            np.array([True]),
            np.array(2.0),
        ),
        "points": (checkpoint.penalty.Penalty(shared, None, 2), ((),)),
    }
    found = tree.unpacked(tree.packed(given, checkpoint._CLASSES), checkpoint._CLASSES)
    assert found["numbers"] == given["numbers"]
    assert list(map(type, found["numbers"])) == list(map(type, given["numbers"]))
    for a, b in zip(found["arrays"], given["arrays"], strict=True):
        assert (a.tobytes(), a.shape, a.dtype, a.flags.f_contiguous) == (
            b.tobytes(),
            b.shape,
            b.dtype,
            b.flags.f_contiguous,
        )
        assert a.flags.writeable
        assert a.ctypes.data % a.itemsize == 0
    assert type(found["points"][0]) is checkpoint.penalty.Penalty
    assert found["points"][1] == ((),)


def test_a_file_names_no_class_but_those_of_descents(tmp_path):
    content = tree.packed({"a": checkpoint.penalty.Penalty(np.zeros(1), None, 2)}, checkpoint._CLASSES)
    with pytest.raises(CheckpointError, match="damaged"):
        tree.unpacked(content, {})


# By Ctrl-C and by SIGTERM

LOOPING = """
import sys, numpy as np, signal, os
from fallline import GradientDescent, Network, descend
random = np.random.default_rng(0)
x = random.normal(size=(300, 2))
def told(now):
    if len(sys.argv) > 2 and now.steps > 200:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
path = descend(Network((2, 6, 1)), (x, np.sin(3 * x[:, :1]) * x[:, 1:]), GradientDescent(0.05, 0.9), seed=1, max_iter=40_000,
               checkpoint=sys.argv[1], progress=told)
print(path.stop.name, path.n_steps, path.final_weights.tobytes().hex())
"""


def loops(folder, *more):
    return subprocess.run([sys.executable, "-c", LOOPING, str(folder), *more], capture_output=True, text=True)


@pytest.fixture(scope="module")
def to_its_end(tmp_path_factory):
    return loops(tmp_path_factory.mktemp("kept")).stdout


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", -signal.SIGTERM), ("SIGINT", 0)])
def test_a_signal_ends_the_walk_at_a_step_and_the_process_as_it_would_have(name, code, to_its_end, tmp_path):
    stopped = loops(tmp_path, name)
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stdout.startswith("INTERRUPTED") == (code == 0)
    (kept,) = tmp_path.glob("*.walk")
    assert kept.stat().st_size > 1000
    assert loops(tmp_path).stdout == to_its_end
    assert to_its_end.startswith("MAX_ITER 40000 ")
    assert list(tmp_path.iterdir()) == []
