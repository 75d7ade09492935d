"""What the machines of a deployment send each other, and what is not taken from them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from fedflux.errors import FedFluxError
from fedflux.flower import frames

from .conftest import Run


def test_frames_come_back_whole() -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([]), np.ones(())]
    frame = frames.pack({"op": "x", "n": 3}, [b"", b"abc"], arrays)
    header, parts, back = frames.unpack(frame)
    assert (header, parts) == ({"op": "x", "n": 3}, [b"", b"abc"])
    assert all(np.array_equal(a, b) for a, b in zip(arrays, back, strict=True))
    assert [a.shape for a in back] == [a.shape for a in arrays]


def test_damaged_frames_are_errors() -> None:
    frame = frames.pack({"op": "x"}, [b"abc"], [np.ones(3, np.float32)])
    lies = [
        {"_parts": [3, 12], "_shapes": [[4]]},
        {"_parts": [3, 12], "_shapes": [[-3]]},
        {"_parts": [-1, 16], "_shapes": []},
        {"_parts": [10**12], "_shapes": []},
        {"_shapes": []},
        [1, 2],
    ]
    texts = [json.dumps(lie).encode() for lie in lies]
    damaged = [len(t).to_bytes(4, "little") + t + b"abc" + bytes(12) for t in texts]
    damaged += [frame[:n] for n in range(len(frame))] + [frame + b"x", b"\xff" * 100]
    for one in damaged:
        with pytest.raises(FedFluxError, match="damaged frame"):
            frames.unpack(one)


def npy(array: Any, **header: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    data = file.getvalue()
    if not header:
        return data
    text = repr({"descr": "<f4", "fortran_order": False, "shape": (2,)} | header).encode()
    return data[:8] + len(text).to_bytes(2, "little") + text + data[10 + data[8] :]


def test_arrays_from_elsewhere_are_read_without_trust() -> None:
    pytest.importorskip("flwr")
    from flwr.app import Array, ArrayRecord, RecordDict

    from fedflux.flower import records

    def content(data: bytes, stype: str = "numpy.ndarray") -> RecordDict:
        array = Array("float32", (2,), stype, data)
        return RecordDict({"arrays": ArrayRecord({"w": array})})

    good = np.float32([[1, 2], [3, 4]])
    for array in (good, np.asfortranarray(good), good.astype(np.float64)):
        read = records.read_arrays(content(npy(array)), [(2, 2)])
        assert np.array_equal(read[0], good)
        assert read[0].dtype == np.float32
    bad = {
        "expected shape": content(npy(good[:1])),
        "expected numbers": content(npy(np.array([object()]), descr="|O")),
        "not that of shape": content(npy(good, shape=(2, 2), x=0)[:-4]),
        "expected a NumPy": content(npy(good), "torch.tensor"),
    }
    code = "__import__('os').system('true')"
    for data in (
        b"",
        b"\x93NUMPY\x01\x00\xff\xff",
        npy(good, shape=(-1, 2)),
        code.encode(),
    ):
        bad[f"an .npy file {len(data)}"] = content(data)
    for what, message in bad.items():
        with pytest.raises(FedFluxError, match=what.rstrip(" 0123456789")):
            records.read_arrays(message, [(2, 2)])
    huge = content(npy(np.float32([1, 2]), shape=(10**12,)))
    with pytest.raises(FedFluxError, match="not that of shape"):
        records.read_arrays(huge)


def test_messages_from_elsewhere_are_checked() -> None:
    pytest.importorskip("flwr")
    from flwr.app import ConfigRecord, RecordDict

    from fedflux.flower import records

    def told(**values: Any) -> RecordDict:
        return RecordDict({"fedflux": ConfigRecord(values)})

    for message, what in (
        (RecordDict(), "no message of fedflux"),
        (told(version=2), "version 2"),
        (told(version=1), "no valid body"),
        (told(version=1, body="text"), "no valid body"),
        (told(version=1, error="two\nlines"), "two lines"),
    ):
        with pytest.raises(FedFluxError, match=what):
            records.read_own(message, body=bytes)
    for facts in (
        "[]",
        "{",
        "{}",
        '{"client": 0, "samples": 1}',
        "[" * 50_000,
        "x" * 70_000,
    ):
        with pytest.raises(FedFluxError, match="no valid"):
            records.read_facts(told(version=1, facts=facts))
    with pytest.raises(FedFluxError, match="num-examples"):
        records.read_samples(RecordDict())
    assert records.size(told(version=1, body=b"x" * 100, list=[b"ab", b"c"])) == 111


TOO_LARGE = """
import resource
from types import SimpleNamespace
from fedflux.flower.exchange import exchange

class Grid:
    "Takes replies whole, in pieces, and once, as Flower's; that to message 2 has 4 GB."
    asked = []
    def push_messages(self, messages):
        return [str(m) for m in messages]
    def pull_messages(self, identifiers):
        found = []
        for name in identifiers:
            assert name not in self.asked
            self.asked.append(name)
            pieces = [bytes(b"x" * 5_000_000) for _ in range(800 if name == "2" else 1)]
            metadata = SimpleNamespace(reply_to_message_id=name)
            found.append(SimpleNamespace(metadata=metadata, has_error=lambda: False))
        return found

for key, reply in exchange(Grid(), {k: k for k in (1, 2, 3)}, 60.0, 5_000_000):
    print(key, reply if isinstance(reply, Exception) else "came")
# not ru_maxrss, which a process has from the one that started it
peak = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))
print(int(peak.split()[1]) // 1000, "MB")
print(resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory")
def test_a_reply_of_4_gb_is_not_taken_into_memory(python: Run) -> None:
    pytest.importorskip("flwr")
    *told, memory, unlimited = python(TOO_LARGE).stdout.splitlines()
    too_large = "2 is too large: at most 5000000 bytes are possible"
    assert sorted(told) == ["1 came", too_large, "3 came"]
    assert int(memory.split()[0]) < 1500
    assert unlimited == "True"


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Messages can be made outside of a run."""
    pytest.importorskip("flwr")
    from flwr.supercore.task_identity import TaskIdentity

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_run_id", "_node_id", "_task_id"):
            if hasattr(TaskIdentity, name):
                patch.setattr(TaskIdentity, name, 1)
        yield patch


class Nodes:
    """A grid with two nodes."""

    def get_node_ids(self) -> Iterable[int]:
        return [11, 12]


def says(message: Any, client: int) -> Any:
    """A node's answer: which client it is."""
    from flwr.app import Message

    from fedflux.flower import records

    facts = json.dumps({"client": client, "samples": 5})
    content = records.RecordDict({"fedflux": records.own(facts=facts)})
    return Message(content, reply_to=message)


def test_two_nodes_with_one_number_are_an_error(patch: pytest.MonkeyPatch) -> None:
    from fedflux.flower import roster

    def told(grid: Any, asked: Any, timeout: float) -> Iterator[tuple[int, Any]]:
        for node, message in asked.items():
            yield node, says(message, 1)

    patch.setattr(roster, "exchange", told)
    with pytest.raises(FedFluxError, match=r"node 12 .*client 1, which node 11 is"):
        roster.Roster(Nodes(), 2, 1.0).gather(1.0)  # type: ignore[arg-type]


def test_a_node_whose_answer_is_lost_is_asked_again(patch: pytest.MonkeyPatch) -> None:
    from fedflux.flower import roster

    asked_for: list[tuple[list[int], float]] = []

    def told(grid: Any, asked: Any, timeout: float) -> Iterator[tuple[int, Any]]:
        asked_for.append((sorted(asked), timeout))
        for node, message in asked.items():
            lost = node == 12 and len(asked_for) < 3
            no_answer = FedFluxError(f"{roster.NO_ANSWER} {timeout:g} s")
            yield node, no_answer if lost else says(message, node - 10)

    patch.setattr(roster, "exchange", told)
    clients = roster.Roster(Nodes(), 2, 3600.0)  # type: ignore[arg-type]
    clients.gather(600.0)
    assert {k: seat.node for k, seat in clients.seats.items()} == {1: 11, 2: 12}
    assert [nodes for nodes, _ in asked_for] == [[11, 12], [12], [12]]
    assert [round(timeout) for _, timeout in asked_for] == [60, 120, 240]
