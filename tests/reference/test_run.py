"""The rounds of the reference engine, against the definitions computed otherwise."""

from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._options.options import check, column
from fedflux._reference import supported, training
from fedflux._reference.federation import Run
from fedflux._reference.own_functions import OwnFunctions

LINEAR: dict[str, Any] = {"model": "softmax_regression", "engine": "reference"}


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_one_full_step_everywhere_is_one_central_step(blobs: dict[str, np.ndarray]) -> None:
    """One full-batch step per client, weighted by samples, is gradient descent on all."""
    w = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    b = np.array([0.1, -0.2, 0.3], np.float32)
    init = {"layers.2.weight": w, "layers.2.bias": b}
    for rounds in (1, 3):
        result = fedflux.run(
            **blobs, **LINEAR, init=init, clients=4, rounds=rounds, batch_size=1000, lr=0.5
        )
        x, hot = blobs["x_train"].astype(float), np.eye(3)[blobs["y_train"]]
        w2, b2 = w.astype(float), b.astype(float)
        for _ in range(rounds):
            d = (softmax(x @ w2 + b2) - hot) / len(x)
            w2, b2 = w2 - 0.5 * x.T @ d, b2 - 0.5 * d.sum(axis=0)
        assert result.parameters["layers.2.weight"] == pytest.approx(w2, rel=1e-5, abs=1e-6)
        assert result.parameters["layers.2.bias"] == pytest.approx(b2, rel=1e-5, abs=1e-6)


def test_uniform_weights_average_the_clients(blobs: dict[str, np.ndarray]) -> None:
    x, y = blobs["x_train"][:5], blobs["y_train"][:5]
    got = fedflux.run(
        x_train=x,
        y_train=y,
        **LINEAR,
        clients=2,
        rounds=1,
        batch_size=9,
        lr=1.0,
        weights="uniform",
    )
    parts = training.iid(5, 2, 0)
    assert [len(p) for p in parts] == [3, 2]
    model = training.Model("softmax_regression", (4,), 3)
    start = training.initial(model, 0)[0].astype(float)
    steps = [x[p].T @ (softmax(x[p] @ start) - np.eye(3)[y[p]]) / len(p) for p in parts]
    assert got.parameters["layers.2.weight"] == pytest.approx(
        start - (steps[0] + steps[1]) / 2, rel=1e-4, abs=1e-6
    )


def test_a_time_budget_that_is_just_used_up_ends_the_run_as_in_the_core() -> None:
    run = Run.__new__(Run)
    run.options = check({"time_budget": 2.0})
    run.own = OwnFunctions({}, run.options, {})
    run.since_best = 0
    record = {"accuracy": None, "round": 1}
    assert run.stop(record, 2.0) == "time_budget"  # stopping.jl: seconds >= time_budget
    assert run.stop(record, 1.9999) is None


def test_records(blobs: dict[str, np.ndarray]) -> None:
    result = fedflux.run(
        **blobs, **LINEAR, clients=6, clients_per_round=2, rounds=3, eval_every=2, lr=0.5
    )
    assert [r["round"] for r in result.history] == [1, 2, 3]
    assert [r["test_loss"] is None for r in result.history] == [True, False, False]
    last = result.history[-1]
    w, b = result.parameters["layers.2.weight"], result.parameters["layers.2.bias"]
    predicted = (blobs["x_test"] @ w + b).argmax(axis=1)
    assert last["accuracy"] == result.accuracy
    assert last["accuracy"] == pytest.approx((predicted == blobs["y_test"]).mean())
    p = softmax(blobs["x_test"] @ w + b)[np.arange(30), blobs["y_test"]]
    assert last["test_loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert last["clients"] == 2
    assert last["bytes_up"] == last["bytes_down"] == 2 * 4 * (4 * 3 + 3)
    by_class = np.array([(predicted[blobs["y_test"] == c] == c).mean() for c in range(3)])
    scores = [by_class[blobs["y_train"][part]].mean() for part in training.iid(90, 6, 0)]
    quantiles = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1])
    expected = dict(zip(("min", "q1", "median", "q3", "max"), quantiles, strict=True))
    assert last["client_accuracy"] == pytest.approx(expected)
    assert all(last[f"seconds_{part}"] >= 0 for part in ("train", "aggregate", "eval"))


def test_train_loss_is_the_mean_over_samples_seen(blobs: dict[str, np.ndarray]) -> None:
    got = fedflux.run(**blobs, **LINEAR, clients=1, rounds=1, batch_size=50, lr=1e-12)
    start = training.initial(training.Model("softmax_regression", (4,), 3), 0)[0]
    p = softmax(blobs["x_train"] @ start)[np.arange(90), blobs["y_train"]]
    assert got.history[0]["train_loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)


def test_local_steps_end_an_epoch_early(blobs: dict[str, np.ndarray]) -> None:
    common: dict[str, Any] = {
        **blobs,
        **LINEAR,
        "clients": 1,
        "rounds": 1,
        "batch_size": 30,
        "lr": 0.3,
    }
    three = fedflux.run(**common, local_epochs=1)
    same = fedflux.run(**common, local_epochs=5, local_steps=3)
    assert same.params_sha256 == three.params_sha256
    other = fedflux.run(**common, local_epochs=5, local_steps=4)
    assert other.params_sha256 != three.params_sha256


@pytest.mark.parametrize(
    ("option", "value", "rounds"),
    [("target_accuracy", 0.9, None), ("patience", 2, 3), ("time_budget", 1e-9, 1)],
)
def test_stop_conditions(
    blobs: dict[str, np.ndarray], option: str, value: float, rounds: int | None
) -> None:
    lr = 1e-12 if option == "patience" else 0.5
    result = fedflux.run(**blobs, **LINEAR, clients=3, rounds=50, lr=lr, **{option: value})
    assert result.stopped == option
    assert rounds is None or len(result.history) == rounds
    if option == "target_accuracy":
        assert result.accuracy is not None
        assert result.accuracy >= 0.9
        assert all(r["accuracy"] < 0.9 for r in result.history[:-1])


def test_last_round_is_evaluated_though_stopped_early(blobs: dict[str, np.ndarray]) -> None:
    result = fedflux.run(**blobs, **LINEAR, rounds=9, eval_every=5, time_budget=1e-9)
    assert len(result.history) == 1
    assert result.accuracy is not None


def test_callback_stops_and_sees_every_record(blobs: dict[str, np.ndarray]) -> None:
    seen: list[int] = []

    def callback(record: dict[str, Any]) -> bool:
        seen.append(record["round"])
        return record["round"] == 2

    result = fedflux.run(**blobs, **LINEAR, rounds=9, callback=callback)
    assert (seen, result.stopped, len(result.history)) == ([1, 2], "callback", 2)


def test_seed_decides(blobs: dict[str, np.ndarray]) -> None:
    a, b, c = (
        fedflux.run(**blobs, **LINEAR, rounds=2, seed=s).params_sha256 for s in (1, 1, 2)
    )
    assert a == b != c


def test_without_test_data_nothing_is_evaluated(blobs: dict[str, np.ndarray]) -> None:
    result = fedflux.run(
        x_train=blobs["x_train"], y_train=blobs["y_train"], **LINEAR, rounds=2
    )
    assert result.accuracy is None
    assert all(
        r["test_loss"] is r["accuracy"] is r["client_accuracy"] is None
        for r in result.history
    )
    assert result.loss == result.history[-1]["train_loss"]


def test_regression_has_a_loss_and_no_accuracy(blobs: dict[str, np.ndarray]) -> None:
    x, xt = blobs["x_train"], blobs["x_test"]
    slope = np.array([1.0, -2, 0.5, 3])
    result = fedflux.run(
        x_train=x,
        y_train=x @ slope,
        x_test=xt,
        y_test=xt @ slope,
        loss="mse",
        lr=0.02,
        rounds=30,
        local_epochs=10,
        **LINEAR,
    )
    assert result.history[-1]["accuracy"] is None
    assert result.history[-1]["test_loss"] < 1e-3
    assert result.parameters["layers.2.weight"].ravel() == pytest.approx(slope, abs=0.05)


def test_digits_are_learnt_by_the_cnn() -> None:
    result = fedflux.run(
        dataset="digits",
        model="case_study_cnn",
        engine="reference",
        batch_size=10,
        lr=0.2,
        rounds=10,
    )
    assert result.dataset == "digits"
    assert result.accuracy is not None
    assert result.accuracy > 0.85


def test_divergence_leaves_the_model_and_says_what_to_do(
    blobs: dict[str, np.ndarray],
) -> None:
    with (
        pytest.warns(fedflux.FedFluxWarning, match="smaller learning rate"),
        np.errstate(all="ignore"),
    ):
        result = fedflux.run(
            **blobs, model="mlp", engine="reference", lr=1000, rounds=20, local_epochs=20
        )
    assert any(r["skipped"] or r["rejected"] for r in result.history)
    assert all(np.isfinite(a).all() for a in result.parameters.values())


def test_options_that_only_the_core_supports_raise_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = check({})
    supported.check_supported(options)
    # as if the core had gained an option
    known = dict(column("reference"))
    monkeypatch.setattr(supported, "column", lambda _: known)
    del known["momentum"]
    supported.check_supported(options)
    with pytest.raises(fedflux.OptionError, match=r"momentum=0\.5 needs the Julia core"):
        supported.check_supported(check({"momentum": 0.5}))
    known["optimizer"] = ["sgd"]
    with pytest.raises(fedflux.OptionError, match=r"keep_optimizer=True needs the Julia"):
        supported.check_supported(check({"keep_optimizer": True}))
    with pytest.raises(fedflux.OptionError, match="optimizer='adam'"):
        supported.check_supported(check({"optimizer": "adam"}))
