"""The command `fedflux`."""

from .commands import cli, main

__all__ = ["cli", "main"]
