"""The effective configuration, value by value, with where each came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pynomaly.settings.documents import Node
from pynomaly.settings.pipelines import load_pipeline, pipeline_tree
from pynomaly.settings.platform import Settings
from pynomaly.settings.problems import checked, mask
from pynomaly.settings.sections import PipelineDocument, SettingsDocument

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
        tree = settings.tree
        document = checked(SettingsDocument, tree).model_dump()
        document["home"] = str(settings.home)
        document["records"]["url"] = settings.records.url
        document["mlflow"]["tracking_uri"] = settings.mlflow.tracking_uri
    else:
        uri = load_pipeline(pipeline, settings).source.uri
        tree = pipeline_tree(pipeline, settings)
        document = checked(PipelineDocument, tree).model_dump()
        document["source"]["uri"] = uri
    return tuple(_leaves(tree, document, ""))


def _leaves(node: Node, value: Any, path: str) -> Iterator[Effective]:
    """Walk the tree for origins and the checked document for values, side by side."""
    if isinstance(node.value, dict) and node.value and not path.endswith("]"):
        for key, part in node.value.items():
            yield from _leaves(part, value[key], f"{path}.{key}" if path else key)
    elif isinstance(node.value, tuple) and path.endswith("expectations"):
        for position, part in enumerate(node.value):
            yield from _leaves(part, value[position], f"{path}[{position}]")
    else:
        shown = json.loads(mask(json.dumps(value)))
        yield Effective(path, shown, str(node.origin))
