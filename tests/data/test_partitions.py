"""Partitions, owners, tokens and plays, through the core."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import fedflux
from fedflux.cli.commands import main

pytestmark = pytest.mark.usefixtures("julia")


def test_partition_agrees_with_a_run(blobs: dict[str, np.ndarray]) -> None:
    split = {"partition": fedflux.LabelSkew(k=1), "clients": 3, "seed": 4}
    shown = fedflux.partition(x_train=blobs["x_train"], y_train=blobs["y_train"], **split)
    assert shown["sizes"] == [30, 30, 30]
    assert shown["labels"] == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert "3 clients, 90 samples: 30 to 30 per client" in shown["table"]
    result = fedflux.run(**blobs, **split, model="softmax_regression", rounds=1)
    assert result.holdings is not None
    assert result.holdings["labels"] == shown["labels"]


def test_owners(blobs: dict[str, np.ndarray]) -> None:
    owner = np.array(["ann", "bob", "carol", "ann"])[np.arange(90) % 4]
    result = fedflux.run(
        **blobs,
        owner=owner,
        partition="owner",
        clients_per_round=3,
        model="softmax_regression",
        rounds=2,
    )
    assert result.holdings is not None
    assert result.holdings["sizes"] == [
        (owner == name).sum() for name in ("ann", "bob", "carol")
    ]
    with pytest.raises(fedflux.FedFluxError, match="give owner"):
        fedflux.run(**blobs, partition="owner", model="softmax_regression", rounds=1)


@pytest.mark.parametrize("name", ["mnist", "fashionmnist"])
def test_mnist_from_a_folder(name: str, test_data: Path, tmp_path: Path) -> None:
    """The 10,000 real test images stand for the training images too."""
    for part in ("images-idx3", "labels-idx1"):
        file = test_data / "mnist" / f"t10k-{part}-ubyte.gz"
        if not file.exists():
            pytest.skip(f"{file} is absent")
        for split in ("t10k", "train"):
            shutil.copy(file, tmp_path / f"{split}-{part}-ubyte.gz")
    result = fedflux.run(
        dataset=name,
        data_dir=tmp_path,
        model="softmax_regression",
        clients=2,
        rounds=1,
        batch_size=100,
        lr=0.5,
    )
    assert (result.engine, result.dataset) == ("julia", name)
    assert result.accuracy is not None
    assert result.accuracy > 0.85
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no archive")
    with pytest.raises(
        fedflux.FedFluxError,
        match=f"dataset {name} is not in .*, or its files can't be read",
    ):
        fedflux.run(dataset=name, data_dir=tmp_path, rounds=1, engine="julia")
    assert len(list(tmp_path.iterdir())) == 4


def test_rounds_without_clients(blobs: dict[str, np.ndarray]) -> None:
    def run(rate: float) -> fedflux.Result:
        return fedflux.run(
            **blobs,
            sampling=fedflux.PoissonSampling(rate=rate),
            model="softmax_regression",
            rounds=20,
        )

    history = run(0.1).history
    assert {r["clients"] == 0 for r in history} == {True, False}
    assert all((r["train_loss"] is None) == (r["clients"] == 0) for r in history)
    with pytest.raises(
        fedflux.FedFluxError, match="nobody trained in any of the 20 rounds"
    ):
        run(0.0)


def test_tokens() -> None:
    x = (np.arange(10) + np.arange(40)[:, None]) % 5
    y = (x + 1) % 5
    training = {
        "clients": 4,
        "rounds": 15,
        "local_epochs": 5,
        "optimizer": "adam",
        "lr": 0.02,
    }
    result = fedflux.run(
        x_train=x, y_train=y, x_test=x, y_test=y, model="gru", hidden=[12], **training
    )
    assert result.accuracy == 1
    with pytest.raises(fedflux.DataError, match="expected tokens from 0, got -1"):
        fedflux.run(x_train=x - 1, y_train=x, model="gru")


def test_a_play(tmp_path: Path) -> None:
    speeches = [
        f"{role}:\n{line * 9}\n"
        for line in ("to be or not to be. ", "hear me speak. ")
        for role in ("Ann", "Bob", "All")
    ]
    (tmp_path / "play.txt").write_text("\n".join(speeches))
    play = {
        "dataset": f"shakespeare:{tmp_path / 'play.txt'}",
        "window": 20,
        "min_characters": 100,
    }
    result = fedflux.run(**play, partition="owner", model="lstm", hidden=[8], rounds=2)
    assert result.holdings is not None
    assert result.holdings["clients"] == 3
    assert result.accuracy is not None
    # The last fifth of each role's text is its own test data.
    assert [row["name"] for row in result.clients] == ["All", "Ann", "Bob"]
    scores = [row["accuracy"] for row in result.clients]
    weights = [row["test_samples"] for row in result.clients]
    assert np.average(scores, weights=weights) == pytest.approx(result.accuracy)
    transformer = fedflux.run(**play, partition="owner", model="transformer", rounds=2)
    first, last = (record["test_loss"] for record in transformer.history)
    assert transformer.trainer == "fast"
    assert last < first
    assert transformer.options["embedding"] == 64
    with pytest.raises(fedflux.OptionError, match="needs the Julia core"):
        fedflux.run(**play, model="transformer", engine="reference")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = "partition --dataset digits --partition 'shards(k=2)' --clients 20 --plot"
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(args), str(tmp_path / "a.png")])
    assert ended.value.code == 0
    assert "20 clients, 1437 samples" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size > 10_000
