"""``pynomaly detect``."""

from __future__ import annotations

from pathlib import Path

import click

from pynomaly.presentation.cli.options import Command, out_option, overwrite_option
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command(
    "detect",
    cls=Command,
    example=(
        "pynomaly detect payments.csv\n"
        "pynomaly detect payments.csv --id txn_id --time ts --out scored.parquet "
        "--report report.html\n"
        "pynomaly detect payments.csv --label is_fraud --budget thorough"
    ),
)
@click.argument("data", metavar="FILE")
@click.option("--query", metavar="SQL", help="Table or SELECT statement, for a database.")
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Identifies a row; repeatable.")
@click.option("--time", metavar="COLUMN", help="When it happened.")
@click.option("--label", metavar="COLUMN", help="1 = anomaly, 0 = normal, empty = unknown.")
@click.option(
    "--budget",
    type=click.Choice(["quick", "default", "thorough"]),
    default="default",
    show_default=True,
    help="How much time the model is worth: seconds, up to a minute, minutes.",
)
@click.option(
    "--alert-budget",
    type=float,
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Share of ordinary rows that may be flagged.",
)
@click.option(
    "--detector",
    metavar="NAME",
    help="One of `pynomaly detectors list`; by default the ensemble, tuned by the budget.",
)
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
              help="Strangest rows to print.")  # fmt: skip
@out_option("Every scored row: a file or s3:// URL ending in .parquet, .csv or .jsonl.")
@click.option("--quarantine", metavar="FILE", help="Rows that cannot be read, with reasons.")
@click.option("--report", metavar="FILE", help="An HTML page that opens offline.")
@overwrite_option
@click.pass_obj
def command(
    session: Session,
    data: str,
    query: str | None,
    ids: tuple[str, ...],
    time: str | None,
    label: str | None,
    budget: str,
    alert_budget: float,
    detector: str | None,
    top: int,
    out: str | None,
    quarantine: str | None,
    report: str | None,
    overwrite: bool,
) -> None:
    """Find anomalies in FILE: no configuration, nothing left behind.

    FILE is a file, folder, glob, s3:// or database URL.  Says what it does with every column, why
    each row on top is strange, and how far to trust the result.
    """
    from pynomaly.adapters import anomaly_detection, data_sources, page_reports
    from pynomaly.application.destinations import refuse_shared_places
    from pynomaly.application.detect import Question
    from pynomaly.domain.errors import OutputExistsError
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.presentation.cli.render.detection import (
        detection_document,
        detection_lines,
        labelled_command,
    )
    from pynomaly.settings import mask, resolve_uri, write_text

    here = Path.cwd()
    uri = resolve_uri(data, here)
    scored, refused = (resolve_uri(place, here) if place else None for place in (out, quarantine))
    page = here / Path(report).expanduser() if report else None
    refuse_shared_places(
        uri, {"--out": scored, "--quarantine": refused, "--report": str(page) if page else None}
    )
    if page is not None and page.exists() and not overwrite:
        raise OutputExistsError(
            f"{page} exists and was left as it is", hint="replace it with --overwrite"
        )
    question = Question(
        mask(data),
        id_columns=tuple(dict.fromkeys(ids)),
        time_column=time,
        label_column=label,
        budget=budget,
        alert_budget=alert_budget,
        detector=detector,
        top=top,
    )
    detection = anomaly_detection()(
        data_sources().open(SourceSpec.named(uri, query)),
        question,
        out=scored,
        quarantine=refused,
        overwrite=overwrite,
        on_stage=lambda stage: click.echo(f"{stage} …", err=True),
    )
    files = {"scored": out, "quarantine": quarantine, "report": report}
    again = labelled_command(question, detection, query)
    if page is not None:
        write_text(page, page_reports().detection_html(detection, again), overwrite=overwrite)
    session.present(
        detection_document(detection, files, again), detection_lines(detection, files, again)
    )
