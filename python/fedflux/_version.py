"""The version of fedflux."""

__version__ = "0.2.0"
