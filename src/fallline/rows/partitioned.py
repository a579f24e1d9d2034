"""Tables in partitions on a Dask cluster: what ``table/stream.py`` is for files on this machine's disk.

Columns are judged here, by partitions that are brought one after the other; the rows are turned into numbers where they are, and
stay there. What is predicted is a collection of Dask again, made when somebody asks for it.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fallline.exceptions import SettingsError, TableError
from fallline.rows.cluster import Partitions, client_at_hand, in_sentences
from fallline.table.columns import Block, Columns
from fallline.table.encoded import EncodedRows
from fallline.table.frames import table_from_frame
from fallline.table.stream import StreamedTable
from fallline.table.table import Table

_AHEAD = 2  # partitions of each worker that are made before they are asked for


@dataclass(eq=False)
class PartitionedTable:
    """A table whose partitions are Dask's: ``parts`` are ``Delayed``, of a data frame or a ``Table`` each."""

    name: str
    columns: tuple[str, ...]
    parts: Sequence[Any]

    @classmethod
    def of_frame(cls, frame: Any) -> "PartitionedTable":
        """A Dask data frame."""
        return cls("data frame", tuple(map(str, frame.columns)), frame.to_delayed())

    def blocks(self, size: int = 65536, only: Sequence[str] = ()) -> Iterator[Block]:
        """The rows in order, at most ``size`` at a time, of all columns or ``only`` some: brought here by partitions."""
        import dask

        client, waiting = client_at_hand(), deque[Any]()
        made = map(dask.delayed(_table_of), self.parts, [tuple(only)] * len(self.parts), [self.name] * len(self.parts))
        with in_sentences(client):
            ahead = _AHEAD * max(len(client.nthreads()), 1)
            for part in made:
                waiting.append(client.compute(part))
                if len(waiting) > ahead:
                    yield from waiting.popleft().result().blocks(size)
            while waiting:
                yield from waiting.popleft().result().blocks(size)

    def encoded(self, columns: Columns) -> Partitions:
        """The rows that have every target, as numbers."""
        import dask

        needed = (*columns.targets, *columns.input_names)
        encode, given = dask.delayed(_encoded, pure=True), dask.delayed(columns, pure=False)
        parts = [encode(part, given, needed, f"partition {i} of the {self.name}") for i, part in enumerate(self.parts)]
        return Partitions(parts, len(columns.encoded_names), columns.outputs)


def partitions_of_files(rows: EncodedRows) -> Partitions:
    """The rows of a table on disk, read by the workers of the cluster at hand: each file a partition, a single one cut.

    A single file is read as a whole by each task that takes a part of it. Raises TableError where a worker does not see a file.
    """
    import dask

    client, whole = client_at_hand(), dask.delayed(dataclasses.replace(rows, spool=None), pure=False)
    table = rows.table
    with in_sentences(client):
        if len(table.files) > 1:
            tables = [table.only(path) for path in table.files]
            starts = np.cumsum([0, *client.gather(client.map(_rows_in, tables, pure=False))]).tolist()
            places: list[Any] = [(*each, None) for each in zip(table.files, starts, strict=False)]
        else:
            (path,) = table.files
            count = table.rows if table.rows is not None else client.submit(_rows_in, table, pure=False).result()
            cuts = np.linspace(0, count, _AHEAD * max(len(client.nthreads()), 1) + 1).astype(int).tolist()
            places = [(path, 0, range(*cut)) for cut in itertools.pairwise(cuts)]
    read = dask.delayed(_read, pure=False)
    return Partitions([read(whole, *place) for place in places], rows.inputs, rows.outputs)


def is_dask(given: Any) -> bool:
    """Whether it is a collection of Dask; nothing of Dask is imported to see that."""
    return type(given).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(given, "__dask_graph__")


def is_frame(given: Any) -> bool:
    """Whether a collection of Dask is a data frame."""
    return hasattr(given, "columns") and hasattr(given, "to_delayed")


def lazily(
    call: Callable[[Any], Sequence[np.ndarray]], collection: Any, shapes: Sequence[tuple[int, ...]]
) -> list[Any]:
    """What ``call`` says of each partition of a Dask array (n, d) or data frame: Dask arrays (n, …), made when asked for.

    It gives as many arrays of a row's ``shapes``.
    """
    import dask
    import dask.array as da

    if is_frame(collection):
        parts, sizes = collection.to_delayed(), [np.nan] * collection.npartitions
    else:
        collection = collection.rechunk({1: -1})
        parts, sizes = collection.to_delayed().ravel(), collection.chunks[0]
    said = [dask.delayed(call, pure=False, traverse=False)(part) for part in parts]
    return [
        da.concatenate([
            da.from_delayed(each[j], (size, *shape), np.float64) for each, size in zip(said, sizes, strict=True)
        ], allow_unknown_chunksizes=True)
        for j, shape in enumerate(shapes)
    ]  # fmt: skip


def check_collections(X: Any, y: Any, sample_weight: Any, target: Any) -> None:
    """Raise SettingsError where what is given for a fit on a cluster does not go together."""
    if is_frame(X):
        if y is not None or sample_weight is not None or not target:
            raise SettingsError(
                "a Dask data frame holds the target itself: name its column in target=…, and leave out y and sample_weight."
            )
    elif target is not None:
        raise SettingsError("a Dask array has no columns with names to be a target: give y as a Dask array of its own.")
    elif not is_dask(y) or not (sample_weight is None or is_dask(sample_weight)):
        raise SettingsError(
            "X is a Dask array, and y or sample_weight is not: give Dask arrays cut into the same rows, "
            "dask.array.from_array(y, chunks=X.chunks[0])."
        )


# What runs on the workers.


def table_of_part(part: Any, name: str) -> Table:
    """A partition as a ``Table``, which may have no rows."""
    if isinstance(part, Table):
        return part
    if len(part) == 0:
        return Table(name, {str(column): np.empty(0) for column in part.columns})
    return table_from_frame(part, name)


def _table_of(part: Any, only: tuple[str, ...], name: str) -> Table:
    table = table_of_part(part, name)
    return Table(name, {column: values for column, values in table.columns.items() if not only or column in only})


@dataclass(eq=False)
class _Here:
    """A partition as ``EncodedRows`` reads a table."""

    table: Table

    @property
    def name(self) -> str:
        return self.table.name

    def blocks(self, only: Sequence[str] = ()) -> Iterator[Block]:
        return self.table.blocks()


def _encoded(part: Any, columns: Columns, needed: tuple[str, ...], name: str) -> tuple[np.ndarray, np.ndarray, None]:
    here: Any = _Here(_table_of(part, needed, name))
    return _joined(EncodedRows(here, columns))


def _joined(rows: EncodedRows) -> tuple[np.ndarray, np.ndarray, None]:
    blocks = [(x, y) for x, y, _ in rows.blocks()] or [(np.empty((0, rows.inputs)), np.empty((0, rows.outputs)))]
    x, y = zip(*blocks, strict=True)
    return np.concatenate(x), np.concatenate(y), None


def _rows_in(table: StreamedTable) -> int:
    """How many rows a table on disk has."""
    _must_see(table)
    return table.count()


def _read(
    rows: EncodedRows, path: Path, start: int, only: range | None
) -> tuple[np.ndarray, np.ndarray, None]:  # fmt: skip
    """The rows of a file, the first of which is row ``start`` of the table, or some of them, as numbers."""

    def which(numbers: np.ndarray) -> np.ndarray:
        numbers = numbers + start
        meant = np.ones(len(numbers), bool) if rows.which is None else rows.which(numbers)
        return meant if only is None else meant & (numbers >= only.start) & (numbers < only.stop)

    table = rows.table.only(path)
    _must_see(table)
    return _joined(dataclasses.replace(rows, table=table, which=which))


def _must_see(table: StreamedTable) -> None:
    """Raise TableError where a file is not to be seen by a worker."""
    import distributed

    for path in table.files:
        if not path.exists():
            raise TableError(
                f"the worker {distributed.get_worker().address} does not see {path}: put the table where all workers find it "
                "under the same name."
            )
