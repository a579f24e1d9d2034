"""How the commands print: sentences, tables, complaints, and settings spelled as options.

Results go to stdout, everything else to stderr. On a terminal lines break between words; elsewhere a line is as long as it
needs to be. Nothing here knows what is printed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from fallline.exceptions import FalllineError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WIDE = 1000  # columns of what is no terminal
_OPTIONS = (
    (r"\bplane='(\w+)'", r"--plane \1"),
    (r"learning_rate='auto'", "--learning-rate auto"),
    (r"\balpha = 0\.01", "--alpha 0.01"),
    (r"larger alpha", "larger --alpha"),
    (r"\bmax_seconds\b", "--seconds"),
)


class Complaint(click.ClickException):
    """One sentence on stderr, and exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        say(f"Error: {self.message}", stderr=True)


def console(stderr: bool = False) -> "Console":
    """A console of rich on standard output or error; as wide as a page where it is no terminal."""
    from rich.console import Console

    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_WIDE)


def text(words: object, style: str = "") -> "Text":
    """Words as they are, whatever a table or a file holds: no markup, and control characters spelled out."""
    from rich.text import Text

    shown = (c if c.isprintable() or c in "\n\u00a0" else repr(c)[1:-1] for c in str(words))
    return Text("".join(shown), style)


def say(words: str, style: str = "", stderr: bool = False) -> None:
    """A paragraph, or an empty line."""
    to = console(stderr)
    to.print(text(words, style), soft_wrap=not to.is_terminal)


def note(sentences: Iterable[str]) -> None:
    """Sentences on stderr about what may not be as it should be."""
    for sentence in sentences:
        say(f"Note: {sentence}", stderr=True)


def empty_table(*headings: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> "Table":
    """An empty table with these headings; columns ``right`` are of numbers, those of ``whole`` words are never broken."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(
            text(heading), justify="right" if heading in right else "left", overflow="fold",
            no_wrap=heading in whole,
        )  # fmt: skip
    return table


def facts(said: Mapping[str, object]) -> "Table":
    """A line for each name and what is said of it; what is None or empty is left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in said.items():
        if words not in (None, ""):
            table.add_row(name, text(words))
    return table


def print_table(table: "Table") -> None:
    """A table; outside a terminal without the blanks that fill it up to its right edge."""
    to = console()
    if to.is_terminal:
        to.print(table)
        return
    with to.capture() as shown:
        to.print(table)
    click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()))


def columns_table(lines: Iterable[tuple[str, str, str]]) -> "Table":
    """What each column of a table is used as: (name, role, what it holds)."""
    table = empty_table("Column", "Used as", "What it holds", whole=("Used as",))
    styles = {"dropped": "yellow", "target": "bold green"}
    for name, role, says in lines:
        table.add_row(text(name), text(role, styles.get(role, "")), text(says))
    return table


def figures_table(sets: Mapping[str, Any], targets: Sequence[str]) -> "Table":
    """E, RMSE and R² of every fit on each set of rows, in the targets' units; training rows first, the best on others marked.

    Of classes accuracy, Brier score and log loss, beside logistic regression.
    """
    from fallline.report import NAMES, best_of
    from fallline.words import written, written_share

    if any("logistic" in said[0] for said in sets.values()):
        from fallline.cli.class_fit import class_figures_table

        return class_figures_table(sets, targets[0])
    numbers = ("E", "RMSE", "R²")
    table = empty_table("Target", "Rows", "Fit", *numbers, "", right=numbers, whole=("Rows", "Fit", *numbers, ""))
    for j, target in enumerate(targets):
        for name, said in sorted(sets.items(), key=lambda each: each[0] != "training"):
            best = None if name == "training" else best_of(said[j])
            for fit in NAMES:
                if of := said[j].get(fit):
                    shown = (written(of["error"]), written(of["rmse"]), written_share(of["r2"]))
                    rows, mark = text(f"{name} ({said[j]['rows']:,})"), "best" if fit == best else ""
                    table.add_row(text(target), rows, fit, *shown, mark, style="bold" if mark else "")
    return table


def as_options(sentence: str) -> str:
    """A sentence of the library with its settings spelled as on the command line."""
    for setting, option in _OPTIONS:
        sentence = re.sub(setting, option, sentence)
    return sentence


@contextmanager
def options_named() -> Iterator[None]:
    """A block whose complaints spell settings as on the command line."""
    try:
        yield
    except FalllineError as problem:
        raise Complaint(as_options(str(problem))) from problem
