"""The pages tell the truth: their Python runs, their output is what a fit prints, and no public name is left out."""

import ast
import doctest
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import fallline
import fallline.export
import fallline.plot
from fallline.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def python_of(page):
    """All the Python of a page, in order, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M))


PAGES = [page for page in sorted(DOCS.glob("*.md")) if python_of(page)]
LINKED = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder where the README's first command has run."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "examples").symlink_to(ROOT / "examples")
    command = ["fit", "examples/concrete.csv", "--target", "strength"]
    done = subprocess.run(
        [sys.executable, "-m", "fallline", *command], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def written(text):
    """A text without its line breaks and widths of columns."""
    return " ".join(text.split())


NETWORK = r"strength (?:training|held-out) \(\d+\) network [\d,.]+ [\d.]+ ([\d.]+)"


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "getting-started.md"], ids=lambda page: page.stem)
def test_the_output_on_a_page_is_what_a_fit_prints(page, folder):
    output = (folder / "output.txt").read_text(encoding="utf-8")
    # What rounding may change on another machine: the network's own figures and how many steps it took.
    by_rounding = re.compile(
        rf"{NETWORK}|─|Stopped|A minimum|A flat valley|\d+ networks (?:and ridge regression )?combined|[\d,]+ steps|"
        r"The 95 % intervals|Columns that|$"
    )
    said = [line for line in map(written, output.splitlines()) if not by_rounding.match(line)]
    shown = written(page.read_text(encoding="utf-8"))
    assert len(said) > 11
    assert [line for line in said if line not in shown] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "getting-started.md"], ids=lambda page: page.stem)
def test_the_networks_figures_on_a_page_are_those_of_a_fit(page, folder):
    output = (folder / "output.txt").read_text(encoding="utf-8")
    shown, said = (
        [float(share) for share in re.findall(NETWORK, written(text))]
        for text in (page.read_text(encoding="utf-8"), output)
    )
    assert len(said) == 2
    assert shown == pytest.approx(said, abs=0.05)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_python_of_a_page_runs(page, folder):
    subprocess.run([sys.executable, "-W", "error", "-c", python_of(page)], cwd=folder, check=True)


def test_reading_a_model_file_without_fallline_gives_its_predictions(folder):
    told = f"{python_of(DOCS / 'model-file.md')}\nprint(predicted.item())"
    done = subprocess.run([sys.executable, "-c", told], cwd=folder, capture_output=True, text=True, check=True)
    model = fallline.load_model(folder / "concrete-strength.fallline")
    recipe = re.search(r"x = np\.array\(\[\[(.*)\]\]\)", told)[1]
    expected = model.fitted.predict([[float(number) for number in recipe.split(",")]]).item()
    assert float(done.stdout) == pytest.approx(expected, rel=1e-12)


def test_the_neuron_of_the_guide_finds_the_weights_that_made_the_data():
    said = {}
    exec(re.findall(r"```python\n(.*?)```", (DOCS / "getting-started.md").read_text(encoding="utf-8"), re.S)[-1], said)
    path = said["path"]
    assert (path.weights.shape, path.error.shape, path.gradient.shape) == ((501, 2), (501,), (501, 2))
    assert path.weights[-1] == pytest.approx([2.0, -1.0], abs=1e-4)
    steady = re.split(r"(?<=-> )\S+ ", str(path))  # around the last error, which is rounding
    assert [part for part in steady if part not in written((ROOT / "README.md").read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).is_file()] == []


BLOCK = re.compile(r"^( *)(```+|~~~+) *(\S*)", re.M)


@pytest.mark.parametrize("page", [page for page in LINKED if page.stem != "gpu"], ids=lambda page: page.stem)
def test_no_python_of_a_page_escapes_the_tests(page):
    opened = [
        (indent, fence, language)
        for indent, fence, language in BLOCK.findall(page.read_text(encoding="utf-8"))
        if language
    ]
    python = [each for each in opened if re.search("py|ipython|code-block|code-cell|doctest", each[2])]
    assert [each for each in python if each != ("", "```", "python")] == []
    run = [*PAGES, ROOT / "README.md"]  # the README's by test_readme.py
    assert page in run or not python


class HasGet(np.ndarray):
    """An array of NumPy that is asked for itself as CuPy's are."""

    def get(self):
        return np.asarray(self)


@pytest.mark.filterwarnings("ignore:Stopped at max_iter")  # its rows are few for its network
def test_the_lines_for_cupy_run_with_numpy_in_its_place(monkeypatch):
    text = (DOCS / "gpu.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\{code-block\} python\n(.*?)^```", text, re.S | re.M)
    drawn = np.random.default_rng(0)

    def standard_normal(shape, dtype):
        return drawn.standard_normal(shape, dtype=dtype).view(HasGet)

    cupy = types.SimpleNamespace(
        random=types.SimpleNamespace(standard_normal=standard_normal), sin=np.sin, float32=np.float32
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for large, small in (("1_000_000", "300"), ("(20, 20, 1)", "(20, 3, 1)"), ("(20,)", "(3,)")):
        assert large in block
        block = block.replace(large, small)
    exec(block, said := {})  # our own text
    assert said["path"].error[-1] < said["path"].error[0]
    assert said["fit"].predict(said["x"]).size == 300


def test_the_lesson_prints_what_it_says(tmp_path):
    page = DOCS / "lesson.md"
    text = page.read_text(encoding="utf-8")
    run = [sys.executable, "-W", "error", "-c", python_of(page)]
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(re.findall(r"^```text\n(.*?)^```", text, re.S | re.M))
    for picture in re.findall(r"\(images/(\S+\.png)\)", text):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


MODULES = {"fallline": fallline, "fallline.plot": fallline.plot, "fallline.export": fallline.export}
NAMES = [(module, name) for module, of in MODULES.items() for name in of.__all__]
RESULTS = {  # what is never made by hand, and what gives it
    "Basins": "find_basins", "Curvature": "extreme_eigenvectors", "CurveFit": "fit_curve", "DescentPath": "descend",
    "Effect": "partial_dependence", "Ends": "descend_from", "FittedIntervals": "NetworkRegressor",
    "FittedNetwork": "load_model", "Importance": "permutation_importance", "Kind": "verdict_of", "Minima": "find_minima",
    "Minimum": "find_minima", "Plane": "error_surface", "PredictedPath": "Convergence", "SavedModel": "load_model",
    "SavedPath": "load_model", "Sensitivity": "sensitivities", "Surface": "error_surface", "Verdict": "verdict_of",
    "DescentWarning": "descend", "FalllineError": "descend", "__version__": "descend",
}  # fmt: skip
CODE = "\n".join(
    [
        *map(python_of, [*PAGES, ROOT / "README.md"]),
        *(path.read_text(encoding="utf-8") for path in DOCS.glob("gallery/*.py")),
    ]
)


def shown(name):
    return re.search(rf"\b{name}\b", CODE) is not None


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(each) for each in NAMES])
def test_a_public_name_has_a_docstring_and_an_example_that_runs(module, name):
    thing = getattr(MODULES[module], name)
    assert len(thing.__doc__ or "") > 60
    assert ">>>" in thing.__doc__ or shown(name) or shown(RESULTS[name])


def test_the_examples_of_docstrings_give_what_they_say():
    found = [
        test
        for _, name in NAMES
        for test in doctest.DocTestFinder(recurse=False).find(getattr(fallline, name, None), name)
    ]
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 0


def test_the_api_page_documents_every_public_name():
    documented = re.findall(
        r"^\.\. auto(?:class|function|exception):: (fallline\.\S+)",
        (DOCS / "api.rst").read_text(encoding="utf-8"),
        re.M,
    )
    public = [f"fallline.{name}" for name in fallline.__all__ if name != "__version__"]
    public += [f"fallline.plot.{name}" for name in fallline.plot.__all__]
    assert sorted(documented) == sorted(public)
    members = re.search(
        r"automodule:: fallline\.export\n +:members: (.*)", (DOCS / "api.rst").read_text(encoding="utf-8")
    )[1]
    assert sorted(members.split(", ")) == sorted(fallline.export.__all__)


def test_the_command_line_page_has_every_command():
    documented = re.findall(r"\{fallline-command\} (\S+)", (DOCS / "command-line.md").read_text(encoding="utf-8"))
    assert documented == list(main.commands)


def test_the_readme_begins_with_the_live_page_and_shows_a_report():
    shown = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown[:2] == ["docs/images/explore.png", "docs/images/report.png"]
    moving, still = (ROOT / path for path in shown[:2])
    assert b"acTL" in moving.read_bytes()[:5000]  # an animated PNG
    assert moving.stat().st_size < 2_000_000
    assert still.stat().st_size < 200_000


def test_changelog_and_citation_are_of_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)[1]
    assert newest == cited == fallline.__version__


SCRIPTS = sorted((DOCS / "gallery").glob("*.py"))


def test_the_gallery_shows_every_script_of_its_folder_once():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.search(r"```\{gallery\}.*?\n\n(.*?)\n```", page, re.S)[1].split()
    assert sorted(shown) == [script.stem for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_of_the_gallery_is_short_and_says_what_there_is_to_see(script):
    text = script.read_text(encoding="utf-8")
    title, empty, *words = ast.get_docstring(ast.parse(text)).split("\n")
    assert len(text.splitlines()) < 40
    assert not title.endswith(".")
    assert empty == ""
    assert len(" ".join(words).split(". ")) >= 2


def test_a_script_of_the_gallery_writes_its_picture_where_it_is_asked_to(tmp_path):
    picture = tmp_path / "of_two_weights.png"
    command = [sys.executable, "-W", "error", str(DOCS / "gallery" / "contour_map.py"), str(picture)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "MPLBACKEND": "Agg"}, check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
