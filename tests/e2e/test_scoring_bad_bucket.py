"""``pynomaly score`` in processes of its own, on a bucket that fails, and one that refuses."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import frame
from scoring_process import Started, settings, states

pytestmark = [pytest.mark.s3]


def parquet(rows: int, seed: int, *, noise: int = 0) -> tuple[bytes, list[str]]:
    """Return a file of row groups of 500 rows, and the ids in it."""
    data = frame(rows, seed)
    table = pa.Table.from_pandas(data, preserve_index=False)
    if noise:
        table = table.append_column(
            "noise", pa.array([os.urandom(noise).hex() for _ in data.index])
        )
    handle = io.BytesIO()
    pq.write_table(table, handle, row_group_size=500)
    return handle.getvalue(), sorted(data["txn_id"])


def score(project: Path, bucket: str, *options: str, **changed: str) -> Started:
    """Start a job from ``in.parquet`` of the bucket into its ``scores``."""
    place = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Started(
        "score", "payments", "--data", f"s3://{bucket}/in.parquet", "--out", f"s3://{bucket}/scores",
        "--engine", "direct", "--workers", "1", *options, "--json",
        project=project, **settings(500) | place | changed,
    )  # fmt: skip


def verified(project: Path) -> dict[str, object]:
    """Return what ``scores verify`` says, which reads the bucket as well."""
    place = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    done = Started("scores", "verify", "payments", "--json", project=project, **place)
    assert done.ended() == 0, done.printed
    return done.document


def test_faults_that_pass_cost_nothing(scoring_project: Path, flaky: SimpleNamespace) -> None:
    data, ids = parquet(500, 3, noise=24_000)  # one partition, uploaded in three parts
    flaky.put("in.parquet", data)
    flaky.fail("answer lost", "GET in.parquet", 1)
    flaky.fail("503", "PUT scores partNumber=1", 2)
    flaky.fail("reset while sending", "PUT scores partNumber=2", 1)
    job = score(scoring_project, flaky.bucket, "--keep", "noise")
    assert job.ended(60) == 0, job.printed
    assert flaky.spared() == []  # every fault has happened
    assert len([name for name in flaky.objects() if name.startswith("scores")]) == 1
    assert flaky.uploads() == []
    found = verified(scoring_project)
    assert (found["rows"], found["damaged"], found["orphans"]) == (len(ids), [], [])


def test_faults_that_stay_show_no_row_and_the_next_run_goes_on(
    scoring_project: Path, flaky: SimpleNamespace
) -> None:
    data, ids = parquet(1_000, 4)
    flaky.put("in.parquet", data)
    flaky.fail("503", "PUT scores", 10_000)
    refused = score(scoring_project, flaky.bucket)
    assert refused.ended(60) == 2, refused.printed
    error = refused.document["error"]
    assert error["type"] == "OutputNotWritableError"
    assert "503" in error["message"] or "ServiceUnavailable" in error["message"]
    assert f"s3://{flaky.bucket}/scores" in error["message"]
    assert flaky.objects() == ["in.parquet"]
    assert states(scoring_project)["committed"] == states(scoring_project)["leased"] == 0

    flaky.heal()
    again = score(scoring_project, flaky.bucket)
    assert again.ended(60) == 0, again.printed
    assert verified(scoring_project)["rows"] == len(ids)


def test_an_object_replaced_while_it_is_read_is_planned_anew(
    scoring_project: Path, flaky: SimpleNamespace
) -> None:
    (before, _), (after, ids) = parquet(2_000, 5), parquet(2_000, 6)
    flaky.put("in.parquet", before)
    # When the first part goes up, the object is planned and three quarters are still to be read.
    flaky.fail(lambda: flaky.put("in.parquet", after), "PUT scores", 1)
    job = score(scoring_project, flaky.bucket)
    assert job.ended(60) == 0, job.printed
    assert flaky.spared() == []
    out = scoring_project / "current.parquet"
    place = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    told = Started(
        "scores", "read", "payments", "--out", str(out), "--json", project=scoring_project, **place
    )
    assert told.ended() == 0, told.printed
    assert sorted(pq.read_table(out).column("txn_id").to_pylist()) == ids


def test_wrong_credentials_are_told_without_them(scoring_project: Path, s3_bucket: str) -> None:
    refused = score(scoring_project, s3_bucket, AWS_SECRET_ACCESS_KEY="not-the-right-secret")
    assert refused.ended(60) == 2, refused.printed
    assert "access denied" in refused.document["error"]["message"]
    assert "not-the-right-secret" not in refused.printed
    assert os.environ["AWS_ACCESS_KEY_ID"] not in refused.printed
    assert states(scoring_project).total() == 0
