"""Scored parts as objects under an ``s3://`` prefix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from pynomaly.application.ports.partitions import StoredPart
from pynomaly.infrastructure.s3.client import Encryption, connect, split_uri
from pynomaly.infrastructure.s3.files import S3Object
from pynomaly.infrastructure.s3.targets import Upload, refusals, uploading

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["PrefixParts"]

_UPLOAD = "#upload="


@dataclass(frozen=True, slots=True)
class PrefixParts:
    """Implements ``PartFiles`` on S3.

    Args:
        connections: Kept open at most: one for every worker.
        encryption: Of the objects, at rest.
    """

    connections: int = 10
    encryption: Encryption = field(default_factory=Encryption)

    @property
    def most_open(self) -> int:
        """Each may hold 8 MiB in memory."""
        return 16

    def resolve(self, target: str) -> str:
        """Return ``s3://bucket/prefix`` without a slash at its end."""
        bucket, prefix = split_uri(target)
        return f"s3://{bucket}/{prefix}".rstrip("/")

    def occupied(self, target: str) -> bool:
        """Whether there is an object under the prefix that is not hidden."""
        root = f"{target}/"
        return any(
            not name.startswith((".", "_"))
            for found in self._objects(target)
            for name in [found.uri.removeprefix(root).rpartition("/")[2]]
        )

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Open a new object; it exists once the block has exited cleanly."""
        bucket, key = split_uri(uri)
        return uploading(
            Upload(self._client(), bucket, key, overwrite=True, encryption=self.encryption)
        )

    def open(self, uri: str) -> BinaryIO:
        """Open for reading, seekable; what is replaced meanwhile fails.

        Raises:
            FileNotFoundError: No such object.
        """
        from botocore.exceptions import ClientError

        bucket, key = split_uri(uri)
        client = self._client()
        with refusals(uri, "read"):
            try:
                head = client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    raise FileNotFoundError(uri) from error
                raise
        return S3Object(key, bucket, key, head["ContentLength"], head["ETag"], client).open()

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find every object under the prefix, then the uploads that nobody has finished."""
        yield from self._objects(target)
        bucket, prefix = _folder(target)
        client = self._client()
        with refusals(target, "list"):
            try:
                pages = client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=bucket, Prefix=prefix
                )
                uploads = [upload for page in pages for upload in page.get("Uploads", [])]
            except client.exceptions.NoSuchUpload:
                uploads = []  # what rclone says of none
        for upload in uploads:
            if not upload["Key"].startswith(prefix):
                continue  # some servers ignore the prefix
            with refusals(target, "list"):
                parts = client.get_paginator("list_parts").paginate(
                    Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
                size = sum(part["Size"] for page in parts for part in page.get("Parts", []))
            uri = f"s3://{bucket}/{upload['Key']}{_UPLOAD}{upload['UploadId']}"
            yield StoredPart(uri, size, upload["Initiated"])

    def remove(self, uri: str) -> None:
        """Delete an object, or abort an upload; one that is gone already is fine."""
        from botocore.exceptions import ClientError

        address, _, upload = uri.partition(_UPLOAD)
        bucket, key = split_uri(address)
        client = self._client()
        with refusals(uri, "remove"):
            if not upload:
                client.delete_object(Bucket=bucket, Key=key)
                return
            try:
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise

    def _objects(self, target: str) -> Iterator[StoredPart]:
        bucket, prefix = _folder(target)
        pages = iter(
            self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        while True:
            with refusals(target, "list"):
                page = next(pages, None)
            if page is None:
                return
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/"):  # marks a folder
                    uri = f"s3://{bucket}/{entry['Key']}"
                    yield StoredPart(uri, entry["Size"], entry["LastModified"])

    def _client(self) -> S3Client:
        return connect(self.connections)


def _folder(target: str) -> tuple[str, str]:
    bucket, prefix = split_uri(target)
    return bucket, f"{prefix}/" if prefix else ""
