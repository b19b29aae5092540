"""``pynomaly replay``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pynomaly.presentation.cli.options import Command
from pynomaly.presentation.cli.session import Session

__all__ = ["command"]


@click.command(
    "replay", cls=Command, example="pynomaly replay 01a212f3-89b5-79e7-9d96-d2f44b17094d"
)
@click.argument("run_id", metavar="RUN")
@click.option(
    "--data",
    metavar="URI",
    help="Where the data that was scored is now; by default where it was then.",
)
@click.pass_obj
def command(session: Session, run_id: str, data: str | None) -> None:
    """Make a past scoring decision again.

    What the run scored is scored anew, as it was then, and every row is compared with what was
    committed.  Nothing is written.
    """
    from pynomaly.domain.errors import IntegrityError
    from pynomaly.presentation.cli.progress import progress
    from pynomaly.presentation.cli.render.evidence import replayed_lines
    from pynomaly.settings import resolve_uri
    from pynomaly_flows.context import Event

    place = None if data is None else resolve_uri(data, Path.cwd())
    with progress(session.steps) as on_event:

        def on_rows(rows: int, of: int) -> None:
            on_event(Event("progress", "replay", {"rows": rows, "of": of}))

        on_event(Event("started", "replay"))
        batches = [asdict(found) for found in session.platform.replay(run_id, place, on_rows)]
    for found in batches:
        if found["differing"]:
            shown = "; ".join(
                f"row {d['row']} of {d['partition']}: {d['column'] or 'the row itself'} was "
                f"{d['committed']}, is {d['replayed']}"
                for d in found["differences"][:5]
            )
            raise IntegrityError(
                f"{found['differing']:,} of {found['rows']:,} rows of run {run_id} come out "
                f"otherwise (scores by up to {found['largest_score_difference']:.1e}): {shown}",
                hint="scores, records or code changed since; check `pynomaly scores verify "
                f"{found['pipeline']}`, and the libraries against the model's card",
            )
    session.present({"run_id": run_id, "batches": batches}, replayed_lines(batches))
