"""Writes torch_iterates.json: the iterates of PyTorch's SGD on a small network, for fallline to be held against.

    python tests/descent/make_torch_iterates.py

PyTorch is no test dependency; run this where it is installed, when the cases change. Everything is float64.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIZES, RATE, STEPS = (3, 4, 2), 0.05, 12


def main() -> None:
    torch.set_default_dtype(torch.float64)
    random = np.random.default_rng(7)
    x, y = random.normal(size=(11, 3)), random.normal(size=(11, 2))
    start = random.normal(size=(3 + 1) * 4 + (4 + 1) * 2)
    batches = [random.permutation(11)[at : at + 4].tolist() for _ in range(3) for at in (0, 4, 8)]
    everything = [list(range(11))] * STEPS
    cases: dict[str, Any] = {
        "plain": ({}, everything),
        "momentum": ({"momentum": 0.9}, everything),
        "nesterov": ({"momentum": 0.9, "nesterov": True}, everything),
        "batches, plain": ({}, batches),
        "batches, momentum": ({"momentum": 0.9}, batches),
        "batches, nesterov": ({"momentum": 0.9, "nesterov": True}, batches),
        "batches, adam": ("adam", batches),
    }
    result = {
        name: {"batches": order, "weights": iterates(x, y, start, settings, order)}
        for name, (settings, order) in cases.items()
    }
    page = {
        "made with": f"PyTorch {torch.__version__}", "sizes": SIZES, "learning_rate": RATE, "x": x.tolist(),
        "y": y.tolist(), "start": start.tolist(), "cases": result,
    }  # fmt: skip
    Path(__file__).with_name("torch_iterates.json").write_text(json.dumps(page) + "\n", encoding="utf-8")


def iterates(x: np.ndarray, y: np.ndarray, start: np.ndarray, settings: Any, order: list[list[int]]) -> list[Any]:
    """The weights after each step, as fallline orders them: layer by layer, (inputs, outputs) row by row, then biases."""
    network = torch.nn.Sequential(
        torch.nn.Linear(SIZES[0], SIZES[1]), torch.nn.Tanh(), torch.nn.Linear(SIZES[1], SIZES[2])
    )
    at = 0
    for layer in (network[0], network[2]):
        outputs, inputs = layer.weight.shape
        coef = start[at : at + inputs * outputs].reshape(inputs, outputs)
        at += inputs * outputs
        layer.weight.data = torch.tensor(coef.T.copy())
        layer.bias.data = torch.tensor(start[at : at + outputs].copy())
        at += outputs
    weights = network.parameters()
    optimiser: Any = (
        torch.optim.Adam(weights, lr=RATE) if settings == "adam" else torch.optim.SGD(weights, lr=RATE, **settings)
    )
    a, b = torch.tensor(x), torch.tensor(y)
    path = []
    for batch in order:
        optimiser.zero_grad()
        (0.5 * ((network(a[batch]) - b[batch]) ** 2).sum() / len(batch)).backward()
        optimiser.step()
        path.append(
            np.concatenate(
                [
                    part.detach().numpy().ravel()
                    for layer in (network[0], network[2])
                    for part in (layer.weight.T, layer.bias)
                ]
            ).tolist()
        )
    return path


if __name__ == "__main__":
    main()
