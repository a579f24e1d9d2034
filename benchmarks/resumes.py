"""Do fits that are killed at random moments, and begun again until they end, end at the same weights?

    python benchmarks/resumes.py [--kills 50] [--seed 0] [--roads NAME …]

`fallline fit --checkpoint` of each road below is run once without a stop. Then it is run again and again, and SIGKILL comes at a
moment drawn evenly from one and a half times the time that took, until a run ends by itself: then its weights, those of
all starts and the intervals are the same bits as before, and the folder is empty. After every kill each file of the folder is
read: the header and all walks are whole, others are hidden and temporary. Walks are written every 0.1 s here in
place of 15 s, so that most kills come between two of them, and some while one is written.
"""

import argparse
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from distributed import LocalCluster

from fallline.identity import digest
from fallline.model_file import load_model
from fallline.walk import checkpoint
from fallline.walk.tree import unpacked

OFTEN = (
    "import fallline.walk.checkpoint as c; c._SECONDS, c._SHARE = 0.1, 0.5; from fallline.cli.main import main; main()"
)
STREAM = """
import numpy as np
import fallline.walk.checkpoint as c, fallline.fit.streamed as streamed
c._SECONDS, c._SHARE, streamed._MOST_ROWS = 0.1, 0.5, 1000

class Source:
    inputs, outputs = 2, 1

    def blocks(self):
        rows = np.loadtxt("large.csv", delimiter=",", skiprows=1)
        for at in range(0, len(rows), 700):
            yield rows[at : at + 700, :2], rows[at : at + 700, 2:], None

fitted, path = streamed.fit_streamed(Source(), seed=0, checkpoint="kept", max_iter=60)
np.save("streamed.npy", fitted.weights)
"""
CLUSTER = """
import os
import dask.array as da, numpy as np
from distributed import Client
import fallline.walk.checkpoint as c
from fallline import LevenbergMarquardt, Network, descend
c._SECONDS, c._SHARE = 0.1, 0.5

rows = np.loadtxt("large.csv", delimiter=",", skiprows=1)
with Client(os.environ["SCHEDULER"]):
    x, y = (da.from_array(part, chunks=(700, -1)) for part in (rows[:, :2], rows[:, 2:]))
    path = descend(Network((2, 8, 1)), (x, y), LevenbergMarquardt(), seed=0, max_iter=60, tol=0.0, checkpoint="kept")
np.save("clustered.npy", path.weights)
"""
SCRIPTS = {"streamed.npy": STREAM, "clustered.npy": CLUSTER}
# A road: the file it reads, and the options of the fit.
ROADS = {
    "widths by folds": ("waves.csv", ["--quick"]),
    "starts": ("waves.csv", ["--hidden", "12", "--starts", "4", "--tol", "0", "--max-iter", "300"]),
    "gradient": ("waves.csv", ["--hidden", "8", "--descent", "gradient", "--max-iter", "4000", "--tol", "0"]),
    "mini-batches": (
        "waves.csv",
        ["--hidden", "20,20", "--descent", "mini-batch", "--starts", "2", "--max-iter", "150"],
    ),
    "L-BFGS and folds": ("waves.csv", ["--hidden", "10", "--descent", "l-bfgs", "--k-fold", "3", "--max-iter", "400"]),
    "classes": ("classes.csv", ["--max-iter", "60"]),
    "rows that stream by": ("streamed.npy", []),  # by the library: read anew at every pass
    "rows on a cluster": ("clustered.npy", []),  # by the library: two workers of Dask, which live on
    "a large table": ("large.csv", ["--seconds", "1000", "--quick", "--no-intervals"]),
}


def tables(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    for name, rows in (("waves", 400), ("classes", 150), ("large", 5200)):
        lines = ["a,b,y"]
        for _ in range(rows):
            a, b = chance.uniform(-2, 2), chance.uniform(-2, 2)
            y = math.sin(2 * a) * b + chance.gauss(0, 0.1)
            lines.append(f"{a},{b},{('high' if y > 0 else 'low') if name == 'classes' else y}")
        (folder / f"{name}.csv").write_text("\n".join(lines))


def command(road: str) -> list[str]:
    table, options = ROADS[road]
    if table in SCRIPTS:
        return [sys.executable, "-c", SCRIPTS[table]]
    return [sys.executable, "-c", OFTEN, "fit", table, "-t", "y", "-q", "--checkpoint", "kept", *options]


def found(folder: Path, road: str) -> str:
    """A digest of the weights of a model file, of all its starts, and of its intervals."""
    if ROADS[road][0] in SCRIPTS:
        return digest(np.load(folder / ROADS[road][0]))
    model = load_model(folder / f"{ROADS[road][0][:-4]}-y.fallline")
    return digest(model.fitted, None if model.intervals is None else model.intervals.scaled.to_arrays())


def whole(folder: Path) -> str:
    """What a kill left in the folder of a checkpoint, in a word. Raises where a file is damaged."""
    walks = list(folder.glob("*.walk"))
    kinds = Counter(next(iter(unpacked(path.read_bytes(), checkpoint._CLASSES))) for path in walks)
    if (folder / "checkpoint.json").exists():
        assert json.loads((folder / "checkpoint.json").read_bytes())["mark"] == checkpoint._MARK
    else:
        assert not walks, "walks without a header"
    others = {path.name for path in folder.glob("[!.]*")} - {path.name for path in walks} - {"checkpoint.json"}
    assert not others, others
    return "walks under way" if kinds["under way"] else "walks that had ended" if walks else "nothing yet"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--roads", nargs="+", choices=list(ROADS), default=list(ROADS))
    asked = parser.parse_args()
    chance, left, fits, kills, hidden, slower = random.Random(asked.seed), Counter[str](), 0, 0, 0, []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if "rows on a cluster" in asked.roads:
            cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
            os.environ["SCHEDULER"] = cluster.scheduler_address
        tables(folder, asked.seed)
        expected, seconds = {}, {}
        for road in asked.roads:
            began = time.monotonic()
            subprocess.run(command(road), cwd=folder, check=True)
            seconds[road], expected[road] = time.monotonic() - began, found(folder, road)
        while kills < asked.kills:
            road = asked.roads[fits % len(asked.roads)]
            spent = 0.0
            while True:
                process = subprocess.Popen(command(road), cwd=folder, stderr=subprocess.PIPE, text=True)
                began = time.monotonic()
                try:
                    said = process.communicate(timeout=chance.uniform(0, 1.5 * seconds[road]))[1]
                    spent += time.monotonic() - began
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    spent += time.monotonic() - began
                kills += 1
                left[whole(folder / "kept") if (folder / "kept").exists() else "nothing yet"] += 1
                hidden += sum(path.name.endswith(".part") for path in (folder / "kept").glob(".*"))
                for path in folder.rglob(".*"):  # as if time had passed
                    os.utime(path, (0, 0))
            assert (process.returncode, said) == (0, ""), said
            assert found(folder, road) == expected[road], f"{road}: other weights"
            assert not list((folder / "kept").iterdir()), "the folder is not empty"
            fits, slower = fits + 1, [*slower, spent / seconds[road]]
    said = "; ".join(f"{count} × {what}" for what, count in sorted(left.items()))
    print(f"{kills} kills in {fits} fits of {len(asked.roads)} roads: identical weights every time, no damaged file")
    print(f"A kill left: {said}. Half-written temporary files: {hidden}, all gone after the fit.")
    print(f"Time until a fit had ended, in that of one without a kill: {sum(slower) / len(slower):.2f} in the mean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
