"""A look at the Prefect API that starts none and imports no Prefect."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from pynomaly.domain.diagnosis import Check
from pynomaly.infrastructure.prefect.session import available_api

__all__ = ["inspect_prefect"]

_SECONDS = 5.0


def inspect_prefect(home: Path) -> Iterator[Check]:
    """Look whether the API that is configured or up answers, and which version it has.

    Args:
        home: ``PYNOMALY_HOME``.

    Raises:
        ConfigurationError: Prefect's profiles cannot be read.
    """
    url = available_api(home)
    if url is None:
        seen = "no API is configured or up: --engine auto runs in the process itself"
        yield Check("prefect", "ok", seen)
        return
    fix = "start that server, or correct PREFECT_API_URL; --engine direct needs none"
    try:
        _get(f"{url}/health")
        there = _get(f"{url}/admin/version").strip('"\n ')
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            fix = "check PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
        yield Check("prefect", "problem", f"{url} answers {error.code}", fix)
        return
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Check("prefect", "problem", f"{url} does not answer: {reason}", fix)
        return
    here = metadata.version("prefect")
    if there.split(".")[:2] == here.split(".")[:2]:
        yield Check("prefect", "ok", f"{url} runs Prefect {there}")
    else:
        fix = "install the same minor version on both sides"
        yield Check("prefect", "warning", f"{url} runs Prefect {there}, here is {here}", fix)


def _get(url: str) -> str:
    request = urllib.request.Request(url)  # noqa: S310  the user's own setting
    if key := os.environ.get("PREFECT_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    loopback = urlsplit(url).hostname in ("127.0.0.1", "localhost")
    proxies = [urllib.request.ProxyHandler({})] if loopback else []
    with urllib.request.build_opener(*proxies).open(request, timeout=_SECONDS) as answer:
        text: str = answer.read(200).decode("utf-8", "replace")
    return text
