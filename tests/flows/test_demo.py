"""The demo: real data, one batch broken, one drifted, and the truth kept apart."""

import csv
import re

import pytest

from pynomaly_flows.demo import PIPELINE, _untouched, demo
from pynomaly_flows.demo_data import prepare_demo


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


@pytest.fixture
def data(tmp_path):
    return prepare_demo(tmp_path)


@pytest.fixture
def malignant(data):
    _, rows = rows_of(data.labels)
    return {identifier: int(kind) for identifier, kind in rows}


def test_every_row_appears_once_and_about_every_twentieth_is_an_anomaly(data, malignant):
    files = [data.training, *(batch.path for batch in data.batches)]
    ids = [row[0] for path in files for row in rows_of(path)[1] if row[0] in malignant]

    assert len(malignant) == 375
    assert set(ids) == set(malignant)
    assert len(ids) == len(malignant) + 1  # the repeated row of the broken batch
    for path in files:
        share = [malignant[row[0]] for row in rows_of(path)[1] if row[0] in malignant]
        assert 0.04 < sum(share) / len(share) < 0.08


def test_no_file_but_the_labels_tells_which_rows_are_anomalies(data):
    for path in (data.training, *(batch.path for batch in data.batches)):
        header, _ = rows_of(path)
        assert header[0] == "biopsy_id"
        assert len(header) == 31
        assert not {"label", "target", "malignant", "diagnosis"} & set(header)


def test_the_broken_batch_has_each_kind_of_broken_row_once(data):
    header, rows = rows_of(data.batches[1].path)
    ids = [row[0] for row in rows]

    assert len([row for row in rows if len(row) != len(header)]) == 1
    assert ids.count("") == 1
    assert len(ids) - len(set(ids)) == 1
    assert len([row for row in rows if "n/a (smudged)" in row]) == 1
    assert data.batches[1].broken == 4
    assert data.batches[0].broken == data.batches[2].broken == 0


def test_the_drifted_batch_reads_half_as_much_again_in_two_columns(data):
    def mean(path, column):
        header, rows = rows_of(path)
        return sum(float(row[header.index(column)]) for row in rows) / len(rows)

    for column in ("mean_texture", "worst_texture"):
        ratio = mean(data.batches[2].path, column) / mean(data.batches[0].path, column)
        assert 1.35 < ratio < 1.65
    unchanged = mean(data.batches[2].path, "mean_radius") / mean(
        data.batches[0].path, "mean_radius"
    )
    assert 0.9 < unchanged < 1.1


def test_the_same_bytes_are_written_every_time(data, tmp_path_factory):
    again = prepare_demo(tmp_path_factory.mktemp("again"))

    for path in (data.training, data.labels, *(batch.path for batch in data.batches)):
        assert path.read_bytes() == (again.folder / "data" / path.name).read_bytes()


def test_a_second_demo_leaves_the_first_alone(tmp_path):
    first = tmp_path / "demo"
    assert _untouched(first) == first
    for taken in (first, tmp_path / "demo-2"):
        (taken / "conf" / "pipelines").mkdir(parents=True)
        (taken / "conf" / "pipelines" / f"{PIPELINE}.yaml").touch()
    assert _untouched(first) == tmp_path / "demo-3"


@pytest.mark.slow
@pytest.mark.prefect
def test_the_demo_runs_the_lifecycle_under_prefect_and_finds_anomalies_without_labels(
    tmp_path, monkeypatch, prefect_api
):
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    events = []

    document = demo(tmp_path, engine="prefect", on_event=events.append)

    assert document["engine"] == "prefect"
    assert list(document["training"]["steps"]) == [
        "plan", "validate", "profile", "tune", "train", "register", "gate", "promote", "score",
    ]  # fmt: skip
    assert document["training"]["steps"]["gate"]["verdict"] == "pass"
    ordinary, _, drifted = document["batches"]
    assert [b["rows_quarantined"] for b in document["batches"]] == [0, 4, 0]
    assert ordinary["warnings"] == 0 < drifted["warnings"]
    for batch in document["batches"]:
        assert batch["rows_in"] == batch["rows_scored"] + batch["rows_quarantined"]
        assert batch["rows_scored"] == 55
        assert batch["rows_flagged"] == batch["caught"] + batch["false_alarms"]
    assert document["overall"]["anomalies"] == 9
    assert document["overall"]["caught"] == sum(b["caught"] for b in document["batches"]) >= 5
    assert document["overall"]["roc_auc"] >= 0.90
    assert (tmp_path / "conf" / "pipelines" / f"{PIPELINE}.yaml").exists()
    assert "unrecorded_task_runs" not in str([e.facts for e in events])
    assert _unfinished_task_runs() == []
    artifacts = _artifacts()
    assert artifacts.keys() >= {
        "biopsies-validation", "biopsies-gates", "biopsies-model", "biopsies-report",
        "biopsies-trials", "biopsies-rows",
    }  # fmt: skip
    assert re.fullmatch(
        r"Rows of biopsies: \d+ of \d+ rows, [\d,]+ rows/s", artifacts["biopsies-rows"]
    )


def _unfinished_task_runs():
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterTags

    with get_client(sync_client=True) as client:
        found = client.read_task_runs(
            task_run_filter=TaskRunFilter(tags=TaskRunFilterTags(all_=[PIPELINE]))
        )
    assert len(found) == 18  # nine of the lifecycle, three of each batch
    return [run.name for run in found if not run.state.is_completed()]


def _artifacts():
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return {found.key: found.description for found in client.read_artifacts() if found.key}
