"""A curve written as text, ``b1*(1 - exp(-b2*x))``, read by a grammar of its own: never run as code.

    sum      = product {("+" | "-") product}
    product  = sign {("*" | "/") sign}
    sign     = ("+" | "-") sign | power
    power    = atom [("^" | "**") sign]              from the right, and before a sign: −x^2 is −(x^2)
    atom     = number | name | function "(" sum ")" | "(" sum ")"

A name is letters, digits and underscores, or anything between backticks: `` `Berri 1` ``. What a name stands for,
a parameter or a column, is not known here. First and second derivatives are exact: formulas by the same grammar.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from fallline.exceptions import SettingsError

# The slope of each function of u, by NumPy's names for them.
_FUNCTIONS = {
    "exp": "exp(u)",
    "expm1": "exp(u)",
    "log": "1/u",
    "log10": "1/(log(10)*u)",
    "log1p": "1/(1 + u)",
    "sqrt": "0.5/sqrt(u)",
    "sin": "cos(u)",
    "cos": "-sin(u)",
    "tan": "1 + tan(u)^2",
    "arcsin": "1/sqrt((1 - u)*(1 + u))",
    "arccos": "-1/sqrt((1 - u)*(1 + u))",
    "arctan": "1/(1 + u^2)",
    "sinh": "cosh(u)",
    "cosh": "sinh(u)",
    "tanh": "(1 - tanh(u))*(1 + tanh(u))",
    "abs": "side(u)",
}
# Functions that only slopes are written with: on which side of 0 u is, and u itself, but 1 where it is 0.
_INNER = {"side": "0", "nonzero": "1"}
# The slopes of u + v and so on. At u = 0 a power does not rise with v, nor, where v is 0 too, with u.
_SIGNS = {
    "+": ("1", "1"),
    "-": ("1", "-1"),
    "*": ("v", "u"),
    "/": ("1/v", "-(u/v)/v"),
    "^": ("v*u^(nonzero(v) - 1)", "log(nonzero(u))*u^v"),
    "negative": ("-1",),
}
# What a text may say: some as other tools say it.
FUNCTIONS = {name: name for name in _FUNCTIONS}
FUNCTIONS |= {"ln": "log", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
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
    _ready: dict[Any, "Steps"] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it, each once, in the order in which they appear."""
        return tuple(dict.fromkeys(_names(self.tree)))

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Its value for the values of its names, numbers or arrays (n,)."""
        return self._steps().run(values)[0]

    def slopes(self, values: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
        """Its derivatives with respect to ``names``, each (n,), or a number where it is the same in all rows."""
        return self._steps(*names).run(values)

    def slopes_along(self, values: Mapping[str, Any], names: Sequence[str], direction: Iterable[Any]) -> list[Any]:
        """The derivatives of these slopes with respect to t, where ``names`` have their values + t · direction."""
        moves = {_move(name): move for name, move in zip(names, direction, strict=True)}
        return self._steps(*names, moving=True).run({**values, **moves})

    def _steps(self, *names: str, moving: bool = False) -> "Steps":
        """The steps to its value or, where there are names, to its slopes or to theirs: written once."""
        if (names, moving) not in self._ready:
            steps = Steps()
            ends = [steps.add(self.tree)]
            if names:
                ends = [steps.slopes(ends, {name: steps.do("number", 1.0)})[0] for name in names]
            if moving:
                ends = steps.slopes(ends, {name: steps.do("name", _move(name)) for name in names})
            self._ready[names, moving] = steps.leading_to(ends)
        return self._ready[names, moving]

    def __str__(self) -> str:
        return _written(self.tree)[0]


def read_formula(text: str) -> Formula:
    """The formula that ``text`` says. Raises SettingsError, with a caret under the place, for what is none."""
    if not isinstance(text, str) or not text.strip():
        raise SettingsError(
            f"{text!r} is no formula: write one such as 'b1*(1 - exp(-b2*x))', a curve in columns and parameters."
        )
    return Formula(_Reader(text).whole())


def formula_of(value: Any) -> Formula:
    """The formula that an ``Unknown``, or a number, stands for. Raises TypeError for anything else."""
    if isinstance(value, Unknown):
        return Formula(value.tree)
    if isinstance(value, (int, float, np.integer, np.floating)):
        return Formula(("number", float(value)))
    raise TypeError(f"{value!r} is no number")


class Unknown(np.lib.mixins.NDArrayOperatorsMixin):
    """A number that is not known yet: what operators and NumPy's functions do to it makes a formula."""

    def __init__(self, tree: tuple[Any, ...]) -> None:
        self.tree = tree

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options or name not in {**_FUNCTIONS, **_SIGNS}:
            return NotImplemented
        parts = [formula_of(each).tree for each in operands]
        return Unknown(("call", name, *parts) if name in _FUNCTIONS else (name, *parts))

    def __bool__(self) -> bool:
        raise TypeError("a number that is not known yet decides nothing")


class _Reader:
    """Reads a text from left to right, one token ahead."""

    def __init__(self, text: str, functions: Mapping[str, str] = FUNCTIONS) -> None:
        self.text, self.at, self.depth, self.read = text, 0, 0, 0
        self.functions = functions
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
            what = "a backtick that is not closed" if sign == "`" else f"{sign!r} has no meaning here"
            self.refuse(what, "numbers, names, + - * / ^ and parentheses")
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
            if token not in self.functions:
                self.start = start
                self.refuse(f"{token!r} is no function it knows", f"one of {', '.join(FUNCTIONS)}")
            self._next()
            return ("call", self.functions[token], self._closed())
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


class Steps:
    """Formulas as steps, each a number, a name, or an operation on what earlier steps gave.

    A step is ``("number", 2.0)``, ``("name", "b1")`` or a sign or function with the places of its operands. What appears
    twice is one step, and so is done once.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self._places: dict[tuple[Any, ...], int] = {}
        self._ends: list[int] = []
        self._needed: list[int] = []

    def leading_to(self, ends: list[int]) -> "Steps":
        """The same, whose results are what the steps at ``ends`` give; what does not lead there is not done."""
        needed = set(ends)
        for at in range(max(ends), -1, -1):
            if at in needed and self.steps[at][0] not in _LEAVES:
                needed.update(self.steps[at][1:])
        self._ends, self._needed = ends, sorted(needed)
        return self

    def run(self, values: Mapping[str, Any]) -> list[Any]:
        """The results for the values of the names."""
        found: dict[int, Any] = {}
        for at in self._needed:
            operation, *operands = self.steps[at]
            if operation == "number":
                found[at] = operands[0]
            elif operation == "name":
                found[at] = values[operands[0]]
            else:
                found[at] = _APPLIED[operation](*[found[each] for each in operands])
        return [found[end] for end in self._ends]

    def add(self, tree: tuple[Any, ...], **known: int) -> int:
        """The place of what the tree gives; ``known``: the places of names in it that stand for steps."""
        operation, *parts = tree
        if operation in _LEAVES:
            return known[parts[0]] if parts[0] in known else self.do(operation, *parts)
        if operation == "call":
            operation, *parts = parts
        return self.do(operation, *(self.add(part, **known) for part in parts))

    def do(self, operation: str, *operands: Any) -> int:
        """The place of a step: an earlier one where that gives the same, by what is known of 0, 1 and numbers."""
        if operation not in _LEAVES:
            taken = [self.steps[at] for at in operands]
            numbers = [step[1] if step[0] == "number" else None for step in taken]
            if None not in numbers:
                with np.errstate(all="ignore"):
                    return self.do("number", float(_APPLIED[operation](*numbers)))
            match operation, *numbers:
                case ("+", 0.0, _) | ("*", 1.0, _) | ("*", _, 0.0):
                    return int(operands[1])
                case ("+" | "-", _, 0.0) | ("*" | "/" | "^", _, 1.0) | ("*" | "/", 0.0, _):
                    return int(operands[0])
                case ("*", -1.0, _):
                    return self.do("negative", operands[1])
                case ("^", _, 0.0):
                    return self.do("number", 1.0)
        step = (operation, *operands)
        if step not in self._places:
            self._places[step] = len(self.steps)
            self.steps.append(step)
        return self._places[step]

    def slopes(self, ends: list[int], seeds: Mapping[str, int]) -> list[int]:
        """The places of the derivatives of what the steps at ``ends`` give, by the chain rule.

        seeds: the places of the derivatives of names; that of any other name is 0.
        """
        zero = self.do("number", 0.0)
        found: list[int] = []
        for at in range(max(ends) + 1):
            operation, *operands = self.steps[at]
            if operation in _LEAVES:
                found.append(seeds.get(operands[0], zero))
                continue
            total = zero
            known = dict(zip("uv", operands, strict=False))
            for operand, slope in zip(operands, _slopes_of(operation), strict=True):
                if found[operand] != zero:
                    total = self.do("+", total, self.do("*", self.add(slope, **known), found[operand]))
            found.append(total)
        return [found[end] for end in ends]


_LEAVES = ("number", "name")
_UFUNCS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "^", "absolute": "abs"}


@functools.cache
def _slopes_of(operation: str) -> list[tuple[Any, ...]]:
    """The slopes of an operation with respect to its operands, as trees in u and v."""
    texts = _SIGNS.get(operation) or [(_FUNCTIONS | _INNER)[operation]]
    return [_Reader(text, FUNCTIONS | {name: name for name in _INNER}).whole() for text in texts]


def _move(name: str) -> str:
    """The name of what a name changes by along a direction: one that no formula can say."""
    return f"`{name}"


def _power(base: Any, exponent: Any) -> Any:
    """base ^ exponent; whole numbers that the text says as products: exact where the base is negative."""
    if type(exponent) is not float or not exponent.is_integer() or abs(exponent) > 64:
        return np.power(base, exponent)
    if exponent < 0:
        return np.divide(1.0, _power(base, -exponent))
    if exponent < 2:
        return base if exponent else 1.0
    half = _power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half


_APPLIED: dict[str, Any] = {
    **{name: getattr(np, name) for name in _FUNCTIONS},
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": _power,
    "negative": np.negative,
    "side": lambda u: np.where(np.less(u, 0.0), -1.0, 1.0),
    "nonzero": lambda u: np.where(np.equal(u, 0.0), 1.0, u),
}


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
