"""How soon does one have an answer? Whole processes, as a user waits for them, beside scikit-learn's.

    python benchmarks/startup.py [--repeats 5]

All take turns, medians of the repeats: ``fallline fit examples/concrete.csv --target strength`` (report, verdict and intervals
included), a script with a default ``NetworkRegressor`` on the same table beside one with ``MLPRegressor``, ``fallline predict``
and ``show`` beside an import of ``sklearn.base``, and ``fallline --help``. Then, in one process: what the steps of the
command take, and ``predict`` of a data frame of 100 rows.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "examples" / "concrete.csv"

SCRIPT = """
import pandas
table = pandas.read_csv({table!r})
x, y = table.drop(columns="strength").to_numpy(), table["strength"].to_numpy()
{fit}
"""
OURS = "from fallline import NetworkRegressor\nNetworkRegressor(random_state=0).fit(x, y)"
THEIRS = """import warnings
warnings.simplefilter("ignore")
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
make_pipeline(StandardScaler(), MLPRegressor(random_state=0)).fit(x, y)"""

STEPS = """
import time
begin = time.perf_counter()
def said(name):
    global begin
    print(f"  {name:34} {time.perf_counter() - begin:6.2f} s")
    begin = time.perf_counter()
import fallline.cli.main; said("import of the command line")
from fallline.table.read import read_table
table = read_table(TABLE); said("reading the table")
from fallline.cli.rows import prepare
from fallline.cli.table_fit import fit_table
prepared = prepare(table, ["strength"]); said("columns")
fit = fit_table(prepared, intervals=False); said("the default fit")
fit = fit_table(prepared); said("again, with intervals")
import numpy, pandas
from fallline import NetworkRegressor
frame = pandas.read_csv(TABLE); y = frame.pop("strength"); few = frame[:100]
few = few.assign(kind=["a", "b"] * 50); all_ = frame.assign(kind="a").astype({"kind": object}); all_.loc[::2, "kind"] = "b"
fit = NetworkRegressor(hidden_layer_sizes=(5,), n_starts=1, max_iter=5).fit(all_, y)
took = []
for _ in range(50):
    begin = time.perf_counter(); fit.predict(few); took.append(time.perf_counter() - begin)
print(f"  {'predict, data frame of 100 rows':34} {1e3 * numpy.median(took):6.2f} ms")
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "concrete-strength.fallline")
        python, command = [sys.executable, "-c"], [sys.executable, "-m", "fallline"]
        calls = {
            "fallline fit": [*command, "fit", str(TABLE), "--target", "strength", "-q", "-o", folder],
            "script, NetworkRegressor": [*python, SCRIPT.format(table=str(TABLE), fit=OURS)],
            "script, MLPRegressor": [*python, SCRIPT.format(table=str(TABLE), fit=THEIRS)],
            "fallline predict": [*command, "predict", model, str(TABLE), "-o", str(Path(folder) / "p.csv")],
            "fallline show": [*command, "show", model],
            "import sklearn.base": [*python, "import sklearn.base"],
            "fallline --help": [*command, "--help"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(repeats + 1):
            for name, call in calls.items():
                began = time.perf_counter()
                subprocess.run(call, check=True, capture_output=True)
                if turn:  # the first warms the files
                    seconds[name].append(time.perf_counter() - began)
        for name, each in seconds.items():
            print(f"{name:28} {statistics.median(each):6.2f} s  ({min(each):.2f} to {max(each):.2f})")

        def ratio(one: str, other: str) -> float:
            return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

        print(f"NetworkRegressor : MLPRegressor     {ratio('script, NetworkRegressor', 'script, MLPRegressor'):.2f}")
        print(f"predict : import of sklearn.base    {ratio('fallline predict', 'import sklearn.base'):.2f}")
        print(f"show : import of sklearn.base       {ratio('fallline show', 'import sklearn.base'):.2f}")
        code = f"TABLE = {str(TABLE)!r}\n{STEPS}"
        done = subprocess.run([*python, code], check=True, capture_output=True, text=True)
        print(f"step by step, in one process:\n{done.stdout}", end="")


if __name__ == "__main__":
    main()
