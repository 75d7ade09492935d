"""The text of the option `target_metric`: a figure that ends a run, such as f1>=0.9."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import OptionError, shown

TEXT = re.compile(r"\s*([A-Za-z_]\w*)\s*(>=|<=)\s*(\S+)\s*", re.ASCII)


@dataclass(frozen=True)
class Target:
    """A figure that ends a run once it is reached.

    Attributes:
        name: of the figure.
        least: whether it must be as large, not as small.
        value: to reach.
    """

    name: str
    least: bool
    value: float

    def reached(self, figure: float | None) -> bool:
        """Return whether a figure reaches the target; NaN and None don't.

        Example:
            >>> target("f1>=0.9").reached(0.95), target("loss<=0.1").reached(0.5)
            (True, False)
        """
        if figure is None:
            return False
        return figure >= self.value if self.least else figure <= self.value


def target(text: str) -> Target:
    """Read the text of the option.

    Raises:
        OptionError: it is anything else.

    Example:
        >>> target("f1 >= 0.9")
        Target(name='f1', least=True, value=0.9)
    """
    found = TEXT.fullmatch(text)
    try:
        value = math.nan if found is None else float(found[3])
    except ValueError:
        value = math.nan
    if found is None or not math.isfinite(value):
        raise OptionError(
            "target_metric: expected a metric and its value, as in f1>=0.9 or loss<=0.2, "
            f"got {shown(text)}"
        )
    return Target(found[1], found[2] == ">=", value)
