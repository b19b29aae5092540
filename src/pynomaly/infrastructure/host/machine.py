"""Whether folder, disk and ports will do."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

from pynomaly.domain.diagnosis import Check

__all__ = ["disk", "home", "port"]

_GIB = 2**30
_LITTLE, _TOO_LITTLE = 2 * _GIB, _GIB // 4
_SECONDS = 3.0


def home(folder: Path) -> Iterator[Check]:
    """Look whether the folder of embedded state can be written to.

    Args:
        folder: ``PYNOMALY_HOME``; need not exist.
    """
    there = _nearest(folder)
    fix = "choose a folder you may write to with PYNOMALY_HOME"
    if not there.is_dir():
        yield Check("home", "problem", f"{there} is a file; {folder} cannot be a folder", fix)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Check("home", "problem", f"{there} cannot be written to", fix)
    elif there == folder:
        yield Check("home", "ok", str(folder))
    else:
        yield Check("home", "ok", f"{folder} is not there yet and can be made")


def disk(folder: Path) -> Iterator[Check]:
    """Look how much room there is for embedded state.

    Args:
        folder: ``PYNOMALY_HOME``; need not exist.
    """
    there = _nearest(folder)
    free = shutil.disk_usage(there).free
    seen = f"{free / _GIB:.1f} GiB free at {there}"
    fix = "make room: `pynomaly scores prune`, old reports, datasets under artifacts"
    if free < _TOO_LITTLE:
        yield Check("disk", "problem", seen, fix)
    elif free < _LITTLE:
        yield Check("disk", "warning", seen, fix)
    else:
        yield Check("disk", "ok", seen)


def port(number: int, service: str, path: str, option: str) -> Iterator[Check]:
    """Look whether a port of ``pynomaly up`` is free, or taken by the service it is for.

    Args:
        number: On this machine's loopback address.
        service: For people.
        path: That only this service answers with 200.
        option: Of ``pynomaly up`` that chooses another port.
    """
    name = f"port {number}"
    with socket.socket() as probe:
        probe.settimeout(_SECONDS)
        if probe.connect_ex(("127.0.0.1", number)) != 0:
            yield Check(name, "ok", f"free for {service}")
            return
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{number}{path}", timeout=_SECONDS):
            yield Check(name, "ok", f"{service} answers there")
    except (OSError, HTTPException):  # refused, silent, or no HTTP at all
        fix = f"end the other program, or choose another port: pynomaly up {option} N"
        yield Check(name, "warning", f"taken by something that is not {service}", fix)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
