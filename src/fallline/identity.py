"""What a thing is, as a digest: the same in another process, and another one wherever a computation by it might differ.

Numbers count with all their digits, arrays with type and shape, functions with their code and what they were made with.
"""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest(*things: Any) -> str:
    """32 letters that stand for these things: numbers, texts, arrays, functions, settings, and whatever is made of them."""
    whole = hashlib.sha256()
    _add(whole, things, ())
    return whole.hexdigest()[:32]


def _add(whole: Any, thing: Any, above: tuple[int, ...]) -> None:
    """``above``: what this is a part of; a function may hold itself."""
    whole.update(f"\n{type(thing).__qualname__} ".encode())
    if id(thing) in above:
        return
    parts: Any = ()
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
        whole.update(repr(thing).encode(errors="surrogatepass"))
    elif hasattr(thing, "__array__"):
        array = np.ascontiguousarray(np.asarray(thing))
        whole.update(f"{array.dtype.str} {np.shape(thing)} ".encode())
        if array.dtype.hasobject:
            parts = array.tolist()
        elif array.size:
            whole.update(array.reshape(-1).view(np.uint8).data)
    elif isinstance(thing, Mapping):
        parts = tuple(thing.items())
    elif isinstance(thing, (tuple, list)):
        parts = thing
    elif isinstance(thing, (set, frozenset)):
        parts = sorted(map(repr, thing))
    elif isinstance(thing, type):
        parts = (thing.__module__, thing.__qualname__)
    elif dataclasses.is_dataclass(thing):
        parts = [(field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing) if field.compare]
    elif isinstance(thing, np.random.Generator):
        parts = (thing.bit_generator.state,)
    elif isinstance(thing, types.CodeType):
        parts = (thing.co_code, thing.co_consts, thing.co_names)
    elif isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        parts = (thing.__module__, thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells)
    elif isinstance(thing, types.MethodType):
        parts = (thing.__self__, thing.__func__)
    elif isinstance(thing, functools.partial):
        parts = (thing.func, thing.args, thing.keywords)
    elif hasattr(thing, "__wrapped__"):
        parts = (thing.__wrapped__,)
    elif hasattr(thing, "__qualname__"):  # a function written in C
        parts = (thing.__module__, thing.__qualname__)
    else:
        parts = tuple(getattr(thing, "__dict__", {}).items())
    for part in parts:
        _add(whole, part, (*above, id(thing)))
