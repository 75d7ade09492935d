"""The bridge to Julia: signals, threads, forks, callbacks, other users of juliacall.

Most tests start a process of their own, since a failure may end it.
"""

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Any

import numpy as np
import pytest

import fedflux

from ..conftest import Run, started, wait_for

RUN = "fedflux.run(dataset='digits', model='softmax_regression', rounds=1, engine='julia'"
CLEAN = (
    "PYTHON_JULIACALL_THREADS",
    "PYTHON_JULIACALL_HANDLE_SIGNALS",
    "PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION",
)


def env(**more: str) -> dict[str, str]:
    """The environment without the variables that Julia in the tests' own process set."""
    return {name: value for name, value in os.environ.items() if name not in CLEAN} | more


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("kind", ["one long round", "many short rounds"])
def test_ctrl_c_ends_a_run_within_a_second(
    julia: None, tmp_path: Path, kind: str, threads: str
) -> None:
    options = (
        "rounds=1, local_epochs=100000" if kind == "one long round" else "rounds=1000000"
    )
    code = f"""
import fedflux
fedflux.setup()
{RUN})
print("go", flush=True)
try:
    fedflux.run(dataset='digits', model='mlp', engine='julia', {options})
except KeyboardInterrupt:
    print("interrupted", flush=True)
print({RUN}).engine, flush=True)
"""
    variables = env(PYTHON_JULIACALL_THREADS=threads)
    with started(["-c", code], tmp_path, stdout=PIPE, env=variables) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(4)  # into the training
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - sent < 3  # a second, but for the suite that runs beside
        assert process.stdout.readline() == "julia\n"  # the process goes on working
        assert process.wait(60) == 0


def test_ctrl_c_on_the_command_line_is_one_line(julia: None, tmp_path: Path) -> None:
    args = "-m fedflux run --dataset digits --rounds 1000000 --engine julia --resume run"
    with started(shlex.split(args), tmp_path, stderr=PIPE, env=env()) as process:
        wait_for(tmp_path / "run/round-000003.json", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "fedflux: error: interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize("threads", ["1", "2"])
def test_sigterm_is_one_line_and_keeps_the_checkpoint(
    julia: None, tmp_path: Path, threads: str
) -> None:
    args = "-m fedflux run --dataset digits --rounds 1000000 --engine julia --resume run"
    variables = env(PYTHON_JULIACALL_THREADS=threads)
    with started(shlex.split(args), tmp_path, stderr=PIPE, env=variables) as process:
        wait_for(tmp_path / "run/round-000003.json", process)
        sent = time.monotonic()
        process.terminate()
        _, err = process.communicate(timeout=10)
    assert time.monotonic() - sent < 2  # Python and Julia also take a while to leave
    assert process.returncode == 143
    assert err.splitlines() == ["fedflux: error: terminated"]
    newest = max((tmp_path / "run").glob("round-*.json"))
    newest_round = int(newest.stem.removeprefix("round-"))
    rest = fedflux.run(resume=str(tmp_path / "run"), rounds=newest_round + 1)
    assert rest.details["resumed"] == newest_round


@pytest.fixture(scope="module")
def seconds_of_python() -> float:
    """How long the command line takes to be there: before, only Python itself could act."""
    begun = time.monotonic()
    run([sys.executable, "-m", "fedflux", "--version"], check=True, stdout=DEVNULL)
    return time.monotonic() - begun


@pytest.mark.parametrize("delay", [0.2, 0.8, 1.4, 2.3, 3.8])
def test_sigterm_at_any_moment_of_the_start_is_one_line(
    julia: None, tmp_path: Path, delay: float, seconds_of_python: float
) -> None:
    args = "-m fedflux run --dataset digits --rounds 1000000 --engine julia"
    with started(shlex.split(args), tmp_path, stdout=PIPE, stderr=PIPE, env=env()) as start:
        time.sleep(seconds_of_python + delay)
        sent = time.monotonic()
        start.terminate()
        _, err = start.communicate(timeout=20)
    assert time.monotonic() - sent < 2
    # ended by the signal itself, which a shell reports as 143, or caught
    assert start.returncode in (-signal.SIGTERM, 143)
    assert len(err.splitlines()) == 1, err
    assert err.startswith("fedflux: error: ")


def test_sigterm_outside_the_command_line_does_what_it_did(
    julia: None, python: Run
) -> None:
    code = f"""
import os, signal, fedflux
{RUN})
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = python(code, check=False, env=env(), timeout=300)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def test_an_exception_in_a_callback_keeps_its_type(
    julia: None, blobs: dict[str, np.ndarray]
) -> None:
    class Boom(Exception):
        pass

    def callback(record: dict[str, Any]) -> bool:
        raise Boom(record["round"])

    common: dict[str, Any] = {
        **blobs,
        "model": "mlp",
        "clients": 3,
        "rounds": 3,
        "engine": "julia",
    }
    with pytest.raises(Boom) as error:
        fedflux.run(**common, callback=callback)
    assert error.value.args == (1,)
    assert len(fedflux.run(**common).history) == 3


def test_another_thread_runs_in_a_process_of_its_own(julia: None, python: Run) -> None:
    code = f"""
import os, threading, fedflux
fedflux.setup()
here = {RUN})
seen = []
def work():
    result = {RUN}, callback=lambda record: seen.append(os.getpid()))
    print(result.params_sha256 == here.params_sha256, seen == [os.getpid()])
    try:
        fedflux.run(resume=here, rounds=2)
    except fedflux.FedFluxError as error:
        print(error)
    try:
        fedflux.run(dataset="digits", model="lenet")
    except fedflux.FedFluxError as error:
        print(error)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print({RUN}).engine)
"""
    lines = python(code, env=env(), timeout=300).stdout.splitlines()
    assert lines[0] == "True True"
    assert lines[1].startswith("resume: Julia was started in another thread")
    assert "lenet, layer 3" in lines[2]
    assert lines[3] == "julia"


def test_the_first_run_may_be_in_a_thread(julia: None, python: Run) -> None:
    """As in a server's worker: Julia then belongs to that thread, and runs serially."""
    code = f"""
import threading, fedflux
def work():
    result = {RUN})
    print(result.engine, result.details["threads"], flush=True)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    assert python(code, env=env(), timeout=300).stdout.split() == ["julia", "1"]


def test_a_forked_child_runs_in_a_process_of_its_own(julia: None, python: Run) -> None:
    code = f"""
import os, fedflux
fedflux.setup()
child = os.fork()
if child == 0:
    print({RUN}).params_sha256, flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print({RUN}).params_sha256)
"""
    lines = python(code, env=env(), timeout=300).stdout.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_juliacall_booted_before_without_signals(
    julia: None, python: Run, threads: str
) -> None:
    code = f"""
import juliacall, warnings, fedflux
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    result = {RUN}, threads=2)
warned = sum("one at a time" in str(w.message) for w in caught)
print(result.engine, result.details["threads"], warned)
"""
    before = env(PYTHON_JULIACALL_THREADS=threads, PYTHON_JULIACALL_HANDLE_SIGNALS="no")
    assert python(code, env=before, timeout=300).stdout.split() == ["julia", "1", "1"]


def test_every_thread_is_used_by_default(julia: None, python: Run) -> None:
    code = f"""
import fedflux, os
r = {RUN})
print(r.details['threads'], len(os.sched_getaffinity(0)), r.warnings)
"""
    threads, cpus, warned = python(code, env=env(), timeout=300).stdout.split()
    assert (threads, warned) == (cpus, "[]")


@pytest.mark.parametrize(
    "order",
    [
        "import torch, fedflux; fedflux.setup()",
        "import fedflux; fedflux.setup(); import torch",
    ],
)
def test_beside_torch(julia: None, python: Run, order: str) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    code = f"{order}\nprint({RUN}).engine, torch.ones(3).sum().item())"
    assert python(code, env=env(), timeout=300).stdout.split() == ["julia", "3.0"]


def test_stdout_stays_the_users(julia: None, python: Run) -> None:
    assert python(f"import fedflux; {RUN})", env=env(), timeout=300).stdout == ""


def test_an_offline_project_without_packages_fails_cleanly(
    julia: None, python: Run, tmp_path: Path
) -> None:
    """Julia is installed and the core's packages aren't: auto says so and how to go on."""
    empty = tmp_path / "project"
    empty.mkdir()
    offline = env(PYTHON_JULIAPKG_PROJECT=str(empty), PYTHON_JULIAPKG_OFFLINE="yes")
    done = python(
        "import fedflux; " + RUN.replace("'julia'", "'auto'") + ")",
        check=False,
        env={k: v for k, v in offline.items() if k != "PYTHON_JULIACALL_EXE"},
        timeout=300,
    )
    assert done.returncode == 1
    *_, last, see = done.stderr.splitlines()
    assert see.endswith("/errors/#julia-doesnt-start")
    assert "JuliaUnavailable: Julia can't be started" in last
    assert "fedflux doctor" in last
    assert "engine='reference'" in last
