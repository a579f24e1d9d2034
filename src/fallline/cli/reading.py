"""How a table is written, said by options: the same for every command that reads one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fallline.cli import printing

if TYPE_CHECKING:
    from fallline.table.stream import StreamedTable
    from fallline.table.table import Table

_NAMES = ("skip", "delimiter", "decimal", "thousands", "na", "date_format", "header")
SHARE = 0.25  # of the free memory, which a table may take
Command = TypeVar("Command", bound=Callable[..., Any])


def reading_options(command: Command) -> Command:
    """Give a command the options that say how its table is written, where that is not to be found out."""
    for option in reversed((
        click.option("--skip", type=click.IntRange(0), metavar="N", help="Lines to leave out before the header."),
        click.option("--delimiter", metavar="SIGN", help="What separates the fields: a sign, tab or space."),
        click.option("--decimal", type=click.Choice([".", ","]), help="The decimal mark."),
        click.option("--thousands", metavar="SIGN", help="The mark between thousands: a sign, space or none."),
        click.option("--na", multiple=True, metavar="CELL", help="A cell that means that nothing was recorded; repeatable."),
        click.option("--date-format", metavar="FORMAT", help="How dates are written, such as %d.%m.%Y or %m/%d/%Y."),
        click.option(
            "--unpacked", type=click.FloatRange(0, min_open=True), metavar="MEGABYTES",
            help="What a gzipped table may unpack to.  [default: 30 times its size, at least 268]",
        ),
        click.option("--header", type=click.IntRange(0, 2), metavar="LINES", help="Lines of the header: 0, 1, or 2."),
    )):  # fmt: skip
        command = option(command)
    return command


def read(table: Path, options: dict[str, Any], like: Any = None) -> "Table":
    """Read a table; what the options say of it is taken out of them. ``like``: the reading of a table that is written alike."""
    from fallline.table.read import read_table
    from fallline.table.stream import is_several

    if is_several(table):
        return open_to_stream(table, options, like).read()
    asked = {name: options.pop(name) for name in _NAMES}
    megabytes = options.pop("unpacked")
    most = None if megabytes is None else int(1e6 * megabytes)
    return read_table(table, **asked, unpacked_bytes=most, like=like if isinstance(like, Mapping) else None)


def open_to_stream(table: Path, options: dict[str, Any], like: Any = None) -> "StreamedTable":
    """As ``read``, of a table whose rows are read from disk at every pass."""
    from fallline.table.stream import open_table

    asked = {name: options.pop(name) for name in _NAMES}
    options.pop("unpacked")  # however large: nothing of it is held
    return open_table(table, **asked, like=like if isinstance(like, Mapping) else None)


def why_streamed(table: Path) -> str:
    """A sentence where a table is to be read from disk at every pass, as it would not fit in memory; "" where it fits."""
    from fallline.table.encoded import memory_available
    from fallline.table.stream import bytes_in_memory
    from fallline.words import written

    needed, free = bytes_in_memory(table), memory_available()
    if needed <= SHARE * free:
        return ""
    return (
        f"{table.name} is read from disk at every pass: in memory a fit would take some {written(needed / 1e9, 2)} GB, more than "
        f"a quarter of the {written(free / 1e9, 3)} GB that are free."
    )


def said_of(source: "Table | StreamedTable") -> tuple[str, ...]:
    """What was found around the rows, and what stays doubtful."""
    return (*source.remarks, *source.doubts)


def tell(source: "Table | StreamedTable", quiet: bool = False) -> None:
    """Print what was found in a file besides its rows, and, even where all else is quiet, what stays doubtful."""
    printing.note(source.doubts if quiet else said_of(source))
