"""``fallline surface``: the error around a model, as a picture and in a few lines."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing

if TYPE_CHECKING:
    from fallline.cli.rows import FoundRows
    from fallline.landscape.surface import Lowest, Surface
    from fallline.model_file import SavedModel

_SHOWN_MINIMA = 3
_LONG = 5e7  # rows times points: seconds, that is


@click.command(short_help="Draw the error surface around a model, with the way its descent went.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path), required=False)
@click.option(
    "--plane", type=click.Choice(["auto", "path", "random", "curvature"]), default="auto", show_default=True,
    help="Which plane of the weights: principal directions of the path, two random directions, or the stiffest and the "
    "softest; auto takes the path, and of two weights the two.",
)  # fmt: skip
@click.option(
    "--weights", nargs=2, metavar="NAME NAME",
    help="The plane of two weights, such as --weights 'age->h1' 'h1->y1'.",
)  # fmt: skip
@click.option(
    "--points", type=click.IntRange(2, 4001), default=101, show_default=True,
    help="Points of the grid along each direction.",
)  # fmt: skip
@click.option(
    "--extent", type=float, nargs=4, metavar="LOW HIGH LOW HIGH",
    help="What the map shows, in coordinates of the plane; without it, the path and the minimum.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random directions.")
@click.option(
    "--error/--penalised", "error_alone", default=None,
    help="Show the error E, or E with the weight decay added; without either, what was descended.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="A .png, .svg or .pdf file; without it, MODEL-surface.png beside the model.",
)  # fmt: skip
def surface(
    model: Path,
    table: Path | None,
    plane: str,
    weights: tuple[str, str] | None,
    points: int,
    extent: tuple[float, float, float, float] | None,
    seed: int,
    error_alone: bool | None,
    output: Path | None,
) -> None:
    """Draw the error over a plane of MODEL's weights: darker where it is larger, with the way down and the minimum.

    The rows are those the model was fitted on, from the table it was fitted to; give TABLE where that has moved.

    \b
    fallline surface concrete-strength.fallline
    fallline surface concrete-strength.fallline --plane curvature -o curvature.svg
    """
    if weights and plane != "auto":
        raise click.UsageError("--weights names the plane itself: leave out --plane.")
    if extent and not (extent[0] < extent[1] and extent[2] < extent[3]):
        raise click.UsageError(
            "--extent takes the lowest and the highest coordinate along each direction, such as --extent -1 1 -2 2."
        )
    from fallline.cli.rows import model_and_rows
    from fallline.plot.picture_file import check_picture, write_picture

    saved, data, notes = model_and_rows(model, table)
    printing.note(notes)
    output = output or model.with_name(f"{model.stem}-surface.png")
    check_picture(output)
    from fallline.plot import ErrorSurfaceDisplay

    if len(data.x) * points**2 > _LONG:
        printing.say(f"summing {len(data.x):,} rows at {points**2:,} points", stderr=True)
    chosen = [int(name) if name.isdigit() else name for name in weights] if weights else plane
    with printing.options_named():
        found = surface_of(
            saved, data, chosen, points=points, extent=extent, seed=seed,
            penalised=None if error_alone is None else not error_alone,
        )  # fmt: skip
        write_picture(ErrorSurfaceDisplay(found).plot, output)
    printing.say(f"Error surface of {model.name} over {data.name}", "bold")
    printing.say("")
    printing.print_table(printing.facts(_facts(found)))
    if found.fidelity:
        printing.say(f"\n{found.fidelity}")
    click.echo(f"\nPicture  {output}")


def surface_of(saved: "SavedModel", data: "FoundRows", plane: Any = "auto", **settings: Any) -> "Surface":
    """The error surface of a saved model over its rows, with its path where weights were kept along it.

    ``plane`` and the settings are those of ``error_surface``.
    """
    from fallline.landscape.surface import error_surface

    scaled = saved.fitted.rows(data.x, data.y)
    if saved.path is not None and len(saved.path.weights):
        return error_surface(saved.path, scaled, plane, **settings)
    shown = saved.fitted.alone()
    return error_surface(shown.network, scaled, plane, at=shown.weights, alpha=saved.decay, **settings)


def _facts(found: "Surface") -> dict[str, object]:
    """What is to be seen on an error surface, line by line."""
    from fallline.words import counted, written

    first, second = found.plane.labels
    grid = f"{len(found.first)} × {len(found.second)} points"
    error = "penalised error, E + ½ Σ weight decay · weight²" if found.penalised else "error E"
    minimum, others = (
        "none on this map: the error goes on falling towards its edge",
        "no other local minimum on the map",
    )
    if found.minimum is not None:
        minimum = f"{written(found.minimum.error)} at {_place(found, found.minimum)}"
    if found.local_minima:
        each = [f"{written(one.error)} at {_place(found, one)}" for one in found.local_minima]
        shown = each[:_SHOWN_MINIMA] + ["…"] * (len(each) > _SHOWN_MINIMA)
        others = f"{counted(len(each), 'local minimum', 'local minima')} on the map: {', '.join(shown)}"
    return {
        "Plane": f"{first}; {second}",
        "Shown": f"{error}, a sum over {found.n_rows:,.0f} rows in standardised units, {grid}",
        "Lowest": f"{written(found.lowest)}, highest {written(float(found.levels()[-1]))}",
        "Minimum": minimum,
        "Others": others,
    }


def _place(found: "Surface", lowest: "Lowest") -> str:
    """Coordinates of a point, to a thousandth of the map."""
    from fallline.words import minus

    said = []
    for value, axis in zip(lowest.coordinates, (found.first, found.second), strict=True):
        decimals = max(3 - math.floor(math.log10(axis[-1] - axis[0])), 0)
        said.append(minus(f"{round(float(value), decimals) + 0.0:,.{decimals}f}"))
    return f"({', '.join(said)})"
