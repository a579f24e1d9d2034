"""``fallline minima``: which minima other starts of a model end in, and where the model stands among them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from fallline.cli.rows import FoundRows
    from fallline.fit.fitted import FittedNetwork
    from fallline.landscape.minima import Minima
    from fallline.model_file import SavedModel

_LISTED = 10
_AT_REST = 1e-3  # of a minimum's error: a model so little above it is at it


@click.command(short_help="Go down from many starts, and see which minima there are.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path), required=False)
@click.option("--starts", type=click.IntRange(1), default=20, show_default=True, help="How many random starts.")
@click.option(
    "--descent", type=click.Choice(["auto", "levenberg-marquardt", "l-bfgs", "rprop", "gradient"]), default="auto",
    show_default=True,
    help="How the weights move.",
)  # fmt: skip
@click.option("--alpha", type=click.FloatRange(0), help="Weight decay; without it, the model's own.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first start.")
@click.option(
    "--max-iter", type=click.IntRange(1), default=300, show_default=True,
    help="Steps of each start, before its end is followed on to the minimum.",
)  # fmt: skip
@click.option(
    "--tol", type=click.FloatRange(0), default=3e-4, show_default=True,
    help="A start ends when its error falls by less than this (relative) over 10 steps; it is then followed on.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="A .png, .svg or .pdf file: the minima as a stair, as high as their error, as wide as their starts.",
)  # fmt: skip
def minima(model: Path, table: Path | None, starts: int, output: Path | None, **settings: Any) -> None:
    """Go down from many random starts on MODEL's network, rows and weight decay; say which minima they end in.

    And where the model stands among them. Give TABLE where the table it was fitted to has moved.

    \b
    fallline minima concrete-strength.fallline --starts 50
    """
    from fallline.cli.rows import model_and_rows

    saved, data, notes = model_and_rows(model, table)
    printing.note(notes)
    if output is not None:
        from fallline.plot.picture_file import check_picture

        check_picture(output)
    printing.say(f"going down from {starts:,} starts; Ctrl-C gives up", stderr=True)
    with printing.options_named():
        placed = minima_of(saved, data, starts=starts, **settings)
    printing.say(f"Minima of the network of {model.name} over {data.name}", "bold")
    printing.say("")
    if placed.found.minima:
        printing.print_table(_listing(placed, saved.columns.targets))
        printing.say("")
    for sentence in judged(placed, saved.columns.targets):
        printing.say(sentence)
    if output is None:
        return
    if not placed.found.minima:
        printing.note(["No start ended in a minimum: there is no picture to draw."])
        return
    from fallline.plot import MinimaDisplay
    from fallline.plot.picture_file import write_picture

    display = MinimaDisplay(placed.found, None if placed.own < 0 else placed.own)
    write_picture(display.plot, output, height=4.2)
    click.echo(f"\nPicture  {output}")


@dataclass(frozen=True, eq=False)
class PlacedMinima:
    """The minima that many starts of a saved model's network end in, and where the model stands among them.

    ``found``: the ``Minima``; ``own``: the index of the one that the model's weights belong to, −1 for none.
    Where the model is the mean of several starts, its weights are those of the start shown. ``model_error`` is what was descended
    there; ``own_decay``: whether ``alpha`` is the model's own, which is None where Bayesian regularisation found it.
    ``rmse`` (minima + 1, k) on the training rows, in the units of the k targets, the last row that of the model;
    ``held_rmse`` the same on held-out rows, None without any. Where the target is told by classes (``classes``), both hold the
    Brier score instead, k = 1.
    """

    found: "Minima"
    own: int
    model_error: float
    alpha: float | None
    own_decay: bool
    rmse: "np.ndarray"
    held_rmse: "np.ndarray | None"
    classes: bool = False

    @property
    def figure(self) -> str:
        """What ``rmse`` is called."""
        return "Brier score" if self.classes else "RMSE"


def minima_of(saved: "SavedModel", data: "FoundRows", *, alpha: float | None = None, **settings: Any) -> PlacedMinima:
    """Go down from many starts on a saved model's network, rows and weight decay; the settings are those of ``find_minima``."""
    import numpy as np

    from fallline.landscape.minima import find_minima

    fitted, own = saved.fitted.alone(), saved.decay
    decay = own if alpha is None else alpha
    scaled = fitted.rows(data.x, data.y)
    found = find_minima(fitted.network, scaled, alpha=decay, beside=fitted.weights, **settings)
    number = None if np.ndim(decay) else float(decay)
    figure = _brier if saved.columns.classes else _rmse
    each = [*(replace(fitted, weights=minimum.weights) for minimum in found.minima), fitted]
    return PlacedMinima(
        found, int(found.beside[0]), float(found.beside_error[0]), number, np.array_equal(decay, own),
        np.array([figure(fit, data.x, data.y) for fit in each]),
        np.array([figure(fit, data.held_x, data.held_y) for fit in each]) if len(data.held_x) else None,
        bool(saved.columns.classes),
    )  # fmt: skip


def _rmse(fitted: "FittedNetwork", x: "np.ndarray", y: "np.ndarray") -> list[float]:
    """The root mean square error of each target; NaN where it is not finite."""
    from fallline.fit.figures import figures_of

    figures = (figures_of(a, b) for a, b in zip(y.T, fitted.predict(x).T, strict=True))
    return [float("nan") if each.rmse is None else each.rmse for each in figures]


def _brier(fitted: "FittedNetwork", x: "np.ndarray", y: "np.ndarray") -> list[float]:
    """The Brier score of the probabilities of classes; NaN without a row."""
    from fallline.fit.class_figures import class_figures_of
    from fallline.fit.simplex import class_numbers_of, probabilities

    score = class_figures_of(class_numbers_of(y), probabilities(fitted.predict(x))).brier
    return [float("nan") if score is None else score]


def _listing(placed: PlacedMinima, targets: Sequence[str]) -> "Table":
    """The lowest minima and that of the model, one to a line, with the model's own point below."""
    import numpy as np

    from fallline.words import written

    found = placed.found
    names = targets if len(targets) > 1 else [""]
    headings = ["Minimum", "Starts", "E" if placed.alpha == 0 else "E + decay"]
    for what in (placed.figure, *([] if placed.held_rmse is None else ["held-out"])):
        headings += [f"{what} {name}".strip() for name in names]
    headings += ["λ min", "λ max", "Flat"]
    table = printing.empty_table(*headings, right=headings)

    def row(name: str, starts: str, error: float, at: int, bends: Sequence[str]) -> None:
        figures = [*placed.rmse[at], *(() if placed.held_rmse is None else placed.held_rmse[at])]
        table.add_row(name, starts, written(error), *map(written, figures), *bends)

    for number, minimum in enumerate(found.minima):
        if number < _LISTED or number == placed.own:
            values, bends = minimum.eigenvalues, ["–", "–"]
            if values is not None:  # 0 where one is 0 to rounding
                ends = np.where(np.abs(values) < 1e-9 * abs(values[0]), 0.0, values)[[-1, 0]]
                bends = [written(end, 3) for end in ends.tolist()]
            name = f"model → {number + 1}" if number == placed.own else str(number + 1)
            row(name, f"{minimum.count:,}", minimum.penalised_error, number, [*bends, str(minimum.flat)])
        elif number == _LISTED:
            table.add_row("…")
    row("the model", "", placed.model_error, -1, ["", "", ""])
    return table


def judged(placed: PlacedMinima, targets: Sequence[str]) -> Iterator[str]:
    """What the minima say of the model, and what to do, a sentence or two each."""
    from fallline.words import counted, percent, written

    found = placed.found
    what = "E" if placed.alpha == 0 else "penalised error"
    alpha = placed.alpha
    decay = "the weight decay of the fit" if alpha is None else f"weight decay alpha = {alpha:g}"
    units = "" if placed.classes else f", RMSE in those of the {'targets' if len(targets) > 1 else 'target'}"
    yield (
        f"{counted(len(found.minima), 'distinct minimum', 'distinct minima')} from {counted(len(found.index), 'start')}, "
        f"{decay}. E and the eigenvalues λ of its Hessian are in standardised units{units}; flat are directions of the weights "
        "in which the error does not change."
    )
    if lost := int((found.index < 0).sum()):
        yield (
            f"{counted(lost, 'start')} ended in none: on a plateau or a saddle, or the error goes on falling as the "
            "weights grow. More steps (--max-iter) or some weight decay (--alpha) may bring them down."
        )
    if not found.minima:
        return
    why = "it was fitted under another weight decay"
    if placed.own < 0:
        if placed.own_decay:
            why = (
                f"from its weights ({what} {written(placed.model_error)}) the error goes on falling. Fit again with a smaller "
                "--tol or some weight decay"
            )
        yield f"The model is at none of them: {why}."
        return
    own, lowest = found.minima[placed.own].penalised_error, found.minima[0].penalised_error
    above = placed.model_error / own - 1 if own > 0 else 0.0
    where = f"minimum {placed.own + 1} of {len(found.minima)}"
    if above > _AT_REST:
        why = "`fallline fit` with a smaller --tol goes on down" if placed.own_decay else why
        yield f"The model stands on the slope above {where}, {what} {percent(above)} higher: {why}."
    else:
        yield f"The model is at {where}."
    if placed.own == 0:
        yield "No start ended lower: other starting weights would not help it."
        return
    share = f"{counted(found.minima[0].count, 'start')} of {len(found.index):,}"
    then = "Fit again with another --seed to try for it, and judge it by rows held out: lower is not always better."
    if placed.held_rmse is not None:
        there, here = placed.held_rmse[0], placed.held_rmse[-1]
        each = zip(targets, map(written, there), map(written, here), strict=True)
        pairs = ", ".join(f"{name} {a} against {b}" for name, a, b in each)
        then = (
            f"But it does not predict the held-out rows better ({placed.figure} of {pairs}): keep the model, for a lower error "
            "on the training rows does not mean better predictions here."
        )
        if (there < here).all():
            then = (
                f"It predicts the held-out rows better too ({placed.figure} of {pairs}): fit again with another --seed, which "
                "divides the rows anew as well, to try for it."
            )
    yield f"The lowest has {what} {percent(1 - lowest / own)} lower, and {share} ended there. {then}"
