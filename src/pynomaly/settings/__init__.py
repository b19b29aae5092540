"""Configuration: layered YAML and environment variables, checked into frozen dataclasses."""

from pynomaly.settings.explain import Effective, explain
from pynomaly.settings.files import write_text
from pynomaly.settings.pipelines import (
    check_name,
    load_pipeline,
    parse_pipeline,
    pipeline_names,
)
from pynomaly.settings.platform import (
    MlflowSettings,
    ProfilingSettings,
    RecordsSettings,
    S3Settings,
    ScoringSettings,
    Settings,
    load_settings,
    resolve_uri,
)
from pynomaly.settings.problems import mask, suggestion
from pynomaly.settings.rendering import render_pipeline

__all__ = [
    "Effective",
    "MlflowSettings",
    "ProfilingSettings",
    "RecordsSettings",
    "S3Settings",
    "ScoringSettings",
    "Settings",
    "check_name",
    "explain",
    "load_pipeline",
    "load_settings",
    "mask",
    "parse_pipeline",
    "pipeline_names",
    "render_pipeline",
    "resolve_uri",
    "suggestion",
    "write_text",
]
