"""Every command in the README and the tutorial works as written."""

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from command_line import Cli, frame

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "docs/tutorials/first-pipeline.md"]
ENVIRONMENT = (". .venv/bin/activate", "git clone", "cd ")
"""Lines that prepare a shell, which a test already has."""


def commands(document: str) -> list[str]:
    """Return the lines of all ``sh`` blocks, comments stripped."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True)
class Reader:
    """Somebody who follows one document after the other.

    Args:
        project: Where.
        done: What was done already; nobody sets up the same project twice.
    """

    project: Path
    done: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, with_registry: Callable[[Path], None]
) -> Reader:
    """Has the files that the documents speak of, and not the patience for many trials."""
    project = tmp_path_factory.mktemp("reader")
    with_registry(project)
    (project / "conf/base").mkdir(parents=True)
    (project / "conf/base/settings.yaml").write_text(
        "pipeline_defaults: {training: {trials: 2, detectors: [iforest, pca]}}\n"
    )
    payments = frame(800, 51)
    payments.insert(1, "ts", pd.date_range("2026-01-01", periods=len(payments), freq="h"))
    payments.to_csv(project / "payments.csv", index=False)
    payments.tail(40).to_parquet(project / "new.parquet", index=False)
    return Reader(project)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_the_document_works(
    document: str, reader: Reader, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reader.project)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    found = commands(document)
    assert any(line.startswith("pynomaly run") for line in found)

    for line in found:
        if line in reader.done:
            continue
        reader.done.add(line)
        program, *arguments = shlex.split(line)
        if program == "pynomaly":
            outcome = cli(*arguments)
            assert outcome.code == 0, f"{line}\n{outcome.out}\n{outcome.err}"
        elif program == "make":
            # What the targets do is run by CI itself; here they must exist.
            subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)
        else:
            assert line.startswith(ENVIRONMENT), f"nobody runs this line: {line}"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
