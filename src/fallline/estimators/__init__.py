"""The scikit-learn face: estimators that validate, call the core and store what it found."""

from typing import Any

from fallline.exceptions import FalllineError


def __getattr__(name: str) -> Any:
    """Where 0.1.0 kept its estimators, and its pickles look for them: a sentence instead of half an estimator."""
    if name in ("NetworkRegressor", "NetworkClassifier"):
        raise FalllineError(
            f"a pickle that looks for {name} in fallline.estimators was made by fallline 0.1.0, and this version cannot read it: "
            f"fit again, or load it with that version. In programs, import {name} from fallline."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
