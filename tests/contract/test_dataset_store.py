"""Staged datasets: written whole, read back in order."""

import pyarrow as pa
import pytest

from pynomaly.domain.errors import IntegrityError, SourceNotFoundError
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target

TABLE = pa.table({"id": [str(i) for i in range(1000)], "x": [i / 7 for i in range(1000)]})


@pytest.fixture
def store(tmp_path):
    return ParquetDatasetStore(tmp_path / "datasets", open_local_target)


def stage(store, name, *tables):
    with store.writer(name) as writer:
        for table in tables:
            writer.write(table)
    return writer


def test_a_dataset_comes_back_as_it_was_written(store, tmp_path):
    writer = stage(store, "run-1/accepted", TABLE.slice(0, 300), TABLE.slice(300))
    assert writer.uri == str(tmp_path / "datasets" / "run-1" / "accepted.parquet")
    assert (writer.rows, len(writer.digest)) == (1000, 64)
    assert store.table(writer.uri) == TABLE
    assert pa.concat_tables(store.read(writer.uri)) == TABLE


def test_it_is_streamed_in_batches_and_by_columns_in_the_order_asked_for(store):
    uri = stage(store, "d", TABLE).uri
    batches = list(store.read(uri, ["x", "id"], batch_rows=400))
    assert [batch.num_rows for batch in batches] == [400, 400, 200]
    assert batches[0].column_names == ["x", "id"]
    assert store.table(uri, ["x"]).column_names == ["x"]


def test_a_column_it_does_not_have_is_an_error(store):
    with pytest.raises(KeyError, match="nope"):
        store.table(stage(store, "d", TABLE).uri, ["nope"])


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_nothing_is_there_before_a_clean_exit(store, tmp_path, stop):
    def half_way():
        with store.writer("d") as writer:
            writer.write(TABLE)
            raise stop

    with pytest.raises(stop):
        half_way()
    assert list((tmp_path / "datasets").iterdir()) == []
    with pytest.raises(SourceNotFoundError, match=r"d\.parquet is gone"):
        store.table(str(tmp_path / "datasets" / "d.parquet"))


def test_a_second_attempt_replaces_the_first(store):
    stage(store, "d", TABLE)
    uri = stage(store, "d", TABLE.slice(0, 3)).uri
    assert store.table(uri).num_rows == 3


def test_a_writer_without_tables_leaves_no_file(store, tmp_path):
    writer = stage(store, "quarantine")
    assert (writer.rows, writer.digest) == (0, "")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_equal_content_has_equal_bytes(store):
    assert stage(store, "a", TABLE).digest == stage(store, "b", TABLE).digest


def test_a_damaged_dataset_is_an_integrity_error(store, tmp_path):
    uri = stage(store, "d", TABLE).uri
    path = tmp_path / "datasets" / "d.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match="cannot be read"):
        store.table(uri)
    with pytest.raises(IntegrityError):
        list(store.read(uri))


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", ""])
def test_a_name_cannot_leave_the_store(store, name):
    with pytest.raises(ValueError, match="within the store"):
        store.writer(name)


def test_a_discarded_dataset_is_gone_and_nothing_else(store, tmp_path):
    kept, uri = stage(store, "kept", TABLE).uri, stage(store, "d", TABLE).uri
    store.discard(uri)
    store.discard(uri)
    with pytest.raises(SourceNotFoundError):
        store.table(uri)
    assert store.table(kept) == TABLE
    theirs = tmp_path / "theirs.parquet"
    theirs.write_bytes(b"x")
    with pytest.raises(ValueError, match="not a dataset of this store"):
        store.discard(str(theirs))
    assert theirs.exists()
