"""Files out: written whole or not at all.

Bytes land in a temporary file beside the target, which then takes the target's name in one step: whoever reads the
target sees the old file or the new one, never half of one.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fallline.exceptions import OutputError

_LONGEST_NAME = 100  # bytes of the name in that of its temporary file: file systems count bytes, 255 at most


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; take its place when the block ends well.

    If the block raises, whatever stood at ``path`` is untouched and the temporary file is gone.
    Raises OutputError, naming ``path`` and the reason, for every failure of the file system.
    """
    path = Path(path)
    short = os.fsencode(path.name)[:_LONGEST_NAME].decode(errors="ignore")  # whole letters
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder, but a file is to be written there: give a file name.")
        handle, name = tempfile.mkstemp(prefix=f".{short}.", suffix=".part", dir=path.parent)
    except OutputError:
        raise
    except OSError as problem:
        raise _sentence(path, problem) from problem
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; a result should be as readable as any file its user makes.
        temporary.chmod(_mode_of(path))
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # else a power cut can leave the new name on an empty file
        temporary.replace(path)
    except OSError as problem:
        if isinstance(problem, OutputError):
            raise
        raise _sentence(path, problem) from problem
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all. Raises OutputError, with the reason."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def holds(path: Path, mark: bytes, within: int = -1) -> bool:
    """Whether a file at ``path`` has this mark in its first bytes: what fallline wrote may be replaced by what it writes next."""
    try:
        with path.open("rb") as file:
            return mark in file.read(within)
    except OSError:
        return False


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sentence(path: Path, problem: OSError) -> OutputError:
    folder = path.parent
    locked = f"the folder {folder} does not allow it. Choose one you may write to."
    reasons = {
        "ENOENT": f"there is no folder {folder}. Make it first, or choose another.",
        "ENOTDIR": f"{folder} is not a folder. Choose a folder.",
        "EACCES": locked,
        "EPERM": locked,
        "EROFS": f"the folder {folder} is read-only. Choose one you may write to.",
        "ENOSPC": "the disk is full. Make room, or choose another disk.",
        "EDQUOT": "your disk quota is used up. Make room, or choose another disk.",
        "ENAMETOOLONG": "the name is too long. Choose a shorter one.",
    }
    name = errno.errorcode.get(problem.errno or 0, "")
    reason = reasons.get(name, f"{problem.strerror or problem}. Choose another place.")
    return OutputError(f"{path} cannot be written: {reason}")


def check_writable(folder: Path) -> None:
    """Make ``folder`` if it is missing. Raises OutputError, with the reason, if no file can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".fallline."):
            pass
    except OSError as problem:
        raise _sentence(folder / "model", problem) from problem
