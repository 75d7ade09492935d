"""Metrics of the user's own: in the history, in a resume, and as what ends a run."""

import json
import math
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

CORE: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 7,
    "rounds": 4,
    "lr": 0.5,
    "engine": "julia",
}
NUMPY = CORE | {"engine": "reference"}


def f1(y_true: Any, y_pred: Any) -> float:
    """The mean over the classes, which scikit-learn calls macro."""
    said = (y_pred == np.arange(10)[:, None], y_true == np.arange(10)[:, None])
    right = (said[0] & said[1]).sum(1)
    return float(np.mean(2 * right / (said[0].sum(1) + said[1].sum(1))))


def surprise(y_true: Any, y_score: Any) -> Any:
    assert y_score.shape == (len(y_true), 10)
    return -np.log(y_score[np.arange(len(y_true)), y_true]).mean()


OWN: dict[str, Any] = {"f1": f1, "surprise": surprise}


def test_figures_are_in_the_history(julia: None, tmp_path: Path) -> None:
    options = CORE | {"eval_every": 2, "metrics": OWN}
    result = fedflux.run(**options, checkpoint=tmp_path)
    plain = fedflux.run(**(CORE | {"eval_every": 2, "monitor": "f1"}))
    assert result.params_sha256 == plain.params_sha256
    assert result.history[0]["metrics"] == {"f1": None, "surprise": None}
    for record, other in zip(result.history[1::2], plain.history[1::2], strict=True):
        assert record["metrics"]["f1"] == pytest.approx(other["metric"])  # fedflux's own
        loss = record["metrics"]["surprise"]
        assert loss == pytest.approx(record["test_loss"], rel=1e-5)
        assert {n: v for n, v in record.items() if n in other and "seconds" not in n} == {
            n: v for n, v in other.items() if "seconds" not in n and n != "metric"
        } | {"metric": None}
    assert "metrics" not in plain.history[0]
    assert result.options["metrics"] == ["f1", "surprise"]
    # A folder, a file and a table tell the same.
    assert (
        fedflux.Result.load(tmp_path).history[3]["metrics"]
        == (result.history[3]["metrics"])
    )
    loaded = fedflux.Result.load(result.save(tmp_path / "run.safetensors"))
    assert loaded.history == result.history
    table = (result.save_history(tmp_path / "history.csv")).read_text().splitlines()
    assert table[0].endswith("metrics_f1,metrics_surprise")
    assert float(table[2].split(",")[-2]) == result.history[1]["metrics"]["f1"]
    assert list(result.frame["metrics_f1"])[3] == result.history[3]["metrics"]["f1"]


def test_the_reference_engine_measures_the_same(julia: None) -> None:
    core, slow = (fedflux.run(**o, metrics=OWN) for o in (CORE, NUMPY))
    for record, other in zip(core.history, slow.history, strict=True):
        for name, figure in record["metrics"].items():
            assert figure == pytest.approx(other["metrics"][name], rel=1e-3)


@pytest.mark.parametrize("engine", [CORE, NUMPY])
def test_the_names_end_a_run_and_tell_the_best(julia: None, engine: dict[str, Any]) -> None:
    falling = iter([0.5, 0.7, math.nan, 0.6, 0.1, 0.9])

    def given(y_true: Any, y_pred: Any) -> float:
        return next(falling)

    options = engine | {"rounds": 9, "metrics": {"ours": given}}
    result = fedflux.run(**options, monitor="ours", patience=3)
    assert (result.stopped, len(result.history)) == ("patience", 5)
    assert result.best is not None
    assert (result.best.round, result.best.monitor, result.best.value) == (2, "ours", 0.7)
    assert math.isnan(result.history[2]["metrics"]["ours"])
    assert "NaN" in json.dumps(result.facts(), allow_nan=False)
    for target in ("ours>=0.7", "ours <= 0.55"):
        falling = iter([0.6, math.nan, 0.5, 0.8])
        reached = fedflux.run(**options, target_metric=target)
        expected = 3 if "<" in target else 4
        assert (reached.stopped, len(reached.history)) == ("target_metric", expected)


def test_metrics_of_fedflux_end_a_run_too(julia: None) -> None:
    result = fedflux.run(**(CORE | {"rounds": 20}), target_metric="f1>=0.8")
    figures = [r["metrics"]["f1"] for r in result.history]
    assert result.stopped == "target_metric"
    assert max(figures[:-1]) < 0.8 <= figures[-1]
    named = fedflux.run(**CORE, metrics=["f1", "auc"], monitor="auc")
    assert named.history[1]["metrics"]["f1"] == figures[1]
    assert named.history[1]["metrics"]["auc"] == named.history[1]["metric"]
    mixed = fedflux.run(**CORE, metrics={"area": "auc", "f1": f1})
    assert mixed.history[1]["metrics"]["area"] == named.history[1]["metric"]
    low = fedflux.run(**(CORE | {"rounds": 20}), target_metric="loss<=1.0")
    assert low.history[-1]["test_loss"] <= 1 < low.history[-2]["test_loss"]


@pytest.mark.parametrize("engine", [CORE, NUMPY])
def test_a_resume_goes_on_with_them(
    julia: None, engine: dict[str, Any], tmp_path: Path
) -> None:
    more: dict[str, Any] = {"metrics": OWN, "monitor": "surprise"}
    if engine is CORE:
        more["checkpoint"] = tmp_path
    whole = fedflux.run(**engine, metrics=OWN, monitor="surprise")
    half = fedflux.run(**(engine | {"rounds": 2}), **more)
    rest = fedflux.run(resume=half, rounds=4)
    figures = [r["metrics"] for r in whole.history]
    assert [r["metrics"] for r in rest.history] == figures
    if engine is CORE:
        read = fedflux.run(resume=tmp_path, rounds=4, metrics=OWN)
        assert [r["metrics"] for r in read.history] == figures
        with pytest.raises(fedflux.FedFluxError, match="monitor: expected one of loss, ac"):
            fedflux.run(resume=tmp_path, rounds=5)
        with pytest.raises(fedflux.FedFluxError, match=r"was metrics .*f1.*surprise"):
            fedflux.run(resume=tmp_path, rounds=5, metrics=OWN | {"more": f1})


@pytest.mark.parametrize("engine", ["julia", "reference"])
def test_labels_come_as_they_were_given(julia: None, engine: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = np.where(x[:, 0] > 0, "ill", "well")
    seen = []

    def ill(y_true: Any, y_pred: Any) -> Any:
        seen.append(y_true)
        return ((y_true == "ill") & (y_pred == "ill")).sum()

    result = fedflux.run(
        x_train=x,
        y_train=y,
        x_test=x,
        y_test=y,
        model="softmax_regression",
        rounds=2,
        lr=0.5,
        engine=engine,
        metrics={"ill": ill},
    )
    assert np.array_equal(seen[0], y)
    predicted = result.predict(x)
    expected = ((predicted == "ill") & (y == "ill")).sum()
    assert result.history[-1]["metrics"]["ill"] == expected > 0


def test_a_validation_is_what_is_measured(julia: None) -> None:
    result = fedflux.run(**CORE, validation=0.25, metrics={"n": lambda y, p: len(y)})
    assert [r["metrics"]["n"] for r in result.history] == [359] * 4


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "array": (
        {"metrics": {"m": lambda y, p: y == p}},
        "metric m, round 1: expected a number, got an array of bool, (360,)",
    ),
    "text": (
        {"metrics": {"m": lambda y, p: "good"}},
        "metric m, round 1: expected a number, got 'good' (str)",
    ),
    "truth": (
        {"metrics": {"m": lambda y, p: True}},
        "metric m, round 1: expected a number, got True (bool)",
    ),
    "nothing": (
        {"metrics": {"m": lambda y, p: None}},
        "metric m, round 1: expected a number, got None (NoneType); does it return its r",
    ),
    "arguments": (
        {"metrics": {"m": lambda y: 0}},
        "metric m: expected a function of (labels, predictions), got function(y)",
    ),
    "no function": ({"metrics": {"m": 3}}, "metric m: expected a function, got 3 (int)"),
    "no name": ({"metrics": {3: f1}}, "metrics: expected names of letters, digits and un"),
    "taken": (
        {"metrics": {"accuracy": f1}},
        "metrics: accuracy is a figure that the history has by itself; give yours another",
    ),
    "unknown": (
        {"metrics": {"m": "f2"}},
        "metric m: expected a function or one of f1, auc, perplexity, r2, mae, mse, got",
    ),
    "unknown name": ({"metrics": ["f2"]}, "metrics: expected one of f1, auc, perplexity,"),
    "monitor": (
        {"metrics": {"mine": f1}, "monitor": "mien"},
        "monitor: expected one of loss, accuracy, f1, auc, perplexity, r2, mae, mse, mine,",
    ),
    "target": ({"target_metric": "f1"}, "target_metric: expected a metric and its value, "),
    "no number": ({"target_metric": "f1>=x"}, "target_metric: expected a metric and its v"),
    "whose target": ({"target_metric": "mine>=1"}, "metric mine"),
}


@pytest.mark.parametrize("engine", [CORE, NUMPY])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_metrics(julia: None, wrong: str, engine: dict[str, Any]) -> None:
    options, message = WRONG[wrong]
    if wrong == "whose target" and engine is NUMPY:
        message = "or a metric of yours with this name"
    if wrong == "unknown name" and engine is NUMPY:
        message = "metrics: expected one of"
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**(engine | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", [CORE, NUMPY])
def test_an_exception_names_the_round_and_the_metric(
    julia: None, engine: dict[str, Any]
) -> None:
    def fails(y_true: Any, y_pred: Any) -> Any:
        raise LookupError("no such label")

    with pytest.raises(LookupError, match="no such label") as caught:
        fedflux.run(**engine, metrics={"ours": fails})
    assert "metric ours, round 1" in caught.value.__notes__[0]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fails"


def test_without_test_data_there_is_nothing_to_measure(julia: None) -> None:
    x, y = np.zeros((20, 3), np.float32), np.arange(20) % 2
    options: dict[str, Any] = {"x_train": x, "y_train": y, "model": "softmax_regression"}
    for engine in ("julia", "reference"):
        with pytest.raises(
            fedflux.FedFluxError, match=r"metrics: expected test (or v|data)"
        ):
            fedflux.run(**options, engine=engine, metrics={"m": f1})
