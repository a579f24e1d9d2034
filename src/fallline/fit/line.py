"""Logistic regression as a part of a classifier: a network without hidden layers, found by likelihood.

Where noise rules, likelihood finds a line better than least squares does, which weighs rows near ½ as much as those near 0 and 1;
and where classes are told apart by a line, networks err elsewhere than the line does. The mean of what enters the outputs of
both is nearer to rows left out than either (benchmarks/README.md). Nothing is descended here by a descent of the user's.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fallline.descent import Stop
from fallline.fit.average import Part, Start, Starts
from fallline.fit.fitted import FittedNetwork, mixture_of
from fallline.model.activations import ACTIVATIONS
from fallline.model.network import Layer

_STEPS, _SETTLED = 30, 1e-7
_FREE = 1e-9  # of the biases, which are not held back: that the columns of a fold are all 0 leaves them no optimum
SHARE = 0.5


def lines(x: np.ndarray, y: np.ndarray, s: np.ndarray, decays: list[float]) -> Iterator[Layer]:
    """Logistic regression of each column y (n, k) of 0 and 1 on x (n, inputs), under one weight decay after the other.

    s (n,) is how often each row counts. Each goes on from the one before, so that decays should fall. Least squares with
    weights s p(1 − p), repeated until the penalised likelihood stands still; a step that would lower it is halved.
    Source: Green (1984), Journal of the Royal Statistical Society B 46:149.
    """
    wide = np.column_stack([x, np.ones(len(x))])
    found = np.zeros((wide.shape[1], y.shape[1]))
    for decay in decays:
        held = np.append(np.full(x.shape[1], decay), _FREE)
        found = np.column_stack([_line(wide, y[:, j], s, held, found[:, j]) for j in range(y.shape[1])])
        yield Layer(found[:-1], found[-1])


def _line(x: np.ndarray, y: np.ndarray, s: np.ndarray, held: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weights (p,) of one column y (n,) from w on, under weight decays ``held`` (p,)."""

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float(s @ (np.logaddexp(0.0, z) - y * z) + held @ w**2 / 2)

    logistic, now = ACTIVATIONS["logistic"], loss(w)
    for _ in range(_STEPS):
        z = x @ w
        p = logistic.value(z, np)
        rise = x.T @ (s * (p - y)) + held * w
        step = np.linalg.solve((x.T * (s * logistic.slope(z, p, np))) @ x + np.diag(held), rise)
        length = 1.0
        while length > _SETTLED and not loss(w - length * step) < now:
            length /= 2
        if length <= _SETTLED:
            break
        w, before = w - length * step, now
        now = loss(w)
        if before - now <= _SETTLED * before:
            break
    return w


def beside_line(fitted: FittedNetwork, x: np.ndarray, y: np.ndarray, s: np.ndarray, decay: float) -> FittedNetwork:
    """The fit and logistic regression on the same rows, each by half: x (n, inputs), y (n, k), s (n,) in scaled units."""
    shown = fitted.parts[0].starts
    network = replace(shown.network, sizes=(shown.network.inputs, shown.network.outputs))
    (layer,) = lines(x, y, s, [decay])
    weights = network.vector([layer])
    strength = network.vector([Layer(np.full_like(layer.coef, decay), np.zeros_like(layer.intercept))])
    error = float(s @ ((network.predict(weights, x) - y) ** 2).sum(axis=1)) / 2
    penalised = error + float(strength @ weights**2) / 2
    nan = float("nan")
    start = Start(weights, strength, error, penalised, nan, nan, nan, steps=0, passes=0, stop=Stop.NO_CHANGE)
    parts = [Part(shown, 1 - SHARE), Part(Starts(network, (start,)), SHARE)]
    return replace(mixture_of(parts, fitted.scaling), passes=fitted.passes)


def has_line(fitted: FittedNetwork) -> bool:
    """Whether a fit is what ``beside_line`` makes."""
    logistic = fitted.network.output_activation == "logistic"
    return logistic and len(fitted.parts) == 2 and not fitted.parts[1].starts.network.hidden
