"""Options: their table and the errors of their checks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._options.option import Option
from fedflux._options.options import check, declared, settled

from ..conftest import ROOT

TOML = ROOT / "julia" / "FedFlux" / "src" / "options" / "options.toml"


def test_every_option_has_a_valid_default_and_a_help() -> None:
    for option in declared().values():
        assert option.check(option.default) == option.default
        assert option.help
        assert option.group != "Other"


DIGITS = {"model": "mlp", "lr": 0.3}
USUAL = {"model": "case_study_cnn", "lr": 0.05}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"dataset": "digits"}, DIGITS),
        ({"dataset": "digits", "optimizer": "adam"}, DIGITS | {"lr": 0.05}),
        ({"dataset": "digits", "lr": 0.1}, DIGITS | {"lr": 0.1}),
        ({"dataset": "digits", "model": "lenet"}, DIGITS | {"model": "lenet"}),
        ({"dataset": "digits", **USUAL}, USUAL),
        ({"dataset": "mnist"}, USUAL),
        ({"dataset": "my/digits.npz"}, USUAL),
        ({"optimizer": "adam"}, {"model": None, "lr": 0.05}),
        ({"lr": 0.05}, {"model": None, "lr": 0.05}),
        ({}, {"model": None, "lr": None}),
    ],
)
def test_digits_have_defaults_of_their_own(
    given: dict[str, Any], taken: dict[str, Any]
) -> None:
    options = check(given)
    assert {name: options[name] for name in taken} == taken
    auto = {"dataset": given.get("dataset", "digits")}  # what auto may choose
    assert settled(options, auto["dataset"])["model"] == check(given | auto)["model"]
    assert settled(options, auto["dataset"])["lr"] == check(given | auto)["lr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"round": 3}, "unknown option 'round'; did you mean 'rounds'?"),
        ({"qqqq": 3}, "unknown option 'qqqq'; the options are dataset,"),
        ({"rounds": 2.5}, "rounds: expected an integer, got 2.5 (float)"),
        ({"rounds": "3"}, "rounds: expected an integer, got '3' (str)"),
        ({"rounds": True}, "rounds: expected an integer, got True (bool)"),
        ({"rounds": None}, "rounds: expected an integer, got None (NoneType)"),
        ({"rounds": 0}, "rounds: expected at least 1, got 0"),
        ({"seed": 2**53}, "seed: expected at most 9007199254740991, got 9007199254740992"),
        ({"lr": 0}, "lr: expected more than 0.0, got 0.0"),
        ({"lr": float("nan")}, "lr: expected a finite number, got nan"),
        ({"lr": "fast"}, "lr: expected a number, got 'fast' (str)"),
        ({"model": "lenett"}, "got 'lenett'; did you mean 'lenet'?"),
        ({"optimizer": "zzz"}, "optimizer: expected one of sgd, momentum, adam, adamw,"),
        ({"hidden": [10, 0]}, "hidden: expected at least 1, got 0"),
        ({"hidden": [1.5]}, "hidden: expected a list of integers, got 1.5 (float)"),
        ({"hidden": "10"}, "hidden: expected a list of integers, got '10' (str)"),
        ({"hidden": 10}, "hidden: expected a list of integers, got 10 (int)"),
        ({"data_dir": 3}, "data_dir: expected a string (or None), got 3 (int)"),
        (
            {"clients": 3, "clients_per_round": 4},
            "clients_per_round: expected at most clients=3, got 4",
        ),
    ],
)
def test_errors_name_option_expectation_and_value(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(fedflux.OptionError) as error:
        fedflux.run(**options)
    assert message in str(error.value)
    assert isinstance(error.value, fedflux.FedFluxError)
    assert isinstance(error.value, ValueError)


def test_values_are_taken_as_plain_python() -> None:
    options = check(
        {
            "lr": 1,
            "rounds": np.int64(3),
            "std": np.float32(0.5),
            "hidden": (4, np.int8(5)),
            "dataset": Path("a.npz"),
        }
    )
    assert (options["lr"], options["rounds"], options["std"]) == (1.0, 3, 0.5)
    assert (options["hidden"], options["dataset"]) == ([4, 5], "a.npz")
    kinds = {name: type(options[name]) for name in ("lr", "rounds", "std", "dataset")}
    assert kinds == {"lr": float, "rounds": int, "std": float, "dataset": str}


def option(kind: str, **kwargs: Any) -> Option:
    fields: dict[str, Any] = {
        "optional": False,
        "default": None,
        "choices": (),
        "min": None,
        "max": None,
        "above": None,
    }
    return Option(name="x", kind=kind, **(fields | {"group": "", "help": ""} | kwargs))


def test_kinds_that_no_option_uses_yet() -> None:
    assert option("bool").check(np.True_) is True
    assert option("bool").parse("no") is False
    assert option("strs").check(("a", "b")) == ["a", "b"]
    assert option("strs").parse("a, b") == ["a", "b"]
    for kind, value in (("bool", 1), ("strs", "a"), ("strs", [1])):
        with pytest.raises(fedflux.OptionError, match="x: expected"):
            option(kind).check(value)
    with pytest.raises(fedflux.OptionError, match="x: expected true or false, got 'maybe'"):
        option("bool").parse("maybe")


def test_a_wrong_model_object() -> None:
    with pytest.raises(
        fedflux.OptionError,
        match=r"a PyTorch module or a Flux model made through juliacall, got \[1\]",
    ):
        fedflux.run(model=[1])
