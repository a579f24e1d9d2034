"""``fallline show``: what is inside a model file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallline.cli import printing

if TYPE_CHECKING:
    from fallline.model_file import SavedModel


@click.command(short_help="Say what is inside a model file.")
@click.argument("model", type=click.Path(path_type=Path))
def show(model: Path) -> None:
    """Say what is inside MODEL: network, columns, figures, how it was made."""
    from fallline.cli.rows import column_lines
    from fallline.exceptions import ModelFileError
    from fallline.model_file import load_model

    saved = load_model(model)
    about, targets = saved.about, saved.columns.targets
    try:
        tables = [
            printing.columns_table(column_lines(saved.columns, about.get("read"))),
            printing.figures_table(about.get("figures", {}), targets),
            printing.facts(_facts(saved)),
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ModelFileError(
            f"what {model.name} says of its making is not what `fallline fit` writes: fit again."
        ) from None
    printing.say(f"{', '.join(targets)} from {about.get('table', 'a table')}", "bold")
    for table in tables:
        if table.rows:
            printing.say("")
            printing.print_table(table)


def _facts(saved: "SavedModel") -> dict[str, object]:
    """What a model file says of its making, line by line."""
    from fallline.words import counted

    about, path = saved.about, saved.path
    descent = kept = None
    if "descent" in about:
        passes = counted(about["passes"], "pass", "passes")
        descent = f"{about['descent']}: {counted(about['steps'], 'step')}, {passes} over the rows"
    if path is not None:
        kept = f"kept at {counted(len(path.steps), 'point')}, weights at {len(path.weight_steps):,} of them"
    return {
        "Network": saved.fitted.alone().network,
        "Starts": about.get("starts"),
        "Descent": descent,
        "Weight decay": about.get("decay"),
        "Ended": about.get("stop"),
        "Verdict": about.get("verdict"),
        "Path": kept,
        "Rows": about.get("rows"),
        "Seed": about.get("seed"),
        "Versions": ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items()),
        "Command": about.get("command"),
    }
