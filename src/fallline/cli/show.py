"""``fallline show``: what is inside a model file, and what fallline runs on."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallline.cli import printing

if TYPE_CHECKING:
    from fallline.model_file import SavedModel


@click.command(short_help="Say what is inside a model file.")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--system", is_flag=True, help="Say what fallline runs on instead, as the report of a bug needs it.")
def show(model: Path | None, system: bool) -> None:
    """Say what is inside MODEL: network, columns, figures, how it was made."""
    if (model is None) != system:
        raise click.UsageError(
            "Give either a model file, as `fallline fit` writes it, or --system for what fallline runs on."
        )
    if model is None:
        printing.print_table(printing.facts(_system()))
    else:
        _show_model(model)


def _show_model(model: Path) -> None:
    from fallline.cli.kept import other_report
    from fallline.cli.rows import column_lines
    from fallline.model_file import load_model

    saved = load_model(model)
    about, targets = saved.about, saved.columns.targets
    tables = (
        printing.columns_table(column_lines(saved.columns, about.get("read"))),
        printing.figures_table(about.get("figures", {}), targets),
        printing.facts(_facts(saved)),
    )
    printing.say(f"{', '.join(targets)} from {about.get('table', 'a table')}", "bold")
    for table in tables:
        if table.rows:
            printing.say("")
            printing.print_table(table)
    printing.note(other_report(model))


def _facts(saved: "SavedModel") -> dict[str, object]:
    """What a model file says of its making, line by line."""
    from fallline.words import counted, listed

    about, path = saved.about, saved.path
    descent = kept = None
    if "descent" in about:
        passes = counted(about["passes"], "pass", "passes")
        descent = f"{about['descent']}: {counted(about['steps'], 'step')}, {passes} over the rows"
    if path is not None:
        kept = f"kept at {counted(len(path.steps), 'point')}, weights at {len(path.weight_steps):,} of them"
    classes = None
    if saved.columns.classes:
        from fallline.table.classes import class_names

        names = listed(class_names(saved.columns.classes), 20)
        classes = f"a classifier: probabilities of the {len(saved.columns.classes)} classes {names}"
    return {
        "Kind": classes,
        "Network": saved.fitted.alone().network,
        "Starts": about.get("starts"),
        "Descent": descent,
        "Weight decay": about.get("decay"),
        "Ended": about.get("stop"),
        "Verdict": about.get("verdict"),
        "Path": kept,
        "Rows": about.get("rows"),
        "Comparison": about.get("comparison"),
        "Columns": about.get("matters"),
        "Seed": about.get("seed"),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Command": about.get("command"),
    }


def _system() -> dict[str, object]:
    """Versions, processors, memory, native code and what else is installed, line by line."""
    import platform

    import numpy
    import scipy.linalg  # a BLAS is listed where it is loaded, and SciPy brings one of its own
    from threadpoolctl import threadpool_info

    from fallline import __version__
    from fallline.native.library import status
    from fallline.threads import processors
    from fallline.words import counted

    blas = [
        f"{found['internal_api']} {found['version']} of {Path(found['filepath']).parent.name}, "
        f"{counted(found['num_threads'], 'thread')}"
        for found in threadpool_info()
        if found["user_api"] == "blas"
    ]
    return {
        "fallline": __version__,
        "Python": f"{platform.python_version()}, {platform.platform()}",
        "NumPy": numpy.__version__,
        "SciPy": scipy.__version__,
        "BLAS": "; ".join(blas),
        "Native code": status().sentence,
        "Processors": f"{processors()} of {os.cpu_count()}",
        "Memory": _memory(),
        **{name: _installed(module) for name, module in (("JAX", "jax"), ("CuPy", "cupy"), ("PyTorch", "torch"))},
    }


def _memory() -> str | None:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (AttributeError, ValueError):  # Windows cannot be asked like this
        return None


def _installed(module: str) -> str:
    """The version of a module that may be there, found without its import, which takes seconds."""
    from importlib import metadata, util

    if util.find_spec(module) is None:
        return "not installed"
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:  # CuPy comes in packages of other names
        return "installed"
