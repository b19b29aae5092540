"""Between the domain's frozen values and rows of our tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pynomaly.domain.canaries import Comparison, Observation, Pairs
from pynomaly.domain.datasets import Fingerprint, Snapshot
from pynomaly.domain.gates import GateResult, Override
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import Approval, ModelVersion, Release, ReleaseEvent
from pynomaly.domain.rollouts import Rollout
from pynomaly.domain.runs import Actor, Run, ScoredBatch, StepRecord
from pynomaly.domain.witnesses import Evidence

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "batch",
    "comparison",
    "comparison_row",
    "content",
    "dump_json",
    "load_json",
    "model_version",
    "observation",
    "release",
    "release_event",
    "report",
    "row",
    "run",
    "step",
]

Record = Run | StepRecord | ValidationReport | ModelVersion | Release | ReleaseEvent | ScoredBatch


def row(record: Record) -> dict[str, Any]:
    """Return the columns of any record.

    Raises:
        ValueError: A moment has no time zone: guessing one would move it.
    """
    values: dict[str, Any] = {f.name: getattr(record, f.name) for f in fields(record)}
    for name, value in values.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{type(record).__name__}.{name} has no time zone: {value}")
    match record:
        case Run():
            actor = values.pop("actor")
            values |= {"actor_name": actor.name, "actor_kind": actor.kind}
        case StepRecord():
            values["summary"] = dict(record.summary)
        case ValidationReport():
            values["fingerprint"] = record.snapshot.fingerprint.content
            values["snapshot"] = asdict(record.snapshot)
            values["results"] = [asdict(result) for result in record.results]
        case Release():
            values["gates"] = [asdict(gate) for gate in record.gates]
            values["target"] = values.pop("to")
            for name in ("decision", "rollout", "proposer"):
                part = values[name]
                values[name] = None if part is None else asdict(part)
            values["approval"] = _approval_row(record.approval)
        case ReleaseEvent():
            actor = values.pop("actor")
            values |= {"actor_name": actor.name, "actor_kind": actor.kind}
    return values


def content(record: Record) -> str:
    """Return text that is equal for equal records, NaN included, in any time zone."""
    return dump_json(
        {
            name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for name, value in row(record).items()
        }
    )


def _values(found: sa.Row[Any]) -> dict[str, Any]:
    values = dict(found._mapping)
    values.pop("seq", None)
    return values


def run(found: sa.Row[Any]) -> Run:
    """Return the stored run."""
    values = _values(found)
    return Run(actor=Actor(values.pop("actor_name"), values.pop("actor_kind")), **values)


def step(found: sa.Row[Any]) -> StepRecord:
    """Return the stored step."""
    return StepRecord(**_values(found))


def report(found: sa.Row[Any]) -> ValidationReport:
    """Return the stored validation report."""
    values = _values(found)
    del values["fingerprint"]  # of the snapshot, once more, to be found by it
    values["snapshot"] = _snapshot(values["snapshot"])
    values["results"] = tuple(_expectation(result) for result in values["results"])
    return ValidationReport(**values)


def _snapshot(values: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        uri=values["uri"],
        fingerprint=Fingerprint(**values["fingerprint"]),
        columns=tuple((name, physical) for name, physical in values["columns"]),
        rows=values["rows"],
        size_bytes=values["size_bytes"],
    )


def _expectation(values: Mapping[str, Any]) -> ExpectationResult:
    return ExpectationResult(**{**values, "sample_ids": tuple(values["sample_ids"])})


def model_version(found: sa.Row[Any]) -> ModelVersion:
    """Return the stored model version."""
    return ModelVersion(**_values(found))


def release(found: sa.Row[Any]) -> Release:
    """Return the stored release."""
    values = _values(found)
    values["gates"] = tuple(_gate(gate) for gate in values["gates"])
    values["to"] = values.pop("target")
    if values["decision"]:
        values["decision"] = DecisionPolicy(**values["decision"])
    if values["rollout"]:
        shares = tuple(values["rollout"]["shares"])
        values["rollout"] = Rollout(**{**values["rollout"], "shares": shares})
    if values["proposer"]:
        values["proposer"] = Actor(**values["proposer"])
    if values["approval"]:
        values["approval"] = _approval(values["approval"])
    return Release(**values)


def _approval_row(approval: Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    moments = {"at": approval.at.isoformat(), "expires_at": approval.expires_at.isoformat()}
    return asdict(approval) | moments


def _approval(values: Mapping[str, Any]) -> Approval:
    moments = {name: datetime.fromisoformat(values[name]) for name in ("at", "expires_at")}
    return Approval(**{**values, **moments, "actor": Actor(**values["actor"])})


def release_event(found: sa.Row[Any]) -> ReleaseEvent:
    """Return the stored event."""
    values = _values(found)
    return ReleaseEvent(actor=Actor(values.pop("actor_name"), values.pop("actor_kind")), **values)


def comparison_row(seen: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON."""
    return asdict(seen)


def comparison(values: Mapping[str, Any]) -> Comparison:
    """Return the stored comparison."""
    pairs = {name: _pairs(values[name]) for name in ("alerts", "tail")}
    return Comparison(**{**values, **pairs})


def _pairs(values: Mapping[str, Any]) -> Pairs:
    found = values.get("evidence")
    if found is None:  # written before rows were taken in groups: rows alone prove nothing
        return Pairs(**values)
    logs = {name: tuple(kept) for name, kept in found.items() if name != "groups"}
    return Pairs(**{**values, "evidence": Evidence(found["groups"], **logs)})


def _gate(values: Mapping[str, Any]) -> GateResult:
    override = values.get("override")
    if override is not None:
        override = Override(**{**override, "actor": Actor(**override["actor"])})
    return GateResult(**{**values, "override": override})


def batch(found: sa.Row[Any]) -> ScoredBatch:
    """Return the stored batch."""
    return ScoredBatch(**_values(found))


def observation(values: Mapping[str, Any]) -> Observation:
    """Return the stored observation."""
    return Observation(values["release_id"], values["step"], comparison(values["seen"]))


def dump_json(value: object) -> str:
    """Return strict JSON; NaN and ±inf, which JSON lacks, become ``{"$float": "nan"}``."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return {"$float": str(float(value))}
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def load_json(text: str | bytes) -> Any:
    """Return what :func:`dump_json` was given."""
    return json.loads(text, object_hook=_unwrap)


def _unwrap(values: dict[str, Any]) -> object:
    return float(values["$float"]) if values.keys() == {"$float"} else values
