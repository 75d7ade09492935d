"""What is installed of Julia: the executable, its project, the project's packages."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

from . import core_source


def own_project() -> Path | None:
    """Return the user's own Julia project, which fedflux leaves as it is; None without."""
    project = os.environ.get("PYTHON_JULIACALL_PROJECT")
    return Path(project) if project and os.environ.get("PYTHON_JULIACALL_EXE") else None


def find_julia() -> tuple[str | None, Path]:
    """Find the Julia that a run would start, without installing anything.

    Returns:
        The executable, or None if none is installed, and the folder of the Julia project,
        which may not exist yet.
    """
    own = own_project()
    if own is not None:
        return shutil.which(os.environ["PYTHON_JULIACALL_EXE"]), own
    from juliapkg.state import STATE

    project = Path(STATE["project"])
    if exe := os.environ.get("PYTHON_JULIAPKG_EXE"):
        return shutil.which(exe), project
    if resolved():
        return str(STATE["executable"]), project
    downloaded = Path(STATE["install"]) / "bin" / "julia"
    return shutil.which(str(downloaded)) or shutil.which("julia"), project


def resolved() -> bool:
    """Whether juliapkg has installed all that is declared. Changes nothing."""
    import juliapkg

    try:
        return core_source.declared() and bool(juliapkg.resolve(dry_run=True))
    except Exception:  # juliapkg has no error class of its own
        return False


def manifest(project: Path) -> dict[str, Any]:
    """Read the manifest of a Julia project; an empty one if it can't be read.

    Example:
        >>> manifest(Path("/nowhere"))
        {}
    """
    try:
        newest = max(project.glob("Manifest*.toml"))
        return tomllib.loads(newest.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # ValueError: there is none
        return {}


def installed(project: Path) -> dict[str, str]:
    """Return the versions of the packages in a Julia project's manifest.

    Example:
        >>> installed(Path("/nowhere"))
        {}
    """
    packages = manifest(project).get("deps", {})
    return {name: str(told[0].get("version", "?")) for name, told in packages.items()}


def compat() -> str:
    """Return the versions of Julia that are declared, as juliapkg writes them.

    Example:
        >>> compat()
        '~1.10, ~1.11'
    """
    file = Path(__file__).parent.parent / "juliapkg.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["julia"])
