"""What a run begins with: parameters by name; a result to go on from; Ctrl-C."""

import copy
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

Blobs = dict[str, np.ndarray]
DIGITS: dict[str, Any] = {"dataset": "digits", "clients": 4, "lr": 0.3}
COHORT: dict[str, Any] = DIGITS | {"model": "softmax_regression", "clients_per_round": 2}


@pytest.fixture(params=["reference", "julia"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "julia":
        request.getfixturevalue("julia")
    return str(request.param)


def small(**options: Any) -> fedflux.Result:
    return fedflux.run(**(COHORT | options))


def test_a_result_continues_as_if_never_stopped(engine: str) -> None:
    whole = small(engine=engine, rounds=4)
    half = small(engine=engine, rounds=2)
    sha, n = half.params_sha256, len(half.history)
    rest = fedflux.run(resume=half, rounds=4)
    assert rest.params_sha256 == whole.params_sha256 != half.params_sha256
    assert [r["test_loss"] for r in rest.history] == [r["test_loss"] for r in whole.history]
    assert (rest.details["resumed"], rest.options["lr"], rest.engine) == (2, 0.3, engine)
    assert (half.params_sha256, len(half.history)) == (sha, n)  # it stays as it was
    anew = fedflux.run(**COHORT, engine=engine, rounds=2, init=half)
    assert anew.params_sha256 != whole.params_sha256  # init draws round 1's clients again


def test_what_a_resume_refuses(engine: str, blobs: Blobs) -> None:
    half = small(engine=engine, rounds=1)
    with pytest.raises(
        fedflux.OptionError, match=r"lr is 0\.1, and the result's run has 0"
    ):
        fedflux.run(resume=half, lr=0.1)
    with pytest.raises(fedflux.OptionError, match="init starts a new run"):
        fedflux.run(resume=half, init=half)
    with pytest.warns(fedflux.FedFluxWarning, match="no round is left"):
        fedflux.run(resume=half)
    own = {"model": "mlp", "hidden": [4], "clients": 3, "rounds": 1, "engine": engine}
    trained = fedflux.run(**blobs, **own)
    with pytest.raises(fedflux.OptionError, match="give x_train, y_train"):
        fedflux.run(resume=trained, rounds=2)
    with pytest.raises(fedflux.FedFluxError, match=r"data.*changed"):
        fedflux.run(**(blobs | {"x_train": blobs["x_train"] + 1}), resume=trained, rounds=2)
    rest = fedflux.run(**blobs, resume=trained, rounds=2)
    assert rest.params_sha256 == fedflux.run(**blobs, **own | {"rounds": 2}).params_sha256


def test_patience_counts_the_rounds_before() -> None:
    whole = small(engine="reference", rounds=30, lr=30.0, patience=2)
    half = small(engine="reference", rounds=1, lr=30.0, patience=2)
    rest = fedflux.run(resume=half, rounds=30)
    assert whole.stopped == rest.stopped == "patience"
    assert rest.params_sha256 == whole.params_sha256


def test_a_loaded_result_of_the_core_has_no_state(julia: None, tmp_path: Path) -> None:
    half = small(engine="julia", rounds=1)
    for lost in (
        fedflux.Result.load(half.save(tmp_path / "half")),
        copy.deepcopy(half),
        pickle.loads(pickle.dumps(half)),  # noqa: S301
    ):
        assert lost.params_sha256 == half.params_sha256
        with pytest.raises(fedflux.FedFluxError, match="no state to go on from"):
            fedflux.run(resume=lost, rounds=2)


def test_init_is_matched_by_name(engine: str) -> None:
    common: dict[str, Any] = DIGITS | {"model": "mlp", "hidden": [8, 8], "engine": engine}
    trained = fedflux.run(**common, rounds=3)
    other_order = dict(sorted(trained.parameters.items(), reverse=True))
    next_round = fedflux.run(**common, rounds=1, init=trained)
    same = fedflux.run(**common, rounds=1, init=other_order)
    assert same.params_sha256 == next_round.params_sha256
    other_order["layers.9.bias"] = other_order.pop("layers.2.bias")
    with pytest.raises(
        fedflux.FedFluxError,
        match=r"init: layers\.2\.bias missing; the model has no layers\.9\.bias; expected",
    ):
        fedflux.run(**common, rounds=1, init=other_order)


def test_init_of_a_recurrent_model_and_of_ones_own(julia: None, blobs: Blobs) -> None:
    import juliacall

    juliacall.Main.seval("import FedFlux")
    chain = juliacall.Main.seval(
        "FedFlux.Chain(FedFlux.Dense(4 => 5), FedFlux.Dense(5 => 3))"
    )
    tokens = np.arange(60).reshape(10, 6) % 5
    texts: dict[str, Any] = {"x_train": tokens, "y_train": tokens, "model": "gru"}
    for data, more in ((blobs, {"model": chain}), (texts, {"hidden": [4]})):
        common: dict[str, Any] = {**data, **more, "clients": 2, "rounds": 1, "lr": 0.1}
        first = fedflux.run(**common, engine="julia")
        named = dict(sorted(first.parameters.items()))
        assert list(named) != list(first.parameters)
        a = fedflux.run(**common, engine="julia", init=first)
        b = fedflux.run(**common, engine="julia", init=named)
        assert a.params_sha256 == b.params_sha256 != first.params_sha256
        name, array = named.popitem()
        with pytest.raises(fedflux.FedFluxError, match=f"init: {name} missing"):
            fedflux.run(**common, engine="julia", init=named)
        with pytest.raises(fedflux.FedFluxError, match=f"{name}"):
            fedflux.run(**common, engine="julia", init=named | {name: array[:1]})


def test_ctrl_c_leaves_what_was_trained(engine: str) -> None:
    def interrupt(record: dict[str, Any]) -> None:
        if record["round"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    whole = small(engine=engine, rounds=4)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted after [23] rounds") as caught:
        small(engine=engine, rounds=4, callback=interrupt)
    assert isinstance(caught.value, fedflux.Interrupted)
    result = caught.value.result
    assert result.stopped == "interrupted"
    assert fedflux.run(resume=result, rounds=4).params_sha256 == whole.params_sha256
