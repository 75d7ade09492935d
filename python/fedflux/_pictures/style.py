"""The one style of all pictures: colors, figures, lines named at their ends, files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FedFluxError, OptionError, needs, shown
from .fonts import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart, without the yellow that
# white paper swallows, and with a gray in its place.
COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#000000", "#7f7f7f"),
)
COLOR = COLORS[0]
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)))  # of the lines after the eighth, and so on
MAX_TICKS = 12
GAP = 1.25  # between names at the ends of lines, in heights of their letters
FONT = 8

PathLike = str | os.PathLike[str]


def look(i: int) -> dict[str, Any]:
    """Return the color and the dashes of the i-th line, from 0."""
    return {
        "color": COLORS[i % len(COLORS)],
        "linestyle": DASHES[i // len(COLORS) % len(DASHES)],
    }


def figure(width: float = 7.2, height: float = 3.6) -> Figure:
    """Make a figure, which a notebook shows.

    Raises:
        FedFluxError: matplotlib is not installed.
    """
    with needs("matplotlib", "plots"):
        from matplotlib import rcParams
        from matplotlib.figure import Figure

    class Shown(Figure):
        """A figure that a notebook shows, without pyplot, whose state is global."""

        def draw(self, renderer: Any) -> None:
            """Draw, with fonts that have the letters of all names."""
            spelled = rcParams["svg.fonttype"] == "none"
            with readable(self, spelled):
                super().draw(renderer)

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png", dpi=100)
            return picture.getvalue()

    return Shown(figsize=(width, height), layout="constrained")


def plain(axes: Any) -> None:
    """Leave out the lines that say nothing, and draw a grid behind the others."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def integer_ticks(axis: Any, most: int = MAX_TICKS) -> None:
    """Put ticks at integers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True))


def name_ends(axes: Any, ends: Sequence[tuple[str, float, float, Any]]) -> None:
    """Write the name of each line at its end, one above the other if ends are close.

    Args:
        axes: with the lines, and with their final limits.
        ends: for each line its name, x and y of its last point, and its color.
    """
    low, high = axes.get_ylim()
    height = axes.figure.get_figheight() * axes.get_position().height * 72
    gap = (high - low) * GAP * FONT / max(height, 1.0)
    placed = sorted(ends, key=lambda end: end[2])
    ys = [end[2] for end in placed]
    for i in range(1, len(ys)):
        ys[i] = max(ys[i], ys[i - 1] + gap)
    if ys:  # move all down where they would stand above the picture
        above = max(0.0, ys[-1] - high)
        ys = [y - above for y in ys]
    for (name, x, _, color), y in zip(placed, ys, strict=True):
        axes.annotate(
            _escaped(name),
            (x, y),
            xytext=(4, 0),
            textcoords="offset points",
            color=color,
            fontsize=FONT,
            va="center",
            annotation_clip=False,
        )


def _escaped(name: str) -> str:
    return name.replace("$", r"\$")  # else mathematics


def saved(picture: Figure, path: PathLike | None) -> Figure:
    """Write a picture to a file, by its ending, and return it; None for none.

    Raises:
        OptionError: not a path, or a format that is not known.
        FedFluxError: the file can't be written.
    """
    if path is None:
        return picture
    if not isinstance(path, str | os.PathLike):
        raise OptionError(f"path: expected the path of a file, got {shown(path)}")
    try:
        picture.savefig(Path(path), dpi=150)
    except OSError as error:
        raise FedFluxError(f"can't write {path}: {error.strerror}") from None
    except ValueError as error:  # an unknown file format
        raise OptionError(f"can't write {path}: {error}") from None
    return picture


def svg(picture: Figure, name: str) -> str:
    """Return a picture as SVG, to stand in a page; the same picture is the same text.

    Args:
        picture: the picture.
        name: unlike those of the other pictures of the page, whose parts have names too.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        picture.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
