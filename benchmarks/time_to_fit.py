"""How soon is a small network fitted? Time to an error within a thousandth of the best, from the same start.

    python benchmarks/time_to_fit.py [CONCRETE.csv] [--seconds S] [--starts K] [--repeats R]

1 000 × 8 rows, 10 tanh units, float64: a smooth function with noise, and, where its file is given, concrete. Peers: SciPy's
``least_squares`` (``trf`` and ``lm``) with an analytic Jacobian in NumPy, Optimistix, scikit-learn's and PyTorch's L-BFGS,
R's ``nnet``; those that are not installed are named. Each first walks once for so many seconds, which compiles and shows
how far it gets; then all take turns, each as far as the two goals below, with one thread or all, as suited it best.

Different descents may end in different minima. So there are two goals for each start: 1.001 × the lowest E that any of them
reached, which not all reach, and 1.001 × the highest of their ends, which all do.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import scipy.optimize
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from fallline import InMemory, LevenbergMarquardt, Network, descend

NETWORK = Network((8, 10, 1))


class Over(Exception):
    """A peer has arrived, or its time is over."""


class Watch:
    """When each value of E was known, until one is low enough or the time is over."""

    def __init__(self, goal: float, seconds: float) -> None:
        self.goal, self.seconds, self.began = goal, seconds, time.perf_counter()
        self.lowest = np.inf

    def note(self, error: float) -> None:
        self.lowest = min(self.lowest, error)
        if error <= self.goal or time.perf_counter() - self.began > self.seconds:
            raise Over


def smooth(rows: int = 1000) -> InMemory:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 8))
    y = np.sin(x[:, 0] + x[:, 1]) + 0.5 * x[:, 2] * x[:, 3] + np.exp(-(x[:, 4] ** 2)) + 0.3 * x[:, 5:].sum(axis=1)
    y = (y - y.mean()) / y.std() + 0.1 * random.normal(size=rows)
    return InMemory(x, y[:, None])


def concrete(file: Path) -> InMemory:
    table = np.loadtxt(file, delimiter=",", skiprows=1)[:1000]
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    return InMemory(table[:, :8], table[:, 8:])


def by_fallline(rows, start, goal, seconds):
    """The lowest E. The path of a first walk says how many steps a goal takes, and ``descend`` is asked for so many."""
    key = (id(rows), start.tobytes())
    if key not in by_fallline.errors:
        descend(NETWORK, rows, LevenbergMarquardt(), weights=start, max_iter=2)
        began = time.perf_counter()
        path = descend(
            NETWORK, rows, LevenbergMarquardt(), weights=start, max_iter=10**6,
            progress=lambda now: time.perf_counter() - began > seconds,
        )  # fmt: skip
        by_fallline.errors[key] = path.error
        return path.error.min()
    steps = int(np.argmax(by_fallline.errors[key] <= goal))
    return descend(NETWORK, rows, LevenbergMarquardt(), weights=start, max_iter=steps).error.min()


by_fallline.errors = {}


def by_scipy(method):
    def run(rows, start, goal, seconds):
        watch, x, y = Watch(goal, seconds), rows.x, rows.y[:, 0]

        def residuals(w):
            r = NETWORK.predict(w, x)[:, 0] - y
            watch.note(0.5 * r @ r)
            return r

        def jacobian(w):
            (w1, b1), (w2, _) = NETWORK.layers(w)
            hidden = np.tanh(x @ w1 + b1)
            delta = (1 - hidden**2) * w2[:, 0]
            j = np.empty((len(x), len(w)))
            j[:, :80] = (x[:, :, None] * delta[:, None, :]).reshape(len(x), 80)
            j[:, 80:90], j[:, 90:100], j[:, 100] = delta, hidden, 1.0
            return j

        with contextlib.suppress(Over):
            scipy.optimize.least_squares(
                residuals, start, jacobian, method=method, ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=10**6
            )
        return watch.lowest

    return run


def by_optimistix(linear_solver):
    import equinox
    import optimistix

    class Until(optimistix.LevenbergMarquardt):
        """Ends at the goal."""

        def terminate(self, fn, y, args, options, state, tags):
            done, result = super().terminate(fn, y, args, options, state, tags)
            return done | (~state.first_step & (state.f_info.as_min() <= options["goal"])), result

    def residuals(w, rows):
        return (NETWORK.predict(w, rows[0]) - rows[1])[:, 0]

    @equinox.filter_jit
    def walk(start, rows, goal, steps):
        solver, options = Until(rtol=0.0, atol=0.0, linear_solver=linear_solver), {"goal": goal}
        return optimistix.least_squares(
            residuals, solver, start, args=rows, options=options, max_steps=steps, throw=False
        ).value

    most = []  # steps that fit in the time: the number is compiled in

    def run(rows, start, goal, seconds):
        given = start, (rows.x, rows.y), np.float64(goal)
        with jax.enable_x64(True):
            if not most:
                walk(*given, 50).block_until_ready()
                began = time.perf_counter()
                walk(*given, 50).block_until_ready()
                most.append(int(50 * seconds / (time.perf_counter() - began)))
            end = np.asarray(walk(*given, most[0]))
        return 0.5 * np.sum((NETWORK.predict(end, rows.x) - rows.y) ** 2)

    return run


class Started(MLPRegressor):
    """scikit-learn's network from given weights, with a look at the error at every evaluation."""

    def _initialize(self, *args, **kwargs):
        super()._initialize(*args, **kwargs)
        self.coefs_ = [layer.coef.copy() for layer in self.layers]
        self.intercepts_ = [layer.intercept.copy() for layer in self.layers]

    def _loss_grad_lbfgs(self, *args, **kwargs):
        loss, gradient = super()._loss_grad_lbfgs(*args, **kwargs)
        self.watch.note(loss * self.rows)
        return loss, gradient


def by_scikit_learn(rows, start, goal, seconds):
    model = Started(
        hidden_layer_sizes=(10,), activation="tanh", solver="lbfgs", alpha=0.0, tol=0.0, max_iter=10**9, max_fun=10**9
    )  # fmt: skip
    model.layers, model.rows, model.watch = NETWORK.layers(start), len(rows.x), Watch(goal, seconds)
    with warnings.catch_warnings(), contextlib.suppress(Over):
        warnings.simplefilter("ignore")
        model.fit(rows.x, rows.y[:, 0])
    return model.watch.lowest


def by_torch(rows, start, goal, seconds):
    import torch

    (w1, b1), (w2, b2) = NETWORK.layers(start)
    given = [torch.tensor(np.array(each), requires_grad=True) for each in (w1, b1, w2, b2)]
    x, y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)
    optimiser = torch.optim.LBFGS(
        given, max_iter=10**6, max_eval=10**6, history_size=20, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    watch = Watch(goal, seconds)

    def closure():
        optimiser.zero_grad()
        r = torch.tanh(x @ given[0] + given[1]) @ given[2] + given[3] - y
        error = 0.5 * (r * r).sum()
        error.backward()
        watch.note(error.item())
        return error

    with contextlib.suppress(Over):
        optimiser.step(closure)
    return watch.lowest


R = r"""
library(nnet)
t <- as.matrix(read.csv("rows.csv", header = FALSE)); w <- scan("start.txt", quiet = TRUE)
given <- scan("goal.txt", quiet = TRUE)
fit <- function(steps) nnet(t[, 1:8], t[, 9], size = 10, linout = TRUE, Wts = w, maxit = steps, abstol = 2 * given[1],
                            reltol = 0, trace = FALSE)
f <- fit(2); seconds <- system.time(f <- fit(given[2]))[["elapsed"]]
cat(f$value / 2, seconds)
"""


def by_nnet(rows, start, goal, seconds):
    """Its clock is R's own. nnet stops at Σr² ≤ abstol; its units come unit by unit, the bias first."""
    (w1, b1), (w2, b2) = NETWORK.layers(start)
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "rows.csv"), np.column_stack([rows.x, rows.y]), delimiter=",", fmt="%.17g")
        np.savetxt(Path(folder, "start.txt"), np.concatenate([np.vstack([b1, w1]).T.ravel(), b2, w2.ravel()]))
        np.savetxt(Path(folder, "goal.txt"), [max(goal, 0.0), 1000 * seconds])
        Path(folder, "fit.R").write_text(R)
        said = subprocess.run(["Rscript", "fit.R"], cwd=folder, check=True, capture_output=True, text=True).stdout
    lowest, by_nnet.took = map(float, said.split())
    return lowest


def peers() -> dict:
    found = {"fallline": by_fallline, "SciPy trf": by_scipy("trf"), "SciPy lm": by_scipy("lm")}
    missing = []
    try:
        import lineax

        found["Optimistix, QR"] = by_optimistix(lineax.QR())
        found["Optimistix, Cholesky"] = by_optimistix(lineax.Normal(lineax.Cholesky()))
    except ImportError:
        missing.append("Optimistix")
    found["scikit-learn L-BFGS"] = by_scikit_learn
    try:
        import torch  # noqa: F401

        found["PyTorch L-BFGS"] = by_torch
    except ImportError:
        missing.append("PyTorch")
    if shutil.which("Rscript"):
        found["R nnet"] = by_nnet
    else:
        missing.append("R nnet")
    print(f"not installed here: {', '.join(missing) or 'none'}")
    return found


@contextlib.contextmanager
def threads(peer: str, count: int):
    """A block in which a peer has so many threads; fallline decides itself."""
    if peer == "fallline":
        yield
        return
    if peer.startswith("PyTorch"):
        import torch

        torch.set_num_threads(count)
    with threadpool_limits(count):
        yield


def timed(run, *given) -> tuple[float, float]:
    """The lowest E and the seconds it took."""
    began = time.perf_counter()
    lowest = float(run(*given))
    seconds = time.perf_counter() - began
    return lowest, by_nnet.took if run is by_nnet else seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("concrete", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    runs, all_threads = peers(), len(os.sched_getaffinity(0))
    tables = {"smooth": smooth()} | ({"concrete": concrete(asked.concrete)} if asked.concrete else {})
    wide = "".join(f"{peer:>22}" for peer in runs)
    print(f"{'':34}{wide}\nload {os.getloadavg()[0]:.1f}")
    factors: dict[str, list[float]] = {"best": [], "worst": []}
    for name, rows in tables.items():
        for seed in range(asked.starts):
            start = NETWORK.initial(seed)
            ends = {}
            for peer, run in runs.items():
                with threads(peer, 1):
                    ends[peer] = float(run(rows, start, 0.0, asked.seconds))
            print(f"{name:10}{seed:3} E reached         " + "".join(f"{e:22.4f}" for e in ends.values()), flush=True)
            for which, goal in (("best", 1.001 * min(ends.values())), ("worst", 1.001 * max(ends.values()))):
                able = [peer for peer in runs if ends[peer] <= goal]
                suited, seconds = {}, {peer: [] for peer in able}
                for peer in able:
                    trial = {}
                    for count in {1, all_threads}:
                        with threads(peer, count):
                            trial[count] = timed(runs[peer], rows, start, goal, 3 * asked.seconds)[1]
                    suited[peer] = min(trial, key=trial.get)
                for _ in range(asked.repeats):
                    for peer in able:
                        with threads(peer, suited[peer]):
                            lowest, took = timed(runs[peer], rows, start, goal, 3 * asked.seconds)
                        seconds[peer].append(took if lowest <= goal else np.inf)
                medians = {peer: statistics.median(each) for peer, each in seconds.items()}
                cells = "".join(f"{1e3 * medians[p]:19.1f} ms" if p in medians else f"{'—':>22}" for p in runs)
                others = [m for peer, m in medians.items() if peer != "fallline"]
                if "fallline" in medians and others:
                    factors[which].append(min(others) / medians["fallline"])
                    cells += f"   {factors[which][-1]:6.1f} ×"
                print(f"{'':13} to 1.001 × {which:9}" + cells + f"   load {os.getloadavg()[0]:.1f}", flush=True)
    for which, each in factors.items():
        if each:
            print(
                f"fastest peer : fallline, to 1.001 × {which}: median {statistics.median(each):.1f}, "
                f"least {min(each):.1f}, in {len(each)} starts that fallline and a peer both finish"
            )


if __name__ == "__main__":
    main()
