"""Data as people have it: labels of any type, clients' own arrays, tables, tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedflux
from fedflux._data import tables
from fedflux._data.by_client import alone_with_labels, joined
from fedflux._data.parts import Parts

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (RNG.normal(size=(60, 4)) + 3 * np.eye(3, 4)[Y]).astype(np.float32)
NAMES = np.array(["no", "maybe", "yes"])
RUN: dict[str, Any] = {
    "model": "softmax_regression",
    "rounds": 2,
    "lr": 0.5,
    "clients": 3,
    "engine": "reference",
}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.sort(NAMES)[Y], ["maybe", "no", "yes"]),
        (np.sort(NAMES)[Y].astype(object), ["maybe", "no", "yes"]),
        (pd.Series(np.sort(NAMES)[Y], dtype="category"), ["maybe", "no", "yes"]),
        (Y + 1, [1, 2, 3]),
        (np.array([-5, 7, 9 * 10**8])[Y], [-5, 7, 9 * 10**8]),
    ],
)
def test_labels_are_numbered_and_given_back(
    labels: Any, classes: list[Any], tmp_path: Path
) -> None:
    plain = fedflux.run(x_train=X, y_train=Y, x_test=X, y_test=Y, **RUN)
    result = fedflux.run(x_train=X, y_train=labels, x_test=X, y_test=labels, **RUN)
    assert result.params_sha256 == plain.params_sha256  # the same run, bit for bit
    assert (plain.classes, result.classes) == ([0, 1, 2], classes)
    expected = [classes[i] for i in plain.predict(X)]
    assert result.predict(X).tolist() == expected
    loaded = fedflux.Result.load(result.save(tmp_path / "r.safetensors"))
    assert (loaded.classes, loaded.predict(X).tolist()) == (classes, expected)
    given = np.asarray(labels)
    assert loaded.score(X, given) == plain.score(X, Y) == pytest.approx(plain.accuracy)
    assert result.score(X, given, metric=lambda y, p: (y[0], p[0])) == (
        given[0],
        expected[0],
    )


def test_booleans_and_two_texts_for_the_binary_loss() -> None:
    result = fedflux.run(x_train=X, y_train=Y > 0, **RUN)
    assert result.classes == [False, True]
    assert result.predict(X).dtype == bool
    two = fedflux.run(
        x_train=X, y_train=NAMES[Y % 2], **RUN | {"loss": "binary_cross_entropy"}
    )
    assert two.classes == ["maybe", "no"]
    assert set(two.predict(X)) <= {"maybe", "no"}


def test_integers_keep_their_numbers_where_the_test_data_has_the_rest() -> None:
    few, rest = 2 * (Y > 0), Y  # 0 and 2; all three
    result = fedflux.run(x_train=X, y_train=few, x_test=X, y_test=rest, **RUN)
    assert "classes" not in result.details


def test_clients_bring_their_own_data(julia: None) -> None:
    cuts = {"b": slice(0, 10), "a": slice(10, 30), "c": slice(30, 60)}
    core = {k: v for k, v in RUN.items() if k != "clients"} | {"engine": "julia"}
    owner = np.repeat([0, 1, 2], [10, 20, 30])
    whole = fedflux.run(
        x_train=X, y_train=Y, x_test=X, y_test=Y, owner=owner, partition="owner", **core
    )
    parts = {k: (X[s], NAMES[Y[s]], X[s], NAMES[Y[s]]) for k, s in cuts.items()}
    result = fedflux.run(clients=parts, **core)
    assert [(r["name"], r["samples"], r["test_samples"]) for r in result.clients] == [
        ("b", 10, 10),
        ("a", 20, 20),
        ("c", 30, 30),
    ]
    assert result.classes == ["maybe", "no", "yes"]
    numbered = {k: (X[s], Y[s], X[s], Y[s]) for k, s in cuts.items()}
    same = fedflux.run(clients=numbered, **core)
    assert same.params_sha256 == whole.params_sha256
    split = fedflux.partition(x_train=X, y_train=NAMES[Y], clients=2)
    assert split["classes"] == ["maybe", "no", "yes"]
    assert "maybe" in split["table"].splitlines()[0]


def test_clients_data_is_not_copied() -> None:
    parts = [(X[:30], Y[:30]), (X[30:], Y[30:])]
    given, names = joined(parts)
    assert isinstance(given.x_train, Parts)
    assert all(np.shares_memory(a, X) for a in given.x_train)
    assert names == [1, 2]
    alone = alone_with_labels(
        np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 1]), "ab", ["x", "y", "Y"]
    )
    assert list(alone) == [
        "clients: client 'b' alone has the label 'Y', of 3 labels that there are"
    ]


def test_tables_and_files_by_the_names_of_columns(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=list("abcd"))
    table["diagnosis"] = NAMES[Y]
    table["hospital"] = "h"
    path = tmp_path / "train.csv"
    table.to_csv(path, index=False)
    named = {"y_train": "diagnosis", "owner": "hospital"}
    with pytest.warns(fedflux.FedFluxWarning, match="owner has no effect"):
        whole = fedflux.run(x_train=table, x_test=table, **named, **RUN)
    arrays = fedflux.run(x_train=X, y_train=NAMES[Y], x_test=X, y_test=NAMES[Y], **RUN)
    assert whole.params_sha256 == arrays.params_sha256
    assert whole.accuracy == arrays.accuracy
    with pytest.warns(fedflux.FedFluxWarning, match="owner has no effect"):
        read = fedflux.run(x_train=path, **named, **RUN)
    assert read.classes == ["maybe", "no", "yes"]
    hint = r"column 'hospital' holds texts, such as 'h'; .*get_dummies"
    with pytest.raises(fedflux.DataError, match=hint):
        fedflux.run(x_train=table, y_train="diagnosis", **RUN)
    table["hospital"] = pd.Categorical(["g", "h"] * 30)
    with pytest.raises(fedflux.DataError, match="'hospital' holds categories, such as 'g'"):
        fedflux.run(x_train=table, y_train="diagnosis", **RUN)
    table["hospital"] = [np.nan, *range(59)]
    with pytest.raises(fedflux.DataError, match="has 1 missing values; fill them"):
        fedflux.run(x_train=table, y_train="diagnosis", **RUN)
    with pytest.raises(fedflux.DataError, match=r"no file .*none.csv"):
        fedflux.run(x_train=tmp_path / "none.csv", y_train="diagnosis", **RUN)


def test_parquet_is_the_csv_of_the_same_table(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=list("abcd"))
    table["n"] = np.arange(60, dtype=np.int64) % 5
    table["diagnosis"] = pd.Categorical(NAMES[Y])
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    read = [
        fedflux.run(x_train=tmp_path / f"t.{kind}", y_train="diagnosis", **RUN)
        for kind in ("csv", "parquet")
    ]
    assert read[0].params_sha256 == read[1].params_sha256
    assert read[1].classes == ["maybe", "no", "yes"]
    given = fedflux.run(x_train=table, y_train="diagnosis", **RUN)
    assert given.params_sha256 == read[1].params_sha256


def test_parquet_files_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def why(path: Path) -> str:
        with pytest.raises(fedflux.DataError) as caught:
            fedflux.run(x_train=path, y_train="b", **RUN)
        return str(caught.value)

    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    assert "x_train: t.parquet can't be read" in why(path)
    pd.DataFrame({"a": [1.0]}).to_parquet(path)
    assert "x_train has no column 'b'; its columns are 'a'" in why(path)
    small = pd.DataFrame({"a": np.zeros(10**6), "b": np.zeros(10**6, int)})
    small.to_parquet(path)
    assert path.stat().st_size < 10**5  # equal values take nearly nothing
    monkeypatch.setattr(tables, "MOST_UNPACKED", 15 * 10**6)
    assert "holds 1,000,000 rows of 2 columns, 16,000,000 bytes in memory" in why(path)


def test_channels_last() -> None:
    images = RNG.random((60, 8, 6, 3)).astype(np.float32)
    first = fedflux.run(x_train=np.moveaxis(images, -1, 1), y_train=Y, **RUN)
    last = fedflux.run(x_train=images, y_train=Y, layout="NHWC", **RUN)
    assert last.params_sha256 == first.params_sha256
    assert (last.predict(images) == first.predict(np.moveaxis(images, -1, 1).copy())).all()
    with pytest.raises(fedflux.OptionError, match="layout: expected NCHW or NHWC"):
        fedflux.run(x_train=images, y_train=Y, layout="CHW", **RUN)


class Tensor:
    """What a torch tensor that needs a gradient offers."""

    requires_grad = True

    def __init__(self, array: Any) -> None:
        self.array = array

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> Any:
        return self.array


class Pairs:
    """What a torch data set offers."""

    def __init__(self, n: int = 60) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return Tensor(X[i]), int(Y[i])


def test_tensors_and_data_sets() -> None:
    arrays = fedflux.run(x_train=X, y_train=Y, **RUN)
    tensors = fedflux.run(x_train=Tensor(X), y_train=Tensor(Y), **RUN)
    pairs = fedflux.run(x_train=Pairs(), **RUN)
    assert arrays.params_sha256 == tensors.params_sha256 == pairs.params_sha256
    assert (pairs.predict(Tensor(X)) == arrays.predict(X)).all()
    with pytest.raises(fedflux.DataError, match="has its own targets: leave y_train out"):
        fedflux.run(x_train=Pairs(), y_train=Y, **RUN)
    with pytest.raises(fedflux.DataError, match="an empty data set"):
        fedflux.run(x_train=Pairs(0), **RUN)
