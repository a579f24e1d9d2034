"""``fallline explore``: the live page in a browser, on a table, a model, or on nothing yet."""

import webbrowser
from pathlib import Path

import click

from fallline.cli import printing


@click.command(short_help="Open the live page: take hold of gradient descent, on your own data.")
@click.argument("file", metavar="[TABLE|MODEL]", type=click.Path(path_type=Path), required=False)
@click.option("--target", "-t", metavar="COLUMN", help="Column of TABLE to predict; it can be chosen on the page, too.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: any that is free]"
)
@click.option(
    "--token", metavar="TEXT", help="Token of the address, for one that stays the same.  [default: a new one]"
)
@click.option("--no-browser", is_flag=True, help="Print the address, and do not open it.")
def explore(file: Path | None, target: str | None, port: int, token: str | None, no_browser: bool) -> None:
    """Drag the start of a descent and see its path change under your hand; train a network on TABLE, or look at MODEL.

    Serves on this machine alone, needs no other, and ends with Ctrl-C.

    \b
    fallline explore
    fallline explore examples/concrete.csv --target strength
    fallline explore concrete-strength.fallline
    """
    from fallline.explore.server import Server
    from fallline.explore.work import Opened

    opened = Opened.of(file, target)
    if opened.note:
        printing.note([opened.note])
    server = Server(opened, port, token)
    click.echo(server.url)
    printing.say("Ctrl-C ends it.", stderr=True)
    server.run(None if no_browser else lambda: webbrowser.open(server.url))
