"""The seam between commands and flows."""

import subprocess
import sys

import pytest

from pynomaly.domain.errors import UnknownPipelineError, UsageError
from pynomaly.settings import load_settings
from pynomaly_flows.launch import launch, orchestrated
from pynomaly_flows.runs import recorded_run
from pynomaly_flows.steps import step


@step(summary=lambda n: {"n": n})
def double(job, n):
    return 2 * n


def doubling(pipeline: str, n: int, run_id: str | None = None):
    with recorded_run("run", pipeline, run_id) as run:
        double(run.job, n)
    return run.document


@pytest.fixture
def settings(tmp_path, monkeypatch, tiny_platform):
    """Settings of a project whose platform is the tiny one and whose lifecycle only doubles."""
    from pynomaly import bootstrap
    from pynomaly_flows import lifecycle

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(bootstrap, "build", lambda settings: tiny_platform)
    monkeypatch.setattr(lifecycle, "lifecycle", doubling)
    return load_settings(tmp_path, environ={})


def test_auto_runs_directly_where_no_api_is_configured_or_up(settings):
    document = launch("run", "payments", settings, params={"n": 4})

    assert (document["engine"], document["steps"]) == ("direct", {"double": {"n": 8}})


@pytest.mark.prefect
def test_auto_runs_under_the_api_that_is_configured(settings, monkeypatch, prefect_api):
    from pynomaly_flows import deployable

    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setattr(deployable, "lifecycle", deployable.as_flow(doubling))
    events = []

    document = launch("run", "payments", settings, params={"n": 4}, on_event=events.append)

    assert (document["engine"], document["steps"]) == ("prefect", {"double": {"n": 8}})
    assert [(e.kind, e.step, e.facts.get("state")) for e in events[:2]] == [
        ("engine", "prefect", "starting"), ("engine", "prefect", "ready"),
    ]  # fmt: skip
    (flow_run,) = [r for r in _flow_runs() if r.parameters.get("run_id") == document["run_id"]]
    assert flow_run.tags == ["payments"]
    assert flow_run.state.is_completed()


def _flow_runs():
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_runs()


def test_launches_within_one_orchestration_share_platform_and_engine(settings):
    events = []
    with orchestrated(settings, "direct", events.append) as engine:
        launch("run", "payments", settings, engine="prefect", params={"n": 1})
        launch("run", "payments", settings, engine="auto", params={"n": 2})

    assert engine == "direct"
    assert [e.facts for e in events if e.kind == "finished"] == [{"n": 2}, {"n": 4}]


def test_an_error_leaves_the_next_launch_unharmed(settings):
    with pytest.raises(UnknownPipelineError):
        launch("run", "nonsense", settings, params={"n": 4})

    assert launch("run", "payments", settings, params={"n": 4})["status"] == "completed"


def test_without_prefect_nothing_heavy_is_imported():
    code = (
        "import sys\n"
        "import pynomaly_flows.launch, pynomaly_flows.lifecycle, pynomaly_flows.training\n"
        "import pynomaly_flows.release, pynomaly_flows.scoring, pynomaly.bootstrap\n"
        "from pynomaly.infrastructure.prefect import server, session\n"
        "heavy = {'prefect', 'pyarrow', 'pandas', 'sklearn', 'mlflow', 'great_expectations',\n"
        "         'optuna', 'pyod', 'matplotlib', 'boto3', 'sqlalchemy', 'uvicorn'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_password_is_not_handed_to_prefect(settings, prefect_api, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    data = "postgresql://me:hidden@127.0.0.1/db"
    with pytest.raises(UsageError, match="password") as refused:
        launch("validate", "tiny", settings, engine="prefect", params={"data": data})
    assert "hidden" not in str(refused.value)
