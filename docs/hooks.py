"""Writes the command reference from the commands themselves, so that it cannot fall behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from pynomaly.presentation.cli.main import cli

MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marker by every command's help; called by MkDocs for each page."""
    if MARKER not in markdown:
        return markdown
    context = click.Context(cli, info_name="pynomaly", terminal_width=88, **cli.context_settings)
    return markdown.replace(MARKER, "\n".join(_sections(cli, context)))


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # it has just been listed
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _sections(command, inner)
        else:
            yield f"## {inner.command_path}\n\n```text\n{command.get_help(inner)}\n```\n"
