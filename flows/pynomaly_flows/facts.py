"""What records, listeners and pages are told of each step's result."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from pynomaly.domain.detectors import detector
from pynomaly_flows.steps import Facts

if TYPE_CHECKING:
    from pynomaly.application.judge_rollout import Judged
    from pynomaly.application.score import Scored
    from pynomaly.application.train import TrainedModel
    from pynomaly.application.tune import Choice
    from pynomaly.application.validate import Validated
    from pynomaly.domain.monitoring import Monitoring
    from pynomaly.domain.partitions import Plan
    from pynomaly.domain.profiles import Profile
    from pynomaly.domain.releases import ModelVersion, Release

__all__ = [
    "judged",
    "monitored",
    "planned",
    "profiled",
    "promoted",
    "registered",
    "released",
    "rows_done",
    "scored",
    "trained",
    "tuned",
    "validated",
]

_MOST_PROBLEMS = 5


def planned(result: Plan) -> Facts:
    """Tell of ``plan``."""
    return {
        "data": result.uri,
        "partitions": len(result.partitions),
        "bytes": result.size_bytes,
        "fingerprint": result.fingerprint.content,
    }


def validated(result: Validated) -> Facts:
    """Tell of ``validate``."""
    warnings = [r for r in result.report.results if not r.passed and r.severity == "warning"]
    return {
        "report_id": result.report.id,
        "report_path": result.report_path,
        "verdict": result.report.verdict,
        "data": result.dataset.snapshot.uri,
        "fingerprint": result.dataset.snapshot.fingerprint.content,
        "rows": result.dataset.snapshot.rows,
        "accepted": result.dataset.rows,
        "quarantined": result.dataset.quarantined,
        "quarantine_uri": result.dataset.quarantine_uri,
        "expectations": len(result.report.results),
        "warnings": len(warnings),
        "problems": [r.sentence for r in (*result.report.refusals, *warnings)][:_MOST_PROBLEMS],
    }


def profiled(result: Profile) -> Facts:
    """Tell of ``profile``."""
    from pynomaly.application.profile import profile_document

    return {
        # What the registry keeps of it can be told from anything else by this.
        "sha256": hashlib.sha256(profile_document(result)).hexdigest(),
        "rows": result.rows,
        "sampled_rows": result.sampled_rows,
        "columns": len(result.columns),
        "features": sum(c.role == "feature" for c in result.columns),
        "dropped": {c.name: c.reason for c in result.columns if c.role == "dropped"},
        "duplicate_rows": result.duplicate_rows,
        "contamination": list(result.contamination),
    }


def tuned(result: Choice) -> Facts:
    """Tell of ``tune``."""
    return {
        "trials": len(result.trials),
        "detector": result.detector,
        "certified": detector(result.detector).certified,
        "params": dict(result.params),
        "objective": result.objective,
        "incumbent": result.trials[0].detector,
        "incumbent_kept": result.params == result.trials[0].params
        and result.detector == result.trials[0].detector,
    }


def trained(result: TrainedModel) -> Facts:
    """Tell of ``train``."""
    return {
        "detector": result.detector,
        "certified": detector(result.detector).certified,
        "fitted_rows": result.fitted_rows,
        "metrics": dict(result.metrics),
        "labels": result.labels,
        "verdicts": result.verdicts,
    }


def registered(result: ModelVersion) -> Facts:
    """Tell of ``register``."""
    return {
        "version": result.version,
        "uri": result.uri,
        "manifest_digest": result.manifest_digest,
        "tracking_run_id": result.tracking_run_id,
    }


def released(result: Release) -> Facts:
    """Tell of ``gate``."""
    return {
        "release_id": result.id,
        "version": result.version,
        "champion": result.champion,
        "verdict": result.verdict,
        "state": result.state,
        "gates": [asdict(gate) for gate in result.gates],
    }


def promoted(result: Release) -> Facts:
    """Tell of ``promote``."""
    return {
        "release_id": result.id,
        "version": result.version,
        "previous": result.champion,
        "state": result.state,
        "strategy": result.rollout.strategy if result.rollout else None,
        "share": result.share,
    }


def rows_done(
    *, rows: int, of: int, rows_per_second: float = 0.0, seconds_left: float | None = None
) -> str:
    """Tell how far ``score`` has come, for people.

    >>> rows_done(rows=5_000, of=20_000, rows_per_second=1_250.4, seconds_left=12.0)
    '5,000 of 20,000 rows, 1,250 rows/s, 12 s left'
    """
    told = f"{rows:,} of {of:,} rows"
    if rows_per_second:
        told += f", {rows_per_second:,.0f} rows/s"
    return told + (f", {seconds_left:.0f} s left" if seconds_left and seconds_left >= 1 else "")


def scored(result: Scored) -> Facts:
    """Tell of ``score``."""
    batch, challenger, absent = result.batch, result.challenger, result.absent
    return {
        "batch_id": batch.id,
        "model_version": batch.model_version,
        "policy_version": batch.policy_version,
        "rows_in": batch.rows_in,
        "rows_scored": batch.rows_scored,
        "rows_quarantined": batch.rows_quarantined,
        "rows_flagged": batch.rows_flagged,
        "output_uri": batch.output_uri,
        "quarantine_uri": batch.quarantine_uri,
        "challenger": challenger and challenger.model_version,
        "rows_by_challenger": result.answered,
        "rows_done_before": result.done_before,
        "challenger_absent": asdict(absent) if absent else None,
        "unreleased_policy": result.unreleased_policy,
    }


def judged(result: Judged | None) -> Facts:
    """Tell of ``rollout``."""
    if result is None:
        return {}
    return {
        "release_id": result.release.id,
        "version": result.release.version,
        "champion": result.release.champion,
        "strategy": result.release.rollout.strategy if result.release.rollout else None,
        "step": result.step,
        "share": result.share,
        "rows": result.seen.rows,
        "answered": result.seen.answered,
        "verdict": result.finding.verdict,
        "sentence": result.finding.sentence,
        "state": result.release.state,
        "next_share": result.release.share,
    }


def monitored(result: Monitoring) -> Facts:
    """Tell of ``monitor``."""
    return {
        "level": result.level,
        "batch_id": result.batch_id,
        "source": result.source,
        "scored_at": result.scored_at.isoformat(timespec="seconds"),
        "model_version": result.model_version,
        "policy_version": result.policy_version,
        "rows": result.rows,
        "flagged": result.flagged,
        "earlier_batches": result.earlier,
        "alert_reasons": dict(result.reasons),
        "findings": [asdict(finding) for finding in result.findings],
        "notes": list(result.notes),
    }
