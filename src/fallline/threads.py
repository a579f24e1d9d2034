"""One BLAS thread while a descent runs, and how many processors there are.

The factorisations of a descent are small: a second thread gains nothing, and where other
work shares the processor BLAS threads wait for each other in busy loops, five times slower
than one thread alone.
"""

import functools
import os
from contextlib import AbstractContextManager
from typing import Any


def one_blas_thread() -> AbstractContextManager[object]:
    """A block in which BLAS uses one thread; after it, as many as before.

    Where several threads run such blocks at once, the first one rules and puts the number back.
    """
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _libraries() -> Any:
    """The BLAS and LAPACK libraries of the process. To look for them takes as long as some passes over a thousand rows."""
    import scipy.linalg  # noqa: F401  the LAPACK that JAX calls: only a library that is loaded can be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
