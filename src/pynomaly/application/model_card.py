"""The model card: what an auditor reads first, made of recorded facts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from pynomaly.application.card_page import CardPage, Section, Table
from pynomaly.application.collect_evidence import VersionFacts
from pynomaly.domain.detectors import detector
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.releases import Release, ReleaseEvent

__all__ = ["model_card"]

_NOT_RECORDED = "not recorded"

_LABEL_METRICS = {
    "holdout_roc_auc": "ROC-AUC on labelled held-out rows",
    "holdout_average_precision": "Average precision on labelled held-out rows",
}
"""Of the training run."""


def model_card(found: VersionFacts) -> CardPage:
    """Return the card of a version; what is not on record is said to be so, never filled in."""
    version = found.version
    last = found.releases[-1] if found.releases else None
    stands = f"its last release is {last.state.replace('_', ' ')}" if last else "never released"
    return CardPage(
        f"Model card: {version.pipeline}, version {version.version}",
        f"{_detector(found)}, trained on {found.model.card.training_rows:,} rows; {stands}.",
        (
            _intended_use(found),
            _data(found),
            _training(found),
            _quality(found),
            _limits(found),
            *(_release(release, found.events_of(release)) for release in found.releases),
            _identity(found),
        ),
    )


def _detector(found: VersionFacts) -> str:
    card = found.model.card
    uncertified = "" if _certified(card.detector) else " (uncertified: for experiments only)"
    shaped = ", its score shaped by labels" if found.model.head is not None else ""
    return f"Detector {card.detector}{uncertified}{shaped}"


def _certified(name: str) -> bool:
    try:
        return detector(name).certified
    except ConfigurationError:  # of a package that is not installed here
        return False


def _intended_use(found: VersionFacts) -> Section:
    configuration = found.model.card.configuration
    sentences = [
        f"Scores rows like those of the pipeline '{found.version.pipeline}' by how strange they "
        "are among its training rows, and flags some for people to look at.",
        "A high score says that a row is unusual, not that it is wrong, fraudulent or harmful.",
    ]
    purpose = configuration.get("purpose")
    sentences.insert(0, purpose or "What its scores are for and who acts on them is not recorded.")
    decision = configuration.get("decision")
    facts: list[tuple[str, object]] = [
        ("Decision policy when it was trained", decision or _NOT_RECORDED),
        ("A row is identified by", configuration.get("id_columns") or "its place in the source"),
        ("Column of labels", configuration.get("label_column") or "none"),
    ]
    return Section("Intended use", tuple(sentences), tuple(facts if configuration else facts[:1]))


def _data(found: VersionFacts) -> Section:
    report, schema = found.report, found.model.schema
    facts: list[tuple[str, object]] = []
    if report is not None:
        snapshot = report.snapshot
        facts += [
            ("Source", snapshot.uri),
            ("Rows", snapshot.rows),
            ("Bytes", snapshot.size_bytes),
            ("Accepted", report.accepted),
            ("Quarantined", report.quarantined),
            ("Validation", f"{report.verdict.replace('_', ' ')}, report {report.id}"),
            ("Expectations", f"{len(report.results)}, of which "
             f"{sum(not r.passed for r in report.results)} did not hold"),
        ]  # fmt: skip
    else:
        facts.append(("Validation", _NOT_RECORDED))
    facts.append(("Content digest", found.version.training_fingerprint))
    profile = json.loads(found.profile) if found.profile else None
    if profile is not None:
        facts.append(("Duplicate rows in the profile's sample", profile["duplicate_rows"]))
    missing = {c["name"]: c["nulls"] for c in profile["columns"]} if profile else {}
    rows = tuple(
        (column.name, column.kind, f"{missing[column.name]:.2%}" if column.name in missing else "–")
        for column in schema.columns
    )
    return Section("Data", (), tuple(facts), Table(("column it looks at", "kind", "missing"), rows))


def _training(found: VersionFacts) -> Section:
    card = found.model.card
    trials = Table(
        ("trial", "detector", "parameters", "objective"),
        tuple(
            (t["number"], t["detector"], json.dumps(t["params"], sort_keys=True),
             "failed" if t["value"] is None else t["value"])
            for t in card.trials
        ),
    )  # fmt: skip
    objective = found.step("tune").get("objective")
    return Section(
        "How it was made",
        (card.labels,) if card.labels else (),
        (
            ("Run", card.run_id),
            ("Started by", found.run.actor.name if found.run else _NOT_RECORDED),
            ("Started", found.run.started_at if found.run else _NOT_RECORDED),
            ("Detector", card.detector),
            ("Parameters", json.dumps(dict(card.params), sort_keys=True)),
            ("Members", len(found.model.members)),
            ("Rows fitted on", card.training_rows),
            ("Rows calibrated on", len(found.model.calibration.scores)),
            ("Seed", card.seed),
            ("Objective of tuning", objective or _NOT_RECORDED),
            ("Code", ", ".join(f"{k} {v}" for k, v in sorted(card.revision.items()))
             or _NOT_RECORDED),
            ("Libraries", ", ".join(f"{k} {v}" for k, v in sorted(card.library_versions.items()))),
        ),
        trials if card.trials else None,
    )  # fmt: skip


def _quality(found: VersionFacts) -> Section:
    metrics = found.step("train").get("metrics", {})
    facts: list[tuple[str, object]] = [
        (name, _with_interval(metrics, key))
        for key, name in _LABEL_METRICS.items()
        if key in metrics
    ]
    if {"labels_gain_lower", "labels_gain_upper"} <= metrics.keys():
        facts.append(
            (
                "What labels add to average precision",
                f"between {metrics['labels_gain_lower']:+.4f} and "
                f"{metrics['labels_gain_upper']:+.4f} (90 % bootstrap interval)",
            )
        )
    sentences = []
    if not facts:
        sentences.append(
            "No quality against labels is recorded: no label was held out, or there are none."
        )
    if not found.releases:
        sentences.append("It was never put before the gates, which measure what can be measured.")
        return Section("Quality", tuple(sentences), tuple(facts))
    last = found.releases[-1]
    compared = f"version {last.champion}" if last.champion is not None else "no earlier version"
    sentences.append(
        f"Measured by the gates of its last release on held-out rows, against {compared}; a bound "
        "is the end of the confidence interval that counts against the model."
    )
    return Section("Quality", tuple(sentences), tuple(facts), _gates(last))


def _with_interval(metrics: Mapping[str, float], key: str) -> str:
    if f"{key}_lower" not in metrics:
        return f"{metrics[key]:.4f}, no interval recorded"  # of old
    low, high = metrics[f"{key}_lower"], metrics[f"{key}_upper"]
    return f"{metrics[key]:.4f}, between {low:.4f} and {high:.4f} (95 % interval)"


def _gates(release: Release) -> Table:
    return Table(
        ("gate", "verdict", "observed", "bound", "threshold", "n", "in words"),
        tuple(
            (g.gate.replace("_", " "), g.verdict, g.observed, g.bound, g.threshold, g.n, g.sentence)
            for g in release.gates
        ),
    )


def _limits(found: VersionFacts) -> Section:
    return Section("Limits", tuple(_limit_sentences(found)))


def _limit_sentences(found: VersionFacts) -> Iterator[str]:
    model, configuration = found.model, found.model.card.configuration
    n = len(model.calibration.scores)
    yield (
        f"Calibrated on {n:,} rows: no p-value is below {1 / (n + 1):.2g}, and among rows stranger "
        "than all of those it cannot tell how rare they are."
    )
    yield (
        "P-values and alert rates hold for rows of the kind it was calibrated on; where the data "
        "moves, they do not."
    )
    if model.head is None:
        yield (
            "No label shaped its score. Anomalies injected by the gates are made by moving numbers "
            "far out; how many real ones it finds they do not tell."
        )
    if configuration:
        seen = set(model.schema.names)
        unseen = [c["name"] for c in configuration["schema"]["columns"] if c["name"] not in seen]
        unseen += [name for name in configuration["excluded"] if name not in unseen]
        if unseen:
            yield f"It does not look at {', '.join(unseen)}."
    if not _certified(model.card.detector):
        yield "Nobody vouches that it scores a row alike in another batch or after an upgrade."
    for release in found.releases[-1:]:
        for gate in release.gates:
            if gate.verdict != "pass":
                yield f"Gate {gate.gate.replace('_', ' ')}, {gate.verdict}: {gate.sentence}"
            if gate.override is not None:
                who, why = gate.override.actor.name, gate.override.reason
                yield f"{who} overrode it as {gate.override.role}: {why}"
    for missing in found.not_recorded:
        yield f"Not recorded: {missing}."


def _release(release: Release, events: Sequence[ReleaseEvent]) -> Section:
    promoted = release.promoted_at or "never"
    return Section(
        f"Release {release.id}",
        tuple(_approval_sentences(release)),
        (
            ("State", release.state.replace("_", " ")),
            ("Verdict of its gates", release.verdict),
            ("Champion then", release.champion if release.champion is not None else "none"),
            ("Gates ran", release.created_at),
            ("Began to serve", promoted),
            ("Rollout", _rollout(release)),
            ("Decision policy", asdict(release.decision) if release.decision else _NOT_RECORDED),
        ),
        Table(
            ("when", "what", "state after", "by", "reason"),
            tuple(
                (
                    e.at,
                    e.action.replace("_", " "),
                    e.after.replace("_", " "),
                    e.actor.name,
                    e.reason,
                )
                for e in events
            ),
        )
        if events
        else None,
    )


def _rollout(release: Release) -> str:
    if release.rollout is None:
        return _NOT_RECORDED
    if not release.rollout.shares:
        return "at once"
    steps = ", ".join(f"{share:.0%}" for share in release.rollout.shares)
    return f"{release.rollout.strategy.replace('_', ' ')}, answering {steps} step by step"


def _approval_sentences(release: Release) -> Iterator[str]:
    approval = release.approval
    if approval is None:
        if release.needs_approval:
            yield "It needs somebody's approval and has none in force."
        return
    own = (
        ", who had also trained or proposed it; the policy then allowed that"
        if approval.own
        else ""
    )
    yield (
        f"Approved by {approval.actor.name}{own}: {approval.reason or 'no reason was given'}. The "
        f"approval is of manifest {approval.manifest_digest[:12]} and of gate report "
        f"{approval.gates_digest[:12]}."
    )


def _identity(found: VersionFacts) -> Section:
    version = found.version
    facts: Sequence[tuple[str, object]] = (
        ("Manifest sha256", version.manifest_digest),
        ("Registered as", version.uri),
        ("Registry's run", version.tracking_run_id),
        ("Registered", version.created_at),
    )
    return Section("Identity", (), tuple(facts))
