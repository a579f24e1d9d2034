"""The documentation: Markdown pages, and the API from its docstrings.

    sphinx-build -W --keep-going docs docs/_build

Pictures are made by ``make_images.py``; the pages' Python and their figures are tested in ``tests/test_docs.py``.
"""

import re
import sys
from pathlib import Path
from typing import Any

import fallline

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fallline"
author = "The fallline developers"
version = release = fallline.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "commands"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the prose says shapes, units and meaning
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"fallline {release}"
html_copy_source = False


def one_attribute_a_line(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Short attributes share a line in the estimators' docstrings, "network_ : Network; scaling_ : Scaling"."""
    lines[:] = [part for line in lines for part in re.split(r"; (?=\w+_ : )", line)]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", one_attribute_a_line, priority=400)  # before napoleon
