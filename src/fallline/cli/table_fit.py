"""A prepared table in, the network and its figures out: the main job, without a word on the screen.

No mathematics is done here, only the order of things. What is said of a fit stands in ``sentences.py``, what is kept of it
in ``kept.py``.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fallline.cli.class_fit import class_rows
from fallline.cli.fits import ENDED_BADLY, Phase, fits_of, out_of_fold
from fallline.cli.influence import Influence, curves_of, few_of, influence_of
from fallline.cli.rows import Prepared
from fallline.descent import Descent, Stop
from fallline.descent.choose import choose
from fallline.exceptions import FalllineError, SettingsError
from fallline.fit.class_decay import decided
from fallline.fit.fitted import FittedNetwork
from fallline.fit.settings import OF_CLASSES, Settings
from fallline.landscape.surface import Surface, error_surface
from fallline.landscape.verdict import Verdict, verdict_of
from fallline.report import ClassRows, RowSet
from fallline.rows.rows import Rows
from fallline.sure.fitted_intervals import FittedIntervals
from fallline.threads import Interrupts
from fallline.walk.path import EVERY_STEP_UP_TO, DescentPath

if TYPE_CHECKING:
    from fallline.plot import OneInputFitDisplay

# The map in a report: points along each direction, and the products for each of them that take half a second in all.
_GRID, _MOST_WORK, _ACTIVATION = 61, 4e5, 10
# Values · weights² whose Hessian takes a second or two.
MOST_CURVATURE = 2e9


@dataclass(frozen=True, eq=False)
class TableFit:
    """A network fitted to a table, with all that a report or a model file says of it.

    ``rowsets``: the training rows, then the held-out ones, or those out of fold, with predictions, those of ridge regression
    and gradient boosting, and intervals; of classes with probabilities and logistic regression. ``folds``: how many were asked
    for, 0 for none.
    ``why_this_descent`` is empty where it was asked for; ``grown``: whether the evidence chose how wide the network is,
    ``decay_by_folds``: whether rows left out chose the weight decay, as they do of classes.
    ``intervals`` is None where nobody asked or the rows leave nothing to see the noise by, ``verdict`` where finding it
    would hold the fit up. ``left_out``: what Ctrl-C after the descent ended.
    ``influence``: what the columns do; ``curves``: of a single one, the curve of each target.
    """

    prepared: Prepared
    fitted: FittedNetwork
    path: DescentPath
    rowsets: tuple[RowSet | ClassRows, ...]
    why_this_descent: str
    seconds: float
    intervals: FittedIntervals | None = None
    verdict: Verdict | None = None
    grown: bool = False
    decay_by_folds: bool = False
    influence: Influence | None = None
    curves: "tuple[OneInputFitDisplay, ...]" = ()
    folds: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def ended_badly(self) -> bool:
        """Whether the descent diverged or was interrupted: what is kept is the lowest it saw."""
        return self.path.stop in ENDED_BADLY

    def surface(self) -> Surface | None:
        """The error surface around the fit, None where there is none or where it would hold the report up."""
        path, network = self.path, self.fitted.alone().network
        work = self.prepared.rows * (network.n_weights + _ACTIVATION * sum(network.sizes[1:]))
        if self.left_out or work > _MOST_WORK or network.n_weights > EVERY_STEP_UP_TO or path.stop == Stop.DIVERGED:
            return None
        try:
            return error_surface(path, self.fitted.rows(self.prepared.x, self.prepared.y), points=_GRID)
        except FalllineError:  # a single weight, or a descent without a step: no plane
            return None


def fit_table(
    prepared: Prepared,
    *,
    descent: Descent | str = "auto",
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
    arrived: Phase | None = None,
    every_step: bool = False,
    intervals: bool = True,
    compare: bool = False,
    folds: Sequence[Callable[[], Prepared]] = (),
    interrupts: Interrupts | None = None,
    **settings: Any,
) -> TableFit:
    """Fit a network, and ridge regression beside it, to a prepared table; the settings are those of ``Settings``.

    intervals: whether to find out how far predictions may be off, which takes up to twice the time of the fit; probabilities
    of classes have none, and stand beside logistic regression alone. compare: gradient boosting too, which raises SettingsError
    for classes. folds: each is fitted as well and judged by the rows it leaves out (``prepare_folds``). ``arrived`` is
    called when the descent has ended, and with each thing that is done after it. every_step: ``progress`` hears of every step.
    interrupts: Ctrl-C after the descent, which ends what may be left out.
    """
    began = time.perf_counter()
    phase: Phase = arrived or (lambda words: None)
    held = {"held-out": (prepared.held_x, prepared.held_y)} if len(prepared.held_x) else {}
    by_classes = bool(prepared.columns.classes)
    if by_classes and compare:
        raise SettingsError(
            f"`{prepared.columns.targets[0]}` is told by classes, which stand beside logistic regression, and --compare is for "
            "numbers: leave it out."
        )
    asked = Settings(
        descent=descent, seed=seed, indicators=prepared.columns.indicators, input_names=prepared.columns.encoded_names,
        **((OF_CLASSES if by_classes else {}) | settings),
    )  # fmt: skip
    chosen = by_classes and asked.alpha == "auto"
    asked = decided(asked, prepared.x, prepared.y, told=phase) if by_classes else asked
    interrupts = interrupts or Interrupts()
    how: dict[str, Any] = {"intervals": intervals and not by_classes, "compare": compare}
    fits = fits_of(
        prepared, asked, phase, watched=held, progress=progress, every_step=every_step, interrupts=interrupts, **how
    )
    fitted, path = fits.fitted, fits.path
    why = choose("auto", fitted.alone().network, len(prepared.x))[1] if descent == "auto" else ""
    rowsets: list[RowSet | ClassRows] = []
    influence: Influence | None = None
    curves: tuple[OneInputFitDisplay, ...] = ()
    if by_classes:
        rowsets += class_rows(prepared, fitted, {"training": (prepared.x, prepared.y), **held})
    else:
        judged = fits.rows("training", prepared.x, prepared.y, prepared.numbers)
        rowsets.append(judged)
        for name, (x, y) in held.items():
            rowsets.append(judged := fits.rows(name, x, y, prepared.held_numbers))
        unseen = None
        if folds and path.stop not in ENDED_BADLY:
            few = few_of(prepared, fits, len(prepared.x))
            unseen = interrupts.optional("folds", lambda: out_of_fold(prepared, folds, asked, phase, few, **how))
        if unseen is not None:
            rowsets.append(judged := unseen.rows)
        phase("finding out which columns matter")
        influence = interrupts.optional("importances", lambda: influence_of(prepared, fits, judged, unseen))
        curves = interrupts.optional("curves", lambda: curves_of(prepared, fits)) or ()
    phase("finding out at what kind of point it stopped")
    verdict = interrupts.optional("verdict", lambda: _verdict_on(fitted.rows(prepared.x, prepared.y), path))
    return TableFit(
        prepared, fitted, path, tuple(rowsets), why, time.perf_counter() - began, fits.intervals, verdict,
        asked.finds_width and path.alpha == "evidence", chosen, influence, curves, len(folds),
        tuple(interrupts.left_out),
    )  # fmt: skip


def _verdict_on(rows: Rows, path: DescentPath) -> Verdict | None:
    """The verdict on a fit, None where the Hessian would hold it up or there is none."""
    if len(rows) * path.model.outputs * path.model.n_weights**2 > MOST_CURVATURE:
        return None
    try:
        return verdict_of(path, rows)
    except FalllineError:
        return None
