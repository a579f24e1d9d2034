"""How many rows × steps × starts a second? A thousand starts of a two-weight sigmoid neuron, side by side.

    python benchmarks/starts.py

100 rows, float64, 1 000 steps of plain descent from each of 1 000 starts; beside it, in turn, PyTorch with all starts in
one batched product, where it is installed. Medians of 5.
"""

import time

import numpy as np

from fallline import GradientDescent, Network, descend_from

ROWS, STARTS, STEPS, RATE = 100, 1000, 1000, 5.0
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 2))
Y = 1 / (1 + np.exp(-X @ [[2.0], [-1.0]]))
W = 5 * RANDOM.normal(size=(STARTS, 2))
NEURON = Network((2, 1), output_activation="logistic", bias=False)


def by_fallline() -> np.ndarray:
    return descend_from(NEURON, (X, Y), GradientDescent(RATE), starts=W, max_iter=STEPS).error


def by_torch(steps: int = STEPS) -> np.ndarray:
    import torch

    x, y, w = torch.tensor(X), torch.tensor(Y), torch.tensor(W.T.copy(), requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=RATE / ROWS)
    for _ in range(steps + 1):
        optimiser.zero_grad()
        error = 0.5 * ((torch.sigmoid(x @ w) - y) ** 2).sum(0)
        error.sum().backward()
        optimiser.step()
    return error.detach().numpy()


def main() -> None:
    runs = {"fallline": by_fallline}
    try:
        import torch

        torch.set_num_threads(1)
        runs["PyTorch"] = by_torch
    except ImportError:
        pass
    errors = {name: run() for name, run in runs.items()}
    for name, found in errors.items():
        np.testing.assert_allclose(found, errors["fallline"], rtol=1e-3, atol=1e-9, err_msg=name)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(5):
        for name, run in runs.items():
            clock = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - clock)
    rates = {name: ROWS * STARTS * STEPS / float(np.median(times)) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(
            f"{name:10} {rate / 1e6:9.1f} million rows × steps × starts a second; fallline is {rates['fallline'] / rate:.2f} ×"
        )


if __name__ == "__main__":
    main()
