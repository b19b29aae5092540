"""``pynomaly score``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import (
    Command,
    data_option,
    engine_option,
    out_option,
    overwrite_option,
    pipeline_argument,
)
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from pynomaly_flows.launch import EngineChoice

__all__ = ["command"]


@click.command(
    "score",
    cls=Command,
    example="pynomaly score payments --data new.parquet --out scored.parquet\n"
    "pynomaly score payments --data s3://lake/payments/ --out s3://lake/scores/ --incremental",
)
@pipeline_argument
@data_option
@out_option(
    "Folder, s3:// prefix or database table (URL#table) that receives the scored parts, or one "
    "file ending in .parquet, .csv or .jsonl; by default in PYNOMALY_HOME."
)
@overwrite_option
@click.option(
    "--keep", metavar="COL", multiple=True, help="Pass a source column through; repeatable."
)
@click.option(
    "--partition-by", metavar="COL", help="Divide the output among folders by a column's values."
)
@click.option(
    "--incremental",
    is_flag=True,
    help="Only what is new since the last job: unseen files, or rows above the watermark.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Partitions in progress at once."
)
@click.option("--batch-rows", type=click.IntRange(1), metavar="N", help="Rows in memory at once.")
@click.option(
    "--memory", type=click.IntRange(1), metavar="MIB", help="Make batches fit into so many MiB."
)
@click.option(
    "--engine-compute",
    "compute",
    type=click.Choice(["threads", "dask"]),
    help="Score in threads of this process or on a Dask cluster; by default as configured.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of the Dask cluster, e.g. tcp://host:8786; by default one is started on this machine.",
)
@engine_option
@click.pass_obj
def command(
    session: Session,
    pipeline: str,
    data: str | None,
    out: str | None,
    overwrite: bool,
    keep: tuple[str, ...],
    partition_by: str | None,
    incremental: bool,
    workers: int | None,
    batch_rows: int | None,
    memory: int | None,
    compute: str | None,
    scheduler: str | None,
    engine: EngineChoice,
) -> None:
    """Score rows with the model that serves, each exactly once."""
    from pynomaly.domain.errors import UsageError
    from pynomaly.presentation.cli.render.runs import run_lines

    session.scoring_with(
        workers=workers,
        batch_rows=batch_rows,
        memory_mib=memory,
        compute=compute,
        scheduler=scheduler,
    )
    if scheduler is not None and session.settings.scoring.compute != "dask":
        raise UsageError(
            f"a scheduler ({scheduler}) is of use on Dask only",
            hint="add --engine-compute dask, or leave out --scheduler",
        )
    document = session.launch(
        "score",
        pipeline,
        engine,
        data=data,
        out=out,
        overwrite=overwrite,
        keep=list(keep),
        partition_by=partition_by,
        incremental=incremental,
    )
    session.present(document, run_lines(document))
