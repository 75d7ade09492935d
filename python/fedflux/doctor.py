"""`fedflux doctor`: checks the installation and suggests how to fix it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from . import datasets
from ._core import core_path
from ._version import __version__
from .errors import FedFluxError

REQUIRED = ("FedFlux", "PythonCall", "Flux")
OPTIONAL = ("MLDatasets",)
SETUP = "fedflux setup"
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
        fix: the command that installs what is missing.
    """

    name: str
    detail: str
    status: str = "ok"
    fix: str | None = None


def examine() -> int:
    """Check the installation without changing it, and print a report.

    Returns:
        0 if the core can run, 1 if something that it needs is missing.
    """
    python = Finding("Python", f"{platform.python_version()}, fedflux {__version__}")
    findings = [python, _check_core(), *_check_julia(), *_check_data()]
    console = Console(highlight=False, soft_wrap=True)
    for f in findings:
        console.print(STATUS[f.status], Text(f"{f.name:13}{f.detail}"))
    fixes = [f.fix for f in findings if f.fix is not None]
    if not fixes:
        console.print("The Julia core can run.")
        return 0
    console.print("Until this is fixed, engine='auto' uses the slow reference engine. Run:")
    console.print(f"  {fixes[0]}", markup=False)
    return 1


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
    exe, project = find_julia()
    version = None if exe is None else _version(exe)
    if version is not None:
        findings.append(Finding("Julia", f"{version} at {exe}"))
    else:
        detail = (
            f"{exe} does not run" if exe else "not on PATH, nor from juliaup or juliapkg"
        )
        detail += f"; `{SETUP}` downloads it"
        findings.append(Finding("Julia", detail, "missing", SETUP))
    return findings + _check_packages(project)


def _check_packages(project: Path) -> list[Finding]:
    versions = installed(project)
    findings = []
    for name in (*REQUIRED, *OPTIONAL):
        if name in versions:
            findings.append(Finding(name, f"{versions[name]} in {project}"))
        elif name in REQUIRED:
            findings.append(Finding(name, f"not in {project}", "missing", SETUP))
        else:
            detail = f"not in {project}; mnist and fashionmnist can't be downloaded"
            findings.append(Finding(name, detail, "absent"))
    return findings


def find_julia() -> tuple[str | None, Path]:
    """Find the Julia that a run would start, without installing anything.

    Returns:
        The executable, or None if none is installed, and the folder of the Julia project,
        which may not exist yet.
    """
    exe = os.environ.get("PYTHON_JULIACALL_EXE")
    own_project = os.environ.get("PYTHON_JULIACALL_PROJECT")
    if exe and own_project:
        return shutil.which(exe), Path(own_project)
    import juliapkg
    from juliapkg.state import STATE

    project = Path(STATE["project"])
    exe = os.environ.get("PYTHON_JULIAPKG_EXE")
    if exe:
        return shutil.which(exe), project
    try:
        if juliapkg.resolve(dry_run=True):
            return juliapkg.executable(), project
    except Exception:  # juliapkg has no error class of its own
        pass
    downloaded = Path(STATE["install"]) / "bin" / "julia"
    return shutil.which(str(downloaded)) or shutil.which("julia"), project


def installed(project: Path) -> dict[str, str]:
    """Read the versions of a Julia project's packages from its manifest.

    Example:
        >>> installed(Path("/nowhere"))
        {}
    """
    manifests = sorted(project.glob("Manifest*.toml"))
    if not manifests:
        return {}
    try:
        table = tomllib.loads(manifests[-1].read_text())
    except (OSError, ValueError):
        return {}
    return {
        name: str(entries[0].get("version", "?"))
        for name, entries in table.get("deps", {}).items()
    }


def _version(exe: str) -> str | None:
    command = [exe, "--version"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().removeprefix("julia version ")


def _check_data() -> list[Finding]:
    findings = [Finding("digits", "included in fedflux")]
    for name in ("mnist", "fashionmnist"):
        folder = datasets.find(name)
        if folder is not None:
            findings.append(Finding(name, str(folder)))
        else:
            findings.append(Finding(name, "not cached; downloaded at first use", "absent"))
    return findings
