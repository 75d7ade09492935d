"""What a result tells of each client, against figures computed in NumPy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._reference import training as reference
from fedflux._reference.random_streams import Stream, stream
from fedflux.cli.commands import main

Blobs = dict[str, np.ndarray]
LINEAR: dict[str, Any] = {"model": "softmax_regression", "rounds": 2, "lr": 0.3}
PURPOSE = 15  # docs/random-streams.md: samples kept for tests


def split(share: float, clients: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Split 90 samples among clients, and those of each for training and for test."""
    train, test = [], []
    for k, part in enumerate(reference.iid(90, clients, 0), 1):
        drawn = part.copy()
        stream(0, PURPOSE, 0, k).shuffle(drawn)
        held = set(drawn[: round(share * len(part))].tolist())
        train.append(np.array([i for i in part if i not in held]))
        test.append(np.array(sorted(held)))
    return train, test


def figures(parameters: Blobs, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The loss and the accuracy of a linear model."""
    w, b = parameters["layers.2.weight"], parameters["layers.2.bias"]
    z = x.astype(float) @ w + b
    log_p = z - z.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), (z.argmax(axis=1) == y).mean()


@pytest.mark.parametrize("engine", ["reference", "julia"])
def test_each_client(
    engine: str, blobs: Blobs, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    own: dict[str, Any] = {"clients": 3, "client_test": 0.2, "engine": engine}
    result = fedflux.run(**blobs, **LINEAR, **own, clients_per_round=2)
    train, test = split(0.2)
    x, y = blobs["x_train"], blobs["y_train"]
    for k, row in enumerate(result.clients):
        assert (row["client"], row["name"]) == (k + 1, k + 1)
        assert (row["samples"], row["test_samples"]) == (len(train[k]), len(test[k]))
        loss, accuracy = figures(result.parameters, x[test[k]], y[test[k]])
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["accuracy"] == pytest.approx(accuracy)
        assert row["rounds"] == sum(k + 1 in r["cohort"] for r in result.history)
        assert row["personal_loss"] is row["personal_accuracy"] is None
    assert len(result.clients) == 3
    assert json.loads(json.dumps(result.facts()))["clients"] == result.clients
    loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
    assert loaded.clients == result.clients
    # What is kept for tests never trains.
    held = np.concatenate(test)
    x, y = x.copy(), y.copy()
    x[held], y[held] = 50, 2
    poisoned = fedflux.run(
        **blobs | {"x_train": x, "y_train": y}, **LINEAR, **own, clients_per_round=2
    )
    assert poisoned.params_sha256 == result.params_sha256
    with pytest.raises(fedflux.OptionError, match="no rule of this run makes personal"):
        result.personal(1)


def test_without_test_data_of_their_own(blobs: Blobs) -> None:
    result = fedflux.run(**blobs, **LINEAR, clients=4, engine="reference")
    assert [row["samples"] for row in result.clients] == [23, 23, 22, 22]
    assert {(r["test_samples"], r["loss"], r["rounds"]) for r in result.clients} == {
        (0, None, 2)
    }
    for wrong in (0.0, 0.95, -1):
        with pytest.raises(fedflux.OptionError, match="client_test: expected"):
            fedflux.run(**blobs, client_test=wrong)


def test_numbers_have_no_accuracy(blobs: Blobs) -> None:
    x, own = blobs["x_train"], split(0.2)[1][1]
    result = fedflux.run(
        x_train=x,
        y_train=x[:, 0],
        **LINEAR,
        loss="mse",
        clients=3,
        client_test=0.2,
        engine="reference",
    )
    row = result.clients[1]
    error = result.predict(x[own]) - x[own, 0]
    assert row["loss"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert row["accuracy"] is None


@pytest.mark.filterwarnings("ignore:owner_test")
def test_owners_of_test_samples(blobs: Blobs, julia: None, tmp_path: Path) -> None:
    owner = np.array(["carol", "ann", "bob"])[np.arange(90) % 3]
    owner_test = np.array(["ann"] * 10 + ["carol"] * 15 + ["zed"] * 5)
    owned: dict[str, Any] = {"owner": owner, "owner_test": owner_test}
    with pytest.warns(fedflux.FedFluxWarning, match="5 test samples have owners without"):
        result = fedflux.run(**blobs, **owned, **LINEAR, partition="owner")
    assert [row["name"] for row in result.clients] == ["ann", "bob", "carol"]
    assert [row["test_samples"] for row in result.clients] == [10, 0, 15]
    x, y = blobs["x_test"][10:25], blobs["y_test"][10:25]
    loss, accuracy = figures(result.parameters, x, y)
    assert result.clients[2]["loss"] == pytest.approx(loss, rel=1e-5)
    assert result.clients[2]["accuracy"] == pytest.approx(accuracy)
    # A file has the same, and the command line shows it.
    path = tmp_path / "owned.npz"
    np.savez(path, **blobs, owner_train=owner, owner_test=owner_test)
    facts = tmp_path / "facts.json"
    options = "--partition owner --model softmax_regression --rounds 2 --lr 0.3"
    command = f"run --dataset {path} {options} --json {facts} --quiet"
    with pytest.raises(SystemExit):
        main(command.split())
    assert json.loads(facts.read_text())["clients"] == result.clients


def test_owners_that_do_not_fit(blobs: Blobs, julia: None) -> None:
    owner, tested = np.arange(90) % 3, np.arange(30) % 3
    with pytest.raises(fedflux.DataError, match="owner is missing: owner_test needs"):
        fedflux.run(**blobs, owner_test=tested)
    with pytest.raises(fedflux.DataError, match="each of the 30 test samples, got shape"):
        fedflux.run(**blobs, owner=owner, owner_test=tested[:4])
    own: dict[str, Any] = {"owner": owner, "partition": "owner"}
    with pytest.raises(fedflux.FedFluxError, match="has no owner of a training sample"):
        fedflux.run(**blobs, **own, **LINEAR, owner_test=tested + 7)
    with pytest.raises(fedflux.FedFluxError, match="expected one of the two"):
        fedflux.run(**blobs, **own, **LINEAR, owner_test=tested, client_test=0.1)
    with pytest.warns(fedflux.FedFluxWarning) as warned:
        fedflux.run(**blobs, owner=owner, owner_test=tested, **LINEAR)
    assert [str(w.message).split()[0] for w in warned] == ["owner", "owner_test"]


@pytest.mark.parametrize("rule", ["ditto(lam=0.5)", "fedper(arrays=[layers.2.bias])"])
def test_personal_models(rule: str, blobs: Blobs, julia: None, tmp_path: Path) -> None:
    names = np.array(["carol", "ann", "bob"])[np.arange(90) % 3]
    owned: dict[str, Any] = {"owner": names, "owner_test": names[:30], "rules": rule}
    result = fedflux.run(**blobs, **owned, **LINEAR, partition="owner")
    own = names[:30] == "carol"
    x, y = blobs["x_test"][own], blobs["y_test"][own]
    model = result.personal("carol")
    loss, accuracy = figures(model.parameters, x, y)
    row = result.clients[2]
    assert row["personal_loss"] == pytest.approx(loss, rel=1e-5)
    assert row["personal_accuracy"] == pytest.approx(accuracy)
    assert model.score(x, y) == pytest.approx(accuracy)
    assert row["personal_loss"] != row["loss"]
    shared = "layers.2.weight"
    same = (model.parameters[shared] == result.parameters[shared]).all()
    assert same == rule.startswith("fedper")
    assert (result.personal(3).parameters[shared] == model.parameters[shared]).all()
    # The core's model is the same, and a run can begin with it.
    out = model.model(x.T)
    assert (np.asarray(out).argmax(axis=0) == model.predict(x)).all()
    begun = fedflux.run(**blobs, **LINEAR | {"lr": 1e-20}, init=model, clients=2)
    assert (begun.parameters[shared] == model.parameters[shared]).all()
    with pytest.raises(fedflux.OptionError, match=r"no client .zed. .*a name"):
        result.personal("zed")
    loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
    with pytest.raises(fedflux.FedFluxError, match="loaded or copied"):
        loaded.personal("carol")


def test_the_same_with_workers_and_after_a_resume(blobs: Blobs, julia: None) -> None:
    options: dict[str, Any] = {"clients": 3, "client_test": 0.3, "rules": "ditto"}
    whole = fedflux.run(**blobs, **LINEAR, **options)
    half = fedflux.run(**blobs, **LINEAR | {"rounds": 1}, **options)
    resumed = fedflux.run(**blobs, resume=half, rounds=2)
    apart = fedflux.run(**blobs, **LINEAR, **options, workers=1)
    for other in (resumed, apart):
        assert other.clients == whole.clients
        mine, theirs = (r.personal(2).parameters for r in (whole, other))
        assert all((mine[name] == theirs[name]).all() for name in mine)


def test_the_engines_draw_alike(blobs: Blobs, julia: None) -> None:
    options: dict[str, Any] = {"clients": 4, "client_test": 0.15, "seed": 5}
    rows = [
        fedflux.run(**blobs, **LINEAR, **options, engine=engine).clients
        for engine in ("julia", "reference")
    ]
    for a, b in zip(*rows, strict=True):
        assert a == b | {"loss": pytest.approx(b["loss"], rel=1e-4)}


def test_the_stream_of_the_split() -> None:
    """The key as docs/random-streams.md defines it, written out."""
    mask = (1 << 64) - 1

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    h = 0
    for part in (7, PURPOSE, 0, 3):
        h = mix(((h ^ part) + 0x9E3779B97F4A7C15) & mask)
    assert Stream(h).draw(2).tolist() == stream(7, PURPOSE, 0, 3).draw(2).tolist()
