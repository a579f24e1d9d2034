"""Where the commands write: a folder, and names made of the table and of what was fitted to it."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LONGEST_NAME = 120  # bytes of a file's name before its suffix: file systems count bytes
_SUFFIXES = re.compile(r"([.](csv|tsv|tab|txt|dat|data|parquet|pq|jsonl?|ndjson|gz))+$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')  # on some system, in the name of a file
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])[.]", re.IGNORECASE)  # on Windows, whatever follows


def output_at(
    folder: Path, table: Path, parts: Sequence[str], ours: Mapping[str, Callable[[Path], bool]]
) -> dict[str, Path]:
    """The file of each suffix, TABLE-PART-PART.suffix; complaints about the folder come before the work, not after it.

    ``ours`` says of each suffix whether a file that is there was written by fallline: any other is not replaced.
    """
    from fallline.exceptions import OutputError
    from fallline.files import check_writable

    check_writable(folder)
    if str(table).encode(errors="replace").decode() != str(table):
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
        if path.exists() and not ours[suffix](path):
            raise OutputError(
                f"{path} exists and was not written by fallline: move it away, or choose another folder with --output."
            )
    return paths
