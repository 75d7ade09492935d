"""Sends a message to each of some clients, and gives back the replies as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from flwr.app import Message
from flwr.serverapp import Grid

from ..errors import FedFluxError
from .records import one_line

MAX_PAUSE = 1.0  # seconds between two looks for replies


def exchange(
    grid: Grid, messages: Mapping[int, Message], timeout: float
) -> Iterator[tuple[int, Message | FedFluxError]]:
    """Send messages and wait for the replies.

    Args:
        grid: Flower's.
        messages: a message by the client's number, or any other key.
        timeout: seconds to wait; what comes later is never looked at.

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
        replies = list(grid.pull_messages(list(waiting)))
        for reply in replies:
            answered = reply.metadata.reply_to_message_id
            if answered in waiting:
                key = waiting.pop(answered)
                yield key, FedFluxError(_reason(reply)) if reply.has_error() else reply
        pause = 0.05 if replies else min(2 * pause, MAX_PAUSE)
        if not replies:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
    for key in waiting.values():
        yield key, FedFluxError(f"no answer within {timeout:g} s")


def _reason(reply: Message) -> str:
    return one_line(reply.error.reason or f"Flower's error {reply.error.code}")
