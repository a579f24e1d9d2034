"""How good is a fit by mini-batches with nothing set, beside scikit-learn's and PyTorch's Adam with nothing set?

    python benchmarks/mini_batch_fits.py DATA [--tables kin8nm,power_plant,naval,protein] [--seeds 2] [--no-torch]

DATA holds the tables of the UCI repository named in README.md. 64-64 tanh units, a random fifth held out, inputs and target
standardised on the rest; root mean squared errors are in units of the target's spread. Seconds are those of the fastest
seed, compiling included in the first; processor seconds are steadier on a machine with other work on it.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fallline import Adam, GradientDescent, NetworkRegressor
from fallline.table.read import read_table

TARGETS = {"kin8nm": "y", "power_plant": "power", "naval": "compressor_decay", "protein": "RMSD"}
HIDDEN = (64, 64)
Fit = Callable[[int], tuple[Callable[[np.ndarray], Any], str]]


def standardised(folder: Path, name: str) -> tuple[np.ndarray, ...]:
    """x and y to fit, x and y held out, float32; naval without its second target."""
    file = next(folder.rglob(f"{name}.csv*"))
    columns = read_table(file).columns
    y = np.asarray(columns[TARGETS[name]], float)[:, None]
    kept = [column for column in columns if column not in (TARGETS[name], "turbine_decay")]
    x = np.column_stack([np.asarray(columns[column], float) for column in kept])
    order = np.random.default_rng(0).permutation(len(x))
    held, rest = order[: len(x) // 5], order[len(x) // 5 :]
    spread = x[rest].std(axis=0)
    varies = spread > 1e-9 * np.abs(x[rest]).max(axis=0)
    x = (x[:, varies] - x[rest][:, varies].mean(axis=0)) / spread[varies]
    y = (y - y[rest].mean()) / y[rest].std()
    return tuple(part.astype(np.float32) for part in (x[rest], y[rest], x[held], y[held]))


def fits(x: np.ndarray, y: np.ndarray, torch: bool) -> dict[str, Fit]:
    from sklearn.neural_network import MLPRegressor

    def ours(descent: Any, max_iter: int = 1000) -> Fit:
        def fit(seed: int) -> Any:
            model = NetworkRegressor(HIDDEN, descent=descent, max_iter=max_iter, tol=0, random_state=seed)
            model.fit(x, y[:, 0])
            return model.predict, f"{model.n_iter_} steps or epochs"

        return fit

    def theirs(**settings: Any) -> Fit:
        def fit(seed: int) -> Any:
            model = MLPRegressor(hidden_layer_sizes=HIDDEN, activation="tanh", random_state=seed, **settings)
            model.fit(x, y[:, 0])
            return model.predict, f"{model.n_iter_} epochs"

        return fit

    on = {"tol": 0, "n_iter_no_change": 10**6}
    result = {
        "fallline, mini-batch": ours("mini-batch"),
        "fallline, mini-batch, 20 epochs": ours(Adam(decay=20)),
        "fallline, momentum and a rate read off, 50": ours(GradientDescent(momentum=0.9, batch_size=128, decay=50)),
        "fallline, full batches, 300 steps": ours(GradientDescent(momentum=0.9), 300),
        "scikit-learn, until it stops": theirs(),
        "scikit-learn, 50 epochs": theirs(max_iter=50, **on),
        "scikit-learn, 20 epochs": theirs(max_iter=20, **on),
    }
    return result | ({"PyTorch, Adam at 0.001, batches of 128, 50": with_torch(x, y)} if torch else {})


def with_torch(x: np.ndarray, y: np.ndarray, epochs: int = 50, batch: int = 128) -> Fit:
    import torch

    def fit(seed: int) -> Any:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], HIDDEN[0]), torch.nn.Tanh(),
            torch.nn.Linear(*HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN[1], 1),
        )  # fmt: skip
        optimiser, a, b = torch.optim.Adam(network.parameters()), torch.from_numpy(x), torch.from_numpy(y)
        for _ in range(epochs):
            order = torch.randperm(len(a))
            for at in range(0, len(a), batch):
                part = order[at : at + batch]
                optimiser.zero_grad()
                (0.5 * ((network(a[part]) - b[part]) ** 2).mean()).backward()
                optimiser.step()
        return lambda rows: network(torch.from_numpy(rows)).detach().numpy()[:, 0], f"{epochs} epochs"

    return fit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--tables", default=",".join(TARGETS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--no-torch", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in given.tables.split(","):
        x, y, held_x, held_y = standardised(given.data, name)
        print(f"{name}, {len(x)} rows\n{'':44}{'training':>10}{'held-out':>10}{'seconds':>9}{'processor':>11}")
        for title, fit in fits(x, y, not given.no_torch).items():
            figures = []
            for seed in range(given.seeds):
                wall, work = time.perf_counter(), time.process_time()
                predict, length = fit(seed)
                spent = time.perf_counter() - wall, time.process_time() - work
                errors = [np.sqrt(np.mean((predict(a) - b[:, 0]) ** 2)) for a, b in ((x, y), (held_x, held_y))]
                figures.append((*errors, *spent))
            train, held, wall, work = np.array(figures).T
            print(
                f"{title:44}{train.mean():10.4f}{held.mean():10.4f}{wall.min():9.1f}{work.min():11.1f}  {length}",
                flush=True,
            )


if __name__ == "__main__":
    main()
