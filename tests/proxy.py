"""A TCP proxy on loopback that counts the bytes that go through it, both ways.

It is a process of its own, as Julia would stop its threads: `python proxy.py TARGET` says
the port where it listens, and on each line that it reads, how many bytes went up and down.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading


class CountingProxy:
    """A running proxy, for a `with` statement.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def counted(self) -> tuple[int, int]:
        """The bytes that went to the target, and those that came back."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        up, down = self._line().split()
        return int(up), int(down)

    def __enter__(self) -> CountingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Passing:
    """Passes on what comes to `port` to another port, and counts."""

    def __init__(self, target: int) -> None:
        self._target, self.up, self.down = target, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                for source, sink, up in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=self._pass, args=(source, sink, up), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                with self._lock:
                    if up:
                        self.up += len(chunk)
                    else:
                        self.down += len(chunk)
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    passing = Passing(int(sys.argv[1]))
    print(passing.port, flush=True)
    for _ in sys.stdin:
        print(passing.up, passing.down, flush=True)
