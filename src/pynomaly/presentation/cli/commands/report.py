"""``pynomaly report``."""

from __future__ import annotations

from pathlib import Path

import click

from pynomaly.presentation.cli.options import Command, out_option, overwrite_option
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command("report", cls=Command, example="pynomaly report payments --out payments.html")
@click.argument("run_or_pipeline", metavar="[RUN_ID|PIPELINE]", required=False)
@out_option("Where to write the page; by default in PYNOMALY_HOME.")
@overwrite_option
@click.pass_obj
def command(
    session: Session, run_or_pipeline: str | None, out: str | None, overwrite: bool
) -> None:
    """Write an HTML report about a run that opens offline.

    Of a pipeline it is about the latest run; with a single pipeline its name can be left out.
    """
    from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError
    from pynomaly.presentation.cli.render.base import clean

    about = run_or_pipeline or _only_pipeline(session)
    target = Path.cwd() / out if out else None
    if target and target.exists() and not overwrite:
        raise OutputExistsError(
            f"{target} exists and was left as it is", hint="replace it with --overwrite"
        )
    try:
        path = session.platform.write_report(about, out=target)
    except OSError as error:
        if target is None or error.filename is None:
            raise
        raise OutputNotWritableError(
            f"{target} cannot be written: {error.strerror}",
            hint="choose a folder that you may write to",
        ) from error
    session.present({"about": about, "report": str(path)}, [clean(path)])


def _only_pipeline(session: Session) -> str:
    from pynomaly.settings import pipeline_names

    names = pipeline_names(session.settings)
    if len(names) != 1:
        known = f"one of {', '.join(names)}" if names else "there is none yet"
        raise click.UsageError(f"say which run or pipeline: {known}")
    return names[0]
