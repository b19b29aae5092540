"""Score jobs whose processes are killed, doubled, paused and asked to end."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from scoring_process import (
    Started,
    attempts,
    await_lease,
    half_written,
    pause_under_lease,
    read_ids,
    run,
    score,
    settings,
    states,
    write_rows,
)

LARGE = 20_000
"""Rows of a partition that takes some time in small batches."""


def test_forty_killed_workers_lose_and_repeat_no_row(scoring_project: Path) -> None:
    project = scoring_project
    ids = write_rows(project / "new.parquet", 30_000, group_rows=75)
    chance = random.Random(20)

    def start() -> Started:
        # Killed workers are known to be dead at once; slow ones must not lose their leases.
        return Started("new.parquet", project=project, **settings(75, lease_seconds=60))

    crowd, killed = [start() for _ in range(4)], []
    while len(killed) < 40:
        time.sleep(chance.uniform(0.02, 0.25))
        place = chance.randrange(4)
        one = crowd[place]
        one.send(signal.SIGKILL)
        assert one.ended() == -signal.SIGKILL, one.printed
        killed.append(one)
        crowd[place] = start()
    left = states(project)
    assert left["pending"] + left["leased"] > 0  # no kill came after the work was done
    for one in crowd:
        assert one.ended() == 0, one.printed
    assert not [one.printed for one in killed + crowd if one.printed]  # of a locked database, say

    assert read_ids(project) == sorted(ids)
    assert attempts(project) > states(project)["committed"] == 400  # some died over a partition
    repaired = run(project, "scores", "verify", "payments", "--repair")
    assert repaired["damaged"] == []
    assert half_written(project) == []
    again = run(project, "scores", "verify", "payments")
    assert (again["damaged"], again["orphans"]) == ([], [])
    assert again["rows"] == len(ids)


def test_two_identical_jobs_share_the_work(scoring_project: Path) -> None:
    project = scoring_project
    ids = write_rows(project / "new.parquet", 10_000)
    both = [score(project), score(project)]
    assert [one.ended() for one in both] == [0, 0], [one.printed for one in both]
    first, second = (one.document["steps"]["score"] for one in both)
    same = ("rows_in", "rows_scored", "rows_quarantined", "rows_flagged", "output_uri")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert read_ids(project) == sorted(ids)
    assert attempts(project) == states(project)["committed"] == 20  # each was leased just once
    found = run(project, "scores", "verify", "payments")
    assert (found["damaged"], found["orphans"]) == ([], [])


def test_a_worker_that_slept_through_its_lease_is_fenced(scoring_project: Path) -> None:
    project = scoring_project
    ids = write_rows(project / "new.parquet", 3 * LARGE, LARGE)
    slow = score(project, "--batch-rows", "500", partition_rows=LARGE)
    pause_under_lease(slow, project)
    try:
        other = score(project, "--batch-rows", "5000", partition_rows=LARGE)
        assert other.ended() == 0, other.printed
        before = run(project, "scores", "read", "payments")
    finally:
        slow.send(signal.SIGCONT)
    assert slow.ended() == 6, slow.printed
    error = slow.document["error"]
    assert error["type"] == "FencedError"
    assert "new.parquet, row group" in error["message"]
    assert run(project, "scores", "read", "payments") == before
    assert read_ids(project) == sorted(ids)
    found = run(project, "scores", "verify", "payments")
    assert (found["damaged"], found["orphans"]) == ([], [])


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_orderly_end_gives_the_partition_back_at_once(
    scoring_project: Path, number: signal.Signals, code: int, word: str
) -> None:
    project = scoring_project
    ids = write_rows(project / "new.parquet", 3 * LARGE, LARGE)
    asked = score(project, "--batch-rows", "500", partition_rows=LARGE, lease_seconds=600)
    await_lease(project)
    asked.send(number)
    assert asked.ended() == code, asked.printed
    assert asked.document["error"]["message"].startswith(word)
    left = states(project)
    assert left["pending"] >= 1
    assert left["leased"] == left["failed"] == 0
    assert half_written(project) == []
    following = score(project, partition_rows=LARGE, lease_seconds=600)
    assert following.ended() == 0, following.printed
    assert read_ids(project) == sorted(ids)
