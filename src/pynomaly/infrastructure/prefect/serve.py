"""The process of the local server: ``python -m pynomaly.infrastructure.prefect.serve FOLDER``.

It binds a free loopback port itself, or the ``HOST PORT`` that follow on its command line, publishes
its address, and leaves when it is told to or when nobody has used it for two seconds, so that a
killed command leaves no server behind.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from pynomaly.infrastructure.prefect.folder import ServerAddress, ServerFolder, reachable

__all__ = ["main"]

_TICKS_PER_LOOK = 20  # uvicorn ticks ten times a second


def main(folder: ServerFolder, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve Prefect's API until stopped.

    Returns at once if the folder has a server already, but waits for it to end if a port is asked
    for: whoever asks for one wants this server and no other.
    """
    lock = folder.server_lock()
    # Others look whether the lock is free by taking it for a moment: one refusal proves nothing.
    attempts = 0
    while not lock.take():
        attempts += 1
        if attempts == 50:
            if not port:
                return
            sys.stderr.write(
                "waiting for a command that runs its own Prefect server on this home\n"
            )
            sys.stderr.flush()
        time.sleep(0.02 if attempts < 50 else 0.5)
    os.ftruncate(sys.stderr.fileno(), 0)  # the log of the server before
    folder.withdraw()  # of a server that crashed
    listener = socket.create_server((host, port))
    here = reachable(host)
    address = ServerAddress(os.getpid(), f"http://{here}:{listener.getsockname()[1]}/api")

    import uvicorn

    class Server(uvicorn.Server):
        async def on_tick(self, counter: int) -> bool:
            leave = await super().on_tick(counter)
            return leave or (counter % _TICKS_PER_LOOK == 0 and users.take())

    users = folder.users_lock()
    server = Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            lifespan="on",
            log_level="error",
            timeout_graceful_shutdown=5,
        )
    )

    def leave(*_: object) -> NoReturn:
        # Everything is shut down and committed by now; tearing down idle threads takes seconds.
        folder.withdraw()
        os._exit(0 if server.started else 3)

    # uvicorn raises the signal that stopped it once more when it has shut down.
    signal.signal(signal.SIGTERM, leave)
    folder.publish(address)
    server.run(sockets=[listener])
    leave()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(ServerFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
    else:
        main(ServerFolder(Path(sys.argv[1])))
