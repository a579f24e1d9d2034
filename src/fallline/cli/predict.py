"""``fallline predict``: predictions, and how far they may be off, beside the rows of a table."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing
from fallline.cli.outputs import overwrite_option
from fallline.cli.reading import open_to_stream, read, reading_options, tell, why_streamed

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
    from fallline.table.columns import Spellings
    from fallline.table.stream import is_several
    from fallline.table.write import is_written, write_parts
    from fallline.words import counted, free_name

    saved = load_model(model)
    reading = saved.about.get("reading")
    several = is_several(table)
    why = "" if several else why_streamed(table)
    streamed = several or bool(why)
    rows: Any = open_to_stream(table, options, reading) if streamed else read(table, options, reading)
    if output is not None and output.exists() and output.resolve() in _files_of(table, rows):
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
    printing.note([why] if why else [])
    printing.note(read_otherwise(saved.columns, reading, rows))
    spelled, judged = Spellings(saved.columns), _Judged(saved, interval)
    if not streamed:
        printing.note(saved.columns.spelled_otherwise(rows.blocks(), rows.name))

    def parts() -> Iterator[tuple["Table", dict[str, Any]]]:
        for part in rows.parts(texts=True) if streamed else (rows,):
            found = _predictions(saved, part, interval, std, judged.rows)
            judged.add(part, found)
            if streamed:
                spelled.add(part.columns)
            beside: dict[str, Any] = {}
            for name, values in _beside(saved, found).items():
                beside[free_name(name, [*rows.columns, *beside])] = values
            yield part, beside

    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As in a file, whatever the locale.
            sys.stdout.reconfigure(encoding="utf-8", newline="", errors=sys.stdout.errors)
        write_parts(sys.stdout, parts())
    else:
        write_parts(output, parts())
        click.echo(f"{counted(judged.rows, 'row')} with predictions written to {output}", err=True)
    if streamed:
        printing.note([*(f"`{name}`: {note}." for name, note in rows.notes.items() if "taken as missing" in note)])
        printing.note(spelled.sentences(rows.name))
    for sentence in judged.sentences():
        click.echo(sentence, err=True)


def _files_of(table: Path, rows: Any) -> set[Path]:
    """The files of a table."""
    from fallline.table.stores import address_of

    return {path.resolve() for path in getattr(rows, "files", (address_of(table).file,))}


def _beside(saved: "SavedModel", found: dict[str, Any]) -> dict[str, Any]:
    """The columns to write: those of each target, or the class of each row and the probabilities of all."""
    if saved.columns.classes:
        from fallline.cli.class_fit import columns_of_classes

        return columns_of_classes(saved.columns, found["predicted"])
    targets = saved.columns.targets
    return {f"{name} {target}": values[:, j] for j, target in enumerate(targets) for name, values in found.items()}


def _predictions(saved: "SavedModel", rows: "Table", interval: float | None, std: bool, before: int) -> dict[str, Any]:
    """Of a table, block by block: {"predicted": (rows, targets)}, and "std", "lower" and "upper" where they are asked for.

    ``before``: rows of a larger table that stand above it.
    """
    import numpy as np

    known: Any = saved.intervals
    found: dict[str, list[Any]] = {"predicted": []}
    for block in rows.blocks():
        x = saved.columns.encode(block, before)
        found["predicted"].append(saved.fitted.predict(x))
        if std:
            found.setdefault("std", []).append(known.std(x))
        if interval is not None:
            ends = known.interval(x, interval)
            found.setdefault("lower", []).append(ends[..., 0])
            found.setdefault("upper", []).append(ends[..., 1])
        before += len(x)
    return {name: np.concatenate(parts) for name, parts in found.items()}


class _Judged:
    """The figures of each target that a table holds too, of classes or as numbers, added up over its parts."""

    def __init__(self, saved: "SavedModel", interval: float | None) -> None:
        from fallline.cli.class_fit import ClassesJudged
        from fallline.fit.figures import FigureSums

        self.saved, self.interval, self.rows, self.endless = saved, interval, 0, False
        self.classes = ClassesJudged(saved.columns)
        self.sums = {target: FigureSums() for target in saved.columns.targets}
        self.known = dict.fromkeys(self.sums, 0)
        self.inside = dict.fromkeys(self.sums, 0)

    def add(self, part: "Table", found: dict[str, Any]) -> None:
        """Take in a part and what was found of it."""
        import numpy as np

        self.rows += part.rows
        self.endless |= any(not np.isfinite(values).all() for name, values in found.items() if name != "predicted")
        if self.saved.columns.classes:
            self.classes.add(part.columns.get(self.saved.columns.targets[0]), found["predicted"])
            return
        for j, (target, sums) in enumerate(self.sums.items()):
            actual = part.columns.get(target)
            if actual is None or actual.dtype.kind not in "fb" or not (known := np.isfinite(actual)).any():
                continue
            of = {name: values[known, j] for name, values in found.items()}
            sums.add(actual[known].astype(float), of["predicted"])
            self.known[target] += int(known.sum())
            if self.interval is not None:
                self.inside[target] += int(((of["lower"] <= actual[known]) & (actual[known] <= of["upper"])).sum())

    def sentences(self) -> Iterator[str]:
        """What there is to say of all of them."""
        from fallline.words import counted, written, written_share

        if self.endless:
            known: Any = self.saved.intervals
            names = self.saved.fitted.network.weight_names(self.saved.columns.encoded_names)
            yield f"Note: Some intervals have no end. {known.says(names)}"
        if self.saved.columns.classes:
            yield from filter(None, [self.classes.sentence()])
            return
        for target, rows in self.known.items():
            if rows:
                said = self.sums[target].figures
                words = f"{target}: RMSE {written(said.rmse)}, R² {written_share(said.r2)} on {counted(rows, 'row')}"
                if self.interval is not None:
                    share = 100 * self.inside[target] / rows
                    words += f"; {share:.1f} % of them lie in their {100 * self.interval:g} % interval"
                yield words
