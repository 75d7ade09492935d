"""Data from the user and from files: what is accepted, and the errors for the rest."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._data import contract, npz
from fedflux._data.arrays import from_arrays
from fedflux._data.npz import from_npz

X = np.zeros((6, 4), np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])
LINEAR: dict[str, Any] = {
    "model": "softmax_regression",
    "engine": "reference",
    "rounds": 1,
    "clients": 2,
}


def with_nan() -> np.ndarray:
    x = X.copy()
    x[2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X}, "y_train is missing"),
        ({"y_train": Y}, "x_train is missing"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "y_test is missing"),
        (
            {"x_train": X, "y_train": Y[:5]},
            "y_train: expected 6 targets, one for each sample of x_train, got 5",
        ),
        (
            {"x_train": X[:, :, None, None, None], "y_train": Y},
            "x_train: expected shape (n, features),",
        ),
        ({"x_train": X[0], "y_train": Y}, "got (4,)"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "x_train: expected at least one sample"),
        (
            {"x_train": X.astype("int64"), "y_train": Y},
            "x_train: expected uint8 (images, scaled to 0..1) or floats, got int64",
        ),
        ({"x_train": X.astype("complex64"), "y_train": Y}, "got complex64"),
        (
            {"x_train": [[0.5, None]] * 6, "y_train": Y},
            "x_train: expected numbers, got an array of Python objects, with a missing "
            "value at [0, 1]",
        ),
        (
            {"x_train": [[1.0], [1.0, 2.0]], "y_train": Y},
            "x_train: can't be converted to an array",
        ),
        (
            {"x_train": with_nan(), "y_train": Y},
            "x_train: expected finite numbers, got nan at [2, 1] (1 in all)",
        ),
        (
            {"x_train": X.astype(float) + 1e300, "y_train": Y},
            "x_train: expected finite numbers, got inf at [0, 0] (24 in all)",
        ),
        (
            {"x_train": X, "y_train": Y, "owner": ["a", "b"]},
            "owner: expected one for each of the 6 training samples, got shape (2,)",
        ),
        (
            {"x_train": X, "y_train": Y + 0.5},
            "y_train: expected integer labels from 0, got float64",
        ),
        (
            {"x_train": X, "y_train": Y[:, None]},
            "y_train: expected integer labels of shape (n,), got (6, 1)",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
            "y_test: label 3 is outside the classes 0..2",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y},
            "x_test: expected samples of shape (4,) as in x_train, got (3,)",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X.astype("uint8"), "y_test": Y},
            "x_test: expected float32 as in x_train",
        ),
        (
            {"x_train": X, "y_train": Y, "clients": 7},
            "clients=7 is more than the 6 training samples",
        ),
        (
            {"x_train": X, "y_train": Y, "loss": "binary_cross_entropy"},
            "expected two classes for binary_cross_entropy, got 3: 0, 1, 2",
        ),
        (
            {"x_train": X, "y_train": ["a"] * 6, "loss": "mse"},
            "y_train: expected numbers, got str",
        ),
        (
            {"x_train": X, "y_train": Y, "dataset": "mnist"},
            "dataset='mnist' and arrays were both given",
        ),
        (
            {"x_train": X, "y_train": Y, "patience": 3},
            "patience: expected test data to measure it on",
        ),
        (
            {"x_train": X, "y_train": Y, "model": "lenet"},
            "model lenet, layer 1, Conv: expected images",
        ),
        (
            {"dataset": "mist"},
            "synthetic(…), fcube(…) or the path of an .npz file, got 'mist'",
        ),
        ({"dataset": "none.npz"}, "dataset: no file 'none.npz'"),
    ],
)
def test_errors(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(fedflux.FedFluxError) as error:
        fedflux.run(**(LINEAR | {"engine": "auto"} | arrays))  # before any engine is chosen
    assert message in str(error.value)


def test_accepted_arrays() -> None:
    lists = from_arrays(X.tolist(), Y.tolist(), None, None, loss="cross_entropy", clients=1)
    assert (lists.x_train.dtype, lists.y_train.dtype) == (np.float64, np.int64)
    fortran = from_arrays(
        np.asfortranarray(X.astype("float16")),
        Y.astype("uint8"),
        None,
        None,
        loss="cross_entropy",
        clients=1,
    )
    assert fortran.x_train.flags.c_contiguous
    bits = from_arrays(
        X.astype("uint8"), Y == 1, None, None, loss="binary_cross_entropy", clients=1
    )
    assert bits.x_train.dtype == np.uint8
    assert bits.y_train.tolist() == [0, 1, 0, 0, 1, 0]
    many = from_arrays(X, X[:, :2], None, None, loss="mse", clients=1)
    assert many.y_train.shape == (6, 2)


def test_channels_last_issues_a_warning() -> None:
    with pytest.warns(fedflux.FedFluxWarning, match="np.moveaxis") as caught:
        from_arrays(
            np.zeros((6, 8, 8, 3), np.uint8), Y, None, None, loss="cross_entropy", clients=1
        )
    assert caught[0].filename == __file__  # not a file of the package


def test_eight_bit_images_are_scaled_and_normalised() -> None:
    def scale(x: np.ndarray, mean: Any = None, std: Any = None) -> np.ndarray:
        return contract.scaled({"mean": mean, "std": std}, x)

    x = np.array([[0, 51, 255]], np.uint8)
    assert scale(x)[0].tolist() == pytest.approx([0, 0.2, 1])
    assert scale(x, 0.5, 2.0)[0].tolist() == pytest.approx([-0.25, -0.15, 0.25])
    assert scale(x.astype(np.float32)).tolist() == [[0, 51, 255]]


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X, y_test=Y)
    result = fedflux.run(dataset=path, **LINEAR)
    assert result.dataset == "d.npz"
    np.savez(path, x_train=X, y_test=Y)
    with pytest.raises(
        fedflux.DataError, match=r"no array 'y_train', only x_train, y_test"
    ):
        fedflux.run(dataset=path, **LINEAR)
    np.savez(path, x_train=X, y_train=Y, x_test=X)
    with pytest.raises(fedflux.DataError, match=r"d\.npz: y_test is missing"):
        fedflux.run(dataset=path, **LINEAR)


def test_npz_never_unpickles(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x_train=np.array([{}] * 6, dtype=object), y_train=Y)
    with pytest.raises(fedflux.DataError, match="Python objects, which could run code"):
        from_npz(str(path), "cross_entropy", 1)


def test_npz_damaged_or_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(fedflux.DataError, match=r"not a readable \.npz file"):
        from_npz(str(path), "cross_entropy", 1)
    np.savez(path, x_train=X, y_train=Y)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(fedflux.DataError, match=r"not a readable \.npz file"):
        from_npz(str(path), "cross_entropy", 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"garbage")
        archive.writestr("y_train.npy", b"garbage")
    with pytest.raises(fedflux.DataError, match="can't read x_train"):
        from_npz(str(path), "cross_entropy", 1)
    np.savez(path, x_train=X, y_train=Y)
    monkeypatch.setattr(npz, "MAX_BYTES", 100)
    with pytest.raises(fedflux.DataError, match="more than the 100 allowed"):
        from_npz(str(path), "cross_entropy", 1)


def test_npz_takes_no_memory_that_it_only_announces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.npz"
    for shape in ((10**11,), (10**6, 10**6), (7, 4)):
        text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
        head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train.npy", head + bytes(96))
            archive.writestr("y_train.npy", head + bytes(96))
        with pytest.raises(fedflux.DataError, match=r"x_train.* bytes, and shape .* needs"):
            from_npz(str(path), "cross_entropy", 1)
    monkeypatch.setattr(
        npz, "LARGE", 2**20
    )  # the file unpacks to a thousand times its size
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in npz.NAMES[:2]:
            archive.writestr(f"{name}.npy", bytes(2**25))
    assert path.stat().st_size < 10**5
    with pytest.raises(fedflux.DataError, match=r"unpacks to 67108864 bytes, more than"):
        from_npz(str(path), "cross_entropy", 1)


def test_owners_may_have_names(tmp_path: Path) -> None:
    named = from_arrays(
        X, Y, None, None, ["b", "a", "b", "c", "c", "c"], loss="cross_entropy", clients=1
    )
    assert named.owner is not None
    assert named.owner.tolist() == [1, 0, 1, 2, 2, 2]
    path = tmp_path / "owned.npz"
    np.savez(path, x_train=X, y_train=Y, owner_train=np.array([7, 7, 3, 3, 3, 9]))
    read = from_npz(str(path), "cross_entropy", 1).owner
    assert read is not None
    assert read.tolist() == [1, 1, 0, 0, 0, 2]


TOKENS = np.arange(12).reshape(4, 3) % 5


@pytest.mark.parametrize("token", [2**63, 2**63 - 1, 2**62, 10**6])
def test_tokens_that_no_model_could_hold(token: int) -> None:
    x = TOKENS.astype(np.uint64)
    x[1, 2] = token
    with pytest.raises(
        fedflux.DataError, match=f"x_train: expected tokens below 1000000, got {token}"
    ):
        fedflux.run(x_train=x, y_train=TOKENS, model="lstm", clients=1)


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_a_recurrent_model_needs_a_label_for_each_token(shape: tuple[int, ...]) -> None:
    y = np.zeros(shape, np.int64)
    for part in ("train", "test"):
        arrays = {"x_train": TOKENS, "y_train": TOKENS} | (
            {"y_train": y} if part == "train" else {"x_test": TOKENS, "y_test": y}
        )
        with pytest.raises(fedflux.DataError) as error:
            fedflux.run(**arrays, model="gru", clients=1)
        assert f"y_{part}: expected " in str(error.value)
        assert "(4, 3)" in str(error.value) or "(3,)" in str(error.value)
