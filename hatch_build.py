"""Build the native library, for a wheel in a folder of its own and for ``pip install -e .`` in place.

What is compiled, and how, stands in ``native/library.py``. Nothing here may fail an install: where no library can be made, a
note in its place says why, and the twins in Python serve.
"""

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src", "fallline", "native")
INSTALL = "install one (gcc or clang) and run pip install again"
LEFT_OUT = "There is no native library, because FALLLINE_NATIVE was 0 at install: unset it and run pip install again."
# Only x86-64 has levels, and some compilers take its options elsewhere with a shrug. It exports a function, because zig's
# linker for macOS crashes where there is none.
TRIAL = """\
#if BYTES > 16 && !defined(__x86_64__)
#error
#endif
#ifdef _WIN32
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
int trial(void) { return 0; }
"""
ZIG = [sys.executable, "-m", "ziglang", "cc"]
ZIG_HAS_WHEELS = r"(linux|macosx|win)\b.*(x86_64|amd64|aarch64|arm64|universal2)"


def library_of(folder: Path) -> ModuleType:
    """``library.py`` of a folder, alone: fallline cannot be imported yet."""
    spec = importlib.util.spec_from_file_location("_fallline_library", folder / "library.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def left_out() -> bool:
    return os.environ.get("FALLLINE_NATIVE") == "0"


def candidates() -> Iterator[list[str]]:
    """The compilers to try, best first: $CC and no other where it is set."""
    if chosen := os.environ.get("CC"):
        yield shlex.split(chosen, posix=os.name != "nt")
        return
    # gcc for Windows keeps vectors of 32 bytes on a stack aligned to 16, and such code crashes (its bug 54412).
    yield from ([name] for name in (("clang",) if os.name == "nt" else ("cc", "gcc", "clang")) if shutil.which(name))
    if importlib.util.find_spec("ziglang"):
        yield ZIG


def run(command: Sequence[str], room: Path) -> None:
    """Run a compiler. Raises CalledProcessError or OSError."""
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(room), "ZIG_LOCAL_CACHE_DIR": str(room)}
    # zig alone compiles for the very processor it runs on, unless it is told not to
    plain = ["-mcpu=baseline"] if "zig" in " ".join(command[:4]) else []
    subprocess.run(
        [*command, *plain], env=os.environ | caches, capture_output=True, text=True, errors="replace", check=True
    )


def levels_of(compiler: Sequence[str], library: ModuleType, room: Path) -> list[str]:
    """The levels for which a compiler makes a shared library here; none where it does not work."""
    (room / "trial.c").write_text(TRIAL, encoding="utf-8")
    made: list[str] = []
    for level, (width, flags) in library.LEVELS.items():
        to = room / f"trial-{level}"
        options = [*library.FLAGS, *flags, f"-DBYTES={width}", "-shared", str(room / "trial.c"), "-o", str(to), "-lm"]
        try:
            run([*compiler, *options], room)
        except (OSError, subprocess.CalledProcessError):
            break
        if not to.exists():
            break
        made.append(level)
    return made


def found_compiler(library: ModuleType, room: Path) -> tuple[list[str], list[str]] | None:
    """The first compiler that works, and the levels it can make."""
    tried = ((compiler, levels_of(compiler, library, room)) for compiler in candidates())
    return next((each for each in tried if each[1]), None)


def compiled(
    folder: Path, room: Path, compiler: Sequence[str], levels: Sequence[str], more: Sequence[str] = ()
) -> Path:
    """The library of the sources in a folder, made in another with a note of its hash. Raises CalledProcessError or OSError.

    more: flags besides those that count for the hash of the sources.
    """
    library = library_of(folder)
    flags = {"levels": [f'-DSOURCES="{library.sources(folder)}"', f"-DHIGHEST={len(levels) - 1}"]}
    for level in levels:
        width, own = library.LEVELS[level]
        for number, real in library.NUMBERS.items():
            name = f"{number}_{level}"
            flags[name] = [*own, f"-DREAL={real}", f"-DSUFFIX={name}", f"-DBYTES={width}"]
    to, parts = room / library.FILE, {name: str(room / f"{name}.o") for name in flags}

    def compile_part(name: str) -> None:
        source = folder / ("levels.c" if name == "levels" else "kernels.c")
        run([*compiler, *library.FLAGS, *flags[name], *more, "-c", str(source), "-o", parts[name]], room)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_part, flags))
    run([*compiler, *library.FLAGS, *more, "-shared", *parts.values(), "-o", str(to), "-lm"], room)
    library.note_of(to).write_text(hashlib.sha256(to.read_bytes()).hexdigest(), encoding="utf-8")
    return to


def make(folder: Path, to: Path) -> str:
    """Have the library of the sources in ``folder`` in the folder ``to``, or a note why there is none, which is returned, too."""
    library = library_of(folder)
    ready = not left_out() and library.opened(folder / library.FILE, folder)[0] is not None
    if ready and to == folder:
        return ""
    # Windows does not delete what is loaded
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as room:
        problem = LEFT_OUT if left_out() else "" if ready else _made(library, folder, Path(room))
        made, place = (folder if ready else Path(room)) / library.FILE, to / library.FILE
        try:
            if problem:
                place.unlink(missing_ok=True)
                put(library.note_of(place), problem.encode())
            else:
                put(place, made.read_bytes())
                put(library.note_of(place), library.note_of(made).read_bytes())
        except OSError as error:
            return f"There is no native library, because {to} cannot be written: {error}"
    return problem


def _made(library: ModuleType, folder: Path, room: Path) -> str:
    """Make the library in a folder. Returns why there is none where there is none."""
    found = found_compiler(library, room)
    if found is None:
        tried = os.environ.get("CC") or "cc, gcc, clang"
        return f"There is no native library, because no C compiler worked at install (tried {tried}): {INSTALL}."
    try:
        made = compiled(folder, room, *found)
    except (OSError, subprocess.CalledProcessError) as problem:
        print(getattr(problem, "stderr", problem), file=sys.stderr)
        return f"There is no native library, because {found[0][0]} could not compile it at install; `pip install -v` says why."
    return str(library.opened(made, folder)[1])


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="_native.", delete=False) as part:
        part.write(content)
    try:
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    finally:
        Path(part.name).unlink(missing_ok=True)


def platform_tag() -> str:
    """What wheels for this machine are tagged with."""
    from packaging.tags import platform_tags

    # of Linux the plain tag: that of a distribution is for who checks which of its libraries are used
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))


class NativeLibrary(BuildHookInterface[Any]):
    """What hatchling calls."""

    def dependencies(self) -> list[str]:
        """zig, from its wheel of 100 MB, only where there is no other compiler."""
        if left_out() or os.environ.get("CC") or not re.match(ZIG_HAS_WHEELS, sysconfig.get_platform()):
            return []
        library = library_of(Path(self.root) / NATIVE)
        with tempfile.TemporaryDirectory() as room:
            return [] if found_compiler(library, Path(room)) else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the library, and put it into the wheel."""
        folder = Path(self.root) / NATIVE
        if version == "editable":
            to = folder
        else:
            self._room = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            to = Path(self._room.name)
        problem = make(folder, to)
        if problem:
            self.app.display_warning(problem)
        if version == "editable":
            return
        for path in to.iterdir():
            build_data["force_include"][str(path)] = f"fallline/native/{path.name}"
        if not problem:
            build_data |= {"pure_python": False, "tag": f"py3-none-{platform_tag()}"}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        if version != "editable":
            self._room.cleanup()
