"""``fallline-command``: a command's arguments and options, read off the command line itself."""

import re
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from fallline.cli.main import main


def prose(text: str) -> nodes.paragraph:
    """A paragraph in which options stand as code, so that their two hyphens stay two."""
    paragraph = nodes.paragraph()
    for part in re.split(r"(--\w[\w-]*)", text):
        paragraph += nodes.literal(text=part) if part.startswith("--") else nodes.Text(part)
    return paragraph


class CommandDirective(SphinxDirective):
    """One command of ``fallline``, named by the argument: usage, what it does, every option."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        command = main.commands[self.arguments[0]]
        context = click.Context(command, info_name=f"fallline {command.name}")
        usage = " ".join([context.info_name or "", *command.collect_usage_pieces(context)])
        does = (command.help or "").split("\b")[0].strip()
        options = nodes.definition_list()
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is None or isinstance(parameter, click.Argument):
                continue
            head, says = record
            term = nodes.term("", "", nodes.literal(text=head))
            options += nodes.definition_list_item("", term, nodes.definition("", prose(says)))
        return [nodes.literal_block(usage, usage, language="text"), prose(does), options]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("fallline-command", CommandDirective)
    return {"parallel_read_safe": True}
