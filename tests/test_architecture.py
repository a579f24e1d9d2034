"""The order of the rooms, held: a room imports only the rooms above it, and light things stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fallline

SOURCE = Path(fallline.__file__).parent
LEAVES = ("exceptions", "words", "files", "threads")
ROOMS = ("model", "error", "table", "rows", "descent", "walk", "fit", "sure", "landscape")
FACES = ("model_file", "plot", "report", "estimators", "cli", "__init__", "__main__")
MODULES = sorted(SOURCE.rglob("*.py"))


ORDER = {name: number for number, name in enumerate((*LEAVES, *ROOMS, *FACES))}
PAGE = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")


def room(module):
    """The room of a module or of a name in it; what ``fallline`` itself hands out counts as a face."""
    name = module.removeprefix("fallline").lstrip(".").split(".")[0]
    return name if name in ORDER else "__init__"


def imports(path):
    """The rooms that a file imports, at its head, inside a function, or for type checking only."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    whole = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    parts = [
        f"{node.module}.{name.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    ]
    ours = {name for name in (*whole, *parts) if name.split(".")[0] == "fallline"}
    return {room(name) for name in ours - {"fallline.__version__"}}


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_a_room_imports_only_rooms_above_it(path):
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert own in ORDER, (
        f"{own} has no place in the order of rooms: give it one here and in docs/architecture.md"
    )
    limit = ORDER[own] if own in ROOMS else len(ORDER)
    assert {name for name in imports(path) if ORDER[name] > limit} == set()


@pytest.mark.parametrize("name", ROOMS[: ROOMS.index("network")])
def test_what_stands_under_the_rooms_imports_nothing_but_the_exceptions(name):
    assert imports(SOURCE / f"{name}.py") <= {"exceptions"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from fallline.plot import ErrorCurveDisplay", "plot"),
        ("def late():\n    import fallline.estimators.network as face", "estimators"),
        ("from fallline import NetworkRegressor", "__init__"),
        ("from fallline import table", "table"),
    ],
    ids=["at the head", "in a function", "a public name", "a module"],
)
def test_an_import_of_a_face_is_found_wherever_it_stands(line, found, tmp_path):
    (tmp_path / "room.py").write_text(f"import numpy\n{line}\n", encoding="utf-8")
    assert imports(tmp_path / "room.py") == {found}


def test_the_page_lists_the_rooms_in_their_order():
    listed = re.findall(r"^\| [^|]+ \| `(\w+)(?:\.py|/)` \| [^|]+ \| [^|]+ \|$", PAGE, re.M)
    assert tuple(listed) == ROOMS[-len(listed) :]
    assert listed[0] == "network"


def test_the_page_names_every_room_and_face_and_no_other_file():
    named = set(re.findall(r"`(?:fallline/)?(\w+)(?:\.py|/)`", PAGE))
    inside = {path.stem for path in MODULES if path.parent.name in ("rows", "descent", "landscape")}
    assert set(ORDER) <= named
    assert {name for name in named if name not in ORDER} <= inside | {"tests"}


def modules_after(code):
    """The modules loaded after running code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('MODULES', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("MODULES")[-1].split())


def test_importing_fallline_loads_nothing_heavy():
    assert not {"jax", "sklearn", "matplotlib", "duckdb", "numpy"} & modules_after(
        "import fallline; dir(fallline)"
    )


def test_help_loads_nothing_heavy():
    code = "from fallline.cli.main import main\nfor call in (['--help'], ['fit', '--help']): main(call, standalone_mode=False)"
    assert not {"jax", "sklearn", "matplotlib", "duckdb", "numpy"} & modules_after(code)


def test_a_fit_on_the_command_line_does_not_load_scikit_learn(tmp_path):
    table = tmp_path / "line.csv"
    table.write_text("x,y\n" + "".join(f"{i},{2 * i + 1 + (i % 3)}\n" for i in range(40)))
    arguments = [
        "fit",
        str(table),
        "--target",
        "y",
        "--hidden",
        "none",
        "--max-iter",
        "5",
        "-o",
        str(tmp_path),
    ]
    loaded = modules_after(f"from fallline.cli.main import main\nmain({arguments!r}, standalone_mode=False)")
    assert "jax" in loaded
    assert "sklearn" not in loaded


@pytest.mark.parametrize("name", fallline.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    thing = getattr(fallline, name)
    assert name == "__version__" or len(thing.__doc__) > 30


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        _ = fallline.Netwrok


def test_descend_is_the_function_however_it_is_reached():
    code = "import fallline.walk.loop\nfrom fallline import NetworkRegressor, descend\nassert callable(fallline.descend)"
    assert "fallline.walk.loop" in modules_after(code)
