"""``fallline check``: whether the derivatives are right, by a second way to each of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing
from fallline.cli.reading import read, reading_options, tell

if TYPE_CHECKING:
    from fallline.landscape.check import Agreement

_HIDDEN = (4, 3)  # of a network that is made for a table: two layers, so that the chain rule has work to do


@click.command(short_help="Check all derivatives, the C code and a linear fit by second ways to them.")
@click.argument("file", metavar="MODEL|TABLE", type=click.Path(path_type=Path))
@click.argument("table", metavar="[TABLE OF MODEL]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target", "-t", "targets", multiple=True, metavar="COLUMN", help="Of a table, what is predicted; repeatable."
)
@click.option("--activation", default="tanh", show_default=True, help="Of a table, the function of the hidden units.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights, rows and directions."
)
@reading_options
def check(file: Path, table: Path | None, targets: tuple[str, ...], activation: str, seed: int, **options: Any) -> None:
    """Check the derivatives of a model, or of a small network of random weights on the columns of a table.

    E, its gradient, JᵀJ and the Hessian are compared with central differences, complex steps and a backpropagation derived by
    hand; native code with NumPy; a linear fit with lstsq. Printed are the digits that agree; the exit code is 1 where they
    are too few. The rows of a model are those it was fitted on; give their table where it has moved.

    \b
    fallline check concrete-strength.fallline
    fallline check examples/concrete.csv --target strength
    """
    from fallline.model_file import SUFFIX, is_model_file

    if file.suffix == SUFFIX or (file.is_file() and is_model_file(file)):
        if targets or any(value not in (None, ()) for value in options.values()):
            raise click.UsageError("A model knows its target and how its table is written: leave these options out.")
        network, rows, weights, of = _of_model(file, table)
    elif table is not None:
        raise click.UsageError(f"{file} is a table: give a single one, or a model file and its table.")
    elif not targets:
        raise click.UsageError("Of a table, say what is predicted: add --target COLUMN.")
    else:
        network, rows, weights, of = _of_table(file, targets, activation, options)
    from fallline.landscape.check import check_derivatives
    from fallline.native.library import status

    found = check_derivatives(network, rows, weights, seed=seed)
    printing.say(of, "bold")
    printing.say("")
    _print(found)
    if not any(agreement.what.endswith("in C") for agreement in found):
        level, sentence = status()
        why = sentence if level is None else "C knows no network with linear units, and none of so many layers."
        printing.note([f"Native code was not checked. {why}"])
    if wrong := [agreement for agreement in found if not agreement.holds]:
        from fallline.words import listed

        names = listed(f"{each.what} against {each.against} ({each.digits:.1f} of {each.enough})" for each in wrong)
        raise printing.Complaint(
            f"too few digits agree in {len(wrong)} of {len(found)} comparisons: {names}. Do not trust fits of this "
            "installation; report this table with the output of `fallline show --system`."
        )
    printing.say(f"\nAll {len(found)} comparisons agree to enough digits.")


def _of_model(model: Path, table: Path | None) -> tuple[Any, Any, Any, str]:
    from fallline.cli.rows import model_and_rows

    saved, data, notes = model_and_rows(model, table)
    printing.note(notes)
    shown = saved.fitted.alone()
    one = "the network of " if saved.fitted.network == shown.network else "one network of "
    return (
        shown.network,
        saved.fitted.rows(data.x, data.y),
        shown.weights,
        f"Of {one}{model.name} over {data.name}: {shown.network}",
    )


def _of_table(
    table: Path, targets: Sequence[str], activation: str, options: dict[str, Any]
) -> tuple[Any, Any, Any, str]:
    from fallline.cli.rows import prepare
    from fallline.model.network import Network
    from fallline.rows.memory import InMemory
    from fallline.table.scaling import Scaling

    source = read(table, options)
    tell(source)
    prepared = prepare(source, targets, holdout=0.0)
    x, y = prepared.x, prepared.y
    network = Network((x.shape[1], *_HIDDEN, y.shape[1]), activation)
    scaling = Scaling.fit([(x, y, None)], indicators=prepared.columns.indicators)
    of = f"Of a network of random weights over the {len(x):,} rows of {prepared.name}: {network}"
    return network, InMemory(scaling.x(x), scaling.y(y)), None, of


def _print(found: "Sequence[Agreement]") -> None:
    from fallline.landscape.check import ENOUGH, WHY

    table = printing.empty_table("Checked", "Against", "Digits", "Enough", "", right=("Digits", "Enough"))
    for each in found:
        row = (each.what, each.against, f"{each.digits:.1f}", str(each.enough), "" if each.holds else "too few")
        table.add_row(*map(printing.text, row), style="" if each.holds else "bold red")
    printing.print_table(table)
    printing.say(
        "\nDigits: −log₁₀ of the largest difference, as a share of the sizes of what was added up. Enough are:"
    )
    said = {against: f"{ENOUGH[against]}: {WHY[against]}" for against in dict.fromkeys(each.against for each in found)}
    printing.print_table(printing.facts(said))
