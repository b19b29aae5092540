"""One `pynomaly up` for a project with a champion, and what it does by itself.

The tests share it and use it in the order in which they stand here: the last one stops it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from command_line import Cli, frame
from pynomaly.bootstrap import build
from pynomaly.domain.deployments import DEPLOYED_FLOWS
from pynomaly.domain.runs import Actor
from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases
from pynomaly.presentation.cli.main import main
from pynomaly.settings import load_settings

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(600)]

T = TypeVar("T")


@dataclass(frozen=True)
class Up:
    """The running command."""

    project: Path
    process: subprocess.Popen[str]
    document: dict[str, Any]
    told: Path

    def children(self) -> list[int]:
        """Every process below it."""
        return _below(self.process.pid)


def _below(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    children = [int(child) for child in text.split()]
    return children + [pid for child in children for pid in _below(child)]


def command_of(pid: int) -> str:
    """What a process was started with; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


def eventually(look: Callable[[], T | None], seconds: float = 180) -> T:
    """Return what ``look`` finds once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)
    return found


def page(url: str) -> str:
    """What a browser gets."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        assert response.status == 200
        return str(response.read().decode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def configure(project: Path, **sections: Any) -> None:
    """Change sections of the pipeline's file."""
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))


@pytest.fixture(scope="module")
def up(as_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`pynomaly up` on a project whose pipeline is watched, and monitored every minute."""
    project = tmp_path_factory.mktemp("up") / "project"
    # Not the scores, which the ledger knows by their full paths.
    shutil.copytree(as_trained, project, ignore=shutil.ignore_patterns("scores"))
    (project / "arriving").mkdir()
    frame(50, 8).to_csv(project / "arriving" / "first.csv", index=False)
    configure(
        project,
        source="arriving",
        triggers={"watch": True, "watch_seconds": 1, "scores_at_once": 4},
        training={"trials": 1, "detectors": ["pca"]},
        schedules={"monitor": {"cron": "* * * * *", "timezone": "Europe/Berlin"}},
    )
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYNOMALY_"))}
    # A setting of the user's own Prefect that would break our server, if it were let in.
    own |= {
        "PREFECT_PROFILES_PATH": f"{project}/none",
        "PREFECT_SERVER_API_AUTH_STRING": "me:secret",
    }
    told = project / "up.log"
    with told.open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "pynomaly.presentation.cli.main", "up", "--json",
                "--port", str(free_port()), "--mlflow-port", str(free_port()),
            ],
            cwd=project, env=own, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, told.read_text()
                text += line
            yield Up(project, process, json.loads(text), told)
        finally:
            process.terminate()
            process.wait(120)
            process.stdout.close()


@pytest.fixture(scope="module")
def silent(up: Up) -> str:
    """A run whose process sent a heartbeat and then, on a machine we cannot see, died."""
    from pynomaly.infrastructure.prefect.client import api_client

    with api_client(up.document["api"]) as client:
        from prefect.events.schemas.events import Event, RelatedResource, Resource
        from prefect.states import Running, Scheduled

        deployment = client.read_deployment_by_name("payments/score")
        run = client.create_flow_run_from_deployment(
            deployment.id, state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
        )
        client.set_flow_run_state(run.id, Running(), force=True)
        heartbeat = Event(
            event="prefect.flow-run.heartbeat",
            resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"}),
            related=[
                RelatedResource(
                    {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
                )
                for tag in run.tags
            ],
        )
        client.request("POST", "/events", json=[heartbeat.model_dump(mode="json")])
        return str(run.id)


def stand_beside(up: Up, patch: pytest.MonkeyPatch) -> None:
    """Let commands stand in the project, as in another terminal."""
    patch.chdir(up.project)
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "PYNOMALY_")):
            patch.delenv(name)
    patch.setenv("PREFECT_PROFILES_PATH", str(up.project / "none"))


@pytest.fixture(scope="module")
def arrived(up: Up) -> dict[str, str]:
    """Data that arrived in three ways, all at once; ids of the runs that events started."""
    eventually((up.project / ".pynomaly/prefect/watched.json").exists)  # what was there is known
    frame(30, 9).to_csv(up.project / "arriving/second.csv", index=False)
    frame(45, 10).to_csv(up.project / "told.csv", index=False)
    (up.project / "broken.csv").write_text("txn_id,amount\n1,2\n")
    started = {}
    for name in ("told.csv", "broken.csv"):
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
            stand_beside(up, patch)
            assert main(["trigger", "data-arrived", "payments", "--data", name, "--json"]) == 0
        started[name] = json.loads(out.getvalue())["run_id"]
    return started


@pytest.fixture(autouse=True)
def beside(up: Up, silent: str, arrived: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a test stand in the project, where things are under way."""
    stand_beside(up, monkeypatch)


def runs(cli: Cli) -> list[dict[str, Any]]:
    return list(cli("history", "payments", "--limit", "100", "--json").json["runs"])


def rows_scored(run: dict[str, Any]) -> int | None:
    summaries = {step["step"]: step["summary"] for step in run["steps"]}
    rows: int | None = summaries.get("score", {}).get("rows_scored")
    return rows


def test_the_pages_of_prefect_and_mlflow_answer(up: Up) -> None:
    assert "Prefect" in page(f"{up.document['prefect']}/")
    settings = json.loads(page(f"{up.document['prefect']}/ui-settings"))
    assert settings["api_url"] == "/api"
    assert "MLflow" in page(up.document["mlflow"])


def test_a_second_one_on_the_same_home_is_refused(up: Up, cli: Cli) -> None:
    outcome = cli("up", "--port", str(free_port()))
    assert outcome.code == 6
    assert up.document["prefect"] in outcome.err


def test_a_port_that_is_taken_is_named(up: Up, cli: Cli, tmp_path: Path) -> None:
    port = up.document["prefect"].rpartition(":")[2]
    (tmp_path / "conf").mkdir()
    os.chdir(tmp_path)
    outcome = cli("up", "--port", port)
    assert outcome.code == 2
    assert f"127.0.0.1:{port}: address already in use" in outcome.err
    assert "--port" in outcome.err


def test_a_command_finds_it_by_itself(up: Up, cli: Cli) -> None:
    frame(40, 7).to_csv("batch.csv", index=False)
    document = cli("score", "payments", "--data", "batch.csv", "--json").json
    assert document["engine"] == "prefect"
    assert document["steps"]["score"]["rows_in"] == 40


def test_deployments_follow_the_configuration(up: Up, cli: Cli) -> None:
    def done(*arguments: str) -> dict[str, str]:
        document = cli("deploy", *arguments, "--json").json
        return {d["deployment"]: d["done"] for d in document["deployments"]}

    assert set(done().values()) == {"unchanged"}  # the worker has deployed all of it
    assert list(done()) == [f"payments/{flow}" for flow in DEPLOYED_FLOWS]

    path = up.project / "conf/pipelines/payments.yaml"
    other = path.with_name("refunds.yaml")
    other.write_text(path.read_text())
    assert set(done("refunds").values()) == {"created"}
    changed = yaml.safe_load(path.read_text()) | {"triggers": {"scores_at_once": 3}}
    other.write_text(yaml.safe_dump(changed))
    assert [name for name, what in done().items() if what == "updated"] == ["refunds/score"]
    other.unlink()
    removed = [name for name, what in done().items() if what == "removed"]
    assert sorted(removed) == sorted(f"refunds/{flow}" for flow in DEPLOYED_FLOWS)
    assert set(done().values()) == {"unchanged"}


def test_prefect_keeps_what_was_deployed(up: Up) -> None:
    from pynomaly.infrastructure.prefect.client import api_client

    with api_client(up.document["api"]) as client:
        train = client.read_deployment_by_name("payments/train")
        monitor = client.read_deployment_by_name("payments/monitor")
        assert train.global_concurrency_limit is not None
        assert train.global_concurrency_limit.limit == 1
        assert {"pynomaly", "payments"} < set(train.tags)
        (schedule,) = monitor.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == (
            "* * * * *",
            "Europe/Berlin",
        )
        silence = [a for a in client.read_automations() if a.name.startswith("silent runs")]
        assert len(silence) == 1


def test_a_work_pool_that_is_not_there_is_named(up: Up, cli: Cli) -> None:
    outcome = cli("deploy", "--work-pool", "teampool")
    assert outcome.code == 2
    assert "teampool" in outcome.err
    assert "prefect work-pool create" in outcome.err


def test_data_that_arrives_in_a_watched_folder_is_scored(up: Up, cli: Cli) -> None:
    # Whatever of the source is not scored yet: 50 rows were there before.
    assert eventually(lambda: [r for r in runs(cli) if rows_scored(r) == 80])


def test_an_event_starts_a_run_that_can_be_followed(arrived: dict[str, str], cli: Cli) -> None:
    run_id = arrived["told.csv"]

    followed = cli("runs", "watch", run_id, "--json")

    assert followed.code == 0
    document = followed.json
    assert (document["run_id"], document["engine"]) == (run_id, "prefect")
    assert document["steps"]["score"]["rows_in"] == 45
    listed = {run["id"]: run for run in cli("runs", "list", "--json").json["runs"]}
    assert listed[run_id]["status"] == "completed"
    # Prefect hears of the end a moment after our records.
    eventually(
        lambda: any(
            (run["id"], run["prefect"]) == (run_id, "Completed")
            for run in cli("runs", "list", "payments", "--json").json["runs"]
        )
    )


def test_a_release_suspends_until_somebody_approves_it(up: Up, cli: Cli) -> None:
    configure(
        up.project,
        release={"min_gate_rows": 50, "allow_inconclusive": True},
        rollout={"approval": "required", "strategy": "direct"},
    )
    frame(800, 11).to_csv("fresh.csv", index=False)
    assert cli("train", "payments", "--data", "fresh.csv", "--engine", "direct").code == 0
    from prefect.states import Scheduled

    from pynomaly.infrastructure.prefect.client import api_client

    with api_client(up.document["api"]) as client:
        deployment = client.read_deployment_by_name("payments/release")
        run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled())
        started = str(run.id)

    def status() -> dict[str, Any]:
        document: dict[str, Any] = cli("status", "payments", "--json").json
        return document

    waiting = eventually(lambda: status()["on_its_way"])
    assert waiting["state"] == "pending_approval"
    suspended = eventually(
        lambda: [r for r in runs(cli) if (r["id"], r["status"]) == (started, "suspended")]
    )
    assert suspended
    assert cli("runs", "watch", started).code == 5
    with api_client(up.document["api"]) as client:
        eventually(lambda: client.read_flow_run(started).state_name == "Suspended")

    approved = cli("releases", "approve", waiting["id"], "--reason", "seen", "--json").json

    assert approved["run_goes_on"]
    assert eventually(lambda: status()["champion"]["version"] == 2)
    (done,) = [r for r in runs(cli) if r["id"] == started]
    eventually(lambda: cli("runs", "watch", started).code == 0)
    assert done["command"] == "release"


def test_following_a_run_that_fails_ends_as_it_did(arrived: dict[str, str], cli: Cli) -> None:
    followed = cli("runs", "watch", arrived["broken.csv"])

    assert followed.code == 3
    assert "failed" in followed.out
    assert "rate" in followed.out  # a column that is missing
    error = cli("runs", "watch", arrived["broken.csv"], "--json").json["error"]
    assert (error["type"], error["exit_code"]) == ("ValidationFailedError", 3)
    assert error["message"] in followed.out.replace("\n", " ")


def test_a_schedule_starts_runs(up: Up, cli: Cli) -> None:
    def monitored() -> list[dict[str, Any]]:
        done = [r for r in runs(cli) if (r["command"], r["status"]) == ("monitor", "completed")]
        return [run for run in done if run["engine"] == "prefect"]

    run = eventually(monitored)[0]
    from pynomaly.infrastructure.prefect.client import api_client

    with api_client(up.document["api"]) as client:
        assert client.read_flow_run(run["id"]).auto_scheduled
        eventually(lambda: client.read_flow_run(run["id"]).state_name == "Completed")


def test_a_child_that_is_killed_is_started_again(up: Up) -> None:
    (server,) = [
        pid
        for pid in up.children()
        if "mlflow server" in command_of(pid) and "leash" not in command_of(pid)
    ]
    os.kill(server, signal.SIGKILL)
    eventually(lambda: "mlflow: restarted" in up.told.read_text())
    eventually(lambda: up.told.read_text().count("mlflow: healthy") == 2)
    assert "MLflow" in page(up.document["mlflow"])


def test_a_run_that_fell_silent_is_crashed_and_taken_up(up: Up, silent: str) -> None:
    from pynomaly.infrastructure.prefect.client import api_client

    with api_client(up.document["api"]) as client:
        eventually(lambda: client.read_flow_run(silent).state_name == "Completed")
        states = client.read_flow_run_states(silent)
    crashed = [state.message for state in states if state.name == "Crashed"]
    assert crashed == ["no heartbeat: its process died"]


def test_a_run_killed_with_its_worker_is_taken_up_and_completes(up: Up, cli: Cli) -> None:
    def steps() -> dict[str, dict[str, Any]]:
        (run,) = [run for run in runs(cli) if run["id"] == run_id] or [{"steps": []}]
        return {step["step"]: step for step in run["steps"]}

    run_id = cli("trigger", "drift-detected", "payments", "--json").json["run_id"]
    eventually(lambda: "profile" in steps())
    finished = steps()
    leases = SqlRunLeases(f"sqlite:///{up.project}/.pynomaly/pynomaly.db")
    (owner,) = [lease.owner for lease in leases.leases() if lease.run_id == run_id]
    (worker,) = [
        pid
        for pid in up.children()
        if "pynomaly_flows.worker" in command_of(pid) and "leash" not in command_of(pid)
    ]
    os.kill(worker, signal.SIGKILL)
    os.kill(int(owner.split(":")[1]), signal.SIGKILL)

    followed = cli("runs", "watch", run_id, "--timeout", "150", "--json")

    assert followed.code == 0, followed.out
    assert followed.json["steps"]["register"]["version"] == 3
    assert {name: steps()[name] for name in finished} == finished  # nothing is done twice
    assert "worker: restarted" in up.told.read_text()
    assert run_id not in [lease.run_id for lease in leases.leases()]


def test_a_registered_version_is_gated_and_its_run_ends_once_nobody_wants_it(
    up: Up, cli: Cli
) -> None:
    def gated() -> list[str]:
        return [
            run["id"]
            for run in runs(cli)
            for step in run["steps"]
            if step["step"] == "gate" and step["summary"].get("version") == 3
        ]

    (run_id,) = eventually(gated)
    assert cli("runs", "watch", run_id).code == 5  # few rows: a person has to look
    release = cli("status", "payments", "--json").json["on_its_way"]["id"]

    # Not by the command, which would tell Prefect: the worker has to notice by itself.
    build(load_settings()).steer.abort(release, Actor("ada"), "trained on too little")

    def ended() -> dict[str, Any] | None:
        return next((r for r in runs(cli) if (r["id"], r["status"]) == (run_id, "failed")), None)

    assert "aborted by ada: trained on too little" in eventually(ended)["error"]
    assert cli("runs", "watch", run_id).code == 4


def test_down_leaves_no_process(up: Up, cli: Cli) -> None:
    processes = [up.process.pid, *up.children()]
    assert len(processes) >= 7

    assert up.document["prefect"] in cli("down").out

    assert up.process.wait(10) == 0
    assert [command for pid in processes if (command := command_of(pid))] == []
    assert cli("down", "--json").json["stopped"] is None
    outcome = cli("deploy")
    assert outcome.code == 2
    assert "pynomaly up" in outcome.err
