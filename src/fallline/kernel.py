"""One kernel for a loop of small steps.

XLA hands every fused operation in the body of a loop to its thread pool one by one. For a hundred rows that
costs ten times the arithmetic. Compiled to one kernel instead, the loop runs like one written in C; nothing
in it is shared between threads and matrix products are plain loops, so that it pays for small steps only.
And the room that compiled programs take in a process.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.experimental.xla_metadata import set_xla_metadata

# The versions of jaxlib in which what stands here was tried. XLA ends the process, past any exception, where a kernel holds
# what it cannot translate; elsewhere the ordinary program runs.
_TRIED = ("0.10.",)

# Products that XLA would give to a library cannot stand inside a kernel.
_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}

# XLA's older way to write out fused operations takes half as long to compile. What comes out takes a third longer, in single
# precision twice as long, which does not matter where nearly all is done by libraries for products and factorisations.
QUICK = {"xla_cpu_use_fusion_emitters": False} if jaxlib.__version__.startswith(_TRIED) else {}

_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")


class Compiled:
    """A function compiled in several ways; each call says whether its steps are ``small``, or to be compiled ``quick``ly.

    The two words for XLA are hints. Where a version of XLA or a processor refuses them, or an operation
    that has no place in a kernel, the ordinary program does the same, slower.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...]) -> None:
        def body(*args: Any, **settings: Any) -> Any:
            with set_xla_metadata(inlineable=None, xla_cpu_small_call=None):  # for the outermost call alone
                return function(*args, **settings)

        def kernel(*args: Any, **settings: Any) -> Any:
            with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
                return jax.jit(body, static_argnames=static)(*args, **settings)

        self._ordinary = jax.jit(function, static_argnames=static)
        self._quick = jax.jit(function, static_argnames=static, compiler_options=QUICK)
        self._kernel = jax.jit(kernel, static_argnames=static, compiler_options=_OPTIONS)
        self._refused: set[Any] = set()

    def __call__(self, *args: Any, small: bool = False, quick: bool = False, **settings: Any) -> Any:
        if small and jaxlib.__version__.startswith(_TRIED) and jax.default_backend() == "cpu":
            program = (jax.tree.structure(args), tuple(sorted(settings.items())))
            if program not in self._refused:
                try:
                    return self._kernel(*args, **settings)
                except jax.errors.JaxRuntimeError:
                    self._refused.add(program)
        return (self._quick if quick else self._ordinary)(*args, **settings)


def make_room() -> None:
    """Forget the compiled programs where they have taken half of the memory maps that Linux gives a process.

    Each program takes some, and XLA ends the process when there are no more. A hundred tables of different widths are enough.
    """
    try:
        most = int(_MOST_MAPS.read_text())
        with _MAPS.open("rb") as lines:
            used = sum(1 for _ in lines)
    except (OSError, ValueError):  # another system, with other limits
        return
    if used > most // 2:
        jax.clear_caches()
