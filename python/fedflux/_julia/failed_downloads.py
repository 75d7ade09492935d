"""A failed download is remembered for a while: each attempt takes long."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

KEPT = 600.0  # seconds
MAX_BYTES = 10_000
JULIA = "julia"


def recall(what: str) -> str | None:
    """Return why something couldn't be downloaded, if that was lately, else None.

    Args:
        what: its name, a part of a file's name.

    Example:
        >>> forget()
        >>> recall(JULIA) is None
        True
    """
    file = _folder() / f"no-{what}.json"
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        kept = json.loads(file.read_text(encoding="utf-8"))
        age = time.time() - float(kept["time"])
        reason = str(kept["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return reason if 0 <= age < KEPT else None


def remember(what: str, reason: str) -> None:
    """Keep why something couldn't be downloaded, if the folder can be written."""
    with contextlib.suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        text = json.dumps({"time": time.time(), "reason": reason})
        (_folder() / f"no-{what}.json").write_text(text, encoding="utf-8")


def forget() -> None:
    """Remove all that was kept."""
    for file in _folder().glob("no-*.json"):
        with contextlib.suppress(OSError):
            file.unlink()


def _folder() -> Path:
    """The user's folder for caches."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or Path.home()
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "fedflux"
