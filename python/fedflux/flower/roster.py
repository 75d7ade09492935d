"""Which node is which client: the roster of a deployed run.

A node is known by its number at the SuperLink, which belongs to the node's key. A client's
number belongs to the node that first said it, for the whole run: no other node can take it,
whether that one is there or not.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from ..errors import FedFluxError, first_line
from . import records
from .exchange import NoAnswerError, Post

FIRST_ANSWER = 60.0  # seconds until a node is asked again: messages of Flower's can be lost
FIRST_PAUSE = 5.0  # seconds until a node that isn't ready, or has an error, is asked again
MAX_PAUSE = 300.0  # with an error
READY_PAUSE = 15.0  # while it prepares itself
PLAIN = "No query function registered"  # Flower's words if a client is not fedflux's


@dataclass(frozen=True)
class Seat:
    """A client and the node that it is.

    Attributes:
        node: the number of the node at the SuperLink.
        facts: what the client said of itself, or None for a plain Flower client.
    """

    node: int
    facts: dict[str, Any] | None


@dataclass
class _Asked:
    """When a node without a seat is asked, and what it said last."""

    at: float = 0.0
    pause: float = FIRST_PAUSE
    patience: float = FIRST_ANSWER
    line: str = ""


class Roster:
    """The clients that are there.

    Nothing here waits for a node: it is asked, and its answer is taken whenever it comes.

    Args:
        grid: Flower's.
        clients: how many clients the run has.
        timeout: the most seconds that a node has to say which client it is.
        max_samples: the most samples that one may have, or None for any number.
    """

    def __init__(
        self, grid: Grid, clients: int, timeout: float, max_samples: int | None = None
    ) -> None:
        self._grid, self._clients, self._timeout = grid, clients, timeout
        self._max_samples = max_samples
        self._post = Post(grid, records.MAX_FACTS)
        self._bound: dict[int, Seat] = {}  # by the client's number, for the run
        self._asked: dict[int, _Asked] = {}  # by node, those without a seat
        self._on_the_way: set[int] = set()  # nodes that haven't answered yet
        self._plain: set[int] = set()
        self._preparing: dict[
            int, tuple[str, float]
        ] = {}  # by number: what, and since when
        self.seats: dict[int, Seat] = {}

    def gather(self, wait: float) -> None:
        """Wait until all clients are there.

        A client that says that it is still preparing is waited for from then on.

        Raises:
            FedFluxError: one does not come within `wait` seconds, with what its node said.
        """
        began, heard = time.monotonic(), dict[int, float]()
        while True:
            self.refresh()
            missing = [k for k in range(1, self._clients + 1) if k not in self.seats]
            if not missing and not self._leave_out_odd():
                return
            now = time.monotonic()
            for k in self._preparing:
                if now < began + wait:
                    heard.setdefault(k, now)
            late = [k for k in missing if now > heard.get(k, began) + wait]
            if late:
                raise FedFluxError(self._why_missing(late, wait))
            time.sleep(0.5)

    def refresh(self) -> None:
        """Look who left, ask who came, and take the answers that are there."""
        there = set(self._grid.get_node_ids())
        self.seats = {k: s for k, s in self.seats.items() if s.node in there}
        self._plain &= there
        seated = {seat.node for seat in self.seats.values()}
        now = time.monotonic()
        for node in sorted(there - seated - self._plain - self._on_the_way):
            asked = self._asked.setdefault(node, _Asked())
            if asked.at <= now:
                self._ask(node, asked)
        for node, reply in self._post.arrived():
            self._on_the_way.discard(node)
            if node in there:
                self._take(node, reply)
        self._seat_plain()

    def absence(self, k: int) -> str:
        """Say why a client has no seat."""
        if k in self._preparing:
            what, since = self._preparing[k]
            return f"{what}, {time.monotonic() - since:.0f} s"
        return "its node is not there"

    def plain(self) -> bool:
        """Say whether one of the clients is a plain Flower client."""
        return any(seat.facts is None for seat in self.seats.values())

    def _ask(self, node: int, asked: _Asked) -> None:
        timeout = min(asked.patience, self._timeout)
        content = RecordDict({records.OWN: records.own()})
        message = Message(content, node, records.QUERY, ttl=timeout)
        self._post.send({node: message}, timeout)
        self._on_the_way.add(node)

    def _take(self, node: int, reply: Message | FedFluxError) -> None:
        """Give a node its seat, or note why it has none and when it is asked again."""
        asked = self._asked.setdefault(node, _Asked())
        try:
            if isinstance(reply, FedFluxError):
                raise reply
            facts = records.read_facts(reply.content)
            number = self._number(node, facts)
            if "preparing" in facts:
                since = time.monotonic() - facts["seconds"]
                self._preparing[number] = facts["preparing"], since
                line = f"client {number}: {self.absence(number)}"
                self._later(asked, line, READY_PAUSE)
                return
            most = self._max_samples
            if most is not None and facts["samples"] > most:
                raise FedFluxError(
                    f"has {facts['samples']} samples, and max_samples is {most}"
                )
            self._preparing.pop(number, None)
            # what was said first holds for the run: weights and sizes rest on it
            seat = self._bound.setdefault(number, Seat(node, facts))
            self.seats[number] = seat
            del self._asked[node]
        except NoAnswerError as error:
            asked.patience *= 2  # its answer may have been lost, or take longer
            self._say(asked, f"node {node} is refused: {error}")
        except Exception as error:  # of this node alone, whatever it sent
            if reply is error and PLAIN in str(error):  # Flower's own word
                self._plain.add(node)
                del self._asked[node]
                return
            said = records.one_line(first_line(error))
            self._later(asked, f"node {node} is refused: {said}")

    def _number(self, node: int, facts: dict[str, Any]) -> int:
        """Return the client's number, if this node may have it."""
        number: int = facts["client"]
        if number > self._clients:
            raise FedFluxError(f"is client {number} of {self._clients}")
        bound = self._bound.get(number)
        if bound is not None and bound.node != node:
            raise FedFluxError(
                f"is client {number}, but in this run that is node {bound.node}; a node "
                "that comes back is known by its key"
            )
        other = next((k for k, s in self._bound.items() if s.node == node), number)
        if other != number:
            raise FedFluxError(f"is client {number}, but was client {other} in this run")
        return number

    def _later(self, asked: _Asked, line: str, most: float = MAX_PAUSE) -> None:
        """Ask again after a pause, which grows."""
        asked.at = time.monotonic() + min(asked.pause, most)
        asked.pause = min(2 * asked.pause, most)
        self._say(asked, line)

    @staticmethod
    def _say(asked: _Asked, line: str) -> None:
        if line != asked.line:
            print(f"fedflux: {line}", flush=True)
        asked.line = line

    def _leave_out_odd(self) -> bool:
        """Take the seat from each client whose data differ in form from most others."""
        forms = {
            k: str([seat.facts.get(name) for name in records.FORM])
            for k, seat in self.seats.items()
            if seat.facts is not None
        }
        counted = Counter(forms.values()).most_common(2)
        if len(counted) < 2 or counted[0][1] == counted[1][1]:
            return False  # all alike, or no majority: the core says what differs
        for k, form in forms.items():
            if form != counted[0][0]:
                node = self.seats.pop(k).node
                del self._bound[k]
                line = f"node {node} is refused: client {k} has {form}, and others "
                self._later(self._asked.setdefault(node, _Asked()), line + counted[0][0])
        return True

    def _seat_plain(self) -> None:
        """Give plain clients, which know no number, those that are left once all came."""
        seated = {seat.node: k for k, seat in self._bound.items() if seat.facts is None}
        for node in self._plain & set(seated):
            self.seats[seated[node]] = self._bound[seated[node]]
        free = [k for k in range(1, self._clients + 1) if k not in self._bound]
        plain = sorted(self._plain - set(seated))
        if len(plain) >= len(free):
            for number, node in zip(free, plain, strict=False):
                self.seats[number] = self._bound[number] = Seat(node, None)

    def _why_missing(self, missing: list[int], wait: float) -> str:
        shown = ", ".join(map(str, missing[:10])) + (", …" if missing[10:] else "")
        said = sorted({asked.line for asked in self._asked.values() if asked.line})
        more = "".join(f"; {line}" for line in said[:5])
        return (
            f"{len(missing)} of {self._clients} clients did not come within {wait:g} s: "
            f"number {shown}; client k is the node with partition-id = k − 1{more}"
        )
