"""The version of fedflux."""

__version__ = "0.1.0"
