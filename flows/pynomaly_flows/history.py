"""Making sure that Prefect knows how everything ended before its server may stop."""

from __future__ import annotations

import time
from collections.abc import Collection
from uuid import UUID

from pynomaly_flows.context import Event, emit

__all__ = ["drain"]


def drain(task_runs: Collection[UUID], *, seconds: float) -> None:
    """Wait until the API has every task run's end.

    Prefect reports task runs as events, from a thread, and the server writes them in batches: a
    server stopped right after a flow would forget its last tasks.

    Args:
        task_runs: Which ones to wait for.
        seconds: Give up after this long and say so; the history is incomplete then.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    deadline = time.monotonic() + seconds
    waiting = set(task_runs)
    with get_client(sync_client=True) as client:
        while waiting and time.monotonic() < deadline:
            for task_run in list(waiting):
                try:
                    state = client.read_task_run(task_run).state
                except ObjectNotFound:
                    continue
                if state is not None and state.is_final():
                    waiting.discard(task_run)
            if waiting:
                time.sleep(0.1)
    if waiting:
        emit(Event("engine", "prefect", {"unrecorded_task_runs": len(waiting)}))
