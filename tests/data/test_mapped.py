"""Memory-mapped arrays: the numbers of the same arrays in memory, and no memory used."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._data.mapped import is_mapped, mapped
from fedflux.errors import DataError, FedFluxWarning

RUN: dict[str, Any] = {
    "model": "mlp",
    "hidden": [8],
    "rounds": 2,
    "clients": 4,
    "batch_size": 8,
    "seed": 3,
    "engine": "julia",
}
RNG = np.random.default_rng(0)
Y = np.arange(60) % 3


def images(dtype: str) -> Any:
    bright = RNG.integers(0, 200, size=(60, 2, 6, 5)) + 50 * (Y == 1)[:, None, None, None]
    return (bright if dtype == "uint8" else bright / 7).astype(dtype)


def saved(folder: Path, name: str, array: Any) -> Any:
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def test_what_is_mapped(tmp_path: Path) -> None:
    x = saved(tmp_path, "x", np.arange(24.0).reshape(4, 3, 2))
    assert is_mapped(x)
    assert is_mapped(np.asarray(x)[1:, :, ::-1].T)
    assert not is_mapped(np.array(x))
    assert not is_mapped([1])
    base, axes = mapped(np.moveaxis(x, -1, 1))
    assert (base.shape, axes) == ((4, 3, 2), (0, 2, 1))
    assert np.array_equal(base.transpose(axes), np.moveaxis(x, -1, 1))


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_the_numbers_are_those_of_arrays_in_memory(
    julia: None, dtype: str, tmp_path: Path
) -> None:
    x, owner = images(dtype), np.sort(Y + 7)
    there = saved(tmp_path, "x", x)
    y, who = saved(tmp_path, "y", Y), saved(tmp_path, "owner", owner)
    plain = fedflux.run(x_train=x, y_train=Y, x_test=x, y_test=Y, **RUN)
    same = fedflux.run(x_train=there, y_train=y, x_test=there, y_test=y, **RUN)
    assert same.params_sha256 == plain.params_sha256
    assert same.history[-1]["test_loss"] == plain.history[-1]["test_loss"]
    if dtype != "uint8":
        return
    last = saved(tmp_path, "last", np.moveaxis(x, 1, -1).copy())
    turned = fedflux.run(x_train=last, y_train=Y, layout="NHWC", **RUN)
    assert turned.params_sha256 == plain.params_sha256
    paths = {name: tmp_path / f"{name}.npy" for name in ("x", "y", "owner")}
    split: dict[str, Any] = {"partition": "owner", **RUN}
    split["normalise"] = "federated"
    owned = fedflux.run(x_train=x, y_train=Y, owner=owner, **split)
    for given in (there, paths["x"]):
        again = fedflux.run(x_train=given, y_train=paths["y"], owner=who, **split)
        assert again.params_sha256 == owned.params_sha256
    parts = [slice(0, 20), slice(20, 40), slice(40, 60)]
    apart = {"clients": [(there[p], y[p]) for p in parts]}
    joined = fedflux.run(**{**RUN, "normalise": "federated", **apart})
    assert joined.params_sha256 == owned.params_sha256


def test_what_must_be_read_whole_says_so(tmp_path: Path) -> None:
    run = RUN | {"engine": "reference", "model": "softmax_regression"}
    del run["hidden"]
    x = saved(tmp_path, "x", RNG.normal(size=(60, 4)).astype(">f4"))
    with pytest.warns(FedFluxWarning, match=r"x_train is memory-mapped.*another machine"):
        fedflux.run(x_train=x, y_train=Y, **run)
    x = saved(tmp_path, "gaps", RNG.normal(size=(120, 4)).astype("f4"))
    with pytest.warns(FedFluxWarning, match="a slice with gaps"):
        fedflux.run(x_train=x[::2], y_train=Y, **run)


def test_npy_files_that_are_none(tmp_path: Path) -> None:
    def why(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            fedflux.run(x_train=path, y_train=Y)
        return str(caught.value)

    assert "x_train: no file" in why(tmp_path / "none.npy")
    path = tmp_path / "text.npy"
    path.write_text("not numbers")
    assert re.search(r"x_train: expected an array.*text.npy.*as .npy", why(path))
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    assert "can't be read as .npy" in why(path)
    np.save(path, np.zeros(9))
    path.write_bytes(path.read_bytes().replace(b"(9,), }   ", b"(9999,), }"))
    assert "can't be read as .npy" in why(path)


MEMORY = """
import sys, threading, time
import numpy as np
import fedflux

n = 400_000
floats = np.memmap(sys.argv[1], dtype="float32", mode="r", shape=(n, 1, 30, 32))
images = np.memmap(sys.argv[1], dtype="uint8", mode="r", shape=(n, 1, 30, 128))
y = np.arange(n) % 4
clients = [(images[i : i + 400], y[i : i + 400]) for i in range(0, n, 400)]
options = dict(model="softmax_regression", clients_per_round=3, rounds=2, batch_size=32,
               engine="julia", threads=1, normalise="none")


def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def watch():
    while not done:
        peaks.append(anonymous())
        time.sleep(0.005)


def runs(samples, number):
    test = dict(x_test=floats[:50], y_test=y[:50])
    fedflux.run(x_train=floats[:samples], y_train=y[:samples], clients=number, **test,
                **options)
    fedflux.run(clients=clients[:number], **options)


runs(4000, 10)  # compiles, which takes memory too
peaks, done = [anonymous()], False
watcher = threading.Thread(target=watch)
watcher.start()
runs(n, 1000)
done = True
watcher.join()
print((max(peaks) - peaks[0]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' /proc")
def test_memory_stays_flat(julia: None, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(400_000 * 30 * 128)  # 1.5 GB, of which nothing lies on the disk
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout)
    assert grown < 300, f"{grown} MiB more, for {path.stat().st_size >> 20} MiB of samples"
