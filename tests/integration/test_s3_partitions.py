"""What is requested of S3 to read a partition: its own bytes, of one version, and little else."""

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ReadTimeoutError

from pynomaly.adapters import partition_reader
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.s3.client import connect

pytestmark = [pytest.mark.integration, pytest.mark.s3]

READER = partition_reader()
FOOTER = 2**16
"""Bytes pyarrow asks for to find a footer."""


@pytest.fixture
def planned(moto_bucket):
    """Four row groups of 1.6 MB in two columns: where they are, and their partitions."""
    columns = {name: np.random.default_rng(i).normal(size=400_000) for i, name in enumerate("ab")}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=100_000, use_dictionary=False)
    connect().put_object(Bucket=moto_bucket, Key="t.parquet", Body=sink.getvalue())
    spec = SourceSpec(f"s3://{moto_bucket}/t.parquet")
    partitions = READER.plan(spec, partition_rows=100_000).partitions
    assert len(partitions) == 4
    return spec, partitions, columns


@pytest.fixture
def requests(planned):
    """Every GET as ``(first byte, last byte, If-Match)``."""
    seen = []

    def note(request, **parameters):
        first, last = re.fullmatch(rb"bytes=(\d+)-(\d+)", _bytes(request.headers["Range"])).groups()
        seen.append((int(first), int(last), _bytes(request.headers["If-Match"])))

    events = connect().meta.events
    events.register("before-send.s3.GetObject", note)
    yield seen
    events.unregister("before-send.s3.GetObject", note)


def _bytes(header):
    return header if isinstance(header, bytes) else header.encode()


def test_only_the_bytes_of_the_partition_and_the_footer_are_requested(planned, requests):
    spec, partitions, columns = planned
    batches = list(READER.read(spec, partitions[1]))
    found = pa.concat_tables(batch.table for batch in batches)
    assert np.array_equal(found["a"].to_numpy(), columns["a"][100_000:200_000])
    assert batches[0].numbers[0] == 100_001
    fetched = sum(last - first + 1 for first, last, _ in requests)
    assert fetched <= partitions[1].size_bytes + FOOTER
    assert {version for *_, version in requests} == {partitions[1].locator[2].encode()}


def test_columns_that_are_not_asked_for_are_not_requested(planned, requests):
    spec, partitions, columns = planned
    found = pa.concat_tables(b.table for b in READER.read(spec, partitions[2], columns=["b"]))
    assert np.array_equal(found["b"].to_numpy(), columns["b"][200_000:300_000])
    fetched = sum(last - first + 1 for first, last, _ in requests)
    assert fetched <= partitions[2].size_bytes // 2 + FOOTER + 10_000


def test_a_range_that_breaks_off_is_requested_again(planned, monkeypatch):
    spec, partitions, columns = planned
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    client, failures = connect(), []

    def break_off(**parameters):
        if len(failures) < 2:
            failures.append(1)
            raise ReadTimeoutError(endpoint_url="http://x")

    client.meta.events.register("before-send.s3.GetObject", break_off)
    try:
        found = pa.concat_tables(b.table for b in READER.read(spec, partitions[3]))
    finally:
        client.meta.events.unregister("before-send.s3.GetObject", break_off)
    assert len(failures) == 2
    assert np.array_equal(found["b"].to_numpy(), columns["b"][300_000:])
