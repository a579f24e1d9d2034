"""``fallline export``: a model as a file that other programs run, or as an equation."""

from pathlib import Path

import click

from fallline.cli import printing
from fallline.cli.outputs import overwrite_option

_TARGETS = ("onnx", "python", "c", "matlab", "excel", "latex", "text")
_MARK = b"fitted by fallline"


@click.command(short_help="Write a model as ONNX, Python, C, MATLAB, Excel, LaTeX or text.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Choice(_TARGETS), required=True, help="What to write.")
@click.option(
    "--single", is_flag=True,
    help="Write one network of a combination, for a shorter result, and say how far off it is by itself.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), show_default="named after the model, in this folder",
    help="The file to write.",
)  # fmt: skip
@overwrite_option
def export(model: Path, target: str, single: bool, output: Path | None, overwrite: bool) -> None:
    """Carry MODEL away: a file whose predictions are those of the model, with all scaling and encoding inside.

    \b
    fallline export concrete-strength.fallline --to python
    """
    from fallline.export import TARGETS, write
    from fallline.export.program import identifiers
    from fallline.files import check_ours
    from fallline.model_file import load_model

    saved = load_model(model)
    suffix = TARGETS[target].suffix
    if output is None:
        output = Path(identifiers([model.stem])[0] + suffix if TARGETS[target].named else model.stem + suffix)
    otherwise = "choose another file with --output, or replace it with --overwrite"
    check_ours(output, (lambda path: True) if overwrite else _is_ours, otherwise)
    write(saved, output, target, single=single)
    said = saved.about.get("alone")
    if single and isinstance(said, str):
        printing.say(said)
    elif single:
        printing.note(["The model file does not say how far off this network is by itself."])
    printing.say(f"Written to {output}")


def _is_ours(path: Path) -> bool:
    """Whether an export wrote a file. A workbook is packed: its texts say so."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return _MARK in path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        return any(_MARK in parts.read(name) for name in parts.namelist() if name.endswith("sharedStrings.xml"))
