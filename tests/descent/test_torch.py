"""PyTorch's SGD and Adam as judges: their iterates, written once by make_torch_iterates.py, in float64."""

import json
from pathlib import Path

import numpy as np
import pytest

from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.walk import epochs
from fallline.walk.loop import descend

PAGE = json.loads(Path(__file__).with_name("torch_iterates.json").read_text(encoding="utf-8"))
NETWORK, RATE = Network(tuple(PAGE["sizes"])), PAGE["learning_rate"]
ROWS = InMemory(np.array(PAGE["x"]), np.array(PAGE["y"]))


def iterates(case):
    return np.array(PAGE["cases"][case]["weights"])


@pytest.mark.parametrize(
    ("case", "settings"),
    [("plain", {}), ("momentum", {"momentum": 0.9}), ("nesterov", {"momentum": 0.9, "nesterov": True})],
)
def test_full_batches_take_the_steps_of_pytorch(case, settings):
    expected = iterates(case)
    path = descend(NETWORK, ROWS, GradientDescent(RATE, **settings), weights=PAGE["start"], max_iter=len(expected))
    np.testing.assert_allclose(path.weights[1:], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "descent"),
    [
        ("batches, plain", GradientDescent(RATE, batch_size=4)),
        ("batches, momentum", GradientDescent(RATE, 0.9, batch_size=4)),
        ("batches, nesterov", GradientDescent(RATE, 0.9, True, batch_size=4)),
        ("batches, adam", Adam(RATE, 4, "none")),
    ],
)
def test_mini_batches_take_the_steps_of_pytorch(case, descent, monkeypatch):
    expected = iterates(case)
    batches = PAGE["cases"][case]["batches"]
    orders = [np.concatenate(batches[at : at + 3]) for at in range(0, len(batches), 3)]
    monkeypatch.setattr(epochs, "order_of", lambda n, seed, epoch: orders[epoch % len(orders)])
    path = descend(NETWORK, ROWS, descent, weights=PAGE["start"], max_iter=len(orders))
    assert path.every_step
    np.testing.assert_allclose(path.weights[1:], expected, rtol=1e-12, atol=1e-12)
