"""A wire between a client and a server that can be slow, or break after so many bytes.

Belongs here: forwarding TCP on the loopback, with a fault.
Does not belong here: any protocol.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 65536


@dataclass
class Wire:
    """A port that forwards to ``target``. Change the faults at any time; they hold for what comes next.

    ``delay``: seconds that each answer is late. ``breaks_after``: bytes a connection carries towards the
    server before it is cut, None for no limit. ``broken``: how many connections were cut.
    """

    target: tuple[str, int]
    port: int = 0
    delay: float = 0.0
    breaks_after: int | None = None
    broken: int = 0


@contextlib.contextmanager
def wire_to(host: str, port: int) -> Iterator[Wire]:
    """Forward a free port of the loopback to ``host:port`` for the block."""
    wire = Wire((host, port))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, wire), daemon=True).start()
        yield wire


def _accept(listener: socket.socket, wire: Wire) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(wire.target)
        except OSError:
            client.close()
            continue
        threading.Thread(target=_forward, args=(client, server, wire, True), daemon=True).start()
        threading.Thread(target=_forward, args=(server, client, wire, False), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket, wire: Wire, towards_server: bool) -> None:
    carried = 0
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            if towards_server and wire.breaks_after is not None and carried + len(data) > wire.breaks_after:
                sink.sendall(data[: max(0, wire.breaks_after - carried)])
                wire.broken += 1
                break
            if not towards_server and wire.delay:
                time.sleep(wire.delay)
            sink.sendall(data)
            carried += len(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
            end.close()
