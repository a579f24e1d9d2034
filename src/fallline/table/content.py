"""Bytes to clean text: what kind of file it is, unpacked and decoded, with plain line ends.

A clean file is not copied: DuckDB reads it where it lies. What the text says is for ``separated.py`` and ``json_rows.py``.
"""

import codecs
import contextlib
import dataclasses
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from fallline.exceptions import TableError

_SAMPLE = 256 * 1024  # bytes looked at to find the separator: some thousand lines
_UNPACKED, _TIMES = 1 << 28, 30  # bytes that any gzipped file may unpack to, and how many times its size
_CHUNK = 4 * 1024 * 1024
_ODD = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1a\x1b")) + b"\x7f"  # what no text has

_GIVE = "Give a CSV, Parquet or JSON file"
_SHEET = "Save the sheet as CSV and give that file"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx, .ods)", _SHEET),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)", _SHEET),
    (b"\x89PNG", "a PNG picture", _GIVE),
    (b"\xff\xd8\xff", "a JPEG picture", _GIVE),
    (b"%PDF", "a PDF", _GIVE),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV"),
    (b"\x89HDF", "an HDF5 file", "Save the table as CSV or Parquet"),
    (b"ARROW1", "an Arrow (Feather) file", "Save the table as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "Save the table as CSV or Parquet"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first (zstd -d), or compress it with gzip"),
    (b"BZh", "compressed with bzip2", "Unpack it first (bunzip2), or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it first (unxz), or compress it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first"),
    (b"GIF8", "a GIF picture", _GIVE),
    (b"\x7fELF", "a program", _GIVE),
)


@dataclass(frozen=True)
class Source:
    """A file of known kind. ``content`` is clean UTF-8 with \\n line ends, or None if the file itself is."""

    path: Path
    kind: str  # "text" | "json" | "parquet"
    sample: bytes  # the beginning of the content, cut anywhere
    content: bytes | None = None

    def whole(self) -> bytes:
        """The content, read from the file where it is not held."""
        return self.path.read_bytes() if self.content is None else self.content

    def beginning(self) -> str:
        """The sample as text."""
        return self.sample.decode("utf-8", errors="ignore")

    def holding(self, content: bytes) -> "Source":
        """The same source with this content instead of its own."""
        return dataclasses.replace(self, content=content, sample=content[:_SAMPLE])

    @property
    def in_sample(self) -> bool:
        """Whether the sample is all there is."""
        return len(self.sample) < _SAMPLE


def source_of(path: Path, most: int | None = None) -> Source:
    """What is in the file. Raises TableError where it is empty, damaged or of a kind that is not read.

    ``most``: bytes that a gzipped file may unpack to; None for 30 times its size, and 256 MiB at least.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    empty = f"{path.name} is empty: a header line and rows of values were expected."
    content = None
    if head.startswith(b"\x1f\x8b"):
        content = _unpacked(path, max(_UNPACKED, _TIMES * path.stat().st_size) if most is None else most)
        head = content[:_SAMPLE]
        empty = f"{path.name} is empty once unpacked: a header line and rows were expected."
    if not head:
        raise TableError(empty)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if head.startswith(b"PAR1") or suffixes[-1:] in ([".parquet"], [".pq"]):
        return Source(path, "parquet", head, content)
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise TableError(f"{path.name} is {what}, not text with one row on each line. {remedy}.")
    if content is None and not _is_clean(path):
        content = path.read_bytes()
    if content is not None:
        content = _clean(content, path.name)
        head = content[:_SAMPLE]
    if not head.strip():
        raise TableError(empty)
    named = not {".json", ".jsonl", ".ndjson"}.isdisjoint(suffixes)
    kind = "json" if named or re.match(rb'\s*(\[\s*)?\{\s*"', head) else "text"
    return Source(path, kind, head, content)


def _unpacked(path: Path, most: int) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise TableError(
            f"{path.name} is a damaged or cut-off gzip file ({problem}). Copy or download it again."
        ) from problem
    if len(content) > most:
        raise TableError(
            f"{path.name} unpacks to more than {most / 1e6:,.0f} MB, which few tables do: allow more with --unpacked MEGABYTES "
            "(unpacked_bytes of read_table), or unpack it first."
        )
    return content


def _is_clean(path: Path) -> bool:
    """Whether DuckDB can read the file where it lies: UTF-8, no mark at its start, plain line ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            if file.peek().startswith(codecs.BOM_UTF8):
                return False
            while chunk := file.read(_CHUNK):
                if (
                    b"\r" in chunk
                    or b"\0" in chunk
                    or len(chunk[:_SAMPLE].translate(None, _ODD)) < len(chunk[:_SAMPLE])
                ):
                    return False
                if not chunk.isascii():
                    decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _clean(content: bytes, name: str) -> bytes:
    """The same text in UTF-8 with \\n line ends. Raises TableError if it is not text."""
    text = _decoded(content)
    odd = len(text) - len(text.translate(dict.fromkeys(_ODD)))
    if "\0" in text or odd > 0.002 * len(text):
        raise TableError(
            f"{name} is not text: it holds bytes that no text has. {_GIVE} (a spreadsheet: save it as CSV)."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.encode("utf-8", errors="replace")


def _decoded(content: bytes) -> str:
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
