"""What is wrong in a user's functions is one line, or the user's own exception."""

import traceback
from typing import Any

import numpy as np
import pytest

import fedflux

from .own import SMALL, Momentum, rule, sends_nothing

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shape": (
        {"aggregate": lambda updates, weights: updates[:, 0]},
        "aggregate function, round 1: expected a vector of 1510 finite numbers, got an "
        "array of shape (7,)",
    ),
    "nothing": (
        {"aggregate": lambda updates, weights: None},
        "round 1: expected a vector of 1510 finite numbers, got None (NoneType); does it",
    ),
    "NaN": (
        {"aggregate": lambda updates, weights: np.where(np.arange(1510) == 3, np.nan, 1)},
        "got nan at 3 (1 of 1510 are not finite as float32)",
    ),
    "type": (
        {"aggregate": lambda updates, weights: ["a"] * 1510},
        "expected a vector of 1510 finite numbers, got ['a'",
    ),
    "arguments": (
        {"aggregate": lambda updates: updates[0]},
        "aggregate: expected a function of (updates, weights), got function(updates)",
    ),
    "class": (
        {"aggregate": Momentum},
        "aggregate: expected an object, got a class: use Mom",
    ),
    "name's class": ({"aggregate": fedflux.Median}, "got the class Median: use Median()"),
    "strange client": (
        {"sampling": lambda round, clients, rng: [9]},
        "sampling function, round 1: expected a list of some of the clients that it was "
        "given, got 9, which is none of these",
    ),
    "client twice": (
        {"availability": lambda round, clients, rng: [2, 2]},
        "availability function, round 1: expected a list of some of the clients that it "
        "was given, got 2 twice",
    ),
    "no list": (
        {"sampling": lambda round, clients, rng: "all"},
        "sampling function, round 1: expected a list of some of the clients that it was "
        "given, got 'all' (str)",
    ),
    "too few parts": (
        {"partition": lambda labels, clients, rng: [[0], [1]]},
        "partition function: expected 7 lists of indices, one for each client, got 2",
    ),
    "empty part": (
        {"partition": {"north": [0], "south": []}, "clients": 2},
        "partition: expected samples for every client, got none for client 'south'",
    ),
    "index": (
        {"partition": [[0], [1437]], "clients": 2},
        "partition: expected indices from 0 to 1436, got 1437 for client 2",
    ),
    "numbers as parts": (
        {"partition": [0.5, 1.0], "clients": 2},
        "partition: expected a list of indices for each client, and for client 1, got 0.5",
    ),
    "other clients": (
        {"partition": [[0], [1]], "clients": 3},
        "clients is 3, and partition lists the samples of 2: leave clients out",
    ),
    "a function for lr": ({"lr": lambda: 0.1}, "lr: expected a number, got <function"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_functions(julia: None, wrong: str) -> None:
    options, message = WRONG[wrong]
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**(SMALL | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_RULES: dict[str, tuple[Any, str]] = {
    "misspelt": (
        rule(cleint=sends_nothing),
        "rule Mine: expected the hooks client, server, receive, correct, got a method "
        "'cleint'; did you mean 'client'?",
    ),
    "no hooks": (rule(), "rule Mine: expected one of the hooks client, server, receive"),
    "arguments": (
        rule(client=lambda self, update: update),
        "rule Mine, client: expected a function of (update, state, ctx), got ",
    ),
    "shape": (
        rule(client=lambda self, update, state, ctx: update[1:]),
        "rule Mine, client in round 1, client 1: expected a vector of 1510 finite numbers, "
        "got an array of shape (1509,)",
    ),
    "NaN": (
        rule(correct=lambda self, gradient, params, state, ctx: gradient * np.nan),
        "rule Mine, correct in round 1, client 1: expected a vector of 1510 finite numbers",
    ),
    "not sent": (
        rule(client=sends_nothing, sends=("drift",)),
        "client 1: expected drift in ctx.sent, as sends says, got nothing",
    ),
    "sends without client": (
        rule(server=sends_nothing, sends=("drift",)),
        "rule Mine: sends has names, and there is no hook client to send them",
    ),
    "sends as text": (
        rule(client=sends_nothing, sends="drift"),
        "rule Mine: expected different names as sends, such as ('drift',), got 'drift'",
    ),
    "state": (
        rule(server=lambda self, mean, state, ctx: (state.update(a="b"), mean)[1]),
        "rule Mine, server in round 1: expected an array of numbers as state 'a', got 'b'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_RULES)
def test_wrong_rules(julia: None, wrong: str) -> None:
    own, message = WRONG_RULES[wrong]
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**SMALL, threads=1, rules=[own])
    assert message in str(caught.value)


class OurError(Exception):
    pass


def raises(*arguments: Any) -> Any:
    raise OurError("what happened")


def writes(self: Any, update: Any, state: Any, ctx: Any) -> Any:
    update += 1


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"aggregate": lambda updates, weights: raises()}, "aggregate function, round 1"),
        ({"rules": rule(server=raises)}, "rule Mine, server in round 1"),
        ({"rules": rule(client=lambda self, update, state, ctx: raises())}, "client 1"),
        ({"partition": lambda labels, clients, rng: raises()}, "partition function"),
        ({"sampling": lambda round, clients, rng: raises()}, "sampling function, round 1"),
        ({"server": lambda params, mean, state, ctx: raises()}, "server function, round 1"),
    ],
)
def test_an_exception_keeps_its_type_and_its_stack(
    julia: None, options: dict[str, Any], where: str
) -> None:
    with pytest.raises(OurError, match="what happened") as caught:
        fedflux.run(**SMALL, threads=1, **options)
    assert where in caught.value.__notes__[0]
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (frames[-1].name, frames[-1].filename) == ("raises", __file__)
    assert fedflux.run(**SMALL).params_sha256  # the next run is as any


def test_arguments_cannot_be_written(julia: None) -> None:
    with pytest.raises(ValueError, match="read-only") as caught:
        fedflux.run(**SMALL, rules=rule(client=writes))
    assert "change a copy" in caught.value.__notes__[1]
