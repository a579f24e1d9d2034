"""Digests: equal things have the same, in another process too, and whatever may compute otherwise has another."""

import functools
import os
import subprocess
import sys

import numpy as np
import optax

from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.identity import digest
from fallline.model.curve import Curve
from fallline.model.network import Network


def scaled(factor):
    return lambda x: factor * x


def longer(x):
    return scaled(2.0)(x) + 1


THINGS = {
    "a number": 1,
    "a float": 1.0,
    "the next float": np.nextafter(1.0, 2.0).item(),
    "true": True,
    "text": "1",
    "nothing": None,
    "an array": np.arange(6.0),
    "its transpose": np.arange(6.0).reshape(2, 3),
    "in single precision": np.arange(6.0, dtype=np.float32),
    "objects": np.array(["a", 1], dtype=object),
    "a tuple": (1, 2),
    "parts": (1, (2,)),
    "a table": {"a": 1},
    "a network": Network((2, 3, 1)),
    "another network": Network((2, 3, 1), "relu"),
    "a descent": GradientDescent(0.1),
    "another descent": GradientDescent(0.1, 0.9),
    "adam": Adam(),
    "a function": scaled(2.0),
    "with another number in it": scaled(3.0),
    "another function": longer,
    "a part of a function": functools.partial(longer, 1),
    "a function in C": np.sin,
    "another in C": np.cos,
    "an optimiser": optax.adam(1e-3),
    "at another rate": optax.adam(2e-3),
    "with momentum": optax.sgd(1e-3, momentum=0.9),
    "a generator": np.random.default_rng(1),
    "another generator": np.random.default_rng(2),
    "a curve": Curve("a*x"),
    "another curve": Curve(lambda x, a: a * x),
    "a third": Curve(lambda x, a: a * x * x),
}


def test_whatever_differs_has_another_digest():
    assert len({digest(thing) for thing in THINGS.values()}) == len(THINGS)


def test_equal_things_have_the_same():
    assert digest(np.arange(6.0)[::2], {"a": 1}) == digest(np.array([0.0, 2.0, 4.0]), {"a": 1})
    assert digest(optax.adam(1e-3), scaled(2)) == digest(optax.adam(1e-3), scaled(2))


def test_a_function_that_holds_itself_comes_to_an_end():
    def loop(x):
        return loop(x)

    assert digest(loop) == digest(loop)


def test_another_process_finds_the_same():
    code = (
        "import optax, numpy as np\nfrom fallline import GradientDescent, Network\nfrom fallline.identity import digest\n"
        "print(digest(optax.adam(1e-3), Network((2, 3, 1)), GradientDescent(0.1), np.arange(3), {'a', 'b', 'c'}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    here = digest(optax.adam(1e-3), Network((2, 3, 1)), GradientDescent(0.1), np.arange(3), {"a", "b", "c"})
    assert told.stdout.strip() == here
