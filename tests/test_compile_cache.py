import subprocess
import sys

import pytest

CODE = """
import os, sys, pathlib
import fallline
folder = fallline.use_compile_cache({argument})
import jax
print(folder, jax.config.jax_compilation_cache_dir, sep="|")
"""


def said(argument="", **environment):
    command = [sys.executable, "-c", CODE.format(argument=argument)]
    done = subprocess.run(command, env=environment | {"PATH": ""}, capture_output=True, text=True, check=True)
    return done.stdout.strip().split("|")


def test_the_folder_is_the_one_asked_for_and_carries_the_version(tmp_path):
    import jaxlib

    folder, used = said(repr(str(tmp_path)))
    assert folder == used
    assert folder.startswith(f"{tmp_path}/jaxlib-{jaxlib.__version__}-")


def test_the_environment_names_the_folder_or_turns_it_off(tmp_path):
    assert said(FALLLINE_COMPILE_CACHE=str(tmp_path))[0].startswith(str(tmp_path))
    assert said(FALLLINE_COMPILE_CACHE="off") == ["None", "None"]


def test_the_users_cache_folder_is_the_default(tmp_path):
    assert said(XDG_CACHE_HOME=str(tmp_path))[0].startswith(f"{tmp_path}/fallline/programs/")


def test_a_folder_that_cannot_be_made_is_no_error():
    assert said(repr("/proc/nowhere")) == ["None", "None"]


@pytest.mark.parametrize(
    "code", ["import fallline.cli", "import fallline.loop", "import fallline.estimators"]
)
def test_importing_switches_no_cache_on(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport jax; print(jax.config.jax_compilation_cache_dir)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "None"
