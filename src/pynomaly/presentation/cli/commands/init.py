"""``pynomaly init``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.domain.profiles import Profile

__all__ = ["command"]


@click.command(
    "init", cls=Command, example="pynomaly init payments --data payments.csv --id txn_id --time ts"
)
@click.argument("name")
@click.option("--data", required=True, metavar="URI", help="File, folder, glob, s3:// or database.")
@click.option("--query", metavar="SQL", help="Table or SELECT statement, for a database.")
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Identifies a row; repeatable.")
@click.option("--time", metavar="COLUMN", help="When it happened.")
@click.option("--label", metavar="COLUMN", help="1 = anomaly, 0 = normal, empty = unknown.")
@click.option("--exclude", multiple=True, metavar="COLUMN", help="Leave out; repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace the pipeline's file.")
@click.pass_obj
def command(
    session: Session,
    name: str,
    data: str,
    query: str | None,
    ids: tuple[str, ...],
    time: str | None,
    label: str | None,
    exclude: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Profile data and write conf/pipelines/NAME.yaml."""
    from pynomaly.domain.drafting import draft_pipeline
    from pynomaly.domain.errors import OutputExistsError
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.settings import (
        check_name,
        parse_pipeline,
        render_pipeline,
        resolve_uri,
        write_text,
    )

    check_name(name)
    settings = session.settings
    path = settings.pipelines / f"{name}.yaml"
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists and was left as it is", hint="replace it with --overwrite"
        )
    uri = resolve_uri(data, Path.cwd())
    source = SourceSpec.named(uri, query)
    profile = session.platform.profile_source(
        source,
        id_columns=ids,
        time_column=time,
        label_column=label,
        excluded=exclude,
    )
    spec = replace(source, uri=_within(source.uri, settings.project))
    pipeline = draft_pipeline(
        name,
        spec,
        profile,
        id_columns=ids,
        time_column=time,
        label_column=label,
        excluded=exclude,
    )
    notes = {c.name: c.reason for c in profile.columns if c.name in pipeline.excluded}
    text = render_pipeline(pipeline, notes)
    parse_pipeline(name, text, settings)  # what we write must be readable
    write_text(path, text, overwrite=overwrite)
    document = {
        "pipeline": name,
        "path": str(path),
        "excluded": {column: notes.get(column, "") for column in pipeline.excluded},
        "expectations": len(pipeline.validation.expectations),
        "profile": profile,
    }
    session.present(document, _lines(pipeline, profile, path))


def _within(uri: str, project: Path) -> str:
    """Return a path inside the project as relative to it, so that the project can move."""
    if "://" in uri:
        return uri
    path = Path(uri).resolve() if ".." in Path(uri).parts else Path(uri)
    return str(path.relative_to(project) if path.is_relative_to(project) else path)


def _lines(pipeline: Pipeline, profile: Profile, path: Path) -> Iterator[RenderableType]:
    from pynomaly.presentation.cli.render.base import clean
    from pynomaly.presentation.cli.render.profiles import profile_lines

    yield from profile_lines(profile, f"{pipeline.name}: {pipeline.source.uri}")
    for column in profile.columns:
        if column.name in pipeline.excluded:
            yield clean(f"left out: {column.name} ({column.reason or 'as you said'})")
    yield clean(f"\nwrote {path} with {len(pipeline.validation.expectations)} expectations")
    yield "\nNext:"
    yield f"  pynomaly run {pipeline.name}"
    yield f"  pynomaly validate {pipeline.name}"
    yield f"  pynomaly config show {pipeline.name}"
