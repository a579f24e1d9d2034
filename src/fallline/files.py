"""Files out: written whole or not at all.

Bytes land in a temporary file beside the target, which then takes the target's name in one step: whoever reads the
target sees the old file or the new one, never half of one.
"""

import contextlib
import errno
import glob
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fallline.exceptions import OutputError

try:
    import fcntl
except ImportError:  # Windows, where nothing is known of a dead process
    fcntl = None  # type: ignore[assignment]

_JUST_MADE = 2.0  # seconds: a temporary file so young may not be locked yet
_LONGEST_NAME = 100  # bytes of the name in that of its temporary file: file systems count bytes, 255 at most


@contextlib.contextmanager
def replacing(path: Path | str, *, synced: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; take its place when the block ends well.

    If the block raises, whatever stood at ``path`` is untouched and the temporary file is gone. One that a process left
    behind which was killed is gone as well, once another writes there: until then it holds a lock that ends with it.
    Unless ``synced``, a power cut in the next seconds may leave an empty file: for what is found damaged, and made again.
    Raises OutputError, naming ``path`` and the reason, for every failure of the file system, and for a pipe or a device.
    """
    path = Path(path)
    short = os.fsencode(path.name)[:_LONGEST_NAME].decode(errors="ignore")  # whole letters
    try:
        check_file(path)
        _sweep(path.parent, short)
        handle, name = tempfile.mkstemp(prefix=f".{short}.", suffix=".part", dir=path.parent)
    except OutputError:
        raise
    except OSError as problem:
        raise _sentence(path, problem) from problem
    _lock(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; a result should be as readable as any file its user makes.
        temporary.chmod(_mode_of(path))
        if synced:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # else a power cut can leave the new name on an empty file
        temporary.replace(path)
    except OSError as problem:
        if isinstance(problem, OutputError):
            raise
        raise _sentence(path, problem) from problem
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed, or its process ends; whether nobody else had."""
    if fcntl is None:
        return False
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def locked(path: Path) -> int | None:
    """An open file at ``path``, made if it is missing, that nobody else can open so until it is closed or its process ends.

    None where another has it. Where the file system knows no locks, nobody else is noticed. Raises OutputError, with the reason.
    """
    try:
        if fcntl is None:
            with contextlib.suppress(FileExistsError, PermissionError):
                return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY)
            return None
        while True:
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            except OSError:
                return handle
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
            os.close(handle)  # whoever had it has taken it away in between
    except OSError as problem:
        raise _sentence(path, problem) from problem


def _sweep(folder: Path, short: str) -> None:
    """Take away the temporary files of this name that no living process holds."""
    for left in folder.glob(f".{glob.escape(short)}.*.part"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            if time.time() - left.stat().st_mtime > _JUST_MADE and _lock(file.fileno()):
                left.unlink()


def check_file(path: Path) -> None:
    """Raise OutputError where a folder, a pipe or a device stands at ``path``: what is written there takes its place."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder, but a file is to be written there: give a file name.")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a pipe or a device, but a file is to be written there: give another name.")


def check_ours(path: Path, is_ours: Callable[[Path], bool], otherwise: str) -> None:
    """Raise OutputError where at ``path`` stands what fallline did not write; ``otherwise`` says what else to choose."""
    check_file(path)
    if path.exists() and not is_ours(path):
        raise OutputError(f"{path} exists and was not written by fallline: move it away, {otherwise}.")


def atomic_write(path: Path | str, content: bytes, *, synced: bool = True) -> None:
    """Write ``content`` to ``path``, whole or not at all, as ``replacing`` has it. Raises OutputError, with the reason."""
    with replacing(path, synced=synced) as temporary:
        temporary.write_bytes(content)


def holds(path: Path, mark: bytes, within: int = -1) -> bool:
    """Whether a file at ``path`` has this mark in its first bytes: what fallline wrote may be replaced by what it writes next."""
    try:
        if not path.is_file():  # to open a pipe would wait for whoever writes to it
            return False
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
