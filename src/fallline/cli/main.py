"""The command line: parse, call, print.

Results go to stdout, progress and complaints to stderr. A wrong call exits with 2, anything wrong with
data or files with 1 and one sentence. Heavy imports wait until a command needs them.
"""

import codecs
import io
import math
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from fallline import __version__
from fallline.exceptions import FalllineError

if TYPE_CHECKING:
    from fallline.cli.table_fit import FoundRows, PlacedMinima, Prepared, TableFit
    from fallline.landscape.surface import Surface
    from fallline.model_file import SavedModel
    from fallline.table.read import Table


_LONGEST_NAME = 120  # bytes of a file's name before its suffix
_SHOWN_MINIMA, _MINIMA_LISTED = 3, 10
_LONG = 5e7  # rows times points: seconds, that is
_AT_REST = 1e-3  # of a minimum's error: a model so little above it is at it


def _plainer(problem: UnicodeError) -> tuple[str, int]:
    """A letter that a stream's encoding lacks: −1.3 must not become ?1.3."""
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    return {"−": "-", "–": "-", "²": "2"}.get(problem.object[problem.start], "?"), problem.start + 1


class _Complaint(click.ClickException):
    """One sentence on stderr; on a terminal it breaks between words."""

    def show(self, file: IO[Any] | None = None) -> None:
        _say(_console(stderr=True), f"Error: {self.message}")


class _Commands(click.Group):
    """Commands whose complaints are one sentence."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        codecs.register_error("fallline", _plainer)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                ascii_only = (
                    codecs.lookup(stream.encoding).name == "ascii"
                )  # misconfigured: click writes UTF-8 too
                stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="fallline")
        return super().main(*arguments, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["fallline.typed"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FalllineError as problem:
            raise _Complaint(str(problem)) from problem
        except KeyboardInterrupt:  # outside the descent, which keeps its weights and says so
            raise _Complaint("Interrupted: nothing more was done, and no file is half written.") from None


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="fallline")
def main() -> None:
    """Fit neural networks to a table by least squares, and see how it went."""


class _Sizes(click.ParamType):
    """``20``, ``20,10``, ``none`` or ``auto``: the units of each hidden layer."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip().lower() in ("none", "0"):
            return ()
        if value.strip().lower() == "auto":
            return "auto"
        try:
            sizes = tuple(int(part) for part in value.split(","))
        except ValueError:
            sizes = (0,)
        if min(sizes) < 1:
            self.fail(
                f"{value!r} is not a list of layer sizes: write 20, or 20,10 for two layers, none, or auto.",
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


class _Momentum(click.ParamType):
    """``auto`` or a number from 0 to below 1."""

    name = "auto|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == "auto" or isinstance(value, float):
            return value
        try:
            momentum = float(value)
        except ValueError:
            momentum = math.nan
        if not 0 <= momentum < 1:
            self.fail(
                f"{value!r} is not a momentum: write auto, or a number from 0 to below 1 such as 0.9.",
                param,
                ctx,
            )
        return momentum


class _Decay(click.ParamType):
    """``auto``, ``evidence`` or a number from 0 up."""

    name = "auto|evidence|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value == "evidence":
            return value
        if value == "auto":
            return None
        try:
            decay = float(value)
        except ValueError:
            decay = math.nan
        if not 0 <= decay < math.inf:
            self.fail(
                f"{value!r} is not a weight decay: write auto, evidence, or a number from 0 up such as 0.1.",
                param,
                ctx,
            )
        return decay


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
    default="auto",
    help="Units in each hidden layer, such as 20 or 20,10; none for none; auto grows one layer while the evidence grows.  "
    "[default: auto]",
)
@click.option(
    "--starts",
    type=click.IntRange(1),
    help="How often the descent begins; the network is the mean of all.  [default: 10 where that is quick, else 5 or 1]",
)
@click.option(
    "--activation",
    default="tanh",
    show_default=True,
    help="Activation of the hidden layers, such as tanh, logistic, relu.",
)
@click.option(
    "--descent",
    type=click.Choice(
        ["auto", "levenberg-marquardt", "l-bfgs", "gauss-newton", "rprop", "gradient", "mini-batch"]
    ),
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
    type=_Momentum(),
    help="Momentum of gradient descent (implies --descent gradient); auto reads it off the curvature.",
)
@click.option(
    "--nesterov",
    is_flag=True,
    help="Take the gradient one step ahead, with --momentum (implies --descent gradient).",
)
@click.option(
    "--alpha",
    type=_Decay(),
    help="Weight decay, in standardised units; evidence finds it by Bayesian regularisation, and auto, the default, is that "
    "where Levenberg–Marquardt descends, 0.1 elsewhere.",
)
@click.option(
    "--tol",
    type=click.FloatRange(0),
    help="Stop when the error fell by less than this, relative, over 10 steps; 0 never does.  [default: 0.0003]",
)
@click.option(
    "--max-iter", type=click.IntRange(1), help="The most steps, or epochs of mini-batches.  [default: 1000]"
)
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
@click.option(
    "--intervals/--no-intervals",
    default=True,
    help="Find out how far predictions may be off, or save that time.  [default: intervals]",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but complaints.")
def fit(
    table: Path,
    targets: tuple[str, ...],
    output: Path,
    holdout: Any,
    seed: int,
    intervals: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Fit a network to TABLE (CSV, Parquet or JSON lines) and write a model file and a report.

    \b
    fallline fit examples/concrete.csv --target strength
    """
    from fallline.table.read import read_table

    with _importing_meanwhile() if table.is_file() else nullcontext():
        source = read_table(table)
        held_out = read_table(holdout) if isinstance(holdout, Path) else holdout
    from fallline.cli.table_fit import fit_table, prepare, read_otherwise, report_of

    columns = {name: options.pop(name) for name in ("drop", "keep", "categories")}
    prepared = prepare(source, targets, holdout=held_out, seed=seed, **columns)
    model_path, report_path = _outputs(output, table, targets)
    if not quiet:
        _print_columns(prepared)
    if isinstance(holdout, Path):
        _complain(read_otherwise(prepared.columns, prepared.notes, held_out))
    from fallline.files import atomic_write
    from fallline.report import render_report

    settings = _settings(options)
    with _progress_bar(quiet) as progress, _compile_cache():
        result = fit_table(prepared, seed=seed, progress=progress, intervals=intervals, **settings)
    if not quiet:
        _print_fit(result)
    # The weights first: whatever happens to the report, they are kept.
    command = shlex.join(["fallline", *click.get_current_context().meta["fallline.typed"]])
    _save(result, model_path, command, seed, table)
    page = render_report(report_of(result, command, (("Seed", str(seed)), ("Model file", model_path.name))))
    atomic_write(report_path, page.encode())
    if not quiet:
        click.echo(f"\nModel   {model_path}\nReport  {report_path}")
    if result.ended_badly:
        raise _Complaint(result.stop_message)


@main.command(short_help="Write a model's predictions beside the rows of a table.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .parquet file; without it, CSV on stdout.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="COVERAGE",
    help="Write the ends between which a new row is to be expected with this probability, such as 0.95.",
)
@click.option("--std", is_flag=True, help="Write the standard error of a new row.")
def predict(model: Path, table: Path, output: Path | None, interval: float | None, std: bool) -> None:
    """Predict the rows of TABLE with MODEL, and write the predictions beside them."""
    from fallline.cli.table_fit import read_otherwise
    from fallline.exceptions import ModelFileError, OutputError
    from fallline.model_file import load_model
    from fallline.table.read import read_table, write_csv, write_table

    saved = load_model(model)
    rows = read_table(table)
    if output is not None and output.exists() and output.samefile(table):
        raise OutputError(
            f"{output} is the table itself, which stays as it is: give another file to --output."
        )
    saved.columns.check(list(rows.columns))
    if saved.intervals is None and (std or interval is not None):
        raise ModelFileError(
            f"{model.name} does not say how far its predictions may be off: fit again, without --no-intervals."
        )
    _complain(read_otherwise(saved.columns, saved.about.get("read"), rows))
    predicted, errors, ends = _predictions(saved, rows, interval, std)
    columns = dict(rows.columns)
    for j, name in enumerate(saved.columns.targets):
        columns[_new_name(f"predicted {name}", columns)] = predicted[:, j]
        if errors is not None:
            columns[_new_name(f"std {name}", columns)] = errors[:, j]
        if ends is not None:
            columns[_new_name(f"lower {name}", columns)] = ends[:, j, 0]
            columns[_new_name(f"upper {name}", columns)] = ends[:, j, 1]
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # as in a file, whatever the locale
        write_csv(sys.stdout, columns)
    else:
        write_table(output, columns)
        click.echo(f"{rows.rows:,} rows with predictions written to {output}", err=True)
    _judge_predictions(saved, rows, predicted, interval, ends)


@main.command(short_help="Say what is inside a model file.")
@click.argument("model", type=click.Path(path_type=Path))
def show(model: Path) -> None:
    """Say what is inside MODEL: network, columns, figures, how it was made."""
    from fallline.cli.table_fit import column_lines
    from fallline.exceptions import ModelFileError
    from fallline.model_file import load_model

    saved = load_model(model)
    about, targets = saved.about, saved.columns.targets
    try:
        parts = [
            _columns_table(column_lines(saved.columns, about.get("read"))),
            _figures_table(about.get("figures", {}), targets),
            _facts_table(_facts(saved)),
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ModelFileError(
            f"what {model.name} says of its making is not what `fallline fit` writes: fit again."
        ) from None
    console = _console()
    _say(console, f"{', '.join(targets)} from {about.get('table', 'a table')}", "bold")
    for part in parts:
        if part.rows:
            console.print()
            _print_table(console, part)


@main.command(short_help="Draw the error surface around a model, with the way its descent went.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path), required=False)
@click.option(
    "--plane",
    type=click.Choice(["auto", "path", "random", "curvature"]),
    default="auto",
    show_default=True,
    help="Which plane of the weights: principal directions of the path, two random directions, or the stiffest and the "
    "softest; auto takes the path, and of two weights the two.",
)
@click.option(
    "--weights",
    nargs=2,
    metavar="NAME NAME",
    help="The plane of two weights, such as --weights 'age->h1' 'h1->y1'.",
)
@click.option(
    "--points",
    type=click.IntRange(2, 4001),
    default=101,
    show_default=True,
    help="Points of the grid along each direction.",
)
@click.option(
    "--extent",
    type=float,
    nargs=4,
    metavar="LOW HIGH LOW HIGH",
    help="What the map shows, in coordinates of the plane; without it, the path and the minimum.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random directions."
)
@click.option(
    "--error/--penalised",
    "error_alone",
    default=None,
    help="Show the error E, or E with the weight decay added; without either, what was descended.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .png, .svg or .pdf file; without it, MODEL-surface.png beside the model.",
)
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
    saved, rows = _model_and_rows(model, table)
    output = output or model.with_name(f"{model.stem}-surface.png")
    from fallline.cli.table_fit import surface_of
    from fallline.plot.picture_file import check_picture, write_picture

    check_picture(output)
    from fallline.plot import ErrorSurfaceDisplay

    if len(rows.x) * points**2 > _LONG:
        _say(_console(stderr=True), f"summing {len(rows.x):,} rows at {points**2:,} points")
    chosen = [int(name) if name.isdigit() else name for name in weights] if weights else plane
    with _compile_cache(), _options_named():
        found = surface_of(
            saved, rows, chosen, points=points, extent=extent, seed=seed,
            penalised=None if error_alone is None else not error_alone,
        )  # fmt: skip
        write_picture(ErrorSurfaceDisplay(found).plot, output)
    console = _console()
    _say(console, f"Error surface of {model.name} over {rows.said}", "bold")
    console.print()
    _print_table(console, _facts_table(_surface_facts(found)))
    if found.fidelity:
        console.print()
        _say(console, found.fidelity)
    click.echo(f"\nPicture  {output}")


@main.command(short_help="Go down from many starts, and see which minima there are.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path), required=False)
@click.option(
    "--starts", type=click.IntRange(1), default=20, show_default=True, help="How many random starts."
)
@click.option(
    "--descent",
    type=click.Choice(["auto", "levenberg-marquardt", "l-bfgs", "gauss-newton", "rprop", "gradient"]),
    default="auto",
    show_default=True,
    help="How the weights move.",
)
@click.option("--alpha", type=click.FloatRange(0), help="Weight decay; without it, the model's own.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first start.")
@click.option(
    "--max-iter",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Steps of each start, before its end is followed on to the minimum.",
)
@click.option(
    "--tol",
    type=click.FloatRange(0),
    default=3e-4,
    show_default=True,
    help="A start ends when its error falls by less than this (relative) over 10 steps; it is then followed on.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .png, .svg or .pdf file: the minima as a stair, as high as their error, as wide as their starts.",
)
def minima(
    model: Path,
    table: Path | None,
    starts: int,
    descent: str,
    alpha: float | None,
    seed: int,
    max_iter: int,
    tol: float,
    output: Path | None,
) -> None:
    """Go down from many random starts on MODEL's network, rows and weight decay; say which minima they end in.

    And where the model stands among them. Give TABLE where the table it was fitted to has moved.

    \b
    fallline minima concrete-strength.fallline --starts 50
    """
    saved, rows = _model_and_rows(model, table)
    if output is not None:
        from fallline.plot.picture_file import check_picture

        check_picture(output)
    from fallline.cli.table_fit import minima_of

    _say(_console(stderr=True), f"going down from {starts:,} starts; Ctrl-C gives up")
    with _compile_cache(), _options_named():
        placed = minima_of(
            saved, rows, alpha=alpha, descent=descent, starts=starts, seed=seed, max_iter=max_iter, tol=tol
        )
    _print_minima(placed, model, rows, saved.columns.targets)
    if output is None:
        return
    if not placed.found.minima:
        _complain(["No start ended in a minimum: there is no picture to draw."])
        return
    from fallline.plot import MinimaDisplay
    from fallline.plot.picture_file import write_picture

    display = MinimaDisplay(placed.found, None if placed.own < 0 else placed.own)
    write_picture(display.plot, output, height=4.2)
    click.echo(f"\nPicture  {output}")


def _model_and_rows(model: Path, table: Path | None) -> tuple["SavedModel", "FoundRows"]:
    """A model file and the rows it was fitted on; what is not as it was in the fit is said on stderr."""
    from fallline.cli.table_fit import find_rows, read_otherwise, table_of
    from fallline.model_file import load_model
    from fallline.table.read import read_table

    saved = load_model(model)
    source = read_table(table_of(saved, model) if table is None else table)
    rows = find_rows(saved, source)
    _complain(read_otherwise(saved.columns, saved.about.get("read"), source))
    _complain([rows.otherwise] if rows.otherwise else [])
    return saved, rows


@contextmanager
def _compile_cache() -> Iterator[None]:
    from fallline.compile_cache import mended, use_compile_cache

    with mended(use_compile_cache()):
        yield


@contextmanager
def _options_named() -> Iterator[None]:
    """Settings in a complaint are spelled as on the command line."""
    try:
        yield
    except FalllineError as problem:
        raise _Complaint(re.sub(r"\bplane='(\w+)'", r"--plane \1", str(problem))) from problem


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a fit as arguments of ``fit_network``."""
    rate, momentum, nesterov = options["learning_rate"], options["momentum"], options["nesterov"]
    descent: Any = options["descent"]
    if rate is not None or momentum is not None or nesterov:
        if descent not in ("auto", "gradient"):
            raise click.UsageError(
                "--learning-rate, --momentum and --nesterov belong to gradient descent: leave out "
                f"--descent {descent}."
            )
        if nesterov and not momentum:
            raise click.UsageError(
                "--nesterov needs momentum: add --momentum auto or --momentum 0.9, or leave --nesterov out."
            )
        from fallline.descent.gradient import GradientDescent

        descent = GradientDescent(rate if rate is not None else "auto", momentum or 0.0, nesterov)
    given = {name: options[name] for name in ("alpha", "max_iter", "tol")} | {"n_starts": options["starts"]}
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
    name = re.sub(
        r"([.](csv|tsv|tab|txt|dat|data|parquet|pq|jsonl?|ndjson|gz))+$", "", table.name, flags=re.IGNORECASE
    )
    stem = "-".join([name, *(re.sub(r"\W+", "_", target).strip("_") for target in targets)])
    stem = stem.encode()[:_LONGEST_NAME].decode(errors="ignore")  # file systems count bytes
    model, report = folder / f"{stem}{SUFFIX}", folder / f"{stem}.html"
    for path, ours in ((model, is_model_file), (report, is_report)):
        if path.exists() and not ours(path):
            raise OutputError(
                f"{path} exists and was not written by fallline: move it away, or choose another folder with --output."
            )
    return model, report


def _save(result: "TableFit", path: Path, command: str, seed: int, table: Path) -> None:
    from fallline.cli.table_fit import about, curve_of
    from fallline.model_file import SavedModel, save_model

    save_model(
        SavedModel(
            result.fitted,
            result.prepared.columns,
            curve_of(result),
            about(result, command, seed, table, path),
            result.path,
            result.intervals,
        ),
        path,
    )


@contextmanager
def _importing_meanwhile() -> Iterator[None]:
    """Import JAX and the drawing in a thread while a table is read: both mostly wait, for files and for the disk.

    What both sides need, NumPy above all, must be imported before: where two threads begin the same imports, Python
    hands out modules that are half made. And the thread must end here: a process that ends amid it prints leaks.
    """
    import threading
    from importlib import import_module

    failed = threading.Event()

    def load() -> None:
        with suppress(ImportError):  # the command meets it again, and says it
            for name in ("jax", "fallline.fit.network_fit", "fallline.report"):
                if failed.is_set():
                    return
                import_module(name)
            import_module("fallline.report").prepare()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    except BaseException:
        failed.set()
        raise
    finally:
        thread.join()


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Any]:
    """A live bar on stderr with the error on each set of rows; one line where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from fallline.fit.figures import written

    console = _console(stderr=True)
    columns = (BarColumn(16), TextColumn("{task.fields[said]}", markup=False), TimeElapsedColumn())
    begun: list[int] = []
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None, said="compiling")

        def told(now: Any, current: Any) -> None:
            if bar.disable and not quiet and not begun:
                click.echo("descending; Ctrl-C keeps the best weights so far", err=True)
            begun.append(now.steps)
            if bar.disable:
                return
            per_row = {"training": now.error / now.n_rows}
            per_row |= {name: error / now.watched_rows[name] for name, error in now.watched.items()}
            scale = current().scaling.y_scale
            if (
                len(scale) == 1 and now.error < math.inf
            ):  # in the target's units, as in the table that follows
                per_row = {name: math.sqrt(2 * error) * scale[0] for name, error in per_row.items()}
            figure = "RMSE" if len(scale) == 1 else "E per row"
            start = f"start {now.start} of {now.n_starts}, " if now.n_starts > 1 else ""
            errors = ", ".join(f"{name} {written(value)}" for name, value in per_row.items())
            bar.update(
                task,
                completed=now.start - 1 + (now.steps if now.epochs is None else now.epochs) / now.max_iter,
                total=now.n_starts,
                said=f"{start}step {now.steps}  {figure} {errors}",
            )

        yield told


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr)
    # A file or a pipe: lines as long as they need to be.
    return console if console.is_terminal else Console(stderr=stderr, width=1000)


def _text(words: Any, style: str = "") -> Any:
    """Words as they are, whatever a table or a file holds: no markup, and control characters spelled out."""
    from rich.text import Text

    return Text(
        "".join(c if c.isprintable() or c in "\n\u00a0" else repr(c)[1:-1] for c in str(words)), style
    )


def _say(console: Any, words: str, style: str = "") -> None:
    """A paragraph: on a terminal it breaks between words, elsewhere it is one line."""
    console.print(_text(words, style), soft_wrap=not console.is_terminal)


def _complain(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        _say(_console(stderr=True), f"Note: {sentence}")


def _print_table(console: Any, grid: Any) -> None:
    """A table; outside a terminal without the blanks that fill it up to its right edge."""
    if console.is_terminal:
        console.print(grid)
        return
    with console.capture() as shown:
        console.print(grid)
    click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()))


def _print_columns(prepared: "Prepared") -> None:
    from fallline.cli.table_fit import column_lines

    console = _console()
    _print_table(console, _columns_table(column_lines(prepared.columns, prepared.notes)))
    console.print()


def _empty_table() -> Any:
    from rich import box
    from rich.table import Table as Grid

    return Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)


def _columns_table(uses: Sequence[tuple[str, str, str]]) -> Any:
    grid = _empty_table()
    grid.add_column("Column", overflow="fold")
    grid.add_column("Used as", no_wrap=True)
    grid.add_column("What it holds", overflow="fold")
    styles = {"dropped": "yellow", "target": "bold green"}
    for name, role, says in uses:
        grid.add_row(_text(name), _text(role, styles.get(role, "")), _text(says))
    return grid


def _figures_table(sets: dict[str, Any], targets: Sequence[str]) -> Any:
    """E, RMSE and R² of network and ridge on each set of rows, in the targets' units."""
    from fallline.fit.figures import written, written_share

    grid = _empty_table()
    grid.add_column("Target", overflow="fold")
    for heading in ("Rows", "Fit"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("E", "RMSE", "R²"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for j, target in enumerate(targets):
        for name, said in sorted(sets.items(), key=lambda each: each[0] != "training"):
            for fit in ("network", "ridge"):
                numbers = said[j].get(fit)
                if numbers:
                    row = (written(numbers["error"]), written(numbers["rmse"]), written_share(numbers["r2"]))
                    grid.add_row(_text(target), _text(f"{name} ({said[j]['rows']:,})"), fit, *row)
    return grid


def _facts(saved: "SavedModel") -> dict[str, Any]:
    """What a model file says of its making, line by line."""
    about, path = saved.about, saved.path
    return {
        "Network": saved.fitted.alone().network,
        "Starts": about.get("starts"),
        "Descent": f"{about['descent']}: {about['steps']:,} steps, {about['passes']:,} passes over the rows"
        if "descent" in about
        else None,
        "Weight decay": about.get("decay"),
        "Ended": about.get("stop"),
        "Verdict": about.get("verdict"),
        "Path": None
        if path is None
        else f"kept at {len(path.steps):,} points, weights at {len(path.weight_steps):,} of them",
        "Rows": about.get("rows"),
        "Seed": about.get("seed"),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Command": about.get("command"),
    }


def _facts_table(facts: dict[str, Any]) -> Any:
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, says in facts.items():
        if says not in (None, ""):
            grid.add_row(name, _text(says))
    return grid


def _surface_facts(found: "Surface") -> dict[str, Any]:
    """What is to be seen on an error surface, line by line."""
    from fallline.fit.figures import written

    first, second = found.plane.labels
    grid = f"{len(found.first)} × {len(found.second)} points"
    error = "penalised error, E + ½ Σ weight decay · weight²" if found.penalised else "error E"
    others = [f"{written(each.error)} at {_place(found, each)}" for each in found.local_minima]
    shown = others[:_SHOWN_MINIMA] + (["…"] if len(others) > _SHOWN_MINIMA else [])
    return {
        "Plane": f"{first}; {second}",
        "Shown": f"{error}, a sum over {found.n_rows:,.0f} rows in scaled units, {grid}",
        "Lowest": f"{written(found.lowest)}, highest {written(float(found.levels()[-1]))}",
        "Minimum": "none on this map: the error goes on falling towards its edge"
        if found.minimum is None
        else f"{written(found.minimum.error)} at {_place(found, found.minimum)}",
        "Others": f"{_counted(len(others), 'local minimum', 'local minima')} on the map: {', '.join(shown)}"
        if others
        else "no other local minimum on the map",
    }


def _place(found: "Surface", lowest: Any) -> str:
    """Coordinates of a point, to a thousandth of the map."""
    said = []
    for value, axis in zip(lowest.coordinates, (found.first, found.second), strict=True):
        decimals = max(3 - math.floor(math.log10(axis[-1] - axis[0])), 0)
        said.append(f"{round(float(value), decimals) + 0.0:,.{decimals}f}".replace("-", "−"))
    return f"({', '.join(said)})"


def _counted(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _print_minima(placed: "PlacedMinima", model: Path, rows: "FoundRows", targets: Sequence[str]) -> None:
    console, found = _console(), placed.found
    _say(console, f"Minima of the network of {model.name} over {rows.said}", "bold")
    console.print()
    if found.minima:
        _print_table(console, _minima_table(placed, targets))
        console.print()
    for sentence in _judged(placed, targets):
        _say(console, sentence)


def _minima_table(placed: "PlacedMinima", targets: Sequence[str]) -> Any:
    """The lowest minima and that of the model, one to a line, with the model's own point below."""
    from fallline.fit.figures import written

    grid, found = _empty_table(), placed.found
    several = len(targets) > 1
    headings = ["Minimum", "Starts", "E" if placed.alpha == 0 else "E + decay"]
    headings += [f"RMSE {target}" if several else "RMSE" for target in targets]
    if placed.held_rmse is not None:
        headings += [f"held-out {target}" if several else "held-out" for target in targets]
    headings += ["λ min", "λ max", "Flat"]
    for heading in headings:
        grid.add_column(_text(heading), justify="right", overflow="fold")

    def row(name: str, starts: str, error: float, at: int, bends: Sequence[str]) -> None:
        figures = [*placed.rmse[at], *(() if placed.held_rmse is None else placed.held_rmse[at])]
        grid.add_row(name, starts, written(error), *map(written, figures), *bends)

    for number, minimum in enumerate(found.minima):
        if number < _MINIMA_LISTED or number == placed.own:
            values = minimum.eigenvalues
            bends = ["–", "–"] if values is None else [_eigenvalue(values[at], values) for at in (-1, 0)]
            name = f"model → {number + 1}" if number == placed.own else str(number + 1)
            row(name, f"{minimum.count:,}", minimum.penalised_error, number, [*bends, str(minimum.flat)])
        elif number == _MINIMA_LISTED:
            grid.add_row("…")
    row("the model", "", placed.model_error, -1, ["", "", ""])
    return grid


def _eigenvalue(value: float, values: Any) -> str:
    """An eigenvalue; 0 where it is one to rounding."""
    from fallline.fit.figures import written

    return written(0.0 if abs(value) < 1e-9 * abs(values[0]) else float(value), 3)


def _judged(placed: "PlacedMinima", targets: Sequence[str]) -> Iterator[str]:
    """What the minima say of the model, and what to do, a sentence or two each."""
    from fallline.fit.figures import written

    found, starts = placed.found, len(placed.found.index)
    lost = int((found.index < 0).sum())
    what = "E" if placed.alpha == 0 else "penalised error"
    decay = (
        "the weight decay that the fit found"
        if placed.alpha is None
        else f"weight decay alpha = {placed.alpha:g}"
    )
    yield (
        f"{_counted(len(found.minima), 'distinct minimum', 'distinct minima')} from {_counted(starts, 'start', 'starts')}, "
        f"{decay}. E and the eigenvalues λ of its Hessian are in scaled units, RMSE in "
        f"{'those of the targets' if len(targets) > 1 else 'those of the target'}; flat are directions it does not bend in."
    )
    if lost:
        yield (
            f"{_counted(lost, 'start', 'starts')} ended in none: on a plateau or a saddle, or the error goes on falling as the "
            "weights grow. More steps (--max-iter) or some weight decay (--alpha) may bring them down."
        )
    if not found.minima:
        return
    if placed.own < 0 and not placed.own_decay:
        yield "The model rests at none of them: it was fitted under another weight decay."
        return
    if placed.own < 0:
        yield (
            f"The model rests at none of them: from its weights ({what} {written(placed.model_error)}) the error goes on "
            "falling. Fit again with a smaller --tol or some weight decay."
        )
        return
    own, lowest = found.minima[placed.own].penalised_error, found.minima[0].penalised_error
    above = placed.model_error / own - 1 if own > 0 else 0.0
    where = f"minimum {placed.own + 1} of {len(found.minima)}"
    if above > _AT_REST:
        what_next = (
            "`fallline fit` with a smaller --tol goes on down"
            if placed.own_decay
            else "its own weight decay is another"
        )
        yield f"The model stands on the slope above {where}, {what} {_percent(above)} higher: {what_next}."
    else:
        yield f"The model is at {where}."
    if placed.own == 0:
        yield "No start ended lower: other starting weights would not help it."
        return
    share = f"{_counted(found.minima[0].count, 'start', 'starts')} of {starts:,}"
    sentence = f"The lowest has {what} {_percent(1 - lowest / own)} lower, and {share} ended there."
    if placed.held_rmse is None:
        yield (
            f"{sentence} Fit again with another --seed to try for it, and judge it by rows held out: lower is not always better."
        )
        return
    better = placed.held_rmse[0] < placed.held_rmse[-1]
    pairs = ", ".join(
        f"{name} {written(a)} against {written(b)}"
        for name, a, b in zip(targets, placed.held_rmse[0], placed.held_rmse[-1], strict=True)
    )
    if better.all():
        yield (
            f"{sentence} It predicts the held-out rows better too (RMSE of {pairs}): fit again with another --seed, which "
            "divides the rows anew as well, to try for it."
        )
    else:
        yield (
            f"{sentence} But it does not predict the held-out rows better (RMSE of {pairs}): keep the model, for lower on the "
            "training rows is not better on others here."
        )


def _percent(share: float) -> str:
    """A share that never rounds to nothing: 3.2 %, 0.004 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _print_fit(result: "TableFit") -> None:
    from fallline.report import figures

    console = _console()
    sets = {rows.name: figures(rows) for rows in result.rowsets}
    _print_table(console, _figures_table(sets, result.prepared.columns.targets))
    console.print()
    _say(console, result.prepared.rows_said)
    _say(console, f"{result.network_said}. Descent: {result.why_this_descent or result.descent}")
    if result.starts_said:
        _say(console, result.starts_said)
    if not result.ended_badly:  # else it is the complaint at the end
        _say(console, result.stop_message)
        if result.verdict is not None:
            _say(console, result.verdict_said)
    _say(console, f"{result.effort} Weight decay: {result.decay}.")
    if result.intervals_said:
        _say(console, result.intervals_said)


def _predictions(
    saved: "SavedModel", rows: "Table", interval: float | None, std: bool
) -> tuple[Any, Any, Any]:
    """Of a table, block by block: predictions (rows, targets), standard errors and interval ends, None where not asked for."""
    import numpy as np

    known: Any = saved.intervals
    found: tuple[list[Any], ...] = ([], [], [])
    start = 0
    for block in rows.blocks():
        x = saved.columns.encode(block, start)
        found[0].append(saved.fitted.predict(x))
        if std:
            found[1].append(known.std(x))
        if interval is not None:
            found[2].append(known.interval(x, interval))
        start += len(x)
    predicted, errors, ends = (np.concatenate(parts) if parts else None for parts in found)
    if any(given is not None and not np.isfinite(given).all() for given in (errors, ends)):
        names = saved.fitted.network.weight_names(saved.columns.encoded_names)
        _complain((f"Some intervals have no end. {known.says(names)}",))
    return predicted, errors, ends


def _judge_predictions(
    saved: "SavedModel", rows: "Table", predictions: Any, interval: float | None, ends: Any
) -> None:
    """The figures on stderr, where the table has the targets as numbers too."""
    import numpy as np

    from fallline.fit.figures import figures_of, written, written_share

    for j, name in enumerate(saved.columns.targets):
        actual, predicted = rows.columns.get(name), predictions[:, j]
        if actual is None or actual.dtype.kind not in "fb" or not (known := np.isfinite(actual)).any():
            continue
        said = figures_of(actual[known], predicted[known])
        words = f"{name}: RMSE {written(said.rmse)}, R² {written_share(said.r2)} on {known.sum():,} rows"
        if interval is not None:
            inside = (ends[known, j, 0] <= actual[known]) & (actual[known] <= ends[known, j, 1])
            words += f"; {100 * inside.mean():.1f} % of them lie in their {100 * interval:g} % interval"
        click.echo(words, err=True)


def _new_name(name: str, taken: Any) -> str:
    number = 2
    new = name
    while new in taken:
        new, number = f"{name}_{number}", number + 1
    return new


# Curves.


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


@main.command(short_help="Fit a curve, written as a formula, to a table.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--y", "--target", "-t", "target", required=True, metavar="COLUMN", help="Column to fit.")
@click.option(
    "--model",
    "-m",
    required=True,
    metavar="FORMULA",
    help="Such as 'b1*(1 - exp(-b2*x))': names of columns are inputs, all others parameters. Names that are "
    "not plain words stand in backticks.",
)
@click.option("--start", type=_Named(), help="Where to start; parameters left out are looked for.")
@click.option("--fix", "fixed", type=_Named(), help="Parameters that stay at a value.")
@click.option("--bounds", type=_Named(pairs=True), help="Bounds of parameters.")
@click.option(
    "--sigma", metavar="COLUMN", help="Column with the noise of each row, of which only the ratios count."
)
@click.option("--absolute-sigma", is_flag=True, help="Take the noise of --sigma as it is.")
@click.option(
    "--profile", is_flag=True, help="Intervals by profile likelihood, which follow the bend of the curve."
)
@click.option("--max-iter", type=click.IntRange(1), default=1000, show_default=True, help="The most steps.")
def curve(table: Path, target: str, model: str, sigma: str | None, profile: bool, **settings: Any) -> None:
    """Fit a curve to the rows of TABLE by least squares, and print its parameters.

    \b
    fallline curve examples/concrete.csv --y strength --model "a + b*log(age)"
    """
    from fallline.table.read import read_table

    with _importing_meanwhile() if table.is_file() else nullcontext():
        source = read_table(table)
    import numpy as np

    from fallline.model.curve import Curve
    from fallline.model.formula import read_formula
    from fallline.sure.curve_fit import fit_curve

    formula = read_formula(model)
    inputs = tuple(name for name in source.columns if name in formula.names)
    columns = _numbers_of(source, (target, *inputs, *([] if sigma is None else [sigma])))
    if not inputs:
        raise _Complaint(
            f"the formula {formula} has none of the columns of {table.name} ({', '.join(source.columns)})."
        )
    x = np.column_stack([columns[name] for name in inputs])
    with _compile_cache():
        found = fit_curve(
            Curve(formula, columns=inputs),
            x,
            columns[target],
            sigma=None if sigma is None else columns[sigma],
            **settings,
        )
        ends = found.profile_intervals() if profile else found.intervals()
    _print_curve(found, ends, target, "profile" if profile else "standard", _console())
    if found.path.stop.name in ("MAX_ITER", "INTERRUPTED", "DIVERGED"):
        raise _Complaint(found.said)


def _numbers_of(source: "Table", names: Sequence[str]) -> dict[str, Any]:
    """These columns as numbers, without the rows in which one of them is missing; says how many these are."""
    import numpy as np

    missing = [name for name in names if name not in source.columns]
    if missing:
        raise _Complaint(
            f"{source.name} has no column {missing[0]!r}: its columns are {', '.join(source.columns)}."
        )
    columns = {name: np.asarray(source.columns[name]) for name in names}
    for name, values in columns.items():
        if values.dtype.kind not in "fiub":
            raise _Complaint(f"the column {name} does not hold numbers, and a curve takes nothing else.")
    rows = np.column_stack([values.astype(np.float64) for values in columns.values()])
    whole = np.asarray(np.isfinite(rows).all(axis=1))
    if not whole.all():
        lost = int((~whole).sum())
        _complain([f"{lost:,} of {len(rows):,} rows have a gap in these columns and are left out."])
    if not whole.any():
        raise _Complaint(f"no row of {source.name} has numbers in all of {', '.join(names)}.")
    return dict(zip(columns, rows[whole].T, strict=True))


def _print_curve(found: Any, ends: Any, target: str, method: str, console: Any) -> None:
    """The parameters as a table, and what else there is to say of the fit."""
    _say(console, f"{target} = {found.curve.function}", "bold")
    console.print()
    grid = _empty_table()
    for heading in ("parameter", "value", "standard error", "95 % from", "to"):
        grid.add_column(heading, justify="left" if heading == "parameter" else "right")
    free = found.free
    for name, value, error, (low, high), is_free in zip(
        found.curve.names, found.values, found.standard_errors, ends, free, strict=True
    ):
        numbers = [f"{each:.6g}" for each in (error, low, high)] if is_free else ["fixed", "", ""]
        grid.add_row(name, f"{value:.10g}", *numbers)
    _print_table(console, grid)
    console.print()
    by = "profile likelihood" if method == "profile" else "standard errors and Student's t"
    _say(
        console,
        f"{len(found.rows.y):,} rows, {found.freedom:,} degrees of freedom; E = {found.path.error[-1]:.8g}, "
        f"residual standard deviation {found.noise:.6g}. Intervals by {by}; derivatives {found.derivatives}.",
    )
    _say(console, f"{found.path.n_passes} passes. {found.said}")
