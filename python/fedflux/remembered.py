"""A failed download of Julia is remembered for a while: each attempt takes long."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

KEPT = 600.0  # seconds
MAX_BYTES = 10_000


def recall() -> str | None:
    """Return why Julia couldn't be downloaded, if that was lately; None otherwise.

    A Julia that came to the PATH since makes the answer void.

    Example:
        >>> forget()
        >>> recall() is None
        True
    """
    if any(shutil.which(name) for name in ("julia", "juliaup")):
        return None
    try:
        if _file().stat().st_size > MAX_BYTES:
            return None
        kept = json.loads(_file().read_text(encoding="utf-8"))
        age = time.time() - float(kept["time"])
        reason = str(kept["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return reason if 0 <= age < KEPT else None


def remember(reason: str) -> None:
    """Keep why Julia couldn't be downloaded, where the folder can be written."""
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"time": time.time(), "reason": reason})
        _file().write_text(text, encoding="utf-8")


def forget() -> None:
    """Remove what was kept."""
    with contextlib.suppress(OSError):
        _file().unlink()


def _file() -> Path:
    """The file, in the user's folder for caches."""
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or Path.home()
    else:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "fedflux" / "no-julia.json"
