"""Writes torch_rprop.json: the iterates of PyTorch's Rprop on a small network. Run by hand, where PyTorch is installed.

python tests/descent/make_torch_rprop.py
"""

import json
from pathlib import Path

import numpy as np
import torch

SIZES, STEPS = (2, 5, 2), 40
CASES = {
    "its defaults, first step 0.1": {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)},
    "steps kept between 0.02 and 0.15": {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (0.02, 0.15)},
    "other factors": {"lr": 0.01, "etas": (0.3, 1.5), "step_sizes": (1e-6, 50.0)},
}


def main() -> None:
    random = np.random.default_rng(7)
    x = random.normal(size=(20, SIZES[0]))
    y = np.column_stack([np.sin(2 * x[:, 0]), x[:, 0] * x[:, 1]])
    n_weights = (SIZES[0] + 1) * SIZES[1] + (SIZES[1] + 1) * SIZES[2]
    start = random.normal(size=n_weights)
    runs = {}
    for name, settings in CASES.items():
        weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Rprop([weights], **settings)
        iterates = [start.tolist()]
        for _ in range(STEPS):
            optimiser.zero_grad()
            cut = SIZES[0] * SIZES[1], (SIZES[0] + 1) * SIZES[1], n_weights - SIZES[2]
            first, bias, second, out = torch.tensor_split(weights, cut)
            hidden = torch.tanh(torch.tensor(x) @ first.reshape(SIZES[0], SIZES[1]) + bias)
            predicted = hidden @ second.reshape(SIZES[1], SIZES[2]) + out
            (0.5 * ((predicted - torch.tensor(y)) ** 2).sum()).backward()
            optimiser.step()
            iterates.append(weights.detach().tolist())
        runs[name] = {"settings": settings, "weights": iterates}
    made = {"torch": torch.__version__, "sizes": SIZES, "x": x.tolist(), "y": y.tolist(), "runs": runs}
    target = Path(__file__).with_name("torch_rprop.json")
    target.write_text(json.dumps(made) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
