"""From an exception to a message, an exit code, and one JSON document where asked for."""

from __future__ import annotations

import json
import os
import secrets
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pynomaly.domain.errors import PynomalyError
from pynomaly.presentation.cli.session import Session, jsonable
from pynomaly.presentation.cli.signals import Terminated

__all__ = ["report"]

INTERRUPTED = 130
TERMINATED = 143


def report(error: Exception, session: Session) -> int:
    """Tell what went wrong and return the exit code.

    Known errors speak for themselves.  Anything else gets a trace id, and its traceback goes to
    ``<home>/logs/<trace id>.log``.
    """
    if isinstance(error, click.ClickException) and not session.as_json:
        error.show(sys.stderr)
        return error.exit_code
    facts = _facts(error, session)
    if session.as_json:
        document: dict[str, Any] = {"error": facts}
        if session.steps:
            document["steps"] = session.steps
        session.stdout.write(json.dumps(jsonable(document), indent=2, allow_nan=False) + "\n")
        session.stdout.flush()
    else:
        from pynomaly.presentation.cli.render.base import clean, console
        from pynomaly.presentation.cli.render.runs import evidence

        err = console(sys.stderr)
        for line in evidence(session.steps):
            err.print(line, soft_wrap=isinstance(line, str))
        err.print(f"error: {clean(facts['message'])}", style="bold red", soft_wrap=True)
        if facts.get("hint"):
            err.print(f"  → {clean(facts['hint'])}", soft_wrap=True)
    code: int = facts["exit_code"]
    return code


def _facts(error: Exception, session: Session) -> Mapping[str, Any]:
    if isinstance(error, PynomalyError):
        facts = {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        ids = {key: value for key, value in vars(error).items() if key.endswith("_id")}
        return {**facts, **ids}
    if isinstance(error, click.ClickException):
        return {
            "type": "UsageError",
            "message": error.format_message(),
            "hint": None,
            "exit_code": error.exit_code,
        }
    if isinstance(error, click.Abort) and not isinstance(error.__cause__, EOFError):
        ended = isinstance(error.__cause__, Terminated)
        return {
            "type": "Terminated" if ended else "Interrupted",
            "message": f"{'terminated' if ended else 'interrupted'}; nothing half-written is "
            "visible, what was committed stays",
            "hint": "run the same command again",
            "exit_code": TERMINATED if ended else INTERRUPTED,
        }
    return _unexpected(error, session)


def _unexpected(error: Exception, session: Session) -> Mapping[str, Any]:
    trace_id = secrets.token_hex(6)
    text = "".join(traceback.format_exception(error))
    try:
        place = _keep(text, trace_id, session)
    except OSError as refused:
        sys.stderr.write(text)
        place = f"printed above, for no log could be written ({refused.strerror})"
    summary = str(error).strip().splitlines()
    return {
        "type": type(error).__name__,
        "message": f"unexpected {type(error).__name__}"
        f"{f': {summary[0]}' if summary else ''} (trace id {trace_id})",
        "hint": f"the traceback is {place}; please report it",
        "exit_code": 1,
        "trace_id": trace_id,
    }


def _keep(text: str, trace_id: str, session: Session) -> str:
    # Not session.settings: what failed may be the settings.
    known = session.__dict__.get("settings")
    home = known.home if known else Path(os.environ.get("PYNOMALY_HOME") or ".pynomaly")
    path = Path(home) / "logs" / f"{trace_id}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return f"in {path}"
