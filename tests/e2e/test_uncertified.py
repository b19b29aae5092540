"""An uncertified detector can be tried, and never serves."""

import json
from collections.abc import Callable
from pathlib import Path

from command_line import Cli, frame


def test_a_model_of_an_uncertified_detector_trains_and_is_blocked(
    project: Path, cli: Cli, with_registry: Callable[[Path], None]
) -> None:
    with_registry(project)
    frame(400, 91).to_csv("payments.csv", index=False)
    assert cli("init", "payments", "--data", "payments.csv", "--id", "txn_id").code == 0
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(path.read_text() + '\ntraining: {detectors: ["pyod:KDE"], trials: 1}\n')

    run = cli("run", "payments", "--engine", "direct")

    assert run.code == 4
    assert "gate certified says block" in run.err
    assert "pyod:KDE is PyOD's own code" in run.err
    assert "pyod:KDE (uncertified)" in run.err
    tables = list(project.rglob("tuning/trials.json"))
    assert len(tables) == 1
    table = json.loads(tables[0].read_text())
    marks = [row[table["columns"].index("certified")] for row in table["data"]]
    assert set(marks) == {False}


def test_a_mistyped_name_suggests_the_nearest(project: Path, cli: Cli) -> None:
    frame(50, 92).to_csv("payments.csv", index=False)
    assert cli("init", "payments", "--data", "payments.csv", "--id", "txn_id").code == 0
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(path.read_text() + '\ntraining: {detectors: ["pyod:KDEE"]}\n')

    outcome = cli("run", "payments", "--json")

    assert outcome.code == 2
    assert "pyod:KDE" in outcome.error
