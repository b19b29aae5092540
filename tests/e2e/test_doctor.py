"""``pynomaly doctor`` on good, empty and broken projects."""

import hashlib
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", "/nonexistent")


def state(folder: Path) -> dict[str, str]:
    """Return what a folder holds, byte for byte."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".db-shm"  # who reads at the moment
    }


def test_a_project_with_a_champion_is_well_and_stays_as_it_is(champion: Path, cli: Cli) -> None:
    before = state(champion)

    outcome = cli("doctor", "--json")

    assert outcome.code == 0, outcome.out
    checks = {c["name"]: c for c in outcome.json["checks"]}
    assert not [c for c in checks.values() if c["status"] == "problem"]
    assert checks["pipelines"]["seen"] == "1 can be read: payments"
    assert "current schema" in checks["records"]["seen"]
    assert "1 registered models" in checks["mlflow"]["seen"]
    assert state(champion) == before


def test_an_empty_folder_is_well_and_stays_empty(folder: Path, cli: Cli) -> None:
    outcome = cli("doctor")

    assert outcome.code == 0, outcome.out
    assert "0 problems" in outcome.out
    assert not list(folder.iterdir())


def test_broken_pipelines_and_places_are_named_with_a_remedy(project: Path, cli: Cli) -> None:
    pipelines = project / "conf/pipelines"
    pipelines.mkdir()
    (pipelines / "broken.yaml").write_text("source: x.csv\ncolums: {a: numeric}\n")
    (pipelines / "good.yaml").write_text("source: x.csv\ncolumns: {a: numeric}\n")
    (project / ".pynomaly").write_text("a file")

    outcome = cli("doctor", "--json")

    assert outcome.code == 2
    assert outcome.json["status"] == "problem"
    problems = {c["name"]: c for c in outcome.json["checks"] if c["status"] == "problem"}
    assert set(problems) == {"pipeline broken", "home"}
    assert "colums" in problems["pipeline broken"]["seen"]
    assert "columns" in str(problems["pipeline broken"])
    shown = cli("doctor")
    assert shown.code == 2
    assert "→ choose a folder you may write to" in shown.out


def test_a_signing_key_that_anybody_may_read_is_a_problem(project: Path, cli: Cli) -> None:
    def key() -> dict[str, str] | None:
        checks = cli("doctor", "--json").json["checks"]
        return next((c for c in checks if c["name"] == "signing key"), None)

    assert key() is None
    assert cli("evidence", "key").code == 0
    made = key()
    assert made is not None
    assert made["status"] == "ok"
    assert "sha256:" in made["seen"]
    path = project / ".pynomaly/keys/evidence-ed25519.pem"
    path.chmod(0o644)
    open_to_all = key()
    assert open_to_all is not None
    assert open_to_all["status"] == "problem"
    assert "chmod 600" in open_to_all["fix"]


def test_settings_that_cannot_be_read_are_a_finding(project: Path, cli: Cli) -> None:
    (project / "conf/base").mkdir()
    (project / "conf/base/settings.yaml").write_text("scoring: {batch_row: 5}\n")

    outcome = cli("doctor", "--json")

    assert outcome.code == 2
    checks = {c["name"]: c for c in outcome.json["checks"]}
    assert checks["configuration"]["status"] == "problem"
    assert "batch_row" in checks["configuration"]["seen"]
    assert "records" not in checks
    assert checks["libraries"]["status"] == "ok"
