"""The rows of a streamed table as numbers, block by block, for who sums over them at every pass.

Text takes long to read, and so do many columns of Parquet. So what it says is written down once as it is used, in a temporary
folder that is gone when the block that asked for it ends, Ctrl-C included; passes then read numbers alone.
"""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallline.table.columns import Columns
from fallline.table.encoding import Values
from fallline.table.sample import Sample
from fallline.table.stream import StreamedTable
from fallline.table.sums import check_there
from fallline.table.table import Block
from fallline.words import written

Which = Callable[[np.ndarray], np.ndarray]  # numbers of rows (b,), from 0 → (b,) bool: those that are meant
Encoded = tuple[np.ndarray, np.ndarray, None]  # x (b, inputs), y (b, outputs), and that each row counts once

_BLOCK_BYTES = 4 << 20  # of a block of what was written down
_SPARE = 0.9  # the share of the free disk that may be taken
_HELD = 0.5  # the share of the free memory up to which the system will hold what was written: from there on Parquet is as good


def complete_blocks(
    table: StreamedTable, targets: Sequence[str], which: Which | None = None, only: Sequence[str] = ()
) -> Iterator[tuple[Block, np.ndarray]]:
    """The blocks of a table without the rows that lack a target, or are not meant by ``which``, and the rows' numbers, from 1."""
    start = 0
    for block in table.blocks(only=only):
        check_there(targets, tuple(block), "target")
        kept = ~np.any([Values.of(block[name]).missing for name in targets], axis=0)
        numbers = np.arange(start, start + len(kept))
        start += len(kept)
        if which is not None:
            kept &= which(numbers)
        if kept.any():
            whole = bool(kept.all())
            yield block if whole else {name: values[kept] for name, values in block.items()}, numbers[kept] + 1


def columns_of(
    table: StreamedTable, targets: Sequence[str], which: Which | None = None, **asked: Sequence[str]
) -> Columns:
    """What becomes of the columns of a table, judged by the rows that have every target, or by ``which`` of them.

    ``asked`` is what ``Columns.fit`` takes: ``drop``, ``keep``, ``categories``. Raises what it raises.
    """
    check_there(targets, table.columns, "target")

    class Numbers:
        """The number in the table of a row that is judged by, for a sentence: found by one more pass."""

        def __getitem__(self, at: int) -> int:
            for _, numbers in complete_blocks(table, targets, which, only=targets):
                if at < len(numbers):
                    return int(numbers[at])
                at -= len(numbers)
            raise IndexError(at)

    blocks = (block for block, _ in complete_blocks(table, targets, which))
    numbers: Any = Numbers()
    return Columns.fit(blocks, targets, row_numbers=numbers, **asked)


@dataclasses.dataclass(eq=False)
class EncodedRows:
    """The rows of a table that have every target, or ``which`` of them, as ``columns`` encode them: the same at every pass.

    ``inputs`` and ``outputs`` are the numbers of a row.
    """

    table: StreamedTable
    columns: Columns
    which: Which | None = None
    spool: Path | None = None

    @property
    def inputs(self) -> int:
        """Encoded columns."""
        return len(self.columns.encoded_names)

    @property
    def outputs(self) -> int:
        """Targets."""
        return self.columns.outputs

    def blocks(self) -> Iterator[Encoded]:
        """x (b, inputs), y (b, outputs) and None for each block, in order. Raises TableError for what cannot be encoded."""
        for x, y, _ in self.numbered_blocks() if self.spool is None else self._spooled_blocks():
            yield x, y, None

    def numbered_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """As ``blocks``, read from the table, with the number (b,) of each row in it, from 1."""
        columns = self.columns
        needed = (*columns.targets, *columns.input_names)
        for block, numbers in complete_blocks(self.table, columns.targets, self.which, needed):
            y = columns.target_values(block)
            columns.must_be_finite(y, numbers, self.table.name)
            yield columns.encode(block, row_numbers=numbers), y, numbers

    def sample(self, most: int) -> tuple[np.ndarray, np.ndarray, int]:
        """x and y of at most so many of the rows, drawn at random, and how many rows there are."""
        drawn = Sample(self.inputs + self.outputs, most)
        for x, y, _ in self.blocks():
            drawn.add(x, y)
        return drawn.rows[:, : self.inputs].copy(), drawn.rows[:, self.inputs :].copy(), drawn.given

    def _spooled_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, None]]:
        width = self.inputs + self.outputs
        rows = max(_BLOCK_BYTES // (8 * width), 1)
        assert self.spool is not None
        with self.spool.open("rb", buffering=0) as file:
            while True:
                block = np.fromfile(file, np.float64, rows * width).reshape(-1, width)
                if not len(block):
                    return
                yield block[:, : self.inputs], block[:, self.inputs :], None


@contextlib.contextmanager
def written_down(*rows: EncodedRows, told: Callable[[str], object] = lambda sentence: None) -> Iterator[None]:
    """Hold these rows of one table as numbers on disk while the block lasts, where that is sooner read than the table.

    That is so of text, and of Parquet as long as the system can hold the numbers in memory that nobody else needs. ``told``
    hears where they are and how large. Without room on the disk the table is read at every pass.
    """
    table, width = rows[0].table, rows[0].inputs + rows[0].outputs
    known = 8 * width * table.rows if table.rows is not None else 0
    with tempfile.TemporaryDirectory(prefix="fallline-", ignore_cleanup_errors=True) as folder:
        free = shutil.disk_usage(folder).free
        if known > _SPARE * free or not (table.is_text or known <= _HELD * memory_available()):
            yield
            return
        written_bytes = _write(rows, Path(folder), _SPARE * free)
        if written_bytes is None:
            told(
                f"There is no room for the numbers of {table.name} in {folder}: the files are read at every pass, which is slow."
            )
            yield
            return
        told(
            f"The numbers of {table.name} lie in {folder} until the end ({written(written_bytes / 1e6)} MB): they are sooner "
            "read than the files."
        )
        try:
            yield
        finally:
            for each in rows:
                each.spool = None


def _write(rows: tuple[EncodedRows, ...], folder: Path, most: float) -> int | None:
    """Write each of the rows to a file in one pass over their table; how many bytes, None where there is no room."""
    whole = dataclasses.replace(rows[0], which=None, spool=None)
    places, size = [folder / str(i) for i in range(len(rows))], 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(place.open("wb")) for place in places]
        for x, y, numbers in whole.numbered_blocks():
            block = np.column_stack([x, y])
            size += block.nbytes
            if size > most:
                return None
            for each, file in zip(rows, files, strict=True):
                part = block if each.which is None else block[each.which(numbers - 1)]
                try:
                    file.write(part.data)
                except OSError:
                    return None
    for each, place in zip(rows, places, strict=True):
        each.spool = place
    return size


def memory_available() -> int:
    """Bytes of memory that a process may still take: what the system has, within the limits of its control group."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(min(found, default=4 << 30), 0)
