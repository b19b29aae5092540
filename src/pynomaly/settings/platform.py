"""Settings of the platform: typed, frozen, and each traceable to the line that set it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pynomaly.settings import rules
from pynomaly.settings.documents import DEFAULT, Node, Origin, wrap
from pynomaly.settings.layers import environment_name, find_project, merge, settings_tree
from pynomaly.settings.problems import checked, fail
from pynomaly.settings.sections import SettingsDocument

__all__ = [
    "EvidenceSettings",
    "MlflowSettings",
    "ProfilingSettings",
    "RecordsSettings",
    "S3Settings",
    "ScoringSettings",
    "Settings",
    "load_settings",
    "resolve_uri",
]


@dataclass(frozen=True, slots=True)
class RecordsSettings:
    """Our own database, as a SQLAlchemy URL."""

    url: str


@dataclass(frozen=True, slots=True)
class MlflowSettings:
    """Where MLflow tracks and registers: a server's or a database's URL."""

    tracking_uri: str


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """How jobs are worked off.

    Args:
        batch_rows: Rows held in memory at once.
        threads: Of the kernels; None for all cores there are.
        workers: Partitions in progress at once in one process.
        partition_rows: Rows committed at once, about.
        lease_seconds: How long a worker may give no sign of life.
        memory_mib: Batches are made to fit into it; None for no bound but ``batch_rows``.
        compute: Threads of this process, or a Dask cluster.
        scheduler: Address of the cluster's scheduler; None starts a cluster on this machine.
    """

    batch_rows: int
    threads: int | None
    workers: int
    partition_rows: int
    lease_seconds: float
    memory_mib: int | None
    compute: Literal["threads", "dask"]
    scheduler: str | None


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Server-side encryption of objects we write, and its key."""

    sse: str | None
    kms_key: str | None


@dataclass(frozen=True, slots=True)
class ProfilingSettings:
    """Profiling: rows drawn from larger sources."""

    sample_rows: int


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """What vouches for bundles of evidence.

    Args:
        signing_key: PEM file of an Ed25519 private key; None for one made in ``home``.
        revision: Of the project, where no git repository tells; None to ask git.
    """

    signing_key: Path | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything configured outside ``conf/pipelines``.

    Args:
        project: Folder that holds ``conf/``; relative paths in configuration start here.
        environment: Which folder of ``conf/`` lies over ``base``.
        home: Embedded state: databases, artifacts, scores, reports, logs.
        records: Our own database.
        mlflow: Tracking and registry.
        scoring: Streaming.
        s3: Objects we write.
        profiling: Profiling.
        evidence: Signing.
        tree: The merged layers with the origin of every value.
        overrides: Lies over every pipeline file, e.g. ``--trials`` of a command line.
    """

    project: Path
    environment: str
    home: Path
    records: RecordsSettings
    mlflow: MlflowSettings
    scoring: ScoringSettings
    s3: S3Settings
    profiling: ProfilingSettings
    evidence: EvidenceSettings
    tree: Node = field(repr=False, compare=False)
    overrides: Node = field(default=Node({}, DEFAULT), repr=False, compare=False)

    @property
    def pipelines(self) -> Path:
        """Folder of the pipeline files."""
        return self.project / "conf" / "pipelines"

    @property
    def signing_key(self) -> Path:
        """File of the private key that signs evidence; one in ``home`` need not exist yet."""
        return self.evidence.signing_key or self.home / "keys" / "evidence-ed25519.pem"

    def overriding(self, overrides: Mapping[str, Any], origin: str) -> Settings:
        """Return settings whose pipelines have ``overrides`` over their own values.

        Args:
            overrides: Shaped like a pipeline file, e.g. ``{"training": {"trials": 5}}``.
            origin: How messages call where they come from, e.g. ``command line``.
        """
        return replace(self, overrides=merge(self.overrides, wrap(overrides, Origin(origin))))


def load_settings(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read every layer: environment > conf/$PYNOMALY_ENV > conf/base > shipped defaults.

    Args:
        start: Where to look for ``conf/`` from, upwards; the working folder where None.
        environ: Environment variables; the process's own where None.

    Raises:
        ConfigurationError: Anything unknown, mistyped or unreadable, with file and line.
    """
    environ = os.environ if environ is None else environ
    project = find_project(start or Path.cwd())
    environment = environment_name(project, environ)
    tree = settings_tree(project, environment, environ)
    document = checked(SettingsDocument, tree)
    problems = [
        *rules.policies(document.pipeline_defaults, ("pipeline_defaults",)),
        *rules.scoring(document.scoring),
    ]
    if problems:
        raise fail(tree, problems)
    home = (project / Path(str(document.home)).expanduser()).resolve()
    records_url = document.records.url or f"sqlite:///{home / 'pynomaly.db'}"
    tracking_uri = document.mlflow.tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
    signing_key = document.evidence.signing_key
    return Settings(
        project=project,
        environment=environment,
        home=home,
        records=RecordsSettings(resolve_uri(records_url, project)),
        mlflow=MlflowSettings(resolve_uri(tracking_uri, project)),
        scoring=ScoringSettings(**document.scoring.model_dump()),
        s3=S3Settings(**document.s3.model_dump()),
        profiling=ProfilingSettings(document.profiling.sample_rows),
        evidence=EvidenceSettings(
            (project / Path(signing_key).expanduser()) if signing_key else None,
            document.evidence.revision,
        ),
        tree=tree,
    )


def resolve_uri(uri: str, folder: Path) -> str:
    """Make a relative path, or the path in a SQLite URL, start at ``folder``.

    >>> resolve_uri("data/*.csv", Path("/srv"))
    '/srv/data/*.csv'
    >>> resolve_uri("sqlite:///data/x.db", Path("/srv"))
    'sqlite:////srv/data/x.db'
    >>> resolve_uri("s3://bucket/prefix", Path("/srv"))
    's3://bucket/prefix'
    """
    sqlite = "sqlite:///"
    if uri.startswith(sqlite):
        path = uri.removeprefix(sqlite)
        # No path and `:memory:` mean a database in memory, `file:` SQLite's own URIs.
        return (
            uri
            if path.startswith((":memory:", "file:")) or not path
            else (f"{sqlite}{folder / path}")
        )
    if "://" in uri:
        return str(uri)
    return str(folder / Path(uri).expanduser())
