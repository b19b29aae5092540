"""A platform with real records and nothing to learn: enough to watch flows at work."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from pynomaly.application.hold_run import HoldRun
from pynomaly.application.lost_runs import BuryLostRuns
from pynomaly.application.reconcile import Reconciled
from pynomaly.domain.errors import UnknownPipelineError
from pynomaly.domain.runs import Actor
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases
from pynomaly_flows.context import acting_on


@dataclass
class TinyPlatform:
    records: SqlRecords
    folder: Path
    run_leases: SqlRunLeases
    actor: Actor = field(default_factory=lambda: Actor("tester"))
    reported: list = field(default_factory=list)

    @property
    def hold_run(self):
        return HoldRun(self.run_leases, BuryLostRuns(self.records, self.run_leases), 60)

    def pipeline(self, name):
        if name != "payments":
            raise UnknownPipelineError(f"no pipeline '{name}'")
        return SimpleNamespace(name=name)

    def reconcile(self, pipeline):
        return Reconciled()  # in line

    def top_alerts(self, run_id, limit):
        return []

    def write_report(self, run_id, *, profile=None):
        self.reported.append(run_id)
        path = self.folder / f"run-{run_id}.html"
        path.write_text("<p>report</p>")
        return path


@pytest.fixture
def tiny_platform(tmp_path):
    url = f"sqlite:///{tmp_path}/pynomaly.db"
    return TinyPlatform(SqlRecords(url), tmp_path, SqlRunLeases(url))


@pytest.fixture
def events(tiny_platform):
    """What a listener hears while the test's steps act on the tiny platform."""
    heard = []
    with acting_on(tiny_platform, heard.append):
        yield heard


@pytest.fixture(params=["direct", pytest.param("prefect", marks=pytest.mark.prefect)])
def engine(request):
    """Every test with this fixture runs on both engines."""
    if request.param == "prefect":
        request.getfixturevalue("prefect_api")
    return request.param


@pytest.fixture
def run_flow(engine):
    """Call a flow on the engine under test."""

    def run(fn, *args, **kwargs):
        if engine == "direct":
            return fn(*args, **kwargs)
        from pynomaly_flows.deployable import as_flow

        return as_flow(fn)(*args, **kwargs)

    return run
