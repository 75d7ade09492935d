"""What a worker remembers of its clients: their private states, and their last answers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._typing import Floats
from ...errors import FedFluxError
from .frames import Answer

MAX_KEPT = 4  # federations whose states a client keeps
MAX_RUNS = 10_000  # runs of which it is known which federation they are
FEDERATION = slice(5, 21)  # of a message: where its header names it (message_header.jl)

Whose = tuple[int, str]  # a client's number and a federation


class Memory:
    """The private states of a node's clients, each of one federation.

    Flower keeps a state with its run, and gives each message what was kept when the message
    began. What is here is newer if two messages come at once, and is there for a run
    that goes on with another one's federation.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Whose, bytes] = OrderedDict()
        self._answers: dict[Whose, tuple[bytes, Answer]] = {}  # and of which message
        self._federations: dict[tuple[int, int], str] = {}

    def key(self, header: dict[str, Any], body: bytes) -> Whose:
        """Name the client and the federation of a message.

        Raises:
            FedFluxError: the run has had messages of another federation: a server could
                else have a round answered again and again, each time for a new one.
        """
        client, run = header["client"], header["context"]["run_id"]
        stock = header["request"]["stock"]
        federation = f"run {run}" if stock else body[FEDERATION].hex()
        if self._federations.setdefault((client, run), federation) != federation:
            raise FedFluxError("belongs to another federation than this run")
        while len(self._federations) > MAX_RUNS:
            del self._federations[next(iter(self._federations))]
        return client, federation

    def newest(self, whose: Whose, private: bytes) -> bytes:
        """Return what was kept last, here or by Flower."""
        return self._kept.get(whose) or private

    def keep(self, whose: Whose, private: bytes) -> None:
        """Keep a state, and forget the oldest ones."""
        self._kept[whose] = private
        self._kept.move_to_end(whose)
        mine = [other for other in self._kept if other[0] == whose[0]]
        for old in mine[:-MAX_KEPT]:
            del self._kept[old]
            self._answers.pop(old, None)

    def same(self, whose: Whose, body: bytes, arrays: Sequence[Floats]) -> Answer | None:
        """Return the last answer, if this message is the one that got it."""
        digest, answer = self._answers.get(whose, (b"", None))
        return answer if answer is not None and digest == _digest(body, arrays) else None

    def keep_answer(
        self, whose: Whose, body: bytes, arrays: Sequence[Floats], answer: Answer
    ) -> None:
        """Keep an answer that can be given once: a repeated message gets the same bytes."""
        self._answers[whose] = _digest(body, arrays), answer


def _digest(body: bytes, arrays: Sequence[Floats]) -> bytes:
    digest = hashlib.sha256(body)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
