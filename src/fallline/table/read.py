"""Files in, files out: a table as people really have it, read into NumPy columns.

DuckDB splits the lines; what a cell means is decided here, over the whole column and in the open:
every reading that is not plain (decimal commas, thousands marks, day/month/year) leaves a note.
What a column is *for* is not this module's business: that is ``columns.py``.

A block is a dictionary of column name to array, all of one length. Numbers are float64 with NaN
where a value is missing; text is an object array of str and None; dates are datetime64[us] with NaT
(times of day stand on 1970-01-01); booleans are bool, or an object array of True, False and None.
"""

import codecs
import contextlib
import csv
import datetime
import decimal
import gzip
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from fallline.exceptions import OutputError, TableError
from fallline.files import replacing
from fallline.words import nearest

if TYPE_CHECKING:
    import duckdb

Block = dict[str, np.ndarray]

MISSING = (
    ("", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null")
    + ("None", "NaT", "-", "--", "?", ".", "missing", "Missing", "#DIV/0!", "#VALUE!", "#REF!")
)  # fmt: skip
"""Cells that say no value was recorded. ``none`` in small letters is left out: it is often a category."""

_SPACES = " \t\n\r\f\v\u00a0\u2007\u202f\ufeff"
_SAMPLE = 256 * 1024  # bytes looked at to find the separator: some thousand lines
_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Table:
    """A table in memory: its name, its columns in file order, and how some had to be read.

    ``columns`` maps each name to an array of shape (rows,) as the module describes; ``notes`` maps a
    column name to a few words such as "decimal commas" or "day/month/year dates".
    """

    name: str
    columns: Block
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of rows, the header not counted."""
        return next((len(values) for values in self.columns.values()), 0)

    def take(self, indices: np.ndarray | Sequence[int] | slice) -> "Table":
        """The table of these rows: 0-based indices in any order, a mask of shape (rows,), or a slice."""
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = chosen.astype(np.intp)
        return Table(
            self.name, {name: values[chosen] for name, values in self.columns.items()}, dict(self.notes)
        )

    def to_numpy(self) -> np.ndarray:
        """The columns side by side, (rows, columns) float64, where all of them are numbers or booleans.

        Raises TableError, naming the first that is not.
        """
        for name, values in self.columns.items():
            if values.dtype.kind not in "fb":
                raise TableError(
                    f"{name!r} is not a column of numbers: leave it out, or fit a data frame, which is encoded."
                )
        return np.column_stack([values.astype(np.float64) for values in self.columns.values()])

    def blocks(self, size: int = 65536) -> Iterator[Block]:
        """The rows in order, ``size`` at a time, as views: nothing is copied."""
        for start in range(0, self.rows, size):
            yield {name: values[start : start + size] for name, values in self.columns.items()}


def read_table(path: Path | str) -> Table:
    """Read a CSV, TSV or other separated text, Parquet, JSON-lines or JSON file, gzipped or not.

    Separator, encoding, header, decimal commas, thousands marks and date order are found from the
    whole file; readings that are not plain are in ``Table.notes``. The file is only read, by a
    private DuckDB in memory that may touch nothing else.
    Raises TableError, one sentence that says what was wrong and what to do.
    """
    path = Path(path)
    _must_be_a_file(path)
    notes: dict[str, str] = {}
    try:
        source = _Source.of(path)
        if source.kind == "parquet":
            columns = _read_parquet(source)
        elif source.kind == "json":
            columns, notes = _read_json(source)
        else:
            columns, notes = _read_text(source)
    except OSError as problem:
        raise TableError(
            f"{path} cannot be read: {problem.strerror or problem}. Check the file and its permissions."
        ) from problem
    table = Table(path.name, columns, notes)
    if table.rows == 0:
        raise TableError(f"{path.name} has a header and no rows: at least two rows of values are needed.")
    return table


def table_from_frame(frame: Any, name: str = "data frame") -> Table:
    """The columns of a pandas, Polars (also lazy), PyArrow or DuckDB table, or another narwhals knows.

    Types are taken as they are: text stays text even where it spells numbers. Decimals and nullable
    numbers become float64, categories and enums text, times with a zone UTC, durations seconds.
    Raises TableError, naming column and type, for cells that hold more than one value, and for an object
    that is no table.
    """
    if type(frame).__name__ == "DuckDBPyRelation":
        # Not through narwhals: its collect() would need pyarrow.
        table = Table(name, _from_relation(frame, f"the {name}"))
    else:
        table = _from_narwhals(frame, name)
    if not table.columns:
        raise TableError(f"The {name} has no columns: at least a target and one input are needed.")
    if table.rows == 0:
        raise TableError(f"The {name} has columns and no rows: at least two rows of values are needed.")
    return table


def write_table(path: Path | str, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns, all of one length, to a .csv or .parquet file, whole or not at all.

    CSV is UTF-8 with commas; numbers are written so that reading gives back the same float64, dates in
    ISO form, missing values as empty cells (Parquet: null). Raises TableError for another suffix,
    OutputError if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise TableError(
            f"{path.name} ends in {suffix or 'no suffix'}, but tables are written as .csv or .parquet."
        )
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise TableError(f"Columns of one length are expected, not of {sorted(lengths)} rows.")
    with replacing(path) as temporary:
        if suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                write_csv(file, columns)
        else:
            _write_parquet(temporary, columns, path)


def write_csv(file: TextIO, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns, all of one length, as CSV to an open text file, as ``write_table`` does."""
    values = [np.asarray(column) for column in columns.values()]
    # Columns of whole numbers are written without ".0", whichever block they are in.
    whole = [column.dtype.kind == "f" and _all_whole(column) for column in values]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for start in range(0, len(values[0]), 65536):
        texts = [
            _csv_cells(column[start : start + 65536], ints)
            for column, ints in zip(values, whole, strict=True)
        ]
        writer.writerows(zip(*texts, strict=True))


# ----------------------------------------------------------------------------------------------------
# What is in the file


def _must_be_a_file(path: Path) -> None:
    try:
        found = path.exists()
    except OSError:  # a name longer than the file system can hold
        found = False
    if found and path.is_dir():
        raise TableError(f"{path} is a folder, but one table is expected: name a file in it.")
    if found:
        return
    if not path.parent.is_dir():
        raise TableError(f"There is no file {path}: the folder {path.parent} does not exist.")
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
        if near := nearest(path.name, names):
            raise TableError(f"There is no file {path}. Did you mean {path.parent / near}?")
    raise TableError(f"There is no file {path}. Check the name and the folder.")


_FOREIGN = (
    (
        b"PK\x03\x04",
        "a zip archive or a spreadsheet (.xlsx, .ods)",
        "Save the sheet as CSV and give that file",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)", "Save the sheet as CSV and give that file"),
    (b"\x89PNG", "a PNG picture", "Give a CSV, Parquet or JSON file"),
    (b"\xff\xd8\xff", "a JPEG picture", "Give a CSV, Parquet or JSON file"),
    (b"%PDF", "a PDF", "Give a CSV, Parquet or JSON file"),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV"),
    (b"\x89HDF", "an HDF5 file", "Save the table as CSV or Parquet"),
    (b"ARROW1", "an Arrow (Feather) file", "Save the table as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "Save the table as CSV or Parquet"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first (zstd -d), or compress it with gzip"),
    (b"BZh", "compressed with bzip2", "Unpack it first (bunzip2), or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it first (unxz), or compress it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first"),
    (b"GIF8", "a GIF picture", "Give a CSV, Parquet or JSON file"),
    (b"\x7fELF", "a program", "Give a CSV, Parquet or JSON file"),
)


@dataclass(frozen=True)
class _Source:
    """A file of known kind. ``content`` is clean UTF-8 with \\n line ends, or None if the file itself is."""

    path: Path
    kind: str  # "text" | "json" | "parquet"
    content: bytes | None
    sample: bytes  # the beginning of the content, cut anywhere
    whole: bool  # the sample is all there is

    @classmethod
    def of(cls, path: Path) -> "_Source":
        with path.open("rb") as file:
            head = file.read(_SAMPLE)
        if not head:
            raise TableError(f"{path.name} is empty: a header line and rows of values were expected.")
        content = None
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if head.startswith(b"\x1f\x8b"):
            content = _gunzip(path)
            head = content[:_SAMPLE]
            if not content:
                raise TableError(f"{path.name} is empty once unpacked: a header line and rows were expected.")
        if head.startswith(b"PAR1") or any(suffix in (".parquet", ".pq") for suffix in suffixes[-1:]):
            return cls(path, "parquet", content, head, True)
        for magic, what, remedy in _FOREIGN:
            if head.startswith(magic):
                raise TableError(f"{path.name} is {what}, not text with one row on each line. {remedy}.")
        if content is None and not _is_clean(path):
            content = path.read_bytes()
        if content is not None:
            content = _clean(content, path.name)
            head = content[:_SAMPLE]
        if not head.strip():
            raise TableError(f"{path.name} is empty: a header line and rows of values were expected.")
        is_json = any(suffix in (".json", ".jsonl", ".ndjson") for suffix in suffixes)
        is_json = is_json or re.match(rb'\s*(\[\s*)?\{\s*"', head) is not None
        size = len(content) if content is not None else path.stat().st_size
        return cls(path, "json" if is_json else "text", content, head, size <= _SAMPLE)

    def text(self) -> str:
        """The whole content as text."""
        content = self.content if self.content is not None else self.path.read_bytes()
        return content.decode("utf-8")

    def sample_text(self) -> str:
        return self.sample.decode("utf-8", errors="ignore")


def _gunzip(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise TableError(
            f"{path.name} is a damaged or cut-off gzip file ({problem}). Copy or download it again."
        ) from problem


_ODD = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1a\x1b")) + b"\x7f"


def _is_clean(path: Path) -> bool:
    """Whether DuckDB can read the file where it lies: UTF-8, no mark at its start, plain line ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        first = True
        while chunk := file.read(_CHUNK):
            if b"\r" in chunk or len(chunk.translate(None, _ODD)) < len(chunk):
                return False
            if first and chunk.startswith(codecs.BOM_UTF8):
                return False
            first = False
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                return False
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _clean(content: bytes, name: str) -> bytes:
    """The same text in UTF-8 with \\n line ends. Raises TableError if it is not text."""
    text = _decode(content)
    odd = len(text) - len(text.translate(dict.fromkeys(_ODD)))
    if "\0" in text or odd > 0.002 * len(text):
        raise TableError(
            f"{name} is not text: it holds bytes that no text has. Give a CSV, Parquet or JSON file "
            "(a spreadsheet: save it as CSV)."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.encode("utf-8", errors="replace")


def _decode(content: bytes) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same two bytes
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    with contextlib.suppress(UnicodeDecodeError):
        text = content.decode("utf-8")
        if "\0" not in text:
            return text
    # UTF-16 without a mark: every other byte of western text is zero.
    even, odd = content[:_SAMPLE:2].count(0), content[1:_SAMPLE:2].count(0)
    half = max(1, min(len(content), _SAMPLE) // 2)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 0.7 * half and others < 0.1 * half:
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("cp1252")  # what Windows calls Latin-1: the same letters, and € and “ ” besides
    except UnicodeDecodeError:
        return content.decode("latin-1")


# ----------------------------------------------------------------------------------------------------
# DuckDB, kept on a short leash


@contextlib.contextmanager
def _database(readable: Path | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    import duckdb  # here: --help must not wait for it

    settings = {
        "temp_directory": "",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        connection.execute("set enable_progress_bar=false; set TimeZone='UTC'")
        if readable is not None:
            connection.execute(f"set allowed_paths=[{_quoted(str(readable))}]")
        connection.execute("set enable_external_access=false")
        yield connection
    finally:
        connection.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _on_disk(source: _Source, content: bytes | None) -> Iterator[Path]:
    """A path DuckDB may read: the file itself, or a private copy of the cleaned content."""
    content = source.content if content is None else content
    path = source.path.resolve()
    if content is None and not any(letter in str(path) for letter in "*?[]{}"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fallline-") as folder:
        copy = Path(folder).resolve() / "table"
        if content is None:
            shutil.copyfile(path, copy)  # under its own name, DuckDB could take it for a pattern
        else:
            copy.write_bytes(content)
        yield copy


def _first_line(problem: Exception) -> str:
    return str(problem).split("\n", maxsplit=1)[0].strip().rstrip(".")


def _plain(values: Any, sql_type: str) -> np.ndarray:
    """What DuckDB hands over, without masks: NaN, NaT or None where nothing was recorded."""
    masked = isinstance(values, np.ma.MaskedArray)
    mask = np.ma.getmaskarray(values) if masked else None
    data = np.asarray(values.data if masked else values)
    if sql_type == "DOUBLE":
        data = data.astype(np.float64)
        return data if mask is None else np.where(mask, np.nan, data)
    if sql_type == "TIMESTAMP":
        data = data.astype("datetime64[us]")
        return data if mask is None else np.where(mask, np.datetime64("NaT", "us"), data)
    if sql_type == "BOOLEAN" and (mask is None or not mask.any()):
        return data.astype(bool)
    data = data.astype(object)
    if mask is not None:
        data[mask] = None
    return data


# ----------------------------------------------------------------------------------------------------
# Parquet, and relations: the types are given


def _read_parquet(source: _Source) -> Block:
    import duckdb

    with _on_disk(source, None) as path, _database(path) as database:
        try:
            relation = database.sql(
                f"select * from read_parquet({_quoted(str(path))}, hive_partitioning=false)"
            )
            return _from_relation(relation, source.path.name)
        except duckdb.Error as problem:
            if source.sample.startswith(b"PAR1"):
                what = "is a damaged or cut-off Parquet file"
            else:
                what = "has a Parquet name but is not a Parquet file"
            raise TableError(f"{source.path.name} {what}. Write, copy or download it again.") from problem


def _from_relation(relation: "duckdb.DuckDBPyRelation", name: str) -> Block:
    wanted = []
    for column, given in zip(relation.columns, relation.types, strict=True):
        quoted, kind = _identifier(column), str(given).upper()
        if (
            re.match(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL)\b", kind)
            and "[" not in kind
        ):
            wanted.append((f"{quoted}::double", "DOUBLE"))
        elif kind == "BOOLEAN":
            wanted.append((quoted, "BOOLEAN"))
        elif kind in ("VARCHAR", "UUID", "JSON") or (kind.startswith("ENUM") and not kind.endswith("]")):
            wanted.append((f"{quoted}::varchar", "VARCHAR"))
        elif kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMPTZ_NS"):
            wanted.append((f"timezone('UTC', {quoted}::timestamptz)", "TIMESTAMP"))
        elif kind in ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"):
            wanted.append((f"{quoted}::timestamp", "TIMESTAMP"))
        elif kind in ("TIME", "TIME_NS"):
            wanted.append((f"(date '1970-01-01' + {quoted}::time)", "TIMESTAMP"))
        elif kind == "INTERVAL":
            wanted.append((f"epoch({quoted})", "DOUBLE"))
        elif kind in ('"NULL"', "NULL"):
            wanted.append((f"{quoted}::double", "DOUBLE"))
        else:
            raise _unreadable_column(name, column, str(given))
    projection = ", ".join(f"{expression} as c{i}" for i, (expression, _) in enumerate(wanted))
    fetched = relation.project(projection).fetchnumpy()
    names, _ = _unique_names(relation.columns)
    return {
        name: _plain(fetched[f"c{i}"], kind)
        for i, (name, (_, kind)) in enumerate(zip(names, wanted, strict=True))
    }


def _unreadable_column(table: str, column: str, kind: str) -> TableError:
    return TableError(
        f"Column `{column}` of {table} is of type {kind}, but each cell must be one number, text, date or "
        "boolean. Leave the column out, or give each of its parts a column of its own."
    )


# ----------------------------------------------------------------------------------------------------
# Separated text


def _read_text(source: _Source) -> tuple[Block, dict[str, str]]:
    import duckdb

    name = source.path.name
    separator = _separator(source.sample_text(), source.whole)
    content = source.content
    if separator == " ":
        content = _tabs_for_spaces(source.text()).encode()
        separator = "\t"
    first = next(
        _records(content[:_SAMPLE].decode("utf-8", "ignore") if content else source.sample_text(), separator)
    )
    width = len(first)
    if width == 1:
        # A blank line is no row: with one column, DuckDB would take it for a missing value.
        content = re.sub(rb"\n[ \t]*(?=\n|\Z)", b"", content or source.path.read_bytes()).lstrip(b"\n")
    for attempt in ("as it is", "mended"):
        with _on_disk(source, content) as path, _database(path) as database:
            try:
                _load(database, path, separator, width)
            except duckdb.Error as problem:
                if attempt == "mended":
                    raise TableError(
                        f"{name} cannot be read as a table: {_first_line(problem)}. Check that line, or save "
                        "the table anew as CSV."
                    ) from problem
                text = content.decode() if content is not None else source.text()
                content = _mended(text, separator, width, name)
                continue
            headless = _all_numbers(first)
            names, notes = _names(first, headless)
            columns, more = _typed(database, names, 0 if headless else 1, decimal_comma=separator == ";")
            for column, note in more.items():
                notes[column] = f"{notes[column]}; {note}" if column in notes else note
            return columns, notes
    raise AssertionError("unreachable")


def _load(database: "duckdb.DuckDBPyConnection", path: Path, separator: str, width: int) -> None:
    shape = "{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width)) + "}"
    markers = ", ".join(_quoted(marker) for marker in MISSING)
    database.execute(
        f"create temp table cells as select * from read_csv({_quoted(str(path))}, "
        f"""delim={_quoted(separator)}, quote='"', escape='"', new_line='\\n', header=false, """
        f"columns={shape}, nullstr=[{markers}], auto_detect=false, strict_mode=true, null_padding=false, "
        "ignore_errors=false, compression='none')"
    )


def _records(text: str, separator: str) -> Iterator[list[str]]:
    """The records of the text that are not blank lines."""
    lines = io.StringIO(text, newline="")
    for record in csv.reader(lines, delimiter=separator, doublequote=True):
        if record and not (len(record) == 1 and not record[0].strip()):
            yield record


_WORD = re.compile(r'"(?:[^"]|"")*"|[^ \t\n"][^ \t\n]*')
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def _separator(sample: str, whole: bool) -> str:
    """The separator under which lines have as many fields as the first, and most fields are plain values."""
    best, best_score = ",", (0.0, 0.0)
    for separator in (",", ";", "\t", "|", " "):
        try:
            if separator == " ":
                lines = (_WORD.findall(line) for line in sample.split("\n"))
                records = [line for line in lines if line][:200]
            else:
                records = [record for record, _ in zip(_records(sample, separator), range(200), strict=False)]
        except csv.Error:
            continue
        if not whole and len(records) < 200:
            records = records[:-1] or records  # the sample may end inside a record
        if not records or len(records[0]) < 2:
            continue
        width = len(records[0])
        # A separator may end the lines and not the header.
        even = [record for record in records[1:] if len(record) >= width and not any(record[width:])]
        share = len(even) / (len(records) - 1) if len(records) > 1 else 1.0
        cells = [cell.strip() for record in even for cell in record[:width]]
        plain = sum(1 for cell in cells if _NUMBER.fullmatch(cell) or cell in MISSING)
        score = (round(share, 1), plain / max(1, len(cells)))
        if separator == " " and share < 0.9:
            continue  # words of a sentence
        if score > best_score:
            best, best_score = separator, score
    return best


def _tabs_for_spaces(text: str) -> str:
    return "\n".join("\t".join(_WORD.findall(line)) for line in text.split("\n"))


def _mended(text: str, separator: str, width: int, name: str) -> bytes:
    """The same records written strictly. Raises TableError where a line has too many or too few fields.

    A line may leave out its last fields if no line has a value there: some programs write tables so.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, doublequote=True)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    lines = text.rstrip("\n").count("\n") + 1
    start, records, filled = 1, 0, 0
    short: tuple[int, int] | None = None  # the shortest line so far: its number, how many fields it has
    try:
        for record in reader:
            line, start = start, reader.line_num + 1
            if reader.line_num >= lines and _never_closed(text, line, separator):
                raise TableError(
                    f"A quotation mark opened in line {line} of {name} is never closed: close or remove it."
                )
            if width > 1 and (not record or (len(record) == 1 and not record[0].strip())):
                continue
            if len(record) > width and not any(cell.strip() for cell in record[width:]):
                record = record[:width]
            if len(record) > width:
                raise _ragged(name, line, len(record), width)
            if len(record) < width and (short is None or len(record) < short[1]):
                short = line, len(record)
            if records:
                filled = max([filled] + [i + 1 for i, cell in enumerate(record) if cell.strip()])
            records += 1
            writer.writerow(record + [""] * (width - len(record)))
    except csv.Error as problem:
        raise TableError(
            f"Line {start} of {name} cannot be split into fields ({problem}). Correct that line, "
            "or save the table anew as CSV."
        ) from problem
    if short is not None and short[1] < filled:
        raise _ragged(name, *short, width)
    return out.getvalue().encode("utf-8")


def _never_closed(text: str, line: int, separator: str) -> bool:
    """Whether the last record of the text, which begins in that line, ends inside quotation marks."""
    rest = io.StringIO("\n".join(text.split("\n")[line - 1 :]), newline="")
    try:
        list(csv.reader(rest, delimiter=separator, strict=True))
    except csv.Error as problem:
        return "unexpected end" in str(problem)
    return False


def _ragged(name: str, line: int, fields: int, width: int) -> TableError:
    return TableError(
        f"Line {line} of {name} has {fields} field{'s' if fields != 1 else ''}, but {width} are expected, as "
        "in its first line. Correct the line, or put text that holds the separator in quotation marks."
    )


def _all_numbers(first: Sequence[str]) -> bool:
    cells = [cell.strip() for cell in first]
    return any(cells) and all(_NUMBER.fullmatch(cell) or (cell in MISSING and cell) for cell in cells)


def _names(first: Sequence[str], headless: bool) -> tuple[list[str], dict[str, str]]:
    if headless:
        names = [f"column_{i + 1}" for i in range(len(first))]
        return names, dict.fromkeys(names, "no header line, so named by its place")
    return _unique_names(first)


def _unique_names(given: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    names: list[str] = []
    notes: dict[str, str] = {}
    wanted = [" ".join(name.strip(_SPACES).split("\n")) or f"column_{i + 1}" for i, name in enumerate(given)]
    taken = set(wanted)
    for name in wanted:
        unique, number = name, 2
        while unique in names or (unique != name and unique in taken):
            unique, number = f"{name}_{number}", number + 1
        if unique != name:
            notes[unique] = (
                f"a second column named `{name}`" if number == 3 else f"one more column named `{name}`"
            )
        names.append(unique)
    return names, notes


# ----------------------------------------------------------------------------------------------------
# JSON


def _read_json(source: _Source) -> tuple[Block, dict[str, str]]:
    import duckdb

    name = source.path.name
    expected = 'an array of rows [{"a": 1}, …] or one row {"a": 1} on each line was expected'
    if source.sample.lstrip()[:1] not in (b"[", b"{"):
        raise TableError(f"{name} is not a JSON table: {expected}.")
    if re.fullmatch(rb"\[\s*\]\s*", source.sample):
        raise TableError(f"{name} has no rows: {expected}.")
    shape = "array" if source.sample.lstrip()[:1] == b"[" else "auto"
    with _on_disk(source, None) as path, _database(path) as database:
        try:
            relation = database.sql(
                f"select * from read_json({_quoted(str(path))}, format='{shape}', sample_size=-1, "
                "maximum_depth=1, records=true, hive_partitioning=false, compression='none', "
                "maximum_object_size=1000000000)"
            )
            given = relation.columns
            cells = ", ".join(f"{_identifier(column)}::json as j{i}" for i, column in enumerate(given))
            relation.project(cells).create("raw")
        except duckdb.Error as problem:
            place = re.search(r"in line (\d+)", str(problem)) or re.search(
                r"in record/value (\d+)", str(problem)
            )
            where = f"near line {place[1]}" if place else f"({_first_line(problem)})"
            raise TableError(f"{name} is damaged JSON {where}: {expected}. Correct it there.") from problem
        kinds = ", ".join(
            f"max(case when json_type(j{i}) in ('OBJECT', 'ARRAY') then json_type(j{i}) end)"
            for i in range(len(given))
        )
        nested = database.execute(f"select {kinds} from raw").fetchone() or ()
        for column, kind in zip(given, nested, strict=True):
            if kind is not None:
                raise _unreadable_column(name, column, kind.lower())
        texts = ", ".join(_unmarked(f"j{i} ->> '$'") + f" as c{i}" for i in range(len(given)))
        database.execute(f"create temp table cells as select {texts} from raw")
        names, notes = _unique_names(given)
        columns, more = _typed(database, names, 0)
        return columns, notes | more


# ----------------------------------------------------------------------------------------------------
# From text to values. A form is a way to write a value; a column is read in it only if every cell fits.


class _Form(NamedTuple):
    kind: str  # "DOUBLE" | "TIMESTAMP" | "BOOLEAN" | "VARCHAR"
    pattern: str  # a full match; in the common part of Python's and RE2's languages
    value: Callable[[str], str]  # the SQL of the value, from the SQL of the cell
    note: str = ""
    family: str = ""  # which readings contradict each other


def _number_form(mark: str, decimal: str, note: str, family: str) -> _Form:
    grouped = rf"\d{{1,3}}({mark}\d{{3}})+|" if mark else ""
    pattern = rf"[+\-−]?(({grouped}\d+)({decimal}\d*)?|{decimal}\d+)([eE][+-]?\d+)?"

    def value(cell: str) -> str:
        digits = f"replace({cell}, '−', '-')"
        if mark:
            digits = f"regexp_replace({digits}, {_quoted(mark)}, '', 'g')"
        if decimal == ",":
            digits = f"replace({digits}, ',', '.')"
        return f"try_cast({digits} as double)"

    return _Form("DOUBLE", pattern, value, note, family)


_CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?"
_ZONE = r"( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?"
_HALF_DAYS = (" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p")
_WHOLE_DAYS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")


# Years of two and of four digits are forms apart: %Y would read 31/01/20 as in the year 20.
def _strptime(cell: str, dates: Sequence[str], clocks: Sequence[str] = _WHOLE_DAYS + _HALF_DAYS) -> str:
    formats = ", ".join(_quoted(date + clock) for date in dates for clock in clocks)
    return f"try_strptime({cell}, [{formats}])::timestamp"


def _iso(cell: str) -> str:
    dashes = rf"regexp_replace({cell}, '^(\d{{4}})[/.](\d{{1,2}})[/.]', '\1-\2-')"
    return f"try_cast({dashes} as timestamptz)::timestamp"


def _long_year(order: str) -> Callable[[str], str]:
    iso = {"day first": r"\3-\2-\1 ", "month first": r"\3-\1-\2 "}[order]

    def value(cell: str) -> str:
        # By way of ISO: a cast takes a tenth of the time that strptime takes to try several formats.
        turned = rf"trim(regexp_replace({cell}, '^(\d{{1,2}})[-./](\d{{1,2}})[-./](\d{{4}})[ T]*', '{iso}'))"
        half_days = _strptime(turned, ["%Y-%m-%d"], _HALF_DAYS)
        return f"case when {cell} ilike '%m' then {half_days} else try_cast({turned} as timestamp) end"

    return value


def _short_year(order: str) -> Callable[[str], str]:
    date = {"day first": "%d/%m/%y", "month first": "%m/%d/%y"}[order]

    def value(cell: str) -> str:
        turned = rf"regexp_replace({cell}, '^(\d{{1,2}})[/.](\d{{1,2}})[/.](\d{{2}})[ T]*', '\1/\2/\3 ')"
        return _strptime(f"trim({turned})", [date])

    return value


_ISO = rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}([ T]{_CLOCK}{_ZONE})?"
_LONG_YEAR = rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{4}}([ T]+{_CLOCK}( ?[AaPp][Mm])?)?"
_SHORT_YEAR = rf"\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{2}}([ T]+{_CLOCK}( ?[AaPp][Mm])?)?"
_DAY_MONTH, _MONTH_DAY = "day/month/year dates", "month/day/year dates"


def _either(first: Callable[[str], str], second: Callable[[str], str]) -> Callable[[str], str]:
    return lambda cell: f"coalesce({first(cell)}, {second(cell)})"


_FORMS: dict[str, _Form] = {
    "boolean": _Form("BOOLEAN", r"(?i:true|false)", lambda cell: f"(lower({cell}) = 'true')"),
    "plain": _Form(
        "DOUBLE",
        r"(?i:[+-]?(\d+([.]\d*)?|[.]\d+)(e[+-]?\d+)?|[+-]?inf(inity)?)",
        lambda cell: f"try_cast({cell} as double)",
    ),
    "decimal comma": _number_form("", ",", "decimal commas", "comma decimal"),
    "comma marks": _number_form(",", "[.]", "thousands marks (1,234.5)", "comma marks"),
    "dot marks": _number_form("[.]", ",", "thousands marks and decimal commas (1.234,5)", "comma decimal"),
    "space marks": _number_form("[ \u00a0\u2007\u202f]", "[.]", "thousands marks (1 234.5)", "space"),
    "space marks, comma": _number_form(
        "[ \u00a0\u2007\u202f]", ",", "thousands marks and decimal commas (1 234,5)", "comma decimal"
    ),
    "apostrophe marks": _number_form("['’]", "[.]", "thousands marks (1'234.5)", "apostrophe"),
    "apostrophe marks, comma": _number_form(
        "['’]", ",", "thousands marks and decimal commas (1'234,5)", "comma decimal"
    ),
    "percent": _Form(
        "DOUBLE",
        r"[+-]?(\d+([.,]\d*)?|[.,]\d+) ?%",
        lambda cell: f"try_cast(replace(trim({cell}, ' %'), ',', '.') as double)",
        "percent signs left out",
    ),
    "iso": _Form("TIMESTAMP", _ISO, _iso),
    "year-month": _Form(
        "TIMESTAMP", r"\d{4}-\d{2}", lambda cell: _iso(f"({cell} || '-01')"), "year-month dates"
    ),
    "day first": _Form("TIMESTAMP", _LONG_YEAR, _long_year("day first"), _DAY_MONTH, "day first"),
    "month first": _Form("TIMESTAMP", _LONG_YEAR, _long_year("month first"), _MONTH_DAY, "month first"),
    "day first, short": _Form("TIMESTAMP", _SHORT_YEAR, _short_year("day first"), _DAY_MONTH, "day first"),
    "month first, short": _Form(
        "TIMESTAMP", _SHORT_YEAR, _short_year("month first"), _MONTH_DAY, "month first"
    ),
    "day month-name": _Form(
        "TIMESTAMP",
        rf"\d{{1,2}}[- ][A-Za-z]{{3,9}}[- ]\d{{4}}([ ]+{_CLOCK})?",
        lambda cell: _strptime(f"replace({cell}, '-', ' ')", ["%d %b %Y", "%d %B %Y"], _WHOLE_DAYS),
        "dates with month names",
    ),
    "day month-name, short": _Form(
        "TIMESTAMP",
        rf"\d{{1,2}}[- ][A-Za-z]{{3,9}}[- ]\d{{2}}([ ]+{_CLOCK})?",
        lambda cell: _strptime(f"replace({cell}, '-', ' ')", ["%d %b %y", "%d %B %y"], _WHOLE_DAYS),
        "dates with month names",
    ),
    "month-name day": _Form(
        "TIMESTAMP",
        rf"[A-Za-z]{{3,9}} \d{{1,2}},? \d{{4}}([ ]+{_CLOCK})?",
        lambda cell: _strptime(f"replace({cell}, ',', '')", ["%b %d %Y", "%B %d %Y"], _WHOLE_DAYS),
        "dates with month names",
    ),
    "time": _Form(
        "TIMESTAMP",
        _CLOCK,
        lambda cell: f"(date '1970-01-01' + try_cast({cell} as time))",
        "times of day",
    ),
    "iso or day first": _Form(
        "TIMESTAMP",
        f"{_ISO}|{_LONG_YEAR}",
        _either(_iso, _long_year("day first")),
        "dates in two forms, year-month-day and day/month/year",
        "day first",
    ),
    "iso or month first": _Form(
        "TIMESTAMP",
        f"{_ISO}|{_LONG_YEAR}",
        _either(_iso, _long_year("month first")),
        "dates in two forms, year-month-day and month/day/year",
        "month first",
    ),
}
_TEXT = _Form("VARCHAR", "", lambda cell: cell)
_LEADING_ZERO = r"[+-]?0\d+"


def _unmarked(cell: str) -> str:
    """The SQL of a cell without blanks around it, null where it says that nothing was recorded."""
    markers = _quoted("|".join(re.escape(marker) for marker in MISSING))
    trimmed = f"trim({cell}, {_quoted(_SPACES)})"
    # Not "in" or list_contains: DuckDB makes a join of a long one, and a join mixes the rows.
    longest = max(map(len, MISSING))
    marked = f"length({trimmed}) <= {longest} and regexp_full_match({trimmed}, {markers})"
    return f"case when not ({marked}) then {trimmed} end"


def _typed(
    database: "duckdb.DuckDBPyConnection", names: Sequence[str], first: int, decimal_comma: bool = False
) -> tuple[Block, dict[str, str]]:
    """The columns c0, c1, … of the table ``cells`` as values, from row ``first`` on, and the notes."""
    # Most columns are plain numbers, and DuckDB's own cast finds that out fastest.
    questions = ", ".join(
        f"count(c{i}), count(try_cast(c{i} as double)), bool_or(contains(c{i}, '_')), "
        f"bool_or(regexp_full_match(c{i}, '{_LEADING_ZERO}')), bool_or(contains(c{i}, '.')), "
        f"max(case when contains(c{i}, '.') then 0 else length(c{i}) end)"
        for i in range(len(names))
    )
    found = database.execute(f"select {questions} from cells where rowid >= {first}").fetchone() or ()
    facts = [found[6 * i : 6 * i + 6] for i in range(len(names))]
    readable: dict[int, list[str]] = {}
    dotted = []
    for i, (present, numbers, underscores, zeros, dots, _) in enumerate(facts):
        if present == numbers and not underscores and not zeros:
            readable[i] = ["plain"]
            if present and dots:
                dotted.append(i)
    others = [i for i in range(len(names)) if i not in readable]
    if others:
        cells = ", ".join(_unmarked(f"c{i}") + f" as c{i}" for i in others)
        database.execute(
            f"create temp table others as select rowid as place, {cells} from cells where rowid >= {first}"
        )
        for i in others:
            readable[i] = _forms_of(database, i)
    chosen = {i: _FORMS[forms[0]] if forms else _TEXT for i, forms in readable.items()}
    doubts = _settle(database, readable, chosen, dotted, first, decimal_comma)
    columns: Block = {}
    notes: dict[str, str] = {}
    fetched: dict[str, Any] = {}
    for table, members in (("cells", [i for i in chosen if i not in others]), ("others", others)):
        if members:
            values = ", ".join(f"{chosen[i].value(f'c{i}')} as c{i}" for i in members)
            place = "rowid as place" if table == "cells" else "place"
            part = database.execute(f"select {place}, {values} from {table}").fetchnumpy()
            places = part.pop("place")
            if np.any(places[1:] < places[:-1]):  # no promise of DuckDB's keeps rows in order after a join
                order = np.argsort(places)
                places, part = places[order], {key: column[order] for key, column in part.items()}
            fetched |= {key: column[np.searchsorted(places, first) :] for key, column in part.items()}
    for i, name in enumerate(names):
        columns[name] = _plain(fetched[f"c{i}"], chosen[i].kind)
        note = doubts.get(i, chosen[i].note)
        if chosen[i].kind == "DOUBLE" and (facts[i][5] or 0) > 15 and _beyond_whole(columns[name]):
            note = f"{note}; whole numbers above 2^53, kept to 16 digits".lstrip("; ")
        if note:
            notes[name] = note
    return columns, notes


def _beyond_whole(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.all(np.floor(finite) == finite) and np.abs(finite).max() > 2.0**53)


def _forms_of(database: "duckdb.DuckDBPyConnection", i: int) -> list[str]:
    """The forms in which every cell of the column can be read, by falling preference."""
    cell = f"c{i}"
    sample = [
        row[0]
        for row in database.execute(
            f"select {cell} from others where {cell} is not null limit 500"
        ).fetchall()
    ]
    if not sample:
        return ["plain"]
    likely = [
        name for name, form in _FORMS.items() if all(re.fullmatch(form.pattern, text) for text in sample)
    ]
    if not likely:
        return []
    # First the sample, then every row: a form that fails is slow to try.
    for rows in (f"(select {cell} from others where {cell} is not null limit 500)", "others"):
        counts = ", ".join(
            f"count(case when regexp_full_match({cell}, {_quoted(_FORMS[name].pattern)}) "
            f"then {_FORMS[name].value(cell)} end)"
            for name in likely
        )
        codes = f"bool_or(regexp_full_match({cell}, '{_LEADING_ZERO}'))"
        [(present, zeros, *fits)] = database.execute(
            f"select count({cell}), {codes}, {counts} from {rows}"
        ).fetchall()
        likely = [name for name, count in zip(likely, fits, strict=True) if count == present]
        if zeros or not likely:  # 00123 is a code: as a number it would lose its zeros
            return []
        # A mixture of two forms is a reading only where neither alone is one; but that takes every row.
        if rows == "others":
            likely = [name for name in likely if not name.startswith("iso or")] or likely
    return likely


def _settle(
    database: "duckdb.DuckDBPyConnection",
    readable: Mapping[int, list[str]],
    chosen: dict[int, _Form],
    dotted: Sequence[int],
    first: int,
    decimal_comma: bool,
) -> dict[int, str]:
    """Choose where a column can be read in several ways, by what the other columns leave no doubt about.

    ``decimal_comma``: semicolons separate the fields, as they do where the comma is taken by the decimals.
    """
    families = {
        i: {_FORMS[form].family for form in forms if _FORMS[form].family}
        for i, forms in readable.items()
        if forms and forms[0] != "plain"
    }
    sure = {next(iter(family)) for family in families.values() if len(family) == 1}
    notes: dict[int, str] = {}
    for i, family in families.items():
        if {"comma decimal", "comma marks"} <= family:
            # 1,234 in every cell. With decimal points elsewhere, or no hint at all, it marks thousands.
            comma = "comma decimal" in sure or (
                "comma marks" not in sure and not dotted and (decimal_comma or _commas_split(database, i))
            )
            wanted = "comma decimal" if comma else "comma marks"
            chosen[i] = next(_FORMS[form] for form in readable[i] if _FORMS[form].family == wanted)
        elif {"day first", "month first"} <= family:
            forms = {_FORMS[form].family: _FORMS[form] for form in reversed(readable[i])}
            wanted = next((order for order in ("day first", "month first") if order in sure), "")
            if not wanted:
                wanted = _date_order(database, i, forms)
                notes[i] = f"{forms[wanted].note} (no date shows which of the two comes first)"
            chosen[i] = forms[wanted]
    if "comma decimal" in sure:
        # A table with decimal commas has no decimal points: 1.234 is one thousand and so on.
        grouped = {i: rf"bool_and(regexp_full_match(c{i}, '[+-]?\d{{1,3}}([.]\d{{3}})*'))" for i in dotted}
        if grouped:
            answers = database.execute(
                f"select {', '.join(grouped.values())} from cells where rowid >= {first}"
            )
            if all(row := answers.fetchone() or (False,)):
                for i, _ in zip(grouped, row, strict=True):
                    chosen[i] = _FORMS["dot marks"]
                    notes[i] = "thousands marks (1.234)"
    return notes


def _commas_split(database: "duckdb.DuckDBPyConnection", i: int) -> bool:
    """Whether some cell such as 0,123 cannot be thousands."""
    answer = database.execute(
        rf"select bool_or(regexp_full_match(c{i}, '[+-]?0,\d+')) from others"
    ).fetchone()
    return bool(answer and answer[0])


def _date_order(database: "duckdb.DuckDBPyConnection", i: int, forms: Mapping[str, _Form]) -> str:
    """Under which reading the rows go forward in time more often; day first if both do."""
    cell = f"c{i}"
    half_day = database.execute(f"select bool_or({cell} ilike '%m') from others").fetchone()
    if half_day and half_day[0]:  # AM and PM go with month/day/year
        return "month first"
    backward = {}
    for order in ("day first", "month first"):
        row = database.execute(
            f"select count(*) from (select {forms[order].value(cell)} as t, "
            "lag(t) over (order by place) as before from others) where t < before"
        ).fetchone()
        backward[order] = row[0] if row else 0
    return "month first" if backward["month first"] < backward["day first"] else "day first"


# ----------------------------------------------------------------------------------------------------
# Data frames


def _from_narwhals(frame: Any, name: str) -> Table:
    import narwhals as nw

    try:
        eager = nw.from_native(frame)
        if isinstance(eager, nw.LazyFrame):
            eager = eager.collect()
        names = list(eager.columns)
    except TypeError as problem:
        raise TableError(
            f"An object of type {type(frame).__name__} is not a table: a pandas, Polars or DuckDB frame or "
            "a PyArrow table was expected."
        ) from problem
    except nw.exceptions.DuplicateError as problem:
        raise TableError(
            f"Two columns of the {name} have the same name ({problem}). Rename one."
        ) from problem
    columns = {str(column): _values_of(eager.get_column(column), str(column), name) for column in names}
    if len(columns) < len(names):
        raise TableError(f"Two columns of the {name} have the same name once written as text. Rename one.")
    return Table(name, columns)


def _values_of(series: Any, column: str, table: str) -> np.ndarray:
    import narwhals as nw

    kind = series.dtype
    if kind.is_numeric() or kind == nw.Boolean:
        values = series.to_numpy()
        if values.dtype.kind in "fiu":  # NaN already stands where a value is missing
            return values.astype(np.float64)
        if values.dtype == bool:
            return values.copy()
    if kind in (nw.String, nw.Categorical, nw.Enum):
        cells = (series if kind == nw.String else series.cast(nw.String)).to_list()
        texts = [cell if isinstance(cell, str) else None for cell in cells]
        return _objects(texts) if any(text is not None for text in texts) else np.full(len(texts), np.nan)
    missing = series.is_null().to_numpy().astype(bool)
    if missing.all():  # as in a file: a column without values is of no type, and stands as numbers
        return np.full(len(missing), np.nan)
    if kind.is_numeric():
        numbers = series.cast(nw.Float64).fill_null(0.0).to_numpy().astype(np.float64)
        numbers[missing] = np.nan
        return numbers
    if kind == nw.Boolean:
        truths = series.fill_null(False).to_numpy().astype(bool)
        return _objects(np.where(missing, None, truths)) if missing.any() else truths
    if kind == nw.Datetime or kind == nw.Date:
        if kind == nw.Datetime and kind.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.cast(nw.Datetime("us")).to_numpy().astype("datetime64[us]")
    if kind == nw.Duration:
        spans = series.to_numpy().astype("timedelta64[us]")
        return np.where(missing, np.nan, spans.astype(np.int64) / 1e6)
    if kind in (nw.Object, nw.Time, nw.Unknown):
        return _from_objects(series.to_list(), missing, column, table, str(kind))
    raise _unreadable_column(f"the {table}", column, str(kind))


def _objects(values: Iterable[Any]) -> np.ndarray:
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _from_objects(
    values: Sequence[Any], missing: np.ndarray, column: str, table: str, kind: str
) -> np.ndarray:
    """A column of Python objects: all numbers, all text, all booleans or all dates, None where missing."""
    cells = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    present = [value for value in cells if value is not None]
    if all(isinstance(value, (bool, np.bool_)) for value in present) and present:
        truths = _objects(None if value is None else bool(value) for value in cells)
        return truths if len(present) < len(cells) else truths.astype(bool)
    if all(isinstance(value, str) for value in present) and present:
        return _objects(cells)
    if all(isinstance(value, (int, float, decimal.Decimal, np.number)) for value in present):
        return np.array([np.nan if value is None else float(value) for value in cells])
    if all(isinstance(value, datetime.date) for value in present):
        return np.array([None if value is None else _naive(value) for value in cells], dtype="datetime64[us]")
    if all(isinstance(value, datetime.time) for value in present):
        day = datetime.date(1970, 1, 1)
        moments = [None if value is None else datetime.datetime.combine(day, value, None) for value in cells]
        return np.array(moments, dtype="datetime64[us]")
    kinds = sorted({type(value).__name__ for value in present})
    raise _unreadable_column(f"the {table}", column, f"{kind} ({', '.join(kinds)})")


def _naive(moment: datetime.date) -> datetime.date:
    if isinstance(moment, datetime.datetime) and moment.tzinfo is not None:
        return moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return moment


# ----------------------------------------------------------------------------------------------------
# Files out


def _all_whole(values: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.isnan(values) | ((np.floor(values) == values) & (np.abs(values) < 2.0**53))))


def _csv_cells(values: np.ndarray, whole: bool) -> list[Any]:
    if values.dtype.kind == "f":
        cells = (
            values.tolist()
        )  # csv writes a float by repr: the shortest text that reads back as the same number
        if whole:
            return ["" if value != value else int(value) for value in cells]
        return ["" if value != value else value for value in cells]
    if values.dtype.kind == "M":
        moments = values.astype("datetime64[us]")
        clock = bool(
            np.any(
                moments != moments.astype("datetime64[D]").astype("datetime64[us]"), where=~np.isnat(moments)
            )
        )
        texts = np.datetime_as_string(moments if clock else moments.astype("datetime64[D]")).tolist()
        return ["" if text == "NaT" else text.removesuffix(".000000") for text in texts]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    spelled = {True: "true", False: "false"}
    return [
        "" if value is None else spelled[bool(value)] if isinstance(value, (bool, np.bool_)) else value
        for value in values.tolist()
    ]


def _write_parquet(path: Path, columns: Mapping[str, np.ndarray], target: Path) -> None:
    import duckdb

    stream = _arrow_stream(columns)
    with _database(path.resolve()) as database:
        try:
            database.register("outgoing", stream)
            place = _quoted(str(path.resolve()))
            database.execute(f"copy (select * from outgoing) to {place} (format parquet, use_tmp_file false)")
        except duckdb.Error as problem:
            raise OutputError(
                f"{target} cannot be written: {_first_line(problem)}. Choose another place."
            ) from problem


def _arrow_stream(columns: Mapping[str, np.ndarray]) -> Any:
    """The columns as one Arrow batch with nulls. Typed here: DuckDB would guess types from a sample."""
    import nanoarrow as na

    schema, children = {}, []
    for name, column in columns.items():
        values = np.asarray(column)
        present = _present(values)
        if values.dtype.kind == "M":
            kind: Any = na.timestamp("us")
            data = np.where(present, values.astype("datetime64[us]").astype(np.int64), 0)
        elif values.dtype.kind in "fiu":
            kind, data = na.float64(), values.astype(np.float64)
        elif values.dtype.kind == "b" or all(
            isinstance(value, (bool, np.bool_)) for value in values[present]
        ):
            truths = np.array([bool(value) for value in values.tolist()], dtype=bool)
            kind, data = na.bool_(), np.packbits(truths, bitorder="little")
        else:
            kind, data = na.string(), None
        schema[name] = kind
        if data is None:
            texts = [
                str(value) if there else None for value, there in zip(values.tolist(), present, strict=True)
            ]
            children.append(na.c_array(texts, kind))
        else:
            validity = None if present.all() else np.packbits(present, bitorder="little")
            gaps = int(len(present) - present.sum())
            children.append(na.c_array_from_buffers(kind, len(values), [validity, data], null_count=gaps))
    rows = len(next(iter(columns.values())))
    return na.ArrayStream(na.c_array_from_buffers(na.struct(schema), rows, [None], children=children))


def _present(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "M":
        return ~np.isnat(values)
    if values.dtype.kind == "f":
        return ~np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([value is not None for value in values.tolist()], dtype=bool)
    return np.ones(len(values), dtype=bool)
