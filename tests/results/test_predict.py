"""A result's predictions and scores, with and without Julia, and of a loaded result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._data.datasets import load
from fedflux._results import metrics

Blobs = dict[str, np.ndarray]
DIGITS = load("digits", None, "cross_entropy", 1)[1]
assert DIGITS.x_test is not None
assert DIGITS.y_test is not None
X, Y = DIGITS.x_test, DIGITS.y_test


def test_metrics_beside_published_values() -> None:
    """The examples in scikit-learn's documentation of the same functions."""
    y, out = np.array([3, -0.5, 2, 7]), np.array([2.5, 0.0, 2, 8])
    assert metrics.measure("r2", y, out, None) == pytest.approx(0.9486081370449679)
    assert metrics.measure("mae", y, out, None) == 0.5
    assert metrics.measure("mse", y, out, None) == 0.375
    true, predicted = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 2, 1, 0, 0, 1])
    uniform = np.full((6, 3), 1 / 3)
    assert metrics.measure("f1", true, predicted, uniform) == pytest.approx(0.2666666667)
    assert metrics.measure("perplexity", true, predicted, uniform) == pytest.approx(3)
    assert metrics.measure("auc", true, predicted, uniform) == 0.5
    two = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    truth = np.array([0, 0, 1, 1])
    assert metrics.measure("auc", truth, truth, two) == 0.75


def test_wrong_metrics() -> None:
    y = np.array([0, 1])
    with pytest.raises(fedflux.OptionError, match="expected one of accuracy, f1"):
        metrics.measure("f2", y, y, None)
    with pytest.raises(fedflux.OptionError, match="expected one of r2, mae, mse, got 'f1'"):
        metrics.measure("f1", y, y, None)
    with pytest.raises(fedflux.DataError, match=r"y: expected shape \(1,\), got \(2,\)"):
        metrics.measure("mae", y, y[:1], None)


@pytest.mark.parametrize("engine", ["reference", "julia"])
def test_predictions_are_those_that_the_history_measured(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    options: dict[str, Any] = {"dataset": "digits", "clients": 4, "rounds": 2, "lr": 0.2}
    for more in ({"model": "mlp"}, {"model": "case_study_cnn", "mean": 0.3, "std": 0.5}):
        result = fedflux.run(**options, **more, engine=engine)
        loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
        for r in (result, loaded):
            assert r.score(X, Y) == pytest.approx(result.accuracy)
            p = r.predict_proba(X)
            assert p.sum(axis=1) == pytest.approx(np.ones(len(X)), abs=1e-5)
            assert (p.argmax(axis=1) == r.predict(X)).all()
            loss = result.history[-1]["test_loss"]
            assert np.log(r.score(X, Y, "perplexity")) == pytest.approx(loss, rel=1e-4)
            assert r.score(X, Y, lambda y, p: int((y == p).sum())) == round(
                (result.accuracy or 0) * len(Y)
            )


def test_two_classes_and_numbers(blobs: Blobs) -> None:
    two = {name: a.clip(0, 1) if "y" in name else a for name, a in blobs.items()}
    common: dict[str, Any] = {"clients": 3, "rounds": 2, "engine": "reference"}
    result = fedflux.run(**two, **common, model="mlp", loss="binary_cross_entropy")
    assert result.score(two["x_test"], two["y_test"]) == pytest.approx(result.accuracy)
    assert result.predict_proba(two["x_test"]).shape == (30, 2)
    assert 0.5 < result.score(two["x_test"], two["y_test"], "auc") <= 1
    numbers = blobs | {n: blobs[n.replace("y", "x")][:, 0] for n in ("y_train", "y_test")}
    result = fedflux.run(**numbers, **common, model="softmax_regression", loss="mse")
    x, y = numbers["x_test"], numbers["y_test"]
    assert result.score(x, y, "mse") == pytest.approx(result.loss, rel=1e-5)
    assert result.score(x, y) == pytest.approx(1 - result.score(x, y, "mse") / y.var())
    with pytest.raises(fedflux.OptionError, match="has no classes"):
        result.predict_proba(x)
    with pytest.raises(fedflux.DataError, match=r"samples of shape \(4,\) .* got \(3,\)"):
        result.predict(x[:, :3])


def test_what_only_the_core_can_compute(julia: None, blobs: Blobs, tmp_path: Path) -> None:
    from juliacall import Main as jl

    tokens = np.arange(60).reshape(10, 6) % 5
    common: dict[str, Any] = {"clients": 2, "rounds": 1, "engine": "julia"}
    texts = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), tokens)
    result = fedflux.run(**texts, **common, model="gru", hidden=[4])
    loaded = fedflux.Result.load(result.save(tmp_path / "gru"))
    assert loaded.predict(tokens).shape == tokens.shape
    assert loaded.score(tokens, tokens) == pytest.approx(result.accuracy)
    assert (loaded.predict_proba(tokens) == result.predict_proba(tokens)).all()

    jl.seval("using FedFlux.Flux: Chain, Dense, BatchNorm")
    own = jl.seval("Chain(Dense(4 => 6), BatchNorm(6), Dense(6 => 3))")
    result = fedflux.run(**blobs, **common, model=own)
    x, y = blobs["x_test"], blobs["y_test"]
    assert result.score(x, y) == pytest.approx(result.accuracy)
    assert "Chain" in str(result.model)
    loaded = fedflux.Result.load(result.save(tmp_path / "own"))
    with pytest.raises(fedflux.FedFluxError, match=r"the model is your own \(Chain\)"):
        loaded.predict(x)

    federated = fedflux.run(dataset="digits", model="mlp", normalise="federated", **common)
    assert federated.score(X, Y) == pytest.approx(federated.accuracy)
    cnn = fedflux.run(dataset="digits", model="case_study_cnn", **common)
    for r in (cnn, fedflux.Result.load(cnn.save(tmp_path / "cnn"))):
        weight = np.asarray(r.model.layers[0].weight)
        assert (r.parameters["layers.1.weight"] == weight.T).all()


def test_histories_have_a_fixed_order(julia: None) -> None:
    common: dict[str, Any] = {"dataset": "digits", "model": "mlp", "rounds": 1}
    core = fedflux.run(**common, engine="julia").history[0]
    reference = fedflux.run(**common, engine="reference").history[0]
    assert list(core) == list(reference)
    assert list(core["client_accuracy"]) == list(reference["client_accuracy"])


def test_both_languages_read_a_saved_result(julia: None, tmp_path: Path) -> None:
    from juliacall import Main as jl

    jl.seval("import FedFlux")
    result = fedflux.run(dataset="digits", model="mlp", rounds=2, engine="julia")
    path = str(tmp_path / "by-julia")
    jl.FedFlux.save(path, result.state)
    loaded = fedflux.Result.load(path)
    assert loaded.score(X, Y) == pytest.approx(result.accuracy)
    assert loaded.history == result.history
    assert loaded.facts().keys() == result.facts().keys()
    by_python = jl.FedFlux.load_result(str(result.save(tmp_path / "by-python")))
    assert "SavedResult(2 rounds on digits" in str(by_python)
    assert jl.FedFlux.accuracy(by_python) == result.accuracy
