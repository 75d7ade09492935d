"""One copy of the Julia core for all environments that have the same wheel installed.

Julia finds what it has compiled by the path of the source. From a path in each environment
the same core would be compiled in each, for minutes; from one in the user's depot, where
Julia's own packages are, it is compiled once.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

from .._options.tables import core_path

DIGEST = "digest"  # the file beside the core of a wheel, which hatch_build.py writes
NAME = "FedFlux"


def declared() -> bool:
    """Whether juliapkg knows where the core stands. Changes nothing.

    Example:
        >>> declared() in (True, False)
        True
    """
    entry, shared = _entry(), _shared()
    if entry is None or shared is None:
        return entry is None and shared is None
    path = Path(entry.get("path", ""))
    return path in (shared, core_path()) and path.is_dir() and entry == _spec(path)


def declare() -> None:
    """Copy the core of a wheel to the user's depot, and tell juliapkg where it stands.

    If the depot can't be written, the core is used from the wheel. An editable
    install needs nothing: juliapkg.json names the core of its checkout.
    """
    if declared():
        return
    import juliapkg
    from filelock import FileLock  # a dependency of juliapkg
    from juliapkg.state import STATE

    folder = Path(STATE["prefix"])
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "fedflux.lock"):
        if declared():  # by another process
            return
        shared = _shared()
        if shared is None:  # an earlier install was from a wheel
            juliapkg.rm(NAME)
        else:
            juliapkg.add(NAME, **_spec(_copy(shared)))


def source() -> Path:
    """Where the core stands that Julia loads.

    Example:
        >>> source().name
        'FedFlux'
    """
    return Path((_entry() or {}).get("path", core_path()))


def stamps(*more: Path) -> list[tuple[str, int, int]]:
    """Return path, size and time of the core's files, and of more: a change shows in them.

    Example:
        >>> stamps() == stamps()
        True
    """
    core = source()
    parts = (sorted(core.glob(part)) for part in ("Project.toml", "src/**/*", "ext/*"))
    found = ((f, f.stat()) for f in (*chain(*parts), *more))
    return [(str(f), s.st_size, s.st_mtime_ns) for f, s in found]


def project() -> dict[str, Any]:
    """Return what the core's Project.toml says.

    Example:
        >>> project()["name"]
        'FedFlux'
    """
    return tomllib.loads((core_path() / "Project.toml").read_text(encoding="utf-8"))


def _spec(path: Path) -> dict[str, Any]:
    """What juliapkg is told of the core at this path."""
    uuid, version = project()["uuid"], f"={project()['version']}"
    return {"uuid": uuid, "dev": True, "version": version, "path": str(path)}


def _shared() -> Path | None:
    """Where the copy belongs, or None for a checkout."""
    file = core_path().parent / DIGEST
    if not file.is_file():
        return None
    from juliapkg.state import STATE

    digest = file.read_text(encoding="utf-8").strip()
    return Path(STATE["depot"]) / "fedflux" / digest / NAME


def _entry() -> dict[str, Any] | None:
    from juliapkg.state import STATE

    try:
        table = json.loads(Path(STATE["deps"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # there is none, or it is being written
        return None
    entry: dict[str, Any] | None = table.get("packages", {}).get(NAME)
    return entry


def _copy(shared: Path) -> Path:
    """Copy the core there as a whole or not at all; return where it can be had."""
    if shared.is_dir():
        return shared
    try:
        shared.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=shared.parent) as folder:
            part = Path(folder) / NAME
            shutil.copytree(core_path(), part)
            os.rename(part, shared)
    except OSError:
        return shared if shared.is_dir() else core_path()
    return shared
