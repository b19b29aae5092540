"""S3 sources and outputs against real servers: refusals, faults, conditions, large objects."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ReadTimeoutError

from pynomaly.domain.errors import (
    ConfigurationError,
    OutputExistsError,
    OutputNotWritableError,
    SourceChangedError,
    SourceNotFoundError,
)
from pynomaly.infrastructure.s3 import files, targets
from pynomaly.infrastructure.s3.client import connect
from pynomaly.infrastructure.s3.files import find_s3_objects
from pynomaly.infrastructure.s3.targets import S3Target

pytestmark = [pytest.mark.integration, pytest.mark.s3]


def put(bucket, key, data):
    connect().put_object(Bucket=bucket, Key=key, Body=data)


def get(bucket, key):
    return connect().get_object(Bucket=bucket, Key=key)["Body"].read()


def test_a_missing_bucket_is_named(any_bucket):
    with pytest.raises(SourceNotFoundError, match=r"s3://no-such-bucket-xyz/a\.csv") as caught:
        find_s3_objects("s3://no-such-bucket-xyz/a.csv")
    assert "bucket" in str(caught.value)


def test_access_denied_is_said_without_a_credential(s3_bucket, monkeypatch):
    put(s3_bucket, "a.csv", b"a\n1\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-secret")
    with pytest.raises(SourceNotFoundError, match="access denied") as caught:
        find_s3_objects(f"s3://{s3_bucket}/a.csv")
    assert "not-the-right-secret" not in str(caught.value)
    assert os.environ["AWS_ACCESS_KEY_ID"] not in str(caught.value)
    with (
        pytest.raises(OutputNotWritableError, match="access denied"),
        S3Target()(f"s3://{s3_bucket}/b.csv", overwrite=True),
    ):
        pytest.fail("the secret is wrong")


def test_no_credentials_are_explained(s3_bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceNotFoundError, match="no AWS credentials found"):
        find_s3_objects(f"s3://{s3_bucket}/a.csv")


def test_an_endpoint_that_does_not_answer_is_explained(s3_endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(SourceNotFoundError, match="endpoint does not answer") as caught:
        find_s3_objects("s3://bucket/a.csv")
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_a_url_without_bucket_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="names no bucket"):
        find_s3_objects("s3:///a.csv")


def test_more_objects_than_one_page_are_found_in_order(any_bucket):
    for number in range(7):
        put(any_bucket, f"many/{number}.csv", b"a\n1\n")
    pages = []

    def two_a_page(params, **other):
        pages.append(1)
        params["MaxKeys"] = 2

    events = connect().meta.events
    events.register("provide-client-params.s3.ListObjectsV2", two_a_page)
    try:
        found = find_s3_objects(f"s3://{any_bucket}/many")
    finally:
        events.unregister("provide-client-params.s3.ListObjectsV2", two_a_page)
    assert [item.name for item in found] == [f"{number}.csv" for number in range(7)]
    assert len(pages) == 4


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(any_bucket):
    put(any_bucket, "data/a.csv", b"a\n1\n")
    put(any_bucket, "data-old/b.csv", b"a\n1\n")
    assert [item.name for item in find_s3_objects(f"s3://{any_bucket}/data")] == ["a.csv"]
    assert [item.name for item in find_s3_objects(f"s3://{any_bucket}")] == [
        "data-old/b.csv",
        "data/a.csv",
    ]


def test_a_large_object_is_read_in_ranges_and_can_be_sought(any_bucket, monkeypatch):
    monkeypatch.setattr(files, "_RANGE", 100_000)
    data = os.urandom(1_000_001)
    put(any_bucket, "big.bin", data)
    (item,) = find_s3_objects(f"s3://{any_bucket}/big.bin")
    with item.open() as handle:
        assert handle.read() == data
        handle.seek(-5, io.SEEK_END)
        assert handle.read() == data[-5:]
        handle.seek(123_456)
        assert handle.read(10) == data[123_456:123_466]


def test_a_body_that_breaks_off_is_fetched_again(moto_bucket, monkeypatch):
    put(moto_bucket, "a.bin", b"x" * 1000)
    (item,) = find_s3_objects(f"s3://{moto_bucket}/a.bin")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    failures = []

    def break_off(**parameters):
        if len(failures) < 2:
            failures.append(1)
            raise ReadTimeoutError(endpoint_url="http://x")

    event = "before-send.s3.GetObject"
    # The client's own retries are spent first, so that the error reaches our loop.
    monkeypatch.setattr(item.client.meta.config, "retries", {"max_attempts": 0})
    item.client.meta.events.register(event, break_off)
    try:
        with item.open() as handle:
            assert handle.read() == b"x" * 1000
    finally:
        item.client.meta.events.unregister(event, break_off)
    assert len(failures) == 2


def test_an_object_replaced_while_it_is_read_is_refused(moto_bucket):
    put(moto_bucket, "a.csv", b"a\n1\n")
    (item,) = find_s3_objects(f"s3://{moto_bucket}/a.csv")
    put(moto_bucket, "a.csv", b"a\n2\n")
    with item.open() as handle, pytest.raises(SourceChangedError, match="was replaced"):
        handle.read()


def test_an_object_deleted_after_listing_is_not_found(any_bucket):
    put(any_bucket, "a.csv", b"a\n1\n")
    (item,) = find_s3_objects(f"s3://{any_bucket}/a.csv")
    connect().delete_object(Bucket=any_bucket, Key="a.csv")
    with item.open() as handle, pytest.raises(SourceNotFoundError, match=r"a\.csv"):
        handle.read()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_large_output_is_uploaded_in_parts(any_bucket, monkeypatch, overwrite):
    monkeypatch.setattr(targets, "_PART", 5 * 2**20)
    data = os.urandom(12 * 2**20)
    with S3Target()(f"s3://{any_bucket}/big.parquet", overwrite=overwrite) as handle:
        handle.write(data)
    assert get(any_bucket, "big.parquet") == data


def test_an_upload_that_stops_half_way_leaves_no_parts(moto_bucket, monkeypatch):
    monkeypatch.setattr(targets, "_PART", 5 * 2**20)
    client = connect()

    def interrupt(**parameters):
        if "partNumber=2" in parameters["request"].url:
            raise KeyboardInterrupt

    client.meta.events.register("before-send.s3.UploadPart", interrupt)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            S3Target()(f"s3://{moto_bucket}/big.parquet", overwrite=False) as handle,
        ):
            handle.write(os.urandom(12 * 2**20))
    finally:
        client.meta.events.unregister("before-send.s3.UploadPart", interrupt)
    assert client.list_multipart_uploads(Bucket=moto_bucket).get("Uploads", []) == []
    assert client.list_objects_v2(Bucket=moto_bucket)["KeyCount"] == 0


@pytest.mark.parametrize("part", [2**20, 64 * 2**20])
def test_the_server_itself_refuses_what_appeared_after_our_last_look(
    moto_bucket, monkeypatch, part
):
    monkeypatch.setattr(targets, "_PART", part)
    monkeypatch.setattr(targets, "_refuse_existing", lambda *arguments: None)
    put(moto_bucket, "o.csv", b"theirs")
    with (
        pytest.raises(OutputExistsError),
        S3Target()(f"s3://{moto_bucket}/o.csv", overwrite=False) as handle,
    ):
        handle.write(b"ours" * 2**19)
    assert get(moto_bucket, "o.csv") == b"theirs"


def test_parquet_on_s3_is_readable_by_others(s3_bucket):
    with S3Target()(f"s3://{s3_bucket}/o.parquet", overwrite=False) as handle:
        pq.write_table(pa.table({"a": [1, 2]}), handle)
    assert pq.read_table(io.BytesIO(get(s3_bucket, "o.parquet"))).to_pydict() == {"a": [1, 2]}
