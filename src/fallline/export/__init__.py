"""A fitted network carried away: as a file that other programs run, or as an equation.

Scaling is inside, and the encoding of categories, dates and missing cells travels along where the target can express it. Each
function takes a fitted ``NetworkRegressor`` or ``NetworkClassifier``, or what ``load_model`` read; ``single=True`` takes one
network of a combination, for a shorter result.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fallline.exceptions import SettingsError
from fallline.export.program import identifiers, program_of
from fallline.files import atomic_write
from fallline.words import did_you_mean


def python(model: Any, *, single: bool = False) -> str:
    """A Python module that needs nothing but Python: ``predict({"column": value, …})`` gives the predictions of a row.

    The text of the module; its predictions agree with the model's to rounding in float64.

    >>> from fallline import NetworkRegressor
    >>> from fallline.export import python
    >>> fit = NetworkRegressor(hidden_layer_sizes=2, n_starts=1).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 0.0, 1.0])
    >>> "def predict(row)" in python(fit)
    True
    """
    from fallline.export.python_module import python_module

    return python_module(program_of(model, single))


def c(model: Any, name: str = "model", *, single: bool = False) -> str:
    """A C99 header: ``NAME_predict(&input, y)`` predicts a row of the struct ``NAME_input``; link with -lm.

    The text of the header; predictions agree with the model's to rounding in float64. Categories are to be spelled as in the fit.
    """
    from fallline.export.c_header import c_header

    return c_header(program_of(model, single), name)


def matlab(model: Any, name: str = "model", *, single: bool = False) -> str:
    """A function of MATLAB and Octave: ``y = NAME(T)`` for a struct of columns, or a matrix of encoded inputs.

    The text of the file NAME.m; predictions agree with the model's to rounding in float64. Categories are to be spelled as in the
    fit. Raises SettingsError for a name that MATLAB could not call.
    """
    from fallline.export.matlab_function import matlab_function

    if identifiers([name]) != [name]:
        raise SettingsError(
            f"name={name!r} is no name of a function: letters, digits and underscores were expected, a letter first."
        )
    return matlab_function(program_of(model, single), name)


def excel(model: Any, *, single: bool = False) -> bytes:
    """A workbook whose cells compute the predictions of up to 100 rows, in Excel or LibreOffice.

    The bytes of an .xlsx file; needs ``pip install "fallline[excel]"``.
    """
    from fallline.export.workbook import workbook

    return workbook(program_of(model, single))


def onnx(model: Any, *, single: bool = False) -> bytes:
    """An ONNX model in float64, for ONNX Runtime and others: ``fallline.export.onnx_graph.onnx_model`` says what goes in and out.

    The bytes of an .onnx file; needs ``pip install "fallline[onnx]"``. Categories are to be spelled as in the fit.
    """
    from fallline.export.onnx_graph import onnx_model

    return onnx_model(program_of(model, single))


def text(model: Any, *, single: bool = False) -> str:
    """Formulas, one on a line, with all digits: each right side is one that ``CurveRegressor`` reads.

    Columns that are not plain numbers stand as the inputs they become, such as ``kind=oak``.
    """
    from fallline.export.formulas import text_of

    return text_of(program_of(model, single))


def latex(model: Any, *, single: bool = False) -> str:
    """The same in LaTeX, an ``align*`` environment with numbers of six digits."""
    from fallline.export.formulas import latex_of

    return latex_of(program_of(model, single))


def register_skl2onnx() -> None:
    """Let skl2onnx convert both estimators, alone or in a pipeline; needs ``pip install skl2onnx``."""
    from fallline.export.onnx_graph import register_skl2onnx as register

    register()


class Target(NamedTuple):
    """What a kind of export is: its function, the suffix of its file, and whether that is named in it."""

    write: Callable[..., Any]
    suffix: str
    named: bool = False


TARGETS = {
    "onnx": Target(onnx, ".onnx"),
    "python": Target(python, ".py"),
    "c": Target(c, ".h", named=True),
    "matlab": Target(matlab, ".m", named=True),
    "excel": Target(excel, ".xlsx"),
    "latex": Target(latex, ".tex"),
    "text": Target(text, ".txt"),
}


def write(model: Any, path: Path | str, to: str, *, single: bool = False) -> None:
    """Write an export to a file, whole or not at all.

    ``to`` is one of onnx, python, c, matlab, excel, latex and text. Names inside the file are those of the file. Raises
    SettingsError for another target and where an extra is missing, OutputError where the file cannot be written.
    """
    path = Path(path)
    if to not in TARGETS:
        raise SettingsError(f"to={to!r} is not known: choose one of {', '.join(TARGETS)}{did_you_mean(to, TARGETS)}")
    target = TARGETS[to]
    named = [identifiers([path.stem])[0]] if target.named else []
    try:
        made = target.write(model, *named, single=single)
    except ModuleNotFoundError as problem:
        raise SettingsError(f"An export to {to} needs {problem.name}: pip install 'fallline[{to}]'.") from problem
    atomic_write(path, made.encode() if isinstance(made, str) else made)


__all__ = ["c", "excel", "latex", "matlab", "onnx", "python", "register_skl2onnx", "text", "write"]
