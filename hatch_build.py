"""Build the native library of fallline with the C compiler that is at hand: for wheels, and for ``pip install -e .``."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src", "fallline", "native")


def library_module(folder: Path) -> Any:
    """``library.py`` of a folder, without fallline itself, which cannot be imported yet."""
    spec = importlib.util.spec_from_file_location("fallline_native_library", folder / "library.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")


def build(folder: Path, to: Path, compiler: list[str], workdir: Path) -> None:
    lib = library_module(folder)
    jobs = [
        [
            *compiler,
            *lib.FLAGS,
            *flags,
            f"-DREAL={real}",
            f"-DSUFFIX={number}_{level}",
            f"-DBYTES={width}",
            "-c",
            str(folder / "kernels.c"),
            "-o",
            str(workdir / f"{number}_{level}.o"),
        ]
        for level, (width, flags) in lib.LEVELS.items()
        for number, real in lib.NUMBERS.items()
    ]
    jobs.append(
        [
            *compiler,
            *lib.FLAGS,
            f'-DSOURCES="{lib.sources(folder)}"',
            "-c",
            str(folder / "levels.c"),
            "-o",
            str(workdir / "levels.o"),
        ]
    )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, jobs))
    run([*compiler, "-shared", *[job[-1] for job in jobs], "-o", str(workdir / lib.FILE), "-lm"])
    with tempfile.NamedTemporaryFile(dir=to, delete=False) as made:
        shutil.copyfile(workdir / lib.FILE, made.name)
    Path(made.name).chmod(0o755)
    os.replace(made.name, to / lib.FILE)


class NativeLibrary(BuildHookInterface):
    """The build hook."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(self.root) / NATIVE
        with tempfile.TemporaryDirectory() as workdir:
            build(folder, folder, [shutil.which("cc") or "gcc"], Path(workdir))
