"""How many digits do the NIST reference problems get, with the problem's start and no other setting?

    python benchmarks/nist.py [NAME …] [--without SETTING]

The data and certified values are in tests/data/nist.json. Printed for each of 27 nonlinear problems and both starts, and
for 11 linear sets from no start at all: the digits of the worst parameter and of the worst standard deviation,
−log10 |b − c|/|c|, at most 11 (15 for linear sets: the certified values have as many), steps, passes and seconds.
``--without``: one of the settings of ``LevenbergMarquardt.for_curves()`` as it is for networks.
"""

import argparse
import dataclasses
import json
import time
import warnings
from pathlib import Path

import numpy as np

from fallline import CurveRegressor, LevenbergMarquardt

SETTINGS = ("damping", "scaling", "factor", "acceleration", "longest_step", "memory", "polish")
DATA = Path(__file__).parents[1] / "tests" / "data" / "nist.json"


def digits(found: np.ndarray, certified: np.ndarray, most: float) -> float:
    """Agreeing digits of the worst value; where 0 is certified, of its absolute size."""
    found, certified = np.asarray(found), np.asarray(certified)
    size = np.where(certified == 0, 1.0, np.abs(certified))
    apart = np.maximum(np.abs(found - certified) / size, 1e-300)
    return float(np.min(np.minimum(-np.log10(apart), most)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--without", choices=SETTINGS)
    given = parser.parse_args()
    asked, descent = given.names, LevenbergMarquardt.for_curves()
    if given.without:
        plain = getattr(LevenbergMarquardt(), given.without)
        descent = dataclasses.replace(descent, **{given.without: plain})
        warnings.simplefilter("ignore")  # some end at max_iter then
    data = json.loads(DATA.read_text())
    print("| problem | level | start | digits of parameters | of standard deviations | steps | passes | s |")
    print("|---|---|---|---|---|---|---|---|")
    said = []
    for kind, most in (("nonlinear", 11.0), ("linear", 15.0)):
        arrived = runs = 0
        for name, problem in data[kind].items():
            if asked and name not in asked:
                continue
            x = np.column_stack(list(problem["columns"].values()))
            names = [f"b{i + (kind == 'nonlinear')}" for i in range(len(problem["certified"]))]
            if kind == "linear" and "b0" not in problem["model"]:
                names = [f"b{i + 1}" for i in range(len(names))]
            for number, start in enumerate(problem.get("starts", [None]), start=1):
                began = time.perf_counter()
                begin = None if start is None else dict(zip(names, start, strict=True))
                curve = CurveRegressor(problem["model"], start=begin, descent=descent)
                fit = curve.fit(x, np.array(problem["y"]))
                seconds = time.perf_counter() - began
                order = [fit.names_.index(each) for each in names]
                found = digits(fit.weights_[order], problem["certified"], most)
                spread = digits(fit.standard_errors_[order], problem["certified_sd"], most)
                arrived, runs = arrived + (found >= 8), runs + 1
                which = "—" if start is None else number
                print(
                    f"| {name} | {problem['level']} | {which} | {found:.1f} | {spread:.1f} | {fit.n_iter_} "
                    f"| {fit.n_passes_} | {seconds:.2f} |",
                    flush=True,
                )
        said.append(f"{kind}: {arrived} of {runs} runs to 8 digits of every parameter")
    print(f"\n{'; '.join(said)}")


if __name__ == "__main__":
    main()
