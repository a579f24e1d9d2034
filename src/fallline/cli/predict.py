"""``fallline predict``: predictions, and how far they may be off, beside the rows of a table."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing
from fallline.cli.outputs import overwrite_option
from fallline.cli.reading import read, reading_options, tell

if TYPE_CHECKING:
    from fallline.model_file import SavedModel
    from fallline.table.table import Table


@click.command(short_help="Write a model's predictions beside the rows of a table.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .parquet file; without it, CSV on stdout.",
)  # fmt: skip
@click.option(
    "--interval", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="COVERAGE",
    help="Write the ends between which a new row is to be expected with this probability, such as 0.95.",
)  # fmt: skip
@click.option("--std", is_flag=True, help="Write the standard error of a new row.")
@overwrite_option
@reading_options
def predict(
    model: Path, table: Path, output: Path | None, interval: float | None, std: bool, overwrite: bool, **options: Any
) -> None:
    """Predict the rows of TABLE with MODEL, and write the predictions beside them.

    The columns of TABLE stay as they are written, and numbers and dates are read as they were for the fit.
    """
    from fallline.cli.rows import read_otherwise
    from fallline.exceptions import ModelFileError, OutputError
    from fallline.files import check_ours
    from fallline.model_file import load_model
    from fallline.table.stores import address_of
    from fallline.table.write import is_written, write_csv, write_table
    from fallline.words import counted, free_name

    saved = load_model(model)
    reading = saved.about.get("reading")
    rows = read(table, options, reading)
    if output is not None and output.exists() and output.samefile(address_of(table).file):
        raise OutputError(f"{output} is the table itself, which stays as it is: give another file to --output.")
    if output is not None and not overwrite:
        new = [f"predicted {target}" for target in saved.columns.targets]
        otherwise = "give another file to --output, or replace it with --overwrite"
        check_ours(output, lambda path: is_written(path, new), otherwise)
    saved.columns.check(list(rows.columns))
    if saved.columns.classes and (std or interval is not None):
        raise ModelFileError(
            f"{model.name} tells classes apart, and the probability of each says how sure it is: leave out --interval and --std."
        )
    if saved.intervals is None and (std or interval is not None):
        raise ModelFileError(
            f"{model.name} does not say how far its predictions may be off: fit again, without --no-intervals."
        )
    tell(rows)
    printing.note(read_otherwise(saved.columns, reading, rows))
    printing.note(saved.columns.spelled_otherwise(rows.blocks(), rows.name))
    found = _predictions(saved, rows, interval, std)
    beside: dict[str, Any] = {}
    for name, values in _beside(saved, found).items():
        beside[free_name(name, [*rows.columns, *beside])] = values
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As in a file, whatever the locale.
            sys.stdout.reconfigure(encoding="utf-8", newline="", errors=sys.stdout.errors)
        write_csv(sys.stdout, beside, rows)
    else:
        write_table(output, beside, rows)
        click.echo(f"{counted(rows.rows, 'row')} with predictions written to {output}", err=True)
    for sentence in _judged(saved, rows, found, interval):
        click.echo(sentence, err=True)


def _beside(saved: "SavedModel", found: dict[str, Any]) -> dict[str, Any]:
    """The columns to write: those of each target, or the class of each row and the probabilities of all."""
    if saved.columns.classes:
        from fallline.cli.class_fit import columns_of_classes

        return columns_of_classes(saved.columns, found["predicted"])
    targets = saved.columns.targets
    return {f"{name} {target}": values[:, j] for j, target in enumerate(targets) for name, values in found.items()}


def _predictions(saved: "SavedModel", rows: "Table", interval: float | None, std: bool) -> dict[str, Any]:
    """Of a table, block by block: {"predicted": (rows, targets)}, and "std", "lower" and "upper" where they are asked for."""
    import numpy as np

    known: Any = saved.intervals
    found: dict[str, list[Any]] = {"predicted": []}
    start = 0
    for block in rows.blocks():
        x = saved.columns.encode(block, start)
        found["predicted"].append(saved.fitted.predict(x))
        if std:
            found.setdefault("std", []).append(known.std(x))
        if interval is not None:
            ends = known.interval(x, interval)
            found.setdefault("lower", []).append(ends[..., 0])
            found.setdefault("upper", []).append(ends[..., 1])
        start += len(x)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    if any(not np.isfinite(values).all() for name, values in whole.items() if name != "predicted"):
        names = saved.fitted.network.weight_names(saved.columns.encoded_names)
        printing.note((f"Some intervals have no end. {known.says(names)}",))
    return whole


def _judged(saved: "SavedModel", rows: "Table", found: dict[str, Any], interval: float | None) -> Iterator[str]:
    """The figures of each target that the table holds too, of classes or as numbers."""
    import numpy as np

    if saved.columns.classes:
        from fallline.cli.class_fit import judged_classes

        actual = rows.columns.get(saved.columns.targets[0])
        yield from filter(None, [judged_classes(saved.columns, actual, found["predicted"])])
        return
    from fallline.fit.figures import figures_of
    from fallline.words import counted, written, written_share

    for j, target in enumerate(saved.columns.targets):
        actual = rows.columns.get(target)
        if actual is None or actual.dtype.kind not in "fb" or not (known := np.isfinite(actual)).any():
            continue
        of = {name: values[known, j] for name, values in found.items()}
        said = figures_of(actual[known], of["predicted"])
        words = f"{target}: RMSE {written(said.rmse)}, R² {written_share(said.r2)} on {counted(known.sum(), 'row')}"
        if interval is not None:
            inside = (of["lower"] <= actual[known]) & (actual[known] <= of["upper"])
            words += f"; {100 * inside.mean():.1f} % of them lie in their {100 * interval:g} % interval"
        yield words
