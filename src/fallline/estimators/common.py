"""What all estimators do alike: keep their settings, and warn of a descent that ended early."""

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fallline.descent import Stop
from fallline.exceptions import DescentWarning

_WARNINGS = {
    Stop.DIVERGED: DescentWarning,
    Stop.INTERRUPTED: DescentWarning,
    Stop.MAX_ITER: ConvergenceWarning,
    Stop.TIME: ConvergenceWarning,
}


def store(given: dict[str, Any]) -> None:
    """Keep the arguments of an ``__init__``, its ``locals()``, each under its own name."""
    given.pop("self").__dict__.update(given)


def warn_of(stop: Stop, message: str, stacklevel: int) -> None:
    """Warn where the descent of a ``fit`` stopped before it arrived; ``stacklevel`` as seen from the caller."""
    if stop in _WARNINGS:
        warnings.warn(message, _WARNINGS[stop], stacklevel=stacklevel + 1)
