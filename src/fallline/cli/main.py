"""The command line: the group of commands, and how any of them ends where something is wrong.

Each command stands in the file of its name. A wrong call exits with 2, anything wrong with data or files with 1 and one
sentence. Heavy imports wait until a command needs them.
"""

import codecs
import contextlib
import errno
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from fallline import __version__
from fallline.cli.check import check
from fallline.cli.curve import curve
from fallline.cli.explore import explore
from fallline.cli.export import export
from fallline.cli.fit import fit
from fallline.cli.minima import minima
from fallline.cli.predict import predict
from fallline.cli.printing import Complaint
from fallline.cli.show import show
from fallline.cli.surface import surface
from fallline.exceptions import FalllineError

_PLAINER = {"−": "-", "–": "-", "²": "2", "⁻": "-"}


def _plainer(problem: UnicodeError) -> tuple[str, int]:
    """A letter that a stream's encoding lacks: −1.3 must not become ?1.3."""
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    return _PLAINER.get(problem.object[problem.start], "?"), problem.start + 1


def _no_more_output(problem: OSError) -> NoReturn:
    """End where what is printed cannot be written, such as to a full disk: in a sentence, and with exit code 1."""
    with contextlib.suppress(OSError, ValueError):  # what is still to be written would be tried again at the very end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if problem.errno != errno.EPIPE:  # whoever reads no further has seen enough
        with contextlib.suppress(OSError):
            said = f"what is printed cannot be written ({problem.strerror}): make room, or print to another place."
            print(f"Error: {said}", file=sys.stderr)
    sys.exit(1)


class _Commands(click.Group):
    """Commands whose complaints are one sentence."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        if not Path(os.environ.get("XDG_CACHE_HOME", os.sep)).is_absolute():
            del os.environ["XDG_CACHE_HOME"]  # matplotlib would make a cache in the folder of the user
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts is of no interest here
        codecs.register_error("fallline", _plainer)
        for name in ("stdin", "stdout", "stderr"):
            if (
                getattr(sys, name) is None
            ):  # closed by whoever called: else the next file opened would stand in its place
                setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115  kept to the end
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # ASCII is no choice but a locale that was never set up: click writes UTF-8 then, too.
                ascii_only = codecs.lookup(stream.encoding).name == "ascii"
                stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="fallline")
        try:
            return super().main(*arguments, **options)
        except OSError as problem:
            if isinstance(problem, FalllineError):
                raise
            _no_more_output(problem)
        finally:
            try:
                sys.stdout.flush()
            except OSError as problem:
                _no_more_output(problem)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["fallline.typed"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FalllineError as problem:
            raise Complaint(str(problem)) from problem
        except KeyboardInterrupt:  # outside the descent, which keeps its weights and says so
            raise Complaint("Interrupted: nothing more was done, and no file is half written.") from None


@click.group(
    cls=_Commands,
    commands=[fit, predict, show, surface, minima, curve, export, explore, check],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="fallline")
def main() -> None:
    """Fit neural networks to a table by least squares, and see how it went."""
