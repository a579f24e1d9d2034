"""Pictures as files: PNG, SVG or PDF by the file's name, written whole or not at all.

No pyplot and no setting of the process: a figure of its own, drawn with matplotlib's defaults. Each file says in its
metadata that fallline drew it, so that the next one may take its place; the same picture gives the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fallline.exceptions import OutputError
from fallline.files import atomic_write, check_ours, check_writable, holds

_MAKER = "fallline"
# What says so, by suffix: the name of the entry, and how it stands in the file.
_SAID = {
    ".png": ("Software", b"Software\x00fallline"),
    ".svg": ("Creator", b"<dc:title>fallline</dc:title>"),
    ".pdf": ("Creator", b"/Creator (fallline)"),
}
_DOTS = 160  # to the inch, of a PNG


def check_picture(path: Path) -> None:
    """See that a picture can be written to ``path``, before the work.

    Raises OutputError for another suffix, a folder that cannot be written, and a file that fallline did not draw.
    """
    if path.suffix.lower() not in _SAID:
        raise OutputError(
            f"{path} is no picture that can be written: choose a name that ends in {', '.join(list(_SAID)[:-1])} or .pdf."
        )
    check_writable(path.parent)
    check_ours(path, is_picture, "or choose another name with --output")


def is_picture(path: Path) -> bool:
    """Whether the file at ``path`` is a picture that fallline drew: the next one may replace it."""
    said = _SAID.get(path.suffix.lower())
    return said is not None and holds(path, said[1])


def write_picture(draw: Callable[[Any], Any], path: Path, *, width: float = 6.4, height: float = 5.8) -> None:
    """Write what ``draw`` draws into the Axes it is given, so many inches large. Raises OutputError, in a sentence."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    suffix = path.suffix.lower()
    out = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Letters that the font lacks, labels too long for any layout: the picture is drawn as well as it can be.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": _MAKER, "pdf.fonttype": 42})
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        undated: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
        figure.savefig(
            out, format=suffix[1:], dpi=_DOTS, facecolor="white", bbox_inches="tight", pad_inches=0.15,
            metadata={_SAID[suffix][0]: _MAKER, **undated},
        )  # fmt: skip
    atomic_write(path, out.getvalue())
