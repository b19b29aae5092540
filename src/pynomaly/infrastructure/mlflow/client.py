"""Imports MLflow late and quietly, and names its failures in our terms."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pynomaly.domain.errors import PynomalyError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["connect", "is_server", "quiet_mlflow", "redacted", "translated_errors", "unanswered"]

_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # It prints links with emojis to stdout, which belongs to `--json`.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Otherwise a uv.lock of the folder the user happens to stand in is logged with the model.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def quiet_mlflow() -> None:
    """Import MLflow without telemetry, progress bars, prints and warnings of its own import.

    Settings a user made in the environment win.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        # MLflow 3.17 warns about a type hint in its own module `mlflow.types.responses`.
        warnings.filterwarnings("ignore", message=r".*Any type hint is inferred as AnyType")
        import mlflow.pyfunc  # noqa: F401


def is_server(tracking_uri: str) -> bool:
    """Return whether an MLflow server, and not we, decides where artifacts go."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def redacted(uri: str) -> str:
    """Return ``uri`` without its password.

    >>> redacted("postgresql://me:secret@db/mlflow")
    'postgresql://me:***@db/mlflow'
    """
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def connect(tracking_uri: str) -> MlflowClient:
    """Open a client of its own; MLflow's process-wide tracking URI stays as it is.

    Takes several seconds the first time, when MLflow creates its tables.
    """
    quiet_mlflow()
    from mlflow import MlflowClient

    if tracking_uri.startswith("sqlite:///"):
        Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    with translated_errors(tracking_uri, "open the model registry"):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


# Named rather than imported: whoever raises them has imported their module.
_UNANSWERED = (
    ("requests.exceptions", ("ConnectionError", "Timeout", "RetryError")),
    ("botocore.exceptions", ("HTTPClientError", "EndpointConnectionError")),
    ("sqlalchemy.exc", ("OperationalError", "InterfaceError", "TimeoutError")),
)


def unanswered(error: BaseException | None) -> bool:
    """Return whether MLflow or what it stores in did not answer, rather than said no."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError) or any(
            isinstance(error, getattr(sys.modules[module], name))
            for module, names in _UNANSWERED
            if module in sys.modules
            for name in names
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def translated_errors(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn MLflow's exceptions into ours, naming what was being done.

    Raises:
        PynomalyError: MLflow refused or could not be reached.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = error.message.strip().splitlines()[0]
        raise PynomalyError(
            f"MLflow at {redacted(tracking_uri)} could not {doing}: {reason}",
            hint="check the tracking URI, that the server or file is reachable, and its log",
        ) from error
