"""The fit of a table that does not fit in memory: its rows come from disk at every pass, its figures are of all of them.

What is shown row by row, such as the pictures of a report, is of some drawn at random, and says so.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fallline.cli.fits import ENDED_BADLY, Fits, Phase, Predicting
from fallline.cli.influence import curves_of, influence_of
from fallline.cli.rows import StreamedPrepared
from fallline.cli.table_fit import MOST_CURVATURE, TableFit
from fallline.descent import Descent, words_of
from fallline.exceptions import FalllineError, TableError
from fallline.fit.figures import FigureSums
from fallline.fit.fitted import FittedNetwork
from fallline.fit.ridge import ridge_of_blocks
from fallline.fit.settings import Settings
from fallline.fit.streamed import fit_streamed, rows_of_fit
from fallline.report import RowSet
from fallline.rows.stream import Streamed
from fallline.sure.fitted_intervals import FittedIntervals, intervals_of_fit
from fallline.sure.intervals import enough_rows
from fallline.table.encoded import EncodedRows, written_down
from fallline.threads import Interrupts
from fallline.walk.path import DescentPath

_SHOWN = 20_000  # rows of each set that are shown row by row


@contextmanager
def at_hand(prepared: StreamedPrepared, told: Callable[[str], object]) -> Iterator[None]:
    """Hold the rows as numbers on disk while the block lasts, where that pays; ``told`` hears where."""
    rows = [each for each in (prepared.train, prepared.held) if each is not None]
    same = [each for each in rows if each.table is rows[0].table]
    with written_down(*same, told=told):
        yield


def fit_stream(
    prepared: StreamedPrepared,
    *,
    descent: Descent | str = "auto",
    seed: int = 0,
    progress: Callable[..., Any] | None = None,
    arrived: Phase | None = None,
    intervals: bool = True,
    interrupts: Interrupts | None = None,
    on_cluster: bool = False,
    **settings: Any,
) -> TableFit:
    """As ``fit_table``, for a table that is read at every pass; without gradient boosting, folds and classes.

    on_cluster: the rows are read, and summed, by the workers of the cluster at hand.
    """
    began = time.perf_counter()
    phase: Phase = arrived or (lambda words: None)
    interrupts = interrupts or Interrupts()
    phase("looking at all rows")
    prepared = _with_samples(prepared, "summed on the cluster" if on_cluster else "read from disk at every pass")
    columns, held = prepared.columns, prepared.held
    asked = Settings(
        descent=descent, seed=seed, indicators=columns.indicators, input_names=columns.encoded_names, **settings
    )
    rows = _rows_of(prepared.train, on_cluster)
    interrupts.ask()
    watched = {} if held is None else {"held-out": _rows_of(held, on_cluster)}
    fitted, path = fit_streamed(rows, asked, watched=watched, progress=progress)
    interrupts.keep()
    mine, inside = rows_of_fit(rows, asked)
    known = None
    if intervals and path.stop not in ENDED_BADLY:
        phase("finding out how far predictions may be off")
        known = interrupts.optional("intervals", lambda: _intervals(fitted, path, mine, inside, asked))
    phase("fitting what it is compared with")
    scaling = fitted.scaling
    ridge = ridge_of_blocks((scaling.x(x), y, s) for x, y, s in prepared.train.blocks())
    fits = Fits(fitted, path, lambda x: ridge.predict(scaling.x(x)), None, known)
    phase("predicting all rows")
    rowsets = [_judged(fits, "training", prepared.train, prepared.x, prepared.y)]
    if held is not None:
        rowsets.append(_judged(fits, "held-out", held, prepared.held_x, prepared.held_y))
    phase("finding out which columns matter")
    influence = interrupts.optional("importances", lambda: influence_of(prepared, fits, rowsets[-1]))
    curves = interrupts.optional("curves", lambda: curves_of(prepared, fits)) or ()
    phase("finding out at what kind of point it stopped")
    verdict = interrupts.optional("verdict", lambda: _verdict(fitted, path, mine))
    why = "" if descent != "auto" else _why(path, on_cluster)
    return TableFit(
        prepared, fitted, path, tuple(rowsets), why, time.perf_counter() - began, known,
        verdict, asked.finds_width and path.alpha == "evidence", False, influence, curves, 0, tuple(interrupts.left_out),
    )  # fmt: skip


def _rows_of(source: EncodedRows, on_cluster: bool) -> Streamed:
    if not on_cluster:
        return Streamed(source)
    from fallline.rows.cluster import Clustered
    from fallline.rows.partitioned import partitions_of_files

    return Clustered(partitions_of_files(source))


def _with_samples(prepared: StreamedPrepared, how: str) -> StreamedPrepared:
    """With some rows to show, how many rows there are, and how many had no target."""
    x, y, n = prepared.train.sample(_SHOWN)
    nothing = prepared.held_x, prepared.held_y, 0
    held_x, held_y, held_n = nothing if prepared.held is None else prepared.held.sample(_SHOWN)
    apart = prepared.held is not None and prepared.held.table is not prepared.train.table
    left_out = (prepared.train.table.rows or n) - n - (0 if apart else held_n)
    said = (
        *prepared.said,
        f"The table was {how}. Figures are of all rows; what is drawn or told row by row is of "
        f"{max(len(x), len(held_x)):,} of each set, drawn at random.",
    )
    return dataclasses.replace(
        prepared, x=x, y=y, held_x=held_x, held_y=held_y, left_out=left_out, counts=(n, held_n), said=said,
        notes=dict(prepared.train.table.notes),
    )  # fmt: skip


def _judged(fits: Fits, name: str, rows: EncodedRows, x: np.ndarray, y: np.ndarray) -> RowSet:
    """The rows shown, with the figures of all."""
    by: dict[str, Predicting] = {"network": fits.fitted.predict, "ridge": fits.ridge}
    sums = {fit: [FigureSums() for _ in range(rows.outputs)] for fit in by}
    count = 0
    for block, targets, _ in rows.blocks():
        count += len(block)
        for fit, predict in by.items():
            for each, actual, predicted in zip(sums[fit], targets.T, predict(block).T, strict=True):
                each.add(actual, predicted)
    exact = [
        {"rows": count} | {fit: each[j].figures._asdict() for fit, each in sums.items()} for j in range(rows.outputs)
    ]
    shown = fits.rows(name, x, y, np.arange(len(x)))
    return dataclasses.replace(shown, rows=count, numbers=None, exact=exact)


def _intervals(
    fitted: FittedNetwork, path: DescentPath, rows: Streamed, inside: Streamed | None, asked: Settings
) -> FittedIntervals | None:
    """How far predictions may be off; None where rows are too few."""
    own = fitted.own_scaling
    unseen = None if inside is None else enough_rows(inside.scaled(own))
    try:
        return intervals_of_fit(fitted, path, enough_rows(rows.scaled(own)), asked, unseen)
    except TableError:
        return None


def _verdict(fitted: FittedNetwork, path: DescentPath, rows: Streamed) -> Any:
    """The verdict on a fit, None where the Hessian would hold it up or there is none."""
    from fallline.landscape.verdict import verdict_of

    if len(rows) * path.model.outputs * path.model.n_weights**2 > MOST_CURVATURE:
        return None
    try:
        return verdict_of(path, rows.scaled(fitted.own_scaling))
    except FalllineError:
        return None


def _why(path: DescentPath, on_cluster: bool) -> str:
    """How the last walk went, in words."""
    where = "summed on the cluster" if on_cluster else "as they come from disk"
    return f"{words_of(path.descent)}, over all rows at every step, {where}."
