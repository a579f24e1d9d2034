"""The native library: what it is made of, whether it serves here and at which level, and its functions.

It holds each function once for every number type and every level of the processor, and the hash of what it was made of. Where
it cannot serve, the twins in Python do, more slowly and with the same results to rounding. ``FALLLINE_NATIVE=0`` leaves it out,
the name of a level takes none above it, and ``FALLLINE_NATIVE_LIBRARY`` names another file to take it from.

``hatch_build.py`` builds it by what stands here, and loads this file alone: nothing heavy is imported.
"""

import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

HERE = Path(__file__).parent
FILE = "_native." + {"win32": "dll", "darwin": "dylib"}.get(sys.platform, "so")

# NaN has to stay NaN: no -ffast-math. One file for all processors: no -march=native.
FLAGS = (
    "-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-Wall", "-Wextra",
)  # fmt: skip
LEVELS: dict[str, tuple[int, tuple[str, ...]]] = {  # bytes of a vector, and flags; the lowest first
    "base": (16, ()),
    "avx2": (32, ("-mavx2", "-mfma")),
    "avx512": (64, ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma", "-mprefer-vector-width=512")),
}
NUMBERS = {"f64": "double", "f32": "float"}
_SHORT = {"float64": "f64", "float32": "f32"}


class Status(NamedTuple):
    """The level that serves, None where the twins in Python do, and a sentence that says so, why, and what to do."""

    level: str | None
    sentence: str


def status() -> Status:
    """Whether native code serves. The environment is read, and the library loaded, when this is first asked."""
    return _found()[0]


def function(name: str, dtype: "DTypeLike", arguments: Sequence[Any] = (), result: Any = None) -> Any:
    """The native function of a name for a number type, which lets go of Python's lock; None where its twin serves.

    arguments, result: types of ctypes. Raises AttributeError where the library has no function of that name.
    """
    import numpy as np

    (level, _), library = _found()
    numbers = _SHORT.get(np.dtype(dtype).name if np.dtype(dtype).isnative else "")
    if library is None or numbers is None:
        return None
    return _typed(library, f"{name}_{numbers}_{level}", tuple(arguments), result)


@functools.cache
def _typed(library: ctypes.CDLL, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
    found = library[name]  # by getattr all callers would have one function, and its types
    found.argtypes, found.restype = arguments, result
    return found


@functools.cache
def _found() -> tuple[Status, ctypes.CDLL | None]:
    asked = os.environ.get("FALLLINE_NATIVE", "")
    if asked == "0":
        return Status(None, "Not in use, because FALLLINE_NATIVE is 0: unset it."), None
    library, problem = opened(Path(os.environ.get("FALLLINE_NATIVE_LIBRARY") or HERE / FILE))
    if library is None:
        return Status(None, problem), None
    best = list(LEVELS)[library.fallline_level()]
    level = min(best, asked, key=list(LEVELS).index) if asked in LEVELS else best
    sentence = f"In use, at level {level}."
    if asked not in ("", "1", *LEVELS):
        sentence += f" FALLLINE_NATIVE={asked} is no level: write base, avx2 or avx512, or 0 for no native code."
    return Status(level, sentence), library


def note_of(path: Path) -> Path:
    """The file beside a library that holds its SHA-256, or the sentence why there is none."""
    return path.with_suffix(".txt")


def opened(path: Path, folder: Path = HERE) -> tuple[ctypes.CDLL | None, str]:
    """The library in a file, or None and a sentence why it does not serve the sources in a folder."""
    try:
        note = note_of(path).read_text("utf-8", "replace").strip()
    except OSError:
        note = ""
    try:
        content, made_of = path.read_bytes(), sources(folder)
    except OSError as problem:
        none = f"There is no native library to read ({problem.strerror}: {path}): run pip install again."
        return None, note or none
    if hashlib.sha256(content).hexdigest() != note:  # to load a file that was cut short ends the process
        return None, f"The native library is damaged ({path}): run pip install again."
    if made_of.encode() not in content:
        return (None, "The native library was made of other sources than those beside it: run pip install again.")
    try:
        return ctypes.CDLL(str(path)), ""
    except OSError as problem:
        return (None, f"The native library is for another processor or system ({problem}): run pip install again.")


def sources(folder: Path = HERE) -> str:
    """The hash of the C sources in a folder and of how they are compiled. Raises OSError."""
    found = hashlib.sha256(repr((FLAGS, LEVELS, NUMBERS)).encode())
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")]):
        found.update(b"%s %d\n" % (path.name.encode(), path.stat().st_size) + path.read_bytes())
    return found.hexdigest()
