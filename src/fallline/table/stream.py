"""Tables that need not fit in memory: read from disk part by part, as often as somebody asks.

How a text is written is decided by its first rows, and the rows below are read like them. What turns out to be otherwise is
counted and quoted; where that shows the reading to be wrong, a sentence ends it. What is done with the rows is not known here.
"""

import contextlib
import copy
import dataclasses
import functools
import glob
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fallline.exceptions import TableError
from fallline.table import dates
from fallline.table.cells import FEW, LEADING_ZERO, ONE_MARK, Hints, Typed
from fallline.table.content import PARQUET, Source, beginning_of, is_json, pieces
from fallline.table.database import asked, batches, database, identifier, kinds_of, quoted, seems_pattern
from fallline.table.dialect import Dialect
from fallline.table.forms import clothes
from fallline.table.layout import Layout
from fallline.table.read import as_lines, as_read, dialects_of, must_be_a_file, not_parquet, with_most
from fallline.table.separated import laid_out, read_rows
from fallline.table.stores import SHEETS, address_of
from fallline.table.table import Block, Table
from fallline.words import counted, listed, shortened

_PIECE = 8 << 20  # bytes of text read at a time
_WITH_TEXT = 1 << 14  # rows of Parquet given at a time where they are wanted as text, too
_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".dat")
_MANY = 50  # different odd cells of a column
# What a fit holds of a table, for each byte of its text and of its numbers, and what a gzipped text unpacks to (measured).
_OF_TEXT, _OF_NUMBERS, _UNPACKED = 6.0, 6.0, 5.0


class StreamedTable:
    """A table on disk: what it is called, what its columns are, and its rows in parts, read anew at every pass.

    ``columns`` are their names. ``notes``, ``remarks``, ``doubts`` and ``reading`` are as of ``Table``, and grow while the rows
    are read. ``rows`` is their number, None where that is not known before the first whole pass over a text.
    """

    def __init__(self, name: str, paths: Sequence[Path], asked: Dialect, like: Mapping[str, Any] | None) -> None:
        self.name, self._stats = name, {path: _stat(path) for path in paths}
        self.rows: int | None = None
        self.notes: dict[str, str] = {}
        self.remarks: tuple[str, ...] = ()
        self.doubts: tuple[str, ...] = ()
        self.reading: dict[str, Any] = {"columns": {}, "dialect": {}}
        (first, whole), *others = (beginning_of(path, _PIECE) for path in paths)
        self.kind = first.kind
        if first.kind == "json":
            raise TableError(
                f"{first.path.name} is JSON, which is read only where it fits in memory: write it as Parquet or CSV."
            )
        for other, _ in others:
            if other.kind != first.kind:
                raise TableError(
                    f"{first.path.name} and {other.path.name} are files of different kinds: give files of one kind, all Parquet "
                    "or all CSV."
                )
        if self.kind == "parquet":
            self._look_at_parquet()
        else:
            self._look_at_texts(first, whole, [other for other, _ in others], asked, like)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order in which they are read."""
        return tuple(self._stats)

    def only(self, path: Path) -> "StreamedTable":
        """One of the files, as a table of its own."""
        alone = copy.copy(self)
        alone.name, alone._stats, alone.rows = path.name, {path: self._stats[path]}, None
        return alone

    @property
    def is_text(self) -> bool:
        """Whether it is text, which takes longer to read than to compute with."""
        return self.kind != "parquet"

    @property
    def bytes(self) -> int:
        """The size of the files."""
        return sum(size for size, _ in self._stats.values())

    def __repr__(self) -> str:
        rows = "rows not counted yet" if self.rows is None else counted(self.rows, "row")
        return f"<{self.name}: {counted(len(self.columns), 'column')}, {rows}, read from disk at every pass>"

    def blocks(self, size: int = 65536, only: Sequence[str] = ()) -> Iterator[Block]:
        """The rows in order, at most ``size`` at a time, as ``Table.blocks`` gives them: the same blocks at every pass.

        ``only``: of these columns, which is sooner read where files are Parquet. Raises TableError where a file has changed since
        it was opened, is damaged, or shows that it was misread.
        """
        for part in self.parts(only=only):
            yield from part.blocks(size)

    def count(self) -> int:
        """How many rows there are: by a pass over the first column where that is not known."""
        return sum(part.rows for part in self.parts(only=self.columns[:1])) if self.rows is None else self.rows

    def read(self) -> Table:
        """All of it in memory, as ``read_table`` reads a file, but for the text of the rows."""
        parts = list(self.parts())
        columns = {name: _joined([part.columns[name] for part in parts]) for name in self.columns}
        return Table(self.name, columns, dict(self.notes), self.remarks, self.doubts, self.reading)

    def parts(self, texts: bool = False, only: Sequence[str] = ()) -> Iterator[Table]:
        """The rows in order, as tables that fit in memory; with the ``texts`` of the rows of a Parquet file, too."""
        rows, wanted = 0, set(only or self.columns)
        for part in self._parquet_parts(texts, wanted) if self.kind == "parquet" else self._text_parts(wanted):
            rows += part.rows
            yield part
        self.rows = rows
        if rows == 0:
            raise TableError(f"{self.name} has no rows: at least two rows of values are needed.")

    # Parquet

    def _look_at_parquet(self) -> None:
        first: dict[str, str] = {}
        with self._parquet_files() as relations:
            for path, relation in relations:
                found = kinds_of(relation, path.name)
                first = first or found
                _must_agree(self.files[0], first, path, found)
        self.columns = tuple(first)
        with self._database() as (connection, places):
            self.rows = _rows_in(connection, places.values())

    @contextlib.contextmanager
    def _database(self) -> Iterator[tuple[Any, dict[Path, str]]]:
        """A database that may read the files, and their places in SQL."""
        with contextlib.ExitStack() as stack:
            places = {path: path.resolve() for path in self.files}
            if odd := [path for path, place in places.items() if seems_pattern(place)]:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fallline-"))).resolve()
                for i, path in enumerate(odd):
                    (folder / str(i)).symlink_to(places[path])
                    places[path] = folder / str(i)
            connection = stack.enter_context(database(*places.values()))
            yield connection, {path: quoted(str(place)) for path, place in places.items()}

    @contextlib.contextmanager
    def _parquet_files(self) -> Iterator[Iterator[tuple[Path, Any]]]:
        import duckdb

        with self._database() as (connection, places):

            def each() -> Iterator[tuple[Path, Any]]:
                for path, place in places.items():
                    self._must_be_unchanged(path)
                    try:
                        relation = connection.sql(f"select * from read_parquet({place}, hive_partitioning=false)")
                    except duckdb.Error as problem:
                        raise self._damaged(path) from problem
                    yield path, relation

            yield each()

    def _parquet_parts(self, texts: bool, wanted: Collection[str]) -> Iterator[Table]:
        import duckdb

        with self._parquet_files() as relations:
            for path, relation in relations:
                given = dict(zip(kinds_of(relation, path.name), relation.columns, strict=True))
                order = ", ".join(identifier(given[name]) for name in self.columns if name in wanted)
                try:
                    for columns, cells in batches(relation.project(order), path.name, texts):
                        if not texts:
                            yield Table(self.name, columns, reading=self.reading)
                            continue
                        for at in range(0, len(cells[0]), _WITH_TEXT):
                            few = slice(at, at + _WITH_TEXT)
                            text = as_lines(self.columns, functools.partial(_turned, [each[few] for each in cells]))
                            here = {name: values[few] for name, values in columns.items()}
                            yield Table(self.name, here, text=text, reading=self.reading)
                except (duckdb.Error, RuntimeError, OSError) as problem:
                    if "interrupted" in str(problem):
                        raise
                    self._must_be_unchanged(path)
                    raise self._damaged(path) from problem
                self._must_be_unchanged(path)

    def _damaged(self, path: Path) -> TableError:
        with path.open("rb") as file:
            return not_parquet(Source(path, "parquet", file.read(4)))

    # Text

    def _look_at_texts(
        self, first: Source, whole: bool, others: Sequence[Source], asked: Dialect, like: Mapping[str, Any] | None
    ) -> None:
        alike, columns_then = as_read(like)

        def read(dialect: Dialect) -> Table:
            layout = laid_out(first, dialect)
            hints = Hints(dialect, layout.separator, like=columns_then)
            found, text, remarks = read_rows(first, layout, hints, last=whole)
            return Table(first.path.name, found.columns, found.notes, tuple(remarks), found.doubts, found.spelled, text)

        self._layouts: dict[Path, Layout] = {}
        tries = [(dialect, functools.partial(read, dialect)) for dialect in dialects_of(asked, alike)]
        self._dialect, table = with_most(columns_then, tries)
        self._layouts[first.path] = laid_out(first, self._dialect)
        self.columns = tuple(table.columns)
        self.notes, self.remarks, self.doubts = dict(table.notes), table.remarks, table.doubts
        said = {name: value for name, value in dataclasses.asdict(self._dialect).items() if value not in (None, ())}
        # A column without a value has no form yet: the first that is found decides.
        self._unknown = {name for name, values in table.columns.items() if _is_empty(values)}
        self.reading = {"columns": dict(table.reading), "dialect": said}
        for other in others:
            layout = self._layouts[other.path] = laid_out(other, self._dialect)
            head = self._layouts[first.path]
            _must_agree(
                first.path, dict.fromkeys(head.names or ()), other.path, dict.fromkeys(layout.names or ()), ordered=True
            )
            if (layout.separator, layout.width) != (head.separator, head.width):
                raise TableError(
                    f"{other.path.name} and {first.path.name} part their fields in different ways: write all files alike, or "
                    "say how they are written with --delimiter, --skip or --header."
                )

    def _text_parts(self, wanted: Collection[str]) -> Iterator[Table]:
        odd: dict[str, Counter[str]] = {}
        start = 0
        for path in self.files:
            self._must_be_unchanged(path)
            layout = self._layouts[path]
            found = pieces(path, _PIECE)
            piece = next(found, None)
            while piece is not None:
                following = next(found, None)
                source = Source(path, "text", piece[: 1 << 18], piece)
                like = {name: how for name, how in self.reading["columns"].items() if name not in self._unknown}
                hints = Hints(self._dialect, layout.separator, like=like, firm=True)
                if piece.strip():
                    read, text, said = read_rows(source, layout, hints, last=following is None)
                    columns = {name: values for name, values in read.columns.items() if name in wanted}
                    part = Table(self.name, columns, text=text, reading=self.reading)
                    if part.rows:
                        start += part.rows
                        self._take_note(read, said, odd, start)
                        yield part
                layout = dataclasses.replace(
                    layout,
                    start=0,
                    header=0,
                    beside=True,
                    above=layout.above + piece.count(b"\n"),
                    notes={},
                    remarks=[],
                    doubts=[],
                )
                piece = following
            self._must_be_unchanged(path)

    def _take_note(self, read: Typed, said: Sequence[str], odd: dict[str, Counter[str]], rows: int) -> None:
        """Take in what a part shows of how it is written; ``rows``: how many there were so far, it included."""
        for name, values in read.columns.items():
            if name in self._unknown and not _is_empty(values):
                self._unknown.discard(name)
                self.reading["columns"][name] = read.spelled[name]
        for name, cells in read.odd.items():
            counts = odd.setdefault(name, Counter())
            counts.update(dict(cells))
            self._judge_odd(name, counts, rows)
            shown = listed((f"'{shortened(text)}'" for text, _ in counts.most_common(3)), 3)
            self.notes[name] = f"{counted(counts.total(), 'cell')} that could not be read so taken as missing: {shown}"
        self.remarks = tuple(dict.fromkeys([*self.remarks, *said]))
        self.doubts = tuple(dict.fromkeys([*self.doubts, *(doubt for doubt in read.doubts if "--decimal" in doubt)]))

    def _judge_odd(self, name: str, counts: Counter[str], rows: int) -> None:
        """Raise TableError where cells that do not fit show that a column was misread, or are too many to be slips."""
        what = _SPELLED.get(str(self.reading["columns"][name].get("as")), "values")
        meant = next((text for text in counts if _is_value(text)), None)
        text = meant or counts.most_common(1)[0][0]
        signs = all(not any(letter.isalnum() for letter in cell) for cell in counts)
        share = 0.5 if signs and len(counts) < 3 else ONE_MARK if len(counts) == 1 else FEW
        if meant is None and len(counts) < _MANY and counts.total() <= max(1, share * rows):
            return
        many = counts.total() if meant is None else counts[meant]
        raise TableError(
            f"The first rows of {self.name} hold {what} in `{name}`, but among the first {rows:,} rows {counted(many, 'cell')} "
            f"{'does' if many == 1 else 'do'} not go with that, such as '{shortened(text)}': write the column in one way, or say "
            f"that such a cell means that nothing was recorded, --na '{shortened(text)}'."
        )

    def _must_be_unchanged(self, path: Path) -> None:
        if _stat(path) != self._stats[path]:
            raise TableError(f"{path} has changed since it was opened, while its rows are still needed: begin again.")


_SPELLED = {"number": "numbers", "date": "dates", "boolean": "true and false"}


def open_table(
    path: Path | str,
    *,
    skip: int | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    na: Sequence[str] = (),
    date_format: str | None = None,
    header: int | None = None,
    like: Mapping[str, Any] | None = None,
) -> StreamedTable:
    """Open a table that need not fit in memory: a Parquet or CSV file, a folder of them, or a pattern as ``"data/*.parquet"``.

    Nothing is read but what is needed to know the columns; the rows are read part by part, at every pass over them anew. How a
    text is written is decided by its first 8 MB, or said as in ``read_table``; ``like`` is also as there. Several files
    are read in the order of their names and have the same columns, those of texts in the same order.

    Raises TableError, one sentence that says what was wrong and what to do, and SettingsError for an argument that cannot be.

    >>> table = open_table("examples/concrete.csv")
    >>> sum(len(block["strength"]) for block in table.blocks())
    1030
    """
    asked = Dialect(skip, delimiter, decimal, thousands, (na,) if isinstance(na, str) else na, date_format, header)
    paths = _files(path)
    name = paths[0].name if len(paths) == 1 else str(path)
    try:
        return StreamedTable(name, paths, asked, like)
    except OSError as problem:
        raise TableError(
            f"{path} cannot be read: {problem.strerror or problem}. Check the file and its permissions."
        ) from problem


def bytes_in_memory(path: Path | str) -> float:
    """About what a fit takes that holds this table in memory: by its rows and columns, of text by the size of its files.

    0 where that is not known: of JSON, spreadsheets and databases, which are only read whole, and where there is no such file.
    """
    import duckdb

    try:
        files = _files(path)
        size = sum(file.stat().st_size * (_UNPACKED if file.suffix.lower() == ".gz" else 1.0) for file in files)
        if files[0].suffix.lower() not in PARQUET:
            return 0.0 if is_json(files[0]) else _OF_TEXT * size
        if any(map(seems_pattern, files)):
            return _OF_TEXT * size
        places = [file.resolve() for file in files]
        with database(*places) as connection:
            rows = _rows_in(connection, [quoted(str(place)) for place in places])
            columns = len(connection.sql(f"select * from read_parquet({quoted(str(places[0]))})").columns)
    except (TableError, OSError, duckdb.Error):
        return 0.0
    return _OF_NUMBERS * 8.0 * rows * columns


def _rows_in(connection: Any, places: Iterable[str]) -> int:
    """How many rows the Parquet files at these places, in SQL, have together."""
    ((rows,),) = asked(connection, f"select sum(num_rows) from parquet_file_metadata([{', '.join(places)}])")
    return int(rows)


def is_several(path: Path | str) -> bool:
    """Whether a folder, or a pattern of names, is meant."""
    given = Path(path)
    with contextlib.suppress(OSError):
        return given.is_dir() or (glob.has_magic(str(path)) and not given.exists() and not address_of(path).part)
    return False


def _files(path: Path | str) -> list[Path]:
    """The files that are meant, in the order of their names. Raises TableError where there are none."""
    if not is_several(path):
        address = address_of(path)
        must_be_a_file(address.file)
        if address.kind or address.part or address.file.suffix.lower() in SHEETS:
            raise TableError(
                f"{path} is a sheet or a table of a database: use read_table, or write it as Parquet or CSV."
            )
        return [address.file]
    if Path(path).is_dir():
        found = [each for each in Path(path).iterdir() if each.name[0] not in "._"]
        what = f"The folder {path} holds no Parquet or CSV files"
        otherwise = f'name a folder with files in it, or a pattern such as "{path}/**/*.parquet"'
    else:
        found = [Path(each) for each in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (of any place)
        what, otherwise = f"No file has a name such as {path}", "check the pattern and the folder"
    files = sorted(each for each in found if each.is_file() and (not Path(path).is_dir() or _is_table(each)))
    if not files:
        raise TableError(f"{what}: {otherwise}.")
    return files


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The parts of a column as one; those in which nothing is recorded stand as numbers, whatever the others are."""
    known = {part.dtype for part in parts if not _is_empty(part)}
    dates = any(dtype.kind == "M" for dtype in known)
    if (
        not known
        or all(dtype.kind == "f" for dtype in known)
        or (len(known) == 1 and all(p.dtype in known for p in parts))
    ):
        return np.concatenate(parts)
    kind: Any = "datetime64[us]" if dates else object
    nothing = np.datetime64("NaT") if dates else None
    return np.concatenate(
        [np.full(len(each), nothing, kind) if _is_empty(each) else each.astype(kind) for each in parts]
    )


def _is_empty(values: np.ndarray) -> bool:
    """Whether nothing is recorded in a column of numbers."""
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def _turned(cells: Sequence[Sequence[str | None]]) -> list[tuple[str | None, ...]]:
    """Rows of columns."""
    return list(zip(*cells, strict=True))


def _is_table(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return bool(suffixes) and suffixes[-1] in (*PARQUET, *_TEXTS)


def _stat(path: Path) -> tuple[int, int]:
    """Size and time of modification. Raises TableError where the file is gone."""
    try:
        found = path.stat()
    except OSError as problem:
        raise TableError(f"{path} is not there any more, while its rows are still needed: put it back.") from problem
    return found.st_size, found.st_mtime_ns


def _must_agree(
    first: Path, known: Mapping[str, Any], other: Path, found: Mapping[str, Any], ordered: bool = False
) -> None:
    """Raise TableError, naming the column, where two files have not the same columns."""
    if odd := [*(known.keys() - found.keys()), *(found.keys() - known.keys())]:
        name = sorted(odd)[0]
        has, lacks = (first, other) if name in known else (other, first)
        raise TableError(
            f"`{name}` is a column of {has.name} and not of {lacks.name}: several files are one table only where all have the "
            "same columns."
        )
    for name, kind in found.items():
        if known[name] != kind:
            words = {"DOUBLE": "numbers", "BOOLEAN": "true and false", "VARCHAR": "text", "TIMESTAMP": "dates"}
            raise TableError(
                f"`{name}` holds {words[known[name]]} in {first.name} and {words[kind]} in {other.name}: write that column in "
                "one way in all files."
            )
    if ordered and list(known) != list(found):
        name = next(a for a, b in zip(known, found, strict=True) if a != b)
        raise TableError(
            f"`{name}` stands at another place in {other.name} than in {first.name}: write all files alike."
        )


def _is_value(text: str) -> bool:
    """Whether a cell is a number, a date or a code in some other spelling, rather than a slip or a mark."""
    return (
        bool(re.fullmatch(LEADING_ZERO, text))
        or clothes(text) is not None
        or any(re.fullmatch(form.pattern, text) for form in dates.DATES)
    )
