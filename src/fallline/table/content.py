"""Bytes to clean text: what kind of file it is, unpacked and decoded, with plain line ends.

A clean file is not copied: DuckDB reads it where it lies. What the text says is for ``separated.py`` and ``json_rows.py``.
"""

import codecs
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fallline.exceptions import TableError
from fallline.words import counted

PARQUET, _JSON = (".parquet", ".pq"), {".json", ".jsonl", ".ndjson"}  # endings of names
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
    if _is_parquet(path, head):
        return Source(path, "parquet", head, content)
    _must_not_be_foreign(path, head)
    if content is None and not _is_clean(path):
        content = path.read_bytes()
    if content is not None:
        content = _clean(content, path.name)
        head = content[:_SAMPLE]
    if not head.strip():
        raise TableError(empty)
    return Source(path, _text_kind(path, head), head, content)


def beginning_of(path: Path, size: int) -> tuple[Source, bool]:
    """What is in the file, by its beginning, which is all that is read; and whether that is all. Raises what ``source_of`` does.

    Of a text, the beginning is the first of its ``pieces`` of that size.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    if _is_parquet(path, head):
        return Source(path, "parquet", head), False
    _must_not_be_foreign(path, head)
    found = pieces(path, size)
    head, more = next(found, b""), next(found, None)
    if not head.strip():
        raise TableError(f"{path.name} is empty: a header line and rows of values were expected.")
    return Source(path, _text_kind(path, head), head[:_SAMPLE], head), more is None


def _must_not_be_foreign(path: Path, head: bytes) -> None:
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            raise TableError(f"{path.name} is {what}, not text with one row on each line. {remedy}.")


def is_json(path: Path) -> bool:
    """Whether a file is JSON by its name."""
    return not _JSON.isdisjoint(suffix.lower() for suffix in path.suffixes)


def _is_parquet(path: Path, head: bytes) -> bool:
    return head.startswith(b"PAR1") or path.suffix.lower() in PARQUET


def _text_kind(path: Path, head: bytes) -> str:
    return "json" if is_json(path) or re.match(rb'\s*(\[\s*)?\{\s*"', head) else "text"


def _unpacked(path: Path, most: int) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            content = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise _damaged(path, problem) from problem
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


def pieces(path: Path, size: int) -> Iterator[bytes]:
    """The content of a text file, gzipped or not, piece by piece of some ``size`` bytes, each of whole lines.

    As clean as that of ``source_of``. A piece ends at the end of a line that lies outside quotation marks; the last one is not
    much smaller than the others, as it may hold what stands below the rows. Raises TableError
    where the file turns out to be no text, to be damaged, or to be in another encoding than its beginning.
    """
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    held, rest, encoding, ascii_alone = "", "", "", True
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    with gzip.open(path) if packed else path.open("rb") as file:
        while raw := _unzipped(file, size, path):
            if not encoding:
                encoding = _encoding(raw, whole=False)
                decoder = _decoder(encoding)
            try:
                text = decoder.decode(raw)
            except UnicodeDecodeError as problem:
                if encoding != "utf-8" or not ascii_alone:
                    raise TableError(
                        f"{path.name} is no longer {encoding} text after {counted(file.tell() - len(raw), 'byte')}: save all of "
                        "it anew as UTF-8."
                    ) from problem
                encoding, decoder = "cp1252", _decoder("cp1252")
                text = decoder.decode(raw)
            ascii_alone = ascii_alone and raw.isascii()
            _must_be_text(text[:_SAMPLE] if "\0" not in text else text, path.name)
            rest += text
            if end := _end_of_lines(rest, give_up=len(rest) > 4 * size):
                if held:
                    yield held.encode("utf-8", errors="replace")
                held, rest = rest[:end], rest[end:]
        rest += decoder.decode(b"", final=True)
    for text in (held, rest) if 4 * len(rest) > size else (held + rest,):
        if text:
            yield text.encode("utf-8", errors="replace")


def _unzipped(file: Any, size: int, path: Path) -> bytes:
    try:
        found: bytes = file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise _damaged(path, problem) from problem
    return found


def _damaged(path: Path, problem: Exception) -> TableError:
    return TableError(f"{path.name} is a damaged or cut-off gzip file ({problem}). Copy or download it again.")


def _decoder(encoding: str) -> io.IncrementalNewlineDecoder:
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)


def _end_of_lines(text: str, give_up: bool) -> int:
    """After the last line end outside quotation marks, 0 without any; after the last of all for who has to ``give_up``."""
    end = last = text.rfind("\n") + 1
    while end and text.count('"', 0, end) % 2:
        end = text.rfind("\n", 0, text.rfind('"', 0, end)) + 1
    return end or (last if give_up else 0)


def _clean(content: bytes, name: str) -> bytes:
    """The same text in UTF-8 with \\n line ends. Raises TableError if it is not text."""
    text = content.decode(_encoding(content), errors="replace")
    _must_be_text(text, name)
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.encode("utf-8", errors="replace")


def _must_be_text(text: str, name: str) -> None:
    odd = len(text) - len(text.translate(dict.fromkeys(_ODD)))
    if "\0" in text or odd > 0.002 * len(text):
        raise TableError(
            f"{name} is not text: it holds bytes that no text has. {_GIVE} (a spreadsheet: save it as CSV)."
        )


def _encoding(content: bytes, whole: bool = True) -> str:
    """In which encoding a text is; of one that is not ``whole``, the last letter may be cut."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same two bytes
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return encoding
    if b"\0" not in content and _is_in("utf-8", content, whole):
        return "utf-8"
    # UTF-16 without a mark: every other byte of western text is zero.
    even, odd = content[:_SAMPLE:2].count(0), content[1:_SAMPLE:2].count(0)
    half = max(1, min(len(content), _SAMPLE) // 2)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 0.7 * half and others < 0.1 * half:
            return encoding
    # What Windows calls Latin-1: the same letters, and € and “ ” besides.
    return "cp1252" if _is_in("cp1252", content, whole) else "latin-1"


def _is_in(encoding: str, content: bytes, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(content, final=whole)
    except UnicodeDecodeError:
        return False
    return True
