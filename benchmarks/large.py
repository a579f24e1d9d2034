"""Which descent goes lowest in equal seconds where JᵀJ is too large?

    python benchmarks/large.py DATA [--seconds S] [--seeds K] [--hidden 100,50] [NAME …]

DATA is a folder with kin8nm, protein and naval as .csv or .csv.gz (sources in benchmarks/README.md). Inputs and
targets are standardised, all rows are descended on, no weight decay, the same starting weights for all, float64, one
BLAS thread. Peers take turns in one process: SciPy's L-BFGS-B on the same error and gradient, compiled by JAX, and
scikit-learn's MLPRegressor(solver="lbfgs"). Compiling is not counted. Printed: the lowest E/n after a quarter, half and
all of the seconds (geometric mean over the starts), and the passes (or evaluations) made.
"""

import argparse
import contextlib
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from fallline import LBFGS, GradientDescent, InMemory, Network, Rprop, descend

TARGETS = {"kin8nm": 1, "naval": 2, "protein": 1}  # the last columns
DESCENTS = {"L-BFGS": LBFGS(), "Rprop": Rprop(), "gradient, momentum 0.9": GradientDescent(momentum=0.9)}


class Over(Exception):
    """The time of a peer is over."""


class Watch:
    """When each value of E was known, and the end of the time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.perf_counter()
        self.when: list[float] = []
        self.error: list[float] = []

    def note(self, error: float) -> bool:
        self.when.append(time.perf_counter() - self.began)
        self.error.append(error)
        return self.when[-1] >= self.seconds

    def lowest(self, share: float) -> float:
        seen = [e for t, e in zip(self.when, self.error, strict=True) if t <= share * self.seconds]
        return min(seen, default=self.error[0])


def read(folder: Path, name: str) -> InMemory:
    file = next(folder / f"{name}{end}" for end in (".csv", ".csv.gz") if (folder / f"{name}{end}").exists())
    table = np.loadtxt(file, delimiter=",", skiprows=1)
    table = table[:, np.ptp(table, axis=0) > 0]
    table = (table - table.mean(0)) / table.std(0)
    return InMemory(table[:, : -TARGETS[name]], table[:, -TARGETS[name] :])


def ours(descent, network, rows, start, seconds):
    descend(network, rows, descent, weights=start, max_iter=2)
    watch = Watch(seconds)
    path = descend(network, rows, descent, weights=start, max_iter=10**9, progress=lambda now: watch.note(now.error))
    return watch, path.n_passes


def scipys(network, rows, start, seconds):
    with jax.enable_x64(True):
        x, y = jnp.asarray(rows.x), jnp.asarray(rows.y)
        both = jax.jit(jax.value_and_grad(lambda w: 0.5 * jnp.sum((network.predict(w, x) - y) ** 2)))
        both(start)[0].block_until_ready()
        watch = Watch(seconds)

        def function(w):
            error, gradient = both(w)
            if watch.note(float(error)):
                raise Over
            return float(error), np.asarray(gradient)

        with contextlib.suppress(Over):
            scipy.optimize.minimize(
                function, start, jac=True, method="L-BFGS-B",
                options={"maxiter": 10**9, "maxfun": 10**9, "ftol": 0, "gtol": 0},
            )  # fmt: skip
    return watch, len(watch.when)


class Timed(MLPRegressor):
    """scikit-learn's network from given weights, with a look at the clock at every evaluation."""

    def _initialize(self, *args, **kwargs):
        super()._initialize(*args, **kwargs)
        self.coefs_ = [layer.coef.copy() for layer in self.layers]
        self.intercepts_ = [layer.intercept.copy() for layer in self.layers]

    def _loss_grad_lbfgs(self, *args, **kwargs):
        loss, gradient = super()._loss_grad_lbfgs(*args, **kwargs)
        if self.watch.note(loss * self.per_row):
            raise Over
        return loss, gradient


def scikit_learns(network, rows, start, seconds):
    model = Timed(
        hidden_layer_sizes=network.hidden, activation="tanh", solver="lbfgs", alpha=0.0, tol=0.0,
        max_iter=10**9, max_fun=10**9,
    )  # fmt: skip
    model.layers, model.per_row, model.watch = network.layers(start), rows.y.size, Watch(seconds)
    with warnings.catch_warnings(), contextlib.suppress(Over):
        warnings.simplefilter("ignore")
        model.fit(rows.x, rows.y if rows.y.shape[1] > 1 else rows.y[:, 0])
    own = 0.5 * ((network.predict(start, rows.x) - rows.y) ** 2).sum()
    np.testing.assert_allclose(model.watch.error[0], own, rtol=1e-6)  # the same error, from the same start
    return model.watch, len(model.watch.when)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=list(TARGETS))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hidden", default="100,50")
    asked = parser.parse_intermixed_args()
    peers = {
        **{name: (lambda *a, d=descent: ours(d, *a)) for name, descent in DESCENTS.items()},
        "SciPy L-BFGS-B": scipys,
        "scikit-learn lbfgs": scikit_learns,
    }
    for name in asked.names:
        rows = read(asked.data, name)
        n, hidden = len(rows.x), map(int, asked.hidden.split(","))
        network = Network((rows.x.shape[1], *hidden, rows.y.shape[1]))
        print(f"{name}: {n} rows, {network.n_weights} weights, {asked.seconds:g} s", flush=True)
        runs: dict[str, list] = {peer: [] for peer in peers}
        for seed in range(asked.seeds):
            for peer, run in peers.items():
                with threadpool_limits(1):
                    runs[peer].append(run(network, rows, network.initial(seed), asked.seconds))
        for peer, done in runs.items():
            lowest = [[watch.lowest(share) / n for share in (0.25, 0.5, 1.0)] for watch, _ in done]
            means = "".join(f"{mean:12.5f}" for mean in np.exp(np.log(lowest).mean(axis=0)))
            print(f"  {peer:24}{means}   {np.mean([passes for _, passes in done]):7.0f} passes", flush=True)


if __name__ == "__main__":
    main()
