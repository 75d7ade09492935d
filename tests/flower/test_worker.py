"""A node of a deployment: its options, its data, and the worker that keeps them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedflux.errors import DataError, FedFluxError, OptionError
from fedflux.flower import options as settings
from fedflux.flower.worker import connection

from ..conftest import Run


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
        "rounds": 2,  # an empty text says nothing
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
    for wrong in ({"track": "tensorbord"}, {"metrics_port": 70000}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            settings.Server(**wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="faults can't be used in a deployment"):
        settings.run_options({"faults": "dropout(p=0.1)"})


LOCAL = "local_dp(clip=1.0, noise_multiplier=2.0)"
SECURE = "secure(noise=1.0)"
WEAKER = [
    ({"rules": [LOCAL]}, {}, {"fedflux.rules": "scaffold"}),
    ({"rules": LOCAL}, {}, {"fedflux.rules": LOCAL.replace("2.0", "0.1")}),
    ({}, {"fedflux.rules": LOCAL}, {"fedflux.rules": "topk(fraction=0.1)"}),
    ({"rules": "scaffold"}, {"fedflux.rules": LOCAL}, {}),
    ({"aggregate": SECURE}, {}, {"fedflux.aggregate": "mean"}),
    ({}, {"fedflux.aggregate": SECURE}, {"fedflux.aggregate": "secure"}),
    ({}, {"fedflux.clients": 5}, {"fedflux.clients": 1_000_000}),
]


@pytest.mark.parametrize(("code", "node", "run"), WEAKER)
def test_what_a_node_pins_holds(
    code: dict[str, Any], node: dict[str, Any], run: dict[str, Any]
) -> None:
    with pytest.raises(
        OptionError, match=r"pins .*, and the (run|code) asks for "
    ) as error:
        settings.agreed(code, node, run)
    pinned = settings.agreed(code, node if run else {}, {})
    for name in pinned:  # both values are named
        assert repr(settings.check({name: pinned[name]})[name]) in str(error.value)
    if run:
        empty = {f"fedflux.{name}": "" for name in ("rules", "aggregate", "clients")}
        assert settings.agreed(code, node, empty) == pinned  # as the template has it
        same = {f"fedflux.{name}": str(pinned[name]) for name in pinned if name != "rules"}
        assert settings.agreed(code, node, same).keys() == pinned.keys()
    with pytest.raises(OptionError, match="node config: unknown option"):
        settings.agreed({}, {"fedflux.rulez": "x"}, {})


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
def slow(context):
    import time
    time.sleep(4)
    return load_data(context)
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
def launch(place: Path) -> Iterator[connection.Launch]:
    """A launch whose worker ends with a process that ends with the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as node:
        yield connection.Launch("client", "loader_of_a_node:load_data", node.pid, 60.0)
        node.kill()


def opening(**options: Any) -> dict[str, Any]:
    given = {"engine": "reference", "model": "softmax_regression", "clients": 1} | options
    context = {"run_id": 1, "node_id": 2, "node_config": {}, "run_config": {}}
    return {"client": 1, "options": settings.run_options(given), "context": context}


def train(round: int) -> dict[str, Any]:
    return {"op": "answer", "request": {"stock": True, "round": round, "client": 1}}


MODEL = [np.zeros((4, 2), np.float32), np.zeros(2, np.float32)]


def test_a_worker_is_found_again_and_keeps_the_data(
    launch: connection.Launch, place: Path
) -> None:
    pytest.importorskip("flwr")
    with connection.connect(launch) as worker:
        facts, _, _ = worker.ask({"op": "open", **opening()})
    assert (facts["samples"], facts["outputs"], facts["engine"]) == (4, 2, "reference")
    seconds = []
    for round in (1, 2, 3):
        began = time.perf_counter()
        with connection.connect(launch) as worker:
            said, _, model = worker.ask(train(round) | opening(), [b"", b""], MODEL)
        seconds.append(time.perf_counter() - began - said["seconds"])
        assert said["samples"] == 4
        assert not np.array_equal(model[0], MODEL[0])
    assert (place / "loaded").read_text() == "x"  # loaded once
    assert max(seconds) < 0.3
    print(f"around a message: {max(seconds):.4f} s")


def test_each_run_loads_its_data_anew(launch: connection.Launch, place: Path) -> None:
    pytest.importorskip("flwr")
    for run in (1, 2, 2, 1, 3):
        of_run = opening()
        of_run["context"]["run_id"] = run
        with connection.connect(launch) as worker:
            worker.ask({"op": "open", **of_run})
    assert (place / "loaded").read_text() == "xxx"


def outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages of Flower's be made here."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_node_id", "_task_id"):
        if hasattr(TaskIdentity, name):
            monkeypatch.setattr(TaskIdentity, name, 1)


def test_whatever_a_server_sends_a_node_says_why_not_and_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flwr")
    import loader_of_a_node
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

    from fedflux.flower import client_app, records

    outside_of_a_run(monkeypatch)
    options = {"engine": "reference", "model": "softmax_regression"}
    app = client_app(loader_of_a_node.load_data, idle=20.0, **options)
    model = ArrayRecord({"w": Array(MODEL[0]), "b": Array(MODEL[1])})

    def answer(content: RecordDict, node_config: Any = None) -> Any:
        message = Message(content, 7, "train", ttl=60.0)
        config = {"partition-id": 2} if node_config is None else node_config
        return app(message, Context(1, 7, config, RecordDict(), {})).content

    def own(arrays: ArrayRecord | None = model, **values: Any) -> RecordDict:
        content = RecordDict({"fedflux": ConfigRecord(values)})
        if arrays is not None:
            content["arrays"] = arrays
        return content

    def arrays(*given: Any) -> ArrayRecord:
        return ArrayRecord({f"{i}": a for i, a in enumerate(given)})

    good = {"version": 1, "body": b"x", "round": 1}
    w, b = (Array(a) for a in MODEL)
    wrong = [
        *(own(**{k: v for k, v in good.items() if k != name}) for name in good),
        *(own(**good | {"version": value}) for value in (0, 2, "1", 1.5, b"1", [1])),
        *(own(**good | {"body": value}) for value in (1, "x", [b"x"], 1.5)),
        *(own(**good | {"round": value}) for value in ("1", 1.5, b"1", [1])),
        own(None, **good),
        *(
            own(arrays(*given), **good)
            for given in (
                (w,),
                (b, w),
                (w, b, b),
                (Array(MODEL[0][:2]), b),
                (Array(np.zeros((4, 2), np.int32)), b),
                (Array("<f4", (4, 2), "numpy.ndarray", b"no .npy"), b),
                (Array("<f4", (4, 2), "pickle", b"x"), b),
                (Array(np.zeros((0, 10**9), np.float32)), b),
            )
        ),
    ]
    for content in wrong:
        record = answer(content).config_records["fedflux"]
        assert record["error"], content
        assert "\n" not in str(record["error"])
    for config in ({}, {"partition-id": "2"}, {"partition-id": -1}, {"partition-id": 1.0}):
        assert "partition-id" in str(answer(own(**good), config)["fedflux"]["error"])
    trained = records.read_arrays(answer(own(**good)))
    assert not np.array_equal(trained[0], MODEL[0])
    assert (place / "loaded").read_text() == "x"


def test_a_node_that_is_not_ready_says_what_it_does(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the app itself, as Flower calls it."""
    pytest.importorskip("flwr")
    import loader_of_a_node
    from flwr.app import Context, Message, RecordDict

    from fedflux.flower import client, client_app, records

    outside_of_a_run(monkeypatch)
    monkeypatch.setattr(client, "SOON", 1.5)
    options = {"engine": "reference", "model": "softmax_regression"}
    app = client_app(loader_of_a_node.slow, idle=20.0, **options)
    said = []
    for _ in range(20):
        content = RecordDict({"fedflux": records.own()})
        message = Message(content, 7, records.QUERY, ttl=60.0)
        context = Context(1, 7, {"partition-id": 2}, RecordDict(), {})
        said.append(records.read_facts(app(message, context).content))
        if "samples" in said[-1]:
            break
    assert {facts["client"] for facts in said} == {3}
    assert said[-1]["samples"] == 4
    waited = [facts for facts in said if "preparing" in facts]
    assert waited[-1]["preparing"] == "loading the data"
    assert 0 < waited[-1]["seconds"] < 20
    assert (place / "loaded").read_text() == "x"  # nobody began again


def message(federation: int, rest: bytes = b"") -> bytes:
    return b"FFX\x02\x01" + bytes([federation]) * 16 + rest


def test_a_repeated_message_gets_the_same_bytes() -> None:
    """And a state that Flower took before another answer is not the newest one."""
    from fedflux.flower.worker import memory

    kept = memory.Memory()
    arrays = [np.ones(3, np.float32)]

    def key(run: int, body: bytes, client: int = 1) -> Any:
        context = {"run_id": run}
        request = {"stock": not body}
        return kept.key({"client": client, "context": context, "request": request}, body)

    ours = key(1, message(7))
    answer: Any = ({"once": True}, [b"noisy", b"state 1"], [])
    kept.keep(ours, b"state 1")
    kept.keep_answer(ours, message(7, b"x"), arrays, answer)
    assert kept.newest(ours, b"state 0") == b"state 1"
    assert kept.same(ours, message(7, b"x"), arrays) is answer
    assert kept.same(ours, message(7, b"y"), arrays) is None
    assert kept.same(ours, message(7, b"x"), [2 * arrays[0]]) is None
    assert kept.same(key(1, message(7), client=2), message(7, b"x"), arrays) is None
    with pytest.raises(FedFluxError, match="another federation"):
        key(1, message(8))
    assert kept.newest(key(2, message(7)), b"") == b"state 1"  # it goes on with it
    assert key(3, message(9)) != ours
    assert kept.newest(key(3, message(9)), b"") == b""
    assert key(4, b"") != key(5, b"")  # of Flower's own servers, each run is another
    for run in range(10, 20):  # and others' states are forgotten in the end
        kept.keep(key(run, message(run)), b"other")
    assert kept.newest(ours, b"") == b""
    assert kept.same(ours, message(7, b"x"), arrays) is None


WITHOUT_JULIA = """
import numpy as np
from fedflux.flower import options as settings
from fedflux.flower.worker import client as training
from fedflux._data.arrays import from_arrays
data = from_arrays(np.eye(4), [0, 1, 0, 1], None, None, loss="cross_entropy", clients=1)
for rules in ([], ["scaffold"]):
    try:
        client = training.open_client(
            settings.run_options({"model": "mlp", "rules": rules}), data, {}, 1
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


def test_a_workers_errors_are_one_line(launch: connection.Launch) -> None:
    pytest.importorskip("flwr")
    for name, said in (("bad", "expected \\(x, y\\)"), ("broken", "no such disk")):
        bad = replace(launch, load=f"loader_of_a_node:{name}")
        with (
            connection.connect(bad) as worker,
            pytest.raises(FedFluxError, match=said) as error,
        ):
            worker.ask({"op": "open", **opening()})
        assert "\n" not in str(error.value)
    with connection.connect(launch) as worker:
        with pytest.raises(FedFluxError, match=r"can't join: rules=.*needs the Julia core"):
            worker.ask({"op": "open", **opening(rules=["scaffold"])})
        worker.ask({"op": "open", **opening()})  # it goes on
        with pytest.raises(FedFluxError, match="shapes"):
            worker.ask(train(1) | opening(), [b"", b""], MODEL[:1])


def test_a_worker_ends_with_its_node_and_when_idle(launch: connection.Launch) -> None:
    pytest.importorskip("flwr")
    base = connection.folder() / launch.identity()
    with connection.connect(launch) as worker:
        worker.ask({"op": "open", **opening()})
        os.kill(launch.watch, 9)
        os.waitpid(launch.watch, 0)
        time.sleep(3)
        with pytest.raises(FedFluxError, match="exited before it replied"):
            worker.ask({"op": "open", **opening()})
    assert connection._join(base) is None
    brief = replace(launch, watch=os.getpid(), idle=0.3)
    connection.connect(brief).close()
    time.sleep(1.5)
    assert connection._join(connection.folder() / brief.identity()) is None


def test_nobody_else_reaches_a_worker(launch: connection.Launch, place: Path) -> None:
    connection.connect(launch).close()
    folder = connection.folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {f.suffix for f in files} == {".sock", ".key", ".lock"}
    assert all(f.stat().st_mode & 0o077 == 0 for f in files)
    sock = next(str(f) for f in files if f.suffix == ".sock")
    with pytest.raises(AuthenticationError, match="rejected"):
        Client(sock, family="AF_UNIX", authkey=b"guessed")
    connection.connect(launch).close()  # it still serves who knows the key
    folder.chmod(0o755)
    with pytest.raises(FedFluxError, match="alone may enter"):
        connection.folder()


def test_another_user_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedflux.flower.worker import __main__ as worker

    ours, theirs = socket.socketpair()
    assert worker._user(ours) == os.getuid()
    monkeypatch.setattr(worker, "_user", lambda _: os.getuid() + 1)
    assert worker.greeted(ours, b"key") is None
    assert theirs.recv(1) == b""  # hung up, without a word


def test_a_loader_must_be_one_that_the_worker_finds() -> None:
    pytest.importorskip("flwr")
    import fedflux.flower

    with pytest.raises(OptionError, match="top of a module"):
        fedflux.flower.client_app(lambda _: None)
    with pytest.raises(OptionError, match="unknown option"):
        fedflux.flower.client_app(test_another_user_is_turned_away, lrr=0.1)
    from fedflux.flower.worker.client import checked

    with pytest.raises(DataError, match="labels"):
        checked(([[1.0]], [-1]), settings.run_options({}), "load_data")
