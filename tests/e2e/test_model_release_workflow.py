"""The workflow that people copy into their repositories: its steps, run one after the other."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from command_line import frame
from pynomaly.presentation.cli.main import cli as pynomaly
from pynomaly.presentation.cli.main import main

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "deployment/github/model-release.yml"
GUIDE = ROOT / "docs/how-to/ci-cd-for-models.md"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]


def steps(job: str) -> dict[str, str]:
    """Return the shell steps of a job by name, all but the installation."""
    return {
        step["name"]: step["run"]
        for step in JOBS[job]["steps"]
        if "run" in step and step["name"] != "Install"
    }


def commands(text: str) -> list[list[str]]:
    """Return every ``pynomaly …`` in a shell text, split into words."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"\bpynomaly ([a-z][^|;>)\n]*)", joined)
    return [shlex.split(re.sub(r"\s+#.*", "", command)) for command in found]


def parsed(words: list[str]) -> click.Context:
    """Parse a command line as far as options and arguments go, without running it."""
    command: click.Command = pynomaly
    context = click.Context(command, info_name="pynomaly")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    # What the shell puts in place of "$version" is a number.
    numbers = ["7" if word.startswith("$version") else word for word in words]
    command.parse_args(context, numbers)
    return context


def test_every_command_of_workflow_and_guide_exists_with_its_options() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    texts = [text for job in JOBS for text in steps(job).values()] + blocks
    found = [words for text in texts for words in commands(text) if "code" not in words[:1]]

    assert {"config", "doctor", "train", "release", "releases", "status"} <= {w[0] for w in found}
    for words in found:
        parsed(words)


def test_the_check_itself_notices_an_option_that_does_not_exist() -> None:
    with pytest.raises(click.UsageError):
        parsed(["release", "payments", "--to-staging"])


def test_production_waits_for_people_and_pull_requests_see_no_secret() -> None:
    assert JOBS["production"]["environment"] == "production"
    assert set(JOBS["production"]["needs"]) == {"changed", "staging"}
    assert JOBS["staging"]["if"] == "github.event_name != 'pull_request'"
    for job in ("changed", "validate"):
        assert "secrets" not in json.dumps(JOBS[job])


def test_what_an_event_brings_reaches_the_shell_as_variables_only() -> None:
    for job in JOBS:
        for name, text in steps(job).items():
            assert "${{" not in text, f"{job}: {name}"


class Runner:
    """Runs shell steps like GitHub's: bash with -e and pipefail, variables and outputs in files."""

    def __init__(self, project: Path, folder: Path, **environment: str) -> None:
        self.project, self.folder = project, folder
        folder.mkdir()
        gh = folder / "gh"
        gh.write_text("#!/bin/sh\necho reviewer\n")  # GitHub's answer to who approved
        gh.chmod(0o755)
        path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYNOMALY_", "PREFECT_"))},
            "PATH": path,
            "PREFECT_PROFILES_PATH": "/nonexistent",
            "GITHUB_REPOSITORY": "shop/models",
            "GITHUB_RUN_ID": "17",
            "GITHUB_SERVER_URL": "https://github.example",
            **{name: str(folder / name) for name in self.FILES},
            **environment,
        }
        for name in self.FILES:
            (folder / name).touch()

    FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = dict(line.split("=", 1) for line in self.text("GITHUB_ENV").splitlines())
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.project,
            env={**self.environment, **given, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def repository(project: Path, with_registry: Callable[[Path], None]) -> Path:
    """A repository of configuration with one pipeline, whose releases four eyes have to see."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed; GitHub's runners have it")
    with_registry(project)
    frame(1_200, 71).to_csv("payments.csv", index=False)
    assert main(["init", "payments", "--data", "payments.csv", "--id", "txn_id"]) == 0
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(
        path.read_text()
        + "\ntraining: {trials: 1, detectors: [pca]}\n"
        + "rollout: {approval: required, four_eyes: true}\n"
    )
    (project / ".gitignore").write_text(".pynomaly\n*.json\n*.csv\n")
    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return project


def git(*arguments: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_changed_pipelines_are_listed_and_removed_ones_are_not(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (script,) = steps("changed").values()

    def listed(**environment: str) -> Any:
        runner = Runner(repository, tmp_path_factory.mktemp("runner") / "r")
        done = runner.run(script, **{"ASKED": "", "BEFORE": "0" * 40, **environment})
        assert done.returncode == 0, done.stderr
        return json.loads(runner.text("GITHUB_OUTPUT").removeprefix("pipelines="))

    first = git("rev-parse", "HEAD")
    (repository / "conf/pipelines/orders.yaml").write_text("source: x.csv\n")
    (repository / "conf/pipelines/payments.yaml").unlink()
    (repository / "README").touch()
    git("add", "--all")
    git("commit", "--quiet", "-m", "second")

    assert listed() == ["orders"]  # nothing to compare with: all there are
    assert listed(BEFORE=first) == ["orders"]
    assert listed(BEFORE=git("rev-parse", "HEAD")) == []
    assert listed(ASKED="payments") == ["payments"]


def test_a_gate_that_blocks_fails_the_check_and_stands_in_its_summary(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runner = Runner(repository, tmp_path_factory.mktemp("runner") / "r", PIPELINE="payments")
    gates = [{"gate": "injected_recall", "verdict": "block", "sentence": "it | finds less"}]
    document = {
        "error": {"message": "injected_recall says block", "hint": "train again"},
        "steps": {"gate": {"gates": gates, "verdict": "block"}},
    }
    refusing = runner.folder / "pynomaly"
    refusing.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(document)}\nEND\nexit 4\n")
    refusing.chmod(0o755)
    (repository / "train.json").write_text('{"steps": {"register": {"version": 3}}}')

    done = runner.run(steps("staging")["Put the version before the gates and stage it"])

    assert done.returncode == 4, done.stderr
    summary = runner.text("GITHUB_STEP_SUMMARY")
    assert "## Gates of payments, version 3: block" in summary
    assert "injected_recall says block\n\ntrain again" in summary
    assert r"| injected_recall | block | it \| finds less |" in summary


@pytest.mark.slow
def test_a_change_is_trained_gated_staged_approved_and_promoted(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runner = Runner(repository, tmp_path_factory.mktemp("runner") / "r", PIPELINE="payments")
    for job, environment in (
        ("validate", {}),
        ("staging", {"LOGNAME": "author"}),
        ("production", {}),
    ):
        for name, script in steps(job).items():
            done = runner.run(script, **environment)
            assert done.returncode == 0, f"{job}, {name}:\n{done.stdout}\n{done.stderr}"

    summary = runner.text("GITHUB_STEP_SUMMARY")
    assert "## Gates of payments, version 1: " in summary
    assert "| injected_recall | pass | " in summary
    release = json.loads((repository / "release.json").read_text())["steps"]["gate"]["release_id"]
    shown = json.loads(runner.run(f"pynomaly releases show {release} --json").stdout)
    assert shown["state"] == "production"
    assert shown["approval"]["actor"]["name"] == "reviewer"
    assert shown["proposer"]["name"] == "author"
    assert shown["approval"]["reason"] == "https://github.example/shop/models/actions/runs/17"

    # Run again by mistake, nothing is promoted that nobody has looked at.
    again = runner.run(steps("production")["Promote what was staged"])
    assert again.returncode == 6
    assert "is production by now" in again.stdout
