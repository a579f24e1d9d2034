"""The network as a Python module that needs nothing but Python."""

import inspect
import pprint
import re
from typing import Any

from fallline.export import _cells
from fallline.export.program import Program

_ACTIVATIONS = {
    "identity": "z",
    "logistic": "0.5 * math.tanh(0.5 * z) + 0.5",
    "tanh": "math.tanh(z)",
    "relu": "max(z, 0.0)",
    "leaky_relu": "z if z > 0 else 0.01 * z",
    "softplus": "max(z, 0.0) + math.log1p(math.exp(-abs(z)))",
    "softsign": "z / (1.0 + abs(z))",
    "elu": "z if z > 0 else math.expm1(z)",
    "silu": "z * (0.5 * math.tanh(0.5 * z) + 0.5)",
    "sine": "math.sin(z)",
    "gaussian": "math.exp(-z * z)",
}


def python_module(program: Program) -> str:
    """The text of the module."""
    layers = [(coef.T.tolist(), intercept.tolist()) for coef, intercept in program.layers]
    helpers = re.sub(r'\A""".*?"""\n+', "", inspect.getsource(_cells), flags=re.DOTALL)
    about = "".join(f"\n{sentence}" for sentence in program.about)
    hidden, output = program.activation(0)[0] if len(layers) > 1 else "identity", program.activation(len(layers) - 1)[0]
    return f'''"""A network fitted by fallline: {_plain(program.name)}.
{_plain(about)}
    predict({{"column": value, …}})    one row: the values of COLUMNS by name; None, NaN or "" where one is missing

gives {"the probability of each class" if program.classes else "the predicted targets"} by name.
"""

{helpers.strip()}


COLUMNS = {_data([dict(entry) for entry in program.entries])}
CENTRE = {_data(program.centre.tolist())}
LAYERS = {_data(layers)}  # of each the weights of every unit, and the biases
LINEAR_UNITS = {program.network.linear_units}  # the last units of a hidden layer hand on what enters them
OUTPUTS = {_data(list(program.outputs))}
CLASSES = {bool(program.classes)}


def hidden_activation(z):
    return {_ACTIVATIONS[hidden]}


def output_activation(z):
    return {_ACTIVATIONS[output]}


def outputs_of(x):
    """The outputs of the network for its inputs, a list of numbers."""
    a = [value - centre for value, centre in zip(x, CENTRE)]
    for layer, (weights, biases) in enumerate(LAYERS):
        z = [math.fsum(w * value for w, value in zip(unit, a)) + bias for unit, bias in zip(weights, biases)]
        if layer == len(LAYERS) - 1:
            return [output_activation(value) for value in z]
        bent = len(z) - LINEAR_UNITS
        a = [hidden_activation(value) for value in z[:bent]] + z[bent:]


def predict(row):
    """The predictions for one row, a dictionary of the columns' values by name."""
    x = [value for column in COLUMNS for value in encoded(column, row[column["name"]])]
    y = outputs_of(x)
    return dict(zip(OUTPUTS, probabilities(y) if CLASSES else y))
'''


def _data(value: Any) -> str:
    return pprint.pformat(value, width=118, compact=True, sort_dicts=False)


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")
