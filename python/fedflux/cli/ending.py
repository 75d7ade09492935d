"""How the command line ends: what is said of an error, and the exit status."""

from __future__ import annotations

import contextlib
import os
import sys

from ..errors import FedFluxError, JuliaUnavailable, first_line

UNEXPECTED = 70  # the status of an error that is nobody's mistake, as in sysexits.h


def described(error: Exception) -> tuple[str, int]:
    """Return the line that says what went wrong, and the exit status.

    Example:
        >>> described(FedFluxError("no data")), described(ValueError("a"))[1]
        (('no data', 2), 70)
    """
    if isinstance(error, FedFluxError):
        return str(error), 1 if isinstance(error, JuliaUnavailable) else 2
    if isinstance(error, MemoryError):
        return "out of memory: try a smaller model or less data", 2
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"can't read or write{where}: {error.strerror or error}", 2
    return (
        f"unexpected {type(error).__name__}: {first_line(error)}; please report it with "
        "the whole stack, which --debug shows",
        UNEXPECTED,
    )


def flush() -> None:
    """Write what stdout still holds.

    Raises:
        OSError: it can't be written; Python doesn't try again then when it ends.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
