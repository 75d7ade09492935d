"""The end of a run in a terminal: its curve, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._typing import Points
from .show_html import curve

if TYPE_CHECKING:
    from rich.console import Console

    from .result import Result

WIDTH, HEIGHT = 50, 8  # in characters
BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # a cell's, by column and row


def summary(result: Result, console: Console) -> str:
    """Return the curve of a result and what to try next, in lines.

    Args:
        result: the result.
        console: where the text will stand. It says what it can show.

    Example:
        >>> import fedflux
        >>> from rich.console import Console
        >>> result = fedflux.run(dataset="digits", rounds=3, engine="reference")
        >>> print(summary(result, Console()).splitlines()[0])
        accuracy
    """
    name, points = curve(result.history)
    lines = advice(result)
    if points:
        plain = console.options.ascii_only or console.is_dumb_terminal
        width = max(10, min(WIDTH, console.width - 10))
        drawn = chart(points, width, ascii_only=plain or console.legacy_windows)
        lines = [name, *drawn, *lines]
    return "\n".join(lines)


def chart(points: Points, width: int, ascii_only: bool = False) -> list[str]:
    """Draw a curve in characters.

    Args:
        points: two or more (round, value), by round.
        width: of the curve, in characters.
        ascii_only: draw stars, not the dots of Braille characters.

    Returns:
        The lines, with the largest and the smallest value on their left, and a line with
        the first and the last round.

    Example:
        >>> print(*chart([(1, 0.0), (2, 0.5), (3, 1.0)], 8, ascii_only=True), sep=chr(10))
        1.000 |       *
              |      *
              |     *
              |    *
              |   **
              |  *
              | **
        0.000 |*
               1      3
    """
    across, down = (1, 1) if ascii_only else (2, 4)
    columns, rows = width * across, HEIGHT * down
    low, high = min(y for _, y in points), max(y for _, y in points)
    cells = [[0] * width for _ in range(HEIGHT)]
    heights = _sampled(points, columns)
    previous = heights[0]
    for column, y in enumerate(heights):
        ends = sorted(_row(v, low, high, rows) for v in ((previous + y) / 2, y))
        for row in range(ends[0], ends[1] + 1):  # steep parts have no gaps
            dot = DOTS[column % across][row % down]
            cells[row // down][column // across] |= dot
        previous = y
    edge = "|" if ascii_only else "│"
    labels = {_row(y, low, high, HEIGHT): f"{y:.3f}" for y in (high, low)}
    pad = max(map(len, labels.values()))
    lines = [
        f"{labels.get(i, ''):>{pad}} {edge}{_text(row, ascii_only)}"
        for i, row in enumerate(cells)
    ]
    first, last = f"{points[0][0]:.0f}", f"{points[-1][0]:.0f}"
    axis = f"{first}{last:>{width - len(first)}}"
    return [*lines, f"{' ' * pad}  {axis}"]


def _sampled(points: Points, columns: int) -> list[float]:
    """Interpolate the curve at equal steps from its first point to its last."""
    start, end = points[0][0], points[-1][0]
    heights, at = [], 0
    for column in range(columns):
        x = start + (end - start) * column / (columns - 1)
        while at < len(points) - 2 and points[at + 1][0] < x:
            at += 1
        (x0, y0), (x1, y1) = points[at], points[at + 1]
        heights.append(y0 + (y1 - y0) * min(1.0, (x - x0) / (x1 - x0)))
    return heights


def _row(y: float, low: float, high: float, rows: int) -> int:
    """Return the row of a value, counted from above."""
    share = 0.5 if high == low else (y - low) / (high - low)
    return round((1 - share) * (rows - 1))


def _text(cells: Sequence[int], ascii_only: bool) -> str:
    texts = (("*" if ascii_only else chr(BRAILLE + c)) if c else " " for c in cells)
    return "".join(texts).rstrip()


def advice(result: Result) -> list[str]:
    """Return what to try next: at most three lines, none once the user goes further."""
    options, lines = result.options, []
    if options["dataset"] == "auto" and result.dataset == "digits":
        lines.append(
            f"Digits train with {options['model']} and lr {options['lr']}. "
            "`fedflux doctor` tells how to get MNIST."
        )
    if options["partition"] != "iid" or options["rules"]:
        return lines
    if result.engine == "julia":
        lines.append("Next: --partition 'dirichlet(0.1)', --rule 'fedprox(mu=0.01)', ...")
    else:
        lines.append("Next: Julia, for speed, rules and partitions; see `fedflux doctor`.")
    lines.append(
        "--save run.safetensors keeps the model, for fedflux.Result.load in Python."
    )
    return lines
