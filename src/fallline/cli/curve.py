"""``fallline curve``: a formula fitted to the columns of a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing
from fallline.cli.outputs import command_typed, output_at, overwrite_option
from fallline.cli.reading import read, reading_options, tell

if TYPE_CHECKING:
    import numpy as np

    from fallline.sure.curve_fit import CurveFit
    from fallline.table.table import Table


class _Named(click.ParamType):
    """``b1=500,b2=1e-4``: a number for each name; with ``pairs``, ``b1=0:10,b2=0:``, its two ends."""

    def __init__(self, pairs: bool = False) -> None:
        self.pairs = pairs
        self.name = "name=low:high,…" if pairs else "name=number,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        found: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in value.split(","))):
            name, _, said = part.partition("=")
            try:
                if self.pairs:
                    low, high = said.split(":")
                    found[name.strip()] = tuple(float(end) if end.strip() else None for end in (low, high))
                else:
                    found[name.strip()] = float(said)
            except ValueError:
                example = "b1=0:10,b2=0: (an end left out is no bound)" if self.pairs else "b1=500,b2=1e-4"
                self.fail(f"{part!r} cannot be read: write {example}.", param, ctx)
        return found


def _names(value: Any) -> Any:
    """``a,b``: names."""
    return tuple(filter(None, (name.strip() for name in value.split(",")))) if isinstance(value, str) else value


@click.command(short_help="Fit a curve, written as a formula, to a table.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--y", "--target", "-t", "target", required=True, metavar="COLUMN", help="Column to fit.")
@click.option(
    "--model", "-m", required=True, metavar="FORMULA",
    help="Such as 'b1*(1 - exp(-b2*x))': names of columns are inputs, all others parameters. Names that are not plain "
    "words stand in backticks.",
)  # fmt: skip
@click.option("--start", type=_Named(), help="Where to start; parameters left out are looked for.")
@click.option("--fix", "fixed", type=_Named(), help="Parameters that stay at a value.")
@click.option("--bounds", type=_Named(pairs=True), help="Bounds of parameters.")
@click.option(
    "--sigma", metavar="COLUMN",
    help="Column with the standard deviation of the noise of each row, of which only the ratios count.",
)  # fmt: skip
@click.option("--absolute-sigma", is_flag=True, help="Take the values of --sigma as they are.")
@click.option(
    "--groups", metavar="COLUMN",
    help="Column that says to which group a row belongs: every group has parameters of its own, all fitted together.",
)  # fmt: skip
@click.option("--shared", type=_names, default="", metavar="NAME,…", help="Parameters that are the same in all groups.")
@click.option("--profile", is_flag=True, help="Intervals by profile likelihood, which follow the bend of the curve.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for a report with the curve, its band and its residuals.  [default: none is written]",
)  # fmt: skip
@overwrite_option
@click.option("--max-iter", type=click.IntRange(1), default=1000, show_default=True, help="The most steps.")
@reading_options
def curve(
    table: Path,
    target: str,
    model: str,
    sigma: str | None,
    groups: str | None,
    profile: bool,
    output: Path | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Fit a curve to the rows of TABLE by least squares, and print its parameters.

    \b
    fallline curve examples/concrete.csv --y strength --model "a + b*log(age)"
    """
    import numpy as np

    from fallline.model.curve import Curve
    from fallline.model.formula import read_formula
    from fallline.report import is_report
    from fallline.sure.curve_fit import fit_curve

    report = None
    if output is not None:
        report = output_at(output, table, (target, "curve"), {".html": is_report}, overwrite)[".html"]
    source = read(table, settings)
    tell(source)
    formula = read_formula(model)
    inputs = tuple(name for name in source.columns if name in formula.names)
    numbers = (target, *inputs, *([] if sigma is None else [sigma]))
    columns, labels, notes = _columns_of(source, numbers, groups)
    printing.note(notes)
    if not inputs:
        raise printing.Complaint(
            f"the formula {formula} has none of the columns of {table.name} ({', '.join(source.columns)})."
        )
    noise = None if sigma is None else columns[sigma]
    found = fit_curve(
        Curve(formula, columns=inputs), np.column_stack([columns[name] for name in inputs]), columns[target],
        sigma=noise, groups=labels, **settings,
    )  # fmt: skip
    ends = found.profile_intervals() if profile else found.intervals()
    by = "profile likelihood" if profile else "standard errors and Student's t"
    _print(found, target, ends, by)
    doubts = (*found.doubts.severe, *found.doubts.mild)
    printing.note(doubts)
    if report is not None:
        from fallline.cli.kept import versions
        from fallline.report.curve import CurveReport, write_curve_report

        rows = {name: columns[name] for name in inputs}
        write_curve_report(
            CurveReport(
                f"{target} from {table.name}", command_typed(), target, found, rows, columns[target], ends, by, labels, noise,
                (*notes, *doubts), tuple(versions().items()),
            ),
            report,
        )  # fmt: skip
        click.echo(f"\nReport  {report}")
    if found.path.stop.name in ("MAX_ITER", "INTERRUPTED", "DIVERGED"):
        raise printing.Complaint(found.ending)


def _columns_of(
    source: "Table", names: Sequence[str], groups: str | None
) -> "tuple[dict[str, np.ndarray], list[str] | None, list[str]]":
    """These columns as numbers and the group of each row, without rows in which one is missing; and what to say of those."""
    import numpy as np

    from fallline.words import listed

    asked = (*names, *([] if groups is None else [groups]))
    missing = [name for name in asked if name not in source.columns]
    if missing:
        raise printing.Complaint(
            f"{source.name} has no column {missing[0]!r}: its columns are {', '.join(source.columns)}."
        )
    columns = {name: np.asarray(source.columns[name]) for name in names}
    for name, values in columns.items():
        if values.dtype.kind not in "fiub":
            raise printing.Complaint(f"the column {name} does not hold numbers, and a curve takes nothing else.")
    rows = np.column_stack([values.astype(np.float64) for values in columns.values()])
    whole = np.isfinite(rows).all(axis=1)
    labels = None
    if groups is not None:
        said = np.asarray(source.columns[groups]).tolist()
        whole = whole & np.array([each is not None and each == each for each in said])
        labels = [
            f"{each:.15g}" if isinstance(each, float) else str(each)
            for each, kept in zip(said, whole, strict=True)
            if kept
        ]
    lost = int((~whole).sum())
    notes = [f"{lost:,} of {len(rows):,} rows have a gap in these columns and are left out."] if lost else []
    if not whole.any():
        raise printing.Complaint(f"no row of {source.name} has numbers in all of {listed(names)}.")
    return dict(zip(columns, rows[whole].T, strict=True)), labels, notes


def _print(found: "CurveFit", target: str, ends: "np.ndarray", by: str) -> None:
    """The parameters as a table, and what else there is to say of the fit."""
    from fallline.words import counted

    numbers = ("value", "standard error", "95 % from", "to")
    table = printing.empty_table("parameter", *numbers, right=numbers)
    for name, value, error, (low, high), free in zip(
        found.curve.names, found.values, found.standard_errors, ends, found.free, strict=True
    ):
        said = [f"{each:.6g}" for each in (error, low, high)] if free else ["fixed", "", ""]
        table.add_row(printing.text(name), f"{value:.10g}", *said)
    printing.say(f"{target} = {found.curve.function}", "bold")
    printing.say("")
    printing.print_table(table)
    printing.say("")
    printing.say(
        f"{counted(len(found.rows), 'row')}, {counted(found.freedom, 'degree')} of freedom; E = {found.path.error[-1]:.8g}, "
        f"residual standard deviation {found.noise:.6g}. Intervals by {by}; derivatives {found.derivatives}."
    )
    printing.say(found.figures_said)
    printing.say(f"{counted(found.path.n_passes, 'pass', 'passes')} over the rows. {found.ending}")
