"""Where does the time of ``fallline fit examples/concrete.csv --target strength`` go?

    python benchmarks/startup.py [--repeats 5]

First the whole process, as a user waits for it: with an empty folder of compiled programs, then with a filled one
(median of the repeats). Then one process that takes the same steps one after another and says what each takes;
"trace and load" is the time of a descent of no step; the default fit tries four widths and begins ten times. In the
command itself imports run beside the reading of the table.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "examples" / "concrete.csv"

STEPS = """
import time
begin = time.perf_counter()
def said(name):
    global begin
    print(f"  {name:34} {time.perf_counter() - begin:6.2f} s")
    begin = time.perf_counter()
import fallline.cli.main; said("import of the command line")
import jax, fallline.fit.network_fit; said("import of JAX")
import fallline.report, fallline.cli.table_fit; fallline.report.prepare(); said("import of the drawing")
from fallline.table.read import read_table
table = read_table(TABLE); said("reading the table")
fallline.use_compile_cache()
prepared = fallline.cli.table_fit.prepare(table, ["strength"]); said("columns")
one = {"hidden_layer_sizes": (20,), "n_starts": 1, "alpha": 0.1, "intervals": False}
fallline.cli.table_fit.fit_table(prepared, max_iter=0, **one); said("trace and load, 20 units")
fit = fallline.cli.table_fit.fit_table(prepared, **one); said(f"one start ({fit.path.n_passes} passes)")
fit = fallline.cli.table_fit.fit_table(prepared, intervals=False); said("the default fit")
fit = fallline.cli.table_fit.fit_table(prepared); said("again, with intervals")
from fallline.report import render_report
page = render_report(fallline.cli.table_fit.report_of(fit, "fallline fit")); said("report")
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"FALLLINE_COMPILE_CACHE": str(Path(folder) / "programs")}
        command = [
            sys.executable,
            "-m",
            "fallline",
            "fit",
            str(TABLE),
            "--target",
            "strength",
            "-q",
            "-o",
            folder,
        ]

        def seconds(call: list[str]) -> float:
            began = time.perf_counter()
            subprocess.run(call, env=environment, check=True, capture_output=True)
            return time.perf_counter() - began

        print(f"whole process, first time   {seconds(command):6.2f} s")
        again = [seconds(command) for _ in range(repeats)]
        print(
            f"whole process, second time  {statistics.median(again):6.2f} s  (of {repeats}: {min(again):.2f} to {max(again):.2f})"
        )
        helps = [seconds([sys.executable, "-m", "fallline", "--help"]) for _ in range(repeats)]
        print(f"fallline --help             {statistics.median(helps):6.2f} s")
        code = f"TABLE = {str(TABLE)!r}\n{STEPS}"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
        )
        print(f"step by step, second time:\n{done.stdout}", end="")


if __name__ == "__main__":
    main()
