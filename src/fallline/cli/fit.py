"""``fallline fit``: a table in, a model file and a report out."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallline.cli import printing
from fallline.cli.outputs import command_typed, output_at, overwrite_option
from fallline.cli.reading import open_to_stream, read, reading_options, tell, why_streamed

if TYPE_CHECKING:
    from fallline.cli.table_fit import TableFit
    from fallline.threads import Interrupts
    from fallline.walk.checkpoint import Checkpoint

_BETWEEN, _ANOTHER = 0.05, 0.5  # seconds between two movements of the bar, before it goes to another start
_BETWEEN_LINES = 30.0  # seconds, where there is no bar
_MOST_LEFT = 1e7  # seconds: of what takes longer nothing is said


def _sizes(value: Any) -> Any:
    """``20``, ``20,10``, ``none`` or ``auto``: the units of each hidden layer."""
    said = value.strip().lower() if isinstance(value, str) else value
    if said == "auto" or not isinstance(said, str):
        return said
    if said in ("none", "0"):
        return ()
    with contextlib.suppress(ValueError):
        sizes = tuple(int(part) for part in said.split(","))
        if min(sizes) > 0:
            return sizes
    raise click.BadParameter(
        f"{value!r} is not a list of layer sizes: write 20, or 20,10 for two layers, none, or auto."
    )


def _number(
    words: Mapping[str, Any], fits: Callable[[float], bool], wrong: str, otherwise: Any = math.nan
) -> Callable[[Any], Any]:
    """What reads one of the ``words``, which stand for values, or a number of which ``fits`` is true.

    What is neither is for ``otherwise`` to take, a function of the text, or ``wrong`` ends the sentence that refuses it.
    """

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value in words:
            return words[value]
        try:
            number = float(value)
        except ValueError:
            if callable(otherwise):
                return otherwise(value)
            number = otherwise
        if not fits(number):
            raise click.BadParameter(f"{value!r} is {wrong}.")
        return number

    return read


_holdout = _number(
    {"last": "last"}, lambda share: 0 <= share < 1,
    "not a share of the rows: write a number from 0 to below 1, such as 0.2", Path,
)  # fmt: skip
_rate = _number(
    {"auto": "auto"}, lambda rate: 0 < rate < math.inf,
    "not a learning rate: write auto, or a positive number such as 0.1",
)  # fmt: skip
_momentum = _number(
    {"auto": "auto"}, lambda momentum: 0 <= momentum < 1,
    "not a momentum: write auto, or a number from 0 to below 1 such as 0.9",
)  # fmt: skip
_decay = _number(
    {"auto": None, "evidence": "evidence"}, lambda decay: 0 <= decay < math.inf,
    "not a weight decay: write auto, evidence, or a number from 0 up such as 0.1",
)  # fmt: skip

_seconds = _number(
    {}, lambda seconds: 0 < seconds < math.inf, "not a time: write a positive number of seconds, such as 30"
)


def _folds(value: Any) -> Any:
    """``10``: a whole number of folds, two or more."""
    if value is None or isinstance(value, int):
        return value
    if not (value.isdecimal() and int(value) >= 2):
        raise click.BadParameter(f"{value!r} is no number of folds: write a whole number from 2 up, such as 5 or 10.")
    return int(value)


@click.command(short_help="Fit a network to a table; write a model file and a report.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--target", "-t", "targets", multiple=True, required=True, metavar="COLUMN",
    help="Column to predict; repeat for several. Texts, true and false, and two different numbers are told by classes.",
)  # fmt: skip
@click.option(
    "--hidden", type=_sizes, default="auto", metavar="UNITS",
    help="Units in each hidden layer, such as 20 or 20,10; none for a linear model; auto chooses the width of one layer by "
    "the Bayesian evidence.  [default: auto]",
)  # fmt: skip
@click.option(
    "--starts", type=click.IntRange(1),
    help="Networks to fit from random starts; the prediction averages them.  [default: 10 where that is quick, else 5, 3 or 1]",
)  # fmt: skip
@click.option(
    "--activation", default="tanh", show_default=True,
    help="Activation of the hidden layers, such as tanh, logistic, relu.",
)  # fmt: skip
@click.option(
    "--descent", type=click.Choice(["auto", "levenberg-marquardt", "l-bfgs", "rprop", "gradient", "mini-batch"]),
    default="auto", show_default=True,
    help="How the weights move.",
)  # fmt: skip
@click.option(
    "--learning-rate", type=_rate, metavar="AUTO|NUMBER",
    help="Rate of gradient descent (implies --descent gradient); auto reads it off the curvature of the error.",
)  # fmt: skip
@click.option(
    "--momentum", type=_momentum, metavar="AUTO|NUMBER",
    help="Momentum of gradient descent (implies --descent gradient); auto reads it off the curvature of the error.",
)  # fmt: skip
@click.option(
    "--nesterov", is_flag=True,
    help="Take the gradient one step ahead, with --momentum (implies --descent gradient).",
)  # fmt: skip
@click.option(
    "--alpha", type=_decay, metavar="AUTO|EVIDENCE|NUMBER",
    help="Weight decay, in standardised units; evidence finds it by Bayesian regularisation. Auto, the default, is "
    "evidence for Levenberg–Marquardt and 0.1 elsewhere; of classes it is found by cross-validation.",
)  # fmt: skip
@click.option(
    "--tol", type=click.FloatRange(0),
    help="Stop when the error fell by less than this, relative, over 10 steps; 0 never stops so.  [default: 0.0003]",
)  # fmt: skip
@click.option("--max-iter", type=click.IntRange(1), help="The most steps, or epochs of mini-batches.  [default: 1000]")
@click.option(
    "--seconds", type=_seconds, metavar="NUMBER",
    help="The most time to fit in; when it is over, the best so far is kept. Report and intervals come on top.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Keep in FOLDER how far the fit is: after a crash, a kill or Ctrl-C the same command goes on from there and ends at the "
    "same weights. It is empty again when the fit is whole.",
)  # fmt: skip
@click.option(
    "--cluster", metavar="ADDRESS",
    help="Have the workers of a Dask cluster read the table and sum over its rows, such as tcp://10.0.0.1:8786.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Take a third of the time, for an error that is larger by 2 % in the mean.")
@click.option(
    "--holdout", type=_holdout, default=0.2, show_default=True, metavar="SHARE|LAST|FILE",
    help="Rows to judge by: a share at random, last, or another file.",
)  # fmt: skip
@click.option(
    "--k-fold", "folds", type=_folds, metavar="K",
    help="Judge by all rows instead: K further fits, each predicting the K-th part of the rows that it left out.",
)  # fmt: skip
@click.option("--compare", is_flag=True, help="Fit scikit-learn's gradient boosting too, to compare with.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave this column out; repeatable.")
@click.option(
    "--keep", multiple=True, metavar="COLUMN",
    help="Use this column although fallline would drop it; repeatable.",
)  # fmt: skip
@click.option(
    "--category", "categories", multiple=True, metavar="COLUMN",
    help="Treat this column's numbers as codes; repeatable. Those of the target are told by classes.",
)  # fmt: skip
@reading_options
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True,
    help="Seed of the held-out rows and the starting weights.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False), default=Path(), show_default="this folder",
    help="Folder for the model and the report.",
)  # fmt: skip
@click.option(
    "--intervals/--no-intervals", default=True,
    help="Find out how far predictions may be off, or save that time.  [default: intervals]",
)  # fmt: skip
@overwrite_option
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but complaints.")
def fit(
    table: Path,
    targets: tuple[str, ...],
    output: Path,
    holdout: Any,
    seed: int,
    intervals: bool,
    folds: int | None,
    compare: bool,
    checkpoint: Path | None,
    cluster: str | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Fit a network to TABLE (CSV, Parquet or JSON lines) and write a model file and a report.

    \b
    fallline fit examples/concrete.csv --target strength
    """
    from fallline.cli.rows import column_lines, prepare, prepare_folds, prepare_streamed, read_otherwise
    from fallline.model_file import SUFFIX, is_model_file
    from fallline.report import is_report
    from fallline.table.read import read_table
    from fallline.table.stream import open_table

    if folds is not None and _given("holdout"):
        raise click.UsageError(
            "--k-fold judges by all rows and --holdout by rows that are kept from every fit: give one of the two."
        )
    why = f"{table.name} is summed on the cluster, not in memory." if cluster else why_streamed(table)
    if cluster:
        from fallline.rows.cluster import connected

        click.get_current_context().with_resource(connected(cluster))
    if why:
        _must_be_for_streams(why, folds, compare)
        printing.note([] if quiet else [why])
    source: Any = open_to_stream(table, options) if why else read(table, options)
    tell(source, quiet)
    held_out: Any = holdout
    if isinstance(holdout, Path):
        held_out = (open_table if why else read_table)(holdout, like=source.reading)
    columns = {name: options.pop(name) for name in ("drop", "keep", "categories")}
    parts: tuple[Any, ...] = ()
    prepared: Any
    if why:
        with _progress_bar(quiet) as (_, arrived):
            arrived("reading all rows to judge their columns")
            prepared = prepare_streamed(source, targets, holdout=held_out, seed=seed, **columns)
    elif folds is None:
        prepared = prepare(source, targets, holdout=held_out, seed=seed, **columns)
    else:
        prepared, parts = prepare_folds(source, targets, folds, seed=seed, **columns)
    ours = {SUFFIX: is_model_file, ".html": is_report}
    model_path, report_path = output_at(output, table, targets, ours, overwrite).values()
    if not quiet:
        printing.print_table(printing.columns_table(column_lines(prepared.columns, prepared.notes)))
        printing.say("")
    printing.note(prepared.columns.doubts)
    if isinstance(holdout, Path):
        tell(held_out, quiet)
        printing.note(read_otherwise(prepared.columns, source.reading, held_out))
        printing.note(prepared.columns.spelled_otherwise(held_out.blocks(), held_out.name))
    from fallline.cli import kept, sentences
    from fallline.cli.class_fit import told_by_classes
    from fallline.cli.table_fit import fit_table
    from fallline.descent import Stop
    from fallline.files import replacing
    from fallline.fit.checkpointed import content_said
    from fallline.model_file import fingerprint, save_model
    from fallline.report import write_report
    from fallline.threads import Interrupts
    from fallline.walk.checkpoint import opened
    from fallline.words import listed

    if prepared.columns.classes and not quiet:
        printing.say(f"{told_by_classes(prepared)}\n")
    command = command_typed()
    settings = _settings(options)

    def determines() -> dict[str, Any]:
        rows: dict[str, Any] = {"table": (prepared.x, prepared.y), "held-out rows": (prepared.held_x, prepared.held_y)}
        if why:
            from fallline.rows.stream import Streamed

            sources = {"table": prepared.train, "held-out rows": prepared.held}
            rows = {name: Streamed(source) for name, source in sources.items() if source is not None}
        said = {f"--{name.replace('_', '-')}": value for name, value in options.items() if name != "seconds"}
        return content_said(rows) | said | {"--seed": seed}

    def say(words: str) -> None:
        printing.note([words])

    with Interrupts() as interrupts, contextlib.ExitStack() as around:
        if why:
            from fallline.cli.stream_fit import at_hand, fit_stream

            around.enter_context(at_hand(prepared, (lambda words: None) if quiet else say))
        kept_in = around.enter_context(opened(checkpoint, determines, say=say, interrupts=interrupts))
        how: dict[str, Any] = {"intervals": intervals, "interrupts": interrupts, "checkpoint": kept_in, **settings}
        bar = _progress_bar(quiet, options["seconds"] or math.inf)
        with _kept(kept_in, interrupts), bar as (progress, arrived):
            if why:
                result = fit_stream(
                    prepared, seed=seed, progress=progress, arrived=arrived, on_cluster=bool(cluster), **how
                )
            else:
                result = fit_table(
                    prepared, seed=seed, progress=progress, arrived=arrived, compare=compare, folds=parts, **how
                )
        if not quiet:
            _print(result)

        def report(said: str) -> Path:
            with _progress_bar(quiet) as (_, phase):
                phase("drawing the error surface")
                made = kept.report_of(result, command, (("Seed", str(seed)), ("Model file", said)))
                phase("writing the report")
                return write_report(made, report_path)

        # Both are written before either takes the place of an older one; whatever happens to the report, the weights are kept.
        reported, problem = None, None
        with replacing(model_path) as new:
            save_model(kept.saved_of(result, command, seed, table, model_path), new)
            said = f"{model_path.name}, {fingerprint(new)}"
            try:
                reported = interrupts.optional("report", lambda: report(said), always=True)
            except Exception as why:
                problem = why
        if kept_in is not None:
            kept_in.ended(Stop.INTERRUPTED if interrupts.left_out or problem else result.path.stop)
            if not kept_in.whole:
                printing.note([f"The checkpoint in {checkpoint} stays: the same command goes on from there."])
    if reported is None:
        printing.note([f"The model was saved to {model_path} without its report.", *kept.other_report(model_path)])
    if problem is not None:
        raise problem
    if interrupts.left_out:
        raise printing.Complaint(f"Interrupted: what was found is saved, without {listed(interrupts.left_out)}.")
    if not quiet:
        click.echo(f"\nModel   {model_path}\nReport  {report_path}")
    if result.ended_badly:
        raise printing.Complaint(sentences.stop(result))


@contextlib.contextmanager
def _kept(checkpoint: "Checkpoint | None", interrupts: "Interrupts") -> Iterator[None]:
    """A block that SIGTERM ends, or Ctrl-C before there is anything to save: a complaint says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is None:
            raise
        interrupts.left_out.append("all")
    if checkpoint is not None and (interrupts.terminated or "all" in interrupts.left_out):
        how = "Terminated" if interrupts.terminated else "Interrupted"
        raise printing.Complaint(
            f"{how}: no model was written, but the same command goes on from the checkpoint in {checkpoint.folder}."
        )


def _must_be_for_streams(why: str, folds: int | None, compare: bool) -> None:
    """Raise UsageError for what is asked of a table and needs it in memory."""
    if folds is not None:
        raise click.UsageError(
            f"{why} --k-fold needs it there: judge by held-out rows, --holdout 0.2, or give fewer rows."
        )
    if compare:
        raise click.UsageError(f"{why} --compare needs it there: leave it out, or give fewer rows.")


def _given(option: str) -> bool:
    """Whether an option was written in the command."""
    return click.get_current_context().get_parameter_source(option) == click.core.ParameterSource.COMMANDLINE


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a fit as arguments of ``fit_network``."""
    rate, momentum, nesterov = options["learning_rate"], options["momentum"], options["nesterov"]
    descent: Any = options["descent"]
    if rate is not None or momentum is not None or nesterov:
        if descent not in ("auto", "gradient"):
            raise click.UsageError(
                f"--learning-rate, --momentum and --nesterov belong to gradient descent: leave out --descent {descent}."
            )
        if nesterov and not momentum:
            raise click.UsageError(
                "--nesterov needs momentum: add --momentum auto or --momentum 0.9, or leave --nesterov out."
            )
        from fallline.descent.gradient import GradientDescent

        descent = GradientDescent(rate if rate is not None else "auto", momentum or 0.0, nesterov)
    given = {name: options[name] for name in ("alpha", "max_iter", "tol")} | {"n_starts": options["starts"]}
    given |= {"max_seconds": options["seconds"], "effort": "quick" if options["quick"] else None}
    return {
        "hidden_layer_sizes": options["hidden"],
        "activation": options["activation"],
        "descent": descent,
        **{key: value for key, value in given.items() if value is not None},
    }


@contextlib.contextmanager
def _progress_bar(quiet: bool, seconds: float = math.inf) -> Iterator[Any]:
    """A live bar on stderr with the error on each set of rows; a line now and then where stderr is not a terminal.

    Given are what hears how far the descent is, and what is called with each thing that is done after it. ``seconds``: the most
    that the descent takes.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = printing.console(stderr=True)
    columns = (BarColumn(16), TextColumn("{task.fields[said]}", markup=False), TimeElapsedColumn())
    last: tuple[Any, Any] | None = None
    drawn = (0, -math.inf)  # the start on the bar, and when it was drawn
    left, said_at = _Left(time.monotonic() + seconds), time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None, said="starting")

        def draw(now: Any, current: Any, refresh: bool = False) -> None:
            said = f"{_standing(now, current().scaling.y_scale)}\n{now.pace}{left.said}"
            bar.update(task, completed=now.start - 1 + now.share, total=now.n_starts, said=said, refresh=refresh)

        def told(now: Any, current: Any) -> None:
            nonlocal last, drawn, said_at
            if last is None and bar.disable and not quiet:
                click.echo("descending; Ctrl-C keeps the best weights so far", err=True)
            last, at = (now, current), time.monotonic()
            left.hear(now, at)
            # Several starts go down side by side: one is shown as long as it is heard of.
            if not bar.disable and at >= drawn[1] + (_BETWEEN if now.start == drawn[0] else _ANOTHER):
                draw(now, current)
                drawn = (now.start, at)
            elif bar.disable and not quiet and at >= said_at + _BETWEEN_LINES:
                phase = f"{now.phase}: " if now.phase else ""
                said = f"{phase}{_standing(now, current().scaling.y_scale)}, {now.pace}{left.said}"
                click.echo(f"{time.strftime('%H:%M:%S')} {said}", err=True)
                said_at = at

        def arrived(then: str) -> None:
            nonlocal last
            if last is not None and not bar.disable:
                draw(*last, refresh=True)
            last = None
            # How far these phases are nobody knows: the bar swings from side to side, and the clock goes on.
            bar.tasks[task].total = None
            bar.update(task, said=then, refresh=True)

        yield told, arrived


class _Left:
    """How long what is under way takes yet, at most: descents end before their last step where there is nothing to gain.

    ``end``: when the time of the fit is over, as ``time.monotonic()`` reads then.
    """

    def __init__(self, end: float) -> None:
        self.end, self.said = end, ""
        self._phase, self._first = "", (0.0, 0.0)

    def hear(self, now: Any, at: float) -> None:
        """How far it is, and when."""
        gone = (now.start - 1 + now.share) / now.n_starts
        if now.phase != self._phase or gone < self._first[1] or not self._first[0]:
            self._phase, self._first = now.phase, (at, gone)
        made = gone - self._first[1]
        seconds = (at - self._first[0]) * (1 - gone) / made if made > 0 else math.inf
        seconds = min(seconds, max(self.end - at, 0.0))
        self.said = f", at most {timedelta(seconds=math.ceil(seconds))} left" if seconds < _MOST_LEFT else ""


def _standing(now: Any, y_scale: Any) -> str:
    """How far a descent is: start, step, and the error on each set of rows, in the target's units where there is one target."""
    from fallline.words import written

    errors = {"training": now.error / now.n_rows}
    errors |= {name: error / now.watched_rows[name] for name, error in now.watched.items()}
    figure = "E per row"
    if len(y_scale) == 1 and now.error < math.inf:  # as in the table that follows
        errors = {name: math.sqrt(2 * error) * y_scale[0] for name, error in errors.items()}
        figure = "RMSE"
    start = f"start {now.start} of {now.n_starts}, " if now.n_starts > 1 else ""
    return (
        f"{start}step {now.steps}  {figure} {', '.join(f'{name} {written(value)}' for name, value in errors.items())}"
    )


def _print(result: "TableFit") -> None:
    """The figures of a fit, and in sentences how it went."""
    from fallline.cli import sentences
    from fallline.report import figures

    sets = {rows.name: figures(rows) for rows in result.rowsets}
    printing.print_table(printing.figures_table(sets, result.prepared.columns.targets))
    printing.say("")
    told = [
        sentences.fitted_on(result),
        sentences.better(result),
        f"{sentences.network(result)}. Descent: {sentences.descent(result)}",
        sentences.starts(result),
        # After a bad end the complaint says it, last of all.
        *([] if result.ended_badly else [sentences.stop(result), sentences.verdict(result)]),
        f"{sentences.effort(result)} Weight decay: {sentences.decay(result)}",
        sentences.intervals(result),
        *sentences.comparisons(result),
        sentences.matters(result),
    ]
    for sentence in filter(None, told):
        printing.say(sentence)
