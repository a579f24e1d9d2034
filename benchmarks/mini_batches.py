"""How long is an epoch of mini-batches, beside JAX written by hand, PyTorch and scikit-learn?

    python benchmarks/mini_batches.py [--rows 100000] [--repeats 5] [--no-torch]

20-64-64-1 tanh, batches of 256, float32, momentum 0.9, a fixed rate. Every peer shuffles the rows of each epoch; the
two JAX programs take the very same order. All run interleaved, and the median and the least of the repeats are given, with
the processor time beside: on a machine with other work on it that is the steadier figure. README.md says what each trick gave.
"""

import argparse
import itertools
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fallline import GradientDescent, InMemory, Network, descend
from fallline.walk.epochs import order_of

SIZES, BATCH, RATE, MOMENTUM = (20, 64, 64, 1), 256, 0.01, 0.9
Call = Callable[[], Any]


def by_hand(x: np.ndarray, y: np.ndarray, transposed: bool = False, gathered: bool = True) -> Call:
    """An epoch as one would write it in JAX: a scan over batches, value_and_grad of a tree of weights, momentum."""
    n = len(x)
    batches = n // BATCH
    layers = Network(SIZES).layers(Network(SIZES).initial(0).astype(np.float32))
    weights = [(jnp.asarray(layer.coef), jnp.asarray(layer.intercept)) for layer in layers]
    speed = jax.tree.map(jnp.zeros_like, weights)

    def error(weights: Any, x: Any, y: Any) -> Any:
        for number, (coef, intercept) in enumerate(weights):
            x = coef.T @ x + intercept[:, None] if transposed else x @ coef + intercept
            x = jnp.tanh(x) if number < len(weights) - 1 else x
        return 0.5 * jnp.mean((x - y) ** 2)

    @jax.jit
    def epoch(weights: Any, speed: Any, x: Any, y: Any, order: Any) -> Any:
        order = order[: batches * BATCH].reshape(batches, BATCH)

        def step(carry: Any, part: Any) -> Any:
            weights, speed = carry
            a, b = part if gathered else (x[part], y[part])
            value, gradient = jax.value_and_grad(error)(weights, a, b)
            speed = jax.tree.map(lambda v, g: MOMENTUM * v - RATE * g, speed, gradient)
            return (jax.tree.map(jnp.add, weights, speed), speed), value

        parts: Any = order
        if gathered:
            parts = (x[order], y[order])
            parts = tuple(part.transpose(0, 2, 1) for part in parts) if transposed else parts
        return jax.lax.scan(step, (weights, speed), parts)

    dx, dy, number = jnp.asarray(x), jnp.asarray(y), iter(range(10**9))
    return lambda: jax.block_until_ready(epoch(weights, speed, dx, dy, order_of(n, 0, next(number)).astype(np.int32)))


def fallline(x: np.ndarray, y: np.ndarray, epochs: int = 4) -> Call:
    """So many epochs through the package's own walk, with all it does besides: the path, E over all rows, the checks."""
    network = Network(SIZES)
    rows, start = InMemory(x, y, dtype=np.float32), network.initial(0)
    descent = GradientDescent(RATE, MOMENTUM, batch_size=BATCH)
    return lambda: descend(network, rows, descent, weights=start, seed=0, max_iter=epochs)


def torch_epoch(x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    parts: list[Any] = []
    for number, (below, above) in enumerate(itertools.pairwise(SIZES)):
        parts += [torch.nn.Linear(below, above), *([torch.nn.Tanh()] if number < len(SIZES) - 2 else [])]
    network = torch.nn.Sequential(*parts)
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)

    def epoch() -> None:
        torch.set_num_threads(threads)
        order = torch.randperm(len(a))
        for at in range(0, len(a), BATCH):
            part = order[at : at + BATCH]
            optimiser.zero_grad()
            (0.5 * ((network(a[part]) - b[part]) ** 2).mean()).backward()
            optimiser.step()

    return epoch


def sklearn_epoch(x: np.ndarray, y: np.ndarray) -> Call:
    from sklearn.neural_network import MLPRegressor

    def fit() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MLPRegressor(
                hidden_layer_sizes=SIZES[1:-1], activation="tanh", solver="sgd", batch_size=BATCH, max_iter=1,
                learning_rate_init=RATE, momentum=MOMENTUM, nesterovs_momentum=False, alpha=0.0, random_state=0,
            ).fit(x, y[:, 0])  # fmt: skip

    return fit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    x = random.standard_normal((given.rows, SIZES[0]), np.float32)
    y = np.sin(x @ random.standard_normal((SIZES[0], 1), np.float32) / 3)
    one, nine = fallline(x, y, 1), fallline(x, y, 9)
    calls: dict[str, Call] = {
        "JAX by hand": by_hand(x, y),
        "JAX by hand, gathering batch by batch": by_hand(x, y, gathered=False),
        "JAX by hand, rows lying across": by_hand(x, y, transposed=True),
        "fallline, 1 epoch and all around it": one,
        "fallline, 9 epochs": nine,
        "scikit-learn": sklearn_epoch(x, y),
    }
    if not given.no_torch:
        for threads in sorted({1, os.cpu_count() or 1}):
            calls[f"PyTorch, {threads} thread{'s' * (threads > 1)}"] = torch_epoch(x, y, threads)
    for call in calls.values():
        call()  # compile and warm up
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(given.repeats):
        for name, call in calls.items():
            wall, work = time.perf_counter(), time.process_time()
            call()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - work))
    nine_, one_ = seconds["fallline, 9 epochs"], seconds["fallline, 1 epoch and all around it"]
    seconds["fallline, an epoch more"] = [
        ((a[0] - b[0]) / 8, (a[1] - b[1]) / 8) for a, b in zip(nine_, one_, strict=True)
    ]
    print(f"{given.rows} rows, {'-'.join(map(str, SIZES))} tanh, batches of {BATCH}: milliseconds, of {given.repeats}")
    print(f"{'':44}{'median':>9}{'least':>9}{'processor':>11}")
    for name, each in seconds.items():
        wall, work = ([1e3 * part for part in column] for column in zip(*each, strict=True))
        print(f"{name:44}{statistics.median(wall):9.1f}{min(wall):9.1f}{statistics.median(work):11.1f}")


if __name__ == "__main__":
    main()
