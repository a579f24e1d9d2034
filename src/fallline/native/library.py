"""The native library: what it is made of, whether it serves here and at which level, and its functions.

``hatch_build.py`` builds it by what stands here, and loads this file alone: nothing heavy is imported. The library holds each
function once for every level of the processor and number type, and the hash of what it was made of: where that is not the hash
of the sources beside it, the twins in Python serve, which are slower and give the same to rounding.
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
LEVELS = {  # the lowest first: bytes of a vector, and the flags that say so
    "base": (16, ()),
    "avx2": (32, ("-mavx2", "-mfma")),
    "avx512": (
        64,
        ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"),
    ),
}
NUMBERS = {"f64": "double", "f32": "float"}


class Status(NamedTuple):
    """The level that serves, None where it is the twins in Python, and a sentence that says so and what to do."""

    level: str | None
    sentence: str


def sources(folder: Path = HERE) -> str:
    """The hash of the C sources in a folder and of how they are compiled."""
    found = hashlib.sha256(repr((FLAGS, LEVELS, NUMBERS)).encode())
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")]):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def status() -> Status:
    """Whether native code serves, at which level, and why not where it does not."""
    return _found()[0]


def function(name: str, dtype: "DTypeLike", arguments: Sequence[Any] = (), result: Any = None) -> Any:
    """The native function of that name for a number type, which lets go of Python's lock; None where the twin serves.

    arguments, result: types of ctypes; nothing comes back by default.
    """
    import numpy as np

    (level, _), library = _found()
    numbers = {"float64": "f64", "float32": "f32"}.get(np.dtype(dtype).name)
    if library is None or numbers is None:
        return None
    return _typed(library, f"{name}_{numbers}_{level}", tuple(arguments), result)


@functools.cache
def _typed(library: ctypes.CDLL, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
    found = library[name]  # not getattr, which gives all callers one function and its types
    found.argtypes, found.restype = arguments, result
    return found


@functools.cache
def _found() -> tuple[Status, ctypes.CDLL | None]:
    """Whether the library serves, and the library where it does."""
    asked = os.environ.get("FALLLINE_NATIVE", "")
    if asked == "0":
        return Status(None, "Native code is left out, because FALLLINE_NATIVE is 0."), None
    path = Path(os.environ.get("FALLLINE_NATIVE_LIBRARY") or HERE / FILE)
    library, problem = opened(path, sources())
    if library is None:
        return Status(None, problem), None
    names = list(LEVELS)
    best = library.fallline_level()
    level = names[min(best, names.index(asked) if asked in names else best)]
    return Status(level, f"Native code is in use (level {level})."), library


def opened(path: Path, made_of: str) -> tuple[ctypes.CDLL | None, str]:
    """The library in a file, or why it does not serve. made_of: the hash that it has to carry."""
    try:
        if made_of.encode() not in path.read_bytes():
            return None, "The native library was made of other sources: run pip install again."
        library = ctypes.CDLL(str(path))
        library.fallline_sources.restype = ctypes.c_char_p
        library.fallline_level.restype = ctypes.c_int
    except FileNotFoundError:
        return None, "There is no native library: no C compiler was found when fallline was installed."
    except (OSError, AttributeError) as problem:
        return None, f"The native library cannot be loaded ({problem}): run pip install again."
    return library, ""
