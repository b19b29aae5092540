"""The worker of ``pynomaly up``: ``python -m pynomaly_flows.worker``.

It deploys every pipeline, runs what is scheduled or triggered, each run in a process of its own,
and beside that looks whether data has arrived in watched sources and whether a run's process died.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from pynomaly import operations
from pynomaly.settings import load_settings
from pynomaly_flows.deployments import deploy
from pynomaly_flows.repair import RunRepair
from pynomaly_flows.watching import SourceWatch

if TYPE_CHECKING:
    from pynomaly.settings import Settings

__all__ = ["main"]

_BEAT_SECONDS = 2.0
_WATCH_SECONDS = 1.0
_REPAIR_SECONDS = 5.0

_log = logging.getLogger("pynomaly_flows.worker")


async def main(settings: Settings) -> None:
    """Work until SIGTERM."""
    from prefect.workers.process import ProcessWorker

    deploy(settings)
    repair = RunRepair(settings)
    repair.bury_what_the_last_worker_left()
    worker = ProcessWorker(work_pool_name=operations.WORK_POOL, name="pynomaly-up")
    working = asyncio.create_task(worker.start(printer=_log.info))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    beside = [
        asyncio.create_task(_beat(settings)),
        asyncio.create_task(_repeat(SourceWatch(settings).look, _WATCH_SECONDS)),
        asyncio.create_task(_repeat(repair.look, _REPAIR_SECONDS)),
    ]
    try:
        await working
    except asyncio.CancelledError:
        _log.info("stopped")
    finally:
        for task in beside:
            task.cancel()


async def _beat(settings: Settings) -> None:
    """Show that the loop that starts runs is not stuck."""
    while True:
        operations.worker_is_well(settings)
        await asyncio.sleep(_BEAT_SECONDS)


async def _repeat(look: Callable[[], None], seconds: float) -> None:
    """Call ``look`` again and again, in a thread; what goes wrong is logged and tried again."""
    while True:
        try:
            await asyncio.to_thread(look)
        except Exception:  # noqa: BLE001  the next look may succeed
            _log.exception("%s failed", look.__qualname__)
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    asyncio.run(main(load_settings()))
