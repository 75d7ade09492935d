"""The exceptions and the warning that users of fedflux meet."""

from __future__ import annotations


class FedFluxError(Exception):
    """Anything that fedflux refuses; the message names the thing, what was expected and what came."""


class OptionError(FedFluxError, ValueError):
    """An option that does not exist, or has a wrong type or value."""


class DataError(FedFluxError, ValueError):
    """Data that is missing, or does not fit."""


class JuliaUnavailable(FedFluxError, RuntimeError):
    """Julia or its packages can't be had on this machine; the message says why and what mends it."""


class FedFluxWarning(UserWarning):
    """Something that the user should know, though the run goes on."""
