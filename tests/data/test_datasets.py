"""The named data sets of the reference engine: MNIST's files and the digits."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._data import datasets

LINEAR: dict[str, Any] = {
    "model": "softmax_regression",
    "engine": "reference",
    "rounds": 1,
    "clients": 2,
}


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with the files of a tiny MNIST."""
    folder = tmp_path / "datadeps" / "MNIST"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in zip(
        datasets.FILES, [(20, 9, 8), (20,), (10, 9, 8), (10,)], strict=True
    ):
        top = 256 if len(shape) == 3 else 3
        array = rng.integers(top, size=shape)
        if len(shape) == 1:
            array[:3] = [0, 1, 2]
        write_idx(folder / f"{name}.gz", array)
    return folder


def test_mnist_from_a_folder_or_the_cache(
    mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fedflux.run(dataset="mnist", data_dir=mnist, **LINEAR).dataset == "mnist"
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(mnist.parent.parent))
    assert datasets.find("mnist") == mnist
    name, loaded, notes = datasets.load("auto", None, "cross_entropy", 2)
    assert (name, loaded.x_train.shape, notes) == ("mnist", (20, 9, 8), [])


def test_only_auto_falls_back(tmp_path: Path) -> None:
    with pytest.warns(fedflux.FedFluxWarning, match="digits is used") as caught:
        result = fedflux.run(dataset="auto", data_dir=tmp_path, **LINEAR)
    assert caught[0].filename == __file__
    assert (result.dataset, len(result.warnings)) == ("digits", 1)
    with pytest.raises(
        fedflux.DataError, match="dataset 'fashionmnist': expected train-images-idx3-ubyte"
    ):
        fedflux.run(dataset="fashionmnist", data_dir=tmp_path, **LINEAR)


def test_damaged_idx(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mnist / f"{datasets.FILES[0]}.gz"
    good = path.read_bytes()
    for content, words in (
        (good[:-30], "can't be read"),
        (b"x" + good[1:], "can't be read"),
        (gzip.compress(b"\0\0\x0d\3" + bytes(12)), "not an IDX file of bytes"),
        (gzip.compress(gzip.decompress(good)[:-1]), "expected 1440 bytes"),
        (gzip.compress(struct.pack(">HBBIII", 0, 8, 3, 2**31, 2**31, 2**31)), "allowed"),
    ):
        path.write_bytes(content)
        with pytest.raises(fedflux.DataError, match=words):
            datasets.load("mnist", str(mnist), "cross_entropy", 1)


def test_real_mnist_files(test_data: Path) -> None:
    folder = test_data / "mnist"
    images = datasets.read_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = datasets.read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    with np.load(folder / "mnist10k.npz", allow_pickle=False) as file:
        x, y = (
            np.concatenate([file[f"{name}_train"], file[f"{name}_test"]]) for name in "xy"
        )
    assert images.shape == (10000, 28, 28)
    pairs = [
        {(image.tobytes(), int(label)) for image, label in zip(*both, strict=True)}
        for both in ((images, labels), (x, y))
    ]
    assert pairs[0] == pairs[1]  # the file holds them in another order


def test_digits_are_whole() -> None:
    data = datasets.load("digits", None, "cross_entropy", 10)[1]
    assert data.x_test is not None
    assert data.y_test is not None
    assert (data.x_train.shape, data.x_test.shape) == ((1437, 8, 8), (360, 8, 8))
    assert (
        len(np.unique(np.concatenate([data.x_train, data.x_test]), axis=0)) == 1797
    )  # no image is in both parts
    sixteenths = data.x_train / 255 * 16
    assert np.abs(sixteenths - sixteenths.round()).max() < 0.04
    counts = np.bincount(data.y_train), np.bincount(data.y_test)
    assert (counts[0] + counts[1]).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]  # as UCI lists them
    assert np.abs(counts[1] / counts[0] - 360 / 1437).max() < 0.01


def test_names_of_the_core_from_python(julia: None, tmp_path: Path) -> None:
    run: dict[str, Any] = LINEAR | {"engine": "julia", "partition": "owner", "lr": 0.01}
    del run["clients"]
    folder = str(tmp_path / "run")
    saved = fedflux.run(dataset="fcube(samples=80)", checkpoint=folder, **run)
    again = fedflux.run(resume=folder, rounds=2)
    assert (len(saved.history), len(again.history)) == (1, 2)
    assert [row["name"] for row in again.clients] == [1, 2, 3, 4]
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        users = {name: {"x": [[0.5, 1], [2, 3]], "y": [0, 1]} for name in ("ann", "bo")}
        content = {"users": ["ann", "bo"], "num_samples": [2, 2], "user_data": users}
        (tmp_path / part / "all.json").write_text(json.dumps(content))
    leaf = fedflux.run(dataset=f"leaf:{tmp_path}", **run)
    assert [row["name"] for row in leaf.clients] == ["ann", "bo"]
    assert [row["test_samples"] for row in leaf.clients] == [2, 2]
    split = fedflux.partition(dataset=f"leaf:{tmp_path}", partition="owner")
    assert split["sizes"] == [2, 2]
    with pytest.raises(fedflux.OptionError, match="dataset fcube needs the Julia core"):
        fedflux.run(dataset="fcube", **LINEAR)
