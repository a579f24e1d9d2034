"""Rows on a device such as a GPU: the three verbs over arrays of CuPy, PyTorch or another library of the array API standard.

The sums are those of ``error/``, taken where the rows lie. The weights travel there and the sums back, and nothing else.
"""

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np

from fallline.arrays import namespace, on_device, put, taken, widest
from fallline.error import pairs
from fallline.error.sums import Block, Request, Sums, finished, merged, sums_of_block
from fallline.exceptions import SettingsError
from fallline.model.network import Model, Network
from fallline.rows.memory import InMemory

_T = TypeVar("_T")

# Of what a pass makes of a block: an operation takes microseconds to begin, however few its rows are.
_BLOCK_BYTES = 1 << 28
_LAYER_ARRAYS = 6  # that a sweep makes of a layer, each a number for every unit: z, f, f′, δ, and what they are made of
_WINDOW_BYTES = 1 << 26  # of batches laid out together
_SQUARE_ARRAYS = 3  # of the factors of JᵀJ or H: themselves, and what they are made of


def block_rows(model: Network, request: Request, itemsize: int) -> int:
    """Rows to a block of a pass: as many as there is room for what is made of them."""
    kind, direction, made = request.kind, request.direction, _LAYER_ARRAYS * sum(model.sizes[1:])
    if (kind == "hessian" and direction is None) or (kind == "gauss_newton" and pairs.by_pairs(model)):
        made += _SQUARE_ARRAYS * pairs.widest(model)
    elif kind in ("gauss_newton", "triangle"):
        made += _SQUARE_ARRAYS * model.n_weights * model.outputs
    elif kind == "hessian":
        made *= 1 + direction.shape[0]
    elif kind == "gradient" and request.weights.ndim == 2:
        made *= request.weights.shape[0]
    return max(_BLOCK_BYTES // (itemsize * made), 1)


@dataclass(frozen=True, eq=False)
class OnDevice(InMemory):
    """Rows where NumPy cannot read them; ``InMemory`` becomes this of such arrays.

    x, y and ``sample_weight`` are brought together where the first of them lies, and into ``dtype``, a type of NumPy. float64 is
    float32 on a device that has none. What is left of the rows by ``each``, ``counts`` and ``batches`` stays on the device.
    """

    x: Any
    y: Any
    sample_weight: Any = None
    _CHECKED: ClassVar[int] = 1 << 26

    def _arrays(self) -> tuple[Any, Any, Any, np.dtype[Any]]:
        first = next(each for each in (self.x, self.y, self.sample_weight) if on_device(each))
        xp = namespace(first)
        x, y, s = (
            each if each is None or on_device(each) else np.asarray(each)
            for each in (self.x, self.y, self.sample_weight)
        )
        single = all(each.dtype == (xp if on_device(each) else np).float32 for each in (x, y))
        dtype = np.dtype((np.float32 if single else np.float64) if self.dtype is None else self.dtype)
        if dtype == np.float64 and widest(first) != xp.float64:
            dtype = np.dtype(np.float32)

        def laid(array: Any) -> Any:
            if array is None:
                return None
            if not on_device(array):
                array = np.require(array, dtype, ["C", "W"])
            elif hasattr(array, "detach"):  # of PyTorch: no derivatives with respect to the rows are kept
                array = array.detach()
            return xp.asarray(array, dtype=getattr(xp, dtype.name), device=first.device)

        return laid(x), laid(y), laid(s), dtype

    @functools.cached_property
    def count(self) -> float:
        return float(len(self) if self.sample_weight is None else namespace(self.x).sum(self.counts))

    def total(self, request: Request, model: Model) -> Sums:
        """The sums asked for, over all rows, in NumPy. Raises SettingsError for what is not a network."""
        from array_api_compat import is_cupy_array

        if not isinstance(model, Network):
            raise SettingsError(
                f"a {type(model).__name__} is computed by NumPy, but the rows lie on a device ({self.x.device}): pass x and y as "
                "NumPy arrays."
            )
        if request.kind != "plane" and request.direction is not None:
            request = request._replace(direction=put(request.direction, self.x))
        request = request._replace(weights=put(request.weights, self.x))
        size = block_rows(model, request, self.dtype.itemsize)
        # CuPy computes on the device that is a thread's own, not on that of the arrays.
        with self.x.device if is_cupy_array(self.x) else contextlib.nullcontext():
            return finished(model, self._fold(functools.partial(sums_of_block, model, request), merged, size=size))

    def _fold(
        self, of_block: Callable[[Block], _T], merge: Callable[[_T, _T], _T] = operator.add, *,
        size: int = 0, work: float = math.inf,
    ) -> _T:  # fmt: skip
        """By default in blocks as large as may be held twice in float64."""
        size = size or max(_BLOCK_BYTES // (16 * (self.inputs + self.outputs)), 1)
        return functools.reduce(merge, map(of_block, self._blocks(size)))

    def each(self, of_block: Callable[[Block], Any], width: int = 64) -> Any:
        """What ``of_block`` says of each row, as ``InMemory`` has it, on the device."""
        xp, size = namespace(self.x), max(_BLOCK_BYTES // (8 * width), 1)
        parts = [of_block(block) for block in self._blocks(size)]
        if isinstance(parts[0], tuple):
            return tuple(xp.concat(each) for each in zip(*parts, strict=True))
        return xp.concat(parts)

    def batches(self, order: np.ndarray, size: int) -> Iterator[Block]:
        row_bytes = self.dtype.itemsize * (self.x.shape[1] + self.y.shape[1] + 1)
        window = max(_WINDOW_BYTES // (row_bytes * size), 1) * size
        for start in range(0, len(order), window):
            some = order[start : start + window]
            s = None if self.sample_weight is None else taken(self.sample_weight, some)
            yield from _cut(taken(self.x, some), taken(self.y, some), s, size)

    def content_keys(self, seed: Any) -> NoReturn:
        """Rows on a device are not told apart one by one. Raises SettingsError."""
        raise SettingsError("rows on a device are not told apart one by one: pass x and y as NumPy arrays.")

    def _blocks(self, size: int) -> list[Block]:
        return list(_cut(self.x, self.y, self.sample_weight, size))


def laid_out(x: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Any, Any]:
    """x (n, inputs), y (n,) or (n, outputs) and row weights together on the device where one of them lies, checked as rows are.

    Raises what ``InMemory`` raises.
    """
    y = y if on_device(y) else np.asarray(y)
    rows = OnDevice(x, y[:, None] if y.ndim == 1 else y, sample_weight)
    return rows.x, rows.y[:, 0] if y.ndim == 1 else rows.y, rows.sample_weight


def _cut(x: Any, y: Any, s: Any, size: int) -> Iterator[Block]:
    """Rows in blocks of ``size``."""
    for at in range(0, x.shape[0], size):
        part = slice(at, min(at + size, x.shape[0]))
        yield Block(x[part, :], y[part, :], None if s is None else s[part])
