"""fallline: neural networks fitted by going down one error, the sum of squares, and shown on the way.

The public names stand once, here, and are found when they are first used:
importing fallline imports neither JAX nor scikit-learn.
"""

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_HOME = {
    "DescentWarning": "fallline.exceptions",
    "FalllineError": "fallline.exceptions",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fallline' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
