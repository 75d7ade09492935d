"""What the machines of a deployment send each other, and what is not taken from them."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np
import pytest

from fedflux.errors import FedFluxError
from fedflux.flower.worker import frames

from ..conftest import Run


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
        '{"client": true, "samples": 1}',
        '{"client": 1, "samples": 1e3}',
        '{"client": 1, "samples": 1000000001}',
        '{"client": 1, "samples": "many"}',
        '{"client": 1, "samples": 1, "outputs": 10000000}',
        '{"client": 1, "samples": 1, "outputs": "ten"}',
        '{"client": 1, "samples": 1, "input": 3}',
        '{"client": 1, "samples": 1, "input": [-3]}',
        '{"client": 1, "samples": 1, "input": [100000, 100000]}',
        '{"client": 1, "samples": 1, "target": [1, 1, 1, 1, 1, 1, 1, 1, 1]}',
        '{"client": 1, "samples": 1, "engine": "JULIA"}',
        '{"client": 1, "samples": 1, "ckks_key": "00"}',
        "[" * 50_000,
        "x" * 70_000,
    ):
        with pytest.raises(FedFluxError, match="no valid"):
            records.read_facts(told(version=1, facts=facts))
    for facts in (
        '{"client": 1, "preparing": 3, "seconds": 1.0}',
        '{"client": 1, "preparing": "it", "seconds": "long"}',
        '{"client": 1, "preparing": "it", "seconds": NaN}',
    ):
        with pytest.raises(FedFluxError, match="what it prepares"):
            records.read_facts(told(version=1, facts=facts))
    good = {"client": 1, "samples": 9, "input": [28, 28], "outputs": 10, "engine": "julia"}
    said = json.dumps(good | {"more": [1]})
    assert records.read_facts(told(version=1, facts=said)) == good
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


# The 4 GB come slowly, piece by piece, while other replies come in between.
DRIBBLE = TOO_LARGE.replace(
    'pieces = [bytes(b"x" * 5_000_000) for _ in range(800 if name == "2" else 1)]',
    """pieces = []
            for _ in range(800 if name == "2" else 1):
                pieces.append(bytes(b"x" * 5_000_000))
                time.sleep(0.02 if name == "2" else 0)""",
).replace("import resource", "import resource, time")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory")
@pytest.mark.parametrize("script", [TOO_LARGE, DRIBBLE])
def test_a_reply_of_4_gb_is_not_taken_into_memory(python: Run, script: str) -> None:
    pytest.importorskip("flwr")
    *told, memory, unlimited = python(script).stdout.splitlines()
    too_large = "2 is too large: at most 5000000 bytes are possible"
    assert sorted(told) == ["1 came", too_large, "3 came"]
    assert int(memory.split()[0]) < 1500
    assert unlimited == "True"
