"""Score jobs whose input is replaced or damaged, and whose output has no room."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import frame
from scoring_process import (
    Started,
    committed,
    half_written,
    read_ids,
    run,
    score,
    states,
    write_rows,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk needs root on Linux: {error}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_costs_nothing_that_was_committed(
    scoring_project: Path, small_disk: Path
) -> None:
    project, out = scoring_project, str(small_disk / "scores")
    first = write_rows(project / "first.parquet", 2_000, seed=3)
    assert score(project, "--out", out, data="first.parquet").ended() == 0

    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:  # leave room for about four partitions
        file.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 2**16))
    second = write_rows(project / "second.parquet", 10_000, seed=4)
    refused = score(project, "--out", out, data="second.parquet")
    assert refused.ended() == 2, refused.printed
    error = refused.document["error"]
    assert error["type"] == "OutputNotWritableError"
    assert "No space left on device" in error["message"]
    assert str(small_disk) in error["message"]
    assert "free some space" in error["hint"]
    assert half_written(small_disk) == []
    assert states(project)["leased"] == 0
    assert run(project, "scores", "verify", "payments")["damaged"] == []
    assert set(first) <= set(read_ids(project)) < {*first, *second}
    before = committed(project)
    assert 5 < len(before) < 25

    ballast.unlink()
    assert score(project, "--out", out, data="second.parquet").ended() == 0
    assert read_ids(project) == sorted(first + second)
    after = committed(project)
    assert {key: after[key] for key in before} == before
    found = run(project, "scores", "verify", "payments")
    assert (found["damaged"], found["orphans"]) == ([], [])


def test_damage_ends_with_exit_code_7_and_is_mended_by_scoring_again(scoring_project: Path) -> None:
    project = scoring_project
    ids = write_rows(project / "new.parquet", 2_000)
    assert score(project).ended() == 0
    damaged, *others = sorted((project / ".pynomaly").rglob("scores/**/*.parquet"))
    assert others
    flipped = bytearray(damaged.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    damaged.write_bytes(flipped)
    for options in ((), ("--repair",)):
        found = Started("scores", "verify", "payments", *options, "--json", project=project)
        assert found.ended() == 7, found.printed
        error = found.document["error"]
        assert "1 of 4 committed partitions" in error["message"]
        assert str(damaged) in error["message"]
        assert f"pynomaly score payments --data {project}/new.parquet" in error["hint"]
    assert len(read_ids(project)) == 1_500
    assert run(project, "status", "payments")["last_batch"]["partitions_gone"] == 1
    assert score(project).ended() == 0
    assert run(project, "status", "payments")["last_batch"]["partitions_gone"] == 0
    assert read_ids(project) == sorted(ids)
    assert run(project, "scores", "verify", "payments")["damaged"] == []


def test_an_input_replaced_once_is_planned_anew_and_never_mixed(scoring_project: Path) -> None:
    project = scoring_project
    write_rows(project / "new.parquet", 20_000, seed=5)
    ids = write_rows(project / "next.parquet", 20_000, seed=6)
    job = score(project)
    until = time.monotonic() + 20
    while "validate …" not in job.printed:  # so it is planned
        assert time.monotonic() < until
        time.sleep(0.002)
    (project / "next.parquet").replace(project / "new.parquet")
    assert job.ended() == 0, job.printed
    assert "since it was planned" in job.printed
    assert read_ids(project) == sorted(ids)


def test_an_input_that_keeps_changing_is_a_conflict(scoring_project: Path) -> None:
    project = scoring_project
    texts = []
    for seed in (5, 6):
        write_rows(project / "new.parquet", 20_000, seed=seed)
        texts.append((project / "new.parquet").read_bytes())
    job = score(project)
    turn = 0
    while job.process.is_alive() and turn < 1_000:
        (project / "next.parquet").write_bytes(texts[turn % 2])
        (project / "next.parquet").replace(project / "new.parquet")
        turn += 1
        time.sleep(0.02)
    assert job.ended() == 6, job.printed
    error = job.document["error"]
    assert error["type"] == "SourceChangedError"
    assert "new.parquet" in error["message"]
    read = read_ids(project) if committed(project) else []
    versions = {row_id.partition("-")[0] for row_id in read}
    assert not {"t5", "t6"} <= versions  # what is in force is of one version alone, if of any


def test_a_damaged_row_group_costs_only_itself(scoring_project: Path) -> None:
    project = scoring_project
    path = project / "new.parquet"
    ids = write_rows(path, 5_000)
    sound = path.read_bytes()
    at = pq.ParquetFile(path).metadata.row_group(4).column(1).data_page_offset
    path.write_bytes(sound[:at] + b"\xff" * 64 + sound[at + 64 :])
    job = score(project)
    assert job.ended() == 1, job.printed
    error = job.document["error"]
    assert error["type"] == "PartitionsFailedError"
    assert "1 of 10 partitions" in error["message"]
    assert f"{path}, row group 4" in error["message"]
    before = committed(project)
    assert len(before) == 9

    path.write_bytes(sound)
    again = score(project)
    assert again.ended() == 0, again.printed
    after = committed(project)
    assert len(after) == 10
    assert {key: after[key] for key in before} == before
    assert read_ids(project) == sorted(ids)


def test_a_truncated_file_costs_only_itself(scoring_project: Path) -> None:
    project = scoring_project
    folder = project / "new"
    folder.mkdir()
    ids = [write_rows(folder / f"{seed}.parquet", 1_000, seed=seed) for seed in (1, 2, 3)]
    sound = (folder / "2.parquet").read_bytes()
    (folder / "2.parquet").write_bytes(sound[: len(sound) // 2])
    job = score(project, data="new")
    assert job.ended() == 1, job.printed
    message = job.document["error"]["message"]
    assert f"{folder}/2.parquet is no readable Parquet file" in message
    before = committed(project)
    assert len(before) == 4

    (folder / "2.parquet").write_bytes(sound)
    assert score(project, data="new").ended() == 0
    after = committed(project)
    assert len(after) == 6
    assert {key: after[key] for key in before} == before
    assert read_ids(project) == sorted(one for file in ids for one in file)


@pytest.mark.parametrize(("at", "code"), [(1, 3), (500, 1)])
def test_a_quote_that_is_never_closed_is_named(scoring_project: Path, at: int, code: int) -> None:
    project = scoring_project
    lines = frame(1_000, 9).to_csv(index=False).splitlines()
    lines[at] = '"' + lines[at]
    (project / "new.csv").write_text("\n".join(lines) + "\n")
    job = score(project, data="new.csv")
    assert job.ended() == code, job.printed
    message = job.document["error"]["message"]
    assert f"line {at + 1}" in message
    assert "never closed" in message


def test_malformed_lines_are_quarantined_with_their_numbers(scoring_project: Path) -> None:
    project = scoring_project
    lines = frame(1_000, 9).to_csv(index=False).splitlines()
    lines[10] += ",more,and more"
    lines[700] = "short,1.0"
    (project / "new.csv").write_text("\n".join(lines) + "\n")
    job = score(project, data="new.csv")
    assert job.ended() == 0, job.printed
    done = job.document["steps"]["score"]
    assert (done["rows_in"], done["rows_scored"], done["rows_quarantined"]) == (1_000, 998, 2)
    refused = pq.read_table(done["quarantine_uri"]).to_pylist()
    assert [(row["row_id"], row["reason"], row["line"]) for row in refused] == [
        ("new.csv:11", "line 11: expected 6 fields, found 8", lines[10]),
        ("new.csv:701", "line 701: expected 6 fields, found 2", lines[700]),
    ]
    assert len(read_ids(project)) == 998


def test_a_file_read_as_another_encoding_is_scored_anew(scoring_project: Path) -> None:
    project = scoring_project
    rows = frame(60, 9)
    rows["txn_id"] = [f"tä-{i}" for i in range(60)]
    rows.to_csv(project / "new.csv", index=False, encoding="utf-8")
    conf = project / "conf/pipelines/payments.yaml"
    before = conf.read_text()
    assert before.count("source: payments.csv") == 1
    for encoding in ("latin-1", "utf-8"):
        source = f"source: {{uri: payments.csv, encoding: {encoding}}}"
        conf.write_text(before.replace("source: payments.csv", source))
        assert score(project, data="new.csv").ended() == 0
    assert read_ids(project) == sorted(rows["txn_id"])


def test_a_malformed_line_in_a_file_with_a_number_sign_in_its_name(scoring_project: Path) -> None:
    project = scoring_project
    lines = frame(60, 9).to_csv(index=False).splitlines()
    (project / "new#1.csv").write_text("\n".join([*lines, "short,1.0"]) + "\n")
    assert score(project, data="new#1.csv").ended() == 0
    assert len(read_ids(project)) == 60
