"""Pipelines as YAML a person can read and edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import yaml

from pynomaly.domain.deployments import Schedule, TriggerPolicy
from pynomaly.domain.pipelines import (
    DecisionPolicy,
    Expectation,
    Pipeline,
    ReleasePolicy,
    TrainingPolicy,
    ValidationPolicy,
)
from pynomaly.domain.rollouts import RolloutPolicy
from pynomaly.domain.sources import SourceSpec
from pynomaly.settings.documents import core_resolvers

__all__ = ["render_pipeline"]

_INHERITED = """\
# Policies not given here are those of conf/base and conf/$PYNOMALY_ENV (pipeline_defaults), else
# built in.  See all of them, and where each comes from: pynomaly config show {name}
"""
_TITLES = {
    "purpose": "What the scores are for and who acts on them; on the model card.",
    "source": "Where rows come from: a file, folder, glob, s3:// or database URL.  A relative path "
    "starts\n# at the folder that holds conf/.",
    "id": "What identifies a row.",
    "time": "When it happened.",
    "label": "1 = anomaly, 0 = normal, empty = unknown; never a feature.",
    "exclude": "In the source, but not read.",
    "columns": "Every column that must be there, and how it is read: numeric, categorical, "
    "boolean,\n# datetime, id, text or constant.  `nullable: false` quarantines rows without a "
    "value.",
    "validation": "When data is good enough.  Severity: critical refuses it all, row quarantines "
    "the row,\n# warning only reports.",
    "training": "How a model is chosen and fitted.",
    "release": "What a new model must show before it serves.",
    "rollout": "How a new model takes over from the one that serves.",
    "decision": "When a row is flagged.",
    "triggers": "What happens by itself when something has happened.",
    "schedules": "When a flow (train, release, score, monitor, lifecycle) runs by itself: a cron "
    "expression, "
    "or\n# {cron: …, timezone: Europe/Berlin, parameters: {…}}.",
}


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else; indents lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Inline:
    """A collection on one line."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _inline(dumper: _Dumper, inline: _Inline) -> yaml.Node:
    if isinstance(inline.value, dict):
        return dumper.represent_mapping("tag:yaml.org,2002:map", inline.value, flow_style=True)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", inline.value, flow_style=True)


_Dumper.add_representer(_Inline, _inline)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Escape what readers would take for a line's end; PyYAML writes U+0085 and the like raw."""
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
core_resolvers(_Dumper)


def render_pipeline(pipeline: Pipeline, notes: Mapping[str, str] | None = None) -> str:
    """Return a file for ``conf/pipelines`` that reads back as ``pipeline``.

    Policy values that equal the built-in ones are left out, so that the project's own defaults
    apply to them.

    Args:
        pipeline: What to write.
        notes: A remark per column, written behind excluded ones.
    """
    notes = notes or {}
    sections: dict[str, Any] = {} if pipeline.purpose is None else {"purpose": pipeline.purpose}
    sections["source"] = _source(pipeline.source)
    if pipeline.id_columns:
        ids = list(pipeline.id_columns)
        sections["id"] = ids[0] if len(ids) == 1 else _Inline(ids)
    if pipeline.time_column is not None:
        sections["time"] = pipeline.time_column
    if pipeline.label_column is not None:
        sections["label"] = pipeline.label_column
    if pipeline.excluded:
        sections["exclude"] = list(pipeline.excluded)
    sections["columns"] = {
        c.name: c.kind if c.nullable else _Inline({"kind": c.kind, "nullable": False})
        for c in pipeline.schema.columns
    }
    sections |= _policies(pipeline)
    if pipeline.schedules:
        sections["schedules"] = {
            flow: _schedule(schedule) for flow, schedule in pipeline.schedules.items()
        }
    parts = [f"# Pipeline {pipeline.name}.  Check it: pynomaly validate {pipeline.name}\n"]
    for key, value in sections.items():
        body = _excluded(pipeline.excluded, notes) if key == "exclude" else _dump({key: value})
        parts.append(f"# {_TITLES[key]}\n{body}")
    parts.append(_INHERITED.format(name=pipeline.name))
    return "\n".join(parts)


def _source(source: SourceSpec) -> str | dict[str, Any]:
    given = {key: value for key, value in asdict(source).items() if value is not None}
    return source.uri if list(given) == ["uri"] else given


def _policies(pipeline: Pipeline) -> dict[str, Any]:
    validation = _changed(pipeline.validation, ValidationPolicy())
    if "expectations" in validation:
        validation["expectations"] = [_expectation(e) for e in pipeline.validation.expectations]
    decision = _changed(pipeline.decision, DecisionPolicy())
    if "kind" in decision:
        decision = {"policy": decision.pop("kind"), **decision}
    changed = {
        "validation": validation,
        "training": _changed(pipeline.training, TrainingPolicy()),
        "release": _changed(pipeline.release, ReleasePolicy()),
        "rollout": _changed(pipeline.rollout, RolloutPolicy()),
        "decision": decision,
        "triggers": _changed(pipeline.triggers, TriggerPolicy()),
    }
    return {key: values for key, values in changed.items() if values}


def _changed(policy: Any, default: Any) -> dict[str, Any]:
    changed = {f.name: _plain(getattr(policy, f.name)) for f in fields(policy)}
    return {
        name: _Inline(value) if isinstance(value, list) else value
        for name, value in changed.items()
        if getattr(policy, name) != getattr(default, name)
    }


def _schedule(schedule: Schedule) -> str | _Inline:
    if schedule == Schedule(schedule.cron):
        return schedule.cron
    given = {"cron": schedule.cron, **_changed(schedule, Schedule(schedule.cron))}
    return _Inline(given)


def _expectation(expectation: Expectation) -> dict[str, Any]:
    return {expectation.type: _Inline(_plain(expectation.kwargs)), "severity": expectation.severity}


def _plain(value: Any) -> Any:
    """Return built-in types only: profiles may carry numpy numbers, which are subclasses."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    for kind in (str, float):
        if isinstance(value, kind):
            return kind(value)
    return value


def _excluded(names: tuple[str, ...], notes: Mapping[str, str]) -> str:
    lines = ["exclude:"]
    for name in names:
        remark = "".join(c if c.isprintable() else " " for c in notes.get(name, ""))
        item = _dump([name]).rstrip("\n")
        lines.append(f"  {item}  # {remark}" if remark else f"  {item}")
    return "\n".join(lines) + "\n"


def _dump(value: Any) -> str:
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10_000,
    )
