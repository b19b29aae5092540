"""The registry on a real MLflow: SQLite in a folder, and a server over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pynomaly.application.ports.registry import ModelRegistry, Registration
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import IntegrityError, PynomalyError, UsageError
from pynomaly.domain.gates import GateResult
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.releases import Release
from pynomaly.domain.runs import Actor
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.mlflow import MlflowRegistry
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.pyod import PyodFitter
from pynomaly.serving import load_scorer
from pynomaly.testing import RegistryContract


@dataclass(frozen=True)
class Trained:
    """A real, tiny model on disk."""

    folder: Path
    digest: str
    rows: pa.Table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    rng = np.random.default_rng(0)
    n = 200
    seen = np.datetime64("2026-01-01T00:00:00", "us") + rng.integers(0, 10**12, n)
    rows = pa.table(
        {
            "amount": pa.array(rng.normal(50, 10, n), mask=rng.random(n) < 0.1),
            "country": pa.array(rng.choice(["DE", "FR"], n).tolist(), mask=rng.random(n) < 0.2),
            "online": pa.array(rng.random(n) < 0.5, mask=rng.random(n) < 0.1),
            "seen_at": pa.array(seen, pa.timestamp("us", tz="UTC")),
        }
    )
    schema = Schema(
        (
            Column("amount", "numeric"),
            Column("country", "categorical"),
            Column("online", "boolean"),
            Column("seen_at", "datetime"),
        )
    )
    preprocessing = fit_preprocessing(rows, schema)
    X = encode(preprocessing, rows)
    kernels = FrozenKernels()
    members = (PyodFitter(kernels).fit("pca", {}, X, seed=0),)
    card = ModelCard("payments", "run-1", "pca", {}, "f" * 64, n, 0, {})
    scores = score_members(members, X, kernels)
    model = Model(card, schema, preprocessing, members, calibrate(scores))
    folder = tmp_path_factory.mktemp("trained") / "01JD-model"
    golden = rows.slice(0, 5).append_column("expected_score", pa.array(scores[:5]))
    return Trained(folder, FolderModelStore().save(model, golden, folder), rows)


@pytest.fixture
def registration(trained: Trained, tmp_path: Path) -> Registration:
    folder = tmp_path / "trained"
    shutil.copytree(trained.folder, folder)
    return Registration(
        # Tests share a database, because creating one takes seconds: each has its own pipeline.
        pipeline=f"payments-{uuid.uuid4().hex[:8]}",
        run_id="01JD-run",
        folder=folder,
        manifest_digest=trained.digest,
        training_fingerprint="f" * 64,
        holdout_uri="staged/holdout.parquet",
        example=trained.rows.slice(0, 5),
        params={"detector": "pca", "detector.n_components": "0.9"},
        metrics={"holdout_roc_auc": 0.97},
        tags={"detector": "pca"},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def registry(home: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{home}/state/mlflow.db", home / "artifacts")


class TestMlflowRegistry(RegistryContract):
    """All of the contract."""


def test_plain_mlflow_in_another_process_gives_exactly_our_scores(
    registry: MlflowRegistry, registration: Registration, trained: Trained, home: Path
) -> None:
    version = registry.register(registration)
    frame = trained.rows.to_pandas()
    frame.to_pickle(home / "rows.pkl")
    code = f"""
import mlflow, pandas as pd
mlflow.set_tracking_uri("sqlite:///{home}/state/mlflow.db")
model = mlflow.pyfunc.load_model("models:/{version.pipeline}/{version.version}")
model.predict(pd.read_pickle("rows.pkl")).to_pickle("scores.pkl")
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYNOMALY", "MLFLOW"))}
    subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, check=True, timeout=120)
    theirs = pd.read_pickle(home / "scores.pkl")
    ours = load_scorer(trained.folder, trained.digest).score(frame)
    assert list(theirs.columns) == ["score", "p_value"]
    pd.testing.assert_frame_equal(theirs, ours, check_exact=True)


def test_a_run_holds_parameters_metrics_trials_and_files(
    registry: MlflowRegistry, registration: Registration, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>validated</p>")
    # More than MLflow takes in one call.
    trials = [
        {"number": i, "detector": "pca", "params": {"a": i}, "value": None if i == 3 else i / 10}
        for i in range(1_100)
    ]
    params = {f"p{i}": str(i) for i in range(150)}
    version = registry.register(
        replace(
            registration,
            params=params,
            trials=trials,
            artifacts={"data/validation.html": page, "data/deep/copy.html": page},
        )
    )
    client = registry._client
    run = client.get_run(version.tracking_run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "01JD-run"
    assert run.data.params == params
    assert run.data.metrics["holdout_roc_auc"] == 0.97
    assert run.data.tags["pynomaly.training_fingerprint"] == "f" * 64
    assert client.get_experiment(run.info.experiment_id).name == registration.pipeline

    history = client.get_metric_history(version.tracking_run_id, "tuning_objective")
    assert {m.step: m.value for m in history} == {i: i / 10 for i in range(1_100) if i != 3}
    for name in ("data/validation.html", "data/deep/copy.html"):
        local = client.download_artifacts(version.tracking_run_id, name, str(tmp_path))
        assert Path(local).read_text() == "<p>validated</p>"

    name = "tuning/trials.json"
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": name, "type": "table"}]
    stored = Path(client.download_artifacts(version.tracking_run_id, name, str(tmp_path)))
    table = pd.read_json(stored, orient="split")
    assert table["number"].tolist() == list(range(1_100))
    assert json.loads(table["params"][7]) == {"a": 7}
    assert np.isnan(table["value"][3])

    registered = client.get_model_version(version.pipeline, str(version.version))
    assert registered.tags == {
        "detector": "pca",
        "pynomaly.run_id": "01JD-run",
        "pynomaly.training_fingerprint": "f" * 64,
        "pynomaly.manifest_digest": registration.manifest_digest,
        "pynomaly.holdout_uri": "staged/holdout.parquet",
    }
    assert registered.run_id == version.tracking_run_id


def test_the_model_has_a_signature_requirements_and_no_pickle(
    registry: MlflowRegistry, registration: Registration, home: Path
) -> None:
    import mlflow.models

    version = registry.register(registration)
    source = registry._client.get_model_version_download_uri(version.pipeline, str(version.version))
    folder = Path(source.removeprefix("file://"))
    assert folder.is_relative_to(home / "artifacts" / registration.pipeline)
    signature = mlflow.models.Model.load(str(folder)).signature
    assert signature.inputs.input_names() == ["amount", "country", "online", "seen_at"]
    assert signature.outputs.input_names() == ["score", "p_value"]
    serving = json.loads(
        (folder / "serving_input_example.json").read_text(), parse_constant=pytest.fail
    )
    assert serving["dataframe_split"]["columns"] == ["amount", "country", "online", "seen_at"]
    assert "pynomaly-platform==" in (folder / "requirements.txt").read_text()
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib")]


def test_tags_reach_the_version(registry: MlflowRegistry, registration: Registration) -> None:
    version = registry.register(registration).version
    registry.tag(registration.pipeline, version, {"release": "01JD-rel"})
    stored = registry._client.get_model_version(registration.pipeline, str(version))
    assert stored.tags["release"] == "01JD-rel"


def test_a_model_that_does_not_load_is_never_registered(
    registry: MlflowRegistry, registration: Registration
) -> None:
    arrays = registration.folder / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes() + b"!")
    with pytest.raises(IntegrityError, match=r"does not work once stored: .*arrays\.npz"):
        registry.register(registration)
    client = registry._client
    assert client.search_model_versions(f"name='{registration.pipeline}'") == []
    experiment = client.get_experiment_by_name(registration.pipeline)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def test_a_model_that_predicts_nonsense_is_never_registered(
    registry: MlflowRegistry, registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_score(self: object, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"score": [np.nan] * len(frame), "p_value": 0.5})

    monkeypatch.setattr("pynomaly.serving.scorer.Scorer.score", no_score)
    with pytest.raises(IntegrityError, match="does not score once stored"):
        registry.register(registration)
    assert registry._client.search_model_versions(f"name='{registration.pipeline}'") == []


def test_a_link_in_the_artifact_store_is_refused(
    registry: MlflowRegistry, registration: Registration, tmp_path: Path
) -> None:
    version = registry.register(registration)
    source = registry._client.get_model_version_download_uri(version.pipeline, str(version.version))
    stored = Path(source.removeprefix("file://")) / "artifacts" / "model"
    (tmp_path / "secret").write_text("secret")
    (stored / "extra").symlink_to(tmp_path / "secret")
    store = FolderModelStore()
    with pytest.raises(IntegrityError):
        store.load(registry.download(version, tmp_path / "out"), version.manifest_digest)


def test_lost_artifacts_are_reported(
    registry: MlflowRegistry, registration: Registration, tmp_path: Path
) -> None:
    version = registry.register(registration)
    source = registry._client.get_model_version_download_uri(version.pipeline, str(version.version))
    shutil.rmtree(source.removeprefix("file://"))
    with pytest.raises(IntegrityError, match="cannot be fetched"):
        registry.download(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_registry_that_does_not_answer_has_not_lost_the_version(
    registry: MlflowRegistry,
    registration: Registration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = registry.register(registration)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        nobody = MlflowRegistry(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "there")
        with pytest.raises(PynomalyError, match="does not answer") as caught:
            nobody.download(version, tmp_path / "out")
    assert not isinstance(caught.value, IntegrityError)
    assert not (tmp_path / "out").exists()


def test_an_artifact_path_must_stay_within_the_run(
    registry: MlflowRegistry, registration: Registration, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("x")
    with pytest.raises(UsageError, match="leaves the run's artifacts"):
        registry.register(replace(registration, artifacts={"../../page.html": page}))


def test_a_deleted_experiment_is_not_quietly_revived(
    registry: MlflowRegistry, registration: Registration
) -> None:
    client = registry._client
    client.delete_experiment(client.create_experiment(registration.pipeline))
    with pytest.raises(UsageError, match="is deleted"):
        registry.register(registration)


def test_passwords_of_an_unreachable_registry_stay_out_of_the_message(tmp_path: Path) -> None:
    registry = MlflowRegistry("file://me:hunter2@nowhere/mlruns", tmp_path)
    with pytest.raises(PynomalyError, match="could not open the model registry") as caught:
        registry.aliases("payments")
    assert "hunter2" not in caught.value.message


def test_registering_prints_nothing_and_leaves_the_process_as_it_was(
    registration: Registration, tmp_path: Path
) -> None:
    """On a new database, whose creation MLflow would log; from an import that takes no MLflow."""
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    code = f"""
import sys
from pathlib import Path
import pyarrow as pa
from pynomaly.application.ports.registry import Registration
from pynomaly.infrastructure.mlflow import MlflowRegistry
registry = MlflowRegistry("sqlite:///{tmp_path}/new/mlflow.db", Path({str(tmp_path / "art")!r}))
assert "mlflow" not in sys.modules and "pandas" not in sys.modules
example = pa.ipc.open_file("{tmp_path}/example.arrow").read_all()
version = registry.register(Registration(
    "payments", "r", Path({str(registration.folder)!r}), {registration.manifest_digest!r},
    "f", "h", example, {{}}, {{}},
))
registry.set_alias("payments", "production", version.version)
registry.download(version, Path({str(tmp_path / "got")!r}))
import mlflow, os
assert "new/mlflow.db" not in mlflow.get_tracking_uri() + os.environ.get("MLFLOW_TRACKING_URI", "")
assert mlflow.active_run() is None
"""
    with pa.ipc.new_file(tmp_path / "example.arrow", registration.example.schema) as file:
        file.write_table(registration.example)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(cwd.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, registry: MlflowRegistry) -> Iterator[str]:
    """An MLflow server of its own that keeps artifacts itself."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{home}/mlflow.db",
            "--artifacts-destination", str(home / "artifacts"), "--workers", "1",
        ],
        stdout=log, stderr=log, cwd=home, start_new_session=True,
        # Background jobs of its user interface would start three more processes.
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/health", process, home / "log")
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"MLflow did not start: {log.read_text()[-2_000:]}")


def test_a_server_keeps_the_artifacts_itself_and_gives_back_the_same_bytes(
    server: str, registration: Registration, tmp_path: Path
) -> None:
    registry: ModelRegistry = MlflowRegistry(server, tmp_path / "not-used")
    version = registry.register(registration)
    registry.set_alias(registration.pipeline, "production", version.version)
    assert registry.aliases(registration.pipeline) == {"production": version.version}
    assert registry.aliases("nobody") == {}
    folder = registry.download(version, tmp_path / "got")
    FolderModelStore().load(folder, version.manifest_digest)
    assert not (tmp_path / "not-used").exists()
    with pytest.raises(IntegrityError):
        registry.download(replace(version, version=4711), tmp_path / "lost")


def test_the_page_of_a_model_says_what_it_is(
    registry: MlflowRegistry, registration: Registration, home: Path
) -> None:
    from mlflow import MlflowClient

    version = registry.register(replace(registration, description="Fitted on **200** rows."))
    client = MlflowClient(f"sqlite:///{home}/state/mlflow.db")
    model = client.get_registered_model(registration.pipeline)
    assert f"pipeline **{registration.pipeline}**" in model.description
    assert "`production` serves" in model.description
    found = client.get_model_version(registration.pipeline, str(version.version))
    assert found.description == "Fitted on **200** rows."

    gate = GateResult("alert_rate", "review", 0.1, None, 0.05, 300, "Many.")
    release = Release(
        "r", "run", registration.pipeline, version.version, None, "pending_approval", "review",
        (gate,), datetime(2026, 11, 25, 19, 14, tzinfo=UTC), proposer=Actor("ada"),
    )  # fmt: skip
    run = version.tracking_run_id
    registry.describe(registration.pipeline, (release,), {version.version: run})
    experiment = client.get_experiment_by_name(registration.pipeline).experiment_id
    told = client.get_registered_model(registration.pipeline).description.splitlines()
    assert told[-1] == (
        f"| [1](#/models/{registration.pipeline}/versions/1) | pending approval "
        "| review: `alert_rate` review | 2026-11-25 19:14 UTC by ada "
        f"| [run](#/experiments/{experiment}/runs/{run}) |"
    )
