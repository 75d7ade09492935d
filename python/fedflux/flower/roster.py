"""Which node is which client: the roster of a deployed run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from ..errors import FedFluxError
from . import records
from .exchange import NO_ANSWER, exchange

FIRST_ANSWER = 60.0  # seconds until a node is asked again: messages of Flower's can be lost
PLAIN = "No query function registered"  # Flower's words, where a client is not fedflux's


@dataclass(frozen=True)
class Seat:
    """A client and the node that it is.

    Attributes:
        node: the number of the node at the SuperLink.
        facts: what the client said of itself; None for a plain Flower client.
    """

    node: int
    facts: dict[str, Any] | None


class Roster:
    """The clients that are there.

    Args:
        grid: Flower's.
        clients: how many clients the run has.
        timeout: seconds that a node has to say which client it is.
    """

    def __init__(self, grid: Grid, clients: int, timeout: float) -> None:
        self._grid, self._clients, self._timeout = grid, clients, timeout
        self._refused: set[int] = set()
        self._plain: set[int] = set()
        self.seats: dict[int, Seat] = {}

    def gather(self, wait: float) -> None:
        """Wait until all clients are there.

        Raises:
            FedFluxError: one does not come within `wait` seconds, or two nodes say that
                they are the same client.
        """
        deadline = time.monotonic() + wait
        patience = FIRST_ANSWER
        while True:
            left = max(deadline - time.monotonic(), 0.1)
            lines = self.refresh(min(patience, left, self._timeout))
            for line in lines:
                if "already" in line:
                    raise FedFluxError(line)
            if any(NO_ANSWER in line for line in lines):
                patience *= 2  # a node that compiles the core takes minutes
            missing = [k for k in range(1, self._clients + 1) if k not in self.seats]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise FedFluxError(_missing(missing, self._clients, wait))
            time.sleep(0.5)

    def refresh(self, timeout: float | None = None) -> list[str]:
        """Look who left, and ask who came.

        Args:
            timeout: seconds that those who came have to answer; None for the roster's.

        Returns:
            Why nodes that came are not taken, a line for each.
        """
        there = set(self._grid.get_node_ids())
        self.seats = {k: seat for k, seat in self.seats.items() if seat.node in there}
        self._refused &= there
        self._plain &= there
        seated = {seat.node for seat in self.seats.values()}
        new = sorted(there - seated - self._refused - self._plain)
        lines = self._ask(new, timeout or self._timeout) if new else []
        self._seat_plain()
        for line in lines:
            print(f"fedflux: {line}")
        return lines

    def plain(self) -> bool:
        """Say whether one of the clients is a plain Flower client."""
        return any(seat.facts is None for seat in self.seats.values())

    def _ask(self, nodes: list[int], timeout: float) -> list[str]:
        """Ask nodes which client they are."""
        lines = []
        content = RecordDict({records.OWN: records.own()})
        asked = {node: Message(content, node, records.QUERY, ttl=timeout) for node in nodes}
        for node, reply in exchange(self._grid, asked, timeout):
            try:
                if isinstance(reply, FedFluxError):
                    raise reply
                facts = records.read_facts(reply.content)
                number = facts["client"]
                if number > self._clients:
                    raise FedFluxError(f"is client {number} of {self._clients}")
                if number in self.seats:
                    other = self.seats[number].node
                    raise FedFluxError(f"is client {number}, which node {other} is already")
                self.seats[number] = Seat(node, facts)
            except FedFluxError as error:
                if PLAIN in str(error):
                    self._plain.add(node)
                    continue
                if not isinstance(reply, FedFluxError):  # it would say the same again
                    self._refused.add(node)
                lines.append(f"node {node} is not taken: {error}")
        return lines

    def _seat_plain(self) -> None:
        """Give plain clients, which know no number, those that are left once all came."""
        seated = {seat.node for seat in self.seats.values()}
        free = [k for k in range(1, self._clients + 1) if k not in self.seats]
        plain = sorted(self._plain - seated)
        if len(plain) >= len(free):
            for number, node in zip(free, plain, strict=False):
                self.seats[number] = Seat(node, None)


def _missing(missing: list[int], clients: int, wait: float) -> str:
    shown = ", ".join(map(str, missing[:10])) + (", …" if missing[10:] else "")
    return (
        f"{len(missing)} of {clients} clients did not come within {wait:g} s: number "
        f"{shown}; client k is the node with partition-id = k − 1"
    )
