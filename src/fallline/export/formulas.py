"""The network as formulas: for people, for ``CurveRegressor``, and for LaTeX."""

import re
from collections.abc import Sequence

import numpy as np

from fallline.export.program import Program, number

_TEXT = {
    "identity": "{z}",
    "logistic": "0.5*tanh(0.5*({z})) + 0.5",
    "tanh": "tanh({z})",
    "relu": "0.5*(({z}) + abs({z}))",
    "leaky_relu": "0.505*({z}) + 0.495*abs({z})",
    "softplus": "0.5*(({z}) + abs({z})) + log1p(exp(-abs({z})))",
    "softsign": "({z})/(1 + abs({z}))",
    "elu": "0.5*(({z}) + abs({z})) + expm1(0.5*(({z}) - abs({z})))",
    "silu": "({z})*(0.5*tanh(0.5*({z})) + 0.5)",
    "sine": "sin({z})",
    "gaussian": "exp(-({z})^2)",
}
_LATEX = {
    "identity": "{z}",
    "logistic": r"\frac{{1}}{{1 + e^{{-\left({z}\right)}}}}",
    "tanh": r"\tanh\left({z}\right)",
    "relu": r"\max\left(0, {z}\right)",
    "leaky_relu": r"\max\left(0.01 \left({z}\right), {z}\right)",
    "softplus": r"\ln\left(1 + e^{{{z}}}\right)",
    "softsign": r"\frac{{{z}}}{{1 + \left|{z}\right|}}",
    "elu": r"\operatorname{{elu}}\left({z}\right)",
    "silu": r"\frac{{{z}}}{{1 + e^{{-\left({z}\right)}}}}",
    "sine": r"\sin\left({z}\right)",
    "gaussian": r"e^{{-\left({z}\right)^2}}",
}
_DIGITS = 6


def text_of(program: Program) -> str:
    """Lines such as ``h1 = tanh(0.5 + 0.01*cement)`` and ``strength = 3 + 2*h1``, to full precision.

    Each right side is a formula that ``CurveRegressor`` and ``read_formula`` take.
    """
    names = [_quoted(name) for name in program.inputs]
    return _comment(program, "# ") + "\n".join(f"{left} = {right}" for left, right in _lines(program, names)) + "\n"


def _lines(program: Program, names: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    before, centre = list(names), program.centre
    units = 0
    for layer, (coef, intercept) in enumerate(program.layers):
        f, linear = program.activation(layer)
        last = layer == len(program.layers) - 1
        after = []
        for j in range(coef.shape[1]):
            z = _sum(intercept[j], coef[:, j], before, centre if layer == 0 else np.zeros(len(before)))
            bent = j < coef.shape[1] - linear
            units += not last
            left = (
                _quoted(program.outputs[j] if len(program.outputs) == coef.shape[1] else program.outputs[-1])
                if last
                else f"h{units}"
            )
            found.append((left, _TEXT[f].format(z=z) if bent else z))
            after.append(left)
        before = after
    return found


def _sum(constant: float, weights: np.ndarray, names: Sequence[str], centre: np.ndarray) -> str:
    """constant + Σ weight·(name − centre), the centres folded in where that costs no digits."""
    fold = np.abs(weights * centre) <= 1e3 * (abs(constant) + np.abs(weights).max(initial=0.0) + 1.0)
    words = number(constant - float(np.sum((weights * centre)[fold])))
    for weight, name, mean, folded in zip(weights, names, centre, fold, strict=True):
        if weight:
            term = name if folded else f"({name} {'+' if mean < 0 else '-'} {number(abs(mean))})"
            words += f" {'-' if weight < 0 else '+'} {number(abs(weight))}*{term}"
    return words


def _quoted(name: str) -> str:
    """A name as the grammar of formulas takes it: in backticks where it is no plain word."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else "`" + name.replace("`", "'") + "`"


def _comment(program: Program, mark: str) -> str:
    lines = [f"A network fitted by fallline: {program.name}.", *program.about]
    if not program.plain:
        lines.append("Inputs are encoded: a name such as kind=oak is 1 where the column kind is oak, and 0 elsewhere.")
        dates = [entry["name"] for entry in program.entries if entry["kind"] == "date"]
        if dates:
            lines.append(
                f"Of the dates {', '.join(dates)} days count from the first date, and cycles are sines and cosines."
            )
    if program.classes:
        lines.append("Probabilities are the point nearest to these outputs at which none is negative and the sum is 1.")
    return "".join(mark + " ".join(line.split()) + "\n" for line in lines)


def latex_of(program: Program) -> str:
    """An ``align`` environment, with numbers of six digits."""
    lines, before = [], [_math(name) for name in program.inputs]
    for layer, (coef, intercept) in enumerate(program.layers):
        f, linear = program.activation(layer)
        last = layer == len(program.layers) - 1
        after = []
        for j in range(coef.shape[1]):
            shift = float(program.centre @ coef[:, j]) if layer == 0 else 0.0
            z = _latex_sum(intercept[j] - shift, coef[:, j], before)
            output = program.outputs[j] if len(program.outputs) == coef.shape[1] else program.outputs[-1]
            left = (
                _math(output)
                if last
                else f"h_{{{j + 1}}}"
                if len(program.layers) == 2
                else f"h_{{{layer + 1},{j + 1}}}"
            )
            lines.append(f"{left} &= {(_LATEX[f] if j < coef.shape[1] - linear else '{z}').format(z=z)}")
            after.append(left)
        before = after
    body = " \\\\\n".join(lines)
    head = f"{_comment(program, '% ')}% Numbers have {_DIGITS} digits; needs amsmath.\n"
    return f"{head}\\begin{{align*}}\n{body}\n\\end{{align*}}\n"


def _latex_sum(constant: float, weights: np.ndarray, names: Sequence[str]) -> str:
    words = _latex_number(constant)
    for weight, name in zip(weights, names, strict=True):
        if weight:
            words += f" {'-' if weight < 0 else '+'} {_latex_number(abs(weight))}\\,{name}"
    return words


def _latex_number(value: float) -> str:
    mantissa, _, power = f"{value:.{_DIGITS}g}".partition("e")
    return f"{mantissa} \\cdot 10^{{{int(power)}}}" if power else mantissa


def _math(name: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    text = "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in " ".join(name.split()))
    return text if re.fullmatch("[A-Za-z]", text) else f"\\text{{{text}}}"
