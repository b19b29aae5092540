"""Streams bytes into an object that is there complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError
from pynomaly.infrastructure.s3.client import Encryption, connect, explain, split_uri

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Target", "Upload", "refusals", "uploading"]

_PART = 8 * 2**20
_DOUBLE_EVERY = 1_000
"""Parts after which their size doubles: S3 takes 10,000 parts and 5 TiB."""


@dataclass(frozen=True, slots=True)
class S3Target:
    """Outputs on S3: called to open one for writing.

    Args:
        encryption: Of the objects, at rest.
    """

    encryption: Encryption = field(default_factory=Encryption)

    @contextmanager
    def __call__(self, uri: str, *, overwrite: bool) -> Iterator[BinaryIO]:
        """Give a handle whose bytes become the object when the block exits cleanly.

        Without ``overwrite`` the object is looked for before the block and again when it ends, and
        the object is put conditionally (``If-None-Match: *``) where the server supports that.
        A block that writes nothing at all puts nothing.

        Args:
            uri: ``s3://bucket/key``.
            overwrite: Whether an existing object may be replaced.

        Raises:
            OutputExistsError: The object exists, or appeared meanwhile, and ``overwrite`` is false.
            OutputNotWritableError: The bucket is missing or refuses us.
        """
        bucket, key = split_uri(uri)
        if not key or key.endswith("/"):
            raise OutputNotWritableError(f"{uri} names no object", hint="write s3://bucket/key")
        client = connect()
        with refusals(uri):
            client.head_bucket(Bucket=bucket)
            if not overwrite:
                _refuse_existing(client, bucket, key)
        upload = Upload(client, bucket, key, overwrite=overwrite, encryption=self.encryption)
        with uploading(upload) as handle:
            yield handle

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of the object at ``uri``, or None if there is none.

        Raises:
            OutputNotWritableError: It may not be read, so nobody can say whose it is.
        """
        from botocore.exceptions import ClientError

        bucket, key = split_uri(uri)
        digest = hashlib.sha256()
        with refusals(uri):
            try:
                body = connect().get_object(Bucket=bucket, Key=key)["Body"]
            except ClientError as error:
                if _status(error) == 404:
                    return None
                raise
            for block in body.iter_chunks(2**20):
                digest.update(block)
        return digest.hexdigest()


class Upload(io.RawIOBase):
    """Bytes on their way into one object, at most one part of 8 MiB of them in memory.

    What fits into one part is put at once, anything larger goes up in parts while it is written.

    Args:
        client: How to reach S3.
        bucket: Where it goes.
        key: Its whole key.
        overwrite: Whether an object that exists may be replaced.
        encryption: At rest.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        *,
        overwrite: bool,
        encryption: Encryption | None = None,
    ) -> None:
        self._client = client
        # boto3's requests are typed one by one; these are parts of several.
        self._object: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._created: dict[str, Any] = dict(encryption.parameters if encryption else {})
        self._condition: dict[str, Any] = {} if overwrite else {"IfNoneMatch": "*"}
        self._uri = f"s3://{bucket}/{key}"
        self._waiting = bytearray()
        self._written = 0
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def write(self, data: Any) -> int:
        """Take bytes, and send every part that is full.

        Raises:
            OutputNotWritableError: S3 refuses it, or does not recover.
        """
        rest = memoryview(data).cast("B")
        taken = len(rest)
        self._written += taken
        while len(rest):
            room = _PART * 2 ** (len(self._parts) // _DOUBLE_EVERY) - len(self._waiting)
            self._waiting += rest[:room]
            rest = rest[room:]
            if len(rest):
                self._send()
        return taken

    def complete(self) -> None:
        """Make what was written the object, if anything was.

        Raises:
            OutputExistsError: There is one already that may not be replaced.
            OutputNotWritableError: S3 refuses it, or does not recover.
        """
        if not self._written:
            return
        if self._condition:
            with refusals(self._uri):
                _refuse_existing(self._client, self._object["Bucket"], self._object["Key"])
        if self._id is None:
            with refusals(self._uri):
                self._client.put_object(
                    **self._object, **self._created, **self._condition, Body=bytes(self._waiting)
                )
            return
        self._send()
        with refusals(self._uri):
            try:
                self._client.complete_multipart_upload(
                    **self._object,
                    **self._condition,
                    UploadId=self._id,
                    MultipartUpload=cast("Any", {"Parts": self._parts}),
                )
            except self._client.exceptions.NoSuchUpload:
                # An earlier try succeeded and only its answer was lost.
                if self._client.head_object(**self._object)["ContentLength"] != self._written:
                    raise

    def abort(self) -> None:
        """Discard the parts: those of an upload nobody finishes are stored, and paid for, forever.

        Where S3 does not answer they stay, to be found among its unfinished uploads.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if self._id is not None:
            with contextlib.suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**self._object, UploadId=self._id)

    def _send(self) -> None:
        with refusals(self._uri):
            if self._id is None:
                answer = self._client.create_multipart_upload(**self._object, **self._created)
                self._id = answer["UploadId"]
            number = len(self._parts) + 1
            etag = self._client.upload_part(
                **self._object, UploadId=self._id, PartNumber=number, Body=bytes(self._waiting)
            )["ETag"]
        self._parts.append({"PartNumber": number, "ETag": etag})
        self._waiting.clear()


@contextmanager
def uploading(upload: Upload) -> Iterator[BinaryIO]:
    """Complete an upload when the block exits cleanly, else abort it."""
    try:
        yield cast("BinaryIO", upload)
        upload.complete()
    except BaseException:
        upload.abort()
        raise


@contextmanager
def refusals(uri: str, verb: str = "write") -> Iterator[None]:
    """Turn what S3 answers into errors people can act on.

    Args:
        uri: What was asked for.
        verb: What was to be done with it.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and _status(error) in (409, 412):
            raise _exists(uri) from error
        reason, hint = explain(error)
        raise OutputNotWritableError(f"cannot {verb} {uri}: {reason}", hint=hint) from error


def _refuse_existing(client: S3Client, bucket: str, key: str) -> None:
    from botocore.exceptions import ClientError

    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _status(error) == 404:
            return
        raise
    raise _exists(f"s3://{bucket}/{key}")


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _exists(uri: str) -> OutputExistsError:
    return OutputExistsError(
        f"{uri} exists already; it was left as it is",
        hint="choose another name, or allow replacing it with --overwrite",
    )
