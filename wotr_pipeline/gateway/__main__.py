"""``python -m wotr_pipeline.gateway``: the gateway's process, under Granian.

Belongs here: the server's limits. Does not belong here: the application (``app.py``).

One worker: what is in memory (rate limits, ids under way) is then all there is. Slow clients are cut off by the
server, which waits only so long for a request's headers; bodies have a limit of their own in ``ingest.py``.
"""

import socket

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from ..config import load_settings
from ..logs import GRANIAN_LOGGING

BACKLOG = 1024
REQUESTS_AT_ONCE = 2048
HEADER_BYTES = 64 * 1024


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    settings = load_settings()
    _check_port(settings.wotr_gateway_host, settings.wotr_gateway_port)
    Granian(
        "wotr_pipeline.gateway.app:gateway",
        factory=True,
        address=settings.wotr_gateway_host,
        port=settings.wotr_gateway_port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        backlog=BACKLOG,
        backpressure=REQUESTS_AT_ONCE,
        http1_settings=HTTP1Settings(
            header_read_timeout=settings.wotr_client_seconds * 1000,
            keep_alive=True,
            max_buffer_size=HEADER_BYTES,
        ),
        log_dictconfig=GRANIAN_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=20,
    ).serve()


def _check_port(host: str, port: int) -> None:
    # Granian shares its port with whoever else does so: a second gateway would silently take half of the requests.
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError as error:
            raise SystemExit(
                f"The gateway cannot listen on {host}:{port} ({error.strerror}). End what listens there, or choose "
                "another port: WOTR_GATEWAY_PORT."
            ) from None


if __name__ == "__main__":
    main()
