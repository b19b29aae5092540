"""MLflow's pages over our own tracking database."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

from pynomaly.application.ports.processes import Service

__all__ = ["pages"]


def pages(home: Path, tracking_uri: str, artifacts: Path, host: str, port: int) -> Service:
    """Return the server of MLflow's pages.

    Args:
        home: ``PYNOMALY_HOME``.
        tracking_uri: The database; nothing but the server opens it for the pages.
        artifacts: Where new experiments put their artifacts.
        host: To listen on.
        port: To listen on.
    """
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  compared only
    url = f"http://{here}:{port}"
    return Service(
        name="mlflow",
        command=(
            sys.executable, "-m", "mlflow", "server",
            "--host", host, "--port", str(port), "--workers", "1",
            "--no-serve-artifacts", "--default-artifact-root", str(artifacts),
        ),
        environment={
            **os.environ,
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Not an argument: it may hold a password, and arguments are everybody's to read.
            "MLFLOW_BACKEND_STORE_URI": tracking_uri,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        folder=home,
        log=home / "logs" / "mlflow.log",
        healthy=lambda: _answers(f"{url}/health"),
        url=url,
    )  # fmt: skip


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never ask a proxy
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
