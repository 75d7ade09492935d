"""What one node does, or doesn't do, does not stop the others: exchanges and the roster."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from fedflux.errors import FedFluxError

flower = pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")

from fedflux.flower import records  # noqa: E402
from fedflux.flower.exchange import UnreadableError, exchange  # noqa: E402
from fedflux.flower.roster import Roster  # noqa: E402


@pytest.fixture(autouse=True)
def made_outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages can be made outside of a run."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_node_id", "_task_id"):
        if hasattr(TaskIdentity, name):
            monkeypatch.setattr(TaskIdentity, name, 1)


class Grid:
    """Nodes that answer as functions say: each is given the message, and may take long."""

    def __init__(self, nodes: dict[int, Callable[[Any], Any]]) -> None:
        self.nodes, self.sent = nodes, dict[str, Any]()

    def get_node_ids(self) -> list[int]:
        return sorted(self.nodes)

    def push_messages(self, messages: list[Any]) -> list[str]:
        names = [f"{len(self.sent) + i}" for i in range(len(messages))]
        self.sent |= dict(zip(names, messages, strict=True))
        return names

    def pull_messages(self, identifiers: list[str]) -> list[Any]:
        (name,) = identifiers
        message = self.sent[name]
        node = getattr(
            message, "metadata", SimpleNamespace(dst_node_id=message)
        ).dst_node_id
        found = self.nodes[node](message) if node in self.nodes else None
        return [] if found is None else [found]


class Reply:
    """As Flower's, as far as an exchange looks at it."""

    def has_error(self) -> bool:
        return False


def test_what_goes_wrong_with_a_reply_is_its_own() -> None:
    """Three can't be inflated, one is announced and never pushed, two are good."""
    going_on = threading.Event()

    def raises(error: BaseException) -> Callable[[Any], Any]:
        def act(_: Any) -> Any:
            raise error

        return act

    def hangs(_: Any) -> Any:
        while not going_on.wait(0.05):
            pass

    class Odd:
        def has_error(self) -> bool:
            raise AttributeError("no metadata")

    nodes = {
        1: lambda _: Reply(),
        2: raises(ValueError("Object of type X is not\nsupported")),
        3: hangs,
        4: raises(KeyError("f00")),
        5: lambda _: Odd(),
        6: lambda _: Reply(),
    }
    began, came = time.monotonic(), dict[int, Any]()
    threads = threading.active_count()
    seconds = {}
    for key, reply in exchange(Grid(nodes), {k: k for k in nodes}, 3.0, 10**6):  # type: ignore[arg-type,misc]
        came[key], seconds[key] = reply, time.monotonic() - began
    assert isinstance(came[1], Reply)
    assert isinstance(came[6], Reply)
    assert seconds[6] < 2.5  # node 3 holds up nobody
    unreadable = {k: str(reply) for k, reply in came.items() if k in (2, 4, 5)}
    assert all(isinstance(came[k], UnreadableError) for k in unreadable)
    assert unreadable[2] == "can't be read: ValueError: Object of type X is not"
    assert "f00" in unreadable[4]
    assert str(came[3]) == "its reply did not arrive completely within 3 s"
    assert 2.9 < seconds[3] < 4.5
    time.sleep(0.5)
    assert threading.active_count() == threads  # nobody goes on fetching it


def says(**facts: Any) -> Callable[[Any], Any]:
    """A node that says what it is, or an error."""

    def act(message: Any) -> Any:
        from flwr.app import Message

        own = facts if "error" in facts else {"facts": json.dumps(facts)}
        return Message(
            records.RecordDict({"fedflux": records.own(**own)}), reply_to=message
        )

    return act


def client(k: int, **more: Any) -> Callable[[Any], Any]:
    return says(**{"client": k, "samples": 5} | more)


def silent(_: Any) -> Any:
    return None


class Clock:
    """Stands for the module time: to sleep is to move on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("exchange", "roster"):
        monkeypatch.setattr(f"fedflux.flower.{module}.time", made)
    return made


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capsys.readouterr().out.splitlines()


def roster(nodes: dict[int, Any], clients: int, timeout: float = 60.0) -> Roster:
    return Roster(Grid(nodes), clients, timeout)  # type: ignore[arg-type]


def test_two_nodes_with_one_number_are_an_error() -> None:
    with pytest.raises(
        FedFluxError,
        match=r"number 2; .*node 12 is refused: is client 1, but in this run .* node 11",
    ):
        roster({11: client(1), 12: client(1)}, 2).gather(1.0)


def test_a_node_that_never_says_who_it_is_delays_nobody() -> None:
    nodes = {11: client(1), 12: client(2), 13: silent}
    there = roster(nodes, 2)
    began = time.monotonic()
    there.gather(60.0)
    for _ in range(20):
        there.refresh()
    assert time.monotonic() - began < 5
    assert sorted(there.seats) == [1, 2]


def test_a_number_belongs_to_a_node_for_the_run(lines: Callable[[], list[str]]) -> None:
    nodes = {11: client(1), 12: client(2)}
    there = roster(nodes, 2)
    there.gather(5.0)
    honest = nodes.pop(12)
    nodes[13] = client(2, samples=9)  # another takes the absent one's number
    for _ in range(3):
        there.refresh()
    assert sorted(there.seats) == [1]
    assert there.absence(2) == "its node is not there"
    assert any(
        "node 13 is refused: is client 2, but in this run that is node 12" in x
        for x in lines()
    )
    nodes[12] = client(2, samples=7)  # back, with another word on its data
    for _ in range(3):
        there.refresh()
    assert there.seats[2].node == 12
    assert there.seats[2].facts == {"client": 2, "samples": 5}  # the first word holds
    assert honest
    nodes.pop(12)
    there.refresh()
    nodes[12] = client(1)
    for _ in range(3):
        there.refresh()
    assert sorted(there.seats) == [1]
    assert there.seats[1].node == 11


def test_texts_of_a_node_decide_nothing() -> None:
    for text in ("the file is already open", "No query function registered", "x" * 10**5):
        with pytest.raises(FedFluxError, match="1 of 2 clients did not come"):
            roster({11: client(1), 12: says(error=text)}, 2).gather(1.0)


def test_a_node_with_an_error_is_asked_again_with_growing_pauses(
    clock: Clock, lines: Callable[[], list[str]]
) -> None:
    asked: list[float] = []

    def mends_itself(message: Any) -> Any:
        asked.append(clock.now)
        return (says(error="no such disk") if len(asked) < 6 else client(2))(message)

    there = roster({11: client(1), 12: mends_itself}, 2, timeout=1e6)
    there.gather(600.0)
    pauses = [round(b - a) for a, b in pairwise(asked)]
    assert pauses == [5, 10, 20, 40, 80]
    assert [line for line in lines() if "no such disk" in line] == [
        "fedflux: node 12 is refused: no such disk"
    ]


def test_a_node_whose_answer_is_lost_is_asked_again(clock: Clock) -> None:
    grid = Grid({11: client(1)})
    grid.nodes[12] = lambda m: client(2)(m) if grid.sent.get("3") is m else None
    there = Roster(grid, 2, 3600.0)  # type: ignore[arg-type]
    there.gather(600.0)
    assert {k: seat.node for k, seat in there.seats.items()} == {1: 11, 2: 12}
    again = [m.metadata for m in grid.sent.values() if m.metadata.dst_node_id == 12]
    assert [round(m.ttl) for m in again] == [60, 120, 240]


def test_a_node_that_prepares_is_waited_for_from_then_on(
    clock: Clock, lines: Callable[[], list[str]]
) -> None:

    def compiles(message: Any) -> Any:
        if clock.now < 900:
            return says(client=2, preparing="compiling the core", seconds=clock.now)(
                message
            )
        return client(2)(message)

    there = roster({11: client(1), 12: compiles}, 2)
    with pytest.raises(FedFluxError, match="client 2: compiling the core, "):
        there.gather(300.0)
    assert 300 <= clock.now < 700
    assert there.absence(2) == f"compiling the core, {clock.now:.0f} s"
    assert "fedflux: client 2: compiling the core, 0 s" in lines()
    clock.now = 0.0
    there = roster({11: client(1), 12: compiles}, 2)
    with pytest.raises(FedFluxError):  # it can't put the end off for ever
        there.gather(400.0)
    assert clock.now < 900
    clock.now = 0.0
    there = roster({11: client(1), 12: compiles}, 2)
    there.gather(500.0 + 500)
    assert sorted(there.seats) == [1, 2]


def test_a_client_counts_for_no_more_samples_than_the_server_allows() -> None:
    nodes = {11: client(1, samples=100), 12: client(2, samples=101)}
    there = Roster(Grid(nodes), 2, 60.0, max_samples=100)  # type: ignore[arg-type]
    with pytest.raises(
        FedFluxError, match=r"node 12 .*101 samples, and max_samples is 100"
    ):
        there.gather(1.0)


def test_a_node_with_other_data_than_most_is_left_out() -> None:
    nodes = {10 + k: client(k, input=[2]) for k in range(1, 5)} | {15: client(5, input=[3])}
    with pytest.raises(FedFluxError, match=r"number 5; .*node 15 .*\[\[3\]"):
        roster(nodes, 5).gather(1.0)
