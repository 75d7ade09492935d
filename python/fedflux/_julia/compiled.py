"""Whether the core is compiled, known from the last start rather than asked of Julia.

Julia takes .2 s to say it, and checks again when it loads the core. If this is wrong, Julia
compiles the core while it loads it, without a line that says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from . import core_source
from .project import find_julia, own_project

FILE = "fedflux-compiled"  # in the Julia project, which is fedflux's own


def known() -> bool:
    """Whether the same core was loaded before, by the same Julia.

    Example:
        >>> known() in (True, False)
        True
    """
    file = _file()
    with contextlib.suppress(OSError):
        return file is not None and file.read_text(encoding="utf-8") == _digest()
    return False


def note() -> None:
    """Note that this core was loaded."""
    file = _file()
    if file is not None:
        with contextlib.suppress(OSError):  # then the next start asks Julia
            file.write_text(_digest(), encoding="utf-8")


def _file() -> Path | None:
    return None if own_project() is not None else find_julia()[1] / FILE


def _digest() -> str:
    """Of all that makes Julia compile the core again."""
    exe, project = find_julia()
    own = (*project.glob("Manifest*.toml"), *project.glob("*Preferences.toml"))
    stamps = core_source.stamps(*own)
    settings = {n: v for n, v in os.environ.items() if "JULIA" in n and "TRACE" not in n}
    return hashlib.sha256(
        repr((exe, stamps, sorted(settings.items()))).encode()
    ).hexdigest()
