"""The options that the reference engine supports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .._data.datasets import HERE
from .._options.datasets import is_named
from .._options.options import column, declared
from .._options.specs import parse
from ..errors import OptionError


def check_supported(
    options: Mapping[str, Any], names: Mapping[str, Collection[str]] | None = None
) -> None:
    """Check that the reference engine supports the options.

    Args:
        options: every option of the run, checked.
        names: of the objects of the user's own, by option.

    Raises:
        OptionError: an option or a value that only the core supports.

    Example:
        >>> from .._options.options import check
        >>> check_supported(check({}))
    """
    name = options["dataset"]
    if is_named(name) and name not in HERE:
        raise OptionError(
            f"dataset {name} needs the Julia core; the reference engine reads "
            f"{', '.join(HERE)}, .npz files and arrays"
        )
    for name, value in options.items():
        own = (names or {}).get(declared()[name].names_of, ())
        if value not in own and not _supported(name, value):
            raise OptionError(
                f"{name}={value!r} needs the Julia core; the reference engine does not "
                "support it"
            )


def _supported(name: str, value: Any) -> bool:
    # An option that the core gains later must raise an error, and not be ignored.
    known = column("reference").get(name)
    if known is None:
        return bool(value == declared()[name].default)
    if known is True or value is None:  # a default that the data set will decide
        return True
    return (parse(name, value)[0] if declared()[name].kind == "spec" else value) in known
