"""Writes references of commands and detectors from themselves, so that none can fall behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from pynomaly.domain.detectors import CATALOGUE
from pynomaly.domain.uncertified import PREFIX, UNCERTIFIED
from pynomaly.presentation.cli.main import cli

COMMANDS = "<!-- commands -->"
DETECTORS = "<!-- certified detectors -->"
OTHERS = "<!-- uncertified detectors -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace markers by what they stand for; called by MkDocs for each page."""
    if COMMANDS in markdown:
        context = click.Context(
            cli, info_name="pynomaly", terminal_width=88, **cli.context_settings
        )
        markdown = markdown.replace(COMMANDS, "\n".join(_sections(cli, context)))
    markdown = markdown.replace(DETECTORS, "\n".join(_certified()))
    return markdown.replace(OTHERS, "\n".join(_uncertified()))


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # it has just been listed
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _sections(command, inner)
        else:
            yield f"## {inner.command_path}\n\n```text\n{command.get_help(inner)}\n```\n"


def _certified() -> Iterator[str]:
    yield "| detector | finds | cost to fit | cost to score a row | equals | reference |"
    yield "|---|---|---|---|---|---|"
    for entry in CATALOGUE.values():
        yield (
            f"| `{entry.name}` | {entry.finds} | {entry.fit_cost} | {entry.score_cost} "
            f"| to {entry.tolerance:.0e}: {entry.equals} | {entry.reference} |"
        )


def _uncertified() -> Iterator[str]:
    yield "| detector | title | finds |"
    yield "|---|---|---|"
    for name, (title, finds) in UNCERTIFIED.items():
        yield f"| `{PREFIX}{name}` | {title} | {finds} |"
