"""What is said of a fit, in sentences: on the terminal, in the report and in the model file alike.

Whoever reads them knows regression, not fallline. Why a descent ended, what kind of point that is and what intervals are
made of is said by the rooms that found it out; here those sentences are put in order.
"""

import math

import numpy as np

from fallline.cli.fits import COVERAGE
from fallline.cli.printing import as_options
from fallline.cli.rows import Prepared
from fallline.cli.table_fit import TableFit
from fallline.descent import words_of
from fallline.fit.average import Part
from fallline.fit.figures import figures_of, rmse_difference
from fallline.report import NAMES, ClassRows, RowSet
from fallline.report.classes import compared
from fallline.sure.uncertainty import students_quantile
from fallline.words import counted, listed, percent, written

# Shares of the weights that the rows determine, above and below which a network is too small or needlessly large.
_TOO_SMALL, _TOO_LARGE = 0.9, 1 / 3
_NAMED = 3  # columns that matter most


def rows(prepared: Prepared) -> str:
    """Which rows the figures come from and which the saved model was fitted on."""
    n, held, lost = prepared.rows, prepared.held_rows, _lost(prepared)
    if not held:
        return (
            f"Fitted on all {n:,} rows of {prepared.name}; no rows were held out, so every figure is of rows the model "
            f"has seen.{lost}"
        )
    return (
        f"The saved model was fitted on {n:,} rows of {prepared.name}. The held-out figures come from {counted(held, 'row')} "
        f"({prepared.source}) that played no part in the fit.{lost}"
    )


def better(fit: TableFit) -> str:
    """What to do where logistic regression predicts classes better than the network; "" where it does not."""
    judged = fit.rowsets[-1]
    return compared(judged) if isinstance(judged, ClassRows) else ""


def _lost(prepared: Prepared) -> str:
    left = prepared.left_out
    return f" {counted(left, 'row')} without a target took no part." if left else ""


def fitted_on(fit: TableFit) -> str:
    """Which rows the figures come from, held out or out of fold, and which the saved model was fitted on."""
    prepared = fit.prepared
    if not fit.folds:
        return rows(prepared)
    if not fit.rowsets[-1].unseen:
        return f"{rows(prepared)} The folds were not finished."
    return (
        f"The saved model was fitted on all {prepared.rows:,} rows of {prepared.name}. The out-of-fold figures come from "
        f"{fit.folds} further fits ({prepared.source}): each predicts the rows that it left out.{_lost(prepared)}"
    )


def network(fit: TableFit) -> str:
    """The network of each start, and what it is combined with."""
    alone, fitted = fit.fitted.alone().network, fit.fitted
    if fit.grown and not alone.hidden:
        return f"Ridge regression: no network was nearer to rows left out. {alone}"
    if not fitted.is_mixture:
        return f"{alone}{'; width chosen by rows left out' if fit.grown else ''}"
    parts = sorted(fitted.parts, key=lambda part: -part.share)
    count = sum(len(part.starts) for part in parts if part.starts.network.hidden)
    line = next((f" and {_part(part)}" for part in parts if not part.starts.network.hidden), "")
    shares = listed([f"{_part(part)} {percent(part.share)}" for part in parts])
    seen = "" if fitted.scores is None else f" The networks see {fitted.scores.shape[1]} scores of the inputs."
    combined = f"{counted(count, 'network')}{line} combined as suits rows left out best: {shares}."
    return f"{combined}{seen} The plots show one of them: {alone}"


def _part(part: Part) -> str:
    """A part of a combination."""
    network = part.starts.network
    line = "logistic regression" if network.output_activation == "logistic" else "ridge regression"
    return f"{'-'.join(map(str, network.hidden))} units" if network.hidden else line


def starts(fit: TableFit) -> str:
    """How many networks of one width the prediction averages, and how many minima they reached; "" of a single one."""
    each = None if fit.fitted.is_mixture else fit.fitted.starts
    if each is None or len(each) == 1:
        return ""
    reached = "the same minimum" if len(each.minima) == 1 else f"{len(each.minima)} different minima"
    return (
        f"The prediction averages {len(each)} networks from random starts; they reached {reached}. The plots show start "
        f"{each.shown + 1}."
    )


def descent(fit: TableFit) -> str:
    """Which descent it was and why, or, where it was asked for, with which settings."""
    return fit.why_this_descent or f"{words_of(fit.path.descent)}, as asked."


def stop(fit: TableFit) -> str:
    """Why the descent ended and what to do."""
    return as_options(fit.path.stop_message)


def verdict(fit: TableFit) -> str:
    """What kind of point the descent stopped at and what to do; "" where that was not found out."""
    return "" if fit.verdict is None else as_options(str(fit.verdict))


def effort(fit: TableFit) -> str:
    """How far the descent went, how long that took and how long all of it."""
    path, each = fit.path, fit.fitted.starts
    epochs = "" if path.n_epochs is None else f"{counted(path.n_epochs, 'epoch')}, "
    steps = f"{epochs}{counted(path.n_steps, 'step')}, {counted(path.n_passes, 'pass', 'passes')}"
    several = ""
    if each is not None and fit.fitted.passes > path.n_passes:
        several = f"; all walks of the fit, {counted(fit.fitted.passes, 'pass', 'passes')}"
    return f"{steps} over the rows in {path.seconds:.2f} s{several}; {fit.seconds:.2f} s in all."


def decay(fit: TableFit) -> str:
    """The weight decay and where it is from; of one that was found, how many weights the data determine and the noise."""
    path = fit.path
    if "effective_weights" not in path.shown:
        how = ", chosen automatically (cross-validation of the Brier score)" if fit.decay_by_folds else ""
        return f"alpha = {path.alpha:g}, in standardised units{how}."
    gamma, noise = path.shown["effective_weights"][-1], path.shown["noise_precision"][-1]
    # 0: the descent ended before there was an estimate.
    known = (
        f"estimated noise: {percent(noise**-0.5)} of the target's spread."
        if noise > 0
        else "the noise is not estimated yet."
    )
    return (
        f"chosen automatically (Bayesian regularisation). The data determine {gamma:.0f} of {len(path.strength)} weights; "
        f"{known}{_size(fit, gamma / len(path.strength))}"
    )


def _size(fit: TableFit, share: float) -> str:
    """Whether the network is too small or needlessly large, by the share of its weights that the rows determine."""
    hidden = fit.fitted.alone().network.hidden
    if share > _TOO_SMALL and hidden and not fit.grown:
        more = ",".join(str(2 * size) for size in hidden)
        return f" Nearly all weights are needed: a larger network may fit better (--hidden {more} or auto)."
    if share < _TOO_LARGE and sum(hidden) > 2 and not fit.grown:
        fewer = ",".join(str(max(1, math.ceil(2 * share * size))) for size in hidden)
        return f" Few of the weights are needed: a smaller network would do (--hidden {fewer} or auto)."
    return ""


def intervals(fit: TableFit) -> str:
    """How many of the rows that a fit is judged by lie in their intervals; "" without intervals."""
    judged = fit.rowsets[-1]
    if isinstance(judged, ClassRows) or judged.low is None or judged.high is None:
        return ""
    inside = (judged.low <= judged.actual) & (judged.actual <= judged.high)
    shares = " and ".join(f"{100 * share:.1f} %" for share in np.mean(inside, axis=0))
    return f"The {100 * COVERAGE:g} % intervals hold {shares} of the {judged.held}."


def comparisons(fit: TableFit) -> tuple[str, ...]:
    """For each target a sentence on the fit that predicts unseen rows better than the network, and what to do; else ""."""
    judged, targets = fit.rowsets[-1], fit.prepared.columns.targets
    if isinstance(judged, ClassRows) or not judged.unseen:
        return ("",) * len(targets)
    return tuple(
        _comparison(fit, judged, j, f"`{name}`: " if len(targets) > 1 else "") for j, name in enumerate(targets)
    )


def _comparison(fit: TableFit, judged: RowSet, j: int, of: str) -> str:
    actual, network = judged.actual[:, j], judged.predicted[:, j]
    errors = {name: figures_of(actual, each[:, j]).rmse for name, each in judged.fits.items()}
    known = {name: error for name, error in errors.items() if error is not None}
    best = min(known, key=known.__getitem__, default="network")
    if "network" not in known or written(known[best]) == written(known["network"]):
        return ""
    less, error = rmse_difference(actual, network, judged.fits[best][:, j])
    rows, linear = judged.held, best == "ridge" and fit.fitted.alone().network.hidden
    said = (
        f"{of}{NAMES[best].capitalize()} predicts the {rows} better: RMSE {written(less, 2)} lower than the network's"
    )
    if judged.rows < 2 or less <= students_quantile(judged.rows - 1, COVERAGE) * error:
        judge = "more rows may tell" if fit.folds else "more rows may tell (--k-fold 10 judges by all)"
        take = "; until then the linear model (--hidden none) is the simpler one" if linear else ""
        return f"{said}, which may be chance (standard error {written(error, 2)}): {judge}{take}."
    why = "as far as these rows tell, the relation is linear" if best == "ridge" else "steps and thresholds suit trees"
    take = "take the linear model (--hidden none)" if linear else f"take {NAMES[best]}"
    sure = f"{said}, hardly by chance ({less / error:.1f} standard errors)"
    return f"{sure}: {why}. {take.capitalize()}, or give more rows or other columns."


def matters(fit: TableFit) -> str:
    """Which columns matter most; "" where that is not known."""
    if fit.influence is None:
        return ""
    found, targets = fit.influence.importance, fit.prepared.columns.targets
    said = []
    for j, target in enumerate(targets):
        most = found.above_chance(j)[:_NAMED]
        rises = (
            listed(f"{found.names[i]} +{written(found.mean[i, j], 3)}" for i in most)
            or "none, as far as these rows tell"
        )
        said.append(f"to {target}: {rises}" if len(targets) > 1 else rises)
    how = f"the rise of the RMSE of {fit.influence.of} where a column is shuffled among them"
    return f"Columns that matter most{' ' if len(targets) > 1 else ': '}{'; '.join(said)} ({how})."
