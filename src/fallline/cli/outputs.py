"""Where the commands write: a folder, and names made of the table and of what was fitted to it."""

import glob
import itertools
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

_LONGEST_NAME = 120  # bytes of a file's name before its suffix: file systems count bytes
_SUFFIXES = re.compile(r"([.](csv|tsv|tab|txt|dat|data|parquet|pq|jsonl?|ndjson|gz))+$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')  # on some system, in the name of a file
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])[.]", re.IGNORECASE)  # on Windows, whatever follows


overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace a file even if fallline did not write it."
)  # fmt: skip


def written_out(text: str) -> str:
    """The text with a question mark for what is no letter, such as a byte of a path that is not UTF-8: files hold UTF-8."""
    return text.encode(errors="replace").decode()


def command_typed() -> str:
    """The command as it was typed, so that a shell runs it again."""
    return written_out(shlex.join(["fallline", *click.get_current_context().meta["fallline.typed"]]))


def _named(table: Path) -> Path:
    """A path whose last part names the table: of a pattern of names, the folder that it begins with."""
    if not table.exists() and glob.has_magic(str(table)):
        table = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), table.parts))
    return table if table.name else table.resolve()


def output_at(
    folder: Path, table: Path, parts: Sequence[str], ours: Mapping[str, Callable[[Path], bool]], overwrite: bool = False
) -> dict[str, Path]:
    """The file of each suffix, TABLE-PART-PART.suffix; complaints about the folder come before the work, not after it.

    ``ours`` says of each suffix whether a file that is there was written by fallline: others are replaced only to ``overwrite``.
    """
    from fallline.exceptions import OutputError
    from fallline.files import check_ours, check_writable

    check_writable(folder)
    table = _named(table)
    if written_out(table.name) != table.name:
        raise OutputError(
            f"the name {table.name!a} is not UTF-8, and what is written could not hold it: rename the table."
        )
    # Names come from files: none leads out of the folder, and all may be carried to any system.
    name = _FORBIDDEN.sub("_", _SUFFIXES.sub("", table.name))
    stem = "-".join([name, *(re.sub(r"\W+", "_", part).strip("_") for part in parts)])
    stem = os.fsencode(stem)[:_LONGEST_NAME].decode(errors="ignore").lstrip("-. ") or "model"
    stem = f"_{stem}" if _DEVICE.match(stem) else stem
    paths = {suffix: folder / f"{stem}{suffix}" for suffix in ours}
    for suffix, path in paths.items():
        otherwise = "choose another folder with --output, or replace it with --overwrite"
        check_ours(path, (lambda path: True) if overwrite else ours[suffix], otherwise)
    return paths
