"""Finds the worker of a node, and starts one if there is none.

Flower runs each message in a new process, and Julia takes seconds to start. The worker is a
process that keeps Julia and the data. Every process of the node finds it again. Nobody else
on the machine can reach it: its socket lies in a folder that only the user may enter, both
sides show that they know a random key, and the worker asks the kernel who is calling.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from ..._typing import Floats
from ..._version import __version__
from ...errors import FedFluxError
from .frames import MAX_FRAME, pack, unpack

READY = b"ready\n"
KEY_BYTES = 32


@dataclass(frozen=True)
class Launch:
    """What a worker is started with. Two equal launches share one worker.

    Attributes:
        role: "client" or "server".
        load: the function that loads the data, as module:name; "" for none.
        watch: the process with which the worker ends.
        idle: seconds without a message after which it ends.
        own: the function that gives functions of the user's own, as module:name; "" for
            none.
        name: sets apart launches that shall not share a worker.
    """

    role: str
    load: str
    watch: int
    idle: float
    name: str = ""
    own: str = ""

    def identity(self) -> str:
        """Name the worker: all that makes it another one is in the name."""
        facts = [asdict(self), _began(self.watch), sys.executable, sys.path, __version__]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _began(pid: int) -> str:
    """Return when a process began, if Linux tells it: process ids are used again."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8")
            .rpartition(")")[2]
            .split()[19]
        )
    return ""


class Worker:
    """A connection to a worker; close it, or use it in a `with` statement."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def ask(
        self,
        header: dict[str, Any],
        parts: Sequence[bytes] = (),
        arrays: Sequence[Any] = (),
    ) -> tuple[dict[str, Any], list[bytes], list[Floats]]:
        """Send a request and wait for the answer.

        Args:
            header: the request, ready for JSON.
            parts: byte strings of the request.
            arrays: float32 arrays of the request.

        Returns:
            The answer, its byte strings and its arrays.

        Raises:
            FedFluxError: the worker reports an error, or has ended.
        """
        try:
            self._connection.send_bytes(pack(header, parts, arrays))
            answer = unpack(self._connection.recv_bytes(MAX_FRAME))
        except (EOFError, OSError):
            raise FedFluxError(
                "the worker process exited before it replied; see the node's log"
            ) from None
        if "error" in answer[0]:
            raise FedFluxError(answer[0]["error"])
        return answer

    def close(self) -> None:
        """Close the connection; the worker goes on."""
        self._connection.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(launch: Launch) -> Worker:
    """Connect to the worker of a launch, and start it if it does not run.

    Args:
        launch: what the worker is started with.

    Returns:
        The connection. While the worker serves another process, this waits.

    Raises:
        FedFluxError: the worker can't be started.
    """
    if os.name != "posix":
        raise FedFluxError("deployment needs Linux or macOS; on Windows, use WSL")
    base = folder() / launch.identity()
    with _locked(base.with_suffix(".lock")):
        connection = _join(base)
        if connection is None:
            _start(launch, base)
            connection = _join(base)
    if connection is None:
        raise FedFluxError(
            "the worker process exited as soon as it started; see the node's log"
        )
    return Worker(connection)


class Doing:
    """What a worker does before it can answer, for callers that ask meanwhile.

    No thread of the worker could say it: none runs while Julia compiles. So it stands in a
    file beside the socket.

    Args:
        file: the file.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._what = file, ""

    def begin(self, what: str) -> None:
        """Write down what begins now; the same again goes on."""
        if what != self._what:
            self._what = what
            with contextlib.suppress(OSError):  # then nobody hears of it
                self._file.write_text(json.dumps([what, time.time()]), encoding="utf-8")

    def end(self) -> None:
        """Write down that the worker answers again."""
        self._what = ""
        self._file.unlink(missing_ok=True)


def doing(launch: Launch) -> tuple[str, float]:
    """Say what the worker of a launch is doing before it can answer, and since when.

    Returns:
        The words, and the seconds; "starting" and 0 if the worker says nothing.
    """
    try:
        file = (folder() / launch.identity()).with_suffix(".doing")
        what, since = json.loads(file.read_text(encoding="utf-8"))
        return str(what), max(0.0, time.time() - since)
    except (OSError, ValueError, TypeError):
        return "starting", 0.0


def folder() -> Path:
    """Return the folder of the sockets, which only this user may enter.

    Raises:
        FedFluxError: the folder belongs to another user, or others may enter it.
    """
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    base = own if own and os.access(own, os.W_OK | os.X_OK) else tempfile.gettempdir()
    path = Path(base) / f"fedflux-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if not private or found.st_uid != os.getuid():
        raise FedFluxError(
            f"{path}: expected a folder that user {os.getuid()} alone may enter; remove it"
        )
    return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process: only one process starts a worker."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _join(base: Path) -> Connection[Any, Any] | None:
    """Connect to a running worker, or None if there is none."""
    try:
        key = base.with_suffix(".key").read_bytes()
        return Client(str(base.with_suffix(".sock")), family="AF_UNIX", authkey=key)
    except (OSError, EOFError, AuthenticationError):  # none, or one that ends just now
        return None


def _start(launch: Launch, base: Path) -> None:
    key, file = secrets.token_bytes(KEY_BYTES), base.with_suffix(".key")
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(key)
    order = asdict(launch) | {"socket": str(base.with_suffix(".sock")), "key": key.hex()}
    order["doing"] = str(base.with_suffix(".doing"))
    process = subprocess.Popen(
        [sys.executable, "-m", "fedflux.flower.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # until it is ready; it then writes to stderr, as this does
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # it outlives this process, and its Ctrl-C
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin, process.stdout as stdout, contextlib.suppress(OSError):
        stdin.write(json.dumps(order).encode())
        stdin.close()
        stdout.read(len(READY))
