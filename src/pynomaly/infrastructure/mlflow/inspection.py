"""A look at the model registry that neither creates nor migrates it, nor imports MLflow."""

from __future__ import annotations

import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

from pynomaly.domain.diagnosis import Check
from pynomaly.infrastructure.mlflow.client import is_server, redacted

__all__ = ["inspect_registry"]

_SECONDS = 5.0


def inspect_registry(tracking_uri: str) -> Iterator[Check]:
    """Look whether the registry answers.

    Args:
        tracking_uri: Of a server or a database.
    """
    if is_server(tracking_uri):
        yield _server(tracking_uri.rstrip("/"))
    elif tracking_uri.startswith("sqlite:///"):
        yield _file(Path(tracking_uri.removeprefix("sqlite:///")))
    else:
        yield _database(tracking_uri)


def _server(url: str) -> Check:
    shown = redacted(url)
    try:
        with urllib.request.urlopen(f"{url}/version", timeout=_SECONDS) as answer:  # noqa: S310
            there = answer.read(100).decode("ascii", "replace").strip()
    except urllib.error.HTTPError as error:
        fix = "check the address, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return Check("mlflow", "problem", f"{shown} answers {error.code}", fix)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        fix = "start that server, or correct mlflow.tracking_uri"
        return Check("mlflow", "problem", f"{shown} does not answer: {reason}", fix)
    here = metadata.version("mlflow")
    if there.split(".")[:2] != here.split(".")[:2]:
        fix = "install the same minor version on both sides"
        return Check("mlflow", "warning", f"{shown} runs MLflow {there}, here is {here}", fix)
    return Check("mlflow", "ok", f"{shown} runs MLflow {there}")


def _file(path: Path) -> Check:
    if not path.exists():
        return Check("mlflow", "ok", f"{path} is not there yet and is made when needed")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            (models,) = connection.execute("SELECT count(*) FROM registered_models").fetchone()
    except sqlite3.Error as error:
        fix = "restore the file, or move it away: it is made anew, without its models"
        return Check("mlflow", "problem", f"{path} is no MLflow database: {error}", fix)
    return Check("mlflow", "ok", f"{path}, {models} registered models")


def _database(uri: str) -> Check:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    shown = redacted(uri)
    try:
        engine = sa.create_engine(uri)
        try:
            with engine.connect() as connection:
                tables = sa.inspect(connection).get_table_names()
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        cause = " ".join(str(getattr(error, "orig", error)).split())
        fix = "check mlflow.tracking_uri, that the server runs, and the credentials"
        return Check("mlflow", "problem", f"{shown} cannot be used: {cause}", fix)
    known = "registered_models" in tables
    state = "has MLflow's tables" if known else "is empty and gets MLflow's tables when needed"
    return Check("mlflow", "ok", f"{shown} {state}")
