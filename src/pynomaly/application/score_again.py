"""The command that scores what a job scored once more."""

from __future__ import annotations

import shlex
from pathlib import Path

from pynomaly.domain.ledger import ScoreJob

__all__ = ["score_again"]


def score_again(job: ScoreJob, place: str, own: Path) -> str:
    """Return the command that repeats a job.

    Args:
        job: What it scored and how; a database, whose address is kept without password, is the
            pipeline's own.
        place: Where its rows went.
        own: Folder for outputs nobody gave a place.
    """
    command = ["pynomaly", "score", job.pipeline]
    if "://" not in job.source_uri or job.source_uri.startswith("s3://"):
        command += ["--data", job.source_uri]
    if place != str((own / job.pipeline).resolve()):
        command += ["--out", place]
    for column in job.keep or ():
        command += ["--keep", column]
    if job.partition_by is not None:
        command += ["--partition-by", job.partition_by]
    unknown = "" if job.keep is not None else "  # with the --keep and --partition-by it had"
    return shlex.join(command) + unknown
