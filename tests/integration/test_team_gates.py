"""Gates of other packages are found by their entry points, and block when they break."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pynomaly.application.gates import extensions
from pynomaly.domain.gates import GateResult, combine
from pynomaly.domain.releases import Release
from ring import Ring, payments

DOCUMENT = Path(__file__).parents[2] / "docs/how-to/add-a-gate.md"

Install = Callable[..., None]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    """One registered version, without a champion."""
    ring = Ring(tmp_path_factory.mktemp("ring"))
    ring.registered(ring.trained(payments(4_000, 1), detector="gmm"))
    return ring


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lay a package out as pip would: a module ``payments_gates`` and its entry points."""

    def install(module: str, entry_points: str, package: str = "payments-gates") -> None:
        tmp_path.joinpath("payments_gates.py").write_text(module)
        info = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n"
        )
        info.joinpath("entry_points.txt").write_text(f"[pynomaly.gates]\n{entry_points}\n")

    monkeypatch.syspath_prepend(tmp_path)
    extensions._declared.cache_clear()
    yield install
    extensions._declared.cache_clear()
    sys.modules.pop("payments_gates", None)


def gate(release: Release, name: str) -> GateResult:
    return next(gate for gate in release.gates if gate.gate == name)


def gated(ring: Ring) -> Release:
    version = ring.records.version("payments", 1)
    assert version is not None
    return ring.release(version)


def test_the_gate_of_the_documentation_is_asked_as_written(ring: Ring, install: Install) -> None:
    text = DOCUMENT.read_text()
    module, table = (
        re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[0]
        for language in ("python", "toml")
    )
    header, entry_point = table.strip().splitlines()
    assert header == '[project.entry-points."pynomaly.gates"]'
    install(module, entry_point.replace('"', ""))

    release = gated(ring)

    found = gate(release, "known_pattern")
    assert found.verdict == "pass", found.sentence
    assert found.observed == 1.0
    assert release.verdict == "pass"


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("def ask(context): raise RuntimeError('no network')", "RuntimeError: no network"),
        ("def ask(context): return True", "returned bool instead of a GateResult"),
        ("import not_installed", "ModuleNotFoundError"),
        (
            "from pynomaly.domain.gates import GateResult\n"
            "def ask(context):\n"
            "    return GateResult('ours', 'pass', 1.0, None, None, 1, 'Yes.', {'seen': object()})\n",
            "not JSON serializable",
        ),
        (
            "import numpy as np\n"
            "from pynomaly.domain.gates import GateResult\n"
            "def ask(context):\n"
            "    return GateResult('ours', 'pass', 1.0, None, None, np.int64(1), 'Yes.')\n",
            "int64 is not JSON serializable",
        ),
        (
            "from pynomaly.domain.gates import GateResult\n"
            "def ask(context):\n"
            "    return GateResult('ours', 'blocked', 1.0, None, None, 1, 'No.')\n",
            "says 'blocked'; a verdict is one of pass, review, block, inconclusive",
        ),
    ],
)
def test_a_gate_that_breaks_blocks_and_says_whose_it_is(
    module: str, told: str, ring: Ring, install: Install
) -> None:
    install(module, "ours = payments_gates:ask")

    release = gated(ring)

    assert release.state == "blocked"
    assert gate(release, "ours").verdict == "block"
    assert "The gate 'ours' of payments-gates 1.2" in gate(release, "ours").sentence
    assert told in gate(release, "ours").sentence


def test_nobody_stands_in_for_a_gate_of_ours_or_overrides_by_code(
    ring: Ring, install: Install
) -> None:
    install(
        "from pynomaly.domain.gates import GateResult, Override\n"
        "from pynomaly.domain.runs import Actor\n"
        "def ask(context):\n"
        "    waived = Override('x', Actor('nobody'), 'admin', 'because')\n"
        "    return GateResult('certified', 'block', None, None, None, 0, 'No.', {}, waived)\n",
        "golden_rows = payments_gates:ask\nreplay = payments_gates:ask\nx = payments_gates:ask",
    )

    release = gated(ring)

    assert gate(release, "golden_rows").verdict == "pass"
    for name in ("golden_rows", "replay"):
        impostor = gate(release, f"payments-gates 1.2: {name}")
        assert impostor.verdict == "block"
        assert "named like one of ours" in impostor.sentence
    assert gate(release, "x").override is None
    assert combine(release.gates) == "block"


def test_of_two_gates_of_one_name_none_hides_the_others_verdict(
    ring: Ring, install: Install
) -> None:
    module = (
        "from pynomaly.domain.gates import GateResult\n"
        "def no(context): return GateResult('x', 'block', None, None, None, 0, 'No.')\n"
        "def yes(context): return GateResult('x', 'pass', None, None, None, 0, 'Yes.')\n"
    )
    install(module, "fair = payments_gates:no", "fraud-team")
    install(module, "fair = payments_gates:yes", "risk-team")

    release = gated(ring)

    assert release.state == "blocked"
    for package in ("fraud-team", "risk-team"):
        found = gate(release, f"{package} 1.2: fair")
        assert "named like that of another package; rename it" in found.sentence
