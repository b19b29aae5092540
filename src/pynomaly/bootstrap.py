"""The composition root: the only place that picks adapters.

Everything is built on first use, so that a command imports just the technology it needs.
"""

from __future__ import annotations

import getpass
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

from pynomaly.domain.runs import Actor
from pynomaly.scoring import Scoring

if TYPE_CHECKING:
    from pynomaly.application.alerts import TopAlerts
    from pynomaly.application.begin_release import BeginRelease
    from pynomaly.application.export_evidence import ExportEvidence
    from pynomaly.application.gate import GateVersion
    from pynomaly.application.hold_run import HoldRun
    from pynomaly.application.judge_rollout import JudgeRollout
    from pynomaly.application.lost_runs import BuryLostRuns
    from pynomaly.application.monitor import MonitorScores
    from pynomaly.application.queries import Queries
    from pynomaly.application.reconcile import ReconcileRegistry
    from pynomaly.application.replay import ReplayRun
    from pynomaly.application.report import WriteRunReport
    from pynomaly.application.steer import SteerReleases
    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.settings import Settings

__all__ = ["Platform", "available_prefect_api", "build", "prefect_session"]


def build(settings: Settings) -> Platform:
    """Return the platform that ``settings`` describe; nothing is opened or imported yet."""
    return Platform(settings)


def available_prefect_api(settings: Settings) -> str | None:
    """Return the Prefect API that is configured or up, or None."""
    from pynomaly.infrastructure.prefect.session import available_api

    return available_api(settings.home)


def prefect_session(settings: Settings) -> AbstractContextManager[str]:
    """Return a block in which flows find a Prefect API that answers."""
    from pynomaly.infrastructure.prefect.session import prefect_session as session

    return session(settings.home)


class Platform(Scoring):
    """Every use case, wired to the adapters the settings ask for.

    Args:
        settings: Effective settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.actor = Actor(getpass.getuser(), "local")

    def pipeline(self, name: str) -> Pipeline:
        """Return a configured pipeline.

        Raises:
            UnknownPipelineError: There is none of that name.
            ConfigurationError: Its file is wrong.
        """
        from pynomaly.settings import load_pipeline

        return load_pipeline(name, self.settings)

    @cached_property
    def bury_lost_runs(self) -> BuryLostRuns:
        """Mark runs of dead processes as failed."""
        from pynomaly.application.lost_runs import BuryLostRuns

        return BuryLostRuns(self.records, self.run_leases)

    @cached_property
    def hold_run(self) -> HoldRun:
        """Carry out a run under a lease."""
        from pynomaly.application.hold_run import HoldRun

        return HoldRun(self.run_leases, self.bury_lost_runs, self.settings.scoring.lease_seconds)

    @cached_property
    def gate(self) -> GateVersion:
        """Put a version before the gates."""
        from pynomaly.application.gate import GateVersion
        from pynomaly.application.gates.recent import ReadRecent

        recent = ReadRecent(self.records, self.ledger, self.partitions, self.datasets)
        return GateVersion(
            self.loader, self.datasets, self.kernels, self.records, recent, self.judgements
        )

    @cached_property
    def reconcile(self) -> ReconcileRegistry:
        """Make the registry follow our release table."""
        from pynomaly.application.reconcile import ReconcileRegistry

        return ReconcileRegistry(self.records, self.registry)

    @cached_property
    def steer(self) -> SteerReleases:
        """What people do to releases."""
        from pynomaly.application.steer import SteerReleases

        return SteerReleases(self.records, self.loader)

    @cached_property
    def begin_release(self) -> BeginRelease:
        """Let a gated release take its first step."""
        from pynomaly.application.begin_release import BeginRelease

        return BeginRelease(self.records, self.steer)

    @cached_property
    def judge_rollout(self) -> JudgeRollout:
        """Move a rollout by what a batch showed."""
        from pynomaly.application.judge_rollout import JudgeRollout

        return JudgeRollout(self.ledger, self.records)

    @cached_property
    def monitor(self) -> MonitorScores:
        """Judge the newest scored batch."""
        from pynomaly.application.monitor import MonitorScores

        return MonitorScores(
            self.records,
            self.ledger,
            self.read_scores,
            self.loader,
            self.settings.home / "scores",
        )

    @cached_property
    def top_alerts(self) -> TopAlerts:
        """The strongest alerts of a run."""
        from pynomaly.application.alerts import TopAlerts

        return TopAlerts(self.records, self.ledger, self.parts)

    @cached_property
    def write_report(self) -> WriteRunReport:
        """Write the page about a run."""
        from pynomaly.application.report import WriteRunReport

        return WriteRunReport(
            self.records,
            self.top_alerts,
            self.reports,
            self._reports_folder,
            self._plots_folder,
        )

    @cached_property
    def export_evidence(self) -> ExportEvidence:
        """Write what is on record about a version into a signed bundle."""
        from pynomaly.application.collect_evidence import CollectEvidence
        from pynomaly.application.export_evidence import ExportEvidence
        from pynomaly.infrastructure.evidence import ZipBundles

        collect = CollectEvidence(self.records, self.loader, self.registry)
        return ExportEvidence(collect, self.reports, self.signer, ZipBundles())

    @cached_property
    def replay(self) -> ReplayRun:
        """Make past scoring decisions once more."""
        from pynomaly.application.replay import ReplayRun

        return ReplayRun(
            self.records,
            self.ledger,
            self.loader,
            self.partitions,
            self.parts,
            self.datasets,
            self.kernels,
            self.pipeline,
            self.settings.scoring.batch_rows,
        )

    @cached_property
    def queries(self) -> Queries:
        """Questions about what was done."""
        from pynomaly.application.queries import Queries

        return Queries(self.records, self.run_leases, self.ledger)
