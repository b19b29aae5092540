"""A pipeline's configuration as it is kept with what was made under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pynomaly.domain.pipelines import DecisionPolicy, Pipeline

__all__ = ["decision_of", "effective_configuration"]


def effective_configuration(pipeline: Pipeline) -> dict[str, Any]:
    """Return every setting of a pipeline, defaults included, JSON-able and without secrets.

    >>> from pynomaly.domain.datasets import Schema
    >>> from pynomaly.domain.pipelines import SourceSpec
    >>> source = SourceSpec("postgresql://me:secret@db/lake?password=x", query="payments")
    >>> effective_configuration(Pipeline("payments", source, Schema(())))["source"]["uri"]
    'postgresql://me:***@db/lake?***'
    """
    configuration: dict[str, Any] = _plain(asdict(pipeline))
    configuration["source"]["uri"] = _without_secrets(pipeline.source.uri)
    return configuration


def decision_of(configuration: Mapping[str, Any]) -> DecisionPolicy | None:
    """Return the decision policy in a configuration that was kept; None if there is none."""
    try:
        return DecisionPolicy(**configuration["decision"])
    except (KeyError, TypeError):
        return None


def _without_secrets(uri: str) -> str:
    parts = urlsplit(uri)
    if "://" not in uri or parts.scheme == "s3":
        return uri
    netloc = parts.netloc
    if parts.password is not None:
        netloc = f"{netloc.rpartition('@')[0].partition(':')[0]}:***@{netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, query="***" if parts.query else ""))


def _plain(value: Any) -> Any:
    """Return what JSON can hold; dates in the arguments of expectations become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            finite = not isinstance(value, float) or value - value == 0
            return kind(value) if finite else str(value)
    return None if value is None else str(value)
