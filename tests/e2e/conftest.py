"""The command line in this process, and one small project with a champion."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import Cli, Outcome, frame, payments
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger
from pynomaly.presentation.cli.main import main


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process, engine direct where it has one."""

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> str:
    """``payments.csv`` in the working folder."""
    payments().to_csv(folder / "payments.csv", index=False)
    return "payments.csv"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as working folder."""
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    monkeypatch.delenv("PYNOMALY_ENV", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def as_trained(
    tmp_path_factory: pytest.TempPathFactory, with_registry: Callable[[Path], None]
) -> Path:
    """A project whose pipeline ``payments`` has a champion; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "conf").mkdir()
    with_registry(folder)
    frame(800, 1).to_csv(folder / "payments.csv", index=False)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["init", "payments", "--data", "payments.csv", "--id", "txn_id"]) == 0
        path = folder / "conf/pipelines/payments.yaml"
        path.write_text(path.read_text() + "\ntraining: {trials: 2, seed: 3}\n")
        assert main(["run", "payments", "--engine", "direct"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def champion_project(as_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all tests that add files and never retrain."""
    return _copy(as_trained, tmp_path_factory.mktemp("champion") / "project")


@pytest.fixture
def champion(champion_project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project with a champion as working folder."""
    monkeypatch.chdir(champion_project)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    return champion_project


@pytest.fixture
def scoring_project(as_trained: Path, tmp_path: Path) -> Path:
    """A copy for one test, in which nothing was scored yet."""
    project = _copy(as_trained, tmp_path / "project")
    ledger = SqlLedger(f"sqlite:///{project}/.pynomaly/pynomaly.db")
    ledger.forget([entry.key for entry in ledger.entries("payments")])
    return project


def _copy(project: Path, to: Path) -> Path:
    """Copy all but the scores, which the ledger knows by their full paths."""
    return Path(shutil.copytree(project, to, ignore=shutil.ignore_patterns("scores")))
