"""A job stays within the memory it is given, or is refused with what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scoring_process import write_rows

pytestmark = pytest.mark.slow

_BATCHES_MIB = 60  # beyond what the process needs: batches of some 10,000 rows instead of 50,000


def score(project: Path, memory_mib: int) -> tuple[int, str, int]:
    """Score in a fresh process; return its exit code, what it printed, and its peak in MiB."""
    command = [
        sys.executable, "-m", "pynomaly.presentation.cli.main", "score", "payments",
        "--data", "new.parquet", "--engine", "direct", "--workers", "1", "--memory", str(memory_mib),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, printed, used.ru_maxrss >> 10


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_a_job_needs_no_more_memory_than_it_is_given(scoring_project: Path) -> None:
    write_rows(scoring_project / "new.parquet", 60_000, group_rows=60_000)

    code, printed, _ = score(scoring_project, 100)
    assert code == 2, printed
    needed = re.search(
        r"the process needs (\d+) MiB before it scores a row", " ".join(printed.split())
    )
    assert needed, printed

    allowed = int(needed[1]) + _BATCHES_MIB
    code, printed, peak = score(scoring_project, allowed)
    assert code == 0, printed
    assert peak <= allowed, printed
