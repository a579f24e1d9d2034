"""What is left after SIGKILL at a random moment of `fallline fit`, `fallline predict` or `fallline explore`?

    python benchmarks/kills.py [--kills 50] [--seed 0]

In a folder with a model, a report and predictions of an earlier run, a command that replaces them, or the live page of the
model, is killed: half of the moments are drawn evenly from the time it takes (of the page: three seconds), half from the end of
it, when files are written. Then: every file that was there is whole (old or new, byte for byte), no other one has appeared but
hidden temporary ones, and the next run takes the temporary ones away. The last line counts how many kills left the old files,
the new ones, and a model and report of different fits.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fallline.cli.kept import other_report
from fallline.model_file import load_model

FIT = ["fit", "t.csv", "-t", "y", "--hidden", "2", "--starts", "1", "--max-iter", "10", "-q"]
PREDICT = ["predict", "t-y.fallline", "t.csv", "-o", "p.csv"]
EXPLORE = ["explore", "t-y.fallline", "--no-browser"]


def fallline(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "fallline", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def contents(folder: Path) -> dict[str, bytes]:
    """The files that a person sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def killed(folder: Path, command: list[str], chance: random.Random, seconds: float) -> str:
    """Kill a command; what it left, in a word. Raises AssertionError where that is not whole."""
    before = contents(folder)
    process = fallline(folder, *command)
    time.sleep(seconds * (chance.uniform(0, 1) if chance.random() < 0.5 else chance.uniform(0.8, 1.2)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    after = contents(folder)
    assert after.keys() == before.keys(), sorted(after)
    load_model(folder / "t-y.fallline")
    assert after["t-y.html"].rstrip().endswith(b"</html>"), "the report is cut"
    assert after["p.csv"].endswith(b"\n"), "the predictions are cut"
    assert after["p.csv"].count(b"\n") == 121, "the predictions are cut"
    if other_report(folder / "t-y.fallline"):
        return "a model and a report of different fits"
    return "the old files" if after == before else "the new files"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, left = random.Random(asked.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(f"{i % 7},{i % 11},{i % 7 + 0.1 * (i % 11) ** 2}\n" for i in range(120))
        (folder / "t.csv").write_text("a,b,y\n" + rows)
        seconds = []
        for command in (FIT, PREDICT):
            began = time.monotonic()
            assert fallline(folder, *command).wait() == 0
            seconds.append(time.monotonic() - began)
        hidden = 0
        for at in range(asked.kills):
            commands = [*FIT, "--seed", str(at + 1)], [*PREDICT, *(["--std"] if at % 2 else [])], EXPLORE
            command, limit = commands[at % 3], [*seconds, 3.0][at % 3]
            left[f"{command[0]}: {killed(folder, command, chance, limit)}"] += 1
            hidden += sum(path.name.startswith(".") for path in folder.iterdir())
            for path in folder.glob(".*"):  # as if time had passed
                os.utime(path, (0, 0))
            if at % 10 == 9 or at == asked.kills - 1:
                assert fallline(folder, *FIT).wait() == fallline(folder, *PREDICT).wait() == 0
                assert not list(folder.glob(".*")), "what a dead process left is still there"
    said = "; ".join(f"{count} × {what}" for what, count in sorted(left.items()))
    print(f"{asked.kills} kills, {hidden} temporary files seen after them and all gone after the next run; {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
