"""The effective configuration, value by value, with where each came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pynomaly.settings.documents import Node
from pynomaly.settings.pipelines import load_pipeline, pipeline_tree
from pynomaly.settings.platform import Settings
from pynomaly.settings.problems import mask

__all__ = ["Effective", "explain"]


@dataclass(frozen=True, slots=True)
class Effective:
    """One effective value.

    Args:
        key: Dotted path.
        value: Plain; passwords in URLs are masked.
        origin: ``file:line``, an environment variable, or ``default``.
    """

    key: str
    value: Any
    origin: str


def explain(settings: Settings, pipeline: str | None = None) -> tuple[Effective, ...]:
    """Return the settings, or one pipeline's configuration.

    Raises:
        ConfigurationError: The pipeline's file is wrong.
        UnknownPipelineError: There is no such pipeline.
    """
    if pipeline is None:
        effective = {
            "home": str(settings.home),
            "records.url": settings.records.url,
            "mlflow.tracking_uri": settings.mlflow.tracking_uri,
        }
        return tuple(_leaves(settings.tree, effective))
    source = load_pipeline(pipeline, settings).source.uri
    return tuple(_leaves(pipeline_tree(pipeline, settings), {"source.uri": source}))


def _leaves(node: Node, effective: dict[str, str], path: str = "") -> Iterator[Effective]:
    if isinstance(node.value, dict) and node.value and "expectations[" not in path:
        for key, part in node.value.items():
            yield from _leaves(part, effective, f"{path}.{key}" if path else key)
    elif path.endswith("expectations") and isinstance(node.value, tuple) and node.value:
        for position, part in enumerate(node.value):
            yield from _leaves(part, effective, f"{path}[{position}]")
    else:
        value = effective.get(path, node.plain())
        if "://" in (text := json.dumps(value)):
            value = json.loads(mask(text))
        yield Effective(path, value, str(node.origin))
