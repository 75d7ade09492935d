"""Options without effect, names of other libraries, callbacks and data of a wrong kind."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._options import classes as objects, hints
from fedflux._options.options import column, declared, unknown
from fedflux._options.tables import read_table

from ..conftest import Run

DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "rounds": 1,
    "engine": "reference",
}
WITHOUT_EFFECT = {
    "momentum": (0.9, "needs optimizer=momentum"),
    "hidden": ([200, 200], "needs model=mlp or rnn or gru or lstm"),
    "data_dir": ("/nowhere", "needs dataset=auto or mnist or fashionmnist"),
    "threads": (1, "the reference engine has one of its own"),
    "trainer": ("zygote", "the reference engine has one of its own"),
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_an_option_without_effect_is_a_warning(name: str) -> None:
    value, why = WITHOUT_EFFECT[name]
    with pytest.warns(fedflux.FedFluxWarning, match=f"{name} has no effect: .*{why}"):
        result = fedflux.run(**DIGITS, **{name: value})
    assert any(name in message for message in result.warnings)


def test_an_option_changes_a_run_or_a_warning_says_that_it_does_not() -> None:
    """Of those that the reference engine takes; test/options/every_effect.jl has all."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(35, 4)), rng.integers(0, 3, 35)
    data = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    other: dict[str, Any] = {
        **{
            "mean": 0.5,
            "std": 2,
            "clients": 5,
            "clients_per_round": 2,
            "weights": "uniform",
        },
        **{"model": "mlp", "hidden": [3], "loss": "mse", "optimizer": "adam", "lr": 0.3},
        **{
            "local_epochs": 2,
            "local_steps": 1,
            "batch_size": 3,
            "momentum": 0.5,
            "seed": 1,
        },
        **{"client_test": 0.2, "huber_delta": 0.01},
        **{"class_weights": [1, 2, 3], "label_smoothing": 0.2},
    }
    decides = {n for n in column("reference") if n not in column("resumable")}
    # one value, or no numbers of the last model
    same = {"partition", "aggregate", "trainer", "monitor"}
    assert other.keys() == decides - same
    for beside in (
        {},
        {"optimizer": "momentum"},
        {"model": "mlp"},
        {"clients_per_round": 3},
        {"loss": "huber"},
    ):
        common = {"clients": 4, "rounds": 2, "batch_size": 4, "engine": "reference"} | data
        common |= {"model": "softmax_regression"} | beside
        before = fedflux.run(**common)
        for name, value in other.items():
            if name in beside:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                after = fedflux.run(**common | {name: value})
            warned = any(m.startswith(f"{name} has no effect") for m in after.warnings)
            assert warned == (before.params_sha256 == after.params_sha256), (name, beside)


def test_a_warning_names_only_what_was_given(blobs: dict[str, np.ndarray]) -> None:
    common: dict[str, Any] = {**blobs, "clients": 3, "rounds": 1, "engine": "reference"}
    assert fedflux.run(**common, model="mlp", hidden=[3]).warnings == []
    owner = np.arange(len(blobs["x_train"])) % 3
    with pytest.warns(fedflux.FedFluxWarning, match="owner has no effect"):
        fedflux.run(**common, model="mlp", owner=owner)


def test_options_of_the_core_without_effect(julia: None, tmp_path: Path) -> None:
    common = DIGITS | {"engine": "julia"}
    for name, value in (("deadline", 3.0), ("checkpoint_every", 2), ("vocabulary", 9)):
        with pytest.warns(fedflux.FedFluxWarning, match=f"{name} has no effect"):
            fedflux.run(**common, **{name: value})
    first = fedflux.run(**common, checkpoint=str(tmp_path), checkpoint_every=2)
    rest = fedflux.run(resume=str(tmp_path), rounds=2)  # what is recorded is not given
    assert first.warnings == rest.warnings == []


def test_nobody_trains(julia: None) -> None:
    common = DIGITS | {"engine": "julia"}
    with pytest.raises(fedflux.OptionError, match=r"p: expected more than 0\.0, got 0"):
        fedflux.run(**common, availability="random(p=0)")
    with pytest.raises(fedflux.FedFluxError, match="nobody trained in any of the 1 rounds"):
        fedflux.run(**common, sampling="poisson(rate=1e-12)")
    with pytest.raises(fedflux.FedFluxError, match="cutout has size 999"):
        fedflux.run(**common, augment="cutout(999)")


@pytest.mark.parametrize("answer", [np.ones(2), "no", 1, {}])
def test_a_callback_returns_a_bool_or_none(answer: object) -> None:
    with pytest.raises(fedflux.OptionError, match="callback: expected True"):
        fedflux.run(**DIGITS, callback=lambda record: answer)  # type: ignore[arg-type,return-value]


def test_callbacks() -> None:
    with pytest.raises(fedflux.OptionError, match="callback: expected a function"):
        fedflux.run(**DIGITS, callback=3)  # type: ignore[arg-type]
    stopped = fedflux.run(**DIGITS | {"rounds": 3}, callback=lambda record: np.True_)
    assert (stopped.stopped, len(stopped.history)) == ("callback", 1)
    assert fedflux.run(**DIGITS, callback=lambda record: None).stopped == "rounds"


def test_data_of_a_wrong_kind(blobs: dict[str, np.ndarray]) -> None:
    masked = np.ma.masked_array(blobs["x_train"], blobs["x_train"] > 1)
    with pytest.raises(
        fedflux.DataError, match=r"x_train: expected .* x_train.filled\(0\)"
    ):
        fedflux.run(**blobs | {"x_train": masked})
    for names in (np.array(["a", "b", "c"]), np.array(["a", "b", "c"], dtype=object)):
        with pytest.raises(fedflux.DataError, match=r"y_test: expected labels as in y_tr"):
            fedflux.run(**blobs | {"y_train": names[blobs["y_train"]]})
    fedflux.run(
        **blobs | {"x_train": np.ma.masked_array(blobs["x_train"])},
        model="mlp",
        engine="reference",
        clients=2,
        rounds=1,
    )


def test_an_empty_list_on_the_command_line(python: Run) -> None:
    done = python(["-m", "fedflux", "run", "--hidden", ""], check=False)
    said, _ = done.stderr.splitlines()
    assert said == "fedflux: error: hidden: expected a list of integers, got '' (str)"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("learning_rate", "did you mean 'lr'?"),
        ("X_train", "did you mean 'x_train'?"),
        ("num_server_rounds", "did you mean 'rounds'?"),
        ("random_state", "did you mean 'seed'?"),
        ("strategy", "use rules, aggregate or server; without them a run is FedAvg"),
        ("fraction-fit", "use clients_per_round, a number of clients"),
    ],
)
def test_names_that_other_libraries_use(name: str, advice: str) -> None:
    with pytest.raises(fedflux.OptionError, match="unknown option") as error:
        fedflux.run(**{name: 1})  # type: ignore[arg-type]
    assert str(error.value).endswith(advice) or advice in str(error.value)


def test_every_hint_leads_to_something() -> None:
    arguments = {"x_train", "y_train", "x_test", "y_test", "owner", "init", "callback"}
    for section, table in read_table("hints.toml").items():
        for name, text in table.items():
            assert text in hints.hint(section, name, ())
            if " " in text:
                continue
            if section == "argument":
                assert text in arguments
                assert f"did you mean {text!r}?" in unknown(name.upper())
            elif section == "class":
                assert text in {*objects.classes(), *fedflux.__all__}
            elif section == "option":
                assert text in declared()
                assert name not in declared()


def test_names_of_the_package() -> None:
    with pytest.raises(AttributeError, match="a run is FedAvg without any rule"):
        _ = fedflux.FedAvg
    with pytest.raises(AttributeError, match=r"no attribute 'Nonsense'$"):
        _ = fedflux.Nonsense
    assert fedflux.Dirichlet(0.1) == fedflux.Dirichlet(alpha=0.1)
