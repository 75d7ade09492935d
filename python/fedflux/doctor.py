"""`fedflux doctor`: what is there, what is missing, and the one command that mends it."""

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

from . import __version__, datasets
from ._core import core_path
from .errors import FedFluxError

PACKAGES = ("FedFlux", "PythonCall", "Flux", "MLDatasets")
NEEDED = PACKAGES[:3]
MEND = "fedflux setup"


@dataclass
class Finding:
    """One line of the report; `mend` is the command that mends what is missing, None where nothing must be mended."""

    what: str
    found: str
    mend: str | None = None
    there: bool = True


def examine() -> int:
    """Look at this machine without changing it, and print the report.

    Returns:
        0 when the core can run, 1 when something it needs is missing.
    """
    findings = [Finding("Python", f"{platform.python_version()}, fedflux {__version__}"), _core(), *_julia(), *_data()]
    console = Console(highlight=False, soft_wrap=True)
    for f in findings:
        status, style = ("missing", "red") if f.mend else ("ok", "green") if f.there else ("absent", "yellow")
        console.print(Text(f"{status:8}", style), Text(f"{f.what:13}{f.found}"))
    mends = list(dict.fromkeys(f.mend for f in findings if f.mend is not None))
    if not mends:
        console.print("The Julia core can run.")
        return 0
    console.print("Until then engine='auto' takes the slow reference engine. To mend it, run:")
    console.print(f"  {mends[0]}", markup=False)
    return 1


def _core() -> Finding:
    try:
        return Finding("core", str(core_path()))
    except FedFluxError as error:
        return Finding("core", str(error), "pip install --force-reinstall fedflux")


def _julia() -> list[Finding]:
    missing = [name for name in ("juliacall", "juliapkg") if importlib.util.find_spec(name) is None]
    if missing:
        return [Finding("juliacall", f"the Python package {missing[0]} is not installed", "pip install juliacall")]
    findings = [Finding("juliacall", importlib.metadata.version("juliacall"))]
    exe, project = find_julia()
    version = None if exe is None else _version(exe)
    if exe is None or version is None:
        where = f"{exe} is not a Julia that runs" if exe else "no Julia on PATH, from juliaup, or installed by juliapkg"
        findings.append(Finding("Julia", f"{where} (setup downloads one)", MEND))
    else:
        findings.append(Finding("Julia", f"{version} at {exe}"))
    versions = installed(project)
    for name in PACKAGES:
        if name in versions:
            findings.append(Finding(name, f"{versions[name]} in {project}"))
        elif name in NEEDED:
            findings.append(Finding(name, f"not in {project}", MEND))
        else:
            findings.append(Finding(name, f"not in {project}: mnist and fashionmnist can't be had", there=False))
    return findings


def find_julia() -> tuple[str | None, Path]:
    """Find the Julia executable that a run would start, and its project, without installing anything.

    Returns:
        The executable (None where there is none yet) and the project's folder, which may not exist yet.
    """
    own = os.environ.get("PYTHON_JULIACALL_EXE"), os.environ.get("PYTHON_JULIACALL_PROJECT")
    if own[0] and own[1]:
        return shutil.which(own[0]), Path(own[1])
    import juliapkg
    from juliapkg.state import STATE

    project = Path(STATE["project"])
    installed_here = Path(STATE["install"]) / "bin" / "julia"
    given = os.environ.get("PYTHON_JULIAPKG_EXE")
    if given:
        return shutil.which(given), project
    try:
        if juliapkg.resolve(dry_run=True):
            return juliapkg.executable(), project
    except Exception:  # juliapkg has no error class of its own; not resolved is not found
        pass
    return shutil.which(str(installed_here)) or shutil.which("julia"), project


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
    return {name: str(entries[0].get("version", "?")) for name, entries in table.get("deps", {}).items()}


def _version(exe: str) -> str | None:
    try:
        done = subprocess.run([exe, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().removeprefix("julia version ")


def _data() -> list[Finding]:
    findings = [Finding("digits", "comes with fedflux")]
    for name in ("mnist", "fashionmnist"):
        folder = datasets.find(name)
        found = str(folder) if folder else "not cached; downloaded at first use"
        findings.append(Finding(name, found, there=folder is not None))
    return findings
