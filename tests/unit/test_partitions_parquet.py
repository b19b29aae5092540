"""How Parquet is divided whatever the sizes, and how little of it is held in memory."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pynomaly.adapters import partition_reader
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.sources import SourceSpec

READER = partition_reader()


@settings(max_examples=40)
@given(
    groups=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any),
    partition_rows=st.integers(1, 200),
    batch_rows=st.integers(1, 50),
)
def test_every_row_is_in_one_partition_whatever_the_sizes(groups, partition_rows, batch_rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        values = np.arange(sum(groups))
        with pq.ParquetWriter(path, pa.schema([("k", pa.int64())])) as writer:
            for start, stop in pairwise(np.cumsum([0, *groups])):
                writer.write_table(pa.table({"k": values[start:stop]}))
        spec = SourceSpec(str(path))
        plan = READER.plan(spec, partition_rows=partition_rows)
        assert all(p.rows >= partition_rows for p in plan.partitions[:-1])
        found, numbers = [], []
        for partition in plan.partitions:
            assert partition.first_row == len(found)
            for batch in READER.read(spec, partition, batch_rows=batch_rows):
                assert 0 < batch.table.num_rows <= batch_rows
                found += batch.table["k"].to_pylist()
                numbers += batch.numbers.tolist()
            assert partition.first_row + partition.rows == len(found)
    assert found == values.tolist()
    assert numbers == (values + 1).tolist()


def test_a_column_whose_name_is_the_start_of_another_is_read_alone(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2], "a.b": [3, 4], "c": pa.array(["x", "y"])}), path)
    spec = SourceSpec(str(path))
    (partition,) = READER.plan(spec, partition_rows=10).partitions
    (batch,) = READER.read(spec, partition, columns=["c", "a"])
    assert batch.table.to_pydict() == {"c": ["x", "y"], "a": [1, 2]}
    with pytest.raises(MalformedSourceError, match="no column 'b'") as caught:
        list(READER.read(spec, partition, columns=["b"]))
    assert caught.value.hint == "it has a, a.b, c"


@pytest.mark.parametrize("rows_per_group", [50_000, 1_000_000])
def test_memory_does_not_grow_with_the_file_or_its_row_groups(tmp_path, rows_per_group):
    path = tmp_path / "large.parquet"
    columns = {f"x{i}": np.random.default_rng(i).normal(size=1_000_000) for i in range(8)}
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group, compression="none")
    del columns
    spec = SourceSpec(str(path))
    plan = READER.plan(spec, partition_rows=50_000)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for partition in plan.partitions:
        for batch in READER.read(spec, partition):
            rows += batch.table.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 1_000_000
    assert path.stat().st_size > 60 * 2**20
    assert most < 16 * 2**20
