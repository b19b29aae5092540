"""Scored parts on S3 when the network or the server fails: whole objects or none, never a piece.

Faults are real: a proxy in front of the server answers 503 or resets connections.
"""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly import adapters
from pynomaly.application.score_partition import PartitionWork, ScorePartition
from pynomaly.application.score_work import JobWork, Slice, Workers
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import ConfigurationError, IntegrityError, OutputNotWritableError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Entry, ScoreJob, ScoreVersion, partition_key
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow import partfiles
from pynomaly.infrastructure.s3.client import connect
from pynomaly.infrastructure.s3.targets import S3Target
from pynomaly.testing import InMemoryLedger
from small_model import KERNELS, SCHEMA, Champion, rows

pytestmark = [pytest.mark.integration, pytest.mark.s3]

KEY = "0123456789abcdef"
SMALL = pa.table({"n": [1, 2, 3]})
LARGE = pa.table({"noise": [os.urandom(1_000).hex() for _ in range(21_000)]})
"""Twenty-one megabytes when compressed: three parts of an upload."""


def write(flaky, table, name=f"{KEY}-1"):
    with flaky.store.writer(flaky.target, name) as writer:
        writer.write(table)
    return writer.parts


def test_a_large_part_goes_up_while_it_is_written(flaky):
    with flaky.store.writer(flaky.target, f"{KEY}-1") as writer:
        for start in range(0, LARGE.num_rows, 1_000):
            writer.write(LARGE.slice(start, 1_000))
            assert flaky.objects() == []
        assert sum("partNumber" in request for request in flaky.seen) >= 1
    (part,) = writer.parts
    assert sum("partNumber" in request for request in flaky.seen) == 3
    assert flaky.objects() == [f"scores/{KEY}-1.parquet"]
    assert flaky.store.check(part) is None
    assert pa.concat_tables(flaky.store.read([part])).equals(LARGE)


def test_a_small_part_is_one_request(flaky):
    (part,) = write(flaky, SMALL)
    assert [request.split()[0] for request in flaky.seen] == ["PUT"]
    assert flaky.store.check(part) is None


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("503", "partNumber=2"),
        ("503", "POST uploads"),
        ("503", "POST uploadId"),
        ("reset while sending", "partNumber=2"),
        ("answer lost", "partNumber=3"),
        ("answer lost", "POST uploadId"),
    ],
)
def test_faults_that_pass_are_repeated(flaky, kind, request_):
    flaky.fail(kind, request_, 2)
    (part,) = write(flaky, LARGE)
    assert flaky.store.check(part) is None
    assert flaky.objects() == [f"scores/{KEY}-1.parquet"]
    # Full jitter: any share of a delay that doubles.
    assert len(flaky.slept) >= 1
    assert all(0 <= pause <= 4 for pause in flaky.slept)


@pytest.mark.parametrize("kind", ["503", "reset while sending", "answer lost"])
def test_a_small_part_survives_faults_that_pass(flaky, kind):
    flaky.fail(kind, "PUT", 2)
    (part,) = write(flaky, SMALL)
    assert flaky.store.check(part) is None
    assert flaky.objects() == [f"scores/{KEY}-1.parquet"]


@pytest.mark.parametrize(
    ("kind", "request_", "table", "says"),
    [
        ("503", "PUT", SMALL, "S3 kept answering 503"),
        ("503", "partNumber=2", LARGE, "S3 kept answering 503"),
        ("503", "POST uploads", LARGE, "S3 kept answering 503"),
        ("503", "POST uploadId", LARGE, "S3 kept answering 503"),
        ("reset while sending", "partNumber=2", LARGE, "S3 failed"),
        ("reset while sending", "PUT", SMALL, "S3 failed"),
    ],
)
def test_faults_that_stay_leave_nothing(flaky, kind, request_, table, says):
    flaky.fail(kind, request_, 1_000)
    with pytest.raises(OutputNotWritableError, match=says) as caught:
        write(flaky, table)
    assert f"{flaky.target}/{KEY}-1.parquet" in caught.value.message
    assert caught.value.hint
    assert flaky.objects() == []
    assert flaky.uploads() == []
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    tries = [request for request in flaky.seen if all(w in request for w in request_.split())]
    assert len(tries) == 6


class Job:
    """200 rows on flaky S3, in four partitions that two threads score into flaky S3."""

    def __init__(self, flaky):
        self.ledger, self.reader, self.champion = (
            InMemoryLedger(),
            adapters.partition_reader(),
            Champion(),
        )
        self.work = ScorePartition(self.reader, flaky.store, KERNELS)
        self.spec = SourceSpec(f"s3://{flaky.bucket}/in.parquet")
        self.flaky = flaky
        self.put(rows(200, seed=2))
        self.plan = self.reader.plan(self.spec, partition_rows=50)

    def put(self, table):
        handle = io.BytesIO()
        pq.write_table(table.drop_columns("row_id"), handle, row_group_size=50)
        connect().put_object(Bucket=self.flaky.bucket, Key="in.parquet", Body=handle.getvalue())

    def run(self, target):
        """Work off what is left of the plan; returns the job's id."""
        version = ScoreVersion(1, "m", "p")
        pipeline = Pipeline("p", self.spec, SCHEMA)
        now = datetime.now(UTC)
        one = ScoreJob(new_id(now), "run", "p", self.spec.uri, "f", version, target, now)
        entries = [
            Entry(
                partition_key(of, version, {"target": target}), of, "p", version, target, "pending"
            )
            for of in self.plan.partitions
        ]
        self.ledger.open_job(one, entries)
        common = PartitionWork(
            pipeline,
            self.spec,
            self.champion.model,
            version,
            Line(np.inf, last=-1),
            target,
            (),
            None,
            64,
        )
        slices = {entry.key: Slice(np.array([], dtype=np.int64)) for entry in entries}
        Workers(self.ledger, self.work, 2, 60.0)(JobWork(one.id, common, slices), lambda _: None)
        return one.id

    def ids(self):
        """Ids of the rows that readers see, in order."""
        entries = self.ledger.current("p", ScoreVersion(1, "m", "p"))
        parts = [part for entry in entries for part in entry.outcome.parts]
        tables = self.flaky.store.read(parts, ["row_id"])
        return [row for table in tables for row in table.column("row_id").to_pylist()]


def test_a_job_on_a_bucket_that_fails_shows_whole_parts_alone_and_goes_on_later(flaky):
    job = Job(flaky)
    flaky.fail("503", "PUT scores", 1_000)
    with pytest.raises(OutputNotWritableError):
        job.run(flaky.target)
    assert (job.ids(), flaky.objects()) == ([], ["in.parquet"])

    flaky.heal()
    flaky.fail("503", "PUT scores", 2)
    flaky.fail("reset while sending", "PUT scores", 1)
    flaky.fail("answer lost", "GET in.parquet", 1)
    done = job.run(flaky.target)
    assert job.ids() == [f"in.parquet#{n}" for n in range(1, 201)]
    assert job.ledger.progress(done).committed == 4
    assert len(flaky.objects()) == 1 + 4

    # What is replaced before it is read is no longer what was planned; the old rows stay.
    job.put(rows(200, seed=3))
    changed = job.run(f"{flaky.target}/elsewhere")
    assert {entry.error.split(":")[0] for entry in job.ledger.entries_of(changed)} == {
        "SourceChangedError"
    }
    assert job.ids() == [f"in.parquet#{n}" for n in range(1, 201)]
    assert len(flaky.objects()) == 1 + 4


def test_an_upload_that_cannot_even_be_aborted_is_found_and_removed_later(flaky):
    flaky.fail("503", "partNumber=3", 1_000)
    flaky.fail("503", "DELETE", 6)
    with pytest.raises(OutputNotWritableError, match="503"):
        write(flaky, LARGE)
    assert flaky.objects() == []
    (left,) = flaky.store.stored(flaky.target)
    assert left.uri.startswith(f"{flaky.target}/{KEY}-1.parquet#upload=")
    assert left.size_bytes == 2 * 8 * 2**20
    assert not flaky.store.occupied(flaky.target)
    flaky.store.remove(left.uri)
    flaky.store.remove(left.uri)
    assert flaky.uploads() == []


def test_reading_repeats_what_breaks_off(flaky):
    (part,) = write(flaky, LARGE)
    flaky.fail("503", f"GET {KEY}", 2)
    flaky.fail("answer lost", f"GET {KEY}", 2)
    assert pa.concat_tables(flaky.store.read([part])).equals(LARGE)
    flaky.fail("503", f"HEAD {KEY}", 2)
    assert flaky.store.check(part) is None


def test_a_part_replaced_while_it_is_read_is_damaged(flaky, monkeypatch):
    monkeypatch.setattr(partfiles, "_GROUP_ROWS", 7_000)
    with flaky.store.writer(flaky.target, f"{KEY}-1") as writer:
        for start in range(0, LARGE.num_rows, 7_000):
            writer.write(LARGE.slice(start, 7_000))
    reading = flaky.store.read(writer.parts, batch_rows=1_000)
    next(reading)
    write(flaky, LARGE.slice(0, 20_999))
    with pytest.raises(IntegrityError, match="was replaced while it was read"):
        list(reading)


def test_wrong_credentials_are_told_without_them(s3_bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-secret")
    bad = SimpleNamespace(store=adapters.part_store(), target=f"s3://{s3_bucket}/scores")
    for work in (
        lambda: write(bad, SMALL),
        lambda: bad.store.occupied(bad.target),
        lambda: list(bad.store.stored(bad.target)),
        lambda: bad.store.remove(f"{bad.target}/{KEY}-1.parquet"),
    ):
        with pytest.raises(OutputNotWritableError, match="access denied") as caught:
            work()
        assert "not-the-right-secret" not in str(caught.value)
        assert os.environ["AWS_ACCESS_KEY_ID"] not in str(caught.value)


def test_a_missing_bucket_is_told(any_bucket):
    gone = SimpleNamespace(store=adapters.part_store(), target="s3://no-such-bucket-xyz/scores")
    with pytest.raises(OutputNotWritableError, match="the bucket does not exist"):
        write(gone, SMALL)
    with pytest.raises(OutputNotWritableError, match="the bucket does not exist"):
        gone.store.occupied(gone.target)


WRITE_AND_WAIT = """
import sys
import pyarrow as pa
from pynomaly import adapters

target, name, path = sys.argv[1:]
with adapters.part_store().writer(target, name) as writer:
    writer.write(pa.ipc.open_file(path).read_all())
    print("half way", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_leaves_is_an_upload_that_can_be_removed(any_bucket, tmp_path):
    target, store = f"s3://{any_bucket}/scores", adapters.part_store()
    table = pa.concat_tables([LARGE] * 2)  # more than waits in memory
    with pa.ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table)
    command = [sys.executable, "-c", WRITE_AND_WAIT, target, f"{KEY}-1", tmp_path / "rows.arrow"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half way\n"
        process.kill()
    assert not store.occupied(target)
    (left,) = store.stored(target)
    assert f"{KEY}-1.parquet#upload=" in left.uri
    store.remove(left.uri)
    assert list(store.stored(target)) == []


@pytest.mark.parametrize("table", [SMALL, LARGE])
def test_objects_are_encrypted_as_asked_for(moto_bucket, table):
    for key, settings in {"a": {"sse": "AES256"}, "b": {"sse": "aws:kms", "kms_key": "k1"}}.items():
        store = adapters.part_store(**settings)
        place = SimpleNamespace(store=store, target=f"s3://{moto_bucket}/{key}")
        (part,) = write(place, table)
        head = connect().head_object(Bucket=moto_bucket, Key=f"{key}/{KEY}-1.parquet")
        assert head["ServerSideEncryption"] == settings["sse"]
        assert head.get("SSEKMSKeyId") == settings.get("kms_key")
        assert store.check(part) is None
        name = f"{key}/one.parquet"
        with adapters.output_sinks(**settings).writer(
            f"s3://{moto_bucket}/{name}", overwrite=False
        ) as sink:
            sink.write(table)
        head = connect().head_object(Bucket=moto_bucket, Key=name)
        assert head["ServerSideEncryption"] == settings["sse"]
        assert head.get("SSEKMSKeyId") == settings.get("kms_key")


def test_a_kms_key_that_would_not_be_used_is_refused():
    with pytest.raises(ConfigurationError, match="KMS"):
        adapters.part_store(sse="AES256", kms_key="k1")


def test_every_worker_has_a_connection(moto_bucket):
    assert connect(32).meta.config.max_pool_connections == 32
    assert connect(2) is connect()


def test_an_output_larger_than_a_part_is_never_wholly_in_memory(flaky):
    data = os.urandom(2**20)
    with S3Target()(f"{flaky.target}/big.bin", overwrite=True) as handle:
        for _ in range(20):
            handle.write(data)
        assert sum("partNumber" in request for request in flaky.seen) == 2
    body = connect().get_object(Bucket=flaky.bucket, Key="scores/big.bin")["Body"].read()
    assert body == data * 20
