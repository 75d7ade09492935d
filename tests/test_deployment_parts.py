"""The parts of a deployment, without Flower's processes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedflux.errors import DataError, FedFluxError, OptionError
from fedflux.flower import frames, new, settings, warm

from .conftest import ROOT, Run

EXAMPLE = ROOT / "examples" / "deployment"


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


def test_options_come_from_the_code_and_from_the_run_config() -> None:
    given = {"lr": 0.1, "rounds": 2, "timeout": 5}
    config = {
        "fedflux.lr": 0.2,
        "fedflux.rounds": "",
        "fedflux.clients-per-round": 4,
        "fedflux.rules": "scaffold,topk(fraction=0.1)",
        "fedflux.wait": 7,
        "mine": "x",
    }
    found = settings.gather(given, config)
    assert found == {
        "lr": 0.2,
        "timeout": 5,
        "clients_per_round": 4,
        "rules": ["scaffold", "topk(fraction=0.1)"],
        "wait": 7,
    }
    run, server = settings.split(found)
    assert settings.Server(**server).wait == 7
    assert "wait" not in settings.run_options(run)
    with pytest.raises(OptionError, match=r"fedflux\.roundz.*did you mean 'rounds'"):
        settings.gather({}, {"fedflux.roundz": 3})
    with pytest.raises(OptionError, match="timeout: expected seconds"):
        settings.Server(timeout=-1)
    with pytest.raises(OptionError, match="faults: only a simulation"):
        settings.run_options({"faults": "dropout(p=0.1)"})


LOADER = """
import os, numpy as np
def load_data(context):
    with open(os.environ["LOADED"], "a") as file:
        file.write("x")
    return np.eye(4, dtype=np.float32), np.arange(4) % 2
def bad(context):
    return "nothing"
def broken(context):
    raise ValueError("no such disk")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module `loader_of_a_node`, where the workers' sockets lie too."""
    (tmp_path / "loader_of_a_node.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("LOADED", str(tmp_path / "loaded"))
    return tmp_path


@pytest.fixture
def launch(place: Path) -> Iterator[warm.Launch]:
    """A launch whose worker ends with a process that ends with the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as node:
        yield warm.Launch("client", "loader_of_a_node:load_data", node.pid, 60.0)
        node.kill()


def opening(**options: Any) -> dict[str, Any]:
    given = {"engine": "reference", "model": "softmax_regression", "clients": 1} | options
    context = {"run_id": 1, "node_id": 2, "node_config": {}, "run_config": {}}
    return {"client": 1, "options": settings.run_options(given), "context": context}


def train(round: int) -> dict[str, Any]:
    return {"op": "answer", "request": {"stock": True, "round": round, "client": 1}}


MODEL = [np.zeros((4, 2), np.float32), np.zeros(2, np.float32)]


def test_a_worker_is_found_again_and_keeps_the_data(
    launch: warm.Launch, place: Path
) -> None:
    pytest.importorskip("flwr")
    with warm.connect(launch) as worker:
        facts, _, _ = worker.ask({"op": "open", **opening()})
    assert (facts["samples"], facts["outputs"], facts["engine"]) == (4, 2, "reference")
    seconds = []
    for round in (1, 2, 3):
        began = time.perf_counter()
        with warm.connect(launch) as worker:
            said, _, model = worker.ask(train(round) | opening(), [b"", b""], MODEL)
        seconds.append(time.perf_counter() - began - said["seconds"])
        assert said["samples"] == 4
        assert not np.array_equal(model[0], MODEL[0])
    assert (place / "loaded").read_text() == "x"  # loaded once
    assert max(seconds) < 0.3
    print(f"around a message: {max(seconds):.4f} s")


WITHOUT_JULIA = """
import numpy as np
from fedflux.flower import settings, training
from fedflux.data import from_arrays
data = from_arrays(np.eye(4), [0, 1, 0, 1], None, None, loss="cross_entropy", clients=1)
for rules in ([], ["scaffold"]):
    try:
        client = training.open_client(
            settings.run_options({"model": "mlp", "rules": rules}), data, {}
        )
        print(client.facts["engine"])
    except Exception as error:
        print(error)
"""


def test_a_node_without_julia_says_so(python: Run, no_julia: dict[str, str]) -> None:
    done = python(WITHOUT_JULIA, env=no_julia)
    assert "this node trains with the slow reference engine" in done.stderr
    engine, refusal = done.stdout.splitlines()
    assert engine == "reference"
    assert refusal.startswith("this node can't join: rules=['scaffold'] needs the Julia")


def test_a_workers_errors_are_one_line(launch: warm.Launch) -> None:
    pytest.importorskip("flwr")
    for name, said in (("bad", "expected \\(x, y\\)"), ("broken", "no such disk")):
        bad = replace(launch, load=f"loader_of_a_node:{name}")
        with warm.connect(bad) as worker, pytest.raises(FedFluxError, match=said) as error:
            worker.ask({"op": "open", **opening()})
        assert "\n" not in str(error.value)
    with warm.connect(launch) as worker:
        with pytest.raises(FedFluxError, match=r"can't join: rules=.*needs the Julia core"):
            worker.ask({"op": "open", **opening(rules=["scaffold"])})
        worker.ask({"op": "open", **opening()})  # it goes on
        with pytest.raises(FedFluxError, match="shapes"):
            worker.ask(train(1) | opening(), [b"", b""], MODEL[:1])


def test_a_worker_ends_with_its_node_and_when_idle(launch: warm.Launch) -> None:
    pytest.importorskip("flwr")
    base = warm.folder() / launch.identity()
    with warm.connect(launch) as worker:
        worker.ask({"op": "open", **opening()})
        os.kill(launch.watch, 9)
        os.waitpid(launch.watch, 0)
        time.sleep(3)
        with pytest.raises(FedFluxError, match="ended before it answered"):
            worker.ask({"op": "open", **opening()})
    assert warm._join(base) is None
    brief = replace(launch, watch=os.getpid(), idle=0.3)
    warm.connect(brief).close()
    time.sleep(1.5)
    assert warm._join(warm.folder() / brief.identity()) is None


def test_nobody_else_reaches_a_worker(launch: warm.Launch, place: Path) -> None:
    warm.connect(launch).close()
    folder = warm.folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {f.suffix for f in files} == {".sock", ".key", ".lock"}
    assert all(f.stat().st_mode & 0o077 == 0 for f in files)
    sock = next(str(f) for f in files if f.suffix == ".sock")
    with pytest.raises(AuthenticationError, match="rejected"):
        Client(sock, family="AF_UNIX", authkey=b"guessed")
    warm.connect(launch).close()  # it still serves who knows the key
    folder.chmod(0o755)
    with pytest.raises(FedFluxError, match="alone may enter"):
        warm.folder()


def test_another_user_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedflux.flower import worker

    ours, theirs = socket.socketpair()
    assert worker._user(ours) == os.getuid()
    monkeypatch.setattr(worker, "_user", lambda _: os.getuid() + 1)
    assert worker.greeted(ours, b"key") is None
    assert theirs.recv(1) == b""  # hung up, without a word


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


def test_two_nodes_with_one_number_are_an_error() -> None:
    pytest.importorskip("flwr")
    from flwr.app import Message

    from fedflux.flower import records, roster

    class Nodes:
        """A grid whose nodes all say that they are client 1."""

        def get_node_ids(self) -> Iterable[int]:
            return [11, 12]

    def told(grid: Any, asked: Any, timeout: float) -> Iterator[tuple[int, Any]]:
        facts = json.dumps({"client": 1, "samples": 5})
        for node, message in asked.items():
            content = records.RecordDict({"fedflux": records.own(facts=facts)})
            yield node, Message(content, reply_to=message)

    from flwr.supercore.task_identity import TaskIdentity

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_run_id", "_node_id", "_task_id"):
            if hasattr(TaskIdentity, name):
                patch.setattr(TaskIdentity, name, 1)
        patch.setattr(roster, "exchange", told)
        with pytest.raises(FedFluxError, match=r"node 12 .*client 1, which node 11 is"):
            roster.Roster(Nodes(), 2, 1.0).gather(1.0)  # type: ignore[arg-type]


def test_new_writes_the_example(python: Run, tmp_path: Path) -> None:
    python(["-m", "fedflux", "new", "my-project"])
    project = tmp_path / "my-project"
    files = [
        f.relative_to(EXAMPLE)
        for f in EXAMPLE.rglob("*")
        if f.is_file() and not {"keys", "__pycache__", ".pytest_cache"} & set(f.parts)
    ]
    assert len(files) > 10
    for file in files:
        written = project / str(file).replace("fedapp", "my_project")
        assert written.read_text() == (EXAMPLE / file).read_text().replace(
            "fedapp", "my_project"
        )
    again = python(["-m", "fedflux", "new", "my-project"], check=False)
    assert again.returncode == 2
    assert re.fullmatch(r"fedflux: error: .*my-project exists.*\n", again.stderr)
    for name in ("1st", "a b", "../x", "class", ""):
        with pytest.raises(OptionError, match="name: expected"):
            new.new(name, tmp_path)


def test_the_projects_own_tests_pass(python: Run, tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    project = new.new("mine", tmp_path)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    done = python([*command, str(project)], cwd=project)
    assert "3 passed" in done.stdout


def test_flower_builds_the_project(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    flwr = Path(sys.executable).parent / "flwr"
    project = new.new("mine", tmp_path)
    done = subprocess.run(
        [str(flwr), "build"],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ
        | {"FLWR_HOME": str(tmp_path / "home"), "FLWR_TELEMETRY_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout.lower()
    assert len(list(project.glob("*.fab"))) == 1


def test_the_composition_is_complete() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    assert list(services) == ["superlink", "node-1", "node-2", "node-3"]
    for number in (1, 2, 3):
        words = services[f"node-{number}"]["command"]
        assert f"--auth-supernode-private-key=/keys/node-{number}.key" in words
        assert f"--node-config=partition-id={number - 1}" in words
    assert services["superlink"]["ports"] == ["127.0.0.1:8000:8000"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """What they start need not be installed here: true stands in for it."""
    for unit in sorted((EXAMPLE / "systemd").glob("*.service")):
        text = re.sub(r"/opt/fedflux/bin/\S+", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / unit.name)],
            capture_output=True,
            text=True,
        )
        complaints = [line for line in done.stderr.splitlines() if unit.name in line]
        assert complaints == []
        for option in re.findall(r" (--[a-z-]+)", text):
            assert option in HELP, option


HELP = (EXAMPLE / "README.md").read_text() + "--host --database --node-config"


def test_a_loader_must_be_one_that_the_worker_finds() -> None:
    pytest.importorskip("flwr")
    import fedflux.flower

    with pytest.raises(OptionError, match="top of a module"):
        fedflux.flower.client_app(lambda _: None)
    with pytest.raises(OptionError, match="unknown option"):
        fedflux.flower.client_app(test_the_composition_is_complete, lrr=0.1)
    from fedflux.flower.training import checked

    with pytest.raises(DataError, match="labels"):
        checked(([[1.0]], [-1]), settings.run_options({}), "load_data")
