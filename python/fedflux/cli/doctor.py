"""`fedflux doctor`: checks the installation and suggests how to fix it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .._data import datasets
from .._julia import mldatasets, system_image
from .._julia.install import OFFLINE, offline
from .._julia.project import (
    compat,
    find_julia,
    installed,
    own_project,
    resolved,
)
from .._options.tables import core_path
from .._version import __version__
from ..errors import FedFluxError

REQUIRED = ("FedFlux", "PythonCall", "Flux")
SETUP = "fedflux setup"
LOAD_LIMIT = 300.0  # seconds; a core that isn't compiled takes minutes
ROUND = """
import time, fedflux
began = time.monotonic()
result = fedflux.run(
    dataset="digits", model="softmax_regression", rounds=1, engine="julia"
)
print(f"trained a round in {time.monotonic() - began:.1f} s, start included")
"""
STATUS = {
    "ok": Text("ok      ", "green"),
    "absent": Text("absent  ", "yellow"),
    "missing": Text("missing ", "red"),
}


@dataclass
class Finding:
    """One line of the report.

    Attributes:
        name: what was checked.
        detail: what was found.
        status: "ok", "absent" for something optional, or "missing".
        fix: what to do about it: a command, or words.
    """

    name: str
    detail: str
    status: str = "ok"
    fix: str | None = None


def examine() -> int:
    """Check the installation without changing it, and print a report.

    Returns:
        0 if the core can run, which a short run in another process shows; 1 if not.
    """
    python = Finding("Python", f"{platform.python_version()}, fedflux {__version__}")
    findings = [python, _check_core(), *_check_julia()]
    console = Console(highlight=False, soft_wrap=True)
    for f in [*findings, *_check_data()]:
        _print(console, f)
    fixes = [f.fix for f in findings if f.fix is not None]
    if not fixes:
        with console.status("a short run"):
            run = _check_run()
        _print(console, run)
        if run.fix is None:
            console.print("The Julia core can run.")
            return 0
        fixes = [run.fix]
    console.print("Until this is fixed, only engine='reference' runs, which is slow. Do:")
    console.print(f"  {fixes[0]}", markup=False)
    return 1


def _print(console: Console, finding: Finding) -> None:
    console.print(STATUS[finding.status], Text(f"{finding.name:13}{finding.detail}"))


def _check_core() -> Finding:
    try:
        return Finding("core", str(core_path()))
    except FedFluxError as error:
        fix = "pip install --force-reinstall fedflux"
        return Finding("core", str(error), "missing", fix)


def _check_julia() -> list[Finding]:
    for name in ("juliacall", "juliapkg"):
        if importlib.util.find_spec(name) is None:
            detail = f"the Python package {name} is not installed"
            return [Finding("juliacall", detail, "missing", "pip install juliacall")]
    findings = [Finding("juliacall", importlib.metadata.version("juliacall"))]
    from juliapkg.compat import Compat
    from juliapkg.find_julia import julia_version

    exe, project = find_julia()
    version = julia_version(exe)
    julia = f"{version} at {exe}"
    if version is None:
        found = f"{exe} does not run" if exe else "none on PATH, of juliaup or juliapkg"
        findings.append(Finding("Julia", found, "missing", _setup("downloads it")))
    elif version in Compat.parse(compat()):
        findings.append(Finding("Julia", julia))
    elif own_project() is not None or os.environ.get("PYTHON_JULIAPKG_EXE"):
        untested = f"{julia}, as you chose; tested with {_tested()}"
        findings.append(Finding("Julia", untested))
    else:
        detail = f"{julia} is not used: fedflux is tested with {_tested()} only"
        fix = _setup("puts one of them beside it")
        findings.append(Finding("Julia", detail, "missing", fix))
    return findings + _check_packages(project)


def _tested() -> str:
    return f"Julia {compat().replace('~', '').replace(', ', ' and ')}"


def _setup(does: str) -> str:
    """The command that installs. It is of no use if juliapkg must not install."""
    if own_project() is None and offline():
        return f"unset {OFFLINE}, and with a connection run {SETUP}"
    if own_project() is not None:
        return (
            f"set PYTHON_JULIACALL_EXE to {_tested()}, or unset it and "
            f"PYTHON_JULIACALL_PROJECT and run {SETUP}"
        )
    return f"{SETUP}    # {does}"


def _check_packages(project: Path) -> list[Finding]:
    versions = installed(project)
    findings = []
    for name in REQUIRED:
        if name in versions:
            findings.append(Finding(name, f"{versions[name]} in {project}"))
        else:
            fix = _setup("installs the packages")
            if own_project() is not None:
                fix = f"add {name} to the Julia project {project}"
            findings.append(Finding(name, f"not in {project}", "missing", fix))
    if own_project() is None and all(f.fix is None for f in findings) and not resolved():
        detail = "the declared Julia or packages have changed since the installation"
        fix = _setup("installs them")
        findings.append(Finding("packages", detail, "missing", fix))
    name, found = mldatasets.PACKAGE, mldatasets.version(project)
    if found is not None:
        findings.append(Finding(name, f"{found} beside {project}"))
    else:
        detail = "not installed; the first run that uses mnist or fashionmnist installs it"
        findings.append(Finding(name, detail, "absent"))
    image = system_image.find()
    if image is not None:
        return [*findings, Finding("system image", str(image))]
    detail = f"none; {SETUP} --system-image makes one, for shorter starts"
    return [*findings, Finding("system image", detail, "absent")]


def _check_run() -> Finding:
    """Train a round through the bridge, in another process and with a time limit."""
    exe, project = find_julia()
    # past juliapkg, which could install something
    chosen = {"PYTHON_JULIACALL_EXE": str(exe), "PYTHON_JULIACALL_PROJECT": str(project)}
    repair = f"remove {project} and run {SETUP}    # installs the packages again"
    if own_project() is not None:
        repair = f"repair the Julia project {project}, which PYTHON_JULIACALL_PROJECT names"
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:  # into a file: a compiler that is left behind would keep a pipe open
            done = subprocess.run(
                [sys.executable, "-c", ROUND],
                stdout=output,
                stderr=output,
                env=os.environ | chosen,
                timeout=LOAD_LIMIT,
            )
        except subprocess.TimeoutExpired:
            detail = f"not done after {LOAD_LIMIT:.0f} s: the core may not be compiled yet"
            return Finding("a run", detail, "missing", f"{SETUP}    # compiles the core")
        output.seek(0)
        written = output.read().strip()
    last = written.partition("\nsee https://")[0].rpartition("\n")[2]  # before its address
    if done.returncode == 0:
        return Finding("a run", last)
    reason = last.rpartition("Error: ")[2] or f"exit code {done.returncode}"
    return Finding("a run", reason, "missing", repair)


def _check_data() -> list[Finding]:
    findings = [Finding("digits", "included in fedflux")]
    for name in ("mnist", "fashionmnist"):
        folder = datasets.find(name)
        if folder is not None:
            findings.append(Finding(name, str(folder)))
        else:
            findings.append(Finding(name, "not cached; downloaded at first use", "absent"))
    return findings
