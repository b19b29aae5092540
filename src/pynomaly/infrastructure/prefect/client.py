"""A client for a Prefect API that is known to answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pynomaly.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["api_client", "api_settings"]


@contextmanager
def api_settings(url: str) -> Iterator[None]:
    """Let Prefect use the API at ``url`` in the block."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(updates={PREFECT_API_URL: url}):
        yield


@contextmanager
def api_client(url: str) -> Iterator[SyncPrefectClient]:
    """Yield a client of the API at ``url``.

    Raises:
        ConfigurationError: It does not answer.
    """
    with api_settings(url):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            if (problem := client.api_healthcheck()) is not None:
                raise ConfigurationError(
                    f"No Prefect API answers at {url}: {problem}",
                    hint="Start that server or correct PREFECT_API_URL; `pynomaly up` starts one.",
                )
            yield client
