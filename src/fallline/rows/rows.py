"""Rows, wherever they lie: Σ_μ, by three verbs, and what else is asked of them.

``total`` adds up what ``error/`` says of a block, ``each`` maps the rows block by block, ``batches`` hands them out in a
given order. All that is a sum over rows stands on one protected verb, ``_fold``: what a function gives of each block, merged in
the order of the rows. A new kind of rows is one file that answers these.
"""

import contextlib
import functools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import numpy as np

from fallline.arrays import namespace, to_numpy, widened, widest
from fallline.error.sums import Block, Request, Sums
from fallline.exceptions import SettingsError
from fallline.identity import digest
from fallline.model.network import Model
from fallline.table.sums import Moments as Spread

_T = TypeVar("_T")

LARGEST_BLOCK = 1 << 14  # rows
_NEAR_MEAN, _FOLDED = 256, 64  # rows whose mean is near that of a block; runs of rows laid side by side
_APART = 1 << 20  # numbers of predictions that are compared at a time


class Rows(ABC):
    """Rows x (n, inputs) and y (n, outputs) of ``dtype``, and how often each counts."""

    dtype: np.dtype[Any]
    in_any_order: ClassVar[bool] = False  # whether ``batches`` hands them out

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Numbers of x in a row."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers of y in a row."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def count(self) -> float:
        """The number of rows, Σ s."""

    @abstractmethod
    def total(self, request: Request, model: Model) -> Sums:
        """The sums asked for, over all rows."""

    def totals(self, asked: Sequence[tuple[Model, Request]]) -> list[Sums]:
        """What ``total`` says to each of these; where a pass over the rows is dear, in one pass for all."""
        return [self.total(request, model) for model, request in asked]

    @abstractmethod
    def each(self, of_block: Callable[[Block], Any], width: int = 64) -> Any:
        """What ``of_block`` says of each row: it gives an array, or a tuple of arrays, of as many rows as its block.

        Joined in the order of the rows. ``width``: numbers that it holds of a row, by which blocks are cut.
        """

    def batches(self, order: np.ndarray, size: int) -> Iterator[Block]:
        """The rows numbered ``order``, in that order, in batches of ``size`` rows; the last may be smaller.

        Raises SettingsError where rows do not come in any order.
        """
        self._refuse_batches()

    def _refuse_batches(self) -> NoReturn:
        raise SettingsError(
            f"mini-batches take rows in random order, and these ({type(self).__name__}) come in their own: choose a descent "
            "that takes all rows at every step, such as LevenbergMarquardt() or LBFGS(), or fit rows in memory."
        )

    @abstractmethod
    def _fold(
        self, of_block: Callable[[Block], _T], merge: Callable[[_T, _T], _T] = operator.add, *,
        size: int = LARGEST_BLOCK, work: float = math.inf,
    ) -> _T:  # fmt: skip
        """What ``of_block`` says of each block of up to ``size`` rows, merged in the order of the rows.

        work: multiplications in all, by which rows in memory decide whether to call for threads.
        """

    @abstractmethod
    def taking(self, which: np.ndarray) -> Self:
        """Some of the rows: those where ``which`` (n,) is True, or those of these numbers."""

    @abstractmethod
    def weighted(self, factor: np.ndarray) -> Self:
        """The same rows, each counting ``factor`` (n,) times as often; nothing else is copied."""

    @abstractmethod
    def wide(self) -> Self:
        """The rows in float64, themselves where they are: what is judged by small differences of E needs its digits."""

    @property
    def counts(self) -> Any:
        """How often each row counts: (n,) float64."""
        return self.each(counts_of, 1)

    @functools.cached_property
    def content(self) -> str:
        """A digest of the rows, in their order, and of how often each counts; it takes a pass."""
        return digest(str(self.dtype), self._fold(content_of))

    @functools.cached_property
    def _spread(self) -> Spread:
        """Of the inputs and the targets, (inputs + outputs,): mean, squared deviations, and between which numbers they lie."""
        return self._fold(spread_of)

    @property
    def error_of_mean(self) -> float:
        """E of predicting each target's mean: what the rows vary; never 0, so that it may divide."""
        return 0.5 * float(np.sum(self._spread.m2[self.inputs :])) or self.error_of_zero or 1.0

    @property
    def error_of_zero(self) -> float:
        """½ Σ s ‖y‖², E where nothing is predicted."""
        return 0.5 * float(np.sum(self._squares[self.inputs :]))

    @property
    def input_sizes(self) -> np.ndarray:
        """The root mean square of each input: (inputs,)."""
        return np.sqrt(self._squares[: self.inputs] / self.count)

    @property
    def _squares(self) -> np.ndarray:
        return np.asarray(self._spread.m2 + self._spread.weight * np.square(self._spread.mean))

    def _products(self) -> np.ndarray | None:
        """Σ s [x y]ᵀ[x y] about the means, (inputs + outputs, inputs + outputs), where it is known already."""
        return None

    def _middle(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the inputs and targets, (inputs + outputs,) each, or numbers near them."""
        return self._spread.mean, np.sqrt(self._spread.m2 / self.count)

    def content_keys(self, seed: int | np.random.Generator | None) -> np.ndarray:
        """See ``content_keys``."""
        salt = salt_of(seed)
        return np.asarray(self.each(lambda block: salted_keys(block.x, block.y, salt)))

    def differ(self, count: int) -> bool:
        """Whether so many rows differ from each other, of those that count."""
        salt = salt_of(0)

        def keys(block: Block) -> np.ndarray:
            return np.unique(salted_keys(block.x, block.y, salt)[counts_of(block) > 0])[:count]

        return len(self._fold(keys, lambda one, other: np.union1d(one, other)[:count])) >= count

    def apart(self, model: Model, weights: np.ndarray) -> np.ndarray:
        """Σ s ‖ŷ_a − ŷ_b‖² over the rows, between each two of several weights (m, p): (m, m)."""
        if len(weights) == 1:
            return np.zeros((1, 1))
        room = max(_APART // (len(weights) * self.outputs), 64)
        square = self._fold(functools.partial(_apart_in, model, weights), size=min(room, LARGEST_BLOCK))
        length = np.diagonal(square)
        return np.maximum(length[:, None] + length - 2.0 * square, 0.0)

    def divided(self, seed: int, ranges: Sequence[tuple[float, float]]) -> list[Self]:
        """Parts of the rows by content: of each range those whose keys lie in it, from 0 to 1. Equal rows fall together."""
        keys = self.content_keys(seed)
        return [self.taking((low <= keys) & (keys < high)) for low, high in ranges]

    def walking(self) -> contextlib.AbstractContextManager[None]:
        """A block in which this thread asks for sums again and again: where passes are shared, others wait for it."""
        return contextlib.nullcontext()

    def steps(self, model: Model, *given: Any) -> Any:
        """Many tiny steps of a descent at once, where rows in memory make them in C: see ``native.kernels.steps``. Else None."""
        return None

    def ends(self, model: Model, *given: Any) -> bool:
        """Steps of many gradient descents at once: see ``native.kernels.ends``. False where C cannot."""
        return False

    def epoch(self, model: Model, *given: Any) -> int | None:
        """Steps by batches: see ``native.kernels.epoch``. None where C cannot."""
        return None


def counts_of(block: Block) -> Any:
    """How often each row of a block counts: (b,) float64."""
    if block.s is None:
        return namespace(block.x).ones(block.x.shape[0], dtype=widest(block.x), device=block.x.device)
    return widened(block.s)


def content_of(block: Block) -> list[str]:
    """The digest of a block."""
    return [digest([None if each is None else to_numpy(each) for each in (block.x, block.y, block.s)])]


def spread_of(block: Block) -> Spread:
    """Mean and spread of the inputs and targets of a block."""
    return spread_and_products(block, products=False)[0]


@np.errstate(over="ignore", invalid="ignore")
def spread_and_products(block: Block, *, products: bool) -> tuple[Spread, Any]:
    """Mean and spread of the inputs and targets of a block, and, if asked for, all products about the mean, (d + k, d + k).

    In NumPy by sums of the columns less numbers near their means, several times as fast as ``table.sums.Moments``.
    """
    x, y, s = block.x, block.y, block.s
    if not isinstance(x, np.ndarray):
        columns = namespace(x).concat([widened(x), widened(y)], axis=1)
        return Spread.of(columns, None if s is None else widened(s)), None
    if s is not None:
        x, y, s = x[s > 0], y[s > 0], s[s > 0].astype(np.float64)
    if not len(x):
        return Spread(), np.zeros((x.shape[1] + y.shape[1],) * 2)
    columns = np.concatenate([x, y], axis=1, dtype=np.float64)
    low, high = (_along(end, columns) for end in (np.minimum, np.maximum))
    near = columns[:_NEAR_MEAN].mean(axis=0)
    columns -= near
    counted = columns if s is None else columns * s[:, None]
    weight = float(len(x) if s is None else s.sum())
    mean = np.ones(len(x)) @ counted / weight
    square = counted.T @ columns - weight * np.outer(mean, mean) if products else None
    m2 = np.einsum("ij,ij->j", counted, columns) - weight * mean**2 if square is None else np.diagonal(square)
    return Spread(weight, near + mean, np.where(low == high, 0.0, np.maximum(m2, 0.0)), low, high), square


def _along(end: np.ufunc, columns: np.ndarray) -> np.ndarray:
    """The least or largest of each column: of long rows first, which NumPy runs through far faster."""
    whole = len(columns) // _FOLDED * _FOLDED
    parts = [columns[whole:]]
    if whole:
        parts.append(end.reduce(columns[:whole].reshape(_FOLDED, -1), axis=0).reshape(-1, columns.shape[1]))
    return np.asarray(end.reduce(np.concatenate(parts), axis=0))


@np.errstate(all="ignore")
def _apart_in(model: Model, weights: np.ndarray, block: Block) -> np.ndarray:
    """Products (m, m) of how far predictions are from those at the first weights, so that near ones lose no digits."""
    xp, s = namespace(block.x), block.s
    root = 1.0 if s is None else xp.sqrt(s)[:, None]
    first = model.predict(weights[0], block.x)
    off = xp.stack([xp.reshape((model.predict(each, block.x) - first) * root, (-1,)) for each in weights])
    return to_numpy(widened(off) @ widened(off).T)


def content_keys(x: np.ndarray, y: np.ndarray, seed: int | np.random.Generator | None) -> np.ndarray:
    """A random number for each row, (n,) in [0, 1), the same for equal rows wherever they stand.

    Rows divided by it keep their twins beside them: a repeated row must not be judged by its own twin, and falls
    where the same row with more weight would.
    """
    return salted_keys(x, y, salt_of(seed))


def salt_of(seed: int | np.random.Generator | None) -> np.uint64:
    """What makes the keys of one seed others than those of another."""
    return np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64)


def salted_keys(x: np.ndarray, y: np.ndarray, salt: np.uint64) -> np.ndarray:
    """See ``content_keys``."""
    bits = np.ascontiguousarray(np.column_stack([x, y]).astype(np.float64, copy=False) + 0.0).view(
        np.uint64
    )  # + 0.0: −0 is 0
    key = np.zeros(len(x), np.uint64)
    for column in bits.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    key = (key ^ salt) * np.uint64(0xBF58476D1CE4E5B9)
    key ^= key >> np.uint64(32)
    return np.asarray(key >> np.uint64(11), np.float64) * 2.0**-53
