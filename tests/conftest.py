"""Shared fixtures: Julia, environments without it, and data. Prints what was skipped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

# A shell ignores SIGINT for background jobs, and children inherit that: Ctrl-C would hang.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
NOTES = pytest.StashKey[list[str]]()
SUITE = pytest.StashKey["JuliaSuite"]()
Run = Callable[..., subprocess.CompletedProcess[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests, too")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:  # mark by fixture, so that no mark is forgotten
        if "julia" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.julia)
        if item.get_closest_marker("soak") and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="a long test: pytest --soak"))
    items.sort(key=_waits_for_the_suite)  # to the end


def _waits_for_the_suite(item: pytest.Item) -> bool:
    return item.name == "test_julia_suite"


def pytest_collection_finish(session: pytest.Session) -> None:
    if any(map(_waits_for_the_suite, session.items)):
        session.config.stash[SUITE] = JuliaSuite()


def julia_command() -> list[str]:
    """Julia, with the project in which the core is installed."""
    from fedflux._julia.project import find_julia

    exe, project = find_julia()
    assert exe is not None
    return [str(exe), f"--project={project}", "--startup-file=no"]


class JuliaSuite:
    """The core's own tests, in a process that runs beside those in Python.

    When those are done a second process takes part: each file is run by one of the two.
    """

    def __init__(self) -> None:
        self.claims = tempfile.TemporaryDirectory()
        self.processes: list[tuple[subprocess.Popen[str], IO[str]]] = []

    def start(self) -> None:
        # what the tests themselves compile runs once: optimizing it takes longer
        command = [*julia_command(), "--threads=2", "-O1", "test/runtests.jl"]
        output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        process = subprocess.Popen(
            [*command, f"--share={self.claims.name}"],
            cwd=ROOT / "julia" / "FedFlux",
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that it ends with all that it started
        )
        self.processes.append((process, output))

    def wait(self) -> list[tuple[int, list[str]]]:
        """The exit code of each process and the lines that it printed."""
        self.start()
        ended = []
        for process, output in self.processes:
            code = process.wait(timeout=3600)
            output.seek(0)
            ended.append((code, output.read().splitlines()))
        return ended

    def end(self) -> None:
        for process, _ in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.claims.cleanup()


@pytest.fixture(scope="session")
def _julia_problem(request: pytest.FixtureRequest) -> Iterator[str | None]:
    import fedflux

    suite = request.config.stash.get(SUITE, None)
    try:
        fedflux.setup()
    except fedflux.JuliaUnavailable as error:
        yield str(error)
        return
    if suite is not None:
        suite.start()
    yield None
    if suite is not None:
        suite.end()


@pytest.fixture
def julia(_julia_problem: str | None) -> None:
    """Julia and the core, started in this process; else the test is skipped or fails."""
    if _julia_problem is None:
        return
    if os.environ.get("FEDFLUX_REQUIRE_JULIA") == "1":
        pytest.fail(f"FEDFLUX_REQUIRE_JULIA=1, but {_julia_problem}")
    pytest.skip(_julia_problem)


@pytest.fixture
def no_julia(tmp_path: Path) -> dict[str, str]:
    """An environment for subprocesses in which Julia can't be found or downloaded."""
    gone = ("PYTHON_JULIA", "JULIA_", "JULIAUP_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
    dirs = [
        d
        for d in env.get("PATH", "").split(os.pathsep)
        if not any((Path(d) / x).exists() for x in ("julia", "juliaup"))
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    return env | {
        "PATH": os.pathsep.join(dirs),
        "HOME": str(empty),
        "JULIAUP_DEPOT_PATH": str(empty),
        "PYTHON_JULIAPKG_PROJECT": str(empty / "project"),
        "PYTHON_JULIAPKG_OFFLINE": "yes",
    }


def fake_julia(folder: Path, version: str) -> Path:
    """An executable that gives itself out as a Julia, and can do nothing else."""
    exe = folder / "julia"
    exe.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "julia version {version}" || exit 3\n'
    )
    exe.chmod(0o755)
    return exe


@contextlib.contextmanager
def started(
    args: Sequence[str], folder: Path, limit: float = 240, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process of Python in `folder`, killed in the end, or after `limit` seconds: a hang
    must fail."""
    command = [sys.executable, *args]
    with subprocess.Popen(command, text=True, cwd=folder, **options) as process:
        watchdog = threading.Timer(limit, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def in_terminal(args: Sequence[str], stream: str = "stdout", **env: str) -> str:
    """Run the command line, and return the output of a stream of it that is a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fedflux", *args]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    with subprocess.Popen(command, env=os.environ | env, **streams) as process:  # type: ignore[call-overload]
        os.close(theirs)
        out = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            out += part
    os.close(ours)
    assert process.returncode == 0, out
    return out.decode().replace("\r\n", "\n")


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a running process has written a file."""
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Run Python in a subprocess, outside the checkout.

    `python("code")` or `python(["-m", "fedflux", ...])`.
    """

    def run(
        what: str | Sequence[str], *, check: bool = True, **kwargs: object
    ) -> subprocess.CompletedProcess[str]:
        args = ["-c", what] if isinstance(what, str) else list(what)
        options: dict[str, object] = {"cwd": tmp_path, "timeout": 600} | kwargs
        command = [sys.executable, *args]
        done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of larger data: FEDFLUX_TEST_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("FEDFLUX_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set FEDFLUX_TEST_DATA")
    return folder


@pytest.fixture
def blobs() -> dict[str, np.ndarray]:
    """Three classes in four dimensions, linearly separable."""
    rng = np.random.default_rng(7)
    centers = rng.normal(size=(3, 4)) * 3

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.arange(n) % 3
        return (centers[y] + rng.normal(size=(n, 4))).astype(np.float32), y

    (x, y), (xt, yt) = draw(90), draw(30)
    return {"x_train": x, "y_train": y, "x_test": xt, "y_test": yt}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for note in config.stash[NOTES]:
        terminalreporter.write_line(note)
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(
        str(r.longrepr[2]).removeprefix("Skipped: ")
        for r in skipped
        if isinstance(r.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} tests were skipped: {reason}")
