"""Rows on a GPU: how long do a full pass and JᵀJ take beside PyTorch written by hand on the same card?

    python benchmarks/gpu.py [ROWS OF THE PASS] [ROWS OF JTJ] [DEVICE]

The pass is E and its gradient for one logistic unit over 8 million × 32 float32; (E, g, JᵀJ) is that of 20 inputs, 20 tanh units
and one output (441 weights) over 1 million rows, float32. DEVICE is PyTorch's name of it, ``cuda`` unless asked; on ``cpu``
fallline takes the rows over as NumPy arrays. Both bring the sums back to NumPy; they take turns, medians of 15 rounds. Rows of
CuPy take their turn where it is installed. Results are held against each other before anything is timed.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fallline import InMemory, Network
from fallline.error.sums import Request

ROUNDS, WARM = 15, 3


def pass_by_hand(x: Any, y: Any, weights: np.ndarray) -> Callable[[], tuple[float, np.ndarray]]:
    """E and g of one logistic unit, by PyTorch's own derivatives."""
    w = torch.asarray(weights.copy(), dtype=x.dtype, device=x.device).requires_grad_()

    def one() -> tuple[float, np.ndarray]:
        w.grad = None
        error = 0.5 * ((torch.sigmoid(x @ w[:-1, None] + w[-1]) - y) ** 2).sum()
        error.backward()
        return error.item(), w.grad.cpu().numpy()

    return one


def square_by_hand(
    x: Any, y: Any, weights: np.ndarray, units: int, block: int = 1 << 17
) -> Callable[[], tuple[float, np.ndarray, np.ndarray]]:
    """E, g and JᵀJ of one hidden layer of tanh units, J written out in blocks of rows that fit on the card."""
    d = x.shape[1]
    w = torch.asarray(weights.copy(), dtype=x.dtype, device=x.device)
    w1, b1, w2, b2 = w[: d * units].view(d, units), w[d * units : (d + 1) * units], w[-units - 1 : -1], w[-1]

    def one() -> tuple[float, np.ndarray, np.ndarray]:
        error, gradient, square = 0.0, 0.0, 0.0
        for at in range(0, len(x), block):
            a, b = x[at : at + block], y[at : at + block, 0]
            h = torch.tanh(a @ w1 + b1)
            r = h @ w2 + b2 - b
            delta = (1 - h * h) * w2
            j = torch.cat([(a[:, :, None] * delta[:, None, :]).flatten(1), delta, h, torch.ones_like(h[:, :1])], dim=1)
            error, gradient, square = error + 0.5 * (r @ r), gradient + j.T @ r, square + j.T @ j
        return float(error), gradient.cpu().numpy(), square.cpu().numpy()  # type: ignore[attr-defined]

    return one


def total(kind: str, model: Network, weights: np.ndarray, x: Any, y: Any) -> Callable[[], Any]:
    """The same by fallline, over rows that were laid out before."""
    rows, request = InMemory(x, y), Request(kind, weights)
    return lambda: rows.total(request, model)


def compared(what: str, size: str, turns: dict[str, Callable[[], Any]]) -> None:
    """Time these in turn, and print each beside PyTorch."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(WARM + ROUNDS):
        for name, take in turns.items():
            start = time.perf_counter()
            take()
            if number >= WARM:
                seconds[name].append(time.perf_counter() - start)
    peer = statistics.median(seconds["PyTorch"])
    for name, each in seconds.items():
        median = statistics.median(each)
        print(
            f"{what:14} {size:20} {name:18} {median * 1e3:8.2f} ms ({min(each) * 1e3:.2f} to {max(each) * 1e3:.2f}), "
            f"{median / peer:.2f} × PyTorch"
        )


def turns_of(kind: str, model: Network, rows: int, device: str) -> dict[str, Callable[[], Any]]:
    """Who is timed at that work, after a check that they agree."""
    random = torch.Generator(device=device).manual_seed(0)
    x = torch.randn(rows, model.inputs, device=device, generator=random)
    y = torch.sigmoid(x[:, :1] - x[:, -1:])
    weights = model.initial(0)
    by_hand: Any = pass_by_hand(x, y, weights) if kind == "gradient" else square_by_hand(x, y, weights, model.hidden[0])
    turns = {"PyTorch": by_hand, "fallline, PyTorch": total(kind, model, weights, x, y)}
    if device != "cpu":
        try:
            import cupy
        except ImportError:
            pass
        else:
            turns["fallline, CuPy"] = total(kind, model, weights, cupy.asarray(x), cupy.asarray(y))
    expected = by_hand()
    for name, take in list(turns.items())[1:]:
        for part, want in zip(take()[1:], expected, strict=False):
            np.testing.assert_allclose(part, want, rtol=1e-3, atol=1e-3 * np.abs(want).max(), err_msg=name)
    return turns


def main() -> None:
    given = sys.argv[1:] + ["8000000", "1000000", "cuda"][len(sys.argv) - 1 :]
    rows, square_rows, device = int(given[0]), int(given[1]), given[2]
    card = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    print(f"{card}, torch {torch.__version__}, numpy {np.__version__}, float32")
    neuron, network = Network((32, 1), output_activation="logistic"), Network((20, 20, 1))
    for what, kind, model, n in (
        ("E, g", "gradient", neuron, rows),
        ("E, g, JᵀJ", "gauss_newton", network, square_rows),
    ):
        compared(what, f"{n:,} × {model.inputs}", turns_of(kind, model, n, device))


if __name__ == "__main__":
    main()
