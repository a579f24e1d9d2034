"""Every error that a user can cause is of one family, one sentence, and some test compares its words."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

import fallline
from fallline import (
    Curve,
    CurveRegressor,
    GradientDescent,
    InMemory,
    Network,
    NetworkRegressor,
    Plane,
    descend,
    error_surface,
    read_table,
)
from fallline.cli.main import main
from fallline.exceptions import FalllineError
from fallline.explore.messages import Given
from fallline.explore.work import Trained
from fallline.explore.your_network import _News
from fallline.landscape.momentum import Convergence
from fallline.plot import NetworkDiagramDisplay
from fallline.sure.curve_fit import fit_curve

SOURCE = Path(fallline.__file__).parent
TESTS = Path(__file__).parent
ERRORS = {
    "FalllineError",
    "SettingsError",
    "TableError",
    "ShapeError",
    "ModelFileError",
    "OutputError",
    "ClusterError",
    "Complaint",
}
ALIKE = 14  # letters in a row: fewer occur by chance
GAP = "\0"


def template(node):
    """The words of a message, with gaps where values stand; "" where none are written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
    if isinstance(node, ast.BinOp):
        return (template(node.left) or GAP) + (template(node.right) or GAP)
    return ""


def messages():
    """(place, words) of every error that the package makes."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                called = getattr(node.func, "attr", getattr(node.func, "id", None))
                if called in ERRORS and template(node.args[0]).strip(f"{GAP} "):
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", template(node.args[0])


def words_of_tests():
    """All texts in the tests, of patterns what they match literally."""
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"\\(.)", r"\1", node.value)


MESSAGES = list(messages())


def test_the_words_of_every_message_are_compared_by_some_test():
    words = " ".join(words_of_tests())
    known = {words[at : at + ALIKE] for at in range(len(words))}
    unknown = []
    for place, message in MESSAGES:
        fixed = [part for part in message.split(GAP) if len(part) >= ALIKE] or [max(message.split(GAP), key=len)]
        parts = [part[at : at + ALIKE] for part in fixed for at in range(max(len(part) - ALIKE, 0) + 1)]
        if not any(part in known or (len(part) < ALIKE and part in words) for part in parts):
            unknown.append((place, message))
    assert len(MESSAGES) > 300
    assert unknown == []


def test_every_message_is_a_sentence_or_several():
    first = [(place, text.split("\n")[0]) for place, text in MESSAGES]  # a formula stands below what is said of it
    odd = [(place, text) for place, text in first if not re.search(r"([.?]|\0)\)?$", text) or "  " in text]
    assert odd == []


def test_errors_are_of_one_family():
    modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(fallline.__path__, "fallline.")
               if not each.name.endswith(("__main__", "_native"))]  # fmt: skip
    own = {
        kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__.startswith("fallline") and not issubclass(kind, Warning)
    }  # fmt: skip
    strange = {kind for kind in own if not issubclass(kind, (FalllineError, click.ClickException))}
    assert {kind.__name__ for kind in strange} == set()


X = np.linspace(0, 1, 12)[:, None]
NETWORK = Network((1, 2, 1))


def predicted(from_step):
    line, rows = Network((1, 1)), InMemory(X, X)
    path = descend(line, rows, GradientDescent(0.5, momentum=0.1), seed=0, max_iter=5, tol=0)
    return Convergence.of_path(path, rows).predict_path(path, from_step)


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return read_table(path)


def frame_of_equal_names():
    frame = pd.DataFrame(np.ones((3, 2)), columns=["a", "a"])
    NetworkRegressor().fit(frame, [1.0, 2.0, 3.0])


def curve_without_rows(folder):
    (folder / "t.csv").write_text("x,y\n" + "1,\n,2\n" * 5)
    call = ["curve", str(folder / "t.csv"), "--y", "y", "--model", "a*x"]
    main(call, standalone_mode=False)


def sheet(folder):
    import openpyxl

    openpyxl.Workbook().save(folder / "b.xlsx")
    return read_table(folder / "b.xlsx")


CALLS = {
    "the weights to draw around have shape (2,); expected (7,).": lambda _: Plane.of_weights(NETWORK, (0, 1), np.zeros(2)),
    "weight 'x1->h1' was named twice: a plane needs two weights.": lambda _: Plane.of_weights(NETWORK, (0, 0)),
    "a plane goes through three points, and the shape given is (2, 7).": lambda _: Plane.through(np.eye(7)[:2]),
    "weights of shape (3,) were given for a plane in the space of 7 weights.": lambda _: Plane.through(
        np.eye(7)[:3]
    ).coordinates(np.zeros(3)),
    "a surface is drawn of paths, and these are none: give what descend returned.": lambda _: error_surface([], (X, X)),
    "plane='path' needs a path: give what descend returned.": lambda _: error_surface(NETWORK, (X, X), plane="path"),
    "from_step=99 is no step whose weights the path has: give 'auto', or one from 0 to 5.": lambda _: predicted(99),
    "1 layers were given, but sizes (1, 2, 1) make 2.": lambda _: NETWORK.vector([(np.ones((1, 2)), np.zeros(2))]),
    "biases of layer 0 have shape (3,); expected (2,).": lambda _: NETWORK.vector(
        [(np.ones((1, 2)), np.zeros(3)), (np.ones((2, 1)), np.zeros(1))]
    ),
    "intercepts have the shapes [(3,)]; expected [(2,)].": lambda _: NetworkDiagramDisplay([np.ones((1, 2))], [np.ones(3)]),
    "Two columns of the data frame have the same name (": lambda _: frame_of_equal_names(),
    "Two columns of the data frame have the same name once written as text. Rename one.": lambda _: NetworkRegressor().fit(
        pd.DataFrame(np.ones((3, 2)), columns=[1, "1"]), [1.0, 2.0, 3.0]
    ),
    "this curve was fitted without groups: leave groups out.": lambda _: fit_curve(
        Curve("a*x"), X, 2 * X[:, 0]
    ).with_groups(X, ["a"] * 12),
    "judge='other' is not one of the watched sets of rows (there are none).": lambda _: descend(
        NETWORK, InMemory(X, X), judge="other"
    ),
    "no row of t.csv has numbers in all of y and x.": lambda folder: curve_without_rows(folder),
    "the column x holds text, dates or missing values: a curve takes numbers without gaps.": lambda _: CurveRegressor(
        "a*x"
    ).fit(pd.DataFrame({"x": ["a", "b"]}), [1.0, 2.0]),
    "start should be two numbers, such as [0.5, -1].": lambda _: Given({"start": 3}).pair("start", 1),
    "of should be a list of some of a, b.": lambda _: Given({"of": "a"}).choices("of", ["a", "b"]),
    "name should be a text of at most 3 letters.": lambda _: Given({"name": "long"}).text("name", 3),
    "values should be an object of at most 1 fields.": lambda _: Given({"values": [1]}).object("values", 1),
    "rate is no number: a number from 0 to 1 is expected.": lambda _: Given({"rate": "1"}).number("rate", 0, 1),
    "the page was closed.": lambda _: _News(lambda **_: None, type("W", (), {"over": True})()).phase("x"),
    "a report belongs to a fit, and this model came from a file: train here to have one.": lambda _: Trained.report(
        type("W", (), {"fit": None})()
    ),
    "t.csv is not text: it holds bytes that no text has. Give": lambda folder: written(folder, "t.csv", b"a,b\n1,\0\0\0\n" * 9),
    "t.csv is a PDF, not text with one row on each line.": lambda folder: written(folder, "t.csv", b"%PDF-1.7\n"),
    "t.csv holds comments alone: a header line and rows of values were expected.": lambda folder: written(
        folder, "t.csv", b"# one\n# two\n"
    ),
    "t.parquet has a Parquet name but is not a Parquet file. Write, copy or download it again.": lambda folder: written(
        folder, "t.parquet", b"a,b\n1,2\n"
    ),
    't.json has no rows: an array of rows [{"a": 1}, …]': lambda folder: written(folder, "t.json", b"[ ]"),
    "The sheet 'Sheet' of b.xlsx is empty: a header line and rows of values were expected.": sheet,
    "b.db has no table 'nothing'. It has none.": lambda folder: read_table(
        f"sqlite:{folder / 'b.db'}?table=nothing"
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", CALLS)
def test_a_wrong_call_gets_its_sentence(words, tmp_path):
    (tmp_path / "b.db").touch()
    with pytest.raises((FalllineError, click.ClickException)) as caught:
        CALLS[words](tmp_path)
    assert words in str(caught.value)
