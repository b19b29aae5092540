"""Puts an object so that it is there complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError
from pynomaly.infrastructure.s3.client import connect, explain, split_uri

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Target", "open_s3_target"]

_PART = 32 * 2**20


class S3Target:
    """Outputs on S3: called to open one for writing."""

    @contextmanager
    def __call__(self, uri: str, *, overwrite: bool) -> Iterator[BinaryIO]:
        """Give a local file to write to; it is uploaded when the block exits cleanly.

        Without ``overwrite`` the object is looked for before the block and again before the upload,
        and the upload itself is conditional (``If-None-Match: *``) where the server supports that.
        A block that writes nothing at all uploads nothing.

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
        with _refusals(uri):
            client.head_bucket(Bucket=bucket)
            if not overwrite:
                _refuse_existing(client, bucket, key)
        with tempfile.TemporaryFile(prefix="pynomaly-") as handle:
            yield cast("BinaryIO", handle)
            size = handle.tell()
            if not size:
                return
            handle.seek(0)
            condition = {} if overwrite else {"IfNoneMatch": "*"}
            with _refusals(uri):
                if not overwrite:
                    _refuse_existing(client, bucket, key)
                if size <= _PART:
                    client.put_object(Bucket=bucket, Key=key, Body=handle, **cast("Any", condition))
                else:
                    _multipart(client, bucket, key, cast("BinaryIO", handle), condition)

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of the object at ``uri``, or None if there is none.

        Raises:
            OutputNotWritableError: It may not be read, so nobody can say whose it is.
        """
        from botocore.exceptions import ClientError

        bucket, key = split_uri(uri)
        digest = hashlib.sha256()
        with _refusals(uri):
            try:
                body = connect().get_object(Bucket=bucket, Key=key)["Body"]
            except ClientError as error:
                if _status(error) == 404:
                    return None
                raise
            for block in body.iter_chunks(2**20):
                digest.update(block)
        return digest.hexdigest()


open_s3_target = S3Target()


def _multipart(
    client: S3Client, bucket: str, key: str, handle: BinaryIO, condition: dict[str, str]
) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        parts: list[dict[str, Any]] = []
        while block := handle.read(_PART):
            number = len(parts) + 1
            answer = client.upload_part(
                Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=block
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload=cast("Any", {"Parts": parts}),
            **cast("Any", condition),
        )
    except BaseException:
        # Parts of an upload nobody finishes are stored, and paid for, forever.
        with contextlib.suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
        raise


def _refuse_existing(client: S3Client, bucket: str, key: str) -> None:
    from botocore.exceptions import ClientError

    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if _status(error) == 404:
            return
        raise
    raise _exists(f"s3://{bucket}/{key}")


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and _status(error) in (409, 412):
            raise _exists(uri) from error
        reason, hint = explain(error)
        raise OutputNotWritableError(f"cannot write {uri}: {reason}", hint=hint) from error


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _exists(uri: str) -> OutputExistsError:
    return OutputExistsError(
        f"{uri} exists already; it was left as it is",
        hint="choose another name, or allow replacing it with --overwrite",
    )
