"""A watched source: what counts as data that arrived, and what does not."""

import pytest

from pynomaly import operations
from pynomaly.infrastructure.s3.client import connect
from pynomaly.settings import load_settings
from pynomaly_flows.watching import SourceWatch

FILE = "source: in\ncolumns: {a: numeric}\ntriggers: {watch: true, watch_seconds: 1}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conf/pipelines").mkdir(parents=True)
    (tmp_path / "conf/pipelines/payments.yaml").write_text(FILE)
    (tmp_path / ".pynomaly/prefect").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/first.csv").write_text("a\n1\n")
    return tmp_path


@pytest.fixture
def announced(monkeypatch):
    """Events that would have gone to Prefect."""
    events = []
    monkeypatch.setattr(
        operations, "announce", lambda _, event, pipeline, payload: events.append((event, pipeline))
    )
    return events


@pytest.fixture
def watch(folder, monkeypatch):
    """Look as often as the test says, not as the clock does."""
    monkeypatch.setattr(
        "pynomaly_flows.watching.time.monotonic", iter(range(0, 10_000, 10)).__next__
    )
    return SourceWatch(load_settings(folder, {}))


ARRIVED = [("pynomaly.data-arrived", "payments")]


def test_what_was_there_at_first_is_nothing_new(watch, announced):
    for _ in range(3):
        watch.look()
    assert announced == []


def test_a_new_file_is_announced_once(watch, announced, folder):
    watch.look()
    (folder / "in/second.csv").write_text("a\n2\n")
    for _ in range(5):
        watch.look()
    assert announced == ARRIVED


def test_a_file_that_still_grows_is_waited_for(watch, announced, folder):
    watch.look()
    for rows in range(1, 5):
        (folder / "in/second.csv").write_text("a\n" + "2\n" * rows)
        watch.look()
        assert announced == []
    watch.look()
    assert announced == ARRIVED


def test_a_file_that_was_rewritten_is_announced(watch, announced, folder):
    watch.look()
    (folder / "in/first.csv").write_text("a\n1\n2\n")
    watch.look()
    watch.look()
    assert announced == ARRIVED


def test_what_arrived_while_nobody_looked_is_announced_by_the_next_who_does(
    watch, announced, folder
):
    watch.look()
    (folder / "in/second.csv").write_text("a\n2\n")
    again = SourceWatch(load_settings(folder, {}))
    again.look()
    again.look()
    assert announced == ARRIVED


def test_the_first_file_of_an_empty_folder_has_arrived(watch, announced, folder):
    (folder / "in/first.csv").unlink()
    watch.look()
    (folder / "in/first.csv").write_text("a\n1\n")
    watch.look()
    watch.look()
    assert announced == ARRIVED


@pytest.mark.integration
def test_objects_that_arrive_or_are_replaced_under_a_prefix_are_announced(
    watch, announced, folder, s3_bucket
):
    s3 = connect()
    source = FILE.replace("source: in", f"source: s3://{s3_bucket}/in/")
    (folder / "conf/pipelines/payments.yaml").write_text(source)
    s3.put_object(Bucket=s3_bucket, Key="in/first.csv", Body=b"a\n1\n")
    s3.put_object(Bucket=s3_bucket, Key="beside.csv", Body=b"a\n1\n")
    watch.look()
    s3.put_object(Bucket=s3_bucket, Key="beside.csv", Body=b"a\n2\n")
    watch.look()
    watch.look()
    assert announced == []
    for key, body in (("in/second.csv", b"a\n2\n"), ("in/first.csv", b"a\n3\n")):
        s3.put_object(Bucket=s3_bucket, Key=key, Body=body)
        for _ in range(3):
            watch.look()
    assert announced == ARRIVED * 2
    # A bucket that is not there for a while has not become empty.
    path = folder / "conf/pipelines/payments.yaml"
    path.write_text(source.replace(s3_bucket, "no-such-bucket"))
    watch.look()
    path.write_text(source)
    for _ in range(3):
        watch.look()
    assert announced == ARRIVED * 2


def test_a_source_that_cannot_be_listed_for_a_while_is_not_taken_for_new(
    watch, announced, folder, caplog
):
    watch.look()
    (folder / "in").rename(folder / "away")
    watch.look()
    (folder / "away").rename(folder / "in")
    for _ in range(3):
        watch.look()
    assert announced == []
    assert "cannot watch payments" in caplog.text


def test_a_pipeline_that_is_broken_does_not_stop_the_others(watch, announced, folder):
    watch.look()
    (folder / "conf/pipelines/another.yaml").write_text("source: 5\n")
    (folder / "in/second.csv").write_text("a\n2\n")
    watch.look()
    watch.look()
    assert announced == ARRIVED


def test_a_source_is_watched_only_where_that_is_asked_for(watch, announced, folder):
    path = folder / "conf/pipelines/payments.yaml"
    path.write_text(FILE.replace("watch: true", "watch: false"))
    watch.look()
    (folder / "in/second.csv").write_text("a\n2\n")
    watch.look()
    watch.look()
    assert announced == []
