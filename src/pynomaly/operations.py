"""The composition root of what runs by itself: services, deployments, events."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynomaly.domain.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from pynomaly.domain.deployments import EventName, OrchestratedRun
    from pynomaly.infrastructure.prefect.deployments import DeploymentTarget
    from pynomaly.infrastructure.prefect.standing import Addresses
    from pynomaly.settings import Settings

__all__ = [
    "WORK_POOL",
    "announce",
    "answer_run",
    "deployment_target",
    "flow_runs",
    "keep_up",
    "mark_crashed",
    "mlflow_pages",
    "project_id",
    "scheduling_api",
    "start_again",
    "take_down",
    "upcoming_runs",
    "worker_is_well",
]

WORK_POOL = "pynomaly"
"""The pool that the worker of ``pynomaly up`` works for."""

Tell = Callable[[str, str], None]

DOWN_SECONDS = 90.0
"""Three services may take twenty seconds each before they are killed."""


def project_id(settings: Settings) -> str:
    """Return what tells this project's deployments from others' on one API: eight hex digits.

    Projects with the same records database are one, wherever they are checked out.
    """
    from sqlalchemy.engine import make_url

    url = make_url(settings.records.url)
    place = f"{url.get_backend_name()}://{url.host}:{url.port}/{url.database}"
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def scheduling_api(settings: Settings) -> str:
    """Return the API that starts runs by itself: the configured one, or that of ``pynomaly up``.

    Raises:
        ConfigurationError: There is none.
    """
    from pynomaly.infrastructure.prefect.session import configured_api
    from pynomaly.infrastructure.prefect.standing import alive_here

    if url := configured_api():
        return url
    if there := alive_here(settings.home):
        return f"{there.prefect}/api"
    raise ConfigurationError(
        f"no Prefect API is configured, and `pynomaly up` is not at work on {settings.home}",
        hint="start it in another terminal: pynomaly up; or set PREFECT_API_URL to your server's",
    )


def deployment_target(
    settings: Settings, work_pool: str | None = None, working_folder: Path | None = None
) -> DeploymentTarget:
    """Return where deployments go.

    Args:
        settings: Of the project.
        work_pool: None for that of ``pynomaly up``.
        working_folder: Where the pool's workers find the project; None for its folder here.

    Raises:
        ConfigurationError: No API, or a configured one without a work pool named.
    """
    from pynomaly.infrastructure.prefect.deployments import DeploymentTarget
    from pynomaly.infrastructure.prefect.standing import alive_here

    api = scheduling_api(settings)
    there = alive_here(settings.home)
    if work_pool is None and (there is None or api != f"{there.prefect}/api"):
        raise ConfigurationError(
            f"which work pool of {api} shall run the flows?", hint="add --work-pool NAME"
        )
    variables = {"working_dir": str(working_folder or settings.project)}
    if work_pool is None:
        variables["command"] = f"{shlex.quote(sys.executable)} -m prefect.engine"
    return DeploymentTarget(
        api, work_pool or WORK_POOL, project_id(settings), variables, owns_pool=work_pool is None
    )


@contextmanager
def keep_up(
    settings: Settings, worker_module: str, host: str, port: int, mlflow_port: int, tell: Tell
) -> Iterator[tuple[Addresses, Callable[[], None]]]:
    """Bring everything up; it is down again when the block is left.

    Args:
        settings: Of the project.
        worker_module: Serves the deployments; run with ``python -m``.
        host: To listen on.
        port: Of Prefect's pages and API.
        mlflow_port: Of MLflow's pages.
        tell: Called with a service's name and what happened to it.

    Yields:
        Where people find it, once all of it is healthy; and what keeps it so until interrupted.

    Raises:
        ConfigurationError: Another Prefect API is configured.
        ConflictError: ``pynomaly up`` is at work on this home already.
        UsageError: A port is taken.
        PynomalyError: A service could not be started, or died again and again.
    """
    from pynomaly.infrastructure.mlflow.client import is_server
    from pynomaly.infrastructure.mlflow.server import pages
    from pynomaly.infrastructure.prefect import standing
    from pynomaly.infrastructure.prefect.session import configured_api
    from pynomaly.infrastructure.processes.supervisor import Supervisor

    if url := configured_api():
        raise ConfigurationError(
            f"Prefect is configured to use {url}, and `pynomaly up` starts a server of its own",
            hint="deploy to that server: pynomaly deploy --work-pool NAME; or unset PREFECT_API_URL",
        )
    home, tracking = settings.home, settings.mlflow.tracking_uri
    services = [standing.server(home, host, port)]
    if not is_server(tracking):
        artifacts = home / "artifacts" / "mlflow"
        services.append(pages(home, tracking, artifacts, host, mlflow_port))
    addresses = standing.Addresses(
        os.getpid(), str(services[0].url), tracking if is_server(tracking) else services[-1].url
    )
    needed = tuple(service.name for service in services)
    services.append(
        standing.worker(
            home, settings.project, worker_module, f"{addresses.prefect}/api", after=needed
        )
    )
    with standing.occupied(home, addresses):
        for name, number in (("--port", port), ("--mlflow-port", mlflow_port)):
            if name == "--port" or len(services) == 3:
                _require_free(host, number, name)
        supervisor = Supervisor(services, tell)
        try:
            supervisor.start()
            yield addresses, supervisor.watch
        finally:
            supervisor.stop()


def announce(
    settings: Settings, event: EventName, pipeline: str, payload: Mapping[str, Any]
) -> str:
    """Tell the API that starts runs what happened to a pipeline; returns its URL.

    Raises:
        ConfigurationError: There is no such API, or it does not answer.
    """
    from pynomaly.infrastructure.prefect.events import emit_event

    api = scheduling_api(settings)
    emit_event(api, event, pipeline, payload)
    return api


def flow_runs(settings: Settings, limit: int = 200) -> tuple[OrchestratedRun, ...]:
    """Return what Prefect knows of the latest runs; nothing where no API is configured or up.

    Raises:
        ConfigurationError: The configured API does not answer.
    """
    from pynomaly.infrastructure.prefect.flow_runs import latest_flow_runs
    from pynomaly.infrastructure.prefect.session import available_api

    api = available_api(settings.home)
    return latest_flow_runs(api, limit) if api else ()


def upcoming_runs(settings: Settings, limit: int = 50) -> tuple[OrchestratedRun, ...]:
    """Return the runs that are to start, the next first; none where no API is configured or up.

    Raises:
        ConfigurationError: The configured API does not answer.
    """
    from pynomaly.infrastructure.prefect.flow_runs import upcoming_flow_runs
    from pynomaly.infrastructure.prefect.session import available_api

    api = available_api(settings.home)
    return upcoming_flow_runs(api, limit) if api else ()


def mlflow_pages(settings: Settings) -> str | None:
    """Return where MLflow's pages are: its server's, or those of ``pynomaly up``; None without."""
    from pynomaly.infrastructure.mlflow.client import is_server, redacted
    from pynomaly.infrastructure.prefect.standing import alive_here

    if is_server(settings.mlflow.tracking_uri):
        return redacted(settings.mlflow.tracking_uri).rstrip("/")
    there = alive_here(settings.home)
    return there.mlflow if there else None


def answer_run(settings: Settings, run_id: str, answer: Mapping[str, object]) -> bool:
    """Let a run that waits for a person go on; whether there is one that now does.

    A worker of ``pynomaly up`` that saw the answer first has let it go on already.

    Args:
        settings: Of the project.
        run_id: Ours.
        answer: What it asked for.

    Raises:
        ConfigurationError: The configured API does not answer.
    """
    from pynomaly.infrastructure.prefect.flow_runs import answer_flow_run, upcoming_flow_runs
    from pynomaly.infrastructure.prefect.session import available_api

    api = available_api(settings.home)
    if api is None:
        return False
    known = (*flow_runs(settings), *upcoming_flow_runs(api))
    return any(answer_flow_run(api, run.id, answer) for run in known if run.run_id == run_id)


def mark_crashed(settings: Settings, run: OrchestratedRun, why: str) -> None:
    """Tell Prefect that the process of a run is gone.

    Raises:
        ConfigurationError: There is no API that starts runs, or it does not answer.
    """
    from pynomaly.infrastructure.prefect import flow_runs

    flow_runs.mark_crashed(scheduling_api(settings), run.id, why)


def start_again(settings: Settings, run: OrchestratedRun) -> None:
    """Have a worker start a deployment's run once more, under the same id.

    Raises:
        ConfigurationError: There is no API that starts runs, or it does not answer.
    """
    from pynomaly.infrastructure.prefect import flow_runs

    flow_runs.start_again(scheduling_api(settings), run.id)


def worker_is_well(settings: Settings) -> None:
    """Say that this process, the worker of ``pynomaly up``, does its work."""
    from pynomaly.infrastructure.prefect.standing import beat

    beat(settings.home)


def take_down(settings: Settings) -> Addresses | None:
    """Stop the ``pynomaly up`` of this home; returns where it was, or None.

    Raises:
        ConflictError: It does not end.
    """
    from pynomaly.infrastructure.prefect.standing import shut

    return shut(settings.home, DOWN_SECONDS)


def _require_free(host: str, port: int, option: str) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0).lower()}",
            hint=f"choose another port with {option}, or end what listens there",
        ) from error
