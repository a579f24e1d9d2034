"""Displays: what a fit did, as pictures.

A Display is numbers first and a picture second: a dataclass that holds what is shown, and `plot`, which draws
it into the Axes it is given. What was drawn is in attributes that end in ``_``, matplotlib's own artists, to be
styled as any other. The report draws with these same Displays. Nothing here computes a fit, and
nothing changes matplotlib's settings or calls ``show``; pyplot is imported only where no Axes is given.
"""

from fallline.plot.basins import BasinDisplay
from fallline.plot.calibration import CalibrationDisplay
from fallline.plot.descent_path import PathDisplay
from fallline.plot.effect import EffectDisplay
from fallline.plot.error_curve import ErrorCurveDisplay
from fallline.plot.error_surface import ErrorSurfaceDisplay
from fallline.plot.importance import ImportanceDisplay
from fallline.plot.minima import MinimaDisplay
from fallline.plot.momentum_map import MomentumMapDisplay
from fallline.plot.network_diagram import NetworkDiagramDisplay
from fallline.plot.one_input_fit import OneInputFitDisplay
from fallline.plot.predicted_actual import PredictedActualDisplay
from fallline.plot.prediction_map import PredictionMapDisplay
from fallline.plot.residual_histogram import ResidualHistogramDisplay
from fallline.plot.residuals import ResidualsDisplay
from fallline.plot.sensitivity import SensitivityDisplay
from fallline.plot.slope import SlopeDisplay

__all__ = [
    "BasinDisplay",
    "CalibrationDisplay",
    "EffectDisplay",
    "ErrorCurveDisplay",
    "ErrorSurfaceDisplay",
    "ImportanceDisplay",
    "MinimaDisplay",
    "MomentumMapDisplay",
    "NetworkDiagramDisplay",
    "OneInputFitDisplay",
    "PathDisplay",
    "PredictedActualDisplay",
    "PredictionMapDisplay",
    "ResidualHistogramDisplay",
    "ResidualsDisplay",
    "SensitivityDisplay",
    "SlopeDisplay",
]
