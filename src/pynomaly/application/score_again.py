"""The command that scores what a job scored once more."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["score_again"]


def score_again(pipeline: str, source_uri: str, place: str, own: Path) -> str:
    """Return the command that repeats a job.

    Args:
        pipeline: Whose.
        source_uri: What it scored; of a database, whose address is kept without password, the
            pipeline's own.
        place: Where its rows went.
        own: Folder for outputs nobody gave a place.

    >>> score_again("payments", "/lake/new rows.csv", "s3://lake/scores", Path("/home/scores"))
    "pynomaly score payments --data '/lake/new rows.csv' --out s3://lake/scores"
    >>> score_again("payments", "postgresql://db/shop#t", "/home/scores/payments", Path("/home/scores"))
    'pynomaly score payments'
    """
    command = ["pynomaly", "score", pipeline]
    if "://" not in source_uri or source_uri.startswith("s3://"):
        command += ["--data", source_uri]
    if place != str((own / pipeline).resolve()):
        command += ["--out", place]
    return shlex.join(command)
