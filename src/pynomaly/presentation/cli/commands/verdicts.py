"""``pynomaly verdicts``: what people say about scored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command, Decorated, Group, pipeline_argument
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly.application.record_verdicts import Statement
    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.domain.verdicts import Said

__all__ = ["command"]


@click.group(
    "verdicts",
    cls=Group,
    example="pynomaly verdicts record payments --id t0010 --verdict anomaly --reason chargeback\n"
    "pynomaly verdicts list payments",
)
def command() -> None:
    """Say what flagged rows are; training and gates make use of it."""


def _rows(verb: str) -> Callable[[Decorated], Decorated]:
    """Add the options that name rows."""
    options = (
        click.option(
            "--id", "ids", multiple=True, metavar="VALUE",
            help="A row by its id as in scored output; several times for several rows. Where "
            "several columns make the id: their values in order, separated by commas.",
        ),
        click.option(
            "--source", metavar="FILE",
            help="File, object or table the rows were scored from, where the id alone does not tell.",
        ),
        click.option("--reason", default="", help=f"Why {verb}; kept with it."),
    )  # fmt: skip

    def decorate(decorated: Decorated) -> Decorated:
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


@command.command(
    "record",
    cls=Command,
    example="pynomaly verdicts record payments --id t0010 --id t0020 --verdict anomaly\n"
    "pynomaly verdicts record payments --incident 3f2a9c01d4e7 --verdict normal\n"
    "pynomaly verdicts record payments --from reviewed.csv",
)
@pipeline_argument
@_rows("it is one")
@click.option(
    "--incident",
    "incidents",
    multiple=True,
    metavar="ID",
    help="Every row of an incident that has no verdict yet.",
)
@click.option("--verdict", type=click.Choice(["anomaly", "normal"]), help="What the rows are.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    help="CSV, Parquet… with the id columns, `verdict`, and if you like `reason` and `source`.",
)
@click.pass_obj
def record(
    session: Session,
    pipeline: str,
    ids: Sequence[str],
    source: str | None,
    reason: str,
    incidents: Sequence[str],
    verdict: Said | None,
    file: str | None,
) -> None:
    """Record a verdict on scored rows; the newest of a row counts.

    The values of the rows are stored with it.
    """
    from pynomaly.domain.errors import UsageError
    from pynomaly.presentation.cli.render.verdicts import recorded_lines, verdict_document

    platform = session.platform
    configured = platform.pipeline(pipeline)
    if (verdict is None) == bool(ids or incidents) or not (ids or incidents or file):
        raise UsageError(
            "say which rows, and what they are",
            hint="--id VALUE or --incident ID with --verdict anomaly|normal, or --from FILE",
        )
    statements: list[Statement] = []
    if verdict is not None:
        statements += _statements(configured, ids, verdict, reason, source)
        for incident in incidents:
            statements += _of_incident(session, configured, incident, verdict, reason)
    if file is not None:
        statements += _in_file(session, configured, file)
    given = platform.record_verdicts(configured, statements, platform.actor)
    document = {"pipeline": pipeline, "recorded": [verdict_document(v) for v in given]}
    session.present(document, recorded_lines(document))


@command.command(
    "withdraw",
    cls=Command,
    example='pynomaly verdicts withdraw payments --id t0010 --reason "misread"',
)
@pipeline_argument
@_rows("you take it back")
@click.pass_obj
def withdraw(
    session: Session, pipeline: str, ids: Sequence[str], source: str | None, reason: str
) -> None:
    """Take verdicts back, as if nobody had looked at the rows."""
    from pynomaly.domain.errors import UsageError
    from pynomaly.presentation.cli.render.verdicts import recorded_lines, verdict_document

    if not ids:
        raise UsageError("say which rows", hint="--id VALUE")
    platform = session.platform
    configured = platform.pipeline(pipeline)
    statements = _statements(configured, ids, "withdrawn", reason, source)
    given = platform.record_verdicts.withdraw(configured, list(statements), platform.actor)
    document = {"pipeline": pipeline, "recorded": [verdict_document(v) for v in given]}
    session.present(document, recorded_lines(document))


@command.command("list", cls=Command, example="pynomaly verdicts list payments --history")
@pipeline_argument
@click.option(
    "--history", is_flag=True, help="Every verdict ever given, not only those that stand."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Verdicts to list."
)
@click.pass_obj
def list_verdicts(session: Session, pipeline: str, history: bool, limit: int) -> None:
    """List the verdicts that stand, newest first."""
    from pynomaly.domain.verdicts import standing
    from pynomaly.presentation.cli.render.verdicts import verdict_document, verdicts_lines

    session.require_known(pipeline)
    given = session.platform.verdicts.of(pipeline)
    stand = standing(given)
    shown = (given if history else stand)[::-1]
    document = {
        "pipeline": pipeline,
        "anomalies": sum(v.said == "anomaly" for v in stand),
        "normal": sum(v.said == "normal" for v in stand),
        "verdicts": [verdict_document(v) for v in shown[:limit]],
        "left_out": max(0, len(shown) - limit),
    }
    session.present(document, verdicts_lines(document))


def _statements(
    pipeline: Pipeline, ids: Sequence[str], said: Said, reason: str, source: str | None
) -> Iterator[Statement]:
    from pynomaly.application.record_verdicts import Statement
    from pynomaly.domain.errors import UsageError
    from pynomaly.settings import resolve_uri

    place = source and resolve_uri(source, Path.cwd())
    for text in dict.fromkeys(ids):
        values = _split(text) if len(pipeline.keys) > 1 else [text]
        if len(values) != len(pipeline.keys):
            raise UsageError(
                f"{text!r} has {len(values)} values; a row of '{pipeline.name}' is called by "
                f"{len(pipeline.keys)}: {', '.join(pipeline.keys)}",
                hint="separate them by commas, in this order; quote one that holds a comma: "
                "'\"a,b\",c'",
            )
        yield Statement(tuple(values), said, reason, place)


def _split(text: str) -> list[str]:
    import csv

    return next(csv.reader([text]), [])


def _of_incident(
    session: Session, pipeline: Pipeline, incident_id: str, said: Said, reason: str
) -> Iterator[Statement]:
    from pynomaly.application.record_verdicts import Statement
    from pynomaly.domain.errors import UsageError

    incident = session.platform.incidents.one(pipeline, incident_id)
    waiting = [alert for alert in incident.alerts if alert.said is None]
    if not waiting:
        raise UsageError(
            f"every row of incident {incident_id} has a verdict already ({incident.state})",
            hint="change that of a row: --id VALUE",
        )
    for alert in waiting:
        yield Statement(tuple(alert.ids.values()), said, reason, alert.source)


def _in_file(session: Session, pipeline: Pipeline, file: str) -> Iterator[Statement]:
    from pynomaly.application.verdict_files import statements_in
    from pynomaly.domain.errors import UsageError
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.settings import resolve_uri

    opened = session.platform.sources.open(SourceSpec(resolve_uri(file, Path.cwd())))
    found = statements_in(opened, pipeline)
    if not found:
        raise UsageError(
            f"{file} holds no verdict", hint="the column `verdict` says anomaly or normal"
        )
    for statement in found:
        place = statement.source and resolve_uri(statement.source, Path.cwd())
        yield replace(statement, source=place)
