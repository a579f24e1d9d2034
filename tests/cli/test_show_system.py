"""``fallline show --system``: what fallline runs on."""

import platform
import re
import subprocess
import sys
from importlib import metadata

import numpy
import pytest
import scipy
from trees import run

from fallline.native import library


def shown():
    done = run("show", "--system")
    assert done.exit_code == 0, done.output
    return dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines())


def test_versions_are_those_that_are_installed():
    said = shown()
    assert said["Python"].startswith(platform.python_version())
    assert (said["NumPy"], said["SciPy"]) == (numpy.__version__, scipy.__version__)
    assert said["JAX"] == metadata.version("jax")
    assert re.search(r"\w+ \d.* of \S+, \d+ threads?", said["BLAS"])
    assert re.fullmatch(r"\d+ of \d+", said["Processors"])
    assert re.fullmatch(r"[\d.]+ (GB|TB)", said["Memory"])


def test_whether_native_code_is_in_use_is_what_the_library_says():
    assert shown()["Native code"] == library.status().sentence


def test_native_code_that_is_left_out_is_said_to_be():
    command = [sys.executable, "-m", "fallline", "show", "--system"]
    done = subprocess.run(command, env={"FALLLINE_NATIVE": "0"}, capture_output=True, text=True, check=True)
    assert re.search("^Native code +Not in use, because FALLLINE_NATIVE is 0: unset it.$", done.stdout, re.M)


def test_what_may_be_there_is_found_without_its_import():
    code = "from fallline.cli.main import main\nmain(['show', '--system'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('MODULES', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"jax", "cupy", "torch"} & set(done.stdout.split("MODULES")[-1].split())


def test_a_module_of_another_name_than_its_package_is_installed(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise RuntimeError('it is not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert shown()["CuPy"] == "installed"


@pytest.mark.parametrize("arguments", [[], ["model.fallline", "--system"]])
def test_a_model_or_the_system_is_shown(arguments):
    done = run("show", *arguments)
    assert done.exit_code == 2
    assert "Give either a model file, as `fallline fit` writes it, or --system" in done.stderr
