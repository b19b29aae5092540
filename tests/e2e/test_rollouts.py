"""A second version on its way: canary, approval, what rolls it back, and what a rollback restores."""

import getpass
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from command_line import Cli, frame
from pynomaly.presentation.cli.main import main

DIRECT = ("--engine", "direct")
POLICIES = """
training: {trials: 1, detectors: [iforest]}
release: {min_gate_rows: 200}
decision: {budget: 0.05}
"""


@pytest.fixture(scope="module")
def two_versions(
    tmp_path_factory: pytest.TempPathFactory, with_registry: Callable[[Path], None]
) -> Path:
    """A project in which version 1 serves and version 2 is trained."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "conf").mkdir()
    with_registry(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        frame(1_200, 71).to_csv("payments.csv", index=False)
        frame(1_200, 72).to_csv("fresh.csv", index=False)
        assert main(["init", "payments", "--data", "payments.csv", "--id", "txn_id"]) == 0
        path = folder / "conf/pipelines/payments.yaml"
        path.write_text(path.read_text() + POLICIES)
        assert main(["run", "payments", *DIRECT]) == 0
        assert main(["train", "payments", "--data", "fresh.csv", *DIRECT]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy for one test, as working folder."""
    ignored = shutil.ignore_patterns("scores")
    folder = Path(shutil.copytree(two_versions, tmp_path / "project", ignore=ignored))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    frame(3_000, 80).to_csv("day.csv", index=False)
    return folder


def configure(project: Path, **sections: str) -> None:
    """Replace sections of the pipeline's file."""
    path = project / "conf/pipelines/payments.yaml"
    lines = [x for x in path.read_text().splitlines() if x.split(":")[0] not in sections]
    path.write_text("\n".join([*lines, *(f"{k}: {v}" for k, v in sections.items())]) + "\n")


def serving(cli: Cli) -> int:
    version = cli("status", "payments", "--json").json["champion"]["version"]
    assert isinstance(version, int)
    return version


def on_its_way(cli: Cli) -> str:
    release = cli("status", "payments", "--json").json["on_its_way"]["id"]
    assert isinstance(release, str)
    return release


def test_a_canary_serves_step_by_step_and_is_taken_back_in_one(project: Path, cli: Cli) -> None:
    configure(project, rollout="{canary_shares: [0.2]}")
    released = cli("release", "payments", *DIRECT, "--json")
    assert released.json["steps"]["promote"] | {"release_id": ""} == {
        "release_id": "", "version": 2, "previous": 1, "state": "canary", "strategy": "canary",
        "share": 0.2,
    }  # fmt: skip

    score = ("score", "payments", "--data", "day.csv", "--out", "day.parquet", *DIRECT, "--json")
    steps = cli(*score).json["steps"]
    rollout = steps["rollout"]

    table = pq.read_table("day.parquet")
    answered = Counter(table["model_version"].to_pylist())
    assert answered == {1: 3_000 - rollout["answered"], 2: rollout["answered"]}
    assert steps["score"]["rows_by_challenger"] == rollout["answered"]
    assert answered[2] == pytest.approx(600, abs=100)
    assert cli("scores", "read", "payments", "--json").json["rows_by_challengers"] == answered[2]
    assert f"{answered[2]} were answered by versions rolled out" in " ".join(
        cli("scores", "read", "payments").out.split()
    )
    assert (rollout["verdict"], rollout["state"]) == ("advance", "production")
    assert serving(cli) == 2

    back = cli("rollback", "payments", "--reason", "alerts look odd", "--json")
    assert back.json["registry"]["moved"] == {"production": 1, "previous": None}
    assert serving(cli) == 1
    first = cli("releases", "list", "payments", "--json").json["releases"][-1]
    assert first["rollout"]["strategy"] == "direct"  # there was nothing to split with
    events = cli("releases", "show", back.json["id"], "--json").json["events"]
    assert (events[-1]["action"], events[-1]["reason"]) == ("restore", "alerts look odd")
    again = cli(*score).json["steps"]
    assert "rollout" not in again
    assert set(pq.read_table("day.parquet")["model_version"].to_pylist()) == {1}


def test_a_policy_that_flags_four_times_as_much_rolls_itself_back(project: Path, cli: Cli) -> None:
    configure(project, decision="{budget: 0.20}")  # the policy alone is released, like a model
    frame(6_000, 80).to_csv("day.csv", index=False)
    # The gates show the load to come; somebody accepts it all the same.
    waiting = cli("release", "payments", "--version", "1", *DIRECT, "--json")
    assert waiting.code == 5
    assert "alert_rate says review" in waiting.error
    assert "By the new decision policy the champion would flag" in waiting.error
    assert cli("releases", "approve", on_its_way(cli)).code == 0
    assert cli("release", "payments", "--resume", *DIRECT).code == 0
    release = on_its_way(cli)

    # Paused, nothing happens by itself, and what was seen is kept.
    assert "version 1 of payments is canary at 5 %, paused" in cli("releases", "pause", release).out
    again = cli("releases", "pause", release, "--reason", "me too").out
    assert "nothing changed: version 1 of payments is canary at 5 %, paused already" in again
    assert "injected_recall" not in again  # the gates are shown where somebody asks for them
    score = ("score", "payments", "--data", "day.csv", *DIRECT, "--json")
    assert cli(*score).json["steps"]["rollout"]["state"] == "canary"
    assert cli("releases", "resume", release).code == 0

    steps = cli(*score).json["steps"]  # scored already: nothing is counted twice
    rollout = steps["rollout"]
    assert not steps["score"]["unreleased_policy"]  # it is on its way
    assert (rollout["rows"], rollout["verdict"], rollout["state"]) == (
        6_000, "roll_back", "rolled_back",
    )  # fmt: skip
    assert "certainly more than 2 times" in rollout["sentence"]
    assert 0 < rollout["answered"] < 600
    assert serving(cli) == 1
    assert cli("releases", "watch", release).code == 4

    after = " ".join(cli("score", "payments", "--data", "day.csv", *DIRECT).out.split())
    assert "decision policy of the configuration is not released and flagged nothing" in after


def test_nothing_serves_unless_somebody_else_approved_it(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(project, rollout="{approval: required, four_eyes: true, strategy: direct}")
    waiting = cli("release", "payments", *DIRECT, "--json")
    assert waiting.code == 5
    assert "version 1 keeps serving" in waiting.error
    release = on_its_way(cli)

    own = cli("releases", "approve", release, "--json")
    assert own.code == 2
    assert "cannot approve it" in own.error
    assert cli("release", "payments", "--resume", *DIRECT).code == 5

    monkeypatch.setenv("LOGNAME", "grace")
    approved = cli("releases", "approve", release, "--reason", "seen", "--json").json
    assert approved["approval"]["actor"]["name"] == "grace"
    assert approved["registry"]["moved"] == {}  # the candidate has its alias already
    assert serving(cli) == 1
    assert cli("release", "payments", "--resume", *DIRECT).code == 0
    assert serving(cli) == 2
    assert cli("releases", "reject", release, "--reason", "late", "--json").code == 6


def test_a_staged_version_scores_silently_until_it_is_taken_further(
    project: Path, cli: Cli
) -> None:
    assert cli("release", "payments", "--to", "staging", *DIRECT).code == 0
    score = ("score", "payments", "--data", "day.csv", "--out", "day.parquet", *DIRECT, "--json")
    rollout = cli(*score).json["steps"]["rollout"]
    assert (rollout["rows"], rollout["answered"], rollout["state"]) == (3_000, 0, "staging")
    assert set(pq.read_table("day.parquet")["model_version"].to_pylist()) == {1}

    again = cli("release", "payments", *DIRECT, "--json")
    assert again.code == 6
    assert "on its way already" in again.error
    trained = len(cli("models", "list", "payments", "--json").json["models"])
    whole = cli("run", "payments", "--data", "day.csv", *DIRECT, "--json")
    assert whole.code == 6
    assert "nothing was trained" in whole.error
    assert whole.json["steps"]["score"]["rows_scored"] == 3_000
    assert "train" not in whole.json["steps"]
    assert len(cli("models", "list", "payments", "--json").json["models"]) == trained
    assert cli("release", "payments", "--resume", *DIRECT).code == 0
    status = cli("status", "payments", "--json").json["on_its_way"]
    assert (status["state"], status["to"]) == ("canary", "production")
    assert cli("releases", "abort", status["id"], "--reason", "enough").code == 0
    assert cli("status", "payments", "--json").json["on_its_way"] is None


def test_scoring_that_began_under_a_model_ends_under_it(project: Path, cli: Cli) -> None:
    from pynomaly.bootstrap import build
    from pynomaly.domain.ledger import Output
    from pynomaly.settings import load_settings

    configure(project, rollout="{strategy: direct}")
    platform = build(load_settings())
    pipeline = platform.pipeline("payments")
    spec = pipeline.source.at(str(project / "day.csv"))
    validated = platform.validate(pipeline, spec, "run", platform.plan_scoring(pipeline, spec))
    released = []

    def release_meanwhile(rows: int) -> None:
        if not released:
            released.append(cli("release", "payments", *DIRECT).code)

    batch = platform.score(pipeline, spec, validated, "run", Output(), release_meanwhile).batch

    assert released == [0]
    assert serving(cli) == 2
    assert batch.model_version == 1
    (entry,) = platform.ledger.entries_of(batch.id)
    assert entry.outcome is not None
    (part,) = entry.outcome.parts
    assert set(pq.read_table(part.uri)["model_version"].to_pylist()) == {1}


def test_what_two_versions_answered_is_replayed_and_proven(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(
        project,
        rollout="{canary_shares: [0.3], approval: required, four_eyes: false}",
        purpose="The fraud desk calls the customer.",
    )
    assert cli("release", "payments", *DIRECT).code == 5
    release = on_its_way(cli)
    approved = cli("releases", "approve", release, "--reason", "Looked at the gates.")
    assert approved.code == 0
    assert f"of payments is approved by {getpass.getuser()} until" in approved.out
    assert cli("release", "payments", "--resume", *DIRECT).code == 0
    monkeypatch.setenv("PYNOMALY_SCORING__PARTITION_ROWS", "1000")
    pq.write_table(pa.csv.read_csv("day.csv"), "day.parquet", row_group_size=1_000)
    scored = cli("score", "payments", "--data", "day.parquet", *DIRECT, "--json").json
    assert scored["steps"]["rollout"]["answered"] > 600
    assert cli("rollback", "payments", "--reason", "alerts look odd").code == 0

    (batch,) = cli("replay", scored["run_id"], "--json").json["batches"]
    assert (batch["rows"], batch["partitions"], batch["differing"]) == (3_000, 3, 0)
    assert batch["model_version"] == 1

    exported = cli("evidence", "export", "payments", "2", "--out", "two.zip", "--json")
    assert exported.code == 0
    with zipfile.ZipFile("two.zip") as bundle:
        told = json.loads(bundle.read(f"releases/{release}.json"))
        moves = json.loads(bundle.read(f"releases/{release}-transitions.json"))["transitions"]
        card = bundle.read("model-card.md").decode()
    assert told["approval"]["reason"] == "Looked at the gates."
    assert [m["action"] for m in moves][:3] == ["submit", "approve", "begin"]
    assert moves[-1]["reason"] == "alerts look odd"
    assert {m["actor"]["name"] for m in moves} == {getpass.getuser(), "pynomaly"}
    assert "who had also trained or proposed it" in card
    assert "canary, answering 30% step by step" in card
    assert "The fraud desk" not in card  # it was not yet said when the model was trained
    assert cli("evidence", "verify", "two.zip").code == 0


def test_a_run_nobody_knows_is_named_at_once(project: Path, cli: Cli) -> None:
    unknown = cli("runs", "watch", "foo", "--json")
    assert unknown.code == 2
    assert "nobody knows a run foo" in unknown.error


def test_a_second_release_is_refused_before_its_gates_run(project: Path, cli: Cli) -> None:
    assert cli("release", "payments", *DIRECT).code == 0
    before = len(cli("releases", "list", "payments", "--json").json["releases"])
    second = cli("release", "payments", *DIRECT, "--json")
    assert second.code == 6
    assert "nothing was gated" in second.error
    assert len(cli("releases", "list", "payments", "--json").json["releases"]) == before

    # Nothing served before version 1: what is on its way is all there is to take back.
    stopped = on_its_way(cli)
    back = cli("rollback", "payments", "--reason", "stop it", "--json")
    assert (back.code, back.json["version"], back.json["state"]) == (0, 1, "production")
    assert cli("releases", "show", stopped, "--json").json["state"] == "aborted"
    nowhere = cli("rollback", "payments", "--reason", "and now?", "--json")
    assert nowhere.code == 2
    assert "no release before" in nowhere.error
