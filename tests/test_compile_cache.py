import subprocess
import sys
import warnings

import pytest

from fallline.compile_cache import mended

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
    "code", ["import fallline.cli.main", "import fallline.walk.loop", "import fallline.estimators.network"]
)
def test_importing_switches_no_cache_on(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport jax; print(jax.config.jax_compilation_cache_dir)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "None"


def test_a_file_in_place_of_the_folder_is_no_error(tmp_path):
    used = tmp_path / "a file"
    used.write_text("")
    assert said(repr(str(used))) == ["None", "None"]


DAMAGED = """
import sys, pathlib, warnings
import jax, jax.monitoring
from fallline.compile_cache import mended, use_compile_cache
folder = use_compile_cache(sys.argv[1])
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rpartition("/")[2]))
def tripled(x):
    return 3 * x
def run():
    jax.clear_caches()
    events.clear()
    with mended(folder):
        assert float(jax.jit(tripled)(2.0)) == 6.0
    entries = [entry.stat().st_size for entry in folder.glob("jit_tripled*")]
    return events.count("cache_hits"), len(entries)
print(*run(), *run())
for entry in folder.glob("jit_tripled*"):
    entry.write_bytes(entry.read_bytes()[:100])
print(*run(), *run(), *run())
"""


def test_half_an_entry_is_thrown_away_without_a_word_and_made_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    # Hits and entries of each run: made, found; damaged and thrown away, made again, found.
    assert done.stdout.splitlines() == ["0 1 1 1", "0 0 0 1 1 1"]
    assert done.stderr == ""


def test_an_entry_that_cannot_be_written_is_done_without(tmp_path):
    with mended(tmp_path):
        warnings.warn("Error writing persistent compilation cache entry for 'jit_f': OSError", stacklevel=1)


def test_only_the_damaged_program_is_thrown_away(tmp_path):
    for name in ("jit_f-12-cache", "jit_g-34-cache"):
        (tmp_path / name).write_text("")
    with mended(tmp_path):
        warnings.warn("Error reading persistent compilation cache entry for 'jit_f': zlib", stacklevel=1)
    assert [found.name for found in tmp_path.iterdir()] == ["jit_g-34-cache"]


def test_other_warnings_are_given_when_the_block_ends(tmp_path):
    with pytest.warns(UserWarning, match="something else"), mended(tmp_path):
        warnings.warn("something else", stacklevel=1)
