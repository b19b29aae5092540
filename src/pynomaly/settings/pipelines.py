"""Pipeline files: ``conf/pipelines/<name>.yaml`` ↔ :class:`~pynomaly.domain.pipelines.Pipeline`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.deployments import Schedule, TriggerPolicy
from pynomaly.domain.errors import ConfigurationError, UnknownPipelineError
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
from pynomaly.settings import rules
from pynomaly.settings.documents import DEFAULT, Node, parse, read_document, wrap
from pynomaly.settings.layers import merge
from pynomaly.settings.platform import Settings, resolve_uri
from pynomaly.settings.problems import checked, fail
from pynomaly.settings.sections import PipelineDocument

__all__ = [
    "check_name",
    "load_pipeline",
    "parse_pipeline",
    "pipeline_names",
    "pipeline_tree",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_STRUCTURE: Mapping[str, Any] = {
    "purpose": None,
    "source": {
        "format": None,
        "delimiter": None,
        "encoding": None,
        "query": None,
        "watermark": None,
    },
    "id": [],
    "time": None,
    "label": None,
    "exclude": [],
    "schedules": {},
    "validation": {"expectations": []},
}


def check_name(name: str) -> None:
    """Refuse what cannot name a pipeline.

    Raises:
        ConfigurationError: Anything but lower-case letters, digits, ``-`` and ``_``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a pipeline",
            hint="use up to 63 lower-case letters, digits, - and _, e.g. card-payments",
        )


def pipeline_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of all configured pipelines."""
    if not settings.pipelines.is_dir():
        return ()
    return tuple(sorted(path.stem for path in settings.pipelines.glob("*.yaml")))


def load_pipeline(name: str, settings: Settings) -> Pipeline:
    """Read a configured pipeline; a relative source starts at the project folder.

    Raises:
        UnknownPipelineError: There is no such file; the hint suggests the nearest.
        ConfigurationError: Anything unknown, mistyped or contradictory, with file and line.
    """
    return _pipeline(name, pipeline_tree(name, settings), settings.project)


def parse_pipeline(name: str, text: str, settings: Settings) -> Pipeline:
    """Read a pipeline from YAML text; a relative source stays as written.

    Raises:
        ConfigurationError: As for :func:`load_pipeline`.
    """
    return _pipeline(name, _merged(parse(text, f"conf/pipelines/{name}.yaml"), settings), Path())


def pipeline_tree(name: str, settings: Settings) -> Node:
    """Return a pipeline's file over the policies of the other layers, with origins.

    Raises:
        UnknownPipelineError: There is no such file.
        ConfigurationError: It cannot be read.
    """
    path = settings.pipelines / f"{name}.yaml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = pipeline_names(settings)
        near = get_close_matches(name, known, n=1)
        if near:
            hint = f"did you mean `{near[0]}`?"
        elif known:
            hint = f"configured are: {', '.join(known)}"
        else:
            hint = f"create one: pynomaly init {name} --data FILE"
        raise UnknownPipelineError(
            f"there is no pipeline `{name}` in {settings.pipelines}", hint=hint
        )
    return _merged(read_document(path, f"conf/pipelines/{path.name}"), settings)


def _merged(document: Node, settings: Settings) -> Node:
    policies = Node({}, DEFAULT)
    if isinstance(settings.tree.value, dict):
        policies = settings.tree.value["pipeline_defaults"]
    tree = merge(merge(wrap(_STRUCTURE, DEFAULT), policies), _written_out(document))
    # What is missing is missing in the file, whatever lies over it.
    return Node(merge(tree, settings.overrides).value, document.origin)


def _written_out(document: Node) -> Node:
    """Write the short forms of a source, an id, a column and a schedule as the long ones."""
    if not isinstance(document.value, dict):
        return document
    entries = dict(document.value)
    if "source" in entries and isinstance(entries["source"].value, str):
        entries["source"] = _under("uri", entries["source"])
    if "id" in entries and isinstance(entries["id"].value, str):
        entries["id"] = Node((entries["id"],), entries["id"].origin)
    for section, key in (("columns", "kind"), ("schedules", "cron")):
        if section in entries and isinstance(short := entries[section].value, dict):
            long = {
                name: _under(key, node) if isinstance(node.value, str) else node
                for name, node in short.items()
            }
            entries[section] = Node(long, entries[section].origin)
    return Node(entries, document.origin)


def _under(key: str, node: Node) -> Node:
    return Node({key: node}, node.origin)


def _pipeline(name: str, tree: Node, folder: Path) -> Pipeline:
    check_name(name)
    document = checked(PipelineDocument, tree)
    if problems := list(rules.pipeline(document)):
        raise fail(tree, problems)
    source = document.source
    if source.query is not None and "://" not in source.uri:
        raise ConfigurationError(
            f"{tree.at(('source', 'query'))}: source.query: only a database has queries",
            hint="make source.uri a SQLAlchemy URL, e.g. postgresql://host/database",
        )
    if source.watermark is not None and "://" not in source.uri:
        raise ConfigurationError(
            f"{tree.at(('source', 'watermark'))}: source.watermark: only a database has one",
            hint="new files are told by themselves: leave it out",
        )
    decision = document.decision.model_dump()
    validation = document.validation.model_dump(exclude={"expectations"})
    training = document.training.model_dump(exclude={"detectors"})
    rollout = document.rollout.model_dump(exclude={"canary_shares"})
    return Pipeline(
        name=name,
        purpose=document.purpose,
        source=SourceSpec(
            uri=source.uri if folder == Path() else resolve_uri(source.uri, folder),
            format=source.format,
            delimiter=source.delimiter,
            encoding=source.encoding,
            query=source.query,
            watermark=source.watermark,
        ),
        schema=Schema(
            tuple(
                Column(column, declared.kind, declared.nullable)
                for column, declared in document.columns.items()
            )
        ),
        id_columns=tuple(document.id),
        time_column=document.time,
        label_column=document.label,
        excluded=tuple(document.exclude),
        validation=ValidationPolicy(
            expectations=tuple(_expectation(e) for e in document.validation.expectations),
            **validation,
        ),
        training=TrainingPolicy(detectors=tuple(document.training.detectors), **training),
        release=ReleasePolicy(**document.release.model_dump()),
        rollout=RolloutPolicy(canary_shares=tuple(document.rollout.canary_shares), **rollout),
        decision=DecisionPolicy(kind=decision.pop("policy"), **decision),
        triggers=TriggerPolicy(**document.triggers.model_dump()),
        schedules={
            flow: Schedule(**schedule.model_dump()) for flow, schedule in document.schedules.items()
        },
    )


def _expectation(item: Mapping[str, Any]) -> Expectation:
    kind = next(key for key in item if key != "severity")
    return Expectation(kind, item[kind] or {}, item.get("severity", "critical"))
