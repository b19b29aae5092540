"""``pynomaly doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.domain.diagnosis import Check

__all__ = ["command"]

_PROBLEM = 2


@click.command("doctor", cls=Command, example="pynomaly doctor")
@click.pass_obj
def command(session: Session) -> int:
    """Look whether all is in place, and say how to mend what is not.

    Changes nothing.  Ends with exit code 0 where no problem was found (warnings are none), else 2.
    """
    from pynomaly.doctor import examine
    from pynomaly.domain.diagnosis import worst

    checks = examine()
    status = worst(checks)
    document = {"status": status, "checks": [asdict(check) for check in checks]}
    session.present(document, _lines(checks))
    return _PROBLEM if status == "problem" else 0


def _lines(checks: Sequence[Check]) -> Iterator[RenderableType]:
    from pynomaly.presentation.cli.render.base import table

    yield table(
        "doctor",
        ["what", "status", "seen"],
        [
            (c.name, c.status, f"{c.seen}\n→ {c.fix}" if c.fix is not None else c.seen)
            for c in checks
        ],
    )
    wrong = [c for c in checks if c.status == "problem"]
    doubtful = [c for c in checks if c.status == "warning"]
    yield f"{len(wrong)} problems, {len(doubtful)} warnings, {len(checks)} checks"
