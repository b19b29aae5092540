"""A job stays within the memory it is given, or is refused with what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scoring_process import write_rows

pytestmark = pytest.mark.slow

_SCORE_AND_TELL_PEAK = """
import sys
from pathlib import Path
from pynomaly.presentation.cli.main import main
code = main()
print(Path("/proc/self/status").read_text())
sys.exit(code)
"""

_BATCHES_MIB = 60  # beyond what the process needs: batches of some 10,000 rows instead of 50,000


def score(project: Path, memory_mib: int) -> tuple[int, str, int]:
    """Score in a fresh process; return its exit code, what it printed, and its peak in MiB."""
    done = subprocess.run(
        [
            sys.executable, "-c", _SCORE_AND_TELL_PEAK, "score", "payments",
            "--data", "new.parquet", "--engine", "direct", "--workers", "1", "--memory",
            str(memory_mib),
        ],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    peak = re.search(r"VmHWM:\s*(\d+) kB", done.stdout)
    assert peak, done.stdout
    return done.returncode, done.stdout, int(peak[1]) >> 10


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of a process")
def test_a_job_needs_no_more_memory_than_it_is_given(scoring_project: Path) -> None:
    write_rows(scoring_project / "new.parquet", 60_000, group_rows=60_000)

    allowed = 100
    for _told in ("planning", "scoring"):  # by then validation has needed more
        code, printed, _ = score(scoring_project, allowed)
        assert code == 2, printed
        needed = re.search(r"has needed (\d+) MiB before it scores a row", printed)
        assert needed, printed
        assert int(needed[1]) < 700, printed  # whoever starts it does not count, however large
        allowed = int(needed[1]) + _BATCHES_MIB
    code, printed, peak = score(scoring_project, allowed)
    assert code == 0, printed
    assert peak <= allowed, printed
