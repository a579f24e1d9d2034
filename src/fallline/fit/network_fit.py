"""Arrays in, a fitted network out: what the estimators and the command line share.

Rows are scaled once and lie ready for every start; starts and widths walk side by side in threads. No file, no table and no
scikit-learn is known here.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fallline.arrays import on_device, to_numpy
from fallline.descent import Descent
from fallline.descent.choose import choose
from fallline.descent.transformation import wrapped
from fallline.exceptions import SettingsError
from fallline.fit.checkpointed import fit_in_folder, is_folder
from fallline.fit.fitted import FittedNetwork
from fallline.fit.large import fit_large, is_large
from fallline.fit.line import beside_line, has_line
from fallline.fit.scores import MOST_SCORES, score_names, scores_of
from fallline.fit.settings import LIGHT_DECAY, Settings, starts_asked
from fallline.fit.walks import Fit, begins_of, first_of
from fallline.fit.widths import Table, fit_widths, widths_again
from fallline.model.network import Network
from fallline.rows.memory import InMemory
from fallline.rows.rows import Rows
from fallline.table.scaling import Scaling
from fallline.threads import Workers
from fallline.walk.loop import Progress
from fallline.walk.path import DescentPath
from fallline.walk.stopping import end_of

_MANY_INPUTS = 40  # from here on networks see scores
_ENOUGH_FOR_EVIDENCE = 10  # different rows: fewer say nothing of the noise
# Mini-batches go in single precision from so many rows · weights on: half the time, and the noise of a batch is far larger.
_SINGLE_FROM = 1e7
_SUMMED_ROWS = 1 << 20  # of a table: what is made of so many for its means and spreads is held together


def fit_network(
    x: np.ndarray,
    y: np.ndarray,
    settings: Settings | None = None,
    *,
    sample_weight: np.ndarray | None = None,
    watched: Mapping[str, tuple[Any, ...]] | None = None,
    judge: str | None = None,
    before: FittedNetwork | None = None,
    scaling: Scaling | None = None,
    progress: Callable[[Progress, Callable[[], FittedNetwork]], Any] | None = None,
    every_step: bool = False,
    **given: Any,
) -> tuple[FittedNetwork, DescentPath]:
    """Fit a network to rows x (n, inputs) and y (n, outputs) in the user's units; the way there lives in scaled units.

    Rows of NumPy are computed in float64, those on a GPU in float32 where x and y are.

    settings: ``Settings``, or the fields of one by name. The descent begins ``n_starts`` times, from other weights each time;
    the path returned is that of the start shown (``starts_of``).
    ``watched`` rows, (x, y) or (x, y, sample_weight) by name, are followed and not fitted; ``judge`` names the one
    whose lowest error chooses the weights. ``before`` is a fit to go on from, in its scaling; ``scaling`` the one to live in,
    instead of that of the rows. ``progress`` is told
    how far the descent is, in the thread that called, and gets a function that gives the network as it stands; it ends the
    fit by returning True. With ``every_step`` it hears of every step, and starts walk one after the other.
    ``checkpoint`` is a folder in which the fit is kept, from where the same call goes on (``descend``).
    Raises what ``Network`` and ``descend`` raise.
    """
    settings = dataclasses.replace(settings or Settings(), **given)
    if is_folder(settings):
        again = functools.partial(
            fit_network, x, y, sample_weight=sample_weight, watched=watched, judge=judge, before=before, scaling=scaling,
            progress=progress, every_step=every_step,
        )  # fmt: skip
        also = {"judge": judge, "the fit before": before} | ({} if scaling is None else {"scaling": scaling})
        return fit_in_folder(again, settings, {"table": (x, y, sample_weight), **(watched or {})}, also)
    until = end_of(settings.max_seconds)
    outputs = y.shape[1]
    scaling = before.scaling if before else scaling or scaling_of(x, y, sample_weight, settings)
    if before is None and judge is None and not on_device(x) and is_large(x.shape[0], settings):
        large = fit_large(x, y, settings, scaling, sample_weight, watched, until, progress, every_step=every_step)
        if large is not None:
            return large
    scores = before.scores if before else _scores(x, y, sample_weight, scaling, settings, judge)
    own = scaling if scores is None else dataclasses.replace(scaling, scores=scores)
    seen, names = x.shape[1], settings.input_names
    if scores is not None:
        seen = scores.shape[1]
        settings = dataclasses.replace(settings, input_names=score_names(seen))
    hidden = before.alone().network.hidden if settings.finds_width and before is not None else None
    network = settings.network(seen, outputs, hidden)
    if before is not None and not _goes_on(before, network, x.shape[1], settings):
        raise SettingsError(
            f"warm_start goes on with the network fitted before ({before.network}), but the settings and columns now make "
            f"another one ({network}): set warm_start=False, or put the settings back."
        )
    sets = {name: InMemory(own.x(a), own.y(b), *s) for name, (a, b, *s) in (watched or {}).items()}
    descent = settings.descent
    if isinstance(descent, str):
        descent, _ = choose(descent, network, x.shape[0])
    descent = wrapped(descent)
    by_batches = getattr(descent, "batch_size", None) is not None
    single = by_batches and x.shape[0] * network.n_weights >= _SINGLE_FROM
    rows = InMemory(own.x(x), own.y(y), sample_weight, np.float32 if single else None)
    alpha = alpha_for(rows, descent, settings, judge, enough=scores is not None)

    with Workers(1 if every_step else settings.n_jobs) as workers:
        fit = Fit(
            rows, descent, alpha, settings, sets, judge, scaling, workers, progress, every_step, before is None, until
        )
        widths = (
            settings.finds_width and alpha == "evidence"
            if before is None
            else before.is_mixture and not has_line(before)
        )
        if widths:
            table = Table(to_numpy(scaling.x(x)), to_numpy(scaling.y(y)), to_numpy(rows.counts), scores, names)
            return fit_widths(fit, table) if before is None else widths_again(fit, table, before)
        members, firsts = 1, list[float]()
        if before is None:
            begins = begins_of(network, settings.seed, starts_asked(settings, network, descent, len(rows)))
        elif before.starts is not None:
            begins = list(before.starts.weights)
            firsts = [first_of(start.strength, rows.count) for start in before.starts]
        else:  # after partial_fit: one network, however many it once was the mean of
            network, members, begins = before.network, before.members, [before.weights]
        starts = fit.give(network, begins, firsts)
        if not fit.results(starts):
            raise KeyboardInterrupt
    fitted, path = fit.fitted(starts)
    fitted = dataclasses.replace(fitted, members=fitted.members * members)
    if settings.line is not None:
        fitted = beside_line(fitted, scaling.x(x), scaling.y(y), rows.counts, settings.line)
    return fitted, path


def alpha_for(rows: Rows, descent: Descent, settings: Settings, judge: str | None, *, enough: bool = False) -> Any:
    """What the settings' ``alpha`` means for these rows; ``enough``: whether they are known to say something of the noise."""
    if not (isinstance(settings.alpha, str) and settings.alpha == "auto"):
        return settings.alpha
    found = descent.finds_penalty and judge is None
    return "evidence" if found and (enough or rows.differ(_ENOUGH_FOR_EVIDENCE)) else LIGHT_DECAY


def _scores(x: Any, y: Any, sample_weight: Any, scaling: Scaling, settings: Settings, judge: str | None) -> Any:
    """The scores (inputs, q) that networks of many inputs see by default, or None."""
    network = settings.network(MOST_SCORES, y.shape[1])
    usual = settings.finds_width and settings.descent == "auto" and settings.alpha in ("auto", "evidence")
    plain = settings.scale and settings.bias and settings.output_activation == "identity" and not on_device(x)
    if x.shape[1] < _MANY_INPUTS or not (usual and plain and judge is None):
        return None
    if not choose("auto", network, x.shape[0])[0].finds_penalty:
        return None
    scaled = scaling.x(x), scaling.y(y)
    rows = InMemory(*scaled, sample_weight)
    return scores_of(*scaled, rows.counts) if rows.differ(_ENOUGH_FOR_EVIDENCE) else None


def _goes_on(before: FittedNetwork, network: Network, inputs: int, settings: Settings) -> bool:
    """Whether a fit can go on from ``before`` with these settings, which make ``network`` of each start."""
    if not before.is_mixture:
        return before.network == network.side_by_side(before.members)
    own = settings.finds_width or has_line(before)
    return own and before.network.inputs == inputs and before.alone().network == network


def scaling_of(x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, settings: Settings) -> Scaling:
    """The scaling that a new fit to these rows lives in."""
    if not settings.scale:
        return Scaling.identity(x.shape[1], y.shape[1])
    n, s = x.shape[0], sample_weight
    parts = (slice(at, min(at + _SUMMED_ROWS, n)) for at in range(0, n, _SUMMED_ROWS))
    return Scaling.fit(
        [(x[part, :], y[part, :], None if s is None else s[part]) for part in parts],
        indicators=settings.indicators,
        centre=settings.bias,
        scale_targets=settings.output_activation == "identity",
        one_target_scale=settings.one_target_scale,
    )
