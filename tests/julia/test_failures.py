"""How commands end: one line for any error, and the stack with --debug; without Julia."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedflux
from fedflux._julia import failed_downloads
from fedflux._simulation import engines
from fedflux.cli import commands as cli

from ..conftest import ROOT, Run, fake_julia

FAST = shlex.split(
    "run --dataset digits --model softmax_regression --engine reference --rounds 1"
)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command line in this process, with an engine that raises."""

    def run(error: BaseException, *more: str) -> int:
        def execute(*_: Any) -> Any:
            raise error

        monkeypatch.setattr(engines, "execute", execute)
        with pytest.raises(SystemExit) as end:
            cli.main([*FAST, *more])
        return int(str(end.value.code))

    return run


def test_an_unexpected_error_is_one_line(
    failing: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(ZeroDivisionError("one\ntwo")) == 70
    err = capsys.readouterr().err
    assert err.startswith("fedflux: error: unexpected ZeroDivisionError: one; please")
    assert err.count("\n") == 1
    assert failing(ZeroDivisionError("one"), "--debug") == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("fedflux: error: unexpected ZeroDivisionError")
    assert failing(MemoryError()) == 2
    assert "out of memory" in capsys.readouterr().err


def test_debug_shows_the_stack_of_a_users_error_too(python: Run) -> None:
    done = python(["-m", "fedflux", "--debug", *FAST, "--rounds", "0"], check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-2] == (
        "fedflux: error: rounds: expected at least 1, got 0"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_stdout_is_one_line(python: Run) -> None:
    code = (
        "import sys; sys.stdout = open('/dev/full', 'w'); import fedflux.cli as c; c.main()"
    )
    done = python(["-c", code, *FAST], check=False)
    assert done.returncode == 2
    assert done.stderr == "fedflux: error: can't read or write: No space left on device\n"


def test_a_model_larger_than_memory(python: Run) -> None:
    done = python(
        ["-m", "fedflux", *FAST, "--model", "mlp", "--hidden", str(10**12)],
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert done.stderr.endswith("/errors/#memory\n")
    assert "out of memory" in done.stderr


def test_a_model_larger_than_memory_in_the_core(julia: None) -> None:
    words = r"mlp would have \d+ parameters .*expected at most"
    with pytest.raises(fedflux.FedFluxError, match=words):
        fedflux.run(dataset="digits", model="mlp", hidden=[10**12], engine="julia")


def test_examples_without_their_argument(python: Run) -> None:
    done = python([str(ROOT / "examples" / "shakespeare.py")], check=False)
    assert done.stderr.strip() == "usage: python examples/shakespeare.py PLAY"


def test_the_core_alone_and_no_julia(python: Run, no_julia: dict[str, str]) -> None:
    """The reason stands in the message of what fails without Julia."""
    args = ["-m", "fedflux", "run", "--dataset", "digits", "--partition", "shards"]
    done = python(args, env=no_julia, check=False)
    assert done.returncode == 2
    assert "partition='shards' needs the Julia core" in done.stderr
    assert (
        "and Julia can't be had: Julia can't be started: could not find Jul" in done.stderr
    )


def test_a_julia_that_does_not_start_is_no_reason_for_the_reference_engine(
    python: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    exe = tmp_path / "julia"
    exe.write_text("#!/bin/sh\nexit 3\n")
    exe.chmod(0o755)
    own = {"PYTHON_JULIACALL_EXE": str(exe), "PYTHON_JULIACALL_PROJECT": str(tmp_path)}
    done = python(
        ["-m", "fedflux", "run", "--dataset", "digits"], env=no_julia | own, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "engine='reference' runs the slow engine without Julia" in done.stderr
    assert len([x for x in done.stderr.splitlines() if "fedflux: error" in x]) == 1


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(
        "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path)
    )
    monkeypatch.setenv("PATH", "")
    return tmp_path / "fedflux" / "no-julia.json"


def test_a_failed_download_is_remembered_for_a_while(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failed_downloads.recall("julia") is None
    failed_downloads.remember("julia", "it can't be downloaded")
    assert failed_downloads.recall("julia") == "it can't be downloaded"
    assert failed_downloads.recall("another") is None
    later = time.time() + failed_downloads.KEPT + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert failed_downloads.recall("julia") is None
    monkeypatch.undo()


def test_what_was_remembered_is_void(cache: Path) -> None:
    failed_downloads.remember("julia", "it can't be downloaded")
    for text in ("{", "[]", json.dumps({"time": "x", "reason": ""}), "0" * 20_000):
        kept = cache.read_text()
        cache.write_text(text)
        assert failed_downloads.recall("julia") is None
        cache.write_text(kept)
    failed_downloads.remember("another", "it neither")
    failed_downloads.forget()
    assert failed_downloads.recall("julia") is failed_downloads.recall("another") is None


def test_a_julia_that_came_is_tried(
    python: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    env = no_julia | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    code = (
        "from fedflux._julia import failed_downloads as r; "
        "r.remember(r.JULIA, 'it stalled')"
    )
    boot = f"""
import fedflux._julia.start
{code}
try:
    fedflux._julia.start.boot()
except fedflux.JuliaUnavailable as error:
    print(error)
"""
    assert python(boot, env=env).stdout.startswith("it stalled; that was a few minutes ago")
    fake_julia(tmp_path, "1.12.1")
    assert "could not find Julia" in python(boot, env=env).stdout  # 1.12 isn't taken


def test_a_stalled_network_costs_its_time_once(
    python: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    env = no_julia | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    del env["PYTHON_JULIAPKG_OFFLINE"]
    stalled = """
import socket, time, fedflux
def connect(*_args, **_kwargs):
    time.sleep(1); raise socket.timeout("timed out")
socket.create_connection = socket.socket.connect = connect
began = time.monotonic()
try:
    fedflux._julia.start.boot()
except fedflux.JuliaUnavailable as error:
    print(error.absent, error)
print(time.monotonic() - began < 1)
"""
    first, second = (
        python("import fedflux._julia.start" + stalled, env=env) for _ in range(2)
    )
    assert "True Julia is not installed, and can't be downloaded" in first.stdout
    assert first.stdout.endswith("False\n")
    assert "that was a few minutes ago; run `fedflux setup` to try again" in second.stdout
    assert second.stdout.endswith("True\n")
