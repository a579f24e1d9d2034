"""A curve written as text, ``b1*(1 - exp(-b2*x))``, read by a grammar of its own: never run as code.

    sum      = product {("+" | "-") product}
    product  = sign {("*" | "/") sign}
    sign     = ("+" | "-") sign | power
    power    = atom [("^" | "**") sign]              from the right, and before a sign: −x^2 is −(x^2)
    atom     = number | name | function "(" sum ")" | "(" sum ")"

A name is letters, digits and underscores, or anything between backticks: `` `Berri 1` ``. What a name stands for,
a parameter or a column, is not known here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fallline.exceptions import SettingsError

# Each is written with names that NumPy and JAX share; the second spelling is what other tools call it.
FUNCTIONS = {
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "ln": "log",
    "log10": "log10",
    "log1p": "log1p",
    "sqrt": "sqrt",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "arcsin": "arcsin",
    "asin": "arcsin",
    "arccos": "arccos",
    "acos": "arccos",
    "arctan": "arctan",
    "atan": "arctan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "abs": "abs",
}
CONSTANTS = {"pi": np.pi}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|`(?P<quoted>[^`]+)`"
    r"|(?P<sign>\*\*|[-+*/^()]))"
)
# Deeper and longer than any curve is; Python itself gives up a little later.
_DEEPEST, _LONGEST = 100, 600


@dataclass(frozen=True)
class Formula:
    """A formula as a tree. Equal formulas, however they are spaced or bracketed, are equal and hash alike."""

    tree: tuple[Any, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it, each once, in the order in which they appear."""
        return tuple(dict.fromkeys(_names(self.tree)))

    def __call__(self, values: Mapping[str, Any], xp: Any = np) -> Any:
        """Its value for the values of its names, with the array namespace ``xp``."""
        return _value(self.tree, values, xp)

    def __str__(self) -> str:
        return _written(self.tree)[0]


def read_formula(text: str) -> Formula:
    """The formula that ``text`` says. Raises SettingsError, with a caret under the place, for what is none."""
    if not isinstance(text, str) or not text.strip():
        raise SettingsError(
            f"{text!r} is no formula: write one such as 'b1*(1 - exp(-b2*x))', a curve in columns and parameters."
        )
    return Formula(_Reader(text).whole())


class _Reader:
    """Reads a text from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.read = text, 0, 0, 0
        self._next()

    def _next(self) -> None:
        rest = self.text[self.at :]
        self.start = self.at + len(rest) - len(rest.lstrip())
        if not rest.strip():
            self.kind, self.token = "end", ""
            return
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            sign = self.text[self.start]
            known = "numbers, names, + - * / ^ and parentheses"
            self.refuse(
                "a backtick that is not closed" if sign == "`" else f"{sign!r} has no meaning here", known
            )
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]
        self.at = found.end()
        self.read += 1
        if self.read > _LONGEST:
            self.refuse("it is too long", f"at most {_LONGEST} numbers, names and signs")

    def refuse(self, what: str, expected: str) -> NoReturn:
        shown = self.text.replace("\n", " ").replace("\t", " ")
        raise SettingsError(
            f"the formula cannot be read at character {self.start + 1}: {what}; expected {expected}.\n"
            f"    {shown}\n    {' ' * self.start}^"
        )

    def _takes(self, *signs: str) -> str:
        """The sign, if it is one of these: then it has been read."""
        if self.kind != "sign" or self.token not in signs:
            return ""
        sign = self.token
        self._next()
        return sign

    def whole(self) -> tuple[Any, ...]:
        tree = self._sum()
        if self.token == ")":
            self.refuse("a ) that closes nothing", "an operator or the end")
        if self.kind != "end":
            self.refuse(self._said(), "an operator such as * before it")
        return tree

    def _said(self) -> str:
        if self.kind == "end":
            return "it ends here"
        return {"number": "a number", "name": "a name", "quoted": "a name"}.get(self.kind, repr(self.token))

    def _sum(self) -> tuple[Any, ...]:
        tree = self._product()
        while sign := self._takes("+", "-"):
            tree = (sign, tree, self._product())
        return tree

    def _product(self) -> tuple[Any, ...]:
        tree = self._sign()
        while sign := self._takes("*", "/"):
            tree = (sign, tree, self._sign())
        return tree

    def _sign(self) -> tuple[Any, ...]:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse("it is nested too deep", f"at most {_DEEPEST} levels")
        sign = self._takes("+", "-")
        tree = self._sign() if sign else self._power()
        self.depth -= 1
        return ("negative", tree) if sign == "-" else tree

    def _power(self) -> tuple[Any, ...]:
        base = self._atom()
        return ("^", base, self._sign()) if self._takes("^", "**") else base

    def _atom(self) -> tuple[Any, ...]:
        kind, token, start = self.kind, self.token, self.start
        if kind == "sign" and token == "(":
            self._next()
            return self._closed()
        if kind not in ("number", "name", "quoted"):
            self.refuse(self._said(), "a number, a name or a parenthesis")
        self._next()
        if kind == "number":
            return ("number", float(token))
        if kind == "quoted":
            return ("name", token)
        if self.kind == "sign" and self.token == "(":
            if token not in FUNCTIONS:
                self.start = start
                self.refuse(f"{token!r} is no function it knows", f"one of {', '.join(FUNCTIONS)}")
            self._next()
            return ("call", FUNCTIONS[token], self._closed())
        if token in FUNCTIONS:
            self.start = start
            self.refuse(f"{token!r} is a function", f"{token}(…) with what it is taken of")
        return ("number", CONSTANTS[token]) if token in CONSTANTS else ("name", token)

    def _closed(self) -> tuple[Any, ...]:
        tree = self._sum()
        if not self._takes(")"):
            self.refuse(self._said(), "an operator or )")
        return tree


def _names(tree: tuple[Any, ...]) -> list[str]:
    if tree[0] == "name":
        return [tree[1]]
    return [name for part in tree[1:] if isinstance(part, tuple) for name in _names(part)]


def _constant(tree: tuple[Any, ...]) -> float | None:
    """The value of a number or of a number with a sign; None of anything else."""
    if tree[0] == "negative":
        inner = _constant(tree[1])
        return None if inner is None else -inner
    return tree[1] if tree[0] == "number" else None


def _value(tree: tuple[Any, ...], values: Mapping[str, Any], xp: Any) -> Any:
    match tree:
        case ("number", number):
            return number
        case ("name", name):
            return values[name]
        case ("negative", part):
            return -_value(part, values, xp)
        case ("call", name, part):
            return getattr(xp, name)(_value(part, values, xp))
        case ("^", base, exponent):
            power = _constant(exponent)
            if power is not None and power == int(power) and abs(power) <= 64:
                # As products: exact where the base is negative, and so are the derivatives.
                return _whole_power(_value(base, values, xp), int(power))
            return _value(base, values, xp) ** _value(exponent, values, xp)
        case (sign, left, right):
            a, b = _value(left, values, xp), _value(right, values, xp)
            return a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b
    raise AssertionError(tree)


def _whole_power(base: Any, power: int) -> Any:
    if power < 0:
        return 1.0 / _whole_power(base, -power)
    if power == 0:
        return 1.0
    half = _whole_power(base, power // 2)
    square = base if power == 1 else half * half
    return square * base if power % 2 and power > 1 else square


_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3, "^": 4}


def _written(tree: tuple[Any, ...]) -> tuple[str, int]:
    """The tree as text that reads as the same tree, and how tightly its last operation binds."""

    def part(tree: tuple[Any, ...], least: int) -> str:
        text, binds = _written(tree)
        return text if binds >= least else f"({text})"

    match tree:
        case ("number", number):
            if number == np.pi:
                return "pi", 5
            return f"{number:.17g}" if float(f"{number:g}") != number else f"{number:g}", 5
        case ("name", name):
            return (name if re.fullmatch(r"[^\W\d]\w*", name) and name not in _RESERVED else f"`{name}`"), 5
        case ("call", name, inner):
            return f"{name}({_written(inner)[0]})", 5
        case ("negative", inner):
            return f"-{part(inner, 3)}", 3
        case ("^", base, exponent):
            return f"{part(base, 5)}^{part(exponent, 3)}", 4
        case (sign, left, right):
            binds = _BINDS[sign]
            space = " " if binds == 1 else ""
            return f"{part(left, binds)}{space}{sign}{space}{part(right, binds + 1)}", binds
    raise AssertionError(tree)


_RESERVED = {*FUNCTIONS, *CONSTANTS}
