"""The exceptions and the warning of fedflux."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType
from typing import Any


class FedFluxError(Exception):
    """Base class; the message names what is wrong, what was expected and what was given."""


class OptionError(FedFluxError, ValueError):
    """An option that does not exist, or has a wrong type or value."""


class DataError(FedFluxError, ValueError):
    """Data that is missing or does not fit."""


class JuliaUnavailable(FedFluxError, RuntimeError):
    """Julia or one of its packages is not available; the message says why.

    Attributes:
        absent: whether there is no Julia at all, rather than one that does not start.
    """

    def __init__(self, message: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    Attributes:
        result: what was trained, a `Result` whose `stopped` is "interrupted"; the run goes
            on with `fedflux.run(resume=error.result)`.
    """

    def __init__(self, result: Any) -> None:
        rounds = len(result.history)
        super().__init__(
            f"interrupted after {rounds} round{'s' * (rounds != 1)}; the exception's "
            "result holds what was trained"
        )
        self.result = result


class FedFluxWarning(UserWarning):
    """A problem that does not stop the run."""


def warn(message: str) -> None:
    """Issue a FedFluxWarning that points to the code that called the package."""
    package = os.path.dirname(__file__)
    frame: FrameType | None = sys._getframe()
    level, caller = 1, 1
    while frame is not None:
        if frame.f_code.co_filename.startswith(package):
            caller = level + 1
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FedFluxWarning, stacklevel=caller)


def shown(value: object, longest: int = 80) -> str:
    """Return a value and its type as an error shows them: on one line, cut if long.

    Example:
        >>> shown("3")
        "'3' (str)"
        >>> shown([0.5] * 99, longest=20)
        '[0.5, 0.5, 0.5, 0... (list)'
    """
    text = " ".join(repr(value).split())
    cut = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return f"{cut} ({type(value).__name__})"


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or its type if there is none.

    Example:
        >>> first_line(ValueError("a\nb")), first_line(ValueError())
        ('a', 'ValueError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
