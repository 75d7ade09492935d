"""Sends a message to each of some nodes, and gives back the replies as they come.

Whatever one node does, the others' replies come in time: a reply is fetched in a thread of
its own, for at most as long as the exchange lasts, and what goes wrong with it is its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from ..errors import FedFluxError, first_line
from .records import one_line

NO_ANSWER = "no answer within"
MAX_PAUSE = 1.0  # seconds between two looks for replies
PATIENCE = 1.0  # seconds for a reply that comes; after them, others are fetched beside it
SPARE = 2**29  # bytes that Flower may take beside the replies
COPIES = 4  # of a reply that Flower holds while it is unpacked


class NoAnswerError(FedFluxError):
    """No reply came in time."""


class UnreadableError(FedFluxError):
    """A reply came, or a part of it, that can't be read."""


class TooLargeError(UnreadableError):
    """A reply is larger than any could be, and was thrown away before it was all there."""


def exchange(
    grid: Grid,
    messages: Mapping[int, Message],
    timeout: float,
    most_bytes: int | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[tuple[int, Message | FedFluxError]]:
    """Send messages and wait for the replies.

    Args:
        grid: Flower's.
        messages: a message by the client's number, or any other key.
        timeout: seconds to wait. What comes later is never looked at.
        most_bytes: the most that a reply can have, or None if that is not known.
        meanwhile: called after each look for replies. It must not wait.

    Yields:
        The key and the reply, or why there is none. Each key once.
    """
    post, pause = Post(grid, most_bytes), 0.05
    post.send(messages, timeout)
    while True:
        came = post.arrived()
        yield from came
        if not len(post):
            return
        meanwhile()
        pause = 0.05 if came else min(2 * pause, MAX_PAUSE)
        if not came:
            time.sleep(min(pause, post.time_left()))


class Post:
    """Messages on their way, and the replies to them.

    Args:
        grid: Flower's.
        most_bytes: the most that a reply can have, or None if that is not known.
    """

    def __init__(self, grid: Grid, most_bytes: int | None = None) -> None:
        self._grid, self._most_bytes = grid, most_bytes
        self._waiting: dict[str, tuple[int, float, float]] = {}  # key, timeout, deadline
        self._slow: dict[str, _Pull] = {}  # replies that are being fetched
        self._untaken: list[int] = []
        self._before: int | None = None  # bytes in use when the first of these began

    def send(self, messages: Mapping[int, Message], timeout: float) -> None:
        """Send messages, all at once: a model that goes to many is then uploaded once."""
        deadline = time.monotonic() + timeout
        pushed = list(self._grid.push_messages(list(messages.values())))
        for key, identifier in zip(messages, pushed or [""] * len(messages), strict=True):
            if identifier:
                self._waiting[identifier] = key, timeout, deadline
            else:
                self._untaken.append(key)

    def __len__(self) -> int:
        """How many messages have no reply yet."""
        return len(self._waiting) + len(self._untaken)

    def time_left(self) -> float:
        """Return the seconds until the next deadline."""
        now = time.monotonic()
        return max(0.0, min((d - now for _, _, d in self._waiting.values()), default=0.0))

    def arrived(self) -> list[tuple[int, Message | FedFluxError]]:
        """Look for replies, once.

        Returns:
            The key and the reply, or why there is none, of each message that is answered
            or whose time is over; no key twice.
        """
        found: list[tuple[int, Message | FedFluxError]] = [
            (key, FedFluxError("the SuperLink did not take the message"))
            for key in self._untaken
        ]
        self._untaken.clear()
        self._stop_the_greedy()
        for identifier, (key, timeout, deadline) in list(self._waiting.items()):
            reply = self._pull(identifier)
            if reply is None and time.monotonic() >= deadline:
                reply = NoAnswerError(f"{NO_ANSWER} {timeout:g} s")
                if identifier in self._slow:
                    reply = NoAnswerError(
                        f"its reply did not arrive completely within {timeout:g} s"
                    )
            if reply is not None:
                found.append((key, reply))
                del self._waiting[identifier]
                pull = self._slow.pop(identifier, None)
                if pull is not None:
                    pull.stop()
        return found

    def _pull(self, identifier: str) -> Message | FedFluxError | None:
        """Return a reply, why it can't be read, or None if it isn't there yet."""
        pull = self._slow.get(identifier)
        if pull is None:
            pull = _Pull(self._grid, identifier)
            with _at_most(self._most_bytes, 1 + len(self._slow)):
                pull.start()
                pull.join(PATIENCE)
        if pull.greedy or isinstance(pull.error, MemoryError):
            return TooLargeError(
                f"is too large: at most {self._most_bytes} bytes are possible"
            )
        if pull.is_alive():
            if not self._slow:
                self._before = _data_bytes()
            self._slow[identifier] = pull
            return None
        if pull.error is None:
            return _checked(pull.found[0]) if pull.found else None
        return UnreadableError(
            one_line(
                f"can't be read: {type(pull.error).__name__}: {first_line(pull.error)}"
            )
        )

    def _stop_the_greedy(self) -> None:
        """Stop replies that take more memory, piece by piece, than honest ones need."""
        used = _data_bytes()
        before, most = self._before, self._most_bytes
        if not self._slow or used is None or before is None or most is None:
            return
        if used - before > SPARE + COPIES * most * len(self._slow):
            for pull in self._slow.values():
                pull.greedy = True
                pull.stop()
                pull.join(PATIENCE)


class _Pull(threading.Thread):
    """Fetches a reply, as long as that takes."""

    def __init__(self, grid: Grid, identifier: str) -> None:
        super().__init__(daemon=True)
        self._grid, self._identifier = grid, identifier
        self.found: list[Message] = []
        self.error: BaseException | None = None
        self.greedy = False  # whether it took more memory than an honest reply needs

    def run(self) -> None:
        """Fetch it. What goes wrong is kept."""
        try:
            self.found = list(self._grid.pull_messages([self._identifier]))
        except BaseException as error:  # whatever a node's bytes do is that node's matter
            self.error = error

    def stop(self) -> None:
        """End it as soon as it goes on; Flower has no way to say so."""
        if self.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit)
            )


@contextlib.contextmanager
def _at_most(most_bytes: int | None, replies: int) -> Iterator[None]:
    """Bound the memory that replies take, if Linux runs this process.

    Flower takes a reply whole before anybody can ask how long it is. So while it does, this
    process may not take more memory than an honest reply needs.
    """
    used = _data_bytes()
    if used is None or most_bytes is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    more = SPARE + COPIES * most_bytes * replies
    allowed = [n for n in (used + more, soft, hard) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None


def _checked(reply: Message) -> Message | FedFluxError:
    try:
        if not reply.has_error():
            return reply
        reason = reply.error.reason or f"Flower's error {reply.error.code}"
        return FedFluxError(one_line(str(reason)))
    except Exception as error:
        return UnreadableError(f"can't be read: {one_line(first_line(error))}")
