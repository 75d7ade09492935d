"""Sends a message to each of some clients, and gives back the replies as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from ..errors import FedFluxError
from .records import one_line

NO_ANSWER = "no answer within"
MAX_PAUSE = 1.0  # seconds between two looks for replies
SPARE = 2**29  # bytes that Flower may take beside the replies
COPIES = 4  # of a reply that Flower holds while it is unpacked


class TooLargeError(FedFluxError):
    """A reply is larger than any could be, and was thrown away before it was all there."""


def exchange(
    grid: Grid,
    messages: Mapping[int, Message],
    timeout: float,
    most_bytes: int | None = None,
) -> Iterator[tuple[int, Message | FedFluxError]]:
    """Send messages and wait for the replies.

    Args:
        grid: Flower's.
        messages: a message by the client's number, or any other key.
        timeout: seconds to wait; what comes later is never looked at.
        most_bytes: the most that a reply can have; None if that is not known.

    Yields:
        The key and the reply, or why there is none; each key once.
    """
    deadline = time.monotonic() + timeout
    waiting: dict[str, int] = {}
    # all at once, so that a model that goes to many is sent to the SuperLink once
    pushed = list(grid.push_messages(list(messages.values()))) or [""] * len(messages)
    for key, identifier in zip(messages, pushed, strict=True):
        if identifier:
            waiting[identifier] = key
        else:
            yield key, FedFluxError("the SuperLink did not take the message")
    pause = 0.05
    while waiting and time.monotonic() < deadline:
        came = False
        for identifier in list(waiting):
            replies: list[Message | FedFluxError]
            try:
                with _at_most(most_bytes):
                    replies = list(grid.pull_messages([identifier]))
            except MemoryError:
                limit = f"at most {most_bytes} bytes are possible"
                replies = [TooLargeError(f"is too large: {limit}")]
            for reply in replies:
                yield waiting.pop(identifier), _checked(reply)
                came = True
        pause = 0.05 if came else min(2 * pause, MAX_PAUSE)
        if not came:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
    for key in waiting.values():
        yield key, FedFluxError(f"{NO_ANSWER} {timeout:g} s")


@contextlib.contextmanager
def _at_most(most_bytes: int | None) -> Iterator[None]:
    """Bound the memory that a reply takes, where Linux runs this process.

    Flower takes a reply whole before anybody can ask how long it is. So while it does, this
    process may not take more memory than an honest reply needs.
    """
    used = _data_bytes()
    if used is None or most_bytes is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    more = SPARE + COPIES * most_bytes
    allowed = [n for n in (used + more, soft, hard) if n != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None


def _checked(reply: Message | FedFluxError) -> Message | FedFluxError:
    if isinstance(reply, FedFluxError) or not reply.has_error():
        return reply
    return FedFluxError(
        one_line(reply.error.reason or f"Flower's error {reply.error.code}")
    )
