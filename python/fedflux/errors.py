"""The exceptions and the warning of fedflux."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache, cached_property
from types import FrameType
from typing import Any

from ._core_files import TABLES, core_folder

ENTRIES = "https://fedflux.github.io/fedflux/errors/"


class _Explained:
    """A message that the page of errors has an entry for."""

    @property
    def help(self) -> str:
        """The address of the entry with the causes and the remedies.

        Example:
            >>> OptionError("rounds: expected at least 1, got 0").help
            'https://fedflux.github.io/fedflux/errors/#values-out-of-range'
        """
        return help_address(str(self))


class FedFluxError(_Explained, Exception):
    """Base class; the message names what is wrong, what was expected and what was given.

    Attributes:
        help: the address of the entry that has the causes and the remedies.
    """

    @cached_property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        """What Python shows below the message: where to read more."""
        return [f"see {self.help}"]


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

    @property
    def help(self) -> str:
        """The address of the entry with the causes and the remedies."""
        return f"{ENTRIES}#julia-doesnt-start"


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


class FedFluxWarning(_Explained, UserWarning):
    """A problem that does not stop the run.

    Attributes:
        help: the address of the entry that has the causes and the remedies.
    """


@cache
def _kinds() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The kinds of errors, in the core's order, each with what its messages have."""
    folder = core_folder()
    if folder is None:
        return ()
    with (folder / TABLES / "errors.toml").open("rb") as file:
        kinds = tomllib.load(file)["kind"]
    return tuple((k["name"], re.compile("|".join(k["texts"]))) for k in kinds)


def help_address(message: str) -> str:
    """Return the address of the entry on a message; the whole page if none fits.

    Example:
        >>> help_address("rules DPSGD and MOON don't go together: ...").rpartition("#")[2]
        'rules-that-dont-go-together'
    """
    found = next((f"#{name}" for name, texts in _kinds() if texts.search(message)), "")
    return ENTRIES + found


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


@contextlib.contextmanager
def needs(package: str, extra: str, instead: str = "") -> Iterator[None]:
    """Say how to install a package that is imported inside a `with` block.

    Args:
        package: its name.
        extra: the extra of fedflux that brings it.
        instead: what to do without it, for the end of the message.

    Raises:
        FedFluxError: it is not installed.

    Example:
        >>> with needs("PyTorch", "torch"):  # doctest: +ELLIPSIS
        ...     raise ImportError
        Traceback (most recent call last):
        fedflux.errors.FedFluxError: PyTorch is not installed: run pip install ...
    """
    try:
        yield
    except ImportError:
        raise FedFluxError(
            f"{package} is not installed: run pip install 'fedflux[{extra}]'{instead}"
        ) from None


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or its type if there is none.

    Example:
        >>> first_line(ValueError("a\nb")), first_line(ValueError())
        ('a', 'ValueError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
