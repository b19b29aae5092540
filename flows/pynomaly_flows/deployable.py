"""The flows as Prefect objects, for deployments and for ``--engine prefect``.

Importing this module imports Prefect; the flows themselves never do.  Entry points look like
``pynomaly_flows.deployable:lifecycle``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Flow
from prefect.runtime import flow_run

from pynomaly_flows import lifecycle as _lifecycle
from pynomaly_flows import monitoring as _monitoring
from pynomaly_flows import release as _release
from pynomaly_flows import scoring as _scoring
from pynomaly_flows import training as _training

__all__ = [
    "as_flow",
    "lifecycle",
    "monitoring",
    "profiling",
    "release",
    "scoring",
    "training",
    "validation",
]


def _run_name() -> str:
    """Name a run after its pipeline and start, e.g. ``payments-lifecycle-20261123T120546``."""
    started = flow_run.scheduled_start_time
    return f"{flow_run.parameters['pipeline']}-{flow_run.flow_name}-{started:%Y%m%dT%H%M%S}"


def as_flow(fn: Callable[..., Any]) -> Flow[..., Any]:
    """Return ``fn`` as a Prefect flow; its parameters are a pipeline's name and plain values."""
    return Flow(
        fn=fn,
        name=fn.__name__,
        flow_run_name=_run_name,
        description=fn.__doc__,
        # Steps try again themselves; the values that cross a flow are small and plain.
        retries=0,
        persist_result=False,
        result_serializer="json",  # an error is kept all the same; never as a pickle
    )


lifecycle = as_flow(_lifecycle.lifecycle)
monitoring = as_flow(_monitoring.monitoring)
profiling = as_flow(_training.profiling)
release = as_flow(_release.release)
scoring = as_flow(_scoring.scoring)
training = as_flow(_training.training)
validation = as_flow(_training.validation)
