"""A look at the buckets that pipelines read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pynomaly.domain.diagnosis import Check
from pynomaly.infrastructure.s3.client import connect, explain, split_uri

__all__ = ["inspect_buckets"]


def inspect_buckets(uris: Iterable[str]) -> Iterator[Check]:
    """Ask for every bucket once, without retries.

    Args:
        uris: ``s3://bucket/…``

    Raises:
        ConfigurationError: One names no bucket.
    """
    for bucket in sorted({split_uri(uri)[0] for uri in uris}):
        yield _bucket(bucket)


def _bucket(bucket: str) -> Check:
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"s3 {bucket}"
    try:
        connect(attempts=1).head_bucket(Bucket=bucket)
    except (ClientError, BotoCoreError) as error:
        seen, fix = explain(error)
        return Check(name, "problem", seen, fix)
    return Check(name, "ok", "the bucket answers")
