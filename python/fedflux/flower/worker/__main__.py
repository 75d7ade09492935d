"""The worker: a process that keeps Julia and the data, and answers one caller at a time.

`fedflux.flower.worker.connection` starts it with an order on stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any, Protocol

from ..._typing import Floats
from ...errors import FedFluxError, first_line
from .connection import READY, Doing
from .frames import MAX_FRAME, Answer, pack, unpack

# A thread could not do this: none runs while Julia trains.
_WATCH = 'while kill -0 "$0" && kill -0 "$1"; do sleep 1; done 2>/dev/null; kill -9 "$1"'


class Service(Protocol):
    """What a worker does."""

    def answer(
        self, header: dict[str, Any], parts: list[bytes], arrays: list[Floats]
    ) -> Answer:
        """Answer a request."""


def main() -> None:
    """Read the order, listen, say that it is ready, and serve until nobody asks."""
    order = json.load(sys.stdin)
    path = Path(order["socket"])
    path.unlink(missing_ok=True)
    with _ends_with(order["watch"]), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
        listener.settimeout(order["idle"])
        os.write(1, READY)
        os.dup2(2, 1)
        service = _service(order)
        with contextlib.suppress(TimeoutError):
            while True:
                caller, _ = listener.accept()
                connection = greeted(caller, bytes.fromhex(order["key"]))
                if connection is not None:
                    with connection:
                        serve(connection, service)
        path.unlink(missing_ok=True)


def _service(order: dict[str, Any]) -> Service:
    if order["role"] == "server":
        from .server import Serving

        return Serving(order["own"])
    from .client import Training

    return Training(order["load"], Doing(Path(order["doing"])), order["own"])


@contextlib.contextmanager
def _ends_with(pid: int) -> Iterator[None]:
    """Kill this process when another one has ended, however that ends."""
    command = ["/bin/sh", "-c", _WATCH, str(pid), str(os.getpid())]
    watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()


def greeted(caller: socket.socket, key: bytes) -> Connection[Any, Any] | None:
    """Return the connection to a caller who is this user and knows the key, else None."""
    caller.setblocking(True)
    if _user(caller) != os.getuid():
        caller.close()
        return None
    connection: Connection[Any, Any] = Connection(caller.detach())
    try:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
    except (AuthenticationError, OSError, EOFError):
        connection.close()
        return None
    return connection


def _user(caller: socket.socket) -> int:
    """Ask the kernel which user is at the other end of a socket."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")  # the process, the user, the group
        found = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", found)[1])
    # macOS's xucred: a version, then the user
    found = caller.getsockopt(0, 1, 8)
    return int(struct.unpack("II", found)[1])


def serve(connection: Connection[Any, Any], service: Service) -> None:
    """Answer the requests of one caller until it hangs up."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            frame = connection.recv_bytes(MAX_FRAME)
            began = time.perf_counter()
            try:
                header, parts, arrays = service.answer(*unpack(frame))
                header["seconds"] = time.perf_counter() - began
            except FedFluxError as error:
                header, parts, arrays = {"error": str(error)}, [], []
            except Exception as error:  # the user's loader, or a defect: the worker goes on
                traceback.print_exc()
                notes = getattr(error, "__notes__", ())  # where the function was called
                said = "; ".join((first_line(error), *notes))
                reason = f"{type(error).__name__}: {said}"
                header, parts, arrays = {"error": reason}, [], []
            connection.send_bytes(pack(header, parts, arrays))


if __name__ == "__main__":
    main()
