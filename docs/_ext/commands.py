"""``fallline-command``: a command's arguments and options, read off the command line itself."""

from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from fallline.cli import main


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
            options += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=says)))
        return [nodes.literal_block(usage, usage, language="text"), nodes.paragraph(text=does), options]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("fallline-command", CommandDirective)
    return {"parallel_read_safe": True}
