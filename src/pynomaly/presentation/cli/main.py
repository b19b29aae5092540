"""``pynomaly``: the group of commands, each imported when it is asked for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from pynomaly.presentation.cli.options import Group
from pynomaly.presentation.cli.session import Session
from pynomaly.presentation.cli.signals import end_orderly_on_sigterm

__all__ = ["cli", "main"]

_COMMANDS = (
    "detect",
    "init",
    "run",
    "validate",
    "profile",
    "train",
    "release",
    "releases",
    "rollback",
    "score",
    "scores",
    "incidents",
    "verdicts",
    "monitor",
    "report",
    "status",
    "history",
    "models",
    "evidence",
    "replay",
    "detectors",
    "pipelines",
    "config",
    "doctor",
    "up",
    "down",
    "deploy",
    "trigger",
    "runs",
    "demo",
)
"""Modules of ``commands``, in the order in which a newcomer needs them."""


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"pynomaly.presentation.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click compares a mistyped name only with commands that are already imported.
        near = get_close_matches(args[0], _COMMANDS, n=1)
        if near and args[0] not in _COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from pynomaly.version import __version__

        click.echo(f"pynomaly {__version__}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    example=(
        "pynomaly init payments --data payments.csv --id txn_id --time ts\n"
        "pynomaly run payments\n"
        "pynomaly score payments --data new.parquet --out scored.parquet"
    ),
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Print the version.",
)  # fmt: skip
def cli() -> None:
    """Anomaly detection from raw table to governed, explained scores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: Without the program's name; those of the process where None.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        _prepare_process()
    session = Session(as_json="--json" in arguments, stdout=sys.stdout)
    try:
        result: Any = cli.main(list(arguments), "pynomaly", standalone_mode=False, obj=session)
    except Exception as error:  # noqa: BLE001  the last line of defence reports every kind
        from pynomaly.presentation.cli.failures import report

        return report(error, session)
    return result if isinstance(result, int) else 0


def _prepare_process() -> None:
    """Spare people the warnings that libraries address to developers, and dead characters.

    Also let SIGTERM end the process in order.
    """
    end_orderly_on_sigterm()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
