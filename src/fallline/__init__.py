"""fallline: neural networks fitted by going down one error, the sum of squares, and shown on the way.

The public names stand once, here, and are found when they are first used:
importing fallline imports neither NumPy nor scikit-learn.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_HOME = {
    "Adam": "fallline.descent.adam",
    "Agreement": "fallline.landscape.check",
    "Basins": "fallline.landscape.minima",
    "Columns": "fallline.table.columns",
    "Convergence": "fallline.landscape.momentum",
    "Curvature": "fallline.landscape.hessian",
    "Curve": "fallline.model.curve",
    "CurveFit": "fallline.sure.curve_fit",
    "CurveRegressor": "fallline.estimators.curve",
    "DescentPath": "fallline.walk.path",
    "DescentWarning": "fallline.exceptions",
    "Effect": "fallline.sure.effects",
    "Ends": "fallline.walk.starts",
    "FalllineError": "fallline.exceptions",
    "FittedIntervals": "fallline.sure.fitted_intervals",
    "FittedNetwork": "fallline.fit.fitted",
    "GradientDescent": "fallline.descent.gradient",
    "Importance": "fallline.sure.importance",
    "InMemory": "fallline.rows.memory",
    "Kind": "fallline.landscape.verdict",
    "LBFGS": "fallline.descent.lbfgs",
    "LevenbergMarquardt": "fallline.descent.levenberg_marquardt",
    "Minima": "fallline.landscape.minima",
    "Minimum": "fallline.landscape.minima",
    "Network": "fallline.model.network",
    "NetworkClassifier": "fallline.estimators.network",
    "NetworkRegressor": "fallline.estimators.network",
    "Plane": "fallline.landscape.planes",
    "PredictedPath": "fallline.landscape.momentum",
    "Rprop": "fallline.descent.rprop",
    "SavedModel": "fallline.model_file",
    "SavedPath": "fallline.model_file",
    "Scaling": "fallline.table.scaling",
    "Sensitivity": "fallline.sure.sensitivities",
    "Surface": "fallline.landscape.surface",
    "Transformation": "fallline.descent.transformation",
    "check_derivatives": "fallline.landscape.check",
    "descend": "fallline.walk.loop",
    "descend_from": "fallline.walk.starts",
    "error_surface": "fallline.landscape.surface",
    "explore": "fallline.explore",
    "extreme_eigenvectors": "fallline.landscape.hessian",
    "fit_curve": "fallline.sure.curve_fit",
    "find_basins": "fallline.landscape.minima",
    "find_minima": "fallline.landscape.minima",
    "hessian": "fallline.landscape.hessian",
    "load_model": "fallline.model_file",
    "open_table": "fallline.table.stream",
    "partial_dependence": "fallline.sure.effects",
    "permutation_importance": "fallline.sure.importance",
    "read_table": "fallline.table.read",
    "save_model": "fallline.model_file",
    "sensitivities": "fallline.sure.sensitivities",
    "Verdict": "fallline.landscape.verdict",
    "verdict_at": "fallline.landscape.verdict",
    "verdict_of": "fallline.landscape.verdict",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fallline' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
