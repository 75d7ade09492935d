"""The kinds of errors: each message of the code is of one, and each has an entry."""

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

import fedflux
from fedflux.errors import ENTRIES, help_address

from ..conftest import ROOT, Run
from .test_docs import anchors

TABLE = ROOT / "julia" / "FedFlux" / "src" / "options" / "errors.toml"
KINDS = tomllib.loads(TABLE.read_text())["kind"]
CLASSES = {"FedFluxError", "OptionError", "DataError", "JuliaUnavailable"}
FOR_CLICK = {"did you mean", "No such (option|command)", "Missing", "^Invalid value"}


def literal(node: ast.AST) -> str:
    """The text of a message, with 7 for what is put into it."""
    match node:
        case ast.Constant(value):
            return str(value)
        case ast.JoinedStr(values):
            return "".join(map(literal, values))
        case ast.BinOp(left, ast.Add(), right):
            return literal(left) + literal(right)
        case ast.IfExp(_, body, _):
            return literal(body)
    return "7"


def of_python(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            call = node.exc
            if ast.unparse(call.func) in CLASSES:
                yield literal(call.args[0])


def argument(text: str) -> str:
    """What stands between this bracket and its partner, which may hold strings."""
    depth, at = 1, 0
    for found in re.finditer(r'"(?:\\.|[^"\\])*"|[()]', text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        at = found.start()
        if depth == 0:
            break
    return text[:at]


def of_julia(text: str) -> Iterator[str]:
    for call in re.finditer(r"\b(?:fail|FedFluxError)\(", text):
        parts = re.findall(r'"((?:\\.|[^"\\])*)"|([^",]+)', argument(text[call.end() :]))
        yield "".join(
            s.replace('\\"', '"') if s else "7" * bool(e.strip()) for s, e in parts
        )


def own_words(message: str) -> int:
    return len(re.findall(r"[a-z]{2,}", re.sub(r"\$\(.*?\)", "", message)))


def messages() -> dict[str, str]:
    """Each message that the code has literally, and a file that has it."""
    found: dict[str, str] = {}
    core = ROOT / "julia" / "FedFlux"
    for folder, suffix, read in (
        (ROOT / "python", "py", of_python),
        (core / "src", "jl", of_julia),
        (core / "ext", "jl", of_julia),
    ):
        for path in folder.rglob(f"*.{suffix}"):
            for message in read(path.read_text()):
                if own_words(message):  # and isn't passed on
                    found[message] = path.name
    return found


MESSAGES = messages()


def test_every_message_is_of_a_kind() -> None:
    assert len(MESSAGES) > 700
    lost = [
        f"{file}: {message}"
        for message, file in MESSAGES.items()
        if help_address(message) == ENTRIES and own_words(message) >= 3
    ]
    assert not lost, "give errors.toml what these have:\n" + "\n".join(lost)


def test_no_kind_and_no_text_is_there_in_vain() -> None:
    found: dict[str, set[str]] = {kind["name"]: set() for kind in KINDS}
    for message in MESSAGES:
        for kind in KINDS:
            first = next((t for t in kind["texts"] if re.search(t, message)), None)
            if first is not None:
                found[kind["name"]].add(first)
                break
    for kind in KINDS:
        assert found[kind["name"]] | FOR_CLICK >= set(kind["texts"]), kind["name"]
        assert found[kind["name"]]


def test_every_kind_has_an_entry_with_cause_and_remedy() -> None:
    page = ROOT / "docs" / "errors.md"
    parts = re.split(r"^### ", page.read_text(), flags=re.M)[1:]
    entries = {
        re.sub(r"[^\w\- ]", "", p.split("\n")[0].lower()).replace(" ", "-"): p
        for p in parts
    }
    assert set(entries) <= anchors(page)
    for kind in KINDS:
        entry = entries[kind["name"]]
        assert "**Cause.**" in entry or "| cause |" in entry, kind["name"]
        assert "**Remedy.**" in entry or "| remedy |" in entry, kind["name"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"ruls": "scaffold"}, "unknown-names"),
        ({"rules": "skaffold"}, "unknown-names"),
        ({"lr": -1}, "values-out-of-range"),
        ({"dataset": "nowhere.npz"}, "files-of-data"),
        ({"x_train": [[float("nan")]], "y_train": [0]}, "values-that-are-no-numbers"),
        ({"x_train": [[1.0], [2.0]], "y_train": [0]}, "data-that-doesnt-fit"),
        (
            {"x_train": [[1.0]], "y_train": ["a"], "loss": "mse"},
            "values-that-are-no-numbers",
        ),
        ({"resume": "nowhere"}, "options-that-exclude-each-other"),
        ({"aggregate": "ckks(scale_bits=99)"}, "encrypted-sums"),
    ],
)
def test_an_error_leads_to_its_entry(options: dict[str, object], kind: str) -> None:
    with pytest.raises(fedflux.FedFluxError) as caught:
        fedflux.run(**options, engine="reference")  # type: ignore[arg-type]
    assert caught.value.help == f"{ENTRIES}#{kind}"
    assert caught.value.__notes__ == [f"see {caught.value.help}"]


def test_the_shell_names_the_entry_below_the_error(python: Run) -> None:
    for given, kind in (
        ("--ruls=x", "unknown-names"),
        ("--rounds=0", "values-out-of-range"),
    ):
        done = python(["-m", "fedflux", "run", given], check=False)
        assert done.stderr.splitlines()[-1] == f"fedflux: see {ENTRIES}#{kind}"


def test_julia_gives_the_same_addresses(julia: None) -> None:
    from juliacall import Main as jl

    addresses = jl.seval("texts -> map(FedFlux.help_address ∘ string, texts)")
    assert list(map(str, addresses(list(MESSAGES)))) == list(map(help_address, MESSAGES))
    shown = jl.seval(
        """try
            FedFlux.fail("rounds: expected at least ", 1, ", got ", 0)
        catch err
            sprint(showerror, err, catch_backtrace()), sprint(showerror, err)
        end"""
    )
    assert f"\nsee {ENTRIES}#values-out-of-range\n" in str(shown[0])
    assert "see" not in str(shown[1])
