"""A failed download is remembered for a while: each attempt takes long."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

KEPT = 600.0  # seconds
MAX_LENGTH = 10_000  # of what is read
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
    try:
        with _file(what).open(encoding="utf-8") as file:
            kept = json.loads(file.read(MAX_LENGTH))
        age, reason = time.time() - float(kept["time"]), str(kept["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return reason if 0 <= age < KEPT else None


def remember(what: str, reason: str) -> None:
    """Keep why something couldn't be downloaded, if the folder can be written."""
    with contextlib.suppress(OSError):
        _file(what).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"time": time.time(), "reason": reason})
        _file(what).write_text(text, encoding="utf-8")


def forget() -> None:
    """Remove all that was kept."""
    for file in _file(JULIA).parent.glob("no-*.json"):
        with contextlib.suppress(OSError):
            file.unlink()


def _file(what: str) -> Path:
    """The file of it, in the user's folder for caches."""
    windows = sys.platform == "win32"
    folder = os.environ.get("LOCALAPPDATA" if windows else "XDG_CACHE_HOME")
    default = Path.home() / ("" if windows else ".cache")
    return Path(folder or default) / "fedflux" / f"no-{what}.json"
