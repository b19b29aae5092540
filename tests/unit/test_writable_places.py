"""Whether something can be written is looked at before anything is computed, and leaves no trace."""

import sys
from pathlib import Path

import pytest

from pynomaly.domain.errors import OutputNotWritableError
from pynomaly.infrastructure.filesystem.targets import require_writable


@pytest.mark.parametrize("place", ["", "new.parquet", "new/and/deep", "there.csv"])
def test_a_writable_place_stays_as_it_is(tmp_path: Path, place: str) -> None:
    (tmp_path / "there.csv").write_text("old")
    require_writable(str(tmp_path / place))
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "old"


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritableError, match=r"cannot write .*file/out: Not a directory"):
        require_writable(str(tmp_path / "file" / "out"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that refuses even root")
def test_a_file_system_that_takes_no_files_is_refused() -> None:
    with pytest.raises(OutputNotWritableError, match="cannot write /proc/scores/today"):
        require_writable("/proc/scores/today")
