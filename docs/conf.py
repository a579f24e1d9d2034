"""The documentation: Markdown pages, and the API from its docstrings.

    sphinx-build -W --keep-going docs docs/_build

The pictures of the gallery are made while it is built, the others by ``make_images.py``; ``tests/test_docs.py`` tests
the Python and the figures of the pages.
"""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.ext.napoleon import Config, NumpyDocstring

import fallline

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fallline"
author = "The fallline developers"
version = release = fallline.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "commands", "gallery"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the prose says shapes, units and meaning

html_static_path = ["_static"]
html_css_files = ["gallery.css"]
html_theme = "furo"
html_title = f"fallline {release}"
html_copy_source = False


def sections(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """The estimators' docstrings have sections as scikit-learn's do; all the others are prose and stay as they are."""
    if "----------" not in lines:
        return
    at = lines.index("Attributes") + 2
    end = lines.index("", at)
    attributes = []
    for line in lines[at:end]:
        for part in re.split(r"; (?=(?:\w+_, )*\w+_ : )", line):  # "network_ : Network; scaling_ : Scaling"
            names, _, says = part.partition(" : ")
            attributes += [text for each in names.split(", ") for text in (each, f"    {says}")]
    whole = [*lines[:at], *attributes, *lines[end:]]
    config = Config(napoleon_use_param=False)
    lines[:] = NumpyDocstring(whole, config, app, what, name, thing, options).lines()


def plain_defaults(app: Any, what: str, name: str, thing: Any, options: Any, given: str, back: str) -> Any:
    """Defaults that are modules or classes by their name: NumPy's says where it is installed."""
    return given and re.sub(r"<(?:module|class) '([\w.]+)'[^>]*>", r"\1", given), back


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", plain_defaults)
    app.connect("autodoc-process-docstring", sections)
