"""Compiled programs kept on disk, so that the next process need not compile them again.

Importing fallline never switches this on: the command line does for its own process,
and a program that owns its process can.
"""

import glob
import hashlib
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TROUBLE = "Error (reading|writing) persistent compilation cache entry for '(.*?)'"


def use_compile_cache(folder: Path | str | None = None) -> Path | None:
    """Keep compiled programs under ``folder``, from now on and for this whole process.

    By default the folder is the user's cache folder, with a name that carries the versions of Python and jaxlib
    and the features of this processor, because a program compiled elsewhere may not run here. An entry is about
    50 KB. Set ``FALLLINE_COMPILE_CACHE`` to another folder, or to ``off``. Returns the folder, or None when off.
    """
    asked = str(folder) if folder is not None else os.environ.get("FALLLINE_COMPILE_CACHE", "")
    if asked.lower() == "off":
        return None
    import jax

    home = Path(asked) if asked else _user_cache() / "fallline" / "programs"
    chosen = home / _machine()
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # a read-only home: compile each time
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update(
        "jax_persistent_cache_enable_xla_caches", "none"
    )  # keeps the folder's path out of the key
    return chosen


@contextmanager
def mended(folder: Path | None) -> Iterator[None]:
    """A block in which an entry that cannot be read is thrown away, and one that cannot be written is done without.

    JAX writes an entry in place, so a process that was killed or a full disk leaves half of one. JAX alone would
    warn of it in every process to come and never replace it. Other warnings are given when the block ends.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", message=_TROUBLE)
        try:
            yield
        finally:
            troubles = [(each, re.match(_TROUBLE, str(each.message))) for each in said]
            for _, trouble in troubles:
                if trouble and trouble[1] == "reading" and folder is not None:
                    for entry in folder.glob(f"{glob.escape(trouble[2])}*"):
                        with suppress(OSError):
                            entry.unlink()
    for each, trouble in troubles:
        if not trouble:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))


def _machine() -> str:
    import jaxlib

    flags = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass
    digest = hashlib.sha256((flags + os.environ.get("XLA_FLAGS", "")).encode()).hexdigest()[:12]
    return f"jaxlib-{jaxlib.__version__}-py{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}-{digest}"
