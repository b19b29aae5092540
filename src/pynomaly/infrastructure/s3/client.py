"""The boto3 client, addresses, and what S3's refusals mean."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynomaly.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from mypy_boto3_s3 import S3Client

__all__ = ["Encryption", "connect", "explain", "split_uri"]

_ATTEMPTS = 6
_CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Encryption:
    """Server-side encryption of objects we write.

    Args:
        method: ``AES256`` or ``aws:kms``; None leaves it to the bucket.
        kms_key: Key id for ``aws:kms``; None for the account's own.

    Raises:
        ConfigurationError: A key without ``aws:kms``.
    """

    method: str | None = None
    kms_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse a key that would not be used."""
        if self.kms_key is not None and self.method != "aws:kms":
            raise ConfigurationError(
                "a KMS key is set, but S3 is not asked to encrypt with KMS",
                hint="set s3.sse to aws:kms, or leave out s3.kms_key",
            )

    @property
    def parameters(self) -> dict[str, str]:
        """What requests that create an object say about it."""
        named = {"ServerSideEncryption": self.method, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in named.items() if value is not None}


def connect(connections: int = _CONNECTIONS, attempts: int = _ATTEMPTS) -> S3Client:
    """Return a client for the standard AWS settings, ``AWS_ENDPOINT_URL`` among them.

    It repeats what is worth repeating (connections that break, throttling, 5xx) up to five times,
    after a random share of a delay that doubles.

    Args:
        connections: Kept open at most; one for every thread that uses the client at once.
        attempts: The first one included.
    """
    # Part of the key so that changed settings (tests, notebooks) are not served a stale client.
    environment = sorted(item for item in os.environ.items() if item[0][:4] == "AWS_")
    return _client(tuple(environment), max(connections, _CONNECTIONS), attempts)


@functools.lru_cache(maxsize=4)
def _client(environment: tuple[tuple[str, str], ...], connections: int, attempts: int) -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
        connect_timeout=10,
        # We read ranges, which a checksum of the whole object cannot confirm; some servers
        # (rclone) send it all the same.
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    session = boto3.session.Session()
    # Only S3-compatible servers get along without a region; AWS redirects from this one.
    region = region or session.region_name or "us-east-1"
    return session.client("s3", region_name=region, config=config)


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URL.

    >>> split_uri("s3://lake/payments/2026.csv")
    ('lake', 'payments/2026.csv')
    """
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket:
        raise ConfigurationError(f"{uri} names no bucket", hint="write s3://bucket/key")
    return bucket, key


def explain(error: ClientError | BotoCoreError) -> tuple[str, str | None]:
    """Return what happened and how to fix it; never holds a credential."""
    from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return "no AWS credentials found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, EndpointConnectionError):
        return "the S3 endpoint does not answer", "check AWS_ENDPOINT_URL and the network"
    if not isinstance(error, ClientError):
        return f"S3 failed ({type(error).__name__})", "check the AWS settings and the network"
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return "the bucket does not exist", "check its name, AWS_REGION and AWS_ENDPOINT_URL"
    if status == 403 or code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return "access denied", "check the AWS credentials in use and the bucket's policy"
    if status == 404:
        return "it does not exist", "check bucket and key, AWS_REGION and AWS_ENDPOINT_URL"
    if status >= 500 or code in ("SlowDown", "RequestTimeout"):
        return f"S3 kept answering {status} {code}".rstrip(), "try again when it has recovered"
    return f"S3 answered {code or status}", None
