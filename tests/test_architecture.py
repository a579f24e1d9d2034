"""The order of the rooms, held: a room imports only the rooms above it, and light things stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fallline

SOURCE = Path(fallline.__file__).parent
LEAVES = ("exceptions", "arrays", "words", "files", "threads", "markup", "identity", "native")
ROOMS = ("model", "error", "table", "rows", "descent", "walk", "fit", "sure", "landscape")
FACES = ("model_file", "export", "plot", "report", "estimators", "cli", "explore", "__init__", "__main__")
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
    parts = [f"{node.module}.{name.name}" for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names]
    ours = {name for name in (*whole, *parts) if name.split(".")[0] == "fallline"}
    return {room(name) for name in ours - {"fallline.__version__"}}


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_a_room_imports_only_rooms_above_it(path):
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert own in ORDER, f"{own} has no place in the order of rooms: give it one here and in docs/architecture.md"
    limit = ORDER[own] if own in ROOMS else len(ORDER)
    assert {name for name in imports(path) if ORDER[name] > limit} == set()


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_imports_nothing_but_the_exceptions(name):
    files = (SOURCE / name).rglob("*.py") if (SOURCE / name).is_dir() else [SOURCE / f"{name}.py"]
    assert set().union(*map(imports, files)) <= {"exceptions", name}


def test_nothing_outside_rows_reads_the_arrays_of_rows():
    reads = re.compile(r"\brows\.(x|y|sample_weight)\b")
    found = [str(path.relative_to(SOURCE)) for path in MODULES if reads.search(path.read_text(encoding="utf-8"))]
    assert [path for path in found if not path.startswith("rows")] == []


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
    listed = re.findall(r"^\| [^|]+ \| `(\w+)/` \| [^|]+ \| [^|]+ \|$", PAGE, re.M)
    assert tuple(listed) == ROOMS


def test_the_page_names_every_room_and_face_and_no_other_file():
    named = set(re.findall(r"`(?:\w+/)?(\w+)(?:\.py|/)`", PAGE))
    inside = {path.stem for path in MODULES if path.parent != SOURCE}
    assert set(ORDER) - {"__init__"} <= named | {"exceptions"}
    assert {name for name in named if name not in ORDER} <= inside | {"tests", "test_architecture"}


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
    assert not {"jax", "sklearn", "matplotlib", "duckdb", "numpy"} & modules_after("import fallline; dir(fallline)")


def test_help_loads_nothing_heavy():
    code = "from fallline.cli.main import main\nfor call in (['--help'], ['fit', '--help']): main(call, standalone_mode=False)"
    assert not {"jax", "sklearn", "matplotlib", "duckdb", "numpy"} & modules_after(code)


LINE = "x,y\n" + "".join(f"{i},{2 * i + 1 + (i % 3)}\n" for i in range(40))
WITHOUT_JAX = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("jax", "jaxlib", "optax"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def test_a_fit_on_the_command_line_does_not_load_scikit_learn(tmp_path):
    (tmp_path / "line.csv").write_text(LINE)
    call = [
        "fit",
        str(tmp_path / "line.csv"),
        "--target",
        "y",
        "--hidden",
        "none",
        "--max-iter",
        "5",
        "-o",
        str(tmp_path),
    ]
    loaded = modules_after(f"from fallline.cli.main import main\nmain({call!r}, standalone_mode=False)")
    assert "numpy" in loaded
    assert not {"sklearn", "jax"} & loaded


def test_everything_runs_where_jax_cannot_be_imported(tmp_path):
    (tmp_path / "line.csv").write_text(LINE)
    table, model = str(tmp_path / "line.csv"), str(tmp_path / "line-y.fallline")
    calls = [
        ["fit", table, "--target", "y", "-o", str(tmp_path)],
        ["predict", model, table, "--output", str(tmp_path / "p.csv"), "--interval", "0.9"],
        ["show", model],
        ["surface", model, "-o", str(tmp_path / "s.png")],
        ["minima", model, "--starts", "3"],
        ["curve", table, "--y", "y", "--model", "a + b*x"],
    ]
    code = (
        WITHOUT_JAX + f"from fallline.cli.main import main\nfor call in {calls!r}: main(call, standalone_mode=False)\n"
    )
    code += "import numpy as np\nfrom fallline import CurveRegressor, NetworkClassifier\n"
    code += "x = np.linspace(0, 1, 30)[:, None]\nNetworkClassifier().fit(x, x[:, 0] > 0.5).predict(x)\n"
    code += "CurveRegressor(lambda x, a, b: a * np.exp(b * x)).fit(x, np.exp(x[:, 0]))\n"
    assert not {"jax", "jaxlib", "optax"} & modules_after(code)
    assert (tmp_path / "s.png").stat().st_size > 0


@pytest.mark.parametrize("name", fallline.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    thing = getattr(fallline, name)
    assert name == "__version__" or len(thing.__doc__) > 30


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        _ = fallline.Netwrok


def test_descend_is_the_function_however_it_is_reached():
    code = (
        "import fallline.walk.loop\nfrom fallline import NetworkRegressor, descend\nassert callable(fallline.descend)"
    )
    assert "fallline.walk.loop" in modules_after(code)
