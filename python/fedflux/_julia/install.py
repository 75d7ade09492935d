"""Installs Julia and its packages, and shows what goes on meanwhile."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from ..errors import JuliaUnavailable, first_line
from . import core_source, failed_downloads
from .project import find_julia, installed, own_project, resolved

DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer
NOT_FOUND = "could not find Julia"  # juliapkg's words if it must not download
HEARTBEAT = 30.0  # seconds between lines if stderr is no terminal
OFFLINE = "PYTHON_JULIAPKG_OFFLINE"


listeners: list[Callable[[str], None]] = []  # who else hears what `say` says


def say(message: str) -> None:
    """Print a line on what fedflux is doing, to stderr."""
    print(f"fedflux: {message}", file=sys.stderr, flush=True)
    for listener in listeners:
        listener(message)


def begin(message: str) -> Callable[[str], None]:
    """Say that something begins; return what says that it is done, and how long it took."""
    say(message)
    began = time.monotonic()
    return lambda done: say(f"{done}, after {time.monotonic() - began:.0f} s")


def offline() -> bool:
    """Whether juliapkg must not install anything."""
    from juliapkg.state import STATE

    return bool(STATE["offline"])


def install() -> None:
    """Install Julia, if there is none, and the packages of the core, if they are missing.

    Raises:
        JuliaUnavailable: Julia or a package can't be installed. Without a network a
            download fails at once. If the network drops packets, it fails after
            `DOWNLOAD_TIMEOUT`.
    """
    if own_project() is not None:
        return
    import juliapkg

    core_source.declare()
    done = None
    if not offline() and not resolved():
        done = begin(
            "step 1 of 2: installing Julia (if it is missing) and the core's packages, and "
            "compiling them; this happens once and takes minutes"
        )
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        # juliapkg prints its progress to stdout, which belongs to the user
        with contextlib.redirect_stdout(sys.stderr):
            juliapkg.resolve()
    except subprocess.CalledProcessError as error:
        ended = f"exit code {error.returncode}"
        raise JuliaUnavailable(
            f"Julia works, but Pkg could not install the core's packages ({ended}); see "
            "its output above"
            if "import Pkg" in error.cmd[-1]
            else f"Julia can't be started: {error.cmd[0]} ends with {ended}"
        ) from None
    except OSError as error:  # includes urllib's errors
        reason = f"Julia is not installed, and can't be downloaded ({_reason(error)})"
        failed_downloads.remember(failed_downloads.JULIA, reason)
        raise JuliaUnavailable(reason, absent=True) from error
    except Exception as error:  # juliapkg has no error class of its own
        reason = first_line(error)
        absent = NOT_FOUND in reason
        if absent and offline():
            reason += f", and {OFFLINE} keeps fedflux from downloading it"
        raise JuliaUnavailable(
            f"Julia can't be started: {reason}", absent=absent
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    if done is not None:
        done(f"{len(installed(find_julia()[1]))} packages are installed")
        say("step 2 of 2: starting Julia with the core")


def _reason(error: OSError) -> str:
    inner = getattr(error, "reason", None)  # of an error that urllib wraps
    return first_line(inner if isinstance(inner, BaseException) else error)


def run_script(script: str, doing: str, *flags: str) -> str | None:
    """Run a Julia script in its own process, and show how long it takes.

    Args:
        script: the script, which runs in the project of the core's packages.
        doing: what it does, for the line that shows it.
        flags: further ones of Julia.

    Returns:
        Why it failed, in a line, or None if it did not.
    """
    exe, project = find_julia()
    assert exe is not None  # what `install` leaves
    process = subprocess.Popen(
        [exe, f"--project={project}", "--startup-file=no", *flags, "-e", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"JULIA_PYTHONCALL_EXE": sys.executable} | os.environ,
    )
    try:
        lines = _follow(process, doing)
    except BaseException:
        process.kill()
        raise
    if process.returncode == 0:
        return None
    errors = [line for line in lines if line.startswith("ERROR: ")]
    code = f"exit code {process.returncode}"
    return errors[-1].removeprefix("ERROR: ") if errors else code


def _follow(process: subprocess.Popen[bytes], doing: str) -> list[str]:
    """Show what goes on until a process ends, and return the lines that it wrote.

    A terminal shows one line. Elsewhere a line is printed now and then.
    """
    from rich.console import Console
    from rich.text import Text

    console, began, due = Console(stderr=True), time.monotonic(), HEARTBEAT
    lines: list[str] = []
    ended = False
    with console.status("") as status:
        while not ended:
            ended = process.poll() is not None  # though what it started may hold the pipe
            try:
                output, ended = process.communicate(timeout=1)[0], True
            except subprocess.TimeoutExpired as waiting:
                output = waiting.output or b""
            lines = [x.strip() for x in output.decode(errors="replace").splitlines()]
            elapsed = time.monotonic() - began
            last = lines[-1] if lines else ""
            status.update(Text(f"fedflux: {doing}: {elapsed:.0f} s  {last}"))
            if elapsed > due and not console.is_terminal:
                due += HEARTBEAT
                say(f"{doing}: {elapsed:.0f} s so far")
    return lines
