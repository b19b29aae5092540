"""Prefect's settings for the flow runs of one command."""

from __future__ import annotations

import importlib
import logging
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pynomaly.domain.errors import ConfigurationError
from pynomaly.infrastructure.prefect.folder import ServerFolder
from pynomaly.infrastructure.prefect.server import loopback_server, running_server

__all__ = ["available_api", "configured_api", "prefect_session"]

_FLUSH_SECONDS = 10.0


def available_api(home: Path) -> str | None:
    """Return the Prefect API that is configured or up, or None; does not import Prefect.

    Configured means ``PREFECT_API_URL`` in the environment or in the user's active profile; up
    means that the server of ``home`` is running.
    """
    return configured_api() or running_server(home)


def configured_api() -> str | None:
    """Return the Prefect API of the environment or of the user's active profile, or None."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    prefect_home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", prefect_home / "profiles.toml"))
    try:
        document = tomllib.loads(profiles.read_text())
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{profiles}: {error}", hint="Repair Prefect's profiles, or remove the file."
        ) from error
    active = os.environ.get("PREFECT_PROFILE", document.get("active"))
    url = document.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return url if isinstance(url, str) else None


@contextmanager
def prefect_session(home: Path) -> Iterator[str]:
    """Run flows in the block against an API that answers; yields its URL.

    The configured API is used where there is one, else the loopback server of ``home``.

    Raises:
        ConfigurationError: The configured API does not answer.
        PynomalyError: The loopback server did not start.
    """
    if url := configured_api():
        with _settings(home, url), _quiet_console(), _flushing():
            _require_answer(url)
            yield url
    else:
        with (
            _loopback_past_proxies(),
            loopback_server(home) as url,
            _settings(home, url),
            _quiet_console(),
            _flushing(),
        ):
            yield url


@contextmanager
def _settings(home: Path, url: str) -> Iterator[None]:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOCAL_STORAGE_PATH,
        temporary_settings,
    )

    updates = {
        PREFECT_API_URL: url,
        PREFECT_LOCAL_STORAGE_PATH: ServerFolder(home.resolve() / "prefect").results,
        # Heartbeats find crashed runs of deployments; here each would cost a second per flow.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }
    with temporary_settings(updates=updates):
        yield


@contextmanager
def _loopback_past_proxies() -> Iterator[None]:
    """Reach 127.0.0.1 directly where a proxy is configured for everything else."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    hosts = ",".join({host for value in before.values() if value for host in value.split(",")})
    for name in before:
        os.environ[name] = f"{hosts},127.0.0.1" if hosts else "127.0.0.1"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_answer(url: str) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
    if problem is not None:
        raise ConfigurationError(
            f"No Prefect API answers at {url}: {problem}",
            hint="Start that server or correct PREFECT_API_URL; --engine direct needs none.",
        )


@contextmanager
def _flushing() -> Iterator[None]:
    """Send the events and logs that Prefect's threads still hold while somebody listens."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        yield
    finally:
        EventsWorker.drain_all(timeout=_FLUSH_SECONDS)
        APILogWorker.drain_all(timeout=_FLUSH_SECONDS)


@contextmanager
def _quiet_console() -> Iterator[None]:
    """Keep what Prefect tells about runs off the terminal; the API still gets all of it.

    The command reports progress and errors itself.  Whoever sets ``PREFECT_LOGGING_LEVEL`` wants
    to see Prefect's own log and does.
    """
    if "PREFECT_LOGGING_LEVEL" in os.environ:
        yield
        return

    def worth_showing(record: logging.LogRecord) -> bool:
        about_a_run = record.name.startswith(("prefect.flow_runs", "prefect.task_runs"))
        return not about_a_run and (
            record.levelno >= logging.WARNING or not record.name.startswith("prefect")
        )

    importlib.import_module("prefect.main")  # sets up the handlers
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(worth_showing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(worth_showing)
