"""What ``"auto"`` means, and why, in one sentence."""

import difflib

from fallline.descent import Descent
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.exceptions import SettingsError
from fallline.network import Model

# Levenberg–Marquardt pays rows · outputs · weights² a pass and weights³ a step. Up to these bounds a pass takes
# well under a second, and its steps are worth hundreds of gradient steps each.
_MOST_WEIGHTS = 1000
_MOST_WORK = 1e10

DESCENTS = {"levenberg-marquardt": LevenbergMarquardt, "gradient": GradientDescent, "mini-batch": Adam}


def choose(name: str, model: Model, rows: int) -> tuple[Descent, str]:
    """The descent of that name with its default settings, and a sentence that says why.

    ``"auto"`` takes Levenberg–Marquardt for small networks and gradient descent, with momentum and a rate read
    off the curvature, where JᵀJ would be too large. Raises SettingsError for an unknown name.
    """
    if name in DESCENTS:
        return DESCENTS[name](), f"{name} was asked for."
    if name != "auto":
        near = difflib.get_close_matches(name, DESCENTS, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise SettingsError(
            f"descent {name!r} is not known: choose 'auto' or one of {', '.join(DESCENTS)}{hint}"
        )
    p, work = model.n_weights, rows * model.outputs * model.n_weights**2
    if p <= _MOST_WEIGHTS and work <= _MOST_WORK:
        return (
            LevenbergMarquardt(),
            f"Levenberg–Marquardt, because the network is small ({p} weights for {rows} rows).",
        )
    why = f"{p} weights" if p > _MOST_WEIGHTS else f"{p} weights times {rows} rows"
    return (
        GradientDescent(momentum=0.9),
        f"gradient descent with momentum and a rate read off the curvature, because {why} make JᵀJ too costly.",
    )
