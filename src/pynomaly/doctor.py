"""The composition root of ``pynomaly doctor``: looks at what :mod:`.bootstrap` would use.

Settings and pipelines that cannot be read are findings like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from pynomaly.application.diagnose import Probe, diagnose
from pynomaly.domain.diagnosis import Check
from pynomaly.domain.errors import PynomalyError

if TYPE_CHECKING:
    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.settings import Settings

__all__ = ["examine"]

PREFECT_PORT, MLFLOW_PORT = 4200, 5000
"""Defaults of ``pynomaly up``."""


def examine() -> tuple[Check, ...]:
    """Return what is well and what is not with the installation and the project here."""
    from pynomaly.infrastructure.host.installation import libraries, python
    from pynomaly.infrastructure.host.machine import port

    ports: dict[str, Probe] = {
        f"port {PREFECT_PORT}": partial(port, PREFECT_PORT, "Prefect", "/api/health", "--port"),
        f"port {MLFLOW_PORT}": partial(port, MLFLOW_PORT, "MLflow", "/version", "--mlflow-port"),
    }
    checks = diagnose({"python": python, "libraries": libraries})
    try:
        settings = _settings()
    except PynomalyError as error:
        seen = f"{error.message}; what it configures was not looked at"
        broken = Check("configuration", "problem", seen, error.hint)
        return (*checks, broken, *diagnose(ports))
    return (*checks, *diagnose({**_probes(settings), **ports}))


def _settings() -> Settings:
    from pynomaly.settings import load_settings

    return load_settings()


def _probes(settings: Settings) -> dict[str, Probe]:
    from pynomaly.infrastructure.host.machine import disk, home
    from pynomaly.infrastructure.mlflow.inspection import inspect_registry
    from pynomaly.infrastructure.prefect.inspection import inspect_prefect

    def configuration() -> Iterator[Check]:
        seen = f"{settings.project}, environment {settings.environment}"
        yield Check("configuration", "ok", seen)

    def records() -> Iterator[Check]:
        from pynomaly.infrastructure.sqlalchemy.inspection import inspect_records

        yield from inspect_records(settings.records.url)

    readable: list[Pipeline] = []
    return {
        "configuration": configuration,
        "pipelines": partial(_pipelines, settings, readable),
        "home": partial(home, settings.home),
        "disk": partial(disk, settings.home),
        "records": records,
        "mlflow": partial(inspect_registry, settings.mlflow.tracking_uri),
        "prefect": partial(inspect_prefect, settings.home),
        "s3": partial(_buckets, readable),
        "signing key": partial(_signing_key, settings),
    }


def _pipelines(settings: Settings, readable: list[Pipeline]) -> Iterator[Check]:
    """Read every configured pipeline; those that can be read are added to ``readable``."""
    from pynomaly.settings import load_pipeline, pipeline_names

    names = pipeline_names(settings)
    for name in names:
        try:
            readable.append(load_pipeline(name, settings))
        except PynomalyError as error:
            yield Check(f"pipeline {name}", "problem", error.message, error.hint)
    if len(readable) == len(names):
        seen = f"{len(names)} can be read: {', '.join(names)}" if names else "none yet"
        fix = None if names else "write one from a table: pynomaly init NAME --data FILE"
        yield Check("pipelines", "ok", seen, fix)


def _signing_key(settings: Settings) -> Iterator[Check]:
    """Look at the key that signs evidence; one that nobody named is made when it is needed."""
    path = settings.signing_key
    if settings.evidence.signing_key is not None or path.exists():
        from pynomaly.domain.evidence import key_fingerprint
        from pynomaly.infrastructure.evidence import Ed25519Signer

        key = Ed25519Signer(path, create=False).public_key()
        yield Check("signing key", "ok", f"{path}, {key_fingerprint(key)}")


def _buckets(pipelines: list[Pipeline]) -> Iterator[Check]:
    """Look at the buckets of sources; imports boto3 only where there is one."""
    uris = [p.source.uri for p in pipelines if p.source.uri.startswith("s3://")]
    if uris:
        from pynomaly.infrastructure.s3.inspection import inspect_buckets

        yield from inspect_buckets(uris)
