"""The command line: parse, call, print.

Results go to stdout, progress and complaints to stderr. A wrong call exits with 2, anything wrong with
data or files with 1 and one sentence. Heavy imports wait until a command needs them.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline import __version__
from fallline.exceptions import FalllineError

if TYPE_CHECKING:
    from fallline.model_file import SavedModel
    from fallline.table import Table
    from fallline.table_fit import Prepared, TableFit


class _Commands(click.Group):
    """Commands whose complaints are one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FalllineError as problem:
            raise click.ClickException(str(problem)) from problem
        except KeyboardInterrupt:  # outside the descent, which keeps its weights and says so
            raise click.ClickException(
                "Interrupted: nothing more was done, and no file is half written."
            ) from None


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="fallline")
def main() -> None:
    """Fit neural networks to a table by least squares, and see how it went."""


class _Sizes(click.ParamType):
    """``20``, ``20,10`` or ``none``: the units of each hidden layer."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip().lower() in ("none", "0"):
            return ()
        try:
            sizes = tuple(int(part) for part in value.split(","))
        except ValueError:
            sizes = (0,)
        if min(sizes) < 1:
            self.fail(
                f"{value!r} is not a list of layer sizes: write 20, or 20,10 for two layers, or none.",
                param,
                ctx,
            )
        return sizes


class _Holdout(click.ParamType):
    """A share of the rows, ``last``, or the file of another table."""

    name = "share|last|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value == "last":
            return value
        try:
            share = float(value)
        except ValueError:
            return Path(value)
        if not 0 <= share < 1:
            self.fail(
                f"{value} is not a share of the rows: write a number from 0 to below 1, such as 0.2.",
                param,
                ctx,
            )
        return share


class _Rate(click.ParamType):
    """``auto`` or a positive number."""

    name = "auto|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == "auto" or isinstance(value, float):
            return value
        try:
            rate = float(value)
        except ValueError:
            rate = float("nan")
        if not 0 < rate < float("inf"):
            self.fail(
                f"{value!r} is not a learning rate: write auto, or a positive number such as 0.1.", param, ctx
            )
        return rate


@main.command(short_help="Fit a network to a table; write a model file and a report.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "-t",
    "targets",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="Column to predict; repeat for several.",
)
@click.option(
    "--hidden",
    type=_Sizes(),
    default=(20,),
    help="Units in each hidden layer, such as 20 or 20,10; none for none.  [default: 20]",
)
@click.option(
    "--activation",
    default="tanh",
    show_default=True,
    help="Activation of the hidden layers, such as tanh, logistic, relu.",
)
@click.option(
    "--descent",
    type=click.Choice(["auto", "levenberg-marquardt", "gradient"]),
    default="auto",
    show_default=True,
    help="How the weights move.",
)
@click.option(
    "--learning-rate",
    type=_Rate(),
    help="Rate of gradient descent (implies --descent gradient); auto reads it off the curvature.",
)
@click.option(
    "--momentum",
    type=click.FloatRange(0, 1, max_open=True),
    help="Momentum of gradient descent (implies --descent gradient).",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0),
    help="Weight decay, in standardised units; without it, chosen on rows held back in turn.",
)
@click.option(
    "--tol",
    type=click.FloatRange(0),
    help="Stop when the error fell by less than this, relative, over 10 steps; 0 never does.",
)
@click.option("--max-iter", type=click.IntRange(1), help="The most steps.  [default: 1000]")
@click.option(
    "--holdout",
    type=_Holdout(),
    default=0.2,
    show_default=True,
    help="Rows to judge by: a share at random, last, or another file.",
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave this column out; repeatable.")
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="Use this column although fallline would drop it; repeatable.",
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="COLUMN",
    help="Treat this column's numbers as codes; repeatable.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the held-out rows and the starting weights.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="this folder",
    help="Folder for the model and the report.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but complaints.")
def fit(
    table: Path, targets: tuple[str, ...], output: Path, holdout: Any, seed: int, quiet: bool, **options: Any
) -> None:
    """Fit a network to TABLE (CSV, Parquet or JSON lines) and write a model file and a report.

    \b
    fallline fit examples/concrete.csv --target strength
    """
    with _heavy_imports():
        from fallline.table import read_table

        source = read_table(table)
        held_out = read_table(holdout) if isinstance(holdout, Path) else holdout
    model_path, report_path = _outputs(output, table, targets)
    from fallline.table_fit import fit_table, prepare, report_of

    columns = {name: options.pop(name) for name in ("drop", "keep", "categories")}
    prepared = prepare(source, targets, holdout=held_out, seed=seed, **columns)
    say = _nothing if quiet else click.echo
    if not quiet:
        _print_columns(prepared)
    from fallline.compile_cache import use_compile_cache
    from fallline.files import atomic_write
    from fallline.report import render_report

    use_compile_cache()
    settings = _settings(options)
    with _progress_bar(quiet, options["alpha"]) as progress:
        result = fit_table(prepared, seed=seed, progress=progress, **settings)
    command = _command()
    page = render_report(report_of(result, command, (("Seed", str(seed)), ("Model file", model_path.name))))
    _save(result, model_path, command, seed)
    atomic_write(report_path, page.encode())
    if not quiet:
        _print_fit(result)
    say(f"\nModel   {model_path}\nReport  {report_path}")
    if result.ended_badly:
        raise click.ClickException(result.path.stop_message)


@main.command(short_help="Write a model's predictions beside the rows of a table.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .parquet file; without it, CSV on stdout.",
)
def predict(model: Path, table: Path, output: Path | None) -> None:
    """Predict the rows of TABLE with MODEL, and write the predictions beside them."""
    from fallline.model_file import load_model
    from fallline.table import read_table, write_csv, write_table

    saved = load_model(model)
    rows = read_table(table)
    saved.columns.check(list(rows.columns))
    columns = dict(rows.columns)
    for name, values in zip(saved.columns.targets, _predictions(saved, rows).T, strict=True):
        columns[_new_name(f"predicted {name}", columns)] = values
    if output is None:
        write_csv(sys.stdout, columns)
    else:
        write_table(output, columns)
        click.echo(f"{rows.rows:,} rows with predictions written to {output}", err=True)
    _judge_predictions(saved, rows)


@main.command(short_help="Say what is inside a model file.")
@click.argument("model", type=click.Path(path_type=Path))
def show(model: Path) -> None:
    """Say what is inside MODEL: network, columns, figures, how it was made."""
    from fallline.model_file import load_model
    from fallline.table_fit import column_lines

    saved = load_model(model)
    about = saved.about
    console = _console()
    console.print(
        f"[bold]{_escaped(', '.join(saved.columns.targets))}[/] from {_escaped(about.get('table', 'a table'))}"
    )
    console.print(_columns_table(column_lines(saved.columns)))
    console.print(_figures_table(about.get("figures", {}), saved.columns.targets))
    lines = {
        "Network": str(saved.fitted.network),
        "Descent": f"{about.get('descent')}, alpha = {about.get('alpha')}: "
        f"{about.get('steps')} steps, {about.get('passes')} passes",
        "Stopped": about.get("stop"),
        "Rows": about.get("rows"),
        "Seed": about.get("seed"),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Command": about.get("command"),
    }
    for name, line in lines.items():
        console.print(f"[dim]{name:9}[/]{_escaped(str(line))}", soft_wrap=True)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a fit as arguments of ``fit_network``."""
    rate, momentum, name = options["learning_rate"], options["momentum"], options["descent"]
    descent: Any = name
    if rate is not None or momentum is not None:
        if name == "levenberg-marquardt":
            raise click.UsageError(
                "--learning-rate and --momentum belong to gradient descent: leave out --descent levenberg-marquardt."
            )
        from fallline.descent.gradient import GradientDescent

        descent = GradientDescent(rate if rate is not None else "auto", momentum or 0.0)
    given = {"alpha": options["alpha"], "max_iter": options["max_iter"], "tol": options["tol"]}
    return {
        "hidden_layer_sizes": options["hidden"],
        "activation": options["activation"],
        "descent": descent,
        **{key: value for key, value in given.items() if value is not None},
    }


def _outputs(folder: Path, table: Path, targets: Sequence[str]) -> tuple[Path, Path]:
    """Where model and report go; complaints about the folder come before the work, not after it."""
    from fallline.exceptions import OutputError
    from fallline.files import check_writable
    from fallline.model_file import SUFFIX, is_model_file
    from fallline.report import is_report

    check_writable(folder)
    stem = (
        table.name.split(".")[0]
        + "-"
        + "-".join("".join(c if c.isalnum() else "_" for c in name).strip("_") for name in targets)
    )
    model, report = folder / f"{stem[:120]}{SUFFIX}", folder / f"{stem[:120]}.html"
    for path, ours in ((model, is_model_file), (report, is_report)):
        if path.exists() and not ours(path):
            raise OutputError(
                f"{path} exists and was not written by fallline: move it away, or choose another folder with --output."
            )
    return model, report


def _save(result: "TableFit", path: Path, command: str, seed: int) -> None:
    from fallline.model_file import SavedModel, save_model
    from fallline.table_fit import about, curve_of

    save_model(
        SavedModel(result.fitted, result.prepared.columns, curve_of(result), about(result, command, seed)),
        path,
    )


def _command() -> str:
    """The command as it was typed, without what makes no difference to the result."""
    context = click.get_current_context()
    typed = context.meta.get("fallline.argv", sys.argv[1:])
    return shlex.join(["fallline", *typed])


@contextmanager
def _heavy_imports() -> Iterator[None]:
    """Import JAX and the drawing in a thread while the table is read: both mostly wait, for files and for the disk."""
    import threading

    def load() -> None:
        import fallline.fit
        import fallline.report

        fallline.report.prepare()

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    yield


@contextmanager
def _progress_bar(quiet: bool, alpha: float | None) -> Iterator[Any]:
    """A live bar on stderr with the error per row on each set of rows; nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = _console(stderr=True)
    columns = (
        TextColumn("descending"),
        BarColumn(30),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(
            "descent", total=None, said="choosing the weight decay" if alpha is None else "compiling"
        )

        def told(now: Any, _: Any) -> None:
            sets = {
                "training": now.error / now.n_rows,
                **{k: v / now.watched_rows[k] for k, v in now.watched.items()},
            }
            errors = ", ".join(f"{name} {value:.4g}" for name, value in sets.items())
            bar.update(
                task, completed=now.steps, total=now.max_iter, said=f"step {now.steps}, E per row: {errors}"
            )

        yield told


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:  # a file or a pipe: lines as long as they need to be
        console = Console(stderr=stderr, highlight=False, width=160)
    return console


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print_columns(prepared: "Prepared") -> None:
    from fallline.table_fit import column_lines

    _console().print(_columns_table(column_lines(prepared.columns, prepared.notes)))


def _columns_table(uses: Sequence[tuple[str, str, str]]) -> Any:
    from rich import box
    from rich.table import Table as Grid

    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in ("Column", "Used as", "What it holds"):
        grid.add_column(heading, overflow="fold")
    styles = {"dropped": "yellow", "target": "bold green"}
    for name, role, says in uses:
        grid.add_row(_escaped(name), f"[{styles.get(role, 'default')}]{role}[/]", _escaped(says))
    return grid


def _figures_table(sets: dict[str, Any], targets: Sequence[str]) -> Any:
    """E, RMSE and R² of network and ridge on each set of rows, in the targets' units."""
    from rich import box
    from rich.table import Table as Grid

    from fallline.metrics import written, written_share

    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in ("Target", "Rows", "Fit"):
        grid.add_column(heading, overflow="fold")
    for heading in ("E", "RMSE", "R²"):
        grid.add_column(heading, justify="right")
    for j, target in enumerate(targets):
        for name, said in sets.items():
            for fit in ("network", "ridge"):
                numbers = said[j].get(fit)
                if numbers:
                    row = (written(numbers["error"]), written(numbers["rmse"]), written_share(numbers["r2"]))
                    grid.add_row(_escaped(target), f"{name} ({said[j]['rows']:,})", fit, *row)
    return grid


def _print_fit(result: "TableFit") -> None:
    from fallline.report import figures

    console = _console()
    path = result.path
    console.print(
        _figures_table({rows.name: figures(rows) for rows in result.rowsets}, result.prepared.columns.targets)
    )
    lines = [
        result.prepared.rows_said,
        f"{result.fitted.network}. Descent: {result.why_this_descent}",
        path.stop_message,
        f"{path.n_steps:,} steps, {path.n_passes:,} passes over the rows, {path.seconds:.2f} s.",
    ]
    for line in lines:
        console.print(_escaped(line), soft_wrap=True)


def _predictions(saved: "SavedModel", rows: "Table") -> Any:
    """Predictions (rows, targets) of a table, block by block."""
    import numpy as np

    parts, start = [], 0
    for block in rows.blocks():
        x = saved.columns.encode(block, start)
        parts.append(saved.fitted.predict(x))
        start += len(x)
    return np.concatenate(parts)


def _judge_predictions(saved: "SavedModel", rows: "Table") -> None:
    """The figures on stderr, where the table has the targets as numbers too."""
    import numpy as np

    from fallline.metrics import figures_of, written, written_share

    for name, predicted in zip(saved.columns.targets, _predictions(saved, rows).T, strict=True):
        actual = rows.columns.get(name)
        if actual is None or actual.dtype.kind != "f" or not (known := np.isfinite(actual)).any():
            continue
        said = figures_of(actual[known], predicted[known])
        click.echo(
            f"{name}: RMSE {written(said.rmse)}, R² {written_share(said.r2)} on {known.sum():,} rows",
            err=True,
        )


def _new_name(name: str, taken: Any) -> str:
    number = 2
    new = name
    while new in taken:
        new, number = f"{name}_{number}", number + 1
    return new


def _nothing(_: str) -> None:
    """Says nothing: ``--quiet``."""
