"""What ``"auto"`` means, and why, in one sentence."""

from fallline.descent import Descent
from fallline.descent.adam import Adam
from fallline.descent.gradient import GradientDescent
from fallline.descent.lbfgs import LBFGS
from fallline.descent.levenberg_marquardt import LevenbergMarquardt
from fallline.descent.rprop import Rprop
from fallline.exceptions import SettingsError
from fallline.model.curve import Curve
from fallline.model.network import Model
from fallline.words import did_you_mean

# Levenberg–Marquardt pays rows · outputs · weights² a pass and weights³ a step. Up to these bounds a pass takes
# well under a second, and its steps are worth hundreds of gradient steps each.
MOST_WEIGHTS = 1000
_MOST_WORK = 1e10

# From so many rows on an epoch has steps enough: with fewer, full batches went as far (benchmarks/README.md).
_MANY_ROWS = 2000

DESCENTS = {
    "levenberg-marquardt": LevenbergMarquardt,
    "l-bfgs": LBFGS,
    "rprop": Rprop,
    "gradient": GradientDescent,
    "mini-batch": Adam,
}


def choose(name: str, model: Model, rows: int, *, all_rows: bool = False) -> tuple[Descent, str]:
    """The descent of that name with its default settings, and a sentence that says why.

    ``"auto"`` takes Levenberg–Marquardt for small networks. Where JᵀJ would be too large it takes L-BFGS, and mini-batches
    from 2 000 rows up, which predicted rows not seen best in benchmarks/mini_batch_fits.py; ``all_rows``: where mini-batches
    cannot walk, L-BFGS there too. Raises SettingsError for an unknown name.
    """
    if isinstance(model, Curve) and name in ("auto", "levenberg-marquardt"):
        return LevenbergMarquardt.for_curves(), "Levenberg–Marquardt as it suits a curve of few parameters."
    if name in DESCENTS:
        return DESCENTS[name](), f"{name} was asked for."
    if name != "auto":
        hint = did_you_mean(name, DESCENTS)
        raise SettingsError(f"descent {name!r} is not known: choose 'auto' or one of {', '.join(DESCENTS)}{hint}")
    p, work = model.n_weights, rows * model.outputs * model.n_weights**2
    if p <= MOST_WEIGHTS and work <= _MOST_WORK:
        return (
            LevenbergMarquardt(),
            f"Levenberg–Marquardt, because the network is small ({p} weights for {rows} rows).",
        )
    costs = f"too many weights for Levenberg–Marquardt here ({p:,} weights, {rows:,} rows)"
    if getattr(model, "linear", False) and model.inputs <= MOST_WEIGHTS:
        return (
            GradientDescent(momentum="auto"),
            f"gradient descent, which on a linear network needs one pass over the rows; {costs}.",
        )
    if rows >= _MANY_ROWS and not all_rows:
        return (
            Adam(),
            f"mini-batches by Adam: {costs}, and with this many rows many small steps make faster progress.",
        )
    return LBFGS(), f"L-BFGS: {costs}."
