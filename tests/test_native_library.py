"""How the native library is built, found and judged: with real compilers, files and wheels, in copies of the package's folder.

The copies hold a small kernels.c of their own, which compiles at once.
"""

import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_features__

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
hatch_build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hatch_build)

KERNELS = """
#define JOINED(name, suffix) name##_##suffix
#define NAMED(name, suffix) JOINED(name, suffix)
#define API(name) __attribute__((visibility("default"))) NAMED(name, SUFFIX)
REAL API(twice)(REAL x); int API(bytes)(void);
REAL API(twice)(REAL x) { return 2 * x; }
int API(bytes)(void) { return BYTES; }
"""
AVX2 = {"AVX2", "FMA3"}
AVX512 = AVX2 | {"AVX512F", "AVX512DQ", "AVX512VL", "AVX512BW"}
BEST = sum(all(__cpu_features__.get(name) for name in level) for level in (AVX2, AVX512))  # 0, 1 or 2


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder as the package's, of small kernels, with the library built in it."""
    folder = tmp_path_factory.mktemp("native")
    for name in ("library.py", "levels.c"):
        shutil.copy(ROOT / hatch_build.NATIVE / name, folder)
    (folder / "kernels.c").write_text(KERNELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FALLLINE_NATIVE", raising=False)
        assert hatch_build.make(folder, folder) == ""
    return folder


@pytest.fixture
def folder(built, tmp_path, monkeypatch):
    """A copy of it that a test may spoil; nothing in the environment says what is to serve."""
    for name in ("FALLLINE_NATIVE", "FALLLINE_NATIVE_LIBRARY", "CC"):
        monkeypatch.delenv(name, raising=False)
    return shutil.copytree(built, tmp_path / "native")


def library_in(folder):
    """The module of a folder as a new process would have it, and the file of its library."""
    module = hatch_build.library_of(folder)
    return module, folder / module.FILE


def sealed(path, content):
    """Write a library with the note that goes with it."""
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("asked", ["", "1", "base", "avx2", "avx512"])
@pytest.mark.parametrize(("dtype", "real"), [(np.float64, ctypes.c_double), (np.float32, ctypes.c_float)])
def test_a_function_is_that_of_its_number_type_and_of_the_level_asked_for(folder, monkeypatch, asked, dtype, real):
    monkeypatch.setenv("FALLLINE_NATIVE", asked)
    library, _ = library_in(folder)
    level = min(["base", "avx2", "avx512"].index(asked) if len(asked) > 1 else 2, BEST)
    assert library.status() == (["base", "avx2", "avx512"][level], library.status().sentence)
    assert library.function("bytes", dtype, result=ctypes.c_int)() == 16 << level
    assert library.function("twice", dtype, (real,), real)(0.1) == 2 * dtype(0.1)


def test_number_types_without_kernels_are_for_the_twins(folder):
    library, _ = library_in(folder)
    assert [library.function("twice", dtype) for dtype in (np.float16, int, complex)] == [None] * 3


def test_a_function_that_is_not_there_is_a_mistake_and_no_twin(folder):
    with pytest.raises(AttributeError, match="thrice_f64"):
        library_in(folder)[0].function("thrice", np.float64)


def test_a_caller_keeps_the_types_it_gave(folder):
    library, _ = library_in(folder)
    twice = library.function("twice", float, (ctypes.c_double,), ctypes.c_double)
    library.function("twice", float, (ctypes.c_int,), ctypes.c_int)
    assert twice(1.5) == 3


def test_a_level_that_there_is_not_is_said(folder, monkeypatch):
    monkeypatch.setenv("FALLLINE_NATIVE", "avx1024")
    level, sentence = library_in(folder)[0].status()
    assert level is not None
    assert "FALLLINE_NATIVE=avx1024 is no level: write base, avx2 or avx512, or 0" in sentence


def test_another_file_can_be_named(folder, tmp_path, monkeypatch):
    library, path = library_in(folder)
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere") / path.name
    path.unlink()
    monkeypatch.setenv("FALLLINE_NATIVE_LIBRARY", str(elsewhere))
    assert library.function("twice", float, (ctypes.c_double,), ctypes.c_double)(1.5) == 3


def left_out(path, monkeypatch):
    monkeypatch.setenv("FALLLINE_NATIVE", "0")


def cut_short(path, monkeypatch):
    path.write_bytes(path.read_bytes()[:-6000])


def changed_by_a_bit(path, monkeypatch):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_note(path, monkeypatch):
    path.with_suffix(".txt").unlink()


def of_other_sources(path, monkeypatch):
    kernels = path.with_name("kernels.c")
    kernels.write_text(KERNELS.replace("2 * x", "3 * x"))
    hatch_build.make(path.parent, path.parent)
    kernels.write_text(KERNELS)


def beside_a_new_header(path, monkeypatch):
    path.with_name("new.h").write_text("")


def of_a_processor_that_there_is_not(path, monkeypatch):
    content = bytearray(path.read_bytes())
    content[18:20] = b"\xfe\xca"  # the machine, in the head of an ELF file
    sealed(path, content)


def no_library_at_all(path, monkeypatch):
    sealed(path, b"of " + hatch_build.library_of(path.parent).sources(path.parent).encode())


def missing(path, monkeypatch):
    path.unlink()
    path.with_suffix(".txt").unlink()


def a_folder(path, monkeypatch):
    path.unlink()
    path.mkdir()
    path.with_suffix(".txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (left_out, "FALLLINE_NATIVE is 0: unset it"),
        (cut_short, r"damaged \(.*_native.*\): run pip install again"),
        (changed_by_a_bit, "damaged"),
        (without_note, "damaged"),
        (of_other_sources, "made of other sources .* run pip install again"),
        (beside_a_new_header, "made of other sources"),
        (of_a_processor_that_there_is_not, "for another processor or system .* run pip install again"),
        (no_library_at_all, "for another processor or system"),
        (missing, r"no native library to read \(No such file .*: run pip install again"),
        (a_folder, "no native library to read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_where_no_library_serves_the_twins_do_and_a_sentence_says_why(folder, monkeypatch, spoil, said):
    library, path = library_in(folder)
    spoil(path, monkeypatch)
    status = library.status()
    assert status.level is None
    assert re.search(said, status.sentence)
    assert library.function("twice", np.float64) is None


def test_nothing_is_printed_and_nothing_heavy_is_loaded(folder):
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import library; library.status(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "fallline"} & set(done.stdout.split())
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_changed_sources_are_built_again(folder):
    library, path = library_in(folder)
    (folder / "kernels.c").write_text(KERNELS.replace("2 * x", "3 * x"))
    assert hatch_build.make(folder, folder) == ""
    assert library.function("twice", float, (ctypes.c_double,), ctypes.c_double)(1.5) == 4.5
    assert {each.name for each in folder.iterdir()} >= {path.name, "_native.txt", "kernels.c"}


def test_a_library_of_unchanged_sources_is_not_built_again(folder, monkeypatch):
    monkeypatch.setenv("CC", "/bin/false")
    library, path = library_in(folder)
    before = path.stat().st_ino
    assert hatch_build.make(folder, folder) == ""
    assert path.stat().st_ino == before
    assert library.status().level is not None


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_does_not_know_a_level_makes_those_below_it(folder, monkeypatch, tmp_path):
    old = script(tmp_path / "old", 'case "$*" in *-mavx512f*) exit 1 ;; esac; exec cc "$@"')
    monkeypatch.setenv("CC", old)
    (folder / "new.h").write_text("")
    assert hatch_build.make(folder, folder) == ""
    monkeypatch.setenv("FALLLINE_NATIVE", "avx512")  # more than there is
    library, _ = library_in(folder)
    assert library.function("bytes", float, result=ctypes.c_int)() == 16 << min(BEST, 1)


def test_zig_is_told_not_to_compile_for_the_processor_at_hand(folder, monkeypatch, tmp_path):
    without = 'for a do shift; [ "$a" = -mcpu=baseline ] || set -- "$@" "$a"; done; exec cc "$@"'
    zig = script(tmp_path / "zig", f'case "$*" in *-mcpu=baseline*) ;; *) exit 1 ;; esac; {without}')
    monkeypatch.setenv("CC", zig)
    (folder / "new.h").write_text("")
    assert hatch_build.make(folder, folder) == ""


@pytest.mark.parametrize("compiler", ["/bin/false", "/bin/true", "/no/such/compiler -O3"])
def test_without_a_compiler_that_works_there_is_a_sentence_and_no_library(folder, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    (folder / "new.h").write_text("")
    said = hatch_build.make(folder, folder)
    library, path = library_in(folder)
    assert f"no C compiler worked at install (tried {compiler})" in said
    assert library.status() == (None, said)
    assert not path.exists()


def test_without_any_compiler_there_is_a_sentence_and_no_library(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hatch_build.importlib.util, "find_spec", lambda name: None)
    (folder / "new.h").write_text("")
    said = hatch_build.make(folder, folder)
    assert "(tried cc, gcc, clang): install one" in said
    assert library_in(folder)[0].status() == (None, said)


def test_sources_that_do_not_compile_leave_a_sentence_and_no_library(folder, capfd):
    (folder / "kernels.c").write_text("this is no C")
    said = hatch_build.make(folder, folder)
    library, path = library_in(folder)
    assert "could not compile it at install; `pip install -v` says why" in said
    assert "this is no C" in capfd.readouterr().err
    assert library.status() == (None, said)
    assert not path.exists()


def test_what_was_left_out_at_install_is_no_longer_there(folder, monkeypatch):
    monkeypatch.setenv("FALLLINE_NATIVE", "0")
    said = hatch_build.make(folder, folder)
    monkeypatch.delenv("FALLLINE_NATIVE")
    library, path = library_in(folder)
    assert "FALLLINE_NATIVE was 0 at install: unset it and run pip install again" in said
    assert library.status() == (None, said)
    assert not path.exists()


@pytest.fixture
def unwritable(built):
    """A folder that this process, as another user where it is root's, may read and not write."""
    with tempfile.TemporaryDirectory() as room:
        folder = shutil.copytree(built, Path(room, "native"))
        Path(room).chmod(0o755)
        folder.chmod(0o555)
        user = os.geteuid()
        os.seteuid(user or 65534)
        yield folder
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_left_as_it_is(unwritable, monkeypatch):
    monkeypatch.setenv("FALLLINE_NATIVE", "0")
    before = sorted(path.name for path in unwritable.iterdir())
    assert re.search("cannot be written: .*Permission denied", hatch_build.make(unwritable, unwritable))
    assert sorted(path.name for path in unwritable.iterdir()) == before


def hook_in(root):
    return hatch_build.NativeLibrary(str(root), {}, None, None, "", "wheel")


@pytest.mark.parametrize(
    ("variables", "platform", "asked"),
    [
        ({"PATH": ""}, "linux-x86_64", ["ziglang"]),
        ({"PATH": ""}, "linux-aarch64", ["ziglang"]),
        ({"PATH": ""}, "macosx-13.0-arm64", ["ziglang"]),
        ({"PATH": ""}, "macosx-10.9-universal2", ["ziglang"]),
        ({"PATH": ""}, "win-amd64", ["ziglang"]),
        ({"PATH": ""}, "linux-mips64", []),
        ({"PATH": ""}, "freebsd-14.1-release-amd64", []),
        ({"PATH": "", "FALLLINE_NATIVE": "0"}, "linux-x86_64", []),
        ({"PATH": "", "CC": "/bin/false"}, "linux-x86_64", []),
        ({}, "linux-x86_64", []),
    ],
)
def test_zig_is_asked_for_only_where_there_is_no_compiler_and_a_wheel_of_it(
    folder, monkeypatch, variables, platform, asked
):
    monkeypatch.setattr(hatch_build, "NATIVE", Path())
    monkeypatch.setattr(hatch_build.sysconfig, "get_platform", lambda: platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hook_in(folder).dependencies() == asked


@pytest.fixture
def project(folder, tmp_path):
    """A copy of the whole project, with the library in place, its kernels small."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "native"))
    shutil.copytree(folder, root / hatch_build.NATIVE)
    for name in ("__init__.py", "lapack.py"):
        shutil.copy(ROOT / hatch_build.NATIVE / name, root / hatch_build.NATIVE)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, root)
    return root


def wheel_of(project, *command):
    """The wheel that a command makes in the folder dist, and the names of its native files."""
    subprocess.run([sys.executable, "-m", *command], cwd=project, check=True, capture_output=True)
    (wheel,) = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        (about,) = (name for name in content.namelist() if name.endswith(".dist-info/WHEEL"))
        pure = f"Root-Is-Purelib: {'true' if wheel.name.endswith('-any.whl') else 'false'}"
        assert pure in content.read(about).decode()
        names = {Path(name).name for name in content.namelist() if name.startswith("fallline/native/")}
    return wheel, names


C_SOURCES = {"kernels.c", "levels.c"}


def test_a_wheel_of_pip_holds_the_library_and_its_sources_and_says_for_which_platform(project, tmp_path):
    path = library_in(project / hatch_build.NATIVE)[1]
    path.unlink()
    wheel, names = wheel_of(
        project, "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", "dist", "."
    )
    assert wheel.name.endswith(f"-py3-none-{hatch_build.platform_tag()}.whl")
    assert names >= C_SOURCES | {path.name, "_native.txt"}
    assert not path.exists()  # a wheel's library is built elsewhere
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    installed, _ = library_in(tmp_path / "installed" / "fallline" / "native")
    assert installed.status().level is not None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("CC", "/bin/false", "no C compiler worked at install"), ("FALLLINE_NATIVE", "0", "was 0 at install")],
)
def test_a_wheel_without_a_library_is_for_every_platform_and_says_why(
    project, tmp_path, monkeypatch, variable, value, said
):
    (project / hatch_build.NATIVE / "new.h").write_text("")  # what is there in place is stale
    monkeypatch.setenv(variable, value)
    wheel, names = wheel_of(project, "hatchling", "build", "-t", "wheel")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert names >= C_SOURCES | {"_native.txt"}
    monkeypatch.delenv(variable)
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    installed, path = library_in(tmp_path / "installed" / "fallline" / "native")
    assert path.name not in names
    assert said in installed.status().sentence


def test_a_source_distribution_holds_no_library_and_all_that_makes_one(project):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist"], cwd=project, check=True, capture_output=True
    )
    (archive,) = (project / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {Path(name).name for name in content.getnames()}
    assert names >= C_SOURCES | {"library.py", "hatch_build.py"}
    assert not [name for name in names if name.startswith("_native")]


def test_an_editable_install_has_its_library_in_place(project):
    library, path = library_in(project / hatch_build.NATIVE)
    path.unlink()
    data = {}
    hook_in(project).initialize("editable", data)
    assert library.status().level is not None
    assert data == {}
