"""Whatever one node sends, in each field of Flower's records: the others take part."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedflux.errors import FedFluxError

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)

from fedflux.flower import records
from fedflux.flower.options import Server
from fedflux.flower.server import Rounds

from .test_roster import (
    Grid,
    client,
    made_outside_of_a_run as made_outside_of_a_run,
)

BODY = b"an update"
W, B = np.zeros((4, 2), np.float32), np.zeros(2, np.float32)


class Core:
    """In the place of the worker with the core: what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def ask(self, header: dict[str, Any], parts: Any = (), arrays: Any = ()) -> Any:
        if header["op"] == "open":
            json.dumps(header)
            return (
                {"names": ["w", "b"], "shapes": [[4, 2], [2]], "most_bytes": 1000},
                [],
                [],
            )
        self.asked.append(header | {"parts": list(parts), "arrays": list(arrays)})
        return {"accepted": True}, [], []


Send = Callable[[Message], Any]


def sends(content: RecordDict) -> Send:
    return lambda message: Message(content, reply_to=message)


def own(**values: Any) -> RecordDict:
    return RecordDict({"fedflux": ConfigRecord(values)})


honest = sends(own(version=1, body=BODY))
metrics = MetricRecord({"num-examples": 5})


def model(*arrays: Any, metrics: MetricRecord | None = metrics) -> RecordDict:
    given = {f"{i}": a if isinstance(a, Array) else Array(a) for i, a in enumerate(arrays)}
    content: dict[str, Any] = {"arrays": ArrayRecord(given)}
    return RecordDict(content | ({} if metrics is None else {"metrics": metrics}))


def raises(_: Message) -> Any:
    raise ValueError("Object of type Evil is not supported.")


class Unreadable:
    """A message whose parts can't be had."""

    def has_error(self) -> bool:
        return False

    @property
    def content(self) -> Any:
        raise TypeError("no content")


REJECTED: dict[str, tuple[Send, str]] = {
    "nothing": (sends(RecordDict()), "no message of fedflux"),
    "no version": (sends(own(body=BODY)), "of version None"),
    "another version": (sends(own(version=99, body=BODY)), "of version 99"),
    "a text as version": (sends(own(version="1", body=BODY)), "of version '1'"),
    "no body": (sends(own(version=1)), "no valid body"),
    "a text as body": (sends(own(version=1, body="x")), "no valid body"),
    "a number as body": (sends(own(version=1, body=5)), "no valid body"),
    "a list as body": (sends(own(version=1, body=[b"a", b"b"])), "no valid body"),
    "too many bytes": (sends(own(version=1, body=bytes(10**6))), "is too large"),
    "too many more": (sends(own(version=1, body=BODY, x=["y" * 10**6])), "is too large"),
    "arrays of a wrong shape": (sends(model(W[:1], B)), "expected shape"),
    "too few arrays": (sends(model(W)), "holds 1 arrays"),
    "too many arrays": (sends(model(W, B, B)), "holds 3 arrays"),
    "no arrays": (sends(model()), "holds 0 arrays"),
    "integers": (sends(model(W.astype(np.int64), B)), "type float32"),
    "no NumPy": (sends(model(Array("", (2,), "pt", b"x"), B)), "expected a NumPy array"),
    "no .npy": (
        sends(model(Array("", (4, 2), "numpy.ndarray", b"x"), B)),
        "expected the bytes of an .npy file",
    ),
    "no samples": (sends(model(W, B, metrics=None)), "num-examples"),
    "samples below 1": (
        sends(model(W, B, metrics=MetricRecord({"num-examples": -1}))),
        "num-examples",
    ),
    "NaN samples": (
        sends(model(W, B, metrics=MetricRecord({"num-examples": float("nan")}))),
        "num-examples",
    ),
    "what Flower can't inflate": (raises, "can't be read: ValueError: Object of type Evil"),
    "no content": (lambda _: Unreadable(), "can't be read: TypeError: no content"),
}
DROPPED: dict[str, tuple[Send, str]] = {
    "an error": (
        sends(own(version=1, error="out of\n\x1b[31mmemory")),
        "out of [31mmemory",
    ),
    "a long error": (sends(own(version=1, error="x" * 900)), "xxx…"),
    "Flower's error": (
        lambda m: Message(Error(code=2, reason="crashed"), reply_to=m),
        "crashed",
    ),
    "silence": (lambda _: None, "no answer within 2 s"),
}
UNLIKE: dict[str, Send] = {  # the core says what is wrong with it
    "another's bytes": sends(own(version=1, body=b"of client 1")),
    "more than asked for": sends(own(version=1, body=BODY, more=[1.5])),
    "a model": sends(model(W, B)),
}


def one_round(send: Send) -> dict[int, dict[str, Any]]:
    """What the core hears of each of five clients, of whom one sends something else."""
    nodes: dict[int, Any] = {}
    for k in range(1, 6):

        def node(message: Message, k: int = k) -> Any:
            if message.metadata.message_type == records.QUERY:
                return client(k)(message)
            return (send if k == 2 else honest)(message)

        nodes[10 + k] = node
    core, grid = Core(), Grid(nodes)
    settings = Server(timeout=2.0, wait=5.0)
    options = {"clients": 5, "weights": "samples", "lr": 0.1}
    rounds = Rounds(grid, core, options, settings)  # type: ignore[arg-type]
    rounds._open(None)
    said = {"round": 1, "stage": "train", "clients": [1, 2, 3, 4, 5]}
    rounds._exchange(said, [b"m"] * 5, [W, B])
    heard = {header["client"]: header for header in core.asked}
    assert len(core.asked) == len(heard) == 5  # each once
    for k in (1, 3, 4, 5):
        assert heard[k]["op"] == "receive"
        assert heard[k]["parts"] == [BODY]
    return heard


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_no_reply_rejects_that_reply(name: str) -> None:
    send, reason = REJECTED[name]
    heard = one_round(send)[2]
    assert heard["op"] == "rejected"
    assert reason in heard["reason"]
    assert "\n" not in heard["reason"]


@pytest.mark.parametrize("name", DROPPED)
def test_who_fails_is_dropped(name: str) -> None:
    send, reason = DROPPED[name]
    heard = one_round(send)[2]
    assert heard["op"] == "dropped"
    assert reason in heard["reason"]
    assert len(heard["reason"]) <= 300


@pytest.mark.parametrize("name", UNLIKE)
def test_bytes_are_the_cores_to_judge(name: str) -> None:
    assert one_round(UNLIKE[name])[2]["op"] == "receive"


FACTS: dict[str, Any] = {
    "samples": 5,
    "outputs": 2,
    "input": [4],
    "target": [],
    "engine": "julia",
}
WRONG = (None, -1, 0, 10**15, 2**63, 1.5, True, "text", [], [0], [10**9], {"a": 1})


@pytest.mark.parametrize("name", FACTS)
def test_each_fact_of_a_node_is_checked(name: str) -> None:
    """What it may not be is no fact, and what remains is of the right type."""
    refused = 0
    for wrong in WRONG:
        facts = {"client": 2} | FACTS | {name: wrong}
        content = own(version=1, facts=json.dumps(facts))
        try:
            known = records.read_facts(content)
        except FedFluxError:
            refused += 1
            continue
        assert type(known[name]) is type(FACTS[name])
        assert known.keys() == facts.keys()
    assert refused >= 8
    absent = {k: v for k, v in FACTS.items() if k != name} | {"client": 2}
    if name == "samples":
        with pytest.raises(FedFluxError, match="no valid number samples"):
            records.read_facts(own(version=1, facts=json.dumps(absent)))
    else:
        assert name not in records.read_facts(own(version=1, facts=json.dumps(absent)))
