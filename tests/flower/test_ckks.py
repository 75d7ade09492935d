"""CKKS in a deployment: a server and its clients, with the real encryption, in one process.

tests/flower/test_deployment.py has it in processes of their own, over Flower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._julia import deployment_calls
from fedflux.errors import FedFluxError, OptionError
from fedflux.flower import options as settings
from fedflux.flower.shares import share, test_share as held_out
from fedflux.flower.worker.client import checked, open_client
from fedflux.flower.worker.encryption import node_of, provide_parties
from fedflux.he import Client, Server, _messages, _nodes
from fedflux.he._parameters import ROOMY, Parameters

from ..conftest import Run

pytest.importorskip("tenseal", reason="tenseal is not installed")

PARAMETERS = Parameters(8192, (60, 60, 60), 90)
OPTIONS: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 3,
    "rounds": 3,
    "lr": 0.3,
    "seed": 4,
    "aggregate": ROOMY,
}
FRAME = 29  # bytes in front of every message
Change = Callable[[dict[str, Any], int, bytes], bytes | None]


@pytest.fixture(scope="module")
def key() -> bytes:
    return Client(PARAMETERS).key()


def context(client: int, options: dict[str, Any]) -> Any:
    run_config = {
        f"fedflux.{name}": ",".join(value) if isinstance(value, list) else value
        for name, value in options.items()
    }
    return SimpleNamespace(node_config={"partition-id": client - 1}, run_config=run_config)


def deployed(
    keys: list[bytes], change: Change = lambda said, k, reply: reply, **options: Any
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A run; `change` may spoil a reply, and makes it None where a client vanishes."""
    config = settings.run_options(OPTIONS | options)
    provide_parties(config)
    nodes, facts = [], []
    for k, own in enumerate(keys, 1):
        data = checked(share(context(k, OPTIONS | options)), config, "share")
        told, client = deployment_calls.client_open(config, data[:4], node_of(config, own))
        nodes.append(client)
        facts.append(told | {"client": k})
    test = checked(held_out(context(1, OPTIONS | options)), config, "held_out")
    _, server = deployment_calls.server_open(config, facts, test[:2], None)
    kept = [b""] * len(nodes)
    while True:
        said, bodies, model = deployment_calls.server_next(server)
        if said["done"] is not None:
            return deployment_calls.server_result(server)
        for k, body in zip(said["clients"], bodies, strict=True):
            try:
                _, reply, kept[k - 1], _ = deployment_calls.client_answer(
                    nodes[k - 1], body, model, kept[k - 1]
                )
            except FedFluxError as error:
                deployment_calls.server_dropped(server, k, str(error))
                continue
            changed = change(said, k, reply)
            if changed is None:
                deployment_calls.server_dropped(server, k, "its battery is empty")
            else:
                deployment_calls.server_receive(server, k, changed, [], 0)


def difference(a: list[np.ndarray], b: fedflux.Result) -> float:
    theirs = list(b.parameters.values())
    return max(float(np.abs(x - y).max()) for x, y in zip(a, theirs, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rules": ["scaffold"], "server": "fedadam(lr=0.01)"},
        {"rules": ["fednova"], "weights": "uniform", "clients_per_round": 2},
    ],
    ids=str,
)
def test_the_parameters_are_a_simulations(
    julia: None, key: bytes, options: dict[str, Any]
) -> None:
    facts, parameters = deployed([key] * 3, **options)
    encrypted = fedflux.run(**OPTIONS | options)
    plain = fedflux.run(**OPTIONS | options | {"aggregate": "mean"})
    assert 0 < difference(parameters, plain) < 1e-5
    assert difference(parameters, encrypted) < 1e-5
    update = _messages.most_bytes(PARAMETERS, 650)
    for record, theirs in zip(facts["history"], plain.history, strict=True):
        assert record["accuracy"] == theirs["accuracy"]
        assert record["clients"] == theirs["clients"]
        assert record["train_loss"] is None  # the server hears of no client's loss
        told = record["aggregation"]
        assert 0.9 * update < told["bytes_update"] < told["bytes_sum"] * 1.1 < 4 * update
        up = record["clients"] * told["bytes_update"] + 8 * 650
        assert record["bytes_up"] == pytest.approx(up, rel=0.1)
        assert record["bytes_down"] == theirs["bytes_down"] + told["bytes_sum"]
    askers = {record["aggregation"]["decrypted_by"] for record in facts["history"]}
    assert len(askers) > 1  # not always the same


def test_another_node_decrypts_where_one_fails(julia: None, key: bytes) -> None:
    whole, parameters = deployed([key] * 3)
    failed: list[int] = []

    def vanish(said: dict[str, Any], k: int, reply: bytes) -> bytes | None:
        if said["stage"] != "decrypt" or said["round"] != 2 or len(failed) == 2:
            return reply
        failed.append(k)
        return None if len(failed) == 1 else reply[:-8]

    facts, same = deployed([key] * 3, vanish)
    assert len(failed) == 2
    history = facts["history"]
    assert history[1]["clients"] == 3
    assert history[1]["aggregation"]["decrypted_by"] not in failed
    assert [who["client"] for who in history[1]["rejected"]] == failed[1:]
    assert max(np.abs(a - b).max() for a, b in zip(parameters, same, strict=True)) < 1e-5

    def nobody(said: dict[str, Any], k: int, reply: bytes) -> bytes | None:
        return None if (said["stage"], said["round"]) == ("decrypt", 2) else reply

    facts, _ = deployed([key] * 3, nobody)
    skipped = [record["skipped"] for record in facts["history"]]
    assert skipped[0] is skipped[2] is None
    assert skipped[1].startswith("no client decrypted the sum: client")
    assert "its battery is empty" in skipped[1]
    assert whole["history"][1]["skipped"] is None


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda body, key: body[:-1], "its SHA-256 differs"),
        (lambda body, key: body + bytes(10**6), "too large"),
        (lambda body, key: body[:FRAME], "it is cut off"),
        (lambda body, key: body[:FRAME] + bytes(500), "another version of fedflux"),
        (
            lambda body, key: body[:FRAME] + encrypted(649, key),
            "holds 649 values; expected 650",
        ),
        (lambda body, key: body[:FRAME] + encrypted(650), "different keys"),
    ],
)
def test_what_arrives_is_checked(
    julia: None, key: bytes, spoilt: Callable[[bytes, bytes], bytes], reason: str
) -> None:
    def change(said: dict[str, Any], k: int, reply: bytes) -> bytes:
        hit = (said["stage"], said["round"], k) == ("encrypt", 1, 2)
        return spoilt(reply, key) if hit else reply

    facts, _ = deployed([key] * 3, change, rounds=1)
    (record,) = facts["history"]
    assert [who["client"] for who in record["rejected"]] == [2]
    assert reason in record["rejected"][0]["reason"]
    assert record["clients"] == 2


def encrypted(size: int, key: bytes | None = None) -> bytes:
    return Client(PARAMETERS, key).encrypt(np.zeros(size))


def test_one_update_is_not_decrypted(julia: None, key: bytes) -> None:
    asked = []

    def change(said: dict[str, Any], k: int, reply: bytes) -> bytes | None:
        asked.append(said["stage"])
        return reply if k == 1 else None

    facts, _ = deployed([key] * 3, change, rounds=1)
    assert facts["history"][0]["skipped"] == (
        "only one update came, and its sum would show it"
    )
    assert "decrypt" not in asked


def test_a_client_decrypts_once_and_only_what_it_took_part_in(
    julia: None, key: bytes
) -> None:
    config = settings.run_options(OPTIONS)
    provide_parties(config)
    data = checked(share(context(1, OPTIONS)), config, "share")
    told, client = deployment_calls.client_open(config, data[:4], node_of(config, key))
    facts = [told | {"client": k} for k in (1, 2, 3)]
    _, server = deployment_calls.server_open(config, facts, None, None)
    _, bodies, model = deployment_calls.server_next(server)
    _, _, kept, _ = deployment_calls.client_answer(client, bodies[0], model, b"")
    total = _nodes.Node(PARAMETERS, key).encrypt(np.ones(650), 1.0, 3)
    question = bodies[0][:4] + b"\x07" + bodies[0][5:FRAME] + total
    _, answer, after, _ = deployment_calls.client_answer(client, question, [], kept)
    assert np.allclose(np.frombuffer(answer[FRAME:]), 1)
    with pytest.raises(FedFluxError, match="encrypted nothing for round 1, or has dec"):
        deployment_calls.client_answer(client, question, [], b"")
    for again in (question, bodies[0]):  # nor does it encrypt anew, to decrypt that
        with pytest.raises(FedFluxError, match="another answer to the stage"):
            deployment_calls.client_answer(client, again, model, after)
    in_the_clear = bodies[0][:4] + b"\x01" + bodies[0][5:]
    with pytest.raises(FedFluxError, match="asks for an update in the clear"):
        deployment_calls.client_answer(client, in_the_clear, model, b"")


def test_clients_need_one_key(julia: None, key: bytes) -> None:
    other = Client(PARAMETERS).key()
    with pytest.raises(FedFluxError, match=r"clients 1 and 3 have different keys .*same"):
        deployed([key, key, other])
    with pytest.raises(FedFluxError, match="for other parameters"):
        deployed([Client(Parameters()).key()])
    with pytest.raises(FedFluxError, match=r"noise hides the key .*scale_bits=90"):
        deployed([Client(Parameters()).key()] * 3, aggregate="ckks")
    with pytest.raises(
        FedFluxError, match=r"rounds is 1001; noise hides a key .* at most 1000"
    ):
        deployed([key] * 3, rounds=1001)


def test_a_key_that_only_says_that_it_is_the_same_is_found_out(key: bytes) -> None:
    honest, liar = _nodes.Node(PARAMETERS, key), Client(PARAMETERS)
    liar.key_id = bytes.fromhex(honest.key_id)
    messages = [honest.encrypt([1.0] * 9, 1, 2), liar.encrypt([1.0] * 9)]
    total = Server(PARAMETERS).add(messages)
    with pytest.raises(FedFluxError, match="encrypted with another key"):
        honest.decrypt(total, 9, 2)


def test_noise_hides_the_key_in_what_the_server_sees(key: bytes) -> None:
    """Without it, the remaining error is that of the encryption; the noise is far above."""
    node, plain = _nodes.Node(PARAMETERS, key), Client(PARAMETERS, key)
    values = np.zeros(20_000)
    message = node.encrypt(values, 1.0, 2)
    deviation = PARAMETERS.hiding_noise(20_000, 2)
    hidden = node.decrypt(message, 20_000, 2)
    assert np.std(hidden) == pytest.approx(deviation, rel=0.03)
    assert np.abs(np.mean(hidden)) < 5 * deviation / np.sqrt(20_000)
    assert np.std(plain.decrypt(message)) == pytest.approx(PARAMETERS.error, rel=0.05)
    assert deviation > 2**32 * np.linalg.norm(plain.decrypt(message))
    with pytest.raises(OptionError, match="noise hides the key"):
        Parameters().hiding_noise(100, 2)
    with pytest.raises(FedFluxError, match="holds 20000 values; expected 20001"):
        node.decrypt(message, 20_001, 2)


def test_the_keys_file(python: Run, tmp_path: Path) -> None:
    python(["-m", "fedflux", "ckks-key", "nodes.key"])
    file = tmp_path / "nodes.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert _nodes.Node(PARAMETERS, _nodes.read_key(str(file))).key_id
    again = python(["-m", "fedflux", "ckks-key", "nodes.key"], check=False)
    assert "can't write nodes.key: File exists" in again.stderr
    wrong = python(["-m", "fedflux", "ckks-key", "x", "--aggregate", "mean"], check=False)
    assert "expected ckks(...), got 'mean'" in wrong.stderr
    file.chmod(0o640)
    for given, words in (
        (str(file), "others may read"),
        (str(tmp_path / "none"), "No such file"),
        (os.devnull, "is not a key"),
        (None, "--node-config 'ckks-key="),
    ):
        options = settings.run_options(OPTIONS)
        with pytest.raises(FedFluxError, match=words):
            open_client(options, None, {"ckks-key": given}, 1)  # type: ignore[arg-type]
