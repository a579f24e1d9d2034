"""Are random tables in random dialects read right, and is every doubt said?

    python benchmarks/dialects.py 1000           the first thousand tables, and how many each verdict has
    python benchmarks/dialects.py 1000 5000      tables 1000 to 5999
    python benchmarks/dialects.py 5000 --sniffer the same for DuckDB's own reading of a file with all defaults

Tables and verdicts are those of ``tests/table/random_tables.py``; a table is known by its number.
"""

import argparse
import contextlib
import datetime
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np

import fallline.table.database

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "table"))
from random_tables import Made, agrees, random_table, verdict


def sniffed(made: Made, path: Path) -> str:
    """ "right" where DuckDB's sniffer reads every column as it is meant, else "wrong" or "refused"."""
    path.write_bytes(made.content)
    try:
        with duckdb.connect() as database:
            relation = database.sql(f"select * from read_csv('{path}')")
            columns = list(relation.fetchnumpy().values())
    except (duckdb.Error, UnicodeDecodeError):
        return "refused"
    if len(columns) != len(made.columns):
        return "wrong"
    # Names are not compared: those that DuckDB makes up are as good.
    right = all(agrees(_plain(read), values) for read, values in zip(columns, made.columns.values(), strict=True))
    return "right" if right else "wrong"


def _plain(values: np.ndarray) -> np.ndarray:
    """Cells of any type as ``agrees`` compares them: numbers as floats, dates and times of day as moments, None where missing."""
    cells = np.ma.getdata(values).astype("datetime64[us]" if values.dtype.kind == "M" else object).tolist()
    gone = np.ma.getmaskarray(values)
    return np.array([None if missing else _cell(cell) for cell, missing in zip(cells, gone, strict=True)], object)


def _cell(cell: object) -> object:
    if isinstance(cell, datetime.time):
        return datetime.datetime.combine(datetime.date(1970, 1, 1), cell)
    if isinstance(cell, datetime.timedelta):
        return cell / datetime.timedelta(seconds=1)
    return float(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell


@contextlib.contextmanager
def one_database(_readable: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same database for every table: to open one takes a third of the time."""
    yield SHARED
    for (kind, name) in SHARED.execute("select 'view', view_name from duckdb_views() where temporary and not internal union all "
                                       "select 'table', table_name from duckdb_tables()").fetchall():  # fmt: skip
        SHARED.execute(f"drop {kind} if exists {name}")


SHARED = duckdb.connect(config={"threads": 1})
SHARED.execute("set TimeZone='UTC'")


def main() -> None:
    """Print the tally, and each table that was read wrong in silence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", type=int, nargs="+", help="how many tables, or the first and how many")
    parser.add_argument("--sniffer", action="store_true", help="judge DuckDB's sniffer instead")
    given = parser.parse_args()
    first, many = given.numbers if len(given.numbers) == 2 else (0, given.numbers[0])
    tally: Counter[str] = Counter()
    fallline.table.database.database = one_database
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        for number in range(first, first + many):
            made = random_table(number)
            found, why = (sniffed(made, path), "") if given.sniffer else verdict(made, path)
            tally[found] += 1
            if found == "wrong in silence":
                print(f"table {number} ({', '.join(made.kinds)}): {why}", flush=True)
    print(
        f"tables {first} to {first + many - 1}: " + ", ".join(f"{name} {n}" for name, n in tally.most_common()),
        flush=True,
    )


if __name__ == "__main__":
    main()
