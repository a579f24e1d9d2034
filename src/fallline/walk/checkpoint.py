"""A folder in which the walks of a fit are kept, so that the same fit goes on where it was, bit by bit.

A fit is deterministic, so its memory is that of its walks: of one that has ended the path, of one under way where it stands.
Which walk it is, a digest of all that determines it says. Whoever comes again asks for the same walks and is given what is known
of them: starts, folds and widths need to know nothing of it. What is read is arrays and numbers (``tree.py``), checked before it
is used; what is damaged is walked anew.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fallline import __version__
from fallline.descent import (
    Descent,
    Stop,
    adam,
    automatic,
    batches,
    damped,
    gradient,
    lbfgs,
    penalty,
    rate,
    rprop,
    words_of,
)
from fallline.descent import levenberg_marquardt as marquardt
from fallline.error import sums
from fallline.exceptions import CheckpointError, DescentWarning, OutputError
from fallline.files import atomic_write, check_writable, locked
from fallline.identity import digest
from fallline.model.network import Network
from fallline.threads import Interrupts, stopping
from fallline.walk import recorder
from fallline.walk.tree import alike, classes_of, packed, unpacked

# A walk is written so often, and less often where that takes long: a hundredth of the time at most.
_SECONDS, _SHARE = 15.0, 0.01
_HEADER, _WALK, _LOCK = "checkpoint.json", ".walk", ".lock"
_MARK, _MOST_HEADER = "fallline checkpoint 1", 1 << 20
_LONGEST = 100  # letters of a setting in a sentence
_CLASSES = classes_of(
    (adam, automatic, batches, damped, gradient, lbfgs, marquardt, penalty, rate, rprop, sums, recorder)
)
CUT_SHORT = (Stop.INTERRUPTED, Stop.ASKED, Stop.TIME)

Say = Callable[[str], Any]


def _warn(words: str) -> None:
    warnings.warn(words, DescentWarning, stacklevel=2)


class Checkpoint:
    """The open folder of one fit; no other process has it at the same time.

    about: what determines the fit, {name: words}, held against what is written there. drawn: a number that was drawn for this fit
    alone, such as a seed that nobody gave; afterwards that of the fit that goes on here. say: is told, in a sentence, what is
    damaged, and once that nothing can be written. ``whole``: whether the fit ended by itself; then the folder is emptied of
    what fallline wrote, and so it is where a fit ended in an error before any walk was kept. Raises CheckpointError for the
    folder of another fit, process or program, OutputError for one that cannot be written.
    """

    def __init__(
        self, folder: Path | str, about: Mapping[str, str], drawn: int | None = None, say: Say = _warn
    ) -> None:
        self.folder, self.drawn, self.whole, self.say = Path(folder), drawn, True, say
        self._ended: dict[str, Any] = {}  # walks that are still to be written
        self._flush_at, self._failed, self._guard = time.perf_counter() + _SECONDS, False, threading.Lock()
        about = {"fallline": f"version {__version__}", **about}
        self._check_folder()
        check_writable(self.folder)
        lock = locked(self.folder / _LOCK)
        if lock is None:
            raise CheckpointError(
                f"another process is at work in the checkpoint folder {self.folder}: wait until it has ended, or give each fit "
                "a folder of its own."
            )
        self._lock = lock
        try:
            self._open(about)
        except BaseException:
            self._release()
            raise

    def _check_folder(self) -> None:
        """Raises CheckpointError where the folder is a file, or holds what fallline did not write."""
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError(f"{self.folder} is a file, but a checkpoint is a folder: give another name.")
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        foreign = [name for name in names if not name.startswith(".") and not name.endswith(_WALK)]
        if foreign and _HEADER not in names:
            raise CheckpointError(
                f"the folder {self.folder} holds files that are no checkpoint ({foreign[0]}): give an empty folder, or a new one."
            )

    def _open(self, about: Mapping[str, str]) -> None:
        path = self.folder / _HEADER
        otherwise = f"give another folder, or delete {self.folder} to begin anew"
        if not (path.exists() and any(self.folder.glob(f"*{_WALK}"))):  # there is nothing to go on from
            said = {"mark": _MARK, "about": dict(about), "drawn": self.drawn}
            atomic_write(path, json.dumps(said, indent=1).encode())
            return
        try:
            with path.open("rb") as file:
                said = json.loads(file.read(_MOST_HEADER))
            mark, before, drawn = said["mark"], dict(said["about"]), said["drawn"]
            if mark != _MARK or not all(isinstance(each, str) for each in before.values()):
                raise ValueError(mark)
            self.drawn = None if drawn is None else int(drawn)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise CheckpointError(f"the checkpoint in {self.folder} cannot be read ({_HEADER}): {otherwise}.") from None
        changed = [name for name in {**before, **about} if before.get(name) != about.get(name)]
        if changed:
            told = "; ".join(
                f"{name} was {before.get(name, 'none')}, now {about.get(name, 'none')}" for name in changed
            )
            raise CheckpointError(
                f"the checkpoint in {self.folder} is that of another fit ({told}): do the same again to go on with that, "
                f"{otherwise}."
            )

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.whole = self.whole and kind is None
        if not self.whole:
            self.flush(now=True)
        if self.whole or not any(self.folder.glob(f"*{_WALK}")):
            self._clear()
        self._release()

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            (self.folder / _LOCK).unlink()
        os.close(self._lock)

    def _clear(self) -> None:
        """Take away what fallline wrote; the header last, by which the rest is known."""
        ours = (f"*{_WALK}", f".*{_WALK}.*.part", f".{_HEADER}.*.part", _HEADER)
        for path in (path for pattern in ours for path in self.folder.glob(pattern)):
            with contextlib.suppress(OSError):
                path.unlink()

    def walk(self, *determines: Any, descent: Descent) -> "KeptWalk":
        """What is kept of the walk that these things determine, all of them."""
        return KeptWalk(self, digest(*determines), descent)

    def ended(self, stop: Stop) -> None:
        """Say why the fit ended: one that was cut short stays in the folder."""
        self.whole = self.whole and stop not in CUT_SHORT

    def write(self, key: str, tree: Any, classes: Mapping[str, type], *, synced: bool = True) -> None:
        """Write what is kept of a walk. Where that cannot be done it is said once, and what was written before stays."""
        try:
            atomic_write(self.folder / f"{key}{_WALK}", packed(tree, classes), synced=synced)
        except OutputError as problem:
            if not self._failed:
                self._failed = True
                self.say(f"The checkpoint stays as it was last written, and the fit goes on: {problem}")

    def read(self, key: str, classes: Mapping[str, type]) -> Any:
        """What is kept of a walk, None where that is nothing, or nothing whole."""
        path = self.folder / f"{key}{_WALK}"
        if not path.is_file():
            return None
        try:
            return unpacked(path.read_bytes(), classes)
        except (OSError, CheckpointError):
            self.damaged(key)
            return None

    def damaged(self, key: str) -> None:
        """Say that a file is of no use."""
        self.say(f"{key}{_WALK} in the checkpoint folder {self.folder} is damaged: that part of the fit begins anew.")

    def keep_ended(self, key: str, tree: Any) -> None:
        """A walk has ended: it is written soon."""
        with self._guard:
            self._ended[key] = tree
        self.flush()

    def flush(self, now: bool = False) -> None:
        """Write the walks that have ended, if it is time."""
        began = time.perf_counter()
        with self._guard:
            if not now and began < self._flush_at:
                return
            self._flush_at = float("inf")
            ended, self._ended = self._ended, {}
        for left, (key, tree) in enumerate(ended.items(), 1 - len(ended)):
            # To wait for the disk takes longer than a short walk; the last file takes the others along, on most systems.
            self.write(key, tree, _CLASSES, synced=not left)
        self._flush_at = next_time(began)


def next_time(began: float) -> float:
    """When the next writing is due, after one that began then and is over."""
    now = time.perf_counter()
    return now + max(_SECONDS, (now - began) / _SHARE)


class KeptWalk:
    """One walk in a checkpoint: ``path``, the fields of its path, where it has ended; ``state``, where it stands; or neither."""

    def __init__(self, checkpoint: Checkpoint, key: str, descent: Descent) -> None:
        self._checkpoint, self._key = checkpoint, key
        modules = {each.__module__ for each in type(descent).__mro__} - {"builtins"}
        self._classes = _CLASSES | classes_of(sys.modules[name] for name in modules)
        self._tried = all(name.startswith("fallline.") for name in modules)
        found = checkpoint.read(key, self._classes)
        found = found if isinstance(found, dict) else {}
        self.path, self.state = found.get("ended"), found.get("under way")
        self._next = time.perf_counter() + _SECONDS

    def state_like(self, fresh: Mapping[str, Any]) -> Any:
        """The state, where it may take the place of a fresh one; None where there is none.

        Raises CheckpointError for a descent whose state cannot be kept.
        """
        if not self._tried:
            packed(fresh, self._classes)
        if self.state is None or fresh["walker"] is None:
            return None
        parts = {name: self.state.get(name) for name in fresh} if isinstance(self.state, dict) else {}
        if parts and all(alike(fresh[name], part, grown=name == "recorder") for name, part in parts.items()):
            return parts
        self._checkpoint.damaged(self._key)
        return None

    def keep(self, tree: Callable[[], Mapping[str, Any]], now: bool) -> None:
        """Write where the walk stands, if it is time or has to be ``now``."""
        began = time.perf_counter()
        if not now and began < self._next:
            return
        held = tree()
        if held["walker"] is not None:
            self._checkpoint.write(self._key, {"under way": dict(held)}, self._classes)
        self._checkpoint.flush()
        self._next = next_time(began)

    def end(self, fields: Mapping[str, Any]) -> None:
        """The walk has ended: this is its path."""
        self._checkpoint.keep_ended(self._key, {"ended": dict(fields)})

    def damaged(self) -> None:
        """Say that what was read is of no use."""
        self._checkpoint.damaged(self._key)


def words(value: Any) -> str:
    """A setting in words short enough for a sentence, and another one wherever it is another setting."""
    said = words_of(value) if isinstance(value, Descent) else str(value)
    plain = value is None or isinstance(value, (bool, int, float, str, tuple, Descent, Network))
    if plain and len(said) < _LONGEST and not any(mark in said for mark in ("…", " at 0x")):
        return said
    return f"{type(value).__name__} ({digest(value)[:8]})"


@contextlib.contextmanager
def opened(
    given: Checkpoint | Path | str | None,
    about: Callable[[], Mapping[str, Any]],
    *,
    drawn: int | None = None,
    say: Say = _warn,
    interrupts: Interrupts | None = None,
) -> Iterator[Checkpoint | None]:
    """The checkpoint in a folder, or the open one itself; None for None. ``about``: {name: setting}, as ``Checkpoint`` has it.

    Within the block Ctrl-C and SIGTERM are heard at the next step of a walk, which is kept first; after SIGTERM the process ends
    as it would have, unless ``interrupts`` are given, whose owner sees to it.
    """
    if given is None or isinstance(given, Checkpoint):
        yield given
        return
    told = {name: words(value) for name, value in about().items()}
    with Checkpoint(given, told, drawn, say) as checkpoint:
        if interrupts is not None:
            interrupts.hear_term()
            yield checkpoint
            return
        own = Interrupts()
        try:
            with own:
                own.hear_term()
                own.ask()
                yield checkpoint
                if stopping():
                    raise KeyboardInterrupt
        finally:
            if own.terminated:
                checkpoint.whole = False
                checkpoint.flush(now=True)
                signal.raise_signal(signal.SIGTERM)
