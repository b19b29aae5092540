"""The same chain with PostgreSQL for records and S3 for data in and out."""

import json
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest

from command_line import frame
from pynomaly.presentation.cli.main import main
from pynomaly_flows.launch import launch


@pytest.mark.integration
def test_the_lifecycle_runs_on_postgresql_and_s3(
    empty_postgres_database: str,
    s3_bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    monkeypatch.setenv("PYNOMALY_RECORDS__URL", empty_postgres_database)
    s3 = boto3.client("s3")
    for part in (1, 2):
        s3.put_object(
            Bucket=s3_bucket,
            Key=f"rows/part-{part}.csv",
            Body=frame(300, part).to_csv(index=False).encode(),
        )
    assert main(["init", "p", "--data", f"s3://{s3_bucket}/rows/", "--id", "txn_id"]) == 0
    from pynomaly.settings import load_settings

    settings = load_settings().overriding({"training": {"trials": 1}}, "test")

    document: dict[str, Any] = launch(
        "run", "p", settings, engine="direct",
        params={"out": f"s3://{s3_bucket}/scores/p.parquet"},
    )  # fmt: skip

    scored = document["steps"]["score"]
    assert scored["rows_in"] == scored["rows_scored"] == 600
    s3.download_file(s3_bucket, "scores/p.parquet", "down.parquet")
    assert pq.read_table("down.parquet").num_rows == 600
    assert not (tmp_path / ".pynomaly/pynomaly.db").exists()
    assert main(["status", "p"]) == 0

    capsys.readouterr()
    assert main(["replay", document["run_id"], "--json"]) == 0
    (replayed,) = json.loads(capsys.readouterr().out)["batches"]
    assert (replayed["rows"], replayed["differing"]) == (600, 0)
    # An object that was replaced is no longer what was scored.
    body = frame(300, 3).to_csv(index=False).encode()
    s3.put_object(Bucket=s3_bucket, Key="rows/part-2.csv", Body=body)
    assert main(["replay", document["run_id"]]) == 6
    assert "part-2.csv" in capsys.readouterr().err
