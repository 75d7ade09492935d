"""Bad inputs: each a line with the thing, what was expected and what came, none ignored."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux.cli import commands

TABLE = Path(__file__).parent / "bad_inputs.txt"


def table() -> Iterator[tuple[str, str, list[str]]]:
    """Each input with its section, and the words that its message must have."""
    section, given = "", ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("    "):
            yield section, given, line.strip().split(" | ")
        else:
            given = line


ENTRIES = list(table())


def of(section: str) -> Any:
    entries = [(given, words) for name, given, words in ENTRIES if name == section]
    return pytest.mark.parametrize(("given", "words"), entries, ids=[e[0] for e in entries])


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the inputs name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text("rounds = [")
    Path("type.toml").write_text('rounds = "three"')
    Path("broken.npz").write_text("no archive")
    np.savez("empty.npz", a=np.zeros(3))
    objects = np.array([{}], dtype=object)
    np.savez("object.npz", x_train=objects, y_train=np.zeros(1, int))


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the inputs in Python use."""
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    y = np.arange(30) % 3
    usual: dict[str, Any] = {"rounds": 1, "engine": "reference"}
    digits = {"dataset": "digits", "model": "softmax_regression", **usual}
    return {
        "fedflux": fedflux,
        "np": np,
        "x": x,
        "y": y,
        "own": {"x_train": x, "y_train": y, "model": "mlp", "clients": 3, **usual},
        "digits": digits,
        "images": np.zeros((2, 8, 8), "uint8"),
        "result": fedflux.run(**digits),
    }


def check(message: str, words: list[str]) -> None:
    assert len(message.splitlines()) == 1
    for trace in ("Traceback", "Stacktrace", 'File "'):
        assert trace not in message
    for word in words:
        assert word in message


def test_there_are_a_hundred() -> None:
    assert len(ENTRIES) >= 100
    assert len({given for _, given, _ in ENTRIES}) == len(ENTRIES)
    assert all(len(words) >= 2 for _, _, words in ENTRIES)


@of("shell")
def test_in_a_shell(
    given: str, words: list[str], files: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        commands.main(shlex.split(given))
    out, err = capfd.readouterr()
    assert end.value.code == 2
    assert out == ""
    assert err.startswith("fedflux: error: ")
    said, see = err.splitlines()
    check(said, words)
    assert re.fullmatch(r"fedflux: see https://\S+/errors/#[a-z-]+", see)


@of("python")
def test_in_python(
    given: str, words: list[str], files: None, names: dict[str, Any]
) -> None:
    if "plots" in given:
        pytest.importorskip("matplotlib")
    with pytest.raises(fedflux.FedFluxError) as error:
        eval(given, dict(names))  # noqa: S307 - from the table
    check(str(error.value), words)


IN_JULIA = """
module BadInputs
using FedFlux
const small = (; dataset = "digits", clients = 4, rounds = 1, lr = 0.3,
    model = "softmax_regression")
const result = FedFlux.run(; small...)
function message(code)
    try
        include_string(@__MODULE__, code)
        return ""
    catch err
        err isa LoadError && (err = err.error)
        return err isa FedFluxError ? err.message : "no FedFluxError: $err"
    end
end
end
"""


@cache
def message_in_julia() -> Any:
    from juliacall import Main as jl

    jl.seval(IN_JULIA)
    return jl.BadInputs.message


@of("julia")
def test_in_julia(given: str, words: list[str], julia: None, files: None) -> None:
    check(str(message_in_julia()(given)), words)
