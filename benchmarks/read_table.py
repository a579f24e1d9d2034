"""How long does it take to read and type a large CSV file, beside DuckDB's own typed read of it?

    python benchmarks/read_table.py            a million rows, three times each, in turn

Ten columns: four of decimals (2, 3, 4 and 6 places), three of whole numbers, a text, an ISO date, and one with exactly three
decimals, whose points could part thousands.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np

from fallline.table.read import read_table


def write(path: Path, n: int) -> None:
    """The file, the same each time."""
    random = np.random.default_rng(0)
    decimals = [np.char.mod(f"%.{places}f", 100 * random.normal(size=n)) for places in (2, 3, 4, 6)]
    whole = [random.integers(low, high, n).astype(str) for low, high in ((0, 1000), (0, 10**7), (-50, 50))]
    text = np.array(["ash", "oak", "beech", "fir", "maple", "birch"])[random.integers(0, 6, n)]
    day = (np.datetime64("2015-01-01") + random.integers(0, 3650, n)).astype(str)
    three = np.char.mod("%.3f", random.uniform(1, 99, n))
    with path.open("w") as file:
        file.write("a,b,c,d,i,j,k,text,day,three\n")
        file.writelines(",".join(row) + "\n" for row in zip(*decimals, *whole, text, day, three, strict=True))


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processors."""

    def processors() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    clock, before = time.perf_counter(), processors()
    run()
    return time.perf_counter() - clock, processors() - before


def main() -> None:
    """Print the seconds of each, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write(path, given.rows)
        ways = {
            "read_table": lambda: read_table(path),
            "DuckDB": lambda: duckdb.connect().execute(f"select * from read_csv('{path}')").fetchnumpy(),
        }
        for run in ways.values():
            run()
        for _ in range(given.times):
            print(
                ", ".join(
                    "{}: {:.2f} s ({:.2f} s of processors)".format(name, *seconds(run)) for name, run in ways.items()
                )
            )


if __name__ == "__main__":
    main()
