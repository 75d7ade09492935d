"""Scores of every shape of targets, by every loss and metric: scikit-learn's, or refused.

The core's tests hold the core against the same table, julia/FedFlux/test/interface/
metrics.json. `python -m tests.results.test_metrics` makes it, with scikit-learn.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._results import metrics, predict as predictions
from fedflux._results.predict import Predictor

from ..conftest import ROOT

TABLE = ROOT / "julia" / "FedFlux" / "test" / "interface" / "metrics.json"
AVERAGES = (None, "macro", "micro", "weighted", "samples", "binary")
Array = np.ndarray
Blobs = dict[str, Array]


def cases() -> Iterator[tuple[str, str, Array, Array]]:
    """A name, the loss, the raw outputs and the targets, for every shape of targets."""
    rng = np.random.default_rng(3)

    def outputs(*shape: int) -> Array:
        return rng.integers(-12, 13, shape) / 4  # some of them equal

    def labels(classes: int, *shape: int) -> Array:
        return np.resize(rng.permutation(np.arange(np.prod(shape)) % classes), shape)

    for classes in (2, 3, 5):
        yield f"{classes} classes", "ce", outputs(30, classes), labels(classes, 30)
    yield "tokens", "ce", outputs(8, 5, 4), labels(4, 8, 5)
    yield "absent class", "ce", outputs(20, 4), labels(3, 20)
    yield "one class", "ce", outputs(9, 3), np.zeros(9, int)
    yield "one of two", "ce", outputs(9, 2), np.ones(9, int)
    one = outputs(25, 1)
    yield "list", "bce", one, labels(2, 25)
    yield "column", "bce", one, labels(2, 25, 1)
    yield "only 0", "bce", one, np.zeros(25, int)
    yield "several", "bce", outputs(20, 3), labels(2, 20, 3)
    rows = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]])
    yield "several of both kinds", "bce", outputs(4, 3), rows
    rare = labels(2, 20, 3) * [1, 1, 0]
    yield "a label that nobody has", "bce", outputs(20, 3), rare
    yield "no label at all", "bce", -np.abs(outputs(6, 2)) - 1, np.zeros((6, 2), int)
    yield "list", "mse", outputs(15, 1), outputs(15)
    yield "column", "mse", outputs(15, 1), outputs(15, 1)
    yield "several", "mse", outputs(15, 3), outputs(15, 3) * [1, 10, 1000]
    constant = outputs(15, 2) * [1, 0] + [0, 2]
    yield "a constant output", "mse", outputs(15, 2), constant
    yield "a constant output, met", "mse", constant, constant
    yield "all constant", "mse", outputs(15, 2), constant * [0, 1]
    yield "one sample", "mse", outputs(1, 2), outputs(1, 2)


LOSSES = {"ce": "cross_entropy", "bce": "binary_cross_entropy", "mse": "mse"}


def by_scikit_learn(
    loss: str, out: Array, y: Array, metric: str, average: str | None
) -> float | None:
    """What scikit-learn says; None where it raises, warns or says NaN, or where a metric of
    numbers is asked of labels."""
    from scipy.special import expit, softmax
    from sklearn import metrics as sk

    several = loss == "bce" and out.shape[1] > 1
    if loss == "ce":
        p, predicted = softmax(out, axis=-1), out.argmax(-1).ravel()
        y, p = y.ravel(), p.reshape(-1, out.shape[-1])
        score = p[:, 1] if p.shape[1] == 2 else p
    elif loss == "bce":
        p, predicted = expit(out), (out > 0).astype(int)
        score = p if several else p[:, 0]
        p = p if several else np.hstack([1 - p, p])
        y, predicted = (a if several else a.ravel() for a in (y, predicted))
    if (loss == "mse") != (metric in metrics.OF_NUMBERS):
        return None
    if average is not None and metric not in metrics.AVERAGES:
        return None
    kind = average or "macro"
    both = {"macro": "uniform_average", "weighted": "variance_weighted"}
    found: dict[str, Callable[[], float]] = {
        "accuracy": lambda: sk.accuracy_score(y, predicted),
        "f1": lambda: sk.f1_score(y, predicted, average=kind, zero_division=0),
        "auc": lambda: sk.roc_auc_score(y, score, multi_class="ovr", average=kind),
        "perplexity": lambda: np.exp(sk.log_loss(y, p, labels=range(p.shape[1]))),
        "r2": lambda: sk.r2_score(y, out, multioutput=both[kind]),
        "mae": lambda: sk.mean_absolute_error(y, out),
        "mse": lambda: sk.mean_squared_error(y, out),
    }
    if several and metric == "perplexity":  # it takes the rows for one-hot labels
        return None
    if metric == "auc" and len(np.unique(y)) == 1:  # its weighted mean of nothing is 0
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value = float(found[metric]())
    except (ValueError, KeyError, Warning):
        return None
    return None if np.isnan(value) else value


def made() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "loss": LOSSES[loss],
            "outputs": out.tolist(),
            "targets": y.tolist(),
            "scores": {
                f"{metric} {average}": by_scikit_learn(loss, out, y, metric, average)
                for metric in (*metrics.OF_LABELS, *metrics.OF_NUMBERS)
                for average in AVERAGES
            },
        }
        for name, loss, out, y in cases()
    ]


def test_the_table_is_scikit_learns() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    short = {loss: name for name, loss in LOSSES.items()}
    for case in json.loads(TABLE.read_text(encoding="utf-8")):
        out, y = np.array(case["outputs"]), np.array(case["targets"])
        for asked, score in case["scores"].items():
            metric, average = asked.split()
            kind = None if average == "None" else average
            expected = by_scikit_learn(short[case["loss"]], out, y, metric, kind)
            assert score == (expected and pytest.approx(expected)), (case["name"], asked)


@pytest.mark.parametrize(
    "case",
    json.loads(TABLE.read_text(encoding="utf-8")),
    ids=lambda case: f"{case['loss']}, {case['name']}",
)
def test_every_score_is_scikit_learns_or_refused(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, y = np.array(case["outputs"]), np.array(case["targets"])
    monkeypatch.setattr(predictions, "outputs", lambda result, x: out)
    model = Predictor()
    model.options, model.details = {"loss": case["loss"]}, {}
    for asked, expected in case["scores"].items():
        metric, average = asked.split()
        given = {} if average == "None" else {"average": average}
        if expected is None:
            with pytest.raises(fedflux.FedFluxError, match=r"average|metric"):
                model.score(None, y, metric, **given)
        else:
            assert model.score(None, y, metric, **given) == pytest.approx(expected), asked


@pytest.mark.parametrize("engine", ["reference", "julia"])
@pytest.mark.parametrize("shape", ["list", "column", "several"])
def test_labels_of_every_shape_work_to_the_end(
    engine: str, shape: str, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 4)).astype(np.float32)
    y = (x[:, :3] > 0).astype(int)
    y = y if shape == "several" else y[:, :1]
    y = y[:, 0] if shape == "list" else y
    result = fedflux.run(
        x_train=x,
        y_train=y,
        x_test=x[:40],
        y_test=y[:40],
        loss="binary_cross_entropy",
        model="softmax_regression",
        target_accuracy=0.85,
        client_test=0.1,
        lr=2.0,
        clients=3,
        rounds=60,
        batch_size=8,
        engine=engine,
    )
    assert result.stopped == "target_accuracy"
    assert [r["accuracy"] for r in result.history] != [None] * len(result.history)
    predicted = result.predict(x[:40]).reshape(40, -1)
    right = (predicted == y[:40].reshape(40, -1)).all(axis=1).mean()
    assert result.accuracy == result.score(x[:40], y[:40]) == pytest.approx(right)
    assert all(row["accuracy"] is not None for row in result.clients)
    for metric in ("f1", "auc", lambda y, predicted: float((y == predicted).mean())):
        assert 0.7 < result.score(x, y, metric) <= 1


@pytest.mark.parametrize("engine", ["reference", "julia"])
@pytest.mark.parametrize("outputs", [None, 1, 2])
def test_numbers_of_every_shape_work_to_the_end(
    engine: str, outputs: int | None, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    rng = np.random.default_rng(6)
    x = rng.normal(size=(90, 4)).astype(np.float32)
    y = x[:, 0] if outputs is None else x[:, :outputs] * [1, 100][:outputs]
    options: dict[str, Any] = {
        "loss": "mse",
        "model": "softmax_regression",
        "lr": 0.05,
        "clients": 3,
        "rounds": 3,
        "engine": engine,
    }
    data = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    result = fedflux.run(**data, **options)
    mse = ((result.predict(x).reshape(90, -1) - y.reshape(90, -1)) ** 2).mean(axis=0)
    each = 1 - mse / y.reshape(90, -1).var(axis=0)
    assert result.score(x, y) == pytest.approx(each.mean(), rel=1e-5)
    assert result.score(x, y, "mse") == pytest.approx(result.loss, rel=1e-4)
    with pytest.raises(fedflux.FedFluxError, match=r"target_accuracy.* classes"):
        fedflux.run(**data, **options, target_accuracy=0.5)


def test_targets_that_scores_refuse(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Predictor()
    model.options, model.details = {"loss": "cross_entropy"}, {}
    out = np.array([[1.0, 2.0], [2.0, 1.0]])
    monkeypatch.setattr(predictions, "outputs", lambda result, x: out)
    for y, words in (
        ([0, 2], "expected labels from 0 to 1, got 2"),
        ([0, -1], "expected labels from 0 to 1, got -1"),
        ([0, 0.5], r"expected labels from 0 to 1, got 0\.5"),
        (["a", "b"], "expected numbers, as in y_train, got the text 'a'"),
        ([0, np.nan], "expected finite numbers, got nan"),
        ([[0], [1], [0]], r"expected shape \(2,\), got \(3, 1\)"),
    ):
        for metric in ("accuracy", "perplexity"):
            with pytest.raises(fedflux.DataError, match=words):
                model.score(None, y, metric)
    assert model.score(None, [1.0, 0.0]) == model.score(None, [True, False]) == 1
    out[0] = np.nan
    with pytest.raises(fedflux.DataError, match="the model diverged"):
        model.score(None, [1, 0], "auc")
    with pytest.raises(fedflux.OptionError, match="average: expected one of macro, micro"):
        model.score(None, [1, 0], "f1", average="mean")
    with pytest.raises(fedflux.OptionError, match="average: expected none for metric acc"):
        model.score(None, [1, 0], average="macro")


if __name__ == "__main__":
    TABLE.write_text(json.dumps(made(), indent=None) + "\n", encoding="utf-8")
