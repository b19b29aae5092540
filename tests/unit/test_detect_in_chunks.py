"""Scoring walks through any number of rows in bounded memory, and accounts for each of them."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pynomaly import adapters
from pynomaly.application import detect as module
from pynomaly.application.detect import DetectAnomalies, Question
from pynomaly.application.ports.data import SourceBatch
from pynomaly.domain.datasets import Snapshot
from pynomaly.domain.errors import ConflictError
from pynomaly.infrastructure.arrow.memory import TableSource

QUESTION = Question("rows", budget="quick", detector="pca")


def table(rows: int, seed: int = 0) -> pa.Table:
    data = np.random.default_rng(seed).normal(size=(rows, 4))
    data[7] = 30.0
    return pa.table({f"x{i}": data[:, i] for i in range(4)})


def detection(batch_rows: int) -> DetectAnomalies:
    whole = adapters.anomaly_detection()
    return DetectAnomalies(whole.learn, whole.kernels, whole.sinks, batch_rows)


def scored(source: TableSource, batch_rows: int) -> pa.Table:
    chunks: list[pa.Table] = []
    detection(batch_rows)(source, QUESTION, on_scored=chunks.append)
    assert max(len(chunk) for chunk in chunks) <= batch_rows
    return pa.concat_tables(chunks)


def test_scores_do_not_depend_on_the_chunks() -> None:
    source = TableSource(table(500), "rows")

    assert scored(source, 500).equals(scored(source, 37))


def test_memory_does_not_grow_with_the_rows() -> None:
    program = """
import resource, sys
import numpy as np, pyarrow as pa
from pynomaly import adapters
from pynomaly.application import detect
from pynomaly.infrastructure.arrow.memory import TableSource

class Generated(TableSource):
    '''Rows that exist only while somebody looks at them.'''
    def __init__(self, rows):
        super().__init__(self.piece(0, 10), "rows")
        self.rows = rows
    @staticmethod
    def piece(start, rows):
        data = np.random.default_rng(start).normal(size=(rows, 20))
        return pa.table({f"x{i}": data[:, i] for i in range(20)})
    def batches(self, batch_rows=20_000):
        for start in range(0, self.rows, 20_000):
            yield next(TableSource(self.piece(start, 20_000), "rows").batches(20_000))
    def snapshot(self):
        import dataclasses
        return dataclasses.replace(super().snapshot(), rows=self.rows)

detect.PROFILED_ROWS = 3_000
question = detect.Question("rows", budget="quick", detector="pca")
peaks = []
for rows in (100_000, 1_000_000):
    found = adapters.anomaly_detection()(Generated(rows), question)
    assert found.scored == rows
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
grown = (peaks[1] - peaks[0]) / 1024
assert grown < 48, f"{grown:.0f} MiB more for 160 MB more rows"
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Moving(TableSource):
    """Somebody writes to it between the readings."""

    def __init__(self) -> None:
        super().__init__(table(100), "rows")
        self.readings = 0

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        self.readings += 1
        yield from super().batches(batch_rows)

    def snapshot(self) -> Snapshot:
        from dataclasses import replace

        found = super().snapshot()
        return replace(found, fingerprint=replace(found.fingerprint, content=str(self.readings)))


def test_a_source_that_changes_meanwhile_is_refused_and_nothing_written(tmp_path) -> None:
    out = tmp_path / "scored.parquet"

    with pytest.raises(ConflictError, match="changed while it was read"):
        detection(50)(Moving(), QUESTION, out=str(out))

    assert list(tmp_path.iterdir()) == []


def test_the_strangest_rows_come_from_the_whole_source_not_from_the_sample(monkeypatch) -> None:
    monkeypatch.setattr(module, "PROFILED_ROWS", 100)
    rows = table(8_000)
    data = {name: rows.column(name).to_numpy().copy() for name in rows.column_names}
    data["x0"][7_990] = 99.0

    found = detection(1_000)(TableSource(pa.table(data), "rows"), QUESTION)

    assert found.fitted_rows == 4_000
    assert [row.ids["row_id"] for row in found.top[:2]] == ["rows#8", "rows#7991"]
