"""Python makes of options what the core makes of them, by the core's table of vectors."""

import re
import tomllib
from typing import Any

import pytest

import fedflux
from fedflux._options.options import check
from fedflux._options.specs import parse

from ..conftest import ROOT

FILE = ROOT / "julia" / "FedFlux" / "test" / "options" / "vectors.toml"
VECTORS = tomllib.loads(FILE.read_text(encoding="utf-8"))


def check_error(vector: dict[str, Any], message: str) -> None:
    before, got, after = message.partition(", got ")
    if "error" in vector:
        assert before == vector["error"].replace("{none}", "None")
    if "hint" in vector:
        assert got
        hint = re.search("; (did you mean|a run|it is|use) .*$", after)
        assert (hint[0] if hint else "") == vector["hint"]


@pytest.mark.parametrize("vector", VECTORS["spec"], ids=lambda v: v["text"])
def test_texts_of_specs(vector: dict[str, Any]) -> None:
    if "name" in vector:
        name, parameters = parse(vector["kind"], vector["text"])
        assert name == vector["name"]
        assert {p: parameters[p] for p in vector["parameters"]} == vector["parameters"]
    else:
        with pytest.raises(fedflux.OptionError) as error:
            parse(vector["kind"], vector["text"])
        check_error(vector, str(error.value))


@pytest.mark.parametrize("vector", VECTORS["option"], ids=str)
def test_values_of_options(vector: dict[str, Any]) -> None:
    given = {vector["name"]: vector["given"]}
    if "value" in vector:
        value = check(given)[vector["name"]]
        assert value == vector["value"]
        assert type(value) is type(vector["value"])
    else:
        with pytest.raises(fedflux.OptionError) as error:
            check(given)
        check_error(vector, str(error.value))


@pytest.mark.parametrize("vector", VECTORS["unknown"], ids=lambda v: v["name"])
def test_unknown_options(vector: dict[str, Any]) -> None:
    with pytest.raises(fedflux.OptionError) as error:
        check({vector["name"]: 1})
    assert str(error.value) == vector["error"]
