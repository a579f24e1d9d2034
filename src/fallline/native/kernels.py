"""What of a dense network is summed and walked in C: each function has a twin in NumPy, and gives None where the twin serves.

The twins say what is meant; nobody but their callers knows of these. C is called through ctypes, so that other threads go on.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallline.native.library import function

# In the order in which kernels.c numbers them.
_ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "leaky_relu", "softplus", "softsign", "elu", "silu", "sine", "gaussian",
)  # fmt: skip
_MOST_LAYERS = 16


class _Rows(ctypes.Structure):
    """Rows where they lie: pointers, and strides in numbers."""

    _fields_ = (
        ("x", ctypes.c_void_p), ("y", ctypes.c_void_p), ("s", ctypes.c_void_p),
        ("x_row", ctypes.c_int64), ("x_column", ctypes.c_int64), ("y_row", ctypes.c_int64), ("y_column", ctypes.c_int64),
        ("n", ctypes.c_int64), ("order", ctypes.c_void_p),
    )  # fmt: skip


def _place(array: np.ndarray | None) -> int | None:
    return None if array is None else array.__array_interface__["data"][0]


def _rows_of(block: Any) -> int:
    """Where a block stands as C reads it; kept with it, as are the arrays that it points to."""
    found = block.kept.get("native")
    if found is None:
        size = block.x.itemsize
        x, y = (_in_numbers(array) for array in (block.x, block.y))
        s = None if block.s is None else np.require(block.s, requirements=["A", "C"])
        steps = (*(step // size for step in x.strides), *(step // size for step in y.strides))
        rows = _Rows(_place(x), _place(y), _place(s), *steps, len(x), None)
        # One for all threads: C may be reading it.
        found = block.kept.setdefault("native", (rows, x, y, s))
    return ctypes.addressof(found[0])


def _in_numbers(array: np.ndarray) -> np.ndarray:
    """The array, or a copy of one whose numbers do not lie whole numbers apart, such as a field of records."""
    fits = array.flags.aligned and not any(step % array.itemsize for step in array.strides)
    return array if fits else array.copy()


@functools.lru_cache(maxsize=256)
def _shape(network: Any) -> Any:
    """A network as C reads it, or None for one that it does not know."""
    layers = len(network.sizes) - 1
    if layers > _MOST_LAYERS or network.linear_units:
        return None
    codes = (_ACTIVATIONS.index(network.activation), _ACTIVATIONS.index(network.output_activation))
    return (ctypes.c_int64 * (4 + len(network.sizes)))(layers, *codes, network.bias, *network.sizes)


_P, _I, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_ARGUMENTS = {
    "sums": (_P,) * 6,
    "errors": (_P, _P, _I, _P, _P),
    "walk": (_P, _P, _P, _I, _P, _P, _P, _I, _P, _P, _P, _P, _P),
    "ends": (_P, _P, _P, _P, _I, _I, _I, _I, _D, _I, _P, _P, _P, _P, _P, _P),
    "epoch": (_P, _P, _P, _I, _P, _I, _I, _I, _P, _P, _P, _I, _P, _P),
}


@functools.cache
def _function(name: str, dtype: Any) -> Any:
    return function(name, dtype, _ARGUMENTS[name], ctypes.c_int64)


def _call_for(name: str, network: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The native function for such rows, its first argument filled in. None: there is none, or they do not fit the network."""
    call = _function(name, x.dtype) if (x.shape[1], y.shape[1]) == (network.inputs, network.outputs) else None
    shape = _shape(network)
    return None if call is None or shape is None else functools.partial(call, shape)


_KINDS = ("error", "gradient", "gauss_newton")


def sums(network: Any, request: Any, x: np.ndarray, y: np.ndarray) -> Callable[[Any], tuple[Any, ...]] | None:
    """A function that says of a block what was requested: E, its gradient (p,) and JᵀJ (p, p), or None for what was not.

    None where C does not know the request, or the rows are not those of the network.
    """
    kind, weights, p = request.kind, np.asarray(request.weights, np.float64), network.n_weights
    if kind == "plane" and weights.shape == (3, p):
        return _on_plane(network, weights, request.direction, x, y)
    call = _call_for("sums", network, x, y) if kind in _KINDS and weights.shape == (p,) else None
    if call is None:
        return None
    weights = np.ascontiguousarray(weights)

    def of_block(block: Any) -> tuple[float, np.ndarray | None, np.ndarray | None]:
        error = ctypes.c_double()
        gradient = None if kind == "error" else np.empty(p)
        square = np.empty((p, p)) if kind == "gauss_newton" else None
        _done(call(_rows_of(block), _place(weights), ctypes.addressof(error), _place(gradient), _place(square)))
        return error.value, gradient, square

    return of_block


def _on_plane(network: Any, corners: np.ndarray, points: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    call = _call_for("errors", network, x, y)
    weights = np.column_stack([np.ones(len(points)), points]) @ corners

    def of_block(block: Any) -> tuple[np.ndarray]:
        errors = np.empty(len(weights))
        _done(call(_rows_of(block), len(weights), _place(weights), _place(errors)))
        return (errors,)

    return of_block if call is not None else None


class Steps(NamedTuple):
    """Points of a walk, one after the other: weights (m, p), gradient of F (m, p), E (m,), F (m,), and what is shown (m,)."""

    weights: np.ndarray
    gradient: np.ndarray
    error: np.ndarray
    penalised: np.ndarray
    shown: np.ndarray


def steps(
    network: Any,
    block: Any,
    strength: np.ndarray,
    rule: str,
    settings: Sequence[float],
    held: np.ndarray,
    numbers: Sequence[float],
    most: int,
) -> Steps | None:
    """Up to ``most`` steps by the ``rule`` "gradient" or "rprop" over a block of rows, none of which ends the walk.

    settings: those that kernels.c names. held (k, p): the weights to go on from and what the descent remembers, changed in
    place. numbers: F at the start, the lowest F so far and F at the last point. None where no such step can be made.
    """
    call, p = _call_for("walk", network, block.x, block.y), network.n_weights
    if call is None:
        return None
    given, known, strength = (
        np.array(settings, np.float64),
        np.array(numbers, np.float64),
        np.ascontiguousarray(strength),
    )
    found = Steps(np.empty((most, p)), np.empty((most, p)), *np.empty((3, most)))
    made = call(
        _rows_of(block), _place(strength), rule == "rprop", _place(given), _place(held), _place(known), most,
        *map(_place, found),
    )  # fmt: skip
    return Steps(*(each[:made] for each in found)) if made > 0 else None


class Ends(NamedTuple):
    """Where m starts stand: weights and velocity (m, p), their lowest weights (m, p), numbers (m, 4) and counts (m, 4).

    numbers: E and F at the lowest point, F at the start, the F that was last news; counts: steps, passes, the step of that news,
    and why it stopped, 0 while it goes on. All changed in place by ``ends``.
    """

    weights: np.ndarray
    velocity: np.ndarray
    lowest: np.ndarray
    numbers: np.ndarray
    counts: np.ndarray


def ends(
    network: Any,
    block: Any,
    strength: np.ndarray,
    settings: Sequence[float],
    codes: Sequence[int],
    tol: float,
    patience: int,
    end: int,
    steps: tuple[int, int],
    found: Ends,
) -> bool:
    """Steps ``steps[0]`` up to ``steps[1]``, of ``end``, of gradient descents side by side; False where there is no C for it.

    codes: what NO_CHANGE, MAX_ITER, FLAT, DIVERGED and NOT_FINITE are called; settings as for the rule "gradient" of ``steps``.
    """
    call = _call_for("ends", network, block.x, block.y)
    if call is None:
        return False
    given, named, strength = (np.array(settings, np.float64), np.array(codes, np.int64), np.ascontiguousarray(strength))
    _done(
        call(
            _rows_of(block), _place(strength), _place(given), len(found.weights), *steps, end, tol, patience, _place(named),
            *map(_place, found),
        )
    )  # fmt: skip
    return True


def epoch(
    network: Any,
    block: Any,
    strength: np.ndarray,
    adam: bool,
    settings: Sequence[float],
    order: np.ndarray,
    size: int,
    which: tuple[int, int],
    rates: np.ndarray,
    weights: np.ndarray,
    memory: np.ndarray,
    steps: int,
    kept: np.ndarray | None,
) -> int | None:
    """Steps by the batches numbered ``which[0]`` up to ``which[1]``, of ``size`` rows in this order: the first that took none.

    settings: those that kernels.c names. rates: one for each batch of the epoch. weights (p,) and memory (2, p), of the type of
    the rows, are changed in place; ``steps``, how many the memory has seen. kept: room for the weights and gradient of each step.
    """
    call = _call_for("epoch", network, block.x, block.y)
    if call is None or {weights.dtype, memory.dtype} != {block.x.dtype}:  # going on from a walk in another type
        return None
    rows = _Rows()
    ctypes.memmove(ctypes.addressof(rows), _rows_of(block), ctypes.sizeof(_Rows))
    order, given, strength = (
        np.ascontiguousarray(order, np.int64),
        np.array(settings, np.float64),
        np.ascontiguousarray(strength),
    )
    rows.order = _place(order)
    reached = call(
        ctypes.addressof(rows), _place(strength), adam, _place(given), size, *which, _place(rates), _place(weights),
        _place(memory), steps, *((None, None) if kept is None else map(_place, kept)),
    )  # fmt: skip
    _done(reached >= 0)
    return int(reached)


def _done(fine: int) -> None:
    if not fine:
        raise MemoryError("there is no memory for the sums over a block of rows.")
