"""What commands have in common: base class, arguments and options."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "Command",
    "Group",
    "data_option",
    "engine_option",
    "out_option",
    "overwrite_option",
    "pipeline_argument",
    "reason_option",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _WithExample(click.Command):
    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(_WithExample, click.Group):
    """A group of commands whose help ends with an example."""


class Command(_WithExample):
    """A command with ``--json`` and ``--verbose`` whose work cannot write to standard output.

    Libraries print; standard output belongs to the result alone (``Session.present``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            # Read from the command line by main(), for it must be known when parsing fails.
            click.Option(
                ["--json"],
                is_flag=True,
                expose_value=False,
                help="Print exactly one JSON document, also on failure.",
            ),
            click.Option(
                ["-v", "--verbose"],
                is_flag=True,
                expose_value=False,
                callback=_configure_logging,
                help="Log what happens to standard error.",
            ),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with contextlib.redirect_stdout(sys.stderr):
            return super().invoke(ctx)


def _configure_logging(ctx: click.Context, _: click.Parameter, verbose: bool) -> None:
    if ctx.resilient_parsing:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # Some libraries set their own loggers to INFO; what they have to say stays their own affair.
    handler.addFilter(lambda r: r.levelno >= logging.WARNING or r.name.startswith("pynomaly"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("pynomaly", "pynomaly_flows"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.WARNING)
    if not verbose:  # of connections that broke we tell ourselves, without a traceback
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def pipeline_argument(command: Decorated) -> Decorated:
    """Add the name of a pipeline."""
    return click.argument("pipeline")(command)


def data_option(command: Decorated) -> Decorated:
    """Add ``--data``."""
    return click.option(
        "--data",
        metavar="URI",
        help="File, folder, glob, s3:// or database URL (URL#table); by default the pipeline's "
        "source.",
    )(command)


def engine_option(command: Decorated) -> Decorated:
    """Add ``--engine``."""
    return click.option(
        "--engine",
        type=click.Choice(["auto", "direct", "prefect"]),
        default="auto",
        show_default=True,
        help="Run in this process, under Prefect, or under Prefect where an API is up.",
    )(command)


def out_option(help_text: str) -> Callable[[Decorated], Decorated]:
    """Add ``--out``."""
    return click.option("--out", metavar="FILE", help=help_text)


def overwrite_option(command: Decorated) -> Decorated:
    """Add ``--overwrite``."""
    return click.option(
        "--overwrite",
        is_flag=True,
        help="Replace files that are there already; write where others have.",
    )(command)


def reason_option(why: str, *, required: bool) -> Callable[[Decorated], Decorated]:
    """Add ``--reason``; one that is required must say something."""

    def said(context: click.Context, parameter: click.Parameter, reason: str | None) -> str:
        if required and not (reason or "").strip():
            raise click.BadParameter("say why; it is kept.", context, parameter)
        return reason or ""

    return click.option("--reason", required=required, callback=said, help=why)
