"""The best model, validation apart from the test data, and what a model begins with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

Blobs = dict[str, np.ndarray]
# too large a rate, so that the figures go up and down
SMALL: dict[str, Any] = {"model": "mlp", "hidden": [8], "clients": 4, "lr": 2.0}


@pytest.fixture(params=["julia", "reference"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "julia":
        request.getfixturevalue("julia")
    return str(request.param)


def same(a: Any, b: Any) -> bool:
    return bool(a.params_sha256 == b.params_sha256)


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_the_best_model_is_that_of_its_round(
    engine: str, monitor: str, blobs: Blobs
) -> None:
    def run(rounds: int, **more: Any) -> fedflux.Result:
        return fedflux.run(
            **blobs, **SMALL, engine=engine, monitor=monitor, rounds=rounds, **more
        )

    result = run(6)
    name = "test_loss" if monitor == "loss" else "accuracy"
    figures = [r[name] * (-1 if monitor == "loss" else 1) for r in result.history]
    best = result.best
    assert best is not None
    assert best.round == int(np.argmax(figures)) + 1
    assert best.value == result.history[best.round - 1][name]
    assert same(run(best.round), best)
    assert best.score(blobs["x_test"], blobs["y_test"]) == pytest.approx(best.accuracy)
    # patience counts by it
    waits = [i - int(np.argmax(figures[: i + 1])) for i in range(6)]
    expected = next((i + 1 for i, wait in enumerate(waits) if wait >= 2), 6)
    assert len(run(6, patience=2).history) == expected
    # it goes on with a run that goes on
    rest = fedflux.run(**blobs, resume=run(3), rounds=6)
    assert rest.best is not None
    assert same(rest.best, best)


def test_it_is_in_the_file_and_begins_a_run(
    engine: str, blobs: Blobs, tmp_path: Path
) -> None:
    result = fedflux.run(**blobs, **SMALL, engine=engine, monitor="accuracy", rounds=5)
    loaded = fedflux.Result.load(result.save(tmp_path / "run.safetensors"))
    assert loaded.best is not None
    assert result.best is not None
    assert loaded.best.figures() == result.best.figures() == loaded.facts()["best"]
    for kept in (loaded, copy.deepcopy(result)):
        assert kept.best.parameters.keys() == result.parameters.keys()
        x = blobs["x_test"]
        assert (kept.best.predict(x) == result.best.predict(x)).all()

    def begun(init: Any) -> fedflux.Result:
        return fedflux.run(**blobs, **SMALL, engine=engine, rounds=1, init=init)

    assert same(begun(loaded.best), begun(result.best))
    assert same(begun(tmp_path / "run.safetensors"), begun(result))
    assert loaded.best.round == result.history[-1]["round"] or not same(
        begun(loaded.best), begun(loaded)
    )


def test_a_callback_sees_the_model(engine: str, blobs: Blobs) -> None:
    seen: list[Any] = []

    def callback(record: dict[str, Any], model: fedflux.Snapshot) -> None:
        score = model.score(blobs["x_test"], blobs["y_test"])
        assert score == pytest.approx(record["accuracy"])
        seen.append(model)

    result = fedflux.run(**blobs, **SMALL, engine=engine, rounds=3, callback=callback)
    assert [m.round for m in seen] == [1, 2, 3]
    assert same(seen[-1], result)
    assert not same(seen[0], result)
    # a parameter with a default of its own is no model
    records: list[Any] = []
    fedflux.run(
        **blobs,
        **SMALL,
        engine=engine,
        rounds=1,
        callback=lambda record, kept=records: kept.append(record),
    )
    assert records[0]["round"] == 1


def test_a_folder_of_checkpoints_is_a_result(
    julia: None, blobs: Blobs, tmp_path: Path
) -> None:
    """Python reads what the core wrote, with the best model and BatchNorm's statistics."""
    from juliacall import Main as jl

    jl.seval("using FedFlux; using FedFlux: Flux")
    model = jl.seval("using .Flux; Chain(Dense(4 => 6), BatchNorm(6, tanh), Dense(6 => 3))")
    settings: dict[str, Any] = {**blobs, "model": model, "clients": 4, "lr": 2.0}
    result = fedflux.run(
        **settings, rounds=5, monitor="accuracy", checkpoint=tmp_path, rules="scaffold"
    )
    loaded = fedflux.Result.load(tmp_path)
    assert loaded.stopped == "checkpoint"
    assert same(loaded, result)
    assert loaded.history == result.history
    assert loaded.best is not None
    assert result.best is not None
    assert loaded.best.figures() == result.best.figures()
    assert list(loaded.statistics) == ["layers.2.μ", "layers.2.σ²"]
    for name, value in result.statistics.items():
        assert (loaded.statistics[name] == value).all()
        assert (loaded.best.statistics[name] == result.best.statistics[name]).all()

    def begun(init: Any) -> fedflux.Result:
        return fedflux.run(**settings, rounds=1, init=init)

    saved = result.save(tmp_path / "run.safetensors")
    runs = [begun(init) for init in (result, tmp_path, saved, loaded)]
    assert len({run.params_sha256 for run in runs}) == 1
    losses = {run.history[0]["test_loss"] for run in runs}
    assert len(losses) == 1  # which the statistics decide
    assert begun(result.parameters).history[0]["test_loss"] not in losses

    (newest,) = tmp_path.glob("round-000005.json")
    newest.write_text(newest.read_text().replace("accuracy", "accuracX", 1))
    with pytest.warns(fedflux.FedFluxWarning, match="round 5 is skipped"):
        assert len(fedflux.Result.load(tmp_path).history) == 4


def test_what_is_no_folder_of_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(fedflux.DataError, match="it holds no checkpoint"):
        fedflux.Result.load(tmp_path)
    (tmp_path / "round-000001.json").write_text("{}")
    with (
        pytest.warns(fedflux.FedFluxWarning, match="its SHA-256 differs"),
        pytest.raises(fedflux.DataError, match="every checkpoint in it is damaged"),
    ):
        fedflux.Result.load(tmp_path)


def test_validation_keeps_the_test_data_for_the_end(julia: None, blobs: Blobs) -> None:
    x, y = blobs["x_test"], blobs["y_test"]
    ways: list[dict[str, Any]] = [
        {"validation": 0.2},
        {"client_validation": 0.2},
        {"validation": (x[::-1], y[::-1])},
    ]
    for how in ways:
        result = fedflux.run(**blobs, **SMALL, rounds=4, **how)
        *earlier, last = result.history
        assert all(r["test_loss"] is None and r["accuracy"] is None for r in earlier)
        assert all(r["validation_accuracy"] is not None for r in result.history)
        assert last["accuracy"] == pytest.approx(result.score(x, y))
        best = result.best
        assert best is not None
        assert best.value == min(r["validation_loss"] for r in result.history)
        assert best.accuracy == pytest.approx(best.score(x, y))
        # nothing that was decided changes with the test data
        other = blobs | {"x_test": -x, "y_test": y[::-1].copy()}
        again = fedflux.run(**other, **SMALL, rounds=4, patience=1, **how)
        stopped = fedflux.run(**blobs, **SMALL, rounds=4, patience=1, **how)
        assert (again.stopped, again.params_sha256) == (
            stopped.stopped,
            stopped.params_sha256,
        )
    own = {n: blobs[n] for n in ("x_train", "y_train")}
    result = fedflux.run(**own, **SMALL, rounds=2, validation=(x, y), monitor="f1")
    assert result.best is not None
    assert result.best.value == pytest.approx(result.best.score(x, y, metric="f1"))


def test_what_validation_refuses(blobs: Blobs) -> None:
    x, y = blobs["x_test"], blobs["y_test"]
    for validation, reason in (
        ((x, y[:-1]), "as many targets as samples"),
        ((x[:, :2], y), "expected samples of shape"),
        ((x, y + 5), "outside the classes"),
        ((x, y, y), "two arrays"),
    ):
        with pytest.raises(fedflux.DataError, match=reason):
            fedflux.run(**blobs, **SMALL, engine="reference", validation=validation)
    with pytest.raises(fedflux.OptionError, match="arrays go with arrays to train on"):
        fedflux.run(dataset="digits", validation=(x, y))
    for given in ({"validation": (x, y)}, {"validation": 0.1}, {"client_validation": 0.1}):
        with pytest.raises(fedflux.OptionError, match="needs the Julia core"):
            fedflux.run(**blobs, **SMALL, engine="reference", **given)  # type: ignore[arg-type]
    own = {n: blobs[n] for n in ("x_train", "y_train")}
    with pytest.raises(fedflux.OptionError, match="monitor: expected test data"):
        fedflux.run(**own, **SMALL, engine="reference", monitor="accuracy")


def test_frozen_layers_stay_and_are_not_sent(julia: None, blobs: Blobs) -> None:
    body = fedflux.run(**blobs, **SMALL, rounds=1)
    first, head = "layers.2", "layers.3"
    for rules in ([], ["client_dp"], ["dpsgd"]):
        settings = SMALL | {"lr": 0.1, "rules": rules, "weights": "uniform"}
        result = fedflux.run(**blobs, **settings, rounds=2, init=body, freeze=[first])
        assert result.history[0]["bytes_up"] == 4 * 4 * (8 * 3 + 3)
        assert (
            result.parameters[f"{first}.weight"] == body.parameters[f"{first}.weight"]
        ).all()
        assert (
            result.parameters[f"{head}.weight"] != body.parameters[f"{head}.weight"]
        ).any()
    with pytest.raises(fedflux.FedFluxError, match=r"the model has no layers\.7"):
        fedflux.run(**blobs, **SMALL, freeze=["layers.7"])
