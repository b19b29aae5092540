"""Look at the last scored batch: alerts, scores and data, against what was promised and before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pynomaly.application.champion import ModelLoader
from pynomaly.application.counted_scores import Counted, first_reasons
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.application.read_scores import ReadScores
from pynomaly.application.score_again import score_again
from pynomaly.domain.decision import policy_version, score_threshold
from pynomaly.domain.drift import calibration_counts, count_p_values, shift
from pynomaly.domain.errors import IntegrityError, UsageError
from pynomaly.domain.models import Model
from pynomaly.domain.monitoring import (
    Finding,
    Monitoring,
    Share,
    judge_alerts_against_budget,
    judge_alerts_against_earlier,
    judge_quarantine,
    judge_shift,
    judge_warnings,
)
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.runs import ScoredBatch

__all__ = ["MonitorScores"]

_EARLIER = 10
"""Batches compared with at most, the newest; each is read."""
_COLUMNS = ["p_value", "is_anomaly", "model_version", "reasons"]
_REASONS = 5
_LOOKED_AT = 200
"""Records among which batches and policies are looked for."""


@dataclass(frozen=True, slots=True)
class MonitorScores:
    """Judge the newest scored batch of a pipeline; reads committed rows part by part.

    Args:
        records: Batches and validation reports.
        ledger: Knows the partitions of a batch.
        scores: Reads them.
        loader: Fetches the model that scored, for its calibration.
        scores_folder: For outputs nobody gave a place.
    """

    records: Records
    ledger: Ledger
    scores: ReadScores
    loader: ModelLoader
    scores_folder: Path

    def __call__(self, pipeline: Pipeline) -> Monitoring:
        """Compare the newest batch with its model's calibration and with earlier batches.

        Batches whose scores were all pruned, or forgotten with their place, are passed over.
        Earlier batches count if the same model and policy scored other data.

        Raises:
            UsageError: Nothing was scored yet, or the newest batch is no longer all there.
            IntegrityError: Its scores, or the model, are damaged.
        """
        batches = self.records.batches(pipeline.name, _LOOKED_AT)
        if not batches:
            raise UsageError(
                f"pipeline '{pipeline.name}' has scored nothing yet, so there is nothing to watch",
                hint=f"score something first: pynomaly score {pipeline.name} --data FILE",
            )
        kept = (n for n, one in enumerate(batches) if self.ledger.job(one.id) is not None)
        batches = batches[next(kept, 0) :]
        batch = batches[0]
        version = self.loader.version(pipeline.name, batch.model_version)
        model = self.loader.load(version)
        n = len(model.calibration.scores)
        last = self._counted(batch, n)
        if last is None:
            job = self.ledger.job(batch.id)
            again = job and score_again(job, batch.output_uri, self.scores_folder)
            raise UsageError(
                f"the newest batch of '{pipeline.name}' ({batch.snapshot_uri}, scored "
                f"{batch.scored_at:%Y-%m-%d %H:%M} UTC) is no longer complete",
                hint=f"score it again: {again or f'pynomaly score {pipeline.name} --data FILE'}",
            )
        notes: list[str] = []
        serving = self.records.production(pipeline.name)
        if serving is not None and serving.version != batch.model_version:
            notes.append(
                f"The newest batch was scored by version {batch.model_version}; version "
                f"{serving.version}, which serves now, has scored nothing since."
            )
        comparable = list(_comparable(batches, batch, model, notes))
        earlier = self._earlier(comparable, n, notes)
        findings = [
            *_alerts(self._policy(pipeline, batch), batch, model, last, earlier, notes),
            *_scores(batch, model, last, earlier, notes),
            *self._data(pipeline, batch, comparable, notes),
        ]
        return Monitoring(
            batch_id=batch.id,
            source=batch.snapshot_uri,
            scored_at=batch.scored_at,
            model_version=batch.model_version,
            policy_version=batch.policy_version,
            rows=last.alerts.n,
            flagged=last.alerts.count,
            earlier=earlier.batches if earlier else 0,
            reasons=tuple(last.reasons.most_common(_REASONS)),
            findings=tuple(findings),
            notes=tuple(notes),
        )

    def _policy(self, pipeline: Pipeline, batch: ScoredBatch) -> DecisionPolicy | None:
        """Return the policy that flagged a batch; None if neither configured nor ever released."""
        releases = self.records.releases(pipeline.name, _LOOKED_AT)
        known = (pipeline.decision, *(release.decision for release in releases))
        return next((p for p in known if p and policy_version(p) == batch.policy_version), None)

    def _counted(self, batch: ScoredBatch, n_calibration: int) -> Counted | None:
        """Count a batch's rows by p-value; None where some of them are no longer kept."""
        entries = self.ledger.entries_of(batch.id)
        kept = sum(entry.outcome.rows_scored for entry in entries if entry.outcome is not None)
        if kept != batch.rows_scored:
            return None
        counts = np.zeros(n_calibration + 1, dtype=np.int64)
        flagged = others = 0
        reasons: Counter[str] = Counter()
        for table in self.scores.rows(entries, _COLUMNS):
            own = table.column("model_version").to_numpy() == batch.model_version
            counts += count_p_values(table.column("p_value").to_numpy()[own], n_calibration)
            alerts = table.column("is_anomaly").to_numpy() & own
            flagged += int(np.sum(alerts))
            others += int(np.sum(~own))
            reasons.update(first_reasons(table.column("reasons").filter(pa.array(alerts))))
        return Counted(Share(flagged, int(counts.sum())), counts, others, reasons)

    def _earlier(
        self, batches: Sequence[ScoredBatch], n_calibration: int, notes: list[str]
    ) -> Counted | None:
        """Count the rows of several batches together; None where there is none."""
        total: Counted | None = None
        gone = 0
        for batch in batches:
            try:
                counted = self._counted(batch, n_calibration)
            except IntegrityError as error:
                notes.append(f"an earlier batch was left out: {error.message}")
                continue
            if counted is None:
                gone += 1
            else:
                total = counted if total is None else total.plus(counted)
        if gone:
            which = (
                "1 earlier batch was left out: its"
                if gone == 1
                else (f"{gone} earlier batches were left out: their")
            )
            notes.append(f"{which} scores are no longer kept")
        return total

    def _data(
        self,
        pipeline: Pipeline,
        batch: ScoredBatch,
        comparable: Sequence[ScoredBatch],
        notes: list[str],
    ) -> Iterator[Finding]:
        """Judge what validation said about the batch."""
        before = Share(
            sum(one.rows_quarantined for one in comparable), sum(one.rows_in for one in comparable)
        )
        yield judge_quarantine(
            Share(batch.rows_quarantined, batch.rows_in),
            pipeline.validation.max_quarantine_share,
            before if before.n else None,
        )
        report = self.records.report_of(pipeline.name, batch.fingerprint)
        if report is None:
            notes.append("there is no validation report of this batch")
            return
        failed = [
            f"{r.column or 'table'}: {r.expectation} observed {r.observed}, allowed {r.allowed}"
            for r in report.results
            if not r.passed and r.severity == "warning"
        ]
        yield judge_warnings(failed, len(report.results), batch.rows_in)


def _comparable(
    batches: Sequence[ScoredBatch], last: ScoredBatch, model: Model, notes: list[str]
) -> Iterator[ScoredBatch]:
    """Yield the newest other batches of the same model and policy, each content once."""
    seen = {last.fingerprint}
    other_versions = False
    found = 0
    for batch in batches[1:]:
        if (batch.model_version, batch.policy_version) != (last.model_version, last.policy_version):
            other_versions = True
        elif batch.fingerprint == model.card.training_fingerprint:
            continue  # a model finds the rows it was fitted on tamer than new ones
        elif batch.fingerprint not in seen and found < _EARLIER:
            seen.add(batch.fingerprint)
            found += 1
            yield batch
    if not found:
        why = " by this model and policy on other data than its training data"
        notes.append(
            f"there is no earlier batch{why if other_versions or len(batches) > 1 else ''}"
        )


def _alerts(
    policy: DecisionPolicy | None,
    batch: ScoredBatch,
    model: Model,
    last: Counted,
    earlier: Counted | None,
    notes: list[str],
) -> Iterator[Finding]:
    """Judge how many rows were flagged."""
    if policy is None:
        notes.append(
            f"alerts were not compared with the budget: policy {batch.policy_version} flagged them, "
            "which is neither configured nor that of a release"
        )
    elif policy.looks_at_whole_batch:
        notes.append(
            f"alert rates were not compared: policy {policy.kind} draws its line batch by batch"
        )
        return
    elif policy.kind == "alert_budget":
        above = _calibration_above(policy, model)
        if above is None:
            notes.append(
                "alerts were not compared with the budget: the calibration is too small for it"
            )
        elif last.alerts.n:
            yield judge_alerts_against_budget(
                last.alerts, policy.budget, above, len(model.calibration.scores)
            )
    if earlier is not None and earlier.alerts.n and last.alerts.n:
        yield judge_alerts_against_earlier(last.alerts, earlier.alerts)


def _calibration_above(policy: DecisionPolicy, model: Model) -> int | None:
    """Return how many calibration rows the policy would flag; None where it can flag none."""
    line = score_threshold(policy, model.calibration.scores)
    return None if line is None else int(np.sum(model.calibration.scores >= line))


def _scores(
    batch: ScoredBatch, model: Model, last: Counted, earlier: Counted | None, notes: list[str]
) -> Iterator[Finding]:
    """Judge where the scores lie."""
    if last.others:
        notes.append(f"{last.others:,} rows were answered by another model version")
    if not last.alerts.n:
        notes.append(f"model version {batch.model_version} answered no row of the batch")
        return
    if batch.fingerprint == model.card.training_fingerprint:
        notes.append(
            "scores were not compared with the calibration: this is the data the model was "
            "trained on, whose rows it finds tamer than new ones"
        )
    else:
        found = shift(calibration_counts(model.calibration), last.by_p_value)
        n = len(model.calibration.scores)
        yield judge_shift("scores_calibration", found, last.alerts.n, f"{n:,} calibration rows")
    if earlier is not None and earlier.alerts.n:
        against = f"{earlier.alerts.n:,} rows of earlier batches"
        found = shift(earlier.by_p_value, last.by_p_value)
        yield judge_shift("scores_earlier", found, last.alerts.n, against)
