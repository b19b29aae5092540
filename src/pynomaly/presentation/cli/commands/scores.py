"""``pynomaly scores``: what was committed, whether it is intact, and what may go."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from pynomaly.presentation.cli.options import (
    Command,
    Group,
    out_option,
    overwrite_option,
    pipeline_argument,
)
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.group(
    "scores",
    cls=Group,
    example="pynomaly scores read payments --out current.parquet\n"
    "pynomaly scores verify payments --repair\n"
    "pynomaly scores prune payments --versions 2\n"
    "pynomaly scores forget payments s3://retired-bucket/scores",
)
def command() -> None:
    """Read, verify, prune and forget committed scores."""


@command.command("read", cls=Command, example="pynomaly scores read payments --out current.csv")
@pipeline_argument
@out_option("File or s3:// URL ending in .parquet, .csv or .jsonl; without it a summary is shown.")
@overwrite_option
@click.option("--model-version", type=click.IntRange(1), metavar="N", help="An earlier version.")
@click.option("--policy-version", metavar="POLICY", help="An earlier decision policy.")
@click.pass_obj
def read(
    session: Session,
    pipeline: str,
    out: str | None,
    overwrite: bool,
    model_version: int | None,
    policy_version: str | None,
) -> None:
    """Give the committed rows in force, whatever else lies in the folders."""
    from pynomaly.domain.canaries import together
    from pynomaly.presentation.cli.render.scores import read_lines
    from pynomaly.settings import resolve_uri

    session.require_known(pipeline)
    scores = session.platform.read_scores
    entries = scores.current(pipeline, model_version, policy_version)
    place = None if out is None else resolve_uri(out, Path.cwd())
    if place is not None:
        scores.write(entries, place, overwrite=overwrite)
    serving = session.platform.records.production(pipeline)
    outcomes = [entry.outcome for entry in entries if entry.outcome]
    seen = [outcome.observed.seen for outcome in outcomes if outcome.observed]
    document = {
        "pipeline": pipeline,
        "model_version": entries[0].version.model_version,
        "policy_version": entries[0].version.policy_version,
        "out": place,
        "rows": sum(outcome.rows_scored for outcome in outcomes),
        "rows_by_challengers": together(seen).answered,
        "inputs_left_out": scores.left_out(pipeline, entries),
        "serving": serving.version if serving else None,
        "flagged": sum(outcome.rows_flagged for outcome in outcomes),
        "partitions": [
            {
                "source": entry.partition.source,
                "extent": entry.partition.extent,
                "committed_at": entry.committed_at,
                **(asdict(entry.outcome) if entry.outcome else {}),
            }
            for entry in entries
        ],
    }
    session.present(document, read_lines(document))


@command.command("verify", cls=Command, example="pynomaly scores verify payments --repair")
@pipeline_argument
@click.option(
    "--repair",
    is_flag=True,
    help="Remove orphans and damaged parts; the next job writes these anew.",
)
@click.pass_obj
def verify(session: Session, pipeline: str, repair: bool) -> None:
    """Re-count rows and digests of everything committed, and find orphan files.

    Exit code 7 on any mismatch, with --repair as well: rows are missing until they are scored anew.
    Exit code 2 where a place cannot be looked at or something in it not be removed; the others are
    verified all the same.
    """
    from pynomaly.domain.errors import ConfigurationError, IntegrityError, OutputNotWritableError
    from pynomaly.presentation.cli.render.scores import verify_lines

    session.require_known(pipeline)
    found = session.platform.verify_scores(pipeline, repair=repair)
    unreadable = [
        f"{place.partitions} partitions were not looked at: {place.problem}"
        for place in found.unreadable
    ]
    gone = " and ".join(
        f"`pynomaly scores forget {pipeline} {shlex.quote(place.target)}`"
        for place in found.unreadable
    )
    besides = [*unreadable, *found.refused]
    if found.orphans:
        besides.append(f"orphans {'removed' if repair else 'found'}: {', '.join(found.orphans)}")
    if found.damaged:
        damaged = [f"{item.partition}: {item.problem}" for item in found.damaged]
        commands = (item.again or f"pynomaly score {pipeline}" for item in found.damaged)
        again = " and ".join(f"`{command}`" for command in dict.fromkeys(commands))
        free = "they are free now:" if repair else "free them with --repair, then"
        raise IntegrityError(
            f"{len(found.damaged)} of {found.partitions} committed partitions of '{pipeline}' are "
            f"not what was committed: {'; '.join([*damaged, *besides])}",
            hint=f"{free} write them anew by {again}; give up a place that is gone for good: "
            f"`pynomaly scores forget {pipeline} PLACE`",
        )
    if found.refused and not unreadable:
        raise OutputNotWritableError(
            f"{found.partitions} committed partitions of '{pipeline}' are as committed, "
            f"{'; '.join(besides)}",
            hint="repair again once what is left may be removed",
        )
    if unreadable:
        raise ConfigurationError(
            f"{found.partitions} committed partitions of '{pipeline}' are as committed, "
            f"{'; '.join(besides)}",
            hint=f"verify again once the place can be read; if it is gone for good: {gone}",
        )
    session.present(asdict(found), verify_lines(pipeline, asdict(found)))


@command.command(
    "prune", cls=Command, example="pynomaly scores prune payments --versions 2 --days 30"
)
@pipeline_argument
@click.option(
    "--versions",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Versions (model and policy) to keep, the newest first.",
)
@click.option(
    "--days",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Keep whatever was committed within so many days.",
)
@click.option("--dry-run", is_flag=True, help="Only say how much would be removed.")
@click.pass_obj
def prune(session: Session, pipeline: str, versions: int, days: float, dry_run: bool) -> None:
    """Remove superseded scores and those of old versions."""
    from pynomaly.presentation.cli.render.scores import removed_lines

    session.require_known(pipeline)
    removed = asdict(
        session.platform.prune_scores(pipeline, versions=versions, days=days, dry_run=dry_run)
    )
    done = "would remove" if dry_run else "removed"
    session.present({**removed, "dry_run": dry_run}, removed_lines(done, pipeline, removed))


@command.command(
    "forget", cls=Command, example="pynomaly scores forget payments s3://retired-bucket/scores"
)
@pipeline_argument
@click.argument("place")
@click.pass_obj
def forget(session: Session, pipeline: str, place: str) -> None:
    """Give up PLACE (a folder, s3:// prefix or table) with all scores in it.

    For a place that is gone for good: it is neither asked nor changed.  What was scored there
    counts as never scored.
    """
    from pynomaly.presentation.cli.render.scores import removed_lines
    from pynomaly.settings import resolve_uri

    session.require_known(pipeline)
    forgotten = asdict(session.platform.forget_place(pipeline, resolve_uri(place, Path.cwd())))
    lines = [*removed_lines("forgot", pipeline, forgotten), "what lies there was left as it is"]
    session.present(forgotten, lines)
