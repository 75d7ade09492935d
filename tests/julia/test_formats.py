"""MLDatasets' readers on files of the real formats, which the tests write."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fedflux._julia.project import find_julia

from ..conftest import ROOT

READ = """
using Pkg
Pkg.activate(mktempdir(); io = devnull)
try
    Pkg.offline()
    Pkg.add("MLDatasets"; io = devnull)
catch
    println("absent")
    exit()
end
include(ARGS[1])
for (name, part) in (("cifar10", ""), ("cifar100", ""), ("svhn", ""), ("emnist", "letters"))
    x, y, xtest, ytest = ReadMLDatasets.read_arrays(name, part, ARGS[2])
    bright = [collect(Tuple(i)) for i in findall(==(200), x)]
    println([[size(x)...], [size(xtest)[end]], Int.(y[1:3]), Int.(ytest[1:3]),
        [Int(eltype(x) == UInt8)], bright...])
end
"""


def sparse(path: Path, n: int, *first: bytes) -> None:
    """Write records that are zeros after the first ones, which takes no disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(b"".join(first))
        file.truncate(n * len(first[0]))


def photograph(*labels: int) -> bytes:
    """A record of CIFAR's, with one bright value: green, in row 3 and column 7."""
    image = np.zeros((3, 32, 32), np.uint8)
    image[1, 3, 7] = 200
    return bytes(labels) + image.tobytes()


def write_files(folder: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed")
    batches = folder / "cifar-10-batches-bin"
    for k in range(1, 6):
        sparse(batches / f"data_batch_{k}.bin", 10_000, photograph(k))
    sparse(batches / "test_batch.bin", 10_000, photograph(9))
    binary = folder / "cifar-100-binary"
    sparse(binary / "train.bin", 50_000, photograph(7, 77))  # a coarse and a fine label
    sparse(binary / "test.bin", 10_000, photograph(8, 88))
    for kind in ("fine", "coarse"):
        (binary / f"{kind}_label_names.txt").write_text("a\nb\n")
    x = np.zeros((32, 32, 3, 3), np.uint8)  # rows, columns, colors, images
    x[3, 7, 1, 0] = 200
    labels = np.array([[10], [1], [9]], np.uint8)  # 10 stands for the digit 0
    for part in ("train", "test"):
        scipy_io.savemat(folder / f"{part}_32x32.mat", {"X": x, "y": labels})
    letters = np.zeros((3, 28, 28), np.uint8)
    letters[0, 3, 7] = 200
    rows = letters.transpose(0, 2, 1).reshape(3, 784)  # each image column by column
    part = {"images": rows, "labels": np.array([[1.0], [26], [3]])}
    (folder / "matlab").mkdir()
    scipy_io.savemat(
        folder / "matlab" / "emnist-letters.mat",
        {"dataset": {"train": part, "test": part}},
        do_compression=True,
    )


def test_photographs_and_characters(julia: None, tmp_path: Path) -> None:
    write_files(tmp_path)
    reader = ROOT / "julia" / "FedFlux" / "ext" / "read_mldatasets.jl"
    exe, _ = find_julia()
    command = [str(exe), "--startup-file=no", "-O1", "-e", READ, str(reader), str(tmp_path)]
    env = {n: v for n, v in os.environ.items() if n != "JULIA_LOAD_PATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    if "absent" in done.stdout:
        pytest.skip("MLDatasets.jl is not on this machine")
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert [facts[4] for facts in read] == [[1]] * 4  # bytes
    sizes, tests, y, y_test = zip(*(facts[:4] for facts in read), strict=True)
    photos = [[32, 32, 3, n] for n in (50_000, 50_000, 3)]
    assert list(sizes) == [*photos, [28, 28, 3]]
    assert list(tests) == [[10_000], [10_000], [3], [3]]
    assert [labels[0] for labels in y[:2]] == [1, 77]  # the fine label
    assert [labels[0] for labels in y_test[:2]] == [9, 88]
    assert [*y[2:]] == [*y_test[2:]] == [[0, 1, 9], [1, 26, 3]]
    # width, height, color, image, from 1
    bright = [facts[5:] for facts in read]
    assert bright[0] == [[8, 4, 2, 10_000 * k + 1] for k in range(5)]
    assert bright[1:] == [[[8, 4, 2, 1]], [[8, 4, 2, 1]], [[8, 4, 1]]]
