"""Options that name an object: the parser with a table of its own, and the objects."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import fedflux
from fedflux._options import classes as objects, specs
from fedflux._options.option import Option
from fedflux._options.options import check, declare
from fedflux._reference.supported import check_supported

PARAMS: dict[str, dict[str, Any]] = {
    "alpha": {"type": "float", "above": 0.0},
    "n": {"type": "int", "default": 3, "min": 1},
    "how": {"type": "str?", "choices": ["a", "b"]},
    "sizes": {"type": "ints", "default": [1]},
    "fast": {"type": "bool", "default": False},
}


@pytest.fixture
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "plain": {},
        "rich": {p: declare(f"kind rich, parameter {p}", d) for p, d in PARAMS.items()},
    }

    def known(kind: str) -> Mapping[str, Mapping[str, Option]]:
        return table

    monkeypatch.setattr(specs, "known", known)


@pytest.mark.usefixtures("_declared")
@pytest.mark.parametrize(
    ("text", "name", "given"),
    [
        ("plain", "plain", None),
        (" Plain ( ) ", "plain", None),
        ("rich(alpha=1)", "rich", {"alpha": 1.0}),
        ('rich( n = 7 , alpha=.5, how="a" )', "rich", {"alpha": 0.5, "n": 7, "how": "a"}),
        (
            "rich(alpha=1e-3, sizes=[4, 5], fast=true, how=b)",
            "rich",
            {"alpha": 1e-3, "sizes": [4, 5], "fast": True, "how": "b"},
        ),
    ],
)
def test_parse(text: str, name: str, given: dict[str, Any] | None) -> None:
    defaults = {"n": 3, "how": None, "sizes": [1], "fast": False}
    assert specs.parse("kind", text) == (name, {} if given is None else defaults | given)


@pytest.mark.usefixtures("_declared")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected name or name"),
        ("a b", "expected name or name"),
        ("rich(alpha=1", "expected name or name"),
        ("rihc", "expected one of plain, rich, got 'rihc'; did you mean 'rich'?"),
        ("rich", "parameter alpha: expected a value, got none"),
        ("rich(alpha=0)", "parameter alpha: expected more than 0.0, got 0.0"),
        ("rich(alpha=word)", "parameter alpha: expected a number, got 'word'"),
        ("rich(alpha=1, alpha=2)", "gives alpha twice"),
        (
            "rich(alhpa=1)",
            "no parameter 'alhpa'; it takes alpha, n, how, sizes, fast; did you mean "
            "'alpha'?",
        ),
        ("plain(a=1)", "no parameter 'a'; it takes none"),
        ("rich(n=1, 2)", "can't read 'rich(n=1, 2)' at '2'; expected parameter=value"),
        ("rich(1, alpha=2)", "gives alpha twice"),
        ("plain(1)", "can't read 'plain(1)' at '1'"),
        ("plain(" + "x" * 1000 + ")", "expected name or name"),
    ],
)
def test_errors(text: str, words: str) -> None:
    with pytest.raises(fedflux.OptionError) as error:
        specs.parse("kind", text)
    assert words in str(error.value)


@pytest.mark.usefixtures("_declared")
def test_the_first_values_may_stand_without_their_names() -> None:
    named = specs.parse("kind", "rich(alpha=1, n=3)")
    assert specs.parse("kind", "rich(1, 3)") == specs.parse("kind", "rich(1, n=3)") == named


@pytest.mark.usefixtures("_declared")
def test_lists_of_specs_on_the_command_line() -> None:
    option = declare("rules", {"type": "specs", "kind": "kind"})
    assert option.parse("plain, rich(alpha=1, sizes=[1,2]),plain()") == [
        "plain",
        "rich(alpha=1, sizes=[1,2])",
        "plain()",
    ]
    with pytest.raises(fedflux.OptionError, match="expected one of plain, rich"):
        option.check(["plain", "x"])


def test_as_options() -> None:
    with pytest.raises(
        fedflux.OptionError,
        match=r"aggregate: expected one of mean.*, got 'meen'; did you mean 'mean'\?",
    ):
        fedflux.run(aggregate="meen")
    check_supported(check({"aggregate": "Mean()"}))


def test_objects_are_frozen_and_print_as_the_text() -> None:
    rule = fedflux.FedProx(mu=0.5)
    assert (str(rule), repr(rule), rule.mu) == ("fedprox(mu=0.5)", "FedProx(mu=0.5)", 0.5)
    assert rule == fedflux.FedProx(0.5) != fedflux.FedProx()
    with pytest.raises(AttributeError):
        rule.mu = 1.0
    assert fedflux.FedRep(arrays=["layers.5"]).arrays == ("layers.5",)
    assert "FedProx" in dir(fedflux)


def test_every_object_prints_what_is_read_back_as_the_same() -> None:
    made = objects.classes()
    kinds = {cls.kind for cls in made.values()}
    names = sum(len(specs.known(kind)) for kind in kinds)
    assert len(made) == names, "two objects have the same class name"
    for cls in made.values():
        if any(option.required for option in specs.known(cls.kind)[cls.name].values()):
            continue
        name, values = specs.parse(cls.kind, str(cls()))
        assert (name, cls(**values)) == (cls.name, cls())


def test_objects_as_options() -> None:
    options = check(
        {
            "rules": [fedflux.FedProx(mu=0.1), "scaffold"],
            "server": fedflux.ServerSGD(lr=0.5),
        }
    )
    assert (options["rules"], options["server"]) == (
        ["fedprox(mu=0.1)", "scaffold"],
        "sgd(lr=0.5)",
    )
    assert (
        check({"rules": fedflux.FedNova()})["rules"]
        == check({"rules": "fednova"})["rules"]
        == ["fednova"]
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: fedflux.FedProx(mu=-1),
            "rule fedprox, parameter mu: expected at least 0.0, got -1",
        ),
        (lambda: fedflux.FedProx(mu="x"), "parameter mu: expected a number, got 'x'"),
        (
            lambda: check({"rules": [fedflux.FedAdam()]}),
            "rules: expected an object of kind rule, got FedAdam(",
        ),
        (lambda: str(fedflux.FedPer(arrays=['"'])), "without double quotes"),
    ],
)
def test_wrong_objects(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(fedflux.OptionError) as error:
        make()
    assert words in str(error.value)


def test_an_unknown_object_has_a_nearest_name() -> None:
    with pytest.raises(AttributeError, match=r"did you mean .FedProx"):
        fedflux.FedPrx  # noqa: B018
