"""``gallery``: the scripts of a folder, run while the pages are read; each a section with its words, its picture, its code.

A script's docstring holds its title, an empty line, and what there is to see. It writes its picture to the file that is its
first argument. A picture is made anew when its script or the package has changed.
"""

import ast
import hashlib
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import fallline

ROOT = Path(__file__).resolve().parents[2]
MADE = "gallery/made"  # in docs/, not kept in the repository
AT_ONCE = 2
# A picture is drawn for a light page and for a dark one: what its file's name ends in, and the settings of matplotlib.
SCHEMES = {"light": ("", {}), "dark": ("-dark", {"MATPLOTLIBRC": str(Path(__file__).with_name("dark.matplotlibrc"))})}


def parts_of(script: Path) -> tuple[str, str, str]:
    """Title, words and code of a script."""
    text = script.read_text(encoding="utf-8")
    first = ast.parse(text).body[0]
    title, _, words = (ast.get_docstring(ast.parse(text)) or "").partition("\n")
    return title, words.strip(), "\n".join(text.splitlines()[first.end_lineno or 0 :]).strip()


def digest_of(script: Path) -> str:
    """Of all that a picture depends on: the script and the package."""
    digest = hashlib.sha256(script.read_bytes())
    for source in sorted(Path(fallline.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def make(script: Path, folder: Path, scheme: str) -> None:
    """Run a script in a process of its own, from the root of the repository; warnings are errors."""
    ending, settings = SCHEMES[scheme]
    picture = folder / f"{script.stem}{ending}.png"
    stamp = picture.with_suffix(".sha256")
    digest = digest_of(script)
    if picture.is_file() and stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(picture)],
        cwd=ROOT, env={**os.environ, "MPLBACKEND": "Agg", **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not picture.is_file():
        raise ExtensionError(f"{script.name} of the gallery made no picture:\n{done.stderr}")
    stamp.write_text(digest, encoding="ascii")


def make_all(app: Sphinx) -> None:
    """All pictures, before any page is read, a few scripts at a time."""
    made = Path(app.srcdir) / MADE
    made.mkdir(parents=True, exist_ok=True)
    scripts = sorted((Path(app.srcdir) / "gallery").glob("*.py"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda task: make(task[0], made, task[1]), itertools.product(scripts, SCHEMES)))


class GalleryDirective(SphinxDirective):
    """The scripts named, one a line, in that order; every script of the folder must be there."""

    has_content = True
    option_spec = {"wide": directives.unchanged}  # noqa: RUF012 (docutils' own form)

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / "gallery"
        names = [line.strip() for line in self.content if line.strip()]
        wide = self.options.get("wide", "").split()
        if sorted(names) != sorted(script.stem for script in folder.glob("*.py")):
            raise self.error("the gallery names other scripts than those in docs/gallery/.")
        return [self.section(folder / f"{name}.py", name in wide) for name in names]

    def section(self, script: Path, wide: bool) -> nodes.section:
        self.env.note_dependency(str(script))
        title, words, code = parts_of(script)
        section = nodes.section(ids=[nodes.make_id(script.stem)], names=[nodes.fully_normalize_name(title)])
        section += nodes.title(title, title)
        section += self.parse_text_to_nodes(words)
        frame = nodes.container(classes=["gallery", "wide"] if wide else ["gallery"])
        said = f"{title}. {' '.join(words.split()).split('. ')[0]}."
        for scheme, (ending, _) in SCHEMES.items():
            picture = f"{MADE}/{script.stem}{ending}.png"
            self.env.note_dependency(str(Path(self.env.srcdir) / picture))
            # The theme shows the one or the other.
            frame += nodes.image(uri=picture, candidates={"*": picture}, alt=said, classes=[f"only-{scheme}"])
        section += frame
        section += nodes.literal_block(code, code, language="python")
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", make_all)
    app.add_directive("gallery", GalleryDirective)
    return {"parallel_read_safe": True}
