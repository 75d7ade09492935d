"""Results: repr, JSON, saving and loading, starting again from one."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fedflux
from fedflux._simulation import initial_parameters

LINEAR: dict[str, Any] = {
    "model": "mlp",
    "hidden": [5],
    "engine": "reference",
    "clients": 3,
}


@pytest.fixture
def result(blobs: dict[str, np.ndarray]) -> fedflux.Result:
    return fedflux.run(**blobs, **LINEAR, rounds=3, lr=0.3)


def test_attributes_and_repr(result: fedflux.Result) -> None:
    assert (result.engine, result.dataset, result.trainer, result.stopped) == (
        "reference",
        "arrays",
        "numpy",
        "rounds",
    )
    assert result.versions["fedflux"] == fedflux.__version__
    assert result.versions["numpy"] == np.__version__
    assert f"accuracy {result.accuracy:.4f}" in repr(result)
    assert "after 3 rounds" in repr(result)


def test_save_and_load(result: fedflux.Result, tmp_path: Path) -> None:
    path = result.save(tmp_path / "r.safetensors")
    again = fedflux.Result.load(path)
    assert again.facts() == result.facts()
    assert (
        list(again.parameters)
        == list(result.parameters)
        == [f"layers.{i}.{p}" for i in (2, 3) for p in ("weight", "bias")]
    )
    assert all(
        (again.parameters[n] == result.parameters[n]).all() for n in result.parameters
    )
    assert load_file(path)["layers.2.weight"].shape == (4, 5)  # as any other reader sees it
    assert [p.name for p in tmp_path.iterdir()] == ["r.safetensors"]


def test_load_refuses(result: fedflux.Result, tmp_path: Path) -> None:
    path = result.save(tmp_path / "r.safetensors")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(fedflux.DataError, match="damaged"):
        fedflux.Result.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(fedflux.DataError, match="not a result saved by fedflux"):
        fedflux.Result.load(path)
    save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(fedflux.DataError, match="not a result saved by fedflux"):
        fedflux.Result.load(path)
    for deep in ("[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 100_000):
        save_file({"a": np.zeros(2, np.float32)}, path, metadata={"fedflux": deep})
        with pytest.raises(fedflux.DataError, match="not a result saved by") as error:
            fedflux.Result.load(path)
        assert "\n" not in str(error.value)
    with pytest.raises(fedflux.DataError, match="no file"):
        fedflux.Result.load(tmp_path / "none")
    with pytest.raises(fedflux.FedFluxError, match="can't write"):
        result.save(tmp_path / "none" / "r.safetensors")


def test_init_from_dict_result_and_path(
    result: fedflux.Result, blobs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = result.save(tmp_path / "r.safetensors")
    shuffled = dict(sorted(result.parameters.items(), key=lambda item: item[1].size))
    common: dict[str, Any] = {**blobs, **LINEAR, "rounds": 1}
    hashes = {
        fedflux.run(**common, init=i).params_sha256
        for i in (result, path, str(path), shuffled)
    }
    assert len(hashes) == 1
    assert fedflux.run(**common).params_sha256 not in hashes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: {k: v for k, v in p.items() if k != "layers.2.bias"},
            "init: layers.2.bias missing; expected layers.2.weight, layers.2.bias,",
        ),
        (
            lambda p: p | {"layers.2.bias": np.zeros(4)},
            r"init: expected shape \(5,\) for layers.2.bias, got \(4,\)",
        ),
        (
            lambda p: p | {"layers.2.bias": np.full(5, np.nan)},
            "init: expected finite numbers for layers.2.bias, got NaN",
        ),
        (
            lambda p: p | {"layers.2.bias": ["a"] * 5},
            "init: expected numbers for layers.2.bias",
        ),
        (lambda p: list(p.values()), "init: expected arrays by name"),
    ],
)
def test_init_that_does_not_fit(
    result: fedflux.Result, blobs: dict[str, np.ndarray], change: Any, message: str
) -> None:
    with pytest.raises(fedflux.DataError, match=message):
        fedflux.run(**blobs, **LINEAR, init=change(result.parameters))


def test_frame(result: fedflux.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    frame = result.frame
    assert frame["round"].tolist() == [1, 2, 3]
    assert frame["accuracy"].iloc[-1] == result.accuracy
    assert frame["client_accuracy_q1"].iloc[0] == result.history[0]["client_accuracy"]["q1"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(fedflux.FedFluxError, match="pandas is not installed"):
        result.to_frame()


@pytest.mark.filterwarnings("ignore::fedflux.FedFluxWarning", "ignore::RuntimeWarning")
def test_a_loss_that_diverged_shows(blobs: dict[str, np.ndarray], tmp_path: Path) -> None:
    x = blobs["x_train"] * np.float32(1e3)
    result = fedflux.run(
        x_train=x, y_train=x[:, 0], x_test=x, y_test=x[:, 0], loss="mse",
        model="softmax_regression", clients=2, local_steps=1, lr=1, rounds=5,
        engine="reference",
    )  # fmt: skip
    losses = [record["test_loss"] for record in result.history]
    assert np.isfinite(losses[0])
    assert not np.isfinite(losses[-1])
    assert result.loss is losses[-1]
    again = fedflux.Result.load(result.save(tmp_path / "r.safetensors"))
    told = [again.loss, *(record["test_loss"] for record in again.history)]
    np.testing.assert_array_equal(told, [result.loss, *losses])
    text = json.dumps(result.facts(), allow_nan=False)
    assert json.loads(text)["loss"] in ("NaN", "Infinity")


def test_statistics_are_saved_and_begin_a_run(
    result: fedflux.Result, tmp_path: Path
) -> None:
    result.statistics = {"layers.9.μ": np.arange(3, dtype=np.float32)}
    path = result.save(tmp_path / "r.safetensors")
    again = fedflux.Result.load(path)
    assert list(again.statistics) == ["layers.9.μ"]
    assert again.statistics["layers.9.μ"].tolist() == [0, 1, 2]
    assert list(again.parameters) == list(result.parameters)
    assert set(initial_parameters.read(path)) == {*result.parameters, "layers.9.μ"}
    tensors = load_file(path)
    tensors["layers.9.μ"][1] = 7
    with safe_open(path, framework="numpy") as file:
        save_file(tensors, path, file.metadata())
    with pytest.raises(fedflux.DataError, match="its statistics do not have"):
        fedflux.Result.load(path)


def test_facts_are_strict_json(result: fedflux.Result) -> None:
    result.history[0]["train_loss"] = float("nan")
    facts = json.loads(json.dumps(result.facts(), allow_nan=False))
    assert {"engine", "dataset", "accuracy", "params_sha256", "seconds", "history"} <= set(
        facts
    )
    assert facts["history"][0]["train_loss"] == "NaN"


def test_the_frame_has_the_columns_of_the_core(julia: None) -> None:
    pytest.importorskip("pandas")
    from juliacall import Main as jl

    result = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=2, membership=20
    )
    rows = jl.FedFlux.history_table(result.state)
    names = jl.seval("rows -> [String(name) for name in keys(first(rows))]")(rows)
    assert [str(name) for name in names] == list(result.frame.columns)


def test_arrays_of_any_order_and_type_are_saved(tmp_path: Path) -> None:
    result = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=1, engine="reference"
    )
    for change in (np.asfortranarray, lambda a: a[::-1][::-1], lambda a: a.astype(float)):
        result.parameters = {n: change(a) for n, a in result.parameters.items()}
        loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
        for name, array in result.parameters.items():
            assert (loaded.parameters[name] == array).all()


def test_the_history_as_a_file(tmp_path: Path) -> None:
    result = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=2, engine="reference"
    )
    result.history[1]["rejected"] = [{"client": 3, "reason": 'is "large", here'}]
    file = result.save_history(tmp_path / "history.csv")
    rows = list(csv.DictReader(file.open(newline="")))
    assert [float(row["accuracy"]) for row in rows] == [
        record["accuracy"] for record in result.history
    ]
    assert rows[0]["cohort"] == " ".join(map(str, result.history[0]["cohort"]))
    assert rows[1]["rejected"] == '3 (is "large", here)'
    assert rows[0]["client_accuracy_median"]
    with pytest.raises(fedflux.OptionError, match=r"a file \.csv or \.parquet"):
        result.save_history(tmp_path / "history.txt")
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(result.save_history(tmp_path / "history.parquet"))
    assert list(frame["accuracy"]) == [record["accuracy"] for record in result.history]
