"""Finds the objects behind an ``s3://`` URL and reads them in ranges."""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pynomaly.domain.errors import SourceChangedError, SourceNotFoundError
from pynomaly.infrastructure.s3.client import connect, explain, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Object", "find_s3_objects", "s3_object"]

_RANGE = 8 * 2**20
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class S3Object:
    """One version of an object.

    Args:
        name: Key relative to the prefix of the source.
        bucket: Where it is.
        key: Its whole key.
        size: In bytes.
        etag: Of the version that was listed; reading any other fails.
        client: How to reach it.
    """

    name: str
    bucket: str
    key: str
    size: int
    etag: str
    client: S3Client = field(repr=False, compare=False)

    @property
    def uri(self) -> str:
        """The object's URL, for messages."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def version(self) -> str:
        """Its ETag."""
        return self.etag

    def open(self, wanted: Sequence[tuple[int, int]] = ()) -> BinaryIO:
        """Open for reading, seekable; nothing is requested before the first read.

        Args:
            wanted: Byte ranges ``(start, stop)``, ascending and apart, beyond which nothing is
                read ahead.
        """
        return cast("BinaryIO", io.BufferedReader(_Ranges(self, wanted), buffer_size=_RANGE))


def find_s3_objects(uri: str, *, connections: int = 1) -> tuple[S3Object, ...]:
    """Return every object behind ``uri``, sorted by name.

    A key that exists is taken alone; otherwise the key is a folder, searched recursively, or a
    glob (``*`` within a folder, ``**`` across folders).  Names that start with ``.`` or ``_`` are
    skipped as in local folders.

    Args:
        uri: ``s3://bucket/key``, ``s3://bucket/prefix`` or a glob.
        connections: Threads that read them at once.

    Raises:
        SourceNotFoundError: Missing bucket, no such objects, access denied, or no endpoint.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = split_uri(uri)
    magic = re.search(r"[*?]", key)
    prefix = key[: magic.start()] if magic else key
    client = connect(connections)
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        listed = [entry for page in pages for entry in page.get("Contents", [])]
    except (ClientError, BotoCoreError) as error:
        reason, hint = explain(error)
        raise SourceNotFoundError(f"cannot read {uri}: {reason}", hint=hint) from error

    root = prefix.rpartition("/")[0] + "/" if "/" in prefix else ""
    if magic:
        pattern = re.compile(_regex(key))
        listed = [entry for entry in listed if pattern.fullmatch(entry["Key"])]
    elif any(entry["Key"] == key for entry in listed) and not key.endswith("/"):
        listed = [entry for entry in listed if entry["Key"] == key]
    else:
        root = key if key.endswith("/") or not key else f"{key}/"
        listed = [entry for entry in listed if entry["Key"].startswith(root)]
    found = [
        S3Object(
            entry["Key"].removeprefix(root),
            bucket,
            entry["Key"],
            entry["Size"],
            entry["ETag"],
            client,
        )
        for entry in listed
        if not entry["Key"].endswith("/") and not _hidden(entry["Key"].removeprefix(root))
    ]
    if not found:
        raise SourceNotFoundError(
            f"{uri} holds no objects", hint="check the prefix; `*` stays within a folder"
        )
    return tuple(sorted(found, key=lambda item: item.name))


def s3_object(name: str, uri: str, size: int, etag: str, *, connections: int = 1) -> S3Object:
    """Return a version of an object that was listed before, without asking for it.

    Args:
        name: Key relative to the prefix of the source.
        uri: ``s3://bucket/key``.
        size: In bytes, as listed.
        etag: As listed.
        connections: Threads that read at once.
    """
    bucket, key = split_uri(uri)
    return S3Object(name, bucket, key, size, etag, connect(connections))


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _regex(pattern: str) -> str:
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return "".join(meaning.get(part) or re.escape(part) for part in parts)


class _Ranges(io.RawIOBase):
    """Reads one version of an object by ranged requests, each repeated when cut short."""

    def __init__(self, item: S3Object, wanted: Sequence[tuple[int, int]]) -> None:
        self._item = item
        self._wanted = wanted
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._item.size}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = self._item.size
        for first, last in self._wanted:
            if first <= self._position < last:
                stop = min(last, stop)
        length = min(len(buffer), stop - self._position)
        if length <= 0:
            return 0
        data = self._fetch(self._position, length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self, start: int, length: int) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        item = self._item
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = item.client.get_object(
                    Bucket=item.bucket,
                    Key=item.key,
                    Range=f"bytes={start}-{start + length - 1}",
                    IfMatch=item.etag,
                )
                # Some servers (rclone) do not know the condition, but all say what they send.
                if answer["ETag"].strip('"') != item.etag.strip('"'):
                    raise _replaced(item)
                return answer["Body"].read()
            except ClientError as error:
                # The client has repeated what is worth repeating (throttling, 5xx) already.
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
                    raise _replaced(item) from error
                reason, hint = explain(error)
                raise SourceNotFoundError(f"cannot read {item.uri}: {reason}", hint=hint) from error
            except BotoCoreError as error:
                # A body that breaks off is not repeated by the client.
                if attempt == _ATTEMPTS:
                    reason, hint = explain(error)
                    raise SourceNotFoundError(
                        f"cannot read {item.uri}: {reason}", hint=hint
                    ) from error
                time.sleep(random.uniform(0.0, 0.4 * 2**attempt))
        raise AssertionError("unreachable")


def _replaced(item: S3Object) -> SourceChangedError:
    return SourceChangedError(
        f"{item.uri} was replaced while it was read",
        hint="run again when its writer has finished",
    )
